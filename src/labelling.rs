//! Which pairs wait for a person's word, and what the person is shown of them.

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Judges;
use crate::judge::pair::Pair;
use crate::judge::shown;
use crate::label;
use crate::label::Given;
use crate::label::Label;
use crate::pair::Outcome;
use crate::pair::PairId;
use crate::store::Store;
use crate::wire::turn;

/// The most pairs that are shown at once.
pub const MOST: usize = 100;

/// What is to be labelled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// Pairs that people have labelled.
    pub labelled: u64,
    /// Pairs that they have not.
    pub left: u64,
    /// The first of those.
    pub pairs: Vec<Shown>,
}

/// A pair as a person sees it: nothing tells which answer is whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The pair's name.
    pub pair: String,
    /// The candidate whose pair it is.
    pub candidate: String,
    /// The conversation that both answers continue.
    pub prompt: Vec<Turn>,
    /// One answer.
    pub a: String,
    /// The other.
    pub b: String,
}

/// A turn of the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: String,
    /// What is said.
    pub text: String,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this candidate only.
    pub candidate: Option<String>,
    /// Pass over so many.
    pub skip: usize,
    /// Show so many at most.
    pub limit: usize,
}

/// The pairs of an experiment that wait for a label, in the order in which they should get theirs.
///
/// # Errors
/// There is no such candidate, or the store cannot be read.
pub fn waiting(store: &Store, experiment: &Experiment, wanted: &Wanted) -> Result<Waiting> {
    let names: Vec<&str> = names(experiment, wanted.candidate.as_deref())?;
    let (run, mut all) = (experiment.run(), Waiting::default());
    let mut unlabelled: Vec<(PairId, &str)> = Vec::new();
    for name in names {
        let labels = store.labels(&run, name)?;
        let mut ids: Vec<PairId> = Vec::new();
        for (id, scored) in store.scores(&run, name)? {
            if matches!(scored.outcome, Outcome::Judged { .. } | Outcome::Settled { .. }) {
                ids.push(id);
            }
        }
        ids.extend(unscored(store, experiment, name)?);
        all.labelled += ids.iter().filter(|id| labels.contains_key(id)).count() as u64;
        unlabelled
            .extend(ids.into_iter().filter(|id| !labels.contains_key(id)).map(|id| (id, name)));
    }
    unlabelled.sort_by_key(|(id, name)| (label::place(*id), *id, *name));
    all.left = unlabelled.len() as u64;
    let shown = unlabelled.into_iter().skip(wanted.skip);
    let shown = shown.filter_map(|(id, name)| show(store, id, name));
    all.pairs = shown.take(wanted.limit.min(MOST)).collect();
    Ok(all)
}

/// The label that was given, with the run and the pair it is of.
///
/// # Errors
/// There is no such pair, or nobody needs to be asked about it.
pub fn label(store: &Store, experiment: &Experiment, given: &Given) -> Result<(PairId, Label)> {
    let id = given.id()?;
    let name = names(experiment, Some(&given.candidate))?;
    let name = name.first().copied().unwrap_or_default();
    let run = experiment.run();
    match store.score(&run, name, id).map(|scored| scored.outcome) {
        Some(Outcome::Equal { comparator }) => {
            let what = format!("comparator {comparator} finds both answers equal: it is a tie");
            return Err(Error::new(Kind::BadRequest, what));
        }
        Some(_) => {}
        None if store.half(id, name).is_some() => {}
        None => {
            let what = format!("{} has no pair {} of {name}", experiment.name, given.pair);
            return Err(Error::new(Kind::NotFound, what));
        }
    }
    let at_ms = jiff::Timestamp::now().as_millisecond();
    Ok((id, Label { score: given.prefers.score(id), by: given.by.clone(), at_ms }))
}

fn names<'e>(experiment: &'e Experiment, wanted: Option<&str>) -> Result<Vec<&'e str>> {
    let all = experiment.candidates.iter().map(|candidate| candidate.variant.name.as_str());
    let found: Vec<&str> =
        all.clone().filter(|name| wanted.is_none_or(|wanted| wanted == *name)).collect();
    match (wanted, found.is_empty()) {
        (Some(wanted), true) => {
            let all = all.collect::<Vec<_>>().join(", ");
            let what = format!("{} has no candidate \"{wanted}\": {all}", experiment.name);
            Err(Error::new(Kind::NotFound, what))
        }
        _ => Ok(found),
    }
}

/// Whole pairs that only a person can score.
fn unscored(store: &Store, experiment: &Experiment, candidate: &str) -> Result<Vec<PairId>> {
    if experiment.evaluate.judge != Judges::People {
        return Ok(Vec::new());
    }
    let run = experiment.run();
    let is_whole = |open: &crate::store::pair::Open| {
        let has = |name: &str| open.answered.iter().any(|answered| answered == name);
        open.head.experiment == run
            && open.head.variants.first().is_some_and(|control| has(control))
            && has(candidate)
            && !store.has_score(&run, candidate, open.id)
    };
    Ok(store.open_pairs()?.into_iter().filter(is_whole).map(|open| open.id).collect())
}

fn show(store: &Store, id: PairId, candidate: &str) -> Option<Shown> {
    let Pair { turns, control, candidate: other, .. } = Pair::read(store, id, candidate)?;
    let (control, other) = (shown::answer(&control.answer), shown::answer(&other.answer));
    let (a, b) = match label::shows_control_first(id) {
        true => (control, other),
        false => (other, control),
    };
    let turn = |turn: turn::Turn| Turn { role: turn.role, text: turn.text };
    let prompt = turns.into_iter().map(turn).collect();
    Some(Shown { pair: id.to_string(), candidate: candidate.to_owned(), prompt, a, b })
}
