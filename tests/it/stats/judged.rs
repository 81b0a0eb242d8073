//! What corrects and checks a judge, several questions at once, and matched measures: reference
//! vectors, and the definitions worked out by brute force.

use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prelude::prop_oneof;
use proptest::prelude::proptest;
use proptest::{collection, prop_assert, prop_assert_eq};
use serde_json::Value;
use serde_json::json;
use statrs::distribution::ContinuousCDF;
use statrs::distribution::StudentsT;
use understudy::stats::Agreement;
use understudy::stats::Choice;
use understudy::stats::Joint;
use understudy::stats::Labelled;
use understudy::stats::LengthCells;
use understudy::stats::Score;
use understudy::stats::Sums;
use understudy::stats::Swap;
use understudy::stats::agreement;
use understudy::stats::corrected::Corrected;
use understudy::stats::grid::Grid;
use understudy::stats::joint::JointMoments;
use understudy::stats::joint::common_slope;
use understudy::stats::length;
use understudy::stats::length::Cell;
use understudy::stats::mean;
use understudy::stats::mean::Errors;
use understudy::stats::mean::Estimate;
use understudy::stats::normal_mixture;
use understudy::stats::plan;
use understudy::stats::several;
use understudy::stats::sums::Moments;

// Reference vectors.

fn number(input: &Value, name: &str) -> f64 {
    input[name].as_f64().unwrap_or_else(|| panic!("{name} in {input}"))
}

fn numbers(list: &Value) -> Vec<f64> {
    serde_json::from_value(list.clone()).unwrap()
}

pub fn holm(input: &Value) -> Option<Value> {
    let all = several::holm(&numbers(&input["p"]), number(input, "alpha"));
    let adjusted: Vec<f64> = all.iter().map(|one| one.adjusted).collect();
    let reject: Vec<bool> = all.iter().map(|one| one.is_rejected).collect();
    Some(json!({ "adjusted": adjusted, "reject": reject }))
}

pub fn e_bh(input: &Value) -> Option<Value> {
    let reject = several::e_bh(&numbers(&input["e"]), number(input, "q"));
    Some(json!({ "reject": reject }))
}

pub fn kappa(input: &Value) -> Option<Value> {
    let table: Vec<Vec<u64>> = serde_json::from_value(input["table"].clone()).unwrap();
    let kappa = agreement::kappa(&table)?;
    let cs = kappa.interval(input["alpha"].as_f64().unwrap_or(0.05));
    Some(json!({
        "kappa": kappa.value,
        "se": kappa.error,
        "lower": cs.lower,
        "upper": cs.upper,
        "agreement": kappa.agreement,
    }))
}

pub fn position_bias(input: &Value) -> Option<Value> {
    let swap = Swap::of(serde_json::from_value(input["table"].clone()).unwrap());
    let cs = swap.first_of_flips(number(input, "alpha"));
    Some(json!({
        "consistency": swap.consistency(),
        "first_first": swap.first_twice(),
        "second_second": swap.second_twice(),
        "first_slot_share": swap.first_share(),
        "score_counts": swap.by_score(),
        "log_e_bias": swap.ln_e_bias(),
        "first_given_flip_lower": cs.lower,
        "first_given_flip_upper": cs.upper,
    }))
}

pub fn length_control(input: &Value) -> Option<Value> {
    let scale = number(input, "z_scale");
    let rows: Vec<[f64; 3]> = serde_json::from_value(input["cells"].clone()).unwrap();
    let cell = |[z, score, n]: &[f64; 3]| Cell {
        z: z / scale,
        n: *n,
        sum: n * score,
        squares: n * score * score,
    };
    let cells: Vec<Cell> = rows.iter().map(cell).collect();
    let fit = length::controlled(&cells)?;
    let sum: f64 = cells.iter().map(|cell| cell.sum).sum();
    Some(json!({
        "intercept": fit.intercept,
        "slope": fit.slope,
        "lc_win_rate": fit.estimate,
        "lc_se_sandwich": fit.error,
        "raw_win_rate": sum / fit.pairs,
    }))
}

