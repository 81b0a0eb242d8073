//! The schema of an experiment.

use serde_json::Value;
use serde_json::json;

use super::choice;
use super::kind;
use super::list;
use super::map;
use super::section;
use crate::compare::COMPARATORS;
use crate::config::definition::STATUSES;
use crate::config::evaluation::GOALS;
use crate::config::evaluation::METRICS as DECIDED;
use crate::config::judge::CHARS;
use crate::config::judge::FORMS;
use crate::config::judge::MAX_CRITERIA;
use crate::config::judge::MAX_JUDGES;
use crate::config::judge::METHODS;
use crate::config::judge::SCALES;
use crate::config::variant::CONTROL;
use crate::config::variant::MAX_CANDIDATES;
use crate::config::variant::MAX_TOOL_NAME;
use crate::config::variant::SYSTEM_CHANGES;
use crate::experiment::METRICS;
use crate::experiment::Metric;
use crate::experiment::Step;
use crate::experiment::evaluate::HUMAN;
use crate::experiment::evaluate::MAX_CHARS;

/// An experiment.
pub fn whole() -> Value {
    let candidates = json!({
        "type": "object",
        "propertyNames": {"allOf": [kind::name()], "not": {"const": CONTROL}},
        "additionalProperties": variant(),
        "minProperties": 1,
        "maxProperties": MAX_CANDIDATES,
    });
    let text = kind::text;
    let fields = vec![
        ("experiment", "Its name, unique among all files.", kind::name()),
        ("question", "What you want to know; shown in reports.", text()),
        (
            "status",
            "Whether requests take part; running unless it says otherwise.",
            choice(STATUSES),
        ),
        ("salt", "What units are hashed with instead of the name.", text()),
        ("match", "Which requests take part; every condition has to hold.", matches()),
        ("layer", "A slice of units shared with no other slice of that layer.", layer()),
        ("unit", "What stays on its variant.", unit()),
        ("control", "Who answers today.", variant()),
        ("candidates", "Who might answer, one to four, by names of your choice.", candidates),
        ("traffic", "Who sees a candidate's answer, and which requests make a pair.", traffic()),
        ("evaluate", "How pairs are scored.", evaluate()),
        ("decide", "When the evidence is enough, and for what.", decide()),
        ("guardrails", "What must not get worse.", guardrails()),
    ];
    section(fields, &["experiment", CONTROL, "candidates"])
}

fn matches() -> Value {
    let fields = json!({
        "type": ["object", "null"],
        "propertyNames": {"pattern": kind::POINTER},
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    });
    let tenant = json!({"type": "string", "pattern": "^[0-9A-Fa-f]{16}$"});
    let tenants = json!({"type": "array", "items": tenant, "minItems": 1, "uniqueItems": true});
    let headers = map(&json!({"type": ["string", "number", "boolean"]}));
    let mut schema = section(
        vec![
            ("route", "A route of understudy.yaml, or a target.", kind::text()),
            ("model", "A model name that is not a route.", kind::text()),
            ("headers", "Headers, each with the exact value it has to have.", headers),
            ("fields", "JSON pointers into the body, each with the value there.", fields),
            ("tenants", "Tenants, as `understudy explain` shows them.", tenants),
            ("share", "Share of units that take part.", kind::some_share()),
        ],
        &[],
    );
    schema["not"] = json!({"required": ["route", "model"]});
    schema
}

fn layer() -> Value {
    let slice = json!({"type": "array", "items": kind::share(), "minItems": 2, "maxItems": 2});
    let fields = vec![
        ("name", "Experiments that name the same layer share its units.", kind::name()),
        ("slice", "Where the slice begins and ends.", slice),
    ];
    section(fields, &["name"])
}

fn unit() -> Value {
    let source = |name: &'static str, what: &'static str, schema: Value| {
        section(vec![(name, what, schema)], &[name])
    };
    json!({"oneOf": [
        {"const": "conversation"},
        source("header", "A header of the request.", kind::header()),
        source("field", "A JSON pointer into the request's body.", kind::pointer()),
    ]})
}

