//! From asking upstream to an answer's head, and what each of its readers is told of it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::StatusCode;
use tokio::time::Instant;

use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::exchange::ask::Ask;
use crate::exchange::ending::PairEnding;
use crate::exchange::flight::Listing;
use crate::exchange::header;
use crate::exchange::purse::Tab;
use crate::exchange::referee::Referee;
use crate::exchange::translate::Question;
use crate::experiment::Target;
use crate::key::CacheKey;
use crate::metrics::Metrics;
use crate::metrics::ProviderLabel;
use crate::upstream::Opened;
use crate::upstream::commit::Window;
use crate::upstream::ended::Ended;
use crate::upstream::errand::Errand;
use crate::upstream::held::Check;
use crate::upstream::pump::Flow;
use crate::upstream::pump::Terms;
use crate::upstream::unasked::WithoutUsage;
use crate::upstream::way::Way;

/// An answer as far as it is the same for everyone who asked the same.
pub struct Landed<L> {
    /// HTTP status.
    pub status: StatusCode,
    /// The headers that do not depend on who reads them.
    pub headers: HeaderMap,
    /// The body, or what is there of it.
    pub load: Load<L>,
    key: CacheKey,
    is_stored: bool,
    is_translated: bool,
    /// Whether it is a stream of server-sent events.
    pub is_stream: bool,
    sent: Instant,
    /// Who answered.
    pub target: Target,
    /// What the answer cost, once that is known.
    pub cost_nano_usd: Option<u64>,
}

/// A body that is there, or one that is still coming.
pub enum Load<L> {
    /// All of it.
    Whole(Bytes),
    /// What gives it.
    Live(L),
}

/// A flow, and what was read of it before.
pub type Begun = (Flow, Vec<Bytes>);

impl<L> Landed<L> {
    /// The same with another way to read what is coming.
    pub fn map<M>(self, change: impl FnOnce(L) -> M) -> Landed<M> {
        let Self { status, headers, load, key, is_stored, is_translated, .. } = self;
        let Self { is_stream, sent, target, cost_nano_usd, .. } = self;
        let load = match load {
            Load::Whole(bytes) => Load::Whole(bytes),
            Load::Live(live) => Load::Live(change(live)),
        };
        Landed {
            status,
            headers,
            load,
            key,
            is_stored,
            is_translated,
            is_stream,
            sent,
            target,
            cost_nano_usd,
        }
    }

    /// Adds to `headers` what only the one who asked is told; `leads` if the call is made for it.
    pub fn dress(&self, headers: &mut HeaderMap, ask: &Ask, leads: bool) {
        if let Some(assigned) = &ask.assigned {
            header::add_experiment(headers, assigned);
        }
        match leads {
            true => header::add_cache_status(headers, &self.key, ask.forward, self.is_stored),
            false => header::add_collapsed(headers, &self.key),
        }
        let (request_id, arrived) = (&ask.incoming.request_id, ask.incoming.arrived);
        // Somebody who came later has waited only since then.
        header::add_common(headers, request_id, self.sent.max(arrived), arrived);
        if self.is_translated {
            header::translate_ids(headers, ask.incoming.dialect.name(), request_id);
        }
        if leads {
            header::add_cost(headers, self.cost_nano_usd);
        }
    }
}

