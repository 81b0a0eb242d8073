//! Calls under way that identical requests share.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Incoming;
use crate::exchange::hit::Form;
use crate::exchange::landing::Landed;
use crate::exchange::landing::Load;
use crate::key::CacheKey;
use crate::key::Parts;
use crate::plan::Plan;
use crate::upstream::pump::Flow;
use crate::upstream::shared::Broadcast;
use crate::upstream::shared::Read;
use crate::upstream::shared::Source;
use crate::wire::ChatRequest;

/// What a shared call comes to, for everyone who waits for it.
pub type Outcome = Result<Arc<Landed<Broadcast<Flow>>>>;

/// A call that is being made.
type Making = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Same answer, asked for in the same form: such requests can share the bytes that go out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlightKey([u8; 32]);

/// The calls under way, by what they answer.
#[derive(Default)]
pub struct Flights {
    listed: Mutex<HashMap<FlightKey, Listed>>,
    /// How many have begun, which names them.
    begun: AtomicU64,
    /// How many have ended.
    ended: AtomicU64,
}

struct Listed {
    number: u64,
    flight: Weak<Flight>,
}

/// One call that several may wait for; when nobody does any more, it is dropped.
pub struct Flight {
    opening: Broadcast<Opening>,
    /// The one call that is made when this one has failed.
    next: Mutex<Option<Arc<Flight>>>,
    /// A failure counts for everybody, because there was one before.
    is_last: bool,
    /// Its answer becomes half of a pair.
    pub has_pair: bool,
}

/// Keeps a call in the list until its answer is stored or known to be none.
pub struct Listing {
    flights: Arc<Flights>,
    key: FlightKey,
    number: u64,
}

/// How a request gets onto a flight.
pub enum Boarded {
    /// It is the first.
    Leads(Arc<Flight>),
    /// Another one asked the same before.
    Follows(Arc<Flight>),
    /// A flight has ended since the cache was asked, which may have the answer by now.
    AskCache,
}

/// The call until its head has come, or all of an answer that is no stream.
struct Opening(Option<Making>);

impl FlightKey {
    /// The first target's key names the flight, whoever answers in the end.
    pub fn of(key: &CacheKey, plan: &Plan<'_>, request: &ChatRequest, incoming: &Incoming) -> Self {
        let mut parts = Parts::new("flight");
        parts.part(&key.0);
        let Form { dialect, stream, usage, in_array } = Form::of(incoming, request);
        parts.part(dialect.as_str().as_bytes());
        let form = [stream, usage, in_array, request.model_at.is_some()];
        parts.part(&form.map(u8::from));
        // Translations name the model that was asked for; time limits are a route's.
        parts.part(request.model.as_bytes());
        parts.part(plan.credential_for.as_bytes());
        parts.part(incoming.query.as_deref().unwrap_or_default().as_bytes());
        Self(parts.finish())
    }
}

/// Whether the plan lets a request share its call with others.
pub fn may_share(plan: &Plan<'_>) -> bool {
    let rules = &plan.cache;
    // Somebody who takes no stored answer, however new, takes none that has begun either.
    let takes_begun = rules.max_age.is_none_or(|age| !age.is_zero());
    let is_open = rules.coalesce && rules.read && rules.write && takes_begun;
    is_open && rules.samples <= 1 && rules.not_served.is_none()
}

impl Flights {
    /// How many flights have ended.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// Joins the flight of `key`, or lists the one that `begin` gives.
    ///
    /// `seen` is what [`Self::ended`] said before the cache was asked: an answer is stored before
    /// its flight leaves the list, so who finds neither of them has to ask the cache again.
    pub fn board(
        self: &Arc<Self>,
        key: FlightKey,
        seen: Option<u64>,
        begin: impl FnOnce(Listing) -> Flight,
    ) -> Boarded {
        // Declared before the lock: dropping the last hold of a flight takes it out of the list.
        let closed;
        let mut listed = self.lock();
        let found = listed.get(&key).and_then(|listed| listed.flight.upgrade());
        match found {
            Some(flight) if flight.is_open() => return Boarded::Follows(flight),
            other => closed = other,
        }
        if seen.is_some_and(|seen| seen != self.ended()) {
            return Boarded::AskCache;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let flight = Arc::new(begin(Listing { flights: self.clone(), key, number }));
        listed.insert(key, Listed { number, flight: Arc::downgrade(&flight) });
        drop(listed);
        drop(closed);
        Boarded::Leads(flight)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FlightKey, Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let mut listed = self.flights.lock();
        if listed.get(&self.key).is_some_and(|listed| listed.number == self.number) {
            listed.remove(&self.key);
        }
        self.flights.ended.fetch_add(1, Ordering::Release);
    }
}

impl Flight {
    /// A flight that makes its call when somebody waits for it.
    pub fn new(making: Making, is_last: bool, has_pair: bool) -> Self {
        let opening = Broadcast::new(Box::new(Opening(Some(making))), Vec::new(), usize::MAX);
        Self { opening, next: Mutex::new(None), is_last, has_pair }
    }

    /// Waits for the head, or for all of an answer that is no stream.
    pub async fn land(&self) -> Outcome {
        let read = match self.opening.read() {
            Some(mut reader) => reader.next().await,
            None => Read::Lost,
        };
        match read {
            Read::Piece(outcome) => outcome,
            Read::End(Some(error)) => Err(error),
            // Nothing of an opening is ever let go, and it ends after its one piece.
            Read::Lost | Read::End(None) => Err(Error::new(Kind::Internal, "no answer was made")),
        }
    }

    /// Whether one of those who wait is to make the call again.
    pub fn may_be_made_again(&self, outcome: &Outcome) -> bool {
        let has_failed = match outcome {
            Err(error) => error.may_retry(),
            Ok(landed) => {
                let status = Kind::Status(landed.status.as_u16());
                matches!(landed.load, Load::Whole(_)) && Error::new(status, "").may_retry()
            }
        };
        has_failed && !self.is_last
    }

    /// The one flight that all who waited for this one wait for now; whoever comes first begins it.
    pub fn next(&self, begin: impl FnOnce() -> Boarded) -> Boarded {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = &*next {
            return Boarded::Follows(flight.clone());
        }
        let boarded = begin();
        if let Boarded::Leads(flight) | Boarded::Follows(flight) = &boarded {
            *next = Some(flight.clone());
        }
        boarded
    }

    /// Whether all of its answer can still be had.
    fn is_open(&self) -> bool {
        let Some(Ok(landed)) = self.opening.first() else { return true };
        match &landed.load {
            Load::Whole(_) => true,
            Load::Live(flow) => flow.is_open(),
        }
    }
}

impl Source for Opening {
    type Item = Outcome;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        let Some(making) = &mut self.0 else { return Poll::Ready(None) };
        let outcome = std::task::ready!(making.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(Some(outcome))
    }

    fn weight(_: &Outcome) -> usize {
        0
    }

    fn failure(&self) -> Option<Error> {
        None
    }

    fn let_go(self: Box<Self>) {}
}
