//! Reads the messages of a chat completion request.

use serde_json::Map;
use serde_json::Value;

use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Source;
use crate::error::Result;
use crate::wire::fields::Fields;
use crate::wire::json::bad;
use crate::wire::openai::detail;
use crate::wire::openai::read::part;
use crate::wire::seal;

/// How a message was spelled, under its path in [`Request::spelling`].
type Spelled = Map<String, Value>;

/// Marks content that was a list of one text.
pub const IS_LIST: &str = "content is a list";

/// Adds every message; those of tools that follow each other become one.
///
/// # Errors
/// One of them cannot be read.
pub fn read(messages: Vec<Value>, request: &mut Request) -> Result<()> {
    for (at, message) in messages.into_iter().enumerate() {
        let path = format!("messages[{at}]");
        let mut fields = Fields::of(message, path.as_str())?;
        let mut spelled = Spelled::new();
        let role = fields.required_text("role")?;
        match role.as_str() {
            "system" => request.messages.push(plain(Role::System, fields, &mut spelled)?),
            "developer" => request.messages.push(plain(Role::Developer, fields, &mut spelled)?),
            "user" => request.messages.push(plain(Role::User, fields, &mut spelled)?),
            "assistant" => request.messages.push(assistant(fields, &mut spelled)?),
            "tool" | "function" => {
                if role == "function" {
                    spelled.insert("role".to_owned(), Value::from(role));
                }
                let result = tool_result(fields, &mut spelled)?;
                match request.messages.last_mut() {
                    Some(last) if last.role == Role::Tool => last.parts.push(result),
                    _ => request.messages.push(Message::new(Role::Tool, vec![result])),
                }
            }
            _ => {
                let roles = "system, developer, user, assistant or tool";
                return Err(fields.wrong("role", roles));
            }
        }
        if !spelled.is_empty() {
            request.spelling.insert(path, Value::Object(spelled));
        }
    }
    Ok(())
}

/// The content's pieces, with a note where they would be written otherwise.
fn content(fields: &mut Fields, spelled: &mut Spelled) -> Result<Vec<Part>> {
    let read = part::content(fields.take("content"), &fields.at("content"))?;
    if let Some(odd) = read.odd {
        spelled.insert("content".to_owned(), odd);
    } else if read.is_list {
        spelled.insert(IS_LIST.to_owned(), Value::Bool(true));
    }
    Ok(read.parts)
}

fn plain(role: Role, mut fields: Fields, spelled: &mut Spelled) -> Result<Message> {
    let parts = content(&mut fields, spelled)?;
    let name = fields.text("name")?;
    Ok(Message { role, parts, name, rest: fields.rest() })
}

fn tool_result(mut fields: Fields, spelled: &mut Spelled) -> Result<Part> {
    let kind = PartKind::ToolResult {
        call_id: fields.text("tool_call_id")?,
        name: fields.text("name")?,
        parts: content(&mut fields, spelled)?,
        is_error: false,
    };
    Ok(Part { kind, rest: fields.rest() })
}

fn assistant(mut fields: Fields, spelled: &mut Spelled) -> Result<Message> {
    let (mut parts, on_calls) = reasoning(&mut fields, spelled)?;
    let mut said = content(&mut fields, spelled)?;
    // Nothing said beside a call is not a text of nothing, which some providers refuse.
    if said.iter().all(|part| matches!(&part.kind, PartKind::Text(text) if text.is_empty())) {
        for _ in said.drain(..).filter(part::is_plain_text) {
            spelled.entry("content").or_insert_with(|| Value::from(""));
        }
    }
    parts.append(&mut said);
    if let Some(refusal) = fields.text("refusal")? {
        parts.push(Part::new(PartKind::Refusal(refusal)));
    }
    if let Some(mut audio) = fields.object("audio")? {
        let id = audio.required_text("id")?;
        fields.leave("audio", audio);
        parts.push(Part::new(PartKind::Audio(Source::Id(id))));
    }
    tool_calls(&mut fields, spelled, on_calls, &mut parts)?;
    let name = fields.text("name")?;
    Ok(Message { role: Role::Assistant, parts, name, rest: fields.rest() })
}

/// Pieces of a turn, and what belongs to its tool calls by their ids.
type Thought = (Vec<Part>, Vec<(String, Seal)>);

/// What was thought, in whichever fields the client returns it.
fn reasoning(fields: &mut Fields, spelled: &mut Spelled) -> Result<Thought> {
    for key in ["reasoning_content", "reasoning", "reasoning_details"] {
        spelled.extend(fields.peek(key).map(|value| (key.to_owned(), value.clone())));
    }
    let plain = fields.text("reasoning_content")?;
    let plain = fields.text("reasoning")?.or(plain).filter(|text| !text.is_empty());
    let details = fields.list("reasoning_details")?.unwrap_or_default();
    let (mut kinds, on_calls, strange) = detail::parts(&details);
    if !strange.is_empty() {
        fields.keep("reasoning_details", Value::Array(strange));
    }
    if let Some(plain) = plain {
        add_plain(&mut kinds, &plain);
    }
    Ok((kinds.into_iter().map(Part::new).collect(), on_calls))
}

