//! Asks providers that are left alone whether they are well, so that no application has to find out.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::config::Ping;
use crate::error::Kind;
use crate::metrics::Metrics;
use crate::metrics::PingLabels;
use crate::scene::Scene;
use crate::scene::Scenes;

/// How long a provider has to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// What a provider's answer says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Well,
    Down,
    /// Something else is wrong, such as the path or the key.
    Unclear,
}

/// Asks every provider for which it is configured, until the process ends.
pub async fn follow(mut scenes: Scenes, metrics: Arc<Metrics>) {
    loop {
        let scene = scenes.borrow_and_update().clone();
        // Letting go of these ends them.
        let mut pings = JoinSet::new();
        for provider in scene.config.providers.values() {
            if let Some(ping) = provider.ping.clone() {
                let name = provider.name.clone();
                pings.spawn(repeat(scene.clone(), name, ping, metrics.clone()));
            }
        }
        if scenes.changed().await.is_err() {
            return;
        }
    }
}

/// Asks one provider again and again while a target of it is left alone.
async fn repeat(scene: Arc<Scene>, provider: String, ping: Ping, metrics: Arc<Metrics>) {
    let health = scene.upstream.health();
    loop {
        // Sidecars that were started together do not ask together.
        sleep(ping.every.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
        if !health.leaves_alone(&provider, Instant::now().into_std()) {
            continue;
        }
        let found = ask(&scene, &provider, &ping.path).await;
        tracing::info!(provider, found = found.as_str(), "asked whether it is well");
        if found != Found::Unclear {
            let (rules, now) = (scene.config.breaker, Instant::now().into_std());
            health.pinged(&provider, found == Found::Well, rules, now);
        }
        let labels = PingLabels { provider: provider.clone(), result: found.as_str() };
        metrics.pings.get_or_create(&labels).inc();
    }
}

async fn ask(scene: &Scene, provider: &str, path: &str) -> Found {
    match scene.upstream.ping(provider, path, LIMIT).await {
        Ok(status) if status.is_success() => Found::Well,
        Ok(status) if status.is_server_error() => Found::Down,
        Err(error) if matches!(error.kind, Kind::Connect | Kind::Timeout | Kind::Broken) => {
            Found::Down
        }
        Ok(_) | Err(_) => Found::Unclear,
    }
}

impl Found {
    fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Down => "down",
            Self::Unclear => "unclear",
        }
    }
}
