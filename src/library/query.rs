//! Which exchanges are meant: by time, model, experiment, status and words.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::key::ExchangeId;
use crate::library;
use crate::library::view;
use crate::store::exchange::Exchange;
use crate::store::exchange::Head;

/// Exchanges listed unless more are asked for.
pub const LIMIT: usize = 50;

/// The most that one list holds.
const MAX_LIMIT: usize = 1000;

/// An id's time and its answer's may differ by this, milliseconds: clocks are set.
const SLACK_MS: i64 = 3_600_000;

/// Every parameter with what it takes.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("since", "a time such as 2h, 7d, 2026-11-23 or 2026-11-23T10:00 (UTC)"),
    ("until", "a time such as 2h, 7d, 2026-11-23 or 2026-11-23T10:00 (UTC)"),
    ("model", "a part of the model asked for, of the target, or of the model that answered"),
    ("experiment", "NAME or NAME=VARIANT"),
    ("status", "a status such as 200, a class such as 4xx, or failed"),
    ("text", "words that the question or the answer contains"),
    ("limit", "a number from 1 to 1000"),
    ("before", "the id of an exchange, whose elders are meant"),
];

/// Which exchanges are meant; the default means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Answered at this time or later, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Answered before, Unix milliseconds.
    pub until_ms: Option<i64>,
    /// In lower case.
    pub model: Option<String>,
    /// An experiment, or one of its variants.
    pub experiment: Option<(String, Option<String>)>,
    /// How it ended.
    pub status: Option<StatusIs>,
    /// In lower case; all of them must be there.
    pub words: Vec<String>,
    /// The most that are wanted.
    pub limit: Option<usize>,
    /// Older than this one.
    pub before: Option<ExchangeId>,
}

/// A status, a class of them, or whatever is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusIs {
    /// This one.
    Exactly(u16),
    /// The first digit.
    Class(u16),
    /// No success, or an answer that is not whole.
    Failed,
}

impl Filter {
    /// Reads parameters; times like `2h` count from `now_ms`.
    ///
    /// # Errors
    /// A parameter is unknown or does not take its value; the message says what is allowed.
    pub fn parse<'p>(
        parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
        now_ms: i64,
    ) -> Result<Self> {
        let mut filter = Self::default();
        for (name, value) in parameters {
            let Some((_, takes)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<&str> = PARAMETERS.iter().map(|(name, _)| *name).collect();
                let what =
                    format!("no parameter is called `{name}`: there is {}", known.join(", "));
                return Err(Error::new(Kind::BadRequest, what));
            };
            filter.set(name, value.trim(), now_ms).ok_or_else(|| {
                Error::new(Kind::BadRequest, format!("`{name}` takes {takes}, not \"{value}\""))
            })?;
        }
        Ok(filter)
    }

    fn set(&mut self, name: &str, value: &str, now_ms: i64) -> Option<()> {
        let lower = value.to_lowercase();
        match name {
            _ if value.is_empty() => return None,
            "since" => self.since_ms = Some(time(value, now_ms)?),
            "until" => self.until_ms = Some(time(value, now_ms)?),
            "model" => self.model = Some(lower),
            "experiment" => self.experiment = Some(experiment(value)?),
            "status" => self.status = Some(status(&lower)?),
            "text" => self.words = lower.split_whitespace().map(str::to_owned).collect(),
            "before" => self.before = Some(ExchangeId::parse(&lower)?),
            _ => {
                let limit = value.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n))?;
                self.limit = Some(limit);
            }
        }
        Some(())
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The id that everything meant is older than, as far as ids tell.
    pub fn before(&self) -> Option<ExchangeId> {
        let until = self.until_ms.and_then(|ms| id_at(ms.saturating_add(SLACK_MS)));
        match (until, self.before) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether nothing that is meant can come after this one, where the newest come first.
    pub fn is_past(&self, head: &Head) -> bool {
        let since = self.since_ms.and_then(|ms| id_at(ms.saturating_sub(SLACK_MS)));
        since.is_some_and(|since| head.id < since)
    }

    /// Whether an exchange is meant.
    pub fn accepts(&self, exchange: &Exchange) -> bool {
        let head = &exchange.head;
        self.since_ms.is_none_or(|since| head.answered_ms >= since)
            && self.until_ms.is_none_or(|until| head.answered_ms < until)
            && self.model.as_deref().is_none_or(|model| has_model(head, model))
            && self.experiment.as_ref().is_none_or(|wanted| takes_part(head, wanted))
            && self.status.is_none_or(|status| status.accepts(head))
            && (self.words.is_empty() || has_words(exchange, &self.words))
    }
}

impl StatusIs {
    fn accepts(self, head: &Head) -> bool {
        match self {
            Self::Exactly(status) => head.status == status,
            Self::Class(class) => head.status / 100 == class,
            Self::Failed => has_failed(head),
        }
    }
}

/// Whether no whole good answer came of it.
pub fn has_failed(head: &Head) -> bool {
    !(200..300).contains(&head.status) || !matches!(head.ended.as_str(), "" | "whole")
}

