//! What a finished live answer says of the variant that gave it, and the sum of what all have said.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::chat::Answer;
use crate::chat::Choice;
use crate::chat::Stop;
use crate::chat::ToolCall;
use crate::chat::Usage;
use crate::chat::request::Request;
use crate::chat::request::Tool;
use crate::compare::refusal;
use crate::compare::schema;
use crate::compare::shape::misshapen;
use crate::experiment::Metric;
use crate::stats::Histogram;
use crate::stats::Rate;
use crate::stats::Sums;

/// What one request says of its variant: one whose answer came from the provider while somebody
/// waited for it, not from a cache, another's call or a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// There is no whole answer; what follows on its content then means nothing.
    pub failed: bool,
    /// The model declined.
    pub refused: bool,
    /// There is neither a word nor a call in it.
    pub empty: bool,
    /// It stopped at the limit of tokens.
    pub truncated: bool,
    /// It is not of the shape that was asked for; `None` if none was.
    pub schema_invalid: Option<bool>,
    /// A call is to no tool of the request, or with arguments that the tool does not take; `None`
    /// without calls.
    pub tool_invalid: Option<bool>,
    /// Microseconds until the first piece of the body, if there was one.
    pub first_us: Option<u64>,
    /// Microseconds until the end, or until it was given up.
    pub took_us: Option<u64>,
    /// Tokens in and out, if the provider said.
    pub tokens: Option<u64>,
    /// Price in billionths of a dollar, if it is known.
    pub cost_nano_usd: Option<u64>,
}

/// What a live answer says, and of whom.
#[derive(Clone, Debug)]
pub struct Served {
    /// The run of the experiment that its request takes part in.
    pub run: String,
    /// The variant it was assigned.
    pub variant: String,
    /// What it says.
    pub sample: Sample,
}

impl Sample {
    /// Of a request that came to nothing, after so long.
    pub fn failure(took_us: u64) -> Sample {
        Sample { failed: true, took_us: Some(took_us), ..Sample::default() }
    }

    /// Of an answer to `request`, which is the one that was sent: the shape and the tools that
    /// count are the variant's own. Without it nothing is said of either.
    pub fn of(
        request: Option<&Request>,
        answer: &Answer,
        first_us: u64,
        took_us: u64,
        cost_nano_usd: Option<u64>,
    ) -> Sample {
        let tokens = answer.usage.as_ref().and_then(tokens);
        let costs = Sample { took_us: Some(took_us), tokens, cost_nano_usd, ..Sample::default() };
        if !answer.is_whole() {
            return Sample { failed: true, ..costs };
        }
        Sample {
            refused: refusal::refuses(answer),
            empty: answer.embeddings.is_empty() && answer.choices.iter().all(is_empty),
            truncated: answer.choices.iter().any(|choice| choice.stop == Some(Stop::Length)),
            schema_invalid: request.and_then(|request| misshapen(request, answer)),
            tool_invalid: request.and_then(|request| miscalled(request, answer)),
            first_us: Some(first_us),
            ..costs
        }
    }
}

/// The sum of what the answers of one variant have said.
///
/// Counts only, so any order and grouping of additions and merges gives the same, bit for bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vitals {
    errors: Rate,
    refusals: Rate,
    empty: Rate,
    truncated: Rate,
    schema_invalid: Rate,
    tool_invalid: Rate,
    first_us: Histogram,
    took_us: Histogram,
    tokens: Sums,
    cost_nano_usd: Sums,
}

/// What [`Vitals`] know of one metric.
#[derive(Clone, Copy, Debug)]
pub enum Measure<'a> {
    /// How often.
    Rate(Rate),
    /// Sums in a unit of which so many make one of the metric's.
    Mean(&'a Sums, f64),
    /// Microseconds, and the quantile that counts.
    Time(&'a Histogram, f64),
}

impl Vitals {
    /// Takes one answer in. A request that failed counts as an error and for how long it took and
    /// what it cost; the shares of refusals and the like are of answers.
    pub fn add(&mut self, sample: &Sample) {
        self.errors.add(sample.failed);
        if !sample.failed {
            self.refusals.add(sample.refused);
            self.empty.add(sample.empty);
            self.truncated.add(sample.truncated);
            sample.schema_invalid.into_iter().for_each(|is| self.schema_invalid.add(is));
            sample.tool_invalid.into_iter().for_each(|is| self.tool_invalid.add(is));
            sample.first_us.into_iter().for_each(|us| self.first_us.add(us));
        }
        sample.took_us.into_iter().for_each(|us| self.took_us.add(us));
        sample.tokens.into_iter().for_each(|tokens| self.tokens.add(tokens));
        sample.cost_nano_usd.into_iter().for_each(|cost| self.cost_nano_usd.add(cost));
    }

    /// Takes in every answer of `other`, which must be answers that `self` has not seen.
    pub fn merge(&mut self, other: &Vitals) {
        self.errors.merge(&other.errors);
        self.refusals.merge(&other.refusals);
        self.empty.merge(&other.empty);
        self.truncated.merge(&other.truncated);
        self.schema_invalid.merge(&other.schema_invalid);
        self.tool_invalid.merge(&other.tool_invalid);
        self.first_us.merge(&other.first_us);
        self.took_us.merge(&other.took_us);
        self.tokens.merge(&other.tokens);
        self.cost_nano_usd.merge(&other.cost_nano_usd);
    }

    /// How many requests were taken in.
    pub fn requests(&self) -> u64 {
        self.errors.of
    }

    /// What is known of one metric.
    pub fn measure(&self, metric: Metric) -> Measure<'_> {
        match metric {
            Metric::CostPerRequest => Measure::Mean(&self.cost_nano_usd, 1e9),
            Metric::EmptyRate => Measure::Rate(self.empty),
            Metric::ErrorRate => Measure::Rate(self.errors),
            Metric::Latency(percent) => Measure::Time(&self.took_us, f64::from(percent) / 100.0),
            Metric::RefusalRate => Measure::Rate(self.refusals),
            Metric::SchemaInvalidRate => Measure::Rate(self.schema_invalid),
            Metric::TokensPerRequest => Measure::Mean(&self.tokens, 1.0),
            Metric::ToolInvalidRate => Measure::Rate(self.tool_invalid),
            Metric::TruncatedRate => Measure::Rate(self.truncated),
            Metric::Ttft(percent) => Measure::Time(&self.first_us, f64::from(percent) / 100.0),
        }
    }
}

