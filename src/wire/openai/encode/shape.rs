//! The pieces of an answer in the dialect's shapes, for streams and bodies.

use serde::Serialize;

use crate::chat::Citation;
use crate::chat::Maker;
use crate::chat::Seal;
use crate::wire::openai::detail::DetailOut;
use crate::wire::openai::encode::call::Place;
use crate::wire::seal;

/// What a chunk adds.
#[derive(Default, Serialize)]
pub struct Delta<'a> {
    /// Who speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a str>,
    /// Reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<&'a str>,
    /// Reasoning with seals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_details: Option<&'a [DetailOut<'a>]>,
    /// Words of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'a str>,
    /// Sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<&'a [AnnotationOut<'a>]>,
    /// Pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<&'a [ImageOut]>,
    /// Sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioOut<'a>>,
    /// Pieces of tool calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<&'a [CallOut<'a>]>,
    /// A piece of a call in the old form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionOut<'a>>,
}

impl<'a> Delta<'a> {
    /// A piece of a tool call.
    pub fn tool_call(calls: &'a [CallOut<'a>]) -> Self {
        Self { tool_calls: Some(calls), ..Self::default() }
    }

    /// A piece of a call in the old form.
    pub fn function_call(function: FunctionOut<'a>) -> Self {
        Self { function_call: Some(function), ..Self::default() }
    }
}

/// A tool call or a piece of one.
#[derive(Serialize)]
pub struct CallOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<FunctionOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Extra>,
}

/// A function's name and arguments.
#[derive(Serialize)]
pub struct FunctionOut<'a> {
    /// The name, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// JSON, or a piece of it.
    pub arguments: &'a str,
}

#[derive(Serialize)]
struct Extra {
    google: Google,
}

#[derive(Serialize)]
struct Google {
    thought_signature: String,
}

impl Extra {
    fn of(seal: &Seal) -> Self {
        Self { google: Google { thought_signature: seal::write(seal, Maker::Gemini) } }
    }
}

impl<'a> CallOut<'a> {
    /// A piece of a call; one with an id begins it.
    pub fn piece(place: &Place<'a>, id: Option<&'a str>, arguments: &'a str) -> Self {
        let function = Some(FunctionOut { name: place.name, arguments });
        let r#type = id.map(|_| "function");
        Self { index: Some(place.at), id, r#type, function, extra_content: None }
    }

    /// What its maker wants back with a call.
    pub fn sealed(at: usize, seal: &Seal) -> Self {
        // The SDK takes no piece without a function.
        let function = Some(FunctionOut { name: None, arguments: "" });
        let extra_content = Some(Extra::of(seal));
        Self { index: Some(at), id: None, r#type: None, function, extra_content }
    }

    /// A whole call.
    pub fn whole(id: &'a str, name: &'a str, arguments: &'a str, seal: Option<&Seal>) -> Self {
        Self {
            index: None,
            id: Some(id),
            r#type: Some("function"),
            function: Some(FunctionOut { name: Some(name), arguments }),
            extra_content: seal.map(Extra::of),
        }
    }
}

/// A source of what is said.
#[derive(Serialize)]
pub struct AnnotationOut<'a> {
    /// Its number, in a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    r#type: &'static str,
    url_citation: UrlCitation<'a>,
}

#[derive(Serialize)]
struct UrlCitation<'a> {
    start_index: u64,
    end_index: u64,
    title: &'a str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

impl<'a> AnnotationOut<'a> {
    /// The dialect requires every field but the quote; 0 to 0 says that the place is not known.
    pub fn of(citation: &'a Citation, index: Option<u32>) -> Self {
        let (start_index, end_index) = citation.span.unwrap_or_default();
        let url_citation = UrlCitation {
            start_index,
            end_index,
            title: citation.title.as_deref().unwrap_or_default(),
            url: citation.url.as_deref().unwrap_or_default(),
            content: citation.quote.as_deref(),
        };
        Self { index, r#type: "url_citation", url_citation }
    }
}

/// A picture that the model made, as OpenRouter gives it.
#[derive(Serialize)]
pub struct ImageOut {
    /// Its number, in a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    r#type: &'static str,
    image_url: Url,
}

#[derive(Serialize)]
struct Url {
    url: String,
}

impl ImageOut {
    /// A picture in the answer itself.
    pub fn of(mime: &str, data: &str, index: Option<u32>) -> Self {
        let url = format!("data:{mime};base64,{data}");
        Self { index, r#type: "image_url", image_url: Url { url } }
    }
}

/// Sound that the model made.
#[derive(Default, Serialize)]
pub struct AudioOut<'a> {
    /// Its id, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a str>,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<&'a str>,
    /// Until when the provider keeps it; we keep none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

impl AudioOut<'_> {
    /// Nothing but its id.
    pub fn piece(answer: &str) -> Self {
        Self { id: Some(format!("audio_{answer}")), ..Self::default() }
    }
}
