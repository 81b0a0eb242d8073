//! The demo's application: customers who ask a support bot, some of them the same thing twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::chat::DialectName;
use crate::config;
use crate::config::Timeouts;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;
use crate::simulate::Support;
use crate::upstream::Call;
use crate::upstream::Upstream;

/// Customers who write at the same time.
const CUSTOMERS: usize = 20;

/// The largest answer a customer reads, bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The customers and what has reached them.
pub struct Shop {
    counts: Arc<Counts>,
    customers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    next: AtomicUsize,
    answers: AtomicU64,
    hits: AtomicU64,
}

/// What has reached customers so far.
pub struct Served {
    /// Whole answers.
    pub answers: u64,
    /// Of those, from the cache.
    pub hits: u64,
}

/// The way to the sidecar, the same code the sidecar uses towards providers.
struct Line {
    upstream: Upstream,
    target: Target,
    messages: Vec<String>,
    counts: Arc<Counts>,
}

impl Shop {
    /// Sends customers to the sidecar at `address` until [`Self::close`].
    ///
    /// # Errors
    /// The HTTP client cannot start.
    pub fn open(address: SocketAddr, seed: u64) -> Result<Self> {
        let text = format!("providers: {{ sidecar: {{ base_url: \"http://{address}/v1\" }} }}");
        let loaded = config::load(Some(("demo", &text)), &[], &|_| None, &|path| {
            std::fs::read_to_string(path)
        });
        let (config, _) =
            loaded.map_err(|_| Error::new(Kind::Internal, "the demo's own settings are wrong"))?;
        let counts = Arc::new(Counts::default());
        let line = Arc::new(Line {
            upstream: Upstream::new(&config)?,
            target: Target { provider: "sidecar".into(), model: "support-bot".into() },
            messages: messages(seed),
            counts: counts.clone(),
        });
        let customer = |_| tokio::spawn(line.clone().write_until_sold_out());
        Ok(Self { counts, customers: (0..CUSTOMERS).map(customer).collect() })
    }

    /// Sends everybody home.
    pub fn close(&self) {
        self.customers.iter().for_each(JoinHandle::abort);
    }

    /// Every message has been sent and answered.
    pub fn is_sold_out(&self) -> bool {
        self.customers.iter().all(JoinHandle::is_finished)
    }

    /// What has reached customers so far.
    pub fn served(&self) -> Served {
        Served {
            answers: self.counts.answers.load(Ordering::Relaxed),
            hits: self.counts.hits.load(Ordering::Relaxed),
        }
    }
}

impl Line {
    async fn write_until_sold_out(self: Arc<Self>) {
        loop {
            let at = self.counts.next.fetch_add(1, Ordering::Relaxed);
            // Every fifth message has been sent before, word for word.
            let message = if at % 5 == 4 { at * 7 / 11 } else { at };
            let Some(text) = self.messages.get(message) else { return };
            if let Ok(is_hit) = self.ask(text, at).await {
                self.counts.answers.fetch_add(1, Ordering::Relaxed);
                self.counts.hits.fetch_add(u64::from(is_hit), Ordering::Relaxed);
            }
        }
    }

    async fn ask(&self, text: &str, at: usize) -> Result<bool> {
        let is_stream = !at.is_multiple_of(3);
        let body = json!({
            "model": self.target.model,
            "messages": [
                {"role": "system", "content": "You answer for a mail-order shop."},
                {"role": "user", "content": text},
            ],
            "stream": is_stream,
        });
        let mut headers = HeaderMap::new();
        let user = format!("user-{}", at % 997);
        if let Ok(user) = HeaderValue::from_str(&user) {
            headers.insert("x-user-id", user);
        }
        let timeouts = Timeouts { total: Duration::from_secs(20), ..Timeouts::default() };
        let body = Bytes::from(body.to_string());
        let (target, headers, dialect) = (&self.target, &headers, DialectName::OpenAi);
        let call = Call { target, dialect, body, headers, timeouts, is_stream };
        let opened = self.upstream.send_once(call).await?;
        let status = opened.headers.get("cache-status").and_then(|value| value.to_str().ok());
        let is_hit = status.is_some_and(|status| status.contains("hit"));
        opened.collect(MAX_ANSWER).await?;
        Ok(is_hit)
    }
}

/// Every question in every opening, shuffled by the seed.
fn messages(seed: u64) -> Vec<String> {
    const OPENINGS: [&str; 12] = [
        "",
        "Hello! ",
        "Quick question: ",
        "Hi, I ordered last week. ",
        "Good morning, ",
        "I could not find this on your page. ",
        "My first order with you. ",
        "Writing from my phone, so briefly: ",
        "A friend told me to ask you. ",
        "Sorry to bother you again. ",
        "I am a customer since 2019. ",
        "Please help: ",
    ];
    let support = Support::default();
    let questions: Vec<&str> = support.questions().collect();
    let mut messages: Vec<String> = OPENINGS
        .iter()
        .flat_map(|opening| questions.iter().map(move |question| format!("{opening}{question}")))
        .collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut messages);
    messages
}
