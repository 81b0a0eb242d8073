//! Reads how traffic is split, ramped and shadowed.

use super::enrolment::percent;
use super::nearest;
use super::problem::Pos;
use super::read::Reader;
use super::read::Section;
use super::read::join;
use super::read::quote;
use super::tree::Node;
use super::value;
use super::variant::CONTROL;
use super::variant::Found;
use crate::experiment::Share;
use crate::experiment::Step;

/// The most answers that one step of a ramp may wait for.
const MOST_REQUESTS: u64 = 1_000_000_000;

/// What `traffic` says.
pub struct Traffic {
    /// The split of each candidate, in their order.
    pub splits: Vec<Share>,
    /// The rising shares that each split goes through.
    pub ramp: Vec<Share>,
    /// What has to hold before the next of them.
    pub step: Step,
    /// Share of requests that make a pair.
    pub shadow: Share,
    /// Share of pairs for which control is asked twice.
    pub again: Share,
    /// The most that copies may cost in a day.
    pub shadow_daily_usd: Option<f64>,
}

impl Traffic {
    /// Whether any user may ever see a candidate's answer.
    pub fn is_live(&self) -> bool {
        self.splits.iter().chain(&self.ramp).any(|share| *share > Share::NONE)
    }
}

/// Reads `traffic`.
pub fn traffic(s: &mut Section<'_, '_, '_>, candidates: &[Found]) -> Traffic {
    let mut traffic = Traffic {
        splits: vec![Share::NONE; candidates.len()],
        ramp: Vec::new(),
        step: Step::default(),
        shadow: Share::NONE,
        again: Share::NONE,
        shadow_daily_usd: None,
    };
    let at = s.key_at("traffic").unwrap_or(s.at);
    let mut is_shadow_read = true;
    s.section("traffic", |s| {
        if let Some(node) = s.find("split") {
            split(s.reader, node, candidates, &mut traffic.splits);
        }
        ramp(s, &mut traffic);
        step(s, &mut traffic.step);
        s.set("shadow", &mut traffic.shadow, value::share);
        s.set("again", &mut traffic.again, value::share);
        let example = value::above(0.0, "write for example 10");
        traffic.shadow_daily_usd = s.take("shadow_daily_usd", example);
        is_shadow_read = s.key_at("shadow").is_none() || traffic.shadow != Share::NONE;
        if traffic.shadow == Share::NONE && is_shadow_read {
            for key in ["again", "shadow_daily_usd"] {
                idle(s, key, "nothing is shadowed", "write for example shadow: 20%");
            }
        }
    });
    if traffic.shadow == Share::NONE && is_shadow_read {
        let what = "live traffic makes no pairs because `traffic.shadow` is 0%";
        s.reader.warn(at, what, "write for example shadow: 20%, unless pairs come from a backtest");
    }
    traffic
}

/// Says that a key which is there has no effect.
fn idle(s: &mut Section<'_, '_, '_>, key: &str, why: &str, help: &str) {
    if let Some(at) = s.key_at(key) {
        let what = format!("`{}` has no effect because {why}", s.path(key));
        s.reader.warn(at, what, help);
    }
}

fn split(reader: &mut Reader<'_>, node: &Node, candidates: &[Found], splits: &mut [Share]) {
    for (key, value) in reader.entries(node, "traffic.split").unwrap_or_default() {
        let path = join("traffic.split", &key.name);
        let share = reader.value(value, &path, value::share);
        match candidates.iter().position(|found| found.name == key.name) {
            Some(index) => {
                if let (Some(slot), Some(share)) = (splits.get_mut(index), share) {
                    *slot = share;
                }
            }
            None if key.name == CONTROL => {
                let help = "remove it: control takes what the candidates leave";
                reader.problem(key.start, "`traffic.split` names `control`", help);
            }
            None => {
                let names = candidates.iter().map(|found| found.name.as_str());
                let names = names.filter(|name| *name != CONTROL);
                let what = format!("{} is not a candidate", quote(&key.name));
                reader.problem(key.start, what, nearest::suggest(&key.name, names));
            }
        }
    }
    let total: u64 = splits.iter().map(|share| u64::from(share.ppm())).sum();
    if total > u64::from(Share::WHOLE) {
        let all = total as f64 / (f64::from(Share::WHOLE) / 100.0);
        let what = format!("`traffic.split` adds up to {all}%");
        reader.problem(node.start, what, "give the candidates 100% at most");
    }
}

fn ramp(s: &mut Section<'_, '_, '_>, traffic: &mut Traffic) {
    let Some(node) = s.find("ramp") else { return };
    let mut last: Option<Share> = None;
    let steps = s.reader.items(node, "traffic.ramp").unwrap_or_default();
    for (index, step) in steps.iter().enumerate() {
        let path = format!("traffic.ramp[{index}]");
        let Some(share) = s.reader.value(step, &path, value::share) else { continue };
        if share <= last.unwrap_or(Share::NONE) {
            let what = format!("`{path}` does not rise above the step before it");
            s.reader.problem(step.start, what, "write rising shares, for example [1%, 5%, 25%]");
        } else {
            fits(s.reader, step.start, &path, share, &traffic.splits);
        }
        if last.is_none() {
            rises(s.reader, step.start, &path, share, &traffic.splits);
        }
        last = Some(share);
        traffic.ramp.push(share);
    }
}

/// Every candidate gets the share of a step, so they need room beside each other.
fn fits(reader: &mut Reader<'_>, at: Pos, path: &str, share: Share, splits: &[Share]) {
    let total = u64::from(share.ppm()) * splits.len() as u64;
    if total > u64::from(Share::WHOLE) {
        let (count, share) = (splits.len(), percent(share));
        let what = format!("`{path}` gives {share} to each of {count} candidates");
        let most = percent(Share::from_ppm(Share::WHOLE / count as u32).unwrap_or_default());
        reader.problem(at, what, format!("stop at {most}, so that all of them fit into 100%"));
    }
}

/// The split holds before the first step, which must not take units back.
fn rises(reader: &mut Reader<'_>, at: Pos, path: &str, share: Share, splits: &[Share]) {
    if let Some(split) = splits.iter().max().filter(|split| **split > share) {
        let (share, split) = (percent(share), percent(*split));
        let what = format!("`{path}` ({share}) is below `traffic.split` ({split})");
        reader.problem(at, what, "begin the ramp above the split, or lower the split");
    }
}

fn step(s: &mut Section<'_, '_, '_>, into: &mut Step) {
    s.section("step", |s| {
        s.set("after", &mut into.after, value::duration);
        s.set("requests", &mut into.requests, value::count(1, MOST_REQUESTS));
    });
    if s.key_at("ramp").is_none() {
        idle(s, "step", "there is no ramp", "write for example ramp: [1%, 5%, 25%]");
    }
}
