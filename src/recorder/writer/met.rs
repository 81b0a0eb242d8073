//! The part of the writer that keeps which units met what, and what was said of it.

use std::collections::HashMap;
use std::time::Duration;

use crate::error::Result;
use crate::exposure::Exposure;
use crate::exposure::MAX_UNITS;
use crate::exposure::UnitDigest;
use crate::exposure::UnitRow;
use crate::feedback::Feedback;
use crate::feedback::Said;
use crate::feedback::Subject;
use crate::recorder::writer::Writer;
use crate::store::met::RequestName;
use crate::store::met::request_name;

/// How long feedback may come after its answer.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Requests that feedback may come to.
const MAX_SUBJECTS: u64 = 1_000_000;

/// Requests forgotten at once, so that nobody waits long.
const MAX_FORGOTTEN: u64 = 20_000;

/// Units that wait to be stored before a flush is due.
const MAX_PENDING: usize = 10_000;

/// What is brought to disk with the next flush.
#[derive(Default)]
pub struct Pending {
    units: HashMap<(String, u32, UnitDigest), Changed>,
    subjects: HashMap<RequestName, Subject>,
    /// Requests remembered on disk.
    remembered: u64,
}

struct Changed {
    before: Option<UnitRow>,
    now: UnitRow,
}

impl Pending {
    /// Nothing waits; so many requests are remembered on disk.
    pub fn new(remembered: u64) -> Self {
        Self { remembered, ..Self::default() }
    }
}

impl Writer {
    /// Notes that a unit met a variant.
    pub(super) fn exposed(&mut self, exposure: &Exposure) {
        let name = &exposure.experiment;
        if self.board.experiment(name).is_none() {
            return;
        }
        let key = (name.clone(), exposure.epoch, exposure.unit);
        if !self.met.units.contains_key(&key) {
            let before = self.store.unit(name, exposure.epoch, exposure.unit);
            let units = self.board.units(name) + self.met.units.len() as u64;
            if before.is_none() && units >= MAX_UNITS {
                self.board.count(name, |funnel| funnel.untracked += 1);
                return;
            }
            let now = before.clone().unwrap_or_default();
            self.met.units.insert(key.clone(), Changed { before, now });
        }
        if let Some(changed) = self.met.units.get_mut(&key) {
            changed.now.meet(exposure);
        }
        let (experiment, variant) = (name.clone(), exposure.assigned.clone());
        let (epoch, at_ms) = (exposure.epoch, exposure.at_ms);
        let subject = Subject { experiment, epoch, variant, at_ms };
        self.met.subjects.insert(request_name(&exposure.request_id), subject);
        let pending = self.met.units.len().max(self.met.subjects.len());
        self.dirty |= pending >= MAX_PENDING;
    }

    /// Takes what was said of an answer; `None` when the request is not known.
    pub(super) fn said(&mut self, feedback: Feedback) -> Result<Option<Subject>> {
        let request = request_name(&feedback.request_id);
        let subject = self.met.subjects.get(&request).cloned();
        let Some(subject) = subject.or_else(|| self.store.subject(request)) else {
            return Ok(None);
        };
        let name = &subject.experiment;
        let before = self.store.said(name, request);
        let counted_as = feedback.label.as_deref();
        let counted_as =
            counted_as.map(|label| self.board.label_name(name, &subject.variant, label));
        let (variant, epoch) = (subject.variant.clone(), subject.epoch);
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let said = Said { feedback, variant, epoch, counted_as, at_ms };
        self.store.put_said(name, request, &said)?;
        self.dirty = true;
        self.board.said(name, before.as_ref(), &said);
        Ok(Some(subject))
    }

    /// Stores what waits, and lets each unit count once it is with sled.
    pub(super) fn put_met(&mut self) -> Result<()> {
        for ((name, epoch, unit), changed) in std::mem::take(&mut self.met.units) {
            self.store.put_unit(&name, epoch, unit, &changed.now)?;
            self.board.met(&name, epoch, changed.before.as_ref(), &changed.now);
        }
        for (request, subject) in std::mem::take(&mut self.met.subjects) {
            self.met.remembered += u64::from(self.store.put_subject(request, &subject)?);
        }
        for ((day, name), nano_usd) in self.board.ledger().take_changed() {
            self.store.put_spent(day, &name, nano_usd)?;
        }
        Ok(())
    }

    /// Forgets requests to which no feedback may come any more.
    pub(super) fn forget_old(&mut self) -> Result<()> {
        let patience_ms = i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX);
        let before = jiff::Timestamp::now().as_millisecond().saturating_sub(patience_ms);
        let too_many = self.met.remembered.saturating_sub(MAX_SUBJECTS);
        let forgotten = self.store.forget_subjects(before, too_many, MAX_FORGOTTEN)?;
        self.met.remembered = self.met.remembered.saturating_sub(forgotten);
        Ok(())
    }
}
