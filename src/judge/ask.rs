//! One judge asked about one pair: in the orders its definition says, past failures, and only once
//! about the same content.

use std::time::Duration;

use crate::chat::Answer;
use crate::cost::Sums;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment;
use crate::judge::Judge;
use crate::judge::call;
use crate::judge::prompt;
use crate::judge::prompt::Order;
use crate::judge::prompt::Question;
use crate::judge::prompt::Way;
use crate::judge::shown::Material;
use crate::judge::verdict;
use crate::judge::verdict::NoVerdict;
use crate::key::Parts;
use crate::metrics::Metrics;
use crate::scene;
use crate::scene::Scene;
use crate::stats::Score;
use crate::store::judged::Kept;

/// The first and the longest pause between attempts at a judge that fails.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Attempts at a judge of a panel that can do without it.
const ATTEMPTS: u32 = 6;

/// How often, and past what, a judge is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// With control's answer shown first.
    pub control_first: bool,
    /// With the candidate's answer shown first.
    pub candidate_first: bool,
    /// The order in which the same is asked once more, if it is.
    pub again: Option<Order>,
    /// Whether it is asked until it answers.
    pub is_patient: bool,
    /// The pair, hashed.
    pub pair: u64,
}

/// What one judge said of a pair, candidate's view.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// With control's answer shown first.
    pub control_first: Option<Score>,
    /// With the candidate's answer shown first.
    pub candidate_first: Option<Score>,
    /// The same question twice.
    pub repeat: Option<(Score, Score)>,
    /// Why a verdict it was asked for is missing.
    pub missing: Option<&'static str>,
    /// Calls made.
    pub calls: u32,
    /// What they cost; `None` when a price is unknown.
    pub cost_nano_usd: Option<u64>,
    /// What they come to in the books.
    pub sums: Sums,
}

/// One reply.
struct Reply {
    verdict: std::result::Result<Score, NoVerdict>,
    cost_nano_usd: Option<u64>,
    sums: Sums,
    is_kept: bool,
}

impl Judge {
    /// Asks one judge everything it is to be asked of a pair.
    pub(super) async fn hear(
        &self,
        judge: &experiment::Judge,
        material: &Material,
        asking: Asking,
    ) -> Said {
        let ask = async |wanted: bool, order: Order, is_fresh: bool| match wanted {
            true => Some(self.ask(judge, material, order, asking, is_fresh).await),
            false => None,
        };
        let order = asking.again.unwrap_or(Order::ControlFirst);
        let (first, second, again) = tokio::join!(
            ask(asking.control_first, Order::ControlFirst, false),
            ask(asking.candidate_first, Order::CandidateFirst, false),
            ask(asking.again.is_some(), order, true),
        );
        let mut said = Said { cost_nano_usd: Some(0), ..Said::default() };
        // The audit's question is beside the verdict: without an answer to it the verdict stands.
        let again = again.and_then(|reply| said.take(reply, order).ok());
        let replies = [(first, Order::ControlFirst), (second, Order::CandidateFirst)];
        for (reply, order) in replies {
            match reply.map(|reply| said.take(reply, order)) {
                Some(Ok(score)) if order == Order::ControlFirst => said.control_first = Some(score),
                Some(Ok(score)) => said.candidate_first = Some(score),
                Some(Err(missing)) => said.missing = said.missing.or(Some(missing)),
                None => {}
            }
        }
        let first_time = match order {
            Order::ControlFirst => said.control_first,
            Order::CandidateFirst => said.candidate_first,
        };
        said.repeat = first_time.zip(again);
        said
    }

