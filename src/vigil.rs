//! Runs sentinels when they are due, one at a time, beside everything that users wait for: on a
//! store, a queue and a way out of their own.

pub mod post;
pub mod prompt;
pub mod view;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio_util::task::AbortOnDropHandle;

use crate::backtest::sieve::Sieve;
use crate::config::Config;
use crate::director::Director;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::metrics::SentinelLabel;
use crate::metrics::SentinelRun;
use crate::pair::Half;
use crate::rehearsal::Ask;
use crate::rehearsal::Rehearsal;
use crate::rehearsal::cost;
use crate::rehearsal::run::Terms;
use crate::report::CandidateView;
use crate::report::Rate;
use crate::report::Report;
use crate::scene;
use crate::scene::Scenes;
use crate::sentinel::Sentinel;
use crate::sentinel::TODAY;
use crate::sentinel::alarm;
use crate::sentinel::alarm::Seen;
use crate::sentinel::state::Pinned;
use crate::sentinel::state::Ran;
use crate::sentinel::state::State;
use crate::stats::Interval;
use crate::store::Store;
use crate::vigil::post::Post;
use crate::vigil::view::View;

/// Between two looks at the clock, whatever is due: it may be set, or the machine asleep.
const LOOK: Duration = Duration::from_secs(60);

/// Copies under way at once.
const CONCURRENCY: usize = 4;

/// Who runs sentinels.
pub struct Vigil {
    /// The sentinels, and the way out.
    pub scenes: Scenes,
    /// Where the pairs of experiments are, whose prompts a sentinel may ask.
    pub store: Store,
    /// Who opens a question again.
    pub director: Arc<Director>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// What a run came to, with the answers it is held against, and what it cost, billionths of a
/// dollar.
type Outcome = (Result<(Ran, Pinned)>, u64);

impl Vigil {
    /// Over the sentinels of a process.
    pub fn new(
        scenes: Scenes,
        store: &Store,
        director: &Arc<Director>,
        metrics: &Arc<Metrics>,
    ) -> Arc<Self> {
        let (store, director, metrics) = (store.clone(), director.clone(), metrics.clone());
        Arc::new(Self { scenes, store, director, metrics })
    }

    /// Runs what is due, for as long as the process lives.
    pub async fn run(self: Arc<Self>) {
        let mut scenes = self.scenes.clone();
        loop {
            let config = scene::now(&self.scenes).config.clone();
            let next = next_due(&config, now_ms()).await;
            match next {
                Some((sentinel, 0)) => self.clone().perform(&config, sentinel).await,
                next => {
                    let wait = next.map_or(LOOK, |(_, ms)| Duration::from_millis(ms).min(LOOK));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        changed = scenes.changed() => if changed.is_err() { return },
                    }
                }
            }
        }
    }

    /// Every sentinel, now; reads files.
    pub fn views(&self) -> Vec<View> {
        View::all(&scene::now(&self.scenes).config, now_ms())
    }

    /// One run from its beginning, or from where it was when the process ended.
    async fn perform(self: Arc<Self>, config: &Arc<Config>, sentinel: Sentinel) {
        let post = Post::of(&config.data_dir, &sentinel.name);
        let every_ms = i64::try_from(sentinel.every.as_millis()).unwrap_or(i64::MAX);
        let mut state = post.state().under(&sentinel);
        if state.running_since_ms.is_none() {
            post.clear();
        }
        state.begin(now_ms());
        if let Err(error) = post.keep(&state) {
            tracing::error!(sentinel = sentinel.name, %error, "a sentinel cannot run");
            tokio::time::sleep(LOOK).await;
            return;
        }
        let (vigil, of, at) = (self.clone(), sentinel.clone(), state.clone());
        let (config, kept) = (config.clone(), post.clone());
        // A panic in a run must not end the watch.
        let work = tokio::spawn(async move { vigil.rehearse(&config, &of, &at, &kept).await });
        let (ran, spent) = AbortOnDropHandle::new(work).await.unwrap_or_else(|_| {
            (Err(Error::new(Kind::Internal, "the run panicked, see the log")), 0)
        });
        state.spend(spent, now_ms());
        let result = match ran {
            Ok((ran, pinned)) => {
                let result = if ran.alarms.is_empty() { "steady" } else { "alarm" };
                state.pinned = Some(pinned);
                tracing::info!(sentinel = sentinel.name, run = ran.run, result, "a sentinel ran");
                state.end(ran, every_ms, now_ms());
                result
            }
            Err(error) => {
                tracing::error!(sentinel = sentinel.name, %error, "a sentinel's run failed");
                state.fail(error.detail, every_ms, now_ms());
                "failed"
            }
        };
        let name = sentinel.name.clone();
        self.metrics.sentinel_runs.get_or_create(&SentinelRun { sentinel: name, result }).inc();
        if let Err(error) = post.keep(&state) {
            tracing::error!(sentinel = sentinel.name, %error, "a sentinel's run is not kept");
        }
        post.clear();
        self.alarm(&sentinel, &mut state, &post).await;
    }

