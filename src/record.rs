//! Makes the record of a verdict, and computes the verdict again from it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::experiment::Target;
use crate::experiment::definition;
use crate::experiment::life::Ruling;
use crate::experiment::record::Counts;
use crate::experiment::record::Record;
use crate::price::Prices;
use crate::report;
use crate::report::CandidateView;
use crate::report::Counted;
use crate::report::Detail;
use crate::report::Report;
use crate::tally::AGAIN;
use crate::tally::Funnel;
use crate::tally::Tally;

/// A tally longer than this, bytes, is kept as its hash alone.
const LONGEST: usize = 256 << 10;

/// What was counted, by candidate.
pub type Tallies = BTreeMap<String, Tally>;

/// What an experiment's report rests on at one moment.
#[derive(Clone, Debug)]
pub struct Basis<'a> {
    /// The definition in force.
    pub experiment: &'a Experiment,
    /// The report, made of these tallies.
    pub report: &'a Report,
    /// What was counted.
    pub tallies: &'a Tallies,
    /// What was counted of control against itself.
    pub again: Option<&'a Tally>,
    /// Candidates that have broken a guardrail.
    pub broken: &'a [String],
    /// A hash of the files in force; empty where they are not known.
    pub config: &'a str,
    /// What models cost then.
    pub prices: &'a Prices,
    /// A hash of each text that the judge is asked with.
    pub templates: BTreeMap<String, String>,
}

/// One thing that was computed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is about: `definition`, `counts`, `verdict` or `store`.
    pub what: String,
    /// Whether it came out as it was written; `null` where that cannot be told.
    pub matches: Option<bool>,
    /// In words.
    pub say: String,
}

/// The record of a verdict.
pub fn record(basis: &Basis<'_>) -> Record {
    let Basis { experiment, report, tallies, again, broken, config, prices, templates } = basis;
    let targets = experiment.variants().map(|variant| &variant.target);
    let judges = experiment.evaluate.judges().iter().map(|judge| &judge.target);
    let own = tallies.iter().map(|(name, tally)| (name.as_str(), tally));
    let all = own.chain(again.map(|tally| (AGAIN, tally)));
    Record {
        epoch: report.epoch,
        verdict: report.verdict,
        reason: report.reason.clone(),
        summary: report.summary.clone(),
        config: (*config).to_owned(),
        parts: definition::parts(experiment),
        prices: targets.chain(judges).filter_map(|target| price_of(prices, target)).collect(),
        templates: templates.clone(),
        rulings: rulings(report),
        counts: all.map(|(name, tally)| (name.to_owned(), counts(tally))).collect(),
        broken: broken.to_vec(),
        funnel: json(&report.funnel),
        guardrails: json(&report.guardrails),
        exposures: json(&report.exposures),
        audit: json(&report.judge),
        overruled: report.overruled.clone(),
    }
}

/// The verdicts of a report on its candidates.
pub fn rulings(report: &Report) -> BTreeMap<String, Ruling> {
    report.candidates.iter().map(|(name, view)| (name.clone(), ruling(view))).collect()
}

fn ruling(view: &CandidateView) -> Ruling {
    let ppm = |share: f64| (share * 1e6).round() as i64;
    Ruling {
        verdict: view.verdict,
        pairs: view.pairs,
        win_ppm: view.win_rate.estimate.map(ppm),
        lower_ppm: ppm(view.win_rate.lower),
        upper_ppm: ppm(view.win_rate.upper),
    }
}

fn counts(tally: &Tally) -> Counts {
    let text = json(tally);
    let digest = blake3::hash(text.as_bytes()).to_hex().to_string();
    Counts { digest, tally: (text.len() <= LONGEST).then_some(text) }
}

