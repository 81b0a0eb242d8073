//! What tokens cost: prices by provider and model, and the exact cost of one answer.
//!
//! Prices are whole millionths of a millionth of a dollar per token (a picodollar: a dollar per
//! million tokens is a million of them), and costs are summed in them, so that a cost is rounded
//! once, half up, to a nanodollar. What is not known is never taken for nothing.

mod name;
pub mod read;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::chat::Usage;
use crate::experiment::Target;

/// Our own prices, in our own form.
const BUILT_IN: &str = include_str!("price/table.json");

/// Picodollars in a nanodollar.
const PICO: u128 = 1000;

/// What models cost, by provider and model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    models: BTreeMap<String, BTreeMap<String, Model>>,
}

/// The prices of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Those of a short prompt.
    pub base: Rates,
    /// Those of longer ones: each holds for the whole call once the prompt has more tokens than
    /// its mark. In the order of the marks.
    pub tiers: Vec<(u64, Rates)>,
}

/// Picodollars per token; `None` where there is no price of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Prompt.
    pub input: Option<u64>,
    /// Answer.
    pub output: Option<u64>,
    /// Prompt that the provider had in its cache; without a price it costs what a prompt costs.
    pub cached: Option<u64>,
    /// Prompt that the provider puts into its cache; likewise.
    pub cache_write: Option<u64>,
    /// The same to be kept for an hour; without a price it costs what other writes cost.
    pub cache_write_1h: Option<u64>,
    /// Reasoning; without a price it costs what an answer costs.
    pub reasoning: Option<u64>,
    /// Of each call, picodollars.
    pub request: Option<u64>,
}

/// Everything that is known of prices at one moment.
///
/// What the operator's own file says wins over a feed, and a feed over what is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Targets whose prices are another's.
    alias: BTreeMap<Target, Target>,
    /// Providers all of whose prices are another's.
    alias_of_provider: BTreeMap<String, String>,
    own: Arc<Table>,
    fed: Arc<Table>,
    built_in: Arc<Table>,
}

impl Prices {
    /// What is built in, and nothing else.
    pub fn built_in() -> Self {
        // A test holds that the table can be read.
        Self { built_in: Arc::new(read::table(BUILT_IN).unwrap_or_default()), ..Self::default() }
    }

    /// With the operator's own prices, and names whose prices are another's: of a target
    /// (`provider/model`), or of a provider as a whole.
    #[must_use]
    pub fn with_own(self, own: Table, names: BTreeMap<String, String>) -> Self {
        let (mut alias, mut alias_of_provider) = (BTreeMap::new(), BTreeMap::new());
        for (name, to) in names {
            match (Target::parse(&name), Target::parse(&to)) {
                (Some(name), Some(to)) => drop(alias.insert(name, to)),
                _ => drop(alias_of_provider.insert(name, to)),
            }
        }
        Self { own: Arc::new(own), alias, alias_of_provider, ..self }
    }

    /// With the prices of a feed in the place of what it said before.
    #[must_use]
    pub fn with_fed(self, fed: Arc<Table>) -> Self {
        Self { fed, ..self }
    }

    /// What the feed said last.
    pub fn fed(&self) -> Arc<Table> {
        self.fed.clone()
    }

    /// The cost of a call, billionths of a dollar.
    ///
    /// `None` when the model's price or the token counts are not known.
    pub fn cost_nano_usd(&self, target: &Target, usage: &Usage) -> Option<u64> {
        self.find(target)?.cost_nano_usd(usage)
    }

    /// The same of an answer that may name the model more exactly than its target does, as where
    /// a deployment's name is the operator's own.
    pub fn cost_of(&self, target: &Target, model: Option<&str>, usage: &Usage) -> Option<u64> {
        let answered = |model: &str| {
            let named = Target { provider: target.provider.clone(), model: model.to_owned() };
            self.find(&named)
        };
        self.find(target).or_else(|| answered(model?))?.cost_nano_usd(usage)
    }

    /// Dollars per million tokens of prompt, answer and cached prompt, if they are known.
    pub fn of(&self, target: &Target) -> Option<[f64; 3]> {
        let rates = self.find(target)?.base;
        let input = rates.input?;
        let [output, cached] = [rates.output.unwrap_or(0), rates.cached.unwrap_or(input)];
        Some([input, output, cached].map(|rate| rate as f64 / 1e6))
    }

