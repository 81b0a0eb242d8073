//! Token counts and log-probabilities as chat completions write them, in both directions.

use serde::Deserialize;
use serde::Serialize;

use crate::chat::TokenLogprob;
use crate::chat::Usage;

/// The counts, in every spelling met.
#[derive(Default, Deserialize)]
pub struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    /// DeepSeek.
    prompt_cache_hit_tokens: Option<u64>,
    /// Moonshot, Hugging Face.
    cached_tokens: Option<u64>,
    /// Mistral.
    num_cached_tokens: Option<u64>,
    /// DeepSeek on Azure.
    reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        let input = usage.prompt_tokens_details.as_ref();
        Self {
            input_tokens: usage.prompt_tokens,
            output_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
            cached_input_tokens: input
                .and_then(|details| details.cached_tokens)
                .or(usage.prompt_cache_hit_tokens)
                .or(usage.cached_tokens)
                .or(usage.num_cached_tokens),
            cache_write_tokens: input.and_then(|details| details.cache_write_tokens),
            cache_write_1h_tokens: None,
            reasoning_tokens: usage
                .completion_tokens_details
                .and_then(|details| details.reasoning_tokens)
                .or(usage.reasoning_tokens),
        }
    }
}

/// The counts as we write them; what is not known is not there.
#[derive(Serialize)]
pub struct UsageOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<InputOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<OutputOut>,
}

#[derive(Serialize)]
struct InputOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct OutputOut {
    reasoning_tokens: u64,
}

impl UsageOut {
    /// The total is the provider's, else the sum of what it did say.
    pub fn of(usage: &Usage) -> Self {
        let sum = || usage.input_tokens?.checked_add(usage.output_tokens?);
        let (cached_tokens, cache_write_tokens) =
            (usage.cached_input_tokens, usage.cache_write_tokens);
        let has_input = cached_tokens.is_some() || cache_write_tokens.is_some();
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.total_tokens.or_else(sum),
            prompt_tokens_details: has_input
                .then_some(InputOut { cached_tokens, cache_write_tokens }),
            completion_tokens_details: usage
                .reasoning_tokens
                .map(|reasoning_tokens| OutputOut { reasoning_tokens }),
        }
    }
}

/// Log-probabilities of a choice.
#[derive(Deserialize)]
pub struct WireLogprobs {
    #[serde(default)]
    content: Option<Vec<WireLogprob>>,
    #[serde(default)]
    refusal: Option<Vec<WireLogprob>>,
}

#[derive(Deserialize)]
struct WireLogprob {
    token: String,
    logprob: Option<f64>,
    #[serde(default)]
    top_logprobs: Option<Vec<WireTop>>,
}

#[derive(Deserialize)]
struct WireTop {
    token: String,
    logprob: Option<f64>,
}

/// What stands for "so unlikely that no number is given", as OpenAI writes it.
pub const UNLIKELY: f64 = -9999.0;

impl WireLogprobs {
    /// One entry a token, those of a refusal last.
    pub fn tokens(self) -> Vec<TokenLogprob> {
        let content = self.content.unwrap_or_default();
        let tokens = content.into_iter().chain(self.refusal.unwrap_or_default());
        tokens.map(TokenLogprob::from).collect()
    }
}

impl From<WireLogprob> for TokenLogprob {
    fn from(wire: WireLogprob) -> Self {
        let tops = wire.top_logprobs.unwrap_or_default().into_iter();
        let top = tops.map(|top| (top.token, top.logprob.unwrap_or(UNLIKELY))).collect();
        Self { token: wire.token, logprob: wire.logprob.unwrap_or(UNLIKELY), top }
    }
}

/// Log-probabilities as we write them.
#[derive(Serialize)]
pub struct LogprobsOut<'a> {
    content: Vec<LogprobOut<'a>>,
    refusal: (),
}

#[derive(Serialize)]
struct LogprobOut<'a> {
    token: &'a str,
    logprob: f64,
    bytes: (),
    top_logprobs: Vec<TopOut<'a>>,
}

#[derive(Serialize)]
struct TopOut<'a> {
    token: &'a str,
    logprob: f64,
    bytes: (),
}

impl<'a> LogprobsOut<'a> {
    /// The same in the dialect's shape; a token's bytes are not known and may be part of a letter.
    pub fn of(tokens: &'a [TokenLogprob]) -> Self {
        let top = |(token, logprob): &'a (String, f64)| TopOut {
            token,
            logprob: finite(*logprob),
            bytes: (),
        };
        let one = |token: &'a TokenLogprob| LogprobOut {
            token: &token.token,
            logprob: finite(token.logprob),
            bytes: (),
            top_logprobs: token.top.iter().map(top).collect(),
        };
        Self { content: tokens.iter().map(one).collect(), refusal: () }
    }
}

/// JSON has no infinity.
pub fn finite(logprob: f64) -> f64 {
    if logprob.is_finite() { logprob } else { UNLIKELY }
}
