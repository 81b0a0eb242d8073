//! `kill -9` while exchanges are written: what was flushed is there, nothing is there wrong.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;
use understudy::store::Store;

use super::exchange;
use super::there;

/// Where the child writes, from which number on.
const CHILD: &str = "STORE_CHILD";
/// Enough for everything that is written, in many generations.
const MAX_BYTES: u64 = 256 << 20;

/// This test's binary again, as a process that only runs the test of this name in `dir`.
pub fn child(dir: &Path, test: &str, from: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads", "1"]);
    command.env(CHILD, format!("{from} {}", dir.display()));
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// What a child was told, if this process is one.
pub fn told() -> Option<(u64, std::path::PathBuf)> {
    let told = std::env::var(CHILD).ok()?;
    let (from, dir) = told.split_once(' ').unwrap();
    Some((from.parse().unwrap(), dir.into()))
}

#[test]
#[ignore = "a process of the other tests: it writes until it is killed"]
fn writes_until_it_is_killed() {
    let Some((from, dir)) = told() else { return };
    let store = Store::open(&dir).unwrap().store;
    store.limit(MAX_BYTES);
    let mut rng = fastrand::Rng::with_seed(from);
    for number in from.. {
        store.put_exchange(&exchange(number)).unwrap();
        if rng.u32(..20) == 0 {
            match rng.u32(..4) {
                0 => store.mark().unwrap(),
                _ => store.flush().unwrap(),
            }
            println!("flushed {number}");
        }
        if rng.u32(..200) == 0 {
            store.sweep(MAX_BYTES, 0).unwrap();
        }
    }
}

/// A killed child must not stay behind.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn kill(times: u64) {
    let dir = TempDir::new().unwrap();
    let mut rng = fastrand::Rng::with_seed(11);
    let mut flushed = 0;
    for round in 0..times {
        let mut command = child(dir.path(), "store::crash::writes_until_it_is_killed", flushed);
        let mut writing = Killed(command.spawn().unwrap());
        // Held until it is killed: a closed pipe would end it in a gentler way.
        let mut lines = BufReader::new(writing.0.stdout.take().unwrap()).lines();
        let numbers = lines.by_ref().map_while(Result::ok).filter_map(|line| {
            line.split_once("flushed ").and_then(|(_, number)| number.trim().parse::<u64>().ok())
        });
        let last = numbers.take(rng.usize(1..40)).last().unwrap();
        // Anywhere in the work that follows.
        (0..rng.u32(..200_000)).for_each(|_| std::hint::spin_loop());
        drop(writing);
        drop(lines);
        let opened = Store::open(dir.path()).unwrap();
        assert_eq!(opened.damage, None, "round {round}");
        opened.store.wait_loaded();
        let found = there(&opened.store, last + 1_000);
        let lost: Vec<u64> = (0..=last).filter(|number| !found[*number as usize]).collect();
        assert!(lost.is_empty(), "round {round}: of {last} flushed these are lost: {lost:?}");
        assert_eq!(opened.store.events().damaged_generations, 0, "round {round}");
        println!("{round}: {last} flushed, {} there", found.iter().filter(|is| **is).count());
        flushed = last + 1;
    }
}

#[test]
fn three_kills_lose_nothing_that_was_flushed() {
    kill(3);
}

#[test]
#[ignore = "minutes; --nocapture shows each kill"]
fn fifty_kills_lose_nothing_that_was_flushed() {
    kill(50);
}
