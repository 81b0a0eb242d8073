//! Two arms that were never paired: reference vectors, and properties of summaries and bounds.

use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config as ProptestConfig;
use proptest::{collection, prop_assert, prop_assert_eq};
use serde_json::{Value, json};
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::collections::BTreeMap;
use understudy::stats::grid::Grid;
use understudy::stats::histogram;
use understudy::stats::mean::{self, Errors, Estimate};
use understudy::stats::quantile::{self, Pair};
use understudy::stats::rate;
use understudy::stats::sums::Moments;
use understudy::stats::{Bounds, Histogram, Rate, Sums};
use understudy::vital::{Sample, Vitals};

// Reference vectors.

pub fn two_prop_log_e(input: &Value) -> Option<Value> {
    let (a, b, delta) = (rate(input, "a"), rate(input, "b"), input["delta"].as_f64()?);
    let ln_e = match input["side"].as_str()? {
        "pos" => rate::ln_evidence(&Grid::default(), a, b, delta),
        _ => rate::ln_evidence(&Grid::default(), b, a, -delta),
    };
    Some(json!({ "log_e": ln_e }))
}

pub fn two_prop_cs(input: &Value) -> Option<Value> {
    let (a, b) = (rate(input, "a"), rate(input, "b"));
    let cs = rate::difference(&Grid::default(), a, b, input["alpha"].as_f64()?);
    let (lower, upper) = (cs.lower.unwrap_or(-1.0), cs.upper.unwrap_or(1.0));
    let diff = b.share().zip(a.share()).map(|(b, a)| b - a);
    Some(json!({ "lower": lower, "upper": upper, "diff": diff }))
}

fn rate(input: &Value, arm: &str) -> Rate {
    let count = |name: &str| input[format!("{name}_{arm}")].as_u64().unwrap();
    Rate { hits: count("err"), of: count("n") }
}

pub fn gauss_z(input: &Value) -> Option<Value> {
    let (n, alpha) = (input["n"].as_f64()?, input["alpha"].as_f64()?);
    Some(json!({ "z_star": mean::critical(&Grid::default(), n, alpha) }))
}

pub fn gauss_log_e(input: &Value) -> Option<Value> {
    let (z, n) = (input["z"].as_f64()?, input["n"].as_f64()?);
    Some(json!({ "log_e_pos": mean::ln_evidence(&Grid::default(), z, n) }))
}

pub fn mean_diff(input: &Value) -> Option<Value> {
    let arm = |arm: &str| {
        let number = |name: &str| input[format!("{name}_{arm}")].as_f64().unwrap();
        Moments { n: number("n"), mean: number("mean"), variance: number("var") }
    };
    let (a, b, alpha) = (arm("a"), arm("b"), input["alpha"].as_f64()?);
    let errors = Errors::of((a.n, a.variance), (b.n, b.variance));
    let estimate = Estimate::difference(a, b);
    let bounds = estimate.interval(&Grid::default(), alpha);
    // What a test at one look would say, from the same standard error.
    let (part_a, part_b) = (a.variance / a.n, b.variance / b.n);
    let freedom =
        (part_a + part_b).powi(2) / (part_a.powi(2) / (a.n - 1.0) + part_b.powi(2) / (b.n - 1.0));
    let t = StudentsT::new(0.0, 1.0, freedom).unwrap();
    Some(json!({
        "diff": estimate.value,
        "se_welch": errors.welch,
        "se_pooled": errors.pooled,
        "se": estimate.error,
        "lower": bounds.lower,
        "upper": bounds.upper,
        "n": estimate.n,
        "z_star": mean::critical(&Grid::default(), estimate.n, alpha),
        "p_fixed_n_welch": 2.0 * t.sf((estimate.value / errors.welch).abs()),
    }))
}

pub fn quantile_ranks(input: &Value) -> Option<Value> {
    let (n, p) = (input["n"].as_u64()?, input["p"].as_f64()?);
    let ranks = quantile::ranks(&Grid::default(), n, p, input["alpha"].as_f64()?);
    let low = ranks.low.map_or(-1, |low| i64::try_from(low).unwrap());
    Some(json!({ "k_low": low, "k_up": ranks.high }))
}

