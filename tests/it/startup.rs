//! The built program when things are broken: what a person reads, and how it ends.

mod canary;
mod damage;
mod drain;
mod probe;
mod secrecy;

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::process::Process;

/// Options that let a program start beside any other.
pub const FREE: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

/// Starts in `dir`, waits for the end and compares the exit code and everything printed.
fn check(dir: &Path, args: &[&str], code: i32, expected: &str) {
    let ended = Process::start(dir, args, &[]).end();
    let masked = ended.output.replace(&dir.display().to_string(), "DIR");
    println!("$ understudy {}\n{masked}exit {:?}\n", args.join(" "), ended.code);
    let masked: Vec<&str> = masked.lines().map(str::trim_end).collect();
    assert_eq!((ended.code, masked.join("\n").trim()), (Some(code), expected.trim()), "{args:?}");
}

fn serve<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["serve"], &FREE[..], more].concat()
}

#[test]
fn a_broken_file_is_shown_with_its_place_and_a_way_out() {
    let dir = TempDir::new().unwrap();
    let files = [
        (
            "broken.yaml",
            "listen: 127.0.0.1:0\nproviders:\n  openai: {base_url: \"http://x\nroutes:\n",
        ),
        (
            "unknown.yaml",
            "cache:\n  mod: off\n  ttl: 3 days\nroutes:\n  bot: { targets: [opnai/gpt-4o] }\n",
        ),
    ];
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    check(dir.path(), &serve(&["--config", "broken.yaml"]), 2, BROKEN);
    check(dir.path(), &serve(&["--config", "unknown.yaml"]), 2, UNKNOWN);
    check(dir.path(), &serve(&["--config", "missing.yaml"]), 2, MISSING);
    check(dir.path(), &serve(&["--experiments", "nowhere"]), 2, NOWHERE);
}

const BROKEN: &str = r#"
broken.yaml:3:22: this is not YAML: unclosed quote
3 |   openai: {base_url: "http://x
  |                      ^

error: 1 problem in the files above
"#;

const UNKNOWN: &str = "
unknown.yaml:2:3: unknown key `mod` in `cache`
2 |   mod
  |   ^
  = help: did you mean `mode`?

unknown.yaml:3:8: `cache.ttl` has to be a duration, not `3 days`
3 |   ttl: 3 days
  |        ^
  = help: write a number and a unit: 500ms, 5s, 10m, 24h or 7d

unknown.yaml:5:20: `routes.bot.targets[0]` names the unknown provider `opnai`
5 |   bot: { targets: [opnai/gpt-4o] }
  |                    ^
  = help: did you mean `openai`?

error: 3 problems in the files above
";

const MISSING: &str = "error: cannot read missing.yaml: No such file or directory (os error 2): \
                       check the path, or leave the option out";

const NOWHERE: &str = "error: cannot read nowhere: No such file or directory (os error 2): \
                       check the path, or leave the option out";

#[test]
fn a_wrong_option_is_shown_with_the_right_one() {
    let dir = TempDir::new().unwrap();
    check(
        dir.path(),
        &["serve", "--liste", "127.0.0.1:0"],
        2,
        "
error: unexpected argument '--liste' found

  tip: a similar argument exists: '--listen'

Usage: understudy serve --listen <ADDR>

For more information, try '--help'.
",
    );
    check(
        dir.path(),
        &["serve", "--listen", "nonsense"],
        2,
        "
error: invalid value 'nonsense' for '--listen <ADDR>': invalid socket address syntax

For more information, try '--help'.
",
    );
    check(
        dir.path(),
        &["serv"],
        2,
        "
error: unrecognized subcommand 'serv'

  tip: a similar subcommand exists: 'serve'

Usage: understudy [OPTIONS] <COMMAND>

For more information, try '--help'.
",
    );
    check(
        dir.path(),
        &serve(&["--log", "loud=very"]),
        2,
        "
error: --log loud=very: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \
\"info\", \"debug\", \"trace\", or a number 0-5; write for example info
",
    );
}

#[test]
fn a_port_in_use_is_named_with_the_setting_that_chose_it() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).unwrap();
    let address = taken.1.as_str();
    for (option, other, key) in
        [("--listen", "--admin", "listen"), ("--admin", "--listen", "admin")]
    {
        let expected = format!(
            "error: cannot listen on {address} (`{key}`): Address already in use (os error 98): \
             another program has this port; stop it or choose another one"
        );
        check(dir.path(), &["serve", option, address, other, "127.0.0.1:0"], 1, &expected);
    }
    assert!(!dir.path().join("understudy-data").exists(), "it made a data directory all the same");
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named_with_the_reason() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    fs::create_dir(dir.path().join("odd")).unwrap();
    fs::write(dir.path().join("odd/sled"), "x").unwrap();
    let file = "a file stands where a directory is needed: choose another data_dir";
    let none = "No such file or directory (os error 2): choose another data_dir";
    for (path, named, why) in [
        ("file", "file", file),
        ("file/below", "file/below", file),
        ("odd", "odd/sled", file),
        ("/proc/understudy", "/proc/understudy", none),
    ] {
        let expected = format!("error: cannot use the data directory {named}: {why}");
        check(dir.path(), &serve(&["--data-dir", path]), 1, &expected);
    }
}

#[test]
fn a_data_directory_in_use_is_left_to_its_owner() {
    let dir = TempDir::new().unwrap();
    let args = serve(&["--data-dir", "kept"]);
    let mut first = Process::start(dir.path(), &args, &[]);
    first.address("listen");
    let expected = "error: cannot use the data directory kept/sled: another understudy has it \
                    open: stop that one, or give this one its own data_dir";
    check(dir.path(), &args, 1, expected);
    first.terminate();
    assert_eq!(first.end().code, Some(0));
    let mut next = Process::start(dir.path(), &args, &[]);
    next.address("listen");
    next.terminate();
    assert_eq!(next.end().code, Some(0));
}
