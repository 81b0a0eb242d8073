//! The interval after every pair: how the evidence narrowed.

use crate::page::html::moment;
use crate::page::plot::Scale;
use crate::page::plot::line;
use crate::page::plot::svg;
use crate::page::plot::text;
use crate::page::plot::ticks;
use crate::page::plot::title;
use crate::report::words;
use crate::series::Point;

const SIZE: (u32, u32) = (880, 300);
const LEFT: f64 = 52.0;
const RIGHT: f64 = 790.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 258.0;

/// The sequence of one candidate, with even and the margin marked.
pub fn sequence(colour: &str, name: &str, points: &[Point], edges: &[f64]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let (low, high) = heights(points, edges);
    let x = Scale::new((first.pairs.min(1) as f64, last.pairs as f64), (LEFT, RIGHT));
    let y = Scale::new((low, high), (BOTTOM, TOP));
    let mut body = axes(&x, &y, (low, high), last.pairs);
    body.push_str(&format!("<g class=\"{colour}\">\n"));
    body.push_str(&band(points, &x, &y));
    body.push_str("</g>\n");
    body.push_str(&marks(&y, edges));
    body.push_str(&format!("<g class=\"{colour}\">\n{}</g>\n", hits(points, &x, &y)));
    let label = format!(
        "The interval of {name} after every pair: after {} pairs {} to {} %",
        last.pairs,
        words::points(last.lower),
        words::points(last.upper)
    );
    svg("wide", SIZE, &label, &body)
}

/// What is shown from bottom to top: the later intervals, even and the margin, with room.
fn heights(points: &[Point], edges: &[f64]) -> (f64, f64) {
    // The first intervals span everything, and would leave no room for those that matter.
    let late = points.iter().skip(points.len() / 6);
    let of = |point: &Point| [point.lower, point.upper];
    let mut values: Vec<f64> = late.flat_map(of).collect();
    values.extend(edges);
    values.push(0.5);
    let low = values.iter().copied().fold(0.5, f64::min);
    let high = values.iter().copied().fold(0.5, f64::max);
    let room = (high - low).max(0.05) * 0.06;
    ((low - room).max(0.0), (high + room).min(1.0))
}

fn axes(x: &Scale, y: &Scale, (low, high): (f64, f64), pairs: u64) -> String {
    let mut out = String::new();
    for tick in ticks(low, high, 5.0) {
        out.push_str(&line("gridline", (LEFT, y.at(tick)), (RIGHT, y.at(tick))));
        let words = format!("{} %", words::trimmed(tick * 100.0));
        out.push_str(&text("end", (LEFT - 8.0, y.at(tick) + 4.5), &words));
    }
    out.push_str(&line("axis", (LEFT, BOTTOM), (RIGHT, BOTTOM)));
    for tick in ticks(0.0, pairs as f64, 6.0).into_iter().filter(|tick| *tick > 0.0) {
        let place = x.at(tick);
        out.push_str(&line("axis", (place, BOTTOM), (place, BOTTOM + 4.0)));
        let number = words::grouped(tick.round() as u64);
        out.push_str(&text("middle", (place, BOTTOM + 19.0), &number));
    }
    out.push_str(&text("end", (RIGHT, BOTTOM + 37.0), "pairs judged"));
    out
}

fn band(points: &[Point], x: &Scale, y: &Scale) -> String {
    let place = |pairs: u64, value: f64| format!("{},{}", x.at(pairs as f64), y.at(value));
    let path = |of: fn(&Point) -> f64| -> Vec<String> {
        points.iter().map(|point| place(point.pairs, of(point))).collect()
    };
    let (upper, lower) = (path(|point| point.upper), path(|point| point.lower));
    let back: Vec<String> = lower.iter().rev().cloned().collect();
    let estimate = path(|point| point.estimate).join(" ");
    format!(
        "<polygon class=\"band\" points=\"{} {}\"/>\n<polyline class=\"edge\" points=\"{}\"/>\n\
         <polyline class=\"edge\" points=\"{}\"/>\n<polyline class=\"line\" \
         points=\"{estimate}\"/>\n",
        upper.join(" "),
        back.join(" "),
        upper.join(" "),
        lower.join(" ")
    )
}

fn marks(y: &Scale, edges: &[f64]) -> String {
    let mut out = line("even", (LEFT, y.at(0.5)), (RIGHT, y.at(0.5)));
    out.push_str(&text("", (RIGHT + 6.0, y.at(0.5) + 4.5), "50 % even"));
    for edge in edges {
        out.push_str(&line("margin", (LEFT, y.at(*edge)), (RIGHT, y.at(*edge))));
        // Two labels on top of each other cannot be read.
        let apart = if *edge < 0.5 { 14.0 } else { -14.0 };
        let least = y.at(0.5) + apart;
        let place = if *edge < 0.5 { y.at(*edge).max(least) } else { y.at(*edge).min(least) };
        let words = format!("{} % margin", words::trimmed(edge * 100.0));
        out.push_str(&text("margin", (RIGHT + 6.0, place + 4.5), &words));
    }
    out
}

fn hits(points: &[Point], x: &Scale, y: &Scale) -> String {
    let hit = |point: &Point| {
        let told = format!(
            "after {} pairs: {} % ({} to {} %), {}",
            words::grouped(point.pairs),
            words::points(point.estimate),
            words::points(point.lower),
            words::points(point.upper),
            moment(point.at_ms)
        );
        let (x, y) = (x.at(point.pairs as f64), y.at(point.estimate));
        format!("<circle class=\"hit\" cx=\"{x}\" cy=\"{y}\" r=\"7\">{}</circle>\n", title(&told))
    };
    points.iter().map(hit).collect()
}
