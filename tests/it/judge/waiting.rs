//! A judge's queue that is full: pairs wait for room, and none is lost until a restart.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::watch;
use understudy::board::Board;
use understudy::chat::Answer;
use understudy::experiment::Share;
use understudy::memory::Memory;
use understudy::metrics::Metrics;
use understudy::pair::Half;
use understudy::pair::Intent;
use understudy::pair::IntentHead;
use understudy::pair::Origin;
use understudy::pair::PairId;
use understudy::recorder;
use understudy::recorder::Record;
use understudy::recorder::Recorder;
use understudy::scene::Scene;
use understudy::store::Store;

use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::within;

const PAIRS: u8 = 20;

async fn whole_pair(recorder: &Recorder, number: u8) {
    let id = PairId([number; 16]);
    let head = IntentHead {
        experiment: "trial".into(),
        dialect: "openai".into(),
        in_path: None,
        variants: vec!["control".into(), "next".into()],
        request_id: number.to_string(),
        created_ms: 7,
        unit: None,
        route: String::new(),
        tenant: String::new(),
        headers: BTreeMap::new(),
        is_redacted: false,
    };
    let intent = Intent { head, request: "{}".into() };
    let live = "control".to_owned();
    let (credential, original) = (None, None);
    recorder.deliver(Record::Intent { id, intent, live, credential, original }).await;
    for variant in ["control", "next"] {
        let half = Half {
            variant: variant.into(),
            target: "alpha/m".into(),
            origin: Origin::Live,
            answer: Answer::default(),
            first_us: 1,
            took_us: 2,
        };
        recorder.deliver(Record::Half { id, half: Box::new(half) }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_that_find_no_room_are_offered_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&[]);
    config.data_dir = dir.path().to_owned();
    config.experiments.push(experiment("alpha/m", "beta/m", Share::ALL, Share::NONE));
    let store = Store::open(dir.path()).unwrap().store;
    let board = Arc::new(Board::new(&config.experiments));
    let policy = config.keeping();
    let (_stage, scenes) = watch::channel(Arc::new(Scene::new(config).unwrap()));
    let (shadow, _copies) = mpsc::channel(usize::from(PAIRS));
    let (judge, mut jobs) = mpsc::channel(1);
    let metrics = Arc::new(Metrics::new());
    let (recorder, writer) = recorder::recorder(recorder::Parts {
        data_dir: dir.path().to_owned(),
        store,
        scenes,
        board,
        metrics: metrics.clone(),
        policy,
        queue: 16,
        memory: Memory::default(),
        shadow,
        judge,
    })
    .unwrap();
    let writing = std::thread::spawn(move || writer.run());
    for number in 0..PAIRS {
        whole_pair(&recorder, number).await;
    }
    recorder.flush().await;
    assert_eq!(metrics.judge_queue.get(), i64::from(PAIRS));
    let mut met = HashSet::new();
    for _ in 0..PAIRS {
        let (id, _, candidate) = within("a pair", jobs.recv()).await.unwrap();
        assert_eq!(candidate, "next");
        met.insert(id);
        // Any record tells the recorder that there may be room.
        recorder.flush().await;
    }
    assert_eq!(met.len(), usize::from(PAIRS));
    recorder.deliver(Record::Stop).await;
    tokio::task::spawn_blocking(move || writing.join().unwrap()).await.unwrap();
}
