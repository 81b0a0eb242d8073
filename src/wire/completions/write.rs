//! Writes completion requests.

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
use crate::error::Error;
use crate::error::Result;
use crate::wire::Recipient;
use crate::wire::Written;
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::json::bad;

/// The request, whole.
///
/// # Errors
/// It is a conversation rather than a text, or asks for what may not be left out.
pub fn request(request: &Request, to: &Recipient<'_>) -> Result<Written> {
    let is_own = request.dialect == DialectName::Completions;
    let mut losses = Losses::new(DialectName::Completions, to.quirks);
    let mut body = Map::new();
    body.insert("model".to_owned(), to.model.into());
    if is_own {
        own_prompt(request, &mut body);
    } else {
        body.insert("prompt".to_owned(), prompt(request, &mut losses)?.into());
        without_home(request, &mut losses)?;
    }
    sampling(request, is_own, &mut body, &mut losses)?;
    if request.stream {
        body.insert("stream".to_owned(), true.into());
        if (!is_own || request.stream_usage) && to.quirks.stream_usage {
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
    }
    if is_own {
        body.extend(request.rest.clone());
        body.extend(request.spelling.clone());
    } else {
        for key in request.rest.keys() {
            losses.leave_out(Feature::UnknownField, key)?;
        }
    }
    Ok(Written { body: Bytes::from(Value::Object(body).to_string()), losses })
}

/// What was read of the prompt, as it was.
fn own_prompt(request: &Request, body: &mut Map<String, Value>) {
    for part in request.messages.iter().flat_map(|message| &message.parts) {
        match &part.kind {
            PartKind::Text(text) => {
                body.insert("prompt".to_owned(), text.as_str().into());
            }
            PartKind::Own(Value::Object(own)) => {
                let fields = own.iter().filter(|(key, _)| key.as_str() != "type");
                body.extend(fields.map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => {}
        }
    }
}

/// The one text that a chat of one turn is.
fn prompt(request: &Request, losses: &mut Losses) -> Result<String> {
    let [Message { role: Role::User, parts, name, rest }] = request.messages.as_slice() else {
        return Err(no_chat("messages"));
    };
    if name.is_some() {
        losses.leave_out(Feature::Name, "messages[0].name")?;
    }
    for key in rest.keys() {
        losses.leave_out(Feature::UnknownField, &format!("messages[0].{key}"))?;
    }
    let mut prompt = String::new();
    for (at, part) in parts.iter().enumerate() {
        let path = format!("messages[0].content[{at}]");
        let PartKind::Text(text) = &part.kind else { return Err(no_chat(&path)) };
        prompt.push_str(text);
        for key in part.rest.keys() {
            let is_mark = key == "cache_control";
            let feature = if is_mark { Feature::CacheMark } else { Feature::UnknownField };
            losses.leave_out(feature, &format!("{path}.{key}"))?;
        }
    }
    Ok(prompt)
}

fn no_chat(path: &str) -> Error {
    bad(format!(
        "`{path}` cannot be carried to the completions dialect, which continues one text: \
         send one user message of text only, or ask a provider of a chat dialect"
    ))
}

/// Everything of a chat that a text to be continued does not have.
fn without_home(request: &Request, losses: &mut Losses) -> Result<()> {
    let format = request.format.as_ref().map(|format| match format {
        Format::Json => Feature::JsonMode,
        Format::Schema { .. } | Format::Own(_) => Feature::JsonSchema,
    });
    let lost = [
        ((!request.tools.is_empty()).then_some(Feature::Tools), "tools"),
        (request.tool_choice.is_some().then_some(Feature::ToolChoice), "tool_choice"),
        (request.parallel_tools.is_some().then_some(Feature::ParallelTools), "parallel_tool_calls"),
        (format, "response_format"),
        (request.reasoning.is_some().then_some(Feature::Reasoning), "reasoning"),
        (request.sampling.top_k.is_some().then_some(Feature::TopK), "top_k"),
        (request.metadata.is_some().then_some(Feature::Metadata), "metadata"),
    ];
    lost.into_iter()
        .filter_map(|(feature, field)| feature.map(|feature| (feature, field)))
        .try_for_each(|(feature, field)| losses.leave_out(feature, field))
}

fn sampling(
    request: &Request,
    is_own: bool,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<()> {
    let from = &request.sampling;
    let stop = (!from.stop.is_empty()).then(|| json!(from.stop));
    let choices = from.choices.filter(|n| is_own || *n != 1);
    let fields = [
        (None, "max_tokens", from.max_tokens.map(Value::from)),
        (Some(Feature::Temperature), "temperature", from.temperature.map(Value::from)),
        (Some(Feature::TopP), "top_p", from.top_p.map(Value::from)),
        (Some(Feature::Choices), "n", choices.map(Value::from)),
        (Some(Feature::Stop), "stop", stop),
        (Some(Feature::Seed), "seed", from.seed.map(Value::from)),
        (
            Some(Feature::FrequencyPenalty),
            "frequency_penalty",
            from.frequency_penalty.map(Value::from),
        ),
        (
            Some(Feature::PresencePenalty),
            "presence_penalty",
            from.presence_penalty.map(Value::from),
        ),
        (Some(Feature::Logprobs), "logprobs", from.logprobs.map(Value::from)),
        (Some(Feature::EndUser), "user", request.end_user.as_deref().map(Value::from)),
    ];
    for (feature, key, value) in fields {
        let Some(value) = value else { continue };
        match feature.filter(|feature| losses.lacks(*feature)) {
            Some(feature) => losses.leave_out(feature, key)?,
            None => {
                body.insert(key.to_owned(), value);
            }
        }
    }
    Ok(())
}
