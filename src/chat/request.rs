//! What is asked of a model, in no provider's words: the form that every translation goes through.

use serde_json::Map;
use serde_json::Value;

use crate::chat::DialectName;
use crate::chat::Seal;

/// A whole request.
///
/// `rest` here and below holds the fields that have no canonical place, as the dialect of the
/// request wrote them: they return unchanged in the same dialect and go nowhere else unseen.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The dialect it was written in, whose words every `rest` and `Own` are.
    pub dialect: DialectName,
    /// The model asked for.
    pub model: String,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
    /// Whether a stream is to end with the usage, for dialects that ask.
    pub stream_usage: bool,
    /// The conversation, system and developer prompts included, in order.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it must.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several calls at once are allowed.
    pub parallel_tools: Option<bool>,
    /// The shape the answer must have; plain text when absent.
    pub format: Option<Format>,
    /// How much to think.
    pub reasoning: Option<Effort>,
    /// How tokens are drawn and when to end.
    pub sampling: Sampling,
    /// The application's name for its user.
    pub end_user: Option<String>,
    /// The application's own labels.
    pub metadata: Option<Value>,
    /// What is asked instead of a chat answer.
    pub embed: Option<Embed>,
    /// Fields of the body without a canonical place.
    pub rest: Map<String, Value>,
    /// How the dialect of the request spelled what has a canonical place, where it knows more than
    /// one spelling: fields of the body as they were, for that dialect alone to write back.
    pub spelling: Map<String, Value>,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
    /// The speaker's name.
    pub name: Option<String>,
    /// Fields without a canonical place.
    pub rest: Map<String, Value>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever runs the model.
    System,
    /// Whoever built the application; `System` where a dialect knows no difference.
    Developer,
    /// Who asks.
    User,
    /// The model.
    Assistant,
    /// A tool; its message holds [`PartKind::ToolResult`]s only.
    Tool,
}

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Fields without a canonical place.
    pub rest: Map<String, Value>,
}

/// The kinds of pieces.
#[derive(Clone, Debug, PartialEq)]
pub enum PartKind {
    /// Words.
    Text(String),
    /// A picture.
    Image {
        /// Where it is.
        source: Source,
        /// How closely to look: `low`, `high`, `auto`.
        detail: Option<String>,
    },
    /// Sound.
    Audio(Source),
    /// Moving pictures.
    Video(Source),
    /// A document.
    File {
        /// Where it is.
        source: Source,
        /// Its name.
        name: Option<String>,
    },
    /// What the model thought, with its maker's signature if it has one.
    Reasoning {
        /// The words shown; may be empty.
        text: String,
        /// What makes it acceptable to its maker again.
        seal: Option<Seal>,
    },
    /// Reasoning of which only the seal exists.
    Hidden(Seal),
    /// The words of a refusal.
    Refusal(String),
    /// A call the model made.
    ToolCall {
        /// The call's id.
        id: Option<String>,
        /// The tool's name.
        name: String,
        /// JSON, as it was written.
        arguments: String,
        /// What its maker wants back with it.
        seal: Option<Seal>,
    },
    /// What came of a call.
    ToolResult {
        /// The call's id.
        call_id: Option<String>,
        /// The tool's name, where the dialect says it or the history tells.
        name: Option<String>,
        /// What the tool gave: text, and pictures where dialects know them.
        parts: Vec<Part>,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// A piece that only its own dialect knows, whole.
    Own(Value),
}

/// Where a picture, sound or document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the request.
    Inline {
        /// Its media type, such as `image/png`.
        mime: String,
        /// Base64.
        data: String,
    },
    /// Elsewhere.
    Url {
        /// Where.
        url: String,
        /// Its media type, if known.
        mime: Option<String>,
    },
    /// At the provider, under an id only that provider knows.
    Id(String),
}

