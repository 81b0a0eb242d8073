//! Who gets in: as many as there are places, and where callers have keys of ours, those with one.

use std::sync::Arc;

use http::HeaderMap;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::OwnedSemaphorePermit;

use crate::caller::Patron;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Incoming;
use crate::http::data::Edge;
use crate::provider::KEY_HEADERS;
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

    /// Who asks, where callers have keys of ours.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Option<&Arc<Patron>>> {
        let config = &self.front.config;
        match config.patrons.find(headers) {
            None if config.callers_required && !config.patrons.is_empty() => {
                let what = "no caller has this key: send one that understudy knows, where your \
                            SDK sends its API key";
                Err(Error::new(Kind::Unauthorized, what))
            }
            found => Ok(found),
        }
    }

    /// Lets whoever asks in as itself, if there is room for it; none of our keys goes any further.
    pub(super) fn admit(&self, incoming: &mut Incoming, slot: &mut Slot) -> Result<()> {
        let Some(patron) = self.caller(&incoming.headers)? else { return Ok(()) };
        slot.guest = Some(self.front.turnstile.enter(patron, incoming.arrived.into_std())?);
        KEY_HEADERS.iter().for_each(|name| drop(incoming.headers.remove(name)));
        incoming.patron = Some(patron.clone());
        Ok(())
    }
}
