//! Who gets in: as many as there are places, and where callers have keys of ours, those with one.

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Incoming;
use crate::http::data::Edge;
use crate::plan;
use crate::turnstile::Guest;

/// A place among the open requests, counted for as long as it is held.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    /// Its place among those of its caller.
    guest: Option<Guest>,
    open: Gauge,
}

impl Slot {
    fn new(permit: OwnedSemaphorePermit, open: Gauge) -> Self {
        open.inc();
        Self { _permit: permit, guest: None, open }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Edge {
    /// A place among the open requests, if one is left.
    pub(super) fn slot(&self) -> Result<Slot> {
        let Ok(slot) = self.door.slots.clone().try_acquire_owned() else {
            let most = self.front.config.limits.max_concurrency;
            let what = format!("{most} requests are open already, the most that is allowed");
            return Err(Error::new(Kind::Overloaded, what));
        };
        Ok(Slot::new(slot, self.front.metrics.open.clone()))
    }

    /// Finds out who asks, where callers have keys of ours; none of these keys goes any further.
    pub(super) fn admit(&self, incoming: &mut Incoming, slot: &mut Slot) -> Result<()> {
        let config = &self.front.config;
        if config.patrons.is_empty() {
            return Ok(());
        }
        let Some(patron) = config.patrons.find(&incoming.headers) else {
            if !config.callers_required {
                return Ok(());
            }
            let what = "no caller has this key: send one that understudy knows, where your SDK \
                        sends its API key";
            return Err(Error::new(Kind::Unauthorized, what));
        };
        slot.guest = Some(self.front.turnstile.enter(patron, incoming.arrived.into_std())?);
        plan::CREDENTIAL_HEADERS.iter().for_each(|name| drop(incoming.headers.remove(*name)));
        incoming.patron = Some(patron.clone());
        Ok(())
    }
}
