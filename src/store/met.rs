//! Units, the requests that feedback may come to, what was said of them, and what copies cost.

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exposure::UnitDigest;
use crate::exposure::UnitRow;
use crate::feedback::Said;
use crate::feedback::Subject;
use crate::ledger::Day;
use crate::store::Store;
use crate::store::failed;
use crate::store::number;
use crate::store::seal;

/// The name of a request: 16 bytes of its id's hash, whatever the application sent as one.
pub type RequestName = [u8; 16];

/// The name of a request.
pub fn request_name(request_id: &str) -> RequestName {
    blake3::hash(request_id.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default()
}

impl Store {
    /// What is known of a unit.
    pub fn unit(&self, experiment: &str, epoch: u32, unit: UnitDigest) -> Option<UnitRow> {
        let key = [&units_of(experiment, epoch)[..], &unit].concat();
        let row = self.main().ok()?.units.get(key).ok()??;
        serde_json::from_slice(&row).ok()
    }

    /// Stores what is known of a unit.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_unit(
        &self,
        experiment: &str,
        epoch: u32,
        unit: UnitDigest,
        row: &UnitRow,
    ) -> Result<()> {
        let key = [&units_of(experiment, epoch)[..], &unit].concat();
        let row = serde_json::to_vec(row).map_err(|_| unwritable())?;
        self.main()?.units.insert(key, row).map(drop).map_err(|e| failed(&e))
    }

    /// Every unit of an experiment's definition.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn units(
        &self,
        experiment: &str,
        epoch: u32,
        take: &mut dyn FnMut(&UnitRow),
    ) -> Result<()> {
        for entry in self.main()?.units.scan_prefix(units_of(experiment, epoch)) {
            let (_, row) = entry.map_err(|e| failed(&e))?;
            if let Ok(row) = serde_json::from_slice(&row) {
                take(&row);
            }
        }
        Ok(())
    }

    /// What a request was part of.
    pub fn subject(&self, request: RequestName) -> Option<Subject> {
        let row = self.main().ok()?.subjects.get(request).ok()??;
        serde_json::from_slice(&row).ok()
    }

    /// Remembers what a request was part of; true if it is new.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_subject(&self, request: RequestName, subject: &Subject) -> Result<bool> {
        let main = self.main()?;
        let row = serde_json::to_vec(subject).map_err(|_| unwritable())?;
        let before = main.subjects.insert(request, row).map_err(|e| failed(&e))?;
        let place = order(subject.at_ms, request);
        main.subject_order.insert(place, &[]).map_err(|e| failed(&e))?;
        Ok(before.is_none())
    }

    /// How many requests are remembered.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn count_subjects(&self) -> Result<u64> {
        Ok(self.main()?.subjects.len() as u64)
    }

    /// Forgets the oldest requests: all of before `before_ms`, and `too_many` at least, but no more
    /// than `most` at once; gives how many.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn forget_subjects(&self, before_ms: i64, too_many: u64, most: u64) -> Result<u64> {
        let main = self.main()?;
        let mut forgotten = 0;
        for key in main.subject_order.iter().keys() {
            let key = key.map_err(|e| failed(&e))?;
            let split = key.split_first_chunk::<8>();
            let Some((at, request)) = split else { continue };
            let at_ms = i64::from_be_bytes(*at);
            if forgotten >= most || (at_ms >= before_ms && forgotten >= too_many) {
                break;
            }
            main.subject_order.remove(&key).map_err(|e| failed(&e))?;
            // The same id may have come again since.
            let request = RequestName::try_from(request).unwrap_or_default();
            if self.subject(request).is_some_and(|subject| subject.at_ms == at_ms) {
                main.subjects.remove(request).map_err(|e| failed(&e))?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// What was said of a request.
    pub fn said(&self, experiment: &str, request: RequestName) -> Option<Said> {
        let row = self.main().ok()?.feedback.get(said_key(experiment, request)).ok()??;
        seal::unseal_small(&row, self.keys())
    }

    /// Stores what was said of a request, in the place of what was said before.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_said(&self, experiment: &str, request: RequestName, said: &Said) -> Result<()> {
        let row = self.sealer().seal_small(said).ok_or_else(unwritable)?;
        let feedback = &self.main()?.feedback;
        feedback.insert(said_key(experiment, request), row).map(drop).map_err(|e| failed(&e))
    }

    /// Everything said in an experiment.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn all_said(&self, experiment: &str, take: &mut dyn FnMut(Said)) -> Result<()> {
        for entry in self.main()?.feedback.scan_prefix(prefix(experiment)) {
            let (_, row) = entry.map_err(|e| failed(&e))?;
            if let Some(said) = seal::unseal_small(&row, self.keys()) {
                take(said);
            }
        }
        Ok(())
    }

    /// Stores what an experiment's copies of a day cost, billionths of a dollar.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn put_spent(&self, day: Day, experiment: &str, nano_usd: u64) -> Result<()> {
        let key = [&day.to_be_bytes()[..], experiment.as_bytes()].concat();
        let ledger = &self.main()?.ledger;
        ledger.insert(key, &nano_usd.to_be_bytes()).map(drop).map_err(|e| failed(&e))
    }

    /// What copies cost, on every day.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn spent(&self) -> Result<Vec<(Day, String, u64)>> {
        let mut spent = Vec::new();
        for entry in self.main()?.ledger.iter() {
            let (key, value) = entry.map_err(|e| failed(&e))?;
            let Some((day, name)) = key.split_first_chunk::<8>() else { continue };
            let name = String::from_utf8_lossy(name).into_owned();
            spent.push((i64::from_be_bytes(*day), name, number(&value).unwrap_or(0)));
        }
        Ok(spent)
    }
}

/// Names end with a byte that no name contains, so that none is another's prefix.
fn prefix(experiment: &str) -> Vec<u8> {
    [experiment.as_bytes(), &[0]].concat()
}

fn units_of(experiment: &str, epoch: u32) -> Vec<u8> {
    [&prefix(experiment)[..], &epoch.to_be_bytes()].concat()
}

fn said_key(experiment: &str, request: RequestName) -> Vec<u8> {
    [&prefix(experiment)[..], &request].concat()
}

fn order(at_ms: i64, request: RequestName) -> Vec<u8> {
    [&at_ms.max(0).to_be_bytes()[..], &request].concat()
}

fn unwritable() -> Error {
    Error::new(Kind::Internal, "a record could not be written as JSON")
}
