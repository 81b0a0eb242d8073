//! `understudy webhook`: injects sidecars into pods as they are created, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::cli::inject::Sidecar;
use crate::cli::logs::Logs;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::metrics::webhook::Metrics;
use crate::secrets::kubernetes::Cluster;
use crate::webhook::Parts;
use crate::webhook::Webhook;
use crate::webhook::given;
use crate::webhook::given::Given;
use crate::webhook::keeper::Keeper;
use crate::webhook::keeper::Names;
use crate::webhook::presented::Presented;

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
    sidecar: Sidecar,
    #[command(flatten)]
    logs: Logs,
}

/// Answers until SIGTERM or SIGINT, then finishes what is under way.
///
/// # Errors
/// A flag is wrong, a port is taken, or nothing says where the Kubernetes API is.
pub async fn run(args: Args) -> Result<ExitCode> {
    let settings = args.sidecar.settings()?;
    let (presented, metrics) = (Arc::new(Presented::default()), Arc::new(Metrics::new()));
    let kept = kept(&args, &presented, &metrics)?;
    args.logs.start()?;
    let failed = |error| Error::new(Kind::Internal, format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (listen, health) = (args.listen, args.health);
    let parts =
        Parts { listen, health, settings, presented: presented.clone(), metrics: metrics.clone() };
    let webhook = Webhook::start(parts).await?;
    let keeping = match kept {
        Certificate::Own(keeper) => tokio::spawn(keeper.run()),
        Certificate::Given(given) => tokio::spawn(given::follow(given, presented, metrics)),
    };
    tracing::info!(listen = %webhook.listen, health = %webhook.health, "serving");
    let linger = tokio::select! {
        _ = terminate.recv() => Duration::from_secs(args.linger),
        _ = interrupt.recv() => Duration::ZERO,
    };
    tracing::info!(?linger, "stopping: reviews may finish; a second signal ends at once");
    tokio::select! {
        () = webhook.stop(linger) => {}
        _ = terminate.recv() => return Ok(ExitCode::FAILURE),
        _ = interrupt.recv() => return Ok(ExitCode::FAILURE),
    }
    keeping.abort();
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Where the certificate comes from.
enum Certificate {
    Own(Keeper),
    Given(Given),
}

fn kept(args: &Args, presented: &Arc<Presented>, metrics: &Arc<Metrics>) -> Result<Certificate> {
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        return Ok(Certificate::Given(Given {
            certificate: certificate.clone(),
            key: key.clone(),
        }));
    }
    let names = Names {
        namespace: namespace(args)?,
        service: args.service.clone(),
        secret: args.secret.clone(),
        configuration: args.configuration.clone(),
    };
    let cluster = Cluster::new(&api_server(args)?, args.account.clone());
    Ok(Certificate::Own(Keeper::new(cluster, names, presented.clone(), metrics.clone())))
}

fn namespace(args: &Args) -> Result<String> {
    if let Some(namespace) = &args.namespace {
        return Ok(namespace.clone());
    }
    let path = args.account.join("namespace");
    let unknown = |error: std::io::Error| {
        let what = format!("{} cannot be read, {}: give --namespace", path.display(), error.kind());
        Error::new(Kind::BadRequest, what)
    };
    Ok(std::fs::read_to_string(&path).map_err(unknown)?.trim().to_owned())
}

/// Where Kubernetes tells every pod that its API is.
fn api_server(args: &Args) -> Result<String> {
    if let Some(url) = &args.api_server {
        return Ok(url.clone());
    }
    let found = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = found("KUBERNETES_SERVICE_HOST");
    let (Some(host), Some(port)) = (host, found("KUBERNETES_SERVICE_PORT")) else {
        let what = "this is no pod of a cluster: give --api-server, or --tls-cert and --tls-key";
        return Err(Error::new(Kind::BadRequest, what));
    };
    // An address of version 6 stands in brackets.
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{port}"))
}
