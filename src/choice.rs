//! In which order a route's targets are asked: pure functions of prices, speed and win rates.

use crate::experiment::Experiment;
use crate::experiment::State;
use crate::experiment::Target;
use crate::key::PromptDigest;

/// A target comes before one that the file names earlier only if it is better by this factor, so
/// that two that are alike do not take turns.
const MARGIN: f64 = 1.1;

/// Share of prompts that are first sent to another target than the fastest, so that one that was
/// slow once is found out to be fast again.
const EXPLORED: f64 = 0.02;

/// The quality of a target that no experiment has measured.
const UNMEASURED: f64 = 0.5;

/// Prompt tokens for each token of an answer where one price is made of two.
const PROMPT_PER_ANSWER: f64 = 3.0;

/// How a route chooses among its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Policy {
    /// As the file names them, unless weights draw the first.
    #[default]
    Order,
    /// The fastest first.
    Latency,
    /// The cheapest first.
    Cost,
    /// By what matters how much.
    Score(Weights),
}

/// How much each thing matters beside the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// A low price.
    pub cost: f64,
    /// A short time.
    pub latency: f64,
    /// Wins in finished experiments.
    pub quality: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { cost: 1.0, latency: 1.0, quality: 1.0 }
    }
}

/// What is known of how a target has answered of late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Until an answer's end, microseconds; `None` before the first.
    pub took_us: Option<f64>,
    /// Share of its calls that were answered; 1 when nothing is known.
    pub success: f64,
}

/// What is known of how targets have answered of late; of a route's few targets, in no order.
pub type Paces<'a> = Vec<(&'a Target, Pace)>;

/// What speaks for and against a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merit {
    /// Dollars per million tokens, three of four being the prompt's; `None` if it has no known
    /// price.
    pub usd_per_million: Option<f64>,
    /// How long an answer takes, microseconds, calls that fail being made again; `None`: nobody
    /// has seen one.
    pub latency_us: Option<f64>,
    /// Share of comparisons won in finished experiments.
    pub quality: f64,
}

/// An order, and what it follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The targets in the order of asking, by their places in the file.
    pub places: Vec<usize>,
    /// Whether this prompt tries out a target that is not the best.
    pub explores: bool,
}

impl Policy {
    /// The word for it in the file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Latency => "latency",
            Self::Cost => "cost",
            Self::Score(_) => "score",
        }
    }

    /// Whether the same request may be sent to one target now and to another one later.
    pub fn is_fickle(&self) -> bool {
        *self != Self::Order
    }

    /// Whether it asks how fast targets are.
    pub fn wants_pace(&self) -> bool {
        match self {
            Self::Latency => true,
            Self::Score(weights) => weights.latency > 0.0,
            Self::Order | Self::Cost => false,
        }
    }

    /// In which order these are asked, for a prompt.
    ///
    /// The next is always the first in the file that is about as good as the best of the rest.
    pub fn order(&self, merits: &[Merit], prompt: &PromptDigest) -> Order {
        let burdens = self.burdens(merits);
        let mut rest: Vec<(usize, f64)> = burdens.into_iter().enumerate().collect();
        let mut places = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            let least = rest.iter().map(|(_, burden)| *burden).fold(f64::INFINITY, f64::min);
            let next = rest.iter().position(|(_, burden)| *burden <= least * MARGIN);
            places.push(rest.remove(next.unwrap_or(0)).0);
        }
        let drawn = drawn(prompt);
        let explores = self.wants_pace() && places.len() > 1 && drawn < EXPLORED;
        if explores {
            // Which of the others, is drawn by the same number.
            let others = (places.len() - 1) as f64;
            let other = 1 + (drawn / EXPLORED * others) as usize;
            places[..=other].rotate_right(1);
        }
        Order { places, explores }
    }

    /// What is to be least, for each target.
    fn burdens(&self, merits: &[Merit]) -> Vec<f64> {
        let price = |merit: &Merit| merit.usd_per_million.unwrap_or(f64::INFINITY);
        // Who has never been asked is asked.
        let latency = |merit: &Merit| merit.latency_us.unwrap_or(0.0);
        match self {
            Self::Order => vec![0.0; merits.len()],
            Self::Latency => merits.iter().map(latency).collect(),
            Self::Cost => merits.iter().map(price).collect(),
            Self::Score(weights) => {
                let of = |value: &dyn Fn(&Merit) -> f64| {
                    let known = merits.iter().map(value).filter(|value| *value > 0.0);
                    known.fold(f64::INFINITY, f64::min)
                };
                let (cheapest, fastest) = (of(&price), of(&latency));
                let score = |merit: &Merit| {
                    weights.cost * share(cheapest, price(merit))
                        + weights.latency * share(fastest, latency(merit))
                        + weights.quality * merit.quality
                };
                merits.iter().map(|merit| 1.0 / score(merit)).collect()
            }
        }
    }
}

/// A number from 0 to below 1 that a prompt draws: its digest is as good as one drawn by lot.
fn drawn(prompt: &PromptDigest) -> f64 {
    let first = prompt.0.first_chunk().copied().unwrap_or_default();
    f64::from(u32::from_le_bytes(first)) / (f64::from(u32::MAX) + 1.0)
}

/// How near a value comes to the least: 1 for the least itself, 0.5 for its double.
fn share(least: f64, value: f64) -> f64 {
    match value <= least {
        true => 1.0,
        false => least / value,
    }
}

