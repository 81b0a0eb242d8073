//! What is set aside for a call before it is made, on the account of whoever makes it.

use std::time::Instant;

use crate::cascade::Judge;
use crate::chat::Usage;
use crate::cost::Sums;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::ask::Ask;
use crate::experiment::Target;
use crate::judge::alone::MANY_TOKENS;
use crate::ledger;
use crate::tokens;
use crate::turnstile::Reservation;

/// What a request has cost so far, and what is set aside for it; however it ends, the one is
/// settled with the other.
#[derive(Debug, Default)]
pub struct Tab {
    reservation: Option<Reservation>,
    sums: Sums,
}

impl Tab {
    /// Adds what a call has cost.
    pub fn add(&mut self, sums: &Sums) {
        self.sums.add(sums);
    }

    /// What it has cost, billionths of a dollar; `None` if something of it is not known.
    pub fn spent(&self) -> Option<u64> {
        (self.sums.unknown == 0).then_some(self.sums.cost_nano_usd)
    }

    /// Adds what the last call has cost, and settles all of it.
    pub fn close(mut self, last: &Sums) {
        self.add(last);
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        // Without a call there is nothing to settle: what was set aside is given back.
        if let Some(reservation) = self.reservation.take_if(|_| self.sums.calls > 0) {
            reservation.settle_now(&self.sums);
        }
    }
}

impl Front {
    /// Sets aside what a request is expected to cost at most, if its caller has a limit that counts
    /// it: the words of the request as an estimate, and as long an answer as it allows, at the
    /// prices of the dearest target that may have to answer; with a cascade, of all of them and of
    /// its judge.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn reserve(&self, ask: &Ask) -> Result<Tab> {
        let Some(patron) = &ask.incoming.patron else { return Ok(Tab::default()) };
        if !patron.budget.is_any() && patron.limits.tokens_per_minute.is_none() {
            return Ok(Tab::default());
        }
        let body = &ask.request.body;
        let read = ask.read.as_deref();
        let input = tokens::of_prompt(read, body);
        let output = ledger::most_output_tokens(read, body);
        let answers = ask.targets.iter().map(|target| self.most(target, (input, output)));
        let (cost, tokens) = match &ask.cascade {
            None => dearest(answers),
            Some(cascade) => {
                let checked = ask.targets.len().saturating_sub(1);
                let read = (input.saturating_add(output), u64::from(MANY_TOKENS));
                let word = |judge: &Judge| self.most(&judge.target, read);
                let words = cascade.judge.iter().map(word);
                all(answers.chain(words.cycle().take(checked)))
            }
        };
        let moment = (Instant::now(), jiff::Timestamp::now().as_millisecond());
        let reservation = self.turnstile.reserve(patron, (cost, tokens), moment)?;
        Ok(Tab { reservation: Some(reservation), sums: Sums::default() })
    }

    /// What a call may cost at most, billionths of a dollar, if that is known, and its tokens.
    fn most(&self, target: &Target, (input, output): (u64, u64)) -> Most {
        let usage =
            Usage { input_tokens: Some(input), output_tokens: Some(output), ..Usage::default() };
        let cost = self.config.prices.cost_nano_usd(target, &usage);
        (cost, input.saturating_add(output))
    }
}

/// The most that a call may cost, and its tokens.
type Most = (Option<u64>, u64);

/// One of several calls, whichever is made.
fn dearest(calls: impl Iterator<Item = Most>) -> Most {
    let more = |(a, m): Most, (b, n): Most| (a.zip(b).map(|(a, b)| a.max(b)), m.max(n));
    calls.reduce(more).unwrap_or_default()
}

/// All of several calls.
fn all(calls: impl Iterator<Item = Most>) -> Most {
    let more = |(a, m): Most, (b, n): Most| {
        (a.zip(b).map(|(a, b)| a.saturating_add(b)), m.saturating_add(n))
    };
    calls.reduce(more).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::Tab;
    use super::all;
    use super::dearest;
    use crate::budget::Cap;
    use crate::budget::Caps;
    use crate::caller::Patron;
    use crate::cost::Sums;
    use crate::turnstile::Turnstile;

    /// What a caller has spent today and what is set aside, after a tab of these calls.
    fn after(calls: &[Option<u64>]) -> (u64, u64) {
        let turnstile = Arc::new(Turnstile::default());
        let day = Cap { nano_usd: Some(1_000), tokens: None };
        let budget = Caps { day, ..Caps::default() };
        let patron = Arc::new(Patron { budget, ..Patron::new("one") });
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let reserved = turnstile.reserve(&patron, (Some(500), 0), (Instant::now(), now_ms));
        let mut tab = Tab { reservation: reserved.ok(), sums: Sums::default() };
        calls.iter().for_each(|cost| tab.add(&Sums::call(None, *cost)));
        drop(tab);
        let [day, _, aside] = turnstile.spent("one");
        (day.nano_usd, aside.nano_usd)
    }

    #[test]
    fn whatever_a_request_has_cost_is_settled_however_it_ends() {
        assert_eq!(after(&[]), (0, 0));
        assert_eq!(after(&[Some(30), Some(3)]), (33, 0));
        assert_eq!(after(&[Some(30), None]), (30, 0));
    }

    #[test]
    fn what_is_not_known_of_one_call_is_not_known_of_all() {
        let of = |cost| (cost, 10);
        let (known, unknown) = ([of(Some(2)), of(Some(3))], [of(Some(2)), of(None)]);
        assert_eq!(all(known.into_iter()), (Some(5), 20));
        assert_eq!(dearest(known.into_iter()), (Some(3), 10));
        assert_eq!(all(unknown.into_iter()), (None, 20));
        assert_eq!(dearest(unknown.into_iter()), (None, 10));
    }
}