/// Who answers, and what is changed for it.
pub fn variant() -> Value {
    let patch = json!({
        "type": ["object", "null"],
        "properties": {"model": false, "stream": false},
    });
    let fields = vec![
        ("target", "The provider and its model.", kind::target()),
        ("patch", "A JSON merge patch (RFC 7396) over the request's body.", patch),
        ("system", "What becomes of the system prompt.", system()),
        ("tools", "What takes the place of the request's functions.", list(&tool())),
    ];
    section(fields, &["target"])
}

fn system() -> Value {
    let changes = SYSTEM_CHANGES.map(|(name, _)| (name, "The text.", kind::text()));
    let mut schema = section(changes.to_vec(), &[]);
    schema["type"] = "object".into();
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = 1.into();
    schema
}

fn tool() -> Value {
    let name = json!({
        "type": ["string", "number"],
        "pattern": format!("^[A-Za-z0-9_-]{{1,{MAX_TOOL_NAME}}}$"),
    });
    let parameters = json!({"type": "object", "properties": {"type": {"const": "object"}}});
    let fields = vec![
        ("name", "What the model calls it.", name),
        ("description", "What it is for.", kind::text()),
        ("parameters", "The JSON Schema of its arguments.", parameters),
        ("strict", "Whether arguments must keep to it.", json!({"type": "boolean"})),
    ];
    section(fields, &["name"])
}

fn traffic() -> Value {
    let step = Step::default();
    let requests = kind::count(1, 1_000_000_000, Some(step.requests));
    let step = section(
        vec![
            ("after", "Time since the last step.", kind::duration()),
            ("requests", "Answers of the candidate since the last step.", requests),
        ],
        &[],
    );
    let fields = vec![
        ("split", "Share of units that get each candidate's answer.", map(&kind::share())),
        ("ramp", "Rising shares that each candidate goes through.", list(&kind::some_share())),
        ("step", "What has to hold before the next share of the ramp.", step),
        ("shadow", "Share of requests that make a pair.", kind::share()),
        ("again", "Share of pairs for which control is asked twice.", kind::share()),
        ("shadow_daily_usd", "The most that copies may cost in a day.", kind::above(0.0)),
    ];
    section(fields, &[])
}

/// How pairs are scored.
pub fn evaluate() -> Value {
    let comparators = json!({"type": "array", "items": choice(COMPARATORS), "uniqueItems": true});
    let count = |most| kind::count(1, most, None);
    let fields = vec![
        ("comparators", "Free checks that settle a pair.", comparators),
        ("judge", "The model or panel that compares the other pairs, or `human`.", judges()),
        ("sample", "Share of the other pairs that are judged.", kind::some_share()),
        ("quorum", "Verdicts of a panel that are enough.", count(MAX_JUDGES as u64)),
        ("audit", "What the judge is held to, by check.", audit()),
        ("budget_usd", "The most that judging may cost.", kind::above(0.0)),
        ("daily_usd", "The most that judging may cost in a day.", kind::above(0.0)),
        ("concurrency", "Pairs judged at once.", count(1_000_000)),
    ];
    section(fields, &[])
}

fn audit() -> Value {
    let shares = [
        ("order_consistency", "Least share of pairs that both orders agree on."),
        ("repeat_reliability", "Least share of repeated questions with one answer."),
        ("false_preference", "How far from even control against itself may be."),
        ("human_agreement", "Least Cohen's kappa of people and the judge."),
        ("prompt_independence", "How much more often than the other one side may repeat itself."),
        ("injection", "How many more answers of one side may speak to the judge."),
        ("missing_verdicts", "Largest share of pairs without a verdict."),
    ];
    let mut fields: Vec<_> =
        shares.into_iter().map(|(name, about)| (name, about, kind::share())).collect();
    let about = "The e-value from which a preference for a position is told of.";
    fields.push(("position_bias", about, kind::above(1.0)));
    section(fields, &[])
}

fn judges() -> Value {
    let person = section(vec![("target", "People.", json!({"const": HUMAN}))], &["target"]);
    let panel = json!({
        "type": "array", "items": judge(), "minItems": 1, "maxItems": MAX_JUDGES,
    });
    json!({"anyOf": [judge(), panel, {"const": HUMAN}, person]})
}