/// Details repeat the plain words, or the beginning of them; without any words, they seal them.
fn add_plain(kinds: &mut Vec<PartKind>, plain: &str) {
    let words = kinds.iter().filter_map(|kind| match kind {
        PartKind::Reasoning { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let words: String = words.collect();
    if !words.is_empty() {
        let more = plain.strip_prefix(words.as_str()).filter(|more| !more.is_empty());
        let more = more.map(|more| PartKind::Reasoning { text: more.to_owned(), seal: None });
        return kinds.extend(more);
    }
    let open = kinds.iter_mut().find_map(|kind| match kind {
        PartKind::Reasoning { text, seal: Some(_) } => Some(text),
        _ => None,
    });
    if let Some(open) = open {
        return plain.clone_into(open);
    }
    let text = plain.to_owned();
    match kinds.first_mut() {
        // OpenAI's words are a summary of what is sealed.
        Some(first @ PartKind::Hidden(_)) => {
            if let PartKind::Hidden(seal) = first.clone()
                && seal.by == Maker::OpenAi
            {
                *first = PartKind::Reasoning { text, seal: Some(seal) };
            } else {
                kinds.insert(0, PartKind::Reasoning { text, seal: None });
            }
        }
        _ => kinds.insert(0, PartKind::Reasoning { text, seal: None }),
    }
}

fn tool_calls(
    fields: &mut Fields,
    spelled: &mut Spelled,
    on_calls: Vec<(String, Seal)>,
    parts: &mut Vec<Part>,
) -> Result<()> {
    let path = fields.at("tool_calls");
    for (at, call) in fields.list("tool_calls")?.unwrap_or_default().into_iter().enumerate() {
        let kind = call.get("type").and_then(Value::as_str);
        if kind.is_some_and(|kind| kind != "function") {
            parts.push(Part::new(PartKind::Own(call)));
        } else {
            parts.push(tool_call(Fields::of(call, format!("{path}[{at}]"))?)?);
        }
    }
    for (id, seal) in on_calls {
        let on = parts.iter_mut().find_map(|part| match &mut part.kind {
            PartKind::ToolCall { id: Some(of), seal, .. } if *of == id => Some(seal),
            _ => None,
        });
        match on {
            Some(on) => *on = Some(seal),
            None => parts.insert(0, Part::new(PartKind::Hidden(seal))),
        }
    }
    if let Some(mut call) = fields.object("function_call")? {
        let (name, arguments) = (call.required_text("name")?, arguments(&mut call)?);
        spelled.insert(
            "function_call".to_owned(),
            serde_json::json!({"name": name, "arguments": arguments}),
        );
        parts.push(Part::new(PartKind::ToolCall { id: None, name, arguments, seal: None }));
    }
    Ok(())
}

fn tool_call(mut call: Fields) -> Result<Part> {
    call.take("type");
    let id = call.text("id")?;
    let function = call.object("function")?;
    let mut function =
        function.ok_or_else(|| call.wrong("function", "an object with name and arguments"))?;
    let (name, arguments) = (function.required_text("name")?, arguments(&mut function)?);
    call.leave("function", function);
    let seal = thought_signature(&mut call);
    Ok(Part { kind: PartKind::ToolCall { id, name, arguments, seal }, rest: call.rest() })
}

/// JSON as a string, as it should be; some clients give the object itself.
fn arguments(function: &mut Fields) -> Result<String> {
    match function.take("arguments") {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(object @ Value::Object(_)) => Ok(object.to_string()),
        Some(_) => {
            let at = function.at("arguments");
            Err(bad(format!("`{at}` must be a string that holds a JSON object")))
        }
    }
}

/// Takes Google's signature; what else is extra stays.
fn thought_signature(call: &mut Fields) -> Option<Seal> {
    let mut extra = call.take("extra_content")?;
    let signature = extra
        .get_mut("google")
        .and_then(Value::as_object_mut)
        .and_then(|google| google.shift_remove("thought_signature"));
    let seal = match signature {
        Some(Value::String(text)) => Some(seal::read(&text, Maker::Gemini)),
        _ => None,
    };
    let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    if let Value::Object(fields) = &mut extra
        && fields.get("google").is_some_and(is_empty)
    {
        fields.shift_remove("google");
    }
    if !is_empty(&extra) {
        call.keep("extra_content", extra);
    }
    seal
}