pub fn ppi_mean(input: &Value) -> Option<Value> {
    let sums = ["sum_y", "sum_f", "sum_yy", "sum_ff", "sum_yf"].map(|name| number(input, name));
    let labelled = JointMoments::of_sums(number(input, "n"), sums)?;
    let (n, sum, squares) = (number(input, "N"), number(input, "sum_fu"), number(input, "sum_ffu"));
    let rest = Moments { n, mean: sum / n, variance: (squares - sum * sum / n) / (n - 1.0) };
    let (found, alpha) = (Corrected::new(&labelled, rest), number(input, "alpha"));
    let (one_look, cs) = (found.at_one_look(alpha), found.interval(alpha));
    Some(json!({
        "lam": found.lambda,
        "estimate": found.estimate,
        "se": found.error,
        "ci_lower": one_look.lower,
        "ci_upper": one_look.upper,
        "cs_lower": cs.lower,
        "cs_upper": cs.upper,
    }))
}

pub fn paired_mean(input: &Value) -> Option<Value> {
    let x = numbers(&input["x"]);
    let (n, alpha, null) = (x.len() as f64, number(input, "alpha"), number(input, "null"));
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let estimate = Estimate::of_mean(Moments { n, mean, variance });
    let (grid, z) = (Grid::default(), (estimate.value - null) / estimate.error);
    let bounds = estimate.interval(&grid, alpha);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).unwrap();
    Some(json!({
        "mean": estimate.value,
        "se": estimate.error,
        "lower": bounds.lower,
        "upper": bounds.upper,
        "log_e_pos": mean::ln_evidence(&grid, z, n),
        "log_e_neg": mean::ln_evidence(&grid, -z, n),
        "p_fixed_n": 2.0 * t.sf(z.abs()),
    }))
}

pub fn asymp_cs(input: &Value) -> Option<Value> {
    let (n, sd) = (number(input, "n"), number(input, "sd"));
    let estimate = Estimate::of_mean(Moments { n, mean: 0.0, variance: sd * sd });
    let alpha = number(input, "alpha");
    let bounds = normal_mixture::interval(&estimate, number(input, "n_opt"), alpha);
    Some(json!({ "halfwidth": bounds.upper }))
}

pub fn asymp_cs_two_sample(input: &Value) -> Option<Value> {
    let arm = |arm: &str| {
        let n = number(input, &format!("n_{arm}"));
        let given = |name: &str| input[format!("{name}_{arm}")].as_f64();
        match given("err") {
            Some(hits) => {
                let mean = hits / n;
                Moments { n, mean, variance: mean * (1.0 - mean) }
            }
            None => Moments { n, mean: given("mean").unwrap(), variance: given("var").unwrap() },
        }
    };
    let (a, b, alpha) = (arm("a"), arm("b"), number(input, "alpha"));
    Some(sequential(&welch(a, b), number(input, "n_opt"), alpha))
}

/// A difference with the standard error that other tools use.
fn welch(a: Moments, b: Moments) -> Estimate {
    let errors = Errors::of((a.n, a.variance), (b.n, b.variance));
    Estimate { error: errors.welch, ..Estimate::difference(a, b) }
}

fn sequential(estimate: &Estimate, n_best: f64, alpha: f64) -> Value {
    let bounds = normal_mixture::interval(estimate, n_best, alpha);
    let p = normal_mixture::p_value(estimate, n_best, alpha);
    json!({ "diff": estimate.value, "lower": bounds.lower, "upper": bounds.upper, "p": p })
}

/// What is known of both arms, from one summary each.
fn compared(a: Moments, b: Moments, alpha: f64) -> Value {
    let (estimate, theirs) = (Estimate::difference(a, b), sequential(&welch(a, b), 5000.0, alpha));
    let bounds = estimate.interval(&Grid::default(), alpha);
    json!({
        "var_a": a.variance,
        "var_b": b.variance,
        "diff": estimate.value,
        "se_welch": welch(a, b).error,
        "se": estimate.error,
        "asymp_lower": theirs["lower"],
        "asymp_upper": theirs["upper"],
        "lower": bounds.lower,
        "upper": bounds.upper,
    })
}

