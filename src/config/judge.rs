//! Reads who judges: a model, a panel of models, or people.

use super::Known;
use super::problem::Pos;
use super::read::Reader;
use super::read::Section;
use super::read::Wrong;
use super::route;
use super::tree::Kind;
use super::tree::Node;
use super::value;
use crate::experiment::Form;
use crate::experiment::Judge;
use crate::experiment::Judges;
use crate::experiment::Method;
use crate::experiment::Reference;
use crate::experiment::Scale;
use crate::experiment::Share;
use crate::experiment::Target;
use crate::experiment::Template;
use crate::experiment::Variant;
use crate::experiment::evaluate::HUMAN;
use crate::experiment::template::Flaw;

/// The most judges of a panel.
pub const MAX_JUDGES: usize = 16;

/// The most criteria of a judge.
pub const MAX_CRITERIA: usize = 20;

/// The fewest and the most characters of a text that a judge may be shown.
pub const CHARS: (u64, u64) = (1_000, 1_000_000);

/// What a judge may be asked for.
pub const METHODS: &[(&str, bool)] = &[("pairwise", false), ("rubric", true)];

/// The scores that a rubric may know.
pub const SCALES: &[(&str, Scale)] = &[("0-10", Scale::Ten), ("1-5", Scale::Five)];

/// What a verdict may look like.
pub const FORMS: &[(&str, Form)] = &[("letter", Form::Letter), ("words", Form::Words)];

/// Makers' families of models, and how words of their names begin.
const FAMILIES: &[(&str, &[&str])] = &[
    ("claude", &["claude"]),
    ("command", &["command"]),
    ("deepseek", &["deepseek"]),
    ("gemini", &["gemini", "gemma"]),
    ("glm", &["glm", "chatglm"]),
    ("gpt", &["gpt", "chatgpt", "o1", "o3", "o4", "davinci"]),
    ("grok", &["grok"]),
    ("kimi", &["kimi", "moonshot"]),
    ("llama", &["llama", "codellama"]),
    ("mistral", &["mistral", "mixtral", "ministral", "codestral", "magistral", "pixtral"]),
    ("nova", &["nova"]),
    ("phi", &["phi"]),
    ("qwen", &["qwen", "qwq", "qvq"]),
];

/// The family that a model's name says it is of.
pub fn family(model: &str) -> Option<&'static str> {
    let lower = model.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let is_of = |beginning: &&str| words.iter().any(|word| begins(word, beginning));
    FAMILIES.iter().find(|(_, all)| all.iter().any(is_of)).map(|(name, _)| *name)
}

