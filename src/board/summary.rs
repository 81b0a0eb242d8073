//! What this process has counted of an experiment, to be added to what others have.

use crate::board::Board;
use crate::fleet::Counts;
use crate::fleet::Summary;

impl Board {
    /// The summary of an experiment, by its name.
    pub fn summary(&self, name: &str, replica: String) -> Option<Summary> {
        let entry = self.named(name)?;
        let funnel = entry.funnel();
        let copies_nano_usd = self.ledger().total(name);
        let seen = entry.watch().seen().clone();
        let counts = entry.counts();
        let (tallies, exposures) = (counts.tallies.clone(), counts.exposures.clone());
        let counts = Counts { funnel, tallies, exposures, seen, copies_nano_usd };
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let version = u64::try_from(now_ms).unwrap_or(0);
        Some(Summary::new(&entry.experiment(), replica, version, counts))
    }
}
