//! A sentinel as people and programs read it.

use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::config::Config;
use crate::ledger;
use crate::sentinel::Sentinel;
use crate::sentinel::state::Drifted;
use crate::sentinel::state::Pinned;
use crate::sentinel::state::Ran;
use crate::vigil::post::Post;

/// One sentinel, now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// Its name.
    pub sentinel: String,
    /// `waiting` for its first run, `steady`, or `drifted`.
    pub state: String,
    /// Who is asked.
    pub target: String,
    /// Whose question is open again when it alarms.
    pub experiment: Option<String>,
    /// From one run to the next, seconds.
    pub every_s: u64,
    /// When the next run is due, Unix milliseconds; absent before the first.
    pub due_ms: Option<i64>,
    /// Whether a run is under way.
    pub is_running: bool,
    /// The answers that others are compared with.
    pub pinned: Option<Pinned>,
    /// The alarm, if there was one since they were pinned.
    pub drifted: Option<Drifted>,
    /// Why the last run came to nothing.
    pub trouble: Option<String>,
    /// Spent today (UTC), dollars.
    pub today_usd: f64,
    /// The most for a day.
    pub daily_usd: Option<f64>,
    /// The last runs, the newest at the end.
    pub runs: Vec<Ran>,
}

impl View {
    /// Every sentinel of a configuration.
    pub fn all(config: &Config, now_ms: i64) -> Vec<Self> {
        config.sentinels.iter().map(|of| Self::of(of, &config.data_dir, now_ms)).collect()
    }

    fn of(sentinel: &Sentinel, data_dir: &Path, now_ms: i64) -> Self {
        let state = Post::of(data_dir, &sentinel.name).state().under(sentinel);
        let word = match (&state.drifted, &state.pinned) {
            (Some(_), _) => "drifted",
            (None, Some(_)) => "steady",
            (None, None) => "waiting",
        };
        let (day, spent) = state.spent;
        let spent = if day == ledger::day(now_ms) { spent } else { 0 };
        Self {
            sentinel: sentinel.name.clone(),
            state: word.to_owned(),
            target: sentinel.shipped.target.to_string(),
            experiment: sentinel.experiment.clone(),
            every_s: sentinel.every.as_secs(),
            due_ms: (state.due_ms > 0).then_some(state.due_ms),
            is_running: state.running_since_ms.is_some(),
            pinned: state.pinned,
            drifted: state.drifted,
            trouble: state.trouble,
            today_usd: spent as f64 / 1e9,
            daily_usd: sentinel.daily_usd,
            runs: state.runs,
        }
    }
}
