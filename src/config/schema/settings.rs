//! The schema of understudy.yaml.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::choice;
use super::defined;
use super::kind;
use super::list;
use super::map;
use super::names;
use super::section;
use crate::cacheable::CLASSES;
use crate::cacheable::directive::MAX_SAMPLES;
use crate::chat::DIALECTS;
use crate::config::CachePolicy;
use crate::config::Limits;
use crate::config::Shadowing;
use crate::config::cache::MODES;
use crate::config::endpoint::AUTHS;
use crate::config::quirk::MAX_TOKENS;
use crate::config::quirk::REASONING_HISTORY;
use crate::provider::Hole;
use crate::provider::table::PROVIDERS;
use crate::wire::quirk::THINKING;

/// The most places that a queue or a limit may have.
const MOST: u64 = 1_000_000;

/// The whole file.
pub fn whole() -> Value {
    let address = || json!({"type": "string", "pattern": "^.+:[0-9]{1,5}$"});
    let fields = vec![
        ("listen", "Where applications call; 127.0.0.1:4100.", address()),
        ("admin", "Where reports and metrics are; 127.0.0.1:4101.", address()),
        ("health", "Where probes may come from outside; off.", address()),
        ("data_dir", "Where everything is stored.", kind::text()),
        ("providers", "Known names need only what differs.", providers()),
        ("routes", "Model names that applications may ask for.", map(&route())),
        ("timeouts", "How long each stage of a call may take.", timeouts()),
        ("cache", "Whether and how long answers are kept.", cache(true)),
        ("limits", "Sizes that keep memory bounded.", limits()),
        ("shadow", "What copies of requests may take.", shadow()),
        ("prices", "What models cost.", prices()),
        ("callers", "Who may call, by keys of ours.", callers()),
        ("callers_required", "Whether others are refused.", kind::boolean(true)),
        ("holdout", "Share of units that take part in no experiment.", kind::share()),
    ];
    let mut schema = section(fields, &[]);
    schema["properties"]["holdout"]["not"] = json!({"enum": [1, "1", "100%"]});
    schema["$defs"] = json!({
        "known": provider(&[], false),
        "keys": list(&credential()),
        "quirks": quirks(),
    });
    schema
}

fn providers() -> Value {
    let known = PROVIDERS.iter().map(|row| {
        let schema = match row.holes {
            [] => defined("known"),
            holes => provider(holes, false),
        };
        (row.name.to_owned(), schema)
    });
    let known: Map<String, Value> = known.collect();
    json!({
        "type": ["object", "null"],
        "properties": known,
        "propertyNames": {"allOf": [kind::name()], "not": {"enum": ["v1", "v1beta"]}},
        "additionalProperties": provider(&[], true),
    })
}

/// A provider with these holes in its base URL, which a new one has to say whole.
fn provider(holes: &[Hole], is_new: bool) -> Value {
    let dialect = choice(DIALECTS);
    let several = json!({"type": "array", "items": choice(DIALECTS), "minItems": 1});
    let header =
        section(vec![("header", "The header that holds the key.", kind::header())], &["header"]);
    let url = json!({"type": "string", "pattern": "^https?://[^@?#]+$"});
    let headers = map(&json!({"type": ["string", "number", "boolean"]}));
    let mut fields = vec![
        ("dialect", "What it speaks, or a list of that.", json!({"anyOf": [dialect, several]})),
        ("base_url", "What the provider's own SDK takes.", url),
        ("auth", "How it wants its key.", json!({"anyOf": [choice(AUTHS), header]})),
        ("api_keys", "Keys that replace those of applications.", defined("keys")),
        ("shadow_api_keys", "Keys for copies of requests.", defined("keys")),
        ("headers", "Headers sent with every request.", headers),
        ("quirks", "How it differs from others of its dialect.", defined("quirks")),
    ];
    fields.extend(holes.iter().map(|hole| (hole.name, "A part of its base URL.", kind::text())));
    if !holes.iter().any(|hole| hole.name == "region") {
        fields.push(("region", "Where requests that are signed are sent to.", kind::text()));
    }
    section(fields, if is_new { &["base_url"] } else { &[] })
}

fn credential() -> Value {
    let variable = json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"});
    let sources = [
        ("env", "An environment variable.", variable),
        ("file", "A file.", kind::text()),
        ("value", "The key itself.", kind::text()),
    ];
    json!({"oneOf": sources.map(|source| {
        let name = source.0;
        section(vec![source], &[name])
    })})
}

fn quirks() -> Value {
    let flag = || json!({"type": "boolean"});
    let fields = vec![
        ("max_tokens", "The field for the most tokens.", choice(MAX_TOKENS)),
        ("thinking", "How thinking is asked for.", choice(THINKING)),
        ("reasoning_history", "Where earlier reasoning returns.", choice(REASONING_HISTORY)),
        ("developer_role", "Knows the role developer.", flag()),
        ("stream_usage", "Takes stream_options.include_usage.", flag()),
        ("json_schema", "Takes response_format: json_schema.", flag()),
    ];
    section(fields, &[])
}

