//! Every recorded request, written in every other dialect, asks the same there.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use understudy::chat::DialectName;
use understudy::chat::request::Part;
use understudy::chat::request::PartKind;
use understudy::chat::request::Request;
use understudy::chat::request::Role;
use understudy::chat::request::Source;
use understudy::chat::request::Tool;
use understudy::chat::request::ToolChoice;
use understudy::wire::InPath;
use understudy::wire::Recipient;
use understudy::wire::quirk::Quirks;

use crate::recordings;

const ASKED: [(&str, DialectName); 4] = [
    ("chat", DialectName::OpenAi),
    ("responses", DialectName::Responses),
    ("messages", DialectName::Anthropic),
    ("generate_content", DialectName::Gemini),
];

const TARGETS: [DialectName; 6] = [
    DialectName::OpenAi,
    DialectName::Responses,
    DialectName::Anthropic,
    DialectName::Gemini,
    DialectName::Cohere,
    DialectName::Converse,
];

/// What of a request may never change without a word: who says what, what is shown, called and
/// given, and with which tools.
fn meaning(request: &Request) -> Value {
    let (mut system, mut said) = (String::new(), Vec::<(String, String)>::new());
    for message in &request.messages {
        // What is said before a call is called a plan in Cohere's dialect.
        let plan = message.rest.get("tool_plan").and_then(Value::as_str).map(Part::text);
        for part in plan.iter().chain(&message.parts) {
            match (message.role, words(request, part)) {
                (_, None) => {}
                // A dialect has one place for all of these, or many.
                (Role::System | Role::Developer, Some(words)) => system.push_str(&words),
                (role, Some(words)) => {
                    let who = if role == Role::Assistant { "model" } else { "others" };
                    // Turns and parts may be divided in other ways.
                    match said.last_mut() {
                        Some((last, all)) if last == who => all.push_str(&words),
                        _ => said.push((who.to_owned(), words)),
                    }
                }
            }
        }
    }
    said.retain(|(_, words)| !sorted(words).is_empty());
    if said.is_empty() {
        // Dialects that need somebody to say something let the user say it.
        said.push(("others".to_owned(), std::mem::take(&mut system)));
    }
    let system = system.replace('\u{1}', "");
    // Tools that may not be called can be left at home.
    let is_idle = request.tool_choice == Some(ToolChoice::None);
    let tools = request.tools.iter().filter(|_| !is_idle);
    let tools: Vec<Value> = tools.map(tool).collect();
    let system: String = system.split_whitespace().collect();
    let said: Vec<_> = said.into_iter().map(|(who, words)| (who, sorted(&words))).collect();
    json!({"system": system, "said": said, "tools": tools})
}

/// Within one turn results may come before words, in dialects that want it so.
fn sorted(words: &str) -> Vec<String> {
    let mut words: Vec<String> =
        words.split('\u{1}').map(|word| word.split_whitespace().collect()).collect();
    words.retain(|word: &String| !word.is_empty());
    words.sort();
    words
}

fn words(request: &Request, part: &Part) -> Option<String> {
    let words = match &part.kind {
        PartKind::Text(text) | PartKind::Refusal(text) => text.clone(),
        PartKind::Image { source, .. } => picture(source),
        PartKind::Audio(source) | PartKind::Video(source) => picture(source),
        PartKind::File { source, .. } => picture(source),
        PartKind::ToolCall { name, arguments, .. } => {
            let arguments = match arguments.trim() {
                "" => "{}",
                arguments => arguments,
            };
            let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
            format!("calls {name} {arguments}")
        }
        PartKind::ToolResult { call_id, name, parts, .. } => {
            let called = call_id.as_deref().and_then(|id| request.tool_of_call(id));
            let inner: String = parts.iter().filter_map(|part| words(request, part)).collect();
            // JSON is JSON, whether it stands in a string or not.
            let inner = match serde_json::from_str::<Value>(&inner.replace('\u{1}', "")) {
                Ok(Value::Object(fields)) if fields.len() == 1 => {
                    let first = fields.values().next().cloned().unwrap_or_default();
                    first.as_str().map_or_else(|| first.to_string(), str::to_owned)
                }
                Ok(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
                Err(_) => inner,
            };
            format!("{} gives {inner}", called.or(name.as_deref()).unwrap_or_default())
        }
        // Cohere has no flag for a tool's failure, so it stands in a document of that name.
        PartKind::Own(own) if own.pointer("/document/data/error").is_some() => {
            own["document"]["data"]["error"].as_str()?.to_owned()
        }
        // Thoughts of another maker's model and what only one dialect knows are in the matrix.
        PartKind::Reasoning { .. } | PartKind::Hidden(_) | PartKind::Own(_) => return None,
    };
    Some(format!("\u{1}{words}\u{1}"))
}

fn picture(source: &Source) -> String {
    match source {
        Source::Inline { mime, data } => format!("{mime} {data}"),
        Source::Url { url, .. } => url.clone(),
        Source::Id(id) => id.clone(),
    }
}

fn tool(tool: &Tool) -> Value {
    match tool {
        Tool::Function { name, description, .. } => {
            json!([name, description.as_ref().filter(|words| !words.trim().is_empty())])
        }
        Tool::Own(own) => own.clone(),
    }
}

fn in_path(url: &str) -> Option<InPath> {
    let (_, rest) = url.split_once("/models/")?;
    let (model, verb) = rest.split_once(':')?;
    Some(InPath { model: model.to_owned(), stream: verb.starts_with("stream") })
}

#[test]
fn every_recorded_request_asks_the_same_in_every_other_dialect_or_is_refused_with_a_reason() {
    let mut all = Vec::new();
    for (api, from) in ASKED {
        let Some(recordings) = recordings::of_api(api) else { return };
        for into in TARGETS.into_iter().filter(|into| *into != from) {
            let (mut kept, mut refused, mut wrong) = (0, 0, Vec::new());
            for recording in &recordings {
                let Some(request) = &recording.request else { continue };
                if !request["body"].is_object() {
                    continue;
                }
                let path = in_path(request["url"].as_str().unwrap_or_default());
                let body = Bytes::from(request["body"].to_string());
                let head = from.dialect().read_head(body, path).unwrap();
                let asked = from.dialect().read(&head).unwrap();
                let to = Recipient { model: "m", quirks: &Quirks::NONE };
                let written = match into.dialect().write(&asked, &to) {
                    Ok(written) => written,
                    Err(error) => {
                        assert!(error.detail.contains('`'), "{}: {error}", recording.id);
                        refused += 1;
                        continue;
                    }
                };
                let has_path = matches!(into, DialectName::Gemini | DialectName::Converse);
                let path = InPath { model: "m".to_owned(), stream: asked.stream };
                let body = written.body.clone();
                let head = into.dialect().read_head(body, has_path.then_some(path)).unwrap();
                let arrived = into.dialect().read(&head).unwrap_or_else(|error| {
                    panic!("{} into {into:?}: {error}", recording.id);
                });
                kept += 1;
                let (wanted, found) = (meaning(&asked), meaning(&arrived));
                if wanted != found {
                    wrong.push(format!("{}\n  {wanted:.1500}\n  {found:.1500}", recording.id));
                }
            }
            let pair = format!("{} into {}", from.as_str(), into.as_str());
            println!("{pair}: {kept} ask the same, {refused} are refused");
            all.extend(wrong.into_iter().map(|wrong| format!("{pair}: {wrong}")));
        }
    }
    assert!(all.is_empty(), "{}\n{}", all.len(), all.join("\n"));
}