    /// Asks once, trying again for as long as the judge is only unwell; an error is its refusal.
    async fn ask(
        &self,
        judge: &experiment::Judge,
        material: &Material,
        order: Order,
        asking: Asking,
        is_fresh: bool,
    ) -> Result<Reply> {
        let asked = asked(judge, material, order);
        let kept = if is_fresh { None } else { self.kept(asked).await };
        if let Some(Kept { score, cost_nano_usd, pair }) = kept {
            Metrics::count(&self.metrics.judge_calls, "kept");
            // A process that ended before this pair was scored has paid and not counted it.
            let is_own = pair == asking.pair;
            let cost_nano_usd = if is_own { cost_nano_usd } else { Some(0) };
            let sums = Sums::default();
            return Ok(Reply { verdict: Ok(score), cost_nano_usd, sums, is_kept: !is_own });
        }
        let fence = self.fence(&asked)?;
        let question = Question { judge, material, order, fence: &fence };
        let (mut pause, mut attempts) = (PAUSES.0, 0);
        loop {
            let way = self.way(&judge.target);
            let error = match self.call(&question, way).await {
                Ok(answer) => {
                    let keep = (!is_fresh).then_some((asked, asking.pair));
                    return Ok(self.reply(&question, keep, &answer).await);
                }
                Err(error) => error,
            };
            Metrics::count(&self.metrics.judge_calls, "failed");
            // Refused there, or not to be said in its dialect.
            let is_refused = matches!(error.kind, Kind::BadRequest | Kind::Status(400 | 422));
            if let (true, Some(plainer)) = (is_refused, way.plainer(judge)) {
                self.ways().insert(judge.target.clone(), plainer);
                continue;
            }
            attempts += 1;
            let is_final = is_refused || matches!(error.kind, Kind::Status(413));
            if is_final || (!asking.is_patient && attempts >= ATTEMPTS) {
                return Err(error);
            }
            tracing::warn!(judge = %judge.target, %error, ?pause, "the judge will be asked again");
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Reads a reply, and keeps its verdict for when the same is asked again; what the audit asks
    /// is not kept, because it may be answered before the question that it repeats.
    async fn reply(
        &self,
        question: &Question<'_>,
        keep: Option<([u8; 32], u64)>,
        answer: &Answer,
    ) -> Reply {
        let verdict = verdict::read(question.judge, question.fence, answer);
        let result = verdict.map_or_else(NoVerdict::as_str, |_| "verdict");
        Metrics::count(&self.metrics.judge_calls, result);
        let usage = answer.usage.unwrap_or_default();
        let prices = &scene::now(&self.scenes).config.prices;
        let model = answer.model.as_deref();
        let cost_nano_usd = prices.cost_of(&question.judge.target, model, &usage);
        if let (Ok(score), Some((asked, pair))) = (verdict, keep) {
            let (store, kept) = (self.store.clone(), Kept { score, cost_nano_usd, pair });
            let put = tokio::task::spawn_blocking(move || store.put_judged(&asked, &kept));
            if !matches!(put.await, Ok(Ok(()))) {
                tracing::debug!("a verdict was not kept: the same is asked anew");
            }
        }
        let sums = Sums::call(answer.usage.as_ref(), cost_nano_usd);
        Reply { verdict, cost_nano_usd, sums, is_kept: false }
    }

    async fn kept(&self, asked: [u8; 32]) -> Option<Kept> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.judged(&asked)).await.ok().flatten()
    }

    async fn call(&self, question: &Question<'_>, way: Way) -> Result<Answer> {
        let Scene { config, upstream } = &*scene::now(&self.scenes);
        let prompt = prompt::write(question, way);
        call::call(config, upstream, &question.judge.target, &prompt).await
    }

    /// A word that nothing shown can know: it depends on a secret and on everything that is shown.
    fn fence(&self, asked: &[u8; 32]) -> Result<String> {
        let secret = match self.secret.get() {
            Some(secret) => *secret,
            None => {
                let secret = self.store.secret()?;
                *self.secret.get_or_init(|| secret)
            }
        };
        let hash = blake3::keyed_hash(&secret, asked);
        Ok(hash.as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Said {
    /// Counts a reply, and gives its score in the candidate's view or why there is none.
    fn take(
        &mut self,
        reply: Result<Reply>,
        order: Order,
    ) -> std::result::Result<Score, &'static str> {
        let Ok(reply) = reply else {
            self.calls += 1;
            self.sums.add(&Sums::failure());
            return Err("refused_by_judge");
        };
        self.calls += u32::from(!reply.is_kept);
        self.sums.add(&reply.sums);
        let sum = self.cost_nano_usd.zip(reply.cost_nano_usd);
        self.cost_nano_usd = sum.map(|(a, b)| a.saturating_add(b));
        let score = reply.verdict.map_err(NoVerdict::as_str)?;
        Ok(match order {
            Order::ControlFirst => score,
            // What was shown first lost by as much as the second won.
            Order::CandidateFirst => score.flipped(),
        })
    }
}

/// Everything that a verdict depends on, but for chance.
fn asked(judge: &experiment::Judge, material: &Material, order: Order) -> [u8; 32] {
    // Without `..`, so that a new field does not compile until it is here.
    let experiment::Judge {
        target,
        criteria,
        method,
        both_orders: _,
        reasons,
        form,
        template,
        reference: _,
        max_chars: _,
        repeat: _,
        temperature,
    } = judge;
    let Material { conversation, question, control, candidate, reference, left_out: _ } = material;
    let mut parts = Parts::new("judged");
    parts.part(target.to_string().as_bytes());
    parts.count(criteria.len());
    criteria.iter().for_each(|criterion| parts.part(criterion.as_bytes()));
    parts.part(format!("{method:?} {reasons} {form:?} {temperature}").as_bytes());
    parts.part(template.as_ref().map_or("", |template| &template.source).as_bytes());
    let (first, second) = match order {
        Order::ControlFirst => (control, candidate),
        Order::CandidateFirst => (candidate, control),
    };
    // Which of them is control's makes no difference to what is asked.
    for text in [conversation, question, first, second] {
        parts.part(text.as_bytes());
    }
    parts.count(usize::from(reference.is_some()));
    parts.part(reference.as_deref().unwrap_or_default().as_bytes());
    parts.finish()
}