pub fn quantile_cs(input: &Value) -> Option<Value> {
    let (arm, grid) = (histogram(&input["hist"]), Grid::default());
    let (p, alpha) = (input["p"].as_f64()?, input["alpha"].as_f64()?);
    let ranks = quantile::ranks(&grid, arm.n(), p, alpha);
    let bounds = quantile::interval(&grid, &arm, p, alpha);
    let lower = bounds.lower.unwrap_or(0.0);
    let low = ranks.low.map_or(-1, |low| i64::try_from(low).unwrap());
    Some(json!({ "lower": lower, "upper": bounds.upper, "k_low": low, "k_up": ranks.high }))
}

pub fn quantile_ratio_cs(input: &Value) -> Option<Value> {
    let (a, b) = (histogram(&input["hist_a"]), histogram(&input["hist_b"]));
    let (p, grid) = (input["p"].as_f64()?, Grid::default());
    let bounds = Pair::new(&grid, &a, &b, p).ratio(input["alpha"].as_f64()?);
    let buckets = |ratio: f64| (ratio.ln() / histogram::GAMMA.ln()).round();
    Some(json!({
        "lower": bounds.lower,
        "upper": bounds.upper,
        "j_low": bounds.lower.map(buckets),
        "j_up": bounds.upper.map(buckets),
    }))
}

pub fn log_bucket(input: &Value) -> Option<Value> {
    let values = input["x"].as_array()?.iter().map(|x| x.as_f64().unwrap());
    let keys: Vec<i32> = values.map(histogram::bucket).collect();
    let values: Vec<f64> = keys.iter().map(|key| histogram::value(*key)).collect();
    Some(json!({ "key": keys, "value": values, "gamma": histogram::GAMMA }))
}

pub fn dd_quantile(input: &Value) -> Option<Value> {
    let arm = histogram(&input["hist"]);
    let shares = input["q"].as_array()?.iter();
    let values: Vec<f64> = shares.map(|q| arm.quantile(q.as_f64().unwrap()).unwrap()).collect();
    Some(json!({ "value": values }))
}

fn histogram(counts: &Value) -> Histogram {
    let counts: BTreeMap<String, u64> = serde_json::from_value(counts.clone()).unwrap();
    let counts = counts.iter().map(|(bucket, n)| (bucket.parse::<i32>().unwrap(), *n));
    Histogram::try_from(counts.collect::<Vec<_>>()).unwrap()
}

/// Sums of parts whose values are in millionths.
pub fn merge_power_sums(input: &Value) -> Option<Value> {
    let part = |part: &Value| {
        let nonzero = &part["n"];
        let (sum, squares) = (&part["s1"], &part["s2"]);
        json!({ "n": part["n"], "nonzero": nonzero, "sum": sum, "squares": squares })
    };
    let all = merged(input["parts"].as_array()?.iter().map(part));
    let (written, moments) = (serde_json::to_value(all).unwrap(), all.moments()?);
    Some(json!({
        "n": all.n(),
        "s1": written["sum"],
        "s2": written["squares"],
        "mean": moments.mean / 1e6,
        "variance": moments.variance / 1e12,
    }))
}

/// The same from means and squared deviations, whose sums are whole in units of 1e-9.
pub fn merge_moments(input: &Value) -> Option<Value> {
    let part = |part: &Value| {
        let number = |name: &str| part[name].as_f64().unwrap();
        let (n, mean, m2) = (number("n"), number("mean"), number("m2"));
        let (sum, squares) = (n * mean * 1e9, (m2 + n * mean * mean) * 1e18);
        let whole = |value: f64| (value.round() as u128).to_string();
        json!({ "n": n as u64, "nonzero": n as u64, "sum": whole(sum), "squares": whole(squares) })
    };
    let all = merged(input["parts"].as_array()?.iter().map(part));
    let moments = all.moments()?;
    let (mean, variance) = (moments.mean / 1e9, moments.variance / 1e18);
    Some(json!({ "n": all.n(), "mean": mean, "variance": variance }))
}

