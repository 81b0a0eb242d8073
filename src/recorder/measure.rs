//! Shows the state of the store as metrics.

use crate::metrics::Metrics;
use crate::metrics::Word;
use crate::store::Store;

/// Brings the metrics of the store up to date.
pub fn measure(store: &Store, metrics: &Metrics) {
    let size = store.size();
    let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    metrics.stored_answers.set(gauge(size.exchanges));
    metrics.stored_bytes.set(gauge(size.packed_bytes));
    metrics.stored_disk_bytes.set(gauge(size.disk_bytes));
    let events = store.events();
    Metrics::raise(&metrics.dropped_generations, events.dropped_generations);
    let damaged = |what, to| Metrics::raise(&metrics.damaged.get_or_create(&Word { what }), to);
    damaged("generation", events.damaged_generations);
    damaged("record", events.damaged_records);
}
