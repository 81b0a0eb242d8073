//! How far a backtest is: a bar on a terminal, a line every few seconds elsewhere.

use std::io::Write;
use std::time::Duration;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;
use tokio::time::Instant;

use crate::rehearsal::run::Progress;
use crate::report::Report;

/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(5);

/// The display, on standard error.
pub struct Display {
    bar: ProgressBar,
    max_usd: Option<f64>,
    began: Instant,
    told: Option<Instant>,
    last: Option<Progress>,
}

impl Display {
    /// Nothing done yet.
    pub fn new(total: usize, max_usd: Option<f64>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {prefix}\n{msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, max_usd, began: Instant::now(), told: None, last: None }
    }

    /// Shows it.
    pub fn show(&mut self, at: &Progress) {
        let done = format!("{}/{} pairs, {}", at.settled, at.total, self.left(at));
        let found = format!("{}, {}", found(&at.report), self.spent(at));
        self.bar.set_position(at.settled as u64);
        self.bar.set_prefix(done.clone());
        self.bar.set_message(found.clone());
        let is_due = self.told.is_none_or(|told| told.elapsed() >= PLAIN);
        if self.bar.is_hidden() && is_due {
            self.told = Some(Instant::now());
            let _ = writeln!(std::io::stderr(), "{done}; {found}");
        }
        self.last = Some(at.clone());
    }

    /// Takes the bar away; gives what was shown last.
    pub fn close(self) -> Option<Progress> {
        self.bar.finish_and_clear();
        self.last
    }

    fn left(&self, at: &Progress) -> String {
        let (done, left) = (at.settled.saturating_sub(at.before), at.total - at.settled);
        if left == 0 {
            return "done".to_owned();
        }
        if done == 0 {
            return "time left unknown".to_owned();
        }
        let seconds = self.began.elapsed().as_secs_f64() * left as f64 / done as f64;
        format!("about {} left", duration(seconds))
    }

    fn spent(&self, at: &Progress) -> String {
        let of = self.max_usd.map(|most| format!(" of ${most}")).unwrap_or_default();
        format!("${:.4}{of} spent", at.spent_usd)
    }
}

/// The win rate of the candidate that is furthest, with its interval.
fn found(report: &Report) -> String {
    let best = report.candidates.iter().max_by_key(|(_, view)| view.pairs);
    match best.map(|(name, view)| (name, view, view.win_rate.estimate)) {
        Some((name, view, Some(estimate))) => format!(
            "{name} wins {:.1} % ({:.1} to {:.1})",
            estimate * 100.0,
            view.win_rate.lower * 100.0,
            view.win_rate.upper * 100.0
        ),
        _ => "no pair is judged yet".to_owned(),
    }
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}
