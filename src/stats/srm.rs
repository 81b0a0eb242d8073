//! The sample-ratio check: does traffic split as configured, tested at every look.

use statrs::function::gamma::{checked_gamma_ur, ln_gamma};

/// The default weight of the configured shares, in units of traffic: larger finds small
/// mismatches sooner and large ones later.
pub const CONCENTRATION: f64 = 10_000.0;

/// The e-value at which the split is called wrong: a false alarm ever has probability at most 1 %.
pub const ALARM: f64 = 100.0;

/// What the counts say about the configured split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRatio {
    /// Log e-value against the configured split; infinite if an arm without traffic has some.
    pub ln_e: f64,
    /// `min(1, 1/e)`, valid at every look.
    pub p: f64,
    /// Pearson's statistic.
    pub chi_square: f64,
    /// Its p-value, valid at one look only.
    pub chi_square_p: f64,
}

impl SampleRatio {
    /// Whether the split is wrong and a person must look.
    pub fn alarms(&self) -> bool {
        self.ln_e >= ALARM.ln()
    }
}

/// Tests `counts` of units assigned to each arm against `weights`, which need not sum to one.
///
/// `ln e = lnG(c) - lnG(c+n) + sum_i [lnG(a_i + n_i) - lnG(a_i)] - sum_i n_i ln share_i`, with the
/// Dirichlet prior `a_i = c share_i` and `c` the `concentration` (Lindon and Malek, "Anytime-valid
/// inference for multinomial count data", NeurIPS 2022).
///
/// `None` if the lengths differ, a weight is negative, or no weight or concentration is positive.
pub fn sample_ratio(counts: &[u64], weights: &[f64], concentration: f64) -> Option<SampleRatio> {
    let total: f64 = weights.iter().sum();
    let positive = |number: f64| number > 0.0 && number.is_finite();
    let usable = counts.len() == weights.len() && weights.iter().all(|weight| *weight >= 0.0);
    if !usable || !positive(total) || !positive(concentration) {
        return None;
    }
    let arms: Vec<Arm> = counts
        .iter()
        .zip(weights)
        .map(|(count, weight)| Arm { count: *count as f64, share: weight / total })
        .filter(|arm| arm.share > 0.0 || arm.count > 0.0)
        .collect();
    let ln_e = ln_e(&arms, concentration);
    let chi_square = chi_square(&arms);
    Some(SampleRatio {
        ln_e,
        p: super::betting::anytime_p(ln_e),
        chi_square,
        chi_square_p: upper_tail(chi_square, arms.len()),
    })
}

struct Arm {
    count: f64,
    share: f64,
}

fn ln_e(arms: &[Arm], concentration: f64) -> f64 {
    if arms.iter().any(|arm| arm.share == 0.0) {
        return f64::INFINITY;
    }
    let count: f64 = arms.iter().map(|arm| arm.count).sum();
    let per_arm = arms.iter().map(|Arm { count, share }| {
        let prior = concentration * share;
        ln_gamma(prior + count) - ln_gamma(prior) - count * share.ln()
    });
    ln_gamma(concentration) - ln_gamma(concentration + count) + per_arm.sum::<f64>()
}

fn chi_square(arms: &[Arm]) -> f64 {
    let count: f64 = arms.iter().map(|arm| arm.count).sum();
    arms.iter()
        .map(|arm| (arm.count, count * arm.share))
        .filter(|(seen, expected)| seen != expected)
        .map(|(seen, expected)| (seen - expected).powi(2) / expected)
        .sum()
}

/// The chance of a larger statistic under the configured split, with `arms - 1` degrees of freedom.
pub fn upper_tail(chi_square: f64, arms: usize) -> f64 {
    if arms < 2 || chi_square == 0.0 {
        return 1.0;
    }
    if chi_square.is_infinite() {
        return 0.0;
    }
    checked_gamma_ur((arms - 1) as f64 / 2.0, chi_square / 2.0).unwrap_or(f64::NAN)
}
