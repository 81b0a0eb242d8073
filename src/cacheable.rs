//! What may be served from the cache: the classes of requests, with a reason for each.

pub mod directive;
pub mod maker;
pub mod repeat;

use http::HeaderMap;
use serde_json::Map;
use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Source;
use crate::chat::request::Tool;
use crate::experiment::Target;
use crate::retry;

/// How many classes there are.
const COUNT: usize = 13;

/// What a class is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What is asked.
    pub request: &'a Request,
    /// Who may answer.
    pub targets: &'a [Target],
}

/// Requests with one trait in common that matters for serving their answers again.
#[derive(Debug)]
pub struct Class {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Whether answers to its requests are served again unless the configuration says otherwise.
    pub by_default: bool,
    /// Whether its requests may do something at the provider that must not be done twice.
    pub acts: bool,
    /// Why, in one sentence.
    pub why: &'static str,
    /// Whether a request belongs to it.
    is_of: fn(&Question<'_>) -> bool,
}

/// Every class, sorted by name; a request may belong to several, and each has to allow it.
pub static CLASSES: [Class; COUNT] = [
    Class {
        name: "background",
        by_default: false,
        acts: true,
        why: "the answer is only the name of work that goes on, and that work is done once",
        is_of: |q| is_true(q, "background") || is_true(q, "deferred"),
    },
    Class {
        name: "cached_content",
        by_default: true,
        acts: false,
        why: "cached content at the provider never changes under its name, it only expires",
        is_of: |q| is_there(q, "cachedContent") || is_there(q, "cached_content"),
    },
    Class {
        name: "container",
        by_default: false,
        acts: true,
        why: "a container keeps files and state that every request in it may change",
        is_of: |q| is_there(q, "container"),
    },
    Class {
        name: "conversation",
        by_default: false,
        acts: true,
        why: "a conversation at the provider grows with every request, so the same words ask anew",
        is_of: |q| is_there(q, "conversation"),
    },
    Class {
        name: "files",
        by_default: true,
        acts: false,
        why: "a file at a provider never changes under its id, it can only be deleted",
        is_of: |q| any_source(&q.request.messages, &|source| matches!(source, Source::Id(_))),
    },
    Class {
        name: "links",
        by_default: true,
        acts: false,
        why: "what a link in a prompt leads to seldom changes within the time an answer is kept",
        is_of: |q| any_source(&q.request.messages, &|source| matches!(source, Source::Url { .. })),
    },
    Class {
        name: "previous_response",
        by_default: true,
        acts: false,
        why: "a stored response never changes, it can only be deleted, so the prompt is the same",
        is_of: follows_response,
    },
    Class {
        name: "sampled",
        by_default: true,
        acts: false,
        why: "any answer a model gave is an answer; for different ones, set samples above 1",
        is_of: |q| q.request.sampling.temperature.is_none_or(|temperature| temperature > 0.0),
    },
    Class {
        name: "server_tools",
        by_default: false,
        acts: true,
        why: "the provider searches, browses or runs code for the answer, and the world changes",
        is_of: runs_tools,
    },
    Class {
        name: "store",
        by_default: false,
        acts: false,
        why: "the provider is asked to keep the answer, which an answer from here would not do",
        is_of: |q| is_true(q, "store"),
    },
    Class {
        name: "stored_prompt",
        by_default: false,
        acts: false,
        why: "a prompt at the provider named without its version may be edited at any time",
        is_of: |q| names_moving_prompt(&q.request.rest),
    },
    Class {
        name: "tools",
        by_default: true,
        acts: false,
        why: "the application runs these tools, so the answer only says which to call",
        is_of: |q| q.request.tools.iter().any(is_applications),
    },
    Class {
        name: "unversioned_guardrail",
        by_default: false,
        acts: false,
        why: "the draft of a guardrail may be edited at any time",
        is_of: |q| version_of(&q.request.rest, "guardrailConfig", "guardrailVersion") == "DRAFT",
    },
];

/// Which classes may be served again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices([bool; COUNT]);

impl Default for Choices {
    fn default() -> Self {
        Self(CLASSES.each_ref().map(|class| class.by_default))
    }
}

impl Choices {
    /// Whether the class of this name may be served again; `None` for a name nobody knows.
    pub fn allows(&self, name: &str) -> Option<bool> {
        let mut rows = CLASSES.iter().zip(self.0);
        rows.find(|(class, _)| class.name == name).map(|(_, allowed)| allowed)
    }

    /// Overrides what a class says by itself; a name nobody knows changes nothing.
    pub fn set(&mut self, name: &str, allowed: bool) {
        for (class, slot) in CLASSES.iter().zip(&mut self.0) {
            if class.name == name {
                *slot = allowed;
            }
        }
    }