impl Measure<'_> {
    /// How many answers it is of.
    pub fn n(&self) -> u64 {
        match self {
            Measure::Rate(rate) => rate.of,
            Measure::Mean(sums, _) => sums.n(),
            Measure::Time(times, _) => times.n(),
        }
    }

    /// The estimate in the unit of the metric: a share, dollars, tokens or seconds.
    pub fn estimate(&self) -> Option<f64> {
        match self {
            Measure::Rate(rate) => rate.share(),
            Measure::Mean(sums, unit) => sums.mean().map(|mean| mean / unit),
            Measure::Time(times, p) => times.quantile(*p).map(|us| us / 1e6),
        }
    }
}

fn tokens(usage: &Usage) -> Option<u64> {
    let sum = usage.input_tokens.zip(usage.output_tokens).map(|(i, o)| i.saturating_add(o));
    sum.or(usage.total_tokens)
}

fn is_empty(choice: &Choice) -> bool {
    choice.said().trim().is_empty() && choice.tool_calls.is_empty() && choice.media.is_empty()
}

/// Whether any call is not one that the request's tools allow.
fn miscalled(request: &Request, answer: &Answer) -> Option<bool> {
    let mut calls = answer.choices.iter().flat_map(|choice| &choice.tool_calls).peekable();
    calls.peek().is_some().then(|| calls.any(|call| !is_allowed(request, call)))
}

fn is_allowed(request: &Request, call: &ToolCall) -> bool {
    let Some(arguments) = call.arguments_json().filter(Value::is_object) else { return false };
    let asked = request.tools.iter().find_map(|tool| match tool {
        Tool::Function { name, parameters, .. } if *name == call.name => Some(parameters),
        Tool::Function { .. } | Tool::Own(_) => None,
    });
    match asked {
        Some(Some(parameters)) => schema::accepts(parameters, &arguments),
        Some(None) => true,
        // The names of a provider's own tools are known to nobody else.
        None => request.tools.iter().any(|tool| matches!(tool, Tool::Own(_))),
    }
}

#[cfg(test)]
mod tests {
    use super::Metric;
    use super::Sample;
    use super::Vitals;
    use crate::chat::Answer;
    use crate::chat::Choice;
    use crate::chat::DialectName;
    use crate::chat::ProviderError;
    use crate::chat::Stop;
    use crate::chat::ToolCall;
    use crate::chat::Usage;
    use crate::chat::request::Format;
    use crate::chat::request::Request;
    use crate::chat::request::Tool;
    use serde_json::Map;
    use serde_json::json;

    fn request() -> Request {
        let mut request = Request::new(DialectName::OpenAi, "m");
        request.format = Some(Format::Schema {
            name: None,
            description: None,
            schema: json!({ "type": "object", "required": ["a"] }),
            strict: None,
        });
        request.tools = vec![Tool::Function {
            name: "look".to_owned(),
            description: None,
            parameters: Some(json!({ "properties": { "at": { "type": "string" } } })),
            strict: None,
            rest: Map::new(),
        }];
        request
    }

    fn choice(text: &str, calls: &[(&str, &str)]) -> Choice {
        let call = |(name, arguments): &(&str, &str)| ToolCall {
            name: (*name).to_owned(),
            arguments: (*arguments).to_owned(),
            ..ToolCall::default()
        };
        Choice {
            text: text.to_owned(),
            tool_calls: calls.iter().map(call).collect(),
            finish: Some("stop".to_owned()),
            stop: Some(Stop::Stop),
            ..Choice::default()
        }
    }

