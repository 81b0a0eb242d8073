//! Files that change while requests are answered: all of them or none, and no request sees both.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use serde_json::Value;
use understudy::app::App;
use understudy::metrics::Word;
use understudy::script::Script;

use crate::harness::client;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::whole;
use crate::harness::until;
use crate::harness::within;

/// A folder as Kubernetes mounts one: every name leads through `..data`, which is swapped.
struct Mounted {
    dir: tempfile::TempDir,
    provider: String,
}

impl Mounted {
    fn new(provider: &Provider) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Self { dir, provider: provider.base_url() };
        mounted.swap(0, "");
        for name in ["understudy.yaml", "experiments"] {
            symlink(Path::new("..data").join(name), mounted.path(name)).unwrap();
        }
        mounted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a version in the place of the one before, with `more` in its experiment.
    fn swap(&self, version: usize, more: &str) {
        let folder = self.path(&format!("..v{version}"));
        fs::create_dir_all(folder.join("experiments")).unwrap();
        let config = format!(
            "providers: {{ alpha: {{ dialect: openai, base_url: \"{}\" }} }}\n\
             routes: {{ bot: {{ targets: [alpha/m{version}] }} }}\ncache: {{ mode: \"off\" }}\n",
            self.provider
        );
        fs::write(folder.join("understudy.yaml"), config).unwrap();
        // It takes part only if the route and the experiment are of one version.
        let experiment = format!(
            "experiment: trial-{version}\nmatch: {{ route: alpha/m{version} }}\n\
             control: {{ target: alpha/m{version} }}\n\
             candidates: {{ next: {{ target: alpha/n }} }}\n{more}"
        );
        fs::write(folder.join("experiments/trial.yaml"), experiment).unwrap();
        let fresh = self.path("..data_tmp");
        symlink(&folder, &fresh).unwrap();
        fs::rename(fresh, self.path("..data")).unwrap();
    }

    async fn start(&self) -> App {
        let free = Some(([127, 0, 0, 1], 0).into());
        let script = Script {
            config: Some(self.path("understudy.yaml")),
            experiments: Some(self.path("experiments")),
            variable: |_| None,
            listen: free,
            admin: free,
            health: None,
            data_dir: Some(self.path("data")),
            disk: None,
        };
        let reading = script.read().unwrap();
        App::perform(reading.config, Some((script, reading.print))).await.unwrap()
    }
}

