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
use super::secret::at_hand;
use super::secret::credential;
use super::secret::secrets;
use super::section;
use crate::cacheable::CLASSES;
use crate::cacheable::directive::MAX_SAMPLES;
use crate::cascade::CHECKS;
use crate::cascade::ON_FAILURE;
use crate::chat::DIALECTS;
use crate::config::CachePolicy;
use crate::config::Limits;
use crate::config::Shadowing;
use crate::config::cache::MODES;
use crate::config::endpoint::AUTHS;
use crate::config::endpoint::MOST_A_MINUTE;
use crate::config::persistence::MOST_ATTEMPTS;
use crate::config::persistence::MOST_REQUESTS;
use crate::config::quirk::MAX_TOKENS;
use crate::config::quirk::REASONING_HISTORY;
use crate::config::route::MOST_TOKENS;
use crate::config::route::POLICIES;
use crate::health::breaker::Rules;
use crate::provider::Hole;
use crate::provider::table::PROVIDERS;
use crate::quota::Quota;
use crate::redact::BUILT_IN;
use crate::redact::MAX_PATTERN;
use crate::redact::MOST_RULES;
use crate::retry::Retry;
use crate::wire::quirk::THINKING;

/// The most places that a queue or a limit may have.
const MOST: u64 = 1_000_000;

/// The whole file.
pub fn whole() -> Value {
    let address = || json!({"type": "string", "pattern": "^.+:[0-9]{1,5}$"});
    let fields = vec![
        ("listen", "Where applications call; 127.0.0.1:4100.", address()),
        ("admin", "Where reports and metrics are; 127.0.0.1:4101.", address()),
        ("admin_token", "What the admin plane wants to hear, or none.", token()),
        ("health", "Where probes may come from outside; off.", address()),
        ("data_dir", "Where everything is stored.", kind::text()),
        ("ca_file", "Authorities of certificates beside the system's.", kind::text()),
        ("encryption_keys", "What is stored is encrypted with.", list(&at_hand())),
        ("providers", "Known names need only what differs.", providers()),
        ("forward_headers", "Headers of yours that travel, too.", forwarded()),
        ("allow_hosts", "Names that browsers may call by or come from.", hosts()),
        ("secrets", "Where keys are kept, and who asks for them.", secrets()),
        ("routes", "Model names that applications may ask for.", map(&route())),
        ("timeouts", "How long each stage of a call may take.", timeouts()),
        ("retry", "How calls that fail are made again.", retry()),
        ("breaker", "When a target is left alone.", breaker()),
        ("cache", "Whether and how long answers are kept.", cache(true)),
        ("limits", "Sizes that keep memory bounded.", limits()),
        ("redact", "What must not be stored or judged.", redact()),
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
        "quota": quota(),
        "ping": ping(),
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
        ("forward_headers", "Headers of yours that travel, too.", forwarded()),
        ("allow_link_local", "May be at a link-local address.", kind::boolean(false)),
        ("quirks", "How it differs from others of its dialect.", defined("quirks")),
        ("limits", "What may be asked of it.", defined("quota")),
        ("ping", "How it is asked whether it is well again.", defined("ping")),
    ];
    fields.extend(holes.iter().map(|hole| (hole.name, "A part of its base URL.", kind::text())));
    if !holes.iter().any(|hole| hole.name == "region") {
        fields.push(("region", "Where requests that are signed are sent to.", kind::text()));
    }
    section(fields, if is_new { &["base_url"] } else { &[] })
}

fn token() -> Value {
    json!({"anyOf": [{"const": "none"}, at_hand()]})
}

/// Names of headers, without those that belong to one connection.
fn forwarded() -> Value {
    json!({"type": "array", "items": kind::header()})
}

