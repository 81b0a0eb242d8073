//! What stored exchanges and pairs say of the traffic that an experiment takes.

use std::collections::HashSet;

use http::HeaderMap;

use crate::board;
use crate::chat::Usage;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Match;
use crate::experiment::Target;
use crate::experiment::assign::Asking;
use crate::experiment::assign::Body;
use crate::forecast::traffic::Known;
use crate::forecast::traffic::Traffic;
use crate::key::CacheKey;
use crate::price::Prices;
use crate::store::Store;
use crate::store::exchange::Exchange;
use crate::tally::Tally;

/// The newest exchanges that are looked at.
const MOST: u64 = 20_000;

/// Tokens of the judge's instructions, of a verdict, and of one with reasons.
const JUDGE_ASKED: u64 = 350;
const JUDGE_SAID: u64 = 5;
const JUDGE_REASONED: u64 = 150;

const HOUR_MS: f64 = 3_600_000.0;

/// Sums over the exchanges that would take part.
#[derive(Default)]
struct Seen {
    requests: u64,
    prompts: HashSet<CacheKey>,
    oldest_ms: Option<i64>,
    newest_ms: Option<i64>,
    control: Sum,
    candidate: Sum,
    judge: Sum,
}

/// A mean in the making.
#[derive(Default)]
struct Sum {
    of: u64,
    nano_usd: u64,
}

impl Sum {
    fn add(&mut self, nano_usd: Option<u64>) {
        if let Some(nano_usd) = nano_usd {
            self.of += 1;
            self.nano_usd = self.nano_usd.saturating_add(nano_usd);
        }
    }

    fn mean(&self) -> Option<Known> {
        let mean = self.nano_usd as f64 / self.of.max(1) as f64 / 1e9;
        (self.of > 0).then(|| Known::measured(mean, self.of))
    }
}

/// What is known without looking at anything: the judge of an experiment without one is free.
pub fn untouched(experiment: &Experiment) -> Traffic {
    let mut traffic = Traffic::unknown(experiment);
    traffic.judge_usd = experiment.evaluate.judges().is_empty().then(|| Known::given(0.0));
    traffic
}

/// What is known from the store.
///
/// # Errors
/// The store cannot be read.
pub fn traffic(store: &Store, experiment: &Experiment, prices: &Prices) -> Result<Traffic> {
    let mut traffic = untouched(experiment);
    let seen = look(store, experiment, prices);
    let repeats = seen.prompts.len() as f64 / seen.requests.max(1) as f64;
    if seen.requests > 0 {
        traffic.pairs_per_sampled = Known::measured(repeats, seen.requests);
        let span_ms = seen.newest_ms.zip(seen.oldest_ms).map_or(0, |(new, old)| new - old);
        // The first request opens the span, so it is not counted in it.
        let hours = span_ms as f64 / HOUR_MS;
        let share = experiment.matches.share.fraction();
        let rate = (seen.requests - 1) as f64 * share / hours;
        let is_known = seen.requests > 1 && hours > 0.0;
        traffic.requests_per_hour = is_known.then(|| Known::measured(rate, seen.requests));
        note(experiment, &mut traffic);
    }
    traffic.control_usd = seen.control.mean();
    traffic.candidate_usd = seen.candidate.mean();
    let tallies = tallies(store, experiment)?;
    let scores = tallies.iter().max_by_key(|tally| tally.win_rate.pairs());
    if let Some(tally) = scores.filter(|tally| tally.win_rate.pairs() > 0) {
        traffic = traffic.with_scores(&tally.win_rate);
    }
    let pairs: u64 = tallies.iter().map(Tally::scored).sum();
    let spent: u64 = tallies.iter().map(|tally| tally.judge.cost_nano_usd).sum();
    let is_priced = tallies.iter().all(|tally| tally.judge.unpriced == 0);
    let each = || Known::measured(spent as f64 / 1e9 / pairs as f64, pairs);
    traffic.judge_usd = match pairs {
        _ if experiment.evaluate.judges().is_empty() => Some(Known::given(0.0)),
        0 => seen.judge.mean(),
        _ => is_priced.then(each),
    };
    Ok(traffic)
}

