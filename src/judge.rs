//! Scores stored pairs: free comparators first, then a judge or a panel, in the orders they say.

pub mod alone;
mod ask;
pub mod call;
pub mod facts;
mod lane;
pub mod pair;
mod panel;
pub mod prompt;
mod purse;
pub mod shown;
mod spoken;
pub mod suspicion;
pub mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;

use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::board::Board;
use crate::compare::Finding;
use crate::cost::Line;
use crate::cost::Purpose;
use crate::experiment;
use crate::experiment::Experiment;
use crate::experiment::Judges;
use crate::experiment::Target;
use crate::experiment::evaluate::HUMAN;
use crate::judge::ask::Asking;
use crate::judge::ask::Said;
use crate::judge::pair::Pair;
use crate::judge::prompt::Order;
use crate::judge::prompt::Way;
use crate::judge::purse::Purse;
use crate::judge::shown::Material;
use crate::key::Parts;
use crate::label;
use crate::metrics::Metrics;
use crate::pair::Facts;
use crate::pair::Opinion;
use crate::pair::Outcome;
use crate::pair::PairId;
use crate::pair::Scored;
use crate::recorder::JudgeJob;
use crate::recorder::Recorder;
use crate::scene;
use crate::scene::Scenes;
use crate::stats::Score;
use crate::store::Store;

/// Pairs of one run that wait before those of others wait with them, in the recorder's memory.
const LANE: usize = 1 << 17;

/// What judging needs.
pub struct Judge {
    /// The definitions, and the way out.
    scenes: Scenes,
    /// Where the pairs are.
    store: Store,
    /// Where scores go.
    recorder: Recorder,
    /// What has been spent.
    board: Arc<Board>,
    /// Counters.
    metrics: Arc<Metrics>,
    /// Judges that do not take everything that is asked of others.
    ways: Mutex<HashMap<Target, Way>>,
    /// What marks the texts of others.
    secret: OnceLock<[u8; 32]>,
    /// What judging has cost today.
    purse: Purse,
}

/// What came of scoring a pair.
enum Ended {
    Scored(Box<Scored>),
    /// It waits for a label.
    ForPeople,
    /// There is nobody to ask at the moment.
    Again,
}

impl Judge {
    /// A judge that has said nothing yet.
    pub fn new(
        scenes: Scenes,
        store: Store,
        recorder: Recorder,
        board: Arc<Board>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (ways, secret, purse) = (Mutex::default(), OnceLock::new(), Purse::default());
        Self { scenes, store, recorder, board, metrics, ways, secret, purse }
    }

    /// Scores pairs, a bounded number at once, until the queue closes; an experiment that waits
    /// keeps no other from being judged.
    pub async fn run(self: Arc<Self>, mut jobs: mpsc::Receiver<JudgeJob>) {
        let slots =
            Arc::new(Semaphore::new(scene::now(&self.scenes).config.limits.judge_concurrency));
        let mut lanes: HashMap<String, mpsc::Sender<JudgeJob>> = HashMap::new();
        // Whoever ends this ends every lane with it.
        let mut tasks = JoinSet::new();
        while let Some(job) = jobs.recv().await {
            let (_, run, _) = &job;
            let lane = lanes.entry(run.clone()).or_insert_with(|| {
                let (lane, jobs) = mpsc::channel(LANE);
                tasks.spawn(self.clone().drive(run.clone(), jobs, slots.clone()));
                lane
            });
            if lane.send(job).await.is_err() {
                tracing::error!("a lane of the judge has ended: its pairs wait for a restart");
            }
        }
        drop(lanes);
        while tasks.join_next().await.is_some() {}
    }

    async fn score(self: &Arc<Self>, id: PairId, run: &str, candidate: &str) -> Ended {
        let scene = scene::now(&self.scenes);
        let Some(experiment) = lane::find(&scene.config.experiments, run) else {
            return Ended::Again;
        };
        let (store, name) = (self.store.clone(), candidate.to_owned());
        let prices = scene.config.prices.clone();
        let read = tokio::task::spawn_blocking(move || {
            let pair = Pair::read(&store, id, &name)?;
            let facts = facts::of(&pair, &prices);
            Some((pair, facts))
        });
        let Some((pair, facts)) = read.await.ok().flatten() else {
            return Ended::Scored(Box::new(unjudged("unreadable")));
        };
        let scored = match (settled(experiment, id, &pair), &experiment.evaluate.judge) {
            (Some(outcome), _) => scored(outcome, facts),
            (None, Judges::Nobody) => scored(Outcome::unjudged("no_judge"), facts),
            (None, Judges::People) => match self.store.label(run, candidate, id) {
                Some(label) => human(label.score, order_of_label(id), facts),
                None => return Ended::ForPeople,
            },
            (None, Judges::Models(_)) => self.judge(experiment, id, &pair, facts).await,
        };
        Ended::Scored(Box::new(scored))
    }

