//! What an experiment is: who takes part, which variants there are, how traffic and evaluation run.

pub mod assign;
pub mod audit;
mod change;
pub mod definition;
pub mod evaluate;
pub mod life;
pub mod metric;
pub mod ramp;
pub mod record;
pub mod standing;
pub mod template;

use std::borrow::Cow;

use http::header::HeaderName;
use serde_json::Map;
use serde_json::Value;

use crate::chat::request::Tool;
use crate::stats::rule::Goal;

pub use evaluate::Evaluate;
pub use evaluate::Form;
pub use evaluate::Judge;
pub use evaluate::Judges;
pub use evaluate::Method;
pub use evaluate::Reference;
pub use evaluate::Scale;
pub use metric::Guardrail;
pub use metric::Limit;
pub use metric::METRICS;
pub use metric::Metric;
pub use record::Overruled;
pub use standing::Standing;
pub use standing::State;
pub use standing::Status;
pub use standing::Step;
pub use template::Template;

/// A checked definition, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Unique; also the salt of assignment and sampling.
    pub name: String,
    /// What the people who wrote it want to know; shown in reports.
    pub question: String,
    /// What assignment and sampling are hashed with; the name, unless the file says another.
    pub salt: String,
    /// What the file says of its life; see [`Standing`] for what has become of it.
    pub intent: Status,
    /// How things stand now: nothing but the file's word until the life cycle is known.
    pub standing: Standing,
    /// Which requests take part; every condition has to hold.
    pub matches: Match,
    /// The slice of units it shares with others; none is all of them.
    pub layer: Option<Layer>,
    /// What is randomized and stays on its variant.
    pub unit: Unit,
    /// The incumbent; its `name` is `control`.
    pub control: Variant,
    /// The challengers, one to four, in the order of the file.
    pub candidates: Vec<Candidate>,
    /// The rising shares that every candidate's split goes through; empty for a fixed split.
    pub ramp: Vec<Share>,
    /// What has to hold before the next step of the ramp.
    pub step: Step,
    /// Share of requests that make a pair.
    pub shadow: Share,
    /// Share of pairs for which control is asked twice, to measure the noise.
    pub again: Share,
    /// The most that copies may cost in a day (UTC), dollars; `None` is no limit.
    pub shadow_daily_usd: Option<f64>,
    /// What must not get worse.
    pub guardrails: Vec<Guardrail>,
    /// How pairs are scored.
    pub evaluate: Evaluate,
    /// When the evidence is enough, and for what.
    pub decide: Decide,
}

/// The conditions under which a request takes part.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The route (or plain model name) the application asked for.
    pub route: Option<String>,
    /// Headers that must be there with exactly this value.
    pub headers: Vec<(HeaderName, String)>,
    /// JSON pointers into the request's body, and the value that must be there.
    pub fields: Vec<(String, Value)>,
    /// Tenants that take part, by the first 16 hex digits that `understudy explain` shows; empty
    /// for all.
    pub tenants: Vec<String>,
    /// Share of units that take part.
    pub share: Share,
}

/// A slice of a layer: experiments with slices that do not overlap never share a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name, with which units are hashed.
    pub name: String,
    /// Where the slice begins.
    pub from: Share,
    /// Where it ends.
    pub to: Share,
}

/// What is randomized.
#[derive(Clone, Debug, PartialEq)]
pub enum Unit {
    /// The conversation; see [`crate::wire::conversation`].
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
    /// What becomes of the system prompt; `None` leaves it.
    pub system: Option<SystemChange>,
    /// The tools that take the place of the request's; `None` leaves them.
    pub tools: Option<Vec<Tool>>,
}

/// What a variant does with the system prompt, whatever the dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemChange {
    /// This takes the place of every system prompt.
    Replace(String),
    /// This comes before it, as a paragraph of its own.
    Prepend(String),
    /// This comes after it, as a paragraph of its own.
    Append(String),
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

impl Default for Match {
    fn default() -> Self {
        Self {
            route: None,
            headers: Vec::new(),
            fields: Vec::new(),
            tenants: Vec::new(),
            share: Share::ALL,
        }
    }
}

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

    /// The share of units that get this candidate's answer as things stand.
    pub fn split(&self, candidate: &Candidate) -> Share {
        if self.is_halted(candidate) { Share::NONE } else { self.planned(candidate) }
    }

    /// The share that would be its own if nobody had halted it.
    pub fn planned(&self, candidate: &Candidate) -> Share {
        let step = self.standing.step.checked_sub(1).and_then(|step| self.ramp.get(step));
        step.copied().unwrap_or(candidate.split)
    }

    /// Whether a guardrail or a person has halted it.
    pub fn is_halted(&self, candidate: &Candidate) -> bool {
        self.standing.halted.contains(&candidate.variant.name)
    }

    /// Whether requests take part in what is measured.
    pub fn is_running(&self) -> bool {
        self.standing.state == State::Running
    }

    /// Whether units get their variant's answer: a verdict ends the measuring, and leaves who is
    /// answered by whom to people.
    pub fn is_live(&self) -> bool {
        matches!(self.standing.state, State::Running | State::Decided)
    }

    /// The name that results of this epoch are stored under.
    pub fn run(&self) -> Cow<'_, str> {
        run(&self.name, self.standing.epoch)
    }
}

/// The name that results of an epoch are stored under; no experiment's name holds an `@`.
pub fn run(name: &str, epoch: u32) -> Cow<'_, str> {
    match epoch {
        0 | 1 => Cow::Borrowed(name),
        epoch => Cow::Owned(format!("{name}@{epoch}")),
    }
}

/// The experiment whose results of some epoch are stored under a name.
pub fn name_of(run: &str) -> &str {
    run.split_once('@').map_or(run, |(name, _)| name)
}
