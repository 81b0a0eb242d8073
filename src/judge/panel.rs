//! What the judges of a panel say together.

use crate::experiment;
use crate::judge::ask::Said;
use crate::judge::scored;
use crate::pair::Facts;
use crate::pair::Opinion;
use crate::pair::Outcome;
use crate::pair::Scored;
use crate::stats::Score;

/// The mean of what those say who gave every verdict they were asked for, if they are enough.
pub(super) fn conclude(
    judges: &[experiment::Judge],
    said: &[Said],
    needed: usize,
    mut facts: Facts,
) -> Scored {
    let whole: Vec<&Said> = said.iter().filter(|said| said.missing.is_none()).collect();
    if said.len() > 1 || whole.len() < said.len() {
        let opinion = |(judge, said): (&experiment::Judge, &Said)| Opinion {
            judge: judge.target.to_string(),
            control_first: said.control_first,
            candidate_first: said.candidate_first,
        };
        facts.panel = judges.iter().zip(said).map(opinion).collect();
    }
    let repeats = || whole.iter().filter_map(|said| said.repeat);
    facts.repeat = mean(repeats().map(|(first, _)| first)).zip(mean(repeats().map(|(_, b)| b)));
    let outcome = match said.iter().find_map(|said| said.missing) {
        Some(missing) if whole.len() < needed => Outcome::unjudged(missing),
        _ => Outcome::Judged {
            control_first: mean(whole.iter().filter_map(|said| said.control_first)),
            candidate_first: mean(whole.iter().filter_map(|said| said.candidate_first)),
        },
    };
    let costs: Option<Vec<u64>> = said.iter().map(|said| said.cost_nano_usd).collect();
    Scored {
        calls: said.iter().map(|said| said.calls).sum(),
        cost_nano_usd: costs.map(|costs| costs.into_iter().fold(0, u64::saturating_add)),
        ..scored(outcome, facts)
    }
}

fn mean(scores: impl Iterator<Item = Score>) -> Option<Score> {
    let scores: Vec<Score> = scores.collect();
    match scores.as_slice() {
        [] => None,
        [only] => Some(*only),
        all => Score::new(all.iter().map(|score| score.value()).sum::<f64>() / all.len() as f64),
    }
}