    /// Asks every judge of the panel at once.
    async fn judge(
        self: &Arc<Self>,
        experiment: &Experiment,
        id: PairId,
        pair: &Pair,
        mut facts: Facts,
    ) -> Scored {
        let judges = experiment.evaluate.judges();
        let needed = experiment.evaluate.quorum.unwrap_or(judges.len());
        let number = number(&experiment.run(), id, &pair.candidate.variant);
        let mut hearings = JoinSet::new();
        for (at, judge) in judges.iter().enumerate() {
            let reference = judge.reference.as_ref().and_then(|from| pair.reference(from));
            let (control, candidate) = (&pair.control.answer, &pair.candidate.answer);
            let material =
                Material::of(judge, &pair.turns, control, candidate, reference.as_deref());
            facts.left_out = facts.left_out.max(material.left_out);
            let is_patient = needed == judges.len();
            let asking = Asking { pair: number, is_patient, ..asking(judge, &experiment.salt, id) };
            let (this, judge) = (self.clone(), judge.clone());
            hearings.spawn(async move { (at, this.hear(&judge, &material, asking).await) });
        }
        if facts.left_out > 0 {
            Metrics::count(&self.metrics.judge_calls, "shortened");
        }
        let mut said: Vec<(usize, Said)> = hearings.join_all().await;
        said.sort_by_key(|(at, _)| *at);
        let said: Vec<Said> = said.into_iter().map(|(_, said)| said).collect();
        for (judge, said) in judges.iter().zip(&said) {
            let line = Line {
                experiment: experiment.name.clone(),
                variant: pair.candidate.variant.clone(),
                ..Line::of(&judge.target, Purpose::Judge)
            };
            self.recorder.book(line, &said.sums);
        }
        panel::conclude(judges, &said, needed, facts)
    }

    fn way(&self, target: &Target) -> Way {
        self.ways().get(target).copied().unwrap_or(Way::FULL)
    }

    fn ways(&self) -> MutexGuard<'_, HashMap<Target, Way>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the comparators and chance make of a pair; `None` leaves it to the judge.
///
/// Chance comes before a win that a comparator knows: what is counted of the pairs that differ is
/// weighed as a sample of them, so all of them have to be drawn alike.
fn settled(experiment: &Experiment, id: PairId, pair: &Pair) -> Option<Outcome> {
    let evaluate = &experiment.evaluate;
    let found = pair.settle(&evaluate.comparators);
    let name = found.map_or("", |(comparator, _)| comparator.name()).to_owned();
    let finding = found.map(|(_, finding)| finding);
    if finding == Some(Finding::Equal) {
        return Some(Outcome::Equal { comparator: name });
    }
    if evaluate.judge != Judges::Nobody && !evaluate.samples(&experiment.salt, &id.0) {
        return Some(Outcome::Unsampled {});
    }
    let score = match finding? {
        Finding::ControlBetter => Score::LOSS,
        Finding::CandidateBetter => Score::WIN,
        Finding::Equal | Finding::Differs | Finding::Unknown => return None,
    };
    Some(Outcome::Settled { comparator: name, score })
}

/// In which orders a judge is asked about a pair, and whether once more.
fn asking(judge: &experiment::Judge, salt: &str, id: PairId) -> Asking {
    let asks_both = judge.asks_both(salt, &id.0);
    let chosen = match id.shows_control_first() {
        true => Order::ControlFirst,
        false => Order::CandidateFirst,
    };
    Asking {
        control_first: asks_both || chosen == Order::ControlFirst,
        candidate_first: asks_both || chosen == Order::CandidateFirst,
        again: judge.repeats(salt, &id.0).then_some(chosen),
        is_patient: true,
        pair: 0,
    }
}

/// The order in which a person was shown a pair.
fn order_of_label(id: PairId) -> Order {
    match label::shows_control_first(id) {
        true => Order::ControlFirst,
        false => Order::CandidateFirst,
    }
}

/// A candidate's pair in one number.
fn number(run: &str, id: PairId, candidate: &str) -> u64 {
    let mut parts = Parts::new("pair of a candidate");
    [run.as_bytes(), &id.0, candidate.as_bytes()].iter().for_each(|part| parts.part(part));
    u64::from_le_bytes(parts.finish().first_chunk().copied().unwrap_or_default())
}

/// The score that a person gives, who was shown the answers in this order.
pub fn human(score: Score, order: Order, facts: Facts) -> Scored {
    let (control_first, candidate_first) = match order {
        Order::ControlFirst => (Some(score), None),
        Order::CandidateFirst => (None, Some(score)),
    };
    let panel = vec![Opinion { judge: HUMAN.to_owned(), control_first, candidate_first }];
    let outcome = Outcome::Judged { control_first, candidate_first };
    scored(outcome, Facts { panel, ..facts })
}

fn unjudged(reason: &str) -> Scored {
    scored(Outcome::unjudged(reason), Facts::default())
}

/// What cost nothing.
fn scored(outcome: Outcome, facts: Facts) -> Scored {
    let scored_ms = jiff::Timestamp::now().as_millisecond();
    Scored { outcome, calls: 0, cost_nano_usd: Some(0), scored_ms, facts }
}
