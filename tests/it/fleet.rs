//! Many sidecars and one verdict: however the pairs are split, the sum and the verdict are those of
//! one process.

use proptest::collection;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};
use std::collections::BTreeMap;
use understudy::experiment::Experiment;
use understudy::fleet::{Counts, Fleet, Summary};
use understudy::pair::{Outcome, Scored};
use understudy::report::Report;
use understudy::stats::Score;
use understudy::tally::{AGAIN, Tally};

use crate::evidence;
use crate::evidence::{facts, judged, scored};

/// A pair with the label that a person may have given it.
type Pair = (Scored, Option<Score>);

fn score() -> impl Strategy<Value = Score> {
    let plain = prop_oneof![Just(Score::LOSS), Just(Score::TIE), Just(Score::WIN)];
    prop_oneof![3 => plain, 1 => (0_u32..=1_000_000_000).prop_map(|n| n.try_into().unwrap())]
}

fn pair() -> impl Strategy<Value = Pair> {
    let both = (score(), score())
        .prop_map(|(a, b)| Outcome::Judged { control_first: Some(a), candidate_first: Some(b) });
    let one =
        score().prop_map(|a| Outcome::Judged { control_first: Some(a), candidate_first: None });
    let outcome = prop_oneof![
        6 => both,
        2 => one,
        1 => Just(Outcome::Equal { comparator: "exact".into() }),
        1 => Just(Outcome::Unsampled {}),
        1 => Just(Outcome::Unjudged { reason: "no_verdict".into() }),
    ];
    let label = proptest::option::of(score());
    let place = (0_u64..40, 0_u8..60, any::<bool>(), 0_u64..1000);
    (outcome, label, place).prop_map(|(outcome, label, (unit, tenant, suspicious, number))| {
        let mut facts = facts(number);
        facts.unit = Some(unit.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        facts.segments.insert("tenant".into(), format!("tenant-{tenant}"));
        facts.segments.insert("route".into(), format!("route-{}", tenant % 3));
        facts.candidate.suspicious = suspicious && tenant == 0;
        (scored(outcome, facts), label)
    })
}

fn counts(pairs: &[&Pair]) -> Counts {
    let mut tally = Tally::default();
    let mut counts = Counts::default();
    for (scored, label) in pairs {
        tally.add(scored, *label);
        counts.funnel.settle("next", &scored.outcome);
        counts.funnel.promise(&["control".into(), "next".into()], scored.scored_ms);
    }
    counts.tallies =
        BTreeMap::from([("next".to_owned(), tally), (AGAIN.to_owned(), Tally::default())]);
    counts
}

/// Everything of a report that comes from its numbers, as text.
fn told(report: &Report) -> String {
    serde_json::to_string(report).unwrap()
}

fn passed_on(experiment: &Experiment, replica: usize, version: u64, counts: Counts) -> Summary {
    let summary = Summary::new(experiment, format!("replica-{replica}"), version, counts);
    Summary::read(&serde_json::to_vec(&summary).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 24, ..Default::default() })]

    #[test]
    fn any_split_in_any_order_gives_one_verdict(
        pairs in collection::vec((pair(), 0_usize..50), 1..400),
        replicas in 1_usize..=50,
        order in collection::vec(any::<u64>(), 50),
    ) {
        let experiment = evidence::experiment("goal: superior, min_pairs: 20");
        let all: Vec<&Pair> = pairs.iter().map(|(pair, _)| pair).collect();
        let whole = counts(&all);
        let mut alone = Fleet::default();
        alone.take(&experiment, passed_on(&experiment, 0, 1, whole.clone())).unwrap();
        let mut summaries: Vec<(u64, Summary)> = Vec::new();
        for (replica, at) in order.iter().enumerate().take(replicas) {
            let own = pairs.iter().filter(|(_, at)| at % replicas == replica);
            let own: Vec<&Pair> = own.map(|(pair, _)| pair).collect();
            // What it said half way comes, too, perhaps late.
            let early = passed_on(&experiment, replica, 1, counts(&own[..own.len() / 2]));
            let late = passed_on(&experiment, replica, 2, counts(&own));
            summaries.push((*at, early));
            summaries.push((at.rotate_left(32), late));
        }
        summaries.sort_by_key(|(at, _)| *at);
        let mut fleet = Fleet::default();
        for (_, summary) in &summaries {
            fleet.take(&experiment, summary.clone()).unwrap();
        }
        prop_assert_eq!(fleet.replicas(), replicas);
        prop_assert!(fleet.total() == alone.total(), "the sums differ");
        let mut together = fleet.report(&experiment);
        prop_assert_eq!(together.replicas, replicas);
        together.replicas = 1;
        prop_assert_eq!(told(&together), told(&alone.report(&experiment)));
        let before = fleet.clone();
        for (_, summary) in summaries.iter().rev() {
            fleet.take(&experiment, summary.clone()).unwrap();
        }
        prop_assert!(fleet == before, "what came twice counted twice");
    }

    #[test]
    fn merging_is_associative_and_commutative(
        a in collection::vec(pair(), 0..60),
        b in collection::vec(pair(), 0..60),
        c in collection::vec(pair(), 0..60),
    ) {
        let [a, b, c] = [a, b, c].map(|pairs| counts(&pairs.iter().collect::<Vec<_>>()));
        let sum = |x: &Counts, y: &Counts| {
            let mut sum = x.clone();
            sum.merge(y);
            sum
        };
        prop_assert!(sum(&sum(&a, &b), &c) == sum(&a, &sum(&b, &c)));
        prop_assert!(sum(&a, &b) == sum(&b, &a));
        prop_assert!(sum(&a, &Counts::default()) == a);
    }
}

