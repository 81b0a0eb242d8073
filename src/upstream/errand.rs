//! One request on its way through its targets: retries, failover and hedging, until one answers.

use std::pin::pin;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::config::Timeouts;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::health::Choice;
use crate::health::Fault;
use crate::health::Ticket;
use crate::health::Wish;
use crate::health::breaker::Rules;
use crate::metrics::Metrics;
use crate::retry::Again;
use crate::retry::Hedge;
use crate::retry::Reason;
use crate::retry::Retry;
use crate::upstream::Call;
use crate::upstream::Opened;
use crate::upstream::Upstream;
use crate::upstream::commit::Flaw;
use crate::upstream::commit::Window;
use crate::upstream::gate::Sake;
use crate::upstream::held::Check;
use crate::upstream::outgoing::Outgoing;

/// What an application wants to know, and what may be done to find it out.
#[derive(Clone, Copy)]
pub struct Errand<'a> {
    /// Who is asked, in order.
    pub targets: &'a [Target],
    /// Writes the request for a target.
    pub write: &'a (dyn Fn(&Target) -> Result<Outgoing> + Sync),
    /// The headers that a target may see.
    pub headers: &'a (dyn Fn(&Target) -> &'a HeaderMap + Sync),
    /// How long each stage may take; the whole includes every wait between calls.
    pub timeouts: Timeouts,
    /// How calls that fail are made again.
    pub retry: Retry,
    /// When a second call is made beside the first.
    pub hedge: Option<Hedge>,
    /// When breakers open.
    pub rules: Rules,
    /// Whether asking twice does nothing twice, wherever a call failed.
    pub may_repeat: bool,
    /// An experiment assigned the first target.
    pub keeps_first: bool,
    /// What an answer is held against.
    pub window: Window,
    /// What has to accept an answer of any target but the last; `None`: any will do.
    pub check: Option<&'a dyn Check>,
    /// Where retries and failovers are counted.
    pub metrics: &'a Metrics,
}

/// A target that gave no answer.
struct Failed {
    /// What the application is told if nobody does better.
    outcome: Result<Opened>,
    /// Why; `None` if nobody would do better.
    reason: Option<Reason>,
    asked: Option<Duration>,
    /// The same target would do the same again.
    is_lasting: bool,
}

/// An errand on its way.
struct Trip<'t, 'a> {
    upstream: &'t Upstream,
    errand: &'t Errand<'a>,
    until: Instant,
}

impl Upstream {
    /// Asks the targets in turn, each as often as may be, until one begins to answer.
    ///
    /// What comes back has begun to say something, or is the last target's failure. With a check it
    /// has accepted the answer, which is whole, or the last target gave it; what it does not accept
    /// is no failure of who gave it, and only those behind that one are asked from then on.
    ///
    /// # Errors
    /// No target answered in time, or the request cannot be written.
    pub async fn send(&self, errand: &Errand<'_>) -> Result<Opened> {
        let until = Instant::now() + errand.timeouts.total;
        let mut errand = *errand;
        loop {
            let opened = Trip { upstream: self, errand: &errand, until }.go().await?;
            let behind = errand.behind(&opened.target);
            let Some(check) = errand.check.filter(|_| !behind.is_empty()) else {
                return Ok(opened);
            };
            // Everybody has failed if this one's failure is the outcome.
            let is_failure = Reason::of_status(opened.status).is_some();
            if is_failure || check.accepts(opened.held()).await {
                return Ok(opened);
            }
            errand.targets = behind;
        }
    }
}

impl<'a> Errand<'a> {
    /// Those who are asked after a target.
    fn behind(&self, target: &Target) -> &'a [Target] {
        let at = self.targets.iter().position(|other| other == target);
        at.and_then(|at| self.targets.get(at + 1..)).unwrap_or_default()
    }
}

/// A target whose breaker lets nobody through.
pub(super) fn shut(target: &Target, left: Duration) -> Error {
    let what = format!(
        "{target} has failed so often that it is left alone for {} s (breaker)",
        left.as_millis().div_ceil(1000)
    );
    Error::new(Kind::Overloaded, what).after(left)
}

