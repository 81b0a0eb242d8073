//! A pair as it is read from the store to be scored.

use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::request::Request;
use crate::compare;
use crate::compare::Comparator;
use crate::compare::Compared;
use crate::compare::Finding;
use crate::experiment::Reference;
use crate::pair::Half;
use crate::pair::Intent;
use crate::pair::PairId;
use crate::store::Store;
use crate::wire::InPath;
use crate::wire::turn;
use crate::wire::turn::Turn;

/// Both answers and what they answer.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What was promised, and the request.
    pub intent: Intent,
    /// The request in no provider's words, if it can be read.
    pub request: Option<Request>,
    /// Its conversation as text.
    pub turns: Vec<Turn>,
    /// Control's answer.
    pub control: Half,
    /// The candidate's answer.
    pub candidate: Half,
}

impl Pair {
    /// Reads a candidate's pair; it blocks.
    pub fn read(store: &Store, id: PairId, candidate: &str) -> Option<Self> {
        let intent = store.intent(id)?;
        let control = store.half(id, intent.head.variants.first()?)?;
        let candidate = store.half(id, candidate)?;
        let request = request(&intent);
        let turns = request.as_ref().map(|r| turn::of(&r.messages)).unwrap_or_default();
        Some(Self { intent, request, turns, control, candidate })
    }

    /// What the comparators say of it together.
    pub fn settle(&self, comparators: &[Comparator]) -> Option<(Comparator, Finding)> {
        let pair = Compared {
            asked: self.request.as_ref(),
            control: &self.control.answer,
            candidate: &self.candidate.answer,
        };
        compare::settle(comparators, &pair)
    }

    /// The answer known to be good, where the request has one.
    pub fn reference(&self, from: &Reference) -> Option<String> {
        match from {
            Reference::Header(name) => self.intent.head.headers.get(name.as_str()).cloned(),
            Reference::Field(pointer) => {
                let body: Value = serde_json::from_slice(&self.intent.request).ok()?;
                match body.pointer(pointer)? {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                }
            }
        }
    }
}

fn request(intent: &Intent) -> Option<Request> {
    let in_path = intent.head.in_path.clone().map(|(model, stream)| InPath { model, stream });
    let dialect = DialectName::parse(&intent.head.dialect)?.dialect();
    let head = dialect.read_head(intent.request.clone(), in_path).ok()?;
    dialect.read(&head).ok()
}
