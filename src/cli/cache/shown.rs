//! Stored exchanges as people read them.

use comfy_table::CellAlignment;
use comfy_table::Table;
use comfy_table::presets;

use crate::library::Stats;
use crate::library::view::Detail;
use crate::library::view::Row;
use crate::library::view::moment;

/// The first words that a list shows of a question, characters.
const WORDS: usize = 40;

/// One line for each exchange.
pub fn list(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "time (UTC)",
        "id",
        "model",
        "target",
        "variant",
        "status",
        "stream",
        "tokens",
        "cost",
        "took",
        "question",
    ]);
    for row in rows {
        table.add_row([
            moment(row.answered_ms),
            row.short_id.clone(),
            row.model.clone(),
            row.target.clone(),
            row.assigned.clone().unwrap_or_else(|| "-".to_owned()),
            status(row),
            if row.stream { "yes" } else { "no" }.to_owned(),
            tokens(row.input_tokens, row.output_tokens),
            cost(row.cost_nano_usd),
            duration(row.took_us),
            row.question.chars().take(WORDS).collect(),
        ]);
    }
    for column in table.column_iter_mut().skip(7).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    // Without borders the last column is filled up with spaces.
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Everything about each.
pub fn details(found: &[Detail]) -> String {
    let mut text: Vec<String> = found.iter().take(1).map(detail).collect();
    let others: Vec<String> = found
        .iter()
        .skip(1)
        .map(|other| format!("  {}  {}", other.facts.id, moment(other.facts.answered_ms)))
        .collect();
    if !others.is_empty() {
        text.push(format!("\nolder ones of the same:\n{}", others.join("\n")));
    }
    text.join("\n")
}

fn detail(detail: &Detail) -> String {
    let (facts, timing, keyed) = (&detail.facts, &detail.timing, &detail.keyed);
    let asked = &facts.asked;
    let form = if asked.stream { "a stream" } else { "a whole answer" };
    let usage = facts.usage.unwrap_or_default();
    let mut rows = vec![
        ("id", facts.id.to_string()),
        ("request id", facts.request_id.clone()),
        ("answered", format!("{} UTC", moment(facts.answered_ms))),
        ("asked", format!("{} ({}), {form}", asked.model, asked.dialect)),
        ("answered by", format!("{} ({})", facts.target, facts.dialect)),
        ("variant", facts.assigned.clone().unwrap_or_default()),
        ("status", format!("{} {}", facts.status, facts.ended)),
        ("tokens", tokens(usage.input_tokens, usage.output_tokens)),
        ("cost", cost(facts.cost_nano_usd)),
        (
            "timing",
            format!(
                "first byte {:.1} ms, end {:.1} ms, {} frames, {} bytes, longest gap {:.1} ms",
                timing.first_ms, timing.took_ms, timing.frames, timing.bytes, timing.longest_gap_ms
            ),
        ),
        ("key", facts.key.to_string()),
    ];
    rows.extend(keyed.counts.iter().map(|counts| ("  counts", counts.clone())));
    if !keyed.does_not_count.is_empty() {
        rows.push(("  does not", keyed.does_not_count.join(", ")));
    }
    rows.push(("cache", keyed.served.clone()));
    let redacted = facts.redacted.join(", ");
    if !redacted.is_empty() {
        rows.push(("stored", format!("without {redacted}: served in replay mode alone")));
    }
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    let mut lines: Vec<String> = rows.map(|(name, value)| format!("{name:<13}{value}")).collect();
    let request: Option<serde_json::Value> = serde_json::from_str(detail.request.get()).ok();
    let request = request.and_then(|request| serde_json::to_string_pretty(&request).ok());
    lines.push(format!("\nrequest\n{}", request.unwrap_or_default()));
    lines.push(format!("\nanswer\n{}", crate::cli::replay::told(&detail.answer, false)));
    lines.join("\n")
}

/// Numbers for people.
pub fn stats(stats: &Stats) -> String {
    let size = &stats.size;
    let mut lines = vec![
        format!("exchanges   {} ({} may be served now)", size.exchanges, stats.fresh),
        format!(
            "size        {} packed, {} on disk, at most {}",
            bytes(size.packed_bytes),
            bytes(size.disk_bytes),
            bytes(stats.max_bytes)
        ),
    ];
    if stats.is_opening {
        lines.push(
            "opening     older exchanges are still being opened: ask again for all".to_owned(),
        );
    }
    if let (Some(oldest), Some(newest)) = (stats.oldest_ms, stats.newest_ms) {
        lines.push(format!("answered    {} to {} UTC", moment(oldest), moment(newest)));
    }
    let counted = |name: &str, count: &u64| format!("            {count:>8}  {name}");
    if !stats.by_target.is_empty() {
        lines.push("by target".to_owned());
        lines.extend(stats.by_target.iter().map(|(name, count)| counted(name, count)));
        lines.push("by status".to_owned());
        let by_status = stats.by_status.iter();
        lines.extend(by_status.map(|(status, count)| counted(&status.to_string(), count)));
    }
    if let Some(since) = &stats.since_start {
        let words: Vec<String> = since.iter().map(|(word, n)| format!("{word} {n}")).collect();
        lines.push(format!("since start {}", words.join(", ")));
    }
    lines.join("\n")
}

fn status(row: &Row) -> String {
    let redacted = if row.redacted.is_empty() { "" } else { " redacted" };
    match row.ended.as_str() {
        "" | "whole" => format!("{}{redacted}", row.status),
        ended => format!("{} {ended}{redacted}", row.status),
    }
}

/// Tokens in and out.
pub fn tokens(input: Option<u64>, output: Option<u64>) -> String {
    let number = |tokens: Option<u64>| tokens.map_or("?".to_owned(), |tokens| tokens.to_string());
    match (input, output) {
        (None, None) => "-".to_owned(),
        _ => format!("{} > {}", number(input), number(output)),
    }
}

/// Dollars.
pub fn cost(nano_usd: Option<u64>) -> String {
    nano_usd.map_or("-".to_owned(), |nano| format!("${:.6}", nano as f64 / 1e9))
}

/// In the unit that fits.
pub fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut size = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while size >= 1024.0
        && let Some(larger) = units.next()
    {
        (size, unit) = (size / 1024.0, *larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}