    /// The first class of the request that may not be served again.
    pub fn refusal(&self, question: &Question<'_>) -> Option<&'static Class> {
        let mut rows = CLASSES.iter().zip(self.0);
        rows.find(|(class, allowed)| !allowed && class.holds(question)).map(|(class, _)| class)
    }
}

/// The first class of the request for which asking twice may do something twice at the provider.
///
/// An application that gives an idempotency key among its `headers` has seen to that itself.
pub fn acts(question: &Question<'_>, headers: &HeaderMap) -> Option<&'static Class> {
    if headers.contains_key(retry::IDEMPOTENCY_KEY) {
        return None;
    }
    CLASSES.iter().find(|class| class.acts && class.holds(question))
}

impl Class {
    /// Whether a request belongs to it.
    pub fn holds(&self, question: &Question<'_>) -> bool {
        (self.is_of)(question)
    }
}

/// A request of which only the provider can judge the whole, as far as classes need it.
///
/// Its fields stand where the canonical form keeps those without a place, and every tool that does
/// not look like a function of the application's counts as the provider's own.
pub fn unread(dialect: DialectName, body: &[u8]) -> Request {
    let mut request = Request::new(dialect, "");
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return request };
    request.sampling.temperature = fields.get("temperature").and_then(Value::as_f64);
    let tools = fields.get("tools").and_then(Value::as_array);
    let is_function = |tool: &&Value| {
        tool.get("function").is_some()
            || tool.get("functionDeclarations").is_some()
            || tool.get("input_schema").is_some()
            || tool.get("type").is_some_and(|kind| kind == "function")
    };
    let own = tools.into_iter().flatten().filter(|tool| !is_function(tool));
    request.tools = own.cloned().map(Tool::Own).collect();
    request.rest = fields;
    request
}

fn is_true(question: &Question<'_>, field: &str) -> bool {
    question.request.rest.get(field) == Some(&Value::Bool(true))
}

/// Whether a field says anything.
fn is_there(question: &Question<'_>, field: &str) -> bool {
    question.request.rest.get(field).is_some_and(says_something)
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

fn follows_response(question: &Question<'_>) -> bool {
    let is_reference = |part: &Part| match &part.kind {
        PartKind::Own(own) => own.get("type").is_some_and(|kind| kind == "item_reference"),
        _ => false,
    };
    is_there(question, "previous_response_id")
        || question.request.messages.iter().flat_map(|m| &m.parts).any(is_reference)
}

fn any_source(messages: &[Message], is_meant: &dyn Fn(&Source) -> bool) -> bool {
    messages.iter().any(|message| has_source(&message.parts, is_meant))
}

fn has_source(parts: &[Part], is_meant: &dyn Fn(&Source) -> bool) -> bool {
    parts.iter().any(|part| match &part.kind {
        PartKind::Image { source, .. }
        | PartKind::Audio(source)
        | PartKind::Video(source)
        | PartKind::File { source, .. } => is_meant(source),
        PartKind::ToolResult { parts, .. } => has_source(parts, is_meant),
        _ => false,
    })
}

/// OpenAI's `prompt`, which takes the newest version unless it names one.
fn names_moving_prompt(rest: &Map<String, Value>) -> bool {
    let is_named = rest.get("prompt").is_some_and(|prompt| prompt.get("id").is_some());
    is_named && version_of(rest, "prompt", "version").is_empty()
}

fn version_of<'a>(rest: &'a Map<String, Value>, field: &str, version: &str) -> &'a str {
    let version = rest.get(field).and_then(|field| field.get(version));
    version.and_then(Value::as_str).unwrap_or_default()
}

/// Kinds of tools without a canonical place that the application runs itself, or that are no tools:
/// the words they begin with.
const APPLICATIONS: &[&str] =
    &["apply_patch", "bash_", "cachepoint", "custom", "local_shell", "memory_", "text_editor_"];

/// Fields beside the tools that make the provider search or run something.
const SERVER_FIELDS: &[&str] =
    &["enable_search", "mcp_servers", "plugins", "search_parameters", "web_search_options"];

/// Models that search whatever they are asked: how their names begin, end, or what is in them.
const SEARCHING: &[(Where, &str)] = &[
    (Where::Begins, "compound"),
    (Where::Begins, "sonar"),
    (Where::Ends, ":online"),
    (Where::Within, "deep-research"),
    (Where::Within, "search-api"),
    (Where::Within, "search-preview"),
];

#[derive(Clone, Copy, Debug)]
enum Where {
    Begins,
    Ends,
    Within,
}

fn runs_tools(question: &Question<'_>) -> bool {
    let request = question.request;
    let is_own = |tool: &Tool| matches!(tool, Tool::Own(_)) && !is_applications(tool);
    request.tools.iter().any(is_own)
        || SERVER_FIELDS.iter().any(|field| is_switched_on(&request.rest, field))
        || question.targets.iter().any(|target| always_searches(&target.model))
}

fn is_switched_on(rest: &Map<String, Value>, field: &str) -> bool {
    let Some(value) = rest.get(field) else { return false };
    says_something(value) && value.get("mode").is_none_or(|mode| mode != "off")
}

fn always_searches(model: &str) -> bool {
    let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
    SEARCHING.iter().any(|(place, word)| match place {
        Where::Begins => name.starts_with(word),
        Where::Ends => name.ends_with(word),
        Where::Within => name.contains(word),
    })
}

fn is_applications(tool: &Tool) -> bool {
    match tool {
        Tool::Function { .. } => true,
        Tool::Own(own) => {
            let kind = kind_of(own).to_ascii_lowercase();
            APPLICATIONS.iter().any(|word| kind.starts_with(word))
        }
    }
}

/// The word for a tool's kind: its `type`, or the name of its only field.
fn kind_of(own: &Value) -> &str {
    let kind = own.get("type").and_then(Value::as_str);
    let only = || own.as_object()?.keys().next().map(String::as_str);
    kind.or_else(only).unwrap_or_default()
}