impl Trip<'_, '_> {
    async fn go(&self) -> Result<Opened> {
        let mut asked = Vec::new();
        let mut last: Option<Failed> = None;
        loop {
            let (at, ticket) = match self.choose(&asked) {
                Choice::Ask(at, ticket) => (at, ticket),
                Choice::Later(left) => return Err(shut(&self.errand.targets[0], left)),
                Choice::Nobody => break,
            };
            if let (Some(failed), Some(from)) = (&last, asked.last()) {
                self.failing_over(&self.errand.targets[*from], failed);
            }
            asked.push(at);
            let failed = match self.ask_hedged(at, &mut asked, ticket).await {
                Ok(opened) => return Ok(opened),
                Err(failed) => failed,
            };
            let is_end = Instant::now() >= self.until || !self.may_go_on(&failed);
            last = Some(failed);
            if is_end {
                break;
            }
        }
        let none = || Err(Error::new(Kind::NotFound, "the route has no targets"));
        last.map_or_else(none, |failed| failed.outcome)
    }

    fn choose(&self, asked: &[usize]) -> Choice {
        let Errand { targets, keeps_first, rules, .. } = *self.errand;
        let wish = Wish { targets, asked, keeps_first, rules };
        self.upstream.health.choose(&wish, Instant::now().into_std())
    }

    /// Whether anybody may be asked the same again.
    fn may_go_on(&self, failed: &Failed) -> bool {
        failed.reason.is_some_and(|reason| reason.is_harmless() || self.errand.may_repeat)
    }

    /// Asks a target, and another beside it when it does not begin in time.
    async fn ask_hedged(
        &self,
        at: usize,
        asked: &mut Vec<usize>,
        ticket: Ticket,
    ) -> std::result::Result<Opened, Failed> {
        let mut first = pin!(self.ask(at, asked.len() < self.errand.targets.len(), ticket));
        let Some(hedge) = self.errand.hedge.filter(|_| self.errand.may_repeat) else {
            return first.await;
        };
        tokio::select! {
            answered = &mut first => return answered,
            () = sleep(hedge.after) => {}
        }
        let (target, now) = (&self.errand.targets[at], Instant::now().into_std());
        let health = &self.upstream.health;
        if !health.spend_hedge(target, hedge.budget, now) {
            return first.await;
        }
        let (beside, ticket) = match self.choose(asked) {
            Choice::Ask(beside, ticket) => (beside, ticket),
            Choice::Later(_) | Choice::Nobody => {
                match health.again(target, self.errand.rules, now) {
                    Some(ticket) => (at, ticket),
                    None => return first.await,
                }
            }
        };
        self.errand.metrics.hedged(&target.provider);
        tracing::info!(%target, beside = %self.errand.targets[beside], "hedge");
        if beside != at {
            asked.push(beside);
        }
        let mut second = pin!(self.ask(beside, false, ticket));
        // The first that begins to answer is the answer; letting go of the other cancels it.
        tokio::select! {
            answered = &mut first => match answered {
                Ok(opened) => Ok(opened),
                Err(_) => second.await,
            },
            answered = &mut second => match answered {
                Ok(opened) => Ok(opened),
                Err(_) => first.await,
            },
        }
    }

    /// Asks one target, as often as may be.
    async fn ask(
        &self,
        at: usize,
        has_others: bool,
        mut ticket: Ticket,
    ) -> std::result::Result<Opened, Failed> {
        let Errand { targets, write, retry, hedge, rules, .. } = self.errand;
        let target = &targets[at];
        let outgoing = write(target).map_err(Failed::for_good)?;
        let health = &self.upstream.health;
        let hedges = hedge.map_or(0.0, |hedge| hedge.budget);
        health.earn(target, retry.budget, hedges, Instant::now().into_std());
        for number in 0.. {
            let failed = match self.attempt(target, outgoing.clone(), ticket).await {
                Ok(opened) => return Ok(opened),
                Err(failed) => failed,
            };
            let Some(wait) = self.wait(target, &failed, number, has_others) else {
                return Err(failed);
            };
            let reason = failed.reason.map_or("", Reason::as_str);
            Metrics::again(&self.errand.metrics.retries, &target.provider, reason);
            tracing::debug!(%target, reason, ?wait, "retry");
            sleep(wait).await;
            ticket = match health.again(target, *rules, Instant::now().into_std()) {
                Some(ticket) => ticket,
                None => return Err(failed),
            };
        }
        Err(Failed::for_good(Error::new(Kind::Internal, "there is no end of attempts")))
    }

