//! Costs of recorded answers, computed twice: by the program, and from the bytes by other arithmetic.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use understudy::chat::DialectName;
use understudy::experiment::Target;
use understudy::price::Prices;
use understudy::price::read;
use understudy::wire;

use crate::recordings;
use crate::recordings::Recording;
use crate::shared;

/// Where answers of whole bodies and of streams tell their tokens.
const PLACES: [&str; 7] = [
    "/usage",
    "/message/usage",
    "/response/usage",
    "/usageMetadata",
    "/response/usageMetadata",
    "/delta/usage",
    "/x_groq/usage",
];

const APIS: [(&str, DialectName); 7] = [
    ("chat", DialectName::OpenAi),
    ("responses", DialectName::Responses),
    ("messages", DialectName::Anthropic),
    ("generate_content", DialectName::Gemini),
    ("cohere_v2_chat", DialectName::Cohere),
    ("converse", DialectName::Converse),
    ("embeddings", DialectName::Embeddings),
];

/// Every JSON text of an answer, in order.
fn documents(recording: &Recording) -> Vec<Value> {
    let text = String::from_utf8_lossy(&recording.bytes);
    if !recording.is_stream {
        return match serde_json::from_str(&text) {
            Ok(Value::Array(chunks)) => chunks,
            Ok(one) => vec![one],
            Err(_) => Vec::new(),
        };
    }
    let lines = text.lines().filter_map(|line| line.strip_prefix("data:"));
    lines.filter_map(|line| serde_json::from_str(line.trim()).ok()).collect()
}

/// The tokens told last; Anthropic tells those that have changed.
fn told(api: &str, recording: &Recording) -> serde_json::Map<String, Value> {
    let mut told = serde_json::Map::new();
    for document in documents(recording) {
        // Both places of one document say the same, but the first says more.
        let found = PLACES.iter().find_map(|place| document.pointer(place)?.as_object());
        if found.is_some() && api != "messages" {
            told.clear();
        }
        for (key, value) in found.into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            told.insert(key.clone(), value.clone());
        }
    }
    told
}

/// Tokens by what they are paid as.
#[derive(Debug, Default)]
struct Bill {
    prompt: u128,
    plain: u128,
    cached: u128,
    written: u128,
    hour: u128,
    said: u128,
}

/// `None` where a count is missing that has a price.
fn bill(api: &str, told: &Value) -> Option<Bill> {
    let at = |place: &str| told.pointer(place).and_then(Value::as_u64).map(u128::from);
    let any = |places: &[&str]| places.iter().find_map(|place| at(place)).unwrap_or(0);
    let mut bill = Bill::default();
    match api {
        "messages" | "converse" => {
            let (plain, said, cached, written) = match api {
                "messages" => (
                    "/input_tokens",
                    "/output_tokens",
                    "/cache_read_input_tokens",
                    "/cache_creation_input_tokens",
                ),
                _ => (
                    "/inputTokens",
                    "/outputTokens",
                    "/cacheReadInputTokens",
                    "/cacheWriteInputTokens",
                ),
            };
            (bill.plain, bill.said) = (at(plain)?, at(said)?);
            (bill.cached, bill.written) = (any(&[cached]), any(&[written]));
            bill.hour = any(&["/cache_creation/ephemeral_1h_input_tokens"]).min(bill.written);
            bill.written -= bill.hour;
            bill.prompt = bill.plain + bill.cached + bill.written + bill.hour;
            return Some(bill);
        }
        "generate_content" => {
            bill.prompt = at("/promptTokenCount")?;
            let (said, thought) = (at("/candidatesTokenCount"), at("/thoughtsTokenCount"));
            bill.said = said.or(thought.map(|_| 0))? + thought.unwrap_or(0);
            bill.cached = any(&["/cachedContentTokenCount"]);
        }
        "cohere_v2_chat" => {
            bill.prompt = at("/tokens/input_tokens")?;
            bill.said = at("/tokens/output_tokens")?;
            bill.cached = any(&["/cached_tokens"]);
        }
        "responses" => {
            bill.prompt = at("/input_tokens")?;
            bill.said = at("/output_tokens")?;
            bill.cached = any(&["/input_tokens_details/cached_tokens"]);
            bill.written = any(&["/input_tokens_details/cache_write_tokens"]);
        }
        _ => {
            bill.prompt = at("/prompt_tokens")?;
            bill.said = match api {
                "embeddings" => 0,
                _ => at("/completion_tokens")?,
            };
            bill.cached = any(&[
                "/prompt_tokens_details/cached_tokens",
                "/prompt_cache_hit_tokens",
                "/cached_tokens",
                "/num_cached_tokens",
            ]);
            bill.written = any(&["/prompt_tokens_details/cache_write_tokens"]);
            let thought = any(&["/completion_tokens_details/reasoning_tokens"]);
            if thought > 0 && at("/total_tokens") == Some(bill.prompt + bill.said + thought) {
                bill.said += thought;
            }
        }
    }
    bill.cached = bill.cached.min(bill.prompt);
    bill.written = bill.written.min(bill.prompt - bill.cached);
    bill.plain = bill.prompt - bill.cached - bill.written;
    Some(bill)
}

