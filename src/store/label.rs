//! What people said of pairs, on disk.

use std::collections::HashMap;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::label::Label;
use crate::pair::PairId;
use crate::store::Store;
use crate::store::failed;
use crate::store::pair::score_key;
use crate::store::pair::score_prefix;

impl Store {
    /// Stores what a person said of a pair, in the place of what was said before.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_label(
        &self,
        experiment: &str,
        candidate: &str,
        id: PairId,
        label: &Label,
    ) -> Result<()> {
        let value = serde_json::to_vec(label)
            .map_err(|_| Error::new(Kind::Internal, "a label could not be written as JSON"))?;
        let key = score_key(experiment, candidate, id);
        self.main()?.labels.insert(key, value).map(drop).map_err(|e| failed(&e))
    }

    /// What a person said of a pair.
    pub fn label(&self, experiment: &str, candidate: &str, id: PairId) -> Option<Label> {
        let key = score_key(experiment, candidate, id);
        serde_json::from_slice(&self.main().ok()?.labels.get(key).ok()??).ok()
    }

    /// Every label of one candidate; one that cannot be read is as good as none.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn labels(&self, experiment: &str, candidate: &str) -> Result<HashMap<PairId, Label>> {
        let prefix = score_prefix(experiment, candidate);
        let mut labels = HashMap::new();
        for entry in self.main()?.labels.scan_prefix(&prefix) {
            let (key, value) = entry.map_err(|e| failed(&e))?;
            let id = key.get(prefix.len()..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            if let (Some(id), Ok(label)) = (id, serde_json::from_slice(&value)) {
                labels.insert(PairId(id), label);
            }
        }
        Ok(labels)
    }
}
