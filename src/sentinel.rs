//! A sentinel: pinned prompts that a shipped model is asked again and again, because a provider may
//! change a model under its name.
//!
//! Its answers of the first run are pinned. Every later run is an experiment of its own, the answers
//! of that day against the pinned ones, and is looked at once.

pub mod alarm;
pub mod state;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::experiment::Candidate;
use crate::experiment::Decide;
use crate::experiment::Evaluate;
use crate::experiment::Experiment;
use crate::experiment::Match;
use crate::experiment::Share;
use crate::experiment::Standing;
use crate::experiment::Status;
use crate::experiment::Step;
use crate::experiment::Target;
use crate::experiment::Unit;
use crate::experiment::Variant;
use crate::experiment::definition;
use crate::stats::Goal;

/// The most prompts that one sentinel asks.
pub const MAX_PROMPTS: usize = 1000;

/// The name of the answers of the day among the variants.
pub const TODAY: &str = "today";

/// A checked definition, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentinel {
    /// Unique among sentinels and experiments.
    pub name: String,
    /// The experiment whose question is open again when it alarms.
    pub experiment: Option<String>,
    /// Who is asked, and how: the variant that was shipped.
    pub shipped: Variant,
    /// What is asked.
    pub prompts: Prompts,
    /// Another word here pins the answers anew.
    pub pin: String,
    /// From the beginning of one run to the beginning of the next.
    pub every: Duration,
    /// How the answers are compared with the pinned ones.
    pub evaluate: Evaluate,
    /// When it alarms.
    pub alarm: Alarm,
    /// The most that it may cost in a day (UTC), dollars; `None` is no limit.
    pub daily_usd: Option<f64>,
}

/// What a sentinel asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompts {
    /// Bodies of chat completions, in the file itself.
    Here(Vec<Value>),
    /// JSON lines of requests, as a backtest takes them.
    File(PathBuf),
    /// Prompts of which an experiment has scored pairs, the newest first; the answers that the
    /// shipped variant gave then are the pinned ones.
    Scored {
        /// Which experiment.
        experiment: String,
        /// How many.
        last: usize,
    },
}

/// When a sentinel alarms.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// More answers than this share moved: no comparator finds them equal to the pinned ones.
    pub moved: Option<Share>,
    /// The win rate of the new answers is below 1/2 by more than this.
    pub margin: f64,
    /// The chance of any false alarm by the two above, ever.
    pub alpha: f64,
    /// The provider names another model than it did.
    pub model: bool,
    /// The provider names another system than it did.
    pub fingerprint: bool,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { moved: None, margin: 0.05, alpha: 0.05, model: true, fingerprint: false }
    }
}

impl Sentinel {
    /// The experiment that its `run`-th run is, from 1: control is the pinned answers, and the
    /// interval is that of the run's share of alpha.
    pub fn as_experiment(&self, run: u64) -> Experiment {
        let today = Variant { name: TODAY.to_owned(), ..self.shipped.clone() };
        Experiment {
            name: self.name.clone(),
            question: String::new(),
            salt: self.name.clone(),
            intent: Status::Running,
            standing: Standing::default(),
            matches: Match::default(),
            layer: None,
            unit: Unit::Conversation,
            control: self.shipped.clone(),
            candidates: vec![Candidate { variant: today, split: Share::NONE }],
            ramp: Vec::new(),
            step: Step::default(),
            shadow: Share::ALL,
            again: Share::NONE,
            shadow_daily_usd: None,
            guardrails: Vec::new(),
            evaluate: self.evaluate.clone(),
            decide: Decide {
                goal: Goal::NonInferior,
                margin: self.alarm.margin,
                alpha: alarm::alpha_of(self.alarm.alpha, run),
                min_pairs: 1,
                max_pairs: u64::from(u32::MAX),
            },
        }
    }

    /// A hash of everything that makes pinned answers and later ones comparable; when it changes
    /// the answers are pinned anew.
    pub fn digest(&self) -> String {
        let mut experiment = self.as_experiment(1);
        // How surely it alarms, and what it may cost, says nothing of the answers.
        experiment.decide.margin = 0.0;
        experiment.decide.alpha = 0.0;
        experiment.evaluate.budget_usd = None;
        experiment.evaluate.daily_usd = None;
        experiment.evaluate.concurrency = None;
        let mut parts = definition::parts(&experiment);
        let prompts = match &self.prompts {
            Prompts::Here(bodies) => json!(bodies).to_string(),
            Prompts::File(path) => format!("file {}", path.display()),
            Prompts::Scored { experiment, last } => format!("{last} of {experiment}"),
        };
        parts.insert("prompts".to_owned(), prompts);
        parts.insert("pin".to_owned(), self.pin.clone());
        definition::digest(&parts)
    }
}

/// The body that a prompt of the file stands for: a text is what a user says.
pub fn body(prompt: &Value, target: &Target) -> Value {
    let mut body = match prompt {
        Value::Object(body) => body.clone(),
        prompt => {
            let text = prompt.as_str().map_or_else(|| prompt.to_string(), str::to_owned);
            Map::from_iter([("messages".to_owned(), json!([{"role": "user", "content": text}]))])
        }
    };
    body.insert("model".to_owned(), target.to_string().into());
    Value::Object(body)
}
