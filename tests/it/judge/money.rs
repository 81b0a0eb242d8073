//! What judging costs: the same is asked once, and a day's budget makes pairs wait.

use std::time::Duration;

use understudy::experiment::Evaluate;
use understudy::experiment::Judge;
use understudy::experiment::Judges;

use super::Bench;
use super::judged;
use super::one;
use super::stored;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar::target;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_before_is_not_asked_again() {
    let judge = Provider::start().await;
    judge.always(Answer::saying("B"));
    // Prompts differ in what the judge is shown, so the same prompt comes from two tenants.
    let mut bench = Bench::new(&[("judge", &judge)], one(|_| {})).await;
    bench.score("one", "two").await;
    bench.control.expect(Answer::saying("one"));
    bench.candidate.expect(Answer::saying("two"));
    let body = crate::harness::sidecar::asking("alpha/m", "prompt 0", false);
    let request = bench.sidecar.chat(body).bearer_auth("another-tenant");
    assert_eq!(crate::harness::sidecar::whole(request).await.status, 200);
    crate::harness::until("a score", || bench.sidecar.funnel("scored") == 2).await;
    assert_eq!(judge.calls().len(), 2, "both orders, once");
    let scores = bench.scores().await;
    let calls: Vec<u32> = scores.iter().map(|scored| scored.calls).collect();
    assert_eq!(calls.iter().sum::<u32>(), 2, "{calls:?}");
    assert!(scores.iter().all(|scored| scored.outcome == judged(Some(1.0), Some(0.0))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_days_money_is_spent_pairs_wait_and_ties_wait_with_them() {
    let judge = Provider::start().await;
    judge.always(Answer::saying("B"));
    let judges = vec![Judge::new(target("openai/gpt-4o-mini"))];
    let evaluate = Evaluate {
        judge: Judges::Models(judges),
        daily_usd: Some(1e-9),
        concurrency: Some(1),
        ..Evaluate::default()
    };
    let mut bench = Bench::new(&[("openai", &judge)], evaluate).await;
    bench.score("one", "two").await;
    bench.ask("three", "four").await;
    bench.ask("same", "same").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(bench.sidecar.funnel("scored"), 1);
    assert_eq!(judge.calls().len(), 2);
    let Bench { sidecar, control, candidate, .. } = bench;
    let dir = sidecar.abandon().await;
    let scores = stored(&dir).await;
    assert_eq!(scores.len(), 1, "{scores:?}");
    assert!(scores[0].1.cost_nano_usd > Some(0));
    drop((control, candidate));
}
