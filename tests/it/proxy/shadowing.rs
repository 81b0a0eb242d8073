//! Copies: within their budget, no storms, told apart, and every one that is lost is counted.

use serde_json::Value;
use serde_json::json;
use understudy::config::Config;
use understudy::experiment::Candidate;
use understudy::experiment::Experiment;
use understudy::experiment::Judges;
use understudy::experiment::Share;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::provider::completion;
use crate::harness::reopen_db;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::key;
use crate::harness::sidecar::target;
use crate::harness::sidecar::whole;
use crate::harness::until;

pub async fn report(sidecar: &Sidecar) -> Value {
    let request = sidecar.client.get(format!("{}/api/v1/experiments/trial", sidecar.admin));
    whole(request).await.json()
}

fn sum(lost: &Value) -> u64 {
    lost.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

/// A second candidate besides `next`.
fn and(mut experiment: Experiment, name: &str, at: &str) -> Experiment {
    let mut variant = experiment.control.clone();
    (variant.name, variant.target) = (name.to_owned(), target(at));
    experiment.candidates.push(Candidate { variant, split: Share::NONE });
    experiment
}

async fn ask(sidecar: &Sidecar, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let body = asking("alpha/m", &format!("question {number}"), false);
        assert_eq!(sidecar.ask(body).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_candidates_failure_costs_the_others_nothing_and_the_funnel_adds_up() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let gamma = Provider::start().await;
    let mut config = config(&[("alpha", &alpha), ("beta", &beta), ("gamma", &gamma)]);
    let two = experiment("alpha/m", "beta/m", Share::ALL, Share::NONE);
    config.experiments.push(and(two, "worse", "gamma/m"));
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("a"));
    beta.always(Answer::saying("a"));
    gamma.always(Answer::error(503));
    ask(&sidecar, 0..12).await;
    let settled = || sidecar.funnel("scored") + sidecar.funnel("lost") == 24;
    until("every pair to end", settled).await;
    ask(&sidecar, 0..1).await;
    until("the repetition", || sidecar.funnel("repeated") == 1).await;
    let report = report(&sidecar).await;
    let funnel = &report["funnel"];
    let count = |step: &str| funnel[step].as_u64().unwrap();
    assert_eq!((count("matched"), count("sampled"), count("repeated")), (13, 13, 1), "{funnel}");
    assert_eq!((count("promised"), count("whole"), count("scored")), (24, 12, 12), "{funnel}");
    assert_eq!(count("promised"), count("whole") + sum(&funnel["lost"]), "{funnel}");
    let (status, paused) = (&funnel["lost"]["shadow_status"], &funnel["lost"]["shadow_paused"]);
    // How many were under way when the pause began is up to the machine.
    let paused = paused.as_u64().unwrap_or(0);
    assert_eq!(status.as_u64().unwrap() + paused, 12, "{funnel}");
    assert_eq!(status.as_u64().unwrap(), gamma.count() as u64, "no copy is sent again");
    assert_eq!(report["candidates"]["next"]["pairs"], 12);
    let again = sidecar.restart(|_| {}).await;
    let after: Value = self::report(&again).await;
    assert_eq!(after["funnel"], *funnel, "a restart changes nothing");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_answer_is_no_half_of_a_pair_so_control_is_asked_again_out_of_sight() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    config.experiments.push(experiment("alpha/m", "beta/m", Share::NONE, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    alpha.expect(Answer::saying("stored"));
    alpha.expect(Answer::saying("new"));
    beta.always(Answer::saying("new"));
    let body = || asking("alpha/m", "question", false);
    assert!(sidecar.ask(body()).await.text().contains("stored"));
    let sidecar = sidecar.restart(|config| config.experiments[0].shadow = Share::ALL).await;
    let hit = sidecar.ask(body()).await;
    assert!(hit.text().contains("stored") && hit.header("cache-status").contains("hit"));
    until("the pair", || sidecar.funnel("scored") == 1).await;
    assert_eq!((alpha.count(), beta.count()), (2, 1));
    // With the stored answer as control's half the two would differ.
    assert_eq!(report(&sidecar).await["candidates"]["next"]["equal"], 1);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_asks_for_time_is_left_alone() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    config.experiments.push(experiment("alpha/m", "beta/m", Share::ALL, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("a"));
    beta.expect(Answer::error(429).header("retry-after", "600"));
    ask(&sidecar, 0..1).await;
    until("the refusal", || sidecar.funnel("lost") == 1).await;
    ask(&sidecar, 1..6).await;
    until("the others", || sidecar.funnel("lost") == 6).await;
    let lost = report(&sidecar).await["funnel"]["lost"].clone();
    assert_eq!(lost, json!({"shadow_status": 1, "shadow_paused": 5}));
    assert_eq!(beta.count(), 1);
    sidecar.stop().await;
}

/// What an answer of the model costs that says how much it took, in billionths of a dollar.
const COST: u64 = 10 * 150 + 4000 * 600;

/// What a case changes of the configuration.
type Change = fn(&mut Config);

fn costly() -> Answer {
    let mut answer: Value = serde_json::from_str(&completion("a")).unwrap();
    answer["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 4000, "total_tokens": 4010});
    Answer::json(answer.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_holds_to_the_cent_across_a_restart() {
    let of_one = |config: &mut Config| config.experiments[0].shadow_daily_usd = Some(0.012);
    let of_all = |config: &mut Config| config.shadowing.daily_usd = Some(0.012);
    let cases = [(of_one as Change, "shadow_budget"), (of_all, "shadow_budget_of_all")];
    for (set, reason) in cases {
        let (alpha, openai) = (Provider::start().await, Provider::start().await);
        let mut config = config(&[("alpha", &alpha), ("openai", &openai)]);
        config.experiments.push(experiment(
            "alpha/m",
            "openai/gpt-4o-mini",
            Share::ALL,
            Share::NONE,
        ));
        set(&mut config);
        let mut sidecar = Sidecar::start(config).await;
        alpha.always(Answer::saying("a"));
        openai.always(costly());
        for number in 0..8 {
            if number == 2 {
                sidecar = sidecar.restart(|_| {}).await;
            }
            ask(&sidecar, number..number + 1).await;
            let since = if number < 2 { 0 } else { 2 };
            let ended = || sidecar.funnel("scored") + sidecar.funnel("lost");
            until("a pair", || ended() == (number + 1 - since) as u64).await;
        }
        sidecar.flush().await;
        let report = report(&sidecar).await;
        assert_eq!(openai.count(), 4, "a fifth could cost more than is left");
        assert_eq!(report["copies"]["total_usd"], (4 * COST) as f64 / 1e9);
        assert_eq!(report["funnel"]["lost"], json!({reason: 4}));
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_carry_their_own_mark_and_key() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    config.providers.get_mut("alpha").unwrap().shadow_keys = vec![key("shadow-key")];
    config.shadowing.header = true;
    config.experiments.push(experiment("alpha/m", "alpha/n", Share::ALL, Share::NONE));
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("same"));
    let request = sidecar.chat(asking("alpha/m", "x", false)).bearer_auth("client-key");
    assert_eq!(whole(request).await.status, 200);
    until("a score", || sidecar.funnel("scored") == 1).await;
    let calls = alpha.calls();
    let mut seen: Vec<_> = calls
        .iter()
        .map(|call| (call.header("x-understudy-shadow"), call.header("authorization")))
        .collect();
    seen.sort();
    let expected = [(None, Some("Bearer client-key")), (Some("1"), Some("Bearer shadow-key"))];
    assert_eq!(seen, expected);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_asked_again_is_the_noise_and_no_candidate() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let mut experiment = experiment("alpha/m", "beta/m", Share::ALL, Share::NONE);
    experiment.again = Share::ALL;
    config.experiments.push(experiment);
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("a"));
    beta.always(Answer::saying("b"));
    ask(&sidecar, 0..3).await;
    until("the copies", || alpha.count() == 6 && beta.count() == 3).await;
    let done = async || {
        let funnel = report(&sidecar).await["funnel"].clone();
        funnel["unjudged"] == 3 && funnel["noise"]["scored"] == 3
    };
    while !done().await {
        tokio::task::yield_now().await;
    }
    let report = report(&sidecar).await;
    let (noise, next) = (&report["noise"], &report["candidates"]["next"]);
    assert_eq!((&noise["pairs"], &noise["ties"]), (&json!(3), &json!(3)), "{noise}");
    assert_eq!((&next["pairs"], &next["unjudged"]["no_judge"]), (&json!(0), &json!(3)), "{next}");
    assert_eq!(report["candidates"].as_object().unwrap().len(), 1);
    assert_eq!((&report["funnel"]["promised"], &report["funnel"]["whole"]), (&json!(3), &json!(3)));
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_that_a_crash_left_behind_catch_up_with_the_pairs_that_are_stored() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    let mut trial = experiment("alpha/m", "beta/m", Share::ALL, Share::NONE);
    // Pairs stay open until somebody labels them.
    trial.evaluate.judge = Judges::People;
    trial.again = Share::ALL;
    config.experiments.push(trial);
    let sidecar = Sidecar::start(config.clone()).await;
    alpha.always(Answer::saying("a"));
    beta.always(Answer::saying("b"));
    ask(&sidecar, 0..3).await;
    until("whole pairs", || sidecar.funnel("whole") == 3).await;
    let noise = async || report(&sidecar).await["funnel"]["noise"]["scored"] == 3;
    while !noise().await {
        tokio::task::yield_now().await;
    }
    let before = report(&sidecar).await["funnel"].clone();
    let dir = sidecar.leave().await;
    let db = reopen_db(dir.path());
    let counters = db.open_tree("funnel").unwrap();
    assert!(counters.remove("trial").unwrap().is_some());
    db.flush().unwrap();
    drop((counters, db));
    let again = Sidecar::start_in(dir, config).await;
    let after = report(&again).await["funnel"].clone();
    for step in ["promised", "whole"] {
        assert_eq!((&before[step], &after[step]), (&json!(3), &json!(3)), "{step}");
        let (before, after) = (&before["noise"][step], &after["noise"][step]);
        assert_eq!((before, after), (&json!(3), &json!(3)), "noise {step}");
    }
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halted_candidate_is_asked_no_more_and_the_others_go_on() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let gamma = Provider::start().await;
    let mut config = config(&[("alpha", &alpha), ("beta", &beta), ("gamma", &gamma)]);
    let two = experiment("alpha/m", "beta/m", Share::ALL, Share::NONE);
    config.experiments.push(and(two, "halted", "gamma/m"));
    let sidecar = Sidecar::start(config).await;
    let halt = sidecar.client.post(format!("{}/api/v1/experiments/trial/halt", sidecar.admin));
    let halt = halt.header("content-type", "application/json").body(r#"{"candidate":"halted"}"#);
    assert_eq!(whole(halt).await.status, 200);
    alpha.always(Answer::saying("a"));
    beta.always(Answer::saying("a"));
    ask(&sidecar, 0..3).await;
    until("the pairs", || sidecar.funnel("scored") == 3).await;
    assert_eq!((gamma.count(), sidecar.funnel("lost")), (0, 0));
    sidecar.stop().await;
}