/// A judge of single answers, which a route's cascade asks.
pub fn referee() -> Value {
    let (least, most) = CHARS;
    let temperature = json!({"type": "number", "minimum": 0, "maximum": 2});
    let chars = kind::count(least, most, Some(MAX_CHARS as u64));
    let fields = vec![
        ("target", "A model whose answers it does not judge.", kind::target()),
        ("criteria", "What makes an answer good enough, in your words.", criteria()),
        ("timeout", "How long its word may take; 10s.", kind::duration()),
        ("max_chars", "Characters of each text shown.", chars),
        ("temperature", "How freely it draws its words.", temperature),
    ];
    section(fields, &["target"])
}

fn criteria() -> Value {
    json!({"anyOf": [
        kind::text(),
        {"type": "array", "items": kind::text(), "minItems": 1, "maxItems": MAX_CRITERIA},
    ]})
}

fn judge() -> Value {
    let both = json!({"anyOf": [kind::boolean(true), kind::share()]});
    let (least, most) = CHARS;
    let source = |name: &'static str, what: &'static str, schema: Value| {
        section(vec![(name, what, schema)], &[name])
    };
    let reference = json!({"oneOf": [
        source("header", "A header of the request.", kind::header()),
        source("field", "A JSON pointer into the request's body.", kind::pointer()),
    ]});
    let temperature = json!({"type": "number", "minimum": 0, "maximum": 2, "default": 0});
    let fields = vec![
        ("target", "A model that is not under test.", kind::target()),
        ("criteria", "What makes an answer good, in your words.", criteria()),
        ("both_orders", "Ask twice, with the answers swapped.", both),
        ("method", "Which is better, or a score for each criterion.", choice(METHODS)),
        ("scale", "The scores of a rubric.", choice(SCALES)),
        ("reasons", "Say why before the verdict.", kind::boolean(false)),
        ("verdict", "What a verdict looks like.", choice(FORMS)),
        ("template", "How the question is put, in minijinja.", kind::text()),
        ("reference", "Where the request has a good answer.", reference),
        (
            "max_chars",
            "Characters of each text shown.",
            kind::count(least, most, Some(MAX_CHARS as u64)),
        ),
        ("repeat", "Share of pairs asked once more.", kind::share()),
        ("temperature", "How freely it draws its words.", temperature),
    ];
    section(fields, &["target"])
}

fn decide() -> Value {
    let pairs = |usual| kind::count(1, 1_000_000_000, Some(usual));
    let fields = vec![
        ("metric", "What the decision is about.", choice(DECIDED)),
        ("goal", "Better, not worse, or the same.", choice(GOALS)),
        ("margin", "The difference from 50% that matters.", kind::some_share()),
        ("alpha", "The chance of a wrong verdict.", kind::some_share()),
        ("min_pairs", "No verdict before this many.", pairs(50)),
        ("max_pairs", "A verdict at the latest after this many.", pairs(10_000)),
    ];
    section(fields, &[])
}

fn guardrails() -> Value {
    let fields = METRICS.iter().map(|(name, metric)| (*name, meaning(*metric), limit(*metric)));
    section(fields.collect(), &[])
}

fn limit(metric: Metric) -> Value {
    let ratio = ("max_ratio", "How many times control's it may be.", kind::above(1.0));
    let increase = ("max_increase", "How much above control's it may be.", kind::some_share());
    let fields = if metric.is_rate() { vec![increase, ratio] } else { vec![ratio] };
    let mut schema = section(fields, &[]);
    schema["type"] = "object".into();
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = 1.into();
    schema
}

fn meaning(metric: Metric) -> &'static str {
    match metric {
        Metric::CostPerRequest => "Dollars.",
        Metric::EmptyRate => "Answers without a word or a call.",
        Metric::ErrorRate => "Requests that failed.",
        Metric::Latency(_) => "Time until the end, at this percentile.",
        Metric::RefusalRate => "Answers that refuse.",
        Metric::SchemaInvalidRate => "Answers that do not keep to the schema asked for.",
        Metric::TokensPerRequest => "Tokens in and out.",
        Metric::ToolInvalidRate => "Answers with calls of unknown tools or of invalid arguments.",
        Metric::TruncatedRate => "Answers that stopped at the limit of tokens.",
        Metric::Ttft(_) => "Time until the first piece of the answer, at this percentile.",
    }
}
