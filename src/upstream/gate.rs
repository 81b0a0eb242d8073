//! Lets calls through to providers as fast as their limits allow, and no more at once.
//!
//! What is known of limits outlives a configuration, so one set of gates is shared by every scene.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderMap;
use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout_at;

use crate::chat::Usage;
use crate::config::Provider;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::keyring::Digest;
use crate::metrics::LimitLabels;
use crate::metrics::Metrics;
use crate::metrics::ProviderLabel;
use crate::quota::Limit;
use crate::quota::Quota;
use crate::quota::meter::Held;
use crate::quota::meter::Line;
use crate::quota::meter::Meter;
use crate::quota::meter::Need;
use crate::quota::said::Said;
use crate::secrets::pool::Pool;
use crate::upstream::Call;
use crate::upstream::Endpoint;
use crate::upstream::Opened;
use crate::upstream::Upstream;
use crate::upstream::account::Account;
use crate::upstream::paid::Purse;

/// Calls that may wait for one provider; each holds its request in memory.
const MOST_WAITING: usize = 100;

/// When a place among the calls under way may be free again; nobody knows.
const PERHAPS_FREE: Duration = Duration::from_secs(1);

/// Share of each limit that copies leave to applications.
const LEFT_BY_COPIES: f64 = 0.5;

/// On whose behalf a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sake {
    /// Somebody waits for the answer.
    Application,
    /// Nobody does: it waits for nothing, leaves half of each limit to applications, and what it is
    /// told of limits is nothing to them.
    Copy,
}

/// The gates of all providers.
#[derive(Debug, Default)]
pub struct Gates {
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    metrics: OnceLock<Arc<Metrics>>,
}

/// What is in use of one provider's limits.
#[derive(Debug, Default)]
struct Gate {
    meter: Mutex<Meter>,
    /// Places for calls under way, and how many there are of them.
    slots: Mutex<Option<(usize, Arc<Semaphore>)>>,
    waiting: AtomicUsize,
}

/// The right to one call, held until its answer has ended.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    quota: Quota,
    need: Need,
    /// The account that the answer speaks of.
    line: Line,
    stage: Stage,
    _slot: Option<OwnedSemaphorePermit>,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Made,
    Answered,
    Failed,
    Settled,
}

impl Upstream {
    /// What is in use of the providers' limits.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Sends a request once the gate lets it through; the answer keeps the permit to its end.
    pub(super) async fn send_admitted(
        &self,
        endpoint: &Endpoint,
        call: Call<'_>,
        sake: Sake,
    ) -> Result<Opened> {
        let spare = self.gates.spare(&endpoint.provider, &call, &endpoint.keys);
        let purse = Purse::open(endpoint, &endpoint.keys, &spare).await?;
        let account = Account::of(&call, purse.payer());
        let mut permit = self.gates.admit(&endpoint.provider, &call, &account, sake).await?;
        let mut opened = self.send_to(endpoint, purse, call).await?;
        let account = account.paid_by(opened.payer);
        permit.answered(opened.status, &opened.headers, &account, sake);
        opened.permit = Some(permit);
        Ok(opened)
    }
}

impl Gates {
    /// Counts from now on where everything of this process is counted.
    pub fn count_in(&self, metrics: &Arc<Metrics>) {
        // A process has one set of metrics, so a second time changes nothing.
        let _ = self.metrics.set(metrics.clone());
    }

