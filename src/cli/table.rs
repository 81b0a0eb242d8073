//! Reports as text for people, no wider than a terminal: the verdict first, then what it rests on.

mod bar;
mod hygiene;
mod judge;
mod plan;
mod rails;
mod wrap;

use std::io::IsTerminal;

use comfy_table::Table;
use comfy_table::presets;

use crate::cli::table::wrap::item;
use crate::cli::table::wrap::paragraph;
use crate::cli::table::wrap::plain_width;
use crate::evidence::Evidence;
use crate::report::CandidateView;
use crate::report::Report;
use crate::report::words;
use crate::stats::Verdict;

pub use plan::plan;

/// Whether text may be coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Not at all.
    Plain,
    /// As a terminal shows it.
    Colour,
}

impl Ink {
    /// Colour on a terminal whose owner has nothing against it.
    pub fn of_terminal() -> Self {
        match std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            true => Self::Colour,
            false => Self::Plain,
        }
    }

    fn paint(self, colour: u8, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[1;{colour}m{text}\x1b[0m"),
        }
    }

    fn verdict(self, verdict: Verdict, text: &str) -> String {
        let colour = match verdict {
            Verdict::Ship => 32,
            Verdict::DoNotShip | Verdict::Review => 31,
            Verdict::Equivalent => 36,
            Verdict::KeepRunning => 33,
        };
        let lines: Vec<String> = text.lines().map(|line| self.paint(colour, line)).collect();
        lines.join("\n")
    }
}

/// The verdict in one sentence, what to do next, then the numbers.
pub fn report(report: &Report, ink: Ink) -> String {
    let evidence = Evidence::of(report);
    let summary = paragraph(&report.summary);
    let mut out = format!("{}\n\n", ink.verdict(report.verdict, &summary));
    out.push_str(&next(report));
    out.push_str(&head(report));
    for (name, view) in &report.candidates {
        out.push_str(&candidate(report, &evidence, name, view));
    }
    out.push_str(&ahead(report));
    out.push_str(&funnel(report));
    out.push_str(&rails::rails(report, ink));
    out.push_str(&judge::judge(report, &evidence, ink));
    out.push_str(&hygiene::lines(report));
    out.trim_end().to_owned()
}

