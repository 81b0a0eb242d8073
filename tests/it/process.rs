//! Starts the real binary as separate processes, reads their logs, and ends them one way or another.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a process may take until it says that it is ready, or to end when asked.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that another process does.
const LOOK: Duration = Duration::from_millis(5);

/// A child process with its log; dropping it kills it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Resident memory now, bytes.
    pub resident: u64,
    /// The most resident memory so far, bytes.
    pub peak: u64,
}

/// A running `understudy simulate`.
pub struct Provider {
    _process: Process,
    /// What goes into `base_url`.
    pub base_url: String,
}

/// A running `understudy serve`.
pub struct Sidecar {
    pub process: Process,
    /// Data plane.
    pub listen: SocketAddr,
    /// Admin plane.
    pub admin: SocketAddr,
}

impl Process {
    /// Starts `understudy` in `dir`, with nothing of this environment; both outputs go to `log`.
    pub fn start<'a>(dir: &Path, log: &str, args: impl IntoIterator<Item = &'a str>) -> Self {
        let log = dir.join(log);
        let file = File::create(&log).unwrap();
        let child = command(dir, args)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The first line of the log that `read` understands.
    async fn said<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            // Only whole lines: the last one may still be growing.
            let log = self.log();
            let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(found) = whole.lines().find_map(&read) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended with {ended:?} instead of starting:\n{log}");
            assert!(began.elapsed() < PATIENCE, "is not ready after {PATIENCE:?}:\n{log}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends it as `kill -9` does: at once, with no chance to write anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as Kubernetes does, and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let asked = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]).status().unwrap();
        assert!(asked.success());
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "does not end:\n{}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Processor time and memory, where the system tells (zero elsewhere).
    pub fn usage(&self) -> Usage {
        let read = |file| fs::read_to_string(format!("/proc/{}/{file}", self.child.id()));
        let (Ok(stat), Ok(status)) = (read("stat"), read("status")) else {
            return Usage::default();
        };
        // The second field is the name in brackets; the 14th and 15th are in ticks of 10 ms.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        Usage {
            cpu: Duration::from_millis(10 * ticks),
            resident: kilobytes("VmRSS:") << 10,
            peak: kilobytes("VmHWM:") << 10,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Provider {
    /// Starts a simulated provider on a free port.
    pub async fn start<'a>(dir: &Path, args: impl IntoIterator<Item = &'a str>) -> Self {
        let args = ["simulate", "--listen", "127.0.0.1:0"].into_iter().chain(args);
        let mut process = Process::start(dir, "simulate.log", args);
        let said = |line: &str| Some(line.split_once("base URL ")?.1.trim().to_owned());
        let base_url = process.said(said).await;
        Self { _process: process, base_url }
    }
}

impl Sidecar {
    /// Starts a sidecar on free ports, with the data directory `data` below `dir`, and waits until
    /// it is ready.
    pub async fn start<'a>(
        dir: &Path,
        log: &str,
        client: &reqwest::Client,
        args: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let own = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let own = own.into_iter().chain(["--data-dir", "data", "--log-format", "json"]);
        let mut process = Process::start(dir, log, own.chain(args));
        let (listen, admin) = process.said(addresses).await;
        let url = format!("http://{admin}/readyz");
        let began = Instant::now();
        while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(began.elapsed() < PATIENCE, "never ready:\n{}", process.log());
            tokio::time::sleep(LOOK).await;
        }
        Self { process, listen, admin }
    }
}

/// A command to its end: what it printed, as JSON.
pub fn json<'a>(dir: &Path, args: impl IntoIterator<Item = &'a str>) -> Value {
    let out = command(dir, args).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{}: {said}{complained}", out.status);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said}{complained}"))
}

/// Runs the command with these lines to read, and gives what it said.
pub fn told<'a>(dir: &Path, args: impl IntoIterator<Item = &'a str>, lines: &str) -> String {
    use std::io::Write;
    let mut command = command(dir, args);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{}: {said}{complained}", out.status);
    said.into_owned()
}

/// A client for addresses of this machine, whatever proxy or TLS backend the process has.
pub fn client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
    builder.tls_backend_preconfigured(tls).build().unwrap()
}

/// The program, with nothing of this environment, to be started in `dir`.
pub fn command<'a>(dir: &Path, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
    // Keys, proxies and settings of whoever runs the tests must not change what they see.
    command.env_clear().current_dir(dir).args(args);
    command
}

fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let event: Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| event[name].as_str()?.parse().ok();
    (event["message"] == "serving").then_some(())?;
    Some((address("listen")?, address("admin")?))
}
