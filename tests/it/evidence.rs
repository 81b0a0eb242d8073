//! Scored pairs and definitions made in code: what the report is made from, without any traffic.

use std::collections::BTreeMap;
use std::path::Path;

use understudy::config;
use understudy::experiment::Experiment;
use understudy::pair::{Facts, Look, Outcome, Scored};
use understudy::report::{self, Counted, Detail, Report};
use understudy::stats::Score;
use understudy::tally::{AGAIN, Funnel, Tally};

/// An experiment with one candidate, `next`, that a model judges in both orders.
pub fn experiment(decide: &str) -> Experiment {
    let text = format!(
        "experiment: trial\nmatch: {{ route: bot }}\ncontrol: {{ target: openai/old }}\n\
         candidates: {{ next: {{ target: openai/new }} }}\ntraffic: {{ shadow: 100% }}\n\
         evaluate: {{ comparators: [exact], judge: {{ target: anthropic/judge }} }}\n\
         decide: {{ {decide} }}\n"
    );
    of_text(&text)
}

/// The experiment that a file defines.
pub fn of_text(text: &str) -> Experiment {
    let read = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let env = |_: &str| Some("key".to_owned());
    let named = [("trial.yaml".to_owned(), text.to_owned())];
    let (mut config, _) = config::load(None, &named, &env, &read).unwrap();
    config.experiments.remove(0)
}

/// A pair that was judged in one order or in both.
pub fn judged(
    control_first: Option<Score>,
    candidate_first: Option<Score>,
    facts: Facts,
) -> Scored {
    scored(Outcome::Judged { control_first, candidate_first }, facts)
}

pub fn scored(outcome: Outcome, facts: Facts) -> Scored {
    Scored { outcome, calls: 2, cost_nano_usd: Some(1000), scored_ms: 0, facts }
}

/// What there is to know of two ordinary answers to prompt number `number`.
pub fn facts(number: u64) -> Facts {
    let look = |side: u64| Look {
        chars: 400 + (number % 7) as u32,
        digest: number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) ^ (side << 5) | 1,
        took_us: 900_000 + number % 1000,
        cost_nano_usd: Some(2_000_000 + number % 999),
        ..Look::default()
    };
    let unit = Some(number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
    Facts { unit, control: look(1), candidate: look(2), ..Facts::default() }
}

/// The report on one tally, and on control against itself.
pub fn report_of(experiment: &Experiment, tally: &Tally, again: Option<&Tally>) -> Report {
    let tallies = BTreeMap::from([("next".to_owned(), tally.clone())]);
    let funnel = Funnel::default();
    let counted = Counted { funnel: &funnel, tallies: &tallies, again, broken: &[] };
    assert!(!tallies.contains_key(AGAIN));
    report::report(experiment, counted, Detail::Verdict)
}

/// As [`report_of`], with segments and costs.
pub fn full_report_of(experiment: &Experiment, tally: &Tally) -> Report {
    let tallies = BTreeMap::from([("next".to_owned(), tally.clone())]);
    let funnel = Funnel::default();
    let counted = Counted { funnel: &funnel, tallies: &tallies, again: None, broken: &[] };
    report::report(experiment, counted, Detail::Full)
}
