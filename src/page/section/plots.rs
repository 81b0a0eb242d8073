//! The parts that are mostly drawings.

use std::collections::BTreeMap;

use crate::evidence::Evidence;
use crate::page::Dossier;
use crate::page::Spread;
use crate::page::html::card;
use crate::page::html::escape;
use crate::page::html::table;
use crate::page::plot::forest::forest;
use crate::page::plot::sequence::sequence;
use crate::page::plot::spread::figure;
use crate::page::plot::spread::spread;
use crate::page::section::colour_of;
use crate::report::Report;
use crate::report::words;

/// The interval of each candidate after every pair.
pub fn over_time(dossier: &Dossier) -> String {
    let report = &dossier.report;
    let edges = words::edges(report.goal.goal, report.goal.margin);
    let mut body = String::new();
    for (name, points) in &dossier.series {
        let plot = sequence(colour_of(report, name), name, points, &edges);
        if !plot.is_empty() && dossier.series.len() > 1 {
            let colour = colour_of(report, name);
            body.push_str(&format!("<h3 class=\"{colour}\">{}</h3>\n", escape(name)));
        }
        body.push_str(&plot);
    }
    let note = "The estimate and its interval after every pair. All of the band holds at once, \
                with the stated chance of error, so it may be watched.";
    card("How the evidence narrowed", note, &body)
}

/// Where a candidate is better or worse than elsewhere.
pub fn segments(evidence: &Evidence, report: &Report) -> String {
    let mut body = String::new();
    for (name, more) in &evidence.candidates {
        let plot = forest(name, &more.segments);
        if !plot.is_empty() && evidence.candidates.len() > 1 {
            let colour = colour_of(report, name);
            body.push_str(&format!("<h3 class=\"{colour}\">{}</h3>\n", escape(name)));
        }
        body.push_str(&plot);
    }
    if let (Some(yaml), false) = (&evidence.routing, body.is_empty()) {
        body.push_str("<p>This sends the candidate only what it is better at:</p>\n");
        body.push_str(&format!("<pre>{}</pre>\n", escape(yaml)));
    }
    let note = "Marked are those that stay apart when all are looked at together: at most one in \
                ten of them by chance.";
    card("Segments", note, &body)
}

/// How times, prices and lengths are distributed.
pub fn spreads(dossier: &Dossier) -> String {
    let report = &dossier.report;
    let mut groups: BTreeMap<(&str, &str), Vec<(&Spread, &str)>> = BTreeMap::new();
    for spread in &dossier.spreads {
        let group = groups.entry((&spread.from, &spread.what)).or_default();
        group.push((spread, colour_of(report, &spread.variant)));
    }
    let mut body = String::new();
    for ((from, what), all) in &groups {
        let heading = format!("{what}, {from}");
        let keys: String = all
            .iter()
            .map(|(spread, class)| {
                let name = escape(&spread.variant);
                format!("<li class=\"{class}\"><span class=\"plain\">{name}</span></li>\n")
            })
            .collect();
        let rows: Vec<Vec<String>> = all.iter().map(|(spread, _)| row(spread)).collect();
        body.push_str(&format!(
            "<div>\n<h3>{}</h3>\n<ul class=\"key\">\n{keys}</ul>\n{}{}</div>\n",
            escape(&heading),
            spread(&heading, all),
            table(&["", "half up to", "95 % up to", "answers"], &rows)
        ));
    }
    if body.is_empty() {
        return String::new();
    }
    let note = "Shares of answers over a scale of powers; the tick below is the middle one. \
                Copies are sent at other times than users' requests, so their times are no \
                measure of those: guardrails judge users' answers alone.";
    card("Times, prices and lengths", note, &format!("<div class=\"grid\">\n{body}</div>\n"))
}

fn row(spread: &Spread) -> Vec<String> {
    let quantile = |p: f64| {
        let value = spread.histogram.quantile(p).unwrap_or_default();
        escape(&figure(value / spread.scale, &spread.unit))
    };
    let n = words::grouped(spread.histogram.n());
    vec![escape(&spread.variant), quantile(0.5), quantile(0.95), n]
}