    /// Waits for the right to make a call to a provider.
    ///
    /// # Errors
    /// [`Kind::Busy`]: there is none within the provider's `limits.wait`, or too many wait.
    pub async fn admit(
        &self,
        provider: &Provider,
        call: &Call<'_>,
        account: &Account<'_>,
        sake: Sake,
    ) -> Result<Permit> {
        let (gate, mut quota) = (self.gate(&provider.name), provider.quota);
        let mut leaves = 0.0;
        if sake == Sake::Copy {
            (quota.wait, leaves) = (Duration::ZERO, LEFT_BY_COPIES);
        }
        let began = Instant::now();
        let tokens = call.outgoing.tokens(provider) as f64;
        let need = Need { line: account.line(), tokens, leaves };
        let until = began + quota.wait.min(call.timeouts.total);
        let admitted = gate.admit(quota, need, until).await;
        let waited = began.elapsed();
        if let Some(metrics) = self.metrics.get() {
            let provider = provider.name.clone();
            if let Err(held) = &admitted {
                let labels = LimitLabels { provider: provider.clone(), limit: held.limit.as_str() };
                metrics.limited.get_or_create(&labels).inc();
            }
            if waited > Duration::ZERO {
                let provider = ProviderLabel { provider };
                metrics.limit_wait.get_or_create(&provider).observe(waited.as_secs_f64());
            }
        }
        admitted.map_err(|held| refusal(provider, held))
    }

    /// The keys that would have to wait longer than the best of them, as the provider said.
    fn spare(&self, provider: &Provider, call: &Call<'_>, keys: &Pool) -> Vec<Digest> {
        let choice = keys.choice();
        if choice.len() < 2 || !provider.quota.learn {
            return Vec::new();
        }
        let (gate, now) = (self.gate(&provider.name), Instant::now().into_std());
        let meter = lock(&gate.meter);
        let wait = |key: &Digest| meter.asked_to_wait(Account::of(call, Some(*key)).line(), now);
        let waits: Vec<Duration> = choice.iter().map(wait).collect();
        let least = waits.iter().min().copied().unwrap_or_default();
        choice
            .into_iter()
            .zip(waits)
            .filter(|(_, wait)| *wait > least)
            .map(|(key, _)| key)
            .collect()
    }

    fn gate(&self, provider: &str) -> Arc<Gate> {
        let mut gates = lock(&self.gates);
        if let Some(gate) = gates.get(provider) {
            return gate.clone();
        }
        gates.entry(provider.to_owned()).or_default().clone()
    }
}

impl Gate {
    async fn admit(
        self: &Arc<Self>,
        quota: Quota,
        need: Need,
        until: Instant,
    ) -> std::result::Result<Permit, Held> {
        let slot = match self.slots(quota.concurrency) {
            Some(slots) => Some(self.slot(slots, quota, need, until).await?),
            None => None,
        };
        let now = Instant::now();
        // Too many wait already: only who need not wait may pass.
        let waiter = self.wait_in_line();
        let most = waiter.as_ref().map_or(Duration::ZERO, |_| until.duration_since(now));
        let wait = lock(&self.meter).enter(&quota, need, most, now.into_std())?;
        let stage = Stage::Waiting;
        let line = need.line;
        let mut permit = Permit { gate: self.clone(), quota, need, line, stage, _slot: slot };
        let mut ready = now + wait;
        while ready > Instant::now() {
            sleep_until(ready).await;
            // The provider may have asked to be left alone meanwhile.
            let now = Instant::now();
            let wait = lock(&self.meter).closed_for(need.line, now.into_std());
            let wait = if quota.learn { wait } else { Duration::ZERO };
            ready = now + wait;
            // Whose turn has come is not sent away for having waited a moment too long.
            if !wait.is_zero() && ready > until {
                return Err(Held { limit: Limit::RetryAfter, wait });
            }
        }
        permit.stage = Stage::Made;
        Ok(permit)
    }

