//! When a sentinel alarms.
//!
//! Each run is tested once, when it has ended, at its own share of alpha, so that the chance of a
//! false alarm over all runs, however many, is at most alpha. Runs are never added up: the pinned
//! answers are the same in all of them, so what luck they had would be counted as often as there
//! are runs, and a pinned answer that happens to be good would be beaten less and less "by chance".

use crate::sentinel::Alarm;
use crate::sentinel::state::Pinned;
use crate::stats::Interval;
use crate::stats::Score;
use crate::stats::WinRate;

/// What the `run`-th run, from 1, may spend of alpha: 1/2, 1/6, 1/12 and so on, which add up to 1.
pub fn alpha_of(alpha: f64, run: u64) -> f64 {
    let run = run.max(1) as f64;
    alpha / (run * (run + 1.0))
}

/// What a run saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Pairs with an answer of the day.
    pub pairs: u64,
    /// Of those, the ones that no comparator found equal.
    pub moved: u64,
    /// The interval of the win rate of the answers of the day, if any pair was judged.
    pub win_rate: Option<Interval>,
    /// What the provider calls the model.
    pub models: Vec<String>,
    /// What the provider calls the system.
    pub fingerprints: Vec<String>,
}

/// The interval of the share of moved answers, wrong with probability at most `alpha`.
pub fn share_moved(pairs: u64, moved: u64, alpha: f64) -> Interval {
    let mut shares = WinRate::new();
    for at in 0..pairs {
        shares.add(if at < moved { Score::WIN } else { Score::LOSS });
    }
    shares.interval(alpha)
}

/// Why a run alarms, each in words; empty when it does not.
pub fn reasons(alarm: &Alarm, pinned: &Pinned, seen: &Seen, run: u64) -> Vec<String> {
    let mut why = Vec::new();
    let Interval { lower, .. } = share_moved(seen.pairs, seen.moved, alpha_of(alarm.alpha, run));
    if let Some(most) = alarm.moved.filter(|most| lower > most.fraction()) {
        let (most, lower) = (100.0 * most.fraction(), 100.0 * lower);
        why.push(format!(
            "{} of {} answers moved, surely more than {lower:.1} %: {most} % are allowed",
            seen.moved, seen.pairs
        ));
    }
    if let Some(win) = seen.win_rate.filter(|win| win.upper < 0.5 - alarm.margin) {
        let (upper, margin) = (100.0 * win.upper, 100.0 * alarm.margin);
        why.push(format!(
            "the new answers win surely less than {upper:.1} % of the pairs: 50 % less {margin} \
             points are allowed"
        ));
    }
    let news = |what: &str, before: &[String], now: &[String]| {
        let new: Vec<&str> =
            now.iter().filter(|name| !before.contains(name)).map(String::as_str).collect();
        let is_news = !before.is_empty() && !new.is_empty();
        is_news.then(|| format!("{what} is {} now, and was {}", new.join(", "), before.join(", ")))
    };
    if alarm.model {
        why.extend(news("the model", &pinned.models, &seen.models));
    }
    if alarm.fingerprint {
        why.extend(news("the fingerprint", &pinned.fingerprints, &seen.fingerprints));
    }
    why
}

#[cfg(test)]
mod tests {
    use super::Seen;
    use super::alpha_of;
    use super::reasons;
    use crate::experiment::Share;
    use crate::sentinel::Alarm;
    use crate::sentinel::state::Pinned;
    use crate::stats::Interval;

    fn why(alarm: &Alarm, seen: &Seen, run: u64) -> String {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (models, fingerprints) = (names(&["m-1"]), names(&["fp_a", "fp_b"]));
        let pinned = Pinned { at_ms: 0, prompts: 20, models, fingerprints };
        reasons(alarm, &pinned, seen, run).join("; ")
    }

    #[test]
    fn the_shares_of_alpha_add_up_to_no_more_than_all_of_it() {
        let sum: f64 = (1..100_000).map(|run| alpha_of(0.05, run)).sum();
        assert!((0.0499..=0.05).contains(&sum), "{sum}");
    }

    #[test]
    fn moved_answers_alarm_when_they_are_surely_more_than_allowed() {
        let alarm = Alarm { moved: Share::from_ppm(100_000), ..Alarm::default() };
        let seen = |moved| Seen { pairs: 50, moved, ..Seen::default() };
        assert_eq!(why(&alarm, &seen(5), 1), "");
        assert_eq!(why(&alarm, &seen(9), 1), "", "that may be chance");
        assert!(why(&alarm, &seen(30), 1).contains("30 of 50 answers moved"));
        assert!(why(&alarm, &seen(17), 1).contains("17 of 50"));
        assert_eq!(why(&alarm, &seen(17), 3_000), "", "after so many runs that may be chance, too");
        assert_eq!(why(&Alarm::default(), &seen(50), 1), "", "nothing is said of moved answers");
    }

    #[test]
    fn worse_answers_alarm_by_more_than_the_margin() {
        let seen = |upper| Seen {
            pairs: 50,
            win_rate: Some(Interval { lower: 0.0, upper }),
            ..Seen::default()
        };
        assert_eq!(why(&Alarm::default(), &seen(0.46), 1), "");
        assert!(why(&Alarm::default(), &seen(0.44), 1).contains("less than 44.0 %"));
    }

    #[test]
    fn another_model_alarms_and_another_fingerprint_where_it_is_wanted() {
        let seen = |model: &str, fingerprint: &str| Seen {
            models: vec![model.to_owned()],
            fingerprints: vec![fingerprint.to_owned()],
            ..Seen::default()
        };
        assert_eq!(why(&Alarm::default(), &seen("m-1", "fp_c"), 1), "");
        assert_eq!(
            why(&Alarm::default(), &seen("m-2", "fp_a"), 1),
            "the model is m-2 now, and was m-1"
        );
        let both = Alarm { fingerprint: true, ..Alarm::default() };
        assert!(why(&both, &seen("m-1", "fp_c"), 1).starts_with("the fingerprint is fp_c now"));
    }
}