    /// How long to wait before the same target is asked again, if it is.
    fn wait(
        &self,
        target: &Target,
        failed: &Failed,
        number: u32,
        has_others: bool,
    ) -> Option<Duration> {
        if failed.is_lasting || !self.may_go_on(failed) {
            return None;
        }
        let now = Instant::now();
        let left = self.until.saturating_duration_since(now);
        let (asked, part) = (failed.asked, fastrand::f64());
        let again = Again { number, asked, has_others, part, left };
        again.wait(&self.errand.retry, &self.upstream.health, target, now.into_std())
    }

    /// Makes one call, and reads until it is clear whether it is answered.
    async fn attempt(
        &self,
        target: &Target,
        outgoing: Outgoing,
        ticket: Ticket,
    ) -> std::result::Result<Opened, Failed> {
        let left = self.until.saturating_duration_since(Instant::now());
        let timeouts = Timeouts { total: left, ..self.errand.timeouts };
        let call = Call { target, outgoing, headers: (self.errand.headers)(target), timeouts };
        let endpoint = self.upstream.endpoint(&target.provider).map_err(Failed::for_good)?;
        match self.upstream.send_admitted(endpoint, call, Sake::Application).await {
            Ok(mut opened) => match opened.settle(self.errand.window).await {
                Ok(()) => self.held(begun(opened, ticket)).await,
                Err(flaw) => Err(Failed::of(flaw, Some(opened), ticket)),
            },
            // Nobody was asked, so nothing is said of the target.
            Err(error) if matches!(error.kind, Kind::Busy | Kind::Overloaded) => {
                Err(Failed::held(error))
            }
            Err(error) if error.may_retry() => Err(Failed::of(error.into(), None, ticket)),
            Err(error) => Err(Failed::for_good(error)),
        }
    }

    /// A good answer to its end, if it is to be checked.
    async fn held(&self, mut opened: Opened) -> std::result::Result<Opened, Failed> {
        let is_checked =
            self.errand.check.is_some() && !self.errand.behind(&opened.target).is_empty();
        let Some(ticket) = opened.ticket.take_if(|_| is_checked) else { return Ok(opened) };
        match opened.hold(self.errand.window).await {
            Ok(()) => {
                ticket.ended(opened.sent.elapsed());
                Ok(opened)
            }
            Err(flaw) => Err(Failed::of(flaw, Some(opened), ticket)),
        }
    }

    fn failing_over(&self, target: &Target, failed: &Failed) {
        let reason = failed.reason.map_or("", Reason::as_str);
        Metrics::again(&self.errand.metrics.failovers, &target.provider, reason);
        match &failed.outcome {
            Ok(opened) => {
                tracing::info!(%target, reason, status = opened.status.as_u16(), "failover");
            }
            Err(error) => tracing::info!(%target, reason, %error, "failover"),
        }
    }
}

fn begun(mut opened: Opened, mut ticket: Ticket) -> Opened {
    let is_good = opened.status.is_success();
    ticket.began(is_good.then(|| opened.sent.elapsed()), Instant::now().into_std());
    // What is refused says nothing of how long an answer takes.
    opened.ticket = is_good.then_some(ticket);
    opened
}

impl Failed {
    fn of(flaw: Flaw, opened: Option<Opened>, mut ticket: Ticket) -> Self {
        let Flaw { reason, error, asked, is_lasting } = flaw;
        let fault = match reason {
            Reason::Overloaded => Fault::Overloaded,
            _ => Fault::Broken,
        };
        let now = Instant::now().into_std();
        match reason {
            // It may be the prompt that leaves nothing to say.
            Reason::Empty => ticket.began(None, now),
            _ => ticket.failed(fault, asked, now),
        }
        let outcome = match (error, opened) {
            (None, Some(opened)) => Ok(opened),
            (Some(error), _) => Err(error),
            (None, None) => Err(Error::new(Kind::Broken, "there is no answer")),
        };
        Self { outcome, reason: Some(reason), asked, is_lasting }
    }

    /// Its limits are used up, and waiting for them was in vain.
    fn held(error: Error) -> Self {
        let (reason, asked) = (Some(Reason::Limited), error.retry_after);
        Self { outcome: Err(error), reason, asked, is_lasting: true }
    }

    fn for_good(error: Error) -> Self {
        Self { outcome: Err(error), reason: None, asked: None, is_lasting: true }
    }
}
