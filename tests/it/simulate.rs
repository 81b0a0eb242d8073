//! The simulated provider as its clients see it, over real HTTP.

mod faults;
mod recorded;

use std::time::{Duration, Instant};

use crate::harness::client;
use serde_json::{Value, json};
use understudy::simulate::{
    Judge, Latency, Persona, PersonaRole, Settings, Simulator, Span, Support, Writer,
};

/// An HTTP client and a running simulator.
struct Bench {
    simulator: Simulator,
    client: reqwest::Client,
}

struct Answered {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.body))
    }

    fn text(&self) -> String {
        let body = self.json();
        let content = body.pointer("/choices/0/message/content").and_then(Value::as_str);
        content.unwrap_or_else(|| panic!("no content in {body}")).to_owned()
    }

    /// The chunks of a stream, `[DONE]` left out.
    fn chunks(&self) -> Vec<Value> {
        let events = self.body.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        let chunks = events.filter(|event| *event != "[DONE]");
        chunks.map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    fn streamed_text(&self) -> String {
        let chunks = self.chunks();
        let pieces = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str());
        pieces.collect()
    }
}

impl Bench {
    async fn start(settings: Settings) -> Self {
        let client = client().build().unwrap();
        Self { simulator: Simulator::start(settings).await.unwrap(), client }
    }

    fn request(&self, body: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/chat/completions", self.simulator.base_url());
        self.client.post(url).header("content-type", "application/json").body(body.to_string())
    }

    async fn ask(&self, body: &Value) -> Answered {
        Self::read(self.request(body).send().await.unwrap()).await
    }

    async fn ask_with_fault(&self, body: &Value, fault: &str) -> reqwest::Result<Answered> {
        let response = self.request(body).header("x-simulate-fault", fault).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answered { status, headers, body: response.text().await? })
    }

    async fn get(&self, path: &str) -> Answered {
        let url = format!("http://{}{path}", self.simulator.addr());
        Self::read(self.client.get(url).send().await.unwrap()).await
    }

    async fn read(response: reqwest::Response) -> Answered {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answered { status, headers, body: response.text().await.unwrap() }
    }
}

fn question(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": text},
    ]})
}

/// The body with more fields.
fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn seeded(seed: u64) -> Settings {
    Settings { seed, ..Settings::default() }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let body = question("gpt-4o", "How do I repot a cactus?");
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let bench = Bench::start(seeded(seed)).await;
        let mut run = Vec::new();
        for _ in 0..2 {
            let answer = bench.ask(&body).await;
            run.push((answer.text(), answer.json()["id"].clone()));
        }
        assert_eq!(run[0].0, run[1].0, "a repeated request has the same text");
        assert_ne!(run[0].1, run[1].1, "but its own id");
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0][0].0, runs[2][0].0);
}

