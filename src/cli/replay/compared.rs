//! The old answer and the new one, side by side.

use serde_json::Value;
use serde_json::json;

use crate::chat::Usage;
use crate::cli::cache::shown;
use crate::cli::replay::is_coloured;
use crate::diff::Difference;
use crate::diff::answer::Compared;
use crate::diff::answer::compare;
use crate::diff::text::Run;
use crate::library::view;
use crate::store::exchange::Exchange;
use crate::store::exchange::Head;

/// For scripts.
pub fn json(old: &Exchange, new: &Exchange) -> Value {
    let compared = compare(&view::answer(old), &view::answer(new));
    let side = |head: &Head| {
        json!({
            "target": head.target, "model": head.model, "status": head.status,
            "ended": head.ended, "usage": head.usage, "cost_nano_usd": head.cost_nano_usd,
            "first_us": head.first_us, "took_us": head.took_us,
        })
    };
    json!({
        "id": old.head.id,
        "same": is_same(&compared, &old.head, &new.head),
        "text": compared.text,
        "tool_calls": compared.tool_calls,
        "rest": compared.rest,
        "before": side(&old.head),
        "after": side(&new.head),
    })
}

/// For people.
pub fn text(old: &Exchange, new: &Exchange) -> String {
    let compared = compare(&view::answer(old), &view::answer(new));
    let (a, b) = (&old.head, &new.head);
    let same = is_same(&compared, a, b);
    let mut lines = vec![if same { "the same answer" } else { "another answer" }.to_owned()];
    let text = runs(&compared.text, is_coloured());
    if !text.is_empty() {
        lines.push(format!("\n{text}\n"));
    }
    lines.extend(compared.tool_calls.iter().map(|found| place("tool call", found)));
    lines.extend(compared.rest.iter().map(|found| place("", found)));
    let tokens = |usage: Option<Usage>| {
        let usage = usage.unwrap_or_default();
        shown::tokens(usage.input_tokens, usage.output_tokens)
    };
    let ended = |head: &Head| format!("{} {}", head.status, head.ended);
    let rows = [
        ("target", a.target.clone(), b.target.clone()),
        ("status", ended(a), ended(b)),
        ("tokens", tokens(a.usage), tokens(b.usage)),
        ("cost", shown::cost(a.cost_nano_usd), shown::cost(b.cost_nano_usd)),
        ("first byte", shown::duration(a.first_us), shown::duration(b.first_us)),
        ("took", shown::duration(a.took_us), shown::duration(b.took_us)),
    ];
    lines.extend(rows.map(|(name, before, after)| match before == after {
        true => format!("{name:<12}{before}"),
        false => format!("{name:<12}{before}  ->  {after}"),
    }));
    lines.join("\n")
}

fn is_same(compared: &Compared, a: &Head, b: &Head) -> bool {
    compared.same && a.status == b.status
}

fn place(what: &str, found: &Difference) -> String {
    let (before, after) = found.shown();
    let path = format!("{what}{}", found.path);
    format!("{path:<12}{}{before}  ->  {after}", if path.len() >= 12 { "  " } else { "" })
}

fn runs(runs: &[Run], is_coloured: bool) -> String {
    let runs = runs.iter().map(|run| match (run, is_coloured) {
        (Run::Same(text), _) => text.clone(),
        (Run::Gone(text), true) => format!("\x1b[31;9m{text}\x1b[0m"),
        (Run::Added(text), true) => format!("\x1b[32m{text}\x1b[0m"),
        (Run::Gone(text), false) => format!("[-{text}-]"),
        (Run::Added(text), false) => format!("{{+{text}+}}"),
    });
    runs.collect()
}