/// The version that a request met, which has to be one.
async fn version(client: &reqwest::Client, app: &str, text: &str) -> usize {
    let request = client.post(format!("{app}/v1/chat/completions"));
    let request = request.header("content-type", "application/json");
    let reply = whole(request.body(asking("bot", text, false))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let target = reply.header("x-understudy-target").strip_prefix("alpha/m").unwrap_or_default();
    let experiment = reply.header("x-understudy-experiment");
    assert_eq!(experiment, format!("trial-{target}=control"), "two configurations: {target}");
    target.parse().unwrap()
}

const BROKEN: &str = "trafic: { shadow: 1% }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_fail_no_request_and_mix_nothing() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("yes"));
    let mounted = Mounted::new(&alpha);
    let app = mounted.start().await;
    let (data, admin) = (format!("http://{}", app.data), format!("http://{}", app.admin));
    let client = client().build().unwrap();
    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = (0..4).map(|worker| {
        let (client, data) = (client.clone(), data.clone());
        let (is_over, asked) = (is_over.clone(), asked.clone());
        tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            while !is_over.load(Ordering::Relaxed) {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                seen.insert(version(&client, &data, &format!("{worker} {number}")).await);
            }
            seen
        })
    });
    let load: Vec<_> = load.collect();
    let mut good = 0;
    for number in 1..=100 {
        let is_good = number % 3 != 0;
        mounted.swap(number, if is_good { "traffic: { shadow: 1% }\n" } else { BROKEN });
        let reply = whole(client.post(format!("{admin}/api/v1/reload"))).await;
        let config = whole(client.get(format!("{admin}/api/v1/config"))).await.json();
        if is_good {
            good = number;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!((&config["hash"], &config["error"]), (&reply.json()["hash"], &Value::Null));
        } else {
            assert_ne!(reply.status, 200, "{number}");
            let problem = config["error"]["problems"][0].as_str().unwrap();
            assert!(problem.contains("trial.yaml:5:1: unknown key `trafic`"), "{problem}");
        }
        assert_eq!(version(&client, &data, &format!("after {number}")).await, good);
    }
    is_over.store(true, Ordering::Relaxed);
    let mut seen = BTreeSet::new();
    for worker in load {
        seen.extend(within("the load", worker).await.unwrap());
    }
    assert!(seen.len() > 10 && seen.iter().all(|v| v % 3 != 0 || *v == 0), "{seen:?}");
    let reloads = |what| app.metrics.config_reloads.get_or_create(&Word { what }).get();
    assert_eq!(reloads("good"), 67);
    assert!(reloads("broken") >= 33);
    let text = app.metrics.text();
    let infos = text.lines().filter(|line| line.starts_with("understudy_config_info{"));
    let hash = app.director().files().hash;
    assert_eq!(infos.collect::<Vec<_>>(), [format!("understudy_config_info{{hash=\"{hash}\"}} 1")]);
    println!("{} requests, {} versions met", asked.load(Ordering::Relaxed), seen.len());
    within("the end", app.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_folder_is_followed_and_a_broken_one_is_told_and_not_followed() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("yes"));
    let mounted = Mounted::new(&alpha);
    let app = mounted.start().await;
    let (data, client) = (format!("http://{}", app.data), client().build().unwrap());
    let director = app.director();
    let first = director.files().hash;
    assert_eq!(version(&client, &data, "a").await, 0);
    mounted.swap(1, "");
    until("the new folder", || director.files().hash != first).await;
    assert_eq!(version(&client, &data, "b").await, 1);
    let second = director.files().hash;
    mounted.swap(2, BROKEN);
    until("the complaint", || director.files().error.is_some()).await;
    assert_eq!((version(&client, &data, "c").await, director.files().hash), (1, second));
    fs::remove_file(mounted.path("..data")).unwrap();
    until("another complaint", || {
        director.files().error.is_some_and(|error| error.message.contains("cannot read"))
    })
    .await;
    mounted.swap(3, "");
    until("the next folder", || director.files().error.is_none()).await;
    assert_eq!(version(&client, &data, "d").await, 3);
    // A port cannot change while it is listened on: the rest of the file is in force.
    let config = mounted.path("..v4/understudy.yaml");
    mounted.swap(4, "");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}limits: {{ recorder_queue: 77 }}\n")).unwrap();
    let waiting = || director.files().waiting_for_restart;
    until("the key that waits", || waiting() == ["limits.recorder_queue"]).await;
    assert_eq!(version(&client, &data, "e").await, 4);
    within("the end", app.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_and_a_limit_that_is_used_up_outlast_a_reload() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("understudy.yaml");
    let write = |more: &str| {
        let text = format!(
            "providers:\n  alpha: {{ dialect: openai, base_url: \"{}\" }}\n  \
               beta: {{ dialect: openai, base_url: \"{}\", \
                 limits: {{ requests_per_minute: 1, wait: 0s }} }}\n\
             routes:\n  broken: {{ targets: [alpha/m] }}\n  busy: {{ targets: [beta/m] }}\n{more}\
             cache: {{ mode: \"off\" }}\nretry: {{ attempts: 0 }}\n\
             breaker: {{ failures: 1, open: 1h }}\n",
            alpha.base_url(),
            beta.base_url()
        );
        fs::write(&path, text).unwrap();
    };
    write("");
    let free = Some(([127, 0, 0, 1], 0).into());
    let script = Script {
        config: Some(path.clone()),
        experiments: None,
        variable: |_| None,
        listen: free,
        admin: free,
        health: None,
        data_dir: Some(dir.path().join("data")),
        disk: None,
    };
    let reading = script.read().unwrap();
    let app = App::perform(reading.config, Some((script, reading.print))).await.unwrap();
    let (data, admin) = (format!("http://{}", app.data), format!("http://{}", app.admin));
    let client = client().build().unwrap();
    let ask = async |model: &str| {
        let request = client.post(format!("{data}/v1/chat/completions"));
        let request = request.header("content-type", "application/json");
        whole(request.body(asking(model, "x", false))).await.status
    };
    alpha.expect(Answer::error(500));
    beta.expect(Answer::saying("the only one"));
    assert_eq!((ask("broken").await, ask("busy").await), (500, 200));
    assert_eq!((ask("broken").await, ask("busy").await), (503, 429));
    write("  new: { targets: [alpha/n] }\n");
    let reply = whole(client.post(format!("{admin}/api/v1/reload"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    alpha.expect(Answer::saying("another target"));
    assert_eq!(ask("new").await, 200, "the new file is in force");
    assert_eq!((ask("broken").await, ask("busy").await), (503, 429));
    within("the end", app.stop()).await;
}