fn merged(parts: impl Iterator<Item = Value>) -> Sums {
    let mut all = Sums::default();
    parts.for_each(|part| all.merge(&serde_json::from_value(part).unwrap()));
    all
}

// Properties.

fn any_sample() -> impl Strategy<Value = Sample> {
    let flags = any::<[bool; 4]>();
    let shape = any::<[Option<bool>; 2]>();
    let number = || prop_oneof![0..3_u64, 0..2_000_000_u64, any::<u32>().prop_map(u64::from)];
    let numbers = [(); 4].map(|()| proptest::option::of(number()));
    (flags, shape, numbers).prop_map(|(flags, shape, numbers)| Sample {
        failed: flags[0],
        refused: flags[1],
        empty: flags[2],
        truncated: flags[3],
        schema_invalid: shape[0],
        tool_invalid: shape[1],
        first_us: numbers[0],
        took_us: numbers[1],
        tokens: numbers[2],
        cost_nano_usd: numbers[3],
    })
}

fn fold<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vitals {
    let mut vitals = Vitals::default();
    samples.for_each(|sample| vitals.add(sample));
    vitals
}

fn any_rate() -> impl Strategy<Value = Rate> {
    (1..4000_u64, 0.0..1.0_f64, any::<bool>()).prop_map(|(of, share, rare)| {
        let share = if rare { share * share * share } else { share };
        Rate { hits: (share * of as f64) as u64, of }
    })
}

proptest! {
    // A search for four ends each.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bounds_on_rates_hold_the_estimate_and_end_where_the_check_does(
        (a, b) in (any_rate(), any_rate()),
    ) {
        let grid = Grid::default();
        let difference = rate::difference(&grid, a, b, 0.05);
        let estimate = b.share().unwrap() - a.share().unwrap();
        around(difference, estimate);
        if let Some(lower) = difference.lower {
            prop_assert!(rate::exceeds_by(&grid, a, b, lower - 1e-3, 0.025));
            prop_assert!(!rate::exceeds_by(&grid, a, b, lower + 1e-6, 0.025));
        }
        let ratio = rate::ratio(&grid, a, b, 0.05);
        if a.hits > 0 {
            around(ratio, b.share().unwrap() / a.share().unwrap());
        }
        if let Some(lower) = ratio.lower {
            prop_assert!(rate::exceeds_times(&grid, a, b, lower * 0.99, 0.025));
            prop_assert!(!rate::exceeds_times(&grid, a, b, lower * 1.000_01, 0.025));
        }
    }
}

