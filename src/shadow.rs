//! Sends copies of requests to other variants, out of the application's sight.

pub mod pause;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use http::HeaderMap;
use http::HeaderValue;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::bucket::Bucket;
use crate::bucket::Size;
use crate::chat::DialectName;
use crate::cost::Line;
use crate::cost::Purpose;
use crate::cost::Sums;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment;
use crate::experiment::Experiment;
use crate::experiment::Target;
use crate::experiment::Variant;
use crate::pair::Half;
use crate::pair::Origin;
use crate::recorder::Record;
use crate::recorder::Recorder;
use crate::recorder::ShadowJob;
use crate::recorder::writer::pairs::find;
use crate::retry;
use crate::scene;
use crate::scene::Scene;
use crate::scene::Scenes;
use crate::shadow::pause::Pauses;
use crate::store::Store;
use crate::upstream::Call;
use crate::upstream::ended::Account;
use crate::upstream::ended::Ended;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::pump::Flow;
use crate::upstream::pump::Terms;
use crate::upstream::way::Way;
use crate::wire::InPath;

/// Tells a provider that a request is a copy.
const MARK: &str = "x-understudy-shadow";

/// How often a patient copy is sent.
const ATTEMPTS: u32 = 6;

/// Half of the wait before a patient copy is sent for the second time; it doubles.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What shadow calls need; they share nothing with the application's own.
pub struct Shadow {
    /// The definitions, and the way out.
    pub scenes: Scenes,
    /// Where the requests to copy are.
    pub store: Store,
    /// Where answers go.
    pub recorder: Recorder,
    /// How soon the next copy may be sent.
    bucket: Mutex<Bucket>,
    /// Whom nothing is sent for a while.
    pauses: Mutex<Pauses>,
    /// How often a copy is sent before it is given up.
    attempts: u32,
}

impl Shadow {
    /// Nothing sent yet; beside live traffic a copy that fails is not sent again.
    pub fn new(scenes: Scenes, store: Store, recorder: Recorder) -> Self {
        let (bucket, pauses) = (Mutex::default(), Mutex::default());
        Self { scenes, store, recorder, bucket, pauses, attempts: 1 }
    }

    /// Where nothing else wants the target: waits until a pause is over, and sends a copy again
    /// when the target was only unwell.
    pub fn patient(self) -> Self {
        Self { attempts: ATTEMPTS, ..self }
    }

    /// Works off jobs, a bounded number at once and in a second, until the queue closes.
    pub async fn run(self: Arc<Self>, mut jobs: mpsc::Receiver<ShadowJob>) {
        let places = scene::now(&self.scenes).config.shadowing.concurrency;
        let slots = Arc::new(Semaphore::new(places.max(1)));
        while let Some(job) = jobs.recv().await {
            if self.is_patient() {
                self.wait_for_pause(&job).await;
            }
            if let Err(reason) = self.may_ask(&job, &scene::now(&self.scenes)) {
                self.tell(&job, Some(0), nothing(&job, reason)).await;
                continue;
            }
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            self.wait_for_rate().await;
            let shadow = self.clone();
            tokio::spawn(async move {
                // A panic in one job must not leave its pair open for ever.
                let work = tokio::spawn({
                    let (shadow, job) = (shadow.clone(), job.clone());
                    async move { shadow.ask_patiently(&job).await }
                });
                let (cost, record) =
                    work.await.unwrap_or_else(|_| (None, nothing(&job, "shadow_panicked")));
                shadow.tell(&job, cost, record).await;
                drop(slot);
            });
        }
    }

    fn is_patient(&self) -> bool {
        self.attempts > 1
    }

    /// As [`Self::ask`], as often as it may be sent.
    async fn ask_patiently(&self, job: &ShadowJob) -> (Option<u64>, Record) {
        let mut is_known = true;
        for attempt in 1.. {
            if self.is_patient() {
                self.wait_for_pause(job).await;
            }
            let (cost, record, may_retry) = self.ask(job).await;
            // What an attempt without an answer cost may have been all that was set aside.
            is_known &= cost.is_some();
            if attempt >= self.attempts || !may_retry {
                return (cost.filter(|_| is_known), record);
            }
            tokio::time::sleep(AGAIN_AFTER * (1 << attempt)).await;
        }
        (None, nothing(job, "shadow_failed"))
    }