fn arm(input: &Value, arm: &str, x: &str) -> JointMoments {
    let of = |name: &str| number(&input[arm], name);
    let sums = [x, "y", &format!("{x}{x}"), "yy"].map(|name| of(&format!("s{name}")));
    let product = if x == "x" { "sxy" } else { "syk" };
    let [sx, sy, sxx, syy] = sums;
    JointMoments::of_sums(of("n"), [sx, sy, sxx, syy, of(product)]).unwrap()
}

pub fn cluster_ratio(input: &Value) -> Option<Value> {
    let (a, b) = (arm(input, "a", "k").ratio(), arm(input, "b", "k").ratio());
    let mut got = compared(a, b, number(input, "alpha"));
    got["ratio_a"] = json!(a.mean);
    got["ratio_b"] = json!(b.mean);
    Some(got)
}

pub fn cuped(input: &Value) -> Option<Value> {
    let (a, b) = (arm(input, "a", "x"), arm(input, "b", "x"));
    let theta = common_slope(&a, &b);
    let (a, b) = (a.adjusted(theta), b.adjusted(theta));
    let mut got = compared(a, b, number(input, "alpha"));
    got["theta"] = json!(theta);
    got["adjusted_mean_a"] = json!(a.mean);
    got["adjusted_mean_b"] = json!(b.mean);
    Some(got)
}

pub fn plan_gauss(input: &Value) -> Option<Value> {
    let (delta, sd) = (number(input, "delta"), number(input, "sigma_unit"));
    let plan = plan::plan_units(delta, sd, number(input, "alpha"));
    Some(json!({ "n50": plan.map(|plan| plan.n50), "n80": plan.map(|plan| plan.n80) }))
}

// Definitions, worked out the long way.

fn any_choice() -> impl Strategy<Value = Choice> {
    (0..3_usize).prop_map(|at| [Choice::Control, Choice::Tie, Choice::Candidate][at])
}

fn any_score() -> impl Strategy<Value = Score> {
    (0..=4_u32).prop_map(|quarters| Score::new(f64::from(quarters) / 4.0).unwrap())
}

