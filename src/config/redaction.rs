//! Reads `redact`: what must not be stored or judged.

use super::nearest;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::read::quote;
use super::tree::Kind;
use super::tree::Node;
use super::value;
use crate::redact::BUILT_IN;
use crate::redact::MOST_RULES;
use crate::redact::Redactor;
use crate::redact::Rule;

/// What to write where a rule of one's own is broken.
const EXAMPLE: &str = r"write for example { name: ticket, pattern: 'TICKET-\d+' }";

/// Overwrites the rules with those of the file.
pub fn read(s: &mut Section<'_, '_, '_>, into: &mut Redactor) {
    let Some(node) = s.find("redact") else { return };
    let path = s.path("redact");
    let nodes = s.reader.items(node, &path).unwrap_or_default();
    if nodes.len() > MOST_RULES {
        let what = format!("`{path}` has {} rules of at most {MOST_RULES}", nodes.len());
        s.reader.problem(node.start, what, "write one pattern for several: this|that");
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (index, node) in nodes.iter().enumerate().take(MOST_RULES) {
        let path = format!("{path}[{index}]");
        let rule = match &node.kind {
            Kind::Map(_) => own(s.reader, node, &path),
            _ => s.reader.value(node, &path, built_in),
        };
        let Some(rule) = rule else { continue };
        if rules.iter().any(|known| known.name() == rule.name()) {
            let what = format!("`{path}` is there twice: {}", quote(rule.name()));
            s.reader.problem(node.start, what, "remove one, or give it another name");
        }
        rules.push(rule);
    }
    *into = Redactor::new(rules);
}

fn built_in(node: &Node) -> Result<Rule, Wrong> {
    let name = value::any_text(node)?;
    Rule::built_in(name).ok_or_else(|| {
        let known = BUILT_IN.iter().map(|known| known.name);
        let what = format!("is no rule that is built in: {}", quote(name));
        let help = nearest::suggest(name, known);
        let found = BUILT_IN.iter().find(|known| help.contains(&format!("`{}`", known.name)));
        let is_for = found.map(|known| format!(" It is for {}.", known.what));
        let own = format!(". For one of your own, {EXAMPLE}");
        Wrong::new(what, help + &is_for.unwrap_or(own))
    })
}

fn own(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Rule> {
    let rule = reader.section(node, path, |s| {
        let named = s.need("name", EXAMPLE).is_some();
        let name = s.take("name", |node| {
            let name = value::name(node)?;
            match BUILT_IN.iter().any(|known| known.name == name) {
                true => {
                    let what = format!("{} is built in", quote(&name));
                    Err(Wrong::new(what, "write the name alone, or call yours another"))
                }
                false => Ok(name),
            }
        });
        s.need("pattern", EXAMPLE)?;
        let rule = s.take("pattern", |node| {
            let pattern = value::any_text(node)?;
            // A broken name is reported by itself, and so is a broken pattern.
            let name = name.as_deref().unwrap_or("unnamed");
            Rule::own(name, pattern).map_err(|what| Wrong::new(what, EXAMPLE))
        });
        rule.filter(|_| named && name.is_some())
    });
    rule.flatten()
}
