//! What people see of an experiment: the report as text and as a page, plans, and the record of a
//! decision. `UPDATE_GOLDEN=1 cargo test --test it report::` writes the golden files.

mod page;
mod plan;
mod record;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;
use understudy::cli::table;
use understudy::cli::table::Ink;
use understudy::compare::Comparator;
use understudy::experiment::Experiment;
use understudy::experiment::Judge;
use understudy::experiment::Judges;
use understudy::experiment::Overruled;
use understudy::experiment::Share;
use understudy::experiment::State;
use understudy::experiment::life::By;
use understudy::forecast::outlook;
use understudy::guard::Change;
use understudy::guard::Health;
use understudy::guard::View;
use understudy::pair::Facts;
use understudy::pair::Outcome;
use understudy::pair::Scored;
use understudy::report;
use understudy::report::Counted;
use understudy::report::Detail;
use understudy::report::Report;
use understudy::report::next;
use understudy::stats::Bounds;
use understudy::stats::Score;
use understudy::stats::Verdict;
use understudy::stats::plan::Pairs;
use understudy::tally::Funnel;
use understudy::tally::Tally;
use understudy::tally::tide::Tide;

use crate::harness::sidecar::experiment;
use crate::harness::sidecar::target;

/// An experiment as people write them, over the route `support-bot`.
pub fn trial() -> Experiment {
    let mut trial = experiment("openai/gpt-4o", "anthropic/claude-sonnet-4-5", share(20), share(5));
    trial.name = "support-upgrade".to_owned();
    trial.question =
        "Can the support bot move to the new model without getting worse for anybody?".to_owned();
    trial.matches.route = Some("support-bot".to_owned());
    let [candidate] = trial.candidates.as_mut_slice() else { panic!("one candidate") };
    candidate.variant.name = "sonnet".to_owned();
    trial.evaluate.comparators = vec![Comparator::Exact];
    let criteria = vec!["Correct, complete, polite.".to_owned()];
    trial.evaluate.judge =
        Judges::Models(vec![Judge { criteria, ..Judge::new(target("openai/gpt-4o-mini")) }]);
    (trial.decide.margin, trial.decide.min_pairs, trial.decide.max_pairs) = (0.03, 50, 20_000);
    trial
}

pub fn share(percent: u32) -> Share {
    Share::from_ppm(percent * 10_000).unwrap()
}

/// Pairs won, tied without a judge and lost, in turn, a second apart.
pub fn scores(wins: u64, ties: u64, losses: u64) -> Vec<Scored> {
    let judged =
        |score: Score| Outcome::Judged { control_first: Some(score), candidate_first: Some(score) };
    let outcomes = (0..wins + ties + losses).map(|at| {
        let turn = (at * 7919) % (wins + ties + losses);
        match turn {
            win if win < wins => judged(Score::WIN),
            tie if tie < wins + ties => Outcome::Equal { comparator: "exact".to_owned() },
            _ => judged(Score::LOSS),
        }
    });
    let scored = |(at, outcome): (usize, Outcome)| Scored {
        calls: if matches!(outcome, Outcome::Equal { .. }) { 0 } else { 2 },
        outcome,
        cost_nano_usd: Some(400_000),
        scored_ms: 1_790_000_000_000 + at as i64 * 1000,
        facts: Facts::default(),
    };
    outcomes.enumerate().map(scored).collect()
}

pub fn tally(scores: &[Scored]) -> Tally {
    let mut tally = Tally::default();
    scores.iter().for_each(|scored| tally.add(scored, None));
    tally
}

/// The report on these scores, complete but for what only a running sidecar knows.
pub fn reported(trial: &Experiment, scores: &[Scored]) -> Report {
    let scored = scores.len() as u64;
    let funnel = Funnel {
        matched: scored * 6,
        sampled: scored + 320,
        repeated: 180,
        promised: scored + 140,
        sent: scored + 140,
        whole: scored + 12,
        scored,
        unjudged: 12,
        lost: BTreeMap::from([("candidate_failed".to_owned(), 90), ("timeout".to_owned(), 38)]),
        ..Funnel::default()
    };
    let tallies = BTreeMap::from([("sonnet".to_owned(), tally(scores))]);
    let counted = Counted { funnel: &funnel, tallies: &tallies, again: None, broken: &[] };
    let mut report = report::report(trial, counted, Detail::Full);
    report.guardrails = BTreeMap::from([("sonnet".to_owned(), rails())]);
    report.warnings = vec![
        "a warning that is long enough to be broken over two lines of eighty \
                            characters, with <b>marks</b>"
            .to_owned(),
    ];
    if report.verdict == Verdict::KeepRunning {
        let mut tide = Tide::default();
        tide.promised(3_600_000 * 50, 300);
        let left = report.candidates["sonnet"].remaining;
        let left = left.map(|left| Pairs { n50: left.n50, n80: left.n80 });
        let ahead = outlook::outlook(left, 1, &tide, 3_600_000 * 50, Some(0.0123));
        report.outlook = Some(ahead);
    }
    report::overrule(&mut report);
    let routing = report.routing.clone();
    report.next = next::next(&report, trial, routing.as_deref());
    report
}

