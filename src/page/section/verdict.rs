//! The verdict, what to do next, and the win rate of each candidate.

use crate::evidence::Evidence;
use crate::evidence::More;
use crate::page::Dossier;
use crate::page::html::card;
use crate::page::html::chip;
use crate::page::html::escape;
use crate::page::html::moment;
use crate::page::html::prose;
use crate::page::html::table;
use crate::page::plot::interval::interval;
use crate::page::plot::outcomes::outcomes;
use crate::page::plot::spread::figure;
use crate::page::section::colour_of;
use crate::report::CandidateView;
use crate::report::Report;
use crate::report::words;

/// Name, question, verdict and the facts of the definition.
pub fn header(dossier: &Dossier) -> String {
    let report = &dossier.report;
    let heading = match report.question.as_str() {
        "" => &report.experiment,
        question => question,
    };
    let halted = match report.halted.as_slice() {
        [] => String::new(),
        halted => format!("; control answers for {}", halted.join(", ")),
    };
    let goal = &report.goal;
    let facts = [
        ("State", format!("{}, epoch {}{halted}", report.state.as_str(), report.epoch)),
        ("Control", report.control.clone()),
        ("Goal", format!("{}: {}", goal.goal, words::goal(goal.goal, goal.margin))),
        (
            "Held to",
            format!(
                "alpha {} %, {} to {} pairs",
                words::trimmed(goal.alpha * 100.0),
                words::grouped(goal.min_pairs),
                words::grouped(goal.max_pairs)
            ),
        ),
        ("Made", moment(dossier.made_ms)),
    ];
    let facts: String = facts
        .iter()
        .map(|(name, says)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(says)))
        .collect();
    format!(
        "<p class=\"eyebrow\">experiment {}</p>\n<h1>{}</h1>\n<div class=\"verdict {}\">\
         <strong>{} <span class=\"chip {}\">{}</span></strong>\n{}</div>\n<dl \
         class=\"facts\">\n{facts}</dl>\n",
        escape(&report.experiment),
        escape(heading),
        report.verdict,
        escape(&words::plain(&report.verdict.to_string())),
        report.verdict,
        escape(&words::plain(&report.reason)),
        escape(&report.summary)
    )
}

/// What to do, and what is still to come.
pub fn next(report: &Report) -> String {
    let mut body = match report.next.say.as_str() {
        "" => String::new(),
        say => format!("<p>{}</p>\n", prose(say)),
    };
    if let Some(yaml) = &report.next.yaml {
        body.push_str(&format!("<pre>{}</pre>\n", escape(yaml)));
    }
    if let Some(ahead) = &report.outlook {
        let range = |n50: String, n80: String| format!("{n50} to {n80}");
        let cells = vec![
            ahead.pairs.map_or("no end in sight within max_pairs".to_owned(), |pairs| {
                range(words::grouped(pairs.n50), words::grouped(pairs.n80))
            }),
            ahead.hours.map_or("unknown".to_owned(), |hours| {
                escape(&range(words::spell(hours.n50), words::spell(hours.n80)))
            }),
            ahead.usd.map_or("unknown".to_owned(), |usd| {
                format!("${} to ${}", words::money(usd.n50), words::money(usd.n80))
            }),
            ahead
                .pairs_per_hour
                .map_or("unknown".to_owned(), |pace| words::grouped(pace.round() as u64)),
        ];
        body.push_str(&table(&["more pairs", "time", "dollars", "pairs an hour"], &[cells]));
        body.push_str(
            "<p class=\"note\">Half of such experiments end by the first number, four of five by \
             the second.</p>\n",
        );
    }
    card("What to do next", "", &body)
}

/// The evidence on each candidate.
pub fn candidates(report: &Report, evidence: &Evidence) -> String {
    let arms = report
        .candidates
        .iter()
        .map(|(name, view)| arm(report, name, view, evidence.candidates.get(name)));
    let note = "Wins and half of the ties, of all pairs judged. The interval holds however often \
                anybody looks.";
    card("Win rate", note, &arms.collect::<String>())
}

fn arm(report: &Report, name: &str, view: &CandidateView, more: Option<&More>) -> String {
    let rate = &view.win_rate;
    let estimate = rate
        .estimate
        .map_or("no pair yet".to_owned(), |estimate| format!("{} %", words::points(estimate)));
    let colour = colour_of(report, name);
    let edges = words::edges(report.goal.goal, report.goal.margin);
    let mut out = format!(
        "<div class=\"arm\">\n<h3 class=\"{colour}\">{} <span class=\"plain\">{}</span> {}</h3>\n\
         <p class=\"big\">{} <small>{} to {} %, of {} pairs</small></p>\n",
        escape(name),
        escape(&view.target),
        chip(&view.verdict.to_string(), &words::plain(&view.verdict.to_string())),
        escape(&estimate),
        words::points(rate.lower),
        words::points(rate.upper),
        words::grouped(view.pairs)
    );
    out.push_str(&interval(colour, name, rate, &edges));
    out.push_str(&outcomes(name, view));
    if !view.unjudged.is_empty() {
        let reasons = view.unjudged.iter().map(|(why, count)| format!("{why} {count}"));
        let reasons = escape(&reasons.collect::<Vec<_>>().join(", "));
        out.push_str(&format!("<p class=\"note\">Without a usable verdict: {reasons}</p>\n"));
    }
    out.push_str(&more.map(besides).unwrap_or_default());
    out.push_str("</div>\n");
    out
}

/// What is known besides the win rate.
fn besides(more: &More) -> String {
    let mut facts = Vec::new();
    if let Some(corrected) = &more.corrected {
        facts.push((
            "Corrected by people",
            format!(
                "{} % ({} to {} %), by {} labels",
                words::points(corrected.estimate),
                words::points(corrected.lower),
                words::points(corrected.upper),
                words::grouped(corrected.labels)
            ),
        ));
    }
    if let Some((ends, estimate)) = more.length_controlled.and_then(|e| Some((e, e.estimate?))) {
        let (lower, upper) = (words::points(ends.lower), words::points(ends.upper));
        let rate = words::points(estimate);
        facts.push(("If answers were equally long", format!("{rate} % ({lower} to {upper} %)")));
    }
    if let (Some(units), Some(effect)) = (more.units, more.design_effect) {
        let (units, effect) = (words::grouped(units), words::trimmed(effect));
        facts.push(("Units", format!("{units}, design effect {effect}")));
    }
    if more.unsampled > 0 {
        let left = words::grouped(more.unsampled);
        facts.push(("Left out by chance", format!("{left} pairs, which the rates allow for")));
    }
    for (what, paired) in &more.paired {
        let (Some(control), Some(candidate)) = (paired.control, paired.candidate) else { continue };
        let Some(difference) = paired.difference else { continue };
        let unit = if what.contains("usd") { "$" } else { "" };
        let end = |end: Option<f64>| end.map_or("?".to_owned(), |end| signed(end, unit));
        facts.push((
            "Pair by pair",
            format!(
                "{}: {}, control {} (difference {} to {})",
                words::plain(what),
                figure(candidate, unit).trim(),
                figure(control, unit).trim(),
                end(difference.lower),
                end(difference.upper)
            ),
        ));
    }
    if facts.is_empty() {
        return String::new();
    }
    let facts: String = facts
        .iter()
        .map(|(name, says)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(says)))
        .collect();
    format!("<dl class=\"facts\">\n{facts}</dl>\n")
}

fn signed(value: f64, unit: &str) -> String {
    let sign = if value < 0.0 { "−" } else { "+" };
    format!("{sign}{}", figure(value.abs(), unit).trim())
}
