//! Writes chat completion requests.

mod message;
mod part;
mod thinking;

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
use crate::wire::carry::Feature;
use crate::wire::carry::Losses;
use crate::wire::json::bad;

/// The most words to end before that any server of the dialect is known to take; OpenAI takes 4.
const MOST_STOPS: usize = 16;

/// A request being written.
struct Draft<'a> {
    request: &'a Request,
    to: &'a Recipient<'a>,
    /// It was written in this dialect, so that what only this dialect knows goes back.
    is_own: bool,
    body: Map<String, Value>,
    losses: Losses,
}

/// The request, whole.
///
/// # Errors
/// It asks for what may not be left out.
pub fn request(request: &Request, to: &Recipient<'_>) -> Result<Written> {
    if request.embed.is_some() {
        return Err(bad("a request for embeddings cannot be asked as a chat"));
    }
    let is_own = request.dialect == DialectName::OpenAi;
    let losses = Losses::new(DialectName::OpenAi, to.quirks);
    let mut draft = Draft { request, to, is_own, body: Map::new(), losses };
    draft.set("model", to.model);
    draft.messages()?;
    draft.tools()?;
    draft.format()?;
    draft.thinking()?;
    draft.sampling(&request.sampling)?;
    draft.bookkeeping()?;
    draft.rest()?;
    Ok(Written { body: Bytes::from(Value::Object(draft.body).to_string()), losses: draft.losses })
}

