//! The HTML report of an experiment: one file that opens without a network, and the list of all.

mod home;
mod html;
mod plot;
mod section;

use crate::evidence::Evidence;
use crate::experiment::life::Event;
use crate::page::html::attribute;
use crate::page::html::escape;
use crate::record::Check;
use crate::report::Report;
use crate::series::Point;
use crate::stats::Histogram;

use std::collections::BTreeMap;

pub use home::home;

/// The whole look; no font, script or picture comes from elsewhere.
const STYLE: &str = include_str!("page/style.css");

/// What a page may load: nothing. Servers send it as a header, and the file says it of itself.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                          base-uri 'none'; form-action 'none'";

/// All that the report of one experiment shows.
#[derive(Clone, Debug)]
pub struct Dossier {
    /// The verdict and its numbers.
    pub report: Report,
    /// How the intervals narrowed, by candidate.
    pub series: BTreeMap<String, Vec<Point>>,
    /// How times, prices and lengths were distributed.
    pub spreads: Vec<Spread>,
    /// What happened to it.
    pub log: Vec<Line>,
    /// When this was gathered, Unix milliseconds.
    pub made_ms: i64,
}

/// How one measure of one variant is distributed.
#[derive(Clone, Debug)]
pub struct Spread {
    /// What is measured.
    pub what: String,
    /// In which unit people read it.
    pub unit: String,
    /// So many units of the histogram make one of them.
    pub scale: f64,
    /// Whose it is.
    pub variant: String,
    /// Which answers it is of.
    pub from: String,
    /// Counts by size.
    pub histogram: Histogram,
}

/// An entry of the decision log.
#[derive(Clone, Debug)]
pub struct Line {
    /// Counts over all experiments.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// What happened.
    pub event: Event,
    /// A hash of the definition then.
    pub definition: String,
    /// The hash that the next entry names.
    pub hash: String,
    /// What was computed again of it.
    pub checks: Vec<Check>,
}

impl Spread {
    /// Of one variant.
    pub fn new(
        what: &str,
        unit: &str,
        scale: f64,
        variant: &str,
        from: &str,
        histogram: Histogram,
    ) -> Self {
        Self {
            what: what.to_owned(),
            unit: unit.to_owned(),
            scale,
            variant: variant.to_owned(),
            from: from.to_owned(),
            histogram,
        }
    }
}

/// The report as a page.
pub fn page(dossier: &Dossier) -> String {
    let report = &dossier.report;
    let evidence = Evidence::of(report);
    let sections = [
        section::verdict::header(dossier),
        section::verdict::next(report),
        section::verdict::candidates(report, &evidence),
        section::plots::over_time(dossier),
        section::plots::segments(&evidence, report),
        section::trust::guardrails(report),
        section::trust::judge(report, &evidence),
        section::plots::spreads(dossier),
        section::trust::funnel(report),
        section::trust::people(report),
        section::record::record(dossier),
    ];
    let title = format!("{}: {}", report.experiment, report.verdict);
    whole(&title, &sections.concat())
}

/// A page with this title.
fn whole(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta \
         name=\"color-scheme\" content=\"light dark\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"{}\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         {body}</main>\n</body>\n</html>\n",
        attribute(POLICY),
        escape(title)
    )
}
