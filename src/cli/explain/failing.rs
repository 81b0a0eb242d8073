//! What would be done if a call failed, and what holds calls back.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cacheable;
use crate::cacheable::Question;
use crate::config::Config;
use crate::config::Provider;
use crate::plan::Caller;
use crate::plan::Plan;
use crate::retry::Retry;
use crate::wire::ChatRequest;

/// What would be done if a call failed; for scripts as it is.
#[derive(Debug, Serialize)]
pub struct Failing {
    pub retry: Again,
    /// What of the request acts at a provider, so that only what surely did nothing is asked again.
    pub acts: Option<&'static str>,
    /// Null when there is none, and when the request acts or makes a pair.
    pub hedge: Option<Beside>,
    pub timeouts: Stages,
    /// Of the providers of its targets.
    pub limits: Vec<Limits>,
    pub breaker: Rules,
}

/// How a call is made again.
#[derive(Debug, Serialize)]
pub struct Again {
    pub attempts: u32,
    pub backoff_ms: u64,
    pub max_backoff_ms: u64,
    pub max_wait_ms: u64,
    pub budget_percent: f64,
    pub empty: bool,
}

/// When a call is made beside another.
#[derive(Debug, Serialize)]
pub struct Beside {
    pub after_ms: u64,
    pub budget_percent: f64,
}

/// How long each stage may take.
#[derive(Debug, Serialize)]
pub struct Stages {
    pub connect_ms: u64,
    /// Null for an answer that is no stream, whose first byte comes when it is finished.
    pub first_token_ms: Option<u64>,
    pub idle_ms: u64,
    pub total_ms: u64,
}

/// What a provider's calls are held to.
#[derive(Debug, Serialize)]
pub struct Limits {
    pub provider: String,
    pub requests_per_minute: Option<u64>,
    pub tokens_per_minute: Option<u64>,
    pub concurrency: Option<usize>,
    pub wait_ms: u64,
    pub learn: bool,
}

/// When the breaker of a target opens.
#[derive(Debug, Serialize)]
pub struct Rules {
    pub failures: u32,
    pub rate_percent: f64,
    pub requests: usize,
    pub open_ms: u64,
}

impl Failing {
    /// Of a planned request.
    pub fn of(
        config: &Config,
        request: &ChatRequest,
        caller: &Caller<'_>,
        plan: &Plan<'_>,
    ) -> Self {
        let route = config.routes.get(&request.model);
        let retry = route.map_or(config.retry, |route| route.retry);
        let unread = || Arc::new(cacheable::unread(plan.dialect, &request.body));
        let read = plan.request.clone().unwrap_or_else(unread);
        let question = Question { request: &read, targets: &plan.targets };
        let acts = cacheable::acts(&question, caller.headers).map(|class| class.name);
        let hedge = route.and_then(|route| route.hedge);
        let hedge = hedge.filter(|_| acts.is_none() && plan.pair.is_none());
        let mut names: Vec<&str> = Vec::new();
        for target in &plan.targets {
            if !names.contains(&target.provider.as_str()) {
                names.push(&target.provider);
            }
        }
        let breaker = config.breaker;
        Self {
            retry: again(&retry),
            acts,
            hedge: hedge.map(|hedge| Beside {
                after_ms: ms(hedge.after),
                budget_percent: hedge.budget * 100.0,
            }),
            timeouts: Stages {
                connect_ms: ms(plan.timeouts.connect),
                first_token_ms: request.stream.then(|| ms(plan.timeouts.first_token)),
                idle_ms: ms(plan.timeouts.idle),
                total_ms: ms(plan.timeouts.total),
            },
            limits: names
                .iter()
                .filter_map(|name| config.providers.get(*name))
                .map(limits)
                .collect(),
            breaker: Rules {
                failures: breaker.failures,
                rate_percent: breaker.rate * 100.0,
                requests: breaker.requests,
                open_ms: ms(breaker.open),
            },
        }
    }

