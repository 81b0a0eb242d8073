//! Martingales by exact enumeration: every way that few scores can fall, with its probability.

use proptest::prelude::Strategy;
use proptest::prelude::proptest;
use proptest::{prop_assert, prop_assert_eq};
use understudy::stats::Rate;
use understudy::stats::betting;
use understudy::stats::betting::Level;
use understudy::stats::grid::Grid;
use understudy::stats::mean;
use understudy::stats::plan;
use understudy::stats::rate;
use understudy::stats::srm;

/// Scores 0, 1/2 and 1 with these probabilities.
type Chances = [f64; 3];

/// Those with this mean and share of ties.
fn chances(mean: f64, ties: f64) -> Chances {
    [1.0 - mean - ties / 2.0, ties, mean - ties / 2.0]
}

fn levels(counts: [u64; 3]) -> [Level; 3] {
    let [losses, ties, wins] = counts;
    let level = |value, count| Level { value, count };
    [level(0.0, losses), level(0.5, ties), level(1.0, wins)]
}

/// The probability of these counts among as many scores as they add up to.
fn probability(counts: [u64; 3], chances: Chances) -> f64 {
    let mut left: u64 = counts.iter().sum();
    let mut product = 1.0;
    for (count, chance) in counts.iter().zip(chances) {
        for taken in 0..*count {
            product *= chance * left as f64 / (taken + 1) as f64;
            left -= 1;
        }
    }
    product
}

/// What `of` comes to on average over all counts of `n` scores.
fn expectation(n: u64, chances: Chances, of: impl Fn([u64; 3]) -> f64) -> f64 {
    let all =
        (0..=n).flat_map(|wins| (0..=n - wins).map(move |ties| [n - wins - ties, ties, wins]));
    let possible = |counts: &[u64; 3]| probability(*counts, chances) > 0.0;
    all.filter(possible).map(|counts| probability(counts, chances) * of(counts)).sum()
}

#[test]
fn capital_at_the_true_mean_is_one_on_average_however_many_scores() {
    let grid = Grid::default();
    for (mean, ties) in [(0.5, 0.0), (0.5, 0.3), (0.47, 0.2), (0.9, 0.1), (0.02, 0.0)] {
        for n in [1, 2, 7, 30] {
            let of = |counts: [u64; 3], null: f64| {
                let above = betting::ln_capital_above(&grid, &levels(counts), null).exp();
                (above, betting::ln_capital_below(&grid, &levels(counts), null).exp())
            };
            let above = expectation(n, chances(mean, ties), |counts| of(counts, mean).0);
            let below = expectation(n, chances(mean, ties), |counts| of(counts, mean).1);
            assert!((above - 1.0).abs() < 1e-9 && (below - 1.0).abs() < 1e-9, "{mean} {ties} {n}");
            let short = expectation(n, chances(mean, ties), |counts| of(counts, mean + 0.01).0);
            assert!(short <= 1.0, "{mean} {ties} {n}: {short}");
        }
    }
}

/// The chance that capital ever reaches `level` within `n` scores, over all paths.
fn ever(n: u64, chances: Chances, level: f64, ln_capital: &dyn Fn([u64; 3]) -> f64) -> f64 {
    fn on(
        left: u64,
        counts: [u64; 3],
        chances: Chances,
        is_over: &dyn Fn([u64; 3]) -> bool,
    ) -> f64 {
        if is_over(counts) {
            return 1.0;
        }
        if left == 0 {
            return 0.0;
        }
        let next = |kind: usize| {
            let mut more = counts;
            more[kind] += 1;
            chances[kind] * on(left - 1, more, chances, is_over)
        };
        (0..3).filter(|kind| chances[*kind] > 0.0).map(next).sum()
    }
    on(n, [0; 3], chances, &|counts| ln_capital(counts) >= level.ln())
}

#[test]
fn capital_hardly_ever_reaches_a_level_on_any_path() {
    let grid = Grid::default();
    for (mean, ties, n) in [(0.5, 0.0, 12), (0.3, 0.0, 12), (0.5, 0.4, 7)] {
        for level in [1.5, 2.0, 5.0] {
            let above = |counts| betting::ln_capital_above(&grid, &levels(counts), mean);
            let both = |counts| {
                let levels = levels(counts);
                betting::ln_e_value(&grid, &levels, &levels, mean)
            };
            for ln_capital in [&above as &dyn Fn([u64; 3]) -> f64, &both] {
                let share = ever(n, chances(mean, ties), level, ln_capital);
                assert!(share <= 1.0 / level, "{mean} {ties}: {share} reach {level}");
            }
        }
    }
}

