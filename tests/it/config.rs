//! Loading of understudy.yaml and experiments: what is accepted, and every problem at its place.

use std::io;
use std::path::Path;
use std::time::Duration;

use http::Uri;
use http::header::HeaderName;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert;
use proptest::proptest;
use secrecy::ExposeSecret;
use serde_json::json;
use understudy::chat::request::Tool;
use understudy::choice::Policy;
use understudy::choice::Weights;
use understudy::compare::Comparator;
use understudy::config;
use understudy::config::Admission;
use understudy::config::CacheMode;
use understudy::config::Condition;
use understudy::config::Config;
use understudy::config::KeySource;
use understudy::config::Problem;
use understudy::config::Shadowing;
use understudy::config::stores::Given;
use understudy::config::stores::Login;
use understudy::experiment::Evaluate;
use understudy::experiment::Experiment;
use understudy::experiment::Form;
use understudy::experiment::Judge;
use understudy::experiment::Judges;
use understudy::experiment::Limit;
use understudy::experiment::METRICS;
use understudy::experiment::Method;
use understudy::experiment::Reference;
use understudy::experiment::Scale;
use understudy::experiment::Share;
use understudy::experiment::State;
use understudy::experiment::Status;
use understudy::experiment::Step;
use understudy::experiment::SystemChange;
use understudy::experiment::Target;
use understudy::experiment::Unit;
use understudy::quota::Quota;
use understudy::stats::rule::Goal;

/// Every key there is, once, in a configuration without mistakes.
pub const CONFIG: &str = r#"
listen: 127.0.0.1:5100
admin: 127.0.0.1:5101
admin_token: { value: open-sesame }
data_dir: ./somewhere
encryption_keys: [{ value: 0123456789abcdef0123456789abcdef }]
providers:
  openai:
    api_keys: [{ env: SET, weight: 2 }, { file: key.txt }, { value: third }]
    shadow_api_keys: [{ value: copies }]
    limits: { requests_per_minute: 500, tokens_per_minute: 200000, concurrency: 50, wait: 2s, learn: false }
  anthropic:
    dialect: openai
    base_url: https://api.anthropic.com/v1/
  local-vllm:
    base_url: http://vllm.models.svc:8000/v1
    forward_headers: [x-tier]
    allow_link_local: true
forward_headers: [x-trace-of-ours]
routes:
  helpdesk:
    targets: [openai/gpt-4o, anthropic/claude-sonnet-4-5]
    timeouts: { idle: 500ms }
    retry: { attempts: 0, empty: false }
    hedge: { after: 2s }
    cache: { mode: record, ttl: 1h, errors: 0s, cacheable: { server_tools: true } }
  weighted:
    choose: weighted
    targets: [{ target: openai/a, weight: 3 }, { target: local-vllm/meta/llama, weight: 1 }]
  chosen:
    targets: [openai/gpt-4o, local-vllm/meta/llama]
    choose: score
    score: { cost: 1, latency: 0.5, quality: 2 }
    when:
      - if: { headers: { x-tag: vip }, fields: { /user: u-1 }, tenants: ["0123456789abcdef"] }
        targets: [openai/gpt-4o]
      - if: { min_tokens: 8000, max_tokens: 9000, tools: true, stream: false }
        targets: [openai/a, openai/b]
timeouts: { connect: 2s, first_token: 1.5m, idle: 20s, total: 1h }
retry: { attempts: 3, backoff: 100ms, max_backoff: 4s, max_wait: 30s, budget: 10%, empty: true }
breaker: { failures: 7, rate: 25%, requests: 40, open: 5s }
cache:
  mode: on
  ttl: 7d
  max_bytes: 512MiB
  errors: 30s
  samples: 3
  coalesce: false
  vary: [x-team, X-Stage]
  cacheable: { sampled: false, store: true }
limits:
  max_request_bytes: 1000000
  max_answer_bytes: 8MiB
  max_concurrency: 10
  shadow_concurrency: 11
  shadow_queue: 12
  judge_concurrency: 13
  recorder_queue: 14
  drain: 0s
