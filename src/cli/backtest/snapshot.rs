//! What the sidecar has stored, as far as the experiment takes it, in a file of the backtest's own:
//! traffic goes on, and a backtest that was interrupted must find the same requests again.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::fs;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::io::BufWriter;

use crate::backtest::line;
use crate::backtest::sieve::Sieve;
use crate::cli::stored::Source;
use crate::cli::stored::Which;
use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// The most that is taken, bytes.
const MAX_BYTES: u64 = 2 << 30;

/// What was looked at.
#[derive(Debug, Default)]
pub struct Seen {
    /// Exchanges.
    pub requests: u64,
    /// Those that are not taken, by reason.
    pub passed_over: BTreeMap<String, u64>,
}

/// Writes it.
///
/// # Errors
/// What is stored cannot be read, or the file cannot be written.
pub async fn take(
    config: &Config,
    sieve: &Sieve,
    since: Option<String>,
    path: &Path,
) -> Result<Seen> {
    let failed = |error: std::io::Error| {
        Error::new(Kind::Store, format!("cannot write {}: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).await.map_err(failed)?;
    }
    let beside = path.with_extension("new");
    let mut file = BufWriter::new(File::create(&beside).await.map_err(failed)?);
    let source = Source::open(config).await?;
    let mut lines = source.export(&Which::since(since), false).await?;
    let (mut seen, mut rest, mut written) = (Seen::default(), Vec::new(), 0_u64);
    while let Some(piece) = lines.next().await? {
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if seen.take(sieve, &line) && written + line.len() as u64 <= MAX_BYTES {
                file.write_all(&line).await.map_err(failed)?;
                written += line.len() as u64;
            }
        }
    }
    file.flush().await.map_err(failed)?;
    file.into_inner().sync_all().await.map_err(failed)?;
    fs::rename(&beside, path).await.map_err(failed)?;
    Ok(seen)
}

impl Seen {
    fn take(&mut self, sieve: &Sieve, line: &[u8]) -> bool {
        self.requests += 1;
        let asked = line::read(line.trim_ascii()).and_then(|line| line.asked());
        let taken = asked.map_err(|_| "unreadable").and_then(|asked| sieve.take(&asked).map(drop));
        if let Err(why) = taken {
            *self.passed_over.entry(why.to_owned()).or_default() += 1;
        }
        taken.is_ok()
    }
}