    /// Writes an alarm down that is not in the decision log yet.
    async fn alarm(&self, sentinel: &Sentinel, state: &mut State, post: &Post) {
        let label = SentinelLabel { sentinel: sentinel.name.clone() };
        let is_drifted = i64::from(state.drifted.is_some());
        self.metrics.sentinel_drifted.get_or_create(&label).set(is_drifted);
        let Some(drifted) = state.drifted.as_mut().filter(|drifted| !drifted.is_logged) else {
            return;
        };
        let (director, of, run) = (self.director.clone(), sentinel.clone(), drifted.run);
        let why = drifted.why.join("; ");
        tracing::warn!(sentinel = sentinel.name, why, "answers have moved");
        let logged = tokio::task::spawn_blocking(move || {
            director.drift(of.experiment.as_deref(), &of.name, run, &why)
        });
        match logged.await {
            Ok(Ok(())) => drifted.is_logged = true,
            _ => tracing::error!(sentinel = sentinel.name, "an alarm is not in the log yet"),
        }
        if let Err(error) = post.keep(state) {
            tracing::error!(sentinel = sentinel.name, %error, "a sentinel's run is not kept");
        }
    }

    async fn rehearse(
        &self,
        config: &Config,
        sentinel: &Sentinel,
        state: &State,
        post: &Post,
    ) -> Outcome {
        match self.prepare(config, sentinel, state, post).await {
            Ok((mut rehearsal, asks, terms)) => {
                let ids = asks.iter().map(|ask| ask.id).collect();
                let mut list = (ids, asks);
                let ended = rehearsal.perform(&mut list, &terms, &mut |_| {}).await;
                let spent = rehearsal.spent().map_or(0, |(copies, judge)| copies + judge);
                let ran = ended.and_then(|_| look(&rehearsal, sentinel, state, &list.1, post));
                rehearsal.close().await;
                (ran, spent)
            }
            Err(error) => (Err(error), 0),
        }
    }

    async fn prepare(
        &self,
        config: &Config,
        sentinel: &Sentinel,
        state: &State,
        post: &Post,
    ) -> Result<(Rehearsal, Vec<Ask>, Terms)> {
        let experiment = sentinel.as_experiment(state.count + 1);
        if sentinel.daily_usd.is_some() {
            cost::check_prices(&experiment, &config.prices)?;
        }
        let (config, store) = (config.clone(), self.store.clone());
        let (of, kept, is_pinned) = (sentinel.clone(), post.clone(), state.pinned.is_some());
        let read = tokio::task::spawn_blocking(move || {
            let sieve = Sieve::new(&config, &experiment, HeaderMap::new(), now_ms());
            let asks = match is_pinned {
                true => kept.pinned()?,
                false => prompt::asks(&sieve, &of, &store)?,
            };
            Ok::<_, Error>((sieve.config().clone(), asks))
        });
        let panicked = |_| Error::new(Kind::Internal, "the prompts could not be read");
        let (mut config, asks) = read.await.map_err(panicked)??;
        config.shadowing.concurrency = config.shadowing.concurrency.min(CONCURRENCY);
        let max_usd = state.left_usd(sentinel.daily_usd, now_ms());
        let terms = Terms { max_usd, all: true, ..Terms::default() };
        Ok((Rehearsal::open(config, &post.run())?, asks, terms))
    }
}

