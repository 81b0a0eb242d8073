//! All recordings through the tally and the rules, without any traffic: whether verdicts agree with
//! what was published, and how many pairs they took.
//!
//! The table: `cargo test --test it alpaca::offline -- --nocapture`

use std::hash::{DefaultHasher, Hash, Hasher};

use understudy::experiment::Experiment;
use understudy::pair::{Facts, Look, Outcome, Scored};
use understudy::report::Report;
use understudy::stats::{Score, Verdict};
use understudy::tally::Tally;

use super::recording::{Recording, Row};
use crate::evidence;
use crate::shared;

/// Standard errors from which on a verdict is owed: what the interval needs of at 805 pairs, and a
/// little more.
const CLEARLY: f64 = 3.6;

/// Looks are so much apart, so that all files take seconds.
const LOOKS: f64 = 1.08;

/// A goal, and the published win rate above which its candidate ships, percent.
const GOALS: [(&str, &str, f64); 3] = [
    ("superior", "goal: superior, max_pairs: 20000", 50.0),
    ("non_inferior 3 %", "goal: non_inferior, margin: 3%, max_pairs: 20000", 47.0),
    ("non_inferior 10 %", "goal: non_inferior, margin: 10%, max_pairs: 20000", 40.0),
];

fn look(text: &str) -> Look {
    let mut hasher = DefaultHasher::new();
    let words = text.to_lowercase();
    words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).for_each(|word| {
        word.hash(&mut hasher);
    });
    Look {
        chars: u32::try_from(text.chars().count()).unwrap(),
        digest: hasher.finish() | 1,
        ..Look::default()
    }
}

fn scored(row: &Row) -> Scored {
    let facts =
        Facts { control: look(&row.output), candidate: look(&row.answer), ..Facts::default() };
    let outcome = match row.preference {
        None => Outcome::Unjudged { reason: "no_verdict".into() },
        _ if row.output == row.answer => Outcome::Equal { comparator: "exact".into() },
        Some(preference) => {
            let score = Score::new(preference - 1.0).unwrap();
            let (first, second) = if row.shown_first == Some('a') {
                (Some(score), None)
            } else {
                (None, Some(score))
            };
            Outcome::Judged { control_first: first, candidate_first: second }
        }
    };
    evidence::scored(outcome, facts)
}

/// The pairs in an order that hangs on their prompts alone: the files are sorted by data set.
fn shuffled(recording: &Recording) -> Vec<Scored> {
    let mut rows: Vec<&Row> = recording.rows.iter().collect();
    rows.sort_by_key(|row| *blake3::hash(row.instruction.as_bytes()).as_bytes());
    rows.into_iter().map(scored).collect()
}

/// The first verdict, after how many pairs, and the report on all of them.
fn run(experiment: &Experiment, pairs: &[Scored]) -> (Report, Report) {
    let (mut tally, mut next, mut first) = (Tally::default(), 50, None);
    for pair in pairs {
        tally.add(pair, None);
        if first.is_none() && tally.scored() >= next {
            let report = evidence::report_of(experiment, &tally, None);
            next = (next as f64 * LOOKS).ceil() as u64;
            first = (report.verdict != Verdict::KeepRunning).then_some(report);
        }
    }
    let last = evidence::report_of(experiment, &tally, None);
    (first.unwrap_or_else(|| last.clone()), last)
}

/// Holds a verdict against the published win rate: one on the wrong side is never right, and one is
/// owed where the published rate is clearly on a side.
fn check(recording: &Recording, goal: (&str, &str, f64), pairs: &[Scored]) -> String {
    let (name, decide, even) = goal;
    let experiment = evidence::experiment(decide);
    let (first, last) = run(&experiment, pairs);
    let published = recording.published;
    let beyond = (published.win_rate - even) / published.standard_error;
    let view = &first.candidates["next"];
    let told = format!(
        "{:<40} {:>6.2} ± {:<5.2} {:<18} {:>6.1} {:>12} {:>5}  {}",
        recording.name,
        published.win_rate,
        published.standard_error,
        name,
        beyond,
        first.verdict,
        view.pairs,
        view.reason
    );
    println!("{told}");
    let all = &last.candidates["next"];
    let estimate = all.win_rate.estimate.unwrap() * 100.0;
    assert!((estimate - published.win_rate).abs() < 1e-6, "{told}");
    assert!(
        (all.win_rate.lower * 100.0..=all.win_rate.upper * 100.0).contains(&published.win_rate),
        "{told}"
    );
    let is_right = match first.verdict {
        Verdict::Ship => beyond > 0.0,
        Verdict::DoNotShip => beyond < 0.0,
        Verdict::Equivalent => (published.win_rate - 50.0).abs() <= 3.0,
        Verdict::KeepRunning => beyond.abs() < CLEARLY,
        Verdict::Review => false,
    };
    assert!(is_right, "{told}");
    told
}

fn all() -> Vec<Recording> {
    let folders = ["v2_weighted", "v1_gpt4"];
    let found = folders.iter().filter_map(|name| shared::data(&format!("alpacaeval/{name}")));
    found.flat_map(|folder| Recording::all(&folder)).collect()
}

#[test]
fn verdicts_agree_with_published_win_rates() {
    for recording in all().iter().filter(|recording| recording.name != "NullModel") {
        let pairs = shuffled(recording);
        for goal in GOALS {
            check(recording, goal, &pairs);
        }
    }
}

/// It wins 77 % by speaking to the judge: what betrays it is what it says, whatever it is called.
#[test]
fn a_constant_answer_that_wins_ends_in_review() {
    for recording in all().iter().filter(|recording| recording.name == "NullModel") {
        let pairs = shuffled(recording);
        for (goal, decide, _) in GOALS {
            let experiment = evidence::experiment(decide);
            let (first, last) = run(&experiment, &pairs);
            println!("{goal}: {} after {}", first.summary, first.candidates["next"].pairs);
            assert_eq!((first.verdict, last.verdict), (Verdict::Review, Verdict::Review));
            assert!(["prompt_independence", "injection"].contains(&first.reason.as_str()));
        }
    }
}
