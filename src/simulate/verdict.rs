//! A judge's verdict as tokens with log-probabilities.

use serde_json::Value;

use super::ask::{Ask, Format};
use super::chance;
use super::pair::Preference;
use super::reply::{Choice, TokenOdds, token_ends};
use super::schema;

/// What providers report for a token that cannot be drawn.
const IMPOSSIBLE: f64 = -9999.0;
/// A reply without a verdict; it must not start with a verdict's letter.
const UNREADABLE: &str = "These two replies are hard to compare, so I would rather not choose.";

/// Probabilities of the verdict's letters: `A`, the first shown is better; `B`, the second; `C`,
/// neither. They sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Letters {
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) c: f64,
}

impl Letters {
    /// A tie is said as `C`, with `A` and `B` equally likely behind it: then both P(B)/(P(A)+P(B))
    /// and (P(B)+P(C)/2)/(P(A)+P(B)+P(C)) are one half. Otherwise `C` is impossible.
    pub(super) fn of(preference: Preference) -> Option<Self> {
        match preference {
            Preference::Unreadable => None,
            Preference::Odds { first, second } if first == second => {
                Some(Self { a: 0.25, b: 0.25, c: 0.5 })
            }
            Preference::Odds { first, second } => Some(Self { a: first, b: second, c: 0.0 }),
        }
    }

    fn odds(self) -> Vec<(String, f64)> {
        let mut rows = vec![("A", self.a), ("B", self.b), ("C", self.c)];
        rows.retain(|(letter, p)| *letter != "C" || *p > 0.0);
        rows.sort_by(|x, y| y.1.total_cmp(&x.1));
        rows.into_iter().map(|(letter, p)| (letter.to_owned(), ln(p))).collect()
    }
}

/// The reply that carries a verdict; `None` stands for a reply nobody can parse.
pub(super) fn choice(ask: &Ask, letters: Option<Letters>) -> Choice {
    let Some(letters) = letters else {
        let mut choice = Choice::saying(UNREADABLE.to_owned());
        choice.odds = ask.top_logprobs.map(|top| choice.pieces().map(|p| sure(p, top)).collect());
        return choice;
    };
    if let Format::Schema(schema) = &ask.format
        && let Some(scores) = rubric(schema, letters)
    {
        return Choice::saying(scores);
    }
    let odds = letters.odds();
    let letter = odds.first().map_or("C", |(letter, _)| letter.as_str());
    let (before, after) = match &ask.format {
        Format::Text => (String::new(), String::new()),
        Format::Json => ("{\"verdict\":\"".to_owned(), "\"}".to_owned()),
        Format::Schema(schema) => around_verdict(schema),
    };
    let mut ends = token_ends(&before);
    let verdict_at = ends.len();
    ends.push(before.len() + 1);
    ends.extend(token_ends(&after).iter().map(|end| before.len() + 1 + end));
    let mut choice = Choice::saying(String::new());
    choice.text = format!("{before}{letter}{after}");
    choice.ends = ends;
    if let Some(top) = ask.top_logprobs {
        let mut all: Vec<TokenOdds> = choice.pieces().map(|piece| sure(piece, top)).collect();
        if let Some(verdict) = all.get_mut(verdict_at) {
            let logprob = odds.first().map_or(0.0, |(_, logprob)| *logprob);
            *verdict = TokenOdds { logprob, top: odds.into_iter().take(top).collect() };
        }
        choice.odds = Some(all);
    }
    choice
}

/// Scores for a schema that asks for them, from `A1` and `B1` on: the likelier an answer is to be
/// better, the higher are its scores.
fn rubric(schema: &Value, letters: Letters) -> Option<String> {
    let properties = schema.get("properties")?.as_object()?;
    let second = letters.b + letters.c / 2.0;
    let score = |property: &Value, share: f64| {
        let all = property.get("enum")?.as_array()?;
        all.get(((all.len().checked_sub(1)?) as f64 * share).round() as usize).cloned()
    };
    properties.contains_key("A1").then_some(())?;
    let mut object = serde_json::Map::new();
    for (name, property) in properties {
        let value = match name.chars().next()? {
            'A' => score(property, 1.0 - second)?,
            'B' => score(property, second)?,
            _ => Value::from("One says more of what was asked."),
        };
        object.insert(name.clone(), value);
    }
    Some(Value::Object(object).to_string())
}

