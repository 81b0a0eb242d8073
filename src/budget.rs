//! What a caller may spend in a day and in a month of UTC, and whether there is room for one more call.
//!
//! A call is admitted while what is spent and what is set aside for calls under way are together
//! below every limit, and refused only when they are not. What it may cost is set aside before it
//! is sent, and replaced by what it did cost when it has ended, on the account of the moment in
//! which it ended. So where no call costs more than was set aside for it, a limit is passed by less
//! than what was set aside for the last call admitted; and in any case by no more than the costs of
//! the calls that were under way at once.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::ledger;
use crate::ledger::Day;

/// Money and tokens together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Billionths of a dollar.
    pub nano_usd: u64,
    /// Tokens in and out.
    pub tokens: u64,
}

/// The most of both; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cap {
    /// Billionths of a dollar.
    pub nano_usd: Option<u64>,
    /// Tokens in and out.
    pub tokens: Option<u64>,
}

/// The most in a day and in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// In a day of UTC.
    pub day: Cap,
    /// In a month of UTC.
    pub month: Cap,
}

/// Why a call is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The key of the limit that is reached.
    pub limit: &'static str,
    /// Whether what is spent has reached it, without what is only set aside.
    pub is_spent: bool,
    /// When the limit begins anew, Unix milliseconds.
    pub resets_ms: i64,
}

/// What one caller has spent and set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    day: (Day, Amount),
    month: (Day, Amount),
    reserved: Amount,
}

impl Caps {
    /// Whether there is any limit.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }

    /// Whether there is a limit of money, which holds only where prices are known.
    pub fn is_of_money(&self) -> bool {
        self.day.nano_usd.is_some() || self.month.nano_usd.is_some()
    }
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            nano_usd: self.nano_usd.saturating_add(other.nano_usd),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            nano_usd: self.nano_usd.saturating_sub(other.nano_usd),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}

impl Budget {
    /// As it was when the process began: what is on the books of the day and of the month of
    /// `now_ms`, with nothing under way.
    pub fn of(now_ms: i64, day: Amount, month: Amount) -> Self {
        let (today, first) = (ledger::day(now_ms), first_of_month(now_ms));
        Self { day: (today, day), month: (first, month), reserved: Amount::default() }
    }

    /// Sets `most` aside for a call.
    ///
    /// # Errors
    /// A limit is reached.
    pub fn reserve(&mut self, caps: &Caps, now_ms: i64, most: Amount) -> Result<(), Refusal> {
        self.turn(now_ms);
        let (day, month) = (self.day, self.month);
        let next_day = (day.0 + 1) * DAY_MS;
        let next_month = next_month(now_ms);
        let limits = [
            ("usd_per_month", caps.month.nano_usd, month.1.nano_usd, next_month),
            ("tokens_per_month", caps.month.tokens, month.1.tokens, next_month),
            ("usd_per_day", caps.day.nano_usd, day.1.nano_usd, next_day),
            ("tokens_per_day", caps.day.tokens, day.1.tokens, next_day),
        ];
        for (limit, cap, spent, resets_ms) in limits {
            let Some(cap) = cap else { continue };
            let reserved = match limit.starts_with("usd") {
                true => self.reserved.nano_usd,
                false => self.reserved.tokens,
            };
            if spent.saturating_add(reserved) >= cap {
                return Err(Refusal { limit, is_spent: spent >= cap, resets_ms });
            }
        }
        self.reserved = self.reserved.plus(most);
        Ok(())
    }

    /// Replaces what was set aside by what the call did cost.
    pub fn settle(&mut self, now_ms: i64, reserved: Amount, cost: Amount) {
        self.turn(now_ms);
        self.reserved = self.reserved.minus(reserved);
        self.day.1 = self.day.1.plus(cost);
        self.month.1 = self.month.1.plus(cost);
    }

