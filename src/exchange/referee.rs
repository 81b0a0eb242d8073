//! Says of the answer of a cheaper target whether it will do, and books it where it will not.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::time::Instant;
use tokio::time::timeout_at;
use uuid::Uuid;

use crate::cascade::Cascade;
use crate::cascade::Judge;
use crate::cascade::OnFailure;
use crate::chat::Answer;
use crate::chat::request::Request;
use crate::cost::Line;
use crate::cost::Purpose;
use crate::cost::Sums;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Front;
use crate::exchange::ask::Ask;
use crate::exchange::bill::Bill;
use crate::exchange::purse::Tab;
use crate::experiment::Target;
use crate::judge::alone;
use crate::judge::alone::Word;
use crate::judge::call::call;
use crate::judge::suspicion;
use crate::metrics::Metrics;
use crate::upstream::held::Check;
use crate::upstream::held::Held;
use crate::upstream::held::Saying;
use crate::wire::Prompt;
use crate::wire::turn;

/// Applies a cascade's rules to the answers to one request.
pub(super) struct Referee<'a> {
    front: &'a Front,
    ask: &'a Ask,
    cascade: &'a Cascade,
    tab: &'a Mutex<Tab>,
    /// When an application that waits gets an answer or none.
    until: Instant,
    passed_over: Mutex<Vec<(Target, &'static str)>>,
}

/// What became of an answer that was looked at.
enum Ruling {
    /// It will do.
    Accepted,
    /// Its judge said nothing, and the route lets it pass.
    Unjudged,
    /// It will not do, for this reason.
    PassedOver(&'static str),
}

/// An answer that nobody has accepted: whatever becomes of the request, it has been paid for.
struct Unaccepted<'r, 'a> {
    referee: &'r Referee<'a>,
    target: &'r Target,
    sums: Option<Sums>,
}

impl Drop for Unaccepted<'_, '_> {
    fn drop(&mut self) {
        if let Some(sums) = self.sums.take() {
            self.referee.book(self.target, Purpose::Live, &sums);
        }
    }
}

impl Check for Referee<'_> {
    fn accepts<'s>(&'s self, held: Held<'s>) -> Saying<'s> {
        Box::pin(self.rule(held))
    }
}

impl<'a> Referee<'a> {
    /// For a request whose route has a cascade.
    pub fn of(front: &'a Front, ask: &'a Ask, tab: &'a Mutex<Tab>) -> Option<Self> {
        let cascade = ask.cascade.as_deref()?;
        let until = Instant::now() + ask.timeouts.total;
        Some(Self { front, ask, cascade, tab, until, passed_over: Mutex::default() })
    }

    /// Notes who answered in the end, and tells whose answers were passed over before, and why.
    pub fn close(self, by: &Target) -> Vec<(Target, &'static str)> {
        if self.ask.targets.last() == Some(by) {
            self.count(by, "last");
        }
        self.passed_over.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    async fn rule(&self, held: Held<'_>) -> bool {
        let target = held.target;
        let mut unaccepted = Unaccepted { referee: self, target, sums: Some(self.sums(held)) };
        let (word, is_accepted) = match self.look_at(held).await {
            Ruling::Accepted => ("accepted", true),
            Ruling::Unjudged => ("unjudged", true),
            Ruling::PassedOver(reason) => (reason, false),
        };
        self.count(target, word);
        let request_id = &self.ask.incoming.request_id;
        if is_accepted {
            tracing::debug!(request_id, %target, word, "will do");
            // It is booked when it has gone out.
            unaccepted.sums = None;
        } else {
            tracing::info!(request_id, %target, reason = word, "passed over");
            lock(&self.passed_over).push((target.clone(), word));
        }
        is_accepted
    }

    async fn look_at(&self, held: Held<'_>) -> Ruling {
        if !held.status.is_success() {
            return Ruling::PassedOver("status");
        }
        let Some(answer) = held.answer else { return Ruling::PassedOver("too_large") };
        let Some(request) = self.ask.read.as_deref() else { return Ruling::PassedOver("unread") };
        if let Some(reason) = self.cascade.objection(request, answer) {
            return Ruling::PassedOver(reason);
        }
        match &self.cascade.judge {
            None => Ruling::Accepted,
            Some(judge) => self.judge(judge, request, answer).await,
        }
    }

    async fn judge(&self, judge: &Judge, request: &Request, answer: &Answer) -> Ruling {
        let text = alone::text(answer);
        // An answer for the user says nothing to whoever judges it.
        if suspicion::is_suspicious(&text) {
            return Ruling::PassedOver("suspicious");
        }
        let prompt = alone::write(judge, &turn::of(&request.messages), &text, &fence());
        let word = match self.reply(judge, &prompt).await {
            Ok(reply) => {
                self.book(&judge.target, Purpose::Judge, &self.sums_of_word(judge, &reply));
                alone::read(&reply).ok_or("no_verdict")
            }
            Err(error) => {
                self.book(&judge.target, Purpose::Judge, &Sums::failure());
                tracing::warn!(judge = %judge.target, %error, "the judge of a cascade fails");
                Err("failed")
            }
        };
        let result = word.err().unwrap_or("verdict");
        Metrics::count(&self.front.metrics.judge_calls, result);
        match (word, self.cascade.on_failure) {
            (Ok(Word::Accept), _) => Ruling::Accepted,
            (Ok(Word::Reject), _) => Ruling::PassedOver("judge"),
            (Err(_), OnFailure::Accept) => Ruling::Unjudged,
            (Err(_), OnFailure::Escalate) => Ruling::PassedOver("judge_failed"),
        }
    }

    async fn reply(&self, judge: &Judge, prompt: &Prompt) -> Result<Answer> {
        let Front { config, upstream, .. } = self.front;
        let until = self.until.min(Instant::now() + judge.timeout);
        let asked = timeout_at(until, call(config, upstream, &judge.target, prompt)).await;
        asked.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, format!("{} has said nothing yet", judge.target)))
        })
    }

    fn sums_of_word(&self, judge: &Judge, reply: &Answer) -> Sums {
        let cost = reply.usage.and_then(|usage| {
            let prices = &self.front.config.prices;
            prices.cost_of(&judge.target, reply.model.as_deref(), &usage)
        });
        Sums::call(reply.usage.as_ref(), cost)
    }

    /// What an answer comes to that does not go out.
    fn sums(&self, held: Held<'_>) -> Sums {
        if !held.status.is_success() {
            return Sums::failure();
        }
        let Some(answer) = held.answer else { return Sums::call(None, None) };
        let (prices, target) = (&*self.front.config.prices, held.target);
        let (read, body) = (self.ask.read.as_deref(), &self.ask.request.body);
        Bill { prices, target, read, body }.sums(answer)
    }

    fn book(&self, target: &Target, purpose: Purpose, sums: &Sums) {
        let line = Line { purpose, ..self.ask.incoming.line(target) };
        self.front.recorder.book(line, sums);
        lock(self.tab).add(sums);
    }

    fn count(&self, target: &Target, result: &'static str) {
        self.front.metrics.cascaded(&self.ask.request.model, target, result);
    }
}

/// A word that no text knows, because it is drawn after the text was written.
fn fence() -> String {
    let [.., a, b, c, d, e, f, g, h] = Uuid::now_v7().into_bytes();
    format!("{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
