//! `understudy webhook` as a process: its files, its signals, its logs.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::sync::mpsc;
use understudy::webhook::authority::Authority;

use crate::harness::cluster::Cluster;
use crate::harness::process::Process;
use crate::harness::until;
use crate::harness::within;
use crate::webhook::CONFIGURATION;
use crate::webhook::Clock;
use crate::webhook::HOST;
use crate::webhook::SECRET;
use crate::webhook::api_server;
use crate::webhook::asked;
use crate::webhook::bundle;
use crate::webhook::configuration;
use crate::webhook::pod;
use crate::webhook::review;
use crate::webhook::url;

const FREE: [&str; 7] =
    ["webhook", "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0", "--image", "understudy:1"];

/// Starts it, and says where it listens.
fn start(dir: &Path, more: &[&str]) -> (Process, SocketAddr) {
    let mut process = Process::start(dir, &[&FREE[..], more].concat(), &[]);
    let address = process.address("listen").parse().unwrap();
    (process, address)
}

/// Writes a certificate as a mounted Secret appears: a folder behind a link that is swapped.
fn mount(dir: &Path, version: &str, authority: &Authority) {
    let pair = authority.issue(&[HOST.to_owned()], Timestamp::now()).unwrap();
    let folder = dir.join(version);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("tls.crt"), pair.certificate.pem()).unwrap();
    fs::write(folder.join("tls.key"), pair.key.expose_secret()).unwrap();
    symlink(version, dir.join("..new")).unwrap();
    fs::rename(dir.join("..new"), dir.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        // The second time they are there.
        let _ = symlink(Path::new("..data").join(name), dir.join(name));
    }
}

/// Asks until somebody who trusts the bundle is answered.
async fn believed(address: SocketAddr, bundle: impl Fn() -> String) -> reqwest::Client {
    within("an answer that is believed", async {
        loop {
            let client = api_server(address, &bundle(), Clock::at(Timestamp::now()));
            if review(&client, address, &asked(&pod())).await.is_ok() {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_swapped_are_read_again_and_open_connections_go_on() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (Authority::found(Timestamp::now()), Authority::found(Timestamp::now()));
    let (first, second) = (first.unwrap(), second.unwrap());
    mount(dir.path(), "..1", &first);
    let (_process, address) = start(dir.path(), &["--tls-cert", "tls.crt", "--tls-key", "tls.key"]);
    let client = believed(address, || first.certificate.pem()).await;
    mount(dir.path(), "..2", &second);
    believed(address, || second.certificate.pem()).await;
    review(&client, address, &asked(&pod())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_own_authority_no_key_is_in_its_log() {
    let cluster = Cluster::start().await;
    let dir = TempDir::new().unwrap();
    let account = cluster.account.path().to_str().unwrap();
    let names = ["--service", "hook", "--secret", "tls", "--log", "trace"];
    let api = ["--api-server", &cluster.url, "--account", account];
    let (process, address) = start(dir.path(), &[&names[..], &api].concat());
    // Where there is no configuration yet, it is told as soon as there is.
    until("the Secret", || cluster.get(SECRET).is_some()).await;
    let missing = "there is no MutatingWebhookConfiguration understudy";
    until("what is missing in the log", || process.output().contains(missing)).await;
    cluster.put(CONFIGURATION, configuration());
    believed(address, || bundle(&cluster)).await;
    until("the pod in the log", || process.output().contains("apps/web")).await;
    let log = process.output();
    for name in ["ca.key", "tls.key"] {
        let secret = cluster.get(SECRET).unwrap();
        let encoded = secret["data"][name].as_str().unwrap();
        let key = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
        let line = key.lines().nth(1).unwrap();
        assert!(!log.contains(line) && !log.contains(&encoded[64..128]), "{name}");
    }
    assert!(!log.contains("Bearer first"), "the token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_review_under_way_at_sigterm_is_answered_and_the_process_ends_well() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::found(Timestamp::now()).unwrap();
    mount(dir.path(), "..1", &authority);
    let files = ["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--linger", "0"];
    let (mut process, address) = start(dir.path(), &files);
    let client = believed(address, || authority.certificate.pem()).await;
    let text = asked(&pod()).to_string();
    let (head, tail) = text.split_at(text.len() / 2);
    let (pieces, body) = mpsc::channel::<Result<String, std::io::Error>>(2);
    let body = futures_util::stream::unfold(body, async |mut body| {
        let piece = body.recv().await?;
        Some((piece, body))
    });
    let request = client.post(url(address)).header("content-type", "application/json");
    let request = request.body(reqwest::Body::wrap_stream(body.boxed()));
    let sent = tokio::spawn(request.send());
    pieces.send(Ok(head.to_owned())).await.unwrap();
    // The next review on the same connection is answered, so the first has arrived.
    review(&client, address, &asked(&pod())).await.unwrap();
    process.terminate();
    process.wait_for("that it stops", |log| log.contains("stopping").then_some(()));
    pieces.send(Ok(tail.to_owned())).await.unwrap();
    drop(pieces);
    let answer = within("an answer", sent).await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let ended = process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[test]
fn what_is_missing_is_told_at_the_start() {
    let dir = TempDir::new().unwrap();
    for (more, said) in [
        (&[][..], "namespace cannot be read"),
        (&["--namespace", "apps"], "this is no pod of a cluster: give --api-server"),
        (&["--namespace", "apps", "--set", "speed"], "--set speed: write NAME=VALUE"),
        (&["--namespace", "apps", "--set", "speed=1"], "speed"),
        (&["--tls-cert", "tls.crt"], "--tls-key"),
    ] {
        let ended = Process::start(dir.path(), &[&FREE[..], more].concat(), &[]).end();
        assert_eq!(ended.code, Some(2), "{}", ended.output);
        assert!(ended.output.contains(said), "{}", ended.output);
    }
}
