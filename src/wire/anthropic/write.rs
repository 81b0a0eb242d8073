//! Writes requests of any dialect as Anthropic's.

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::Format;
use crate::chat::request::Request;
use crate::chat::request::Sampling;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::anthropic::history;
use crate::wire::anthropic::think;
use crate::wire::anthropic::think::Model;
use crate::wire::anthropic::think::Thought;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::json::bad;
use crate::wire::json::merge_patch;

/// The most tokens of an answer for which the application set no limit, thinking not counted;
/// every model can write as many.
const MAX_TOKENS: u64 = 4096;

/// Writes a request.
///
/// # Errors
/// It asks for what the dialect does not have.
pub fn request(request: &Request, to: &Recipient<'_>) -> Result<Written> {
    if request.embed.is_some() {
        return Err(bad("the anthropic dialect has no embeddings: choose another target"));
    }
    let mut losses = Losses::new(DialectName::Anthropic, to.quirks);
    let is_own = request.dialect == DialectName::Anthropic;
    let model = Model::of(to.model);
    let thought = match &request.reasoning {
        Some(effort) if is_own => think::own(effort),
        _ => think::translated(request, model, &mut losses)?,
    };
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(to.model));
    body.insert("max_tokens".to_owned(), json!(max_tokens(request, &thought)));
    let (system, messages) = history::write(request, model, &mut losses)?;
    body.extend(system.map(|system| ("system".to_owned(), system)));
    body.insert("messages".to_owned(), messages);
    tools(request, &mut losses, &mut body)?;
    sampling(&request.sampling, is_own, model, thought.is_on(), &mut losses, &mut body)?;
    if request.stream {
        body.insert("stream".to_owned(), json!(true));
    }
    let mut output = Map::new();
    output.extend(thought.effort.map(|effort| ("effort".to_owned(), json!(effort))));
    output.extend(format(request, &mut losses)?.map(|format| ("format".to_owned(), format)));
    for (name, fields) in [("thinking", thought.thinking), ("output_config", output)] {
        if !fields.is_empty() {
            body.insert(name.to_owned(), Value::Object(fields));
        }
    }
    metadata(request, &mut losses, &mut body)?;
    rest(request, &mut losses, &mut body)?;
    Ok(Written { body: Bytes::from(Value::Object(body).to_string()), losses })
}

/// A budget must be less than the most tokens of the answer, which it is part of.
fn max_tokens(request: &Request, thought: &Thought) -> u64 {
    let is_own = request.dialect == DialectName::Anthropic;
    match request.sampling.max_tokens {
        Some(most) if is_own || !thought.thinking.contains_key("budget_tokens") => most,
        Some(most) if most > thought.reserve => most,
        most => most.unwrap_or(MAX_TOKENS).saturating_add(thought.reserve),
    }
}

fn tools(request: &Request, losses: &mut Losses, body: &mut Map<String, Value>) -> Result<()> {
    let is_own = request.dialect == DialectName::Anthropic;
    if request.tools.is_empty() && !is_own {
        return Ok(());
    }
    if losses.lacks(Feature::Tools) && !request.tools.is_empty() {
        losses.leave_out(Feature::Tools, "tools")?;
    }
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        tools.extend(self::tool(tool, is_own, &format!("tools[{at}]"), losses)?);
    }
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if losses.lacks(Feature::ToolChoice) && request.tool_choice.is_some() {
        losses.leave_out(Feature::ToolChoice, "tool_choice")?;
    }
    let mut choice = match &request.tool_choice {
        None => Value::Null,
        Some(ToolChoice::Auto) => json!({"type": "auto"}),
        Some(ToolChoice::Required) => json!({"type": "any"}),
        Some(ToolChoice::None) => json!({"type": "none"}),
        Some(ToolChoice::Named(name)) => json!({"type": "tool", "name": name}),
        Some(ToolChoice::Own(value)) if is_own => value.clone(),
        Some(ToolChoice::Own(_)) => {
            losses.leave_out(Feature::OwnToolChoice, "tool_choice")?;
            Value::Null
        }
    };
    if let Some(parallel) = request.parallel_tools {
        if losses.lacks(Feature::ParallelTools) {
            losses.leave_out(Feature::ParallelTools, "parallel_tool_calls")?;
        } else if choice.is_null() && !parallel {
            choice = json!({"type": "auto", "disable_parallel_tool_use": true});
        } else if !choice.is_null() && request.tool_choice != Some(ToolChoice::None) {
            choice["disable_parallel_tool_use"] = json!(!parallel);
        }
    }
    if !choice.is_null() {
        body.insert("tool_choice".to_owned(), choice);
    }
    Ok(())
}

fn tool(tool: &Tool, is_own: bool, path: &str, losses: &mut Losses) -> Result<Option<Value>> {
    let Tool::Function { name, description, parameters, strict, rest } = tool else {
        return match tool {
            Tool::Own(value) if is_own => Ok(Some(value.clone())),
            _ => losses.leave_out(Feature::OwnTool, path).map(|()| None),
        };
    };
    let mut out = Map::new();
    out.insert("name".to_owned(), json!(name));
    out.extend(description.as_ref().map(|text| ("description".to_owned(), json!(text))));
    out.insert("input_schema".to_owned(), schema(parameters.as_ref(), is_own));
    if let Some(strict) = strict.filter(|strict| *strict || is_own) {
        if losses.lacks(Feature::StrictTool) {
            losses.leave_out(Feature::StrictTool, &format!("{path}.strict"))?;
        } else {
            out.insert("strict".to_owned(), json!(strict));
        }
    }
    for (key, value) in rest {
        if is_own || key == "cache_control" {
            out.insert(key.clone(), value.clone());
        } else {
            losses.leave_out(Feature::UnknownField, &format!("{path}.{key}"))?;
        }
    }
    Ok(Some(Value::Object(out)))
}