    fn find(&self, target: &Target) -> Option<&Model> {
        let of_provider = || {
            let provider = self.alias_of_provider.get(&target.provider)?.clone();
            Some(Cow::Owned(Target { provider, model: target.model.clone() }))
        };
        let meant = self.alias.get(target).map(Cow::Borrowed).or_else(of_provider);
        let target = meant.as_deref().unwrap_or(target);
        [&self.own, &self.fed, &self.built_in].into_iter().find_map(|table| table.find(target))
    }
}

impl Table {
    /// Adds a model, in the place of what was known of it.
    pub fn insert(&mut self, target: Target, model: Model) {
        self.models.entry(target.provider).or_default().insert(target.model, model);
    }

    /// How many models it has.
    pub fn len(&self) -> usize {
        self.models.values().map(BTreeMap::len).sum()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    fn find(&self, target: &Target) -> Option<&Model> {
        let models = self.models.get(&target.provider)?;
        let others =
            || name::spellings(&target.model).into_iter().find_map(|name| models.get(name));
        models.get(&target.model).or_else(others)
    }
}

impl Model {
    /// The cost of a call, billionths of a dollar, rounded half up.
    ///
    /// A prompt's tokens are those read from the provider's cache, those written to it, and the
    /// rest. Where a provider's total shows that reasoning is counted beside the answer, it is paid
    /// beside it, too.
    fn cost_nano_usd(&self, usage: &Usage) -> Option<u64> {
        let rates = self.rates(usage.input_tokens.unwrap_or(0));
        let cached = usage.cached_input_tokens.unwrap_or(0).min(usage.input_tokens.unwrap_or(0));
        let room = usage.input_tokens.unwrap_or(0) - cached;
        let written = usage.cache_write_tokens.unwrap_or(0).min(room);
        let hour = usage.cache_write_1h_tokens.unwrap_or(0).min(written);
        let plain = usage.input_tokens.map(|_| room - written);
        let reasoning = usage.reasoning_tokens.unwrap_or(0);
        let (spoken, thought) = match usage.output_tokens {
            Some(output) if is_beside(usage) => (Some(output), reasoning),
            Some(output) => (Some(output - reasoning.min(output)), reasoning.min(output)),
            None => (None, 0),
        };
        let write = rates.cache_write.or(rates.input);
        let parts = [
            (plain, rates.input),
            (Some(cached), rates.cached.or(rates.input)),
            (Some(written - hour), write),
            (Some(hour), rates.cache_write_1h.or(write)),
            (spoken, rates.output),
            (Some(thought), rates.reasoning.or(rates.output)),
        ];
        let mut pico = u128::from(rates.request.unwrap_or(0));
        for (tokens, rate) in parts {
            pico += amount(tokens, rate)?;
        }
        u64::try_from((pico + PICO / 2) / PICO).ok()
    }

