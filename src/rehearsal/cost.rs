//! The most that a pair can cost before it is made: its copies, and what the judge reads and writes.

use crate::chat::Usage;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::experiment::Share;
use crate::experiment::Target;
use crate::ledger;
use crate::price::Prices;
use crate::rehearsal::Ask;
use crate::tally::AGAIN;

/// Tokens that a judge may write in one call.
const VERDICT_TOKENS: u64 = 1024;

/// Bytes that stand around what the judge is shown.
const TEMPLATE_BYTES: u64 = 4096;

/// Bytes of text that a token can stand for, at most, in what is written for people.
const BYTES_OF_TOKEN: u64 = 8;

/// What a pair can cost at most, billionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Its copies.
    pub copies: u64,
    /// Its judge.
    pub judge: u64,
}

impl Most {
    /// That of a pair; of its judge alone unless copies count.
    ///
    /// # Errors
    /// A price is unknown, and then no limit could hold.
    pub fn of(
        experiment: &Experiment,
        prices: &Prices,
        ask: &Ask,
        copies_count: bool,
    ) -> Result<Self> {
        let judge = judge(experiment, prices, ask)?;
        let copies = if copies_count { copies(experiment, prices, ask)? } else { 0 };
        Ok(Self { copies, judge })
    }

    /// With another pair's.
    pub fn and(self, other: Self) -> Self {
        let copies = self.copies.saturating_add(other.copies);
        Self { copies, judge: self.judge.saturating_add(other.judge) }
    }

    /// Both together.
    pub fn total(self) -> u64 {
        self.copies.saturating_add(self.judge)
    }
}

/// Whether everybody who may be asked has a price.
///
/// # Errors
/// Somebody has none.
pub fn check_prices(experiment: &Experiment, prices: &Prices) -> Result<()> {
    let judges = experiment.evaluate.judges().iter().map(|judge| &judge.target);
    let mut targets = experiment.variants().map(|variant| &variant.target).chain(judges);
    let usage = Usage { input_tokens: Some(0), output_tokens: Some(0), ..Usage::default() };
    match targets.find(|target| prices.cost_nano_usd(target, &usage).is_none()) {
        Some(target) => Err(unpriced(target)),
        None => Ok(()),
    }
}

fn copies(experiment: &Experiment, prices: &Prices, ask: &Ask) -> Result<u64> {
    let there = ask.half.as_ref().map(|half| half.variant.as_str());
    let asked = ask.intent.head.variants.iter().filter(|name| Some(name.as_str()) != there);
    let mut copies: u64 = 0;
    for name in asked {
        let variant = match name.as_str() {
            AGAIN => Some(&experiment.control),
            name => experiment.variant(name),
        };
        let Some(variant) = variant else { continue };
        let most = ledger::most_nano_usd(prices, variant, &ask.intent.request);
        copies = copies.saturating_add(most.ok_or_else(|| unpriced(&variant.target))?);
    }
    Ok(copies)
}

fn judge(experiment: &Experiment, prices: &Prices, ask: &Ask) -> Result<u64> {
    let written =
        ledger::most_output_tokens(None, &ask.intent.request).saturating_mul(BYTES_OF_TOKEN);
    let control = ask.half.as_ref().map_or(written, |half| half.answer.text().len() as u64);
    let shown = (ask.intent.request.len() as u64).saturating_add(control).saturating_add(written);
    let pairs = (ask.intent.head.variants.len() as u64).saturating_sub(1);
    let mut sum: u64 = 0;
    for judge in experiment.evaluate.judges() {
        let own: usize = judge.criteria.iter().map(String::len).sum();
        // No tokenizer makes more tokens than bytes.
        let read = shown.saturating_add(TEMPLATE_BYTES + own as u64);
        let usage = Usage {
            input_tokens: Some(read),
            output_tokens: Some(VERDICT_TOKENS),
            ..Usage::default()
        };
        let call = prices.cost_nano_usd(&judge.target, &usage);
        let call = call.ok_or_else(|| unpriced(&judge.target))?;
        let orders = if judge.both_orders > Share::NONE { 2 } else { 1 };
        let times = if judge.repeat > Share::NONE { 2 } else { 1 };
        sum = sum.saturating_add(call.saturating_mul(orders * times));
    }
    Ok(sum.saturating_mul(pairs))
}

fn unpriced(target: &Target) -> Error {
    let what = format!("the price of {target} is not known, so no limit in dollars could hold");
    Error::new(Kind::BadRequest, what)
}
