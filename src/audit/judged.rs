//! Checks of the judge: whether it says the same again, in either order, and what people say.

use crate::audit::Evidence;
use crate::audit::Finding;
use crate::audit::State;
use crate::audit::percent;
use crate::stats::Interval;
use crate::stats::Rate;
use crate::stats::WinRate;

/// Pairs below which a share says nothing to people, whatever its interval.
const FEW: u64 = 20;

/// Labels below which the asymptotic interval of kappa is not to be believed.
const FEW_LABELS: u64 = 50;

/// Where people and the judge agree this often, a low kappa comes of one side winning nearly
/// always, and says nothing against the judge (Feinstein and Cicchetti, "High agreement but low
/// kappa", Journal of Clinical Epidemiology 43 (1990) 543-549).
const AGREES: f64 = 0.8;

/// Both orders of showing a pair should not name different winners.
pub fn order_consistency(evidence: &Evidence<'_>) -> Finding {
    let (judge, limit) = (&evidence.tally.judge, evidence.limits.order_consistency);
    let n = judge.swap.pairs();
    if n < FEW {
        return Finding::unknown(n, "too few pairs were judged in both orders");
    }
    let same = Rate { hits: n - judge.contradictions(), of: n };
    let bounds = same.interval(evidence.alpha);
    let value = (n - judge.contradictions()) as f64 / n as f64;
    let found = format!(
        "swapping the answers turns the verdict round in {} of {n} pairs",
        percent(1.0 - value)
    );
    let (state, why) = match bounds.upper < limit {
        true => {
            (State::Fail, format!("{found}: use a stronger judge or say in `criteria` what counts"))
        }
        false => (State::Pass, found),
    };
    Finding { state, value: Some(value), bounds: Some(bounds), limit: Some(limit), n, why }
}

/// Whatever is shown first should be preferred half of the time.
pub fn position_bias(evidence: &Evidence<'_>) -> Finding {
    let (judge, limit) = (&evidence.tally.judge, evidence.limits.position_bias);
    let first = &judge.first_shown;
    let n = first.pairs();
    let Some(value) = first.estimate().filter(|_| n >= FEW) else {
        return Finding::unknown(n, "too few pairs were judged");
    };
    let bounds = Some(first.interval(evidence.alpha));
    let found = format!("whatever is shown first is preferred in {} of pairs", percent(value));
    let (state, why) = match first.ln_e_value(0.5) >= limit.ln() {
        true => {
            let way = match judge.swap.pairs() > 0 {
                true => "asking in both orders cancels it, at the price of more ties",
                false => "a random order cancels it on average; ask in both orders to be sure",
            };
            (State::Warn, format!("{found}: {way}"))
        }
        false => (State::Pass, found),
    };
    Finding { state, value: Some(value), bounds, limit: Some(limit), n, why }
}

/// The same question asked twice should have one answer.
pub fn repeat_reliability(evidence: &Evidence<'_>) -> Finding {
    let (repeats, limit) = (&evidence.tally.judge.repeats, evidence.limits.repeat_reliability);
    let n = repeats.pairs();
    if n < FEW {
        return Finding::unknown(n, "too few questions were asked twice");
    }
    let [[.., turned], _, [back, ..]] = *repeats.table();
    let same = n.saturating_sub(turned + back);
    let bounds = Rate { hits: same, of: n }.interval(evidence.alpha);
    let value = same as f64 / n as f64;
    let found = format!(
        "asked the same again, it names the other winner in {} of {n}",
        percent(1.0 - value)
    );
    let (state, why) = match bounds.upper < limit {
        true => (State::Fail, format!("{found}: set its temperature to 0 or use another judge")),
        false => (State::Pass, found),
    };
    Finding { state, value: Some(value), bounds: Some(bounds), limit: Some(limit), n, why }
}

/// Control against itself should come out even.
pub fn false_preference(evidence: &Evidence<'_>) -> Finding {
    let limit = evidence.limits.false_preference;
    let none = WinRate::default();
    let rate = evidence.again.map_or(&none, |again| &again.win_rate);
    let n = rate.pairs();
    let Some(value) = rate.estimate().filter(|_| n >= FEW) else {
        let why = "control was not compared with itself: `traffic.again: 5%` asks it twice";
        return Finding::unknown(n, why);
    };
    let bounds = rate.interval(evidence.alpha);
    let decided = (rate.wins() + rate.losses()) as f64 / n as f64;
    let found = format!(
        "control's second answer wins {} against its first, and {} of such pairs are no tie",
        percent(value),
        percent(decided)
    );
    let (state, why) = match bounds.lower > 0.5 + limit || bounds.upper < 0.5 - limit {
        true => {
            let so = "the judge finds a difference where there is none: find out what distinguishes \
                      live answers from copies";
            (State::Fail, format!("{found}: {so}"))
        }
        false => (State::Pass, found),
    };
    Finding { state, value: Some(value), bounds: Some(bounds), limit: Some(limit), n, why }
}

/// People and the judge should agree beyond chance.
pub fn human_agreement(evidence: &Evidence<'_>) -> Finding {
    let (human, limit) = (&evidence.tally.human, evidence.limits.human_agreement);
    let n = human.pairs();
    let kappa = human.kappa().filter(|_| n >= FEW_LABELS);
    let Some(kappa) = kappa else {
        let why =
            format!("{n} of {FEW_LABELS} labels that it takes: `understudy experiment label NAME`");
        return Finding::unknown(n, why);
    };
    let Interval { lower, upper } = kappa.interval(evidence.alpha);
    let bounds = Interval { lower: lower.max(-1.0), upper: upper.min(1.0) };
    let found = format!(
        "people and the judge agree on {} of {n} pairs, kappa {:.2}",
        percent(kappa.agreement),
        kappa.value
    );
    let (state, why) = match (bounds.upper < limit, kappa.agreement >= AGREES) {
        (true, false) => (State::Fail, format!("{found}: the judge does not see what people see")),
        (true, true) => {
            (State::Warn, format!("{found}: one side nearly always wins, so kappa says little"))
        }
        (false, _) => (State::Pass, found),
    };
    Finding { state, value: Some(kappa.value), bounds: Some(bounds), limit: Some(limit), n, why }
}
