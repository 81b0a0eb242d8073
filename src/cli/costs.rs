//! `understudy costs`: what calls cost, from the running sidecar or from its data.

use std::process::ExitCode;

use comfy_table::CellAlignment;
use comfy_table::Table;
use comfy_table::presets;

use crate::cli::put;
use crate::cli::say;
use crate::cli::say_json;
use crate::cli::stored::Place;
use crate::cli::stored::Source;
use crate::cost::view::Amounts;
use crate::cost::view::Costs;
use crate::cost::view::DIMENSIONS;
use crate::cost::view::USUAL;
use crate::error::Result;

/// Which costs, and how they are printed.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to sum by, with commas between: caller, experiment, variant, provider, model, purpose
    /// (live, shadow, judge), hour, day, month, or a label of callers such as team
    #[arg(long, value_name = "WORDS", default_value = USUAL)]
    by: String,
    /// From the hour of this time on: 2h or 7d ago, or a time such as 2026-11-23T10:00 (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Until the hour of this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the stored exchanges of this trace, by the id in their `traceparent`
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    place: Place,
}

/// Prints them.
///
/// # Errors
/// A flag is wrong, or neither a sidecar nor its data can be read.
pub async fn run(args: Args) -> Result<ExitCode> {
    let mut given = vec![("by".to_owned(), args.by)];
    let times = [("since", args.since), ("until", args.until), ("trace", args.trace)];
    let times = times.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.extend(times);
    let costs = Source::open(&args.place.config()?).await?.costs(&given).await?;
    match (args.place.json, args.csv) {
        (true, _) => say_json(&costs)?,
        (false, true) => drop(put(costs.csv().as_bytes())),
        (false, false) if costs.rows.is_empty() => say("no call is known of that time"),
        (false, false) => say(&table(&costs)),
    }
    Ok(ExitCode::SUCCESS)
}

fn table(costs: &Costs) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let names = ["calls", "failed", "cached", "tokens in", "out", "cost", "saved", "unknown"];
    let by = costs.by.iter().map(|word| match DIMENSIONS.contains(&word.as_str()) {
        true => word.clone(),
        false => format!("{word} (label)"),
    });
    table.set_header(by.chain(names.map(str::to_owned)));
    for row in &costs.rows {
        let of = |word| row.of.get(word).filter(|value| !value.is_empty());
        let key = costs.by.iter().map(|word| of(word).map_or("-".to_owned(), Clone::clone));
        table.add_row(key.chain(cells(&row.amounts)));
    }
    let total = std::iter::once("total".to_owned());
    let gap = std::iter::repeat_n(String::new(), costs.by.len().saturating_sub(1));
    table.add_row(total.chain(gap).chain(cells(&costs.total)));
    for column in table.column_iter_mut().skip(costs.by.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    // Without borders the last column is filled up with spaces.
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let mut text = lines.join("\n");
    let sums = &costs.total.sums;
    if sums.unknown > 0 {
        let noun = if sums.unknown == 1 { "call is" } else { "calls are" };
        text.push_str(&format!(
            "\n\nthe cost of {} {noun} not known and in no sum: price its model under `prices`",
            sums.unknown
        ));
    }
    if sums.estimated > 0 {
        text.push_str(&format!(
            "\n\nof {} calls the tokens were not told: their cost is an estimate",
            sums.estimated
        ));
    }
    text
}

fn cells(amounts: &Amounts) -> [String; 8] {
    let sums = &amounts.sums;
    [
        sums.calls.to_string(),
        sums.failed.to_string(),
        sums.from_cache.to_string(),
        sums.input_tokens.to_string(),
        sums.output_tokens.to_string(),
        format!("${:.6}", amounts.cost_usd),
        format!("${:.6}", amounts.saved_usd),
        sums.unknown.to_string(),
    ]
}
