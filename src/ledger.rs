//! What copies cost, by experiment and UTC day, and whether another one can be paid.
//!
//! Each copy is reserved at the most it can cost before it is sent, and settled at what it did
//! cost. The reservation is on disk before the copy leaves, so a budget holds across a crash.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::chat::request::Request;
use crate::experiment::Variant;
use crate::price::Prices;

/// Tokens that an answer may have where the request sets no limit.
const UNSTATED_OUTPUT_TOKENS: u64 = 4096;

/// Where the dialects say how long an answer may be.
const LIMITS: [&str; 5] = [
    "/max_completion_tokens",
    "/max_tokens",
    "/max_output_tokens",
    "/generationConfig/maxOutputTokens",
    "/inferenceConfig/maxTokens",
];

const DAY_MS: i64 = 24 * 3600 * 1000;

/// A day of UTC, counted from 1970.
pub type Day = i64;

/// What is spent or reserved, billionths of a dollar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    days: BTreeMap<(Day, String), u64>,
    /// Entries that changed since they were last stored.
    changed: BTreeMap<(Day, String), u64>,
}

/// The most that copies may cost in a day, dollars; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Caps {
    /// Those of the one experiment.
    pub experiment: Option<f64>,
    /// Those of all experiments together.
    pub all: Option<f64>,
}

/// What was set aside for one copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// The day on whose account it is.
    pub day: Day,
    /// Billionths of a dollar.
    pub nano_usd: u64,
}

/// The day of a moment in Unix milliseconds.
pub fn day(unix_ms: i64) -> Day {
    unix_ms.div_euclid(DAY_MS)
}

impl Ledger {
    /// As it was stored.
    pub fn new(entries: impl IntoIterator<Item = (Day, String, u64)>) -> Self {
        let days = entries.into_iter().map(|(day, name, nano)| ((day, name), nano)).collect();
        Self { days, changed: BTreeMap::new() }
    }

    /// Sets `most` aside; an error is the short stable word for why it cannot be paid.
    ///
    /// `most` is `None` when the price is unknown: then no budget could hold, so where there is
    /// one nothing is sent.
    ///
    /// # Errors
    /// The day's budget does not reach so far.
    pub fn reserve(
        &mut self,
        experiment: &str,
        now_ms: i64,
        most: Option<u64>,
        caps: Caps,
    ) -> Result<Reserved, &'static str> {
        let day = day(now_ms);
        let is_capped = caps.experiment.is_some() || caps.all.is_some();
        let nano_usd = match most {
            None if is_capped => return Err("shadow_unpriced"),
            most => most.unwrap_or(0),
        };
        let fits = |spent: u64, cap: Option<f64>| {
            cap.is_none_or(|usd| spent.saturating_add(nano_usd) <= nano(usd))
        };
        if !fits(self.of(day, experiment), caps.experiment) {
            return Err("shadow_budget");
        }
        if !fits(self.all(day), caps.all) {
            return Err("shadow_budget_of_all");
        }
        self.change(day, experiment, |spent| spent.saturating_add(nano_usd));
        Ok(Reserved { day, nano_usd })
    }

    /// Replaces what was reserved by what it cost; an unknown cost leaves the reservation spent.
    pub fn settle(&mut self, experiment: &str, reserved: Reserved, cost: Option<u64>) {
        let Some(cost) = cost else { return };
        self.change(reserved.day, experiment, |spent| {
            spent.saturating_sub(reserved.nano_usd).saturating_add(cost)
        });
    }

    /// What one experiment's copies of a day cost so far.
    pub fn of(&self, day: Day, experiment: &str) -> u64 {
        self.days.get(&(day, experiment.to_owned())).copied().unwrap_or(0)
    }

    /// What one experiment's copies cost on all days.
    pub fn total(&self, experiment: &str) -> u64 {
        let own = self.days.iter().filter(|((_, name), _)| name == experiment);
        own.fold(0, |sum: u64, (_, nano)| sum.saturating_add(*nano))
    }

    /// What has to be stored, once.
    pub fn take_changed(&mut self) -> BTreeMap<(Day, String), u64> {
        std::mem::take(&mut self.changed)
    }

    fn all(&self, day: Day) -> u64 {
        let today = self.days.range((day, String::new())..(day + 1, String::new()));
        today.fold(0, |sum: u64, (_, nano)| sum.saturating_add(*nano))
    }

    fn change(&mut self, day: Day, experiment: &str, change: impl FnOnce(u64) -> u64) {
        let key = (day, experiment.to_owned());
        let entry = self.days.entry(key.clone()).or_default();
        *entry = change(*entry);
        self.changed.insert(key, *entry);
    }
}

