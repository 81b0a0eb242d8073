//! People as the judge: pairs wait for a label, which is then the score.

use understudy::experiment::Evaluate;
use understudy::experiment::Judges;
use understudy::judge;
use understudy::judge::prompt::Order;
use understudy::pair::Facts;
use understudy::pair::Outcome;
use understudy::stats::Score;

use super::Bench;
use super::judged;
use super::stored;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_that_differ_wait_for_people_and_equal_ones_do_not() {
    let evaluate = Evaluate { judge: Judges::People, ..Evaluate::default() };
    let mut bench = Bench::new(&[], evaluate).await;
    bench.ask("one", "two").await;
    bench.ask("same", "same").await;
    crate::harness::until("the tie", || bench.sidecar.funnel("scored") == 1).await;
    crate::harness::until("nothing in the queue", || bench.sidecar.metrics.judge_queue.get() == 0)
        .await;
    let dir = bench.sidecar.leave().await;
    let scores = stored(&dir).await;
    assert_eq!(scores.len(), 1);
    assert_eq!(scores[0].1.outcome, Outcome::Equal { comparator: "exact".to_owned() });
}

#[test]
fn a_label_is_a_verdict_in_the_order_that_was_shown() {
    let scored = judge::human(Score::WIN, Order::CandidateFirst, Facts::default());
    assert_eq!(scored.outcome, judged(None, Some(1.0)));
    assert_eq!((scored.calls, scored.cost_nano_usd), (0, Some(0)));
    assert_eq!(scored.facts.panel[0].judge, "human");
}
