//! A certificate from elsewhere, in files that somebody replaces.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::metrics::webhook::Metrics;
use crate::webhook::certificate::Certificate;
use crate::webhook::presented::Presented;

/// Between two looks at the files: a mounted Secret changes by a new target of a link, which only
/// looking tells on every file system.
const LOOK: Duration = Duration::from_secs(2);

/// Where the certificate and its key are, PEM.
#[derive(Clone, Debug)]
pub struct Given {
    /// The chain, the certificate first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Follows the files for ever; the last good certificate stays.
pub async fn follow(given: Given, presented: Arc<Presented>, metrics: Arc<Metrics>) {
    let (mut seen, mut is_good) = (Vec::new(), true);
    loop {
        match look(&given, &mut seen, &presented, &metrics).await {
            Ok(false) => {}
            Ok(true) => {
                is_good = true;
                metrics.looked("good");
                tracing::info!(file = %given.certificate.display(), "there is a new certificate");
            }
            Err(error) => {
                metrics.looked("failed");
                if std::mem::replace(&mut is_good, false) {
                    let shown = presented.is_ready();
                    tracing::error!(%error, shown, "no new certificate: it is tried again");
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Shows what the files hold, if it is other than what was seen; says whether it was.
///
/// # Errors
/// A file cannot be read, or makes no sense: the pair may be read while it is being replaced.
pub async fn look(
    given: &Given,
    seen: &mut Vec<u8>,
    presented: &Presented,
    metrics: &Metrics,
) -> Result<bool> {
    let chain = read(&given.certificate).await?;
    let key = read(&given.key).await?;
    if *seen == chain {
        return Ok(false);
    }
    let wrong =
        |what: &str| Error::new(Kind::Config, format!("{}: {what}", given.certificate.display()));
    let key = String::from_utf8(key).map_err(|_| wrong("the certificate's key is no PEM"))?;
    let shown = presented.show(&chain, &SecretString::from(key));
    shown.map_err(|error| wrong(&error.detail))?;
    let first = Certificate::read_all(&chain).and_then(|all| all.into_iter().next());
    if let Some(first) = first {
        metrics.certificate_ends(first.ends);
    }
    *seen = chain;
    Ok(true)
}

async fn read(path: &Path) -> Result<Vec<u8>> {
    tokio::fs::read(path).await.map_err(|error| {
        let what = format!("{} cannot be read: {}", path.display(), error.kind());
        Error::new(Kind::Config, what)
    })
}
