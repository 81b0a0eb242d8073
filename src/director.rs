//! Changes what is in force while the process runs, and writes down why.
//!
//! There are two orders. A person's wish, a file's and a verdict's are written down first and take
//! effect once they are on disk, so whoever was told of one finds it after a crash. A breach takes
//! effect first, because answers are being given meanwhile, and is written down behind it.

pub mod book;
mod fixed;
pub mod record;
mod reload;
mod watch;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::watch::Sender;

use crate::board::Board;
use crate::config::Config;
use crate::director::book::Book;
use crate::director::book::Lives;
use crate::director::book::lock;
use crate::director::reload::Files;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Front;
use crate::experiment::Experiment;
use crate::experiment::State;
use crate::experiment::life::By;
use crate::experiment::life::Event;
use crate::experiment::life::Life;
use crate::health::breaker::Standing;
use crate::metrics::ConfigLabel;
use crate::metrics::Metrics;
use crate::metrics::TargetLabel;
use crate::price::Prices;
use crate::price::Table;
use crate::report::Report;
use crate::scene::Scene;
use crate::script::Print;
use crate::script::Script;
use crate::store::Store;
use crate::store::log::Audit;

/// Who changes what is in force.
pub struct Director {
    stage: Sender<Arc<Scene>>,
    fronts: Sender<Arc<Front>>,
    board: Arc<Board>,
    store: Store,
    metrics: Arc<Metrics>,
    book: Arc<Book>,
    script: Option<Script>,
    runtime: Handle,
    /// Held from a check until what was checked is in force.
    doing: Mutex<()>,
    /// Held for moments only: a breach must not wait for a disk.
    lives: Mutex<Lives>,
    files: Mutex<Files>,
}

/// What a director is made of.
pub struct Parts {
    /// The scene in force.
    pub stage: Sender<Arc<Scene>>,
    /// Those who answer.
    pub fronts: Sender<Arc<Front>>,
    /// Where results are counted.
    pub board: Arc<Board>,
    /// Where the log is.
    pub store: Store,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Who writes the log.
    pub book: Book,
    /// What follows from it.
    pub lives: Lives,
    /// The files to follow, and what they said at the start.
    pub script: Option<(Script, Print)>,
}

/// Brings the experiments of a configuration to where their log says they stand.
///
/// What the files changed since then is written down first.
///
/// # Errors
/// The store cannot be read or written.
pub fn resume(store: &Store, experiments: &mut [Experiment]) -> Result<(Book, Lives)> {
    let (book, mut lives) = Book::open(store.clone())?;
    let drafts = book::meet(&lives, experiments, now_ms())?;
    book.append(&drafts)?;
    book::settle(&mut lives, &drafts)?;
    stand(experiments, &lives);
    Ok((book, lives))
}

/// As [`resume`], for whoever only looks: nothing is written down.
///
/// # Errors
/// The store cannot be read.
pub fn glimpse(store: &Store, experiments: &mut [Experiment]) -> Result<Lives> {
    let (_, mut lives) = Book::open(store.clone())?;
    let drafts = book::meet(&lives, experiments, now_ms())?;
    book::settle(&mut lives, &drafts)?;
    stand(experiments, &lives);
    Ok(lives)
}

fn stand(experiments: &mut [Experiment], lives: &Lives) {
    for experiment in experiments {
        if let Some(life) = lives.get(&experiment.name) {
            experiment.standing = life.standing.clone();
        }
    }
}