#[tokio::test]
async fn an_answer_has_the_parts_openai_sends() {
    let bench = Bench::start(seeded(1)).await;
    let answer = bench.ask(&question("gpt-4o", "Why is the sea salty?")).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["object"]), (200, &json!("chat.completion")));
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(body["model"], "gpt-4o");
    assert!(body["created"].as_u64().unwrap() > 1_700_000_000);
    assert!(body["system_fingerprint"].is_string());
    assert_eq!(body["choices"][0]["message"]["role"], "assistant");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let usage = |key: &str| body["usage"][key].as_u64().unwrap();
    assert!(usage("prompt_tokens") > 10 && usage("completion_tokens") > 5);
    assert_eq!(usage("total_tokens"), usage("prompt_tokens") + usage("completion_tokens"));
    for name in ["x-request-id", "openai-processing-ms", "x-ratelimit-remaining-requests"] {
        assert!(answer.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let bench = Bench::start(seeded(3)).await;
    for format in ["text", "json_object"] {
        let body = question("gpt-4o", "Tell me about bridges — and \"quotes\"\n");
        let body = with(body, json!({"response_format": {"type": format}}));
        let whole = bench.ask(&body).await;
        let options = json!({"stream": true, "stream_options": {"include_usage": true}});
        let streamed = bench.ask(&with(body, options)).await;
        assert_eq!(streamed.headers["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(streamed.streamed_text(), whole.text());
        assert!(streamed.body.ends_with("data: [DONE]\n\n"));
        let chunks = streamed.chunks();
        assert!(chunks.len() > 10, "small pieces");
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        let last = chunks.last().unwrap();
        assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole.json()["usage"]));
        assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
        assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
    }
}

#[tokio::test]
async fn echo_answers_with_the_last_user_message() {
    let bench = Bench::start(seeded(1)).await;
    let parts = json!([{"type": "text", "text": "päng "}, {"type": "text", "text": "🎈"}]);
    let body = json!({"model": "echo", "messages": [
        {"role": "user", "content": "first"}, {"role": "assistant", "content": "no"},
        {"role": "user", "content": parts},
    ]});
    assert_eq!(bench.ask(&body).await.text(), "päng 🎈");
    let stopped = with(question("echo", "one STOP two"), json!({"stop": ["STOP"]}));
    assert_eq!(bench.ask(&stopped).await.text(), "one ");
}

#[tokio::test]
async fn max_tokens_cuts_the_answer_and_is_what_is_billed() {
    let bench = Bench::start(seeded(1)).await;
    for key in ["max_tokens", "max_completion_tokens"] {
        let body = with(question("gpt-4o", "Tell me all about tea"), json!({key: 5}));
        let answer = bench.ask(&body).await.json();
        assert_eq!(answer["usage"]["completion_tokens"], 5);
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
        let streamed = bench.ask(&with(body, json!({"stream": true}))).await;
        assert_eq!(streamed.streamed_text(), answer["choices"][0]["message"]["content"]);
    }
}

#[tokio::test]
async fn several_choices_differ_and_are_billed_together() {
    let bench = Bench::start(seeded(1)).await;
    let body = with(question("gpt-4o", "Name a river"), json!({"n": 3}));
    let answer = bench.ask(&body).await.json();
    let choices = answer["choices"].as_array().unwrap();
    let text = |n: usize| choices[n]["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!((choices.len(), &choices[2]["index"]), (3, &json!(2)));
    assert_ne!(text(0), text(1));
    let streamed = bench.ask(&with(body, json!({"stream": true}))).await;
    let of = |index: u64| -> String {
        let chunks = streamed.chunks();
        let own = chunks.iter().map(|c| &c["choices"][0]).filter(|c| c["index"] == index);
        own.filter_map(|choice| choice["delta"]["content"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!([of(0), of(1), of(2)], [text(0), text(1), text(2)]);
}

#[tokio::test]
async fn log_probabilities_cover_every_token_whole_and_streamed() {
    let bench = Bench::start(seeded(1)).await;
    let more = json!({"logprobs": true, "top_logprobs": 3, "max_tokens": 8});
    let body = with(question("gpt-4o", "Describe rain"), more);
    let whole = bench.ask(&body).await.json();
    let tokens = whole["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!(tokens.len(), 8);
    for token in &tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!((top.len(), &top[0]["token"]), (3, &token["token"]));
        let mass: f64 = top.iter().map(|t| t["logprob"].as_f64().unwrap().exp()).sum();
        assert!(mass <= 1.0, "{token}");
    }
    let chunks = bench.ask(&with(body, json!({"stream": true}))).await.chunks();
    let one = |c: &Value| c["choices"][0]["logprobs"]["content"].as_array().cloned();
    let streamed: Vec<Value> = chunks.iter().filter_map(one).flatten().collect();
    assert_eq!(streamed, tokens);
}

#[tokio::test]
async fn tools_are_called_when_forced_or_named_and_not_otherwise() {
    let bench = Bench::start(seeded(1)).await;
    let tool = |name: &str| {
        json!({"type": "function", "function": {"name": name, "parameters": {
            "type": "object", "required": ["city", "days"],
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        }}})
    };
    let tools = json!({"tools": [tool("get_weather"), tool("find_hotel")]});
    let cases = [
        ("Hello there", json!("auto"), vec![]),
        ("Hello there", json!("required"), vec!["get_weather"]),
        ("get_weather", json!("none"), vec![]),
        (
            "Please get weather for Rome and use find_hotel",
            json!("auto"),
            vec!["get_weather", "find_hotel"],
        ),
        ("Hi", json!({"type": "function", "function": {"name": "find_hotel"}}), vec!["find_hotel"]),
    ];
    for (text, choice, expected) in cases {
        let body =
            with(with(question("gpt-4o", text), tools.clone()), json!({"tool_choice": choice}));
        let answer = bench.ask(&body).await.json();
        let calls = answer["choices"][0]["message"]["tool_calls"].as_array().cloned();
        let calls = calls.unwrap_or_default();
        let names: Vec<&str> =
            calls.iter().map(|c| c["function"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{text}");
        let finish = if expected.is_empty() { "stop" } else { "tool_calls" };
        assert_eq!(answer["choices"][0]["finish_reason"], finish);
        let chunks = bench.ask(&with(body, json!({"stream": true}))).await.chunks();
        for (number, call) in calls.iter().enumerate() {
            let arguments = call["function"]["arguments"].as_str().unwrap();
            let read: Value = serde_json::from_str(arguments).unwrap();
            assert!(read["city"].is_string() && read["days"].as_i64().unwrap() >= 1, "{read}");
            let deltas = chunks.iter().map(|c| &c["choices"][0]["delta"]["tool_calls"][0]);
            let own = deltas.filter(|delta| delta["index"] == number);
            let pieces = own.filter_map(|delta| delta["function"]["arguments"].as_str());
            assert_eq!(pieces.collect::<String>(), arguments);
        }
    }
}

#[tokio::test]
async fn json_answers_are_objects_that_fit_the_schema() {
    let bench = Bench::start(seeded(1)).await;
    let schema = json!({"type": "object", "required": ["score"],
        "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 5}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": schema}});
    let body = with(question("gpt-4o", "Rate it"), json!({"response_format": format}));
    let made: Value = serde_json::from_str(&bench.ask(&body).await.text()).unwrap();
    assert!((1..=5).contains(&made["score"].as_i64().unwrap()), "{made}");
}

#[tokio::test]
async fn wrong_requests_get_openais_error_shape() {
    let bench = Bench::start(Settings { max_body_bytes: 4000, ..seeded(1) }).await;
    let good = question("gpt-4o", "Hi");
    let cases = [
        (json!("not an object"), 400, json!(null)),
        (json!({"messages": good["messages"]}), 400, json!("model")),
        (json!({"model": "gpt-4o"}), 400, json!("messages")),
        (json!({"model": "gpt-4o", "messages": []}), 400, json!("messages")),
        (
            json!({"model": "gpt-4o", "messages": [{"role": "king", "content": "x"}]}),
            400,
            json!("messages"),
        ),
        (with(good.clone(), json!({"n": 0})), 400, json!("n")),
        (with(good.clone(), json!({"n": 2_000_000})), 400, json!("n")),
        (with(good.clone(), json!({"max_tokens": "many"})), 400, json!("max_tokens")),
        (with(good.clone(), json!({"top_logprobs": 5})), 400, json!("top_logprobs")),
        (with(good.clone(), json!({"tool_choice": "required"})), 400, json!("tool_choice")),
        (question("gpt-4o", &"long ".repeat(1000)), 413, json!(null)),
    ];
    for (body, status, param) in cases {
        let answer = bench.ask(&body).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["param"]), (status, &param), "{error}");
        assert!(error["message"].is_string() && error["type"].is_string());
        assert!(error.get("code").is_some(), "{error}");
    }
    let broken = bench.request(&json!({})).body("{\"model\": ").send().await.unwrap();
    assert_eq!(broken.status(), 400);
    let unknown = bench.get("/v1/nothing").await;
    assert_eq!(
        (unknown.status, &unknown.json()["error"]["type"]),
        (404, &json!("invalid_request_error"))
    );
    assert_eq!(bench.get("/v1/chat/completions").await.status, 405);
    assert_eq!(bench.simulator.counters().refused, 12);
}

#[tokio::test]
async fn only_known_keys_are_let_in() {
    let api_keys = vec!["sk-one".to_owned(), "sk-two".to_owned()];
    let bench = Bench::start(Settings { api_keys, ..seeded(1) }).await;
    let body = question("echo", "hi");
    for (key, status) in [(Some("sk-two"), 200), (Some("sk-three"), 401), (None, 401)] {
        let request = bench.request(&body);
        let request = match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer = Bench::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, status, "{key:?}");
        if status == 401 {
            assert!(answer.json()["error"]["message"].is_string());
            assert!(!answer.body.contains("sk-"), "the key is not repeated");
        }
    }
    assert_eq!(bench.get("/v1/models").await.status, 401);
    assert_eq!(bench.get("/livez").await.status, 200);
}

#[tokio::test]
async fn every_prefix_leads_to_the_same_answers() {
    let bench = Bench::start(seeded(1)).await;
    let body = question("echo", "hi").to_string();
    for prefix in ["", "/v1", "/openai/v1", "/a/b/c"] {
        let url = format!("http://{}{prefix}/chat/completions", bench.simulator.addr());
        let sent = bench.client.post(url).body(body.clone()).send().await.unwrap();
        assert_eq!(Bench::read(sent).await.text(), "hi", "{prefix}");
    }
    let models = bench.get("/openai/v1/models").await.json();
    assert!(models["data"].as_array().unwrap().iter().any(|model| model["id"] == "echo"));
    assert_eq!(bench.get("/v1/models/gpt-4o").await.json()["id"], "gpt-4o");
}

#[tokio::test]
async fn counters_tell_what_was_asked() {
    let bench = Bench::start(seeded(1)).await;
    for model in ["echo", "echo", "gpt-4o"] {
        bench.ask(&with(question(model, "hi"), json!({"stream": model == "gpt-4o"}))).await;
    }
    let counts = bench.simulator.counters();
    assert_eq!((counts.requests, counts.streams, counts.by_model["echo"]), (3, 1, 2));
    assert!(counts.peak_in_flight >= 1);
    assert_eq!(bench.get("/simulate/counters").await.json()["by_model"]["gpt-4o"], 1);
}

#[tokio::test]
async fn latency_is_kept_and_a_token_rate_spreads_a_stream() {
    let latency = Latency {
        total: Span::Fixed(Duration::from_millis(60)),
        first_token: Span::Fixed(Duration::from_millis(20)),
        token_rate: Some(200.0),
    };
    let bench = Bench::start(Settings { latency, ..seeded(1) }).await;
    let body = question("echo", "one two three four five six seven eight nine ten eleven");
    let start = Instant::now();
    let whole = bench.ask(&body).await;
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert_eq!(whole.headers["openai-processing-ms"], "60");
    let start = Instant::now();
    let mut stream = bench.request(&with(body, json!({"stream": true}))).send().await.unwrap();
    let mut arrivals = Vec::new();
    while stream.chunk().await.unwrap().is_some() {
        arrivals.push(start.elapsed());
    }
    assert!(arrivals[0] >= Duration::from_millis(20), "{arrivals:?}");
    assert!(arrivals.len() > 5, "tokens arrive one by one: {arrivals:?}");
    // Eleven tokens, ten gaps of 5 ms.
    assert!(*arrivals.last().unwrap() >= Duration::from_millis(70), "{arrivals:?}");
}

fn writer(quality: f64) -> Persona {
    let role = PersonaRole::Writer(Writer { quality, ..Writer::default() });
    Persona { role, ..Persona::default() }
}

fn umpire(noise: f64, position_bias: f64) -> Persona {
    let role = PersonaRole::Judge(Judge { noise, position_bias, ..Judge::default() });
    Persona { role, ..Persona::default() }
}

fn judge_prompt(asked: &str, first: &str, second: &str) -> Value {
    let text = format!(
        "<<<question 5f1c>>>\n{asked}\n<<<end 5f1c>>>\n\n<<<answer A 5f1c>>>\n{first}\n\
         <<<end 5f1c>>>\n\n<<<answer B 5f1c>>>\n{second}\n<<<end 5f1c>>>\nWhich is better?"
    );
    with(question("umpire", &text), json!({"logprobs": true, "top_logprobs": 5, "max_tokens": 1}))
}

/// P(B)/(P(A)+P(B)) of the first token.
fn second_better(answer: &Value) -> f64 {
    let top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"].as_array().unwrap();
    let p = |letter: &str| {
        let row = top.iter().find(|row| row["token"] == letter);
        row.map_or(0.0, |row| row["logprob"].as_f64().unwrap().exp())
    };
    p("B") / (p("A") + p("B"))
}

#[tokio::test]
async fn a_persona_judge_prefers_the_better_persona_by_reading_its_answers() {
    let mut settings = seeded(5);
    settings.personas.insert("lead".into(), writer(0.9));
    settings.personas.insert("weak".into(), writer(0.4));
    settings.personas.insert("umpire".into(), umpire(0.3, 0.0));
    let bench = Bench::start(settings).await;
    let (mut won, mut asked) = (0.0, 0.0);
    for question_text in Support::default().questions() {
        let lead = bench.ask(&question("lead", question_text)).await.text();
        let weak = bench.ask(&question("weak", question_text)).await.text();
        for (first, second, lead_second) in [(&weak, &lead, true), (&lead, &weak, false)] {
            let verdict = bench.ask(&judge_prompt(question_text, first, second)).await.json();
            let p = second_better(&verdict);
            won += if lead_second { p } else { 1.0 - p };
            asked += 1.0;
        }
    }
    let win_rate = won / asked;
    assert!(win_rate > 0.7 && win_rate < 0.99, "{win_rate}");
}

#[tokio::test]
async fn a_biased_judge_leans_to_what_it_reads_second_and_ties_are_said() {
    let mut settings = seeded(5);
    settings.personas.insert("umpire".into(), umpire(0.0, 1.0));
    let bench = Bench::start(settings).await;
    let prompt = judge_prompt("Where is my invoice?", "No idea.", "No clue.");
    let answer = bench.ask(&prompt).await.json();
    let expected = 1.0 / (1.0 + (-1.0_f64).exp());
    assert!((second_better(&answer) - expected).abs() < 1e-9);
    assert_eq!(answer["choices"][0]["message"]["content"], "B");
    let mut settings = seeded(5);
    settings.personas.insert("umpire".into(), umpire(0.0, 0.0));
    let bench = Bench::start(settings).await;
    let answer = bench.ask(&prompt).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "C");
    assert!((second_better(&answer) - 0.5).abs() < 1e-9);
    let answer = bench.ask(&question("umpire", "nothing to compare")).await.text();
    assert!(answer.len() > 20, "no verdict without two answers: {answer}");
}

#[tokio::test]
async fn a_personas_errors_have_their_share_and_its_price_is_reported() {
    let mut settings = seeded(5);
    let price = Some(understudy::simulate::Price { input: 2.0, output: 8.0 });
    settings.personas.insert("flaky".into(), Persona { error_rate: 0.3, price, ..writer(1.0) });
    let bench = Bench::start(settings).await;
    let mut failed = 0;
    for n in 0..200 {
        let answer =
            bench.ask(&question("flaky", &format!("Order {n}: where is my refund?"))).await;
        if answer.status == 500 {
            failed += 1;
            continue;
        }
        let usage = answer.json()["usage"].clone();
        let tokens = |key: &str| usage[key].as_f64().unwrap();
        let cost = (tokens("prompt_tokens") * 2.0 + tokens("completion_tokens") * 8.0) / 1e6;
        assert!((usage["cost"].as_f64().unwrap() - cost).abs() < 1e-12);
        assert!(answer.text().contains("within 5 working days"));
    }
    assert!((35..=85).contains(&failed), "{failed} of 200");
}
