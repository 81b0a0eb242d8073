//! `understudy healthcheck`: what a probe is told, and that it needs no file to be right.

use std::fs;

use tempfile::TempDir;

use super::serve;
use crate::harness::process::Process;

/// Asks and gives back the exit code with what was printed.
fn probe(dir: &TempDir, args: &[&str]) -> (Option<i32>, String) {
    let ended = Process::start(dir.path(), &[&["healthcheck"], args].concat(), &[]).end();
    (ended.code, ended.output.trim().to_owned())
}

#[test]
fn a_running_process_is_well_and_one_that_is_gone_is_not() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), &serve(&["--health", "127.0.0.1:0"]), &[]);
    let admin = process.address("admin");
    let well = (Some(0), "ok".to_owned());
    assert_eq!(probe(&dir, &["--admin", &admin]), well);
    assert_eq!(probe(&dir, &["--admin", &admin, "--live"]), well);
    // The addresses of a file count even where the process would refuse the file.
    let file = dir.path().join("understudy.yaml");
    fs::write(&file, format!("admin: {admin}\nroutes: nonsense\n")).unwrap();
    assert_eq!(probe(&dir, &[]), well);
    process.terminate();
    assert_eq!(process.end().code, Some(0));
    let (code, said) = probe(&dir, &[]);
    assert_eq!(code, Some(1), "{said}");
    let begins = format!("error: /readyz of {admin} does not answer: ");
    assert!(said.starts_with(&begins), "{said}");
    let (code, said) = probe(&dir, &["--config", "nowhere.yaml"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("error: cannot read nowhere.yaml: "), "{said}");
}
