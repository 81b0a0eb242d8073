//! Reads a `generateContent` request.

use serde_json::Map;
use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::request::Effort;
use crate::chat::request::Format;
use crate::chat::request::Message;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Sampling;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::ChatRequest;
use crate::wire::gemini::field::Fields;
use crate::wire::gemini::part::Turns;
use crate::wire::gemini::schema::to_json_schema;
use crate::wire::json::bad;
use crate::wire::json::not_readable;

/// Reads everything.
///
/// # Errors
/// The body is not JSON, or a field has another type than it must have.
pub fn request(head: &ChatRequest) -> Result<Request> {
    let body: Value = serde_json::from_slice(&head.body)
        .map_err(|error| not_readable(&error, "a generateContent request"))?;
    let mut request = from_value(body, &head.model)?;
    request.stream = head.stream;
    // Gemini's streams always tell the usage.
    request.stream_usage = head.stream;
    Ok(request)
}

/// Reads a body that was parsed already.
///
/// # Errors
/// As [`request`].
pub fn from_value(body: Value, model: &str) -> Result<Request> {
    let mut body = Fields::new(body, "")?;
    let mut request = Request::new(DialectName::Gemini, model);
    body.take("model");
    let mut turns = Turns::default();
    let system = body.take("systemInstruction");
    let contents = body.take("contents").ok_or_else(|| {
        bad("`contents` is missing: give the conversation, for example \
             [{\"role\": \"user\", \"parts\": [{\"text\": \"hi\"}]}]")
    })?;
    request.messages.extend(system.map(read_system).transpose()?);
    match contents {
        Value::Array(contents) => {
            for (at, content) in contents.into_iter().enumerate() {
                turns.push(content, &format!("contents[{at}]"))?;
            }
        }
        content @ Value::Object(_) => turns.push(content, "contents")?,
        _ => return Err(bad("`contents` must be a list of turns, or one")),
    }
    request.messages.extend(turns.finish());
    for (at, tool) in body.list("tools")?.unwrap_or_default().into_iter().enumerate() {
        read_tools(Fields::new(tool, format!("tools[{at}]"))?, &mut request.tools)?;
    }
    let mut rest = Map::new();
    if let Some(config) = body.object("toolConfig")? {
        request.tool_choice = read_tool_config(config, &mut rest)?;
    }
    if let Some(config) = body.object("generationConfig")? {
        read_generation(config, &mut request, &mut rest)?;
    }
    request.rest = body.rest();
    request.rest.extend(rest);
    Ok(request)
}

fn read_system(system: Value) -> Result<Message> {
    if let Value::String(text) = system {
        return Ok(Message::text(Role::System, text));
    }
    let mut fields = Fields::new(system, "systemInstruction")?;
    let role = fields.take("role");
    let rest = fields.rest();
    let mut turns = Turns::default();
    turns.push(Value::Object(rest), "systemInstruction")?;
    let mut message = Message::new(Role::System, Vec::new());
    for turn in turns.finish() {
        message.parts.extend(turn.parts);
        message.rest.extend(turn.rest);
    }
    // Google ignores the role here, whatever it is.
    if let Some(role) = role.filter(|role| role != "user" && role != "system") {
        message.rest.insert("role".to_owned(), role);
    }
    Ok(message)
}

/// One entry may hold many functions and tools of Google's beside them.
fn read_tools(mut fields: Fields, tools: &mut Vec<Tool>) -> Result<()> {
    let path = fields.at("functionDeclarations");
    let functions = fields.list("functionDeclarations")?;
    for (at, function) in functions.into_iter().flatten().enumerate() {
        let mut function = Fields::new(function, format!("{path}[{at}]"))?;
        let name = function.text("name")?;
        let name = name.ok_or_else(|| bad(format!("`{}` is missing", function.at("name"))))?;
        let description = function.text("description")?;
        let own = function.take("parameters").map(to_json_schema);
        let parameters = function.take("parametersJsonSchema").or(own);
        let rest = function.rest();
        tools.push(Tool::Function { name, description, parameters, strict: None, rest });
    }
    let others = fields.rest().into_iter();
    tools.extend(
        others.map(|(key, value)| Tool::Own(Value::Object(Map::from_iter([(key, value)])))),
    );
    Ok(())
}

