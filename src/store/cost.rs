//! What calls cost, in rows of an hour, which later become rows of a day.

use std::collections::HashMap;

use serde::Deserialize;
use serde::Serialize;

use crate::cost;
use crate::cost::DAY;
use crate::cost::Hour;
use crate::cost::Line;
use crate::cost::Sums;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::store::Store;
use crate::store::failed;

/// Hours after which rows of an hour become rows of a day.
pub const KEEP_HOURS: Hour = 8 * DAY;

/// Hours after which costs are forgotten: thirteen months, so that a month can be compared with the
/// same one of the year before.
pub const KEEP_DAYS: Hour = 400 * DAY;

/// Rows that are merged or forgotten at once, so that the recorder is not held up.
const STEP: usize = 1000;

/// Rows of an hour, and of a day.
const SPANS: (u8, u8) = (b'h', b'd');

#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    line: Line,
    sums: Sums,
}

impl Store {
    /// Adds to the rows of each hour.
    ///
    /// # Errors
    /// The disk is full or gone: then nothing was added.
    pub fn add_costs(&self, sums: &HashMap<(Hour, Line), Sums>) -> Result<()> {
        let costs = &self.main()?.costs;
        let mut batch = sled::Batch::default();
        for ((hour, line), sums) in sums {
            let key = key(*hour, SPANS.0, line)?;
            batch.insert(key.as_slice(), self.with(&key, line, sums)?);
        }
        costs.apply_batch(batch).map_err(|e| failed(&e))
    }

    /// Every row that begins in these hours; a row of a day begins with its first hour.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn costs(
        &self,
        hours: std::ops::Range<Hour>,
        take: &mut dyn FnMut(Hour, &Line, &Sums),
    ) -> Result<()> {
        let (from, to) = (hours.start.max(0).to_be_bytes(), hours.end.max(0).to_be_bytes());
        for entry in self.main()?.costs.range(from..to) {
            let (key, row) = entry.map_err(|e| failed(&e))?;
            let read = key.first_chunk().zip(serde_json::from_slice::<Row>(&row).ok());
            if let Some((hour, Row { line, sums })) = read {
                take(Hour::from_be_bytes(*hour), &line, &sums);
            }
        }
        Ok(())
    }

    /// Merges rows of hours before `days_before` into their day's, and forgets all before
    /// `forget_before`; some at a time.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn thin_costs(&self, days_before: Hour, forget_before: Hour) -> Result<()> {
        let costs = &self.main()?.costs;
        let old = ..forget_before.max(0).to_be_bytes().to_vec();
        for key in costs.range(old).keys().take(STEP) {
            costs.remove(key.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
        }
        let hours = ..days_before.max(0).to_be_bytes().to_vec();
        let rows = costs.range(hours).filter_map(std::result::Result::ok);
        let rows = rows.filter(|(key, _)| key.get(8) == Some(&SPANS.0)).take(STEP);
        for (old, row) in rows {
            let mut batch = sled::Batch::default();
            let read = old.first_chunk().zip(serde_json::from_slice::<Row>(&row).ok());
            if let Some((hour, Row { line, sums })) = read {
                let day = cost::day_of(Hour::from_be_bytes(*hour));
                let key = key(day, SPANS.1, &line)?;
                batch.insert(key.as_slice(), self.with(&key, &line, &sums)?);
            }
            batch.remove(old);
            costs.apply_batch(batch).map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    /// A row with more added to it.
    fn with(&self, key: &[u8], line: &Line, more: &Sums) -> Result<Vec<u8>> {
        let before = self.main()?.costs.get(key).map_err(|e| failed(&e))?;
        let before = before.and_then(|row| serde_json::from_slice::<Row>(&row).ok());
        let mut sums = before.map(|row| row.sums).unwrap_or_default();
        sums.add(more);
        serde_json::to_vec(&Row { line: line.clone(), sums }).map_err(|_| unwritable())
    }
}

/// The hour comes first, so that a range of the tree is a range of time.
fn key(hour: Hour, span: u8, line: &Line) -> Result<Vec<u8>> {
    let line = serde_json::to_vec(line).map_err(|_| unwritable())?;
    let name = blake3::hash(&line);
    let (name, _) = name.as_bytes().split_at(16);
    Ok([&hour.max(0).to_be_bytes()[..], &[span], name].concat())
}

fn unwritable() -> Error {
    Error::new(Kind::Internal, "a sum of costs could not be written as JSON")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use crate::cost::Line;
    use crate::cost::Sums;
    use crate::store::Store;

    #[test]
    fn old_hours_become_days_older_days_are_forgotten_and_no_cent_is_lost_between() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let line = |model: &str| Line { model: model.into(), ..Line::default() };
        let mut added = HashMap::new();
        for hour in 0..96 {
            added.insert((hour, line("a")), Sums::call(None, Some(1)));
            added.insert((hour, line("b")), Sums::call(None, Some(100)));
        }
        store.add_costs(&added).unwrap();
        let rows = |hours| {
            let mut rows = Vec::new();
            let mut take = |hour, line: &Line, sums: &Sums| {
                rows.push((hour, line.model.clone(), sums.cost_nano_usd));
            };
            store.costs(hours, &mut take).unwrap();
            rows.sort();
            rows
        };
        assert_eq!(rows(0..96).len(), 192);
        // Again and again changes nothing more.
        for _ in 0..2 {
            store.thin_costs(48, 24).unwrap();
        }
        let day = |cost, model: &str| (24, model.to_owned(), cost);
        assert_eq!(rows(0..48), [day(24, "a"), day(2400, "b")]);
        assert_eq!(rows(48..96).len(), 96);
        store.add_costs(&HashMap::from([((30, line("a")), Sums::call(None, Some(6)))])).unwrap();
        store.thin_costs(48, 24).unwrap();
        assert_eq!(rows(0..48), [day(30, "a"), day(2400, "b")], "what comes late is added");
    }
}
