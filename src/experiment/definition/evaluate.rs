//! The parts of a definition that say how pairs are scored.

use super::dollars;
use super::hash;
use crate::experiment::Evaluate;
use crate::experiment::Form;
use crate::experiment::Judge;
use crate::experiment::Judges;
use crate::experiment::Method;
use crate::experiment::Reference;
use crate::experiment::Share;
use crate::experiment::audit::Limits;
use crate::experiment::evaluate::HUMAN;
use crate::experiment::evaluate::MAX_CHARS;

/// Puts what a definition says of how pairs are scored.
pub(super) fn put(evaluate: &Evaluate, put: &mut impl FnMut(&str, String)) {
    let Evaluate { comparators, judge, sample, quorum, budget_usd, daily_usd, concurrency, audit } =
        evaluate;
    for ((name, limit), (_, usual)) in audit.named().into_iter().zip(Limits::default().named()) {
        put(&format!("audit.{name}"), unless(limit == usual, &limit));
    }
    let mut names: Vec<&str> = comparators.iter().map(|comparator| comparator.name()).collect();
    names.sort_unstable();
    put("comparators", names.join(" "));
    match judge {
        Judges::Nobody => {}
        Judges::People => put("judge.target", HUMAN.to_owned()),
        Judges::Models(judges) => {
            for (judge, number) in judges.iter().zip(1..) {
                let at = if number == 1 { "judge".to_owned() } else { format!("judge.{number}") };
                put_judge(&at, judge, put);
            }
        }
    }
    put("sample", unless(*sample == Share::ALL, &sample.ppm()));
    put("quorum", quorum.map(|n| n.to_string()).unwrap_or_default());
    put("budget_usd", dollars(*budget_usd));
    put("daily_usd", dollars(*daily_usd));
    put("concurrency", concurrency.map(|n| n.to_string()).unwrap_or_default());
}

/// What is as it was before there was a choice is no part, so that old definitions keep theirs.
fn put_judge(at: &str, judge: &Judge, put: &mut impl FnMut(&str, String)) {
    let Judge {
        target,
        criteria,
        method,
        both_orders,
        reasons,
        form,
        template,
        reference,
        max_chars,
        repeat,
        temperature,
    } = judge;
    let mut put = |name: &str, text: String| put(&format!("{at}.{name}"), text);
    put("target", target.to_string());
    put("criteria", hash(criteria.join("\n").as_bytes()));
    let orders = match *both_orders {
        Share::ALL => "true".to_owned(),
        Share::NONE => "false".to_owned(),
        share => share.ppm().to_string(),
    };
    put("both_orders", orders);
    let method = match method {
        Method::Pairwise => String::new(),
        Method::Rubric(scale) => {
            let (least, most) = scale.ends();
            format!("rubric {least} {most}")
        }
    };
    put("method", method);
    put("reasons", unless(!reasons, &true));
    put("form", unless(*form == Form::Letter, &"words"));
    let template = template.as_ref().map(|template| hash(template.source.as_bytes()));
    put("template", template.unwrap_or_default());
    let reference = reference.as_ref().map(|reference| match reference {
        Reference::Field(pointer) => format!("field {pointer}"),
        Reference::Header(name) => format!("header {name}"),
    });
    put("reference", reference.unwrap_or_default());
    put("max_chars", unless(*max_chars == MAX_CHARS, max_chars));
    put("repeat", unless(*repeat == Share::NONE, &repeat.ppm()));
    put("temperature", unless(*temperature == 0.0, temperature));
}

fn unless(is_usual: bool, value: &impl ToString) -> String {
    if is_usual { String::new() } else { value.to_string() }
}
