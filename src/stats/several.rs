//! Several questions at once: which of many answers may be believed together.

/// What Holm's procedure says of one p-value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holm {
    /// The smallest alpha at which the whole family would reject this one.
    pub adjusted: f64,
    /// Whether it is rejected.
    pub is_rejected: bool,
}

/// Holm's step-down procedure (Scandinavian Journal of Statistics 6 (1979) 65-70): the chance that
/// any true null among `p` is rejected is at most `alpha`, whatever depends on what.
///
/// With `p` sorted ascending, rank `k` of `m` is rejected while `p_(k) <= alpha / (m - k + 1)` holds
/// for it and all before it; its adjusted value is the largest `(m - i + 1) p_(i)` with `i <= k`, at
/// most 1. Of anytime-valid p-values the answer is valid at any stopping time of the whole family.
/// A `p` that is no number is never rejected.
pub fn holm(p: &[f64], alpha: f64) -> Vec<Holm> {
    let mut order: Vec<(usize, f64)> =
        p.iter().map(|p| if p.is_nan() { 1.0 } else { *p }).enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut all = vec![Holm { adjusted: 1.0, is_rejected: false }; p.len()];
    let (mut adjusted, mut goes_on) = (0.0_f64, true);
    for (rank, (index, p)) in order.into_iter().enumerate() {
        let left = (all.len() - rank) as f64;
        adjusted = adjusted.max(p * left).min(1.0);
        goes_on = goes_on && p <= alpha / left;
        if let Some(one) = all.get_mut(index) {
            *one = Holm { adjusted, is_rejected: goes_on };
        }
    }
    all
}

/// The e-BH procedure (Wang and Ramdas, "False discovery rate control with e-values", JRSS-B 84
/// (2022) 822-852): which of these e-values are discoveries, of which at most a share `q` is
/// expected to be false, whatever depends on what.
///
/// With `e` sorted descending, the `k*` largest are, `k* = max {k : k e_(k) / K >= 1/q}`. Of
/// e-processes read at one common stopping time the answer is valid too. To tell better from worse,
/// give both one-sided e-values of each question as hypotheses of their own. An `e` that is no
/// number is never a discovery.
pub fn e_bh(e: &[f64], q: f64) -> Vec<bool> {
    let mut sorted: Vec<f64> = e.iter().copied().filter(|e| !e.is_nan()).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let all = e.len() as f64;
    let least = sorted
        .iter()
        .enumerate()
        .filter(|(rank, e)| (rank + 1) as f64 * **e / all >= 1.0 / q)
        .map(|(_, e)| *e)
        .next_back();
    e.iter().map(|e| least.is_some_and(|least| *e >= least)).collect()
}
