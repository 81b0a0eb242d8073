//! One place that a key comes from: read again and again, with the last good key kept meanwhile.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Place;
use crate::config::checked_key;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::keyring::Key;
use crate::metrics::Metrics;
use crate::metrics::SecretLabel;
use crate::metrics::SecretRead;
use crate::secrets::Version;
use crate::secrets::Ways;
use crate::secrets::lock;

/// Between two looks at a file.
pub const LOOK: Duration = Duration::from_millis(500);

/// The least time between two reads of one place, however many requests were refused.
const LEAST: Duration = Duration::from_secs(1);

/// The longest that a store which does not answer is left alone.
const MOST: Duration = Duration::from_secs(30);

/// How long a request waits for a store.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long one read may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A place that a key comes from.
pub struct Source {
    place: Place,
    ways: Arc<Ways>,
    held: Mutex<Held>,
    /// How many keys there have been.
    turn: AtomicU64,
    /// One read at a time.
    reading: tokio::sync::Mutex<()>,
    /// Somebody was refused.
    refused: Arc<Notify>,
    good: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Held {
    key: Option<Key>,
    /// When it was last seen to be in force.
    seen: Option<Instant>,
    begun: Option<Instant>,
    is_tried: bool,
    /// Reads in a row that failed, and why the last did.
    failures: u32,
    trouble: Option<Error>,
    /// For which turn the key before was asked for.
    recalled: Option<u64>,
}

impl Source {
    /// A place that is read from now on until nobody holds it.
    pub fn begin(place: Place, key: Option<Key>, ways: Arc<Ways>) -> Arc<Self> {
        let turn = AtomicU64::new(u64::from(key.is_some()));
        let seen = key.is_some().then(Instant::now);
        let source = Arc::new(Self {
            place,
            ways,
            held: Mutex::new(Held { key, seen, ..Held::default() }),
            turn,
            reading: tokio::sync::Mutex::default(),
            refused: Arc::default(),
            good: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        // Without a runtime whoever asks first reads it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(follow(Arc::downgrade(&source)));
        }
        source
    }

    /// The last good key.
    pub fn key(&self) -> Option<Key> {
        lock(&self.held).key.clone()
    }

    /// How many keys there have been; another number is another key.
    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::Acquire)
    }

    /// Waits a moment for the first key, where none has been read yet.
    ///
    /// # Errors
    /// There is none, and why.
    pub async fn ready(&self) -> Result<()> {
        if self.turn() == 0 && !lock(&self.held).is_tried {
            let _in_time = tokio::time::timeout(PATIENCE, self.renew(0)).await;
        }
        let held = lock(&self.held);
        match (&held.key, &held.trouble) {
            (Some(_), _) => Ok(()),
            (None, Some(trouble)) => Err(trouble.clone()),
            (None, None) => Err(Error::new(Kind::Timeout, "it does not answer")),
        }
    }

    /// Reads again soon, because a key was refused.
    pub fn hurry(&self) {
        self.refused.notify_one();
    }

    /// Reads again as soon as it may, unless somebody else has meanwhile; says whether there is
    /// another key than at `turn`.
    pub async fn renew(&self, turn: u64) -> bool {
        let asked = Instant::now();
        let read = async {
            let _one_at_a_time = self.reading.lock().await;
            let begun = lock(&self.held).begun;
            if self.turn() != turn || begun.is_some_and(|begun| begun >= asked) {
                return;
            }
            if let Some(begun) = begun {
                tokio::time::sleep_until(begun + LEAST).await;
            }
            self.read().await;
        };
        let _in_time = tokio::time::timeout(PATIENCE, read).await;
        self.turn() != turn
    }

    /// The key before the present one, asked for once.
    pub async fn recall(&self) -> Option<Key> {
        {
            let mut held = lock(&self.held);
            let turn = Some(self.turn());
            if held.recalled == turn {
                return None;
            }
            held.recalled = turn;
        }
        let read = self.ways.read(&self.place, Version::Former);
        let key = tokio::time::timeout(PATIENCE, read).await.ok()?.ok()?;
        usable(&key).ok()
    }

    /// Writes down how it is.
    pub fn tell(&self, metrics: &Metrics) {
        let source = self.place.to_string();
        for (result, count) in [("good", &self.good), ("failed", &self.failed)] {
            let labels = SecretRead { source: source.clone(), result };
            let counter = metrics.secret_refresh.get_or_create(&labels);
            Metrics::raise(&counter, count.load(Ordering::Relaxed));
        }
        if let Some(seen) = lock(&self.held).seen {
            let age = i64::try_from(seen.elapsed().as_secs()).unwrap_or(i64::MAX);
            metrics.secret_age_seconds.get_or_create(&SecretLabel { source }).set(age);
        }
    }

    async fn read(&self) {
        lock(&self.held).begun = Some(Instant::now());
        let read = tokio::time::timeout(LIMIT, self.ways.read(&self.place, Version::Current));
        let late = |_| Err(Error::new(Kind::Timeout, format!("no answer within {LIMIT:?}")));
        let key = read.await.unwrap_or_else(late).and_then(|key| usable(&key));
        self.note(key);
    }

    fn note(&self, found: Result<Key>) {
        let mut held = lock(&self.held);
        let place = &self.place;
        let before = std::mem::replace(&mut held.is_tried, true);
        match found {
            Ok(key) => {
                self.good.fetch_add(1, Ordering::Relaxed);
                held.seen = Some(Instant::now());
                if held.failures > 0 {
                    tracing::info!(%place, "the key can be read again");
                }
                (held.failures, held.trouble) = (0, None);
                if held.key.as_ref() != Some(&key) {
                    if before || held.key.is_some() {
                        tracing::info!(%place, "there is a new key");
                    }
                    held.key = Some(key);
                    self.turn.fetch_add(1, Ordering::Release);
                }
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                if held.failures == 0 && held.key.is_some() {
                    tracing::warn!(%place, %error, "the key cannot be read: the last one goes on");
                } else if held.failures == 0 {
                    tracing::error!(%place, %error, "the key cannot be read: it is tried again");
                }
                held.failures = held.failures.saturating_add(1);
                held.trouble = Some(error);
            }
        }
    }

    /// How long to wait before the next read, each time a little longer or shorter so that a fleet
    /// does not come at once.
    fn pause(&self) -> Duration {
        let usual = self.ways.pause(&self.place);
        let failures = lock(&self.held).failures;
        let pause = match failures {
            0 => usual,
            _ => (LEAST * (1 << failures.min(6))).min(MOST).min(usual.max(LEAST)),
        };
        pause.mul_f64(0.9 + 0.2 * fastrand::f64())
    }
}

/// Reads a place again and again, until nobody holds it.
async fn follow(source: Weak<Source>) {
    loop {
        let Some(held) = source.upgrade() else { return };
        {
            let _one_at_a_time = held.reading.lock().await;
            held.read().await;
        }
        let (pause, refused) = (held.pause(), held.refused.clone());
        // Who waits does not hold the source.
        drop(held);
        let early = async {
            tokio::time::sleep(LEAST).await;
            refused.notified().await;
        };
        let _either = tokio::time::timeout(pause, early).await;
    }
}

/// The key, if a header can carry it.
fn usable(key: &SecretString) -> Result<Key> {
    let what = "it holds no key that a header can carry: a key is printable ASCII on one line";
    let checked = checked_key(key.expose_secret());
    checked.map(Key::new).ok_or_else(|| Error::new(Kind::Config, what))
}