fn rails() -> Vec<View> {
    let rail = |metric: &str, change, limit, sides: (f64, f64), bounds: (f64, f64), health| View {
        metric: metric.to_owned(),
        change,
        limit,
        control: Some(sides.0),
        control_n: 18_000,
        candidate: Some(sides.1),
        candidate_n: 940,
        bounds: Bounds { lower: Some(bounds.0), upper: Some(bounds.1) },
        health,
    };
    let holds = Health::Holds;
    vec![
        rail("error_rate", Change::Increase, 0.01, (0.002, 0.005), (-0.001, 0.009), holds),
        rail("ttft_p95", Change::Ratio, 1.25, (0.81, 0.9), (1.02, 1.2), holds),
        rail("cost_per_request", Change::Ratio, 1.5, (0.01, 0.02), (1.7, 2.4), Health::Breached),
    ]
}

/// Holds a text against its file.
pub fn golden(file: &str, now: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/report").join(file);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, now).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, now, "run with UPDATE_GOLDEN=1 if the change is wanted");
}

fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "wider than a terminal: {line}");
    }
}

#[test]
fn a_report_fits_a_terminal_and_says_everything() {
    let trial = trial();
    let all = [
        ("going on", reported(&trial, &scores(150, 200, 138))),
        ("shipped", reported(&trial, &scores(700, 200, 560))),
        ("worse", reported(&trial, &scores(300, 100, 600))),
        ("nothing yet", reported(&trial, &[])),
    ];
    let mut texts = String::new();
    for (name, report) in &all {
        let text = table::report(report, Ink::Plain);
        fits(&text);
        texts.push_str(&format!("=== {name}\n{text}\n\n"));
    }
    golden("terminal.txt", &texts);
    let reports: Vec<Report> = all.into_iter().map(|(_, report)| report).collect();
    let list = table::list(&reports, Ink::Plain);
    fits(&list);
    golden("list.txt", &list);
}

#[test]
fn colour_changes_no_word() {
    let report = reported(&trial(), &scores(700, 200, 560));
    let (plain, coloured) =
        (table::report(&report, Ink::Plain), table::report(&report, Ink::Colour));
    assert!(coloured.contains("\u{1b}[1;32mShip") && coloured.contains("\u{1b}[1;31mBROKEN"));
    let mut bare = String::new();
    let mut parts = coloured.split('\u{1b}');
    bare.push_str(parts.next().unwrap());
    parts.for_each(|part| bare.push_str(part.split_once('m').unwrap().1));
    assert_eq!(bare, plain);
}

#[test]
fn no_rate_stands_without_its_interval() {
    for (wins, ties, losses) in [(0, 0, 0), (1, 0, 0), (150, 200, 138), (300, 100, 600)] {
        let text = table::report(&reported(&trial(), &scores(wins, ties, losses)), Ink::Plain);
        let rate = text.lines().find(|line| line.starts_with("win rate")).unwrap();
        assert!(rate.contains(" to ") && rate.contains(" pairs: "), "{rate}");
    }
}

#[test]
fn every_verdict_says_what_to_do_next() {
    let trial = trial();
    let said = |change: &dyn Fn(&mut Report)| {
        let mut report = reported(&trial, &scores(150, 200, 138));
        change(&mut report);
        next::next(&report, &trial, None)
    };
    let reviewed = |reason: &str| {
        said(&|report| {
            (report.verdict, report.reason) = (Verdict::Review, reason.to_owned());
        })
    };
    for (next, word) in [
        (said(&|_| {}), "more pairs"),
        (said(&|report| report.outlook = None), "larger margin"),
        (said(&|report| report.state = State::Paused), "experiment resume"),
        (said(&|report| report.verdict = Verdict::Equivalent), "cheaper or faster"),
        (said(&|report| report.verdict = Verdict::DoNotShip), "broke cost_per_request"),
        (reviewed("sample_ratio_mismatch"), "do not split as configured"),
        (reviewed("judge_inconsistent"), "changes its mind"),
        (reviewed("prompt_independence"), "do not depend on the question"),
        (reviewed("something_new"), "A check failed (something_new)"),
    ] {
        assert!(next.say.contains(word), "{word}: {}", next.say);
    }
    let ship = reported(&trial, &scores(700, 200, 560)).next;
    let yaml = ship.yaml.unwrap();
    let read: Value = serde_saphyr_value(&yaml);
    let targets = json!(["anthropic/claude-sonnet-4-5", "openai/gpt-4o"]);
    assert_eq!(read["routes"]["support-bot"]["targets"], targets, "{yaml}");
}

fn serde_saphyr_value(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

#[test]
fn a_person_who_overrules_is_named_before_the_evidence() {
    let mut trial = trial();
    trial.standing.state = State::Decided;
    trial.standing.verdict = Some(Verdict::Ship);
    trial.standing.overruled = Some(Overruled {
        verdict: Verdict::Ship,
        instead_of: Verdict::KeepRunning,
        by: By::Person,
        why: "the old model is switched off.".to_owned(),
    });
    let report = reported(&trial, &scores(150, 200, 138));
    assert_eq!((report.verdict, report.reason.as_str()), (Verdict::Ship, "overruled"));
    let said = "A person decided ship where the evidence said keep_running: the old model is \
                switched off. The evidence: Keep running sonnet";
    assert!(report.summary.starts_with(said), "{}", report.summary);
    assert_eq!(report.candidates["sonnet"].verdict, Verdict::KeepRunning);
}