    async fn slot(
        &self,
        slots: Arc<Semaphore>,
        quota: Quota,
        need: Need,
        until: Instant,
    ) -> std::result::Result<OwnedSemaphorePermit, Held> {
        let held = Held { limit: Limit::Concurrency, wait: PERHAPS_FREE };
        let to_leave = quota.concurrency.unwrap_or_default() as f64 * need.leaves;
        if (slots.available_permits() as f64) < to_leave {
            return Err(held);
        }
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            return Ok(slot);
        }
        let _waiter = self.wait_in_line().ok_or(held)?;
        match timeout_at(until, slots.acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            // Nobody closes the semaphore.
            Ok(Err(_)) | Err(_) => Err(held),
        }
    }

    /// The places of calls under way; new ones when their number has changed, beside which those
    /// under way end uncounted.
    fn slots(&self, most: Option<usize>) -> Option<Arc<Semaphore>> {
        let most = most?;
        let mut slots = lock(&self.slots);
        match &*slots {
            Some((size, places)) if *size == most => Some(places.clone()),
            _ => {
                let places = Arc::new(Semaphore::new(most));
                *slots = Some((most, places.clone()));
                Some(places)
            }
        }
    }

    /// A place among those who wait, if one is left.
    fn wait_in_line(&self) -> Option<Waiter<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter(&self.waiting);
        (before < MOST_WAITING).then_some(waiter)
    }
}

struct Waiter<'g>(&'g AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permit {
    /// Takes what the head of the answer says of the limits of the account that paid.
    pub fn answered(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        account: &Account<'_>,
        sake: Sake,
    ) {
        let said = match sake {
            Sake::Application => {
                Said::read(status, headers, jiff::Timestamp::now().as_millisecond())
            }
            Sake::Copy => Said::default(),
        };
        let now = Instant::now().into_std();
        self.line = account.line();
        lock(&self.gate.meter).answered(&self.quota, self.need, self.line, &said, now);
        self.stage = if status.is_success() { Stage::Answered } else { Stage::Failed };
    }

    /// Corrects the estimate of the tokens to what the answer says it took, if it says so.
    pub fn settle(mut self, usage: Option<&Usage>) {
        let used = usage.and_then(|usage| Some((usage.input_tokens?, usage.output_tokens?)));
        if let (Stage::Answered, Some((input, output))) = (self.stage, used) {
            self.settle_at((input + output) as f64);
        }
    }

    fn settle_at(&mut self, used: f64) {
        let now = Instant::now().into_std();
        lock(&self.gate.meter).settle(&self.quota, self.need, used, now);
        self.stage = Stage::Settled;
    }
}

/// An answer that ended without saying what it took is taken to have used the estimate; one that
/// failed, nothing.
impl Drop for Permit {
    fn drop(&mut self) {
        let now = Instant::now().into_std();
        match self.stage {
            Stage::Waiting => lock(&self.gate.meter).leave(&self.quota, self.need, false, now),
            Stage::Made => lock(&self.gate.meter).leave(&self.quota, self.need, true, now),
            Stage::Failed => self.settle_at(0.0),
            Stage::Answered | Stage::Settled => {}
        }
    }
}

fn refusal(provider: &Provider, held: Held) -> Error {
    let (name, quota) = (&provider.name, &provider.quota);
    let configured = |most: Option<u64>, what: &str, key: &str| {
        let most = most.unwrap_or_default();
        format!("{most} {what}, as providers.{name}.limits.{key} allows")
    };
    let why = match held.limit {
        Limit::Requests => {
            configured(quota.requests_per_minute, "calls in a minute", "requests_per_minute")
        }
        Limit::Tokens => {
            configured(quota.tokens_per_minute, "tokens in a minute", "tokens_per_minute")
        }
        Limit::Concurrency => {
            let most = quota.concurrency.map(|most| most as u64);
            configured(most, "calls under way", "concurrency")
        }
        Limit::SaidRequests => "no more calls for now, as it says itself".to_owned(),
        Limit::SaidTokens => "no more tokens for now, as it says itself".to_owned(),
        Limit::RetryAfter => "nothing for now, as it says itself (Retry-After)".to_owned(),
    };
    // A moment too early would be refused again.
    let wait = Duration::from_millis(1) + held.wait;
    let what = format!("the provider {name} takes {why}: ask again in {} ms", wait.as_millis());
    Error::new(Kind::Busy, what).after(wait)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
