//! Who gets through to the admin plane, and what a browser is told.

use std::fs;

use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;
use understudy::app::App;
use understudy::config::Admission;

use crate::harness::process::Process;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::config;
use crate::harness::sidecar::whole;

const PATH: &str = "/api/v1/experiments";

async fn status(sidecar: &Sidecar, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let url = format!("{}{path}", sidecar.admin);
    let request = sidecar.client.request(method.parse().unwrap(), url);
    let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
    whole(request).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_only_probes_go_without() {
    let mut config = config(&[]);
    config.admission = Admission::Token(SecretString::from("open-sesame"));
    let sidecar = Sidecar::start(config).await;
    // aladdin:open-sesame, aladdin:closed, and the token as a name.
    let basic = "Basic YWxhZGRpbjpvcGVuLXNlc2FtZQ==";
    for (authorization, expected) in [
        (None, 401),
        (Some("Bearer open-sesam"), 401),
        (Some("Bearer open-sesame2"), 401),
        (Some("Bearer "), 401),
        (Some("open-sesame"), 401),
        (Some("Basic YWxhZGRpbjpjbG9zZWQ="), 401),
        (Some("Basic b3Blbi1zZXNhbWU6"), 401),
        (Some("Basic !"), 401),
        (Some("Bearer open-sesame"), 200),
        (Some("bearer open-sesame"), 200),
        (Some(basic), 200),
    ] {
        let headers: Vec<(&str, &str)> =
            authorization.map(|value| ("authorization", value)).into_iter().collect();
        for path in [PATH, "/metrics", "/"] {
            let found = status(&sidecar, "GET", path, &headers).await;
            assert_eq!(found, expected, "{path}: {authorization:?}");
        }
        for path in ["/livez", "/readyz"] {
            assert_eq!(status(&sidecar, "GET", path, &headers).await, 200, "{path}");
        }
    }
    let named = [("authorization", basic), ("host", "understudy.svc:4101")];
    assert_eq!(status(&sidecar, "GET", PATH, &named).await, 200, "whoever has it may use a name");
    let refused = whole(sidecar.client.get(format!("{}{PATH}", sidecar.admin))).await;
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_neither_reads_nor_changes_anything() {
    let sidecar = Sidecar::start(config(&[])).await;
    let here = sidecar.admin.trim_start_matches("http://").to_owned();
    for (host, expected) in [
        ("evil.example", 403),
        ("evil.example:4101", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:1", 403),
        ("localhost:4101", 200),
        ("LOCALHOST", 200),
        ("me.localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:4101", 200),
        (&here, 200),
    ] {
        assert_eq!(status(&sidecar, "GET", PATH, &[("host", host)]).await, expected, "{host}");
    }
    let same = format!("http://{here}");
    for (name, value, expected) in [
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://127.0.0.1:1", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("origin", same.as_str(), 200),
        ("x-none", "of these", 200),
    ] {
        let headers = [(name, value), ("content-type", "application/json")];
        let found = status(&sidecar, "POST", "/api/v1/exchanges/purge", &headers).await;
        assert_eq!(found == 403, expected == 403, "{name}: {value} is {found}");
        assert_eq!(status(&sidecar, "GET", PATH, &[(name, value)]).await, 200, "{value} may look");
    }
    for path in ["/", PATH, "/nothing"] {
        let request = sidecar.client.get(format!("{}{path}", sidecar.admin));
        let reply = whole(request.header("accept", "text/html")).await;
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("script-src"));
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_the_admin_plane_stays_on_this_machine() {
    let mut config = config(&[]);
    config.admin = "0.0.0.0:0".parse().unwrap();
    let Err(refused) = App::start(config.clone()).await else { panic!("it started") };
    assert!(refused.detail.contains("set admin_token"), "{}", refused.detail);
    config.admission = Admission::Open;
    config.data_dir = TempDir::new().unwrap().path().join("data");
    let app = App::start(config).await.unwrap();
    app.stop().await;
}

#[test]
fn commands_send_the_token_that_the_file_or_the_environment_has() {
    let dir = TempDir::new().unwrap();
    let token = ("UNDERSTUDY_ADMIN_TOKEN", "open-sesame");
    let mut running = Process::start(
        dir.path(),
        &["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
        &[token],
    );
    let admin = running.address("admin");
    for command in [&["cache", "ls"][..], &["experiment", "ls"]] {
        let args = [command, &["--admin", &admin]].concat();
        let without = Process::start(dir.path(), &args, &[]).end();
        assert_ne!(without.code, Some(0), "{command:?}");
        assert!(without.output.contains("UNDERSTUDY_ADMIN_TOKEN"), "{}", without.output);
        let with = Process::start(dir.path(), &args, &[token]).end();
        assert_eq!(with.code, Some(0), "{}", with.output);
    }
    let file = json!({"admin_token": {"value": "open-sesame"}});
    fs::write(dir.path().join("understudy.yaml"), file.to_string()).unwrap();
    let args = ["cache", "ls", "--admin", &admin];
    assert_eq!(Process::start(dir.path(), &args, &[]).end().code, Some(0));
    running.terminate();
    let ended = running.end();
    assert!(!ended.output.contains("open-sesame"));
}
