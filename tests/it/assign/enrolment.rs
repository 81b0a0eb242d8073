//! Which experiment a request takes part in, and which variant can go on from its history.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use serde_json::Value;
use serde_json::json;
use understudy::chat::DialectName;
use understudy::config::Config;
use understudy::config::Provider as Endpoint;
use understudy::experiment::Experiment;
use understudy::experiment::Layer;
use understudy::experiment::Share;
use understudy::experiment::State;
use understudy::experiment::Unit;
use understudy::plan;
use understudy::plan::Caller;
use understudy::plan::Thread;

use super::experiment;
use super::ppm;
use crate::harness::provider::Answer;
use crate::harness::provider::Provider;
use crate::harness::sidecar;
use crate::harness::sidecar::target;

/// A configuration with a provider of each family.
fn config(experiments: Vec<Experiment>) -> Config {
    let mut config = Config { experiments, ..Config::default() };
    config.providers.clear();
    for (name, dialects) in [
        ("openai", &[DialectName::OpenAi, DialectName::Responses][..]),
        ("other", &[DialectName::OpenAi, DialectName::Responses]),
        ("plain", &[DialectName::OpenAi]),
        ("anthropic", &[DialectName::Anthropic]),
        ("gemini", &[DialectName::Gemini]),
    ] {
        let url = "http://127.0.0.1:9/v1".parse().unwrap();
        let native = Endpoint::native(name, url, dialects[0]);
        config
            .providers
            .insert(name.to_owned(), Endpoint { dialects: dialects.to_vec(), ..native });
    }
    config
}

/// An experiment with everyone at its one candidate.
fn all(name: &str, control: &str, candidate: &str) -> Experiment {
    let mut made = experiment(name, &[1_000_000]);
    made.name = name.to_owned();
    made.control.target = target(control);
    made.candidates[0].variant.target = target(candidate);
    made
}

