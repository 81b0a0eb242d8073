//! The real application in this process between a client and a scripted provider.

pub mod cluster;
pub mod process;
pub mod provider;
pub mod sidecar;

use std::future::Future;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A client that goes straight to where it is told, and follows no redirect.
pub fn client() -> reqwest::ClientBuilder {
    // Whoever comes first in this process installs it.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none())
}

/// Looks again and again until `holds`, and fails with `what` if it never does.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits for `work`, but not for ever.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("never came: {what}"))
}

/// The main database of a store that was just closed: sled may hold it locked for a moment more.
pub fn reopen_db(dir: &Path) -> sled::Db {
    let began = Instant::now();
    loop {
        match sled::open(dir.join("sled")) {
            Ok(db) => return db,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::yield_now();
    }
}
