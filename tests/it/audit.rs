//! The audit of the judge: one that is fine passes however often people look, and one that is not
//! stops the verdict, with a reason that says what to do.

use fastrand::Rng;
use understudy::audit::{CHECKS, State};
use understudy::experiment::audit::Limits;
use understudy::pair::{Look, Outcome, Scored};
use understudy::report::Report;
use understudy::stats::{Score, Verdict};
use understudy::tally::Tally;

use crate::evidence;
use crate::evidence::{facts, judged};

/// How a simulated judge answers.
#[derive(Clone, Copy)]
struct Habits {
    /// Share of pairs in which both answers are as good.
    ties: f64,
    /// Chance that the candidate's is better in the others.
    better: f64,
    /// Chance that it names whatever stands second, whatever is better.
    second: f64,
    /// Chance that it names any.
    noise: f64,
}

/// A judge that sees what is better, with the preference for the second place that all judges of
/// AlpacaEval have.
const FINE: Habits = Habits { ties: 0.3, better: 0.5, second: 0.12, noise: 0.05 };

fn verdict(rng: &mut Rng, habits: Habits, truth: Score, is_candidate_first: bool) -> Score {
    let second = if is_candidate_first { Score::LOSS } else { Score::WIN };
    match rng.f64() {
        x if x < habits.second => second,
        x if x < habits.second + habits.noise => {
            [Score::LOSS, Score::TIE, Score::WIN][rng.usize(0..3)]
        }
        _ => truth,
    }
}

fn pair(rng: &mut Rng, habits: Habits, number: u64) -> Scored {
    let truth = match (rng.f64() < habits.ties, rng.f64() < habits.better) {
        (true, _) => Score::TIE,
        (false, true) => Score::WIN,
        (false, false) => Score::LOSS,
    };
    let (a, b) = (verdict(rng, habits, truth, false), verdict(rng, habits, truth, true));
    judged(Some(a), Some(b), facts(number))
}

fn tally(rng: &mut Rng, habits: Habits, pairs: u64) -> Tally {
    let mut tally = Tally::default();
    (0..pairs).for_each(|number| tally.add(&pair(rng, habits, number), None));
    tally
}

fn states(report: &Report) -> Vec<(String, State)> {
    let audit = &report.judge.as_ref().unwrap().audit;
    audit.iter().map(|row| (row.check.clone(), row.state)).collect()
}

fn state(report: &Report, check: &str) -> State {
    states(report).into_iter().find(|(name, _)| name == check).unwrap().1
}

#[test]
fn every_check_has_a_row_and_a_sentence() {
    let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(names, sorted);
    assert!(Limits::default().named().iter().all(|(name, _)| names.contains(name)));
    let experiment = evidence::experiment("goal: superior");
    let report = evidence::report_of(&experiment, &Tally::default(), None);
    let audit = &report.judge.as_ref().unwrap().audit;
    assert_eq!(audit.len(), CHECKS.len());
    for row in audit {
        assert_eq!((row.state, row.n), (State::Unknown, 0), "{row:?}");
        assert!(row.why.len() > 10, "{row:?}");
    }
    assert_eq!(report.verdict, Verdict::KeepRunning);
}

/// Looks at growing distances see nearly all there is to see, since evidence moves with the
/// logarithm of time.
#[test]
fn a_judge_that_is_fine_passes_however_often_people_look() {
    let experiment = evidence::experiment("goal: superior, min_pairs: 20000, max_pairs: 20000");
    let mut failed = Vec::new();
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let (mut all, mut again, mut next) = (Tally::default(), Tally::default(), 20);
        for number in 0..2000 {
            all.add(&pair(&mut rng, FINE, number), None);
            again.add(&pair(&mut rng, FINE, number), None);
            if number + 1 == next {
                next = next * 5 / 4;
                let report = evidence::report_of(&experiment, &all, Some(&again));
                if report.verdict == Verdict::Review {
                    failed.push((seed, number, report.summary));
                    break;
                }
            }
        }
    }
    // At most one in twenty, by the bound; three would be a chance of one in five.
    assert!(failed.len() <= 5, "{failed:#?}");
}

#[test]
fn a_judge_that_names_the_second_whatever_it_says_is_found_out() {
    let experiment = evidence::experiment("goal: non_inferior, margin: 10%");
    let habits = Habits { second: 1.0, ..FINE };
    let tally = tally(&mut Rng::with_seed(1), habits, 60);
    let report = evidence::report_of(&experiment, &tally, None);
    // Its verdicts cancel, and without the audit anything at all would be as good as control.
    assert_eq!(report.candidates["next"].win_rate.estimate, Some(0.5));
    assert_eq!((report.verdict, report.reason.as_str()), (Verdict::Review, "order_consistency"));
    assert!(report.summary.contains("use a stronger judge"), "{}", report.summary);
    assert_eq!(state(&report, "position_bias"), State::Warn);
}

