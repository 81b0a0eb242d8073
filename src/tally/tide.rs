//! Whether pairs are lost evenly in time: by the hour of the day, and by the last sixty minutes.
//!
//! Pairs that are lost when traffic is heavy leave those out that say most about busy hours.

use serde::Deserialize;
use serde::Serialize;

use crate::stats::srm;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
const HOURS: usize = 24;
const MINUTES: usize = 60;

/// Chance of a warning where nothing is wrong, at one look.
const ALPHA: f64 = 0.001;

/// Shares that differ by less are no reason to warn, however certain they are.
const LEAST_DIFFERENCE: f64 = 0.05;

/// Cochran's rule: a cell that is expected to hold fewer does not follow the distribution.
const LEAST_EXPECTED: f64 = 5.0;

/// Pairs promised and lost, by the time of the promise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tide {
    /// By the hour of the day, UTC.
    pub hours: Vec<Bucket>,
    /// By the minute, the last sixty that had any; a ring.
    pub minutes: Vec<Minute>,
}

/// What was counted in one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Pairs that were to be.
    pub promised: u64,
    /// Of those, pairs that came to nothing.
    pub lost: u64,
}

/// One place of the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Minutes since 1970.
    pub at: i64,
    /// What was counted in it.
    #[serde(flatten)]
    pub bucket: Bucket,
}

/// A stretch of time in which more was lost than in the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uneven {
    /// Which bucket.
    pub at: usize,
    /// Share lost in it.
    pub inside: f64,
    /// Share lost in all others.
    pub outside: f64,
    /// Chance of as much unevenness where losing does not depend on time, at one look.
    pub p: f64,
}

impl Tide {
    /// Pairs were promised at a moment in Unix milliseconds.
    pub fn promised(&mut self, at_ms: i64, pairs: u64) {
        self.count(at_ms, |bucket| bucket.promised += pairs);
    }

    /// Pairs promised then came to nothing.
    pub fn lost(&mut self, at_ms: i64, pairs: u64) {
        self.count(at_ms, |bucket| bucket.lost += pairs);
    }

    /// Takes in what another process counted: of each place in the ring the newer minute stays.
    pub fn merge(&mut self, other: &Self) {
        let sum = |into: &mut Bucket, from: &Bucket| {
            into.promised += from.promised;
            into.lost += from.lost;
        };
        self.hours.resize(self.hours.len().max(other.hours.len()), Bucket::default());
        self.hours.iter_mut().zip(&other.hours).for_each(|(into, from)| sum(into, from));
        self.minutes.resize(self.minutes.len().max(other.minutes.len()), Minute::default());
        for (into, from) in self.minutes.iter_mut().zip(&other.minutes) {
            match into.at.cmp(&from.at) {
                std::cmp::Ordering::Less => *into = *from,
                std::cmp::Ordering::Equal => sum(&mut into.bucket, &from.bucket),
                std::cmp::Ordering::Greater => {}
            }
        }
    }

    /// What a person should know of it.
    pub fn warning(&self) -> Option<String> {
        let (stretch, uneven) = match uneven(&self.hours) {
            Some(uneven) => {
                let end = (uneven.at + 1) % HOURS;
                (format!("between {:02}:00 and {end:02}:00 UTC", uneven.at), uneven)
            }
            None => {
                let buckets: Vec<Bucket> = self.minutes.iter().map(|m| m.bucket).collect();
                let uneven = uneven(&buckets)?;
                let at = self.minutes.get(uneven.at)?.at.rem_euclid(24 * 60);
                (format!("in the minute {:02}:{:02} UTC", at / 60, at % 60), uneven)
            }
        };
        Some(format!(
            "{:.1} % of pairs were lost {stretch}, {:.1} % otherwise: pairs under-represent busy \
             times",
            uneven.inside * 100.0,
            uneven.outside * 100.0
        ))
    }

    fn count(&mut self, at_ms: i64, change: impl Fn(&mut Bucket)) {
        self.hours.resize(HOURS, Bucket::default());
        self.minutes.resize(MINUTES, Minute::default());
        let hour = at_ms.div_euclid(HOUR_MS).rem_euclid(HOURS as i64);
        if let Some(bucket) = usize::try_from(hour).ok().and_then(|at| self.hours.get_mut(at)) {
            change(bucket);
        }
        let at = at_ms.div_euclid(MINUTE_MS);
        let place = usize::try_from(at.rem_euclid(MINUTES as i64)).unwrap_or(0);
        let Some(minute) = self.minutes.get_mut(place) else { return };
        if minute.at < at {
            *minute = Minute { at, bucket: Bucket::default() };
        }
        // A loss may come when its minute has long left the ring.
        if minute.at == at {
            change(&mut minute.bucket);
        }
    }
}

