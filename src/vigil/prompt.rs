//! What a sentinel asks for the first time, with the answers that are known already.

use bytes::Bytes;

use crate::backtest::Recorded;
use crate::backtest::index;
use crate::backtest::line::Asked;
use crate::backtest::sieve::Sieve;
use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment;
use crate::pair::Half;
use crate::pair::Origin;
use crate::pair::PairId;
use crate::rehearsal::Ask;
use crate::rehearsal::run::Repertoire;
use crate::sentinel;
use crate::sentinel::MAX_PROMPTS;
use crate::sentinel::Prompts;
use crate::sentinel::Sentinel;
use crate::store::Store;

/// What is asked.
///
/// # Errors
/// There is nothing to ask, or it cannot be read.
pub fn asks(sieve: &Sieve, sentinel: &Sentinel, store: &Store) -> Result<Vec<Ask>> {
    let asks = match &sentinel.prompts {
        Prompts::Here(prompts) => {
            let target = &sentinel.shipped.target;
            let bodies = prompts.iter().map(|prompt| sentinel::body(prompt, target).to_string());
            bodies.map(|body| here(sieve, Bytes::from(body))).collect::<Result<Vec<_>>>()?
        }
        Prompts::File(path) => {
            let files = [path.clone()];
            let index = index::read(sieve, &files)?;
            let mut recorded = Recorded::new(sieve.clone(), &files, index, MAX_PROMPTS)?;
            let count = recorded.ids().len();
            (0..count).map(|at| recorded.ask(at)).collect::<Result<Vec<_>>>()?
        }
        Prompts::Scored { experiment, last } => scored(sentinel, experiment, *last, store)?,
    };
    match asks.is_empty() {
        true => Err(Error::new(Kind::BadRequest, "there are no prompts to ask")),
        false => Ok(asks),
    }
}

fn here(sieve: &Sieve, body: Bytes) -> Result<Ask> {
    let asked = Asked {
        dialect: DialectName::OpenAi,
        in_path: None,
        provider: None,
        query: None,
        body,
        assigned: None,
        request_id: String::new(),
    };
    let taken = sieve
        .take(&asked)
        .map_err(|why| Error::new(Kind::BadRequest, format!("a prompt cannot be asked: {why}")))?;
    Ok(Ask { id: taken.id, intent: taken.intent, half: None })
}

/// The prompts of the newest scored pairs of the newest epoch that has any.
fn scored(sentinel: &Sentinel, name: &str, last: usize, store: &Store) -> Result<Vec<Ask>> {
    let runs = store.experiments()?;
    let epoch = |run: &String| run.split_once('@').map_or(Ok(1), |(_, epoch)| epoch.parse::<u32>());
    let mut runs: Vec<(u32, String)> = runs
        .into_iter()
        .filter(|run| experiment::name_of(run) == name)
        .filter_map(|run| Some((epoch(&run).ok()?, run)))
        .collect();
    runs.sort_unstable();
    while let Some((_, run)) = runs.pop() {
        let mut pairs: Vec<(i64, PairId)> = store.scored_ids(&run)?;
        pairs.sort_unstable_by_key(|(at_ms, id)| (std::cmp::Reverse(*at_ms), *id));
        pairs.dedup_by_key(|(_, id)| *id);
        let asks: Vec<Ask> =
            pairs.iter().filter_map(|(_, id)| again(sentinel, *id, store)).take(last).collect();
        if !asks.is_empty() {
            return Ok(asks);
        }
    }
    let what = format!(
        "{name} has no scored pair with an answer of {}: it is tried again when the next run is due",
        sentinel.shipped.target
    );
    Err(Error::new(Kind::NotFound, what))
}

/// The prompt of a pair, and what the shipped target answered then.
fn again(sentinel: &Sentinel, id: PairId, store: &Store) -> Option<Ask> {
    let mut intent = store.intent(id)?;
    let shipped = sentinel.shipped.target.to_string();
    let mut halves = intent.head.variants.iter().filter_map(|variant| store.half(id, variant));
    let half = halves.find(|half| half.target == shipped)?;
    let experiment = sentinel.as_experiment(1);
    intent.head.variants = experiment.variants().map(|variant| variant.name.clone()).collect();
    intent.head.experiment = sentinel.name.clone();
    let variant = sentinel.shipped.name.clone();
    Some(Ask { id, intent, half: Some(Half { variant, origin: Origin::Recorded, ..half }) })
}