/// Lays fields over others; objects are laid over objects.
fn lay_over(target: &mut Map<String, Value>, fields: &Map<String, Value>) {
    for (key, value) in fields {
        match (target.get_mut(key), value) {
            (Some(Value::Object(target)), Value::Object(inner)) => lay_over(target, inner),
            _ => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

/// What is lost with a field nobody knows.
fn feature_of(key: &str) -> Feature {
    if key == "cache_control" { Feature::CacheMark } else { Feature::UnknownField }
}

impl Draft<'_> {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.body.insert(key.to_owned(), value.into());
    }

    /// A field that is there and whose feature the provider has.
    fn put<T: Into<Value>>(&mut self, feature: Feature, key: &str, value: Option<T>) -> Result<()> {
        let Some(value) = value else { return Ok(()) };
        if self.losses.lacks(feature) {
            return self.losses.leave_out(feature, key);
        }
        self.set(key, value);
        Ok(())
    }

    /// Whether the client spelled it itself, so that it returns as it was.
    fn is_spelled(&self, key: &str) -> bool {
        self.is_own && self.request.spelling.contains_key(key)
    }

    /// Writes fields without a canonical place back, or tells that they are lost.
    fn give_back(
        &mut self,
        into: &mut Map<String, Value>,
        rest: &Map<String, Value>,
        path: &str,
    ) -> Result<()> {
        if self.is_own {
            lay_over(into, rest);
            return Ok(());
        }
        for key in rest.keys() {
            self.losses.leave_out(feature_of(key), &format!("{path}.{key}"))?;
        }
        Ok(())
    }

    fn tools(&mut self) -> Result<()> {
        let request = self.request;
        let spelled = if self.is_own { request.spelling.get("functions") } else { None };
        let old = spelled.and_then(Value::as_array).map_or(0, Vec::len);
        let new = request.tools.len().saturating_sub(old);
        let mut tools = Vec::new();
        for (at, tool) in request.tools.iter().take(new).enumerate() {
            tools.push(self.tool(at, tool)?);
        }
        if !tools.is_empty() || (self.is_spelled("tools") && request.tools.is_empty()) {
            if self.losses.lacks(Feature::Tools) {
                return self.losses.leave_out(Feature::Tools, "tools");
            }
            self.set("tools", tools);
        }
        if let Some(choice) = request.tool_choice.as_ref() {
            self.tool_choice(choice)?;
        }
        // OpenAI refuses the field where there is no tool to call.
        if self.is_own || !request.tools.is_empty() {
            self.put(Feature::ParallelTools, "parallel_tool_calls", request.parallel_tools)?;
        }
        Ok(())
    }

    fn tool(&mut self, at: usize, tool: &Tool) -> Result<Value> {
        let path = format!("tools[{at}]");
        let (name, description, parameters, strict, rest) = match tool {
            Tool::Function { name, description, parameters, strict, rest } => {
                (name, description, parameters, *strict, rest)
            }
            Tool::Own(own) => {
                if !self.is_own {
                    self.losses.leave_out(Feature::OwnTool, &path)?;
                }
                return Ok(own.clone());
            }
        };
        let mut function = Map::new();
        function.insert("name".to_owned(), name.as_str().into());
        let description = description.as_deref().map(Value::from);
        function.extend(description.map(|text| ("description".to_owned(), text)));
        function.extend(parameters.clone().map(|schema| ("parameters".to_owned(), schema)));
        if let Some(strict) = strict {
            if self.losses.lacks(Feature::StrictTool) {
                self.losses.leave_out(Feature::StrictTool, &format!("{path}.strict"))?;
            } else {
                function.insert("strict".to_owned(), strict.into());
            }
        }
        let untyped = if self.is_own { self.request.spelling.get("tools") } else { None };
        let untyped = untyped.and_then(Value::as_array);
        let is_untyped = untyped.is_some_and(|list| list.contains(&json!(at)));
        let mut whole = Map::new();
        if !is_untyped {
            whole.insert("type".to_owned(), "function".into());
        }
        whole.insert("function".to_owned(), Value::Object(function));
        self.give_back(&mut whole, rest, &path)?;
        Ok(Value::Object(whole))
    }

    fn tool_choice(&mut self, choice: &ToolChoice) -> Result<()> {
        if self.is_spelled("function_call") && !self.body.contains_key("tools") {
            return Ok(());
        }
        let choice = match choice {
            ToolChoice::Auto => Value::from("auto"),
            ToolChoice::None => Value::from("none"),
            ToolChoice::Required => Value::from("required"),
            ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
            ToolChoice::Own(own) => {
                if !self.is_own {
                    self.losses.leave_out(Feature::OwnToolChoice, "tool_choice")?;
                }
                own.clone()
            }
        };
        if self.is_own || !self.request.tools.is_empty() {
            self.put(Feature::ToolChoice, "tool_choice", Some(choice))?;
        }
        Ok(())
    }

    fn format(&mut self) -> Result<()> {
        const FIELD: &str = "response_format";
        let format = match self.request.format.as_ref() {
            None => return Ok(()),
            Some(Format::Json) => {
                return self.put(Feature::JsonMode, FIELD, Some(json!({"type": "json_object"})));
            }
            Some(Format::Own(own)) => {
                if !self.is_own {
                    self.losses.leave_out(Feature::UnknownField, FIELD)?;
                    return Ok(());
                }
                own.clone()
            }
            Some(Format::Schema { name, description, schema, strict }) => {
                if !self.to.quirks.json_schema || self.losses.lacks(Feature::JsonSchema) {
                    self.losses.leave_out(Feature::JsonSchema, FIELD)?;
                    // If the table lets a schema go, JSON of any shape is the nearest.
                    return self.put(
                        Feature::JsonMode,
                        FIELD,
                        Some(json!({"type": "json_object"})),
                    );
                }
                let mut inner = Map::new();
                let made_up = (!self.is_own).then_some("response");
                let name = name.as_deref().or(made_up).map(Value::from);
                inner.extend(name.map(|name| ("name".to_owned(), name)));
                let description = description.as_deref().map(Value::from);
                inner.extend(description.map(|text| ("description".to_owned(), text)));
                inner.insert("schema".to_owned(), schema.clone());
                inner.extend(strict.map(|strict| ("strict".to_owned(), strict.into())));
                json!({"type": "json_schema", "json_schema": inner})
            }
        };
        self.set(FIELD, format);
        Ok(())
    }

    fn sampling(&mut self, sampling: &Sampling) -> Result<()> {
        if !self.is_spelled("max_tokens") && !self.is_spelled("max_completion_tokens") {
            let field = self.to.quirks.max_tokens;
            sampling.max_tokens.into_iter().for_each(|most| self.set(field, most));
        }
        self.put(Feature::Temperature, "temperature", sampling.temperature)?;
        self.put(Feature::TopP, "top_p", sampling.top_p)?;
        // Many servers of this dialect know it, OpenAI refuses it.
        if self.is_own {
            self.put(Feature::TopK, "top_k", sampling.top_k)?;
        } else if sampling.top_k.is_some() {
            self.losses.leave_out(Feature::TopK, "top_k")?;
        }
        self.put(Feature::Seed, "seed", sampling.seed)?;
        let (frequency, presence) = (sampling.frequency_penalty, sampling.presence_penalty);
        self.put(Feature::FrequencyPenalty, "frequency_penalty", frequency)?;
        self.put(Feature::PresencePenalty, "presence_penalty", presence)?;
        self.put(Feature::Choices, "n", sampling.choices.filter(|n| self.is_own || *n != 1))?;
        if !self.is_own && sampling.stop.len() > MOST_STOPS {
            self.losses.leave_out(Feature::StopCount, "stop")?;
        }
        let stop = (!sampling.stop.is_empty()).then(|| json!(sampling.stop));
        self.put(Feature::Stop, "stop", stop)?;
        if !self.is_spelled("logprobs") {
            self.put(Feature::Logprobs, "logprobs", sampling.logprobs.map(|_| true))?;
            let rivals = sampling.logprobs.filter(|rivals| *rivals > 0);
            self.put(Feature::Logprobs, "top_logprobs", rivals)?;
        }
        Ok(())
    }

    fn bookkeeping(&mut self) -> Result<()> {
        let request = self.request;
        if request.stream {
            self.set("stream", true);
            // An answer that is to be told in another dialect needs its usage, asked for or not.
            let wants_usage = !self.is_own || request.stream_usage;
            if wants_usage && self.to.quirks.stream_usage {
                self.set("stream_options", json!({"include_usage": true}));
            }
        }
        self.put(Feature::EndUser, "user", request.end_user.as_deref())?;
        self.put(Feature::Metadata, "metadata", request.metadata.clone())
    }

    fn rest(&mut self) -> Result<()> {
        let request = self.request;
        if !self.is_own {
            for key in request.rest.keys() {
                self.losses.leave_out(feature_of(key), key)?;
            }
            return Ok(());
        }
        lay_over(&mut self.body, &request.rest);
        for (key, value) in &request.spelling {
            // Paths belong to messages, and a list of positions to the tools.
            if !key.contains('[') && key != "tools" {
                self.body.insert(key.clone(), value.clone());
            }
        }
        Ok(())
    }
}
