//! Gathers all that is to be shown of an experiment, or computed again, from store and board.

mod survey;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::board;
use crate::board::Board;
use crate::director;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Metric;
use crate::experiment::life::Event;
use crate::forecast;
use crate::forecast::Plan;
use crate::forecast::traffic::Told;
use crate::guard::Seen;
use crate::page;
use crate::page::Dossier;
use crate::page::Line;
use crate::page::Spread;
use crate::pair::Scored;
use crate::price::Prices;
use crate::record;
use crate::record::Check;
use crate::record::Tallies;
use crate::series;
use crate::series::Point;
use crate::stats::Histogram;
use crate::store::Store;
use crate::store::log::Entry;
use crate::tally::AGAIN;
use crate::vital::Measure;
use crate::vital::Vitals;

/// Points by candidate.
pub type Series = BTreeMap<String, Vec<Point>>;

/// An entry of the log that was computed again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verified {
    /// Which entry.
    pub seq: u64,
    /// Of which experiment.
    pub experiment: String,
    /// What was computed again.
    pub checks: Vec<Check>,
}

/// The HTML report of an experiment as things stand, with its part of the log.
///
/// # Errors
/// There is no such experiment, or the store cannot be read.
pub fn page(store: &Store, board: &Board, name: &str, log: &[Entry]) -> Result<String> {
    let snapshot = board.full_snapshot(name).ok_or_else(|| {
        let all = board.experiments();
        director::unknown(all.iter().map(|experiment| experiment.name.as_str()), name)
    })?;
    let experiment = &snapshot.experiment;
    let scores = scores(store, experiment)?;
    let of = |(name, scores): (&String, &Vec<Scored>)| {
        (name.clone(), series::series(experiment, scores))
    };
    let mut spreads = board.seen(name).map(|seen| live(experiment, &seen)).unwrap_or_default();
    spreads.extend(paired(experiment, &scores));
    let log = log.iter().filter(|entry| entry.experiment == name).cloned().map(line).collect();
    Ok(page::page(&Dossier {
        series: scores.iter().map(of).collect(),
        report: snapshot.report,
        spreads,
        log,
        made_ms: jiff::Timestamp::now().as_millisecond(),
    }))
}

fn line(entry: Entry) -> Line {
    let Entry { seq, at_ms, event, definition, hash, .. } = entry;
    Line { seq, at_ms, event, definition, hash, checks: Vec::new() }
}

/// How the intervals of an experiment narrowed.
///
/// # Errors
/// The store cannot be read.
pub fn points(store: &Store, experiment: &Experiment) -> Result<Series> {
    let scores = scores(store, experiment)?;
    Ok(scores.iter().map(|(name, all)| (name.clone(), series::series(experiment, all))).collect())
}

/// The scores of every candidate in the order in which they came.
fn scores(store: &Store, experiment: &Experiment) -> Result<BTreeMap<String, Vec<Scored>>> {
    let mut all = BTreeMap::new();
    for candidate in &experiment.candidates {
        let name = &candidate.variant.name;
        let mut scores = store.scores(&experiment.run(), name)?;
        scores.sort_by_key(|(id, scored)| (scored.scored_ms, *id));
        all.insert(name.clone(), scores.into_iter().map(|(_, scored)| scored).collect());
    }
    Ok(all)
}

/// What an experiment will take, from its definition, what is stored, and what a person says.
///
/// # Errors
/// The store cannot be read.
pub fn plan(
    store: Option<&Store>,
    experiment: &Experiment,
    prices: &Prices,
    told: &Told,
) -> Result<Plan> {
    let traffic = match store {
        Some(store) => survey::traffic(store, experiment, prices)?,
        None => survey::untouched(experiment),
    };
    Ok(forecast::plan(experiment, traffic.with(told)))
}

/// Computes again what the records of the log say; `None` for `name` means all experiments.
///
/// # Errors
/// The store cannot be read.
pub fn verify(
    store: &Store,
    experiments: &[Experiment],
    log: &[Entry],
    name: Option<&str>,
) -> Result<Vec<Verified>> {
    let mut verified = Vec::new();
    for entry in log.iter().filter(|entry| name.is_none_or(|name| name == entry.experiment)) {
        let Event::Recorded { record } = &entry.event else { continue };
        let experiment = experiments.iter().find(|e| e.name == entry.experiment);
        let then = experiment.map(|experiment| {
            let mut then = experiment.as_of(&record.parts);
            then.standing.epoch = record.epoch;
            then
        });
        let stored = then.as_ref().map(|then| until(store, then, entry.at_ms)).transpose()?;
        let checks = record::check(record, &entry.definition, experiment, stored.as_ref());
        verified.push(Verified { seq: entry.seq, experiment: entry.experiment.clone(), checks });
    }
    Ok(verified)
}

/// What the store holds of the scores and labels that were given by then.
fn until(store: &Store, experiment: &Experiment, at_ms: i64) -> Result<Tallies> {
    let mut tallies = Tallies::new();
    let names = experiment.candidates.iter().map(|candidate| candidate.variant.name.as_str());
    for name in names.chain([AGAIN]) {
        let tally = board::tally(experiment, name, store, at_ms)?;
        tallies.insert(name.to_owned(), tally);
    }
    Ok(tallies)
}

/// Times of answers that applications waited for.
fn live(experiment: &Experiment, seen: &Seen) -> Vec<Spread> {
    let of = |name: &str, vitals: &Vitals| {
        [(Metric::Ttft(50), "time to first token"), (Metric::Latency(50), "time to the end")]
            .into_iter()
            .filter_map(|(metric, what)| match vitals.measure(metric) {
                Measure::Time(times, _) if times.n() > 0 => {
                    Some(Spread::new(what, "s", 1e6, name, "users' answers", times.clone()))
                }
                _ => None,
            })
            .collect::<Vec<Spread>>()
    };
    let mut spreads = of(&experiment.control.name, seen.control());
    for candidate in &experiment.candidates {
        let name = &candidate.variant.name;
        spreads.extend(seen.candidate(name).map(|vitals| of(name, vitals)).unwrap_or_default());
    }
    spreads
}

/// Times, prices and lengths of the answers that were compared.
fn paired(experiment: &Experiment, scores: &BTreeMap<String, Vec<Scored>>) -> Vec<Spread> {
    let mut spreads = Vec::new();
    let mut is_first = true;
    for (name, scores) in scores {
        let mut of = |variant: &str, look: &dyn Fn(&Scored) -> &crate::pair::Look| {
            let (mut took, mut cost, mut chars) =
                (Histogram::default(), Histogram::default(), Histogram::default());
            for look in scores.iter().map(look).filter(|look| look.took_us > 0) {
                took.add(look.took_us);
                look.cost_nano_usd.into_iter().for_each(|nano| cost.add(nano));
                chars.add(u64::from(look.chars));
            }
            for (what, unit, scale, histogram) in [
                ("time to the end", "s", 1e6, took),
                ("price of an answer", "$", 1e9, cost),
                ("length of an answer", "", 1.0, chars),
            ] {
                if histogram.n() > 0 {
                    let from = "compared answers";
                    spreads.push(Spread::new(what, unit, scale, variant, from, histogram));
                }
            }
        };
        // Every candidate is compared with the same answers of control.
        if is_first {
            of(&experiment.control.name, &|scored| &scored.facts.control);
        }
        is_first = false;
        of(name, &|scored| &scored.facts.candidate);
    }
    spreads
}