/// A point in time: a date, a date and a time, both in UTC unless they say otherwise, or how long
/// ago.
pub fn time(text: &str, now_ms: i64) -> Option<i64> {
    if let Some(ms) = ago(text) {
        return now_ms.checked_sub(ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    let time: civil::DateTime = text.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

fn ago(text: &str) -> Option<i64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let unit_ms: i64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit_ms)
}

fn experiment(text: &str) -> Option<(String, Option<String>)> {
    match text.split_once('=') {
        None => Some((text.to_owned(), None)),
        Some((name, variant)) if !name.is_empty() && !variant.is_empty() => {
            Some((name.to_owned(), Some(variant.to_owned())))
        }
        Some(_) => None,
    }
}

fn status(text: &str) -> Option<StatusIs> {
    if text == "failed" {
        return Some(StatusIs::Failed);
    }
    if let Some(class) = text.strip_suffix("xx") {
        return class.parse().ok().filter(|c| (1..=5).contains(c)).map(StatusIs::Class);
    }
    text.parse().ok().filter(|s| (100..600).contains(s)).map(StatusIs::Exactly)
}

/// The smallest id of a moment: ids begin with their milliseconds (RFC 9562, version 7).
fn id_at(ms: i64) -> Option<ExchangeId> {
    let ms = u128::try_from(ms).ok().filter(|ms| *ms < 1 << 48)?;
    Some(ExchangeId((ms << 80).to_be_bytes()))
}

fn has_model(head: &Head, model: &str) -> bool {
    let names = [Some(&head.asked.model), Some(&head.target), head.model.as_ref()];
    names.into_iter().flatten().any(|name| name.to_lowercase().contains(model))
}

fn takes_part(head: &Head, (name, variant): &(String, Option<String>)) -> bool {
    let assigned = head.assigned.as_deref().and_then(|assigned| assigned.split_once('='));
    assigned.is_some_and(|(experiment, own)| {
        experiment == name && variant.as_deref().is_none_or(|variant| variant == own)
    })
}

fn has_words(exchange: &Exchange, words: &[String]) -> bool {
    let mut text = String::new();
    if let Ok((head, _)) = library::asked(exchange)
        && let Ok(body) = serde_json::from_slice::<Value>(&head.body)
    {
        strings(&body, &mut text);
    }
    for choice in &view::answer(exchange).choices {
        text.push_str(choice.said());
        text.push('\n');
    }
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}

fn strings(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(members) => members.values().for_each(|member| strings(member, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use super::StatusIs;
    use crate::store::exchange::Exchange;
    use crate::store::exchange::Head;
    use bytes::Bytes;

    const NOW: i64 = 1_795_428_000_000;

    fn parse(parameters: &[(&str, &str)]) -> Result<Filter, String> {
        Filter::parse(parameters.iter().copied(), NOW).map_err(|error| error.detail)
    }

    #[test]
    fn times_are_dates_or_how_long_ago() {
        for (text, wanted) in [
            ("90s", NOW - 90_000),
            ("2h", NOW - 7_200_000),
            ("1w", NOW - 604_800_000),
            ("2026-11-23", 1_795_392_000_000),
            ("2026-11-23T10:00", 1_795_428_000_000),
            ("2026-11-23T10:00:00Z", 1_795_428_000_000),
            ("2026-11-23T12:00:00+02:00", 1_795_428_000_000),
        ] {
            assert_eq!(parse(&[("since", text)]).unwrap().since_ms, Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        for (name, value) in [
            ("since", "yesterday"),
            ("since", "2x"),
            ("since", "99999999999999999999d"),
            ("until", ""),
            ("status", "6xx"),
            ("status", "9"),
            ("experiment", "a="),
            ("limit", "0"),
            ("limit", "1001"),
            ("before", "abc"),
        ] {
            let said = parse(&[(name, value)]).unwrap_err();
            assert!(said.starts_with(&format!("`{name}` takes ")), "{said}");
            assert!(said.ends_with(&format!("not \"{value}\"")), "{said}");
        }
        let said = parse(&[("modle", "x")]).unwrap_err();
        assert!(said.contains("`modle`") && said.contains("model,"), "{said}");
    }

    #[test]
    fn every_condition_has_to_hold() {
        let mut head = Head {
            answered_ms: NOW,
            target: "alpha/Big-Model".into(),
            dialect: "openai".into(),
            assigned: Some("trial=next".into()),
            status: 200,
            ended: "whole".into(),
            ..Head::default()
        };
        head.asked.model = "bot".into();
        head.asked.dialect = "openai".into();
        let request = r#"{"model":"bot","messages":[{"role":"user","content":"Ünder the sea"}]}"#;
        let exchange =
            Exchange { head, request: Bytes::from_static(request.as_bytes()), frames: Vec::new() };
        for (name, value, holds) in [
            ("since", "0s", true),
            ("until", "0s", false),
            ("model", "big", true),
            ("model", "BOT", true),
            ("model", "small", false),
            ("experiment", "trial", true),
            ("experiment", "trial=next", true),
            ("experiment", "trial=control", false),
            ("experiment", "tria", false),
            ("status", "200", true),
            ("status", "2xx", true),
            ("status", "failed", false),
            ("text", "sea ÜNDER", true),
            ("text", "sea above", false),
        ] {
            let filter = parse(&[(name, value)]).unwrap();
            assert_eq!(filter.accepts(&exchange), holds, "{name}={value}");
        }
        let mut cut = exchange;
        cut.head.ended = "cut".into();
        assert!(StatusIs::Failed.accepts(&cut.head), "a cut answer is a failure");
    }
}
