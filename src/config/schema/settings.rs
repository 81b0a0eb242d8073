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
use crate::config::credential::MAX_WEIGHT;
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
        ("secrets", "Where keys are kept, and who asks for them.", secrets()),
        ("routes", "Model names that applications may ask for.", map(&route())),
        ("timeouts", "How long each stage of a call may take.", timeouts()),
        ("cache", "Whether and how long answers are kept.", cache(true)),
        ("limits", "Sizes that keep memory bounded.", limits()),
        ("shadow", "What copies of requests may take.", shadow()),
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

fn variable() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})
}

fn credential() -> Value {
    let vault = section(
        vec![
            ("path", "Its mount, `data`, and its path.", kind::text()),
            ("field", "The field that holds the key.", kind::text()),
        ],
        &["path", "field"],
    );
    let aws = section(
        vec![
            ("secret", "Its name or ARN.", kind::text()),
            ("field", "The field of a JSON object that holds the key.", kind::text()),
            ("region", "Where it is; AWS_REGION.", kind::text()),
        ],
        &["secret"],
    );
    let sources = [
        ("env", "An environment variable.", variable()),
        ("file", "A file.", kind::text()),
        ("value", "The key itself.", kind::text()),
        ("vault", "A secret in Vault or OpenBao.", vault),
        ("aws", "A secret in AWS Secrets Manager.", aws),
    ];
    json!({"oneOf": sources.map(|source| {
        let name = source.0;
        let weight = kind::count(1, MAX_WEIGHT, Some(1));
        section(vec![source, ("weight", "Its share, beside the others'.", weight)], &[name])
    })})
}

/// How stores of secrets are reached.
fn secrets() -> Value {
    let given = || {
        json!({"oneOf": [
            section(vec![("env", "An environment variable.", variable())], &["env"]),
            section(vec![("file", "A file.", kind::text())], &["file"]),
        ]})
    };
    let mount = || ("mount", "Where the method is mounted.", kind::text());
    let app_role = section(
        vec![
            ("role_id", "The role's id.", kind::text()),
            ("secret_id", "What goes with it.", given()),
            mount(),
        ],
        &["role_id", "secret_id"],
    );
    let kubernetes = section(
        vec![
            ("role", "The role in Vault.", kind::text()),
            ("token_file", "The service account's token.", kind::text()),
            mount(),
        ],
        &["role"],
    );
    let ways = [
        ("token", "A token.", given()),
        ("app_role", "A role's id and secret.", app_role),
        ("kubernetes", "The pod's service account.", kubernetes),
    ];
    let auth = json!({"oneOf": ways.map(|way| {
        let name = way.0;
        section(vec![way], &[name])
    })});
    let url = || json!({"type": "string", "pattern": "^https?://[^@?#]+$"});
    let vault = vec![
        ("address", "Where it is; VAULT_ADDR.", url()),
        ("namespace", "Its namespace; VAULT_NAMESPACE.", kind::text()),
        ("ca_file", "Who its certificate is from; VAULT_CACERT.", kind::text()),
        ("auth", "Who asks; VAULT_TOKEN.", auth),
    ];
    let aws = vec![
        ("region", "Where secrets are; AWS_REGION.", kind::text()),
        ("endpoint", "What is asked instead of AWS; AWS_ENDPOINT_URL.", url()),
    ];
    let fields = vec![
        ("vault", "A Vault or OpenBao server.", section(vault, &[])),
        ("aws", "AWS Secrets Manager.", section(aws, &[])),
        ("refresh", "Between two looks at a secret; 60s.", kind::duration()),
    ];
    section(fields, &[])
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
