//! One interval drawn to scale, with even and the margin marked.

use crate::page::plot::Scale;
use crate::page::plot::line;
use crate::page::plot::svg;
use crate::page::plot::text;
use crate::page::plot::ticks;
use crate::page::plot::title;
use crate::report::Rate;
use crate::report::words;

const SIZE: (u32, u32) = (880, 78);
const LEFT: f64 = 20.0;
const RIGHT: f64 = 860.0;
const MIDDLE: f64 = 34.0;

/// The interval of a win rate.
pub fn interval(colour: &str, name: &str, rate: &Rate, edges: &[f64]) -> String {
    let (low, high) = span(rate, edges);
    let x = Scale::new((low, high), (LEFT, RIGHT));
    let mut body = line("axis", (LEFT, 54.0), (RIGHT, 54.0));
    for tick in ticks(low, high, 8.0) {
        let place = x.at(tick);
        body.push_str(&line("axis", (place, 54.0), (place, 58.0)));
        let words = format!("{} %", words::trimmed(tick * 100.0));
        body.push_str(&text("middle", (place, 73.0), &words));
    }
    body.push_str(&line("even", (x.at(0.5), 14.0), (x.at(0.5), 54.0)));
    body.push_str(&text("middle", (x.at(0.5), 10.0), "even"));
    for edge in edges {
        let place = x.at(*edge);
        body.push_str(&line("margin", (place, 14.0), (place, 54.0)));
        if (place - x.at(0.5)).abs() > 50.0 {
            body.push_str(&text("middle margin", (place, 10.0), "margin"));
        }
    }
    let told = format!("{name}: {}", words::rate(rate));
    let (lower, upper) = (x.at(rate.lower), x.at(rate.upper));
    body.push_str(&format!("<g class=\"{colour}\">{}\n", title(&told)));
    body.push_str(&line("whisker", (lower, MIDDLE), (upper, MIDDLE)));
    if let Some(estimate) = rate.estimate {
        let place = x.at(estimate);
        body.push_str(&format!("<circle class=\"dot\" cx=\"{place}\" cy=\"{MIDDLE}\" r=\"7\"/>\n"));
    }
    body.push_str("</g>\n");
    svg("wide", SIZE, &format!("Win rate of {told}"), &body)
}

/// What is shown from left to right: even in the middle, everything that is marked, with room.
pub fn span(rate: &Rate, edges: &[f64]) -> (f64, f64) {
    let far = |at: f64| (at - 0.5).abs();
    let farthest = edges.iter().map(|edge| far(*edge)).fold(far(rate.lower), f64::max);
    let half = (farthest.max(far(rate.upper)) * 1.15).clamp(0.05, 0.5);
    (0.5 - half, 0.5 + half)
}