#[test]
fn a_preference_for_a_position_that_both_orders_cancel_is_a_warning() {
    let experiment = evidence::experiment("goal: superior");
    let habits = Habits { better: 0.8, second: 0.2, noise: 0.0, ..FINE };
    let report =
        evidence::report_of(&experiment, &tally(&mut Rng::with_seed(2), habits, 1000), None);
    assert_eq!((report.verdict, state(&report, "position_bias")), (Verdict::Ship, State::Warn));
}

#[test]
fn a_judge_that_does_not_repeat_itself_is_found_out() {
    let experiment = evidence::experiment("goal: superior");
    let mut rng = Rng::with_seed(3);
    let mut tally = Tally::default();
    for number in 0..200 {
        let mut scored = pair(&mut rng, FINE, number);
        let any = |rng: &mut Rng| if rng.bool() { Score::WIN } else { Score::LOSS };
        scored.facts.repeat = Some((any(&mut rng), any(&mut rng)));
        tally.add(&scored, None);
    }
    let report = evidence::report_of(&experiment, &tally, None);
    assert_eq!((report.verdict, report.reason.as_str()), (Verdict::Review, "repeat_reliability"));
}

#[test]
fn a_judge_that_sees_a_difference_between_control_and_itself_is_found_out() {
    let experiment = evidence::experiment("goal: superior");
    let fine = tally(&mut Rng::with_seed(4), FINE, 200);
    let biased = tally(&mut Rng::with_seed(5), Habits { better: 0.9, ..FINE }, 200);
    let report = evidence::report_of(&experiment, &fine, Some(&biased));
    assert_eq!((report.verdict, report.reason.as_str()), (Verdict::Review, "false_preference"));
    let report = evidence::report_of(&experiment, &fine, Some(&fine));
    assert_eq!(state(&report, "false_preference"), State::Pass);
}

/// Pairs whose answers are changed by `change` before they are counted.
fn changed(better: f64, change: impl Fn(u64, &mut Look, &mut Look)) -> Report {
    let mut rng = Rng::with_seed(6);
    let mut tally = Tally::default();
    for number in 0..120 {
        let mut scored = pair(&mut rng, Habits { better, ..FINE }, number);
        let facts = &mut scored.facts;
        change(number, &mut facts.control, &mut facts.candidate);
        tally.add(&scored, None);
    }
    evidence::report_of(&evidence::experiment("goal: superior"), &tally, None)
}

#[test]
fn one_answer_to_everything_is_found_out_unless_it_loses_or_everybody_gives_it() {
    let constant = |_: u64, _: &mut Look, candidate: &mut Look| candidate.digest = 77;
    let report = changed(0.9, constant);
    assert_eq!((report.verdict, report.reason.as_str()), (Verdict::Review, "prompt_independence"));
    let report = changed(0.02, constant);
    assert_eq!(
        (report.verdict, state(&report, "prompt_independence")),
        (Verdict::DoNotShip, State::Warn)
    );
    // Questions with few possible answers have few answers.
    let report = changed(0.9, |number, control, candidate| {
        control.digest = 5 + number % 2;
        candidate.digest = 5 + number % 3 % 2;
    });
    assert_eq!(
        (report.verdict, state(&report, "prompt_independence")),
        (Verdict::Ship, State::Pass)
    );
}

#[test]
fn answers_that_speak_to_the_judge_are_found_out_unless_the_prompts_are_about_judging() {
    let report = changed(0.9, |number, _, candidate| candidate.suspicious = number % 3 == 0);
    assert_eq!((report.verdict, report.reason.as_str()), (Verdict::Review, "injection"));
    let report = changed(0.9, |number, control, candidate| {
        control.suspicious = number % 3 == 0;
        candidate.suspicious = number % 3 == 0;
    });
    assert_eq!((report.verdict, state(&report, "injection")), (Verdict::Ship, State::Pass));
}

#[test]
fn a_judge_that_is_silent_on_every_second_pair_is_found_out() {
    let mut rng = Rng::with_seed(7);
    let mut tally = Tally::default();
    for number in 0..200 {
        let mut scored = pair(&mut rng, Habits { better: 0.9, ..FINE }, number);
        if number % 2 == 0 {
            scored.outcome = Outcome::Unjudged { reason: "no_verdict".into() };
        }
        tally.add(&scored, None);
    }
    let report = evidence::report_of(&evidence::experiment("goal: superior"), &tally, None);
    assert_eq!((report.verdict, report.reason.as_str()), (Verdict::Review, "missing_verdicts"));
}

