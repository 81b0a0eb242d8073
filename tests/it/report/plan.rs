//! Plans: the same numbers as the statistics give, in the words and the money of an experiment.

use std::time::Duration;

use serde_json::Value;
use understudy::cli::table;
use understudy::experiment::Share;
use understudy::forecast;
use understudy::forecast::traffic::Known;
use understudy::forecast::traffic::Told;
use understudy::forecast::traffic::Traffic;
use understudy::stats::Goal;
use understudy::stats::Spec;
use understudy::stats::Verdict;
use understudy::stats::plan;

use super::fits;
use super::golden;
use super::scores;
use super::share;
use super::tally;
use super::trial;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::whole;

fn known() -> Traffic {
    let mut traffic = Traffic::unknown(&trial());
    traffic.candidate_usd = Some(Known::measured(0.012, 900));
    traffic.judge_usd = Some(Known::measured(0.0004, 700));
    traffic.control_usd = Some(Known::measured(0.006, 900));
    let told = Told { requests_per_hour: Some(1200.0), tie_rate: Some(0.3), cost_per_pair: None };
    traffic.with(&told)
}

#[test]
fn a_plan_is_what_the_statistics_say() {
    for goal in [Goal::NonInferior, Goal::Superior, Goal::Equivalent] {
        let mut trial = trial();
        (trial.decide.goal, trial.decide.margin) = (goal, 0.04);
        let planned = forecast::plan(&trial, known());
        assert_eq!(planned.rows.iter().filter(|row| row.is_stated).count(), planned.rows.len() / 6);
        for row in &planned.rows {
            let spec = Spec {
                goal,
                margin: row.margin,
                alpha: 0.05,
                min_pairs: trial.decide.min_pairs,
                max_pairs: u64::MAX,
            };
            // Wins and losses only count; the variance of a score with ties among them.
            let decisive: f64 = 0.7;
            let sd = (decisive / 4.0 - (row.win_rate - 0.5).powi(2)).sqrt();
            let pairs = plan::expected(row.win_rate, sd, &spec);
            assert_eq!(row.pairs, pairs, "{goal} {} at {}", row.margin, row.win_rate);
            let pairs = pairs.unwrap();
            let (hours, usd) = (row.hours.unwrap(), row.usd.unwrap());
            assert!((hours.n80 - pairs.n80 as f64 / 240.0).abs() < 1e-9);
            assert!((usd.n50 - pairs.n50 as f64 * 0.0124).abs() < 1e-9);
        }
    }
}

#[test]
fn candidates_share_alpha_and_the_bill() {
    let one = forecast::plan(&trial(), known());
    let mut trial = trial();
    let mut second = trial.candidates[0].clone();
    second.variant.name = "other".to_owned();
    trial.candidates.push(second);
    let two = forecast::plan(&trial, known());
    assert_eq!((two.alpha, two.candidates), (0.025, 2));
    for (one, two) in one.rows.iter().zip(&two.rows) {
        let (a, b) = (one.pairs.unwrap(), two.pairs.unwrap());
        assert!(b.n50 >= a.n50, "{one:?} {two:?}");
        assert!((two.usd.unwrap().n50 - b.n50 as f64 * 0.0248).abs() < 1e-9);
    }
}

#[test]
fn a_sample_of_the_pairs_takes_more_of_them() {
    let (all, mut sampled) = (known(), known());
    sampled.judged_share = 0.3;
    let all = forecast::plan(&trial(), all);
    let sampled = forecast::plan(&trial(), sampled);
    let pairs = |plan: &forecast::Plan| plan.rows[2].pairs.unwrap().n50 as f64;
    let ratio = pairs(&sampled) / pairs(&all);
    // Judging a share q of the pairs multiplies the variance by about 1/q.
    assert!((2.5..4.5).contains(&ratio), "{ratio}");
}

#[test]
fn scores_say_how_many_ties_to_expect() {
    let tally = tally(&scores(150, 200, 150));
    let traffic = Traffic::unknown(&trial()).with_scores(&tally.win_rate);
    assert!((traffic.tie_rate.value - 0.4).abs() < 1e-9, "{:?}", traffic.tie_rate);
    let few = super::tally(&scores(5, 10, 5));
    let few = Traffic::unknown(&trial()).with_scores(&few.win_rate);
    assert_eq!(few.tie_rate, Known::assumed(0.0));
}

#[test]
fn a_daily_cap_makes_it_last_longer() {
    let mut traffic = known();
    traffic.shadow_daily_usd = Some(0.12);
    let plan = forecast::plan(&trial(), traffic);
    let row = plan.rows.iter().find(|row| row.is_stated).unwrap();
    // Ten copies a day.
    assert!((row.hours.unwrap().n50 - row.pairs.unwrap().n50 as f64 * 2.4).abs() < 1e-6);
}

#[test]
fn a_plan_fits_a_terminal() {
    let mut trial = trial();
    let known = forecast::plan(&trial, known());
    assert_eq!(known.rows.iter().find(|row| row.is_stated).unwrap().verdict, Verdict::Ship);
    trial.decide.max_pairs = 800;
    trial.shadow = Share::NONE;
    let unknown = forecast::plan(&trial, Traffic::unknown(&trial));
    let text = format!("{}\n\n=== nothing known\n{}\n", table::plan(&known), table::plan(&unknown));
    fits(&text);
    golden("plan.txt", &text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_traffic_is_counted_and_flags_win_over_it() {
    let alpha = Provider::start().await;
    alpha.always(Answer::saying("yes"));
    let mut config = config(&[("alpha", &alpha)]);
    let mut trial = experiment("alpha/m", "alpha/n", share(50), Share::NONE);
    trial.matches.route = Some("alpha/m".to_owned());
    config.experiments = vec![trial];
    let sidecar = Sidecar::start(config).await;
    for number in 0..6 {
        let reply = sidecar.ask(asking("alpha/m", &format!("question {number}"), false)).await;
        assert_eq!(reply.status, 200);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sidecar.flush().await;
    let plan = async |query: &str| {
        let url = format!("{}/api/v1/experiments/{query}", sidecar.admin);
        whole(sidecar.client.get(url)).await
    };
    let stored: Value = plan("trial/plan").await.json();
    let rate = &stored["traffic"]["requests_per_hour"];
    assert_eq!((&rate["origin"], &rate["of"]), (&"measured".into(), &6.into()), "{stored}");
    let told =
        plan("trial/plan?requests_per_hour=100&tie_rate=0.5&cost_per_pair=0.01").await.json();
    assert_eq!(told["traffic"]["requests_per_hour"]["value"], 100.0);
    let row = &told["rows"][4];
    let (pairs, hours, usd) = (&row["pairs"]["n50"], &row["hours"]["n50"], &row["usd"]["n50"]);
    let pairs = pairs.as_f64().unwrap();
    assert!((hours.as_f64().unwrap() - pairs / 50.0).abs() < 1e-9, "{row}");
    assert!((usd.as_f64().unwrap() - pairs * 0.01).abs() < 1e-9, "{row}");
    for (query, status) in [
        ("trail/plan", 404),
        ("trial/plan?tie_rate=1", 400),
        ("trial/plan?requests_per_hour=many", 400),
        ("trial/plan?ties=1", 400),
    ] {
        assert_eq!(plan(query).await.status, status, "{query}");
    }
    sidecar.stop().await;
}