proptest! {
    #[test]
    fn any_order_split_and_merge_tree_gives_the_same_vitals(
        samples in collection::vec((any_sample(), 0..6_usize), 0..120),
        joins in collection::vec((any::<u16>(), any::<u16>()), 5),
    ) {
        let whole = fold(samples.iter().map(|(sample, _)| sample));
        let mut parts: Vec<Vitals> = (0..6)
            .map(|part| fold(samples.iter().rev().filter(|s| s.1 == part).map(|(s, _)| s)))
            .collect();
        for (from, into) in joins {
            let part = parts.swap_remove(usize::from(from) % parts.len());
            let into = usize::from(into) % parts.len();
            parts[into].merge(&part);
        }
        prop_assert_eq!(&parts[0], &whole);
        let written = serde_json::to_string(&parts[0]).unwrap();
        prop_assert_eq!(&written, &serde_json::to_string(&whole).unwrap());
        prop_assert_eq!(serde_json::from_str::<Vitals>(&written).unwrap(), whole);
    }

    #[test]
    fn the_certain_answer_on_rates_is_the_searched_one(
        (a, b) in (any_rate(), any_rate()),
        more in -0.3..0.3_f64,
    ) {
        let grid = Grid::default();
        let ln_e = rate::ln_evidence(&grid, a, b, more);
        for alpha in [0.2_f64, 0.05, 0.001] {
            let exceeds = rate::exceeds_by(&grid, a, b, more, alpha);
            // Next to its threshold the certain answer is no.
            prop_assert!(!exceeds || ln_e >= -alpha.ln() - 1e-9, "{ln_e} at {alpha}");
            prop_assert!(exceeds || ln_e <= -alpha.ln() + 0.05, "{ln_e} at {alpha}");
        }
    }

    #[test]
    fn a_ratio_of_one_and_a_difference_of_none_are_the_same_claim(
        (a, b) in (any_rate(), any_rate()),
    ) {
        let grid = Grid::default();
        for alpha in [0.2, 0.01] {
            let by = rate::exceeds_by(&grid, a, b, 0.0, alpha);
            prop_assert_eq!(by, rate::exceeds_times(&grid, a, b, 1.0, alpha));
        }
    }

    #[test]
    fn bounds_on_a_ratio_of_quantiles_end_where_the_check_does(
        values in collection::vec((1..100_000_u64, 1..100_000_u64), 50..400),
        p in prop_oneof![0.5..0.51_f64, 0.9..0.95_f64],
    ) {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        values.iter().for_each(|(x, y)| {
            a.add(*x);
            b.add(y * 3);
        });
        let grid = Grid::default();
        let pair = Pair::new(&grid, &a, &b, p);
        let bounds = pair.ratio(0.05);
        around(bounds, b.quantile(p).unwrap() / a.quantile(p).unwrap());
        if let Some(lower) = bounds.lower {
            prop_assert!(pair.exceeds_times(lower * 0.999, 0.025));
            prop_assert!(!pair.exceeds_times(lower * 1.001, 0.025));
        }
    }

    #[test]
    fn a_quantile_read_back_is_the_value_of_that_rank_to_one_per_cent(
        values in collection::vec(1..10_000_000_u64, 1..200),
        p in 0.0..=1.0_f64,
    ) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.add(*value));
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let exact = sorted[(p * (sorted.len() - 1) as f64).floor() as usize] as f64;
        prop_assert!((histogram.quantile(p).unwrap() / exact - 1.0).abs() < 0.0101);
    }
}

fn around(bounds: Bounds, estimate: f64) {
    assert!(bounds.lower.is_none_or(|lower| lower <= estimate), "{bounds:?} {estimate}");
    assert!(bounds.upper.is_none_or(|upper| upper >= estimate), "{bounds:?} {estimate}");
}

#[test]
fn a_mean_says_nothing_before_there_are_values_enough() {
    let sums = |n: u64, nonzero: u64| {
        let mut sums = Sums::default();
        (0..n).for_each(|i| sums.add(if i < nonzero { i + 1 } else { 0 }));
        sums
    };
    let enough = sums(100, 20);
    for (n, nonzero, is_enough) in [(99, 99, false), (100, 19, false), (100, 20, true)] {
        let few = sums(n, nonzero);
        assert_eq!(mean::comparable(&few, &enough).is_some(), is_enough, "{n} {nonzero}");
        assert_eq!(mean::comparable(&enough, &few).is_some(), is_enough, "{n} {nonzero}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_when_read() {
    for sums in [
        json!({ "n": 1, "nonzero": 2, "sum": "3", "squares": "9" }),
        json!({ "n": 3, "nonzero": 2, "sum": "1", "squares": "1" }),
        json!({ "n": 3, "nonzero": 2, "sum": "5", "squares": "4" }),
        json!({ "n": 3, "nonzero": 0, "sum": "5", "squares": "25" }),
        json!({ "n": 3, "nonzero": 1, "sum": "-5", "squares": "25" }),
    ] {
        assert!(serde_json::from_value::<Sums>(sums.clone()).is_err(), "{sums}");
    }
    for histogram in [json!([[1, 0]]), json!([[1, 2], [1, 3]]), json!([[9999, 1]])] {
        assert!(serde_json::from_value::<Histogram>(histogram.clone()).is_err(), "{histogram}");
    }
}
