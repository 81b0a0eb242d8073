//! Pairs until a win rate is told from 1/2, by these statistics and by others.

use fastrand::Rng;
use understudy::stats::grid::Grid;

use super::draw::Kind;
use super::engine::Side;
use super::peer;
use super::peer::Path;
use super::peer::Peer;
use super::runs::Size;
use super::runs::spread;
use super::table::Table;

/// The true win rates, and shares of ties.
const MEANS: [f64; 3] = [0.52, 0.55, 0.60];
const TIES: [f64; 3] = [0.0, 0.2, 0.4];

/// How much slower than the best always-valid peer, chosen afterwards for each cell, ours may be.
const WORST: f64 = 1.09;

/// What a simulation of so many runs may be off by, as a factor.
fn slack(runs: u64) -> f64 {
    1.0 + 2.0 / (runs as f64).sqrt()
}

/// Ways to decide that hold at every look.
const VALID: [(&str, Peer); 4] = [
    ("GrowthBook sequential, N*=5000", Peer::NormalMixture(5000.0)),
    ("asymptotic sequence, N*=1000", Peer::NormalMixture(1000.0)),
    ("mSPRT, known variance, tau=0.03", Peer::Msprt(0.03)),
    ("hedged betting, predictable bets", Peer::Hedged),
];

/// Mean pairs until each of `peers` stops, after those of the product itself, counted to `horizon`;
/// and the share of runs that stopped for the better side.
fn stops(cell: (f64, f64), peers: &[Peer], (runs, horizon): (u64, u64)) -> Vec<(f64, f64)> {
    let (mean, ties) = cell;
    let (kind, variance) = (Kind::Verdict { ties, noise: 0.0 }, (1.0 - ties) / 4.0);
    let run = |seed| {
        let mut random = Rng::with_seed(seed);
        let (grid, mut path) = (Grid::default(), Path::default());
        let mut sides = [true, false].map(|is_above| Side::new(&grid, 0.5, is_above));
        let mut open = vec![None; peers.len() + 1];
        for pairs in 1..=horizon {
            let score = kind.draw(mean, &mut random);
            path.add(score);
            let [above, below] = sides.each_mut().map(|side| side.add(score));
            let ours = (above || below).then_some(above);
            let theirs = peers.iter().map(|peer| peer.stops(&path, variance));
            for (made, now) in open.iter_mut().zip(std::iter::once(ours).chain(theirs)) {
                *made = made.or(now.map(|is_better| (pairs, is_better)));
            }
            if open.iter().all(Option::is_some) {
                break;
            }
        }
        open
    };
    let all = spread(runs, run);
    let of = |at: usize| {
        let made = || all.iter().map(move |run| run[at]);
        // A group sequential test that decides nothing has ended all the same.
        let end = match at.checked_sub(1).and_then(|peer| peers.get(peer)) {
            Some(Peer::ObrienFleming(last)) => last.min(horizon as f64),
            _ => horizon as f64,
        };
        let pairs: f64 = made().map(|made| made.map_or(end, |(n, _)| n as f64)).sum();
        let right = made().filter(|made| made.is_some_and(|(_, is_better)| is_better)).count();
        (pairs / runs as f64, right as f64 / runs as f64)
    };
    (0..=peers.len()).map(of).collect()
}

/// Whether ours needs hardly more pairs than the best always-valid peer in one cell.
#[allow(dead_code, reason = "for the short version among the tests")]
pub fn is_as_fast_as_peers(cell: (f64, f64), size: Size) -> bool {
    let peers = VALID.map(|(_, peer)| peer);
    factor_to_best(&stops(cell, &peers, (size.runs, size.horizon))) <= WORST * slack(size.runs)
}

/// Our pairs over those of the best always-valid peer.
fn factor_to_best(found: &[(f64, f64)]) -> f64 {
    let theirs = found.iter().skip(1).take(VALID.len()).map(|(pairs, _)| *pairs);
    found.first().map_or(f64::NAN, |(ours, _)| ours / theirs.fold(f64::MAX, f64::min))
}

/// Prints pairs and factors, and whether the factors are as they must be.
pub fn print(size: Size) -> bool {
    let horizon = 10_000;
    let mut head = vec!["pairs until a decision (share for the right side by 10,000)".to_owned()];
    let cells: Vec<(f64, f64)> =
        MEANS.iter().flat_map(|mean| TIES.iter().map(move |ties| (*mean, *ties))).collect();
    head.extend(cells.iter().map(|(mean, ties)| format!("{mean:.2}/{:.0} %", 100.0 * ties)));
    let mut rows: Vec<Vec<String>> = vec![Vec::new(); VALID.len() + 7];
    let mut held = true;
    for (mean, ties) in cells {
        let (planned, oracle) = (peer::last_look(0.52, ties), peer::last_look(mean, ties));
        let mut peers: Vec<Peer> = VALID.iter().map(|(_, peer)| *peer).collect();
        peers.extend([10_000.0, planned, oracle].map(Peer::ObrienFleming));
        // Large differences are found soon, so more runs are cheap and their means steadier.
        let runs = if mean > 0.53 { 4 * size.runs } else { size.runs };
        let found = stops((mean, ties), &peers, (runs, horizon));
        let factors = [factor_to_best(&found), found[0].0 / peer::fixed(mean, ties)];
        held &= factors[0] <= WORST * slack(runs);
        let shown = found.iter().map(|(pairs, right)| match *right < 0.995 {
            true => format!("{pairs:.0} ({right:.2})"),
            false => format!("{pairs:.0}"),
        });
        let fixed = format!("{:.0}", peer::fixed(mean, ties));
        let column = shown.chain([fixed]).chain(factors.map(|factor| format!("{factor:.2}")));
        rows.iter_mut().zip(column).for_each(|(row, cell)| row.push(cell));
    }
    let names = ["understudy"].into_iter().chain(VALID.iter().map(|(name, _)| *name)).chain([
        "O'Brien-Fleming, 5 looks to 10,000",
        "O'Brien-Fleming, planned for 0.52",
        "O'Brien-Fleming, truth known",
        "fixed sample, 90 % power, one look",
        "understudy / best always-valid peer",
        "understudy / fixed sample",
    ]);
    let mut table = Table::new("power, win rate/ties", &[]);
    table.columns(head);
    names.zip(rows).for_each(|(name, row)| table.row(name.to_owned(), row));
    table.print(held);
    held
}
