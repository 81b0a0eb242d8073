//! `understudy webhook`: injects sidecars into pods as they are created, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::logs::Logs;

/// Options of `understudy webhook`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where the API server asks, over TLS, at /mutate
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// Where probes and Prometheus ask, in plain HTTP: /livez, /readyz, /metrics
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:4102")]
    health: SocketAddr,
    /// The Service that leads here: the certificate is for NAME.NAMESPACE.svc
    #[arg(long, value_name = "NAME", default_value = "understudy-webhook")]
    service: String,
    /// Where the Service and the Secret are [default: the pod's own]
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    namespace: Option<String>,
    /// The Secret that keeps the authority and the certificate; made where there is none
    #[arg(long, value_name = "NAME", default_value = "understudy-webhook-tls")]
    secret: String,
    /// The MutatingWebhookConfiguration that is told whom to trust
    #[arg(long, value_name = "NAME", default_value = "understudy")]
    configuration: String,
    /// A certificate from elsewhere, for example cert-manager, PEM; read again when it changes.
    /// Nothing is then asked of the Kubernetes API
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The Kubernetes API [default: https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT]
    #[arg(long, value_name = "URL")]
    api_server: Option<String>,
    /// The service account's folder: token, ca.crt and namespace
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount"
    )]
    account: PathBuf,
    /// After SIGTERM, how many seconds reviews are still taken, until nobody is sent here any more
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    linger: u64,
    #[command(flatten)]
    logs: Logs,
}
