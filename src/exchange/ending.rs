//! What happens when an answer has ended: it is counted, cached, and becomes half of a pair.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use tokio::time::Instant;
use uuid::Uuid;

use crate::cacheable::repeat;
use crate::chat::Answer;
use crate::chat::DialectName;
use crate::chat::Frame;
use crate::chat::request::Request;
use crate::cost::Line;
use crate::cost::Sums;
use crate::exchange::Front;
use crate::exchange::bill::Bill;
use crate::exchange::purse::Tab;
use crate::exchange::trial::Trial;
use crate::experiment::Target;
use crate::key::CacheKey;
use crate::key::ExchangeId;
use crate::metrics::Metrics;
use crate::pair::Half;
use crate::pair::Origin;
use crate::pair::PairId;
use crate::plan::CacheRules;
use crate::plan::Plan;
use crate::plan::Thread;
use crate::recorder::Record;
use crate::store::exchange::Asked;
use crate::store::exchange::Exchange;
use crate::store::exchange::Head;
use crate::upstream::ended::Account;
use crate::upstream::ended::Ended;

/// Everything that is known of an exchange before its answer ends.
pub struct Ending {
    /// Cache, recorder, counters.
    pub front: Arc<Front>,
    /// The key of the target that answered.
    pub key: CacheKey,
    /// The answer may be stored.
    pub is_stored: bool,
    /// What was asked, and how.
    pub asked: Asked,
    /// The stream ends with a usage that the application did not ask for.
    pub has_unasked_usage: bool,
    /// Headers of the answer that a reader may want.
    pub headers: Vec<(String, String)>,
    /// What the cache may do with the answer.
    pub cache: CacheRules,
    /// It is a stream of server-sent events.
    pub is_stream: bool,
    /// HTTP status.
    pub status: u16,
    /// Who answered.
    pub target: Target,
    /// The answer's `content-type`.
    pub content_type: String,
    /// Of request and answer.
    pub dialect: DialectName,
    /// The request's body.
    pub request: Bytes,
    /// `experiment=variant`.
    pub assigned: Option<String>,
    /// The trial it is a sample of.
    pub trial: Option<Trial>,
    /// In whose name the call is booked.
    pub line: Line,
    /// The request, if it could be read.
    pub read: Option<Arc<Request>>,
    /// What the request has cost before, and what is set aside for it.
    pub tab: Tab,
    /// What to remember of the response, if the conversation may go on from it.
    pub thread: Option<Thread>,
    /// The pair it is half of.
    pub pair: Option<PairEnding>,
    /// The request's id.
    pub request_id: String,
    /// When the request arrived.
    pub arrived: Instant,
}

/// The pair that the application's own answer is half of.
#[derive(Clone, Debug)]
pub struct PairEnding {
    id: PairId,
    variant: String,
    target: Target,
}

impl Ending {
    /// Takes the account of the answer; nobody waits for this.
    pub fn end(mut self, account: Account) {
        let metrics = &self.front.metrics;
        metrics.request_seconds.observe(self.arrived.elapsed().as_secs_f64());
        tracing::debug!(
            request_id = self.request_id,
            target = %self.target,
            assigned = self.assigned,
            status = self.status,
            took_us = account.took_us,
            "answered"
        );
        if let Ended::Cut(error) = &account.ended {
            tracing::warn!(request_id = self.request_id, target = %self.target, %error, "cut");
        }
        if account.ended != Ended::Whole {
            Metrics::count(&metrics.broken, account.ended.as_str());
        }
        let is_good = account.ended == Ended::Whole && self.status == 200;
        self.pay(&account, is_good);
        if let Some(sample) = self.trial.as_ref().and_then(|trial| trial.sample(&self, &account)) {
            self.front.serve(sample);
        }
        // A promise that the process did not live to keep is kept by the next one.
        let pair = self.pair.as_ref().filter(|_| account.ended != Ended::Stopped);
        let half = pair.map(|pair| match is_good && pair.target == self.target {
            true => pair.half(&account),
            false => pair.nothing(live_reason(&account.ended, self.status)),
        });
        self.remember(&account);
        let front = self.front.clone();
        if self.is_stored {
            self.store(account, is_good);
        }
        // After the cache has the answer, so that whoever sees the pair finds it there.
        if let Some(half) = half {
            front.recorder.record(half);
        }
    }

    /// Books what the call comes to, and settles what was set aside for it.
    fn pay(&mut self, account: &Account, is_good: bool) {
        let (sums, mut line) = (self.sums(account, is_good), self.line.clone());
        if self.status >= 400 && self.front.config.prices.of(&self.target).is_none() {
            // What applications make up as a model's name is not worth a row of its own.
            line.model.clear();
        }
        self.front.recorder.book(line, &sums);
        std::mem::take(&mut self.tab).close(&sums);
    }

    /// Notes who has the response, for when the conversation goes on from it.
    fn remember(&self, account: &Account) {
        // In translation the application is told another id, which no provider knows.
        let is_own = self.asked.dialect == self.dialect.as_str();
        let keeps = is_own && self.dialect == DialectName::Responses && self.status == 200;
        let (Some(thread), Some(id)) = (&self.thread, &account.answer.id) else { return };
        if keeps {
            self.front.threads.remember(id, thread.given_by(&self.target));
        }
    }

