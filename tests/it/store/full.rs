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

/// The whole disk of a test, bytes.
const SMALL_DISK: u64 = 12 << 20;

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

#[test]
#[ignore = "a process of the other test: its disk is small and full"]
fn fills_its_disk_and_begins_again() {
    let Some((_, dir)) = told() else { return };
    let open = || {
        let opened = Store::open(&dir).unwrap();
        // More than the disk has, so that nothing goes for want of room but on the disk.
        opened.store.limit(SMALL_DISK * 2);
        opened
    };
    let store = open().store;
    let began = Instant::now();
    let (mut number, mut refused, mut after) = (0, 0, 0);
    while after < 20 {
        number += 1;
        match store.put_exchange(&sized(number, 30_000)).and_then(|()| store.flush()) {
            Ok(()) if refused > 0 => after += 1,
            Ok(()) => {}
            Err(_) => {
                refused += 1;
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        assert!(began.elapsed() < PATIENCE, "{refused} of {number} refused, then {after} taken");
    }
    assert!(store.events().dropped_generations > 0, "nothing made room");
    assert!(store.answers(&key(number)).iter().any(|found| is_right(found, number)));
    drop(store);
    let filler = dir.join("somebody-elses");
    std::fs::write(&filler, vec![1; SMALL_DISK as usize]).unwrap_err();
    let opened = open();
    assert!(opened.dropped > 0 && opened.damage.is_none(), "{:?}", opened.damage);
    opened.store.put_exchange(&sized(0, 100)).unwrap();
    opened.store.flush().unwrap();
    println!("it begins on a full disk");
}

#[test]
fn where_the_disk_is_full_the_oldest_exchanges_make_room() {
    let dir = TempDir::new().unwrap();
    let child = child(dir.path(), "store::full::fills_its_disk_and_begins_again", 0);
    // A disk of its own, which is gone with the process.
    let script = format!(
        "mount -t tmpfs -o size={SMALL_DISK} none '{}' || exit 77; exec \"$0\" \"$@\"",
        dir.path().display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).arg(child.get_program()).args(child.get_args());
    command.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    match command.output() {
        Ok(ran) if ran.status.success() => {
            assert!(String::from_utf8_lossy(&ran.stdout).contains("it begins on a full disk"));
        }
        Ok(ran) if ran.status.code() == Some(101) => {
            panic!("{}", String::from_utf8_lossy(&ran.stderr));
        }
        other => println!("skipped: no file system can be mounted here: {other:?}"),
    }
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
