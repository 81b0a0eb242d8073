//! When each piece of an answer leaves, and what a fault does to that.

use std::time::Duration;

use bytes::Bytes;

use super::delay::Pace;
use super::fault::FaultKind;
use super::openai::{self, Stamp};
use super::playback::{Act, Step};
use super::tongue::{Tongue, Understood};

/// Gives each event its time: the openings of the choices leave with the first token.
pub(super) fn paced(events: Vec<Bytes>, openings: usize, pace: &Pace) -> Vec<Step> {
    let timed = events.into_iter().enumerate().map(|(number, event)| {
        let at = pace.token(number.saturating_sub(openings));
        Step { at, act: Act::Send(event) }
    });
    timed.collect()
}

/// The steps of a stream with a fault in it.
pub(super) fn break_stream(
    mut steps: Vec<Step>,
    ending_at: usize,
    fault: Option<FaultKind>,
    stamp: &Stamp<'_>,
    voice: Option<(&Tongue, &Understood)>,
) -> Vec<Step> {
    let place = |after: usize| after.min(ending_at);
    let time = |steps: &[Step], at: usize| steps.get(at).map_or(Duration::ZERO, |step| step.at);
    match fault {
        Some(FaultKind::Cut { after }) => {
            let at = time(&steps, place(after));
            steps.truncate(place(after));
            steps.push(Step { at, act: Act::Cut });
        }
        Some(FaultKind::Stall { after, pause }) => {
            steps.iter_mut().skip(place(after)).for_each(|step| step.at += pause);
        }
        Some(FaultKind::Malformed { after }) => {
            let at = time(&steps, place(after));
            let broken = Step { at, act: Act::Send(Bytes::from_static(openai::BROKEN_EVENT)) };
            steps.insert(place(after), broken);
        }
        Some(FaultKind::NoDone) => steps.truncate(ending_at),
        Some(FaultKind::ErrorInStream { after }) => {
            let at = time(&steps, place(after));
            steps.truncate(place(after));
            let refusal = openai::refusal(500, None);
            let error = match voice {
                Some((tongue, _)) => tongue.error_event(&refusal),
                None => openai::error_event(&refusal),
            };
            steps.push(Step { at, act: Act::Send(error) });
        }
        Some(FaultKind::Huge { bytes }) => return flood(stamp, true, bytes, voice).0,
        _ => {}
    }
    steps
}

/// The steps of a whole answer with a fault in it, and the length it announces.
pub(super) fn break_whole(
    body: Bytes,
    fault: Option<FaultKind>,
    stamp: &Stamp<'_>,
    passed: Duration,
    voice: Option<(&Tongue, &Understood)>,
) -> (Vec<Step>, Option<u64>) {
    let length = Some(body.len() as u64);
    let half = body.len() / 2;
    let send = |bytes: Bytes| Step { at: Duration::ZERO, act: Act::Send(bytes) };
    match fault {
        Some(FaultKind::Cut { .. }) => {
            let cut = Step { at: Duration::ZERO, act: Act::Cut };
            (vec![send(body.slice(..half)), cut], length)
        }
        Some(FaultKind::Stall { pause, .. }) => {
            let rest = Step { at: passed + pause, act: Act::Send(body.slice(half..)) };
            (vec![send(body.slice(..half)), rest], length)
        }
        Some(FaultKind::Malformed { .. }) => (vec![send(body.slice(..half))], Some(half as u64)),
        Some(FaultKind::Huge { bytes }) => {
            let (steps, length) = flood(stamp, false, bytes, voice);
            (steps, Some(length))
        }
        _ => (vec![send(body)], length),
    }
}

fn flood(
    stamp: &Stamp<'_>,
    stream: bool,
    bytes: u64,
    voice: Option<(&Tongue, &Understood)>,
) -> (Vec<Step>, u64) {
    let (before, after) = match voice {
        Some((tongue, understood)) => understood.flood(tongue, stream),
        None => openai::flood(stamp, stream),
    };
    let length = before.len() as u64 + bytes + after.len() as u64;
    let acts = [Act::Send(before), Act::Flood(bytes), Act::Send(after)];
    (acts.into_iter().map(|act| Step { at: Duration::ZERO, act }).collect(), length)
}