/// One line for each experiment, or more where it has several candidates.
pub fn list(reports: &[Report], ink: Ink) -> String {
    let width = |of: &dyn Fn(&Report) -> usize, least: usize| {
        reports.iter().map(of).max().unwrap_or(0).max(least)
    };
    let name = width(&|report| plain_width(&report.experiment), 10);
    let verdict = width(&|report| report.verdict.to_string().len(), 7);
    let mut out = format!(
        "{:<name$}  {:<7}  {:<verdict$}  {:>7}  win rate\n",
        "experiment", "state", "verdict", "pairs"
    );
    for report in reports {
        let state = report.state.as_str();
        let word = format!("{:<verdict$}", report.verdict.to_string());
        let word = ink.verdict(report.verdict, &word);
        let several = report.candidates.len() > 1;
        for (at, (candidate, view)) in report.candidates.iter().enumerate() {
            let rate = words::rate(&view.win_rate);
            let rate = if several { format!("{rate} {candidate}") } else { rate };
            let pairs = words::grouped(view.pairs);
            let line = match at {
                0 => {
                    format!("{:<name$}  {state:<7}  {word}  {pairs:>7}  {rate}", report.experiment)
                }
                _ => format!("{:<name$}  {:<7}  {:<verdict$}  {pairs:>7}  {rate}", "", "", ""),
            };
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out.trim_end().to_owned()
}

/// One line for each provider, and one for each that differs from the rest of its dialect.
pub fn providers(rows: &[[String; 5]], notes: &[[String; 2]]) -> String {
    let aligned = |header: &[&str], rows: &mut dyn Iterator<Item = &[String]>| {
        let mut table = Table::new();
        table.set_header(header.to_vec());
        table.load_style(presets::NOTHING);
        for row in rows {
            table.add_row(row);
        }
        // Without borders the last column is filled up with spaces.
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    };
    let header = ["provider", "key", "auth", "dialects", "base URL"];
    let above = aligned(&header, &mut rows.iter().map(<[String; 5]>::as_slice));
    let below = aligned(&["provider", "peculiar"], &mut notes.iter().map(<[String; 2]>::as_slice));
    format!("{above}\n\n{below}")
}

fn next(report: &Report) -> String {
    if report.next.say.is_empty() {
        return String::new();
    }
    let mut out = item("next", &report.next.say);
    if let Some(yaml) = &report.next.yaml {
        out.push('\n');
        yaml.lines().for_each(|line| out.push_str(&format!("    {line}\n")));
    }
    out.push('\n');
    out
}

fn head(report: &Report) -> String {
    let goal = &report.goal;
    let mut out = item("experiment", &report.experiment);
    if !report.question.is_empty() {
        out.push_str(&item("question", &report.question));
    }
    let mut state = format!("{}, epoch {}", report.state.as_str(), report.epoch);
    if !report.halted.is_empty() {
        state.push_str(&format!("; control answers for {}", report.halted.join(", ")));
    }
    out.push_str(&item("state", &state));
    out.push_str(&item("verdict", &format!("{} ({})", report.verdict, report.reason)));
    let goal = format!(
        "{}: {}; alpha {} %, {} to {} pairs",
        goal.goal,
        words::goal(goal.goal, goal.margin),
        words::trimmed(goal.alpha * 100.0),
        words::grouped(goal.min_pairs),
        words::grouped(goal.max_pairs)
    );
    out.push_str(&item("goal", &goal));
    out.push_str(&item("control", &report.control));
    out
}

fn candidate(report: &Report, evidence: &Evidence, name: &str, view: &CandidateView) -> String {
    let mut out = String::from("\n");
    out.push_str(&item(
        "candidate",
        &format!("{name}, {}: {} ({})", view.target, view.verdict, view.reason),
    ));
    let ties = match view.equal {
        0 => format!("{} tied", words::grouped(view.ties)),
        equal => {
            let (ties, equal) = (words::grouped(view.ties), words::grouped(equal));
            format!("{ties} tied ({equal} of them without a judge)")
        }
    };
    let rate = format!(
        "{} of {} pairs: {} won, {ties}, {} lost",
        words::rate(&view.win_rate),
        words::grouped(view.pairs),
        words::grouped(view.wins),
        words::grouped(view.losses)
    );
    out.push_str(&item("win rate", &rate));
    out.push_str(&bar::bar(report, view));
    if !view.unjudged.is_empty() {
        out.push_str(&item("not judged", &counts(&view.unjudged)));
    }
    if let Some(more) = evidence.candidates.get(name) {
        out.push_str(&judge::more(more));
    }
    out
}

fn ahead(report: &Report) -> String {
    let Some(ahead) = &report.outlook else { return String::new() };
    let mut all = Vec::new();
    match ahead.pairs {
        Some(pairs) => {
            let (n50, n80) = (words::grouped(pairs.n50), words::grouped(pairs.n80));
            all.push(format!("{n50} to {n80} more pairs"));
        }
        None => all.push("no end in sight within max_pairs".to_owned()),
    }
    if let Some(hours) = ahead.hours {
        all.push(format!("{} to {}", words::spell(hours.n50), words::spell(hours.n80)));
    }
    if let Some(usd) = ahead.usd {
        all.push(format!("${} to ${}", words::money(usd.n50), words::money(usd.n80)));
    }
    if let Some(pace) = ahead.pairs_per_hour {
        all.push(format!("at {} pairs an hour", words::grouped(pace.round() as u64)));
    }
    format!("\n{}", item("to come", &all.join(", ")))
}

fn funnel(report: &Report) -> String {
    let funnel = &report.funnel;
    let steps = [
        ("matched", funnel.matched),
        ("sampled", funnel.sampled),
        ("repeated", funnel.repeated),
        ("promised", funnel.promised),
        ("sent", funnel.sent),
        ("whole", funnel.whole),
        ("scored", funnel.scored),
        ("unjudged", funnel.unjudged),
    ];
    let steps = steps.map(|(name, count)| format!("{name}\u{a0}{}", words::grouped(count)));
    let mut out = format!("\n{}", item("funnel", &steps.join(" > ")));
    if !funnel.lost.is_empty() {
        out.push_str(&item("lost", &counts(&funnel.lost)));
    }
    if !funnel.pinned.is_empty() {
        out.push_str(&item("pinned", &counts(&funnel.pinned)));
    }
    out
}

fn counts(reasons: &std::collections::BTreeMap<String, u64>) -> String {
    let all: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| format!("{}\u{a0}{}", reason, words::grouped(*count)))
        .collect();
    all.join(", ")
}
