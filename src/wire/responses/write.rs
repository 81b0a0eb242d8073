//! Writes a request of any dialect.

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::Effort;
use crate::chat::request::Format;
use crate::chat::request::Request;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::responses::LOGPROBS;
use crate::wire::responses::content::Writer;
use crate::wire::responses::turns;

/// What asks for reasoning in a form that can return.
const ENCRYPTED: &str = "reasoning.encrypted_content";

/// Fields of chat completions that have the same name and meaning here.
const SHARED: &[&str] = &[
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
];

/// Writes the body.
///
/// # Errors
/// It asks for something that may not be left out.
pub fn request(request: &Request, to: &Recipient<'_>) -> Result<Written> {
    let mut losses = Losses::new(DialectName::Responses, to.quirks);
    let mut writer = Writer { from: request.dialect, losses: &mut losses };
    let mut body = Map::new();
    body.insert("model".to_owned(), Value::from(to.model));
    if request.embed.is_some() {
        writer.losses.leave_out(Feature::OwnPart, "input")?;
    }
    let (instructions, input) = turns::write(request, &mut writer)?;
    if let Some(instructions) = instructions {
        body.insert("instructions".to_owned(), Value::from(instructions));
    }
    body.insert("input".to_owned(), Value::Array(input));
    settings(request, &mut writer, &mut body)?;
    if request.stream {
        body.insert("stream".to_owned(), Value::Bool(true));
    }
    homeless(request, &mut writer)?;
    rest(request, &mut writer, &mut body)?;
    Ok(Written { body: Bytes::from(Value::Object(body).to_string()), losses })
}

/// Everything that the answer's body repeats: tools, format, sampling, labels.
///
/// # Errors
/// As [`request`].
pub fn settings(
    request: &Request,
    writer: &mut Writer<'_>,
    body: &mut Map<String, Value>,
) -> Result<()> {
    tools(request, writer, body)?;
    let mut put = |key: &str, value: Option<Value>| {
        value.and_then(|value| body.insert(key.to_owned(), value));
    };
    let has = |writer: &mut Writer<'_>, feature, key: &str, value: Option<Value>| match value {
        Some(value) => Ok::<_, crate::error::Error>(writer.has(feature, key)?.then_some(value)),
        None => Ok(None),
    };
    let sampling = &request.sampling;
    put("max_output_tokens", sampling.max_tokens.map(Value::from));
    let temperature = sampling.temperature.map(Value::from);
    put("temperature", has(writer, Feature::Temperature, "temperature", temperature)?);
    let top_p = sampling.top_p.map(Value::from);
    put("top_p", has(writer, Feature::TopP, "top_p", top_p)?);
    let rivals = sampling.logprobs.filter(|rivals| *rivals > 0).map(Value::from);
    put("top_logprobs", has(writer, Feature::Logprobs, "top_logprobs", rivals)?);
    let user = request.end_user.as_deref().map(Value::from);
    put("user", has(writer, Feature::EndUser, "user", user)?);
    let metadata = request.metadata.clone();
    put("metadata", has(writer, Feature::Metadata, "metadata", metadata)?);
    put("text", format(request, writer)?);
    put("reasoning", reasoning(request, writer)?);
    Ok(())
}

fn tools(request: &Request, writer: &mut Writer<'_>, body: &mut Map<String, Value>) -> Result<()> {
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        tools.extend(one_tool(tool, writer, &format!("tools[{at}]"))?);
    }
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if let Some(choice) = &request.tool_choice
        && writer.has(Feature::ToolChoice, "tool_choice")?
    {
        let choice = match choice {
            ToolChoice::Auto => Value::from("auto"),
            ToolChoice::None => Value::from("none"),
            ToolChoice::Required => Value::from("required"),
            ToolChoice::Named(name) => json!({"type": "function", "name": name}),
            ToolChoice::Own(own) => {
                if !writer.is_own() {
                    writer.losses.leave_out(Feature::OwnToolChoice, "tool_choice")?;
                }
                own.clone()
            }
        };
        body.insert("tool_choice".to_owned(), choice);
    }
    if let Some(parallel) = request.parallel_tools
        && writer.has(Feature::ParallelTools, "parallel_tool_calls")?
    {
        body.insert("parallel_tool_calls".to_owned(), Value::Bool(parallel));
    }
    Ok(())
}

fn one_tool(tool: &Tool, writer: &mut Writer<'_>, path: &str) -> Result<Option<Value>> {
    match tool {
        Tool::Own(own) if writer.is_own() => Ok(Some(own.clone())),
        Tool::Own(_) => writer.leave(Feature::OwnTool, path),
        Tool::Function { name, description, parameters, strict, rest } => {
            if !writer.has(Feature::Tools, path)? {
                return Ok(None);
            }
            let mut tool = json!({"type": "function", "name": name});
            if let Some(description) = description {
                tool["description"] = Value::from(description.as_str());
            }
            let usual = || (!writer.is_own()).then(|| json!({"type": "object", "properties": {}}));
            if let Some(parameters) = parameters.clone().or_else(usual) {
                tool["parameters"] = parameters;
            }
            // Here a schema is followed to the letter unless told otherwise; elsewhere it is not.
            if let Some(strict) = strict.or((!writer.is_own()).then_some(false)) {
                tool["strict"] = Value::Bool(strict);
            }
            writer.add_rest(&mut tool, rest, path)?;
            Ok(Some(tool))
        }
    }
}

