//! What the director waits for: files that change, and scores that may make a verdict.

use std::sync::Arc;
use std::time::Duration;

use crate::director::Director;
use crate::director::book::lock;
use crate::script::Print;

/// Between two looks at the files; they have to be the same twice, for one may be half written.
const LOOK: Duration = Duration::from_millis(500);

/// Between two looks at the verdicts, however many scores come.
const PAUSE: Duration = Duration::from_millis(100);

impl Director {
    /// Follows the files by what is in them, through any symbolic link.
    pub async fn follow_files(self: Arc<Self>) {
        if self.script.is_none() {
            return;
        }
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = Some(lock(&self.files).print.clone());
        let mut is_settled = true;
        loop {
            ticks.tick().await;
            let (director, seen) = (self.clone(), last.clone());
            let look = move || {
                let now = director.glance();
                let is_steady = now == seen;
                if is_steady && !is_settled {
                    // What is wrong was told where it was found.
                    let _told = director.reload();
                }
                (now, is_steady)
            };
            let Ok((now, is_steady)) = tokio::task::spawn_blocking(look).await else { return };
            (last, is_settled) = (now, is_steady);
        }
    }

    /// Ends experiments as soon as their scores give a verdict.
    pub async fn follow_scores(self: Arc<Self>) {
        loop {
            let director = self.clone();
            if tokio::task::spawn_blocking(move || director.judge()).await.is_err() {
                tracing::error!("the verdicts could not be looked at");
            }
            tokio::time::sleep(PAUSE).await;
            self.board.changed().await;
        }
    }

    /// `None` when a file cannot be read, which a reload tells.
    fn glance(&self) -> Option<Print> {
        let last = lock(&self.files).print.clone();
        self.script.as_ref()?.glance(&last).ok()
    }
}
