//! Who makes a call, and who shares one that another request makes.

use std::sync::Arc;

use tokio::time::Instant;

use crate::cost::Sums;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::Reply;
use crate::exchange::ReplyBody;
use crate::exchange::ask::Ask;
use crate::exchange::ending::PairEnding;
use crate::exchange::exposure::target_in;
use crate::exchange::flight::Boarded;
use crate::exchange::flight::Flight;
use crate::exchange::flight::FlightKey;
use crate::exchange::flight::Listing;
use crate::exchange::flight::Outcome;
use crate::exchange::landing::Landed;
use crate::exchange::landing::Load;
use crate::exposure::Origin;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::upstream::body::Kept;
use crate::upstream::body::Pump;
use crate::upstream::body::Telling;
use crate::upstream::pump::Flow;
use crate::upstream::shared::Broadcast;

impl Front {
    /// Makes the call for this request and no other.
    pub(super) async fn alone(self: &Arc<Self>, plan: &Plan<'_>, ask: Arc<Ask>) -> Result<Reply> {
        Metrics::count(&self.metrics.cache, ask.forward.outcome());
        let pair = self.promised(plan, &ask);
        let reply = if pair.is_none() {
            self.own(&ask, None).await
        } else {
            // Half of a pair is finished even when the client leaves, so it runs on its own.
            let (front, ask) = (self.clone(), ask.clone());
            let fetched = tokio::spawn(async move { front.own(&ask, pair).await }).await;
            fetched.unwrap_or_else(|_| Err(Error::new(Kind::Internal, "answering panicked")))
        };
        let target = reply.as_ref().ok().and_then(|reply| target_in(&reply.headers));
        self.expose(plan, &ask.incoming, Origin::Live, target);
        reply
    }

    async fn own(self: &Arc<Self>, ask: &Ask, pair: Option<PairEnding>) -> Result<Reply> {
        let mut landed = self.fetch(ask, pair, None).await?;
        let mut headers = std::mem::take(&mut landed.headers);
        landed.dress(&mut headers, ask, true);
        let body = match landed.load {
            Load::Whole(bytes) => ReplyBody::Whole(bytes),
            Load::Live((flow, held)) => ReplyBody::Live(Box::new(Pump::new(flow, held))),
        };
        Ok(Reply { status: landed.status, headers, body })
    }

    /// Joins a call under way that answers this request too, or makes one that others may join.
    pub(super) async fn share(
        self: &Arc<Self>,
        plan: &Plan<'_>,
        ask: Arc<Ask>,
        mut seen: u64,
    ) -> Result<Reply> {
        let first = ask.keys.first().copied().unwrap_or_default();
        let flight_key = FlightKey::of(&first, plan, &ask.request, &ask.incoming);
        loop {
            let begin = |listing| {
                let pair = self.promised(plan, &ask);
                self.begin(&ask, listing, pair, false)
            };
            match self.flights.board(flight_key, Some(seen), begin) {
                Boarded::AskCache => {}
                boarded => {
                    let outcome = self.ride(&ask, flight_key, boarded, plan).await;
                    // What others have left behind cannot be read from its beginning any more.
                    let Some(reply) = outcome.transpose() else { continue };
                    return reply;
                }
            }
            seen = self.flights.ended();
            let Ask { request, incoming, .. } = &*ask;
            if let Some(hit) = &self.look_up(plan, request, incoming).await.hit {
                return self.hit(plan, request, incoming, hit);
            }
        }
    }