/// Millionths of the unit, from the digits as they are written.
fn millionths(price: &Value) -> u128 {
    let text = price.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    assert!(part.len() <= 6 && !text.contains('e'), "{text}");
    whole.parse::<u128>().unwrap() * 1_000_000 + format!("{part:0<6}").parse::<u128>().unwrap()
}

/// Nanodollars, by the rows of the file.
fn cost(row: &Value, bill: &Bill) -> u128 {
    let tiers = row["tiers"].as_array().cloned().unwrap_or_default();
    let mark = |tier: &Value| {
        let mark = tier.get("above_input_tokens").or(tier.get("input_tokens_from"));
        u128::from(mark.unwrap().as_u64().unwrap())
    };
    let over =
        tiers.iter().filter(|t| mark(t) == 0 || bill.prompt > mark(t)).max_by_key(|t| mark(t));
    let price = |key: &str| {
        let own = over.and_then(|tier| tier["per_million"].get(key));
        own.or(row["per_million_usd"].get(key)).map(millionths)
    };
    let input = price("input").unwrap();
    let write = price("cache_write").unwrap_or(input);
    let pico = bill.plain * input
        + bill.cached * price("cache_read").unwrap_or(input)
        + bill.written * write
        + bill.hour * price("cache_write_1h").unwrap_or(write)
        + bill.said * price("output").unwrap_or(0);
    pico / 1000 + u128::from(pico % 1000 >= 500)
}

/// Whose prices an answer is paid by: its own model's, or where that has none, those of a model
/// with as many prices as there can be.
fn row<'r>(
    rows: &'r BTreeMap<(String, String), Value>,
    provider: &str,
    model: Option<&str>,
) -> (Target, &'r Value, bool) {
    let named = (provider.to_owned(), model.unwrap_or_default().to_owned());
    if let Some(row) = rows
        .get(&named)
        .filter(|row| row["per_million_usd"].get("reasoning").is_none() || provider == "gemini")
    {
        return (Target { provider: named.0, model: named.1 }, row, true);
    }
    let usual = ("anthropic".to_owned(), "claude-haiku-5-5".to_owned());
    let row = &rows[&usual];
    (Target { provider: usual.0, model: usual.1 }, row, false)
}

#[test]
fn costs_of_recorded_answers_agree_with_the_price_list_to_the_nanodollar() {
    let Some(file) = shared::data("prices.json") else { return };
    let text = fs::read_to_string(file).unwrap();
    let prices = Prices::default().with_own(read::table(&text).unwrap(), BTreeMap::new());
    let listed: Value = serde_json::from_str(&text).unwrap();
    let text_of = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = listed["models"].as_array().unwrap().iter();
    let rows: BTreeMap<(String, String), Value> =
        rows.map(|r| ((text_of(r, "provider"), text_of(r, "model")), r.clone())).collect();
    let (mut checked, mut by_own_price, mut sum) = (0, 0, 0);
    for (api, dialect) in APIS {
        for recording in recordings::of_api(api).unwrap_or_default() {
            let pieces = [&recording.bytes[..]];
            let answer = wire::fold(dialect.dialect(), recording.is_stream, pieces);
            let bill = bill(api, &Value::Object(told(api, &recording)));
            let provider = recording.id.split('/').next().unwrap();
            let (target, row, is_own) = row(&rows, provider, answer.model.as_deref());
            let expected = bill.as_ref().map(|bill| cost(row, bill));
            let usage = answer.usage.unwrap_or_default();
            let got = prices.cost_of(&target, answer.model.as_deref(), &usage).map(u128::from);
            assert_eq!(got, expected, "{} as {target}: {bill:?} {usage:?}", recording.id);
            checked += usize::from(expected.is_some());
            by_own_price += usize::from(expected.is_some() && is_own);
            sum += expected.unwrap_or(0);
        }
    }
    println!("{checked} answers with usage, {by_own_price} by their own model's price, {sum} n$");
    assert!(checked > 400 && by_own_price > 200, "{checked} {by_own_price}");
}
