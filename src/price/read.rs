//! Reads tables of prices: our own form, and OpenRouter's list of models.
//!
//! Ours is `{"models": [{"model": "openai/gpt-4o", "input": 2.5, "output": 10, "cached": 1.25}]}`,
//! in dollars per million tokens; further keys are `cache_write`, `cache_write_1h`, `reasoning`,
//! `request` (dollars per call) and `tiers`, a list of the same keys with the mark `above`. A file
//! may as well name the provider apart, put a model's prices below `per_million_usd` and those of a
//! tier below `per_million`, call `cached` `cache_read`, and a mark `above_input_tokens` or
//! `input_tokens_from`. Everything else in it is not read.

use serde_json::Map;
use serde_json::Value;

use super::Model;
use super::Rates;
use super::Table;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::experiment::Target;

/// The most models of one table.
pub const MOST_MODELS: usize = 50_000;

/// The provider whose list of models is a table of its own form.
const OPENROUTER: &str = "openrouter";

/// Picodollars per token in a dollar per million tokens.
const PER_MILLION: f64 = 1e6;

/// Picodollars in a dollar.
const DOLLAR: f64 = 1e12;

/// The price of a token, or of a call, beyond which a table is broken: a dollar, a thousand.
const MOST: (f64, f64) = (1e12, 1e15);

/// Reads a row; nothing comes of one without a fixed price.
type ReadRow = fn(&Value) -> Result<Option<(Target, Model)>>;

/// A table in either form.
///
/// # Errors
/// It is neither, or something in it is no price; nothing of it counts then.
pub fn table(text: &str) -> Result<Table> {
    let root: Value = serde_json::from_str(text).map_err(|error| {
        broken(format!("no JSON at line {}, column {}", error.line(), error.column()))
    })?;
    let list = |key: &str| root.get(key).and_then(Value::as_array);
    let (rows, read): (_, ReadRow) = match (list("models"), list("data")) {
        (Some(rows), _) => (rows, own),
        (None, Some(rows)) => (rows, openrouter),
        (None, None) => return Err(broken("neither \"models\" nor \"data\" is a list")),
    };
    if rows.len() > MOST_MODELS {
        return Err(broken(format!("more than {MOST_MODELS} models")));
    }
    let mut table = Table::default();
    for (at, row) in rows.iter().enumerate() {
        let place = |error: Error| broken(format!("row {at}: {}", error.detail));
        if let Some((target, model)) = read(row).map_err(place)? {
            table.insert(target, model);
        }
    }
    match table.is_empty() {
        true => Err(broken("no model in it has a price")),
        false => Ok(table),
    }
}

/// A row of our own form.
fn own(row: &Value) -> Result<Option<(Target, Model)>> {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    let name = text("model").unwrap_or_default();
    let target = match text("provider") {
        Some(provider) => Target::parse(&format!("{provider}/{name}")),
        None => Target::parse(name),
    };
    let target = target.ok_or_else(|| broken("\"model\" is no provider/model"))?;
    let mut base = rates(row.get("per_million_usd").unwrap_or(row))?;
    let mut tiers = Vec::new();
    for tier in row.get("tiers").and_then(Value::as_array).into_iter().flatten() {
        let marks = ["above", "above_input_tokens", "input_tokens_from"];
        let mark = marks.iter().find_map(|key| tier.get(key)?.as_u64());
        let mark = mark.ok_or_else(|| broken("a tier without \"above\""))?;
        let rates = rates(tier.get("per_million").unwrap_or(tier))?;
        match mark {
            0 => base = rates.over(&base),
            mark => tiers.push((mark, rates)),
        }
    }
    tiers.sort_by_key(|(above, _)| *above);
    Ok(Some((target, Model { base, tiers })))
}

fn rates(of: &Value) -> Result<Rates> {
    let fields = of.as_object().ok_or_else(|| broken("prices that are no object"))?;
    let price = |key: &str| number(fields, key, PER_MILLION, MOST.0);
    Ok(Rates {
        input: price("input")?,
        output: price("output")?,
        cached: price("cached")?.or(price("cache_read")?),
        cache_write: price("cache_write")?,
        cache_write_1h: price("cache_write_1h")?,
        reasoning: price("reasoning")?,
        request: number(fields, "request", DOLLAR, MOST.1)?,
    })
}

