//! Scores stored pairs: free comparators first, then the evaluator model, in both orders.

pub mod prompt;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use crate::board::Board;
use crate::chat::Answer;
use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment;
use crate::experiment::Experiment;
use crate::experiment::Target;
use crate::key::Parts;
use crate::metrics::Metrics;
use crate::pair::Facts;
use crate::pair::Half;
use crate::pair::Intent;
use crate::pair::Outcome;
use crate::pair::PairId;
use crate::pair::Scored;
use crate::price;
use crate::recorder::JudgeJob;
use crate::recorder::Record;
use crate::recorder::Recorder;
use crate::scene;
use crate::scene::Scene;
use crate::scene::Scenes;
use crate::stats::Score;
use crate::store::Store;
use crate::upstream::Call;
use crate::upstream::outgoing::Outgoing;
use crate::wire;
use crate::wire::InPath;
use crate::wire::turn;
use crate::wire::turn::Turn;

/// The first and the longest pause between attempts at a judge that fails.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// What judging needs.
pub struct Judge {
    /// The definitions, and the way out.
    pub scenes: Scenes,
    /// Where the pairs are.
    pub store: Store,
    /// Where scores go.
    pub recorder: Recorder,
    /// What has been spent.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Judges that do not give log-probabilities.
    pub without_logprobs: Mutex<HashSet<Target>>,
}

/// A pair as read from the store.
struct Pair {
    intent: Intent,
    control: Half,
    candidate: Half,
}

/// One reply of the judge.
struct Reply {
    score: Option<Score>,
    cost_nano_usd: Option<u64>,
}

impl Judge {
    /// Scores pairs, a bounded number at once, until the queue closes.
    pub async fn run(self: Arc<Self>, mut jobs: mpsc::Receiver<JudgeJob>) {
        let slots =
            Arc::new(Semaphore::new(scene::now(&self.scenes).config.limits.judge_concurrency));
        while let Some((id, experiment, candidate)) = jobs.recv().await {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let judge = self.clone();
            tokio::spawn(async move {
                let work = tokio::spawn({
                    let (judge, candidate) = (judge.clone(), candidate.clone());
                    async move { judge.score(id, &experiment, &candidate).await }
                });
                let unjudged = |reason: &str| {
                    let outcome = Outcome::Unjudged { reason: reason.to_owned() };
                    Some(scored(outcome, 0, Some(0)))
                };
                let result = work.await.unwrap_or_else(|_| unjudged("judge_panicked"));
                if let Some(scored) = result {
                    judge.recorder.deliver(Record::Scored { id, candidate, scored }).await;
                }
                judge.metrics.judge_queue.dec();
                drop(slot);
            });
        }
    }