fn hosts() -> Value {
    json!({"type": "array", "items": {"type": "string", "pattern": "^[^@:/ ]+$"}})
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

fn quota() -> Value {
    let usual = Quota::default();
    let in_a_minute = || kind::count(1, MOST_A_MINUTE, None);
    let fields = vec![
        ("requests_per_minute", "Calls begun in a minute.", in_a_minute()),
        ("tokens_per_minute", "Tokens of prompts and answers in a minute.", in_a_minute()),
        ("concurrency", "Calls under way at once.", kind::count(1, MOST, None)),
        ("wait", "How long a call may wait for its turn; 1s.", kind::duration_or_none()),
        ("learn", "Whether the provider's own word counts.", kind::boolean(usual.learn)),
    ];
    section(fields, &[])
}

fn ping() -> Value {
    let path = json!({"type": "string", "pattern": "^/"});
    let fields = vec![
        ("path", "What is asked for, below the base URL.", path),
        ("every", "How often; 30s.", kind::duration()),
    ];
    section(fields, &["path"])
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
    let flag = || json!({"type": "boolean"});
    let tokens = || kind::count(0, MOST_TOKENS, None);
    let condition = vec![
        ("headers", "Headers with these values.", map(&kind::text())),
        ("fields", "What the body holds at JSON pointers.", json!({"type": ["object", "null"]})),
        ("tenants", "As `understudy explain` shows them.", list(&kind::text())),
        ("min_tokens", "So many tokens of prompt at least.", tokens()),
        ("max_tokens", "So many tokens of prompt at most.", tokens()),
        ("tools", "Whether tools are offered.", flag()),
        ("stream", "Whether a stream is wanted.", flag()),
    ];
    let clause = vec![
        ("if", "Everything that has to hold.", section(condition, &[])),
        ("targets", "Who answers then.", targets.clone()),
    ];
    let matters = || json!({"type": "number", "minimum": 0, "maximum": 1000, "default": 1});
    let score = vec![
        ("cost", "How much a low price matters.", matters()),
        ("latency", "How much a short time matters.", matters()),
        ("quality", "How much wins in experiments matter.", matters()),
    ];
    let fields = vec![
        ("targets", "Who answers, in order of preference.", targets),
        ("when", "The first whose condition holds.", list(&section(clause, &["if", "targets"]))),
        ("choose", "Who is asked first.", choice(POLICIES)),
        ("score", "What matters how much for choose: score.", section(score, &[])),
        ("cascade", "What answers of all but the last have to be.", cascade()),
        ("timeouts", "Limits of this route.", timeouts()),
        ("retry", "How calls that fail are made again.", retry()),
        ("hedge", "When a second call is made beside the first.", hedge()),
        ("cache", "What the cache may do on this route.", cache(false)),
    ];
    section(fields, &["targets"])
}

fn cascade() -> Value {
    let checks = json!({"type": "array", "items": choice(CHECKS), "uniqueItems": true});
    let fields = vec![
        ("accept", "What has to hold of an answer.", checks),
        ("judge", "Who has to accept it besides.", super::experiment::referee()),
        ("on_failure", "What counts when the judge fails.", choice(ON_FAILURE)),
    ];
    section(fields, &[])
}

fn timeouts() -> Value {
    let fields = vec![
        ("connect", "Until the connection stands.", kind::duration()),
        ("first_token", "Until a stream's first content.", kind::duration()),
        ("idle", "Between two pieces of the body.", kind::duration()),
        ("total", "The whole call.", kind::duration()),
    ];
    section(fields, &[])
}

fn retry() -> Value {
    let usual = Retry::default();
    let attempts = kind::count(0, MOST_ATTEMPTS, Some(usual.attempts.into()));
    let fields = vec![
        ("attempts", "Further calls to the same target.", attempts),
        ("backoff", "The longest wait before the first of them.", kind::duration()),
        ("max_backoff", "The longest wait of our own.", kind::duration()),
        ("max_wait", "The longest wait a provider may ask for.", kind::duration_or_none()),
        ("budget", "Further calls as a share of first ones.", kind::share()),
        ("empty", "Whether an empty answer is a failure.", kind::boolean(usual.empty)),
    ];
    section(fields, &[])
}

fn hedge() -> Value {
    let fields = vec![
        ("after", "How long the first call has to begin.", kind::duration()),
        ("budget", "Second calls as a share of first ones.", kind::share()),
    ];
    section(fields, &["after"])
}

fn breaker() -> Value {
    let usual = Rules::default();
    let requests = kind::count(1, MOST_REQUESTS, u64::try_from(usual.requests).ok());
    let mut rate = kind::share();
    rate["not"] = json!({"enum": [0, "0", "0%"]});
    let fields = vec![
        ("failures", "Failures in a row.", kind::count(1, MOST, Some(usual.failures.into()))),
        ("rate", "Share of the last calls that failed.", rate),
        ("requests", "How many calls the share is taken of.", requests),
        ("open", "How long it is left alone at first.", kind::duration()),
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
        ("key", "Where its key is, instead of the hash.", at_hand()),
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

fn redact() -> Value {
    let known =
        BUILT_IN.iter().map(|known| json!({"const": known.name, "description": known.what}));
    let pattern = json!({"type": "string", "minLength": 1, "maxLength": MAX_PATTERN});
    let fields = vec![
        ("name", "What stands for a match, in brackets.", kind::name()),
        ("pattern", "A regular expression.", pattern),
    ];
    let own = section(fields, &["name", "pattern"]);
    let rules: Vec<Value> = known.chain([own]).collect();
    json!({"type": "array", "items": {"anyOf": rules}, "maxItems": MOST_RULES})
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
