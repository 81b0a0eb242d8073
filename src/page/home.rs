//! The page of all experiments.

use crate::page::html::card;
use crate::page::html::chip;
use crate::page::html::escape;
use crate::page::plot::interval::interval;
use crate::page::section::colour_of;
use crate::page::whole;
use crate::report::Report;
use crate::report::words;

/// Every experiment with its verdict and interval, and where else to look.
pub fn home(reports: &[Report]) -> String {
    let cards: String = reports.iter().map(one).collect();
    let cards = match cards.as_str() {
        "" => card(
            "No experiment yet",
            "",
            "<p>Put a definition into <code>experiments/</code>: \
             <code>understudy experiment ls</code> shows it once it is there.</p>\n",
        ),
        _ => cards,
    };
    let links = [
        ("/api/v1/experiments", "experiments as JSON"),
        ("/api/v1/log", "decision log"),
        ("/api/v1/exchanges", "stored exchanges"),
        ("/api/v1/config", "files in force"),
        ("/metrics", "metrics"),
        ("/openapi.json", "every path"),
    ];
    let links: Vec<String> =
        links.iter().map(|(path, name)| format!("<a href=\"{path}\">{name}</a>")).collect();
    let body = format!(
        "<p class=\"eyebrow\">understudy</p>\n<h1>Experiments</h1>\n{cards}<footer>{}</footer>\n",
        links.join(" · ")
    );
    whole("understudy", &body)
}

fn one(report: &Report) -> String {
    let verdict = report.verdict.to_string();
    let name = segment(&report.experiment);
    let edges = words::edges(report.goal.goal, report.goal.margin);
    let mut body = String::new();
    if !report.question.is_empty() {
        body.push_str(&format!("<p>{}</p>\n", escape(&report.question)));
    }
    body.push_str(&format!(
        "<p>{} <span class=\"plain\">{}</span></p>\n",
        chip(&verdict, &words::plain(&verdict)),
        escape(&report.summary)
    ));
    for (candidate, view) in &report.candidates {
        body.push_str(&format!(
            "<h3 class=\"{}\">{} <span class=\"plain\">{} of {} pairs</span></h3>\n{}",
            colour_of(report, candidate),
            escape(candidate),
            escape(&words::rate(&view.win_rate)),
            words::grouped(view.pairs),
            interval(colour_of(report, candidate), candidate, &view.win_rate, &edges)
        ));
    }
    body.push_str(&format!(
        "<p><a href=\"/api/v1/experiments/{name}/report.html\">Report</a> · <a \
         href=\"/api/v1/experiments/{name}\">JSON</a> · <a \
         href=\"/api/v1/experiments/{name}/plan\">plan</a> · <a \
         href=\"/api/v1/experiments/{name}/log\">log</a></p>\n"
    ));
    let heading = format!("{} ({})", report.experiment, report.state.as_str());
    card(&heading, "", &body)
}

/// A name as a part of a path.
fn segment(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