    /// Its lines for people, each with its name; `others` says whether there are further targets.
    pub fn lines(&self, others: bool) -> Vec<(&'static str, String)> {
        let mut lines = vec![("if it fails", self.retry.text())];
        lines.push((
            "",
            match self.acts {
                Some(class) => {
                    format!("only if it surely did nothing (429, no connection): {class}")
                }
                None => {
                    "after 408, 409, 429, 5xx, no connection, timeouts, broken answers".to_owned()
                }
            },
        ));
        let next =
            if others { "then the next target is asked" } else { "there is no other target" };
        lines.push(("", format!("{next}; never once the answer says something")));
        let beside = if others { "the next target" } else { "the same target" };
        lines.extend(self.hedge.as_ref().map(|hedge| {
            let (after, budget) = (span(hedge.after_ms), hedge.budget_percent);
            let when = format!("{beside} is asked beside one that has not begun after {after}");
            ("hedge", format!("{when}, for {budget:.0} % of calls at most"))
        }));
        lines.push(("time limits", self.timeouts.text()));
        let labels = std::iter::once("limits").chain(std::iter::repeat(""));
        lines.extend(labels.zip(self.limits.iter().map(Limits::text)));
        lines.push(("breaker", self.breaker.text()));
        lines
    }
}

fn again(retry: &Retry) -> Again {
    Again {
        attempts: retry.attempts,
        backoff_ms: ms(retry.backoff),
        max_backoff_ms: ms(retry.max_backoff),
        max_wait_ms: ms(retry.max_wait),
        budget_percent: retry.budget * 100.0,
        empty: retry.empty,
    }
}

fn limits(provider: &Provider) -> Limits {
    Limits {
        provider: provider.name.clone(),
        requests_per_minute: provider.quota.requests_per_minute,
        tokens_per_minute: provider.quota.tokens_per_minute,
        concurrency: provider.quota.concurrency,
        wait_ms: ms(provider.quota.wait),
        learn: provider.quota.learn,
    }
}

impl Again {
    fn text(&self) -> String {
        let Self { attempts, budget_percent, .. } = self;
        if *attempts == 0 {
            return "the same target is not asked again".to_owned();
        }
        let times = if *attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
        let waits = [self.backoff_ms, self.max_backoff_ms, self.max_wait_ms].map(span);
        let [first, most, asked] = waits;
        format!(
            "asked again {times} at most, for {budget_percent:.0} % of calls, after up to {first} \
             that doubles to {most}, or what it asks for, to {asked}"
        )
    }
}

impl Stages {
    fn text(&self) -> String {
        let first = self.first_token_ms.map(|ms| format!("first content {}, ", span(ms)));
        let [connect, idle, total] = [self.connect_ms, self.idle_ms, self.total_ms].map(span);
        let first = first.unwrap_or_default();
        format!("connect {connect}, {first}between pieces {idle}, everything {total}")
    }
}

impl Limits {
    fn text(&self) -> String {
        let mut said = Vec::new();
        said.extend(self.requests_per_minute.map(|most| format!("{most} calls a minute")));
        said.extend(self.tokens_per_minute.map(|most| format!("{most} tokens a minute")));
        said.extend(self.concurrency.map(|most| format!("{most} calls at once")));
        said.extend(self.learn.then(|| "what it says itself".to_owned()));
        if said.is_empty() {
            return format!("{}: none", self.provider);
        }
        let (said, wait) = (said.join(", "), span(self.wait_ms));
        format!("{}: {said}; a call waits {wait} at most", self.provider)
    }
}

impl Rules {
    fn text(&self) -> String {
        let Self { failures, rate_percent, requests, open_ms } = self;
        let open = span(*open_ms);
        format!(
            "a target is left alone for {open} after {failures} failures in a row, or {rate_percent:.0} % \
             of the last {requests} calls"
        )
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As the configuration writes it.
fn span(ms: u64) -> String {
    format!("{:?}", Duration::from_millis(ms))
}
