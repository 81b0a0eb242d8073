//! Rules over texts and JSON: what matches goes, and not a byte besides.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use understudy::redact::BUILT_IN;
use understudy::redact::Found;
use understudy::redact::Redactor;
use understudy::redact::Rule;

use super::built_in;
use super::own;
use super::redacted;

fn all() -> Redactor {
    let names: Vec<&str> = BUILT_IN.iter().map(|known| known.name).collect();
    built_in(&names)
}

fn body(rules: &Redactor, body: &str) -> Option<String> {
    let edited = rules.body(&Bytes::copy_from_slice(body.as_bytes()), &mut Found::new());
    edited.map(|edited| String::from_utf8(edited.to_vec()).unwrap())
}

#[test]
fn each_rule_finds_what_it_is_for_and_nothing_that_looks_like_it() {
    // Put together here, so that nobody takes them for real ones.
    let key = format!("sk-{}", "a1".repeat(12));
    let token = format!("eyJ{}.eyJ{}.{}", "a".repeat(12), "b".repeat(12), "c".repeat(20));
    let pem = ["-----BEGIN PRIVATE KEY-----", "abc", "-----END PRIVATE KEY-----"].join("\n");
    let amazon = format!("AKIA{}", "Q7".repeat(8));
    for (rule, text, wanted) in [
        ("email", "write to Ann.O'Hara+x@mail.example.co.uk.", "write to [email]."),
        ("email", "müller@bücher.de, b@c.de", "[email], [email]"),
        ("email", "a@b, @name, x@1.2, a@-b.de", "a@b, @name, x@1.2, a@-b.de"),
        ("card", "4111 1111 1111 1111 123", "[card] 123"),
        ("card", "no. 4111-1111-1111-1111!", "no. [card]!"),
        ("card", "378282246310005 and 5555555555554444", "[card] and [card]"),
        ("card", "4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("card", "order 84111111111111111", "order 84111111111111111"),
        ("card", "12 4111111111111111", "12 [card]"),
        ("iban", "to DE89 3704 0044 0532 0130 00 please", "to [iban] please"),
        ("iban", "gb82west12345698765432", "[iban]"),
        ("iban", "AB12 to DE89370400440532013000", "AB12 to [iban]"),
        ("iban", "DE88 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"),
        ("ip", "from 10.20.30.40:8080", "from [ip]:8080"),
        ("ip", "2001:db8::ff00:42:8329 or ::ffff:10.0.0.1", "[ip] or [ip]"),
        (
            "ip",
            "version 1.2.3.4.5, 300.1.1.1, a::b, 12:30:45",
            "version 1.2.3.4.5, 300.1.1.1, a::b, 12:30:45",
        ),
        ("phone", "call +49 170 1234567 or (212) 555-0123", "call [phone] or [phone]"),
        ("phone", "on 2024-08-06 at 1700000000", "on 2024-08-06 at 1700000000"),
        ("ssn", "his 536-90-4399.", "his [ssn]."),
        (
            "ssn",
            "000-12-3456, 666-12-3456, 123-00-4567, 1-536-90-4399",
            "000-12-3456, 666-12-3456, 123-00-4567, 1-536-90-4399",
        ),
        ("secret", &format!("use {key}!"), "use [secret]!"),
        ("secret", &format!("Bearer {token}"), "Bearer [secret]"),
        ("secret", &format!("x{pem}x"), "x[secret]x"),
        (
            "secret",
            &format!("{amazon} but not task-{}", "b".repeat(30)),
            &format!("[secret] but not task-{}", "b".repeat(30)),
        ),
    ] {
        assert_eq!(redacted(&built_in(&[rule]), text), wanted, "{rule}");
    }
}

#[test]
fn where_rules_meet_everything_that_any_of_them_matches_goes() {
    let rules = Redactor::new(vec![
        Rule::own("first", "one two").unwrap(),
        Rule::own("second", "two three").unwrap(),
    ]);
    assert_eq!(redacted(&rules, "0 one two three 4"), "0 [first] 4");
}

#[test]
fn rules_that_cannot_be_used_say_why() {
    for (pattern, wanted) in [
        ("(", "is no regular expression: unclosed group"),
        ("x*", "matches the empty text"),
        (r"\b", "matches the empty text"),
        (r"\w{1000}{100}", "stands for too much"),
        (&"x".repeat(1001), "has 1001 bytes of at most 1000"),
    ] {
        let said = Rule::own("r", pattern).unwrap_err();
        assert!(said.contains(wanted), "{said}");
    }
}

/// What the file says, or everything wrong with it.
fn rules_of(yaml: &str) -> Result<Redactor, String> {
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let loaded = understudy::config::load(Some(("u.yaml", yaml)), &[], &|_| None, &read);
    let told = |problem: understudy::config::Problem| {
        format!("{}:{} {}: {}", problem.line, problem.column, problem.what, problem.help.unwrap())
    };
    loaded
        .map(|(config, _)| config.redact)
        .map_err(|problems| problems.into_iter().map(told).collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_file_names_rules_and_every_broken_one_is_told_with_a_remedy() {
    let good = "redact: [email, card, { name: ticket, pattern: 'TICKET-\\d+' }]";
    let said = redacted(&rules_of(good).unwrap(), "TICKET-12 of ann@x.org");
    assert_eq!(said, "[ticket] of [email]");
    let wrong = rules_of(
        "redact:\n- emial\n- dna\n- { name: card, pattern: x }\n- { name: a, pattern: '(' }\n\
         - { pattern: x }\n- { name: b, patern: x }\n- email\n- email\n",
    );
    let wrong = wrong.unwrap_err();
    for wanted in [
        "2:3 `redact[0]` is no rule that is built in: `emial`: did you mean `email`? It is for e-mail",
        "3:3 `redact[1]` is no rule that is built in: `dna`: known here: card, email,",
        "`redact[2].name` `card` is built in",
        "`redact[3].pattern` is no regular expression: unclosed group",
        "`name` is missing in `redact[4]`",
        "did you mean `pattern`?",
        "9:3 `redact[7]` is there twice: `email`",
    ] {
        assert!(wrong.contains(wanted), "{wanted}\n{wrong}");
    }
}

#[test]
fn json_keeps_every_byte_but_the_texts_that_match() {
    let before = r#"{ "b":1.50, "a" : ["x", "ann@x.org"], "esc":"\u0061nn\u0040x.org\n",
 "args":{"n":1e3}, "big":123456789012345678901234567890 }"#;
    let after = r#"{ "b":1.50, "a" : ["x", "[email]"], "esc":"[email]\n",
 "args":{"n":1e3}, "big":123456789012345678901234567890 }"#;
    assert_eq!(body(&all(), before).as_deref(), Some(after));
    assert_eq!(body(&all(), &after.replace('\n', " ")), None, "what matches nothing is let be");
    assert_eq!(body(&all(), "no JSON of ann@x.org").as_deref(), Some("no JSON of [email]"));
    let half = body(&all(), r#"["\ud800 ann@x.org"]"#).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&half).unwrap(),
        json!(["\u{fffd}\u{fffd}\u{fffd} [email]"])
    );
}

#[test]
fn arguments_that_are_json_in_a_text_stay_json_and_numbers_in_them_become_texts() {
    let arguments = json!({"to": "ann@x.org", "card": 4111111111111111u64, "n": 3}).to_string();
    let calls = json!([{"id": "c", "function": {"name": "f", "arguments": arguments}}]);
    let request = json!({"seed": 4111111111111111u64, "messages": [{"tool_calls": calls},
        {"content": [{"type": "tool_use", "input": {"card": 4111111111111111u64}}]}]});
    let edited: Value = serde_json::from_str(&body(&all(), &request.to_string()).unwrap()).unwrap();
    let call = &edited["messages"][0]["tool_calls"][0]["function"]["arguments"];
    let call: Value = serde_json::from_str(call.as_str().unwrap()).unwrap();
    assert_eq!(call, json!({"to": "[email]", "card": "[card]", "n": 3}));
    assert_eq!(edited["messages"][1]["content"][0]["input"]["card"], "[card]");
    assert_eq!(edited["seed"], request["seed"], "a number of the dialect's own is no value");
}

#[test]
fn what_a_request_is_made_of_survives_rules_of_ones_own() {
    let request = json!({"model": "gpt-4o", "messages": [
        {"role": "user", "content": [{"type": "text", "text": "the user of gpt-4o says text"}]},
        {"role": "tool", "tool_call_id": "call_user", "content": "user"},
    ]});
    let edited = body(&own("x", "user|text|gpt-4o"), &request.to_string()).unwrap();
    let wanted = json!({"model": "gpt-4o", "messages": [
        {"role": "user", "content": [{"type": "text", "text": "the [x] of [x] says [x]"}]},
        {"role": "tool", "tool_call_id": "call_user", "content": "[x]"},
    ]});
    assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), wanted);
}