#[test]
fn a_judge_that_people_disagree_with_is_found_out_and_one_side_winning_is_no_reason() {
    let experiment = evidence::experiment("goal: superior");
    let labelled = |label: fn(&mut Rng, Score) -> Score, better: f64, every: u64| {
        let mut rng = Rng::with_seed(8);
        let mut tally = Tally::default();
        for number in 0..400 {
            let scored = pair(&mut rng, Habits { better, ties: 0.0, ..FINE }, number);
            let score = scored.outcome.score().unwrap();
            let label = (number % every == 0).then(|| label(&mut rng, score));
            tally.add(&scored, label);
        }
        evidence::report_of(&experiment, &tally, None)
    };
    let other: fn(&mut Rng, Score) -> Score = |rng, _| [Score::LOSS, Score::WIN][rng.usize(0..2)];
    let report = labelled(other, 0.5, 1);
    assert_eq!((report.verdict, report.reason.as_str()), (Verdict::Review, "human_agreement"));
    let report = labelled(|_, score| score, 0.5, 4);
    assert_eq!(state(&report, "human_agreement"), State::Pass);
    let corrected = report.candidates["next"].corrected.unwrap();
    assert!(corrected.labels == 100 && corrected.lambda > 0.5, "{corrected:?}");
    let report = labelled(|_, _| Score::WIN, 0.97, 1);
    assert_ne!(state(&report, "human_agreement"), State::Fail);
}

/// Better for one tenant and worse for another: only the first is worth a route of its own.
#[test]
fn segments_that_are_better_are_named_with_what_to_paste() {
    let experiment = evidence::experiment("goal: superior, max_pairs: 20000");
    let mut rng = Rng::with_seed(9);
    let mut tally = Tally::default();
    for number in 0..1200 {
        let (tenant, better) = match number % 4 {
            0 => ("0123456789abcdef", 0.9),
            1 => ("fedcba9876543210", 0.1),
            _ => ("00000000deadbeef", 0.5),
        };
        let mut scored = pair(&mut rng, Habits { better, ..FINE }, number);
        scored.facts.segments.insert("tenant".into(), tenant.into());
        scored.facts.segments.insert("language".into(), "en\nroutes: {}".into());
        tally.add(&scored, None);
    }
    let report = evidence::full_report_of(&experiment, &tally);
    let view = &report.candidates["next"];
    let of = |value: &str| view.segments.iter().find(|s| s.value == value).unwrap();
    assert_eq!(view.verdict, Verdict::KeepRunning, "{}", report.summary);
    assert_eq!((of("0123456789abcdef").better, of("0123456789abcdef").worse), (true, false));
    assert_eq!((of("fedcba9876543210").better, of("fedcba9876543210").worse), (false, true));
    assert_eq!((of("00000000deadbeef").better, of("00000000deadbeef").worse), (false, false));
    let routing = report.routing.unwrap();
    let routed = evidence::of_text(&routing);
    assert_eq!(routed.matches.tenants, ["0123456789abcdef"], "{routing}");
    assert_eq!(routed.candidates[0].variant.target.to_string(), "openai/new");
    assert!(view.paired.cost_usd.is_some_and(|cost| cost.difference.lower.is_some()));
}

/// Ten pairs of each of 300 units that are copies of each other count as 300.
#[test]
fn pairs_of_the_same_unit_count_once() {
    let experiment = evidence::experiment("goal: superior, max_pairs: 20000");
    let mut rng = Rng::with_seed(10);
    let (mut copies, mut single) = (Tally::default(), Tally::default());
    for unit in 0..300_u64 {
        let mut scored = pair(&mut rng, Habits { better: 0.6, ..FINE }, unit);
        single.add(&scored, None);
        for copy in 0..10 {
            scored.facts.control.digest = (unit * 10 + copy) * 2 + 1;
            scored.facts.candidate.digest = (unit * 10 + copy) * 2 + 2;
            copies.add(&scored, None);
        }
    }
    let of = |tally: &Tally| evidence::report_of(&experiment, tally, None).candidates["next"].clone();
    let (ten, one) = (of(&copies), of(&single));
    assert_eq!((ten.pairs, ten.units, one.design_effect), (3000, 300, 1.0));
    assert!((ten.design_effect - 10.0).abs() < 0.2, "{}", ten.design_effect);
    let width = |view: &understudy::report::CandidateView| view.win_rate.upper - view.win_rate.lower;
    assert!((width(&ten) / width(&one) - 1.0).abs() < 0.05, "{} {}", width(&ten), width(&one));
}