fn route() -> Value {
    let weight = kind::count(0, MOST, None);
    let weighted = section(
        vec![
            ("target", "Who answers.", kind::target()),
            ("weight", "Its share of the route, beside the others'.", weight),
        ],
        &["target"],
    );
    let targets = json!({
        "type": "array",
        "items": {"anyOf": [kind::target(), weighted]},
        "minItems": 1,
    });
    let fields = vec![
        ("targets", "Who answers, in order of preference.", targets),
        ("timeouts", "Limits of this route.", timeouts()),
        ("cache", "What the cache may do on this route.", cache(false)),
    ];
    section(fields, &["targets"])
}

fn timeouts() -> Value {
    let fields = vec![
        ("connect", "Until the connection stands.", kind::duration()),
        ("first_token", "Until the first byte of the answer's body.", kind::duration()),
        ("idle", "Between two pieces of the body.", kind::duration()),
        ("total", "The whole call.", kind::duration()),
    ];
    section(fields, &[])
}

/// There is one store, so two keys are for the whole file only.
fn cache(is_top: bool) -> Value {
    let usual = CachePolicy::default();
    // YAML readers take a bare `on` or `off` for a boolean.
    let mode: Vec<Value> =
        names(MODES).into_iter().map(Value::from).chain([true.into(), false.into()]).collect();
    let classes =
        CLASSES.iter().map(|class| (class.name, class.why, kind::boolean(class.by_default)));
    let samples = kind::count(1, MAX_SAMPLES.into(), Some(usual.samples.into()));
    let mut fields = vec![
        ("mode", "What the cache may do.", json!({"enum": mode})),
        ("ttl", "How long an answer stays fresh.", kind::duration()),
        ("errors", "How long a failure is served again.", kind::duration_or_none()),
        ("samples", "Answers kept of one prompt.", samples),
        ("coalesce", "Identical requests share one call.", kind::boolean(usual.coalesce)),
        ("cacheable", "Which requests may be served again.", section(classes.collect(), &[])),
    ];
    if is_top {
        let vary = json!({"type": "array", "items": kind::header(), "uniqueItems": true});
        fields.push(("max_bytes", "The most that answers may take on disk.", kind::size()));
        fields.push(("vary", "Headers that keep answers apart.", vary));
    }
    section(fields, &[])
}

fn limits() -> Value {
    let usual = Limits::default();
    let places = |usual: usize| kind::count(1, MOST, u64::try_from(usual).ok());
    let copies = places(Shadowing::default().concurrency);
    let fields = vec![
        ("max_request_bytes", "The largest request taken.", kind::size()),
        ("max_answer_bytes", "The largest answer kept.", kind::size()),
        ("max_concurrency", "Requests open at once.", places(usual.max_concurrency)),
        ("shadow_concurrency", "The older name of shadow.concurrency.", copies),
        ("shadow_queue", "Copies that wait.", places(usual.shadow_queue)),
        ("judge_concurrency", "Judge calls under way at once.", places(usual.judge_concurrency)),
        ("recorder_queue", "Records that wait for the disk.", places(usual.recorder_queue)),
        ("socket_life", "How long a WebSocket may stay open.", kind::duration()),
        ("socket_idle", "How long a WebSocket may be silent.", kind::duration()),
        ("drain", "How long streams may go on after SIGTERM.", kind::duration_or_none()),
    ];
    section(fields, &[])
}

fn callers() -> Value {
    let names = || json!({"type": "array", "items": kind::text()});
    let most = || kind::count(1, 1_000_000_000_000, None);
    let limits = vec![
        ("requests_per_minute", "Requests begun in a minute.", most()),
        ("tokens_per_minute", "Tokens in and out in a minute.", most()),
        ("concurrency", "Requests open at once.", most()),
    ];
    let budget = vec![
        ("usd_per_day", "Dollars in a day of UTC.", kind::above(0.0)),
        ("usd_per_month", "Dollars in a month of UTC.", kind::above(0.0)),
        ("tokens_per_day", "Tokens in and out in a day.", most()),
        ("tokens_per_month", "Tokens in and out in a month.", most()),
    ];
    let hash = json!({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"});
    let fields = vec![
        ("key_blake3", "The hash of its key.", hash),
        ("key", "Where its key is, instead of the hash.", credential()),
        ("routes", "Routes it may ask.", names()),
        ("models", "Targets it may ask, or provider/*.", names()),
        ("limits", "How much at once and in a minute.", section(limits, &[])),
        ("budget", "How much in a day and a month.", section(budget, &[])),
        ("metadata", "What its costs can be summed by.", map(&kind::text())),
    ];
    map(&section(fields, &[]))
}

fn prices() -> Value {
    let url = json!({"type": "string", "pattern": "^https?://[^@]+$"});
    let alias = map(&kind::text());
    let fields = vec![
        ("file", "Your own prices, which win over all others.", kind::text()),
        ("feed", "A table of prices that is fetched again and again.", url),
        ("every", "How often the feed is fetched; 6h.", kind::duration()),
        ("alias", "Names whose prices are another's.", alias),
    ];
    section(fields, &[])
}

fn shadow() -> Value {
    let usual = Shadowing::default();
    let places = kind::count(1, MOST, u64::try_from(usual.concurrency).ok());
    let fields = vec![
        ("concurrency", "Copies under way at once.", places),
        ("rate", "Copies begun in a second.", kind::above(0.0)),
        ("daily_usd", "The most that all copies may cost in a day.", kind::above(0.0)),
        ("header", "Whether a header marks copies.", kind::boolean(usual.header)),
    ];
    section(fields, &[])
}
