//! What calls cost, summed over everything that whoever pays may ask about.

pub mod view;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::chat::Usage;
use crate::experiment::Target;

const HOUR_MS: i64 = 3_600_000;

/// An hour of UTC, counted from 1970.
pub type Hour = i64;

/// Hours of a day.
pub const DAY: i64 = 24;

/// What a call was made for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// An application waited for its answer.
    #[default]
    Live,
    /// A copy of a request, to make a pair.
    Shadow,
    /// A question to a judge.
    Judge,
}

impl Purpose {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Shadow => "shadow",
            Self::Judge => "judge",
        }
    }
}

/// What is summed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Line {
    /// Who called, by the name in the configuration; empty where callers have no names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub caller: String,
    /// What the configuration says of the caller, such as its team.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The experiment that the request takes part in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub experiment: String,
    /// The variant it was assigned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Who was paid.
    pub provider: String,
    /// For what.
    pub model: String,
    /// Why.
    pub purpose: Purpose,
}

impl Line {
    /// Of a call to a target, for nobody in particular.
    pub fn of(target: &Target, purpose: Purpose) -> Self {
        let Target { provider, model } = target.clone();
        Self { provider, model, purpose, ..Self::default() }
    }

    /// The same as part of an experiment, if `assigned` is `experiment=variant`.
    #[must_use]
    pub fn assigned(self, assigned: Option<&str>) -> Self {
        let assigned = assigned.and_then(|assigned| assigned.split_once('='));
        let (experiment, variant) = assigned.unwrap_or_default();
        Self { experiment: experiment.to_owned(), variant: variant.to_owned(), ..self }
    }
}

/// What calls come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Calls made.
    pub calls: u64,
    /// Those of them that no whole good answer came of.
    pub failed: u64,
    /// Answers that took no call of their own: stored ones, and those of another's call.
    pub from_cache: u64,
    /// Prompt tokens, as far as providers told or they were estimated.
    pub input_tokens: u64,
    /// Those of them that the provider had in its cache.
    pub cached_input_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// What is known to have been spent, billionths of a dollar.
    pub cost_nano_usd: u64,
    /// Calls whose cost is an estimate, because they were cut before their tokens were told.
    pub estimated: u64,
    /// Calls whose cost is not known, which is in no sum.
    pub unknown: u64,
    /// What stored answers cost when they were made, billionths of a dollar.
    pub saved_nano_usd: u64,
}

impl Sums {
    /// Of one call that may have cost something.
    pub fn call(usage: Option<&Usage>, cost_nano_usd: Option<u64>) -> Self {
        let count = |of: fn(&Usage) -> Option<u64>| usage.and_then(of).unwrap_or(0);
        Self {
            calls: 1,
            input_tokens: count(|usage| usage.input_tokens),
            cached_input_tokens: count(|usage| usage.cached_input_tokens),
            output_tokens: count(|usage| usage.output_tokens),
            cost_nano_usd: cost_nano_usd.unwrap_or(0),
            unknown: u64::from(cost_nano_usd.is_none()),
            ..Self::default()
        }
    }

    /// Of one call that was refused or never answered, for which no provider asks money.
    pub fn failure() -> Self {
        Self { calls: 1, failed: 1, ..Self::default() }
    }

    /// Of one stored answer that cost so much when it was made.
    pub fn hit(saved_nano_usd: Option<u64>) -> Self {
        Self { from_cache: 1, saved_nano_usd: saved_nano_usd.unwrap_or(0), ..Self::default() }
    }

    /// Adds others.
    pub fn add(&mut self, others: &Self) {
        // Without `..`, so that a new sum does not compile until it is here.
        let Self {
            calls,
            failed,
            from_cache,
            input_tokens,
            cached_input_tokens,
            output_tokens,
            cost_nano_usd,
            estimated,
            unknown,
            saved_nano_usd,
        } = others;
        for (sum, more) in [
            (&mut self.calls, calls),
            (&mut self.failed, failed),
            (&mut self.from_cache, from_cache),
            (&mut self.input_tokens, input_tokens),
            (&mut self.cached_input_tokens, cached_input_tokens),
            (&mut self.output_tokens, output_tokens),
            (&mut self.cost_nano_usd, cost_nano_usd),
            (&mut self.estimated, estimated),
            (&mut self.unknown, unknown),
            (&mut self.saved_nano_usd, saved_nano_usd),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }
}

/// The hour of a moment in Unix milliseconds.
pub fn hour(unix_ms: i64) -> Hour {
    unix_ms.div_euclid(HOUR_MS)
}

/// The first hour of the same day.
pub fn day_of(hour: Hour) -> Hour {
    hour.div_euclid(DAY) * DAY
}

/// The trace that a `traceparent` header names (W3C Trace Context), in lower case.
pub fn trace_of(traceparent: &str) -> Option<String> {
    let mut parts = traceparent.trim().split('-');
    let trace = parts.nth(1)?.to_ascii_lowercase();
    let is_id = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && trace.bytes().any(|byte| byte != b'0')).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::Sums;
    use super::trace_of;

    #[test]
    fn a_cost_that_is_not_known_is_counted_and_not_summed() {
        let mut sums = Sums::call(None, Some(5));
        sums.add(&Sums::call(None, None));
        sums.add(&Sums::hit(Some(7)));
        assert_eq!((sums.calls, sums.cost_nano_usd, sums.unknown), (2, 5, 1));
        assert_eq!((sums.from_cache, sums.saved_nano_usd), (1, 7));
    }

    #[test]
    fn a_trace_is_read_from_its_header() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(trace_of(&format!("00-{id}-b7ad6b7169203331-01")).as_deref(), Some(id));
        assert_eq!(trace_of(&format!("00-{}-b7ad6b7169203331-01", "0".repeat(32))), None);
        assert_eq!(trace_of("nonsense"), None);
    }
}
