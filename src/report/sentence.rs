//! The verdict in one sentence.

use crate::audit::Row;
use crate::experiment::Experiment;
use crate::report::CandidateView;
use crate::report::candidate::GUARDRAIL_BROKEN;
use crate::report::failure;
use crate::stats::Reason;
use crate::stats::Verdict;

/// What follows, for the candidate it is about, and the numbers it rests on.
pub fn summary(
    experiment: &Experiment,
    verdict: Verdict,
    reason: &str,
    best: Option<(&String, &CandidateView)>,
    audit: &[Row],
) -> String {
    let Some((name, view)) = best else { return "no candidate is defined".to_owned() };
    let margin = experiment.decide.margin * 100.0;
    let rate = rate(view);
    let (candidate, control) = (format!("{name} ({})", view.target), &experiment.control.target);
    let is = |other: Reason| reason == other.to_string();
    match verdict {
        Verdict::Ship if is(Reason::NotWorse) => {
            format!("Ship {candidate}: not worse than {control} by {margin} points; {rate}.")
        }
        Verdict::Ship => format!("Ship {candidate}: better than {control}; {rate}."),
        Verdict::DoNotShip if is(Reason::BudgetExhausted) => {
            format!("Do not ship {candidate}: the pairs ran out before the goal was shown; {rate}.")
        }
        Verdict::DoNotShip if reason == GUARDRAIL_BROKEN => {
            format!("Do not ship {candidate}: it broke a guardrail; {rate}.")
        }
        Verdict::DoNotShip => {
            format!("Do not ship {candidate}: worse than {control}; {rate}.")
        }
        Verdict::Equivalent => {
            format!("{candidate} and {control} are equivalent within {margin} points; {rate}.")
        }
        Verdict::Review => match failure(audit, name) {
            Some(row) => format!(
                "A person must look at {candidate}: the check {} failed: {}; {rate}.",
                row.check, row.why
            ),
            None => format!("A person must look at {candidate}; {rate}."),
        },
        Verdict::KeepRunning => match view.remaining {
            Some(left) => format!(
                "Keep running {candidate}: some {} to {} more pairs are expected; {rate}.",
                left.n50, left.n80
            ),
            None => format!("Keep running {candidate}: too early to tell; {rate}."),
        },
    }
}

fn rate(view: &CandidateView) -> String {
    let percent = |share: f64| share * 100.0;
    let Some(estimate) = view.win_rate.estimate else {
        return "no pair is scored yet".to_owned();
    };
    let judged = format!(
        "it wins {:.1} % of {} pairs ({:.1} to {:.1} %; 50 % is even)",
        percent(estimate),
        view.pairs,
        percent(view.win_rate.lower),
        percent(view.win_rate.upper)
    );
    match view.corrected {
        None => judged,
        Some(people) => format!(
            "{judged}, by {} labels of people {:.1} % ({:.1} to {:.1} %)",
            people.labels,
            percent(people.estimate),
            percent(people.lower),
            percent(people.upper)
        ),
    }
}
