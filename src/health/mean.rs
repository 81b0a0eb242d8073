//! A mean in which the newest weighs most.

/// The weight of the newest: the last ten make up two thirds of the mean.
const NEWEST: f64 = 0.1;

/// An exponentially weighted moving average: m' = m + (x - m) / 10.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean(Option<f64>);

impl Mean {
    /// Takes the next value.
    pub fn push(&mut self, value: f64) {
        self.0 = Some(self.0.map_or(value, |mean| mean + (value - mean) * NEWEST));
    }

    /// The mean, once there is a value.
    pub fn get(self) -> Option<f64> {
        self.0
    }
}
