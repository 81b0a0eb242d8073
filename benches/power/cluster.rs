//! Sessions of several pairs that are alike: what becomes of the evidence.

use fastrand::Rng;
use understudy::stats::Clusters;
use understudy::stats::Score;
use understudy::stats::WinRate;
use understudy::stats::betting::CAP;
use understudy::stats::grid::Grid;
use understudy::stats::grid::NODES;

use super::draw::unit;
use super::engine::ALPHA;

/// How pairs come.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    /// Pairs a session; each session's own number spreads geometrically if `spread` says so.
    pub size: u64,
    /// Whether sizes differ.
    pub spread: bool,
    /// How alike pairs of a session are.
    pub icc: f64,
    /// Sessions under way at a time.
    pub open: usize,
}

/// Pairs between two looks.
const STEP: u64 = 10;

/// After how many pairs 1/2 is excluded, with the pairs taken for independent and with their
/// evidence discounted, looked at every ten pairs from 50 on; `None` if not by `horizon`.
pub fn stops(sessions: Sessions, mean: f64, horizon: u64, seed: u64) -> [Option<u64>; 2] {
    let mut random = Rng::with_seed(seed);
    let (bets, mut open, mut seen) = (Bets::new(), Vec::new(), Seen::default());
    let mut found = [None; 2];
    for pairs in 1..=horizon {
        while open.len() < sessions.open {
            open.push(Session::start(sessions, mean, &mut random));
        }
        let index = random.usize(..open.len());
        let Some(session) = open.get_mut(index) else { continue };
        let is_win = random.f64() < session.wins;
        seen.add(session, is_win);
        if session.left == 0 {
            open.swap_remove(index);
        }
        if pairs < 50 || pairs % STEP != 0 {
            continue;
        }
        let discount = seen.clusters.discount(&seen.summary);
        for (found, discount) in found.iter_mut().zip([1.0, discount]) {
            let is_enough = found.is_none() && bets.excludes(&seen, discount);
            *found = if is_enough { Some(pairs) } else { *found };
        }
        if found[1].is_some() {
            break;
        }
    }
    found
}

/// A session under way.
struct Session {
    left: u64,
    wins: f64,
    pairs: u64,
    won: u64,
}

impl Session {
    fn start(sessions: Sessions, mean: f64, random: &mut Rng) -> Session {
        let size = sessions.size as f64;
        let left = match sessions.spread && sessions.size > 1 {
            true => 1 + ((1.0 - random.f64()).ln() / (1.0 - 1.0 / size).ln()) as u64,
            false => sessions.size,
        };
        Session { left, wins: unit(mean, sessions.icc, random), pairs: 0, won: 0 }
    }
}

/// All pairs so far.
#[derive(Default)]
struct Seen {
    summary: WinRate,
    clusters: Clusters,
    won: f64,
    lost: f64,
}

impl Seen {
    fn add(&mut self, session: &mut Session, is_win: bool) {
        let one = u64::from(Score::WIN.units());
        let before = (session.pairs, session.won * one);
        session.left -= 1;
        session.pairs += 1;
        session.won += u64::from(is_win);
        self.clusters.replace(before, (session.pairs, session.won * one));
        self.summary.add(if is_win { Score::WIN } else { Score::LOSS });
        *(if is_win { &mut self.won } else { &mut self.lost }) += 1.0;
    }
}

/// What each bet against 1/2 gains and loses with a pair.
struct Bets {
    grid: Grid,
    gains: [f64; NODES],
    losses: [f64; NODES],
}

impl Bets {
    fn new() -> Bets {
        let grid = Grid::default();
        let (mut gains, mut losses) = ([0.0; NODES], [0.0; NODES]);
        for ((gain, loss), effect) in gains.iter_mut().zip(&mut losses).zip(grid.effects()) {
            let bet = (effect / 0.5).min(CAP / 0.5);
            (*gain, *loss) = ((bet / 2.0).ln_1p(), (-bet / 2.0).ln_1p());
        }
        Bets { grid, gains, losses }
    }

    /// Whether 1/2 is excluded on either side; only the side of more wins can be.
    fn excludes(&self, seen: &Seen, discount: f64) -> bool {
        let (more, fewer) = (seen.won.max(seen.lost), seen.won.min(seen.lost));
        let wealth = |(gain, loss): (&f64, &f64)| (more * gain + fewer * loss) / discount;
        let wealth: Vec<f64> = self.gains.iter().zip(&self.losses).map(wealth).collect();
        self.grid.mix(&wealth) >= (2.0 / ALPHA).ln()
    }
}
