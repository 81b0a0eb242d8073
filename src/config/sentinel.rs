//! Reads one sentinel.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::Known;
use super::evaluation;
use super::load::SENTINEL;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::tree::Kind;
use super::tree::Node;
use super::value;
use super::variant;
use super::variant::CONTROL;
use crate::experiment::Judges;
use crate::experiment::Share;
use crate::sentinel::Alarm;
use crate::sentinel::MAX_PROMPTS;
use crate::sentinel::Prompts;
use crate::sentinel::Sentinel;

/// How often it runs unless it says otherwise.
pub const EVERY: Duration = Duration::from_secs(24 * 3600);

const PROMPTS_HELP: &str = "write for example prompts: [\"Where is my parcel?\"], \
                            { file: prompts.jsonl } or { experiment: support-upgrade, last: 50 }";

/// The sentinel of a file; `None` when it is too broken to be one.
pub fn read(reader: &mut Reader<'_>, root: &Node, known: &mut Known) -> Option<Sentinel> {
    reader.section(root, "", |s| sentinel(s, known)).flatten()
}

fn sentinel(s: &mut Section<'_, '_, '_>, known: &mut Known) -> Option<Sentinel> {
    let name = name(s, known);
    let experiment = experiment(s, known);
    let shipped = variant::fields(s, CONTROL, known);
    if let (Some(name), Some(variant), Some(at)) = (&experiment, &shipped, s.key_at("target")) {
        check_target(s, name, &variant.target.to_string(), at, known);
    }
    let prompts = s.need("prompts", PROMPTS_HELP).and_then(|node| prompts(s.reader, node));
    let pin = s.take("pin", value::text).unwrap_or_default();
    let every = s.take("every", every).unwrap_or(EVERY);
    let tested: Vec<_> = shipped.iter().collect();
    let evaluate = evaluation::evaluate(s, known, &tested);
    let alarm = alarm(s);
    let daily_usd = s.take("daily_usd", value::above(0.0, "write for example 1"));
    if let (Judges::People, Some(at)) = (&evaluate.judge, s.key_at("evaluate")) {
        let what = "a sentinel runs by itself: it cannot wait for people to judge";
        s.reader.problem(at, what, "name a model as its judge, or leave the judge out");
    }
    if evaluate.judge == Judges::Nobody && alarm.moved.is_none() {
        let help = "add alarm: { moved: 10% } for answers that ought to stay the same, or a judge";
        s.reader.problem(s.at, "no answer of this sentinel could raise its alarm", help);
    }
    Some(Sentinel {
        name: name?,
        experiment,
        shipped: shipped?,
        prompts: prompts?,
        pin,
        every,
        evaluate,
        alarm,
        daily_usd,
    })
}

fn name(s: &mut Section<'_, '_, '_>, known: &mut Known) -> Option<String> {
    let node = s.need(SENTINEL, "write for example sentinel: support-drift")?;
    let name = s.reader.value(node, SENTINEL, value::name)?;
    let here = format!("{}:{}", s.reader.file(), node.start.line);
    // They share the decision log and the list of reports.
    let all = [("an experiment", &known.experiments), ("a sentinel", &known.sentinels)];
    let taken = all.iter().find_map(|(a, names)| Some((a, names.get(&name)?)));
    if let Some((a, there)) = taken {
        let what = format!("there is {a} called `{name}` already");
        s.reader.problem(node.start, what, format!("it is in {there}; rename one"));
        return Some(name);
    }
    known.sentinels.insert(name.clone(), here);
    Some(name)
}

/// The experiment may have been shipped and removed, or stand in a file that is not checked now.
fn experiment(s: &mut Section<'_, '_, '_>, known: &Known) -> Option<String> {
    let name = s.take("experiment", value::text)?;
    if let (Some(at), false) = (s.key_at("experiment"), known.experiments.contains_key(&name)) {
        let what = format!("no experiment `{name}` is defined in these files");
        let help = "then nobody's question is open again when this sentinel alarms";
        s.reader.warn(at, what, help);
    }
    Some(name)
}

fn check_target(
    s: &mut Section<'_, '_, '_>,
    name: &str,
    target: &str,
    at: super::problem::Pos,
    known: &Known,
) {
    let Some((found, _)) = known.running.iter().find(|(found, _)| found.name == name) else {
        return;
    };
    if !found.variants().any(|variant| variant.target.to_string() == target) {
        let what = format!("`{target}` is no variant of `{name}`, whose question it is to open");
        s.reader.warn(at, what, "name the target that was shipped");
    }
}

fn prompts(reader: &mut Reader<'_>, node: &Node) -> Option<Prompts> {
    if let Kind::List(_) = &node.kind {
        return here(reader, node);
    }
    let found = reader.section(node, "prompts", |s| {
        let file = s.take("file", value::text).map(PathBuf::from);
        let experiment = s.take("experiment", value::text);
        let last = s.take("last", value::count(1, MAX_PROMPTS as u64));
        match (file, experiment) {
            (Some(file), None) if last.is_none() => Some(Prompts::File(file)),
            (None, Some(experiment)) => {
                let last = last.and_then(|last| usize::try_from(last).ok()).unwrap_or(50);
                Some(Prompts::Scored { experiment, last })
            }
            _ => {
                let what = "`prompts` needs either `file` or `experiment`";
                s.reader.problem(s.at, what, PROMPTS_HELP);
                None
            }
        }
    });
    found.flatten()
}

/// Texts, or bodies with messages.
fn here(reader: &mut Reader<'_>, node: &Node) -> Option<Prompts> {
    let nodes = reader.items(node, "prompts")?;
    if nodes.is_empty() || nodes.len() > MAX_PROMPTS {
        let what = format!("`prompts` has to hold 1 to {MAX_PROMPTS} prompts");
        reader.problem(node.start, what, PROMPTS_HELP);
        return None;
    }
    let read = |(at, node): (usize, &Node)| {
        reader.value(node, &format!("prompts[{at}]"), |node| match &node.kind {
            Kind::Map(_) => body(node),
            _ => value::text(node).map(Value::String),
        })
    };
    let prompts: Vec<Option<Value>> = nodes.iter().enumerate().map(read).collect();
    Some(Prompts::Here(prompts.into_iter().collect::<Option<_>>()?))
}

fn body(node: &Node) -> Result<Value, Wrong> {
    let help = "write for example { messages: [{ role: user, content: Hello }] }";
    let body = value::json(node).filter(|body| body["messages"].is_array());
    body.ok_or_else(|| Wrong::new("has to be text or the body of a chat completion", help))
}

/// Not so often that one run would meet the next.
fn every(node: &Node) -> Result<Duration, Wrong> {
    let every = value::duration(node)?;
    match every < Duration::from_secs(1) {
        true => Err(value::expected("at least 1s", node, "write for example 24h")),
        false => Ok(every),
    }
}

fn alarm(s: &mut Section<'_, '_, '_>) -> Alarm {
    let mut alarm = Alarm::default();
    s.section("alarm", |s| {
        alarm.moved = s.take("moved", below_all);
        s.set("margin", &mut alarm.margin, value::portion(0.5));
        s.set("alpha", &mut alarm.alpha, value::portion(0.5));
        s.set("model", &mut alarm.model, value::boolean);
        s.set("fingerprint", &mut alarm.fingerprint, value::boolean);
    });
    alarm
}

/// A share that can be exceeded.
fn below_all(node: &Node) -> Result<Share, Wrong> {
    match value::share(node)? {
        Share::ALL => Err(value::expected("below 100%", node, "write for example 10%")),
        share => Ok(share),
    }
}