impl Director {
    /// Takes charge of a scene.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { stage, fronts, board, store, metrics, book, lives, script } = parts;
        let (script, print) = script.unzip();
        let print = print.unwrap_or_default();
        let since_ms = now_ms();
        let files = Files { since_ms, ..Files::of(print) };
        metrics.config_info.get_or_create(&ConfigLabel { hash: files.hash.clone() }).set(1);
        Arc::new(Self {
            stage,
            fronts,
            board,
            store,
            metrics,
            book: Arc::new(book),
            script,
            runtime: Handle::current(),
            doing: Mutex::default(),
            lives: Mutex::new(lives),
            files: Mutex::new(files),
        })
    }

    /// Nobody takes part until the experiment is resumed.
    ///
    /// # Errors
    /// There is no such experiment, it does not run, or the log cannot be written.
    pub fn pause(&self, name: &str, by: By, why: &str) -> Result<()> {
        let why = why.to_owned();
        self.change(name, |_| Ok(vec![Event::Paused { by, why }]))
    }

    /// The experiment goes on.
    ///
    /// # Errors
    /// There is no such experiment, it is not paused, or the log cannot be written.
    pub fn resume(&self, name: &str, by: By) -> Result<()> {
        self.change(name, |_| Ok(vec![Event::Resumed { by }]))
    }

    /// Takes the next step of an experiment's ramp.
    ///
    /// # Errors
    /// There is no further step, it does not run, or the log cannot be written.
    pub fn step(&self, name: &str) -> Result<()> {
        let config = self.config();
        let ramp = config.experiments.iter().find(|e| e.name == name).map(|e| e.ramp.clone());
        self.change(name, |life| {
            let taken = life.standing.step;
            let share = ramp
                .and_then(|ramp| ramp.get(taken).copied())
                .ok_or_else(|| Error::new(Kind::BadRequest, "the ramp has no further step"))?;
            Ok(vec![Event::Stepped { step: taken + 1, share: share.ppm() }])
        })
    }

    /// Control answers for a candidate from now on: before this returns, for the next request.
    ///
    /// It waits for no disk: what happened is written down behind it. Doing it again changes
    /// nothing.
    ///
    /// # Errors
    /// There is no such experiment or candidate, or it has not begun.
    pub fn halt(&self, name: &str, candidate: &str, by: By, why: &str) -> Result<()> {
        let mut lives = lock(&self.lives);
        let life = known(&lives, name)?;
        let config = self.config();
        let experiment = config.experiments.iter().find(|e| e.name == name);
        let mut candidates = experiment.iter().flat_map(|e| &e.candidates);
        if !candidates.any(|known| known.variant.name == candidate) {
            let what = format!("the experiment has no candidate \"{candidate}\"");
            return Err(Error::new(Kind::NotFound, what));
        }
        if life.standing.halted.iter().any(|halted| halted == candidate) {
            return Ok(());
        }
        let (candidate, why) = (candidate.to_owned(), why.to_owned());
        let event = Event::Halted { epoch: life.standing.epoch, candidate, by, why };
        let next = life.after(&event)?;
        self.book.owe(book::draft(name, &next, event, now_ms()));
        lives.insert(name.to_owned(), next);
        self.publish(&lives);
        drop(lives);
        let book = self.book.clone();
        self.runtime.spawn_blocking(move || {
            if let Err(error) = book.append(&[]) {
                tracing::error!(%error, "a candidate was halted, and that is not in the log yet");
            }
        });
        Ok(())
    }

    /// A sentinel found that answers have moved: the question of `name` is open again, and where
    /// there is no such experiment it is only written down, as the sentinel's own.
    ///
    /// Doing it again changes nothing.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn drift(&self, name: Option<&str>, sentinel: &str, run: u64, why: &str) -> Result<()> {
        let lives = lock(&self.lives).clone();
        let event = Event::Drifted { sentinel: sentinel.to_owned(), run, why: why.to_owned() };
        let life = name.and_then(|name| lives.get(name)).filter(|life| life.is_defined);
        match (name, life) {
            (Some(name), Some(life)) => match life.after(&event)?.standing == life.standing {
                true => Ok(()),
                false => self.change(name, |_| Ok(vec![event])),
            },
            _ => self.book.append(&[book::draft(sentinel, &Life::default(), event, now_ms())]),
        }
    }

    /// Writes down how the places are that keys come from.
    pub fn tell_secrets(&self) {
        self.metrics.secret_refresh.clear();
        self.metrics.secret_age_seconds.clear();
        let upstream = self.stage.borrow().upstream.clone();
        upstream.tell(&self.metrics);
    }

    /// Returns once everything that happened is on disk.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn settle(&self) -> Result<()> {
        self.book.append(&[])
    }

    /// The decision log, checked.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn log(&self) -> Result<Audit> {
        self.settle()?;
        self.store.audit_log()
    }

    /// The report of an experiment; of a former epoch, as its definition was then.
    ///
    /// # Errors
    /// There is no such experiment or epoch, or the store cannot be read.
    pub fn report(&self, name: &str, epoch: Option<u32>) -> Result<Report> {
        let lives = lock(&self.lives).clone();
        let config = self.config();
        let found = config.experiments.iter().find(|e| e.name == name);
        let present = found.and_then(|_| self.board.full_report(name));
        let (Some(experiment), Some(present)) = (found, present) else {
            return Err(unknown(config.experiments.iter().map(|e| e.name.as_str()), name));
        };
        match epoch {
            Some(epoch) if epoch != present.epoch => former(&self.store, &lives, experiment, epoch),
            _ => Ok(present),
        }
    }

    /// Checks, writes down, and lets happen.
    fn change(&self, name: &str, events: impl FnOnce(&Life) -> Result<Vec<Event>>) -> Result<()> {
        let _one_at_a_time = lock(&self.doing);
        let mut drafts = Vec::new();
        let events = {
            let lives = lock(&self.lives);
            let mut life = known(&lives, name)?.clone();
            let events = events(&life)?;
            for event in &events {
                life = life.after(event)?;
                drafts.push(book::draft(name, &life, event.clone(), now_ms()));
            }
            events
        };
        self.book.append(&drafts)?;
        let mut lives = lock(&self.lives);
        for event in &events {
            let next = known(&lives, name)?.after(event)?;
            lives.insert(name.to_owned(), next);
        }
        self.publish(&lives);
        Ok(())
    }

    /// Puts the scene in force in which the experiments stand as they do now.
    fn publish(&self, lives: &Lives) {
        let (mut config, upstream) = {
            let scene = self.stage.borrow();
            (Config::clone(&scene.config), scene.upstream.clone())
        };
        stand(&mut config.experiments, lives);
        config.experiments.iter().for_each(|experiment| self.board.define(experiment));
        self.show(Scene { config: Arc::new(config), upstream });
    }

    /// Puts the prices of a feed in force, for every request that begins after this.
    pub fn reprice(&self, fed: Arc<Table>) {
        let _nothing_else_changes = lock(&self.lives);
        let scene = self.stage.borrow().clone();
        let prices = Arc::new(Prices::clone(&scene.config.prices).with_fed(fed));
        let config = Arc::new(Config { prices, ..Config::clone(&scene.config) });
        self.show(Scene { config, upstream: scene.upstream.clone() });
    }

    fn show(&self, scene: Scene) {
        let scene = Arc::new(scene);
        self.stage.send_replace(scene.clone());
        self.fronts.send_modify(|front| *front = Arc::new(front.in_scene(&scene)));
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.stage.borrow().config.clone()
    }

    /// Shows where the breaker of every target of a route or an experiment stands now.
    pub fn show_breakers(&self) {
        let scene = self.stage.borrow().clone();
        let routed = scene.config.routes.values().flat_map(|route| &route.targets);
        let variants = scene.config.experiments.iter().flat_map(Experiment::variants);
        let targets = routed.map(|t| &t.target).chain(variants.map(|v| &v.target));
        // A target that is no longer configured is not shown for ever.
        self.metrics.breaker_state.clear();
        for target in targets {
            let state = match scene.upstream.health().standing(target, Instant::now()) {
                Standing::Closed => 0,
                Standing::Returning | Standing::Due => 1,
                Standing::Open { .. } => 2,
            };
            let label = TargetLabel { target: target.to_string() };
            self.metrics.breaker_state.get_or_create(&label).set(state);
        }
    }
}

