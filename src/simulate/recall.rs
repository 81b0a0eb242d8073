//! A judge's recorded replies to one pair, in both orders.

use serde::Deserialize;
use serde_json::json;

use super::ask::{Ask, Format};
use super::pair::Preference;
use super::reply::Choice;
use super::verdict::{self, Letters};

/// What a judge replied; either in each order, or once for both.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Replies {
    /// With output a shown first.
    ab: Option<Said>,
    /// With output b shown first.
    ba: Option<Said>,
    /// The verdict of a judge that was asked once.
    #[serde(default)]
    winner: Option<String>,
    /// And why.
    #[serde(default)]
    reason: Option<String>,
}

/// One recorded reply.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Said {
    /// `a`, `b` or `tie`, whichever was shown first; anything else is no verdict.
    winner: Option<String>,
    /// Word for word, if it was kept.
    #[serde(default)]
    completion: Option<String>,
}

impl Replies {
    /// The reply to the outputs in this order: its own words where they were kept, else a verdict.
    pub(super) fn choice(&self, ask: &Ask, a_first: bool) -> Choice {
        let once = Said { winner: self.winner.clone(), completion: None };
        let said = if a_first { &self.ab } else { &self.ba };
        let said = said.as_ref().unwrap_or(&once);
        let letter = letter(said.winner.as_deref(), a_first);
        let reason = match (&said.completion, &self.reason) {
            (Some(completion), _) => Some(completion.clone()),
            (None, Some(reason)) if a_first => Some(reason.clone()),
            (None, Some(reason)) => Some(swapped(reason)),
            (None, None) => None,
        };
        match (&ask.format, &said.completion, letter) {
            (Format::Text, Some(completion), _) => Choice::saying(completion.clone()),
            (Format::Text, None, _) | (_, _, None) => verdict::choice(ask, letters(letter)),
            (_, _, Some(letter)) => {
                let reply = json!({"reason": reason.unwrap_or_default(), "verdict": letter});
                Choice::saying(reply.to_string())
            }
        }
    }
}

/// The verdict's letter in the order shown.
fn letter(winner: Option<&str>, a_first: bool) -> Option<&'static str> {
    match (winner?, a_first) {
        ("a", true) | ("b", false) => Some("A"),
        ("a", false) | ("b", true) => Some("B"),
        ("tie", _) => Some("C"),
        _ => None,
    }
}

fn letters(letter: Option<&str>) -> Option<Letters> {
    let (first, second) = match letter? {
        "A" => (1.0, 0.0),
        "B" => (0.0, 1.0),
        _ => (0.5, 0.5),
    };
    Letters::of(Preference::Odds { first, second })
}

/// A reason for the other order: what was said of response 1 is said of response 2.
fn swapped(reason: &str) -> String {
    let held = reason.replace("esponse 1", "esponse \u{0}");
    held.replace("esponse 2", "esponse 1").replace("esponse \u{0}", "esponse 2")
}

#[cfg(test)]
mod tests {
    use super::{Replies, letter, swapped};

    #[test]
    fn a_winner_is_told_in_the_order_shown() {
        assert_eq!(letter(Some("a"), true), Some("A"));
        assert_eq!(letter(Some("a"), false), Some("B"));
        assert_eq!(letter(Some("tie"), false), Some("C"));
        assert_eq!(letter(Some("garbage"), true), None);
        assert_eq!(letter(None, true), None);
        let reason = "Response 1 is better than response 2.";
        assert_eq!(swapped(reason), "Response 2 is better than response 1.");
    }

    #[test]
    fn replies_are_read_in_both_forms() {
        let both = r#"{"scores": {}, "ab": {"winner": "a", "completion": "Output (a)"}, "ba": {"winner": null}}"#;
        let both: Replies = serde_json::from_str(both).unwrap();
        assert_eq!(both.ab.unwrap().completion.as_deref(), Some("Output (a)"));
        let once: Replies = serde_json::from_str(r#"{"winner": "b", "reason": "x"}"#).unwrap();
        assert_eq!(once.winner.as_deref(), Some("b"));
    }
}
