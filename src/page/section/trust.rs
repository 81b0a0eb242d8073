//! The parts that say whether the numbers can be believed, and who met what.

use crate::evidence::Check;
use crate::evidence::Evidence;
use crate::guard::Health;
use crate::guard::View;
use crate::page::html::card;
use crate::page::html::chip;
use crate::page::html::escape;
use crate::page::html::prose;
use crate::page::html::table;
use crate::page::plot::steps::steps;
use crate::report::Report;
use crate::report::words;

/// What must not get worse, and whether it has.
pub fn guardrails(report: &Report) -> String {
    let mut rows = Vec::new();
    for (name, rails) in &report.guardrails {
        rows.extend(rails.iter().map(|rail| rail_row(name, rail)));
    }
    if rows.is_empty() {
        return String::new();
    }
    let header = ["", "guardrail", "control", "candidate", "change", "at most", ""];
    card("Guardrails", "On the answers that users waited for.", &table(&header, &rows))
}

fn rail_row(name: &str, rail: &View) -> Vec<String> {
    let kind = match rail.health {
        Health::NotEnough => "unknown",
        Health::Holds => "holds",
        Health::Breached => "broken",
    };
    vec![
        escape(name),
        escape(&words::plain(&rail.metric)),
        escape(&words::seen(&rail.metric, rail.control, rail.control_n)),
        escape(&words::seen(&rail.metric, rail.candidate, rail.candidate_n)),
        escape(&words::change_interval(rail)),
        escape(&words::change(rail, rail.limit)),
        chip(kind, &words::health(rail.health).to_lowercase()),
    ]
}

/// Who judges, at what cost, and how it stood its audit.
pub fn judge(report: &Report, evidence: &Evidence) -> String {
    let Some(judge) = &report.judge else {
        let body = "<p>Comparators alone score: there is no judge.</p>\n";
        return card("The judge", "", body);
    };
    let calls: u64 = judge.by_candidate.values().map(|tally| tally.calls).sum();
    let cost = report
        .cost_usd
        .map_or("at an unknown price".to_owned(), |usd| format!("${} so far", words::money(usd)));
    let mut body = format!(
        "<p>{}, {} calls, {}.</p>\n",
        escape(&judge.target),
        words::grouped(calls),
        escape(&cost)
    );
    if !evidence.audit.is_empty() {
        let rows: Vec<Vec<String>> = evidence.audit.iter().map(audit_row).collect();
        body.push_str(&table(&["", "check", "found", "limit", "n", "why"], &rows));
    }
    if let Some(noise) = &report.noise {
        let says = format!(
            "Control against itself: {} of {} pairs, {} of them tied.",
            words::rate(&noise.win_rate),
            words::grouped(noise.pairs),
            words::grouped(noise.ties)
        );
        body.push_str(&format!("<p class=\"note\">{}</p>\n", escape(&says)));
    }
    let note = "The verdict says what the judge prefers. These checks say how far it can be \
                believed; one that fails makes the verdict `review`.";
    card("The judge and its audit", note, &body)
}

fn audit_row(check: &Check) -> Vec<String> {
    let number = |value: Option<f64>| value.map(words::fine);
    let found = match (number(check.value), number(check.lower), number(check.upper)) {
        (Some(value), Some(lower), Some(upper)) => format!("{value} ({lower} to {upper})"),
        (Some(value), _, _) => value,
        (None, _, _) => "–".to_owned(),
    };
    vec![
        chip(&check.state, &check.state),
        escape(&words::plain(&check.check)),
        escape(&found),
        escape(&number(check.limit).unwrap_or_else(|| "–".to_owned())),
        words::grouped(check.n),
        format!("<span class=\"text\">{}</span>", escape(&check.why)),
    ]
}

/// From requests to scores, and what was lost on the way.
pub fn funnel(report: &Report) -> String {
    let funnel = &report.funnel;
    let mut body = steps(&[
        ("requests that took part", funnel.matched),
        ("sampled for a pair", funnel.sampled),
        ("prompts seen before", funnel.repeated),
        ("pairs promised", funnel.promised),
        ("copies sent", funnel.sent),
        ("both answers whole", funnel.whole),
        ("scored", funnel.scored),
        ("without a verdict", funnel.unjudged),
    ]);
    for (name, reasons) in [("Lost", &funnel.lost), ("Pinned", &funnel.pinned)] {
        if !reasons.is_empty() {
            let all = reasons.iter();
            let all = all.map(|(why, count)| format!("{why} {}", words::grouped(*count)));
            let all = escape(&all.collect::<Vec<_>>().join(", "));
            body.push_str(&format!("<p class=\"note\">{name}: {all}</p>\n"));
        }
    }
    card("From requests to scores", "", &body)
}

/// Who met what, what people said, what copies cost, and warnings.
pub fn people(report: &Report) -> String {
    let mut body = String::new();
    if !report.warnings.is_empty() {
        let all: String =
            report.warnings.iter().map(|says| format!("<li>{}</li>\n", prose(says))).collect();
        body.push_str(&format!("<ul class=\"warnings\">\n{all}</ul>\n"));
    }
    let met: Vec<Vec<String>> = report
        .exposures
        .variants
        .iter()
        .map(|(name, met)| {
            let counts = [met.units, met.requests, met.cached, met.collapsed];
            std::iter::once(escape(name)).chain(counts.map(words::grouped)).collect()
        })
        .collect();
    if !met.is_empty() {
        body.push_str(&table(&["variant", "units", "requests", "cached", "collapsed"], &met));
    }
    let said: Vec<Vec<String>> = report
        .feedback
        .iter()
        .map(|(name, said)| {
            let score = said.score.map_or("–".to_owned(), |score| {
                format!("{score:.3} of {}", words::grouped(said.scored))
            });
            let against = said.thumbs_difference.map_or("–".to_owned(), |rate| {
                format!("{:+.1} to {:+.1} points", rate.lower * 100.0, rate.upper * 100.0)
            });
            let (up, down) = (words::grouped(said.thumbs_up), words::grouped(said.thumbs_down));
            vec![escape(name), up, down, escape(&against), escape(&score)]
        })
        .collect();
    if !said.is_empty() {
        let header = ["variant", "thumbs up", "thumbs down", "against control", "mean score"];
        body.push_str(&table(&header, &said));
    }
    if report.copies.total_usd > 0.0 {
        let (today, total) = (report.copies.today_usd, report.copies.total_usd);
        let says =
            format!("Copies: ${} today, ${} in all.", words::money(today), words::money(total));
        body.push_str(&format!("<p class=\"note\">{}</p>\n", escape(&says)));
    }
    card("Who met what", "", &body)
}
