//! The published JSON Schemas: they describe what the readers read, and nothing else.

mod valid;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use serde_json::json;
use understudy::config;
use understudy::config::Problem;
use understudy::config::schema;

use crate::config::CONFIG;
use crate::config::EXPERIMENT;

/// A key that no section knows and none is near to.
const STRANGER: &str = "zzzzzzzzzzzz";

/// Keys that readers ask for in places only to say why they are not taken there.
const ASKED_AND_REFUSED: [(&str, &str); 4] = [
    ("guardrails", "max_increase"),
    ("providers", "region"),
    ("routes", "max_bytes"),
    ("routes", "vary"),
];

/// What is wrong with a text by its schema.
fn wrong(text: &str) -> Option<String> {
    let document: Value = serde_saphyr::from_str(text).unwrap();
    let schema = match config::is_experiment(text) {
        true if document.get("sentinel").is_some() => schema::sentinel(),
        true => schema::experiment(),
        false => schema::settings(),
    };
    valid::wrong(&schema, &document)
}

#[test]
fn examples_and_the_blocks_of_the_readme_satisfy_their_schema() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![CONFIG.to_owned(), EXPERIMENT.to_owned(), "{}".to_owned()];
    for entry in fs::read_dir(top.join("experiments")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    for readme in ["README.md", "experiments/README.md"] {
        let readme = fs::read_to_string(top.join(readme)).unwrap();
        let blocks = readme.split("```yaml\n").skip(1);
        texts.extend(blocks.filter_map(|block| Some(block.split_once("```")?.0.to_owned())));
    }
    assert!(texts.len() > 10, "only {} documents were found", texts.len());
    for text in texts {
        assert_eq!(wrong(&text), None, "{text}");
    }
}

#[test]
fn broken_documents_do_not_satisfy_their_schema() {
    let experiment = |part: &str| {
        format!(
            "{{ experiment: e, control: {{ target: openai/a }}, \
             candidates: {{ b: {{ target: openai/b }} }}, {part} }}"
        )
    };
    assert_eq!(wrong(&experiment("question: x")), None);
    let parts = [
        "status: paused",
        "salt: ''",
        "match: { rout: a }",
        "match: { route: a, model: b }",
        "match: { fields: { user: 1 } }",
        "match: { fields: { /a: [1] } }",
        "match: { tenants: [x] }",
        "match: { tenants: [] }",
        "match: { share: 0% }",
        "match: { share: 101% }",
        "layer: {}",
        "layer: { name: a b }",
        "layer: { name: a, slice: [1%] }",
        "unit: user",
        "unit: { header: a, field: /b }",
        "unit: { field: b }",
        "control: { target: gpt-4o }",
        "control: {}",
        "control: { target: openai/a, patch: { model: b } }",
        "control: { target: openai/a, system: x }",
        "control: { target: openai/a, system: { replace: x, append: y } }",
        "control: { target: openai/a, system: {} }",
        "control: { target: openai/a, tools: [{}] }",
        "control: { target: openai/a, tools: [{ name: a b }] }",
        "control: { target: openai/a, tools: [{ name: a, parameters: { type: string } }] }",
        "candidates: {}",
        "candidates: { control: { target: openai/b } }",
        "traffic: { split: { b: 200% } }",
        "traffic: { ramp: [0%] }",
        "traffic: { ramp: 5% }",
        "traffic: { step: { after: 1 } }",
        "traffic: { step: { requests: 0 } }",
        "traffic: { shadow: 20 }",
        "traffic: { shadow_daily_usd: 0 }",
        "evaluate: { comparators: [same] }",
        "evaluate: { judge: {} }",
        "evaluate: { budget_usd: -1 }",
        "decide: { goal: better }",
        "decide: { metric: loss }",
        "decide: { min_pairs: 1.5 }",
        "guardrails: { error_rat: { max_ratio: 2 } }",
        "guardrails: { error_rate: {} }",
        "guardrails: { error_rate: { max_ratio: 2, max_increase: 1% } }",
        "guardrails: { ttft_p95: { max_increase: 1% } }",
        "guardrails: { ttft_p95: { max_ratio: 1 } }",
    ];
    let whole = [
        "sentinel: s",
        "{ sentinel: s, target: a, prompts: [x], alarm: { moved: 10% } }",
        "{ sentinel: s, target: openai/a, prompts: [], alarm: { moved: 10% } }",
        "{ sentinel: s, target: openai/a, prompts: [{ a: 1 }], alarm: { moved: 10% } }",
        "{ sentinel: s, target: openai/a, prompts: { last: 5 }, alarm: { moved: 10% } }",
        "{ sentinel: s, target: openai/a, prompts: { file: a, last: 5 }, alarm: { moved: 10% } }",
        "{ sentinel: s, target: openai/a, prompts: [x], alarm: { moved: 10%, margn: 1% } }",
        "{ sentinel: s, target: openai/a, prompts: [x], every: 1, alarm: { moved: 10% } }",
        "{ sentinel: s, target: openai/a, prompts: [x], daily_usd: 0, alarm: { moved: 10% } }",
        "experiment: e",
        "lisen: 127.0.0.1:4100",
        "listen: 4100",
        "providers: { mine: {} }",
        "providers: { v1: { base_url: \"http://a\" } }",
        "providers: { mine: { base_url: \"ftp://a\" } }",
        "providers: { openai: { dialect: open-ai } }",
        "providers: { openai: { api_keys: [x] } }",
        "providers: { openai: { api_keys: [{ env: A, file: b }] } }",
        "providers: { openai: { shadow_api_keys: { env: A } } }",
        "providers: { openai: { auth: basic } }",
        "providers: { openai: { quirks: { thinking: hard } } }",
        "routes: { a: {} }",
        "routes: { a: { targets: [] } }",
        "routes: { a: { targets: [{ weight: 1 }] } }",
        "routes: { a: { targets: [openai/a], cache: { max_bytes: 1GiB } } }",
        "timeouts: { total: 10 }",
        "cache: { mode: of }",
        "cache: { ttl: 1w }",
        "cache: { max_bytes: 1XB }",
        "cache: { samples: 0 }",
        "cache: { cacheable: { sampled: 1 } }",
        "limits: { max_concurrency: 0 }",
        "shadow: { rate: 0 }",
        "shadow: { header: x }",
        "holdout: 100%",
    ];
    let whole = whole.map(str::to_owned);
    // The key is there twice in some, and the last one counts for the schema's reader.
    for text in parts.iter().map(|part| once(&experiment(part), part)).chain(whole) {
        assert!(wrong(&text).is_some(), "{text}");
        assert!(!problems(&text).is_empty(), "only the schema finds fault with {text}");
    }
}

