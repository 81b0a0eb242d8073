//! Certificates and authorities change under constant reviews, and none is refused.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::harness::cluster::Cluster;
use crate::harness::until;
use crate::webhook::CONFIGURATION;
use crate::webhook::Clock;
use crate::webhook::Replica;
use crate::webhook::SECRET;
use crate::webhook::api_server;
use crate::webhook::asked;
use crate::webhook::bundle;
use crate::webhook::configuration;
use crate::webhook::day;
use crate::webhook::pod;
use crate::webhook::review;

/// How late an API server hears of a change of the configuration.
const LATE: SignedDuration = SignedDuration::from_mins(5);

/// What the configuration said, and since when.
#[derive(Default)]
struct History(Mutex<Vec<(Timestamp, String)>>);

impl History {
    fn note(&self, now: Timestamp, bundle: String) {
        let mut said = self.0.lock().unwrap();
        if said.last().is_none_or(|(_, last)| *last != bundle) {
            said.push((now, bundle));
        }
    }

    /// What an API server that is late believes.
    fn late(&self, now: Timestamp) -> String {
        let said = self.0.lock().unwrap();
        let heard = said.iter().rev().find(|(since, _)| *since + LATE <= now);
        heard.unwrap_or(&said[0]).1.clone()
    }
}

/// Sends reviews without end; each is counted, and the first that is refused ends it.
fn ask(
    address: SocketAddr,
    answered: Arc<AtomicUsize>,
    client: impl Fn() -> reqwest::Client + Send + 'static,
) -> JoinHandle<String> {
    tokio::spawn(async move {
        loop {
            match review(&client(), address, &asked(&pod())).await {
                Ok(answer) => assert_eq!(answer["response"]["allowed"], true),
                Err(why) => return why,
            }
            answered.fetch_add(1, Ordering::SeqCst);
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_authorities_and_certificates_change_no_review_is_refused() {
    let cluster = Cluster::start().await;
    cluster.put(CONFIGURATION, configuration());
    let replicas = [Replica::of(&cluster), Replica::of(&cluster)];
    let (clock, history) = (Clock::at(day(0)), Arc::new(History::default()));
    for replica in &replicas {
        replica.keeper.round(day(0)).await.unwrap();
    }
    history.note(day(0), bundle(&cluster));
    let webhooks = [replicas[0].serve().await, replicas[1].serve().await];
    let mut clients = Vec::new();
    for address in webhooks.iter().map(|webhook| webhook.listen) {
        // One connects for each review. The other stays connected for all of the time: what it
        // trusts would not do for a second connection.
        let (count, clock, history) =
            (Arc::<AtomicUsize>::default(), clock.clone(), history.clone());
        let first = api_server(address, &bundle(&cluster), clock.clone());
        let fresh = move || api_server(address, &history.late(clock.now()), clock.clone());
        clients.push((count.clone(), ask(address, count, fresh)));
        let count = Arc::<AtomicUsize>::default();
        clients.push((count.clone(), ask(address, count, move || first.clone())));
    }
    let (mut now, mut shown, mut trusted) = (day(0), BTreeSet::new(), BTreeSet::new());
    for step in 0.. {
        let secret = cluster.get(SECRET).unwrap();
        shown.insert(secret["data"]["tls.crt"].to_string());
        trusted.insert(secret["data"]["ca.crt"].to_string());
        if now > day(370) {
            break;
        }
        // While an authority changes, each minute counts.
        let is_changing = secret["data"]["next-ca.crt"].is_string();
        now +=
            if is_changing { SignedDuration::from_mins(1) } else { SignedDuration::from_hours(24) };
        clock.set(now);
        let (first, second) = (&replicas[step % 2], &replicas[(step + 1) % 2]);
        first.keeper.round(now).await.unwrap();
        history.note(now, bundle(&cluster));
        let reviewed: Vec<usize> = clients.iter().map(|(n, _)| n.load(Ordering::SeqCst)).collect();
        // The second one shows what it had for a while yet.
        for ((count, client), before) in clients.iter().zip(reviewed) {
            until("a review", || client.is_finished() || count.load(Ordering::SeqCst) > before)
                .await;
        }
        second.keeper.round(now).await.unwrap();
        let refused = clients.iter_mut().find(|(_, client)| client.is_finished());
        if let Some((_, client)) = refused {
            panic!("refused on {now}: {}", client.await.unwrap());
        }
    }
    assert_eq!(trusted.len(), 2, "an authority gives certificates for ten months");
    assert!(shown.len() > 60, "a certificate lives for a week: {}", shown.len());
    let told = history.0.lock().unwrap().len();
    assert_eq!(told, 3, "the first authority, its successor, its end");
    for (count, client) in clients {
        println!("{} reviews", count.load(Ordering::SeqCst));
        client.abort();
    }
}
