//! Features of requests: each is asked in one dialect, translated, and read in the other.

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use understudy::chat::DialectName;
use understudy::chat::Maker;
use understudy::chat::Seal;
use understudy::chat::request::Effort;
use understudy::chat::request::Format;
use understudy::chat::request::Message;
use understudy::chat::request::Part;
use understudy::chat::request::PartKind;
use understudy::chat::request::Request;
use understudy::chat::request::Role;
use understudy::chat::request::Source;
use understudy::chat::request::Tool;
use understudy::chat::request::ToolChoice;
use understudy::error::Error;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::Written;
use understudy::wire::quirk::Quirks;

use super::Cell;

/// Something a request can ask.
pub struct Feature {
    pub name: &'static str,
    /// Adds it to a request.
    add: fn(&mut Request),
    /// What of it is in a request; `None` if nothing.
    find: fn(&Request) -> Option<Value>,
}

/// What becomes of a feature from one dialect into another.
pub fn cell(feature: &Feature, from: DialectName, into: DialectName) -> Cell {
    let mut request = Request::new(from, "m");
    request.sampling.max_tokens = Some(4096);
    request.messages.push(Message::text(Role::User, "Question?"));
    (feature.add)(&mut request);
    // The feature as an application would write it; the canonical form is nobody's dialect.
    let Ok(own) = write(from, &request) else { return Cell::Unknown };
    let asked = read(from, &own, request.stream).unwrap_or_else(|error| {
        panic!("{} in {}: {}: {:?}", feature.name, from.as_str(), error.detail, own.body)
    });
    let Some(wanted) = (feature.find)(&asked) else { return Cell::Unknown };
    if wanted != (feature.find)(&request).unwrap_or_default() {
        // The dialect can only say something like it, which counts as its own.
        println!("{} is another thing in {}: {wanted}", feature.name, from.as_str());
    }
    let written = match write(into, &asked) {
        Ok(written) => written,
        Err(error) => {
            assert!(error.detail.contains('`'), "names no field: {}", error.detail);
            return Cell::Refused;
        }
    };
    let arrived = read(into, &written, asked.stream).unwrap_or_else(|error| {
        panic!("{} into {}: {}: {:?}", feature.name, into.as_str(), error.detail, written.body)
    });
    match (feature.find)(&arrived) {
        Some(found) if found == wanted => Cell::Kept,
        found if written.losses.is_empty() => {
            println!(
                "{} from {} into {}: {wanted} became {found:?}",
                feature.name,
                from.as_str(),
                into.as_str()
            );
            Cell::Lost
        }
        _ => Cell::Reported,
    }
}

fn write(dialect: DialectName, request: &Request) -> Result<Written, Error> {
    let to = Recipient { model: "m", quirks: &Quirks::NONE };
    dialect.dialect().write(request, &to)
}

fn read(dialect: DialectName, written: &Written, stream: bool) -> Result<Request, Error> {
    let has_path = matches!(
        dialect,
        DialectName::Gemini | DialectName::Converse | DialectName::GeminiEmbeddings
    );
    let in_path = has_path.then(|| InPath { model: "m".into(), stream });
    let head = dialect.dialect().read_head(Bytes::clone(&written.body), in_path)?;
    dialect.dialect().read(&head)
}

fn parts(request: &Request) -> impl Iterator<Item = (Role, &PartKind)> {
    let messages = request.messages.iter();
    messages.flat_map(|message| message.parts.iter().map(|part| (message.role, &part.kind)))
}

fn debug<T: std::fmt::Debug>(value: T) -> Option<Value> {
    Some(json!(format!("{value:?}")))
}

/// Every part of a kind, however it came to be split into messages.
fn all(request: &Request, wanted: fn(&PartKind) -> bool) -> Option<Value> {
    let found: Vec<String> = parts(request)
        .filter(|(_, part)| wanted(part))
        .map(|(_, part)| format!("{part:?}"))
        .collect();
    (!found.is_empty()).then(|| json!(found))
}

