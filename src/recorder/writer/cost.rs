//! Brings to disk what calls cost.

use crate::cost;
use crate::error::Result;
use crate::recorder::writer::Writer;
use crate::store::cost::KEEP_DAYS;
use crate::store::cost::KEEP_HOURS;

impl Writer {
    /// Adds what is in the till to what is stored; what cannot be stored stays there.
    pub(super) fn put_costs(&self) -> Result<()> {
        let taken = self.till.take();
        if taken.is_empty() {
            return Ok(());
        }
        let added = self.store.add_costs(&taken);
        if added.is_err() {
            self.till.put_back(taken);
        }
        added
    }

    /// Merges and forgets old costs, once an hour.
    pub(super) fn thin_costs(&mut self) -> Result<()> {
        let now = cost::hour(jiff::Timestamp::now().as_millisecond());
        if self.thinned == now {
            return Ok(());
        }
        self.thinned = now;
        let days_before = cost::day_of(now - KEEP_HOURS);
        self.store.thin_costs(days_before, now - KEEP_DAYS)
    }
}