    fn of(choice: Choice) -> Sample {
        let answer = Answer { choices: vec![choice], ..Answer::default() };
        Sample::of(Some(&request()), &answer, 1, 2, Some(3))
    }

    const GOOD: &str = r#"{"a":1}"#;

    #[test]
    fn an_answer_as_it_was_asked_for_has_nothing_wrong_with_it() {
        let good = of(choice(GOOD, &[]));
        let expected = Sample {
            schema_invalid: Some(false),
            first_us: Some(1),
            took_us: Some(2),
            cost_nano_usd: Some(3),
            ..Sample::default()
        };
        assert_eq!(good, expected);
    }

    #[test]
    fn each_thing_wrong_with_an_answer_is_found() {
        let stopped = |stop| Choice { stop: Some(stop), ..choice(GOOD, &[]) };
        let refusal = Choice { refusal: "no".to_owned(), ..choice("", &[]) };
        let found = |s: Sample| (s.refused, s.empty, s.truncated, s.schema_invalid, s.tool_invalid);
        let (no, yes) = (Some(false), Some(true));
        for (choice, expected) in [
            (refusal, (true, false, false, yes, None)),
            (stopped(Stop::ContentFilter), (true, false, false, no, None)),
            (stopped(Stop::Length), (false, false, true, no, None)),
            (choice(" ", &[]), (false, true, false, yes, None)),
            (choice("words", &[]), (false, false, false, yes, None)),
            (choice(r#"{"b":1}"#, &[]), (false, false, false, yes, None)),
            (choice("", &[("look", r#"{"at":"x"}"#)]), (false, false, false, None, no)),
            (choice("", &[("look", "")]), (false, false, false, None, no)),
            (choice("", &[("look", r#"{"at":1}"#)]), (false, false, false, None, yes)),
            (choice("", &[("look", r#"{"at""#)]), (false, false, false, None, yes)),
            (choice("", &[("look", "[]")]), (false, false, false, None, yes)),
            (choice("", &[("look", ""), ("leap", "")]), (false, false, false, None, yes)),
            (choice(GOOD, &[("leap", "{}")]), (false, false, false, no, yes)),
        ] {
            assert_eq!(found(of(choice.clone())), expected, "{choice:?}");
        }
    }

    #[test]
    fn a_providers_own_tool_may_have_any_name() {
        let mut request = request();
        request.tools.push(Tool::Own(json!({ "type": "search" })));
        let answer = Answer { choices: vec![choice("", &[("leap", "{}")])], ..Answer::default() };
        let sample = Sample::of(Some(&request), &answer, 1, 2, None);
        assert_eq!(sample.tool_invalid, Some(false));
    }

    #[test]
    fn without_a_request_nothing_is_said_of_shape_and_calls() {
        let answer = Answer { choices: vec![choice("x", &[("y", "")])], ..Answer::default() };
        let sample = Sample::of(None, &answer, 1, 2, None);
        assert_eq!((sample.schema_invalid, sample.tool_invalid), (None, None));
    }

    #[test]
    fn an_answer_that_is_not_whole_failed_and_its_content_does_not_count() {
        let cut = Choice { finish: None, ..choice("", &[]) };
        let error = Some(ProviderError::default());
        let usage =
            Some(Usage { input_tokens: Some(5), output_tokens: Some(2), ..Usage::default() });
        for answer in [
            Answer { choices: vec![cut], usage, ..Answer::default() },
            Answer { choices: vec![choice(GOOD, &[])], error, usage, ..Answer::default() },
            Answer { usage, ..Answer::default() },
        ] {
            let sample = Sample::of(Some(&request()), &answer, 1, 2, Some(3));
            let expected = Sample { tokens: Some(7), cost_nano_usd: Some(3), ..Sample::failure(2) };
            assert_eq!(sample, expected);
        }
    }

    #[test]
    fn the_shares_are_of_answers_and_errors_are_of_requests() {
        let mut vitals = Vitals::default();
        vitals.add(&of(choice(GOOD, &[])));
        vitals.add(&of(choice(" ", &[])));
        vitals.add(&Sample::failure(7_000_000));
        vitals.add(&Sample::failure(7_000_000));
        let of = |metric| {
            let measure = vitals.measure(metric);
            (measure.n(), measure.estimate())
        };
        assert_eq!(vitals.requests(), 4);
        assert_eq!(of(Metric::ErrorRate), (4, Some(0.5)));
        assert_eq!(of(Metric::EmptyRate), (2, Some(0.5)));
        assert_eq!(of(Metric::SchemaInvalidRate), (2, Some(0.5)));
        assert_eq!(of(Metric::ToolInvalidRate), (0, None));
        assert_eq!(of(Metric::CostPerRequest), (2, Some(3e-9)));
        let (n, slowest) = of(Metric::Latency(99));
        assert!(n == 4 && (slowest.unwrap() - 7.0).abs() < 0.07, "{slowest:?}");
        assert_eq!(of(Metric::Ttft(50)).0, 2);
    }
}