    fn rates(&self, input_tokens: u64) -> Rates {
        let tier = self.tiers.iter().rev().find(|(above, _)| input_tokens > *above);
        tier.map_or(self.base, |(_, rates)| rates.over(&self.base))
    }
}

impl Rates {
    /// These, and what they do not say from `base`.
    fn over(&self, base: &Self) -> Self {
        Self {
            input: self.input.or(base.input),
            output: self.output.or(base.output),
            cached: self.cached.or(base.cached),
            cache_write: self.cache_write.or(base.cache_write),
            cache_write_1h: self.cache_write_1h.or(base.cache_write_1h),
            reasoning: self.reasoning.or(base.reasoning),
            request: self.request.or(base.request),
        }
    }
}

/// Whether the total holds the reasoning in addition to the answer.
fn is_beside(usage: &Usage) -> bool {
    let sum = || {
        let counted = usage.input_tokens?.checked_add(usage.output_tokens?)?;
        counted.checked_add(usage.reasoning_tokens.filter(|tokens| *tokens > 0)?)
    };
    usage.total_tokens.is_some() && usage.total_tokens == sum()
}

/// What is neither counted nor priced, such as the answer of an embedding, costs nothing; what is
/// only one of both has no known cost.
fn amount(tokens: Option<u64>, rate: Option<u64>) -> Option<u128> {
    match (tokens, rate) {
        (Some(0), _) | (None, None | Some(0)) => Some(0),
        (tokens, rate) => Some(u128::from(tokens?) * u128::from(rate?)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::BUILT_IN;
    use super::Prices;
    use super::read;
    use crate::chat::Usage;
    use crate::experiment::Target;
    use crate::provider;

    fn usage(input: Option<u64>, cached: Option<u64>, output: Option<u64>) -> Usage {
        Usage {
            input_tokens: input,
            output_tokens: output,
            cached_input_tokens: cached,
            ..Usage::default()
        }
    }

    fn cost(target: &str, usage: &Usage) -> Option<u64> {
        Prices::built_in().cost_nano_usd(&Target::parse(target).unwrap(), usage)
    }

    #[test]
    fn every_row_is_of_a_known_provider_and_costs_something() {
        let table = read::table(BUILT_IN).unwrap();
        assert_eq!(table.len(), BUILT_IN.matches("\"model\":").count(), "a model twice");
        for (provider, models) in &table.models {
            assert!(provider::find(provider).is_some(), "{provider}");
            for (name, model) in models {
                let rates = model.base;
                assert!(rates.input > Some(0), "{provider}/{name}");
                assert!(rates.cached.is_none() || rates.cached <= rates.input, "{name}");
                assert!(model.tiers.is_sorted_by_key(|(above, _)| *above), "{name}");
            }
        }
    }

    #[test]
    fn cached_tokens_are_cheaper_and_unknown_is_not_free() {
        let gpt = "openai/gpt-4o";
        assert_eq!(cost(gpt, &usage(Some(1_000_000), None, Some(0))), Some(2_500_000_000));
        let dated = "openai/gpt-4o-2024-08-06";
        assert_eq!(cost(dated, &usage(Some(1000), Some(1000), Some(0))), Some(1_250_000));
        assert_eq!(cost(gpt, &usage(Some(1), None, None)), None);
        assert_eq!(cost("openai/no-such-model", &usage(Some(1), None, Some(1))), None);
        let embedding = "openai/text-embedding-3-small";
        assert_eq!(cost(embedding, &usage(Some(1000), None, None)), Some(20_000));
        assert_eq!(cost(embedding, &usage(None, None, None)), None);
    }

    #[test]
    fn what_is_written_to_the_providers_cache_costs_by_how_long_it_is_kept() {
        let plain = usage(Some(1000), None, Some(100));
        let write =
            |hour| Usage { cache_write_tokens: Some(400), cache_write_1h_tokens: hour, ..plain };
        let claude = "anthropic/claude-haiku-4-5";
        assert_eq!(cost(claude, &plain), Some(1_500_000));
        assert_eq!(cost(claude, &write(None)), Some(600_000 + 500_000 + 500_000));
        assert_eq!(cost(claude, &write(Some(400))), Some(600_000 + 800_000 + 500_000));
    }

    #[test]
    fn a_long_prompt_costs_more_from_its_first_token_on() {
        let gemini = "gemini/gemini-2.5-pro";
        assert_eq!(cost(gemini, &usage(Some(200_000), None, Some(0))), Some(250_000_000));
        assert_eq!(cost(gemini, &usage(Some(200_001), None, Some(0))), Some(500_002_500));
    }

    #[test]
    fn reasoning_that_is_counted_beside_the_answer_is_paid_beside_it() {
        let inside = Usage { reasoning_tokens: Some(50), ..usage(Some(0), None, Some(100)) };
        let inside = Usage { total_tokens: Some(100), ..inside };
        let beside = Usage { total_tokens: Some(150), ..inside };
        let grok = "xai/grok-4.3";
        let one = cost(grok, &inside).unwrap();
        assert_eq!(cost(grok, &beside), Some(one + one / 2));
    }

    #[test]
    fn own_prices_win_over_a_feed_and_a_feed_over_what_is_built_in() {
        let table = |price: u32| {
            let text =
                format!(r#"{{"models":[{{"model":"openai/gpt-4o","input":{price},"output":0}}]}}"#);
            read::table(&text).unwrap()
        };
        let one = usage(Some(1), None, Some(0));
        let gpt = Target::parse("openai/gpt-4o").unwrap();
        let fed = Prices::built_in().with_fed(Arc::new(table(7)));
        assert_eq!(fed.cost_nano_usd(&gpt, &one), Some(7000));
        let alias = [("azure/ours", "openai/gpt-4o"), ("proxy", "openai")];
        let alias = alias.map(|(from, to)| (from.to_owned(), to.to_owned()));
        let own = fed.with_own(table(9), BTreeMap::from(alias));
        for name in ["openai/gpt-4o", "azure/ours", "proxy/gpt-4o", "proxy/gpt-4o-2024-11-20"] {
            let target = Target::parse(name).unwrap();
            assert_eq!(own.cost_nano_usd(&target, &one), Some(9000), "{name}");
        }
        let deployment = Target::parse("azure/mine").unwrap();
        assert_eq!(own.cost_of(&deployment, None, &one), None);
        assert_eq!(own.cost_of(&deployment, Some("gpt-4o-2024-11-20"), &one), Some(2500));
    }
}
