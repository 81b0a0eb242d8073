//! Keys of providers, wherever they are kept: read, read again, and handed out one at a time.

mod answer;
mod aws;
mod identity;
pub mod kubernetes;
pub mod pool;
pub mod source;
mod vault;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::Config;
use crate::config::KeySource;
use crate::config::Place;
use crate::config::stores::AwsKey;
use crate::config::stores::Stores;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::keyring::Key;
use crate::metrics::Metrics;
use crate::secrets::aws::Account;
use crate::secrets::source::Source;
use crate::secrets::vault::Server;

/// Where the keys of one configuration come from.
pub struct Secrets {
    ways: Arc<Ways>,
    sources: BTreeMap<Place, Arc<Source>>,
}

/// How the stores are reached.
pub struct Ways {
    stores: Stores,
    vault: Option<Server>,
    aws: Account,
}

/// Which version of a secret is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// The one in force.
    Current,
    /// The one before.
    Former,
}

impl Secrets {
    /// The sources of every key that may change; those that `former` has go on.
    ///
    /// Inside a runtime they are read from now on, again and again until nobody holds them.
    pub fn new(config: &Config, former: Option<&Self>) -> Self {
        let same = former.filter(|former| former.ways.stores == config.stores);
        let ways = same.map_or_else(|| Arc::new(Ways::new(&config.stores)), |f| f.ways.clone());
        let mut sources = BTreeMap::new();
        let pools = config.providers.values().flat_map(|p| p.api_keys.iter().chain(&p.shadow_keys));
        for key in pools.filter(|key| key.is_live()) {
            let known = same.and_then(|same| same.sources.get(&key.place)).cloned();
            let begin = || Source::begin(key.place.clone(), first(key, former), ways.clone());
            let source = known.unwrap_or_else(|| match sources.get(&key.place) {
                Some(source) => Arc::clone(source),
                None => begin(),
            });
            sources.insert(key.place.clone(), source);
        }
        Self { ways, sources }
    }

    /// What requests to AWS are signed with, for a region.
    ///
    /// # Errors
    /// Whoever gives credentials cannot be reached, or gives none.
    pub async fn signing_key(&self, region: &str) -> Result<AwsKey> {
        self.ways.aws.key(region).await
    }

    /// Writes down how the sources are.
    pub fn tell(&self, metrics: &Metrics) {
        self.sources.values().for_each(|source| source.tell(metrics));
    }

    fn source(&self, place: &Place) -> Option<Arc<Source>> {
        self.sources.get(place).cloned()
    }
}

/// The key to begin with: the one that was read with the configuration, or the last good one.
fn first(key: &KeySource, former: Option<&Secrets>) -> Option<Key> {
    let known = key.key.clone().map(Key::new);
    known.or_else(|| former?.sources.get(&key.place)?.key())
}

impl Ways {
    fn new(stores: &Stores) -> Self {
        // A second installation in one process, as in tests, changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            vault: stores.vault.clone().map(Server::new),
            aws: Account::new(stores.aws.clone()),
            stores: stores.clone(),
        }
    }

    async fn read(&self, place: &Place, version: Version) -> Result<SecretString> {
        match place {
            Place::Vault { path, field } => match &self.vault {
                Some(vault) => vault.read(path, field, version).await,
                None => Err(Error::new(Kind::Config, "nothing says where Vault is")),
            },
            Place::Aws { secret, field, region } => {
                self.aws.read(secret, field.as_deref(), region, version).await
            }
            Place::File(path) if version == Version::Current => {
                let read = tokio::fs::read_to_string(path).await;
                let text = read.map_err(|error| Error::new(Kind::Config, error.to_string()))?;
                Ok(SecretString::from(text))
            }
            Place::File(_) | Place::Value | Place::Env(_) => {
                Err(Error::new(Kind::Config, "there is no other version"))
            }
        }
    }

    /// How long to wait before a place is read again.
    fn pause(&self, place: &Place) -> Duration {
        match place {
            Place::File(_) => source::LOOK,
            Place::Vault { .. } => {
                let due = self.vault.as_ref().and_then(Server::due);
                due.map_or(self.stores.refresh, |due| due.min(self.stores.refresh))
            }
            _ => self.stores.refresh,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
