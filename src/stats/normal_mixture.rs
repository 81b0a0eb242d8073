//! The closed-form asymptotic confidence sequence, for comparison with tools that use it.
//!
//! A normal mixture with one scale (Robbins 1970; Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
//! Annals of Statistics 52(6) (2024) 2380-2407, theorem 2.2), as GrowthBook's sequential test has
//! it. No verdict rests on it: [`super::mean`] is narrower where it matters.

use super::Bounds;
use super::mean::Estimate;

/// The squared scale that makes the sequence tightest at `n_best` units:
/// `rho^2 = (-2 ln alpha + ln(1 - 2 ln alpha)) / n_best`.
pub fn squared_scale(n_best: f64, alpha: f64) -> f64 {
    let ln = -2.0 * alpha.ln();
    (ln + (1.0 + ln).ln()) / n_best
}

/// `estimate ± error sqrt((1 + 1/eta)(ln(1 + eta) + 2 ln(1/alpha)))`, `eta = n rho^2`.
pub fn interval(estimate: &Estimate, n_best: f64, alpha: f64) -> Bounds {
    let eta = estimate.n * squared_scale(n_best, alpha);
    let square = (1.0 + 1.0 / eta) * (eta.ln_1p() - 2.0 * alpha.ln());
    let reach = estimate.error * square.sqrt();
    let end = |end: f64| end.is_finite().then_some(end);
    Bounds { lower: end(estimate.value - reach), upper: end(estimate.value + reach) }
}

/// The p-value against "the truth is zero", valid at every look: `min(1, sqrt(1 + eta)
/// exp(-eta Z^2 / (2 (1 + eta))))`, `Z = estimate / error`. 1 without any error and any effect.
pub fn p_value(estimate: &Estimate, n_best: f64, alpha: f64) -> f64 {
    let eta = estimate.n * squared_scale(n_best, alpha);
    let z = if estimate.value == 0.0 { 0.0 } else { estimate.value / estimate.error };
    ((1.0 + eta).sqrt() * (-eta * z * z / (2.0 * (1.0 + eta))).exp()).min(1.0)
}