fn read_tool_config(
    mut config: Fields,
    rest: &mut Map<String, Value>,
) -> Result<Option<ToolChoice>> {
    let Some(mut calling) = config.object("functionCallingConfig")? else {
        config.rest_below("toolConfig", rest);
        return Ok(None);
    };
    config.rest_below("toolConfig", rest);
    let mode = calling.text("mode")?;
    let allowed = calling.texts("allowedFunctionNames")?;
    calling.rest_below("toolConfig.functionCallingConfig", rest);
    Ok(match (mode.as_deref(), allowed.as_deref()) {
        (None | Some("MODE_UNSPECIFIED"), None) => None,
        (Some("AUTO"), None) => Some(ToolChoice::Auto),
        (Some("NONE"), None) => Some(ToolChoice::None),
        (Some("ANY"), None) => Some(ToolChoice::Required),
        (Some("ANY"), Some([name])) => Some(ToolChoice::Named(name.clone())),
        _ => {
            let mut own = Map::new();
            own.extend(allowed.map(|names| ("allowedFunctionNames".to_owned(), names.into())));
            own.extend(mode.map(|mode| ("mode".to_owned(), mode.into())));
            Some(ToolChoice::Own(Value::Object(own)))
        }
    })
}

fn read_generation(
    mut config: Fields,
    request: &mut Request,
    rest: &mut Map<String, Value>,
) -> Result<()> {
    request.sampling = Sampling {
        max_tokens: config.count("maxOutputTokens")?,
        temperature: config.number("temperature")?,
        top_p: config.number("topP")?,
        top_k: config.count("topK")?,
        stop: config.texts("stopSequences")?.unwrap_or_default(),
        seed: config.whole("seed")?,
        frequency_penalty: config.number("frequencyPenalty")?,
        presence_penalty: config.number("presencePenalty")?,
        choices: config.count("candidateCount")?,
        logprobs: None,
    };
    if config.flag("responseLogprobs")? == Some(true) {
        request.sampling.logprobs = Some(config.count("logprobs")?.unwrap_or(0));
    }
    request.format = read_format(&mut config)?;
    if let Some(mut thinking) = config.object("thinkingConfig")? {
        request.reasoning = Some(read_thinking(&mut thinking)?);
        thinking.rest_below("generationConfig.thinkingConfig", rest);
    }
    // Words are what comes unasked; some SDKs ask for them all the same.
    let modalities = config.take("responseModalities");
    if let Some(modalities) = modalities {
        let is_words = modalities == serde_json::json!(["TEXT"]);
        let kept = if is_words { &mut request.spelling } else { &mut *rest };
        kept.insert("generationConfig.responseModalities".to_owned(), modalities);
    }
    config.rest_below("generationConfig", rest);
    Ok(())
}

fn read_format(config: &mut Fields) -> Result<Option<Format>> {
    let mime = config.text("responseMimeType")?;
    let own = config.take("responseSchema").map(to_json_schema);
    let schema = config.take("responseJsonSchema").or(own);
    Ok(match (mime.as_deref(), schema) {
        // Plain text is what comes unasked.
        (None | Some("text/plain"), None) => None,
        (Some("application/json"), None) => Some(Format::Json),
        (None | Some("application/json"), Some(schema)) => {
            Some(Format::Schema { name: None, description: None, schema, strict: None })
        }
        (_, schema) => {
            let mut own = Map::new();
            own.extend(mime.map(|mime| ("responseMimeType".to_owned(), mime.into())));
            own.extend(schema.map(|schema| ("responseJsonSchema".to_owned(), schema)));
            Some(Format::Own(Value::Object(own)))
        }
    })
}

/// A budget of -1 leaves the amount to the model; 0 switches thinking off.
fn read_thinking(thinking: &mut Fields) -> Result<Effort> {
    let budget = thinking.whole("thinkingBudget")?;
    let level = thinking.text("thinkingLevel")?;
    let level = level.filter(|level| level != "THINKING_LEVEL_UNSPECIFIED");
    let shown = thinking.flag("includeThoughts")?;
    Ok(Effort {
        enabled: budget.map(|budget| budget != 0),
        level: level.map(|level| level.to_ascii_lowercase()),
        budget_tokens: budget.and_then(|budget| u64::try_from(budget).ok()),
        summary: shown.map(|shown| if shown { "auto" } else { "none" }.to_owned()),
    })
}