/// Pearson's chi-square test that the share lost is the same in every bucket (Pearson, "On the
/// criterion that a given system of deviations...", 1900); buckets too small for it (Cochran, "Some
/// methods for strengthening the common chi-square tests", 1954) are taken together.
///
/// `X = sum (lost_i - n_i s)^2 / (n_i s (1 - s))` with `s` the share lost overall, and one degree of
/// freedom fewer than buckets. It is a warning at one look, and takes no part in any verdict.
pub fn uneven(buckets: &[Bucket]) -> Option<Uneven> {
    let (promised, lost) = sums(buckets.iter());
    let share = lost / promised;
    if !(share > 0.0 && share < 1.0) {
        return None;
    }
    let least = |promised: f64| promised * share.min(1.0 - share);
    let is_large = |bucket: &&Bucket| least(bucket.promised as f64) >= LEAST_EXPECTED;
    let mut cells: Vec<(f64, f64)> =
        buckets.iter().filter(is_large).map(|b| (b.promised as f64, b.lost as f64)).collect();
    let rest = sums(buckets.iter().filter(|bucket| !is_large(bucket)));
    if least(rest.0) >= LEAST_EXPECTED {
        cells.push(rest);
    }
    let term = |(n, lost): &(f64, f64)| (lost - n * share).powi(2) / (n * share * (1.0 - share));
    let p = srm::upper_tail(cells.iter().map(term).sum(), cells.len());
    let excess = |bucket: &Bucket| bucket.lost as f64 - bucket.promised as f64 * share;
    let large = buckets.iter().enumerate().filter(|(_, bucket)| is_large(bucket));
    let (at, worst) = large.max_by(|(_, a), (_, b)| excess(a).total_cmp(&excess(b)))?;
    let inside = worst.lost as f64 / worst.promised as f64;
    let others = promised - worst.promised as f64;
    let outside = if others > 0.0 { (lost - worst.lost as f64) / others } else { inside };
    let is_uneven = p < ALPHA && inside - outside >= LEAST_DIFFERENCE;
    is_uneven.then_some(Uneven { at, inside, outside, p })
}

fn sums<'b>(buckets: impl Iterator<Item = &'b Bucket>) -> (f64, f64) {
    buckets.fold((0.0, 0.0), |(promised, lost), bucket| {
        (promised + bucket.promised as f64, lost + bucket.lost as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::Bucket;
    use super::HOUR_MS;
    use super::Tide;
    use super::uneven;

    fn hours(lost: impl Fn(usize) -> u64) -> Vec<Bucket> {
        (0..24).map(|hour| Bucket { promised: 1000, lost: lost(hour) }).collect()
    }

    #[test]
    fn only_losing_that_depends_on_time_is_told() {
        assert_eq!(uneven(&hours(|_| 0)), None);
        assert_eq!(uneven(&hours(|_| 1000)), None);
        assert_eq!(uneven(&hours(|hour| 100 + (hour % 3) as u64)), None, "by chance");
        assert_eq!(uneven(&hours(|hour| if hour == 14 { 40 } else { 1 })), None, "too little");
        let found = uneven(&hours(|hour| if hour == 14 { 400 } else { 10 })).unwrap();
        assert_eq!((found.at, found.inside, found.outside), (14, 0.4, 0.01));
    }

    #[test]
    fn chance_alone_warns_about_as_rarely_as_stated() {
        let mut state = 1_u64;
        let mut coin = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % 10 < 3
        };
        let warned = (0..400).filter(|_| {
            let bucket =
                |_| Bucket { promised: 50, lost: (0..50).filter(|_| coin()).count() as u64 };
            uneven(&(0..24).map(bucket).collect::<Vec<_>>()).is_some()
        });
        assert!(warned.count() <= 3);
    }

    #[test]
    fn the_warning_names_the_hour_and_a_late_loss_falls_on_the_hour_of_its_promise() {
        let mut tide = Tide::default();
        for hour in 0..24 {
            tide.promised(hour * HOUR_MS, 500);
            tide.lost(hour * HOUR_MS, if hour == 14 { 250 } else { 5 });
        }
        let warning = tide.warning().unwrap();
        assert!(
            warning.starts_with("50.0 % of pairs were lost between 14:00 and 15:00 UTC, 1.0 %")
        );
        assert_eq!(
            serde_json::from_str::<Tide>(&serde_json::to_string(&tide).unwrap()).unwrap(),
            tide
        );
    }

    #[test]
    fn a_burst_within_an_hour_is_told_by_its_minute() {
        let mut tide = Tide::default();
        for minute in 0..60 {
            tide.promised(10 * HOUR_MS + minute * 60_000, 100);
            tide.lost(10 * HOUR_MS + minute * 60_000, if minute == 7 { 90 } else { 6 });
        }
        let warning = tide.warning().unwrap();
        assert!(warning.contains("in the minute 10:07 UTC"), "{warning}");
    }
}