#[test]
fn evidence_of_alike_pairs_is_no_more_than_that_of_one_if_discounted_by_their_number() {
    let grid = Grid::default();
    // Units of two pairs that are the same with this probability beyond chance.
    for alike in [0.0, 0.4, 1.0] {
        let same = alike + (1.0 - alike) * 0.5;
        let unit = [same / 2.0, 1.0 - same, same / 2.0];
        for units in [1, 4, 12] {
            let capital = |discount: f64| {
                expectation(units, unit, |[lost, split, won]| {
                    let levels = levels([2 * lost + split, 0, 2 * won + split]);
                    betting::ln_discounted(&grid, (&levels, &levels), 0.5, discount).above.exp()
                })
            };
            assert!(capital(2.0) <= 1.0 + 1e-12, "{alike} {units}");
            let is_martingale = (capital(1.0) - 1.0).abs() < 1e-9;
            assert_eq!(is_martingale, alike == 0.0, "{alike} {units}: {}", capital(1.0));
        }
    }
}

#[test]
fn a_sample_keeps_its_martingale_at_the_mean_that_it_has() {
    let (grid, share) = (Grid::default(), 0.3);
    for (mean, ties) in [(0.5, 0.0), (0.47, 0.2), (0.6, 0.4)] {
        let [losses, _, wins] = chances(mean, ties).map(|chance| chance * share);
        let sampled = [losses, 1.0 - losses - wins, wins];
        let null = 0.5 + share * (mean - 0.5);
        let above = expectation(20, sampled, |counts| {
            betting::ln_capital_above(&grid, &levels(counts), null).exp()
        });
        assert!((above - 1.0).abs() < 1e-9, "{mean} {ties}: {above}");
    }
}

#[test]
fn gaussian_evidence_is_one_on_average_and_reaches_its_threshold_at_z_star() {
    let grid = Grid::default();
    for n in [1.0, 10.0, 100.0] {
        let steps = (-12_000..24_000).map(|step| f64::from(step) / 1000.0);
        let density = |z: f64| (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let part = |z: f64| density(z) * mean::ln_evidence(&grid, z, n).exp() / 1000.0;
        let total: f64 = steps.map(part).sum();
        assert!((total - 1.0).abs() < 1e-6, "{n}: {total}");
        let z = mean::critical(&grid, n, 0.05);
        assert!((mean::ln_evidence(&grid, z, n) - 40_f64.ln()).abs() < 1e-6, "{n}");
    }
}

#[test]
fn evidence_against_a_split_is_one_on_average() {
    for share in [0.5, 0.1] {
        let chances = [1.0 - share, 0.0, share];
        let average = expectation(30, chances, |[a, _, b]| {
            srm::sample_ratio(&[a, b], &[1.0 - share, share], 100.0).unwrap().ln_e.exp()
        });
        assert!((average - 1.0).abs() < 1e-9, "{share}: {average}");
    }
}

#[test]
fn evidence_on_two_rates_is_at_most_one_on_average() {
    let grid = Grid::default();
    for p in [0.2, 0.5] {
        let chances = [1.0 - p, 0.0, p];
        let average = expectation(6, chances, |[.., a]| {
            expectation(3, chances, |[.., b]| {
                let (a, b) = (Rate { hits: a, of: 6 }, Rate { hits: b, of: 3 });
                rate::ln_evidence(&grid, a, b, 0.0).exp()
            })
        });
        assert!(average <= 1.0, "{p}: {average}");
    }
}

#[test]
fn a_plan_for_a_mean_is_the_least_number_that_is_enough() {
    let grid = Grid::default();
    for (delta, sd) in [(0.1, 1.0), (-0.3, 2.0), (0.02, 0.5)] {
        let n = plan::plan_units(delta, sd, 0.05).unwrap().n50;
        let reach = |n: u64| mean::critical(&grid, n as f64, 0.05) * sd / (n as f64).sqrt();
        assert!(reach(n) <= f64::abs(delta) && reach(n - 1) > f64::abs(delta), "{delta} {sd} {n}");
    }
}

fn any_rate() -> impl Strategy<Value = Rate> {
    (1..400_u64, 0.0..=1.0_f64)
        .prop_map(|(of, share)| Rate { hits: (share * of as f64) as u64, of })
}

proptest! {
    #[test]
    fn evidence_on_two_rates_is_the_least_over_all_that_they_may_be(
        a in any_rate(),
        b in any_rate(),
        more in -0.3..0.3_f64,
        part in 0.0..=1.0_f64,
    ) {
        let grid = Grid::default();
        let hedged = |ln: f64| (0.9 * ln.exp() + 0.1).ln();
        let levels = |rate: Rate| levels([rate.of - rate.hits, 0, rate.hits]);
        let (low, high) = (f64::max(0.0, -more), f64::min(1.0, 1.0 - more));
        let p = low + part * (high - low);
        let below = betting::ln_capital_below(&grid, &levels(a), p);
        let above = betting::ln_capital_above(&grid, &levels(b), p + more);
        let found = rate::ln_evidence(&grid, a, b, more);
        prop_assert!(found <= hedged(below) + hedged(above) + 1e-6);
        prop_assert_eq!(found.is_nan(), false);
    }
}