/// The JSON text before and after the verdict's letter, for an object that fits the schema.
fn around_verdict(schema: &Value) -> (String, String) {
    let key = verdict_key(schema);
    let mut rng = chance::rng(0, &[key.as_bytes()]);
    let mut object = match schema::example(schema, &mut rng) {
        Value::Object(object) => object,
        _ => serde_json::Map::new(),
    };
    object.remove(&key);
    let before = format!("{{{}:\"", Value::String(key));
    let rest = Value::Object(object).to_string();
    let after = match rest.strip_prefix('{') {
        Some("}") | None => "\"}".to_owned(),
        Some(rest) => format!("\",{rest}"),
    };
    (before, after)
}

/// The property that holds the verdict: the one whose `enum` has both letters, else one whose
/// name says so, else `verdict`.
fn verdict_key(schema: &Value) -> String {
    let properties = schema.get("properties").and_then(Value::as_object);
    let by_letters = properties.into_iter().flatten().find(|(_, property)| {
        let letters = property.get("enum").and_then(Value::as_array);
        let has = |letter: &str| letters.is_some_and(|all| all.iter().any(|one| one == letter));
        has("A") && has("B")
    });
    let by_name = || {
        let names = ["verdict", "winner", "better", "choice", "answer"];
        names.into_iter().find(|name| properties.is_some_and(|all| all.contains_key(*name)))
    };
    match by_letters {
        Some((key, _)) => key.clone(),
        None => by_name().unwrap_or("verdict").to_owned(),
    }
}

fn sure(piece: &str, top: usize) -> TokenOdds {
    let top = if top == 0 { Vec::new() } else { vec![(piece.to_owned(), 0.0)] };
    TokenOdds { logprob: 0.0, top }
}

fn ln(probability: f64) -> f64 {
    if probability > 0.0 { probability.ln() } else { IMPOSSIBLE }
}

#[cfg(test)]
mod tests {
    use super::{Letters, around_verdict, rubric};
    use crate::simulate::pair::Preference;

    #[test]
    fn the_letters_give_the_preference_back_exactly() {
        for recorded in [1.0, 1.0 + 1e-10, 1.0000001827, 1.3, 1.5, 1.9900139974, 2.0 - 1e-10, 2.0] {
            let preference = Preference::from_recorded(Some(recorded)).unwrap();
            let odds = Letters::of(preference).unwrap().odds();
            let p = |letter: &str| {
                odds.iter().find(|(l, _)| l == letter).map_or(0.0, |(_, logprob)| logprob.exp())
            };
            let two = p("B") / (p("A") + p("B"));
            let three = (p("B") + p("C") / 2.0) / (p("A") + p("B") + p("C"));
            assert!((1.0 + two - recorded).abs() < 1e-12, "{recorded} came back as {two}");
            assert!((1.0 + three - recorded).abs() < 1e-12, "{recorded} came back as {three}");
        }
    }

    #[test]
    fn a_certain_verdict_has_the_log_probabilities_providers_send() {
        let sure = Preference::from_recorded(Some(2.0)).unwrap();
        let odds = Letters::of(sure).unwrap().odds();
        assert_eq!(odds, vec![("B".to_owned(), 0.0), ("A".to_owned(), -9999.0)]);
    }

    #[test]
    fn a_rubrics_scores_follow_the_verdict() {
        let score = serde_json::json!({"type": "integer", "enum": [1, 2, 3, 4, 5]});
        let properties =
            serde_json::json!({"reason": {"type": "string"}, "A1": score, "B1": score});
        let schema = serde_json::json!({"type": "object", "properties": properties});
        for (second, a, b) in [(0.0, 5, 1), (1.0, 1, 5), (0.5, 3, 3)] {
            let letters = Letters { a: 1.0 - second, b: second, c: 0.0 };
            let reply: serde_json::Value =
                serde_json::from_str(&rubric(&schema, letters).unwrap()).unwrap();
            assert_eq!((&reply["A1"], &reply["B1"]), (&a.into(), &b.into()), "{reply}");
            assert!(reply["reason"].is_string());
        }
        let plain = serde_json::json!({"properties": {"verdict": {"enum": ["A", "B"]}}});
        assert_eq!(rubric(&plain, Letters { a: 1.0, b: 0.0, c: 0.0 }), None);
    }

    #[test]
    fn the_verdict_goes_where_the_schema_has_its_letters() {
        let schema = serde_json::json!({
            "type": "object", "required": ["reason", "pick"],
            "properties": {"reason": {"type": "string"}, "pick": {"enum": ["A", "B", "C"]}},
        });
        let (before, after) = around_verdict(&schema);
        let object: serde_json::Value = serde_json::from_str(&format!("{before}B{after}")).unwrap();
        assert_eq!(object["pick"], "B");
        assert!(object["reason"].is_string());
    }
}