holdout: 5%
prices: { every: 12h, feed: "https://prices.example/list", alias: { local-vllm: openai } }
callers_required: false
callers:
  team-a:
    key: { value: us-team-a }
    routes: [helpdesk]
    models: [openai/gpt-4o, local-vllm/*]
    limits: { requests_per_minute: 60, tokens_per_minute: 1000, concurrency: 2 }
    budget: { usd_per_day: 0.5, usd_per_month: 10, tokens_per_day: 7, tokens_per_month: 70 }
    metadata: { team: search }
shadow: { rate: 20, daily_usd: 7.5, header: true }
secrets:
  refresh: 5m
  vault:
    address: https://vault:8200
    namespace: team
    ca_file: /ca.pem
    auth: { app_role: { mount: /apps/, role_id: id, secret_id: { file: secret-id } } }
  aws: { region: eu-central-1, endpoint: "http://127.0.0.1:5000" }
"#;

/// Every key there is, once, in an experiment without mistakes.
pub const EXPERIMENT: &str = r#"
experiment: helpdesk-upgrade
question: Is the new model as good for the help desk?
status: draft
salt: third-deal
layer: { name: support, slice: [10%, 60%] }
match:
  route: helpdesk
  headers: { X-App: support, x-tier: 2 }
  fields: { /metadata/tier: gold, /n: 2 }
  tenants: ["0123456789ABCDEF"]
  share: 50%
unit: { header: X-User-Id }
control: { target: openai/gpt-4o }
candidates:
  sonnet:
    target: anthropic/claude-sonnet-4-5
    patch: { temperature: 0.2, stop: null, max_tokens: 500, metadata: { a: [true, "1", x] } }
  llama:
    target: local-vllm/meta/llama
    system: { append: Answer in one sentence. }
    tools: [{ name: find, description: Finds., parameters: { type: object }, strict: true }, { name: ask }]
traffic:
  split: { llama: 0.5%, sonnet: 0.25 }
  ramp: [25%, 50%]
  step: { after: 2h, requests: 300 }
  shadow: 20%
  again: 5%
  shadow_daily_usd: 10
evaluate:
  comparators: [exact, json, tool_calls, refusal]
  judge:
    - target: gemini/gemini-2.5-flash
      criteria: "Correct, polite."
      both_orders: false
      verdict: words
      template: |
        {{ question }} {{ conversation }} {{ answer_a }} {{ answer_b }} {{ criteria }}
        {% if reference %}{{ reference }}{% endif %}
      reference: { header: X-Reference }
      max_chars: 20000
      repeat: 5%
      temperature: 0.5
    - target: mistral/mistral-large-latest
      criteria: [Correct., Polite.]
      both_orders: false
      method: rubric
      scale: 1-5
      reasons: true
      reference: { field: /metadata/reference }
      repeat: 5%
  sample: 30%
  quorum: 1
  budget_usd: 25
  daily_usd: 5
  concurrency: 3
decide: { metric: win_rate, goal: superior, margin: 2%, alpha: 1%, min_pairs: 80, max_pairs: 20000 }
guardrails:
  error_rate: { max_increase: 1% }
  ttft_p95: { max_ratio: 1.25 }
  cost_per_request: { max_ratio: 1.5 }
"#;

/// The five valid lines that cases of kind `part` go on from.
const BASE: &str = "\
experiment: e
match: { model: m }
control: { target: openai/a }
candidates: { b: { target: openai/b } }
traffic: { shadow: 20% }
";

type Loaded = Result<(Config, Vec<Problem>), Vec<Problem>>;

fn env(name: &str) -> Option<String> {
    match name {
        "SET" => Some("from-env".to_owned()),
        "BROKEN" => Some("two\nlines".to_owned()),
        "GROQ_API_KEY" => Some(" groq-key\n".to_owned()),
        "XAI_API_KEY" => Some("  ".to_owned()),
        _ => None,
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("key.txt") => Ok("from-file\n".to_owned()),
        Some("empty.txt") => Ok("\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn load(config: Option<&str>, experiments: &[&str]) -> Loaded {
    let experiments: Vec<(String, String)> = experiments
        .iter()
        .enumerate()
        .map(|(index, text)| (format!("experiments/{index}.yaml"), (*text).to_owned()))
        .collect();
    config::load(config.map(|text| ("understudy.yaml", text)), &experiments, &env, &read_file)
}

fn problems(loaded: Loaded) -> Vec<Problem> {
    loaded.map_or_else(|problems| problems, |(_, warnings)| warnings)
}

/// The one experiment of a text that loads, and its warnings.
fn experiment(text: &str) -> (Experiment, Vec<Problem>) {
    let (mut config, warnings) = load(None, &[text]).unwrap();
    (config.experiments.remove(0), warnings)
}

fn target(text: &str) -> Target {
    Target::parse(text).unwrap()
}

#[test]
fn each_mistake_is_reported_at_its_place_with_a_remedy_and_nothing_else_is() {
    let cases = include_str!("config/mistakes.txt");
    let mut count = 0;
    for case in cases.split("\n=== ").skip(1) {
        let (kind, rest) = case.split_once('\n').unwrap();
        let (text, expected) = rest.split_once(">>>\n").unwrap();
        let loaded = match kind {
            "config" => load(Some(text), &[]),
            "experiment" => load(None, &[text]),
            "part" => load(None, &[&format!("{BASE}{text}")]),
            other => panic!("no such kind of case: {other}"),
        };
        let expected: Vec<&str> =
            expected.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert_eq!(told(&problems(loaded)), expected, "\n{text}");
        count += 1;
    }
    assert!(count > 90, "only {count} cases were found");
}

/// Problems as the file of cases writes them.
fn told(problems: &[Problem]) -> Vec<String> {
    let mut lines = Vec::new();
    for problem in problems {
        let kind = if problem.is_warning { "warning: " } else { "" };
        lines.push(format!("{}:{} {kind}{}", problem.line, problem.column, problem.what));
        lines.extend(problem.help.iter().map(|help| format!("  = {help}")));
    }
    lines
}

#[test]
fn every_key_of_the_configuration_arrives() {
    let (config, warnings) = load(Some(CONFIG), &[]).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.listen.to_string(), "127.0.0.1:5100");
    assert_eq!(config.admin.to_string(), "127.0.0.1:5101");
    assert_eq!(config.data_dir, Path::new("./somewhere"));
    let keys = &config.providers["openai"].api_keys;
    let shown = |key: &KeySource| key.key.as_ref().unwrap().expose_secret().to_owned();
    let keys: Vec<(String, u32)> = keys.iter().map(|key| (shown(key), key.weight)).collect();
    let expected = [("from-env", 2), ("from-file", 1), ("third", 1)];
    assert_eq!(keys, expected.map(|(key, weight)| (key.to_owned(), weight)));
    let (stores, vault) = (&config.stores, config.stores.vault.as_ref().unwrap());
    assert_eq!(
        (&vault.address, vault.namespace.as_deref()),
        (&Uri::from_static("https://vault:8200"), Some("team"))
    );
    assert_eq!(vault.ca_file.as_deref(), Some(Path::new("/ca.pem")));
    let secret_id = Given::File("secret-id".into());
    let app_role = Login::AppRole { mount: "apps".to_owned(), role_id: "id".to_owned(), secret_id };
    assert_eq!(vault.login, Some(app_role));
    assert_eq!(
        (stores.aws.region.as_deref(), stores.refresh),
        (Some("eu-central-1"), Duration::from_secs(300))
    );
    assert_eq!(stores.aws.endpoint.as_ref().unwrap(), "http://127.0.0.1:5000");
    let url = |name: &str| config.providers[name].base_url.to_string();
    assert_eq!(url("anthropic"), "https://api.anthropic.com/v1");
    assert_eq!(url("local-vllm"), "http://vllm.models.svc:8000/v1");
    assert_eq!(url("openai"), "https://api.openai.com/v1");
    let vllm = &config.providers["local-vllm"];
    assert_eq!(
        (&vllm.forward_headers[..], vllm.allow_link_local),
        (&["x-tier".parse().unwrap()][..], true)
    );
    assert!(matches!(&config.admission, Admission::Token(t) if t.expose_secret() == "open-sesame"));
    assert_eq!(config.encryption_keys.len(), 1);
    assert_eq!(config.forward_headers, ["x-trace-of-ours"]);
    assert_eq!(config.timeouts.connect, Duration::from_secs(2));
    assert_eq!(config.timeouts.first_token, Duration::from_secs(90));
    assert_eq!(config.timeouts.total, Duration::from_secs(3600));
    let (retry, route) = (config.retry, &config.routes["helpdesk"]);
    assert_eq!((retry.attempts, retry.backoff), (3, Duration::from_millis(100)));
    assert_eq!((retry.max_backoff, retry.budget), (Duration::from_secs(4), 0.1));
    assert_eq!((retry.max_wait, retry.empty), (Duration::from_secs(30), true));
    assert_eq!((route.retry.attempts, route.retry.empty, route.retry.budget), (0, false, 0.1));
    let hedge = route.hedge.unwrap();
    assert_eq!((hedge.after, hedge.budget), (Duration::from_secs(2), 0.05));
    let breaker = config.breaker;
    assert_eq!((breaker.failures, breaker.rate, breaker.requests), (7, 0.25, 40));
    assert_eq!(breaker.open, Duration::from_secs(5));
    assert_eq!(config.cache.mode, CacheMode::On);
    assert_eq!(config.cache.ttl, Duration::from_secs(7 * 86_400));
    assert_eq!(config.cache.max_bytes, 512 << 20);
    assert_eq!(config.cache.error_ttl, Duration::from_secs(30));
    assert_eq!((config.cache.samples, config.cache.coalesce), (3, false));
    assert_eq!(config.vary, ["x-team", "x-stage"]);
    let allowed = ["sampled", "store", "tools"].map(|name| config.cache.cacheable.allows(name));
    assert_eq!(allowed, [Some(false), Some(true), Some(true)]);
    let feed = config.feed.clone().unwrap();
    assert_eq!((feed.url.as_str(), feed.every.as_secs()), ("https://prices.example/list", 43_200));
    let patron = config.patrons.all().next().unwrap();
    assert_eq!((patron.name.as_str(), config.callers_required), ("team-a", false));
    let (rates, caps) = (patron.limits, patron.budget);
    assert_eq!((rates.requests_per_minute, rates.tokens_per_minute), (Some(60), Some(1000)));
    assert_eq!((rates.concurrency, caps.day.nano_usd), (Some(2), Some(500_000_000)));
    assert_eq!((caps.day.tokens, caps.month.tokens), (Some(7), Some(70)));
    assert_eq!(caps.month.nano_usd, Some(10_000_000_000));
    assert_eq!(patron.labels["team"], "search");
    let limits = config.limits;
    assert_eq!((limits.max_request_bytes, limits.max_answer_bytes), (1_000_000, 8 << 20));
    assert_eq!((limits.max_concurrency, config.shadowing.concurrency), (10, 11));
    assert_eq!((limits.shadow_queue, limits.judge_concurrency), (12, 13));
    assert_eq!((limits.recorder_queue, limits.drain), (14, Duration::ZERO));
}

#[test]
fn a_route_inherits_the_limits_it_does_not_set() {
    let (config, _) = load(Some(CONFIG), &[]).unwrap();
    let route = &config.routes["helpdesk"];
    assert_eq!(route.timeouts.idle, Duration::from_millis(500));
    assert_eq!(route.timeouts.total, Duration::from_secs(3600));
    let targets: Vec<String> = route.targets.iter().map(|w| w.target.to_string()).collect();
    assert_eq!(targets, ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"]);
    let weighted = &config.routes["weighted"].targets;
    assert_eq!(weighted[1].target, target("local-vllm/meta/llama"));
    assert_eq!(weighted.iter().map(|w| w.weight).collect::<Vec<_>>(), [Some(3), Some(1)]);
}

#[test]
fn limits_of_providers_and_choices_of_routes_arrive() {
    let (config, _) = load(Some(CONFIG), &[]).unwrap();
    let expected = Quota {
        requests_per_minute: Some(500),
        tokens_per_minute: Some(200_000),
        concurrency: Some(50),
        wait: Duration::from_secs(2),
        learn: false,
    };
    assert_eq!(config.providers["openai"].quota, expected);
    assert_eq!(config.providers["local-vllm"].quota, Quota::default());
    assert_eq!(config.routes["weighted"].choose, Policy::Order);
    let chosen = &config.routes["chosen"];
    let weights = Weights { cost: 1.0, latency: 0.5, quality: 2.0 };
    assert_eq!(chosen.choose, Policy::Score(weights));
    let [first, second] = chosen.when.as_slice() else { panic!("{:?}", chosen.when) };
    let matches = &first.condition.matches;
    assert_eq!(matches.headers, [("x-tag".parse::<HeaderName>().unwrap(), "vip".to_owned())]);
    assert_eq!(matches.fields, [("/user".to_owned(), json!("u-1"))]);
    assert_eq!(matches.tenants, ["0123456789abcdef"]);
    let Condition { min_tokens, max_tokens, tools, stream, .. } = second.condition;
    assert_eq!((min_tokens, max_tokens), (Some(8000), Some(9000)));
    assert_eq!((tools, stream), (Some(true), Some(false)));
    assert_eq!(second.targets.len(), 2);
}

#[test]
fn a_route_inherits_what_its_cache_does_not_set() {
    let (config, _) = load(Some(CONFIG), &[]).unwrap();
    let (own, inherited) = (config.routes["helpdesk"].cache, config.routes["weighted"].cache);
    assert_eq!(inherited, config.cache);
    assert_eq!((own.mode, own.ttl), (CacheMode::Record, Duration::from_secs(3600)));
    assert_eq!((own.error_ttl, own.samples, own.coalesce), (Duration::ZERO, 3, false));
    let allowed = ["sampled", "server_tools", "background"].map(|name| own.cacheable.allows(name));
    assert_eq!(allowed, [Some(false), Some(true), Some(false)]);
}

/// The store is one for all routes, so it keeps what the most patient of them may still serve.
#[test]
fn answers_are_kept_for_the_longest_time_that_any_route_serves_them() {
    for (text, days) in [
        ("{}", 1),
        ("cache: { ttl: 2d }", 2),
        ("{ routes: { r: { targets: [openai/a], cache: { ttl: 3d } } }, cache: { ttl: 2d } }", 3),
        ("{ routes: { r: { targets: [openai/a], cache: { ttl: 1h } } } }", 1),
        ("cache: { mode: replay }", 36_500),
        ("{ routes: { r: { targets: [openai/a], cache: { mode: replay } } } }", 36_500),
    ] {
        let (config, _) = load(Some(text), &[]).unwrap();
        assert_eq!(config.keeping().ttl.as_secs(), days * 86_400, "{text}");
        assert_eq!(config.keeping().max_bytes, config.cache.max_bytes, "{text}");
    }
}

#[test]
fn every_key_of_an_experiment_arrives() {
    let (config, warnings) = load(Some(CONFIG), &[EXPERIMENT]).unwrap();
    let found = &config.experiments[0];
    assert_eq!(found.name, "helpdesk-upgrade");
    assert_eq!(found.question, "Is the new model as good for the help desk?");
    assert_eq!(found.matches.route.as_deref(), Some("helpdesk"));
    let headers: Vec<(&str, &str)> =
        found.matches.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("x-app", "support"), ("x-tier", "2")]);
    assert_eq!(found.unit, Unit::Header("x-user-id".parse().unwrap()));
    assert_eq!(found.control.name, "control");
    assert_eq!(found.control.target, target("openai/gpt-4o"));
    let names: Vec<&str> = found.candidates.iter().map(|c| c.variant.name.as_str()).collect();
    assert_eq!(names, ["sonnet", "llama"], "in the order of the file");
    let splits: Vec<u32> = found.candidates.iter().map(|c| c.split.ppm()).collect();
    assert_eq!(splits, [250_000, 5_000]);
    assert_eq!(
        serde_json::Value::Object(found.candidates[0].variant.patch.clone()),
        json!({"temperature": 0.2, "stop": null, "max_tokens": 500,
            "metadata": {"a": [true, "1", "x"]}})
    );
    assert_eq!(found.shadow.ppm(), 200_000);
    let kinds = [Comparator::Exact, Comparator::Json, Comparator::ToolCalls, Comparator::Refusal];
    assert_eq!(found.evaluate.comparators, kinds);
    check_judges(&found.evaluate);
    let decide = &found.decide;
    assert_eq!((decide.goal, decide.margin, decide.alpha), (Goal::Superior, 0.02, 0.01));
    assert_eq!((decide.min_pairs, decide.max_pairs), (80, 20_000));
    assert_eq!(warnings, []);
}

#[test]
fn every_key_of_a_live_experiment_arrives() {
    let (config, _) = load(Some(CONFIG), &[EXPERIMENT]).unwrap();
    let found = &config.experiments[0];
    assert_eq!((found.salt.as_str(), found.intent), ("third-deal", Status::Draft));
    assert_eq!((found.standing.state, found.standing.epoch), (State::Draft, 1));
    let layer = found.layer.as_ref().unwrap();
    assert_eq!((layer.name.as_str(), layer.from.ppm()), ("support", 100_000));
    assert_eq!(layer.to.ppm(), 600_000);
    let fields = [("/metadata/tier".to_owned(), json!("gold")), ("/n".to_owned(), json!(2))];
    assert_eq!(found.matches.fields, fields);
    assert_eq!(found.matches.tenants, ["0123456789abcdef"]);
    assert_eq!(found.matches.share.ppm(), 500_000);
    let llama = &found.candidates[1].variant;
    assert_eq!(llama.system, Some(SystemChange::Append("Answer in one sentence.".to_owned())));
    let function = |name: &str, description: Option<&str>, parameters, strict| Tool::Function {
        name: name.to_owned(),
        description: description.map(str::to_owned),
        parameters,
        strict,
        rest: serde_json::Map::new(),
    };
    let find = function("find", Some("Finds."), Some(json!({"type": "object"})), Some(true));
    assert_eq!(llama.tools, Some(vec![find, function("ask", None, None, None)]));
    assert_eq!((&found.control.system, &found.control.tools), (&None, &None));
    assert_eq!(found.ramp.iter().map(|step| step.ppm()).collect::<Vec<_>>(), [250_000, 500_000]);
    let step = Step { after: Duration::from_secs(7200), requests: 300 };
    assert_eq!((found.step, found.again.ppm()), (step, 50_000));
    assert_eq!(found.shadow_daily_usd, Some(10.0));
    let limits: Vec<(&str, Limit)> =
        found.guardrails.iter().map(|rail| (rail.metric.name(), rail.limit)).collect();
    let expected = [
        ("error_rate", Limit::MaxIncrease(0.01)),
        ("ttft_p95", Limit::MaxRatio(1.25)),
        ("cost_per_request", Limit::MaxRatio(1.5)),
    ];
    assert_eq!(limits, expected, "in the order of the file");
}

#[test]
fn what_copies_may_take_and_who_is_held_out_arrives() {
    let (config, _) = load(Some(CONFIG), &[]).unwrap();
    let shadowing =
        Shadowing { concurrency: 11, rate: Some(20.0), daily_usd: Some(7.5), header: true };
    assert_eq!((config.shadowing, config.holdout.ppm()), (shadowing, 50_000));
    let keys = |name: &str| config.providers[name].shadow_keys.clone();
    let keys = keys("openai");
    let keys = keys.iter().map(|key| key.key.as_ref().unwrap().expose_secret());
    assert_eq!(keys.collect::<Vec<_>>(), ["copies"]);
    assert!(config.providers["anthropic"].shadow_keys.is_empty());
    let (newer, _) = load(Some("shadow: { concurrency: 3 }"), &[]).unwrap();
    assert_eq!(newer.shadowing, Shadowing { concurrency: 3, ..Shadowing::default() });
    assert_eq!(Config::default().holdout, Share::NONE);
}

/// Every metric that is measured may be guarded, and only shares by a difference.
#[test]
fn every_metric_may_be_guarded() {
    for (name, metric) in METRICS {
        for (limit, is_taken) in [("max_ratio: 1.5", true), ("max_increase: 2%", metric.is_rate())]
        {
            let text = format!(
                "{}guardrails: {{ {name}: {{ {limit} }} }}\n",
                BASE.replace("shadow: 20%", "shadow: 20%, split: { b: 1% }")
            );
            assert_eq!(load(None, &[&text]).is_ok(), is_taken, "{name} {limit}");
        }
    }
}

/// Two experiments of which the second is warned about, or not.
#[test]
fn experiments_that_could_take_each_others_requests_are_named() {
    let make = |name: &str, rest: &str| {
        format!(
            "experiment: {name}\ncontrol: {{ target: openai/a }}\n\
             candidates: {{ b: {{ target: openai/b }} }}\ntraffic: {{ shadow: 1% }}\n{rest}\n"
        )
    };
    let same = "`two` and `one` could take the same requests";
    let slice = "`two` and `one` share a part of the layer `l`";
    for (one, two, expected) in [
        ("match: { model: m }", "match: { model: m }", Some(same)),
        ("match: { model: m }", "match: { model: n }", None),
        ("match: { model: m }", "match: { model: openai/m }", Some(same)),
        ("match: { model: groq/m }", "match: { model: openai/m }", None),
        ("match: { headers: { a: x } }", "match: { model: n }", Some(same)),
        ("match: { headers: { a: x } }", "match: { headers: { a: y } }", None),
        ("match: { fields: { /a: 1 } }", "match: { fields: { /a: 2 } }", None),
        ("match: { fields: { /a: 1 } }", "match: { fields: { /b: 2 } }", Some(same)),
        ("match: { model: m }\nstatus: draft", "match: { model: m }", None),
        ("match: { model: m }", "match: { model: m }\nstatus: stopped", None),
        ("match: { tenants: [0123456789abcdef] }", "match: { tenants: [fedcba9876543210] }", None),
        (
            "match: { model: m }\nlayer: { name: l, slice: [0%, 50%] }",
            "match: { model: m }\nlayer: { name: l, slice: [50%, 100%] }",
            None,
        ),
        (
            "match: { model: m }\nlayer: { name: l, slice: [0%, 51%] }",
            "match: { model: m }\nlayer: { name: l, slice: [50%, 100%] }",
            Some(slice),
        ),
        (
            "match: { model: m }\nlayer: { name: l }",
            "match: { model: n }\nlayer: { name: l }",
            None,
        ),
        ("match: { model: m }\nlayer: { name: l }", "match: { model: m }", Some(same)),
        (
            "match: { model: m }\nlayer: { name: l }",
            "match: { model: m }\nlayer: { name: k }",
            None,
        ),
    ] {
        let (one, two) = (make("one", one), make("two", two));
        let warnings = problems(load(None, &[&one, &two]));
        let whats: Vec<&str> = warnings.iter().map(|warning| warning.what.as_str()).collect();
        assert_eq!(whats, expected.as_slice(), "{one}\n{two}");
        for warning in &warnings {
            let help = warning.help.as_deref().unwrap();
            assert!(help.contains("`one` is in experiments/0.yaml:1"), "{help}");
            // Where the layer, or else the condition stands.
            assert_eq!(warning.file, "experiments/1.yaml");
            assert!((5..=6).contains(&warning.line), "{}", warning.line);
        }
    }
}

#[test]
fn what_an_experiment_leaves_out_has_its_documented_default() {
    let text =
        "experiment: e\ncontrol: { target: openai/a }\ncandidates: { b: { target: groq/b } }\n";
    let (found, _) = experiment(text);
    assert_eq!(found.question, "");
    assert_eq!(found.unit, Unit::Conversation);
    assert_eq!((found.shadow, found.candidates[0].split), (Share::NONE, Share::NONE));
    assert!(found.control.patch.is_empty());
    assert_eq!(found.evaluate.comparators, [Comparator::Exact]);
    assert_eq!(found.evaluate, Evaluate::default());
    let decide = found.decide;
    assert_eq!((decide.goal, decide.margin, decide.alpha), (Goal::NonInferior, 0.03, 0.05));
    assert_eq!((decide.min_pairs, decide.max_pairs), (50, 10_000));
    let judge = "evaluate: { judge: { target: openai/j, criteria: good } }\n";
    let (found, _) = experiment(&format!("{BASE}{judge}"));
    let criteria = vec!["good".to_owned()];
    let usual = Judge { criteria, ..Judge::new(target("openai/j")) };
    assert_eq!(found.evaluate.judges(), [usual]);
    assert_eq!(Judge::new(target("openai/j")).both_orders, Share::ALL);
    for text in ["judge: human", "judge: { target: human }"] {
        let (found, warnings) = experiment(&format!("{BASE}evaluate: {{ {text} }}\n"));
        assert_eq!((found.evaluate.judge, warnings), (Judges::People, vec![]), "{text}");
    }
}

fn check_judges(evaluate: &Evaluate) {
    let numbers = (evaluate.quorum, evaluate.concurrency, evaluate.sample.ppm());
    assert_eq!(numbers, (Some(1), Some(3), 300_000));
    assert_eq!((evaluate.budget_usd, evaluate.daily_usd), (Some(25.0), Some(5.0)));
    let [words, rubric] = evaluate.judges() else { panic!("{evaluate:?}") };
    assert_eq!(words.target, target("gemini/gemini-2.5-flash"));
    assert_eq!(words.criteria, ["Correct, polite."]);
    assert_eq!((words.both_orders, words.repeat.ppm()), (Share::NONE, 50_000));
    assert_eq!((words.form, words.reasons, words.method), (Form::Words, false, Method::Pairwise));
    assert_eq!((words.max_chars, words.temperature), (20_000, 0.5));
    let header = Reference::Header(HeaderName::from_static("x-reference"));
    assert_eq!(words.reference, Some(header));
    assert!(words.template.as_ref().unwrap().source.starts_with("{{ question }}"));
    assert_eq!((rubric.reasons, rubric.method), (true, Method::Rubric(Scale::Five)));
    assert_eq!(rubric.criteria, ["Correct.", "Polite."]);
    assert_eq!(rubric.reference, Some(Reference::Field("/metadata/reference".to_owned())));
}

#[test]
fn without_any_file_the_known_providers_work_with_the_keys_of_the_environment() {
    let (config, warnings) = load(None, &[]).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.listen.to_string(), "127.0.0.1:4100");
    assert_eq!(config.admin.to_string(), "127.0.0.1:4101");
    let fallback = |name: &str| {
        let provider = &config.providers[name];
        assert!(provider.api_keys.is_empty());
        provider.fallback_key.as_ref().map(|key| key.expose_secret().to_owned())
    };
    assert_eq!(fallback("groq").as_deref(), Some("groq-key"), "without surrounding space");
    assert_eq!(fallback("openai"), None);
    assert_eq!(fallback("xai"), None, "a blank variable is an unset one");
    assert_eq!(config.providers.len(), Config::default().providers.len());
    for empty in ["", "# nothing\n", "null", "{}", "---\n"] {
        assert_eq!(problems(load(Some(empty), &[])), [], "{empty:?}");
    }
}

#[test]
fn keys_of_a_mounted_secret_are_a_providers_unless_the_file_says_otherwise() {
    let env = |name: &str| (name == "UNDERSTUDY_KEYS").then(|| "/keys".to_owned());
    let read_file = |path: &Path| match path.to_str() {
        Some("/keys/OPENAI_API_KEY") => Ok("sk-mounted\n".to_owned()),
        Some("/keys/GROQ_API_KEY") => Ok("no\nkey".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let places = |config: Option<&str>, name: &str| {
        let config = config.map(|text| ("understudy.yaml", text));
        let (loaded, _) = config::load(config, &[], &env, &read_file).unwrap();
        let keys = loaded.providers[name].api_keys.iter().map(|key| key.place.to_string());
        keys.collect::<Vec<_>>()
    };
    assert_eq!(places(None, "openai"), ["the file /keys/OPENAI_API_KEY"]);
    assert_eq!(places(None, "groq"), Vec::<String>::new());
    assert_eq!(places(None, "anthropic"), Vec::<String>::new());
    let with = "providers: { openai: { headers: { x-a: b } } }";
    assert_eq!(places(Some(with), "openai"), ["the file /keys/OPENAI_API_KEY"]);
    let own = "providers: { openai: { api_keys: [{ value: sk-own }] } }";
    assert_eq!(places(Some(own), "openai"), ["the configuration"]);
}

#[test]
fn cache_mode_may_be_written_as_a_bare_word_or_quoted() {
    for (text, mode) in [
        ("on", CacheMode::On),
        ("\"on\"", CacheMode::On),
        ("true", CacheMode::On),
        ("off", CacheMode::Off),
        ("'off'", CacheMode::Off),
        ("false", CacheMode::Off),
        ("record", CacheMode::Record),
        ("replay", CacheMode::Replay),
    ] {
        let (config, _) = load(Some(&format!("cache: {{ mode: {text} }}")), &[]).unwrap();
        assert_eq!(config.cache.mode, mode, "{text}");
    }
}

#[test]
fn durations_sizes_and_shares_keep_their_exact_value() {
    let duration = |text: &str| {
        load(Some(&format!("cache: {{ ttl: {text} }}")), &[]).unwrap().0.cache.ttl.as_millis()
    };
    for (text, millis) in
        [("1ms", 1), ("5s", 5_000), ("5 s", 5_000), ("10m", 600_000), ("24h", 86_400_000)]
    {
        assert_eq!(duration(text), millis, "{text}");
    }
    let size = |text: &str| {
        load(Some(&format!("cache: {{ max_bytes: {text} }}")), &[]).unwrap().0.cache.max_bytes
    };
    for (text, bytes) in [
        ("1", 1),
        ("512B", 512),
        ("100kB", 100_000),
        ("100MB", 100_000_000),
        ("1KiB", 1024),
        ("1.5GiB", 3 << 29),
        ("1024TiB", 1 << 50),
    ] {
        assert_eq!(size(text), bytes, "{text}");
    }
    let share = |text: &str| experiment(&BASE.replace("20%", text)).0.shadow.ppm();
    for (text, ppm) in [
        ("0.0001%", 1),
        ("0.5%", 5_000),
        ("0.29", 290_000),
        ("33.3333%", 333_333),
        ("1", 1_000_000),
        ("100%", 1_000_000),
        ("'7 %'", 70_000),
    ] {
        assert_eq!(share(text), ppm, "{text}");
    }
}

#[test]
fn json_is_read_like_yaml_and_keeps_its_places() {
    let json = "{\n\t\"listen\": \"127.0.0.1:5000\",\n\t\"cache\": {\"mode\":\"off\",\"ttl\":\"1h\"},\n\
                \t\"routes\": {\"a\\/\\ud83d\\ude00\": {\"targets\": [\"openai\\/x\"]}}\n}\n";
    let (config, warnings) = load(Some(json), &[]).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.cache.mode, CacheMode::Off);
    assert_eq!(config.routes["a/\u{1f600}"].targets[0].target, target("openai/x"));
    let found = problems(load(Some(&json.replace("1h", "1x")), &[]));
    assert_eq!((found.len(), found[0].line, found[0].column), (1, 3, 31));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let text = "\u{feff}cache:\r\n  ttl: 1h\r\n  mode: fast\r\n";
    let found = problems(load(Some(text), &[]));
    assert_eq!(told(&found)[0].split(' ').next(), Some("3:9"));
    assert_eq!(found.len(), 1);
}

#[test]
fn problems_of_all_files_come_in_one_pass_in_the_order_of_the_files() {
    let second = BASE.replace("openai/b", "nobody/b");
    let found = problems(load(Some("cash: {}\nlisten: here\n"), &[BASE, &second, BASE]));
    let places: Vec<String> =
        found.iter().map(|p| format!("{}:{}:{}", p.file, p.line, p.column)).collect();
    assert_eq!(
        places,
        [
            "understudy.yaml:1:1",
            "understudy.yaml:2:9",
            "experiments/1.yaml:1:13",
            "experiments/1.yaml:4:28",
            "experiments/2.yaml:1:13",
        ]
    );
    assert_eq!(
        found[4].to_string(),
        "experiments/2.yaml:1:13: there are two experiments called `e`\n  \
         = help: the first is in experiments/0.yaml:1; rename one"
    );
}

#[test]
fn an_experiment_may_use_providers_and_routes_of_the_configuration_even_if_these_are_broken() {
    let text = BASE.replace("openai/b", "mine/b").replace("model: m", "route: r");
    let config = "providers: { mine: { base_url: nonsense } }\nroutes: { r: { targets: [] } }\n";
    let found = problems(load(Some(config), &[&text]));
    assert!(found.iter().all(|problem| problem.file == "understudy.yaml"), "{found:#?}");
    assert_eq!(found.len(), 2);
    let found = problems(load(Some("providers: ["), &[&text]));
    assert_eq!(found.len(), 1, "an unreadable configuration may hold any name: {found:#?}");
}

#[test]
fn a_misspelt_route_is_a_warning_that_names_the_right_one() {
    let text = BASE.replace("model: m", "route: helpdeks");
    let (_, warnings) = load(Some(CONFIG), &[&text]).unwrap();
    assert_eq!(
        told(&warnings),
        ["2:10 warning: no route is called `helpdeks`", "  = did you mean `helpdesk`?"]
    );
}

#[test]
fn a_problem_can_be_shown_with_its_line_and_a_caret() {
    let found = problems(load(Some("cache:\n\u{20}\u{20}größe: 1\n  mode: fast # why\n"), &[]));
    let shown: Vec<String> = found.iter().map(Problem::render).collect();
    assert_eq!(
        shown,
        [
            "understudy.yaml:2:3: unknown key `größe` in `cache`\n\
             2 |   größe\n  |   ^\n\
             \u{20} = help: known here: cacheable, coalesce, errors, max_bytes, mode, samples, ttl, \
             vary\n",
            "understudy.yaml:3:9: `cache.mode` has to be one of on, off, record, replay, not `fast`\n\
             3 |   mode: fast # why\n  |         ^\n\
             \u{20} = help: write one of these names\n",
        ]
    );
}

#[test]
fn no_message_and_no_shown_line_holds_a_key() {
    for config in [
        "providers: { openai: { api_keys: [{ value: SECRET }], dialct: x }, y: {} }\n",
        "providers: { openai: { api_key: [{ value: SECRET }], dialct: x } }\nlisen: 1\n",
        "{\"providers\": {\"openai\": {\"api_keys\": [{\"value\": \"SECRET\"}]}}, \"lisen\": 1}",
        "{\"providrs\": {\"openai\": {\"api_keys\": [{\"value\": \"SECRET\"}]}}, \"lisen\": 1}",
        "providers:\n  openai:\n    api_keys: [{ value: \"SECRET\n",
        "providers:\n  openai:\n    api_keys: [{ env: SECRET-x }, SECRET, { value: *SECRET }]\n",
        "providers:\n  openai: { api_keys: [], api_keys: [{ value: SECRET }], zzz: 1 }\n",
        "providers:\n  openai: { api_keys: !secret [{ value: SECRET }], zzz: 1 }\n",
        "providers:\n  x: { base_url: \"https://me:SECRET@host/v1\", zzz: 1 }\n",
        "providers:\n  x: { base_url: \"https://host/v1?key=SECRET\", zzz: 1 }\n",
        "providers:\n  x: { base_url: [\"https://me:SECRET@host/v1\"], zzz: 1 }\n",
    ] {
        let found = problems(load(Some(config), &[]));
        assert!(!found.is_empty(), "{config}");
        for problem in found {
            assert!(!problem.render().contains("SECRET"), "{config}\n{}", problem.render());
            assert!(!problem.to_string().contains("SECRET"), "{problem}");
        }
    }
}

#[test]
fn a_flood_of_problems_is_cut_and_counted() {
    let text: String = (0..500).map(|i| format!("k{i}: 1\n")).collect();
    let found = problems(load(Some(&text), &[]));
    assert_eq!(found.len(), 101);
    assert_eq!(found[100].what, "400 more problems are not shown");
    let text = "#".repeat(300_000);
    let what = "the file has 300000 bytes; at most 262144 are read";
    assert_eq!(problems(load(Some(&text), &[]))[0].what, what);
}

#[test]
fn an_experiment_is_told_from_a_configuration_even_when_broken() {
    for text in
        ["experiment: x\n", "{\"experiment\": \"x\"}", "a: [\nexperiment: x", "{ \"experiment\": ["]
    {
        assert!(config::is_experiment(text), "{text}");
    }
    for text in ["", "listen: x\n", "routes: { experiment: x }\n", "experiments: [", "[experiment]"]
    {
        assert!(!config::is_experiment(text), "{text}");
    }
}

/// The examples load with nothing else, as their README promises.
#[test]
fn the_examples_load_without_a_warning() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(texts.len() >= 3);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (config, warnings) = load(None, &texts).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.experiments.len() + config.sentinels.len(), texts.len());
    assert!(texts.iter().all(|text| config::is_experiment(text)));
}

/// A valid file with a few characters cut out, put in or doubled.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let edit = (
        any::<proptest::sample::Index>(),
        0..8_usize,
        "[\\PC\\n\\t]{0,4}|[:{}\\[\\],&*!|>\"'#%@` -]{1,3}",
    );
    proptest::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, cut, put) in edits {
            let start = at.index(chars.len() + 1);
            let end = (start + cut).min(chars.len());
            chars.splice(start..end, put.chars());
        }
        chars.into_iter().collect()
    })
}

/// Every problem stands inside its file and names it.
fn all_stand_in(text: &str, loaded: Loaded) -> bool {
    // YAML's lines end with a carriage return alone, too.
    let lines = text.replace("\r\n", "\n").replace('\r', "\n").lines().count().max(1);
    problems(loaded).iter().all(|problem| {
        !problem.render().is_empty()
            && problem.column >= 1
            && (1..=lines + 1).contains(&problem.line)
            && !problem.what.is_empty()
    })
}

/// A line that is shown must be the one that is meant, or what is hidden would be seen.
#[test]
fn a_carriage_return_alone_ends_a_line_of_a_problem_too() {
    let text =
        "listen: 127.0.0.1:0\rproviders:\r  x: { base_url: \"http://u:secret@h/\" }\rcache: 7\r";
    let found = problems(load(Some(text), &[]));
    let shown: Vec<String> = found.iter().map(Problem::render).collect();
    assert!(
        shown.iter().any(|problem| problem.contains(":4:8") && problem.contains("cache: 7")),
        "{shown:?}"
    );
    assert!(shown.iter().all(|problem| !problem.contains("secret")), "{shown:?}");
}

proptest! {
    #[test]
    fn bytes_from_anywhere_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(all_stand_in(&text, load(Some(&text), &[])));
        prop_assert!(all_stand_in(&text, load(None, &[&text])));
        config::is_experiment(&text);
    }

    #[test]
    fn a_damaged_configuration_never_panics(text in mutated(CONFIG)) {
        prop_assert!(all_stand_in(&text, load(Some(&text), &[])));
    }

    #[test]
    fn a_damaged_experiment_never_panics(text in mutated(EXPERIMENT)) {
        prop_assert!(all_stand_in(&text, load(None, &[&text])));
        config::is_experiment(&text);
    }

    #[test]
    fn punctuation_never_panics(text in "[a-c:{}\\[\\],&*!|>\"'#%@` \\n\\t-]{0,200}") {
        prop_assert!(all_stand_in(&text, load(Some(&text), &[])));
    }
}
