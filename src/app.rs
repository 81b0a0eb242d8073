//! Builds everything, runs it, and drains it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::cache::Cache;
use crate::config::Admission;
use crate::config::Config;
use crate::director;
use crate::director::Director;
use crate::dossier;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Front;
use crate::feed;
use crate::guardian::Guardian;
use crate::http;
use crate::http::admin::Admin;
use crate::http::admin::gate::Gate;
use crate::http::socket::Sockets;
use crate::judge::Judge;
use crate::library::Library;
use crate::metrics::Metrics;
use crate::ping;
use crate::recorder;
use crate::recorder::JudgeJob;
use crate::recorder::Record;
use crate::recorder::Recorder;
use crate::recorder::ShadowJob;
use crate::recorder::writer::Writer;
use crate::scene::Scene;
use crate::scene::Scenes;
use crate::script::Print;
use crate::script::Script;
use crate::shadow::Shadow;
use crate::store::Store;
use crate::store::cipher::Keys;
use crate::turnstile::Turnstile;
use crate::vigil::Vigil;
use crate::vital::Served;

/// Pairs that may wait for the judge in memory; all of them wait on disk too.
const JUDGE_QUEUE: usize = 1 << 17;

/// Answers whose words on their variants may wait to be heard.
const VITALS_QUEUE: usize = 4096;

/// How long the recorder may take to write what is queued when the process ends.
const LAST_WRITE: Duration = Duration::from_secs(10);

/// How long a question on the admin plane may keep a process that has ended its work.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// A running process.
pub struct App {
    /// Where applications connect.
    pub data: SocketAddr,
    /// Where people and probes connect.
    pub admin: SocketAddr,
    /// Live experiments.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    store: Store,
    recorder: Recorder,
    stop: CancellationToken,
    stop_admin: CancellationToken,
    data_server: JoinHandle<()>,
    admin_servers: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    writer: thread::JoinHandle<()>,
    director: Arc<Director>,
}

impl App {
    /// Binds the ports, opens the store, goes on with what a former process left, and serves.
    ///
    /// # Errors
    /// A port is taken, the data directory cannot be used, or TLS cannot start.
    pub async fn start(config: Config) -> Result<Self> {
        Self::perform(config, None).await
    }

    /// As [`Self::start`], and goes on following the files that the configuration was read from.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn perform(mut config: Config, script: Option<(Script, Print)>) -> Result<Self> {
        admitted(&config)?;
        let ports = Ports::bind(&config).await?;
        let (data, admin) = (address(&ports.data)?, address(&ports.admin)?);
        let store = open(&config)?;
        if config.replays() {
            // What is not found yet would be told to be missing.
            loaded(&store).await;
        }
        let (book, lives) = director::resume(&store, &mut config.experiments)?;
        let scene = Arc::new(Scene::new(config)?);
        let config = &scene.config;
        let (metrics, limits) = (Arc::new(Metrics::new()), config.limits);
        scene.upstream.gates().count_in(&metrics);
        let board = Arc::new(Board::load(&config.experiments, &store)?);
        let (stage, scenes) = watch::channel(scene.clone());
        // The recorder hands over a batch at once, before the idle places can take any of it.
        let shadow_queue = limits.shadow_queue + config.shadowing.concurrency;
        let (shadow, shadow_jobs) = mpsc::channel(shadow_queue);
        let (judge, judge_jobs) = mpsc::channel(JUDGE_QUEUE);
        let (recorder, writer) = recorder::recorder(recorder::Parts {
            data_dir: config.data_dir.clone(),
            store: store.clone(),
            scenes: scenes.clone(),
            board: board.clone(),
            metrics: metrics.clone(),
            policy: config.keeping(),
            queue: limits.recorder_queue,
            memory: config.memory,
            shadow,
            judge,
        })?;
        let writer = write(writer)?;
        let jobs = (shadow_jobs, judge_jobs);
        let mut workers = pair_up(&scenes, &store, &recorder, (&board, &metrics), jobs);
        let (vitals, served) = mpsc::channel(VITALS_QUEUE);
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let turnstile = Arc::new(Turnstile::load(&store, now_ms)?);
        let front = front(&scene, &store, &recorder, (&board, &metrics, turnstile), vitals);
        let (stop, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let sockets = Sockets::new(stop.clone());
        let (follow, fronts) = watch::channel(Arc::new(front));
        let director = Director::new(director::Parts {
            stage,
            fronts: follow,
            board: board.clone(),
            store: store.clone(),
            metrics: metrics.clone(),
            book,
            lives,
            script,
        });
        let vigil = Vigil::new(scenes, &store, &director, &metrics);
        workers.extend(watch(&vigil, &board, served));
        let shown = shown(&fronts.borrow(), &vigil, stop.clone());
        let service = http::data::service(fronts, sockets.clone());
        let data_server = tokio::spawn(http::serve(ports.data, service, sockets, limits.drain));
        let gate = Gate::new(&scene.config.admission);
        let admin_servers = serve_admin(ports.admin, ports.health, (shown, gate), &stop_admin);
        Ok(Self {
            data,
            admin,
            board,
            metrics,
            store,
            recorder,
            stop,
            stop_admin,
            data_server,
            admin_servers,
            workers,
            writer,
            director,
        })
    }

