//! The order in which recorded requests are asked: every beginning of it is a sample in which each
//! kind of request has its share.

use std::collections::HashMap;

use crate::experiment::Share;

/// A request by its kind and its place among requests, both decided before any answer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The kind it is of, by number.
    pub kind: u32,
    /// From 0 up to a million, by hash.
    pub position: u32,
}

/// The order, as positions in `drawn`.
///
/// Of a kind with n requests the i-th by hash stands at (i + u) / n, u being its hash: so the first
/// k of N requests hold k n / N of the kind, but for one.
pub fn order(drawn: &[Drawn]) -> Vec<usize> {
    let mut kinds: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, request) in drawn.iter().enumerate() {
        kinds.entry(request.kind).or_default().push(at);
    }
    let position = |at: &usize| drawn.get(*at).map_or(0, |request| request.position);
    let mut keys: Vec<(u128, u32, usize)> = Vec::with_capacity(drawn.len());
    for members in kinds.values_mut() {
        members.sort_by_key(|at| (position(at), *at));
        let of = members.len() as u128;
        for (rank, at) in members.iter().enumerate() {
            let whole = u128::from(Share::WHOLE);
            let within = rank as u128 * whole + u128::from(position(at));
            // In parts of 2^64, so that no rounding depends on the machine.
            keys.push(((within << 64) / (of * whole), position(at), *at));
        }
    }
    keys.sort_unstable();
    keys.into_iter().map(|(.., at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::Drawn;
    use super::order;

    #[test]
    fn every_beginning_has_each_kind_in_its_share() {
        let mut state = 1_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u32::try_from((state >> 33) % 1_000_000).unwrap()
        };
        let sizes = [600, 300, 90, 9, 1];
        let mut drawn = Vec::new();
        for (kind, size) in (0..).zip(sizes) {
            drawn.extend((0..size).map(|_| Drawn { kind, position: draw() }));
        }
        let order = order(&drawn);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>(), "each once");
        for taken in [10, 50, 100, 500, 999] {
            for (kind, size) in (0..).zip(sizes) {
                let found = order[..taken].iter().filter(|at| drawn[**at].kind == kind).count();
                let share = f64::from(size) * taken as f64 / 1000.0;
                assert!((found as f64 - share).abs() <= 1.5, "{kind} of {taken}: {found}, {share}");
            }
        }
    }

    #[test]
    fn it_hangs_on_nothing_but_kinds_and_positions() {
        let drawn: Vec<Drawn> =
            (0..100).map(|n| Drawn { kind: n % 3, position: n * 7919 % 1_000_000 }).collect();
        let by = |drawn: &[Drawn]| {
            order(drawn).into_iter().map(|at| drawn[at].position).collect::<Vec<_>>()
        };
        let reversed: Vec<Drawn> = drawn.iter().rev().copied().collect();
        assert_eq!(by(&drawn), by(&reversed));
    }
}
