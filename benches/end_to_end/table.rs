//! What was measured, as aligned text for people and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::load::CHUNKS;
use crate::load::Round;

/// One contender under one workload.
pub struct Row {
    workload: &'static str,
    concurrency: usize,
    contender: &'static str,
    /// What the rounds showed.
    pub rounds: Vec<Round>,
    /// Requests over all rounds, the untimed one too.
    pub requests: u64,
    /// CPU time of the proxy for these requests.
    pub cpu: Option<Duration>,
}

/// Memory and start-up.
pub struct Memory {
    /// Requests of each kind.
    pub asked: u64,
    /// Resident after the first answer, bytes.
    pub fresh: u64,
    /// Resident after so many different requests, bytes.
    pub all_different: u64,
    /// And after as many hits on top, bytes.
    pub all_hits: u64,
    /// The bare pass-through after so many requests, bytes.
    pub bare: u64,
    /// Answers on disk at the end.
    pub stored: u64,
    /// Answers that were not stored because the disk did not follow.
    pub dropped: u64,
    /// From `exec` to the end of the first answer.
    pub first_answer: Duration,
    /// The same for the bare pass-through.
    pub bare_first_answer: Duration,
    /// The same with all these answers on disk.
    pub first_answer_full: Duration,
    /// Resident then, bytes.
    pub full: u64,
}

/// A row's figures: microseconds, but requests a second.
struct Figures {
    first_p50: f64,
    first_p99: f64,
    whole_p50: f64,
    whole_p99: f64,
    a_second: f64,
    cpu: Option<f64>,
}

impl Row {
    /// Before its first round.
    pub fn new(workload: &'static str, concurrency: usize, contender: &'static str) -> Self {
        Self { workload, concurrency, contender, rounds: Vec::new(), requests: 0, cpu: None }
    }

    fn figures(&self) -> Figures {
        let over = |figure: &dyn Fn(&Round) -> f64| median(self.rounds.iter().map(figure));
        Figures {
            first_p50: over(&|round| micros(&round.first_byte, 50)),
            first_p99: over(&|round| micros(&round.first_byte, 99)),
            whole_p50: over(&|round| micros(&round.whole, 50)),
            whole_p99: over(&|round| micros(&round.whole, 99)),
            a_second: over(&|round| round.whole.len() as f64 / round.took.as_secs_f64()),
            cpu: self.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / self.requests.max(1) as f64),
        }
    }
}

/// The tables for people.
pub fn text(threads: usize, rows: &[Row], memory: &Memory) -> String {
    let mut out = format!(
        "\nTimes in µs; + is what the proxy adds to no proxy; ×bare is the ratio to a bare axum + \
         reqwest pass-through,\nfor hits to a bare axum handler with the answer in memory.\nWorker threads of each proxy: {threads}. A stream has {CHUNKS} \
         chunks of text, one a millisecond.\n\n\
         workload  conc  contender    first p50     +p50      p99     +p99   whole p50  requests/s  \
         CPU/request  ×bare CPU  ×bare rate  ×off CPU  ×off p99\n"
    );
    for all in rows.chunks(4) {
        let [direct, bare, off, _] = all else { continue };
        let (direct, bare, off) = (direct.figures(), bare.figures(), off.figures());
        for row in all {
            let own = row.figures();
            let is_direct = row.contender == "direct";
            let added = |own: f64, direct: f64| match is_direct {
                true => "-".to_owned(),
                false => format!("{:.0}", own - direct),
            };
            let ratio = |own: Option<f64>, other: Option<f64>, is_wanted| match (own, other) {
                (Some(own), Some(other)) if is_wanted && other > 0.0 => {
                    format!("{:.2}", own / other)
                }
                _ => "-".to_owned(),
            };
            let is_guarded = row.contender == "guarded";
            let cpu = own.cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.1}"));
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{:<8} {:>5}  {:<11} {:>10.0} {:>8} {:>8.0} {:>8} {:>11.0} {:>11.0} {cpu:>12} {:>10} \
                 {:>11} {:>9} {:>9}",
                row.workload,
                row.concurrency,
                row.contender,
                own.first_p50,
                added(own.first_p50, direct.first_p50),
                own.first_p99,
                added(own.first_p99, direct.first_p99),
                own.whole_p50,
                own.a_second,
                ratio(own.cpu, bare.cpu, !is_direct),
                ratio(Some(own.a_second), Some(bare.a_second), !is_direct),
                ratio(own.cpu, off.cpu, is_guarded),
                ratio(Some(own.first_p99), Some(off.first_p99), is_guarded),
            );
        }
    }
    out.push_str(&memory_text(memory));
    out
}

fn memory_text(memory: &Memory) -> String {
    let asked = memory.asked;
    let size = |what: String, bytes: u64| {
        format!("  {what:<56} {:>8.1} MiB\n", bytes as f64 / f64::from(1 << 20))
    };
    let time = |what: String, time: Duration| {
        format!("  {what:<56} {:>8.1} ms\n", time.as_secs_f64() * 1e3)
    };
    [
        "\nResident memory\n".to_owned(),
        size("after the first answer".into(), memory.fresh),
        size(format!("after {asked} different requests"), memory.all_different),
        size(format!("after {asked} hits more"), memory.all_hits),
        size(format!("started again over these {} answers", memory.stored), memory.full),
        size(format!("bare pass-through after {asked} requests"), memory.bare),
        format!("  {:<56} {:>8}\n", "answers the disk could not take", memory.dropped),
        "\nFrom exec to the end of the first answer\n".to_owned(),
        time("with an empty data directory".into(), memory.first_answer),
        time(format!("with {} answers stored", memory.stored), memory.first_answer_full),
        time("bare pass-through".into(), memory.bare_first_answer),
    ]
    .concat()
}

/// The same figures for a script.
pub fn json(threads: usize, rows: &[Row], memory: &Memory) -> Value {
    let rows = rows.iter().map(|row| {
        let own = row.figures();
        json!({
            "workload": row.workload, "concurrency": row.concurrency, "contender": row.contender,
            "first_byte_p50_us": own.first_p50, "first_byte_p99_us": own.first_p99,
            "whole_p50_us": own.whole_p50, "whole_p99_us": own.whole_p99,
            "requests_per_s": own.a_second, "cpu_us_per_request": own.cpu,
            "requests": row.requests,
        })
    });
    json!({
        "threads": threads,
        "rows": rows.collect::<Vec<_>>(),
        "memory_bytes": {
            "fresh": memory.fresh, "after_different": memory.all_different,
            "after_hits": memory.all_hits, "restarted": memory.full, "bare": memory.bare,
        },
        "requests_before_memory": memory.asked,
        "stored": memory.stored,
        "dropped": memory.dropped,
        "first_answer_ms": {
            "empty": memory.first_answer.as_secs_f64() * 1e3,
            "full": memory.first_answer_full.as_secs_f64() * 1e3,
            "bare": memory.bare_first_answer.as_secs_f64() * 1e3,
        },
    })
}

/// A percentile of sorted times, microseconds.
fn micros(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
