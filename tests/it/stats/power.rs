//! A short version of `cargo bench --bench power`, and that what it evaluates is the product.

#[path = "../../../benches/power/arms.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod arms;
#[path = "../../../benches/power/cluster.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod cluster;
#[path = "../../../benches/power/draw.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod draw;
#[path = "../../../benches/power/engine.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod engine;
#[path = "../../../benches/power/peer.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod peer;
#[path = "../../../benches/power/race.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod race;
#[path = "../../../benches/power/runs.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod runs;
#[path = "../../../benches/power/table.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod table;

use arms::Measure;
use cluster::Sessions;
use draw::Kind;
use engine::ALPHA;
use fastrand::Rng;
use runs::most;
use understudy::stats::Clusters;
use understudy::stats::Goal;
use understudy::stats::Interval;
use understudy::stats::Score;
use understudy::stats::Spec;
use understudy::stats::WinRate;
use understudy::stats::plan;
use understudy::stats::plan::Prospect;
use understudy::stats::rule::RULES;
use understudy::stats::rule::rule_for;

/// Scores that differ in every way that matters.
const KINDS: [Kind; 4] = [
    Kind::Verdict { ties: 0.2, noise: 0.2 },
    Kind::Rubric { ties: 0.2, noise: 0.3 },
    Kind::Failure { discordant: 0.3 },
    Kind::Sampled { ties: 0.0, noise: 0.0, share: 0.3 },
];

#[test]
fn the_running_products_of_the_bench_say_what_the_rules_say() {
    for kind in KINDS {
        let spec = Spec { margin: 0.1, min_pairs: 10, ..Spec::new(Goal::Superior) };
        let (mut random, mut summary) = (Rng::with_seed(3), WinRate::new());
        let mut seen = engine::Seen::new(spec.margin);
        for pairs in 1..=600_u64 {
            let score = Score::new(kind.draw(0.5 + kind.margin(), &mut random)).unwrap();
            summary.add(score);
            let interval = seen.add(score.value());
            if pairs % 30 == 0 {
                for rule in RULES {
                    let expected = rule.decide(&summary, &spec);
                    let case = format!("{kind:?} {} {pairs}", rule.name());
                    assert_eq!(rule.decide_on(pairs, interval, &spec), expected, "{case}");
                }
            }
        }
    }
}

#[test]
fn no_rule_is_fooled_by_any_kind_of_score_looked_at_after_every_pair() {
    let (runs, horizon) = (60, 600);
    for kind in KINDS {
        let fooled = engine::fooled(kind, horizon, runs);
        println!("{}: {fooled:?}", kind.label());
        assert!(fooled.iter().all(|share| *share <= most(ALPHA, runs)), "{kind:?} {fooled:?}");
    }
}

#[test]
fn identical_arms_are_told_apart_as_rarely_as_they_should() {
    let (runs, horizon) = (40, 600);
    for measure in [
        Measure::Errors(0.05),
        Measure::Cost(1.5),
        Measure::PairedCost(1.0),
        Measure::Time(0.5),
        Measure::Labels(0.1),
        Measure::Split,
    ] {
        let fooled = runs::share(runs, |seed| arms::is_fooled(measure, 0.5, horizon, seed));
        println!("{}: {fooled}", measure.label());
        assert!(fooled <= most(measure.allowed(), runs), "{measure:?} {fooled}");
    }
}

#[test]
fn sessions_of_pairs_that_are_alike_fool_nobody_once_discounted() {
    let (runs, horizon) = (80, 1500);
    let sessions = Sessions { size: 10, spread: false, icc: 0.3, open: 1 };
    let stops = runs::spread(runs, |seed| cluster::stops(sessions, 0.5, horizon, seed));
    let share = |which: usize| {
        stops.iter().filter(|stops| stops[which].is_some()).count() as f64 / runs as f64
    };
    println!("naive {}, discounted {}", share(0), share(1));
    assert!(share(0) > 0.2, "taken for independent, such pairs fool many: {}", share(0));
    assert!(share(1) <= most(ALPHA, runs), "{}", share(1));
}

#[test]
fn a_verdict_takes_hardly_more_pairs_than_with_the_best_peer() {
    assert!(race::is_as_fast_as_peers((0.6, 0.0), runs::Size { runs: 60, horizon: 3000 }));
}

/// Units of these sizes, of which every second one wins all of its pairs.
fn clusters(sizes: &[u64]) -> (WinRate, Clusters) {
    let (mut summary, mut clusters) = (WinRate::new(), Clusters::default());
    for (index, size) in sizes.iter().enumerate() {
        let score = if index % 2 == 0 { Score::WIN } else { Score::LOSS };
        (0..*size).for_each(|_| summary.add(score));
        clusters.add(*size, size * u64::from(score.units()));
    }
    (summary, clusters)
}