impl Merit {
    /// What is known of a target: its prices of prompts and answers, its pace, its results.
    pub fn of(
        target: &Target,
        prices: Option<(f64, f64)>,
        paces: Option<&Paces<'_>>,
        experiments: &[Experiment],
    ) -> Self {
        let pace = paces.and_then(|paces| paces.iter().find(|(of, _)| *of == target));
        let blend =
            |(input, output)| (input * PROMPT_PER_ANSWER + output) / (PROMPT_PER_ANSWER + 1.0);
        Self {
            usd_per_million: prices.map(blend),
            // Who fails half of the time is asked twice for an answer.
            latency_us: pace.and_then(|(_, pace)| Some(pace.took_us? / pace.success.max(0.05))),
            quality: quality(target, experiments),
        }
    }
}

/// The mean share of comparisons that a target won in experiments that are decided and compared
/// nothing but targets.
fn quality(target: &Target, experiments: &[Experiment]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for experiment in experiments {
        let standing = &experiment.standing;
        if standing.state != State::Decided || standing.drifted.is_some() {
            continue;
        }
        for candidate in &experiment.candidates {
            let (control, variant) = (&experiment.control, &candidate.variant);
            let Some(won) = standing.won_ppm.get(&variant.name) else { continue };
            let won = f64::from(*won) / 1e6;
            if !control.is_plain() || !variant.is_plain() || control.target == variant.target {
                continue;
            }
            for (of, share) in [(&variant.target, won), (&control.target, 1.0 - won)] {
                if of == target {
                    sum += share;
                    count += 1.0;
                }
            }
        }
    }
    if count == 0.0 { UNMEASURED } else { sum / count }
}

#[cfg(test)]
mod tests {
    use super::Merit;
    use super::Order;
    use super::Pace;
    use super::Paces;
    use super::Policy;
    use super::Weights;
    use crate::experiment::Target;
    use crate::key::PromptDigest;

    fn merits(all: &[(Option<f64>, Option<f64>, f64)]) -> Vec<Merit> {
        let merit = |(usd, ms, quality): &(Option<f64>, Option<f64>, f64)| Merit {
            usd_per_million: *usd,
            latency_us: ms.map(|ms| ms * 1e3),
            quality: *quality,
        };
        all.iter().map(merit).collect()
    }

    #[test]
    fn the_best_is_first_those_alike_keep_their_order_and_the_unknown_is_tried() {
        let score = |cost, latency, quality| Policy::Score(Weights { cost, latency, quality });
        for (policy, all, expected) in [
            (Policy::Order, vec![(Some(9.0), Some(9.0), 0.1), (Some(1.0), None, 0.9)], vec![0, 1]),
            (
                Policy::Latency,
                vec![(None, Some(300.0), 0.5), (None, Some(100.0), 0.5), (None, Some(200.0), 0.5)],
                vec![1, 2, 0],
            ),
            // Not better by enough.
            (Policy::Latency, vec![(None, Some(109.0), 0.5), (None, Some(100.0), 0.5)], vec![0, 1]),
            (Policy::Latency, vec![(None, Some(112.0), 0.5), (None, Some(100.0), 0.5)], vec![1, 0]),
            // Nobody has asked the last.
            (
                Policy::Latency,
                vec![(None, Some(100.0), 0.5), (None, Some(50.0), 0.5), (None, None, 0.5)],
                vec![2, 1, 0],
            ),
            (
                Policy::Cost,
                vec![(None, None, 0.5), (Some(5.0), None, 0.5), (Some(0.5), None, 0.5)],
                vec![2, 1, 0],
            ),
            (Policy::Cost, vec![(None, None, 0.5), (None, None, 0.5)], vec![0, 1]),
            // Half the price for twice the time.
            (
                score(2.0, 1.0, 0.0),
                vec![(Some(2.0), Some(100.0), 0.5), (Some(1.0), Some(200.0), 0.5)],
                vec![1, 0],
            ),
            (
                score(1.0, 2.0, 0.0),
                vec![(Some(1.0), Some(200.0), 0.5), (Some(2.0), Some(100.0), 0.5)],
                vec![1, 0],
            ),
            (
                score(1.0, 0.0, 4.0),
                vec![(Some(1.0), None, 0.4), (Some(2.0), None, 0.7)],
                vec![1, 0],
            ),
            // A price that nobody knows is no low price.
            (score(1.0, 0.0, 1.0), vec![(None, None, 0.5), (Some(9.0), None, 0.5)], vec![1, 0]),
            (score(0.0, 1.0, 0.0), vec![(None, Some(50.0), 0.5), (None, None, 0.5)], vec![0, 1]),
        ] {
            let found = policy.order(&merits(&all), &PromptDigest([255; 32]));
            assert_eq!(found, Order { places: expected, explores: false }, "{policy:?} {all:?}");
        }
    }

    #[test]
    fn a_small_share_of_prompts_tries_the_others_and_each_of_them() {
        let three =
            merits(&[(None, Some(1.0), 0.5), (None, Some(2.0), 0.5), (None, Some(3.0), 0.5)]);
        let mut first = [0; 3];
        for prompt in 0_u32..20_000 {
            let digest = PromptDigest(*blake3::hash(&prompt.to_le_bytes()).as_bytes());
            let order = Policy::Latency.order(&three, &digest);
            assert_eq!(order.explores, order.places.first() != Some(&0));
            let mut sorted = order.places.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
            first[order.places[0]] += 1;
        }
        assert!((150..250).contains(&first[1]) && (150..250).contains(&first[2]), "{first:?}");
    }

    #[test]
    fn who_fails_takes_longer() {
        let target = Target { provider: "p".into(), model: "m".into() };
        let pace = Pace { took_us: Some(100.0), success: 0.5 };
        let paces: Paces<'_> = vec![(&target, pace)];
        let merit = Merit::of(&target, Some((1.0, 5.0)), Some(&paces), &[]);
        let expected = Merit { usd_per_million: Some(2.0), latency_us: Some(200.0), quality: 0.5 };
        assert_eq!(merit, expected);
    }
}
