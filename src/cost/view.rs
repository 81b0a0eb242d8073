//! Costs as they are asked for: by what, from when until when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use super::Hour;
use super::Line;
use super::Sums;

/// What rows may be made of, besides what the configuration says of callers.
pub const DIMENSIONS: [&str; 9] =
    ["caller", "experiment", "variant", "provider", "model", "purpose", "hour", "day", "month"];

/// What rows are made of unless it is said.
pub const USUAL: &str = "purpose,provider,model";

/// The most words that rows are made of.
const MOST_WORDS: usize = 8;

/// Costs, by what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// What each row is made of.
    pub by: Vec<String>,
    /// What cost most comes first.
    pub rows: Vec<Row>,
    /// All rows together.
    pub total: Amounts,
}

/// What some calls have in common, and what they come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What they have in common; empty where a call has no such thing.
    pub of: BTreeMap<String, String>,
    /// What they come to.
    #[serde(flatten)]
    pub amounts: Amounts,
}

/// Sums, with the money in dollars beside the exact numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amounts {
    /// The sums.
    #[serde(flatten)]
    pub sums: Sums,
    /// What is known to have been spent, dollars.
    pub cost_usd: f64,
    /// What stored answers have saved, dollars.
    pub saved_usd: f64,
}

impl From<Sums> for Amounts {
    fn from(sums: Sums) -> Self {
        let usd = |nano: u64| nano as f64 / 1e9;
        Self { cost_usd: usd(sums.cost_nano_usd), saved_usd: usd(sums.saved_nano_usd), sums }
    }
}

/// Adds up entries by what is asked for.
#[derive(Clone, Debug)]
pub struct Summary {
    by: Vec<String>,
    rows: BTreeMap<Vec<String>, Sums>,
}

impl Summary {
    /// By words with commas between them; `None` if there are none or too many.
    pub fn by(words: &str) -> Option<Self> {
        let by: Vec<String> = words.split(',').map(|word| word.trim().to_owned()).collect();
        let is_good = by.len() <= MOST_WORDS && by.iter().all(|word| !word.is_empty());
        is_good.then(|| Self { by, rows: BTreeMap::new() })
    }

    /// Adds an entry.
    pub fn add(&mut self, hour: Hour, line: &Line, sums: &Sums) {
        let key = self.by.iter().map(|word| value(word, hour, line)).collect();
        self.rows.entry(key).or_default().add(sums);
    }

    /// Everything added.
    pub fn finish(self) -> Costs {
        let Self { by, rows } = self;
        let mut total = Sums::default();
        rows.values().for_each(|sums| total.add(sums));
        let row = |(key, sums): (Vec<String>, Sums)| {
            let of = by.iter().cloned().zip(key).collect();
            Row { of, amounts: sums.into() }
        };
        let mut rows: Vec<Row> = rows.into_iter().map(row).collect();
        // Stable, so that what costs the same stays in the order of its names.
        rows.sort_by_key(|row| std::cmp::Reverse(row.amounts.sums.cost_nano_usd));
        Costs { by, rows, total: total.into() }
    }
}

/// What a word means for an entry; what is no dimension is something that is said of callers.
fn value(word: &str, hour: Hour, line: &Line) -> String {
    let time = |form: &str| {
        let time = Timestamp::from_second(hour.saturating_mul(3600)).unwrap_or_default();
        time.strftime(form).to_string()
    };
    match word {
        "caller" => line.caller.clone(),
        "experiment" => line.experiment.clone(),
        "variant" => line.variant.clone(),
        "provider" => line.provider.clone(),
        "model" => line.model.clone(),
        "purpose" => line.purpose.as_str().to_owned(),
        "hour" => time("%Y-%m-%dT%H:00Z"),
        "day" => time("%Y-%m-%d"),
        "month" => time("%Y-%m"),
        label => line.labels.get(label).cloned().unwrap_or_default(),
    }
}

impl Costs {
    /// As comma-separated values with a line of names (RFC 4180).
    pub fn csv(&self) -> String {
        let names = [
            "calls",
            "failed",
            "from_cache",
            "input_tokens",
            "cached_input_tokens",
            "output_tokens",
            "cost_usd",
            "estimated",
            "unknown",
            "saved_usd",
        ];
        let by = self.by.iter().map(|word| cell(word));
        let mut out = by.chain(names.map(str::to_owned)).collect::<Vec<_>>().join(",");
        out.push_str("\r\n");
        for Row { of, amounts } in &self.rows {
            let sums = &amounts.sums;
            let key = self.by.iter().map(|word| cell(of.get(word).map_or("", String::as_str)));
            let counts = [
                sums.calls.to_string(),
                sums.failed.to_string(),
                sums.from_cache.to_string(),
                sums.input_tokens.to_string(),
                sums.cached_input_tokens.to_string(),
                sums.output_tokens.to_string(),
                usd(sums.cost_nano_usd),
                sums.estimated.to_string(),
                sums.unknown.to_string(),
                usd(sums.saved_nano_usd),
            ];
            out.push_str(&key.chain(counts).collect::<Vec<_>>().join(","));
            out.push_str("\r\n");
        }
        out
    }
}

/// Dollars with all nine digits behind the point.
pub fn usd(nano: u64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

/// A spreadsheet takes what begins like a formula for one.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;
    use crate::cost::Line;
    use crate::cost::Sums;

    #[test]
    fn entries_are_added_up_by_what_is_asked_for() {
        let line = |caller: &str, team: &str| Line {
            caller: caller.into(),
            labels: [("team".to_owned(), team.to_owned())].into(),
            ..Line::default()
        };
        let mut summary = Summary::by("team, day").unwrap();
        for (hour, caller, team, cost) in
            [(0, "a", "x", 5), (23, "b", "x", 6), (24, "a", "x", 7), (1, "c", "=y,z", 100)]
        {
            summary.add(hour, &line(caller, team), &Sums::call(None, Some(cost)));
        }
        let costs = summary.finish();
        let rows = costs.rows.iter().map(|row| {
            (row.of["team"].as_str(), row.of["day"].as_str(), row.amounts.sums.cost_nano_usd)
        });
        let expected =
            [("=y,z", "1970-01-01", 100), ("x", "1970-01-01", 11), ("x", "1970-01-02", 7)];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
        assert_eq!(costs.total.sums.calls, 4);
        let csv = costs.csv();
        let first = csv.lines().nth(1).unwrap();
        assert_eq!(first, "\"'=y,z\",1970-01-01,1,0,0,0,0,0,0.000000100,0,0,0.000000000");
        assert!(Summary::by("").is_none() && Summary::by("a,,b").is_none());
    }
}
