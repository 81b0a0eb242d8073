//! How a measure is distributed by variant: outlines over a scale of powers.

use crate::page::Spread;
use crate::page::plot::Scale;
use crate::page::plot::line;
use crate::page::plot::svg;
use crate::page::plot::text;
use crate::page::plot::title;
use crate::report::words;
use crate::stats::histogram;

const SIZE: (u32, u32) = (420, 170);
const LEFT: f64 = 12.0;
const RIGHT: f64 = 408.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 138.0;

/// Steps that the range is divided into.
const STEPS: usize = 36;

/// The same measure of several variants, each with the class of its colour.
pub fn spread(what: &str, all: &[(&Spread, &str)]) -> String {
    let Some((first, _)) = all.first() else { return String::new() };
    let ends = |p: f64| all.iter().filter_map(move |(spread, _)| spread.histogram.quantile(p));
    let low = ends(0.005).fold(f64::INFINITY, f64::min);
    let high = ends(0.995).fold(0.0, f64::max);
    if !(low.is_finite() && high > 0.0) {
        return String::new();
    }
    let (low, high) = ((low * 0.9).ln(), (high * 1.1).ln());
    let x = Scale::new((low, high), (LEFT, RIGHT));
    let shapes: Vec<Vec<f64>> = all.iter().map(|(spread, _)| shape(spread, low, high)).collect();
    let most = shapes.iter().flatten().copied().fold(0.0, f64::max);
    let y = Scale::new((0.0, most), (BOTTOM, TOP));
    let mut body = axis(&x, (low, high), first);
    for ((spread, class), shape) in all.iter().zip(&shapes) {
        body.push_str(&outline(spread, class, shape, &x, &y, (low, high)));
    }
    svg("", SIZE, &format!("{what} by variant"), &body)
}

/// The share of values in each step.
fn shape(spread: &Spread, low: f64, high: f64) -> Vec<f64> {
    let mut shape = vec![0.0; STEPS];
    let mut before = 0;
    let n = spread.histogram.n().max(1) as f64;
    for (bucket, up_to) in spread.histogram.cumulative() {
        let at = (histogram::value(bucket).ln() - low) / (high - low);
        let step = (at * STEPS as f64).floor().clamp(0.0, (STEPS - 1) as f64) as usize;
        if let Some(count) = shape.get_mut(step) {
            *count += (up_to - before) as f64 / n;
        }
        before = up_to;
    }
    shape
}

fn outline(
    spread: &Spread,
    class: &str,
    shape: &[f64],
    x: &Scale,
    y: &Scale,
    (low, high): (f64, f64),
) -> String {
    let place = |step: usize| x.at(low + (high - low) * step as f64 / STEPS as f64);
    let mut points = vec![format!("{LEFT},{BOTTOM}")];
    for (step, share) in shape.iter().enumerate() {
        points.push(format!("{},{}", place(step), y.at(*share)));
        points.push(format!("{},{}", place(step + 1), y.at(*share)));
    }
    points.push(format!("{RIGHT},{BOTTOM}"));
    let quantile = |p: f64| {
        let value = spread.histogram.quantile(p).unwrap_or_default();
        figure(value / spread.scale, &spread.unit)
    };
    let told = format!(
        "{}: half up to {}, 95 % up to {}, of {} answers",
        spread.variant,
        quantile(0.5),
        quantile(0.95),
        words::grouped(spread.histogram.n())
    );
    let half = x.at(spread.histogram.quantile(0.5).unwrap_or(1.0).ln());
    format!(
        "<g class=\"{class}\">{}\n<polygon class=\"shape\" points=\"{}\"/>\n{}</g>\n",
        title(&told),
        points.join(" "),
        line("whisker", (half, BOTTOM), (half, BOTTOM + 6.0))
    )
}

fn axis(x: &Scale, (low, high): (f64, f64), spread: &Spread) -> String {
    let mut out = line("axis", (LEFT, BOTTOM), (RIGHT, BOTTOM));
    let mut last = f64::NEG_INFINITY;
    for power in -9..15 {
        for step in [1.0, 2.0, 5.0] {
            let value = step * 10_f64.powi(power);
            let at = (value * spread.scale).ln();
            let place = x.at(at);
            if at < low || at > high || place - last < 62.0 || place > RIGHT - 14.0 {
                continue;
            }
            last = place;
            out.push_str(&line("axis", (place, BOTTOM), (place, BOTTOM + 4.0)));
            let words = figure(value, &spread.unit);
            out.push_str(&text("middle", (place, BOTTOM + 20.0), &words));
        }
    }
    out
}

/// A number in its unit, with as many digits as count.
pub fn figure(value: f64, unit: &str) -> String {
    let digits = match value {
        large if large >= 100.0 => format!("{value:.0}"),
        one if one >= 1.0 => words::trimmed((value * 10.0).round() / 10.0),
        small if small >= 0.01 => words::trimmed(value),
        0.0 => "0".to_owned(),
        tiny => {
            let places = (2.0 - tiny.log10().floor()).clamp(2.0, 9.0) as usize - 1;
            format!("{tiny:.places$}").trim_end_matches('0').to_owned()
        }
    };
    match unit {
        "$" => format!("${digits}"),
        "characters" => digits,
        unit => format!("{digits} {unit}"),
    }
}
