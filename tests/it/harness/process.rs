//! The built program as a process of its own, with everything a person would read from it.

use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::PATIENCE;

/// A started program; it is killed when the test ends.
pub struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

/// What a program that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output and standard error together.
    pub output: String,
}

impl Process {
    /// Starts `understudy` in `dir` with no variable of this environment but `PATH`.
    pub fn start(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_understudy"))
            .args(args)
            .current_dir(dir)
            .env_clear()
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            follow(child.stdout.take().unwrap(), output.clone()),
            follow(child.stderr.take().unwrap(), output.clone()),
        ];
        Self { child, output, readers }
    }

    /// Everything printed so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// The first match of `read` on what is printed, as soon as there is one.
    pub fn wait_for<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = read(&self.output()) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended before {what}: {ended:?}\n{}", self.output());
            assert!(began.elapsed() < PATIENCE, "never printed {what}\n{}", self.output());
            look_again();
        }
    }

    /// The address that stands behind `key` in the log line that says it serves.
    pub fn address(&mut self, key: &str) -> String {
        let spellings = [(format!("\"{key}\":\""), '"'), (format!(" {key}="), ' ')];
        self.wait_for("that it serves", |output| {
            let mut lines = output.lines().filter(|line| line.contains("serving"));
            lines.find_map(|line| {
                let found = |(before, after): &(String, char)| {
                    let (_, rest) = line.split_once(before.as_str())?;
                    Some(rest.split(*after).next()?.to_owned())
                };
                spellings.iter().find_map(found)
            })
        })
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it as `kill -9` does: at once, with no chance to write anything.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself.
    pub fn end(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "did not end\n{}", self.output());
            look_again();
        };
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Ended { code: status.code(), output: self.output() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// The pause between two looks at another process.
#[allow(clippy::disallowed_methods, reason = "a test's own thread waits for another process")]
fn look_again() {
    thread::sleep(Duration::from_millis(5));
}

fn follow(
    mut from: impl Read + Send + 'static,
    into: Arc<Mutex<String>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut piece = [0; 8192];
        while let Ok(1..) = from.read(&mut piece).inspect(|&size| {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..size]));
        }) {}
    })
}
