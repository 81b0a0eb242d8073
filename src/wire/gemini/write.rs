//! Writes a `generateContent` request.

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::chat::DialectName;
use crate::chat::request::Format;
use crate::chat::request::Request;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::error::Result;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::gemini::field;
use crate::wire::gemini::thinking;
use crate::wire::gemini::turn;

/// The most stop sequences that Gemini takes.
const MAX_STOPS: usize = 5;

/// Writes a request of any dialect.
///
/// # Errors
/// It asks for what Gemini does not have and what may not be left out.
pub fn request(request: &Request, to: &Recipient<'_>) -> Result<Written> {
    let mut losses = Losses::new(DialectName::Gemini, to.quirks);
    let is_own = request.dialect == DialectName::Gemini;
    let mut body = Map::new();
    let conversation = turn::write(request, to, &mut losses)?;
    body.insert("contents".to_owned(), Value::Array(conversation.contents));
    body.extend(conversation.system.map(|system| ("systemInstruction".to_owned(), system)));
    let tools = write_tools(request, &mut losses)?;
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if let Some(choice) = write_choice(request, &mut losses)? {
        body.insert("toolConfig".to_owned(), json!({"functionCallingConfig": choice}));
    }
    let mut config = Map::new();
    write_sampling(request, &mut config, &mut losses)?;
    write_format(request, &mut config, &mut losses)?;
    if let Some(thinking) = thinking::write(request, to.model, &mut losses)? {
        config.insert("thinkingConfig".to_owned(), thinking);
    }
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }
    if is_own {
        field::put_back(&mut body, &request.rest);
        field::put_back(&mut body, &request.spelling);
    } else {
        leave_out_foreign(request, &mut losses)?;
    }
    Ok(Written { body: Bytes::from(Value::Object(body).to_string()), losses })
}

/// What has no place in Gemini's requests.
fn leave_out_foreign(request: &Request, losses: &mut Losses) -> Result<()> {
    for key in request.rest.keys() {
        losses.leave_out(Feature::UnknownField, key)?;
    }
    if request.end_user.is_some() {
        losses.leave_out(Feature::EndUser, "user")?;
    }
    if request.metadata.is_some() {
        losses.leave_out(Feature::Metadata, "metadata")?;
    }
    // Several calls at once are what Gemini does anyway.
    if request.parallel_tools == Some(false) {
        losses.leave_out(Feature::ParallelTools, "parallel_tool_calls")?;
    }
    Ok(())
}

/// Functions that follow each other share one entry, as Gemini wants it.
fn write_tools(request: &Request, losses: &mut Losses) -> Result<Vec<Value>> {
    let is_own = request.dialect == DialectName::Gemini;
    let mut tools: Vec<Value> = Vec::new();
    if !request.tools.is_empty() && losses.lacks(Feature::Tools) {
        losses.leave_out(Feature::Tools, "tools")?;
    }
    let mut functions = Vec::new();
    for (at, tool) in request.tools.iter().enumerate() {
        let path = format!("tools[{at}]");
        match tool {
            Tool::Function { .. } => functions.push(write_function(tool, &path, is_own, losses)?),
            Tool::Own(own) if is_own => {
                close(&mut functions, &mut tools);
                tools.push(own.clone());
            }
            Tool::Own(_) => losses.leave_out(Feature::OwnTool, &path)?,
        }
    }
    close(&mut functions, &mut tools);
    Ok(tools)
}

fn close(functions: &mut Vec<Value>, tools: &mut Vec<Value>) {
    if !functions.is_empty() {
        tools.push(json!({"functionDeclarations": std::mem::take(functions)}));
    }
}

/// Schemas go where Gemini takes JSON Schema as it is, so that nothing of them is lost.
fn write_function(tool: &Tool, path: &str, is_own: bool, losses: &mut Losses) -> Result<Value> {
    let Tool::Function { name, description, parameters, strict, rest } = tool else {
        return Ok(Value::Null);
    };
    let mut function = Map::new();
    function.insert("name".to_owned(), name.as_str().into());
    if let Some(description) = description {
        function.insert("description".to_owned(), description.as_str().into());
    }
    if let Some(parameters) = parameters {
        function.insert("parametersJsonSchema".to_owned(), parameters.clone());
    }
    if *strict == Some(true) {
        losses.leave_out(Feature::StrictTool, &format!("{path}.strict"))?;
    }
    if is_own {
        function.extend(rest.clone());
    } else {
        turn::leave_out_rest(rest, path, losses)?;
    }
    Ok(Value::Object(function))
}