/// A row of OpenRouter's list: dollars per token, written as text. What is below nothing depends on
/// whom it asks, and what is nothing beside prompt and answer has no price of its own.
fn openrouter(row: &Value) -> Result<Option<(Target, Model)>> {
    let id = row.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let model = id.ok_or_else(|| broken("no \"id\""))?.to_owned();
    let Some(fields) = row.get("pricing").and_then(Value::as_object) else { return Ok(None) };
    let varies = |key: &str| fields.get(key).and_then(dollars).is_some_and(|price| price < 0.0);
    if varies("prompt") || varies("completion") {
        return Ok(None);
    }
    let price = |key: &str| number(fields, key, DOLLAR, MOST.0);
    let beside = |key: &str| Ok::<_, Error>(price(key)?.filter(|price| *price > 0));
    let base = Rates {
        input: price("prompt")?,
        output: price("completion")?,
        cached: beside("input_cache_read")?,
        cache_write: beside("input_cache_write")?,
        cache_write_1h: None,
        reasoning: beside("internal_reasoning")?,
        request: beside("request")?,
    };
    let target = Target { provider: OPENROUTER.to_owned(), model };
    let is_priced = base.input.is_some() || base.output.is_some();
    Ok(is_priced.then(|| (target, Model { base, tiers: Vec::new() })))
}

/// A price in picodollars, `scale` of them to its unit; rounded, because files hold binary
/// fractions of decimal prices.
fn number(fields: &Map<String, Value>, key: &str, scale: f64, most: f64) -> Result<Option<u64>> {
    let given = match fields.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(given) => given,
    };
    let price = dollars(given).map(|price| price * scale);
    match price.filter(|price| (0.0..=most).contains(price)) {
        Some(price) => Ok(Some(price.round() as u64)),
        None => Err(broken(format!("\"{key}\" is no price"))),
    }
}

fn dollars(given: &Value) -> Option<f64> {
    given.as_f64().or_else(|| given.as_str()?.trim().parse().ok())
}

fn broken(what: impl Into<String>) -> Error {
    Error::new(Kind::Config, what.into())
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::experiment::Target;
    use crate::price::Model;
    use crate::price::Rates;

    fn only(text: &str, target: &str) -> Model {
        let table = table(text).unwrap();
        table.find(&Target::parse(target).unwrap()).unwrap().clone()
    }

    #[test]
    fn both_spellings_of_our_form_say_the_same() {
        let short = r#"{"models":[{"model":"gemini/g","input":1.25,"output":10,"cached":0.3,
            "request":0.001,"tiers":[{"above":200000,"input":2.5}]}]}"#;
        let long = r#"{"models":[{"provider":"gemini","model":"g","mode":"chat",
            "per_million_usd":{"input":1.25,"output":10.0,"cache_read":0.3,"request":0.001},
            "tiers":[{"above_input_tokens":200000,"per_million":{"input":2.5}}]}]}"#;
        let rates = Rates {
            input: Some(1_250_000),
            output: Some(10_000_000),
            cached: Some(300_000),
            request: Some(1_000_000_000),
            ..Rates::default()
        };
        let tier = Rates { input: Some(2_500_000), ..Rates::default() };
        let model = Model { base: rates, tiers: vec![(200_000, tier)] };
        assert_eq!(only(short, "gemini/g"), model);
        assert_eq!(only(long, "gemini/g"), model);
    }

    #[test]
    fn the_lowest_range_is_what_a_short_prompt_costs() {
        let text = r#"{"models":[{"provider":"qwen","model":"q","per_million_usd":{},"tiers":[
            {"input_tokens_from":256000,"input_tokens_to":1000000,"per_million":{"input":0.25}},
            {"input_tokens_from":0,"input_tokens_to":256000,"per_million":{"input":0.05}}]}]}"#;
        let model = only(text, "qwen/q");
        assert_eq!(model.rates(256_000).input, Some(50_000));
        assert_eq!(model.rates(256_001).input, Some(250_000));
    }

    #[test]
    fn openrouters_list_is_read_and_what_varies_is_unknown() {
        let text = r#"{"data":[
            {"id":"openrouter/auto","pricing":{"prompt":"-1","completion":"-1"}},
            {"id":"a/b","pricing":{"prompt":"0.000000075","completion":"0.0000003","request":"0.005",
             "image":"0","input_cache_read":"0","internal_reasoning":"0"}}]}"#;
        let rates = Rates {
            input: Some(75_000),
            output: Some(300_000),
            request: Some(5_000_000_000),
            ..Rates::default()
        };
        assert_eq!(only(text, "openrouter/a/b").base, rates);
        assert_eq!(table(text).unwrap().len(), 1);
    }

    #[test]
    fn one_broken_row_breaks_the_table_and_is_named() {
        for (text, told) in [
            ("{", "no JSON at line 1, column 1"),
            ("[]", "neither \"models\" nor \"data\" is a list"),
            (r#"{"models":[]}"#, "no model in it has a price"),
            (r#"{"models":[{"model":"a/b","input":-1}]}"#, "row 0: \"input\" is no price"),
            (r#"{"models":[{"model":"b","input":1}]}"#, "row 0: \"model\" is no provider/model"),
            (
                r#"{"data":[{"id":"x","pricing":{"prompt":"a lot"}}]}"#,
                "row 0: \"prompt\" is no price",
            ),
        ] {
            assert_eq!(table(text).unwrap_err().detail, told);
        }
    }
}
