//! What tokens cost: list prices of common models.

use crate::chat::Usage;
use crate::experiment::Target;

/// Dollars per million tokens.
struct Row {
    provider: &'static str,
    model: &'static str,
    input: f64,
    output: f64,
    cached: f64,
}

/// Prompt, answer and cached prompt tokens, November 2026; sorted by provider and model.
static PRICES: &[Row] = &[
    row("anthropic", "claude-haiku-4-5", [1.0, 5.0, 0.1]),
    row("anthropic", "claude-opus-4-5", [5.0, 25.0, 0.5]),
    row("anthropic", "claude-sonnet-4-5", [3.0, 15.0, 0.3]),
    row("cerebras", "gpt-oss-120b", [0.35, 0.75, 0.35]),
    row("deepseek", "deepseek-chat", [0.28, 0.42, 0.028]),
    row("deepseek", "deepseek-reasoner", [0.28, 0.42, 0.028]),
    row("gemini", "gemini-2.5-flash", [0.3, 2.5, 0.03]),
    row("groq", "openai/gpt-oss-120b", [0.15, 0.6, 0.075]),
    row("groq", "openai/gpt-oss-20b", [0.075, 0.3, 0.0375]),
    row("mistral", "mistral-large-latest", [0.5, 1.5, 0.05]),
    row("mistral", "mistral-medium-latest", [1.5, 7.5, 0.15]),
    row("mistral", "mistral-small-latest", [0.15, 0.6, 0.015]),
    row("moonshot", "kimi-k2.5", [0.6, 3.0, 0.1]),
    row("openai", "gpt-3.5-turbo", [0.5, 1.5, 0.5]),
    row("openai", "gpt-4.1", [2.0, 8.0, 0.5]),
    row("openai", "gpt-4.1-mini", [0.4, 1.6, 0.1]),
    row("openai", "gpt-4.1-nano", [0.1, 0.4, 0.025]),
    row("openai", "gpt-4o", [2.5, 10.0, 1.25]),
    row("openai", "gpt-4o-mini", [0.15, 0.6, 0.075]),
    row("openai", "gpt-5", [1.25, 10.0, 0.125]),
    row("openai", "gpt-5-mini", [0.25, 2.0, 0.025]),
    row("openai", "gpt-5-nano", [0.05, 0.4, 0.005]),
    row("openai", "o3", [2.0, 8.0, 0.5]),
    row("openai", "o4-mini", [1.1, 4.4, 0.275]),
    row("qwen", "qwen-max", [1.6, 6.4, 1.6]),
    row("qwen", "qwen-plus", [0.4, 1.2, 0.4]),
];

/// The cost of one call, billionths of a dollar.
///
/// `None` when the model's price or the token counts are unknown, or when what was written to the
/// provider's cache has no one price; dated names such as
/// `gpt-4o-2024-08-06` cost what the undated one costs.
pub fn cost_nano_usd(target: &Target, usage: &Usage) -> Option<u64> {
    let row = find(&target.provider, &target.model)?;
    let (input, output) = (usage.input_tokens?, usage.output_tokens?);
    if target.provider == "anthropic" && usage.cache_write_tokens.is_some_and(|n| n > 0) {
        // What they cost depends on how long they are to be kept, which is not told.
        return None;
    }
    let cached = usage.cached_input_tokens.unwrap_or(0).min(input);
    let dollars_per_million = (input - cached) as f64 * row.input
        + cached as f64 * row.cached
        + output as f64 * row.output;
    // One dollar per million tokens is a thousand nano-dollars per token.
    Some((dollars_per_million * 1000.0).round() as u64)
}

/// Dollars per million tokens of prompt, answer and cached prompt, if they are known.
pub fn of(target: &Target) -> Option<[f64; 3]> {
    let row = find(&target.provider, &target.model)?;
    Some([row.input, row.output, row.cached])
}

const fn row(provider: &'static str, model: &'static str, prices: [f64; 3]) -> Row {
    let [input, output, cached] = prices;
    Row { provider, model, input, output, cached }
}

fn find(provider: &str, model: &str) -> Option<&'static Row> {
    let row = |name: &str| PRICES.iter().find(|r| r.provider == provider && r.model == name);
    row(model).or_else(|| row(undated(model)?))
}

/// The name without a date such as `-2024-08-06` or `-20240806` at its end.
fn undated(model: &str) -> Option<&str> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    [11, 9].into_iter().find_map(|length| {
        let (name, date) = model.split_at_checked(model.len().checked_sub(length)?)?;
        (date.starts_with('-') && digits(date)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::PRICES;
    use super::cost_nano_usd;
    use crate::chat::Usage;
    use crate::experiment::Target;

    #[test]
    fn rows_are_sorted_and_cost_something() {
        let name = |row: &super::Row| (row.provider, row.model);
        assert!(PRICES.windows(2).all(|pair| name(&pair[0]) < name(&pair[1])));
        assert!(PRICES.iter().all(|r| r.input > 0.0 && r.output > 0.0 && r.cached <= r.input));
    }

    #[test]
    fn cached_tokens_are_cheaper_and_unknown_is_not_free() {
        let usage = |input, cached, output| Usage {
            input_tokens: input,
            output_tokens: output,
            cached_input_tokens: cached,
            ..Usage::default()
        };
        let cost = |model: &str, usage| {
            cost_nano_usd(&Target { provider: "openai".into(), model: model.into() }, &usage)
        };
        assert_eq!(cost("gpt-4o", usage(Some(1_000_000), None, Some(0))), Some(2_500_000_000));
        assert_eq!(
            cost("gpt-4o-2024-08-06", usage(Some(1000), Some(1000), Some(0))),
            Some(1_250_000)
        );
        assert_eq!(cost("gpt-4o", usage(Some(1), None, None)), None);
        assert_eq!(cost("no-such-model", usage(Some(1), None, Some(1))), None);
        let claude = Target { provider: "anthropic".into(), model: "claude-haiku-4-5".into() };
        let plain = usage(Some(1000), None, Some(100));
        assert_eq!(cost_nano_usd(&claude, &plain), Some(1_500_000));
        assert_eq!(cost_nano_usd(&claude, &Usage { cache_write_tokens: Some(9), ..plain }), None);
    }
}