    async fn wait_for_pause(&self, job: &ShadowJob) {
        loop {
            let scene = scene::now(&self.scenes);
            let found = find(&scene.config, &job.head.experiment, &job.variant);
            let target = found.map(|(_, variant)| &variant.target);
            let left = target.and_then(|target| self.pauses().left(target, Instant::now()));
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => return,
            }
        }
    }

    /// What it cost comes first, so that whoever sees the half finds it paid.
    async fn tell(&self, job: &ShadowJob, cost: Option<u64>, record: Record) {
        let (experiment, reserved) = (job.head.experiment.clone(), job.reserved);
        self.recorder.deliver(Record::Spent { experiment, reserved, cost }).await;
        self.recorder.deliver(record).await;
    }

    /// Waits until the rate allows one more copy; what waits behind it is bounded by the queue.
    async fn wait_for_rate(&self) {
        loop {
            let rate = scene::now(&self.scenes).config.shadowing.rate;
            match self.wait(rate) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return,
            }
        }
    }

    fn wait(&self, rate: Option<f64>) -> Option<Duration> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(1.0, Size::per_second(rate?)?, Instant::now())
    }

    /// The variant to ask, or the short stable word for why it is not asked.
    fn may_ask<'s>(
        &self,
        job: &ShadowJob,
        scene: &'s Scene,
    ) -> std::result::Result<(&'s Experiment, &'s Variant), &'static str> {
        let found = find(&scene.config, &job.head.experiment, &job.variant);
        let (experiment, variant) = found.ok_or("variant_gone")?;
        if experiment.standing.halted.contains(&job.variant) {
            return Err("candidate_halted");
        }
        // What is stored would ask the candidate something else than the application asked.
        if job.head.is_redacted && job.original.is_none() {
            return Err("original_gone");
        }
        match self.pauses().is_paused(&variant.target, Instant::now()) {
            true => Err("shadow_paused"),
            false => Ok((experiment, variant)),
        }
    }

    /// What a copy cost, as far as that is known, its half of the pair, and whether there may be
    /// one if it is sent again.
    async fn ask(&self, job: &ShadowJob) -> (Option<u64>, Record, bool) {
        let scene = scene::now(&self.scenes);
        // A place may have come free long after the job was taken.
        let (_, variant) = match self.may_ask(job, &scene) {
            Ok(found) => found,
            Err(reason) => {
                return (Some(0), nothing(job, reason), reason == "shadow_paused");
            }
        };
        match self.answer(&scene, job, variant).await {
            Ok((account, sent_to)) => {
                let (usage, model) = (account.answer.usage, account.answer.model.as_deref());
                let prices = &scene.config.prices;
                let cost = usage.and_then(|u| prices.cost_of(&variant.target, model, &u));
                let line = Line {
                    experiment: experiment::name_of(&job.head.experiment).to_owned(),
                    variant: job.variant.clone(),
                    ..Line::of(&variant.target, Purpose::Shadow)
                };
                self.recorder.book(line, &Sums::call(usage.as_ref(), cost));
                let is_cut = matches!(account.ended, Ended::Cut(_));
                if is_cut {
                    self.failed(&variant.target, &HeaderMap::new());
                } else {
                    self.pauses().succeeded(&variant.target);
                }
                (cost, half(job, account, sent_to), is_cut)
            }
            Err(error) => {
                let (pair, target) = (job.id, &variant.target);
                match error.kind {
                    Kind::NotFound => tracing::debug!(%pair, %error, "no shadow call"),
                    _ => tracing::warn!(%pair, %target, %error, "shadow call failed"),
                }
                let (cost, reason) = match error.kind {
                    Kind::Timeout => (None, "shadow_timeout"),
                    Kind::Connect => (Some(0), "shadow_unreachable"),
                    Kind::Busy => (Some(0), "shadow_limited"),
                    Kind::Status(_) => (Some(0), "shadow_status"),
                    Kind::NotFound | Kind::Config | Kind::BadRequest => (Some(0), "shadow_failed"),
                    _ => (None, "shadow_failed"),
                };
                (cost, nothing(job, reason), error.may_retry())
            }
        }
    }

    /// A target failed: it is not asked the same again, and perhaps nothing for a while.
    fn failed(&self, target: &Target, headers: &HeaderMap) {
        let asked = retry::wait_in(headers, jiff::Timestamp::now().as_millisecond());
        if let Some(pause) = self.pauses().failed(target, asked, Instant::now()) {
            tracing::warn!(%target, ?pause, "no copies are sent there for a while");
        }
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(
        &self,
        scene: &Scene,
        job: &ShadowJob,
        variant: &Variant,
    ) -> Result<(Account, String)> {
        let config = &scene.config;
        let dialect =
            DialectName::parse(&job.head.dialect).unwrap_or(DialectName::OpenAi).dialect();
        let (store, id) = (self.store.clone(), job.id);
        let intent = tokio::task::spawn_blocking(move || store.intent(id)).await;
        let intent = intent.ok().flatten().ok_or_else(|| {
            Error::new(Kind::NotFound, "the pair was given up before its copy was sent")
        })?;
        let in_path = job.head.in_path.clone().map(|(model, stream)| InPath { model, stream });
        let asked = job.original.as_ref().map_or(intent.request, |it| it.request.clone());
        let request = dialect.read_head(asked, in_path)?;
        let provider = config.providers.get(&variant.target.provider).ok_or_else(|| {
            Error::new(Kind::Config, format!("the provider of {} is gone", variant.target))
        })?;
        let model = &variant.target.model;
        let outgoing = Outgoing::write(&request, dialect, provider, model, Some(variant), true)?;
        let mut headers = HeaderMap::new();
        let usable = |provider: &str| provider == variant.target.provider;
        if let Some(credential) = job.credential.as_ref().filter(|c| usable(&c.provider)) {
            headers.insert(credential.name, credential.value.clone());
        }
        if config.shadowing.header {
            headers.insert(MARK, HeaderValue::from_static("1"));
        }
        let timeouts = config.timeouts;
        let call = Call { target: &variant.target, outgoing, headers: &headers, timeouts };
        let opened = scene.upstream.send_copy(call).await.inspect_err(|error| {
            if error.may_retry() {
                self.failed(&variant.target, &HeaderMap::new());
            }
        })?;
        if !opened.status.is_success() {
            let status = opened.status.as_u16();
            let detail = format!("{} answered with status {status}", variant.target);
            let error = Error::new(Kind::Status(status), detail);
            if error.may_retry() {
                self.failed(&variant.target, &opened.headers);
            }
            return Err(error);
        }
        let terms = Terms {
            dialect: opened.dialect.dialect(),
            way: Way::Untouched,
            is_stream: opened.is_event_stream(),
            max_kept_bytes: config.limits.max_answer_bytes,
            must_finish: true,
        };
        let (done, account) = oneshot::channel();
        let mut flow = Flow::new(opened, terms, Box::new(move |account| drop(done.send(account))));
        while flow.next().await.is_some() {}
        let account = account
            .await
            .map_err(|_| Error::new(Kind::Internal, "an answer ended without an account"))?;
        Ok((account, variant.target.to_string()))
    }
}

fn half(job: &ShadowJob, account: Account, target: String) -> Record {
    let id = job.id;
    let reason = match account.ended {
        Ended::Whole => {
            let half = Half {
                variant: job.variant.clone(),
                target,
                origin: Origin::Shadow,
                first_us: account.pieces.first().map_or(account.took_us, |piece| piece.at_us),
                took_us: account.took_us,
                answer: account.answer,
            };
            return Record::Half { id, half: Box::new(half) };
        }
        Ended::Unfinished => "shadow_unfinished",
        Ended::Cut(_) => "shadow_cut",
        Ended::TooLarge => "shadow_too_large",
        Ended::ClientLeft | Ended::Stopped => "shadow_stopped",
    };
    nothing(job, reason)
}

fn nothing(job: &ShadowJob, reason: &'static str) -> Record {
    Record::NoHalf { id: job.id, variant: job.variant.clone(), reason }
}
