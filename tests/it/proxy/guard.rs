//! A candidate that hurts is stopped while people are using it, and a ramp waits for evidence.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use understudy::experiment::Guardrail;
use understudy::experiment::Limit;
use understudy::experiment::Metric;
use understudy::experiment::Share;
use understudy::experiment::Step;
use understudy::metrics::Word;

use crate::harness::PATIENCE;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::whole;

const CANDIDATE: &str = "trial=next";

async fn report(sidecar: &Sidecar) -> Value {
    let url = format!("{}/api/v1/experiments/trial", sidecar.admin);
    let text = sidecar.client.get(url).send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

async fn log(sidecar: &Sidecar) -> String {
    let url = format!("{}/api/v1/experiments/trial/log", sidecar.admin);
    sidecar.client.get(url).send().await.unwrap().text().await.unwrap()
}

fn breaches(sidecar: &Sidecar) -> u64 {
    sidecar.metrics.breaches.get_or_create(&Word { what: "error_rate" }).get()
}

/// Whose answer a request with these words is assigned, by a reply that may be a failure.
async fn assigned(sidecar: &Sidecar, text: String) -> String {
    sidecar.ask(asking("alpha/m", &text, false)).await.header("x-understudy-experiment").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_fails_is_halted_for_the_next_request_and_for_good() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let half = Share::from_ppm(500_000).unwrap();
    let mut trial = experiment("alpha/m", "beta/m", Share::NONE, half);
    trial.guardrails =
        vec![Guardrail { metric: Metric::ErrorRate, limit: Limit::MaxIncrease(0.01) }];
    config.experiments.push(trial);
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("good"));
    beta.always(Answer::error(500));
    let mut requests = 0;
    let began = Instant::now();
    while breaches(&sidecar) == 0 {
        assert!(began.elapsed() < PATIENCE, "{}", report(&sidecar).await["guardrails"]);
        assigned(&sidecar, format!("before {requests}")).await;
        requests += 1;
    }
    let asked = beta.count();
    for number in 0..100 {
        assert_eq!(assigned(&sidecar, format!("after {number}")).await, "trial=control");
    }
    assert_eq!(beta.count(), asked, "nobody meets the candidate any more");
    let told = report(&sidecar).await;
    assert_eq!(told["halted"], serde_json::json!(["next"]));
    let rail = &told["guardrails"]["next"][0];
    assert_eq!((&rail["metric"], &rail["health"]), (&"error_rate".into(), &"breached".into()));
    let log = log(&sidecar).await;
    assert!(log.contains("halted") && log.contains("error_rate is 1.000000"), "{log}");
    // Every pod and every start finds it so.
    let sidecar = sidecar.restart(|_| {}).await;
    for number in 0..20 {
        assert_eq!(assigned(&sidecar, format!("again {number}")).await, "trial=control");
    }
    println!("halted after {requests} requests, {asked} calls of the candidate");
    sidecar.stop().await;
}

/// Not a check of time: it prints what it finds, and no request begun after the halt may meet the
/// candidate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_request_begun_after_the_breach_is_answered_by_the_candidate() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let half = Share::from_ppm(500_000).unwrap();
    let mut trial = experiment("alpha/m", "beta/m", Share::NONE, half);
    trial.guardrails =
        vec![Guardrail { metric: Metric::ErrorRate, limit: Limit::MaxIncrease(0.01) }];
    config.experiments.push(trial);
    let sidecar = std::sync::Arc::new(Sidecar::start(config).await);
    alpha.always(Answer::saying("good"));
    beta.always(Answer::error(500));
    let start = Instant::now();
    let clients = (0..16).map(|client| {
        let sidecar = sidecar.clone();
        tokio::spawn(async move {
            let mut met = Vec::new();
            let mut after = 0;
            for number in 0.. {
                assert!(start.elapsed() < PATIENCE, "no breach");
                let (began, is_over) = (Instant::now(), breaches(&sidecar) > 0);
                after += usize::from(is_over);
                let is_candidate =
                    assigned(&sidecar, format!("{client} {number}")).await == CANDIDATE;
                met.push((began, Instant::now(), is_over, is_candidate));
                if after == 20 {
                    break;
                }
            }
            met
        })
    });
    let mut met = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        met.extend(client.await.unwrap());
    }
    let late = met.iter().filter(|(_, _, is_over, is_candidate)| *is_over && *is_candidate);
    assert_eq!(late.count(), 0, "requests begun after the breach");
    let breach = met.iter().filter(|(.., is_over, _)| *is_over).map(|(began, ..)| *began).min();
    let last = met.iter().filter(|(.., is_candidate)| *is_candidate).map(|(_, ended, ..)| *ended);
    let lag = last.max().unwrap().saturating_duration_since(breach.unwrap());
    println!("{} requests; the last answer of the candidate {lag:?} after the breach", met.len());
    let sidecar = std::sync::Arc::into_inner(sidecar).unwrap();
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ramp_takes_its_steps_when_the_candidate_has_answered_often_enough() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let share = |percent: u32| Share::from_ppm(percent * 10_000).unwrap();
    let mut trial = experiment("alpha/m", "beta/m", Share::NONE, share(10));
    trial.ramp = vec![share(50), share(100)];
    trial.step = Step { after: Duration::ZERO, requests: 5 };
    config.experiments.push(trial);
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("good"));
    beta.always(Answer::saying("good"));
    let began = Instant::now();
    for number in 0.. {
        assert!(began.elapsed() < PATIENCE, "{}", log(&sidecar).await);
        assigned(&sidecar, format!("{number}")).await;
        if log(&sidecar).await.matches("\"stepped\"").count() == 2 {
            break;
        }
    }
    // It is written down before it takes effect; another wish is heard after that.
    let url = format!("{}/api/v1/experiments/trial/resume", sidecar.admin);
    assert_eq!(whole(sidecar.client.post(url)).await.status, 400);
    for number in 0..30 {
        assert_eq!(assigned(&sidecar, format!("at the end {number}")).await, CANDIDATE);
    }
    sidecar.stop().await;
}