/// `llama3` is a llama, `phil` is no phi.
fn begins(word: &str, beginning: &str) -> bool {
    let rest = word.strip_prefix(beginning);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Reads `evaluate.judge`; `tested` are the variants that a judge must not be.
pub fn judges(s: &mut Section<'_, '_, '_>, known: &Known, tested: &[&Variant]) -> Option<Judges> {
    let node = s.find("judge")?;
    let path = s.path("judge");
    match &node.kind {
        Kind::Scalar { text, .. } if text == HUMAN => Some(Judges::People),
        Kind::List(nodes) => panel(s.reader, node.start, nodes, &path, known, tested),
        Kind::Map(entries) => {
            let target = entries.iter().find(|(key, _)| key.name == "target");
            let is_human = |node: &Node| value::any_text(node).is_ok_and(|text| text == HUMAN);
            if target.is_some_and(|(_, node)| is_human(node)) {
                return people(s.reader, node, &path);
            }
            Some(Judges::Models(vec![one(s.reader, node, &path, known, tested)?]))
        }
        _ => {
            let help = "write for example judge: { target: openai/gpt-4o-mini }, or judge: human";
            let wrong = value::expected("a map, a list of judges or `human`", node, help);
            s.reader.value::<()>(node, &path, |_| Err(wrong));
            None
        }
    }
}

fn people(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Judges> {
    reader.section(node, path, |s| {
        s.find("target");
        Judges::People
    })
}

fn panel(
    reader: &mut Reader<'_>,
    at: Pos,
    nodes: &[Node],
    path: &str,
    known: &Known,
    tested: &[&Variant],
) -> Option<Judges> {
    if nodes.is_empty() || nodes.len() > MAX_JUDGES {
        let what = format!("`{path}` has {} judges", nodes.len());
        reader.problem(at, what, format!("write 1 to {MAX_JUDGES} of them"));
        return None;
    }
    let mut judges: Vec<Judge> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let Some(judge) = one(reader, node, &format!("{path}[{index}]"), known, tested) else {
            continue;
        };
        if judges.iter().any(|other| other.target == judge.target) {
            let what = format!("the judge `{}` is here twice", judge.target);
            reader.problem(node.start, what, "keep one of them");
        }
        let first = judges.first();
        if first.is_some_and(|first| {
            (first.both_orders, first.repeat) != (judge.both_orders, judge.repeat)
        }) {
            let what = "the judges of a panel are asked in different orders";
            let help = "write the same both_orders and repeat for all of them";
            reader.problem(node.start, what, help);
        }
        judges.push(judge);
    }
    (judges.len() == nodes.len()).then_some(Judges::Models(judges))
}

fn one(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    known: &Known,
    tested: &[&Variant],
) -> Option<Judge> {
    let judge = reader.section(node, path, |s| {
        let target = target(s, known, tested);
        let method = method(s);
        let criteria = s.find("criteria").map(|node| criteria(s, node)).unwrap_or_default();
        // A judge without its target is read to its end, for everything else that is wrong in it.
        let mut judge = Judge::new(
            target.clone().unwrap_or(Target { provider: String::new(), model: String::new() }),
        );
        judge.method = method;
        judge.template = template(s, &criteria);
        judge.criteria = criteria;
        s.set("both_orders", &mut judge.both_orders, all_or_share);
        s.set("reasons", &mut judge.reasons, value::boolean);
        s.set("verdict", &mut judge.form, value::choice(FORMS));
        judge.reference = reference(s);
        let (least, most) = CHARS;
        if let Some(chars) = s.take("max_chars", value::count(least, most)) {
            judge.max_chars = usize::try_from(chars).unwrap_or(judge.max_chars);
        }
        s.set("repeat", &mut judge.repeat, value::share);
        s.set("temperature", &mut judge.temperature, temperature);
        if let (Some(at), true) = (s.key_at("verdict"), has_own_form(&judge)) {
            let what = format!("`{}` has no effect on reasons and rubrics", s.path("verdict"));
            s.reader.warn(at, what, "remove it: their verdicts have a form of their own");
        }
        target.map(|_| judge)
    });
    judge.flatten()
}

fn has_own_form(judge: &Judge) -> bool {
    judge.reasons || judge.method != Method::Pairwise
}

fn target(s: &mut Section<'_, '_, '_>, known: &Known, tested: &[&Variant]) -> Option<Target> {
    let path = s.path("target");
    let node = s.need("target", "write for example target: openai/gpt-4o-mini")?;
    let target = route::target(s.reader, node, &path, known)?;
    if let Some(variant) = tested.iter().find(|variant| variant.target == target) {
        let what = format!("the judge `{target}` is itself under test as `{}`", variant.name);
        let help = "choose a model that serves no variant: judges favour their own answers";
        s.reader.problem(node.start, what, help);
        return Some(target);
    }
    let own = family(&target.model);
    let kin = |variant: &&&Variant| own.is_some() && family(&variant.target.model) == own;
    let kin: Vec<&str> = tested.iter().filter(kin).map(|v| v.name.as_str()).collect();
    // A judge that is kin to every variant has no favourite among them.
    if !kin.is_empty() && kin.len() < tested.len() {
        let what = format!(
            "the judge `{target}` is of the same family ({}) as {}",
            own.unwrap_or_default(),
            kin.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
        );
        let help = "choose a judge of another maker: judges favour what sounds like themselves";
        s.reader.warn(node.start, what, help);
    }
    Some(target)
}

fn method(s: &mut Section<'_, '_, '_>) -> Method {
    let is_rubric = s.take("method", value::choice(METHODS)).unwrap_or_default();
    let scale = s.take("scale", value::choice(SCALES));
    if let (Some(at), false) = (s.key_at("scale"), is_rubric) {
        let what = format!("`{}` has no effect without a rubric", s.path("scale"));
        s.reader.warn(at, what, "write method: rubric, or remove it");
    }
    if is_rubric { Method::Rubric(scale.unwrap_or_default()) } else { Method::Pairwise }
}

/// Reads `criteria`: one text, or a list of them.
pub fn criteria(s: &mut Section<'_, '_, '_>, node: &Node) -> Vec<String> {
    let path = s.path("criteria");
    let Kind::List(nodes) = &node.kind else {
        return s.reader.value(node, &path, value::text).into_iter().collect();
    };
    if nodes.is_empty() || nodes.len() > MAX_CRITERIA {
        let what = format!("`{path}` has {} entries", nodes.len());
        s.reader.problem(node.start, what, format!("write 1 to {MAX_CRITERIA} of them"));
    }
    let read = |(index, node): (usize, &Node)| {
        s.reader.value(node, &format!("{path}[{index}]"), value::text)
    };
    nodes.iter().enumerate().filter_map(read).collect()
}

fn template(s: &mut Section<'_, '_, '_>, criteria: &[String]) -> Option<Template> {
    let node = s.find("template")?;
    let path = s.path("template");
    let source = s.reader.value(node, &path, value::text)?;
    match Template::parse(&source, &criteria.join("\n")) {
        Ok(template) => Some(template),
        Err(Flaw { line, what, help }) => {
            let at = line.map_or(node.start, |line| place(node, line));
            s.reader.problem(at, format!("`{path}` {what}"), help);
            None
        }
    }
}

/// Where a line of a text stands in the file.
fn place(node: &Node, line: usize) -> Pos {
    match node.end.line > node.start.line {
        true => Pos { line: node.start.line + line.saturating_sub(1), column: 1 },
        false => node.start,
    }
}

fn reference(s: &mut Section<'_, '_, '_>) -> Option<Reference> {
    let found = s.section("reference", |s| {
        let header = s.take("header", value::header_name).map(Reference::Header);
        let field = s.take("field", value::pointer).map(Reference::Field);
        let given = ["header", "field"].iter().filter(|key| s.key_at(key).is_some()).count();
        if given != 1 {
            let what =
                format!("`{}` needs one source and has {given}", s.path("").trim_matches('.'));
            let help = "write { header: x-reference } or { field: /metadata/reference }";
            s.reader.problem(s.at, what, help);
        }
        header.or(field)
    });
    found.flatten()
}

/// `true`, `false`, or the share of pairs for which it is true.
fn all_or_share(node: &Node) -> Result<Share, Wrong> {
    match node.as_bool() {
        Some(true) => Ok(Share::ALL),
        Some(false) => Ok(Share::NONE),
        None => value::share(node)
            .map_err(|_| value::expected("true, false or a share", node, "write for example 20%")),
    }
}

/// A temperature that any dialect knows.
pub fn temperature(node: &Node) -> Result<f64, Wrong> {
    let number = node.as_number().and_then(|number| number.as_f64());
    number
        .filter(|n| (0.0..=2.0).contains(n))
        .ok_or_else(|| value::expected("a number from 0 to 2", node, "write for example 0"))
}
