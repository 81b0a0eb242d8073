//! The verdict, what to do next, and the win rate of each candidate.

use crate::page::Dossier;
use crate::page::html::card;
use crate::page::html::chip;
use crate::page::html::escape;
use crate::page::html::moment;
use crate::page::html::prose;
use crate::page::html::table;
use crate::page::plot::interval::interval;
use crate::page::plot::outcomes::outcomes;
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
        let unknown = || "unknown".to_owned();
        let pace = |pace: f64| words::grouped(pace.round() as u64);
        let cells = vec![
            ahead.pairs.map_or("no end in sight within max_pairs".to_owned(), words::pairs),
            escape(&ahead.hours.map_or_else(unknown, words::time)),
            ahead.usd.map_or_else(unknown, words::dollars),
            ahead.pairs_per_hour.map_or_else(unknown, pace),
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
pub fn candidates(report: &Report) -> String {
    let arms = report.candidates.iter().map(|(name, view)| arm(report, name, view));
    let note = "Wins and half of the ties, of all pairs judged. The interval holds however often \
                anybody looks.";
    card("Win rate", note, &arms.collect::<String>())
}

fn arm(report: &Report, name: &str, view: &CandidateView) -> String {
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
    out.push_str(&besides(view));
    out.push_str("</div>\n");
    out
}

/// What is known besides the win rate.
fn besides(view: &CandidateView) -> String {
    let mut facts: Vec<(&str, String)> = Vec::new();
    if let Some(people) = &view.corrected {
        let rate = words::ends(people.estimate, people.lower, people.upper);
        let labels = words::grouped(people.labels);
        facts.push(("Corrected by people", format!("{rate}, by {labels} labels")));
    } else if view.labels > 0 {
        facts.push(("Labels of people", words::grouped(view.labels)));
    }
    if let Some(rate) = &view.length_controlled {
        facts.push(("If answers were equally long", words::rate(rate)));
    }
    if view.units > 0 {
        let (units, effect) = (words::grouped(view.units), words::trimmed(view.design_effect));
        facts.push(("Units", format!("{units}, design effect {effect}")));
    }
    if view.unsampled > 0 {
        let left = words::grouped(view.unsampled);
        facts.push(("Left out by chance", format!("{left} pairs, which the rates allow for")));
    }
    facts.extend(words::paired(view));
    if facts.is_empty() {
        return String::new();
    }
    let facts: String = facts
        .iter()
        .map(|(name, says)| {
            format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(says))
        })
        .collect();
    format!("<dl class=\"facts\">\n{facts}</dl>\n")
}
