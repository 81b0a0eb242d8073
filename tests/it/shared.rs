//! Finds the recorded data that lies beside a checkout of the team; a user's clone has none.

use std::path::PathBuf;

/// The folder of recorded data, or a printed line that says what is skipped.
pub fn data(what: &str) -> Option<PathBuf> {
    let root = std::env::var_os("UNDERSTUDY_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = root.join("data").join(what);
    if !folder.exists() {
        println!("skipped: {what} is not beside this checkout");
        return None;
    }
    Some(folder)
}
