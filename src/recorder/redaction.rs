//! What is on its way to disk, without what the rules of redaction match.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::error::Error;
use crate::error::Kind;
use crate::metrics::Metrics;
use crate::pair::Half;
use crate::pair::Intent;
use crate::recorder::Record;
use crate::redact::Found;
use crate::redact::Redactor;
use crate::scene;
use crate::scene::Scenes;
use crate::store::exchange::Exchange;
use crate::store::guard;

/// The most that requests may hold that are stored as something else, bytes.
const MAX_ORIGINAL_BYTES: usize = 64 << 20;

/// A request as it was asked, in memory alone and only until its copies are sent.
#[derive(Debug)]
pub struct Original {
    /// The body.
    pub request: Bytes,
    held: Arc<AtomicUsize>,
}

impl Drop for Original {
    fn drop(&mut self) {
        self.held.fetch_sub(self.request.len(), Ordering::Relaxed);
    }
}

/// Redacts records by the rules in force when they are taken; clones share the memory.
#[derive(Clone)]
pub struct Redaction {
    scenes: Scenes,
    metrics: Arc<Metrics>,
    held: Arc<AtomicUsize>,
}

impl Redaction {
    /// Nothing held yet.
    pub fn new(scenes: Scenes, metrics: Arc<Metrics>) -> Self {
        Self { scenes, metrics, held: Arc::default() }
    }

    /// The rules in force.
    pub fn rules(&self) -> Redactor {
        scene::now(&self.scenes).config.redact.clone()
    }

    /// A record as it may be stored; of a request that is to be sent again, what was asked stays in
    /// memory beside it.
    ///
    /// What cannot be redacted is lost, and nothing stands in its place.
    pub fn apply(&self, record: Record) -> Record {
        // What a panic says may be a part of the text.
        guard::catch(|| self.redact(record)).unwrap_or_else(|_| {
            Metrics::count(&self.metrics.dropped, "not_redacted");
            tracing::error!("a record could not be redacted: it is not stored");
            Record::Costs
        })
    }

    fn redact(&self, mut record: Record) -> Record {
        let rules = self.rules();
        if rules.is_empty() {
            return record;
        }
        let mut found = Found::new();
        match &mut record {
            Record::Intent { intent, original, .. } => {
                *original = self.intent(&rules, intent, &mut found);
            }
            Record::Recorded { intent, half, original, .. } => {
                *original = self.intent(&rules, intent, &mut found);
                redact_half(&rules, half, &mut found);
            }
            Record::Half { half, .. } => redact_half(&rules, half, &mut found),
            Record::Feedback { feedback, .. } => {
                let said = [&mut feedback.comment, &mut feedback.label].into_iter().flatten();
                said.for_each(|text| redact_text(&rules, text, &mut found));
            }
            // Exchanges do not come by here, and nothing else holds words.
            _ => {}
        }
        self.count(found);
        record
    }

    /// An exchange as it may be stored; `None` when it may not be at all.
    pub fn exchange(&self, exchange: &Arc<Exchange>) -> Option<Arc<Exchange>> {
        let rules = self.rules();
        let redacted = guard::catch(|| exchange.redacted(&rules)).unwrap_or_else(|_| {
            Err(Error::new(Kind::Internal, "redacting it failed: please report this"))
        });
        match redacted {
            Ok(None) => Some(exchange.clone()),
            Ok(Some((redacted, found))) => {
                self.count(found);
                Some(Arc::new(redacted))
            }
            Err(error) => {
                Metrics::count(&self.metrics.dropped, "not_redacted");
                tracing::warn!(exchange = %exchange.head.id, %error, "an exchange is not stored");
                None
            }
        }
    }

    fn intent(
        &self,
        rules: &Redactor,
        intent: &mut Intent,
        found: &mut Found,
    ) -> Option<Arc<Original>> {
        let headers = intent.head.headers.values_mut();
        headers.for_each(|value| redact_text(rules, value, found));
        let redacted = rules.body(&intent.request, found)?;
        intent.head.is_redacted = true;
        let request = std::mem::replace(&mut intent.request, redacted);
        let bytes = request.len();
        let original = Original { request, held: self.held.clone() };
        // One that is let go again takes itself out of the count.
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        (held + bytes <= MAX_ORIGINAL_BYTES).then(|| Arc::new(original))
    }

    fn count(&self, found: Found) {
        for (rule, values) in found {
            self.metrics.redacted(&rule, values);
        }
    }
}

fn redact_half(rules: &Redactor, half: &mut Half, found: &mut Found) {
    if let Some(answer) = rules.answer(&half.answer, found) {
        half.answer = answer;
    }
}

fn redact_text(rules: &Redactor, text: &mut String, found: &mut Found) {
    if let Some(redacted) = rules.text(text, found) {
        *text = redacted;
    }
}