fn user(request: &mut Request, part: PartKind) {
    if let Some(message) = request.messages.last_mut() {
        message.parts.push(Part::new(part));
    }
}

fn function(name: &str, strict: Option<bool>) -> Tool {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}},
                            "required": ["city"], "additionalProperties": false});
    Tool::Function {
        name: name.into(),
        description: Some("Looks it up.".into()),
        parameters: Some(parameters),
        strict,
        rest: Map::new(),
    }
}

fn inline(mime: &str) -> Source {
    Source::Inline { mime: mime.into(), data: "aGVsbG8=".into() }
}

fn call(id: &str, name: &str, seal: Option<Seal>) -> Part {
    let arguments = r#"{"city":"Paris"}"#.to_owned();
    Part::new(PartKind::ToolCall { id: Some(id.into()), name: name.into(), arguments, seal })
}

fn result(id: &str, name: &str, parts: Vec<Part>, is_error: bool) -> Part {
    let (call_id, name) = (Some(id.into()), Some(name.into()));
    Part::new(PartKind::ToolResult { call_id, name, parts, is_error })
}

fn tool_turns(request: &mut Request, results: Vec<Part>) {
    request.tools = vec![function("weather", None), function("time", None)];
    let calls = vec![call("call_1", "weather", None), call("call_2", "time", None)];
    request.messages.push(Message::new(Role::Assistant, calls));
    request.messages.push(Message::new(Role::Tool, results));
}

fn thought(by: Maker, request: &mut Request) {
    let seal = Some(Seal { by, data: "c2VhbA==".into() });
    let parts =
        vec![Part::new(PartKind::Reasoning { text: "Hmm.".into(), seal }), Part::text("Answer.")];
    request.messages.push(Message::new(Role::Assistant, parts));
    request.messages.push(Message::text(Role::User, "And?"));
}

fn seals(request: &Request) -> Option<Value> {
    let found: Vec<&Seal> = parts(request)
        .filter_map(|(_, part)| match part {
            PartKind::Reasoning { seal, .. } | PartKind::ToolCall { seal, .. } => seal.as_ref(),
            PartKind::Hidden(seal) => Some(seal),
            _ => None,
        })
        .collect();
    (!found.is_empty()).then(|| json!(found))
}