    /// Waits for the flight, and once more if it fails before its answer has begun.
    async fn ride(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        key: FlightKey,
        boarded: Boarded,
        plan: &Plan<'_>,
    ) -> Result<Option<Reply>> {
        let (mut flight, mut leads) = match boarded {
            Boarded::Leads(flight) => (flight, true),
            Boarded::Follows(flight) => (flight, false),
            Boarded::AskCache => return Ok(None),
        };
        Metrics::count(
            &self.metrics.cache,
            if leads { ask.forward.outcome() } else { "collapsed" },
        );
        if leads {
            self.see_through(&flight);
        } else if flight.has_pair {
            // The same pair as that of the flight, so it only counts as met again.
            self.promise_pair(plan, &ask.request, &ask.incoming, true);
        }
        let mut outcome = flight.land().await;
        if !leads && flight.may_be_made_again(&outcome) {
            let begin = |listing| self.begin(ask, listing, None, true);
            (flight, leads) = match flight.next(|| self.flights.board(key, None, begin)) {
                Boarded::Leads(next) => (next, true),
                Boarded::Follows(next) => (next, false),
                Boarded::AskCache => return Ok(None),
            };
            if leads {
                Metrics::count(&self.metrics.cache, "miss");
            }
            outcome = flight.land().await;
        }
        let target = outcome.as_ref().ok().and_then(|landed| target_in(&landed.headers));
        let target = target.map(str::to_owned);
        let taken = self.taken(ask, flight, outcome, leads);
        if !matches!(taken, Ok(None)) {
            let origin = if leads { Origin::Live } else { Origin::Collapsed };
            self.expose(plan, &ask.incoming, origin, target.as_deref());
        }
        taken
    }

    /// Half of a pair is finished even when everyone leaves before its answer has begun.
    fn see_through(&self, flight: &Arc<Flight>) {
        if flight.has_pair {
            let flight = flight.clone();
            tokio::spawn(async move { drop(flight.land().await) });
        }
    }

    fn begin(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        listing: Listing,
        pair: Option<PairEnding>,
        is_last: bool,
    ) -> Flight {
        let (front, ask, has_pair) = (self.clone(), ask.clone(), pair.is_some());
        let limit = self.config.limits.max_answer_bytes;
        let making = async move {
            let landed = front.fetch(&ask, pair, Some(listing)).await?;
            let share = |(flow, held)| Broadcast::new(Box::new(flow), held, limit);
            Ok(Arc::new(landed.map(share)))
        };
        Flight::new(Box::pin(making), is_last, has_pair)
    }

    /// The reply to one of those who waited; `None` when its body no longer begins at the beginning.
    fn taken(
        &self,
        ask: &Ask,
        flight: Arc<Flight>,
        outcome: Outcome,
        leads: bool,
    ) -> Result<Option<Reply>> {
        let landed = outcome?;
        let mut headers = landed.headers.clone();
        landed.dress(&mut headers, ask, leads);
        // The account of the flow is that of the one who leads.
        let metrics = (!leads).then(|| self.metrics.clone());
        let watch = Watch { metrics, arrived: ask.incoming.arrived };
        let status = landed.status;
        let body = match &landed.load {
            Load::Whole(bytes) => ReplyBody::Whole(bytes.clone()),
            Load::Live(flow) => {
                let Some(pump) = live(&landed, flow, ask, Box::new((flight, watch))) else {
                    return Ok(None);
                };
                ReplyBody::Live(Box::new(pump))
            }
        };
        if !leads {
            let line = ask.incoming.line(&landed.target).assigned(ask.assigned.as_deref());
            self.recorder.book(line, &Sums::hit(landed.cost_nano_usd));
        }
        Ok(Some(Reply { status, headers, body }))
    }

    fn promised(&self, plan: &Plan<'_>, ask: &Ask) -> Option<PairEnding> {
        let is_pair = self.promise_pair(plan, &ask.request, &ask.incoming, true);
        PairEnding::of(plan).filter(|_| is_pair)
    }
}

fn live(
    landed: &Landed<Broadcast<Flow>>,
    flow: &Broadcast<Flow>,
    ask: &Ask,
    kept: Kept,
) -> Option<Pump> {
    let is_array = ask.incoming.in_array(ask.request.stream);
    let is_stream = landed.is_stream && !is_array;
    Pump::share(flow, Telling { dialect: ask.incoming.dialect, is_stream }, kept)
}

/// Takes the time of a request that shares the call of another, when its body is let go.
struct Watch {
    metrics: Option<Arc<Metrics>>,
    arrived: Instant,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(metrics) = &self.metrics {
            metrics.request_seconds.observe(self.arrived.elapsed().as_secs_f64());
        }
    }
}
