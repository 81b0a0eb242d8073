//! Sends copies of requests to other variants, out of the application's sight.

pub mod bucket;
pub mod pause;

use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::chat::DialectName;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Variant;
use crate::pair::Half;
use crate::pair::Origin;
use crate::recorder::Record;
use crate::recorder::Recorder;
use crate::recorder::ShadowJob;
use crate::scene;
use crate::scene::Scene;
use crate::scene::Scenes;
use crate::store::Store;
use crate::upstream::Call;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::pump::Account;
use crate::upstream::pump::Ended;
use crate::upstream::pump::Flow;
use crate::upstream::pump::Terms;
use crate::upstream::way::Way;
use crate::wire::InPath;

/// What shadow calls need; they share nothing with the application's own.
pub struct Shadow {
    /// The definitions, and the way out.
    pub scenes: Scenes,
    /// Where the requests to copy are.
    pub store: Store,
    /// Where answers go.
    pub recorder: Recorder,
}

impl Shadow {
    /// Works off jobs, a bounded number at once, until the queue closes.
    pub async fn run(self: Arc<Self>, mut jobs: mpsc::Receiver<ShadowJob>) {
        let slots =
            Arc::new(Semaphore::new(scene::now(&self.scenes).config.limits.shadow_concurrency));
        while let Some(job) = jobs.recv().await {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let shadow = self.clone();
            tokio::spawn(async move {
                let id = job.id;
                // A panic in one job must not leave its pair open for ever.
                let work = tokio::spawn({
                    let shadow = shadow.clone();
                    async move { shadow.ask(&job).await }
                });
                let record = work.await.unwrap_or(Record::NoHalf { id, reason: "shadow_panicked" });
                shadow.recorder.deliver(record).await;
                drop(slot);
            });
        }
    }

    async fn ask(&self, job: &ShadowJob) -> Record {
        let id = job.id;
        let scene = scene::now(&self.scenes);
        let experiment = scene.config.experiments.iter().find(|e| e.name == job.head.experiment);
        let variant = experiment.and_then(|experiment| experiment.variant(&job.variant));
        let Some(variant) = variant else {
            return Record::NoHalf { id, reason: "variant_gone" };
        };
        match self.answer(&scene, job, variant).await {
            Ok((account, sent_to)) => half(job, account, sent_to),
            Err(error) => {
                match error.kind {
                    Kind::NotFound => tracing::debug!(pair = %id, %error, "no shadow call"),
                    _ => {
                        let target = &variant.target;
                        tracing::warn!(pair = %id, %target, %error, "shadow call failed");
                    }
                }
                let reason = match error.kind {
                    Kind::Timeout => "shadow_timeout",
                    Kind::Connect => "shadow_unreachable",
                    Kind::Status(_) => "shadow_status",
                    _ => "shadow_failed",
                };
                Record::NoHalf { id, reason }
            }
        }
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
        let request = dialect.read_head(intent.request, in_path)?;
        let patch = Some(&variant.patch).filter(|patch| !patch.is_empty());
        let provider = config.providers.get(&variant.target.provider).ok_or_else(|| {
            Error::new(Kind::Config, format!("the provider of {} is gone", variant.target))
        })?;
        let model = &variant.target.model;
        let outgoing = Outgoing::write(&request, dialect, provider, model, patch, true)?;
        let mut headers = HeaderMap::new();
        let usable = |provider: &str| provider == variant.target.provider;
        if let Some(credential) = job.credential.as_ref().filter(|c| usable(&c.provider)) {
            headers.insert(credential.name, credential.value.clone());
        }
        let timeouts = config.timeouts;
        let call = Call { target: &variant.target, outgoing, headers: &headers, timeouts };
        let opened = scene.upstream.send_once(call).await?;
        if !opened.status.is_success() {
            let status = opened.status.as_u16();
            let detail = format!("{} answered with status {status}", variant.target);
            return Err(Error::new(Kind::Status(status), detail));
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
        Ended::ClientLeft => "shadow_stopped",
    };
    Record::NoHalf { id, reason }
}
