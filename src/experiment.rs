//! What an experiment is: who takes part, which variants there are, how traffic and evaluation run.

pub mod assign;

use http::header::HeaderName;
use serde_json::Map;
use serde_json::Value;

use crate::stats::rule::Goal;

/// A checked definition, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Unique; also the salt of assignment and sampling.
    pub name: String,
    /// What the people who wrote it want to know; shown in reports.
    pub question: String,
    /// Which requests take part; every condition has to hold.
    pub matches: Match,
    /// What is randomized and stays on its variant.
    pub unit: Unit,
    /// The incumbent; its `name` is `control`.
    pub control: Variant,
    /// The challengers, one to four, in the order of the file.
    pub candidates: Vec<Candidate>,
    /// Share of requests that make a pair.
    pub shadow: Share,
    /// How pairs are scored.
    pub evaluate: Evaluate,
    /// When the evidence is enough, and for what.
    pub decide: Decide,
}

/// The conditions under which a request takes part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// The route (or plain model name) the application asked for.
    pub route: Option<String>,
    /// Headers that must be there with exactly this value.
    pub headers: Vec<(HeaderName, String)>,
}

/// What is randomized.
#[derive(Clone, Debug, PartialEq)]
pub enum Unit {
    /// The conversation, recognised by its `user` field, else by its first turns.
    Conversation,
    /// The value of a request header.
    Header(HeaderName),
    /// The value at a JSON pointer in the body.
    Field(String),
}

/// One alternative.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// `control`, or the candidate's name.
    pub name: String,
    /// Who answers.
    pub target: Target,
    /// RFC 7396 merge patch laid over the request body; empty changes nothing.
    pub patch: Map<String, Value>,
}

/// A challenger and the share of units that get its answers live.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Name, target and changes.
    pub variant: Variant,
    /// Units that see this candidate's answer.
    pub split: Share,
}

/// A provider and a model there, written `provider/model`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Key into [`crate::config::Config::providers`].
    pub provider: String,
    /// The model's name as the provider knows it; may itself hold slashes.
    pub model: String,
}

impl Target {
    /// Splits `provider/model` at the first slash.
    pub fn parse(text: &str) -> Option<Self> {
        let (provider, model) = text.split_once('/')?;
        (!provider.is_empty() && !model.is_empty())
            .then(|| Self { provider: provider.to_owned(), model: model.to_owned() })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// A share of traffic in parts per million, so that files, hashes and pods agree exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(Self::WHOLE);
    /// Parts in a whole.
    pub const WHOLE: u32 = 1_000_000;

    /// A share of `ppm` parts per million, if that is at most everything.
    pub fn from_ppm(ppm: u32) -> Option<Self> {
        (ppm <= Self::WHOLE).then_some(Self(ppm))
    }

    /// Parts per million.
    pub fn ppm(self) -> u32 {
        self.0
    }

    /// Between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }
}

/// How pairs are scored: free comparators first, then the judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluate {
    /// Deterministic checks that settle a pair without a judge call.
    pub comparators: Vec<crate::compare::Comparator>,
    /// The evaluator model; without one only comparators score.
    pub judge: Option<Judge>,
    /// The most that judging may cost; `None` is no limit.
    pub budget_usd: Option<f64>,
}

/// The evaluator model and what it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    /// Who judges; never a target under test.
    pub target: Target,
    /// What makes an answer good, in the words of the people who know; empty for a general rule.
    pub criteria: String,
    /// Ask twice, with the answers swapped, so that position bias cancels.
    pub both_orders: bool,
}

/// When to stop, and what for.
#[derive(Clone, Debug, PartialEq)]
pub struct Decide {
    /// Better, not worse, or the same.
    pub goal: Goal,
    /// The win-rate difference from 1/2 that matters, for example 0.03.
    pub margin: f64,
    /// Two-sided error probability over the whole experiment.
    pub alpha: f64,
    /// No verdict before this many judged pairs.
    pub min_pairs: u64,
    /// A verdict at the latest after this many.
    pub max_pairs: u64,
}

impl Experiment {
    /// Control first, then the candidates.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        std::iter::once(&self.control).chain(self.candidates.iter().map(|c| &c.variant))
    }

    /// The variant of that name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants().find(|variant| variant.name == name)
    }
}