    /// Gives back what was set aside for a call that was not made.
    pub fn release(&mut self, reserved: Amount) {
        self.reserved = self.reserved.minus(reserved);
    }

    /// What is spent on the day and in the month of the last call, and what is set aside.
    pub fn spent(&self) -> [Amount; 3] {
        [self.day.1, self.month.1, self.reserved]
    }

    /// Begins anew on another day and in another month.
    fn turn(&mut self, now_ms: i64) {
        let (today, first) = (ledger::day(now_ms), first_of_month(now_ms));
        if today > self.day.0 {
            self.day = (today, Amount::default());
        }
        if first > self.month.0 {
            self.month = (first, Amount::default());
        }
    }
}

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The first day of the month of a moment, counted from 1970.
pub fn first_of_month(now_ms: i64) -> Day {
    let today = ledger::day(now_ms);
    today - i64::from(date(now_ms).day() - 1)
}

/// When the next month begins, Unix milliseconds.
fn next_month(now_ms: i64) -> i64 {
    let days = i64::from(date(now_ms).days_in_month());
    (first_of_month(now_ms) + days) * DAY_MS
}

fn date(now_ms: i64) -> Date {
    Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::Amount;
    use super::Budget;
    use super::Cap;
    use super::Caps;
    use super::DAY_MS;
    use super::Refusal;

    /// 30 January 2026, 12:00 UTC.
    const NOON: i64 = 1_769_774_400_000;

    fn cents(cents: u64) -> Amount {
        Amount { nano_usd: cents * 10_000_000, tokens: cents * 100 }
    }

    fn a_dollar_a_day() -> Caps {
        let of = |cents: u64| Cap { nano_usd: Some(cents * 10_000_000), tokens: None };
        Caps { day: of(100), month: of(150) }
    }

    #[test]
    fn what_is_set_aside_counts_until_it_is_settled() {
        let (caps, mut budget) = (a_dollar_a_day(), Budget::default());
        assert_eq!(budget.reserve(&caps, NOON, cents(60)), Ok(()));
        assert_eq!(budget.reserve(&caps, NOON, cents(60)), Ok(()), "there is room below the limit");
        let full = Refusal { limit: "usd_per_day", is_spent: false, resets_ms: NOON + DAY_MS / 2 };
        assert_eq!(budget.reserve(&caps, NOON, cents(1)), Err(full));
        budget.settle(NOON, cents(60), cents(10));
        budget.settle(NOON, cents(60), cents(90));
        assert_eq!(budget.reserve(&caps, NOON, cents(1)), Err(Refusal { is_spent: true, ..full }));
    }

    #[test]
    fn a_day_and_a_month_begin_anew() {
        let (caps, mut budget) = (a_dollar_a_day(), Budget::default());
        budget.settle(NOON, cents(0), cents(100));
        assert!(budget.reserve(&caps, NOON, cents(1)).is_err());
        let tomorrow = NOON + DAY_MS;
        assert_eq!(budget.reserve(&caps, tomorrow, cents(60)), Ok(()));
        budget.settle(tomorrow, cents(60), cents(60));
        let refused = budget.reserve(&caps, tomorrow, cents(1)).unwrap_err();
        assert_eq!((refused.limit, refused.resets_ms), ("usd_per_month", NOON + DAY_MS * 3 / 2));
        assert_eq!(budget.reserve(&caps, NOON + 2 * DAY_MS, cents(1)), Ok(()), "February");
        assert_eq!(budget.spent(), [cents(0), cents(0), cents(1)]);
    }

    #[test]
    fn a_budget_goes_on_from_what_is_on_the_books() {
        let caps = a_dollar_a_day();
        let mut budget = Budget::of(NOON, cents(99), cents(149));
        assert_eq!(budget.reserve(&caps, NOON, cents(5)), Ok(()));
        assert!(Budget::of(NOON, cents(0), cents(150)).reserve(&caps, NOON, cents(5)).is_err());
    }
}
