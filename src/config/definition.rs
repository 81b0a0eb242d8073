//! Reads one experiment.

use super::Known;
use super::enrolment;
use super::evaluation;
use super::guardrail;
use super::read::Reader;
use super::read::Section;
use super::rival;
use super::traffic;
use super::tree::Node;
use super::value;
use super::variant;
use crate::experiment::Candidate;
use crate::experiment::Experiment;
use crate::experiment::Standing;
use crate::experiment::State;
use crate::experiment::Status;
use crate::experiment::Unit;
use crate::experiment::Variant;

/// What a file may say of its experiment's life.
pub const STATUSES: &[(&str, Status)] =
    &[("draft", Status::Draft), ("running", Status::Running), ("stopped", Status::Stopped)];

/// The experiment of a file; `None` when it is too broken to be one.
pub fn read(reader: &mut Reader<'_>, root: &Node, known: &mut Known) -> Option<Experiment> {
    if root.is_null() {
        let help = "begin with experiment: NAME, or remove the file";
        reader.problem(root.start, "the file is empty", help);
        return None;
    }
    let found = reader.section(root, "", |s| experiment(s, known)).flatten()?;
    rival::check(reader, root, &found, known);
    Some(found)
}

fn experiment(s: &mut Section<'_, '_, '_>, known: &mut Known) -> Option<Experiment> {
    let name = name(s, known);
    let question = s.take("question", value::text).unwrap_or_default();
    let intent = s.take("status", value::choice(STATUSES)).unwrap_or_default();
    let salt = s.take("salt", value::text);
    let matches = enrolment::matches(s, known);
    let layer = enrolment::layer(s);
    let unit = s.find("unit").and_then(|node| enrolment::unit(s.reader, node));
    let control = variant::control(s, known);
    let candidates = variant::candidates(s, known);
    let traffic = traffic::traffic(s, &candidates);
    let tested: Vec<&Variant> =
        control.iter().chain(candidates.iter().filter_map(|c| c.variant.as_ref())).collect();
    let evaluate = evaluation::evaluate(s, known, &tested);
    let decide = evaluation::decide(s);
    let guardrails = guardrail::guardrails(s, &traffic);
    let candidates: Option<Vec<Candidate>> = candidates
        .into_iter()
        .zip(traffic.splits)
        .map(|(found, split)| Some(Candidate { variant: found.variant?, split }))
        .collect();
    let name = name?;
    Some(Experiment {
        salt: salt.unwrap_or_else(|| name.clone()),
        name,
        question,
        intent,
        standing: Standing { state: state(intent), ..Standing::default() },
        matches,
        layer,
        unit: unit.unwrap_or(Unit::Conversation),
        control: control?,
        candidates: candidates?,
        ramp: traffic.ramp,
        step: traffic.step,
        shadow: traffic.shadow,
        again: traffic.again,
        shadow_daily_usd: traffic.shadow_daily_usd,
        guardrails,
        evaluate,
        decide,
    })
}

/// How things stand as long as nothing but the file is known.
fn state(intent: Status) -> State {
    match intent {
        Status::Draft => State::Draft,
        Status::Running => State::Running,
        Status::Stopped => State::Stopped,
    }
}

fn name(s: &mut Section<'_, '_, '_>, known: &mut Known) -> Option<String> {
    let node = s.need("experiment", "write for example experiment: support-upgrade")?;
    let name = s.reader.value(node, "experiment", value::name)?;
    let here = format!("{}:{}", s.reader.file(), node.start.line);
    match known.experiments.get(&name) {
        Some(first) => {
            let what = format!("there are two experiments called `{name}`");
            s.reader.problem(node.start, what, format!("the first is in {first}; rename one"));
        }
        None => {
            known.experiments.insert(name.clone(), here);
        }
    }
    Some(name)
}
