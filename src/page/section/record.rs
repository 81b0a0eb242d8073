//! What happened, and what each decision rested on.

use std::collections::BTreeMap;

use crate::experiment::life::Event;
use crate::experiment::record::Record;
use crate::page::Dossier;
use crate::page::Line;
use crate::page::html::card;
use crate::page::html::chip;
use crate::page::html::escape;
use crate::page::html::moment;
use crate::page::html::table;
use crate::report::words;

/// The decision log of the experiment.
pub fn record(dossier: &Dossier) -> String {
    let lines: String = dossier.log.iter().map(line).collect();
    let body = match lines.as_str() {
        "" => String::new(),
        lines => format!("<ol class=\"log\">\n{lines}</ol>\n"),
    };
    let note = format!(
        "Each entry holds the hash of the one before, so none can be changed unseen: `understudy \
         experiment log {} --verify` goes along the chain and computes the verdict again.",
        dossier.report.experiment
    );
    card("Decision record", &note, &body)
}

fn line(line: &Line) -> String {
    let hash: String = line.hash.chars().take(12).collect();
    let mut out = format!(
        "<li><time>{}</time> <span class=\"hash\">#{} {}</span><br>{}",
        moment(line.at_ms),
        line.seq,
        escape(&hash),
        escape(&words::told(&line.event))
    );
    for check in &line.checks {
        let (kind, word) = match check.matches {
            Some(true) => ("pass", "matches"),
            Some(false) => ("fail", "does not match"),
            None => ("unknown", "cannot be told"),
        };
        out.push_str(&format!("<br>{} {}", chip(kind, word), escape(&check.say)));
    }
    if let Event::Recorded { record } = &line.event {
        out.push_str(&details(record));
    }
    out.push_str("</li>\n");
    out
}

fn details(record: &Record) -> String {
    let rows = |of: &BTreeMap<String, String>| -> Vec<Vec<String>> {
        let cell = |text: &String| format!("<span class=\"text\">{}</span>", escape(text));
        of.iter().map(|(name, says)| vec![escape(name), cell(says)]).collect()
    };
    let mut all = BTreeMap::new();
    if !record.config.is_empty() {
        all.insert("files in force".to_owned(), record.config.clone());
    }
    for (name, counts) in &record.counts {
        all.insert(format!("counts of {name}"), counts.digest.clone());
    }
    for (name, ruling) in &record.rulings {
        let ppm = |ppm: i64| words::points(ppm as f64 / 1e6);
        let says = format!(
            "{} after {} pairs, {} to {} %",
            ruling.verdict,
            words::grouped(ruling.pairs),
            ppm(ruling.lower_ppm),
            ppm(ruling.upper_ppm)
        );
        all.insert(format!("verdict on {name}"), says);
    }
    for (name, price) in &record.prices {
        all.insert(format!("price of {name}"), format!("{price} $ per million tokens"));
    }
    for (name, hash) in &record.templates {
        all.insert(format!("judge asked, {name}"), hash.clone());
    }
    format!(
        "<details><summary>what it rests on</summary>\n{}{}</details>",
        table(&["", ""], &rows(&all)),
        table(&["part of the definition", "says"], &rows(&record.parts))
    )
}
