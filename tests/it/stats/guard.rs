//! Guardrails: what breaks each, what a restart keeps, and simulations of how often and how soon.

use super::noise;
use crate::harness::sidecar;
use std::collections::BTreeMap;
use std::time::Instant;
use understudy::experiment::{Experiment, Guardrail, Limit, METRICS, Metric, Share};
use understudy::guard::{Breach, Change, Health, Seen, Watch};
use understudy::vital::Sample;

/// Limits as people would set them.
const USUAL: &[(Metric, Limit)] = &[
    (Metric::CostPerRequest, Limit::MaxRatio(1.5)),
    (Metric::ErrorRate, Limit::MaxIncrease(0.01)),
    (Metric::Latency(95), Limit::MaxRatio(1.25)),
    (Metric::RefusalRate, Limit::MaxIncrease(0.01)),
    (Metric::TokensPerRequest, Limit::MaxRatio(1.5)),
    (Metric::Ttft(95), Limit::MaxRatio(1.25)),
];

fn guarded(limits: &[(Metric, Limit)]) -> Experiment {
    let mut experiment = sidecar::experiment("a/b", "a/c", Share::NONE, Share::NONE);
    let rail = |(metric, limit): &(Metric, Limit)| Guardrail { metric: *metric, limit: *limit };
    experiment.guardrails = limits.iter().map(rail).collect();
    experiment
}

/// Where answers come from.
#[derive(Clone, Copy, Debug)]
struct Truth {
    errors: f64,
    refusals: f64,
    /// Whatever else may be wrong with an answer.
    faults: f64,
    /// Median until the first piece; everything that takes time is spread like a lognormal.
    first_us: f64,
    took_us: f64,
    /// Means.
    tokens: f64,
    cost: f64,
}

const CONTROL: Truth = Truth {
    errors: 0.02,
    refusals: 0.03,
    faults: 0.02,
    first_us: 400_000.0,
    took_us: 3_000_000.0,
    tokens: 900.0,
    cost: 2_000_000.0,
};

/// The usual limits, each just kept to.
const AT_THE_LIMITS: Truth = Truth {
    errors: 0.03,
    refusals: 0.04,
    faults: 0.02,
    first_us: 500_000.0,
    took_us: 3_750_000.0,
    tokens: 1_350.0,
    cost: 3_000_000.0,
};

impl Truth {
    fn draw(&self, random: &mut fastrand::Rng) -> Sample {
        let mut happens = |share: f64| random.f64() < share;
        let mut sample = Sample {
            failed: happens(self.errors),
            refused: happens(self.refusals),
            empty: happens(self.faults),
            truncated: happens(self.faults),
            schema_invalid: Some(happens(self.faults)),
            tool_invalid: Some(happens(self.faults)),
            ..Sample::default()
        };
        // What takes long in one way takes long in others too.
        let (size, pace) = (normal(random), normal(random));
        let spread = |middle: f64, z: f64| Some((middle * z.exp()) as u64);
        // A lognormal of sigma 1 has a mean of sqrt(e) times its median.
        let mean = 0.5_f64.exp();
        sample.first_us = spread(self.first_us, 0.6 * pace);
        sample.took_us = spread(self.took_us, 0.4 * pace + 0.5 * size);
        sample.tokens = spread(self.tokens / mean, size);
        sample.cost_nano_usd = spread(self.cost / mean, size);
        sample
    }
}

/// Box and Muller's transform.
fn normal(random: &mut fastrand::Rng) -> f64 {
    let (u, v) = (1.0 - random.f64(), random.f64());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// The first breach among `horizon` requests, of which a share goes to the candidate, and after
/// how many.
fn first_breach(
    experiment: &Experiment,
    (control, candidate): (Truth, Truth),
    split: f64,
    horizon: u64,
    seed: u64,
) -> Option<(u64, Metric)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut watch = Watch::new(experiment);
    (1..=horizon).find_map(|request| {
        let is_candidate = random.f64() < split;
        let (name, truth) = if is_candidate { ("next", candidate) } else { ("control", control) };
        let broken = watch.add(name, &truth.draw(&mut random));
        broken.first().map(|breach| (request, breach.metric()))
    })
}