fn write_choice(request: &Request, losses: &mut Losses) -> Result<Option<Value>> {
    let Some(choice) = &request.tool_choice else { return Ok(None) };
    if losses.lacks(Feature::ToolChoice) && *choice != ToolChoice::Auto {
        losses.leave_out(Feature::ToolChoice, "tool_choice")?;
    }
    Ok(Some(match choice {
        ToolChoice::Auto => json!({"mode": "AUTO"}),
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
        ToolChoice::Own(own) if request.dialect == DialectName::Gemini => own.clone(),
        ToolChoice::Own(_) => {
            losses.leave_out(Feature::OwnToolChoice, "tool_choice")?;
            return Ok(None);
        }
    }))
}

fn write_sampling(
    request: &Request,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<()> {
    let sampling = &request.sampling;
    let is_own = request.dialect == DialectName::Gemini;
    let stops = (!sampling.stop.is_empty()).then(|| sampling.stop.clone());
    if !is_own && sampling.stop.len() > MAX_STOPS {
        losses.leave_out(Feature::StopCount, "stop")?;
    }
    // One answer is what comes unasked.
    let choices = sampling.choices.filter(|count| is_own || *count != 1);
    let max_tokens = sampling.max_tokens;
    config.extend(max_tokens.map(|count| ("maxOutputTokens".to_owned(), count.into())));
    let rows: [(&str, Feature, &str, Option<Value>); 9] = [
        ("temperature", Feature::Temperature, "temperature", sampling.temperature.map(number)),
        ("topP", Feature::TopP, "top_p", sampling.top_p.map(number)),
        ("topK", Feature::TopK, "top_k", sampling.top_k.map(Value::from)),
        ("stopSequences", Feature::Stop, "stop", stops.map(Value::from)),
        ("seed", Feature::Seed, "seed", sampling.seed.map(Value::from)),
        (
            "frequencyPenalty",
            Feature::FrequencyPenalty,
            "frequency_penalty",
            sampling.frequency_penalty.map(number),
        ),
        (
            "presencePenalty",
            Feature::PresencePenalty,
            "presence_penalty",
            sampling.presence_penalty.map(number),
        ),
        ("candidateCount", Feature::Choices, "n", choices.map(Value::from)),
        (
            "responseLogprobs",
            Feature::Logprobs,
            "logprobs",
            sampling.logprobs.map(|_| Value::Bool(true)),
        ),
    ];
    for (key, feature, field, value) in rows {
        let Some(value) = value else { continue };
        if losses.lacks(feature) {
            losses.leave_out(feature, field)?;
        } else {
            config.insert(key.to_owned(), value);
        }
    }
    let rivals = sampling.logprobs.filter(|rivals| *rivals > 0);
    config.extend(rivals.map(|rivals| ("logprobs".to_owned(), rivals.into())));
    Ok(())
}

fn number(number: f64) -> Value {
    Value::from(number)
}

fn write_format(
    request: &Request,
    config: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<()> {
    let schema = match &request.format {
        None => return Ok(()),
        Some(Format::Own(Value::Object(own))) if request.dialect == DialectName::Gemini => {
            config.extend(own.clone());
            return Ok(());
        }
        Some(Format::Own(_)) => return losses.leave_out(Feature::JsonSchema, "response_format"),
        Some(Format::Json) if losses.lacks(Feature::JsonMode) => {
            return losses.leave_out(Feature::JsonMode, "response_format");
        }
        Some(Format::Json) => None,
        Some(Format::Schema { .. }) if losses.lacks(Feature::JsonSchema) => {
            return losses.leave_out(Feature::JsonSchema, "response_format");
        }
        Some(Format::Schema { schema, description, .. }) => {
            Some(described(schema, description.as_deref()))
        }
    };
    config.insert("responseMimeType".to_owned(), "application/json".into());
    config.extend(schema.map(|schema| ("responseJsonSchema".to_owned(), schema)));
    Ok(())
}

/// The model reads what a schema is for in the schema itself.
fn described(schema: &Value, description: Option<&str>) -> Value {
    let mut schema = schema.clone();
    if let (Some(description), Value::Object(fields)) = (description, &mut schema) {
        fields.entry("description").or_insert_with(|| description.into());
    }
    schema
}
