//! The pairs of one experiment on their way to the judge, in their order.
//!
//! They wait here while the experiment's money is spent, or its file is gone. All of them wait, not
//! only those that would cost something: otherwise the ties that comparators find would be counted
//! before their time. What waits is on disk, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task;
use tokio::task::JoinSet;

use crate::experiment::Experiment;
use crate::judge::Ended;
use crate::judge::Judge;
use crate::judge::unjudged;
use crate::recorder::JudgeJob;
use crate::recorder::Record;
use crate::scene;

/// Between two looks at whether a lane may go on.
const LOOK: Duration = Duration::from_millis(500);

impl Judge {
    /// Scores the pairs of one run, until no more can come.
    pub(super) async fn drive(
        self: Arc<Self>,
        run: String,
        mut jobs: mpsc::Receiver<JudgeJob>,
        slots: Arc<Semaphore>,
    ) {
        let mut tasks = JoinSet::new();
        let mut under_way: HashMap<task::Id, JudgeJob> = HashMap::new();
        while let Some(job) = jobs.recv().await {
            self.wait(&run).await;
            while tasks.len() >= self.at_once(&run) {
                self.clear(tasks.join_next_with_id().await, &mut under_way).await;
            }
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let (judge, of) = (self.clone(), job.clone());
            let task = tasks.spawn(async move {
                judge.finish(of).await;
                drop(slot);
            });
            under_way.insert(task.id(), job);
            while let Some(ended) = tasks.try_join_next_with_id() {
                self.clear(Some(ended), &mut under_way).await;
            }
        }
        while let Some(ended) = tasks.join_next_with_id().await {
            self.clear(Some(ended), &mut under_way).await;
        }
    }

    /// Scores one pair and hands the score over.
    async fn finish(self: Arc<Self>, (id, run, candidate): JudgeJob) {
        let scored = loop {
            match self.score(id, &run, &candidate).await {
                Ended::Scored(scored) => break Some(scored),
                Ended::ForPeople => break None,
                // The definition went while it was under way.
                Ended::Again => {
                    tokio::time::sleep(LOOK).await;
                    self.wait(&run).await;
                }
            }
        };
        if let Some(scored) = scored {
            self.spend(&run, &scored);
            self.recorder.deliver(Record::Scored { id, candidate, scored: *scored }).await;
        }
        self.metrics.judge_queue.dec();
    }

    /// Notes that a task has ended; what a panic cost is told as such.
    async fn clear(
        &self,
        ended: Option<Result<(task::Id, ()), task::JoinError>>,
        under_way: &mut HashMap<task::Id, JudgeJob>,
    ) {
        match ended {
            Some(Ok((task, ()))) => drop(under_way.remove(&task)),
            Some(Err(error)) => {
                let Some((id, _, candidate)) = under_way.remove(&error.id()) else { return };
                let scored = unjudged("judge_panicked");
                self.recorder.deliver(Record::Scored { id, candidate, scored }).await;
                self.metrics.judge_queue.dec();
            }
            None => {}
        }
    }

    /// Returns once the run may be judged.
    async fn wait(&self, run: &str) {
        let mut told = None;
        loop {
            let why = self.hindrance(run).await;
            if why.is_none() {
                return;
            }
            if why != told {
                let why = why.unwrap_or_default();
                tracing::warn!(experiment = run, why, "pairs wait to be judged");
            }
            told = why;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What keeps a run's pairs from being judged now.
    async fn hindrance(&self, run: &str) -> Option<&'static str> {
        let scene = scene::now(&self.scenes);
        let Some(experiment) = find(&scene.config.experiments, run) else {
            return Some("no file defines the experiment");
        };
        if self.board.is_over(run) == Some("budget_usd") {
            return Some("the judge's budget is spent");
        }
        match experiment.evaluate.daily_usd {
            Some(daily) if self.spent_today(experiment).await as f64 / 1e9 >= daily => {
                Some("the judge's budget of the day is spent")
            }
            _ => None,
        }
    }

    fn at_once(&self, run: &str) -> usize {
        let scene = scene::now(&self.scenes);
        let own = find(&scene.config.experiments, run).and_then(|e| e.evaluate.concurrency);
        own.unwrap_or(scene.config.limits.judge_concurrency).max(1)
    }
}

/// The experiment whose results are stored under this name.
pub(super) fn find<'c>(experiments: &'c [Experiment], run: &str) -> Option<&'c Experiment> {
    experiments.iter().find(|experiment| experiment.run() == run)
}