/// How soon experiments stop, printed and in order; those that do not are left out.
fn stops(
    what: &str,
    limits: &[(Metric, Limit)],
    candidate: Truth,
    (split, horizon, runs): (f64, u64, u64),
) -> Vec<u64> {
    let experiment = guarded(limits);
    let mut why: BTreeMap<&str, u64> = BTreeMap::new();
    let run = |seed| first_breach(&experiment, (CONTROL, candidate), split, horizon, seed);
    let mut when: Vec<u64> = (0..runs)
        .filter_map(run)
        .map(|(request, metric)| {
            *why.entry(metric.name()).or_default() += 1;
            request
        })
        .collect();
    when.sort_unstable();
    // The first time by which so large a share of all experiments has stopped.
    let by = |share: f64| when.get((share * runs as f64) as usize);
    println!(
        "{what}, {} guardrails, split {split}: {} of {runs} stop by {horizon}; \
         half by {:?}, 90% by {:?}; {why:?}",
        limits.len(),
        when.len(),
        by(0.5),
        by(0.9),
    );
    when
}

fn hardly_ever(when: &[u64], runs: u64) {
    let share = when.len() as f64 / runs as f64;
    assert!(share <= 0.05 + noise(0.05, runs), "{share}");
}

#[test]
fn a_candidate_within_its_limits_is_hardly_ever_stopped() {
    let size = (0.5, 1000, 30);
    hardly_ever(&stops("identical", USUAL, CONTROL, size), 30);
    hardly_ever(&stops("at the limits", USUAL, AT_THE_LIMITS, size), 30);
}

#[test]
fn each_guardrail_stops_the_candidate_that_is_much_worse_in_that_alone() {
    let increase = Limit::MaxIncrease(0.05);
    let ratio = Limit::MaxRatio(1.25);
    for (name, metric) in METRICS {
        let limit = if metric.is_rate() { increase } else { ratio };
        let worse = match metric {
            Metric::CostPerRequest => Truth { cost: 3.0 * CONTROL.cost, ..CONTROL },
            Metric::ErrorRate => Truth { errors: 0.4, ..CONTROL },
            Metric::Latency(_) => Truth { took_us: 8.0 * CONTROL.took_us, ..CONTROL },
            Metric::RefusalRate => Truth { refusals: 0.4, ..CONTROL },
            Metric::TokensPerRequest => Truth { tokens: 3.0 * CONTROL.tokens, ..CONTROL },
            Metric::Ttft(_) => Truth { first_us: 8.0 * CONTROL.first_us, ..CONTROL },
            Metric::EmptyRate
            | Metric::SchemaInvalidRate
            | Metric::ToolInvalidRate
            | Metric::TruncatedRate => Truth { faults: 0.4, ..CONTROL },
        };
        let experiment = guarded(&[(*metric, limit)]);
        let found = first_breach(&experiment, (CONTROL, worse), 0.5, 4000, 1);
        assert_eq!(found.map(|(_, metric)| metric), Some(*metric), "{name}");
        let better = first_breach(&experiment, (worse, CONTROL), 0.5, 1000, 1);
        assert_eq!(better, None, "{name}");
    }
}

#[test]
fn a_ratio_guards_a_rate_too() {
    let experiment = guarded(&[(Metric::ErrorRate, Limit::MaxRatio(2.0))]);
    let rate = |errors| Truth { errors, ..CONTROL };
    let found = first_breach(&experiment, (rate(0.05), rate(0.3)), 0.5, 4000, 1);
    assert!(found.is_some());
    assert_eq!(first_breach(&experiment, (rate(0.05), rate(0.1)), 0.5, 4000, 1), None);
}