impl Front {
    /// Asks upstream and gives back the answer, whole or as it comes.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        ask: &Ask,
        pair: Option<PairEnding>,
        listing: Option<Listing>,
    ) -> Result<Landed<Begun>> {
        let tab = Mutex::new(self.reserve(ask)?);
        let referee = Referee::of(self, ask, &tab);
        let waiting = Waiting { metrics: &self.metrics, is_over: false };
        let is_own = |target: &Target| target.provider == ask.credential_for;
        // Most requests have one target, which may see the credential.
        let without_credential = match ask.targets.iter().all(is_own) {
            true => HeaderMap::new(),
            false => header::without_credential(&ask.incoming.headers),
        };
        let may_repeat = ask.may_repeat();
        let errand = Errand {
            targets: &ask.targets,
            write: &|target| ask.write(&self.config, target),
            headers: &|target| match is_own(target) {
                true => &ask.incoming.headers,
                false => &without_credential,
            },
            timeouts: ask.timeouts,
            retry: ask.retry,
            // Both halves of a pair have to have waited for the one they were asked of.
            hedge: ask.hedge.filter(|_| pair.is_none()),
            rules: self.config.breaker,
            may_repeat,
            keeps_first: ask.variant.is_some(),
            window: Window {
                is_stream: ask.request.stream,
                holds_streams: may_repeat,
                max_bytes: self.config.limits.max_answer_bytes,
                empty: ask.retry.empty,
            },
            check: referee.as_ref().map(|referee| referee as &dyn Check),
            metrics: &self.metrics,
        };
        let opened = self.upstream.send(&errand).await;
        waiting.end();
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(pair) = &pair {
                    self.recorder.record(pair.nothing("live_failed"));
                }
                if let Some(trial) = &ask.trial {
                    self.serve(trial.failure(ask.incoming.arrived.elapsed()));
                }
                return Err(error);
            }
        };
        // With a referee, others were waited for as well.
        if referee.is_none() {
            self.time(ask, &opened);
        }
        let passed_over = referee.map(|referee| referee.close(&opened.target));
        let tab = tab.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut landed = self.land(ask, opened, (pair, tab), listing).await?;
        header::add_passed_over(&mut landed.headers, &passed_over.unwrap_or_default());
        Ok(landed)
    }

    /// Notes how long the answer's head took, and our part of it.
    fn time(&self, ask: &Ask, opened: &Opened) {
        let provider = ProviderLabel { provider: opened.target.provider.clone() };
        let waited = opened.sent.elapsed().as_secs_f64();
        self.metrics.upstream_seconds.get_or_create(&provider).observe(waited);
        let own = ask.incoming.arrived.elapsed().as_secs_f64() - waited;
        self.metrics.own_seconds.observe(own.max(0.0));
    }

    async fn land(
        self: &Arc<Self>,
        ask: &Ask,
        mut opened: Opened,
        of: (Option<PairEnding>, Tab),
        listing: Option<Listing>,
    ) -> Result<Landed<Begun>> {
        let is_stream = opened.is_event_stream();
        let question = match opened.dialect == ask.incoming.dialect.name() {
            true => None,
            false => Some(Question::new(&ask.incoming, &ask.request, ask.read.as_ref())?),
        };
        let mut headers = std::mem::take(&mut opened.headers);
        let before = of.1.spent();
        let ending = self.ending(ask, &opened, &headers, is_stream, of);
        header::add_target(&mut headers, &opened.target);
        header::add_losses(&mut headers, opened.dialect, &opened.losses);
        let (status, from) = (opened.status, opened.dialect);
        let mut landed = Landed {
            status,
            headers,
            load: Load::Whole(Bytes::new()),
            key: ending.key,
            is_stored: ask.cache.write && ask.cache.not_served.is_none() && status.is_success(),
            is_translated: question.is_some(),
            is_stream,
            sent: opened.sent,
            target: opened.target.clone(),
            cost_nano_usd: None,
        };
        let is_live = match &question {
            // An array of chunks comes as it is made, although it is no stream of events.
            None => is_stream || (ask.request.stream && status.is_success()),
            Some(_) => is_stream && ask.request.stream && status.is_success(),
        };
        let way = match &question {
            Some(question) if is_live => Way::Translated(question.translation()),
            None if is_stream && opened.unasked_usage => Way::WithoutUsage(WithoutUsage::default()),
            _ => Way::Untouched,
        };
        let terms = Terms {
            dialect: opened.dialect.dialect(),
            is_stream,
            way,
            max_kept_bytes: self.config.limits.max_answer_bytes,
            must_finish: ending.pair.is_some(),
        };
        let on_end = Box::new(move |account| {
            ending.end(account);
            // Only now: whoever finds the call no longer listed finds its answer stored.
            drop(listing);
        });
        let flow = Flow::new(opened, terms, on_end);
        if is_live {
            if let Some(question) = &question {
                question.set_content_type(&mut landed.headers);
            }
            landed.load = Load::Live((flow, Vec::new()));
            return Ok(landed);
        }
        self.collect(landed, flow, question, (from, before)).await
    }

    /// An answer that no stream is made of, read to its end, or as far as may be kept; `before` is
    /// what was spent until then.
    async fn collect(
        &self,
        mut landed: Landed<Begun>,
        mut flow: Flow,
        question: Option<Question>,
        (from, before): (DialectName, Option<u64>),
    ) -> Result<Landed<Begun>> {
        let mut pieces = Vec::new();
        while let Some(piece) = flow.next().await {
            pieces.push(piece);
            if flow.is_too_large() {
                let Some(_) = question else {
                    landed.load = Load::Live((flow, pieces));
                    return Ok(landed);
                };
                return Err(self.too_large());
            }
        }
        if let Some(Ended::Cut(error)) = flow.ended() {
            return Err(error.clone());
        }
        let cost = flow
            .told()
            .and_then(|(model, usage)| self.config.prices.cost_of(&landed.target, model, usage));
        landed.cost_nano_usd = before.zip(cost).map(|(a, b)| a.saturating_add(b));
        let Some(question) = question else {
            landed.load = Load::Whole(join(pieces));
            return Ok(landed);
        };
        let headers = std::mem::take(&mut landed.headers);
        let Reply { status, headers, body } =
            question.reply(landed.status, headers, from, landed.is_stream, &pieces)?;
        (landed.status, landed.headers) = (status, headers);
        if let ReplyBody::Whole(bytes) = body {
            landed.load = Load::Whole(bytes);
        }
        Ok(landed)
    }

    fn too_large(&self) -> Error {
        let limit = self.config.limits.max_answer_bytes;
        let what = format!(
            "the answer is larger than {limit} bytes (limits.max_answer_bytes), too large to translate"
        );
        Error::new(Kind::Broken, what)
    }
}

/// Applications that wait for an answer's head; when all have left, they count like one that has it.
struct Waiting<'m> {
    metrics: &'m Metrics,
    is_over: bool,
}

impl Waiting<'_> {
    fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            Metrics::count(&self.metrics.broken, "client_left");
        }
    }
}

fn join(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        1 => pieces.remove(0),
        _ => {
            let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            whole.freeze()
        }
    }
}
