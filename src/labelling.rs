//! Which pairs wait for a person's word, and what the person is shown of them.

use serde::Deserialize;
use serde::Serialize;

use crate::chat::Answer;
use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::label;
use crate::label::Given;
use crate::label::Label;
use crate::pair::Intent;
use crate::pair::Outcome;
use crate::pair::PairId;
use crate::store::Store;
use crate::wire::InPath;
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
            if matches!(scored.outcome, Outcome::Judged { .. }) {
                ids.push(id);
            }
        }
        ids.extend(unscored(store, experiment, name)?);
        all.labelled += ids.iter().filter(|id| labels.contains_key(id)).count() as u64;
        unlabelled.extend(ids.into_iter().filter(|id| !labels.contains_key(id)).map(|id| (id, name)));
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
    let judge = experiment.evaluate.judge.as_ref();
    if judge.is_none_or(|judge| judge.target.provider != "human") {
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
    let intent = store.intent(id)?;
    let control = told(&store.half(id, intent.head.variants.first()?)?.answer);
    let other = told(&store.half(id, candidate)?.answer);
    let (a, b) = match label::shows_control_first(id) {
        true => (control, other),
        false => (other, control),
    };
    Some(Shown {
        pair: id.to_string(),
        candidate: candidate.to_owned(),
        prompt: prompt(&intent),
        a,
        b,
    })
}

fn prompt(intent: &Intent) -> Vec<Turn> {
    let in_path = intent.head.in_path.clone().map(|(model, stream)| InPath { model, stream });
    let dialect = DialectName::parse(&intent.head.dialect).map(DialectName::dialect);
    let head = dialect.and_then(|d| Some((d, d.read_head(intent.request.clone(), in_path).ok()?)));
    let turns = head.map(|(dialect, head)| turn::turns(dialect, &head)).unwrap_or_default();
    turns.into_iter().map(|turn| Turn { role: turn.role, text: turn.text }).collect()
}

/// The words of an answer, and the tools that it calls.
fn told(answer: &Answer) -> String {
    let Some(choice) = answer.choices.first() else { return String::new() };
    let calls = choice.tool_calls.iter();
    let calls = calls.map(|call| format!("\n[calls {}({})]", call.name, call.arguments));
    [choice.said().to_owned()].into_iter().chain(calls).collect()
}