/// Anthropic wants the type of the arguments said, which others take for granted.
fn schema(parameters: Option<&Value>, is_own: bool) -> Value {
    match parameters {
        Some(Value::Object(schema)) if !is_own && !schema.contains_key("type") => {
            let mut typed = Map::new();
            typed.insert("type".to_owned(), json!("object"));
            typed.extend(schema.clone());
            Value::Object(typed)
        }
        Some(schema) if !schema.is_null() => schema.clone(),
        _ => json!({"type": "object", "properties": {}}),
    }
}

fn sampling(
    sampling: &Sampling,
    is_own: bool,
    model: Model,
    thinks: bool,
    losses: &mut Losses,
    body: &mut Map<String, Value>,
) -> Result<()> {
    let Sampling { temperature, top_p, top_k, stop, .. } = sampling;
    unknown_to_anthropic(sampling, losses)?;
    if let Some(warmth) = temperature {
        // While it thinks, a model takes no other than 1.
        if losses.lacks(Feature::Temperature)
            || *warmth != 1.0 && (!model.takes_sampling() || thinks)
        {
            losses.leave_out(Feature::Temperature, "temperature")?;
        } else if *warmth > 1.0 && !is_own {
            losses.leave_out(Feature::Temperature, "temperature")?;
            body.insert("temperature".to_owned(), json!(1.0));
        } else if model.takes_sampling() {
            body.insert("temperature".to_owned(), json!(warmth));
        }
    }
    if let Some(mass) = top_p {
        let is_second = !is_own && body.contains_key("temperature") && model.takes_one_sampling();
        let is_refused = !model.takes_sampling() || thinks && *mass < 0.95 || is_second;
        if losses.lacks(Feature::TopP) || is_refused {
            losses.leave_out(Feature::TopP, "top_p")?;
        } else {
            body.insert("top_p".to_owned(), json!(mass));
        }
    }
    if let Some(count) = top_k {
        if losses.lacks(Feature::TopK) || !model.takes_sampling() || thinks {
            losses.leave_out(Feature::TopK, "top_k")?;
        } else {
            body.insert("top_k".to_owned(), json!(count));
        }
    }
    if stop.is_empty() {
        return Ok(());
    }
    // The API refuses sequences of nothing but space.
    if losses.lacks(Feature::Stop) || !is_own && stop.iter().any(|word| word.trim().is_empty()) {
        losses.leave_out(Feature::Stop, "stop")?;
    }
    body.insert("stop_sequences".to_owned(), json!(stop));
    Ok(())
}

/// Penalties of 0 and a single answer are what there is anyway.
fn unknown_to_anthropic(sampling: &Sampling, losses: &mut Losses) -> Result<()> {
    let is_set = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    for (is_asked, feature, field) in [
        (sampling.choices.is_some_and(|count| count > 1), Feature::Choices, "n"),
        (sampling.logprobs.is_some(), Feature::Logprobs, "logprobs"),
        (sampling.seed.is_some(), Feature::Seed, "seed"),
        (is_set(sampling.frequency_penalty), Feature::FrequencyPenalty, "frequency_penalty"),
        (is_set(sampling.presence_penalty), Feature::PresencePenalty, "presence_penalty"),
    ] {
        if is_asked {
            losses.leave_out(feature, field)?;
        }
    }
    Ok(())
}

/// A schema's name and description go where JSON Schema has them.
fn format(request: &Request, losses: &mut Losses) -> Result<Option<Value>> {
    let is_own = request.dialect == DialectName::Anthropic;
    match &request.format {
        None => Ok(None),
        Some(Format::Own(value)) if is_own => Ok(Some(value.clone())),
        Some(Format::Json) => losses.leave_out(Feature::JsonMode, "response_format").map(|()| None),
        Some(Format::Schema { name, description, schema, .. })
            if !losses.lacks(Feature::JsonSchema) =>
        {
            let mut schema = schema.clone();
            if let Value::Object(fields) = &mut schema {
                for (key, text) in [("title", name), ("description", description)] {
                    if let Some(text) = text {
                        fields.entry(key).or_insert_with(|| json!(text));
                    }
                }
            }
            Ok(Some(json!({"type": "json_schema", "schema": schema})))
        }
        Some(_) => losses.leave_out(Feature::JsonSchema, "response_format").map(|()| None),
    }
}

fn metadata(request: &Request, losses: &mut Losses, body: &mut Map<String, Value>) -> Result<()> {
    let mut metadata = Map::new();
    if let Some(user) = &request.end_user {
        if losses.lacks(Feature::EndUser) {
            losses.leave_out(Feature::EndUser, "user")?;
        } else {
            metadata.insert("user_id".to_owned(), json!(user));
        }
    }
    match &request.metadata {
        Some(Value::Object(labels)) if request.dialect == DialectName::Anthropic => {
            metadata.extend(labels.clone());
        }
        Some(_) => losses.leave_out(Feature::Metadata, "metadata")?,
        None => {}
    }
    if !metadata.is_empty() {
        body.insert("metadata".to_owned(), Value::Object(metadata));
    }
    Ok(())
}

/// What stayed of `thinking` and `output_config` is merged into what was written of them.
fn rest(request: &Request, losses: &mut Losses, body: &mut Map<String, Value>) -> Result<()> {
    if request.dialect != DialectName::Anthropic {
        for key in request.rest.keys() {
            losses.leave_out(Feature::UnknownField, key)?;
        }
        return Ok(());
    }
    for (key, value) in &request.rest {
        match (body.get_mut(key), value) {
            (Some(written), Value::Object(fields)) => merge_patch(written, fields),
            _ => {
                body.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(())
}
