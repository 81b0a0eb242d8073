//! What is known of a pair besides its score: for audits, segments and clusters.

use std::collections::BTreeMap;

use crate::compare::language;
use crate::compare::text::letters;
use crate::experiment::Target;
use crate::judge::pair::Pair;
use crate::judge::shown;
use crate::judge::suspicion;
use crate::pair::Facts;
use crate::pair::Half;
use crate::pair::Look;
use crate::price::Prices;
use crate::wire::turn::Turn;

/// Lengths of conversations, in characters, and what those up to there are called.
const LENGTHS: [(usize, &str); 4] =
    [(500, "up_to_500"), (2_000, "up_to_2000"), (8_000, "up_to_8000"), (32_000, "up_to_32000")];

/// What longer ones are called.
const LONGEST: &str = "over_32000";

/// What is known of a pair before anybody judges it.
pub fn of(pair: &Pair, prices: &Prices) -> Facts {
    Facts {
        unit: pair.intent.head.unit,
        segments: segments(pair),
        control: look(&pair.control, prices),
        candidate: look(&pair.candidate, prices),
        ..Facts::default()
    }
}

/// Where the request belongs; a dimension about which nothing is known is left out.
fn segments(pair: &Pair) -> BTreeMap<String, String> {
    let head = &pair.intent.head;
    let mut segments = BTreeMap::new();
    let mut put = |dimension: &str, value: &str| {
        if !value.is_empty() {
            segments.insert(dimension.to_owned(), value.to_owned());
        }
    };
    put("route", &head.route);
    put("tenant", &head.tenant);
    if let Some(request) = &pair.request {
        put("tools", if request.tools.is_empty() { "without" } else { "with" });
        put("prompt_length", length(&pair.turns));
        put("language", language::or_other(said_last(&pair.turns)));
    }
    segments
}

fn length(turns: &[Turn]) -> &'static str {
    let chars: usize = turns.iter().map(|turn| turn.text.chars().count()).sum();
    LENGTHS.iter().find(|(most, _)| chars <= *most).map_or(LONGEST, |(_, name)| name)
}

fn said_last(turns: &[Turn]) -> &str {
    turns.iter().rev().find(|turn| turn.role == "user").map_or("", |turn| &turn.text)
}

/// What can be seen of an answer without understanding it.
pub fn look(half: &Half, prices: &Prices) -> Look {
    let text = shown::answer(&half.answer);
    let evened: String = letters(&text).collect();
    let digest = blake3::hash(evened.as_bytes());
    let digest = digest.as_bytes().first_chunk().copied().unwrap_or_default();
    let usage = half.answer.usage.unwrap_or_default();
    let model = half.answer.model.as_deref();
    let cost = Target::parse(&half.target).and_then(|t| prices.cost_of(&t, model, &usage));
    Look {
        chars: u32::try_from(text.chars().count()).unwrap_or(u32::MAX),
        digest: u64::from_le_bytes(digest),
        suspicious: suspicion::is_suspicious(&text),
        first_us: half.first_us,
        took_us: half.took_us,
        cost_nano_usd: cost,
        output_tokens: usage.output_tokens,
    }
}
