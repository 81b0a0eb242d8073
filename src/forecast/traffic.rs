//! What is known of the requests that an experiment takes: how many, how alike, how dear.

use serde::Deserialize;
use serde::Serialize;

use crate::experiment::Experiment;
use crate::stats::WinRate;

/// Below this many pairs their scores say too little of ties.
const FEW_PAIRS: u64 = 30;

/// Where a number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was counted.
    Measured,
    /// A person said it.
    Given,
    /// Nobody knows; it is on the cautious side.
    Assumed,
}

/// A number and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The number.
    pub value: f64,
    /// How it is known.
    pub origin: Origin,
    /// How many observations it is the mean of; 0 where it was not measured.
    pub of: u64,
}

/// What is known of the requests that an experiment takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests that take part.
    pub requests_per_hour: Option<Known>,
    /// Share of them that is to make a pair.
    pub shadow: f64,
    /// Pairs that come of such a request; prompts that repeat make none.
    pub pairs_per_sampled: Known,
    /// Share of pairs that neither wins; of unsure scores, what has the same variance.
    pub tie_rate: Known,
    /// Of the pairs that no comparator settles, the share that is judged.
    pub judged_share: f64,
    /// One answer of control, dollars; it is paid in any case.
    pub control_usd: Option<Known>,
    /// One answer of a candidate, dollars; of several, their mean.
    pub candidate_usd: Option<Known>,
    /// Judging one pair, all orders, dollars; the mean over all pairs, judged or not.
    pub judge_usd: Option<Known>,
    /// What a pair costs in all, if a person said it.
    pub given_pair_usd: Option<f64>,
    /// The most that copies may cost in a day.
    pub shadow_daily_usd: Option<f64>,
    /// What is taken as given and need not be so.
    pub notes: Vec<String>,
}

/// What a person says of the traffic, which wins over what was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Told {
    /// Requests that take part.
    pub requests_per_hour: Option<f64>,
    /// Share of pairs that neither wins.
    pub tie_rate: Option<f64>,
    /// What a pair costs in all, dollars.
    pub cost_per_pair: Option<f64>,
}

impl Known {
    /// The mean of so many observations.
    pub fn measured(value: f64, of: u64) -> Self {
        Self { value, origin: Origin::Measured, of }
    }

    /// Somebody said so.
    pub fn given(value: f64) -> Self {
        Self { value, origin: Origin::Given, of: 0 }
    }

    /// Nobody knows better.
    pub fn assumed(value: f64) -> Self {
        Self { value, origin: Origin::Assumed, of: 0 }
    }
}

impl Traffic {
    /// What the definition alone says: no rate, no ties, no prices.
    pub fn unknown(experiment: &Experiment) -> Self {
        Self {
            requests_per_hour: None,
            shadow: experiment.shadow.fraction(),
            pairs_per_sampled: Known::assumed(1.0),
            tie_rate: Known::assumed(0.0),
            judged_share: 1.0,
            control_usd: None,
            candidate_usd: None,
            judge_usd: None,
            given_pair_usd: None,
            shadow_daily_usd: experiment.shadow_daily_usd,
            notes: Vec::new(),
        }
    }

    /// Takes in how scores have varied, once there are some.
    #[must_use]
    pub fn with_scores(mut self, scores: &WinRate) -> Self {
        let moments = scores.estimate().zip(scores.deviation());
        if let Some((mean, sd)) = moments.filter(|_| scores.pairs() >= FEW_PAIRS) {
            // The mean square from 1/2, which is a quarter for every pair that one side wins.
            let square = sd * sd + (mean - 0.5).powi(2);
            let ties = 1.0 - 4.0 * square / self.judged_share;
            self.tie_rate = Known::measured(ties.clamp(0.0, 0.999), scores.pairs());
        }
        self
    }

    /// Takes in what a person says.
    #[must_use]
    pub fn with(mut self, told: &Told) -> Self {
        if let Some(rate) = told.requests_per_hour {
            self.requests_per_hour = Some(Known::given(rate));
        }
        if let Some(ties) = told.tie_rate {
            self.tie_rate = Known::given(ties);
        }
        self.given_pair_usd = told.cost_per_pair.or(self.given_pair_usd);
        self
    }

    /// Pairs that each candidate makes in an hour.
    pub fn pairs_per_hour(&self) -> Option<f64> {
        let rate = self.requests_per_hour?.value * self.shadow * self.pairs_per_sampled.value;
        (rate > 0.0).then_some(rate)
    }

    /// What one pair of one candidate costs besides control's answer, dollars.
    pub fn pair_usd(&self) -> Option<f64> {
        let sum = self.candidate_usd.zip(self.judge_usd);
        self.given_pair_usd.or(sum.map(|(copy, judge)| copy.value + judge.value))
    }
}

impl Told {
    /// What is wrong with it.
    pub fn problem(&self) -> Option<String> {
        let is_amount = |value: f64| value.is_finite() && value >= 0.0;
        match self {
            Self { requests_per_hour: Some(rate), .. } if !is_amount(*rate) => {
                Some("requests per hour are a number from 0".to_owned())
            }
            Self { tie_rate: Some(ties), .. } if !(0.0..1.0).contains(ties) => {
                Some("a tie rate is a share from 0 up to 1, such as 0.3".to_owned())
            }
            Self { cost_per_pair: Some(usd), .. } if !is_amount(*usd) => {
                Some("the cost of a pair is a number of dollars from 0".to_owned())
            }
            _ => None,
        }
    }
}
