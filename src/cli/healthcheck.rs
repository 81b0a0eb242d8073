//! `understudy healthcheck`: a probe for where nothing else is that could ask.

use std::fs;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::cli::say;
use crate::config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// How long the process may take to answer; a kubelet gives up a moment sooner or later.
const PATIENCE: Duration = Duration::from_secs(2);

/// More than the answer to a probe.
const MOST_BYTES: u64 = 4096;

/// Options of `understudy healthcheck`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Configuration file, for the addresses in it [default: understudy.yaml, if there is one]
    #[arg(long, value_name = "FILE", env = "UNDERSTUDY_CONFIG")]
    config: Option<PathBuf>,
    /// Address of the admin plane, if `serve` was given one
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Address of the probes, if `serve` was given one
    #[arg(long, value_name = "ADDR")]
    health: Option<SocketAddr>,
    /// Ask whether it runs, not whether it takes requests
    #[arg(long)]
    live: bool,
}

/// Asks; the exit code is 0 if the answer is yes.
///
/// # Errors
/// Nobody answers, or the file that was named cannot be read.
pub async fn run(args: Args) -> Result<ExitCode> {
    let address = reachable(address(&args)?);
    let path = if args.live { "/livez" } else { "/readyz" };
    let asked = tokio::time::timeout(PATIENCE, ask(address, path)).await;
    let failed = |why: &dyn std::fmt::Display| {
        Error::new(Kind::Connect, format!("{path} of {address} does not answer: {why}"))
    };
    let answer = asked.map_err(|_| failed(&"it takes too long"))?.map_err(|e| failed(&e))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    say(body.trim_end());
    let is_good = head.split(' ').nth(1) == Some("200");
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Of the flags, then of the file, then the usual one; the probes' own before the admin plane's.
///
/// Of the file nothing else is read: a process goes on when its file breaks, and its probe has to
/// say so.
fn address(args: &Args) -> Result<SocketAddr> {
    let path = args.config.clone().unwrap_or_else(|| "understudy.yaml".into());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if args.config.is_some() => {
            let what = format!("cannot read {}: {error}", path.display());
            return Err(Error::new(Kind::BadRequest, what));
        }
        Err(_) => String::new(),
    };
    let written = config::doors(&text);
    let health = args.health.or(written.health);
    Ok(health.or(args.admin).or(written.admin).unwrap_or(config::Config::default().admin))
}

/// Whoever listens on all addresses is there on this machine's own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// By hand: an HTTP client would want certificates, which an image of one file need not have.
async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