/// The most that one call can cost, billionths of a dollar; `None` when the price is unknown.
///
/// No tokenizer makes more tokens than bytes, so the body's length bounds the input. The output is
/// bounded by what the request allows.
pub fn most_nano_usd(prices: &Prices, variant: &Variant, body: &[u8]) -> Option<u64> {
    let mut request: Value = serde_json::from_slice(body).unwrap_or_default();
    let bytes = (body.len() + variant.changes().len()) as u64;
    if let Some(fields) = request.as_object_mut() {
        fields.extend(variant.patch.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    let output = output_tokens(&request);
    let usage = crate::chat::Usage {
        input_tokens: Some(bytes),
        output_tokens: Some(output),
        ..Default::default()
    };
    prices.cost_nano_usd(&variant.target, &usage)
}

/// The most tokens that the answers to a request may have together, as far as it says; its body is
/// looked into where it could not be read.
pub fn most_output_tokens(read: Option<&Request>, body: &[u8]) -> u64 {
    let Some(Request { sampling, embed, .. }) = read else {
        return output_tokens(&serde_json::from_slice(body).unwrap_or_default());
    };
    if embed.is_some() {
        return 0;
    }
    let answers = sampling.choices.unwrap_or(1).max(1);
    sampling.max_tokens.unwrap_or(UNSTATED_OUTPUT_TOKENS).saturating_mul(answers)
}

fn output_tokens(request: &Value) -> u64 {
    let stated = LIMITS.iter().filter_map(|at| request.pointer(at)?.as_u64()).max();
    let answers = request.get("n").and_then(Value::as_u64).unwrap_or(1).max(1);
    stated.unwrap_or(UNSTATED_OUTPUT_TOKENS).saturating_mul(answers)
}

/// Billionths, rounded so that a budget written in cents is exact.
fn nano(usd: f64) -> u64 {
    (usd * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::Caps;
    use super::DAY_MS;
    use super::Ledger;
    use super::Reserved;
    use super::most_nano_usd;
    use super::most_output_tokens;
    use crate::chat::DialectName;
    use crate::chat::request::Embed;
    use crate::chat::request::Request;
    use crate::experiment::Target;
    use crate::experiment::Variant;
    use crate::price::Prices;

    const CENT: u64 = 10_000_000;

    #[test]
    fn a_budget_is_used_to_the_cent_and_not_beyond() {
        let caps = Caps { experiment: Some(0.05), all: Some(0.07) };
        let mut ledger = Ledger::default();
        for _ in 0..5 {
            assert!(ledger.reserve("a", 0, Some(CENT), caps).is_ok());
        }
        assert_eq!(ledger.reserve("a", 0, Some(1), caps), Err("shadow_budget"));
        for _ in 0..2 {
            assert!(ledger.reserve("b", 0, Some(CENT), caps).is_ok());
        }
        assert_eq!(ledger.reserve("b", 0, Some(1), caps), Err("shadow_budget_of_all"));
        assert!(ledger.reserve("a", DAY_MS, Some(CENT), caps).is_ok(), "another day");
        assert_eq!((ledger.of(0, "a"), ledger.total("a")), (5 * CENT, 6 * CENT));
        let stored = ledger.take_changed().into_iter().map(|((day, name), n)| (day, name, n));
        assert_eq!(Ledger::new(stored).total("a"), 6 * CENT);
    }

    #[test]
    fn what_a_copy_did_not_cost_is_there_for_the_next() {
        let caps = Caps { experiment: Some(0.02), all: None };
        let mut ledger = Ledger::default();
        let reserved = ledger.reserve("a", DAY_MS - 1, Some(2 * CENT), caps).unwrap();
        assert_eq!(reserved, Reserved { day: 0, nano_usd: 2 * CENT });
        assert!(ledger.reserve("a", 5, Some(CENT), caps).is_err());
        ledger.settle("a", reserved, None);
        assert_eq!(ledger.of(0, "a"), 2 * CENT, "an unknown cost may have been all of it");
        ledger.settle("a", reserved, Some(CENT));
        assert!(ledger.reserve("a", 5, Some(CENT), caps).is_ok());
    }

    #[test]
    fn an_unknown_price_is_sent_only_where_no_budget_is_to_hold() {
        let mut ledger = Ledger::default();
        assert!(ledger.reserve("a", 0, None, Caps::default()).is_ok());
        let caps = Caps { experiment: None, all: Some(1.0) };
        assert_eq!(ledger.reserve("a", 0, None, caps), Err("shadow_unpriced"));
    }

    #[test]
    fn how_long_answers_may_be_is_the_same_of_a_request_that_was_read_and_of_its_body() {
        let of = |max_tokens, choices| {
            let mut read = Request::new(DialectName::OpenAi, "m");
            (read.sampling.max_tokens, read.sampling.choices) = (max_tokens, choices);
            most_output_tokens(Some(&read), b"")
        };
        assert_eq!(of(Some(100), Some(3)), 300);
        assert_eq!(most_output_tokens(None, br#"{"max_tokens":100,"n":3}"#), 300);
        assert_eq!(of(None, None), most_output_tokens(None, b"{}"));
        assert_eq!(of(Some(u64::MAX), Some(2)), u64::MAX);
        let mut vectors = Request::new(DialectName::OpenAi, "m");
        vectors.embed = Some(Embed::default());
        assert_eq!(most_output_tokens(Some(&vectors), b""), 0);
    }

    #[test]
    fn the_most_a_copy_costs_counts_every_answer_it_may_give() {
        let variant = |model: &str| Variant {
            name: "next".into(),
            target: Target { provider: "openai".into(), model: model.into() },
            patch: Map::new(),
            system: None,
            tools: None,
        };
        let prices = Prices::built_in();
        let most = |body: &str| most_nano_usd(&prices, &variant("gpt-4o-mini"), body.as_bytes());
        let (one, two) = (r#"{"max_tokens":1000}"#, r#"{"max_tokens":1000,"n":2}"#);
        assert_eq!(most(one), Some(1000 * 600 + one.len() as u64 * 150));
        assert_eq!(most(two), Some(2000 * 600 + two.len() as u64 * 150));
        assert_eq!(most("{}"), Some(4096 * 600 + 2 * 150));
        assert_eq!(most_nano_usd(&prices, &variant("unknown"), b"{}"), None);
    }
}
