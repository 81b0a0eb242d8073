//! Follows a feed of prices: fetches it again and again, and puts what is good in force.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Feed;
use crate::director::Director;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::price::Table;
use crate::price::read;
use crate::scene::Scene;
use crate::scene::Scenes;

/// The largest feed, bytes; OpenRouter's list has less than one million.
const MOST_BYTES: usize = 16 << 20;

/// How long a feed may take to come.
const LIMIT: Duration = Duration::from_secs(60);

/// After a failure it is fetched again so soon, if it is not due before.
const AGAIN: Duration = Duration::from_secs(300);

/// Follows whatever feed is configured, until the process ends.
///
/// What a broken one said before stays in force.
pub async fn follow(director: Arc<Director>, mut scenes: Scenes, metrics: Arc<Metrics>) {
    loop {
        let scene = scenes.borrow_and_update().clone();
        let feed = scene.config.feed.clone();
        let pause = match &feed {
            None => None,
            Some(feed) => Some(refresh(&director, &scene, feed, &metrics).await),
        };
        let is_other = |scene: &Arc<Scene>| scene.config.feed != feed;
        let changed = scenes.wait_for(is_other);
        // No feed is waited for as long as it takes to configure one.
        match pause {
            Some(pause) => {
                if let Ok(Err(_)) = tokio::time::timeout(pause, changed).await {
                    return;
                }
            }
            None => {
                if changed.await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Fetches once, and gives how long to wait before the next time.
async fn refresh(director: &Director, scene: &Scene, feed: &Feed, metrics: &Metrics) -> Duration {
    match fetch(scene, feed).await {
        Ok(table) => {
            tracing::info!(models = table.len(), "the feed's prices are in force");
            Metrics::count(&metrics.price_feeds, "good");
            director.reprice(Arc::new(table));
            feed.every
        }
        Err(error) => {
            let detail = error.detail;
            tracing::warn!(detail, "the price feed is of no use: the prices before it stay");
            Metrics::count(&metrics.price_feeds, "broken");
            feed.every.min(AGAIN)
        }
    }
}

async fn fetch(scene: &Scene, feed: &Feed) -> Result<Table> {
    let bytes = scene.upstream.fetch(&feed.url, MOST_BYTES, LIMIT).await?;
    let text = str::from_utf8(&bytes).map_err(|_| Error::new(Kind::Broken, "it is no text"))?;
    read::table(text)
}
