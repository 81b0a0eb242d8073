//! Ways of asking: orders, samples, reasons, rubrics, templates, panels, questions asked again.

use http::header::HeaderName;
use serde_json::Value;
use serde_json::json;
use understudy::compare::Comparator;
use understudy::experiment::Evaluate;
use understudy::experiment::Judge;
use understudy::experiment::Judges;
use understudy::experiment::Method;
use understudy::experiment::Reference;
use understudy::experiment::Scale;
use understudy::experiment::Share;
use understudy::experiment::Template;
use understudy::pair::Opinion;
use understudy::pair::Outcome;
use understudy::pair::Scored;
use understudy::stats::Score;

use super::Bench;
use super::judged;
use super::one;
use super::said;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::asking;
use crate::harness::sidecar::target;
use crate::harness::sidecar::whole;
use crate::harness::until;

fn half() -> Share {
    Share::from_ppm(500_000).unwrap()
}

/// Scores of pairs that differ, by a judge that always says B.
async fn all_b(evaluate: Evaluate, pairs: u64) -> (Vec<Scored>, usize) {
    let judge = Provider::start().await;
    judge.always(Answer::saying("B"));
    let mut bench = Bench::new(&[("judge", &judge)], evaluate).await;
    for n in 0..pairs {
        bench.score(&format!("one {n}"), &format!("two {n}")).await;
    }
    (bench.scores().await, judge.calls().len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_both_orders_chance_says_who_is_shown_first() {
    let (scores, calls) = all_b(one(|judge| judge.both_orders = Share::NONE), 40).await;
    assert_eq!(calls, 40);
    let first = |wanted: Outcome| scores.iter().filter(|s| s.outcome == wanted).count();
    let (control, candidate) = (first(judged(Some(1.0), None)), first(judged(None, Some(0.0))));
    assert_eq!(control + candidate, 40);
    assert!((8..=32).contains(&control), "{control} of 40 with control first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_asked_in_both_orders_and_another_once_more() {
    let change = |judge: &mut Judge| {
        judge.both_orders = half();
        judge.repeat = half();
    };
    let (scores, calls) = all_b(one(change), 40).await;
    let both = scores.iter().filter(|s| s.outcome == judged(Some(1.0), Some(0.0))).count();
    let again = scores.iter().filter(|s| s.facts.repeat.is_some()).count();
    assert!((8..=32).contains(&both) && (8..=32).contains(&again), "{both} {again}");
    assert_eq!(calls, 40 + both + again);
    for scored in scores.iter().filter(|scored| scored.facts.repeat.is_some()) {
        let (first, second) = scored.facts.repeat.unwrap();
        assert_eq!(first, second);
    }
    assert_eq!(scores.iter().map(|s| s.calls as usize).sum::<usize>(), calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_is_judged_and_the_others_are_told_apart() {
    let sampled = |judge| Evaluate { sample: half(), ..judge };
    let (scores, calls) = all_b(sampled(one(|_| {})), 40).await;
    let left = scores.iter().filter(|s| s.outcome == Outcome::Unsampled {}).count();
    assert!((8..=32).contains(&left), "{left}");
    assert_eq!(calls, 2 * (40 - left));
    assert!(scores.iter().all(|scored| !scored.facts.segments.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reasons_and_rubrics_are_asked_for_by_schema_and_without_one_where_that_is_refused() {
    let judge = Provider::start().await;
    let reasons = one(|judge| {
        judge.reasons = true;
        judge.both_orders = Share::NONE;
    });
    let mut bench = Bench::new(&[("judge", &judge)], reasons).await;
    let reply = |reason: &str| json!({"reason": reason, "verdict": "B"}).to_string();
    judge.always(Answer::saying(&reply("The second is right.")));
    bench.score("one", "two").await;
    for call in judge.calls() {
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        let schema = &body["response_format"]["json_schema"]["schema"];
        assert_eq!(schema["required"], json!(["reason", "verdict"]), "{body}");
        assert_eq!(body["temperature"], json!(0.0));
        assert!(body["logprobs"].is_null(), "{body}");
    }
    judge.always(Answer::saying(&reply("Answer A is better.")));
    bench.score("three", "four").await;
    judge.calls();
    // From now on the judge takes no schema, and its last line says it.
    judge.always(Answer::saying("Answer A is better.\nB"));
    judge.expect(Answer::error(400));
    bench.score("five", "six").await;
    let calls = judge.calls();
    let with_schema = |call: &&crate::harness::provider::Call| {
        String::from_utf8_lossy(&call.body).contains("json_schema")
    };
    assert_eq!((calls.len(), calls.iter().filter(with_schema).count()), (2, 1));
    let scores = bench.scores().await;
    assert!(matches!(scores[0].outcome, Outcome::Judged { .. }), "{scores:?}");
    assert_eq!(scores[1].outcome, Outcome::unjudged("contradiction"));
    assert_eq!(scores[2].outcome, Outcome::unjudged("no_verdict"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rubric_scores_both_answers_by_each_criterion() {
    let judge = Provider::start().await;
    judge.always(Answer::saying(r#"{"A1": 2, "A2": 5, "B1": 4, "B2": 5}"#));
    let rubric = one(|judge| {
        judge.method = Method::Rubric(Scale::Five);
        judge.criteria = vec!["Right.".to_owned(), "Kind.".to_owned()];
    });
    let mut bench = Bench::new(&[("judge", &judge)], rubric).await;
    bench.score("one", "two").await;
    let (system, _) = said(&judge.calls()[0]);
    assert!(system.contains("1. Right.\n2. Kind.") && system.contains("`B2`"), "{system}");
    let scores = bench.scores().await;
    // (63 + 100) / 2 hundredths against (88 + 100) / 2, rounded: 63 and 88.
    assert_eq!(scores[0].outcome, judged(Some(0.625), Some(0.375)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_shows_the_question_the_answers_and_the_reference() {
    let judge = Provider::start().await;
    judge.always(Answer::saying("C"));
    let source = "Is it {{ criteria }}?\n{{ question }}{% if reference %}Known: {{ reference }}\
                  {% endif %}\nFirst: {{ answer_a }}\nSecond: {{ answer_b }}";
    let evaluate = one(|judge| {
        judge.criteria = vec!["true".to_owned()];
        judge.template = Some(Template::parse(source, "true").unwrap());
        judge.reference = Some(Reference::Header(HeaderName::from_static("x-truth")));
        judge.both_orders = Share::NONE;
    });
    let mut bench = Bench::new(&[("judge", &judge)], evaluate).await;
    bench.score("one", "two").await;
    let (system, user) = said(&judge.calls()[0]);
    assert!(!system.contains("You compare"), "{system}");
    assert!(user.starts_with("Is it true?\n\n<<<question ") && !user.contains("Known"), "{user}");
    bench.control.expect(Answer::saying("three"));
    bench.candidate.expect(Answer::saying("four"));
    let request = bench.sidecar.chat(asking("alpha/m", "prompt 1", false));
    assert_eq!(whole(request.header("x-truth", "It is so.")).await.status, 200);
    until("a score", || bench.sidecar.funnel("scored") == 2).await;
    let (_, user) = said(&judge.calls()[0]);
    assert!(user.contains("Known: \n<<<reference ") && user.contains("\nIt is so.\n"), "{user}");
    let scores = bench.scores().await;
    assert!(scores.iter().all(|s| s.outcome.score() == Some(Score::TIE)), "{scores:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_in_the_body_is_shown_without_a_template_too() {
    let judge = Provider::start().await;
    judge.always(Answer::saying("B"));
    let field = Reference::Field("/metadata/truth".to_owned());
    let bench = Bench::new(&[("judge", &judge)], one(|judge| judge.reference = Some(field))).await;
    bench.control.expect(Answer::saying("one"));
    bench.candidate.expect(Answer::saying("two"));
    let body = json!({
        "model": "alpha/m", "metadata": {"truth": "It is so."},
        "messages": [{"role": "user", "content": "prompt 0"}],
    });
    assert_eq!(bench.sidecar.ask(body.to_string()).await.status, 200);
    until("a score", || bench.sidecar.funnel("scored") == 1).await;
    let (_, user) = said(&judge.calls()[0]);
    assert!(user.contains("<<<reference ") && user.contains("\nIt is so.\n"), "{user}");
    bench.sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panel_needs_every_verdict_unless_a_quorum_is_enough() {
    let (one, two, three) =
        (Provider::start().await, Provider::start().await, Provider::start().await);
    one.always(Answer::saying("B"));
    two.always(Answer::saying("A"));
    three.always(Answer::saying("I would rather not say."));
    let names = ["one/j", "two/j", "three/j"];
    for (quorum, size, wanted) in [
        (None, 2, judged(Some(0.5), Some(0.5))),
        (None, 3, Outcome::unjudged("no_verdict")),
        (Some(2), 3, judged(Some(0.5), Some(0.5))),
    ] {
        let panel = names.iter().take(size).map(|name| Judge::new(target(name))).collect();
        let judge = Judges::Models(panel);
        let evaluate = Evaluate { judge, quorum, ..Evaluate::default() };
        let judges = [("one", &one), ("two", &two), ("three", &three)];
        let mut bench = Bench::new(&judges, evaluate).await;
        bench.score("x", "y").await;
        let scores = bench.scores().await;
        assert_eq!(scores[0].outcome, wanted, "{quorum:?} of {size}");
        let b = |control: f64| Some(Score::new(control).unwrap());
        let opinion = |judge: &str, control_first, candidate_first| Opinion {
            judge: judge.to_owned(),
            control_first,
            candidate_first,
        };
        let all = [
            opinion("one/j", b(1.0), b(0.0)),
            opinion("two/j", b(0.0), b(1.0)),
            opinion("three/j", None, None),
        ];
        assert_eq!(scores[0].facts.panel, all[..size], "{quorum:?} of {size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparator_may_settle_who_loses() {
    let evaluate = Evaluate { comparators: vec![Comparator::Schema], ..one(|_| {}) };
    let judge = Provider::start().await;
    let bench = Bench::new(&[("judge", &judge)], evaluate).await;
    bench.control.expect(Answer::saying("{\"a\": 1}"));
    bench.candidate.expect(Answer::saying("a is 1"));
    let format = json!({"type": "json_schema", "json_schema": {
        "name": "a", "schema": {"type": "object", "required": ["a"]},
    }});
    let body = json!({
        "model": "alpha/m", "response_format": format,
        "messages": [{"role": "user", "content": "prompt 0"}],
    });
    assert_eq!(bench.sidecar.ask(body.to_string()).await.status, 200);
    until("a score", || bench.sidecar.funnel("scored") == 1).await;
    assert_eq!(judge.count(), 0, "nobody is asked");
    let scores = bench.scores().await;
    let wanted = Outcome::Settled { comparator: "schema".to_owned(), score: Score::LOSS };
    assert_eq!(scores[0].outcome, wanted);
}
