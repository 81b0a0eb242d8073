//! Reports as tables for people: aligned, and coloured only on a terminal.

mod hygiene;
mod rails;

use std::io::IsTerminal;

use comfy_table::CellAlignment;
use comfy_table::Table;
use comfy_table::presets;

use crate::report::CandidateView;
use crate::report::Report;
use crate::stats::Verdict;

/// The verdict in one sentence, then the numbers.
pub fn report(report: &Report) -> String {
    let mut out = format!("{}\n\n", paint(report.verdict, &report.summary));
    out.push_str(&format!("experiment  {}\n", report.experiment));
    if !report.question.is_empty() {
        out.push_str(&format!("question    {}\n", report.question));
    }
    let state = report.state.as_str();
    out.push_str(&match report.halted.as_slice() {
        [] => format!("state       {state}, epoch {}\n", report.epoch),
        halted => {
            let halted = halted.join(", ");
            format!("state       {state}, epoch {}; halted: {halted}\n", report.epoch)
        }
    });
    out.push_str(&format!("verdict     {} ({})\n", report.verdict, report.reason));
    let goal = &report.goal;
    out.push_str(&format!(
        "goal        {} by {:.1} points, alpha {:.1} %, {} to {} pairs\n",
        goal.goal,
        goal.margin * 100.0,
        goal.alpha * 100.0,
        goal.min_pairs,
        goal.max_pairs
    ));
    out.push_str(&format!("control     {}\n\n{}\n", report.control, candidates(report)));
    for (name, view) in &report.candidates {
        out.push_str(&format!("\n{name:<12}{}", bar(view)));
    }
    out.push_str(
        "\n            0 %            25 %           50 %           75 %          100 %\n",
    );
    out.push_str(&format!("\n{}\n{}", funnel(report), judge(report)));
    out.push_str(&rails::rails(report));
    out.push_str(&hygiene::lines(report));
    out
}

/// One line for each experiment.
pub fn list(reports: &[Report]) -> String {
    let mut table = table(&["experiment", "state", "verdict", "pairs", "win rate", "question"]);
    for report in reports {
        let pairs: u64 = report.candidates.values().map(|view| view.pairs).sum();
        let rates: Vec<String> = report.candidates.values().map(rate).collect();
        table.add_row(vec![
            report.experiment.clone(),
            report.state.as_str().to_owned(),
            report.verdict.to_string(),
            pairs.to_string(),
            rates.join(", "),
            report.question.clone(),
        ]);
    }
    table.to_string()
}

/// One line for each provider, and one for each that differs from the rest of its dialect.
pub fn providers(rows: &[[String; 5]], notes: &[[String; 2]]) -> String {
    let aligned = |header: &[&str], rows: &mut dyn Iterator<Item = &[String]>| {
        let mut table = table(header);
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

/// In the verdict's colour, on a terminal whose owner has nothing against colour.
fn paint(verdict: Verdict, text: &str) -> String {
    if !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    let colour = match verdict {
        Verdict::Ship => 32,
        Verdict::DoNotShip | Verdict::Review => 31,
        Verdict::Equivalent => 36,
        Verdict::KeepRunning => 33,
    };
    format!("\x1b[1;{colour}m{text}\x1b[0m")
}

fn candidates(report: &Report) -> String {
    let mut table = table(&[
        "candidate",
        "target",
        "verdict",
        "pairs",
        "win rate",
        "interval",
        "wins",
        "ties",
        "losses",
    ]);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (name, view) in &report.candidates {
        table.add_row(vec![
            name.clone(),
            view.target.clone(),
            view.verdict.to_string(),
            view.pairs.to_string(),
            rate(view),
            format!("{:.1} to {:.1} %", view.win_rate.lower * 100.0, view.win_rate.upper * 100.0),
            view.wins.to_string(),
            view.ties.to_string(),
            view.losses.to_string(),
        ]);
    }
    table.to_string()
}

/// The interval as a bar over 0 to 100 %, `o` at the estimate, `|` at even.
fn bar(view: &CandidateView) -> String {
    const WIDTH: usize = 61;
    let at = |x: f64| ((x.clamp(0.0, 1.0) * (WIDTH - 1) as f64).round() as usize).min(WIDTH - 1);
    let (lower, upper) = (at(view.win_rate.lower), at(view.win_rate.upper));
    let estimate = view.win_rate.estimate.map(at);
    let cell = |i: usize| match i {
        i if Some(i) == estimate => 'o',
        i if i == WIDTH / 2 => '|',
        i if (lower..=upper).contains(&i) => '=',
        _ => '.',
    };
    (0..WIDTH).map(cell).collect()
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
    let steps = steps.map(|(name, count)| format!("{name} {count}"));
    let mut line = format!("funnel      {}", steps.join(" > "));
    if !funnel.lost.is_empty() {
        let lost: Vec<String> =
            funnel.lost.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        line.push_str(&format!("\nlost        {}", lost.join(", ")));
    }
    if !funnel.pinned.is_empty() {
        let pinned: Vec<String> =
            funnel.pinned.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        line.push_str(&format!("\npinned      {}", pinned.join(", ")));
    }
    line
}

fn judge(report: &Report) -> String {
    let Some(judge) = &report.judge else { return "judge       none\n".to_owned() };
    let cost = report.cost_usd.map_or("cost unknown".to_owned(), |usd| format!("${usd:.4}"));
    let mut line = format!("judge       {}, {cost}\n", judge.target);
    for (name, tally) in &judge.by_candidate {
        let first = tally.first_shown.map_or("-".to_owned(), |p| format!("{:.1} %", p * 100.0));
        line.push_str(&format!(
            "            {name}: {} calls, {} of {} pairs contradicted when swapped, first shown \
             preferred {first}\n",
            tally.calls, tally.contradictions, tally.both_orders
        ));
    }
    for (name, view) in report.candidates.iter().filter(|(_, view)| !view.unjudged.is_empty()) {
        let reasons: Vec<String> =
            view.unjudged.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        line.push_str(&format!("            {name}: not judged: {}\n", reasons.join(", ")));
    }
    line
}

fn rate(view: &CandidateView) -> String {
    view.win_rate.estimate.map_or("-".to_owned(), |rate| format!("{:.2} %", rate * 100.0))
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header.to_vec());
    table
}
