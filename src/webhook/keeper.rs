//! Keeps the authority and the certificate in a Secret, and tells the API server whom to trust.
//!
//! Replicas share the Secret: each change names the version it was made from, so one of them wins
//! and the others read what it wrote.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use serde_json::json;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::metrics::webhook::Metrics;
use crate::secrets::kubernetes::Cluster;
use crate::secrets::kubernetes::Written;
use crate::webhook::certificate::Certificate;
use crate::webhook::kept::Due;
use crate::webhook::kept::Kept;
use crate::webhook::presented::Presented;

/// Between two rounds, where all is well.
const ROUND: Duration = Duration::from_secs(60);

/// The least and the most time until another try.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

/// How often a round reads again because somebody else wrote first, and how many changes it makes
/// at once.
const TRIES: usize = 5;

/// The names of things in the cluster.
#[derive(Clone, Debug)]
pub struct Names {
    /// Of Service and Secret.
    pub namespace: String,
    /// The Service that leads here.
    pub service: String,
    /// The Secret.
    pub secret: String,
    /// The MutatingWebhookConfiguration.
    pub configuration: String,
}

impl Names {
    /// What the certificate is for.
    pub fn dns(&self) -> Vec<String> {
        let host = format!("{}.{}.svc", self.service, self.namespace);
        vec![host.clone(), host + ".cluster.local"]
    }

    fn secrets(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.namespace)
    }

    fn secret(&self) -> String {
        format!("{}/{}", self.secrets(), self.secret)
    }

    fn configuration(&self) -> String {
        let group = "/apis/admissionregistration.k8s.io/v1";
        format!("{group}/mutatingwebhookconfigurations/{}", self.configuration)
    }
}

/// Keeps one certificate.
pub struct Keeper {
    cluster: Cluster,
    names: Names,
    presented: Arc<Presented>,
    metrics: Arc<Metrics>,
    /// The successor that the configuration is seen to trust, and since when.
    trusted: Mutex<Option<(CertificateDer<'static>, Timestamp)>>,
}

/// How a round ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// All is as it should be.
    Settled,
    /// Somebody else was faster: look again soon.
    Again,
}

impl Keeper {
    /// Shows nothing yet.
    pub fn new(
        cluster: Cluster,
        names: Names,
        presented: Arc<Presented>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { cluster, names, presented, metrics, trusted: Mutex::default() }
    }

