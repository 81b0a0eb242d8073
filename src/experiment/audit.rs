//! What the judge of an experiment is held to.

/// The limit of each check that has one, as a definition names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The least share of pairs in which the two orders do not name different winners.
    pub order_consistency: f64,
    /// The e-value from which a preference for a position is told of.
    pub position_bias: f64,
    /// The least share of questions asked twice in which the answers do not name different winners.
    pub repeat_reliability: f64,
    /// How far from 1/2 the win rate of control against itself may be.
    pub false_preference: f64,
    /// The least agreement with people beyond chance, Cohen's kappa.
    pub human_agreement: f64,
    /// How much more often than the other side's a side's answers to different prompts may be the
    /// same.
    pub prompt_independence: f64,
    /// How many more of one side's answers than of the other's may speak to the judge.
    pub injection: f64,
    /// The largest share of pairs without a usable verdict.
    pub missing_verdicts: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            order_consistency: 0.7,
            position_bias: 100.0,
            repeat_reliability: 0.7,
            false_preference: 0.0,
            human_agreement: 0.2,
            prompt_independence: 0.25,
            injection: 0.05,
            missing_verdicts: 0.2,
        }
    }
}

impl Limits {
    /// Every limit with its name.
    pub fn named(&self) -> [(&'static str, f64); 8] {
        // Without `..`, so that a new limit does not compile until it is here.
        let Self {
            order_consistency,
            position_bias,
            repeat_reliability,
            false_preference,
            human_agreement,
            prompt_independence,
            injection,
            missing_verdicts,
        } = *self;
        [
            ("false_preference", false_preference),
            ("human_agreement", human_agreement),
            ("injection", injection),
            ("missing_verdicts", missing_verdicts),
            ("order_consistency", order_consistency),
            ("position_bias", position_bias),
            ("prompt_independence", prompt_independence),
            ("repeat_reliability", repeat_reliability),
        ]
    }
}
