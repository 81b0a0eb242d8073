//! Which generations go: those that are over, and the oldest when there is no room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Generations;
use super::Pen;
use crate::store::disk;
use crate::store::generation;
use crate::store::generation::Generation;

/// Generations up to which one is closed for its age alone.
const ENOUGH: usize = 32;

/// The shortest time a generation is written before it is closed for its age, milliseconds.
const MIN_AGE_MS: i64 = 60_000;

/// Generations dropped in one sweep: each takes a moment to remove.
const DROPPED_AT_ONCE: usize = 8;

/// Damaged directories that are kept for whoever wants to look.
const KEPT_ASIDE: usize = 2;

impl Generations {
    /// Drops every generation that is over, then the oldest until the rest fits; returns how many
    /// exchanges went.
    pub fn sweep(&self, expired_ms: i64, now_ms: i64) -> u64 {
        let mut pen = self.pen();
        let newest = self.row().last().cloned();
        if let Some(newest) = newest {
            let is_old = now_ms - newest.began_ms() >= ((now_ms - expired_ms) / 16).max(MIN_AGE_MS);
            let is_enough = self.row().len() >= ENOUGH;
            if newest.is_used() && (newest.is_over(expired_ms, now_ms) || is_old && !is_enough) {
                let _ = self.begin(&mut pen, now_ms);
            }
        }
        let over: Vec<_> = {
            let row = self.row();
            let older = row.split_last().map_or(&[][..], |(_, older)| older);
            let over = older.iter().filter(|generation| generation.is_over(expired_ms, now_ms));
            over.take(DROPPED_AT_ONCE).cloned().collect()
        };
        let gone: u64 = over.iter().map(|generation| self.drop_one(generation)).sum();
        disk::forget_aside(&self.dir, KEPT_ASIDE);
        gone + self.make_room(&mut pen, now_ms)
    }

    /// Closes the newest when it has its share, and drops the oldest until the rest fits.
    pub(super) fn make_room(&self, pen: &mut Pen, now_ms: i64) -> u64 {
        let share = Generation::share(self.max_bytes());
        let newest = self.row().last().cloned();
        if newest.is_some_and(|newest| newest.disk_bytes() >= share) {
            // If it cannot begin, the old one grows on, and room is made all the same.
            let _ = self.begin(pen, now_ms);
        }
        let mut gone = 0;
        for _ in 0..DROPPED_AT_ONCE {
            if self.disk_bytes() <= self.max_bytes() || !self.drop_oldest(&mut gone) {
                break;
            }
        }
        gone
    }

    /// The disk refused something: if it is full, the oldest goes, but never all that there is.
    pub fn make_room_on_disk(&self, is_refused: bool) {
        let is_refused = self.is_refused.swap(false, Ordering::Relaxed) || is_refused;
        if is_refused && !self.row().is_empty() && disk::is_full(&self.dir) {
            let _one_at_a_time = self.pen();
            self.drop_oldest(&mut 0);
        }
    }

    /// Drops the oldest that is not the newest; false when there is none to drop now.
    fn drop_oldest(&self, gone: &mut u64) -> bool {
        let row: Vec<_> = self.row().iter().map(|generation| generation.number).collect();
        let (oldest, newest) = (row.first().copied(), row.last().copied());
        let mut waiting = self.waiting();
        let unopened = waiting.rows.iter().map(|wait| wait.number).min();
        if let Some(number) = unopened.filter(|number| oldest.is_none_or(|open| *number < open)) {
            waiting.rows.retain(|wait| wait.number != number);
            generation::remove_files(&self.dir.join(generation::name(number)));
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        // One that is being opened is older; it can be dropped a moment later.
        if waiting.at.is_some_and(|at| oldest.is_none_or(|open| at < open)) || oldest == newest {
            drop(waiting);
            disk::forget_aside(&self.dir, 0);
            return false;
        }
        drop(waiting);
        let oldest = self.row().first().cloned();
        *gone += oldest.map_or(0, |oldest| self.drop_one(&oldest));
        true
    }

    fn drop_one(&self, generation: &Arc<Generation>) -> u64 {
        if !self.take_out(generation) {
            return 0;
        }
        let (exchanges, _) = generation.held();
        generation.drop_files();
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        exchanges
    }
}