    /// How long the cache may serve the answer, or why it may not.
    ///
    /// A failure is served again for a short time, if the provider told all of it and the request
    /// is at fault.
    fn served_for(&self, account: &Account, is_good: bool) -> Result<Duration, &'static str> {
        if let Some(class) = self.cache.not_served {
            return Err(class);
        }
        if is_good {
            return Ok(self.cache.ttl);
        }
        let error = account.answer.error.as_ref();
        let repeats = error.is_some_and(|error| repeat::would_repeat(self.status, error));
        match account.ended {
            Ended::Unfinished if repeats && !self.cache.error_ttl.is_zero() => {
                Ok(self.cache.error_ttl)
            }
            _ if self.status >= 400 => Err("the failure may pass"),
            _ => Err("the answer is not whole"),
        }
    }

    /// What the call comes to in the books.
    fn sums(&self, account: &Account, is_good: bool) -> Sums {
        if self.status >= 400 {
            return Sums::failure();
        }
        let answer = &account.answer;
        if account.ended == Ended::TooLarge && answer.usage.is_none() {
            return Sums::call(None, None);
        }
        let (prices, target) = (&*self.front.config.prices, &self.target);
        let (read, body) = (self.read.as_deref(), &self.request);
        let failed = u64::from(!is_good && account.ended != Ended::TooLarge);
        Sums { failed, ..Bill { prices, target, read, body }.sums(answer) }
    }

    /// What the answer cost, billionths of a dollar, if its tokens and their price are known.
    fn cost_nano_usd(&self, answer: &Answer) -> Option<u64> {
        let prices = &self.front.config.prices;
        prices.cost_of(&self.target, answer.model.as_deref(), answer.usage.as_ref()?)
    }

    fn store(self, account: Account, is_good: bool) {
        let answered_ms = jiff::Timestamp::now().as_millisecond();
        let served_for = self.served_for(&account, is_good);
        let fresh_until_ms = served_for.map_or(0, |ttl| {
            answered_ms.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
        });
        let samples = self.cache.samples;
        let usage = account.answer.usage;
        let cost_nano_usd = self.cost_nano_usd(&account.answer);
        let head = Head {
            id: ExchangeId(Uuid::now_v7().into_bytes()),
            request_id: self.request_id,
            key: self.key,
            asked: self.asked,
            cost_nano_usd,
            target: self.target.to_string(),
            dialect: self.dialect.as_str().to_owned(),
            assigned: self.assigned,
            is_stream: self.is_stream,
            has_unasked_usage: self.has_unasked_usage,
            status: self.status,
            ended: account.ended.as_str().to_owned(),
            content_type: self.content_type,
            headers: self.headers,
            answered_ms,
            fresh_until_ms,
            not_served: served_for.err().map(str::to_owned),
            first_us: account.pieces.first().map_or(account.took_us, |piece| piece.at_us),
            took_us: account.took_us,
            usage,
            model: account.answer.model,
            fingerprint: account.answer.fingerprint,
            redacted: Vec::new(),
            lengths: Vec::new(),
        };
        let (request, frames) = compact(&self.request, account.pieces);
        let exchange = Arc::new(Exchange { head, request, frames });
        if served_for.is_ok() {
            self.front.cache.insert(self.key, exchange.clone(), samples);
        }
        self.front.recorder.record(Record::Exchange(exchange));
    }
}

impl PairEnding {
    /// The pair of a plan, if it makes one.
    pub fn of(plan: &Plan<'_>) -> Option<Self> {
        let (_, variant) = plan.enrolled?;
        let (variant, target) = (variant.name.clone(), variant.target.clone());
        Some(Self { id: plan.pair?, variant, target })
    }

    /// No whole answer came of it.
    pub fn nothing(&self, reason: &'static str) -> Record {
        Record::NoHalf { id: self.id, variant: self.variant.clone(), reason }
    }

    fn half(&self, account: &Account) -> Record {
        let half = Half {
            variant: self.variant.clone(),
            target: self.target.to_string(),
            origin: Origin::Live,
            first_us: account.pieces.first().map_or(account.took_us, |piece| piece.at_us),
            took_us: account.took_us,
            answer: account.answer.clone(),
        };
        Record::Half { id: self.id, half: Box::new(half) }
    }
}

fn live_reason(ended: &Ended, status: u16) -> &'static str {
    match ended {
        _ if status != 200 => "live_status",
        Ended::Whole => "live_failed_over",
        Ended::Unfinished => "live_unfinished",
        Ended::Cut(_) => "live_cut",
        Ended::TooLarge => "live_too_large",
        Ended::ClientLeft => "client_left",
        Ended::Stopped => "stopped",
    }
}

/// Copies everything into one allocation, so that an entry does not pin whole network buffers.
fn compact(request: &Bytes, pieces: Vec<Frame>) -> (Bytes, Vec<Frame>) {
    let answer: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
    let mut whole = BytesMut::with_capacity(request.len() + answer);
    whole.extend_from_slice(request);
    pieces.iter().for_each(|piece| whole.extend_from_slice(&piece.bytes));
    let mut whole = whole.freeze();
    let request = whole.split_to(request.len());
    let slice =
        |piece: Frame| Frame { at_us: piece.at_us, bytes: whole.split_to(piece.bytes.len()) };
    (request, pieces.into_iter().map(slice).collect())
}