/// Assigned, served, pinned, unit.
type Told = (Option<String>, Option<String>, Option<&'static str>, Option<String>);

fn told(
    config: &Config,
    dialect: DialectName,
    body: &Value,
    headers: &HeaderMap,
    thread: Option<&Thread>,
) -> Told {
    let dialect = dialect.dialect();
    let head = dialect.read_head(Bytes::from(body.to_string()), None).unwrap();
    let caller = Caller { thread, ..Caller::new(headers) };
    let plan = plan::plan(config, dialect, &head, &caller).unwrap();
    let served = plan.served.map(|served| served.name.clone());
    if let Some(served) = plan.served {
        assert_eq!(plan.targets[0], served.target, "who is asked is who serves");
    }
    (plan.assigned(), served, plan.pinned, plan.unit)
}

fn hi(more: Value) -> Value {
    let mut body = json!({"model": "openai/x", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn a_request_takes_part_only_if_every_condition_holds() {
    let mut headers = HeaderMap::new();
    headers.insert("x-app", HeaderValue::from_static("support"));
    headers.insert("authorization", HeaderValue::from_static("Bearer key"));
    let gold = hi(json!({"metadata": {"tier": "gold", "seats": 5}, "user": "7"}));
    let tenant = {
        let dialect = DialectName::OpenAi.dialect();
        let head = dialect.read_head(Bytes::from(gold.to_string()), None).unwrap();
        let caller = Caller::new(&headers);
        plan::plan(&config(Vec::new()), dialect, &head, &caller).unwrap().tenant.to_string()
    };
    let check = |change: &dyn Fn(&mut Experiment), takes_part: bool, what: &str| {
        let mut made = all("trial", "openai/x", "openai/y");
        change(&mut made);
        let (assigned, ..) = told(&config(vec![made]), DialectName::OpenAi, &gold, &headers, None);
        assert_eq!(assigned.is_some(), takes_part, "{what}");
    };
    let field = |at: &str, value: Value| {
        let at = at.to_owned();
        move |made: &mut Experiment| made.matches.fields.push((at.clone(), value.clone()))
    };
    let slice = |from, to| Some(Layer { name: "l".to_owned(), from: ppm(from), to: ppm(to) });
    let named = understudy::experiment::assign::position("layer", "l", b"user:7");
    check(&|_| {}, true, "no condition");
    check(&field("/metadata/tier", json!("gold")), true, "a field");
    check(&field("/metadata/tier", json!("Gold")), false, "a field of another value");
    check(&field("/metadata/seats", json!(5)), true, "a number");
    check(&field("/metadata/seats", json!("5")), false, "a number is no text");
    check(&field("/metadata", json!({"seats": 5, "tier": "gold"})), true, "a map in any order");
    check(&field("/metadata/gone", json!(null)), false, "a field that is missing is not null");
    check(&|made| made.matches.tenants = vec![tenant[..16].to_owned()], true, "the tenant");
    check(&|made| made.matches.tenants = vec!["0".repeat(16)], false, "another tenant");
    check(&|made| made.matches.share = Share::NONE, false, "no share of the units");
    check(&|made| made.layer = slice(0, named), false, "another slice, which ends before it");
    check(&|made| made.layer = slice(named, named + 1), true, "its own slice");
    check(&|made| made.layer = slice(named + 1, 1_000_000), false, "a slice that begins after it");
    for (state, takes_part) in [
        (State::Draft, false),
        (State::Running, true),
        (State::Paused, false),
        (State::Stopped, false),
        (State::Decided, true),
    ] {
        check(&|made| made.standing.state = state, takes_part, &format!("{state:?}"));
    }
    let everyone = Config { holdout: Share::ALL, ..config(vec![all("t", "openai/x", "openai/y")]) };
    let (assigned, ..) = told(&everyone, DialectName::OpenAi, &gold, &headers, None);
    assert_eq!(assigned, None, "all are held out");
}

#[test]
fn of_several_experiments_the_first_by_name_takes_the_request_whatever_the_order_of_files() {
    let mut closed = all("a-closed", "openai/x", "openai/y");
    closed.matches.fields.push(("/never".to_owned(), json!(1)));
    let mut other_slice = all("b-other-units", "openai/x", "openai/y");
    other_slice.matches.share = Share::NONE;
    let mut given = vec![
        all("z", "openai/x", "openai/y"),
        other_slice,
        all("m", "openai/x", "openai/y"),
        closed,
    ];
    for _ in 0..given.len() {
        given.rotate_left(1);
        let config = config(given.clone());
        let body = hi(json!({}));
        let (assigned, ..) = told(&config, DialectName::OpenAi, &body, &HeaderMap::new(), None);
        assert_eq!(assigned.as_deref(), Some("m=a"));
    }
}

#[test]
fn a_unit_is_what_the_definition_says_and_else_the_conversation() {
    let check = |unit: Unit, more: Value, expected: &str| {
        let mut made = all("trial", "openai/x", "openai/y");
        made.unit = unit;
        let mut headers = HeaderMap::new();
        headers.insert("x-user-id", HeaderValue::from_static("7"));
        let (.., unit) = told(&config(vec![made]), DialectName::OpenAi, &hi(more), &headers, None);
        assert_eq!(unit.as_deref(), Some(expected));
    };
    let field = || Unit::Field("/metadata/account".to_owned());
    check(Unit::Header("x-user-id".parse().unwrap()), json!({"user": "u"}), "7");
    check(Unit::Header("x-gone".parse().unwrap()), json!({"user": "u"}), "user:u");
    check(field(), json!({"metadata": {"account": "acme"}}), "acme");
    check(field(), json!({"metadata": {"account": [1, 2]}}), "[1,2]");
    check(field(), json!({"user": "u"}), "user:u");
    check(Unit::Conversation, json!({"safety_identifier": "s"}), "user:s");
    check(Unit::Conversation, json!({"user": "u", "prompt_cache_key": "k"}), "prompt_cache_key:k");
}

/// One case after another: the experiment, what is asked, and who answers it for what reason.
struct Pins {
    made: RefCell<Experiment>,
}

impl Pins {
    fn check(
        &self,
        dialect: DialectName,
        body: Value,
        thread: Option<&Thread>,
        expected: (&str, Option<&str>),
    ) {
        let config = config(vec![self.made.borrow().clone()]);
        let (assigned, served, pinned, _) =
            told(&config, dialect, &body, &HeaderMap::new(), thread);
        assert_eq!(assigned.as_deref(), Some("trial=a"), "what was assigned stays: {body}");
        assert_eq!((served.as_deref().unwrap(), pinned), expected, "{body} {thread:?}");
    }
}

fn thread(provider: &str, variant: Option<&str>) -> Thread {
    Thread {
        conversation: None,
        served: variant.map(|variant| ("trial".to_owned(), variant.to_owned())),
        target: target(&format!("{provider}/m")),
    }
}

#[test]
fn a_history_with_signatures_goes_to_a_variant_that_can_read_them() {
    let pins = Pins { made: RefCell::new(all("trial", "anthropic/claude", "openai/y")) };
    let turns = |block: Value| {
        json!({"model": "anthropic/claude", "max_tokens": 9, "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [block, {"type": "text", "text": "yes"}]},
            {"role": "user", "content": "so"},
        ]})
    };
    let thought = |seal: &str| json!({"type": "thinking", "thinking": "hm", "signature": seal});
    let hidden = json!({"type": "redacted_thinking", "data": "Eo8C"});
    let anthropic = DialectName::Anthropic;
    pins.check(anthropic, turns(json!({"type": "text", "text": "a"})), None, ("a", None));
    pins.check(anthropic, turns(thought("Eo8C")), None, ("control", Some("signed_history")));
    pins.check(anthropic, turns(hidden.clone()), None, ("control", Some("signed_history")));
    // OpenAI's own, carried by an application that speaks Anthropic's dialect.
    pins.check(anthropic, turns(thought("understudy-seal:openai:x")), None, ("a", None));
    let signed = json!({"model": "gemini/g", "input": [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "so"},
    ]});
    *pins.made.borrow_mut() = all("trial", "gemini/g", "openai/y");
    pins.check(DialectName::Responses, signed.clone(), None, ("a", None));
    *pins.made.borrow_mut() = all("trial", "openai/y", "gemini/g");
    pins.check(DialectName::Responses, signed.clone(), None, ("control", Some("signed_history")));
    // Nobody can read it, so nothing is gained by moving.
    *pins.made.borrow_mut() = all("trial", "anthropic/claude", "gemini/g");
    pins.check(DialectName::Responses, signed, None, ("a", None));
    let mut halted = all("trial", "gemini/g", "openai/y");
    let mut reader = halted.candidates[0].clone();
    reader.variant.name = "b".to_owned();
    reader.variant.target = target("anthropic/claude");
    reader.split = Share::NONE;
    halted.candidates.push(reader);
    *pins.made.borrow_mut() = halted.clone();
    pins.check(anthropic, turns(hidden.clone()), None, ("b", Some("signed_history")));
    halted.standing.halted = vec!["b".to_owned()];
    *pins.made.borrow_mut() = halted;
    pins.check(anthropic, turns(hidden), None, ("a", None));
}

#[test]
fn a_response_is_gone_on_from_where_it_is_kept() {
    let follows = |more: Value| {
        let mut body = json!({"model": "openai/x", "input": "so", "previous_response_id": "r"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let plain = || follows(json!({}));
    let pins = Pins { made: RefCell::new(all("trial", "openai/x", "other/y")) };
    let dialect = DialectName::Responses;
    let check = |body: Value, thread: Option<&Thread>, expected| {
        pins.check(dialect, body, thread, expected);
    };
    let kept = Some("previous_response");
    let unknown = Some("unknown_response");
    check(plain(), Some(&thread("other", Some("a"))), ("a", None));
    check(plain(), Some(&thread("openai", Some("control"))), ("control", kept));
    check(plain(), Some(&thread("openai", None)), ("control", kept));
    check(plain(), Some(&thread("gone", Some("control"))), ("a", None));
    check(plain(), None, ("control", unknown));
    check(follows(json!({"user": "7"})), None, ("a", None));
    check(
        json!({"model": "openai/x", "input": "so", "conversation": "c"}),
        None,
        ("control", unknown),
    );
    let reference = json!({"model": "openai/x", "input": [
        {"role": "user", "content": "hi"}, {"type": "item_reference", "id": "msg_1"}]});
    check(reference.clone(), None, ("a", None));
    *pins.made.borrow_mut() = all("trial", "openai/x", "plain/y");
    check(reference, None, ("control", unknown));
    check(follows(json!({"user": "7"})), None, ("control", unknown));
    // The same provider has the same responses, but who gave it goes on.
    *pins.made.borrow_mut() = all("trial", "openai/x", "openai/y");
    check(plain(), None, ("a", None));
    check(plain(), Some(&thread("openai", None)), ("a", None));
    check(plain(), Some(&thread("openai", Some("control"))), ("control", kept));
}

#[test]
fn a_pinned_request_makes_no_pair_and_has_the_answers_of_who_serves_it() {
    let mut made = all("trial", "openai/x", "other/y");
    made.shadow = Share::ALL;
    let config = config(vec![made]);
    let dialect = DialectName::Responses.dialect();
    let body = json!({"model": "openai/x", "input": "so", "previous_response_id": "r"});
    let head = dialect.read_head(Bytes::from(body.to_string()), None).unwrap();
    let headers = HeaderMap::new();
    let plan = |thread: &Thread| {
        let caller = Caller { thread: Some(thread), ..Caller::new(&headers) };
        let plan = plan::plan(&config, dialect, &head, &caller).unwrap();
        (plan.pair.is_some(), plan.key(&target("openai/x")), plan.key(&target("other/y")))
    };
    let (free, pinned) = (thread("other", Some("a")), thread("openai", Some("control")));
    assert!(plan(&free).0 && !plan(&pinned).0);
    assert_ne!(plan(&free).1, plan(&pinned).1, "two variants never share an answer");
}

/// A whole answer with this id.
fn response(id: &str) -> Answer {
    let text = json!({"type": "output_text", "text": "yes", "annotations": []});
    let said = json!({"type": "message", "id": "msg", "role": "assistant", "status": "completed",
        "content": [text]});
    let body = json!({"id": id, "object": "response", "status": "completed", "model": "m",
        "output": [said]});
    Answer::json(body.to_string())
}

#[tokio::test]
async fn a_conversation_over_previous_responses_keeps_its_unit_and_its_variant() {
    let provider = Provider::start().await;
    let mut config = sidecar::config(&[("openai", &provider), ("other", &provider)]);
    for endpoint in config.providers.values_mut() {
        endpoint.dialects = vec![DialectName::Responses];
    }
    let mut made = sidecar::experiment("openai/x", "other/y", Share::NONE, ppm(500_000));
    made.salt = "chains".to_owned();
    config.experiments = vec![made];
    let sidecar = sidecar::Sidecar::start(config).await;
    let mut seen = std::collections::BTreeSet::new();
    for conversation in 0..24 {
        let mut previous: Option<String> = None;
        let mut variants = std::collections::BTreeSet::new();
        for turn in 0..3 {
            let id = format!("resp_{conversation}_{turn}");
            provider.expect(response(&id));
            let mut body = json!({"model": "openai/x", "input": format!("{conversation} {turn}")});
            if let Some(previous) = &previous {
                body["previous_response_id"] = json!(previous);
            }
            let reply = sidecar::whole(sidecar.post("/v1/responses", body.to_string())).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let told =
                (reply.header("x-understudy-experiment"), reply.header("x-understudy-target"));
            variants.insert((told.0.to_owned(), told.1.to_owned()));
            previous = Some(id);
        }
        assert_eq!(variants.len(), 1, "{conversation}: {variants:?}");
        seen.extend(variants);
    }
    assert_eq!(seen.len(), 2, "both variants have conversations: {seen:?}");
    assert_eq!(sidecar.funnel("pinned"), 0);
    // What another process has seen is asked of the incumbent, and counted.
    let mut moved = 0;
    for stranger in 0..24 {
        provider.expect(response(&format!("resp_after_{stranger}")));
        let id = format!("resp_unseen_{stranger}");
        let body = json!({"model": "openai/x", "input": "so", "previous_response_id": id});
        let reply = sidecar::whole(sidecar.post("/v1/responses", body.to_string())).await;
        assert_eq!(reply.header("x-understudy-target"), "openai/x");
        moved += u64::from(reply.header("x-understudy-experiment") == "trial=next");
    }
    assert!(moved > 0);
    assert_eq!(sidecar.funnel("pinned"), moved);
    sidecar.stop().await;
}