    /// Goes round for ever; what fails is tried again, and what is shown stays meanwhile.
    pub async fn run(self) {
        let (mut failures, mut told) = (0_u32, None);
        loop {
            let round = self.round(Timestamp::now()).await;
            self.metrics.looked(if round.is_ok() { "good" } else { "failed" });
            let pause = match round {
                Ok(round) => {
                    if failures > 0 {
                        tracing::info!("certificate and configuration are in order again");
                    }
                    (failures, told) = (0, None);
                    if round == Round::Settled { ROUND } else { LEAST }
                }
                Err(error) => {
                    let shown = self.presented.is_ready();
                    if told.as_ref() != Some(&error) {
                        tracing::error!(%error, shown, "not in order: it is tried again");
                    }
                    told = Some(error);
                    failures = failures.saturating_add(1);
                    (LEAST * (1 << failures.min(6))).min(MOST)
                }
            };
            // Replicas do not come all at once.
            tokio::time::sleep(pause.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        }
    }

    /// Looks once at everything, and puts in order what is not as it should be at `now`.
    ///
    /// # Errors
    /// The API cannot be reached or refuses, or the Secret is somebody else's.
    pub async fn round(&self, now: Timestamp) -> Result<Round> {
        // Read before the Secret: if it is unchanged when it is written, nobody has told it anything
        // newer than what the Secret says here.
        let configuration = self.cluster.get(&self.names.configuration()).await;
        let trusting = configuration.as_ref().ok().and_then(Option::as_ref);
        let Some(kept) = self.kept(trusting, now).await? else { return Ok(Round::Again) };
        self.presented.show(kept.pair.certificate.pem().as_bytes(), &kept.pair.key)?;
        self.metrics.certificate_ends(kept.pair.certificate.ends);
        self.metrics.authority_ends(kept.authority.certificate.ends);
        let configuration = configuration?.ok_or_else(|| {
            let what = format!(
                "there is no MutatingWebhookConfiguration {}: install it, or name another",
                self.names.configuration
            );
            Error::new(Kind::NotFound, what)
        })?;
        self.tell(&configuration, &kept.bundle()).await
    }

    /// What the Secret holds once it is as it should be; none if others keep writing first.
    async fn kept(&self, trusting: Option<&Value>, now: Timestamp) -> Result<Option<Kept>> {
        let names = self.names.dns();
        for _ in 0..TRIES {
            let secret = self.cluster.get(&self.names.secret()).await?;
            let held = secret.as_ref().map(|secret| self.read(secret)).transpose()?.flatten();
            let trusted = held.as_ref().and_then(|held| self.trusted(held, trusting, now));
            let mut changes = Vec::new();
            let mut kept = match held {
                Some(held) => held,
                None => {
                    changes.push(Due::Beginning);
                    Kept::begin(&names, now)?
                }
            };
            while let Some(due) = kept.due(&names, trusted, now)
                && changes.len() < TRIES
            {
                kept = kept.change(due, &names, now)?;
                changes.push(due);
            }
            if changes.is_empty() {
                return Ok(Some(kept));
            }
            if self.write(secret, &kept).await? == Written::Done {
                for change in changes.into_iter().map(Due::as_str) {
                    tracing::info!(change, secret = self.names.secret, "the Secret has changed");
                    self.metrics.changed(change);
                }
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// What a Secret says; none if it is empty, or damaged.
    fn read(&self, secret: &Value) -> Result<Option<Kept>> {
        let Some(data) = secret.get("data").filter(|data| data["tls.crt"].is_string()) else {
            return Ok(None);
        };
        if data["ca.key"].is_null() {
            let what = format!(
                "the Secret {} holds a certificate from elsewhere: name another by --secret, or \
                 mount it and use --tls-cert",
                self.names.secret
            );
            return Err(Error::new(Kind::Config, what));
        }
        let kept = Kept::read(data);
        if kept.is_none() {
            tracing::warn!(secret = self.names.secret, "the Secret is damaged: it is made anew");
        }
        Ok(kept)
    }

    /// Since when the configuration has been seen to trust the successor.
    fn trusted(&self, kept: &Kept, trusting: Option<&Value>, now: Timestamp) -> Option<Timestamp> {
        let successor = kept.successor.as_ref().map(|successor| &successor.certificate);
        let pem = successor.map(Certificate::pem);
        let entries = trusting.map(|configuration| self.entries(configuration)).unwrap_or_default();
        let tells = |entry: &Entry| pem.as_ref().is_some_and(|pem| entry.bundle.contains(pem));
        let is_trusted = !entries.is_empty() && entries.iter().all(tells);
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        let successor = successor.filter(|_| is_trusted).map(|successor| successor.der.clone());
        let since = trusted.take().filter(|(der, _)| Some(der) == successor.as_ref());
        *trusted = successor.map(|der| since.unwrap_or((der, now)));
        trusted.as_ref().map(|(_, since)| *since)
    }

    /// Writes the Secret, which keeps whatever else there is about it.
    async fn write(&self, secret: Option<Value>, kept: &Kept) -> Result<Written> {
        match secret {
            Some(mut secret) => {
                secret["data"] = kept.data();
                self.cluster.put(&self.names.secret(), &secret).await
            }
            None => {
                let metadata = json!({
                    "name": self.names.secret, "namespace": self.names.namespace,
                    "labels": {"app.kubernetes.io/managed-by": "understudy-webhook"},
                });
                let secret = json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                    "metadata": metadata, "data": kept.data(),
                });
                self.cluster.post(&self.names.secrets(), &secret).await
            }
        }
    }

    /// Tells the configuration whom to trust, where it says anything else.
    async fn tell(&self, configuration: &Value, bundle: &str) -> Result<Round> {
        let entries = self.entries(configuration);
        if entries.is_empty() {
            let Names { namespace, service, configuration, .. } = &self.names;
            let what = format!(
                "no webhook of {configuration} leads to the Service {service} in {namespace}: \
                 name the right ones by --configuration, --service and --namespace"
            );
            return Err(Error::new(Kind::Config, what));
        }
        let wrong = entries.iter().filter(|entry| entry.bundle != bundle);
        let encoded = STANDARD.encode(bundle);
        let told =
            |entry: &Entry| json!({"name": entry.name, "clientConfig": {"caBundle": encoded}});
        let told: Vec<Value> = wrong.map(told).collect();
        if told.is_empty() {
            return Ok(Round::Settled);
        }
        let version = &configuration["metadata"]["resourceVersion"];
        let part = json!({"metadata": {"resourceVersion": version}, "webhooks": told});
        let written = self.cluster.patch(&self.names.configuration(), &part).await?;
        if written == Written::Conflict {
            return Ok(Round::Again);
        }
        self.metrics.changed("bundle");
        tracing::info!(
            configuration = self.names.configuration,
            "the API server is told whom to trust"
        );
        Ok(Round::Settled)
    }

    /// The webhooks of a configuration that lead here.
    fn entries(&self, configuration: &Value) -> Vec<Entry> {
        let all = configuration["webhooks"].as_array().into_iter().flatten();
        let ours = all.filter(|webhook| {
            let service = &webhook["clientConfig"]["service"];
            service["name"] == self.names.service && service["namespace"] == self.names.namespace
        });
        let entry = |webhook: &Value| {
            let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
            let bundle = STANDARD.decode(bundle).unwrap_or_default();
            Some(Entry {
                name: webhook["name"].as_str()?.to_owned(),
                bundle: String::from_utf8_lossy(&bundle).into_owned(),
            })
        };
        ours.filter_map(entry).collect()
    }
}

/// A webhook that leads here.
struct Entry {
    name: String,
    /// Whom the API server trusts there, PEM.
    bundle: String,
}
