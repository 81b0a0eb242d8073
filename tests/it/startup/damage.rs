//! A damaged data directory: the program starts, says what happened, keeps the damage and serves.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use tempfile::TempDir;

use super::FREE;
use crate::harness::client;
use crate::harness::process::Process;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::asking;
use crate::harness::within;

/// Answers stored before the damage.
const STORED: usize = 60;

type Damage = fn(&Path, &mut fastrand::Rng);

fn database(sled: &Path) -> PathBuf {
    sled.join("db")
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn zero_a_page(sled: &Path, rng: &mut fastrand::Rng) {
    change(&database(sled), |bytes| {
        let at = rng.usize(..bytes.len() / 4096) * 4096;
        bytes[at..at + 4096].fill(0);
    });
}

fn flip_bits(sled: &Path, rng: &mut fastrand::Rng, count: usize) {
    change(&database(sled), |bytes| {
        for _ in 0..count {
            let at = rng.usize(..bytes.len());
            bytes[at] ^= 1 << rng.u8(..8);
        }
    });
}

fn truncate(sled: &Path, keep: impl Fn(usize) -> usize) {
    change(&database(sled), |bytes| bytes.truncate(keep(bytes.len())));
}

const DAMAGES: &[(&str, Damage)] = &[
    ("nothing", |_, _| {}),
    ("cut in half", |sled, _| truncate(sled, |length| length / 2)),
    ("cut to nothing", |sled, _| truncate(sled, |_| 0)),
    ("cut by some bytes", |sled, _| truncate(sled, |length| length - 777)),
    ("a page of zeros", zero_a_page),
    ("another page of zeros", zero_a_page),
    ("a third page of zeros", zero_a_page),
    ("one bit", |sled, rng| flip_bits(sled, rng, 1)),
    ("some bits", |sled, rng| flip_bits(sled, rng, 20)),
    ("many bits", |sled, rng| flip_bits(sled, rng, 2_000)),
    ("noise for data", |sled, rng| {
        change(&database(sled), |bytes| bytes.iter_mut().for_each(|byte| *byte = rng.u8(..)));
    }),
    ("noise for settings", |sled, rng| {
        change(&sled.join("conf"), |bytes| bytes.iter_mut().for_each(|byte| *byte = rng.u8(..)));
    }),
    ("no settings", |sled, _| fs::remove_file(sled.join("conf")).unwrap()),
    ("no data", |sled, _| fs::remove_file(database(sled)).unwrap()),
];

fn start(dir: &Path, provider: &Provider) -> Process {
    let config = serde_json::json!({"providers": {"alpha": {"base_url": provider.base_url()}}});
    fs::write(dir.join("understudy.yaml"), config.to_string()).unwrap();
    let args = [&["serve", "--data-dir", "kept"], &FREE[..]].concat();
    Process::start(dir, &args, &[])
}

/// Asks one of the questions; whether the answer was a hit.
async fn ask(process: &mut Process, client: &reqwest::Client, number: usize) -> bool {
    let data = process.address("listen");
    let request = client.post(format!("http://{data}/v1/chat/completions"));
    let body = asking("alpha/m", &format!("question {number}"), false);
    let response = within("a reply", request.body(body).send()).await.unwrap();
    assert_eq!(response.status(), 200);
    let is_hit = response.headers()["cache-status"].to_str().unwrap().contains("; hit");
    let body = within("its body", response.text()).await.unwrap();
    assert!(body.contains("\"finish_reason\":\"stop\""), "damaged: {body}");
    is_hit
}

/// Waits until what was stored before this start can be found.
async fn all_opened(process: &mut Process, client: &reqwest::Client) {
    let admin = process.address("admin");
    let asked = format!("http://{admin}/api/v1/cache");
    let opening = async || {
        let reply = client.get(&asked).send().await.unwrap().text().await.unwrap();
        let stats: serde_json::Value = serde_json::from_str(&reply).unwrap();
        stats["is_opening"].as_bool().unwrap()
    };
    within("everything open", async { while opening().await {} }).await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_kept_aside_and_the_program_serves_with_what_is_left() {
    let provider = Provider::start().await;
    let mut rng = fastrand::Rng::with_seed(7);
    let noise: String = (0..40_000).map(|_| rng.alphanumeric()).collect();
    provider.always(Answer::saying(&noise));
    let client = client().build().unwrap();
    let dir = TempDir::new().unwrap();
    let mut process = start(dir.path(), &provider);
    for number in 0..STORED {
        assert!(!ask(&mut process, &client, number).await);
    }
    process.terminate();
    assert_eq!(process.end().code, Some(0));
    for (name, damage) in DAMAGES {
        let copied = TempDir::new().unwrap();
        copy(&dir.path().join("kept"), &copied.path().join("kept"));
        damage(&copied.path().join("kept/exchanges/000001"), &mut rng);
        let mut process = start(copied.path(), &provider);
        let mut hits = 0;
        for number in 0..STORED {
            hits += usize::from(ask(&mut process, &client, number).await);
        }
        // Whatever was lost is stored again, so a whole store is there after one more start.
        process.terminate();
        let ended = process.end();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.output);
        let told = ended.output.matches("kept aside").count();
        let aside = copied.path().join("kept/exchanges/000001.damaged-1");
        assert_eq!(told == 1, aside.exists(), "{name}: {}", ended.output);
        assert!(!ended.output.contains("panicked at"), "{name}: {}", ended.output);
        let is_told = ended.output.contains("damaged");
        assert!(is_told || hits == STORED, "{name}: {hits} hits\n{}", ended.output);
        assert!(*name != "nothing" || hits == STORED, "{name}: {hits} hits");
        let line = ended.output.lines().find(|line| line.contains("were damaged"));
        println!("{name:<22} {hits:>2} hits; {}", line.unwrap_or("nothing to tell"));
        let mut process = start(copied.path(), &provider);
        all_opened(&mut process, &client).await;
        let mut kept = 0;
        for number in 0..STORED {
            kept += usize::from(ask(&mut process, &client, number).await);
        }
        assert_eq!(kept, STORED, "{name}: what was stored after the damage is lost again");
        process.terminate();
        let ended = process.end();
        assert_eq!(ended.code, Some(0), "{name}");
        assert!(!ended.output.contains("damaged"), "{name}: told again: {}", ended.output);
        // A command that looks once looks at everything.
        let command =
            ["cache", "stats", "--json", "--config", "understudy.yaml", "--data-dir", "kept"];
        let looked = Process::start(copied.path(), &command, &[]).end();
        let stats: serde_json::Value = serde_json::from_str(&looked.output).unwrap();
        assert_eq!(stats["is_opening"], false, "{name}");
        assert!(stats["exchanges"].as_u64().unwrap() >= STORED as u64, "{name}: {stats}");
    }
}

/// A process that is killed loses at most what was not on disk yet, which is no damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_starts_again_without_complaint() {
    let provider = Provider::start().await;
    provider.always(Answer::saying("ok"));
    let client = client().build().unwrap();
    let dir = TempDir::new().unwrap();
    for round in 0..6 {
        let mut process = start(dir.path(), &provider);
        for number in 0..20 {
            ask(&mut process, &client, round * 20 + number).await;
        }
        let output = process.output();
        assert!(!output.contains("damaged"), "round {round}: {output}");
        drop(process);
    }
    assert!(!dir.path().join("kept/sled.damaged-1").exists());
}