/// The report of a former epoch.
///
/// # Errors
/// There is no such epoch, or the store cannot be read.
pub fn former(store: &Store, lives: &Lives, experiment: &Experiment, epoch: u32) -> Result<Report> {
    let life = lives.get(&experiment.name);
    let parts = life.and_then(|life| life.former.get(&epoch)).ok_or_else(|| {
        let now = experiment.standing.epoch;
        let what = format!("{} is in epoch {now} and has had no epoch {epoch}", experiment.name);
        Error::new(Kind::NotFound, what)
    })?;
    let mut then = experiment.as_of(parts);
    then.standing.epoch = epoch;
    then.standing.state = State::Stopped;
    let board = Board::load(std::slice::from_ref(&then), store)?;
    board
        .full_report(&then.name)
        .ok_or_else(|| Error::new(Kind::NotFound, "there is no such epoch"))
}

/// Why there is no experiment of that name.
pub fn unknown<'n>(names: impl Iterator<Item = &'n str>, name: &str) -> Error {
    let names: Vec<&str> = names.collect();
    let known = match names.as_slice() {
        [] => "none is defined".to_owned(),
        names => format!("there is: {}", names.join(", ")),
    };
    Error::new(Kind::NotFound, format!("no experiment \"{name}\" is running; {known}"))
}

fn known<'l>(lives: &'l Lives, name: &str) -> Result<&'l Life> {
    let defined = |(name, life): (&'l String, &'l Life)| life.is_defined.then_some(name.as_str());
    let life = lives.get(name).filter(|life| life.is_defined);
    life.ok_or_else(|| unknown(lives.iter().filter_map(defined), name))
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
