//! Where an experiment stands in its life.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::record::Overruled;
use crate::stats::Verdict;

/// What a file says of its experiment's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Checked, but nothing takes part yet.
    Draft,
    /// It runs.
    #[default]
    Running,
    /// It has ended.
    Stopped,
}

/// Where an experiment stands in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not begun.
    Draft,
    /// Requests take part.
    #[default]
    Running,
    /// Nobody takes part until it is resumed.
    Paused,
    /// Ended by a person or the file.
    Stopped,
    /// Ended by its verdict.
    Decided,
}

/// What has become of an experiment, as far as the next request depends on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Where it stands.
    pub state: State,
    /// Counts the definitions whose results must not be mixed, from 1.
    pub epoch: u32,
    /// Candidates that a guardrail or a person has stopped: control answers for them, and they are
    /// asked no more copies.
    pub halted: Vec<String>,
    /// Steps of the ramp taken, from 0: `split` holds before the first.
    pub step: usize,
    /// What it was decided to be; later numbers do not change it.
    pub verdict: Option<Verdict>,
    /// Parts per million of comparisons that each candidate had won when it was decided.
    pub won_ppm: BTreeMap<String, u32>,
    /// Why a sentinel has opened its question again; a new epoch asks it again, and forgets this.
    pub drifted: Option<String>,
    /// What a person decided in the place of the evidence.
    pub overruled: Option<Overruled>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            state: State::Running,
            epoch: 1,
            halted: Vec::new(),
            step: 0,
            verdict: None,
            won_ppm: BTreeMap::new(),
            drifted: None,
            overruled: None,
        }
    }
}

/// What has to hold before the next step of a ramp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Time since the last step.
    pub after: Duration,
    /// Answers of the candidate since the last step, live ones and copies.
    pub requests: u64,
}

impl Default for Step {
    fn default() -> Self {
        Self { after: Duration::from_secs(3600), requests: 200 }
    }
}

impl State {
    /// Its word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Decided => "decided",
        }
    }
}