/// Feeds both variants in turn and gives every breach, with the number of the request.
fn feed(watch: &mut Watch, worse: Truth, requests: std::ops::Range<u64>) -> Vec<(u64, Breach)> {
    let mut all = Vec::new();
    for request in requests {
        let mut random = fastrand::Rng::with_seed(request);
        let turns = [("control", CONTROL), ("next", worse), ("nobody", worse)];
        let (name, truth) = turns[request as usize % 3];
        let broken = watch.add(name, &truth.draw(&mut random));
        all.extend(broken.into_iter().map(|breach| (request, breach)));
    }
    all
}

#[test]
fn a_restart_goes_on_where_it_was_and_a_breach_is_told_once() {
    let (experiment, worse) = (guarded(USUAL), Truth { errors: 0.2, ..CONTROL });
    let mut whole = Watch::new(&experiment);
    let found = feed(&mut whole, worse, 0..1500);
    assert_eq!(found.len(), 1, "{found:?}");
    let (at, breach) = &found[0];
    assert_eq!((breach.candidate.as_str(), breach.metric()), ("next", Metric::ErrorRate));
    assert!(breach.found.unwrap() > breach.control.unwrap() + 0.01);
    for cut in [0, 100, *at, at + 1, 1400] {
        let mut before = Watch::new(&experiment);
        let mut told = feed(&mut before, worse, 0..cut);
        let written = serde_json::to_string(before.seen()).unwrap();
        let seen: Seen = serde_json::from_str(&written).unwrap();
        let mut halted = experiment.clone();
        halted.standing.halted.extend(told.iter().map(|(_, breach)| breach.candidate.clone()));
        let mut after = Watch::resume(&halted, seen);
        told.extend(feed(&mut after, worse, cut..1500));
        assert_eq!(told, found, "cut at {cut}");
        assert_eq!(after.seen(), whole.seen());
    }
}

/// A process may die between noticing a breach and writing down that it halted the candidate.
#[test]
fn a_breach_that_halted_nobody_is_told_again_after_a_restart() {
    let (experiment, worse) = (guarded(USUAL), Truth { errors: 0.2, ..CONTROL });
    let mut watch = Watch::new(&experiment);
    assert_eq!(feed(&mut watch, worse, 0..600).len(), 1);
    let mut again = Watch::resume(&experiment, watch.seen().clone());
    assert_eq!(feed(&mut again, worse, 600..700).len(), 1);
}

#[test]
fn health_goes_from_not_enough_to_holding_or_breached_and_the_view_agrees() {
    let worse = Truth { errors: 0.2, ..CONTROL };
    let mut watch = Watch::new(&guarded(USUAL));
    feed(&mut watch, worse, 0..60);
    assert!(watch.health("next").iter().all(|(_, health)| *health == Health::NotEnough));
    feed(&mut watch, worse, 60..3000);
    for (metric, health) in watch.health("next") {
        let is_broken = metric == Metric::ErrorRate;
        let expected = if is_broken { Health::Breached } else { Health::Holds };
        assert_eq!(health, expected, "{metric:?}");
    }
    let views = watch.views("next");
    assert_eq!(views.len(), USUAL.len());
    for (view, (metric, limit)) in views.iter().zip(USUAL) {
        let (change, limit) = match limit {
            Limit::MaxIncrease(limit) => (Change::Increase, *limit),
            Limit::MaxRatio(limit) => (Change::Ratio, *limit),
        };
        assert_eq!((view.metric.as_str(), view.change), (metric.name(), change));
        assert_eq!(view.limit, limit);
        let (control, candidate) = (view.control.unwrap(), view.candidate.unwrap());
        let found = match change {
            Change::Increase => candidate - control,
            Change::Ratio => candidate / control,
        };
        let (lower, upper) = (view.bounds.lower.unwrap(), view.bounds.upper.unwrap());
        assert!(lower < found && found < upper, "{view:?}");
        assert_eq!(lower > limit, view.health == Health::Breached, "{view:?}");
    }
    assert!(watch.views("nobody").is_empty() && watch.health("nobody").is_empty());
}

