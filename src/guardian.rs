//! Listens to the live answers of experiments: halts a candidate that breaks a guardrail, and lets
//! a ramp take its next step.
//!
//! It works beside the answers, behind a bounded queue: what does not fit is counted and forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio::time::interval;

use crate::board::Board;
use crate::director::Director;
use crate::experiment;
use crate::experiment::life::By;
use crate::experiment::ramp::Mark;
use crate::metrics::Metrics;
use crate::vital::Served;

/// How often ramps are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What guarding needs.
pub struct Guardian {
    /// What was seen of every experiment.
    pub board: Arc<Board>,
    /// Who halts candidates and takes steps.
    pub director: Arc<Director>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Guardian {
    /// Takes in what was served until nobody serves any more.
    pub async fn run(self, mut served: mpsc::Receiver<Served>) {
        let mut marks = BTreeMap::new();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                one = served.recv() => match one {
                    Some(one) => self.take(&one),
                    None => return,
                },
                _ = looks.tick() => self.ramp(&mut marks, jiff::Timestamp::now().as_millisecond()),
            }
        }
    }

    fn take(&self, served: &Served) {
        for breach in self.board.served(&served.run, &served.variant, &served.sample) {
            let (name, candidate) = (experiment::name_of(&served.run), &breach.candidate);
            let why = breach.to_string();
            match self.director.halt(name, candidate, By::Guardrail, &why) {
                Ok(()) => {
                    Metrics::count(&self.metrics.breaches, breach.metric().name());
                    tracing::warn!(experiment = name, candidate, why, "a candidate was halted");
                }
                Err(error) => {
                    tracing::error!(experiment = name, candidate, why, %error, "not halted");
                }
            }
        }
    }

    /// Lets every ramp that may take its next step take it.
    fn ramp(&self, marks: &mut BTreeMap<String, Mark>, now_ms: i64) {
        let experiments = self.board.experiments();
        marks.retain(|run, _| experiments.iter().any(|experiment| *experiment.run() == **run));
        for experiment in experiments.iter().filter(|experiment| !experiment.ramp.is_empty()) {
            let answers = self.board.answers(&experiment.run());
            let step = experiment.standing.step;
            let mark = marks.entry(experiment.run().into_owned()).or_default();
            if mark.at_ms == 0 || mark.step != step {
                *mark = Mark { step, at_ms: now_ms, answers };
            } else if experiment.is_step_due(mark, now_ms, &answers) {
                // So that no second step is due while the disk takes its time with this one.
                *mark = Mark::default();
                let (director, name) = (self.director.clone(), experiment.name.clone());
                tokio::task::spawn_blocking(move || match director.step(&name) {
                    Ok(()) => {
                        tracing::info!(experiment = name, step = step + 1, "a step was taken");
                    }
                    Err(error) => tracing::warn!(experiment = name, %error, "no step was taken"),
                });
            }
        }
    }
}
