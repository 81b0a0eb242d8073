//! How pairs are scored: free comparators first, then a judge, a panel of them, or people.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::HeaderName;

use crate::compare::Comparator;
use crate::experiment::Share;
use crate::experiment::Target;
use crate::experiment::Template;
use crate::experiment::audit::Limits;

/// How pairs are scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluate {
    /// Deterministic checks that settle a pair without a judge.
    pub comparators: Vec<Comparator>,
    /// Who compares the pairs that are left.
    pub judge: Judges,
    /// Share of the pairs that no comparator calls equal which are judged.
    pub sample: Share,
    /// Verdicts of a panel that are enough; `None` asks for all of them.
    pub quorum: Option<usize>,
    /// The most that judging may cost; `None` is no limit.
    pub budget_usd: Option<f64>,
    /// The most that judging may cost in a day (UTC); `None` is no limit.
    pub daily_usd: Option<f64>,
    /// Pairs judged at once; `None` leaves it to the whole process's limit.
    pub concurrency: Option<usize>,
    /// What the judge is held to.
    pub audit: Limits,
}

/// Who compares pairs.
#[derive(Clone, Debug, PartialEq)]
pub enum Judges {
    /// Comparators only.
    Nobody,
    /// People, through labels.
    People,
    /// One model, or a panel of several.
    Models(Vec<Judge>),
}

/// An evaluator model, what it is told and how it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    /// Who judges; never a target under test.
    pub target: Target,
    /// What makes an answer good, in the words of the people who know; empty for a general rule.
    pub criteria: Vec<String>,
    /// What is asked of it.
    pub method: Method,
    /// Share of pairs for which it is asked twice, with the answers swapped, so that position bias
    /// cancels; of the others, chance says which answer is shown first.
    pub both_orders: Share,
    /// Whether it says why before it says who.
    pub reasons: bool,
    /// What its verdict looks like when it gives no reasons in a form of ours.
    pub form: Form,
    /// How the question is put; `None` is our own way.
    pub template: Option<Template>,
    /// Where the request has an answer known to be good.
    pub reference: Option<Reference>,
    /// Characters of each text that it is shown, at most.
    pub max_chars: usize,
    /// Share of pairs for which it is asked the same once more, to see whether it says the same.
    pub repeat: Share,
    /// How freely it draws its words.
    pub temperature: f64,
}

/// What a judge is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Which answer is better.
    #[default]
    Pairwise,
    /// A score of each answer for each criterion.
    Rubric(Scale),
}

/// The scores that a rubric knows, whole numbers, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// From 0 to 10.
    #[default]
    Ten,
    /// From 1 to 5.
    Five,
}

impl Scale {
    /// The lowest and the highest score.
    pub fn ends(self) -> (u32, u32) {
        match self {
            Self::Ten => (0, 10),
            Self::Five => (1, 5),
        }
    }
}

/// What a verdict without our form around it looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A letter and nothing else.
    #[default]
    Letter,
    /// Words that come to a conclusion, as templates of other evaluators ask for.
    Words,
}

/// Where a request has an answer known to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// At this JSON pointer into the body.
    Field(String),
    /// In this header.
    Header(HeaderName),
}

/// Characters of each text that a judge is shown unless its definition says otherwise.
pub const MAX_CHARS: usize = 50_000;

impl Judge {
    /// A judge that is asked for a letter, in both orders.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            criteria: Vec::new(),
            method: Method::default(),
            both_orders: Share::ALL,
            reasons: false,
            form: Form::default(),
            template: None,
            reference: None,
            max_chars: MAX_CHARS,
            repeat: Share::NONE,
            temperature: 0.0,
        }
    }
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            comparators: vec![Comparator::Exact],
            judge: Judges::Nobody,
            sample: Share::ALL,
            quorum: None,
            budget_usd: None,
            daily_usd: None,
            concurrency: None,
            audit: Limits::default(),
        }
    }
}

impl Evaluate {
    /// The models that judge; none when nobody or people do.
    pub fn judges(&self) -> &[Judge] {
        match &self.judge {
            Judges::Models(judges) => judges,
            Judges::Nobody | Judges::People => &[],
        }
    }

    /// Names of who judges, as reports show them: `provider/model`, or `human`.
    pub fn judge_names(&self) -> Vec<String> {
        match &self.judge {
            Judges::Nobody => Vec::new(),
            Judges::People => vec![HUMAN.to_owned()],
            Judges::Models(judges) => judges.iter().map(|judge| judge.target.to_string()).collect(),
        }
    }

    /// Whether a pair has to be judged once no comparator has called it equal.
    pub fn samples(&self, salt: &str, pair: &[u8]) -> bool {
        super::assign::position("sample", salt, pair) < self.sample.ppm()
    }

    /// What judging reads of a request's headers, by name.
    pub fn sent(&self, headers: &HeaderMap) -> BTreeMap<String, String> {
        let value = |name: &HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        };
        self.headers().filter_map(value).collect()
    }

    /// Headers of the request that judging reads.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.judges().iter().filter_map(|judge| match &judge.reference {
            Some(Reference::Header(name)) => Some(name),
            _ => None,
        })
    }
}

impl Judge {
    /// Whether it is asked in both orders about this pair.
    pub fn asks_both(&self, salt: &str, pair: &[u8]) -> bool {
        super::assign::position("both_orders", salt, pair) < self.both_orders.ppm()
    }

    /// Whether it is asked about this pair once more.
    pub fn repeats(&self, salt: &str, pair: &[u8]) -> bool {
        super::assign::position("repeat", salt, pair) < self.repeat.ppm()
    }
}

/// The name of people among judges.
pub const HUMAN: &str = "human";
