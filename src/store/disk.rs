//! Directories of the store: their size, their names, and removing them.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;

/// More than sled and the journal write before the first request.
const START_BYTES: usize = 2 << 20;

/// What the files below a directory take, bytes; what cannot be read counts nothing.
pub fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        _ => entry.metadata().map_or(0, |found| found.len()),
    };
    entries.flatten().map(of).sum()
}

/// Whether a directory has no room for what a start writes.
///
/// Other failures are not told here: whoever opens the files meets them with a better reason.
pub fn is_full(dir: &Path) -> bool {
    let path = dir.join("room");
    let written = fs::write(&path, vec![0; START_BYTES]);
    let _ = fs::remove_file(&path);
    written.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
}

/// A name for what is moved aside that nothing has yet: `NAME.damaged-1` and so on.
pub fn aside(path: &Path) -> PathBuf {
    let named = |n: u32| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!("{DAMAGED}{n}"));
        path.with_file_name(name)
    };
    (1..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(0))
}

/// What was moved aside in `dir`, the oldest first.
pub fn all_aside(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(DAMAGED))
        .map(|entry| (entry.metadata().and_then(|found| found.modified()).ok(), entry.path()))
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// Removes the oldest of what was moved aside in `dir`, so that `keep` are left.
pub fn forget_aside(dir: &Path, keep: usize) {
    let found = all_aside(dir);
    for path in found.iter().take(found.len().saturating_sub(keep)) {
        // What cannot be removed now is tried again at the next sweep.
        let _ = fs::remove_dir_all(path);
    }
}

const DAMAGED: &str = ".damaged-";