/// Sorted as people look for them.
pub static FEATURES: &[Feature] = &[
    Feature {
        name: "system prompt",
        add: |r| r.messages.insert(0, Message::text(Role::System, "Be brief.")),
        find: |r| {
            let is_system = |role| matches!(role, Role::System | Role::Developer);
            let words =
                parts(r).filter(|(role, _)| is_system(*role)).filter_map(|(_, p)| match p {
                    PartKind::Text(text) => Some(text.as_str()),
                    _ => None,
                });
            let words: String = words.collect();
            (!words.is_empty()).then(|| json!(words))
        },
    },
    Feature {
        name: "several turns",
        add: |r| {
            r.messages.push(Message::text(Role::Assistant, "Answer."));
            r.messages.push(Message::text(Role::User, "And?"));
        },
        find: |r| {
            let turns: Vec<String> =
                parts(r).map(|(role, part)| format!("{role:?} {part:?}")).collect();
            Some(json!(turns)).filter(|_| turns.len() > 1)
        },
    },
    Feature {
        name: "image, inline",
        add: |r| user(r, PartKind::Image { source: inline("image/png"), detail: None }),
        find: |r| {
            // How closely to look is another feature.
            let source = parts(r).find_map(|(_, part)| match part {
                PartKind::Image { source, .. } => Some(source),
                _ => None,
            });
            source.and_then(debug)
        },
    },
    Feature {
        name: "image, by URL",
        add: |r| {
            let source = Source::Url { url: "https://example.com/a.png".into(), mime: None };
            user(r, PartKind::Image { source, detail: None });
        },
        find: |r| {
            let url = parts(r).find_map(|(_, part)| match part {
                PartKind::Image { source: Source::Url { url, .. }, .. }
                | PartKind::File { source: Source::Url { url, .. }, .. } => Some(url),
                _ => None,
            });
            url.map(|url| json!(url))
        },
    },
    Feature {
        name: "audio",
        add: |r| user(r, PartKind::Audio(inline("audio/wav"))),
        find: |r| all(r, |part| matches!(part, PartKind::Audio(_))),
    },
    Feature {
        name: "video",
        add: |r| user(r, PartKind::Video(inline("video/mp4"))),
        find: |r| all(r, |part| matches!(part, PartKind::Video(_))),
    },
    Feature {
        name: "file (PDF), inline",
        add: |r| {
            let source = inline("application/pdf");
            user(r, PartKind::File { source, name: Some("paper.pdf".into()) });
        },
        find: |r| {
            let source = parts(r).find_map(|(_, part)| match part {
                PartKind::File { source, .. } => Some(source),
                _ => None,
            });
            source.and_then(debug)
        },
    },
    Feature {
        name: "tools",
        add: |r| r.tools = vec![function("weather", None), function("time", None)],
        find: |r| {
            let plain = |tool: &Tool| match tool {
                Tool::Function { name, description, parameters, .. } => {
                    json!([name, description, parameters])
                }
                Tool::Own(own) => own.clone(),
            };
            (!r.tools.is_empty()).then(|| r.tools.iter().map(plain).collect())
        },
    },
    Feature {
        name: "strict tool",
        add: |r| r.tools = vec![function("weather", Some(true))],
        find: |r| match r.tools.first() {
            Some(Tool::Function { strict: Some(true), .. }) => Some(json!(true)),
            _ => None,
        },
    },
    Feature { name: "tool choice: any", add: |r| choose(r, ToolChoice::Required), find: chosen },
    Feature { name: "tool choice: none", add: |r| choose(r, ToolChoice::None), find: chosen },
    Feature {
        name: "tool choice: one by name",
        add: |r| choose(r, ToolChoice::Named("weather".into())),
        find: chosen,
    },
    Feature {
        name: "no parallel tool calls",
        add: |r| {
            choose(r, ToolChoice::Auto);
            r.parallel_tools = Some(false);
        },
        find: |r| r.parallel_tools.map(|may| json!(may)),
    },
    Feature {
        name: "tool calls and results, parallel",
        add: |r| {
            let sunny = result("call_1", "weather", vec![Part::text("sunny")], false);
            let noon = result("call_2", "time", vec![Part::text("noon")], false);
            tool_turns(r, vec![sunny, noon]);
        },
        find: |r| {
            let found: Vec<Value> = parts(r)
                .filter_map(|(_, part)| match part {
                    PartKind::ToolCall { name, arguments, .. } => {
                        Some(json!([name, serde_json::from_str::<Value>(arguments).unwrap()]))
                    }
                    PartKind::ToolResult { call_id, parts, .. } => {
                        // Names of calls may change; which call a result is for may not.
                        let name = call_id.as_deref().and_then(|id| r.tool_of_call(id));
                        Some(json!([name, format!("{parts:?}")]))
                    }
                    _ => None,
                })
                .collect();
            (!found.is_empty()).then(|| json!(found))
        },
    },
    Feature {
        name: "tool result that failed",
        add: |r| {
            let failed = result("call_1", "weather", vec![Part::text("no network")], true);
            let noon = result("call_2", "time", vec![Part::text("noon")], false);
            tool_turns(r, vec![failed, noon]);
        },
        find: |r| {
            // Without a flag for it, the words say so.
            let failed = parts(r).any(|(_, part)| match part {
                PartKind::ToolResult { is_error, parts, .. } => {
                    *is_error || format!("{parts:?}").contains("error")
                }
                _ => false,
            });
            failed.then(|| json!(true))
        },
    },
    Feature {
        name: "image in a tool result",
        add: |r| {
            let image = PartKind::Image { source: inline("image/png"), detail: None };
            let seen = result("call_1", "weather", vec![Part::new(image)], false);
            let noon = result("call_2", "time", vec![Part::text("noon")], false);
            tool_turns(r, vec![seen, noon]);
        },
        find: |r| {
            let has_image = |parts: &Vec<Part>| {
                parts.iter().any(|part| matches!(part.kind, PartKind::Image { .. }))
            };
            let seen = parts(r).any(
                |(_, part)| matches!(part, PartKind::ToolResult { parts, .. } if has_image(parts)),
            );
            seen.then(|| json!(true))
        },
    },
    Feature {
        name: "JSON without schema",
        add: |r| r.format = Some(Format::Json),
        find: |r| matches!(r.format, Some(Format::Json)).then(|| json!(true)),
    },
    Feature {
        name: "JSON of a schema",
        add: |r| {
            r.format = Some(Format::Schema {
                name: Some("city".into()),
                description: None,
                schema: json!({"type": "object", "properties": {"city": {"type": "string"}},
                               "required": ["city"], "additionalProperties": false}),
                strict: Some(true),
            });
        },
        find: |r| match &r.format {
            Some(Format::Schema { schema, .. }) => {
                // Where a schema has no name beside it, the name becomes its title.
                let mut schema = schema.clone();
                schema.as_object_mut().map(|fields| fields.shift_remove("title"));
                Some(schema)
            }
            _ => None,
        },
    },
    Feature {
        name: "reasoning effort",
        add: |r| {
            r.reasoning = Some(Effort { level: Some("high".into()), ..Effort::default() });
        },
        find: |r| r.reasoning.as_ref().map(|effort| json!(is_thinking(effort))),
    },
    Feature {
        name: "reasoning budget",
        add: |r| {
            let budget_tokens = Some(2048);
            r.reasoning = Some(Effort { enabled: Some(true), budget_tokens, ..Effort::default() });
        },
        find: |r| r.reasoning.as_ref().map(|effort| json!(is_thinking(effort))),
    },
    Feature {
        name: "reasoning in the history",
        add: |r| {
            let parts = vec![
                Part::new(PartKind::Reasoning { text: "Hmm.".into(), seal: None }),
                Part::text("Answer."),
            ];
            r.messages.push(Message::new(Role::Assistant, parts));
            r.messages.push(Message::text(Role::User, "And?"));
        },
        find: |r| {
            let text = parts(r).find_map(|(_, part)| match part {
                PartKind::Reasoning { text, .. } if !text.is_empty() => Some(text),
                _ => None,
            });
            text.map(|text| json!(text))
        },
    },
    Feature {
        name: "Anthropic's signature in the history",
        add: |r| thought(Maker::Anthropic, r),
        find: seals,
    },
    Feature {
        name: "Gemini's signature in the history",
        add: |r| {
            r.tools = vec![function("weather", None)];
            let seal = Some(Seal { by: Maker::Gemini, data: "c2VhbA==".into() });
            let called = vec![call("call_1", "weather", seal)];
            r.messages.push(Message::new(Role::Assistant, called));
            let sunny = result("call_1", "weather", vec![Part::text("sunny")], false);
            r.messages.push(Message::new(Role::Tool, vec![sunny]));
        },
        find: seals,
    },
    Feature {
        name: "refusal in the history",
        add: |r| {
            let parts = vec![Part::new(PartKind::Refusal("I cannot.".into()))];
            r.messages.push(Message::new(Role::Assistant, parts));
            r.messages.push(Message::text(Role::User, "And?"));
        },
        find: |r| {
            let words = parts(r).find_map(|(_, part)| match part {
                PartKind::Refusal(text) | PartKind::Text(text) if text == "I cannot." => Some(text),
                _ => None,
            });
            words.map(|text| json!(text))
        },
    },
    Feature {
        name: "most tokens",
        add: |r| r.sampling.max_tokens = Some(321),
        find: |r| r.sampling.max_tokens.map(|n| json!(n)),
    },
    Feature {
        name: "temperature",
        add: |r| r.sampling.temperature = Some(0.25),
        find: |r| r.sampling.temperature.map(|n| json!(n)),
    },
    Feature {
        name: "top_p",
        add: |r| r.sampling.top_p = Some(0.5),
        find: |r| r.sampling.top_p.map(|n| json!(n)),
    },
    Feature {
        name: "top_k",
        add: |r| r.sampling.top_k = Some(40),
        find: |r| r.sampling.top_k.map(|n| json!(n)),
    },
    Feature {
        name: "stop sequences",
        add: |r| r.sampling.stop = vec!["END".into(), "###".into()],
        find: |r| (!r.sampling.stop.is_empty()).then(|| json!(r.sampling.stop)),
    },
    Feature {
        name: "seed",
        add: |r| r.sampling.seed = Some(7),
        find: |r| r.sampling.seed.map(|n| json!(n)),
    },
    Feature {
        name: "frequency penalty",
        add: |r| r.sampling.frequency_penalty = Some(0.5),
        find: |r| r.sampling.frequency_penalty.map(|n| json!(n)),
    },
    Feature {
        name: "presence penalty",
        add: |r| r.sampling.presence_penalty = Some(0.5),
        find: |r| r.sampling.presence_penalty.map(|n| json!(n)),
    },
    Feature {
        name: "several choices",
        add: |r| r.sampling.choices = Some(2),
        find: |r| r.sampling.choices.filter(|n| *n > 1).map(|n| json!(n)),
    },
    Feature {
        name: "log-probabilities",
        add: |r| r.sampling.logprobs = Some(3),
        find: |r| r.sampling.logprobs.map(|n| json!(n)),
    },
    Feature {
        name: "end user",
        add: |r| r.end_user = Some("u-1".into()),
        find: |r| r.end_user.as_ref().map(|user| json!(user)),
    },
    Feature {
        name: "metadata",
        add: |r| r.metadata = Some(json!({"team": "search"})),
        find: |r| r.metadata.clone(),
    },
    Feature {
        name: "unknown field",
        add: |r| drop(r.rest.insert("x_new_option".into(), json!({"a": 1}))),
        find: |r| r.rest.get("x_new_option").cloned(),
    },
    Feature {
        name: "a tool the provider runs",
        add: |r| {
            let own = match r.dialect {
                DialectName::Gemini => json!({"googleSearch": {}}),
                DialectName::Anthropic => {
                    json!({"type": "web_search_20250305", "name": "web_search"})
                }
                _ => json!({"type": "web_search"}),
            };
            r.tools.push(Tool::Own(own));
        },
        find: |r| {
            r.tools.iter().find_map(|tool| match tool {
                Tool::Own(own) => Some(own.clone()),
                Tool::Function { .. } => None,
            })
        },
    },
    Feature {
        name: "streaming",
        add: |r| r.stream = true,
        find: |r| r.stream.then(|| json!(true)),
    },
];

fn choose(request: &mut Request, choice: ToolChoice) {
    request.tools = vec![function("weather", None), function("time", None)];
    request.tool_choice = Some(choice);
}

fn chosen(request: &Request) -> Option<Value> {
    // Without tools none can be called, and of one tool any is that one.
    let none = request.tools.is_empty().then_some(&ToolChoice::None);
    match (&request.tool_choice, request.tools.as_slice()) {
        (Some(ToolChoice::Required), [Tool::Function { name, .. }]) => {
            debug(ToolChoice::Named(name.clone()))
        }
        (choice, _) => choice.as_ref().or(none).and_then(debug),
    }
}

/// Levels, budgets and switches are different words for one thing.
fn is_thinking(effort: &Effort) -> bool {
    effort.budget_tokens != Some(0)
        && effort.enabled != Some(false)
        && effort.level.as_deref() != Some("none")
}