    /// `None` leaves the pair waiting: it is met again after a restart.
    async fn score(&self, id: PairId, experiment: &str, candidate: &str) -> Option<Scored> {
        let scene = scene::now(&self.scenes);
        let experiment = scene.config.experiments.iter().find(|e| e.run() == experiment)?;
        let (store, name) = (self.store.clone(), candidate.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let intent = store.intent(id)?;
            let control = store.half(id, intent.head.variants.first()?)?;
            let candidate = store.half(id, &name)?;
            Some(Pair { intent, control, candidate })
        });
        let Some(pair) = read.await.ok().flatten() else {
            return Some(scored(Outcome::Unjudged { reason: "unreadable".into() }, 0, Some(0)));
        };
        if let Some(comparator) = equal(experiment, &pair) {
            return Some(scored(Outcome::Equal { comparator }, 0, Some(0)));
        }
        let Some(judge) = &experiment.evaluate.judge else {
            return Some(scored(Outcome::Unjudged { reason: "no_judge".into() }, 0, Some(0)));
        };
        if self.board.is_over(&experiment.run()) == Some("budget_usd") {
            tracing::warn!(experiment = experiment.name, "the judge's budget is spent");
            return None;
        }
        Some(self.judge(id, judge, &pair).await)
    }

    async fn judge(&self, id: PairId, judge: &experiment::Judge, pair: &Pair) -> Scored {
        let turns = turns(&pair.intent);
        let (control, candidate) = (&pair.control.answer, &pair.candidate.answer);
        let asks_control_first = judge.both_orders || id.shows_control_first();
        let asks_candidate_first = judge.both_orders || !id.shows_control_first();
        let ask = async |wanted: bool, order: &str, first, second| match wanted {
            true => Some(self.ask(judge, &turns, first, second, &fence(id, order)).await),
            false => None,
        };
        let (first, second) = tokio::join!(
            ask(asks_control_first, "control", control, candidate),
            ask(asks_candidate_first, "candidate", candidate, control),
        );
        let replies: Vec<&Result<Reply>> = [&first, &second].into_iter().flatten().collect();
        let calls = u32::try_from(replies.len()).unwrap_or(0);
        let cost = replies.iter().map(|reply| reply.as_ref().ok()?.cost_nano_usd).sum();
        let outcome = match (settle(&first), settle(&second)) {
            (Err(reason), _) | (_, Err(reason)) => Outcome::Unjudged { reason: reason.into() },
            (Ok(first), Ok(second)) => Outcome::Judged {
                control_first: first,
                // What was shown first lost by as much as the second won.
                candidate_first: second.map(Score::flipped),
            },
        };
        scored(outcome, calls, cost)
    }

    /// Asks once, trying again for as long as the judge is only unwell; an error is its refusal.
    async fn ask(
        &self,
        judge: &experiment::Judge,
        turns: &[Turn],
        first: &Answer,
        second: &Answer,
        fence: &str,
    ) -> Result<Reply> {
        let question = prompt::Question { criteria: &judge.criteria, turns, first, second, fence };
        let mut pause = PAUSES.0;
        loop {
            let logprobs = !self.without_logprobs().contains(&judge.target);
            let error = match self.call(&judge.target, &question, logprobs).await {
                Ok(answer) => {
                    let score = prompt::read(&answer);
                    let result = if score.is_some() { "verdict" } else { "no_verdict" };
                    Metrics::count(&self.metrics.judge_calls, result);
                    let usage = answer.usage.unwrap_or_default();
                    let cost_nano_usd = price::cost_nano_usd(&judge.target, &usage);
                    return Ok(Reply { score, cost_nano_usd });
                }
                Err(error) => error,
            };
            Metrics::count(&self.metrics.judge_calls, "failed");
            // Refused there, or not to be said in its dialect.
            if matches!(error.kind, Kind::BadRequest | Kind::Status(400)) && logprobs {
                self.without_logprobs().insert(judge.target.clone());
                continue;
            }
            if matches!(error.kind, Kind::BadRequest | Kind::Status(400 | 413 | 422)) {
                return Err(error);
            }
            tracing::warn!(judge = %judge.target, %error, ?pause, "the judge will be asked again");
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn call(
        &self,
        target: &Target,
        question: &prompt::Question<'_>,
        logprobs: bool,
    ) -> Result<Answer> {
        let Scene { config, upstream } = &*scene::now(&self.scenes);
        let provider = config.providers.get(&target.provider);
        let unknown = || Error::new(Kind::Config, format!("the judge's provider {target} is gone"));
        let provider = provider.ok_or_else(unknown)?;
        let spoken = provider.dialect_for(DialectName::OpenAi).ok_or_else(unknown)?;
        let dialect = spoken.dialect();
        let prompt = prompt::write(&target.model, question, logprobs);
        let body = wire::write_prompt(dialect, &prompt, &provider.quirks)?;
        let (headers, timeouts) = (HeaderMap::new(), config.timeouts);
        let outgoing = Outgoing::new(dialect.name(), body, false);
        let call = Call { target, outgoing, headers: &headers, timeouts };
        let opened = upstream.send_once(call).await?;
        let status = opened.status;
        let limit = config.limits.max_answer_bytes;
        let body = opened.collect(limit).await?;
        if !status.is_success() {
            let what = format!("{target} answered with status {}", status.as_u16());
            return Err(Error::new(Kind::Status(status.as_u16()), what));
        }
        let answer = wire::fold(dialect, false, [&body[..]]);
        match &answer.error {
            None => Ok(answer),
            Some(_) => Err(Error::new(Kind::Broken, format!("{target} sent no readable answer"))),
        }
    }

    fn without_logprobs(&self) -> std::sync::MutexGuard<'_, HashSet<Target>> {
        self.without_logprobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The score of an order that was asked, or why there is none.
fn settle(reply: &Option<Result<Reply>>) -> std::result::Result<Option<Score>, &'static str> {
    match reply {
        None => Ok(None),
        Some(Ok(Reply { score: Some(score), .. })) => Ok(Some(*score)),
        Some(Ok(_)) => Err("no_verdict"),
        Some(Err(_)) => Err("refused_by_judge"),
    }
}

/// The first comparator that finds the two answers equal.
fn equal(experiment: &Experiment, pair: &Pair) -> Option<String> {
    let mut comparators = experiment.evaluate.comparators.iter();
    let found = comparators.find(|c| c.equal(&pair.control.answer, &pair.candidate.answer))?;
    Some(found.name().to_owned())
}

fn turns(intent: &Intent) -> Vec<Turn> {
    let in_path = intent.head.in_path.clone().map(|(model, stream)| InPath { model, stream });
    let dialect = DialectName::parse(&intent.head.dialect).map(DialectName::dialect);
    let head = dialect.and_then(|d| Some((d, d.read_head(intent.request.clone(), in_path).ok()?)));
    head.map(|(dialect, head)| turn::turns(dialect, &head)).unwrap_or_default()
}

/// A word that the answers could not know: it hangs on the tenant's credential and the pair.
fn fence(id: PairId, order: &str) -> String {
    let mut parts = Parts::new("fence");
    parts.part(&id.0);
    parts.part(order.as_bytes());
    parts.finish().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn scored(outcome: Outcome, calls: u32, cost_nano_usd: Option<u64>) -> Scored {
    let scored_ms = jiff::Timestamp::now().as_millisecond();
    Scored { outcome, calls, cost_nano_usd, scored_ms, facts: Facts::default() }
}
