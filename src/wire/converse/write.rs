//! Writes requests in Converse's words.

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::Format;
use crate::chat::request::Message;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::carry::Feature;
use crate::wire::converse::model;
use crate::wire::converse::model::Family;
use crate::wire::converse::part::Parts;
use crate::wire::json;

/// Writes everything that has a place; the model and whether to stream stand in the path.
///
/// # Errors
/// Something has none that must not be left out.
pub fn write(request: &Request, to: &Recipient<'_>) -> Result<Written> {
    let is_own = request.dialect == DialectName::Converse;
    let mut parts = Parts::new(is_own, Family::of(to.model), to.quirks);
    let mut body = Map::new();
    turns(request, &mut parts, &mut body)?;
    tools(request, &mut parts, &mut body)?;
    options(request, &mut parts, &mut body)?;
    let mut body = Value::Object(body);
    if is_own {
        json::merge_patch(&mut body, &request.rest);
    } else {
        parts.leave_out_rest(&request.rest, "")?;
    }
    Ok(Written { body: Bytes::from(body.to_string()), losses: parts.losses })
}

/// Turns of one role become one; what opens as the system's stands apart.
fn turns(request: &Request, parts: &mut Parts, body: &mut Map<String, Value>) -> Result<()> {
    let (mut system, mut turns): (Vec<Value>, Vec<(&str, Vec<Value>)>) = Default::default();
    let mut rests: Vec<&Map<String, Value>> = Vec::new();
    let mut last_role = None;
    for (n, message) in request.messages.iter().enumerate() {
        let at = format!("messages[{n}]");
        let blocks = blocks(message, parts, &at)?;
        if !parts.is_own {
            parts.leave_out_rest(&message.rest, &at)?;
        }
        let role = match message.role {
            // Only some models take it later.
            Role::System | Role::Developer if turns.is_empty() || !parts.is_own => {
                system.extend(blocks);
                continue;
            }
            Role::System | Role::Developer => "system",
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        // Bedrock refuses empty turns.
        if blocks.is_empty() && !parts.is_own {
            continue;
        }
        // Converse itself may have two turns of one speaker; results of tools stood in the next.
        let goes_on = !parts.is_own || last_role != Some(message.role);
        last_role = Some(message.role);
        match turns.last_mut().zip(rests.last_mut()) {
            Some(((last, known), rest)) if *last == role && rest.is_empty() && goes_on => {
                known.extend(blocks);
                *rest = &message.rest;
            }
            _ => {
                turns.push((role, blocks));
                rests.push(&message.rest);
            }
        }
    }
    let turn = |((role, content), rest): ((&str, Vec<Value>), &Map<String, Value>)| {
        let mut turn = json!({"role": role, "content": content});
        if parts.is_own {
            json::merge_patch(&mut turn, rest);
        }
        turn
    };
    let turns: Vec<Value> = turns.into_iter().zip(rests).map(turn).collect();
    body.insert("messages".to_owned(), Value::Array(turns));
    if !system.is_empty() {
        body.insert("system".to_owned(), Value::Array(system));
    }
    Ok(())
}

fn blocks(message: &Message, parts: &mut Parts, at: &str) -> Result<Vec<Value>> {
    if message.name.is_some() {
        parts.losses.leave_out(Feature::Name, &format!("{at}.name"))?;
    }
    let mut blocks = Vec::new();
    for (n, part) in message.parts.iter().enumerate() {
        parts.write(part, &format!("{at}.content[{n}]"), &mut blocks)?;
    }
    Ok(blocks)
}

fn tools(request: &Request, parts: &mut Parts, body: &mut Map<String, Value>) -> Result<()> {
    if request.parallel_tools == Some(false) {
        parts.losses.leave_out(Feature::ParallelTools, "parallel_tool_calls")?;
    }
    let mut config = Map::new();
    let choice = match &request.tool_choice {
        None => None,
        Some(ToolChoice::Auto) => Some(json!({"auto": {}})),
        Some(ToolChoice::Required) => Some(json!({"any": {}})),
        Some(ToolChoice::Named(name)) => Some(json!({"tool": {"name": name}})),
        Some(ToolChoice::None) if request.tools.is_empty() => None,
        // What is not there cannot be called; but Bedrock wants the tools of earlier calls.
        Some(ToolChoice::None) if !has_calls(request) => return Ok(()),
        Some(ToolChoice::None) => {
            parts.losses.leave_out(Feature::ToolChoice, "tool_choice")?;
            None
        }
        Some(ToolChoice::Own(own)) if parts.is_own => Some(own.clone()),
        Some(ToolChoice::Own(_)) => {
            parts.losses.leave_out(Feature::OwnToolChoice, "tool_choice")?;
            None
        }
    };
    let mut tools = Vec::new();
    for (n, tool) in request.tools.iter().enumerate() {
        write_tool(tool, parts, &format!("tools[{n}]"), &mut tools)?;
    }
    if tools.is_empty() {
        return Ok(());
    }
    config.insert("tools".to_owned(), Value::Array(tools));
    if let Some(choice) = choice {
        config.insert("toolChoice".to_owned(), choice);
    }
    body.insert("toolConfig".to_owned(), Value::Object(config));
    Ok(())
}

fn has_calls(request: &Request) -> bool {
    let is_call =
        |kind: &PartKind| matches!(kind, PartKind::ToolCall { .. } | PartKind::ToolResult { .. });
    request.messages.iter().flat_map(|message| &message.parts).any(|part| is_call(&part.kind))
}

fn write_tool(tool: &Tool, parts: &mut Parts, at: &str, out: &mut Vec<Value>) -> Result<()> {
    let Tool::Function { name, description, parameters, strict, rest } = tool else {
        return match tool {
            Tool::Own(own) if parts.is_own => {
                out.push(own.clone());
                Ok(())
            }
            _ => parts.losses.leave_out(Feature::OwnTool, at),
        };
    };
    let empty = || json!({"type": "object", "properties": {}});
    let schema = parameters.clone().unwrap_or_else(empty);
    let mut spec = json!({"name": name, "inputSchema": {"json": schema}});
    if let Some(description) = description.as_ref().filter(|text| !text.is_empty()) {
        spec["description"] = Value::from(description.as_str());
    }
    // Some models refuse the field, and false is what they do without it.
    if let Some(strict) = strict.filter(|strict| *strict || parts.is_own) {
        spec["strict"] = Value::from(strict);
    }
    let mut written = json!({"toolSpec": spec});
    let mark = parts.rest(rest, at, &mut written)?;
    out.push(written);
    out.extend(mark);
    Ok(())
}

fn options(request: &Request, parts: &mut Parts, body: &mut Map<String, Value>) -> Result<()> {
    let additional = model::additional(parts.family, request, &mut parts.losses)?;
    inference(request, model::is_thinking(&additional), parts, body)?;
    if !additional.is_empty() {
        body.insert("additionalModelRequestFields".to_owned(), Value::Object(additional));
    }
    format(request, parts, body)?;
    match &request.metadata {
        Some(metadata) if parts.is_own || is_taken(metadata) => {
            body.insert("requestMetadata".to_owned(), metadata.clone());
        }
        Some(_) => parts.losses.leave_out(Feature::Metadata, "metadata")?,
        None => {}
    }
    if request.end_user.is_some() {
        parts.losses.leave_out(Feature::EndUser, "user")?;
    }
    Ok(())
}

fn inference(
    request: &Request,
    is_thinking: bool,
    parts: &mut Parts,
    body: &mut Map<String, Value>,
) -> Result<()> {
    let sampling = &request.sampling;
    let mut config = Map::new();
    let mut temperature = sampling.temperature;
    // Claude takes no other while it thinks.
    if is_thinking && temperature.is_some_and(|temperature| temperature != 1.0) {
        parts.losses.leave_out(Feature::Temperature, "temperature")?;
        temperature = None;
    }
    let stop = (!sampling.stop.is_empty()).then(|| Value::from(sampling.stop.clone()));
    for (key, value) in [
        ("maxTokens", sampling.max_tokens.map(Value::from)),
        ("temperature", temperature.map(Value::from)),
        ("topP", sampling.top_p.map(Value::from)),
        ("stopSequences", stop),
    ] {
        if let Some(value) = value {
            config.insert(key.to_owned(), value);
        }
    }
    if !config.is_empty() {
        body.insert("inferenceConfig".to_owned(), Value::Object(config));
    }
    for (feature, field, is_asked) in [
        (Feature::Seed, "seed", sampling.seed.is_some()),
        (Feature::FrequencyPenalty, "frequency_penalty", sampling.frequency_penalty.is_some()),
        (Feature::PresencePenalty, "presence_penalty", sampling.presence_penalty.is_some()),
        (Feature::Choices, "n", sampling.choices.is_some_and(|choices| choices > 1)),
        (Feature::Logprobs, "logprobs", sampling.logprobs.is_some()),
    ] {
        if is_asked {
            parts.losses.leave_out(feature, field)?;
        }
    }
    Ok(())
}

fn format(request: &Request, parts: &mut Parts, body: &mut Map<String, Value>) -> Result<()> {
    let format = match &request.format {
        None => return Ok(()),
        Some(Format::Json) => {
            return parts.losses.leave_out(Feature::JsonMode, "response_format");
        }
        Some(Format::Schema { name, description, schema, .. }) => {
            let mut definition = json!({"schema": schema.to_string()});
            for (key, value) in [("name", name), ("description", description)] {
                if let Some(value) = value {
                    definition[key] = Value::from(value.as_str());
                }
            }
            json!({"type": "json_schema", "structure": {"jsonSchema": definition}})
        }
        Some(Format::Own(own)) if parts.is_own => own.clone(),
        Some(Format::Own(_)) => {
            return parts.losses.leave_out(Feature::JsonSchema, "response_format");
        }
    };
    body.insert("outputConfig".to_owned(), json!({"textFormat": format}));
    Ok(())
}

/// Bedrock's labels are short texts of few characters.
fn is_taken(metadata: &Value) -> bool {
    const MOST: usize = 16;
    const MARKS: &str = ":_@$#=/+,-.";
    let is_fit = |text: &str| {
        let fits =
            |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || MARKS.contains(c);
        text.len() <= 256 && text.chars().all(fits)
    };
    metadata.as_object().is_some_and(|labels| {
        let is_label = |(key, value): (&String, &Value)| {
            !key.is_empty() && is_fit(key) && value.as_str().is_some_and(is_fit)
        };
        labels.len() <= MOST && labels.iter().all(is_label)
    })
}
