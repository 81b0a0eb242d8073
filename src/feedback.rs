//! What people said of answers: thumbs, scores and labels, by the variant that the unit was assigned.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::stats::Interval;
use crate::stats::Score;
use crate::stats::WinRate;

/// The longest label and comment, bytes.
const MAX_LABEL: usize = 64;
const MAX_COMMENT: usize = 16 << 10;

/// Labels counted by name for one variant; further ones count as [`OTHER`].
const MAX_LABELS: usize = 50;

/// The name of labels beyond those that are counted by name.
const OTHER: &str = "other";

/// Scores are summed in these parts, so that taking one away is exact.
const PARTS: f64 = 1e6;

/// What was said of one answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// The answer's request.
    pub request_id: String,
    /// Good or bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbs: Option<Thumbs>,
    /// From 0 to 1, in millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_ppm: Option<u32>,
    /// A word of the application's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Free text; never logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Good or bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thumbs {
    /// Good.
    Up,
    /// Bad.
    Down,
}

/// What a request was part of, kept for as long as feedback may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// In which experiment.
    pub experiment: String,
    /// Of which definition.
    pub epoch: u32,
    /// The variant it was assigned.
    pub variant: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// Feedback as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// What was said.
    #[serde(flatten)]
    pub feedback: Feedback,
    /// Of whom.
    pub variant: String,
    /// Of which definition's.
    pub epoch: u32,
    /// The name that the label counts under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_as: Option<String>,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// What was said of one variant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinion {
    /// Answers that something was said of.
    pub answers: u64,
    /// Good ones.
    pub up: u64,
    /// Bad ones.
    pub down: u64,
    /// Answers with a score.
    pub scored: u64,
    /// Sum of scores, millionths.
    pub score_sum: u64,
    /// By label.
    pub labels: BTreeMap<String, u64>,
}

impl Feedback {
    /// Reads what an application sends.
    ///
    /// # Errors
    /// A field is missing, unknown or of another kind; it is named with the remedy.
    pub fn read(body: &[u8]) -> Result<Self> {
        let bad = |what: String| Error::new(Kind::BadRequest, what);
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| bad(format!("the body is not valid JSON (line {})", error.line())))?;
        let Value::Object(fields) = value else {
            return Err(bad("the body has to be a JSON object with `request_id`".to_owned()));
        };
        let mut feedback = Self {
            request_id: String::new(),
            thumbs: None,
            score_ppm: None,
            label: None,
            comment: None,
        };
        for (name, value) in &fields {
            match name.as_str() {
                _ if value.is_null() => {}
                "request_id" => feedback.request_id = text(name, value, 128)?,
                "thumbs" => feedback.thumbs = Some(thumbs(value)?),
                "score" => feedback.score_ppm = Some(score(value)?),
                "label" => feedback.label = Some(text(name, value, MAX_LABEL)?),
                "comment" => feedback.comment = Some(text(name, value, MAX_COMMENT)?),
                _ => {
                    return Err(bad(format!(
                        "`{}` is no field of feedback: there is request_id, thumbs, score, label \
                         and comment",
                        name.chars().take(64).collect::<String>()
                    )));
                }
            }
        }
        if feedback.request_id.is_empty() {
            let what = "`request_id` is missing: send the `x-request-id` header of the answer";
            return Err(bad(what.to_owned()));
        }
        let says = feedback.thumbs.is_some() || feedback.score_ppm.is_some();
        if !says && feedback.label.is_none() && feedback.comment.is_none() {
            let what = "nothing is said: add `thumbs`, `score`, `label` or `comment`";
            return Err(bad(what.to_owned()));
        }
        Ok(feedback)
    }
}

impl Opinion {
    /// The name that a label counts under.
    pub fn name_of(&self, label: &str) -> String {
        let is_named = self.labels.len() < MAX_LABELS || self.labels.contains_key(label);
        if is_named { label.to_owned() } else { OTHER.to_owned() }
    }

    /// Takes one in.
    pub fn add(&mut self, said: &Said) {
        self.change(said, |count, by| *count += by);
    }

    /// Takes one out again, because another takes its place.
    pub fn remove(&mut self, said: &Said) {
        self.change(said, |count, by| *count = count.saturating_sub(by));
        self.labels.retain(|_, count| *count > 0);
    }

    /// The mean score.
    pub fn score(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.score_sum as f64 / PARTS / self.scored as f64)
    }

    /// The share of thumbs that are up.
    pub fn share_up(&self) -> Option<f64> {
        let all = self.up + self.down;
        (all > 0).then(|| self.up as f64 / all as f64)
    }

    fn interval(&self, alpha: f64) -> Interval {
        let mut shares = WinRate::new();
        let score = |value| Score::new(value).unwrap_or(Score::TIE);
        (0..self.up).for_each(|_| shares.add(score(1.0)));
        (0..self.down).for_each(|_| shares.add(score(0.0)));
        shares.interval(alpha)
    }

    fn change(&mut self, said: &Said, step: impl Fn(&mut u64, u64)) {
        step(&mut self.answers, 1);
        match said.feedback.thumbs {
            Some(Thumbs::Up) => step(&mut self.up, 1),
            Some(Thumbs::Down) => step(&mut self.down, 1),
            None => {}
        }
        if let Some(score) = said.feedback.score_ppm {
            step(&mut self.scored, 1);
            step(&mut self.score_sum, u64::from(score));
        }
        if let Some(name) = &said.counted_as {
            step(self.labels.entry(name.clone()).or_default(), 1);
        }
    }
}