/// What the model may call.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function of the application's.
    Function {
        /// Its name.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// A JSON Schema of its arguments.
        parameters: Option<Value>,
        /// Whether arguments must follow the schema to the letter.
        strict: Option<bool>,
        /// Fields without a canonical place.
        rest: Map<String, Value>,
    },
    /// A tool that only this dialect knows, such as one its provider runs; whole.
    Own(Value),
}

/// Whether a tool must be called.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// None.
    None,
    /// Any one.
    Required,
    /// This one.
    Named(String),
    /// Something only this dialect knows.
    Own(Value),
}

/// The shape an answer must have.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Any JSON object.
    Json,
    /// JSON of this schema.
    Schema {
        /// The schema's name.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// JSON Schema.
        schema: Value,
        /// Whether it must be followed to the letter.
        strict: Option<bool>,
    },
    /// Something only this dialect knows.
    Own(Value),
}

/// How much to think before answering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Whether to think at all, when that is said by itself.
    pub enabled: Option<bool>,
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, or another word of the provider's.
    pub level: Option<String>,
    /// The most tokens to think with.
    pub budget_tokens: Option<u64>,
    /// Whether to show the thinking: `auto`, `concise`, `detailed`, or `none`.
    pub summary: Option<String>,
}

/// How tokens are drawn and when to end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// The most tokens of the answer, reasoning included where the dialect counts it in.
    pub max_tokens: Option<u64>,
    /// As the dialects define it, 0 to 2 or 0 to 1; not rescaled.
    pub temperature: Option<f64>,
    /// Nucleus sampling, 0 to 1.
    pub top_p: Option<f64>,
    /// Only the likeliest so many tokens.
    pub top_k: Option<u64>,
    /// End before any of these.
    pub stop: Vec<String>,
    /// For answers that repeat.
    pub seed: Option<i64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// How many answers.
    pub choices: Option<u64>,
    /// Whether log-probabilities are wanted, and of how many rivals of each token.
    pub logprobs: Option<u64>,
}

/// Inputs of which vectors are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embed {
    /// What to embed.
    pub inputs: Vec<EmbedInput>,
    /// How long each vector is to be.
    pub dimensions: Option<u64>,
    /// `float` or `base64`, the form wanted on the wire.
    pub encoding: Option<String>,
    /// What the vectors are for, in Gemini's words: `RETRIEVAL_QUERY`, …
    pub purpose: Option<String>,
    /// The title of a document to be retrieved.
    pub title: Option<String>,
    /// Whether the request was written for one input only rather than a list.
    pub is_single: bool,
}

/// One thing to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbedInput {
    /// Words.
    Text(String),
    /// Tokens of the model's own vocabulary.
    Tokens(Vec<u64>),
}

impl Request {
    /// An empty request of a dialect.
    pub fn new(dialect: DialectName, model: impl Into<String>) -> Self {
        Self {
            dialect,
            model: model.into(),
            stream: false,
            stream_usage: false,
            messages: Vec::new(),
            tools: Vec::new(),
            tool_choice: None,
            parallel_tools: None,
            format: None,
            reasoning: None,
            sampling: Sampling::default(),
            end_user: None,
            metadata: None,
            embed: None,
            rest: Map::new(),
            spelling: Map::new(),
        }
    }

    /// The name of the tool that a call of this id was made to.
    pub fn tool_of_call(&self, call_id: &str) -> Option<&str> {
        let parts = self.messages.iter().rev().flat_map(|message| &message.parts);
        parts.into_iter().find_map(|part| match &part.kind {
            PartKind::ToolCall { id: Some(id), name, .. } if id == call_id => Some(name.as_str()),
            _ => None,
        })
    }
}

impl Message {
    /// A turn of these pieces.
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts, name: None, rest: Map::new() }
    }

    /// A turn of words only.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self::new(role, vec![Part::text(text)])
    }
}

impl Part {
    /// A piece without fields of its own.
    pub fn new(kind: PartKind) -> Self {
        Self { kind, rest: Map::new() }
    }

    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(PartKind::Text(text.into()))
    }
}

impl Role {
    /// The field's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}
