//! What is counted of one run of an experiment, and how it follows from what is stored.

use std::collections::BTreeMap;
use std::collections::HashMap;

use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Judges;
use crate::exposure::Exposures;
use crate::feedback::Opinion;
use crate::store::Store;
use crate::tally::AGAIN;
use crate::tally::Funnel;
use crate::tally::Tally;
use crate::tally::UnderWay;

/// What is counted of one run.
#[derive(Debug, Default)]
pub struct Counts {
    /// From requests to scores.
    pub funnel: Funnel,
    /// By candidate, and of control when it is asked again.
    pub tallies: BTreeMap<String, Tally>,
    /// Who met what.
    pub exposures: Exposures,
    /// What people said, by variant.
    pub opinions: BTreeMap<String, Opinion>,
    /// Copies that each candidate has answered since this process began.
    pub copied: BTreeMap<String, u64>,
}

impl Counts {
    /// What the store holds of a run.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load(experiment: &Experiment, store: &Store) -> Result<Self> {
        let counters = store.funnel(&experiment.run());
        let mut funnel: Funnel =
            counters.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
        let mut tallies = BTreeMap::new();
        let again = AGAIN.to_owned();
        let names = experiment.candidates.iter().map(|candidate| &candidate.variant.name);
        for name in names.chain([&again]) {
            tallies.insert(name.clone(), tally(experiment, name, store, i64::MAX)?);
        }
        // Scores are the truth; the counters may lag behind them after a crash.
        let own = tallies.iter().filter(|(name, _)| *name != AGAIN).map(|(_, tally)| tally);
        funnel.scored = own.clone().map(Tally::scored).sum();
        funnel.unsampled = own.clone().map(|tally| tally.unsampled).sum();
        funnel.unjudged = own.map(Tally::without_verdict).sum();
        if let Some(tally) = tallies.get(AGAIN) {
            let unjudged = tally.without_verdict() + tally.unsampled;
            (funnel.noise.scored, funnel.noise.unjudged) = (tally.scored(), unjudged);
        }
        funnel.catch_up(UnderWay::default(), UnderWay::default());
        let epoch = experiment.standing.epoch;
        let mut exposures = Exposures::of_epoch(epoch);
        store.units(&experiment.run(), epoch, &mut |row| exposures.renew(None, row))?;
        let mut opinions: BTreeMap<String, Opinion> = BTreeMap::new();
        store.all_said(&experiment.run(), &mut |said| {
            opinions.entry(said.variant.clone()).or_default().add(&said);
        })?;
        Ok(Self { funnel, tallies, exposures, opinions, copied: BTreeMap::new() })
    }
}

/// Counts a candidate's stored pairs, with what was scored and labelled until a moment in Unix
/// milliseconds.
///
/// # Errors
/// The store cannot be read.
pub fn tally(
    experiment: &Experiment,
    candidate: &str,
    store: &Store,
    until_ms: i64,
) -> Result<Tally> {
    let run = experiment.run();
    let labels = match is_judged_by_people(experiment) {
        true => HashMap::new(),
        false => store.labels(&run, candidate)?,
    };
    let mut tally = Tally::default();
    for (id, scored) in store.scores(&run, candidate)? {
        if scored.scored_ms <= until_ms {
            let label = labels.get(&id).filter(|label| label.at_ms <= until_ms);
            tally.add(&scored, label.map(|label| label.score));
        }
    }
    Ok(tally)
}

/// Whether the labels are the scores, which then need no correction by them.
pub fn is_judged_by_people(experiment: &Experiment) -> bool {
    experiment.evaluate.judge == Judges::People
}