fn price_of(prices: &Prices, target: &Target) -> Option<(String, String)> {
    let [input, output, cached] = prices.of(target)?;
    Some((target.to_string(), format!("{input} {output} {cached}")))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Computes again what an entry says.
///
/// `definition` is the hash that the entry was sealed with, `experiment` the present definition, if
/// there is one, and `stored` what the store holds of the scores until then, if it can be read.
pub fn check(
    record: &Record,
    definition: &str,
    experiment: Option<&Experiment>,
    stored: Option<&Tallies>,
) -> Vec<Check> {
    let mut checks = vec![defined(record, definition)];
    let (compared, are_same) = compared(record, stored);
    // Counts that are too many for the log can be taken from the store, if they are the same.
    let tallies = match counted(record) {
        Ok(None) if are_same => Ok(stored.cloned()),
        tallies => tallies,
    };
    match (tallies, experiment) {
        (Err(say), _) => checks.push(told("counts", Some(false), say)),
        (Ok(None), _) => {
            let say = "the counts were too many for the log, which holds their hash".to_owned();
            checks.push(told("counts", None, say));
        }
        (Ok(Some(_)), None) => {
            let say = "no file defines it any more, so the verdict cannot be computed again";
            checks.push(told("verdict", None, say.to_owned()));
        }
        (Ok(Some(tallies)), Some(experiment)) => {
            checks.push(again(record, experiment, tallies));
        }
    }
    checks.push(compared);
    checks
}

fn told(what: &str, matches: Option<bool>, say: String) -> Check {
    Check { what: what.to_owned(), matches, say }
}

fn defined(record: &Record, definition: &str) -> Check {
    // The entry's hash also covers the file's `status`, which is no part of what is compared.
    let with = |status: &str| {
        let mut parts = record.parts.clone();
        parts.insert("status".to_owned(), status.to_owned());
        definition::digest(&parts)
    };
    let known = ["draft", "running", "stopped"];
    let matches = known.iter().any(|status| with(status) == definition)
        || definition::digest(&record.parts) == definition;
    let say = match matches {
        true => "the definition is the one that its hash names",
        false => "the definition is not the one that its hash names",
    };
    told("definition", Some(matches), say.to_owned())
}

/// The tallies of a record; `None` where one is kept as its hash alone.
fn counted(record: &Record) -> Result<Option<Tallies>, String> {
    let mut tallies = Tallies::new();
    for (name, counts) in &record.counts {
        let Some(text) = &counts.tally else { return Ok(None) };
        if blake3::hash(text.as_bytes()).to_hex().to_string() != counts.digest {
            return Err(format!("the counts of {name} are not those that their hash names"));
        }
        let tally = serde_json::from_str(text);
        let tally = tally.map_err(|error| format!("the counts of {name} are unreadable: {error}"));
        tallies.insert(name.clone(), tally?);
    }
    Ok(Some(tallies))
}

fn again(record: &Record, experiment: &Experiment, mut tallies: Tallies) -> Check {
    let mut then = experiment.as_of(&record.parts);
    then.standing.epoch = record.epoch;
    let funnel: Funnel = serde_json::from_str(&record.funnel).unwrap_or_default();
    let again = tallies.remove(AGAIN);
    let counted = Counted {
        funnel: &funnel,
        tallies: &tallies,
        again: again.as_ref(),
        broken: &record.broken,
    };
    let report = report::report(&then, counted, Detail::Verdict);
    let found = rulings(&report);
    let differing = record.rulings.iter().find(|(name, ruling)| found.get(*name) != Some(ruling));
    match differing {
        None => {
            let each = record.rulings.iter().map(|(name, ruling)| {
                format!("{name} {} after {} pairs", ruling.verdict, ruling.pairs)
            });
            let each = each.collect::<Vec<_>>().join(", ");
            told("verdict", Some(true), format!("the counts give the same verdict again: {each}"))
        }
        Some((name, was)) => {
            let now = found.get(name).map_or("nothing".to_owned(), |now| now.verdict.to_string());
            let say = format!("the counts give {now} for {name}, and {} is written", was.verdict);
            told("verdict", Some(false), say)
        }
    }
}

/// Whether the stored scores are those that were counted, in words and for whoever goes on.
fn compared(record: &Record, stored: Option<&Tallies>) -> (Check, bool) {
    let Some(stored) = stored else {
        return (told("store", None, "the scores themselves are not here".to_owned()), false);
    };
    let differing: Vec<String> = record
        .counts
        .iter()
        .filter(|(name, counts)| {
            let tally = stored.get(*name).cloned().unwrap_or_default();
            self::counts(&tally).digest != counts.digest
        })
        .map(|(name, _)| name.clone())
        .collect();
    if differing.is_empty() {
        let say = "the stored scores are those that were counted".to_owned();
        return (told("store", Some(true), say), true);
    }
    let pairs = |name: &String| stored.get(name).map_or(0, Tally::scored);
    let is_more = |name: &String| match record.rulings.get(name) {
        Some(ruling) => pairs(name) > ruling.pairs,
        None => name == AGAIN,
    };
    let names = differing.join(", ");
    // A verdict that a judge was already writing is stored a moment after the count.
    let check = match differing.iter().all(is_more) {
        true => {
            let say = format!("of {names} more scores are stored than were counted just then");
            told("store", None, say)
        }
        false => {
            let say = format!("the stored scores of {names} are not those that were counted");
            told("store", Some(false), say)
        }
    };
    (check, false)
}
