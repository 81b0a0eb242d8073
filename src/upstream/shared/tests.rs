//! Whatever the order of polls, pieces and departures, everyone reads the same.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::time::Duration;

use proptest::prelude::any;
use proptest::prelude::prop;
use proptest::proptest;

use super::Broadcast;
use super::Read;
use super::Reader;
use super::Source;
use crate::error::Error;

/// Gives numbers in order, as far as the test has let them go.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Valve>>);

#[derive(Default)]
struct Valve {
    ready: usize,
    given: usize,
    is_over: bool,
    /// Polls that wake at once and give nothing.
    coy: usize,
    waker: Option<Waker>,
}

impl Tap {
    fn open(&self, pieces: usize, is_over: bool) {
        let waker = {
            let mut valve = self.0.lock().unwrap();
            valve.ready += pieces;
            valve.is_over |= is_over;
            valve.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Source for Tap {
    type Item = usize;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let mut valve = self.0.lock().unwrap();
        if valve.coy > 0 {
            valve.coy -= 1;
            drop(valve);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if valve.given < valve.ready {
            valve.given += 1;
            return Poll::Ready(Some(valve.given - 1));
        }
        if valve.is_over {
            return Poll::Ready(None);
        }
        valve.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn weight(_: &usize) -> usize {
        1
    }

    fn failure(&self) -> Option<Error> {
        None
    }

    fn let_go(self: Box<Self>) {}
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Client {
    reader: Reader<Tap>,
    woken: Arc<Flag>,
    read: usize,
    is_over: bool,
    is_lost: bool,
}

impl Client {
    fn new(reader: Reader<Tap>) -> Self {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        Self { reader, woken, read: 0, is_over: false, is_lost: false }
    }

    /// Polls once; false when there is nothing to wait for or it has to wait.
    fn poll(&mut self) -> bool {
        self.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.woken.clone());
        match self.reader.poll_next(&mut Context::from_waker(&waker)) {
            Poll::Pending => return false,
            Poll::Ready(Read::Piece(piece)) => {
                assert_eq!(piece, self.read, "a piece is missing or comes twice");
                self.read += 1;
                // Like a body that has been asked for more.
                self.woken.0.store(true, Ordering::SeqCst);
                return true;
            }
            Poll::Ready(Read::Lost) => self.is_lost = true,
            Poll::Ready(Read::End(failure)) => assert_eq!(failure, None),
        }
        self.is_over = true;
        false
    }

    fn is_awake(&self) -> bool {
        !self.is_over && self.woken.0.load(Ordering::SeqCst)
    }
}

proptest! {
    #[test]
    fn everyone_reads_all_of_it_whoever_polls_and_whoever_leaves(
        steps in prop::collection::vec((0..6_u8, any::<u8>()), 0..200),
        limit in prop::sample::select(vec![0_usize, 1, 3, 1000]),
    ) {
        let tap = Tap::default();
        let broadcast = Broadcast::new(Box::new(tap.clone()), Vec::new(), limit);
        let mut clients: Vec<Client> = Vec::new();
        for (what, which) in steps {
            let at = usize::from(which) % clients.len().max(1);
            match what {
                0 => tap.open(usize::from(which % 4), false),
                1 => clients.extend(broadcast.read().map(Client::new)),
                2 if at < clients.len() => drop(clients.swap_remove(at)),
                3 => tap.0.lock().unwrap().coy += 1,
                _ => drop(clients.get_mut(at).filter(|client| !client.is_over).map(Client::poll)),
            }
        }
        tap.open(2, true);
        // Only who was woken polls again: a reader that is forgotten never gets to the end.
        while let Some(client) = clients.iter_mut().find(|client| client.is_awake()) {
            while client.poll() {}
        }
        let all = tap.0.lock().unwrap().ready;
        for client in &clients {
            assert!(client.is_over, "nobody woke a reader at {} of {all}", client.read);
            assert!(client.is_lost || client.read == all, "{} of {all}", client.read);
        }
        if limit == 1000 {
            assert!(clients.iter().all(|client| !client.is_lost), "nothing had to be let go");
        }
        drop((clients, broadcast));
        assert_eq!(Arc::strong_count(&tap.0), 1, "the source outlives its readers");
    }
}

#[test]
fn a_reader_that_falls_too_far_behind_is_told_and_the_others_go_on() {
    let tap = Tap::default();
    let broadcast = Broadcast::new(Box::new(tap.clone()), Vec::new(), 3);
    let [mut fast, mut slow] = [(); 2].map(|()| Client::new(broadcast.read().unwrap()));
    assert!(!slow.poll());
    tap.open(1, false);
    assert!(slow.poll() && broadcast.is_open());
    tap.open(3, false);
    while fast.poll() {}
    assert!(!broadcast.is_open(), "what came is more than may be kept");
    tap.open(2, false);
    while fast.poll() {}
    assert!(broadcast.read().is_none(), "its beginning is gone");
    while slow.poll() {}
    assert_eq!((fast.read, slow.read, slow.is_lost), (6, 1, true));
    tap.open(100, true);
    while fast.poll() {}
    assert_eq!((fast.read, fast.is_over, fast.is_lost), (106, true, false));
}

/// On several threads, where polls and wakings really meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_forgotten_when_polls_meet_on_several_threads() {
    for round in 0..60_u64 {
        let tap = Tap::default();
        let broadcast = Broadcast::new(Box::new(tap.clone()), Vec::new(), usize::MAX);
        let finished = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for number in 0..8_u64 {
            let mut reader = broadcast.read().unwrap();
            let (finished, mut rng) =
                (finished.clone(), fastrand::Rng::with_seed(round * 8 + number));
            tasks.push(tokio::spawn(async move {
                let leaves_at = if number % 2 == 0 { rng.usize(0..50) } else { usize::MAX };
                let mut read = 0;
                while let Read::Piece(piece) = reader.next().await {
                    assert_eq!(piece, read);
                    read += 1;
                    if read >= leaves_at {
                        return;
                    }
                    if rng.bool() {
                        tokio::task::yield_now().await;
                    }
                }
                assert_eq!(read, 50);
                finished.fetch_add(1, Ordering::SeqCst);
            }));
        }
        drop(broadcast);
        for _ in 0..25 {
            tap.open(2, false);
            tokio::task::yield_now().await;
        }
        tap.open(0, true);
        for task in tasks {
            let ended = tokio::time::timeout(Duration::from_secs(20), task).await;
            ended.expect("a reader was forgotten").unwrap();
        }
        assert!(finished.load(Ordering::SeqCst) >= 4, "round {round}");
    }
}
