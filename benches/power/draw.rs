//! Where scores come from: judges of different kinds, for any true mean.

use fastrand::Rng;

/// What a pair is scored by.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Verdicts in both orders: a share of pairs ties, and each verdict on another pair is turned
    /// round with probability `noise`.
    Verdict {
        /// Share of ties.
        ties: f64,
        /// Share of verdicts turned round.
        noise: f64,
    },
    /// Rubric scores to 1/100: a share of pairs gets equal ones, the differences of others spread
    /// normally with this deviation.
    Rubric {
        /// Share of equal scores.
        ties: f64,
        /// Standard deviation of a difference.
        noise: f64,
    },
    /// Who failed: 1 if control alone did, 0 if the candidate alone did.
    Failure {
        /// Share of pairs in which exactly one failed.
        discordant: f64,
    },
    /// Verdicts of which only a share is asked for, the others counting as ties.
    Sampled {
        /// Share of ties.
        ties: f64,
        /// Share of verdicts turned round.
        noise: f64,
        /// Share of pairs judged.
        share: f64,
    },
}

impl Kind {
    /// What it is called in a table.
    pub fn label(self) -> String {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        match self {
            Kind::Verdict { ties, noise } => {
                format!("win rate, ties {}, noise {}", percent(ties), percent(noise))
            }
            Kind::Rubric { ties, noise } => {
                format!("rubric, equal {}, spread {noise}", percent(ties))
            }
            Kind::Failure { discordant } => format!("paired errors, {discordant} discordant"),
            Kind::Sampled { ties, noise, share } => format!(
                "win rate, {} judged, ties {}, noise {}",
                percent(share),
                percent(ties),
                percent(noise)
            ),
        }
    }

    /// The difference from 1/2 that does not matter, on the scale of what is written down.
    pub fn margin(self) -> f64 {
        match self {
            Kind::Verdict { .. } | Kind::Rubric { .. } => 0.03,
            // One failure more in a hundred.
            Kind::Failure { .. } => 0.005,
            Kind::Sampled { share, .. } => 0.03 * share,
        }
    }

    /// One score, whose mean is `mean`.
    pub fn draw(self, mean: f64, random: &mut Rng) -> f64 {
        match self {
            Kind::Verdict { ties, noise } => verdicts(mean, ties, noise, random),
            Kind::Rubric { ties, noise } => {
                let shift = 2.0 * (mean - 0.5) / (1.0 - ties);
                let is_equal = random.f64() < ties;
                let difference = if is_equal { 0.0 } else { shift + noise * normal(random) };
                let hundredths = (100.0 * difference).round().clamp(-100.0, 100.0);
                (100.0 + hundredths) / 200.0
            }
            Kind::Failure { discordant } => verdicts(mean, 1.0 - discordant, 0.0, random),
            Kind::Sampled { ties, noise, share } => {
                let of_all = 0.5 + (mean - 0.5) / share;
                let score = verdicts(of_all, ties, noise, random);
                if random.f64() < share { score } else { 0.5 }
            }
        }
    }
}

/// The mean of both orders' verdicts on a pair.
fn verdicts(mean: f64, ties: f64, noise: f64, random: &mut Rng) -> f64 {
    let u = random.f64();
    if u < ties {
        return 0.5;
    }
    // What noise takes from the difference is put in before.
    let gap = (mean - 0.5) / (1.0 - 2.0 * noise);
    let wins = u < ties + (1.0 - ties) / 2.0 + gap;
    if noise == 0.0 {
        return f64::from(u8::from(wins));
    }
    let verdict = |random: &mut Rng| f64::from(u8::from(wins != (random.f64() < noise)));
    f64::midpoint(verdict(random), verdict(random))
}

/// A normal deviate, by Box and Muller's transform.
pub fn normal(random: &mut Rng) -> f64 {
    let (u, v) = (1.0 - random.f64(), random.f64());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A gamma deviate of this shape (Marsaglia and Tsang, ACM TOMS 26 (2000) 363-372).
fn gamma(shape: f64, random: &mut Rng) -> f64 {
    if shape < 1.0 {
        let part = (1.0 - random.f64()).powf(1.0 / shape);
        return part * gamma(shape + 1.0, random);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(random);
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - random.f64();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// The win rate of one unit: on average `mean`, with intraclass correlation `icc` between its
/// pairs (a beta distribution).
pub fn unit(mean: f64, icc: f64, random: &mut Rng) -> f64 {
    if icc == 0.0 {
        return mean;
    }
    let total = 1.0 / icc - 1.0;
    let (wins, losses) = (gamma(total * mean, random), gamma(total * (1.0 - mean), random));
    wins / (wins + losses)
}
