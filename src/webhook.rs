//! The admission webhook that gives pods their sidecar as they are created.
//!
//! **What it does.** `POST /mutate` over TLS takes an AdmissionReview v1 of up to 4 MiB and answers
//! `allowed: true` with a JSON patch, or with warnings. It keeps no state of pods, so replicas need
//! not know each other, a review may come twice, and dry runs are reviews like any other. The
//! `--health` listener answers `/livez`, `/readyz` (200 once there is a certificate, 503 from
//! SIGTERM on) and `/metrics` in plain HTTP.
//!
//! **Certificates.** By default it is its own authority. The Secret `--secret` keeps `ca.crt`,
//! `ca.key`, `tls.crt` and `tls.key`, while authorities change also `next-ca.crt`, `next-ca.key`
//! and `former-ca.crt`. Certificates are for `SERVICE.NAMESPACE.svc` and
//! `SERVICE.NAMESPACE.svc.cluster.local`, live for 7 days and are replaced in the last third; the
//! authority lives for a year and gets its successor 60 days before its end. Each minute a replica
//! reads the Secret, changes what is due, and sets `caBundle` of every webhook of `--configuration`
//! that leads to the Service; leave that field out of what is installed. To trust nobody of today any
//! more, remove the Secret's `data`: a new authority is made within a minute, and a replica that
//! hears of it later is refused until it does.
//! With `--tls-cert` and `--tls-key` nothing is asked of the Kubernetes API: whoever writes those
//! files, for example cert-manager, sets `caBundle` too. Files are read again when they change.
//!
//! **Rights** of its service account, for its own authority only: in its namespace a Role with `get`
//! and `update` on the Secret `--secret`, and where no empty Secret is installed, `create` on
//! `secrets`, which cannot be limited to a name; a ClusterRole with `get` and `patch` on the
//! MutatingWebhookConfiguration `--configuration`. It needs its token mounted.
//!
//! **Shutdown.** From SIGTERM it takes reviews for `--linger` more seconds (5), while endpoints are
//! withdrawn, then finishes those under way for at most 10: `terminationGracePeriodSeconds` of 20
//! is enough.

pub mod authority;
pub mod certificate;
pub mod given;
pub mod keeper;
pub mod kept;
pub mod presented;
pub mod review;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::http;
use crate::http::socket::Sockets;
use crate::metrics::webhook::Metrics;
use crate::sidecar::Settings;
use crate::webhook::presented::Presented;
use crate::webhook::presented::Secured;
use crate::webhook::serve::Desk;
use crate::webhook::serve::Probed;

/// How long reviews under way may take when the process ends.
const DRAIN: Duration = Duration::from_secs(10);

/// How long a probe may keep a process that has ended its work.
const PROBE_DRAIN: Duration = Duration::from_secs(1);

/// What a webhook is made of.
pub struct Parts {
    /// Where the API server asks.
    pub listen: SocketAddr,
    /// Where probes ask.
    pub health: SocketAddr,
    /// What pods get.
    pub settings: Settings,
    /// The certificate, which somebody else keeps.
    pub presented: Arc<Presented>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// A webhook that answers.
pub struct Webhook {
    /// Where the API server asks.
    pub listen: SocketAddr,
    /// Where probes ask.
    pub health: SocketAddr,
    leaving: CancellationToken,
    stop: CancellationToken,
    stop_probes: CancellationToken,
    reviews: JoinHandle<()>,
    probes: JoinHandle<()>,
}

impl Webhook {
    /// Binds the ports and answers; without a certificate no connection comes about yet.
    ///
    /// # Errors
    /// A port is taken, or TLS cannot start.
    pub async fn start(parts: Parts) -> Result<Self> {
        let reviews = bind("--listen", parts.listen).await?;
        let probes = bind("--health", parts.health).await?;
        let (listen, health) = (address(&reviews)?, address(&probes)?);
        let secured = Secured::new(parts.presented.clone())?;
        let [leaving, stop, stop_probes] = [(); 3].map(|()| CancellationToken::new());
        let desk = Desk::new(parts.settings, parts.metrics.clone());
        let service = TowerToHyperService::new(serve::reviews(desk));
        let sockets = Sockets::new(stop.clone());
        let reviews = tokio::spawn(http::serve_greeted(reviews, secured, service, sockets, DRAIN));
        let Parts { presented, metrics, .. } = parts;
        let probed = Probed { presented, metrics, leaving: leaving.clone() };
        let service = TowerToHyperService::new(serve::probes(probed));
        let sockets = Sockets::new(stop_probes.clone());
        let probes = tokio::spawn(http::serve(probes, service, sockets, PROBE_DRAIN));
        Ok(Self { listen, health, leaving, stop, stop_probes, reviews, probes })
    }

    /// Is not ready any more, takes reviews for as long as `linger`, finishes them, ends.
    pub async fn stop(self, linger: Duration) {
        self.leaving.cancel();
        tokio::time::sleep(linger).await;
        self.stop.cancel();
        let _ = self.reviews.await;
        self.stop_probes.cancel();
        let _ = self.probes.await;
    }
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let what = format!("cannot listen on {address} ({flag}): {error}; choose another");
        Error::new(Kind::Config, what)
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|e| Error::new(Kind::Internal, format!("no local address: {e}")))
}