fn close(got: f64, expected: f64) -> bool {
    (got - expected).abs() <= 1e-9 * (1.0 + expected.abs())
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The covariance of two lists, dividing by their length less `fewer`.
fn cov_of(a: &[f64], b: &[f64], fewer: usize) -> f64 {
    let products = a.iter().zip(b).map(|(x, y)| (x - mean_of(a)) * (y - mean_of(b)));
    products.sum::<f64>() / (a.len() - fewer) as f64
}

/// The values of one coordinate.
fn values(scores: &[(Score, Score)], of: fn(&(Score, Score)) -> Score) -> Vec<f64> {
    scores.iter().map(|pair| of(pair).value()).collect()
}

proptest! {
    #[test]
    fn kappa_is_agreement_beyond_that_of_ratings_put_together_at_random(
        ratings in collection::vec((any_choice(), any_choice()), 2..60),
        cut in any::<usize>(),
    ) {
        let mut table = Agreement::default();
        let mut rest = Agreement::default();
        let cut = cut % ratings.len();
        ratings[..cut].iter().for_each(|(one, other)| table.add(*one, *other));
        ratings[cut..].iter().for_each(|(one, other)| rest.add(*one, *other));
        table.merge(&rest);
        prop_assert_eq!(table.pairs(), ratings.len() as u64);
        let n = ratings.len() as f64;
        let agree = ratings.iter().filter(|(one, other)| one == other).count() as f64 / n;
        let any_two = ratings.iter().flat_map(|(one, _)| ratings.iter().map(move |(_, b)| one == b));
        let chance = any_two.filter(|same| *same).count() as f64 / n / n;
        match table.kappa() {
            Some(kappa) => {
                prop_assert!(close(kappa.value, (agree - chance) / (1.0 - chance)));
                prop_assert!(close(kappa.agreement, agree) && kappa.error >= 0.0);
            }
            None => prop_assert!(chance == 1.0),
        }
    }

    #[test]
    fn e_bh_rejects_the_largest_set_that_is_consistent_with_itself(
        e in collection::vec(prop_oneof![0.0..400.0_f64, Just(10.0), Just(40.0)], 0..12),
        q in 0.01..0.9_f64,
    ) {
        let passes = |size: usize| {
            let least = e.len() as f64 / q / size as f64;
            e.iter().map(|e| *e >= least).collect::<Vec<_>>()
        };
        let count = |set: &[bool]| set.iter().filter(|is_in| **is_in).count();
        let largest = (1..=e.len()).rev().map(passes).enumerate();
        let largest = largest.map(|(at, set)| (e.len() - at, set));
        let found = largest.into_iter().find(|(size, set)| count(set) >= *size);
        let expected = found.map_or(vec![false; e.len()], |(_, set)| set);
        prop_assert_eq!(several::e_bh(&e, q), expected);
    }

    #[test]
    fn holm_is_the_closure_of_bonferroni(
        p in collection::vec(prop_oneof![0.0..0.1_f64, 0.0..1.0_f64], 1..8),
        alpha in 0.01..0.5_f64,
    ) {
        let found = several::holm(&p, alpha);
        for (index, one) in found.iter().enumerate() {
            let subsets = (0..1_usize << p.len()).filter(|set| set >> index & 1 == 1);
            let rejects = |set: usize| {
                let size = f64::from(set.count_ones());
                p.iter().enumerate().any(|(i, p)| set >> i & 1 == 1 && *p <= alpha / size)
            };
            prop_assert_eq!(one.is_rejected, subsets.into_iter().all(rejects));
            prop_assert!(one.adjusted >= p[index] && one.adjusted <= 1.0);
        }
    }

    #[test]
    fn a_summary_of_labels_corrects_as_the_definition_does(
        labelled in collection::vec((any_score(), any_score()), 2..60),
        rest in collection::vec(any_score(), 0..80),
        cut in any::<usize>(),
    ) {
        let (mut one, mut other) = (Labelled::default(), Labelled::default());
        let cut = cut % labelled.len();
        labelled[..cut].iter().for_each(|(label, judged)| one.add(*label, *judged));
        labelled[cut..].iter().for_each(|(label, judged)| other.add(*label, *judged));
        rest.iter().for_each(|judged| other.add_unlabelled(*judged));
        let mut merged = other;
        merged.merge(&one);
        one.merge(&other);
        prop_assert_eq!(one, merged);
        let found = one.corrected().unwrap();
        let (y, f) = (values(&labelled, |pair| pair.0), values(&labelled, |pair| pair.1));
        let fu: Vec<f64> = rest.iter().map(|score| score.value()).collect();
        let (n, more) = (y.len() as f64, fu.len() as f64);
        let all: Vec<f64> = f.iter().chain(&fu).copied().collect();
        let best = cov_of(&y, &f, 0) / ((1.0 + n / more) * cov_of(&all, &all, 1));
        let lambda = if best.is_nan() { 0.0 } else { best.clamp(0.0, 1.0) };
        let left: Vec<f64> = y.iter().zip(&f).map(|(y, f)| y - lambda * f).collect();
        let (mean, spread) = match fu.is_empty() {
            true => (0.0, 0.0),
            false => (lambda * mean_of(&fu), lambda * lambda * cov_of(&fu, &fu, 0) / more),
        };
        prop_assert!(close(found.lambda, lambda), "{found:?} {lambda}");
        prop_assert!(close(found.estimate, mean + mean_of(&left)));
        prop_assert!(close(found.error, (spread + cov_of(&left, &left, 0) / n).sqrt()));
    }

    #[test]
    fn the_fit_leaves_no_residual_and_is_its_own_mirror(
        pairs in collection::vec((0..3000_u64, 0..3000_u64, any_score()), 30..120),
    ) {
        let (mut cells, mut mirror) = (LengthCells::default(), LengthCells::default());
        for (control, candidate, score) in &pairs {
            cells.add(*control, *candidate, *score);
            mirror.add(*candidate, *control, score.flipped());
        }
        prop_assert_eq!(cells.pairs(), pairs.len() as u64);
        let Some(fit) = cells.controlled() else { return Ok(()) };
        let residual = |(control, candidate, score): &(u64, u64, Score)| {
            let z = f64::from(length::bin(*control, *candidate)) / 20.0;
            let mu = 1.0 / (1.0 + (-fit.intercept - fit.slope * z).exp());
            (score.value() - mu, z * (score.value() - mu))
        };
        let all: Vec<(f64, f64)> = pairs.iter().map(residual).collect();
        let n = pairs.len() as f64;
        prop_assert!((all.iter().map(|r| r.0).sum::<f64>() / n).abs() < 1e-6, "{fit:?}");
        prop_assert!((all.iter().map(|r| r.1).sum::<f64>() / n).abs() < 1e-6, "{fit:?}");
        let other = mirror.controlled().unwrap();
        prop_assert!((other.estimate - (1.0 - fit.estimate)).abs() < 1e-6);
        prop_assert!((other.error - fit.error).abs() < 1e-6);
    }

    #[test]
    fn matched_measures_have_the_moments_of_their_list(
        units in collection::vec((0..1_000_000_u64, 0..1_000_000_u64), 2..60),
        cut in any::<usize>(),
    ) {
        let (mut one, mut other) = (Joint::default(), Joint::default());
        let cut = cut % units.len();
        units[..cut].iter().for_each(|(x, y)| one.add(*x, *y));
        units[cut..].iter().for_each(|(x, y)| other.add(*x, *y));
        one.merge(&other);
        let written = serde_json::to_string(&one).unwrap();
        prop_assert_eq!(serde_json::from_str::<Joint>(&written).unwrap(), one);
        let found = one.moments().unwrap();
        let x: Vec<f64> = units.iter().map(|unit| unit.0 as f64).collect();
        let y: Vec<f64> = units.iter().map(|unit| unit.1 as f64).collect();
        let gaps: Vec<f64> = x.iter().zip(&y).map(|(x, y)| y - x).collect();
        prop_assert!(close(found.mean_x, mean_of(&x)) && close(found.mean_y, mean_of(&y)));
        prop_assert!(close(found.cov, cov_of(&x, &y, 1)));
        let difference = found.difference();
        prop_assert!(close(difference.value, mean_of(&gaps)));
        let error = (cov_of(&gaps, &gaps, 1) / gaps.len() as f64).sqrt();
        prop_assert!((difference.error - error).abs() <= 1e-6 * (1.0 + error));
    }

    #[test]
    fn both_orders_add_up_to_the_scores(
        verdicts in collection::vec((any_choice(), any_choice()), 1..60),
    ) {
        let mut swap = Swap::default();
        verdicts.iter().for_each(|(first, second)| swap.add(*first, *second));
        let value = |choice: Choice| choice as usize as f64 / 2.0;
        let n = verdicts.len() as f64;
        let mean = verdicts.iter().map(|(a, b)| (value(*a) + value(*b)) / 2.0).sum::<f64>() / n;
        let by_score = swap.by_score().into_iter().enumerate();
        let got = by_score.map(|(quarters, count)| quarters as f64 / 4.0 * count as f64);
        prop_assert!(close(got.sum::<f64>() / n, mean));
        // Shown first, control wins with 0 and the candidate with 1.
        let first = verdicts.iter().map(|(a, b)| 1.0 - value(*a) + value(*b)).sum::<f64>();
        prop_assert!(close(swap.first_share().unwrap(), first / n / 2.0));
        let cs = swap.consistency_interval(0.05);
        let consistency = swap.consistency().unwrap();
        prop_assert!(cs.lower <= consistency && consistency <= cs.upper);
    }
}

#[test]
fn what_shows_nothing_gives_nothing() {
    assert_eq!(agreement::kappa(&[[0_u64; 3]; 3]), None);
    assert_eq!(agreement::kappa(&[[7_u64, 0], [0, 0]]), None);
    assert_eq!(agreement::kappa(&[vec![1_u64, 2], vec![3]]), None);
    assert_eq!(agreement::kappa(&[[0_u64; 0]; 0]), None);
    let nothing = Swap::default();
    assert_eq!((nothing.consistency(), nothing.first_share()), (None, None));
    assert!(nothing.ln_e_bias().abs() < 1e-12);
    assert_eq!(Labelled::default().corrected(), None);
    let mut wins = LengthCells::default();
    assert_eq!(wins.controlled(), None);
    (0..200).for_each(|k| wins.add(100, 100 + k, Score::WIN));
    assert_eq!(wins.controlled(), None, "scores that never differ fit nothing");
    assert!(several::holm(&[], 0.05).is_empty() && several::e_bh(&[], 0.1).is_empty());
    assert_eq!(several::e_bh(&[f64::NAN, f64::INFINITY], 0.1), [false, true]);
    assert!(!several::holm(&[f64::NAN], 0.05)[0].is_rejected);
    assert_eq!(plan::plan_units(0.0, 1.0, 0.05), None);
}

#[test]
fn equal_lengths_leave_the_win_rate_as_it_is() {
    let mut cells = LengthCells::default();
    for (score, count) in [(Score::WIN, 60), (Score::TIE, 20), (Score::LOSS, 20)] {
        (0..count).for_each(|_| cells.add(500, 500, score));
    }
    let fit = cells.controlled().unwrap();
    assert!((fit.estimate - 0.7).abs() < 1e-9, "{fit:?}");
    assert!((fit.error - (0.16_f64 / 100.0).sqrt()).abs() < 1e-6, "{fit:?}");
    assert_eq!((length::bin(0, 0), length::bin(0, 9), length::bin(9, 0)), (0, 20, -20));
}

#[test]
fn a_small_spread_of_huge_values_is_not_lost() {
    // Values of 10^12 + {0, 1}: squares add up to 10^33, and n times that overflows.
    let n = 1_000_000_000_u64;
    let (value, wide) = (1_000_000_000_000_u128, u128::from(n));
    let (sum, squares) =
        (value * wide + wide / 2, value * value * wide + (2 * value + 1) * wide / 2);
    let (sum, squares) = (sum.to_string(), squares.to_string());
    let sums = json!({ "n": n, "nonzero": n, "sum": sum, "squares": squares });
    let moments = serde_json::from_value::<Sums>(sums).unwrap().moments().unwrap();
    assert!((moments.variance - 0.25).abs() < 1e-9, "{moments:?}");
    let both = json!({ "n": n, "x": sum, "y": sum, "xx": squares, "yy": squares, "xy": squares });
    let both = serde_json::from_value::<Joint>(both).unwrap().moments().unwrap();
    assert!((both.cov - 0.25).abs() < 1e-9, "{both:?}");
    assert!(both.difference().error.abs() < 1e-9);
}

#[test]
fn a_summary_that_contradicts_itself_is_refused_when_read() {
    for joint in [
        json!({ "n": 1, "x": "2", "y": "2", "xx": "1", "yy": "4", "xy": "2" }),
        json!({ "n": 1, "x": "2", "y": "2", "xx": "4", "yy": "4", "xy": "5" }),
        json!({ "n": 1, "x": "-2", "y": "2", "xx": "4", "yy": "4", "xy": "2" }),
    ] {
        assert!(serde_json::from_value::<Joint>(joint.clone()).is_err(), "{joint}");
    }
    let sums = json!({ "n": 1, "nonzero": 1, "sum": "5", "squares": "25" });
    for cells in [json!([[21, sums]]), json!([[1, sums], [1, sums]])] {
        assert!(serde_json::from_value::<LengthCells>(cells.clone()).is_err(), "{cells}");
    }
}