/// The candidate's share of thumbs up less control's, valid at every look.
///
/// Each share's own confidence sequence holds with probability `1 - alpha/2`, so the difference of
/// their ends holds with `1 - alpha`. Answers are not paired here: different people saw them.
pub fn difference(control: &Opinion, candidate: &Opinion, alpha: f64) -> Interval {
    let (a, b) = (control.interval(alpha / 2.0), candidate.interval(alpha / 2.0));
    Interval { lower: b.lower - a.upper, upper: b.upper - a.lower }
}

fn text(name: &str, value: &Value, most: usize) -> Result<String> {
    let text = value
        .as_str()
        .ok_or_else(|| Error::new(Kind::BadRequest, format!("`{name}` has to be a string")))?;
    if text.len() > most {
        let what = format!("`{name}` is longer than {most} bytes: shorten it");
        return Err(Error::new(Kind::BadRequest, what));
    }
    Ok(text.to_owned())
}

fn thumbs(value: &Value) -> Result<Thumbs> {
    serde_json::from_value(value.clone())
        .map_err(|_| Error::new(Kind::BadRequest, "`thumbs` has to be \"up\" or \"down\""))
}

fn score(value: &Value) -> Result<u32> {
    let score = value.as_f64().filter(|score| (0.0..=1.0).contains(score));
    let what = "`score` has to be a number from 0 to 1: divide by the best that can be given";
    let score = score.ok_or_else(|| Error::new(Kind::BadRequest, what))?;
    Ok((score * PARTS).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::Feedback;
    use super::Opinion;
    use super::Said;
    use super::Thumbs;
    use super::difference;

    #[test]
    fn what_cannot_be_read_names_the_field_and_the_remedy() {
        for (body, expected) in [
            ("{", "not valid JSON"),
            ("[]", "JSON object"),
            (r#"{"thumbs":"up"}"#, "`request_id` is missing: send the `x-request-id`"),
            (r#"{"request_id":"r"}"#, "nothing is said"),
            (r#"{"request_id":7}"#, "`request_id` has to be a string"),
            (r#"{"request_id":"r","thumbs":"sideways"}"#, "`thumbs` has to be"),
            (r#"{"request_id":"r","score":5}"#, "from 0 to 1"),
            (r#"{"request_id":"r","score":"1"}"#, "from 0 to 1"),
            (r#"{"request_id":"r","rating":1}"#, "`rating` is no field"),
        ] {
            let error = Feedback::read(body.as_bytes()).unwrap_err();
            assert!(error.detail.contains(expected), "{body}: {}", error.detail);
        }
        let long = format!(r#"{{"request_id":"r","label":"{}"}}"#, "x".repeat(65));
        assert!(Feedback::read(long.as_bytes()).unwrap_err().detail.contains("64 bytes"));
        let read = Feedback::read(br#"{"request_id":"r","thumbs":"up","score":0.25,"label":null}"#);
        let read = read.unwrap();
        assert_eq!(
            (read.thumbs, read.score_ppm, read.label),
            (Some(Thumbs::Up), Some(250_000), None)
        );
    }

    fn said(thumbs: Thumbs, score: u32, label: &str) -> Said {
        let feedback = Feedback {
            request_id: "r".into(),
            thumbs: Some(thumbs),
            score_ppm: Some(score),
            label: Some(label.into()),
            comment: None,
        };
        let counted_as = Some(label.to_owned());
        Said { feedback, variant: "next".into(), epoch: 1, counted_as, at_ms: 0 }
    }

    #[test]
    fn what_is_taken_out_leaves_no_trace() {
        let mut opinion = Opinion::default();
        opinion.add(&said(Thumbs::Up, 900_000, "good"));
        let before = opinion.clone();
        opinion.add(&said(Thumbs::Down, 123_457, "bad"));
        opinion.remove(&said(Thumbs::Down, 123_457, "bad"));
        assert_eq!(opinion, before);
        assert_eq!((opinion.score(), opinion.share_up()), (Some(0.9), Some(1.0)));
    }

    #[test]
    fn the_difference_in_thumbs_is_found_when_it_is_there_and_not_before() {
        let opinion = |up, down| Opinion { up, down, ..Opinion::default() };
        let none = difference(&opinion(0, 0), &opinion(0, 0), 0.05);
        assert!(none.lower <= -0.99 && none.upper >= 0.99);
        let same = difference(&opinion(500, 500), &opinion(510, 490), 0.05);
        assert!(same.lower < 0.0 && same.upper > 0.0);
        let better = difference(&opinion(500, 500), &opinion(800, 200), 0.05);
        assert!(better.lower > 0.1 && better.upper < 0.5, "{better:?}");
    }
}
