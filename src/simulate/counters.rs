//! What the simulator has been asked, for tests and for `GET /simulate/counters`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// Models counted by name; requests for further ones only count in the total.
const MAX_MODELS: usize = 1000;

/// A snapshot of the counters. Only chat requests count.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests that asked for a stream.
    pub streams: u64,
    /// Requests that a fault struck.
    pub faults: u64,
    /// Requests refused for their own faults, a missing key for example.
    pub refused: u64,
    /// Requests answered with a recorded output.
    pub recorded: u64,
    /// Requests answered with a verdict.
    pub judged: u64,
    /// Requests whose client left before the end.
    pub abandoned: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// Most requests that were ever being answered at once.
    pub peak_in_flight: u64,
    /// Requests by model name.
    pub by_model: BTreeMap<String, u64>,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) streams: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) recorded: AtomicU64,
    pub(super) judged: AtomicU64,
    abandoned: AtomicU64,
    in_flight: AtomicU64,
    peak_in_flight: AtomicU64,
    by_model: Mutex<BTreeMap<String, u64>>,
}

impl Counters {
    pub(super) fn snapshot(&self) -> Counts {
        Counts {
            requests: self.requests.load(Relaxed),
            streams: self.streams.load(Relaxed),
            faults: self.faults.load(Relaxed),
            refused: self.refused.load(Relaxed),
            recorded: self.recorded.load(Relaxed),
            judged: self.judged.load(Relaxed),
            abandoned: self.abandoned.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            peak_in_flight: self.peak_in_flight.load(Relaxed),
            by_model: self.by_model.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(super) fn model(&self, name: &str) {
        let mut models = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = models.get_mut(name) {
            *count += 1;
        } else if models.len() < MAX_MODELS {
            models.insert(name.to_owned(), 1);
        }
    }
}

/// Counts a request as in flight until dropped.
pub(super) struct Busy {
    counters: Arc<Counters>,
    finished: bool,
}

impl Busy {
    pub(super) fn start(counters: &Arc<Counters>) -> Self {
        counters.requests.fetch_add(1, Relaxed);
        let now = counters.in_flight.fetch_add(1, Relaxed) + 1;
        counters.peak_in_flight.fetch_max(now, Relaxed);
        Self { counters: Arc::clone(counters), finished: false }
    }

    /// Says that the answer left completely (or broke on purpose).
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.counters.in_flight.fetch_sub(1, Relaxed);
        if !self.finished {
            self.counters.abandoned.fetch_add(1, Relaxed);
        }
    }
}