#[test]
fn pairs_of_their_own_units_count_in_full_and_copies_count_once() {
    let (summary, single) = clusters(&[1; 300]);
    assert_eq!((single.discount(&summary), single.copies()), (1.0, 1.0));
    assert_eq!(summary.interval_discounted(0.05, 1.0), summary.interval(0.05));
    let (summary, copies) = clusters(&[10; 300]);
    assert!((copies.design_effect(&summary) / 10.0 - 1.0).abs() < 0.01);
    assert!((copies.discount(&summary) - 10.0).abs() < 1e-9, "never more than copies");
    assert!((copies.effective_units() - 300.0).abs() < 1e-9);
    let (once, discounted) = (clusters(&[1; 300]).0.interval(0.05), copies.discount(&summary));
    let found = summary.interval_discounted(0.05, discounted);
    assert!((found.lower - once.lower).abs() < 1e-8 && (found.upper - once.upper).abs() < 1e-8);
    let (_, uneven) = clusters(&[100, 1, 1, 1]);
    assert!(uneven.effective_units() < 1.1, "{}", uneven.effective_units());
    let nothing = Clusters::default();
    assert_eq!(nothing.discount(&WinRate::new()), 1.0);
    assert_eq!(summary.interval_discounted(0.05, 0.5), Interval::ALL, "evidence never grows");
}

#[test]
fn a_unit_that_goes_on_is_one_unit() {
    let (_, whole) = clusters(&[3, 2]);
    let mut growing = Clusters::default();
    let win = u64::from(Score::WIN.units());
    for step in 0..3 {
        growing.replace((step, step * win), (step + 1, (step + 1) * win));
    }
    let mut other = Clusters::default();
    other.replace((0, 0), (1, 0));
    other.replace((1, 0), (2, 0));
    growing.merge(&other);
    assert_eq!(growing, whole);
}

#[test]
fn an_interval_of_a_sample_speaks_of_all_pairs() {
    let interval = Interval { lower: 0.47, upper: 0.59 };
    assert_eq!(interval.of_sample(1.0), interval);
    let all = interval.of_sample(0.3);
    assert!((all.lower - 0.4).abs() < 1e-12 && (all.upper - 0.8).abs() < 1e-12, "{all:?}");
    assert_eq!(Interval { lower: 0.2, upper: 0.9 }.of_sample(0.3), Interval::ALL);
    for share in [0.0, -1.0, 1.5, f64::NAN] {
        assert_eq!(interval.of_sample(share), Interval::ALL, "{share}");
    }
    // A margin on all pairs is a smaller one on what is written down: the verdicts are the same.
    for goal in [Goal::Superior, Goal::NonInferior, Goal::Equivalent] {
        let spec = Spec::new(goal);
        let small = Spec { margin: spec.margin * 0.3, ..spec };
        for (lower, upper) in [(0.4905, 0.4925), (0.4905, 0.5005), (0.4915, 0.5085), (0.51, 0.6)] {
            let written = Interval { lower, upper };
            let decided = rule_for(goal).decide_on(100, written, &small);
            let mapped = rule_for(goal).decide_on(100, written.of_sample(0.3), &spec);
            assert_eq!(decided, mapped, "{goal:?} {written:?}");
        }
    }
}

#[test]
fn a_plan_before_the_first_pair_knows_ties_and_samples() {
    let spec = Spec::new(Goal::Superior);
    let pairs = |ties, judged_share| {
        plan::planned(&Prospect { win_rate: 0.6, ties, judged_share }, &spec).unwrap()
    };
    // The reference plan for 0.60 is 269 and 409 pairs before it is shown.
    assert_eq!((pairs(0.0, 1.0).n50, pairs(0.0, 1.0).n80), (221, 348));
    assert!(pairs(0.4, 1.0).n50 < pairs(0.0, 1.0).n50, "what ties for certain is less noise");
    let (all, third) = (pairs(0.0, 1.0).n50 as f64, pairs(0.0, 0.3).n50 as f64);
    assert!((2.5..4.0).contains(&(third / all)), "about as many judged: {third} for {all}");
    // Both edges must be excluded at once, and luck for one is none for the other.
    let of = |goal, win_rate| {
        let prospect = Prospect { win_rate, ties: 0.0, judged_share: 1.0 };
        plan::planned(&prospect, &Spec::new(goal)).unwrap()
    };
    let (both, one) = (of(Goal::Equivalent, 0.5), of(Goal::NonInferior, 0.5));
    assert!(both.n50 > one.n50 && both.n80 > one.n80, "{both:?} {one:?}");
    // Simulated: half of 400 experiments end by 3,372 pairs and four fifths by 4,357.
    assert_eq!((both.n50, both.n80), (3223, 4550));
    assert_eq!(of(Goal::Superior, 0.5), both, "equal models end within the margin");
    let usual = plan::planned(&Prospect::usual(&spec, 1.0), &spec);
    assert_eq!(usual, plan::expected_at_start(&spec));
    let spec = Spec { max_pairs: 100_000, ..spec };
    let sampled = plan::remaining_of_sample(&WinRate::new(), 0.3, &spec).unwrap();
    assert!(sampled.n50 > 2 * plan::remaining(&WinRate::new(), &spec).unwrap().n50);
}
