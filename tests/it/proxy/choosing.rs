//! Who is asked first: by price, by what a request is like, and what the cache makes of it.

use std::collections::BTreeMap;

use serde_json::json;
use understudy::choice::Merit;
use understudy::choice::Policy;
use understudy::choice::Weights;
use understudy::config::Clause;
use understudy::config::Condition;
use understudy::experiment::Experiment;
use understudy::experiment::Match;
use understudy::experiment::Share;
use understudy::experiment::Standing;
use understudy::experiment::life::Event;
use understudy::experiment::life::Ruling;
use understudy::stats::Verdict;

use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::Sidecar;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::config;
use crate::harness::sidecar::experiment;
use crate::harness::sidecar::route;
use crate::harness::sidecar::target;
use crate::harness::sidecar::whole;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cheapest_is_asked_first_and_any_targets_stored_answer_is_served() {
    let (openai, groq) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("openai", &openai), ("groq", &groq)]);
    let targets = [("openai/gpt-4o", None), ("groq/openai/gpt-oss-20b", None)];
    let mut cheap = route(&config, &targets);
    cheap.choose = Policy::Cost;
    config.routes.insert("cheap".into(), cheap);
    let sidecar = Sidecar::start(config).await;
    groq.expect(Answer::error(500));
    openai.expect(Answer::saying("dear"));
    let reply = sidecar.ask(asking("cheap", "1", false)).await;
    assert_eq!(reply.header("x-understudy-target"), "openai/gpt-4o");
    let reply = sidecar.ask(asking("cheap", "1", false)).await;
    assert_eq!(reply.header("x-understudy-target"), "openai/gpt-4o");
    assert!(reply.cache().contains("hit"), "{}", reply.cache());
    groq.expect(Answer::saying("cheap"));
    let reply = sidecar.ask(asking("cheap", "2", false)).await;
    assert_eq!(reply.header("x-understudy-target"), "groq/openai/gpt-oss-20b");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_not_been_asked_is_tried_and_the_faster_one_is_kept() {
    let (alpha, beta) = (Provider::start().await, Provider::start().await);
    let mut config = config(&[("alpha", &alpha), ("beta", &beta)]);
    for (name, choose) in [
        ("fast", Policy::Latency),
        ("scored", Policy::Score(Weights { cost: 0.0, latency: 1.0, quality: 0.0 })),
    ] {
        let targets = [(&*format!("alpha/{name}"), None), (&*format!("beta/{name}"), None)];
        let mut by_pace = route(&config, &targets);
        by_pace.choose = choose;
        config.routes.insert(name.into(), by_pace);
    }
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("alpha"));
    beta.always(Answer::saying("beta"));
    let mut asked = Vec::new();
    for number in 0..8 {
        let reply = sidecar.ask(asking("fast", &number.to_string(), false)).await;
        asked.push(reply.header("x-understudy-target").to_owned());
    }
    // Which of the two is faster is the machine's to say; both have been tried.
    assert!(asked.contains(&"alpha/fast".to_owned()), "{asked:?}");
    assert!(asked.contains(&"beta/fast".to_owned()), "{asked:?}");
    assert_eq!(sidecar.ask(asking("scored", "x", false)).await.status, 200);
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_condition_that_holds_says_who_answers() {
    let alpha = Provider::start().await;
    let mut config = config(&[("alpha", &alpha)]);
    let targets = |model: &str| route(&config, &[(&*format!("alpha/{model}"), None)]).targets;
    let clause = |model: &str, condition: Condition| Clause { condition, targets: targets(model) };
    let tagged =
        Match { headers: vec![("x-tag".parse().unwrap(), "vip".to_owned())], ..Match::default() };
    let field = Match { fields: vec![("/user".into(), "u-1".into())], ..Match::default() };
    let when = vec![
        clause("vip", Condition { matches: tagged, ..Condition::default() }),
        clause("field", Condition { matches: field, ..Condition::default() }),
        clause("tools", Condition { tools: Some(true), ..Condition::default() }),
        clause(
            "long",
            Condition { min_tokens: Some(100), max_tokens: Some(1000), ..Condition::default() },
        ),
        clause("stream", Condition { stream: Some(true), ..Condition::default() }),
    ];
    let mut by_kind = route(&config, &[("alpha/plain", None)]);
    by_kind.when = when;
    config.routes.insert("by-kind".into(), by_kind);
    let sidecar = Sidecar::start(config).await;
    alpha.always(Answer::saying("x"));
    let body = |extra: &str, text: &str| {
        format!(r#"{{"model":"by-kind","messages":[{{"role":"user","content":"{text}"}}]{extra}}}"#)
    };
    let tools = r#","tools":[{"type":"function","function":{"name":"f","parameters":{}}}]"#;
    let (long, longer) = ("word ".repeat(200), "word ".repeat(2000));
    for (extra, text, tag, expected) in [
        ("", "x", None, "plain"),
        ("", "x", Some("vip"), "vip"),
        ("", "x", Some("other"), "plain"),
        (r#","user":"u-1""#, "x", None, "field"),
        (tools, "x", None, "tools"),
        (tools, "x", Some("vip"), "vip"),
        ("", &*long, None, "long"),
        ("", &*longer, None, "plain"),
        (r#","stream":true"#, "x", None, "stream"),
    ] {
        let mut request = sidecar.chat(body(extra, text));
        if let Some(tag) = tag {
            request = request.header("x-tag", tag);
        }
        let reply = whole(request).await;
        let expected = format!("alpha/{expected}");
        assert_eq!(reply.header("x-understudy-target"), expected, "{extra} {tag:?}");
    }
    sidecar.stop().await;
}

/// Control is p/a and the candidate p/b, which won this share.
fn decided(won_ppm: i64) -> Experiment {
    let mut decided = experiment("p/a", "p/b", Share::ALL, Share::NONE);
    let verdict = Verdict::Ship;
    let (win_ppm, lower_ppm, upper_ppm) = (Some(won_ppm), 0, 1_000_000);
    let ruling = Ruling { verdict, pairs: 100, win_ppm, lower_ppm, upper_ppm };
    let verdicts = BTreeMap::from([("next".to_owned(), ruling)]);
    decided.standing = Standing::default().after(&Event::Decided { verdict, verdicts }).unwrap();
    decided
}

#[test]
fn quality_is_what_finished_experiments_found_of_targets_alone() {
    let running = experiment("p/a", "p/b", Share::ALL, Share::NONE);
    let mut drifted = decided(900_000);
    drifted.standing.drifted = Some("since then".to_owned());
    let mut prompted = decided(900_000);
    prompted.candidates[0].variant.patch = json!({"seed": 1}).as_object().unwrap().clone();
    for (experiments, expected) in [
        (vec![], [0.5, 0.5, 0.5]),
        (vec![running], [0.5, 0.5, 0.5]),
        (vec![drifted], [0.5, 0.5, 0.5]),
        (vec![prompted], [0.5, 0.5, 0.5]),
        (vec![decided(700_000)], [0.3, 0.7, 0.5]),
        (vec![decided(700_000), decided(500_000)], [0.4, 0.6, 0.5]),
    ] {
        let quality = |name| Merit::of(&target(name), None, None, &experiments).quality;
        let found = ["p/a", "p/b", "p/c"].map(quality);
        let is_same = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(is_same, "{found:?}, not {expected:?}");
    }
}