/// The sentinel that is due next, and how long until then, milliseconds.
async fn next_due(config: &Arc<Config>, now_ms: i64) -> Option<(Sentinel, u64)> {
    let config = config.clone();
    let look = tokio::task::spawn_blocking(move || {
        let waits = config.sentinels.iter().map(|sentinel| {
            let state = Post::of(&config.data_dir, &sentinel.name).state().under(sentinel);
            (sentinel.clone(), u64::try_from(state.wait_ms(now_ms)).unwrap_or(0))
        });
        waits.min_by_key(|(_, wait)| *wait)
    });
    look.await.ok().flatten()
}

/// What a run saw, and whether it alarms; the answers of the first are pinned.
fn look(
    rehearsal: &Rehearsal,
    sentinel: &Sentinel,
    state: &State,
    asks: &[Ask],
    post: &Post,
) -> Result<(Ran, Pinned)> {
    let report = rehearsal.report()?;
    let view = report.candidates.get(TODAY);
    let view = view.ok_or_else(|| Error::new(Kind::Internal, "nothing is told of today"))?;
    let run = state.count + 1;
    let whole = view.pairs + view.unjudged.values().sum::<u64>();
    if whole == 0 {
        let lost: Vec<String> =
            report.funnel.lost.iter().map(|(w, n)| format!("{w} {n}")).collect();
        let what = format!("no prompt was answered: {}", lost.join(", "));
        return Err(Error::new(Kind::Broken, what));
    }
    let answers = |variant: &str| -> Vec<(&Ask, Half)> {
        let halves = asks.iter().map(|ask| (ask, rehearsal.store.half(ask.id, variant)));
        halves.filter_map(|(ask, half)| Some((ask, half?))).collect()
    };
    let controls = answers(&sentinel.shipped.name);
    let pinned = match &state.pinned {
        Some(pinned) => pinned.clone(),
        None => {
            post.pin(&rehearsal.store, &controls)?;
            let (models, fingerprints) = names(&controls);
            Pinned { at_ms: now_ms(), prompts: controls.len() as u64, models, fingerprints }
        }
    };
    let (models, fingerprints) = names(&answers(TODAY));
    let seen = Seen {
        pairs: whole,
        moved: whole.saturating_sub(view.equal),
        win_rate: judged(sentinel, view)
            .map(|rate| Interval { lower: rate.lower, upper: rate.upper }),
        models,
        fingerprints,
    };
    let alarms = alarm::reasons(&sentinel.alarm, &pinned, &seen, run);
    Ok((ran(sentinel, state, &report, view, seen, alarms, asks.len()), pinned))
}

fn ran(
    sentinel: &Sentinel,
    state: &State,
    report: &Report,
    view: &CandidateView,
    seen: Seen,
    alarms: Vec<String>,
    prompts: usize,
) -> Ran {
    let run = state.count + 1;
    let alpha = alarm::alpha_of(sentinel.alarm.alpha, run);
    let Interval { lower, upper } = alarm::share_moved(seen.pairs, seen.moved, alpha);
    let estimate = Some(seen.moved as f64 / seen.pairs.max(1) as f64);
    Ran {
        run,
        began_ms: state.running_since_ms.unwrap_or_default(),
        ended_ms: now_ms(),
        pairs: seen.pairs,
        missing: (prompts as u64).saturating_sub(seen.pairs),
        moved: seen.moved,
        moved_share: Rate { estimate, standard_error: None, lower, upper },
        win_rate: judged(sentinel, view),
        wins_ties_losses: [view.wins, view.ties, view.losses],
        models: seen.models,
        fingerprints: seen.fingerprints,
        cost_usd: report.cost_usd.unwrap_or(0.0) + report.copies.total_usd,
        alarms,
    }
}

/// The win rate, unless nobody judged: then it speaks of equal answers only.
fn judged(sentinel: &Sentinel, view: &CandidateView) -> Option<Rate> {
    (!sentinel.evaluate.judges().is_empty() && view.pairs > 0).then_some(view.win_rate)
}

/// What the provider called the model and the system, each once.
fn names(answers: &[(&Ask, Half)]) -> (Vec<String>, Vec<String>) {
    let once = |name: fn(&Half) -> Option<String>| {
        let mut names: Vec<String> = answers.iter().filter_map(|(_, half)| name(half)).collect();
        names.sort();
        names.dedup();
        names
    };
    (once(|half| half.answer.model.clone()), once(|half| half.answer.fingerprint.clone()))
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