/// An experiment without the usual entry that `part` gives, too.
fn once(text: &str, part: &str) -> String {
    let key = part.split_once(':').map_or("", |(key, _)| key);
    match key {
        "control" => text.replacen(" control: { target: openai/a },", "", 1),
        "candidates" => text.replacen(" candidates: { b: { target: openai/b } },", "", 1),
        _ => text.to_owned(),
    }
}

fn problems(text: &str) -> Vec<Problem> {
    let read = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let named = [("e.yaml".to_owned(), text.to_owned())];
    let loaded = match config::is_experiment(text) {
        true => config::load(None, &named, &|_| None, &read),
        false => config::load(Some(("c.yaml", text)), &[], &|_| None, &read),
    };
    loaded.map_or_else(|problems| problems, |(_, warnings)| warnings)
}

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Item,
}

/// Every map of known keys below a schema, by its place.
fn sections(
    root: &Value,
    schema: &Value,
    at: &[Step],
    out: &mut BTreeMap<Vec<Step>, BTreeSet<String>>,
) {
    let schema = valid::resolved(root, schema);
    let below = |step: Step| [at, &[step]].concat();
    for key in ["anyOf", "oneOf", "allOf"] {
        for branch in schema[key].as_array().into_iter().flatten() {
            sections(root, branch, at, out);
        }
    }
    if let Some(items) = schema.get("items") {
        sections(root, items, &below(Step::Item), out);
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, inner) in properties.into_iter().flatten() {
        sections(root, inner, &below(Step::Key(name.clone())), out);
    }
    match schema.get("additionalProperties") {
        Some(Value::Bool(false)) => {
            let names = properties.into_iter().flatten().map(|(name, _)| name.clone());
            out.entry(at.to_vec()).or_default().extend(names);
        }
        Some(inner) => sections(root, inner, &below(Step::Key("k1".to_owned())), out),
        None => {}
    }
}

/// A stranger in each section makes its reader tell what it knows, which is what the schema says.
#[test]
fn every_section_has_the_keys_that_its_reader_knows() {
    let mut count = 0;
    for (schema, kind) in [
        (schema::experiment(), Some("experiment")),
        (schema::sentinel(), Some("sentinel")),
        (schema::settings(), None),
    ] {
        let mut found = BTreeMap::new();
        sections(&schema, &schema, &[], &mut found);
        for (at, mut described) in found {
            let mut document = json!({STRANGER: 1});
            for step in at.iter().rev() {
                document = match step {
                    Step::Key(key) => json!({key.as_str(): document}),
                    Step::Item => json!([document]),
                };
            }
            if let Some(kind) = kind {
                document[kind] = json!("e");
            }
            let problems = problems(&document.to_string());
            let problem = problems.iter().find(|problem| problem.what.contains(STRANGER));
            let help = problem.and_then(|problem| problem.help.clone()).unwrap_or_default();
            let known = help.strip_prefix("known here: ").unwrap_or_else(|| {
                panic!("the reader of {at:?} does not tell what it knows: {help} {problems:?}")
            });
            let mut known: BTreeSet<String> = known.split(", ").map(str::to_owned).collect();
            if known.remove("…") {
                assert!(known.is_subset(&described), "{at:?}: {known:?}");
                continue;
            }
            for (section, key) in ASKED_AND_REFUSED {
                if at.first() == Some(&Step::Key(section.to_owned())) {
                    known.remove(key);
                    described.remove(key);
                }
            }
            assert_eq!(described, known, "{at:?}");
            count += 1;
        }
    }
    assert!(count > 50, "only {count} sections were found");
}

#[test]
fn check_prints_the_schemas() {
    let print = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_understudy"));
        let output = command.arg("check").args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(print(&["--schema"]), schema::experiment());
    assert_eq!(print(&["--schema", "sentinel"]), schema::sentinel());
    assert_eq!(print(&["--schema", "experiment"]), schema::experiment());
    assert_eq!(print(&["--schema", "config"]), schema::settings());
}
