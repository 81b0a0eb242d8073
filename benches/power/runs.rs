//! Runs of a simulation, shared among the processors there are.

use std::thread;

/// How much is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Experiments.
    pub runs: u64,
    /// Pairs, or requests, of each.
    pub horizon: u64,
}

/// What `run` gives for each seed below `runs`, in that order.
pub fn spread<T: Send>(runs: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let workers = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let part = |worker: u64| {
        let run = &run;
        move || (worker..runs).step_by(workers as usize).map(|seed| (seed, run(seed))).collect()
    };
    let mut all: Vec<(u64, T)> = thread::scope(|scope| {
        let started: Vec<_> = (0..workers).map(|worker| scope.spawn(part(worker))).collect();
        let joined = started.into_iter().flat_map(thread::ScopedJoinHandle::join);
        joined.flat_map(|part: Vec<(u64, T)>| part).collect()
    });
    assert_eq!(all.len() as u64, runs, "a run failed");
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, got)| got).collect()
}

/// The share of runs of which something is true.
pub fn share(runs: u64, is: impl Fn(u64) -> bool + Sync) -> f64 {
    spread(runs, is).into_iter().filter(|is| *is).count() as f64 / runs as f64
}

/// The most that a share of at most `expected` may come to in so many runs by chance: three
/// standard errors more.
pub fn most(expected: f64, runs: u64) -> f64 {
    expected + 3.0 * (expected * (1.0 - expected) / runs as f64).sqrt()
}
