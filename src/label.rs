//! What people say of pairs: which of two answers is better.
//!
//! Pairs are shown blind, in an order and with sides that hang on hashes of their names alone, so
//! neither can depend on what any judge said: labels are of a random sample.

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::key::Parts;
use crate::pair::PairId;
use crate::stats::Score;

/// The longest name of whoever labels, bytes.
const MAX_BY: usize = 64;

/// What a person said of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// In the candidate's view.
    pub score: Score,
    /// Who said it, if they did not mind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// A label as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The pair's name.
    pub pair: String,
    /// The candidate whose pair it is.
    pub candidate: String,
    /// What is better.
    pub prefers: Prefers,
    /// Who says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// Which answer is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefers {
    /// The one that is shown as A.
    A,
    /// The one that is shown as B.
    B,
    /// Neither.
    Tie,
    /// Control's.
    Control,
    /// The candidate's.
    Candidate,
}

impl Given {
    /// Reads what is sent.
    ///
    /// # Errors
    /// It is of another shape.
    pub fn read(body: &[u8]) -> Result<Self> {
        let given: Self = serde_json::from_slice(body).map_err(|error| {
            let what = format!(
                "the body is not {{\"pair\": ID, \"candidate\": NAME, \"prefers\": \"a\", \"b\" or \
                 \"tie\"}}: {error}"
            );
            Error::new(Kind::BadRequest, what)
        })?;
        if given.by.len() > MAX_BY {
            let what = format!("`by` is longer than {MAX_BY} bytes: shorten it");
            return Err(Error::new(Kind::BadRequest, what));
        }
        Ok(given)
    }

    /// Which pair it is of.
    ///
    /// # Errors
    /// No pair has such a name.
    pub fn id(&self) -> Result<PairId> {
        PairId::parse(&self.pair).ok_or_else(|| {
            let what = "`pair` is not the name of a pair: 32 hex digits, as the list shows it";
            Error::new(Kind::BadRequest, what)
        })
    }
}

impl Prefers {
    /// In the candidate's view.
    pub fn score(self, id: PairId) -> Score {
        match (self, shows_control_first(id)) {
            (Self::Tie, _) => Score::TIE,
            (Self::Control, _) | (Self::A, true) | (Self::B, false) => Score::LOSS,
            (Self::Candidate, _) | (Self::B, true) | (Self::A, false) => Score::WIN,
        }
    }
}

/// Whether control's answer is shown as A: a fair coin of its own.
pub fn shows_control_first(id: PairId) -> bool {
    hash("label side", id) & 1 == 0
}

/// Pairs are labelled in the order of this.
pub fn place(id: PairId) -> u64 {
    hash("label order", id)
}

fn hash(purpose: &str, id: PairId) -> u64 {
    let mut parts = Parts::new(purpose);
    parts.part(&id.0);
    u64::from_be_bytes(parts.finish().first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Given;
    use super::Prefers;
    use super::place;
    use super::shows_control_first;
    use crate::pair::PairId;
    use crate::stats::Score;

    fn ids() -> impl Iterator<Item = PairId> {
        (0..1000_u32).map(|i| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&i.to_be_bytes());
            PairId(id)
        })
    }

    #[test]
    fn sides_are_even_and_blind_preferences_come_out_on_the_right_one() {
        let first = ids().filter(|id| shows_control_first(*id)).count();
        assert!((440..560).contains(&first), "{first}");
        for id in ids() {
            let (a, b) = (Prefers::A.score(id), Prefers::B.score(id));
            assert_eq!(a == Score::LOSS, shows_control_first(id));
            assert_eq!((a.flipped(), Prefers::Tie.score(id)), (b, Score::TIE));
        }
        let mut places: Vec<u64> = ids().map(place).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 1000);
    }

    #[test]
    fn a_label_that_cannot_be_read_says_what_one_looks_like() {
        let read = |body: &str| Given::read(body.as_bytes()).map_err(|e| e.detail);
        let pair = "00000000000000000000000000000001";
        let given = read(&format!(r#"{{"pair":"{pair}","candidate":"c","prefers":"a"}}"#)).unwrap();
        assert_eq!(given.id().unwrap().to_string(), pair);
        for bad in ["{}", "", r#"{"pair":"1","candidate":"c","prefers":"maybe"}"#] {
            assert!(read(bad).unwrap_err().contains("prefers"), "{bad}");
        }
        let short = read(r#"{"pair":"zz","candidate":"c","prefers":"tie"}"#).unwrap();
        assert!(short.id().unwrap_err().detail.contains("32 hex digits"));
    }
}
