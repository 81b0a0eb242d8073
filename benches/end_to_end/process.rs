//! The processes that are measured: started, watched through `/proc`, and killed when dropped.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::load;
use crate::load::Ask;

/// How long a process may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A child process with the address it serves on; dropping it kills it.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// From just before `exec` to the end of its first answer.
    pub first_answer: Duration,
}

impl Process {
    /// Starts `program` and waits until it has answered `first`.
    ///
    /// # Errors
    /// It cannot be started, or does not answer within the limit.
    pub async fn start(
        program: &Path,
        arguments: &[String],
        address: SocketAddr,
        first: &Ask,
    ) -> io::Result<Self> {
        let started = Instant::now();
        let child = Command::new(program)
            .args(arguments)
            .env_remove("UNDERSTUDY_THREADS")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut process = Self { child, address, first_answer: Duration::ZERO };
        while let Err(error) = load::once(address, first).await {
            if started.elapsed() > START_LIMIT {
                return Err(io::Error::other(format!("{} gives {error}", program.display())));
            }
            if let Some(status) = process.child.try_wait()? {
                return Err(io::Error::other(format!("{} ended: {status}", program.display())));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.first_answer = started.elapsed();
        Ok(process)
    }

    /// CPU time of all threads that run, user and system, to the nanosecond.
    ///
    /// # Errors
    /// The process has gone.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut spent = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end between the listing and the reading.
            let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let first = stat.split_whitespace().next();
            spent += first.and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(spent))
    }

    /// Resident memory, bytes.
    ///
    /// # Errors
    /// The process has gone.
    pub fn resident(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("no VmRSS"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address nobody listens on at the moment.
///
/// # Errors
/// The system has none to give.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}