fn tallies(store: &Store, experiment: &Experiment) -> Result<Vec<Tally>> {
    let mut tallies = Vec::new();
    for candidate in &experiment.candidates {
        let name = &candidate.variant.name;
        tallies.push(board::tally(experiment, name, store, i64::MAX)?);
    }
    Ok(tallies)
}

fn look(store: &Store, experiment: &Experiment, prices: &Prices) -> Seen {
    let mut seen = Seen::default();
    // What is not stored cannot be asked for.
    let matches = Match { headers: Vec::new(), tenants: Vec::new(), ..experiment.matches.clone() };
    let mut left = MOST;
    store.scan(None, &mut |exchange| {
        if takes_part(experiment, &matches, &exchange) {
            seen.add(experiment, &exchange, prices);
        }
        left -= 1;
        left > 0
    });
    seen
}

fn takes_part(experiment: &Experiment, matches: &Match, exchange: &Exchange) -> bool {
    let head = &exchange.head;
    let assigned = head.assigned.as_deref().and_then(|assigned| assigned.split_once('='));
    if assigned.is_some_and(|(name, _)| name == experiment.name) {
        return true;
    }
    let Some(target) = Target::parse(&head.target) else { return false };
    matches.accepts(&Asking {
        model: &head.asked.model,
        target: &target,
        headers: &HeaderMap::new(),
        tenant: &[0; 32],
        body: Body::new(&exchange.request),
    })
}

impl Seen {
    fn add(&mut self, experiment: &Experiment, exchange: &Exchange, prices: &Prices) {
        let head = &exchange.head;
        self.requests += 1;
        self.prompts.insert(head.key);
        let at = head.answered_ms;
        self.oldest_ms = Some(self.oldest_ms.map_or(at, |oldest| oldest.min(at)));
        self.newest_ms = Some(self.newest_ms.map_or(at, |newest| newest.max(at)));
        let Some(usage) = &head.usage else { return };
        let control = &experiment.control.target;
        let paid = head.cost_nano_usd.filter(|_| head.target == control.to_string());
        self.control.add(paid.or_else(|| prices.cost_nano_usd(control, usage)));
        let plain = Usage { cache_write_tokens: None, cached_input_tokens: None, ..*usage };
        for candidate in &experiment.candidates {
            self.candidate.add(prices.cost_nano_usd(&candidate.variant.target, &plain));
        }
        self.judge.add(judged(experiment, usage, prices));
    }
}

/// What judging a pair of answers like this one would cost, all judges and orders together.
fn judged(experiment: &Experiment, usage: &Usage, prices: &Prices) -> Option<u64> {
    let (input, output) = (usage.input_tokens?, usage.output_tokens?);
    let mut sum = 0.0;
    for judge in experiment.evaluate.judges() {
        let asked = Usage {
            input_tokens: Some(input.saturating_add(output.saturating_mul(2)) + JUDGE_ASKED),
            output_tokens: Some(if judge.reasons { JUDGE_REASONED } else { JUDGE_SAID }),
            ..Usage::default()
        };
        let calls = 1.0 + judge.both_orders.fraction() + judge.repeat.fraction();
        sum += prices.cost_nano_usd(&judge.target, &asked)? as f64 * calls;
    }
    Some((sum * experiment.evaluate.sample.fraction()).round() as u64)
}

fn note(experiment: &Experiment, traffic: &mut Traffic) {
    let matches = &experiment.matches;
    if !matches.headers.is_empty() || !matches.tenants.is_empty() {
        traffic.notes.push(
            "headers and tenants are not stored, so every stored request that meets the other \
             conditions counts, and the real rate may be lower"
                .to_owned(),
        );
    }
    if experiment.layer.is_some() {
        traffic.notes.push("the layer's slice is not taken off the rate".to_owned());
    }
}
