//! From matched requests to scores: one bar for each step, all on one scale.

use crate::page::plot::Scale;
use crate::page::plot::svg;
use crate::page::plot::text;
use crate::page::plot::title;
use crate::report::words;

const LEFT: f64 = 210.0;
const RIGHT: f64 = 760.0;
const ROW: f64 = 26.0;

/// The steps with their counts.
pub fn steps(steps: &[(&str, u64)]) -> String {
    let most = steps.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let x = Scale::new((0.0, most as f64), (0.0, RIGHT - LEFT));
    let mut body = String::new();
    for (at, (name, count)) in steps.iter().enumerate() {
        let top = ROW * at as f64 + 4.0;
        let (width, counted) = (x.at(*count as f64), words::grouped(*count));
        body.push_str(&text("end", (LEFT - 12.0, top + 13.5), name));
        body.push_str(&format!(
            "<g class=\"c0\"><rect class=\"bar\" x=\"{LEFT}\" y=\"{top}\" width=\"{width}\" \
             height=\"18\">{}</rect></g>\n",
            title(&format!("{name}: {counted}"))
        ));
        body.push_str(&text("strong", (LEFT + width + 8.0, top + 13.5), &counted));
    }
    let height = (ROW * steps.len() as f64 + 6.0).ceil() as u32;
    svg("wide", (880, height), "From requests to scores", &body)
}
