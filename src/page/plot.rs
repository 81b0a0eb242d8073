//! Plots as SVG text: small pure functions over numbers.

pub mod forest;
pub mod interval;
pub mod outcomes;
pub mod sequence;
pub mod spread;
pub mod steps;

use crate::page::html::attribute;
use crate::page::html::escape;

/// A straight way from a range of numbers to a range of places.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    /// From one range to another; places beyond the ends are the ends.
    pub fn new(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from, to }
    }

    /// The place of a number, to a tenth.
    pub fn at(&self, value: f64) -> f64 {
        let width = self.from.1 - self.from.0;
        let share = if width > 0.0 { (value - self.from.0) / width } else { 0.5 };
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        let place = self.to.0 + share * (self.to.1 - self.to.0);
        (place * 10.0).round() / 10.0
    }
}

/// A drawing of this size, described for those who do not see it.
pub fn svg(class: &str, size: (u32, u32), label: &str, body: &str) -> String {
    let (width, height) = size;
    format!(
        "<div class=\"scroll\"><svg class=\"{}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{}\">\n{body}</svg></div>\n",
        attribute(class),
        attribute(label)
    )
}

/// A line between two places.
pub fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>\n",
        from.0, from.1, to.0, to.1
    )
}

/// Words at a place.
pub fn text(class: &str, at: (f64, f64), words: &str) -> String {
    format!("<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>\n", at.0, at.1, escape(words))
}

/// What is told when somebody points at it.
pub fn title(words: &str) -> String {
    format!("<title>{}</title>", escape(words))
}

/// Round numbers that divide a range into about so many parts.
pub fn ticks(from: f64, to: f64, parts: f64) -> Vec<f64> {
    let width = to - from;
    if !(width > 0.0 && width.is_finite()) {
        return vec![from];
    }
    let rough = width / parts;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.into_iter().map(|step| step * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|at| at as f64 * step).collect()
}

/// The class of the n-th candidate's colour.
pub fn colour(candidate: usize) -> &'static str {
    ["c0", "c1", "c2", "c3"].get(candidate % 4).copied().unwrap_or("c0")
}

#[cfg(test)]
mod tests {
    use super::Scale;
    use super::ticks;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0, 5.0).len(), 6);
        assert_eq!(ticks(0.0, 1234.0, 5.0), [0.0, 250.0, 500.0, 750.0, 1000.0]);
        let small = ticks(0.44, 0.56, 4.0);
        assert!(small.iter().all(|tick| (0.44..=0.56).contains(tick)) && small.len() >= 3);
        assert_eq!(ticks(3.0, 3.0, 5.0), [3.0]);
    }

    #[test]
    fn a_place_is_never_outside_or_not_a_number() {
        let scale = Scale::new((0.0, 10.0), (100.0, 200.0));
        let places = [-5.0, 0.0, 5.0, 15.0, f64::NAN, f64::INFINITY].map(|value| scale.at(value));
        assert_eq!(places, [100.0, 100.0, 150.0, 200.0, 100.0, 100.0]);
        assert_eq!(Scale::new((1.0, 1.0), (0.0, 10.0)).at(1.0), 5.0);
    }
}