    /// Returns once everything that a former process stored can be found.
    pub async fn loaded(&self) {
        loaded(&self.store).await;
    }

    /// Who changes what is in force while it runs.
    pub fn director(&self) -> Arc<Director> {
        self.director.clone()
    }

    /// The HTML report of an experiment as things stand.
    ///
    /// # Errors
    /// There is no such experiment, or the store cannot be read.
    pub fn page(&self, name: &str) -> Result<String> {
        let log = self.director.log()?.entries;
        dossier::page(&self.store, &self.board, name, &log)
    }

    /// Returns once everything recorded so far is on disk.
    pub async fn flush(&self) {
        self.recorder.flush().await;
    }

    /// Takes no new requests, lets open answers finish within the drain limit, writes, ends.
    ///
    /// Shadow and judge calls under way are dropped: they are made again after the next start.
    /// The admin plane says until the end that the process is stopping.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.data_server.await;
        self.workers.iter().for_each(JoinHandle::abort);
        let director = self.director.clone();
        match tokio::task::spawn_blocking(move || director.settle()).await {
            Ok(Ok(())) => {}
            _ => tracing::error!("what was decided last is not in the log"),
        }
        self.recorder.deliver(Record::Stop).await;
        let written = tokio::task::spawn_blocking(move || self.writer.join());
        match tokio::time::timeout(LAST_WRITE, written).await {
            Ok(Ok(Ok(()))) => {}
            Ok(_) => tracing::error!("the recorder panicked"),
            Err(_) => tracing::error!("the recorder could not write everything in time"),
        }
        self.stop_admin.cancel();
        for server in self.admin_servers {
            let _ = server.await;
        }
    }
}

/// Those who answer, in the first scene.
fn front(
    scene: &Scene,
    store: &Store,
    recorder: &Recorder,
    (board, metrics, turnstile): (&Arc<Board>, &Arc<Metrics>, Arc<Turnstile>),
    vitals: mpsc::Sender<Served>,
) -> Front {
    let cache = Cache::new(store.clone(), &scene.config.keeping(), scene.config.memory);
    Front {
        library: Library::new(store.clone(), Some(cache.clone())),
        cache,
        flights: Arc::default(),
        threads: Arc::default(),
        upstream: scene.upstream.clone(),
        recorder: recorder.clone(),
        board: board.clone(),
        vitals,
        turnstile,
        metrics: metrics.clone(),
        config: scene.config.clone(),
    }
}

/// Starts those who make pairs of what the recorder hands over, and judge them.
fn pair_up(
    scenes: &Scenes,
    store: &Store,
    recorder: &Recorder,
    (board, metrics): (&Arc<Board>, &Arc<Metrics>),
    (shadow_jobs, judge_jobs): (mpsc::Receiver<ShadowJob>, mpsc::Receiver<JudgeJob>),
) -> Vec<JoinHandle<()>> {
    let shadow = Arc::new(Shadow::new(scenes.clone(), store.clone(), recorder.clone()));
    let (board, metrics) = (board.clone(), metrics.clone());
    let judge = Judge::new(scenes.clone(), store.clone(), recorder.clone(), board, metrics);
    let judge = Arc::new(judge);
    vec![tokio::spawn(shadow.run(shadow_jobs)), tokio::spawn(judge.run(judge_jobs))]
}

