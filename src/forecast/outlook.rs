//! What is still to come of a running experiment, at the pace and the cost it has had so far.

use serde::Deserialize;
use serde::Serialize;

use crate::forecast::Span;
use crate::stats::plan::Pairs;
use crate::tally::tide::Tide;

const MINUTES_AN_HOUR: i64 = 60;
const MINUTE_MS: i64 = 60_000;

/// What is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    /// More pairs; `null` when no end is in sight within the budget.
    pub pairs: Option<Pairs>,
    /// More hours, at the pace of the last hour.
    pub hours: Option<Span>,
    /// More dollars, at what pairs have cost so far; `null` where a price is unknown.
    pub usd: Option<Span>,
    /// Pairs that a candidate has made in an hour lately.
    pub pairs_per_hour: Option<f64>,
}

/// What is still to come after so many more pairs of each of these candidates.
pub fn outlook(
    pairs: Option<Pairs>,
    candidates: usize,
    tide: &Tide,
    now_ms: i64,
    pair_usd: Option<f64>,
) -> Outlook {
    let candidates = candidates.max(1) as f64;
    let pairs_per_hour = pace(tide, now_ms).map(|pace| pace / candidates);
    let hours = pairs.zip(pairs_per_hour).map(|(pairs, pace)| Span::of(pairs, 1.0 / pace));
    let usd = pairs.zip(pair_usd).map(|(pairs, each)| Span::of(pairs, each * candidates));
    Outlook { pairs, hours, usd, pairs_per_hour }
}

/// Pairs promised and not lost in an hour, by the minutes of the last one.
fn pace(tide: &Tide, now_ms: i64) -> Option<f64> {
    let now = now_ms.div_euclid(MINUTE_MS);
    let lately = || tide.minutes.iter().filter(|minute| now - minute.at < MINUTES_AN_HOUR);
    let first = lately().map(|minute| minute.at).min()?;
    let made = lately().map(|minute| minute.bucket.promised.saturating_sub(minute.bucket.lost));
    let made = made.sum::<u64>() as f64;
    let minutes = (now - first + 1).max(1) as f64;
    (made > 0.0).then_some(made / minutes * MINUTES_AN_HOUR as f64)
}

#[cfg(test)]
mod tests {
    use super::outlook;
    use crate::stats::plan::Pairs;
    use crate::tally::tide::Tide;

    #[test]
    fn the_pace_is_that_of_the_last_hour_and_one_candidate() {
        let mut tide = Tide::default();
        let now_ms = 100 * 3_600_000;
        tide.promised(now_ms - 3 * 3_600_000, 5000);
        for minute in 0..10 {
            tide.promised(now_ms - minute * 60_000, 30);
        }
        tide.lost(now_ms, 10);
        let pairs = Some(Pairs { n50: 870, n80: 1740 });
        let ahead = outlook(pairs, 2, &tide, now_ms, Some(0.01));
        assert_eq!(ahead.pairs_per_hour, Some(870.0));
        assert_eq!(ahead.hours.map(|hours| (hours.n50, hours.n80)), Some((1.0, 2.0)));
        assert_eq!(ahead.usd.map(|usd| usd.n80.round()), Some(35.0));
        let still = outlook(pairs, 2, &Tide::default(), now_ms, None);
        assert_eq!((still.hours, still.usd, still.pairs), (None, None, pairs));
    }
}