#[test]
fn images_and_sounds_are_let_be_and_tokens_go_with_their_text() {
    let data = "4111111111111111AKIA".repeat(20);
    let url = format!("data:image/png;base64,{data}");
    let picture = json!({"messages": [{"content": [{"image_url": {"url": url}}, {"data": data}]}]});
    assert_eq!(body(&all(), &picture.to_string()), None);
    let tokens = json!({"content": [{"token": "ann"}, {"token": "@x.org"}]});
    let answer =
        |text: &str| json!({"choices": [{"message": {"content": text}, "logprobs": tokens}]});
    assert_eq!(body(&all(), &answer("hello").to_string()), None);
    let edited = body(&all(), &answer("ann@x.org").to_string()).unwrap();
    let edited: Value = serde_json::from_str(&edited).unwrap();
    assert_eq!(edited, json!({"choices": [{"message": {"content": "[email]"}, "logprobs": null}]}));
}

/// Texts in which something is found more often than by chance.
fn texts() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "ann@x.org",
        "4111 1111 1111 1111",
        "DE89370400440532013000",
        "+49 170 1234567",
        "536-90-4399",
        "10.0.0.1",
        "é",
        "\"",
        "\\",
        " ",
        "1",
        "-",
        ".",
        "{",
        "[",
        "[email]",
        "]",
    ]);
    let any = prop_oneof![words.prop_map(str::to_owned), "\\PC{0,6}"];
    prop::collection::vec(any, 0..8).prop_map(|words| words.concat())
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        texts().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        texts().prop_map(|text| Value::from(json!({"inner": text}).to_string())),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keys = prop::sample::select(vec!["a", "args", "role", "logprobs", "input", "\"é"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..4).prop_map(|entries| {
                let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
                Value::Object(entries.collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn json_stays_json_with_the_same_keys_and_to_redact_twice_is_to_redact_once(value in values()) {
        let text = value.to_string();
        let once = body(&all(), &text).unwrap_or_else(|| text.clone());
        let read: Value = serde_json::from_str(&once).unwrap();
        if let (Some(before), Some(after)) = (value.as_object(), read.as_object()) {
            prop_assert!(before.keys().eq(after.keys()));
        }
        prop_assert_eq!(body(&all(), &once), None, "{}", once);
    }
}
