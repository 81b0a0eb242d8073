//! Lets known callers in: counts what each has open, begins in a minute and spends.
//!
//! It lives as long as the process, so that files read anew do not give anybody a fresh budget.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::bucket::Bucket;
use crate::bucket::Size;
use crate::budget;
use crate::budget::Amount;
use crate::budget::Budget;
use crate::caller::Patron;
use crate::cost;
use crate::cost::Sums;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ledger;
use crate::store::Store;

/// How soon to ask again where only calls under way stand in the way.
const SOON: Duration = Duration::from_secs(1);

/// Counts callers in and out.
#[derive(Debug, Default)]
pub struct Turnstile {
    accounts: Mutex<HashMap<String, Arc<Account>>>,
}

/// The account of one caller.
#[derive(Debug, Default)]
struct Account(Mutex<State>);

/// What is known of one caller.
#[derive(Debug, Default)]
struct State {
    requests: Bucket,
    tokens: Bucket,
    open: u64,
    budget: Budget,
}

/// A request of a caller that is open.
#[derive(Debug)]
pub struct Guest {
    account: Arc<Account>,
}

/// What is set aside for a call of a caller; what is not settled has cost nothing.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    patron: Arc<Patron>,
    most: Amount,
}

impl Turnstile {
    /// With what is on the books of this day and month.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn load(store: &Store, now_ms: i64) -> Result<Self> {
        let mut spent: HashMap<String, (Amount, Amount)> = HashMap::new();
        let (today, first) = (ledger::day(now_ms) * cost::DAY, budget::first_of_month(now_ms));
        store.costs(first * cost::DAY..cost::Hour::MAX, &mut |hour, line, sums| {
            if line.caller.is_empty() {
                return;
            }
            let (day, month) = spent.entry(line.caller.clone()).or_default();
            let more = amount(sums);
            for (sum, counts) in [(day, hour >= today), (month, true)] {
                if counts {
                    sum.nano_usd = sum.nano_usd.saturating_add(more.nano_usd);
                    sum.tokens = sum.tokens.saturating_add(more.tokens);
                }
            }
        })?;
        let state = |(name, (day, month))| {
            let budget = Budget::of(now_ms, day, month);
            (name, Arc::new(Account(Mutex::new(State { budget, ..State::default() }))))
        };
        Ok(Self { accounts: Mutex::new(spent.into_iter().map(state).collect()) })
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// The caller has too many open, or has begun too many in a minute.
    pub fn enter(&self, patron: &Patron, now: Instant) -> Result<Guest> {
        let account = self.account(&patron.name);
        let mut state = account.state();
        if let Some(most) = patron.limits.concurrency
            && state.open >= most
        {
            let what = format!("{most} of your requests are open already, the most you may have");
            return Err(limited(SOON, what));
        }
        if let Some(most) = patron.limits.requests_per_minute
            && let Some(wait) = state.requests.take(1.0, Size::per_minute(most), now)
        {
            let what = format!("you have begun {most} requests in a minute, the most you may");
            return Err(limited(wait, what));
        }
        state.open += 1;
        drop(state);
        Ok(Guest { account })
    }

    /// Sets aside what a call may cost; `nano_usd` is `None` where that is not known.
    ///
    /// # Errors
    /// The caller has no room for it in its budget or in this minute, or there is a budget in
    /// dollars and no price.
    pub fn reserve(
        &self,
        patron: &Arc<Patron>,
        (nano_usd, tokens): (Option<u64>, u64),
        (now, now_ms): (Instant, i64),
    ) -> Result<Reservation> {
        if nano_usd.is_none() && patron.budget.is_of_money() {
            let what = "what this model costs is not known, so your budget in dollars cannot hold: \
                        ask another one, or have it priced under `prices`";
            return Err(Error::new(Kind::Forbidden, what));
        }
        let most = Amount { nano_usd: nano_usd.unwrap_or(0), tokens };
        let account = self.account(&patron.name);
        let mut state = account.state();
        let size = patron.limits.tokens_per_minute.map(Size::per_minute);
        let wait = size.map(|size| state.tokens.wait(tokens as f64, size, now));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            let most = patron.limits.tokens_per_minute.unwrap_or(0);
            let what = format!("you have used {most} tokens in a minute, the most you may");
            return Err(limited(wait, what));
        }
        state.budget.reserve(&patron.budget, now_ms, most).map_err(|r| refused(&r, now_ms))?;
        if let Some(size) = size {
            state.tokens.take(tokens as f64, size, now);
        }
        drop(state);
        Ok(Reservation { account, patron: patron.clone(), most })
    }

    /// What a caller has spent today and in this month, and what is set aside for it.
    pub fn spent(&self, name: &str) -> [Amount; 3] {
        let account = lock(&self.accounts).get(name).cloned();
        account.map(|account| account.state().budget.spent()).unwrap_or_default()
    }

    /// Names come from the configuration and from the books, never from a request.
    fn account(&self, name: &str) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        if let Some(account) = accounts.get(name) {
            return account.clone();
        }
        accounts.entry(name.to_owned()).or_default().clone()
    }
}

impl Account {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl Reservation {
    /// Replaces what was set aside by what the call did cost.
    pub fn settle(mut self, cost: Amount, now: Instant, now_ms: i64) {
        self.end(cost.tokens, now, |budget, most| budget.settle(now_ms, most, cost));
    }

    /// The same at this moment, with what the call comes to in the books.
    pub fn settle_now(self, sums: &Sums) {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        self.settle(amount(sums), Instant::now(), now_ms);
    }

    fn end(&mut self, tokens: u64, now: Instant, change: impl FnOnce(&mut Budget, Amount)) {
        let most = std::mem::take(&mut self.most);
        let mut state = self.account.state();
        change(&mut state.budget, most);
        if let Some(size) = self.patron.limits.tokens_per_minute.map(Size::per_minute) {
            state.tokens.settle(most.tokens as f64, tokens as f64, size, now);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.most != Amount::default() {
            self.end(0, Instant::now(), Budget::release);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.account.state();
        state.open = state.open.saturating_sub(1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn amount(sums: &Sums) -> Amount {
    let tokens = sums.input_tokens.saturating_add(sums.output_tokens);
    Amount { nano_usd: sums.cost_nano_usd, tokens }
}

fn refused(refusal: &budget::Refusal, now_ms: i64) -> Error {
    let left = u64::try_from(refusal.resets_ms - now_ms).unwrap_or(0);
    let limit = refusal.limit;
    let resets = jiff::Timestamp::from_millisecond(refusal.resets_ms).unwrap_or_default();
    match refusal.is_spent {
        true => {
            let what = format!("your budget (`{limit}`) is spent: it begins anew at {resets}");
            limited(Duration::from_millis(left), what)
        }
        false => {
            let what = format!(
                "the rest of your budget (`{limit}`) is set aside for calls under way: try again \
                 when they have ended"
            );
            limited(SOON, what)
        }
    }
}

fn limited(after: Duration, what: String) -> Error {
    Error::new(Kind::Limited, what).after(after)
}
