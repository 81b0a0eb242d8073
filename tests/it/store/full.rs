//! A disk that takes no more: exchanges are refused, nothing ends, and it goes on when there is room.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;
use understudy::store::Store;

use super::crash::child;
use super::crash::told;
use super::is_right;
use super::key;
use super::sized;

/// As long as a store may take to try again, and more than that.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a file may grow to, in blocks of 512 bytes.
const BLOCKS: u32 = 6_000;

#[test]
#[ignore = "a process of the other test: its files may not grow"]
fn writes_until_there_is_no_room_and_goes_on() {
    let Some((_, dir)) = told() else { return };
    let store = Store::open(&dir).unwrap().store;
    let mut flushed = 0;
    let write = |number: u64| store.put_exchange(&sized(number, 30_000));
    let mut number = 0;
    let error = loop {
        if let Err(error) = write(number) {
            break error;
        }
        number += 1;
        if number % 10 == 0 {
            match store.flush() {
                Ok(()) => flushed = number,
                Err(error) => break error,
            }
        }
        assert!(number < 10_000, "the disk never fills");
    };
    println!("full after {number}: {error}");
    assert!(flushed > 10, "it was full at once");
    // A disk that failed costs no time: the next one is refused without trying.
    assert!(write(1_000_000).is_err() || write(1_000_001).is_ok());
    let began = Instant::now();
    let mut refused = 0;
    while write(2_000_000).and_then(|()| store.flush()).is_err() {
        refused += 1;
        assert!(began.elapsed() < PATIENCE, "it never goes on");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    println!("again after {refused} were refused in {:?}", began.elapsed());
    while store.answers(&key(0)).is_empty() {
        assert!(began.elapsed() < PATIENCE, "what was written before never comes back");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    for number in (0..flushed).chain([2_000_000]) {
        let found = store.answers(&key(number));
        assert!(found.len() == 1 && is_right(&found[0], number), "{number} of {flushed}");
    }
    println!("everything is there");
}

/// Runs the child under a limit that turns a write into an error instead of a signal.
fn limited(dir: &Path) -> Command {
    let inner = child(dir, "store::full::writes_until_there_is_no_room_and_goes_on", 0);
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -S -f {BLOCKS}; exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(std::process::Stdio::piped());
    command
}

#[test]
fn a_full_disk_refuses_exchanges_until_there_is_room() {
    let dir = TempDir::new().unwrap();
    let mut running = limited(dir.path()).spawn().unwrap();
    let pid = running.id().to_string();
    let mut said = String::new();
    for line in BufReader::new(running.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if line.contains("full after") {
            // Where there is no such command, a new generation has room all the same.
            let _ = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
        }
        said += &format!("{line}\n");
    }
    println!("{said}");
    assert!(running.wait().unwrap().success(), "{said}");
    assert!(said.contains("again after") && said.contains("everything is there"), "{said}");
}
