//! Reads a route's `cascade`: what the answers of cheaper targets have to be.

use std::sync::Arc;

use super::Known;
use super::Route;
use super::judge;
use super::judge::CHARS;
use super::problem::Pos;
use super::read::Section;
use super::route;
use super::value;
use crate::cascade::CHECKS;
use crate::cascade::Cascade;
use crate::cascade::Check;
use crate::cascade::Judge;
use crate::cascade::ON_FAILURE;
use crate::cascade::USUAL;
use crate::choice::Policy;
use crate::experiment::Target;
use crate::experiment::evaluate::MAX_CHARS;

/// Reads it, once everything else of the route is known.
pub fn cascade(s: &mut Section<'_, '_, '_>, known: &Known, route: &mut Route) {
    let asked: Vec<Target> = judged(route).cloned().collect();
    let read = s.section("cascade", |s| {
        let checks = checks(s);
        let judge = s.section("judge", |s| judge(s, known, &asked)).flatten();
        let has_judge = s.key_at("judge").is_some();
        let on_failure = s.take("on_failure", value::choice(ON_FAILURE));
        if let (Some(at), false) = (s.key_at("on_failure"), has_judge) {
            let what = format!("`{}` has no effect without a judge", s.path("on_failure"));
            s.reader.warn(at, what, "add a judge or remove it");
        }
        if checks.is_empty() && !has_judge {
            let what = "nothing in this cascade looks at an answer";
            s.reader.problem(s.at, what, "name checks in accept, or add a judge");
        }
        Cascade { checks, judge, on_failure: on_failure.unwrap_or_default() }
    });
    route.cascade = read.map(Arc::new);
    if let Some(at) = s.key_at("cascade") {
        contradictions(s, at, route);
    }
}

/// Targets whose answers may be looked at.
fn judged(route: &Route) -> impl Iterator<Item = &Target> {
    let clauses = route.when.iter().map(|clause| &clause.targets);
    let lists = clauses.chain([&route.targets]);
    lists.flat_map(|list| list.split_last().map_or(&[][..], |(_, rest)| rest)).map(|t| &t.target)
}

/// What else of a route makes no sense with a cascade.
fn contradictions(s: &mut Section<'_, '_, '_>, at: Pos, route: &Route) {
    if route.targets.len() == 1 {
        let help = "name a dearer target behind it, which is asked where its answer will not do";
        s.reader.problem(at, "a cascade needs two targets at least", help);
    }
    let mut all = route.when.iter().flat_map(|clause| &clause.targets).chain(&route.targets);
    if route.choose != Policy::Order || all.any(|target| target.weight.is_some()) {
        let what = "a cascade asks its targets in the order of the file";
        let help = "remove choose and the weights, and name the cheapest target first";
        s.reader.problem(s.key_at("choose").unwrap_or(at), what, help);
    }
    if let Some(at) = s.key_at("hedge") {
        let what = "a cascade asks one target after the other, never two at once";
        s.reader.problem(at, what, "remove hedge or cascade");
    }
}

fn checks(s: &mut Section<'_, '_, '_>) -> Vec<Check> {
    let Some(node) = s.find("accept") else { return USUAL.to_vec() };
    let path = s.path("accept");
    let mut found = Vec::new();
    for (index, node) in s.reader.items(node, &path).unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(check) = s.reader.value(node, &path, value::choice(CHECKS)) else { continue };
        if found.contains(&check) {
            let what = format!("the check `{}` is here twice", check.name());
            s.reader.problem(node.start, what, "keep one of them");
        }
        found.push(check);
    }
    found
}

fn judge(s: &mut Section<'_, '_, '_>, known: &Known, asked: &[Target]) -> Option<Judge> {
    let path = s.path("target");
    let node = s.need("target", "write for example target: openai/gpt-4o-mini");
    let target = node.and_then(|node| {
        let target = route::target(s.reader, node, &path, known)?;
        if asked.contains(&target) {
            let what = format!("the judge `{target}` would judge its own answers");
            let help = "choose a model whose answers are not checked, such as the last target";
            s.reader.problem(node.start, what, help);
        }
        Some(target)
    });
    let criteria = s.find("criteria").map(|node| judge::criteria(s, node)).unwrap_or_default();
    let mut timeout = Judge::TIMEOUT;
    s.set("timeout", &mut timeout, value::duration);
    let (least, most) = CHARS;
    let chars = s.take("max_chars", value::count(least, most));
    let max_chars = chars.map_or(MAX_CHARS, |chars| usize::try_from(chars).unwrap_or(MAX_CHARS));
    let temperature = s.take("temperature", judge::temperature);
    Some(Judge { target: target?, criteria, timeout, max_chars, temperature })
}