#[test]
fn summaries_of_other_questions_are_refused() {
    let experiment = evidence::experiment("goal: superior");
    let other = evidence::experiment("goal: non_inferior");
    let mut fleet = Fleet::default();
    let counts = Counts::default();
    let refused = fleet.take(&experiment, passed_on(&other, 0, 1, counts.clone())).unwrap_err();
    assert!(refused.detail.contains("another definition"), "{}", refused.detail);
    let mut renamed = experiment.clone();
    renamed.name = "other".to_owned();
    let refused = fleet.take(&experiment, passed_on(&renamed, 0, 1, counts)).unwrap_err();
    assert!(refused.detail.contains("\"other\""), "{}", refused.detail);
    assert!(Summary::read(b"{}").unwrap_err().detail.contains("no summary"));
    let more = evidence::experiment("goal: superior, max_pairs: 77");
    fleet.take(&experiment, passed_on(&more, 0, 1, Counts::default())).unwrap();
}

/// More units and tenants than are kept by name: which are kept does not hang on the order.
#[test]
fn what_is_kept_by_name_is_the_same_whatever_comes_first() {
    let pairs: Vec<Pair> = (0..40_000_u64)
        .map(|number| {
            let mut facts = facts(number);
            facts.segments.insert("tenant".into(), format!("t{}", number % 100));
            let score = if number % 3 == 0 { Score::WIN } else { Score::LOSS };
            (judged(Some(score), Some(score), facts), None)
        })
        .collect();
    let forwards = counts(&pairs.iter().collect::<Vec<_>>());
    let backwards = counts(&pairs.iter().rev().collect::<Vec<_>>());
    assert!(forwards == backwards);
    let mut halves = counts(&pairs[20_000..].iter().collect::<Vec<_>>());
    halves.merge(&counts(&pairs[..20_000].iter().collect::<Vec<_>>()));
    assert!(forwards == halves);
    let tally = &forwards.tallies["next"];
    assert_eq!((tally.units.count(), tally.segments.iter().count()), (1 << 15, 24));
    let bytes = serde_json::to_vec(&forwards).unwrap().len();
    assert!(bytes < 3 << 20, "{bytes} bytes");
}