#[test]
fn several_candidates_share_alpha_and_only_the_bad_one_is_stopped() {
    let mut experiment = guarded(&[(Metric::ErrorRate, Limit::MaxIncrease(0.01))]);
    let mut other = experiment.candidates[0].clone();
    other.variant.name = "other".to_owned();
    experiment.candidates.push(other);
    let mut watch = Watch::new(&experiment);
    let mut random = fastrand::Rng::with_seed(7);
    let worse = Truth { errors: 0.2, ..CONTROL };
    let mut told = Vec::new();
    for _ in 0..500 {
        for (name, truth) in [("control", CONTROL), ("other", worse), ("next", CONTROL)] {
            told.extend(watch.add(name, &truth.draw(&mut random)));
        }
    }
    let names: Vec<&str> = told.iter().map(|breach| breach.candidate.as_str()).collect();
    assert_eq!(names, ["other"]);
}

#[test]
#[ignore = "minutes; prints how often and how soon candidates are stopped"]
fn stops_within_ten_thousand_requests() {
    for split in [0.5, 0.1] {
        for (what, truth) in [("identical", CONTROL), ("at the limits", AT_THE_LIMITS)] {
            hardly_ever(&stops(what, USUAL, truth, (split, 10_000, 1000)), 1000);
        }
    }
    for (metric, limit) in USUAL {
        let one = &[(*metric, *limit)];
        hardly_ever(&stops("at its limit", one, AT_THE_LIMITS, (0.5, 10_000, 1000)), 1000);
    }
}

#[test]
#[ignore = "minutes; prints how soon candidates are stopped that are worse"]
fn how_soon_a_worse_candidate_is_stopped() {
    let errors = Truth { errors: 0.04, ..CONTROL };
    let slow = Truth { first_us: 1.5 * CONTROL.first_us, ..CONTROL };
    let broken = Truth { errors: 0.5, ..CONTROL };
    for split in [0.5, 0.1] {
        let size = (split, 60_000, 200);
        for more in [0.0, 0.005, 0.01] {
            let rail = (Metric::ErrorRate, Limit::MaxIncrease(more));
            let what = format!("errors 2% to 4%, max_increase {more}");
            let others = USUAL.iter().filter(|(metric, _)| *metric != Metric::ErrorRate);
            let six: Vec<_> = others.copied().chain([rail]).collect();
            assert!(!stops(&what, &[rail], errors, size).is_empty());
            assert!(!stops(&what, &six, errors, size).is_empty());
        }
        for ratio in [1.0, 1.25] {
            let rail = (Metric::Ttft(95), Limit::MaxRatio(ratio));
            let what = format!("p95 until the first piece x1.5, max_ratio {ratio}");
            assert!(!stops(&what, &[rail], slow, size).is_empty());
        }
        assert!(!stops("p95 until the first piece x1.5, usual", USUAL, slow, size).is_empty());
        assert!(!stops("every second request fails, usual", USUAL, broken, size).is_empty());
    }
}

#[test]
#[ignore = "prints what a look costs"]
fn what_a_look_costs() {
    for (what, truth) in [("identical", CONTROL), ("at the limits", AT_THE_LIMITS)] {
        let mut watch = Watch::new(&guarded(USUAL));
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..50_000 {
            watch.add("control", &CONTROL.draw(&mut random));
            watch.add("next", &truth.draw(&mut random));
        }
        let begin = Instant::now();
        let looks = 1000;
        (0..looks).for_each(|_| assert_eq!(watch.health("next").len(), USUAL.len()));
        println!("{what}: {:?} a look at {} guardrails", begin.elapsed() / looks, USUAL.len());
        let begin = Instant::now();
        let samples: Vec<Sample> = (0..10_000).map(|_| truth.draw(&mut random)).collect();
        let drawn = begin.elapsed();
        let begin = Instant::now();
        samples.iter().for_each(|sample| assert!(watch.add("next", sample).is_empty()));
        println!("{:?} an answer (drawing took {drawn:?})", begin.elapsed() / 10_000);
        let begin = Instant::now();
        assert_eq!(watch.views("next").len(), USUAL.len());
        println!("{:?} for the report", begin.elapsed());
    }
}
