//! The part of the writer that keeps what people say of pairs.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use crate::error::Result;
use crate::label::Label;
use crate::pair::PairId;
use crate::recorder::writer::Effect;
use crate::recorder::writer::Writer;

impl Writer {
    /// Stores a label; a pair that has no score yet is shown to its judge again, which may be a
    /// person.
    pub(super) fn label(
        &mut self,
        run: String,
        candidate: String,
        id: PairId,
        label: &Label,
        done: oneshot::Sender<()>,
    ) -> Result<()> {
        self.store.put_label(&run, &candidate, id, label)?;
        self.dirty = true;
        let progress = self.open.get(&id);
        let waits = progress.is_some_and(|progress| {
            progress.unscored.contains(&candidate) && progress.answered.contains(&candidate)
        });
        if waits {
            self.after.push(Effect::Judge((id, run.clone(), candidate.clone())));
        }
        self.after.push(Effect::Recount(run, candidate));
        self.after.push(Effect::Labelled(done));
        Ok(())
    }

    /// Counts these candidates' pairs anew.
    pub(super) fn recount(&self, candidates: BTreeSet<(String, String)>) {
        for (run, candidate) in candidates {
            if let Err(error) = self.board.recount(&run, &candidate, &self.store) {
                tracing::warn!(run, candidate, %error, "labels count from the next start on");
            }
        }
    }
}
