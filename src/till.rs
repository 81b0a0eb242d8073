//! What calls cost since the recorder last took it to the store: nobody waits for a disk to pay.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::cost;
use crate::cost::Hour;
use crate::cost::Line;
use crate::cost::Sums;

/// Lines held apart at once; what comes beyond is summed by its caller and provider alone.
const MOST_LINES: usize = 4096;

/// The model of calls that are summed so.
const OTHERS: &str = "(others)";

/// Sums by hour and line.
pub type Drawer = HashMap<(Hour, Line), Sums>;

/// Takes what calls cost, without losing any of it to a full queue.
#[derive(Debug, Default)]
pub struct Till(Mutex<Drawer>);

impl Till {
    /// Adds what a call of this moment comes to; true when there was nothing before.
    pub fn add(&self, now_ms: i64, line: Line, sums: &Sums) -> bool {
        let mut drawer = self.drawer();
        let is_first = drawer.is_empty();
        put(&mut drawer, (cost::hour(now_ms), line), sums);
        is_first
    }

    /// Everything since the last time.
    pub fn take(&self) -> Drawer {
        std::mem::take(&mut *self.drawer())
    }

    /// What could not be stored, for the next time.
    pub fn put_back(&self, taken: Drawer) {
        let mut drawer = self.drawer();
        taken.into_iter().for_each(|(key, sums)| put(&mut drawer, key, &sums));
    }

    fn drawer(&self) -> MutexGuard<'_, Drawer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(drawer: &mut Drawer, (hour, line): (Hour, Line), sums: &Sums) {
    let key = (hour, line);
    let key = match drawer.len() >= MOST_LINES && !drawer.contains_key(&key) {
        false => key,
        true => {
            let line = Line {
                caller: key.1.caller,
                provider: key.1.provider,
                model: OTHERS.to_owned(),
                purpose: key.1.purpose,
                ..Line::default()
            };
            (hour, line)
        }
    };
    drawer.entry(key).or_default().add(sums);
}

#[cfg(test)]
mod tests {
    use super::MOST_LINES;
    use super::Till;
    use crate::cost::Line;
    use crate::cost::Sums;

    #[test]
    fn nothing_is_lost_when_there_are_too_many_lines() {
        let till = Till::default();
        let one = Sums::call(None, Some(3));
        for n in 0..2 * MOST_LINES {
            let line = Line { provider: "p".into(), model: n.to_string(), ..Line::default() };
            assert_eq!(till.add(0, line, &one), n == 0);
        }
        let taken = till.take();
        assert_eq!(taken.len(), MOST_LINES + 1);
        till.put_back(taken);
        let sum: u64 = till.take().values().map(|sums| sums.cost_nano_usd).sum();
        assert_eq!(sum, 3 * 2 * MOST_LINES as u64);
        assert!(till.take().is_empty());
    }
}