/// Serves the admin plane, and its probes where they have an address of their own.
fn serve_admin(
    admin: TcpListener,
    health: Option<TcpListener>,
    (shown, gate): (Admin, Arc<Gate>),
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let health = health.map(|on| (on, http::admin::health(shown.clone())));
    let all = std::iter::once((admin, http::admin::router(shown, gate))).chain(health);
    let serve = |(on, router)| {
        let service = TowerToHyperService::new(router);
        tokio::spawn(http::serve(on, service, Sockets::new(stop.clone()), ADMIN_DRAIN))
    };
    all.map(serve).collect()
}

/// Waits until everything that is stored can be found.
async fn loaded(store: &Store) {
    let store = store.clone();
    if tokio::task::spawn_blocking(move || store.wait_loaded()).await.is_err() {
        tracing::error!("the stored exchanges could not be opened");
    }
}

/// The command line may open the admin plane after the file was checked.
fn admitted(config: &Config) -> Result<()> {
    if config.admin.ip().is_loopback() || !matches!(config.admission, Admission::Local) {
        return Ok(());
    }
    let what = format!(
        "the admin plane on {} would show prompts and answers to other machines: set admin_token, \
         or listen on 127.0.0.1",
        config.admin
    );
    Err(Error::new(Kind::Config, what))
}

/// Starts the recorder's thread.
fn write(writer: Writer) -> Result<thread::JoinHandle<()>> {
    let started = thread::Builder::new().name("recorder".into()).spawn(move || writer.run());
    started.map_err(|e| Error::new(Kind::Internal, format!("starting the recorder: {e}")))
}

/// The listeners, bound before anything else so that a taken port is the first thing told.
struct Ports {
    data: TcpListener,
    admin: TcpListener,
    health: Option<TcpListener>,
}

impl Ports {
    async fn bind(config: &Config) -> Result<Self> {
        let health = match config.health {
            Some(address) => Some(bind("health", address).await?),
            None => None,
        };
        let (data, admin) = (bind("listen", config.listen), bind("admin", config.admin));
        Ok(Self { data: data.await?, admin: admin.await?, health })
    }
}

fn open(config: &Config) -> Result<Store> {
    let opened = Store::open_with(&config.data_dir, &Keys::new(&config.encryption_keys))?;
    if let Some(damage) = opened.damage {
        tracing::error!(
            moved_to = %damage.aside.display(), why = damage.why, rescued = damage.rescued,
            "the data directory was damaged: it is kept aside, and what could be read of it is used"
        );
    }
    if opened.dropped > 0 {
        tracing::error!(
            dropped = opened.dropped,
            "the disk is full: the oldest exchanges were dropped to make room; lower \
             cache.max_bytes or give the data directory more"
        );
    }
    opened.store.limit(config.cache.max_bytes);
    // From here on a loss is a new one.
    opened.store.mark()?;
    Ok(opened.store)
}

/// Starts those who watch beside the answers: files, scores, live answers and sentinels.
fn watch(
    vigil: &Arc<Vigil>,
    board: &Arc<Board>,
    served: mpsc::Receiver<Served>,
) -> [JoinHandle<()>; 6] {
    let (director, metrics) = (vigil.director.clone(), vigil.metrics.clone());
    let pings = ping::follow(vigil.scenes.clone(), metrics.clone());
    let prices = feed::follow(director.clone(), vigil.scenes.clone(), metrics.clone());
    let guardian = Guardian { board: board.clone(), director: director.clone(), metrics };
    [
        tokio::spawn(director.clone().follow_files()),
        tokio::spawn(director.follow_scores()),
        tokio::spawn(guardian.run(served)),
        tokio::spawn(vigil.clone().run()),
        tokio::spawn(prices),
        tokio::spawn(pings),
    ]
}

/// What the admin plane shows of those who answer.
fn shown(front: &Front, vigil: &Arc<Vigil>, stop: CancellationToken) -> Admin {
    Admin {
        director: vigil.director.clone(),
        vigil: vigil.clone(),
        board: front.board.clone(),
        metrics: front.metrics.clone(),
        library: front.library.clone(),
        store: vigil.store.clone(),
        recorder: front.recorder.clone(),
        max_bytes: front.config.cache.max_bytes,
        stop,
    }
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                ": another program has this port; stop it or choose another one"
            }
            std::io::ErrorKind::PermissionDenied => ": choose a port above 1023",
            _ => "",
        };
        let what = format!("cannot listen on {address} (`{key}`): {error}{remedy}");
        Error::new(Kind::Config, what)
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|e| Error::new(Kind::Internal, format!("no local address: {e}")))
}