fn format(request: &Request, writer: &mut Writer<'_>) -> Result<Option<Value>> {
    let mut text = own_object(request, "text");
    let format = match &request.format {
        None => None,
        Some(Format::Json) => {
            writer.has(Feature::JsonMode, "text.format")?.then(|| json!({"type": "json_object"}))
        }
        Some(Format::Schema { name, description, schema, strict }) => {
            let mut format = json!({"type": "json_schema"});
            let usual = (!writer.is_own()).then_some("answer");
            let words =
                [("name", name.as_deref().or(usual)), ("description", description.as_deref())];
            for (key, word) in words {
                if let Some(word) = word {
                    format[key] = Value::from(word);
                }
            }
            format["schema"] = schema.clone();
            if let Some(strict) = strict {
                format["strict"] = Value::Bool(*strict);
            }
            writer.has(Feature::JsonSchema, "text.format")?.then_some(format)
        }
        Some(Format::Own(own)) if writer.is_own() => Some(own.clone()),
        Some(Format::Own(_)) => writer.leave(Feature::JsonSchema, "response_format")?,
    };
    if let Some(format) = format {
        text.insert("format".to_owned(), format);
    }
    if request.dialect == DialectName::OpenAi
        && let Some(verbosity) = request.rest.get("verbosity")
    {
        text.insert("verbosity".to_owned(), verbosity.clone());
    }
    Ok((!text.is_empty()).then_some(Value::Object(text)))
}

fn reasoning(request: &Request, writer: &mut Writer<'_>) -> Result<Option<Value>> {
    let mut reasoning = own_object(request, "reasoning");
    if let Some(effort) = &request.reasoning
        && writer.has(Feature::Reasoning, "reasoning")?
    {
        if let Some(level) = level(effort) {
            reasoning.insert("effort".to_owned(), Value::from(level));
        }
        let summary = effort.summary.as_deref().filter(|summary| *summary != "none");
        if let Some(summary) = summary {
            reasoning.insert("summary".to_owned(), Value::from(summary));
        }
    }
    Ok((!reasoning.is_empty()).then_some(Value::Object(reasoning)))
}

/// The level said, else the one nearest to what was said.
fn level(effort: &Effort) -> Option<&str> {
    if effort.level.is_some() {
        return effort.level.as_deref();
    }
    if effort.enabled == Some(false) {
        return Some("none");
    }
    // The bounds lie between the budgets that compatible endpoints take for low, medium and high:
    // 1,024, 8,192 and 24,576 (Google's table for its OpenAI endpoint).
    effort.budget_tokens.map(|tokens| match tokens {
        0 => "none",
        1..=2_048 => "low",
        2_049..=12_288 => "medium",
        _ => "high",
    })
}

/// The fields of an object of the body that only this dialect knows.
fn own_object(request: &Request, key: &str) -> Map<String, Value> {
    let own = (request.dialect == DialectName::Responses).then(|| request.rest.get(key)).flatten();
    own.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// What this dialect has no field for.
fn homeless(request: &Request, writer: &mut Writer<'_>) -> Result<()> {
    let sampling = &request.sampling;
    for (is_there, feature, field) in [
        (!sampling.stop.is_empty(), Feature::Stop, "stop"),
        (sampling.seed.is_some(), Feature::Seed, "seed"),
        (sampling.top_k.is_some(), Feature::TopK, "top_k"),
        (sampling.choices.is_some_and(|n| n > 1), Feature::Choices, "n"),
        (sampling.frequency_penalty.is_some(), Feature::FrequencyPenalty, "frequency_penalty"),
        (sampling.presence_penalty.is_some(), Feature::PresencePenalty, "presence_penalty"),
    ] {
        if is_there {
            writer.losses.leave_out(feature, field)?;
        }
    }
    Ok(())
}

/// The other fields of the body, and what we add to a request from elsewhere.
fn rest(request: &Request, writer: &mut Writer<'_>, body: &mut Map<String, Value>) -> Result<()> {
    let mut include = Vec::new();
    if request.sampling.logprobs.is_some() && writer.has(Feature::Logprobs, "top_logprobs")? {
        include.push(Value::from(LOGPROBS));
    }
    if writer.is_own() {
        for (key, value) in &request.rest {
            match value {
                Value::Array(asked) if key == "include" => include.extend(asked.iter().cloned()),
                // Written with what else these objects hold.
                _ if key == "text" || key == "reasoning" => {}
                _ => drop(body.insert(key.clone(), value.clone())),
            }
        }
    } else {
        for (key, value) in &request.rest {
            let is_shared = request.dialect == DialectName::OpenAi;
            if is_shared && SHARED.contains(&key.as_str()) {
                body.insert(key.clone(), value.clone());
            } else if !(is_shared && key == "verbosity") {
                writer.losses.leave_out(Feature::UnknownField, key)?;
            }
        }
        // Nobody asked OpenAI to keep anything.
        body.entry("store").or_insert(Value::Bool(false));
        if body.contains_key("reasoning") && body.get("store") == Some(&Value::Bool(false)) {
            include.push(Value::from(ENCRYPTED));
        }
    }
    if !include.is_empty() {
        body.insert("include".to_owned(), Value::Array(include));
    }
    Ok(())
}
