//! Win rates of several kinds of requests, one line each, on one scale.

use crate::evidence::Segment;
use crate::page::plot::Scale;
use crate::page::plot::line;
use crate::page::plot::svg;
use crate::page::plot::text;
use crate::page::plot::ticks;
use crate::page::plot::title;
use crate::report::words;

const LEFT: f64 = 250.0;
const RIGHT: f64 = 700.0;
const ROW: f64 = 26.0;
const TOP: f64 = 16.0;

/// The segments of one candidate.
pub fn forest(name: &str, segments: &[Segment]) -> String {
    if segments.is_empty() {
        return String::new();
    }
    let ends = segments.iter().flat_map(|segment| [segment.win_rate.lower, segment.win_rate.upper]);
    let far = ends.map(|end| (end - 0.5).abs()).fold(0.05, f64::max).min(0.5);
    let x = Scale::new((0.5 - far, 0.5 + far), (LEFT, RIGHT));
    let bottom = TOP + ROW * segments.len() as f64;
    let mut body = String::new();
    for tick in ticks(0.5 - far, 0.5 + far, 5.0) {
        body.push_str(&line("gridline", (x.at(tick), TOP - 6.0), (x.at(tick), bottom)));
        let words = format!("{} %", words::trimmed(tick * 100.0));
        body.push_str(&text("middle", (x.at(tick), bottom + 18.0), &words));
    }
    body.push_str(&line("even", (x.at(0.5), TOP - 6.0), (x.at(0.5), bottom)));
    for (at, segment) in segments.iter().enumerate() {
        body.push_str(&row(segment, &x, TOP + ROW * (at as f64 + 0.5)));
    }
    let height = (bottom + 26.0).ceil() as u32;
    svg("wide", (880, height), &format!("Win rate of {name} by segment"), &body)
}

fn row(segment: &Segment, x: &Scale, y: f64) -> String {
    let (class, word) = match (segment.better, segment.worse) {
        (true, _) => ("wins-key", "better"),
        (_, true) => ("losses-key", "worse"),
        _ => ("plain", ""),
    };
    let label = format!("{}: {}", words::plain(&segment.dimension), segment.value);
    let short: String = match label.chars().count() > 34 {
        true => label.chars().take(33).chain(['…']).collect(),
        false => label.clone(),
    };
    let ends = &segment.win_rate;
    let rate = match ends.estimate {
        Some(estimate) => format!("{} %", words::points(estimate)),
        None => "unknown".to_owned(),
    };
    let told = format!(
        "{label}: {rate} ({} to {} %) of {} pairs",
        words::points(ends.lower),
        words::points(ends.upper),
        words::grouped(segment.pairs)
    );
    let mut out = format!("<g class=\"{class}\">{}\n", title(&told));
    out.push_str(&text("end", (LEFT - 14.0, y + 4.5), &short));
    out.push_str(&line("whisker", (x.at(ends.lower), y), (x.at(ends.upper), y)));
    if let Some(estimate) = ends.estimate {
        let place = x.at(estimate);
        out.push_str(&format!("<circle class=\"dot\" cx=\"{place}\" cy=\"{y}\" r=\"5.5\"/>\n"));
    }
    let pairs = format!("{} pairs {word}", words::grouped(segment.pairs));
    out.push_str(&text("", (RIGHT + 14.0, y + 4.5), pairs.trim_end()));
    out.push_str("</g>\n");
    out
}
