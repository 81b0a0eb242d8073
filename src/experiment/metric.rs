//! What is measured of every answer, and how much worse than control's a candidate's may be.

/// What is measured of every answer, of which guardrails compare the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Dollars.
    CostPerRequest,
    /// Share of answers without a word or a call.
    EmptyRate,
    /// Share of requests that failed.
    ErrorRate,
    /// Quantile of the time until the end, seconds; in percent.
    Latency(u8),
    /// Share of answers that refuse.
    RefusalRate,
    /// Share of answers to a request with a schema that do not keep to it.
    SchemaInvalidRate,
    /// Tokens in and out.
    TokensPerRequest,
    /// Share of answers with calls that name no tool of the request or whose arguments are invalid.
    ToolInvalidRate,
    /// Share of answers that stopped at the limit of tokens.
    TruncatedRate,
    /// Quantile of the time until the first piece of the body, seconds; in percent.
    Ttft(u8),
}

/// Every metric by its name in a file, sorted.
pub const METRICS: &[(&str, Metric)] = &[
    ("cost_per_request", Metric::CostPerRequest),
    ("empty_rate", Metric::EmptyRate),
    ("error_rate", Metric::ErrorRate),
    ("latency_p50", Metric::Latency(50)),
    ("latency_p95", Metric::Latency(95)),
    ("latency_p99", Metric::Latency(99)),
    ("refusal_rate", Metric::RefusalRate),
    ("schema_invalid_rate", Metric::SchemaInvalidRate),
    ("tokens_per_request", Metric::TokensPerRequest),
    ("tool_invalid_rate", Metric::ToolInvalidRate),
    ("truncated_rate", Metric::TruncatedRate),
    ("ttft_p50", Metric::Ttft(50)),
    ("ttft_p95", Metric::Ttft(95)),
    ("ttft_p99", Metric::Ttft(99)),
];

impl Metric {
    /// Whether it is a share from 0 to 1, for which a difference makes sense.
    pub fn is_rate(self) -> bool {
        !matches!(
            self,
            Self::CostPerRequest | Self::Latency(_) | Self::TokensPerRequest | Self::Ttft(_)
        )
    }

    /// Its name in a file.
    pub fn name(self) -> &'static str {
        METRICS.iter().find(|(_, metric)| *metric == self).map_or("", |(name, _)| name)
    }
}

/// A metric that stops a candidate when it is worse than control's by more than its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guardrail {
    /// Which.
    pub metric: Metric,
    /// How much worse it may be.
    pub limit: Limit,
}

/// How much worse than control's a candidate's metric may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// By this difference of shares, for example 0.01.
    MaxIncrease(f64),
    /// By this factor, for example 1.25.
    MaxRatio(f64),
}
