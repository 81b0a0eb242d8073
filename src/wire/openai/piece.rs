//! The rarer pieces of a chat completion: reasoning with signatures, sources, images, sound.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::ChatEvent;
use crate::chat::Citation;
use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::Sealed;
use crate::wire::openai::detail::Detail;
use crate::wire::openai::detail::Said;
use crate::wire::openai::text::Text;
use crate::wire::seal;

/// Fields of a message that are read from their raw JSON, because most chunks lack them.
#[derive(Clone, Copy)]
pub enum Piece {
    /// `audio`.
    Audio,
    /// `annotations`.
    Annotations,
    /// `images`.
    Images,
    /// `executed_tools`.
    ExecutedTools,
}

/// What has been seen of an answer, to tell what repeats it.
#[derive(Default)]
pub struct Seen {
    /// Choices whose reasoning comes in a plain field too.
    plain: Vec<u32>,
    /// Choices with reasoning that no seal has ended.
    open: Vec<u32>,
    /// Ids of the tool calls by choice and index.
    calls: Vec<(u32, u32, String)>,
    /// How many of the sources that are listed in every chunk.
    sources: usize,
    /// How many of the tools that the provider ran.
    executed: u64,
}

impl Seen {
    /// A tool call of this id.
    pub fn call(&mut self, choice: u32, index: u32, id: Option<&str>) {
        // Some servers send the id with every piece of a call.
        let is_last = |(of, at, known): &(u32, u32, String)| {
            (*of, *at) == (choice, index) && Some(known.as_str()) == id
        };
        if let Some(id) = id
            && !self.calls.last().is_some_and(is_last)
        {
            self.calls.push((choice, index, id.to_owned()));
        }
    }
}

fn set(list: &mut Vec<u32>, choice: u32) {
    if !list.contains(&choice) {
        list.push(choice);
    }
}

/// Reasoning in a plain field.
pub fn reasoning(choice: u32, text: String, seen: &mut Seen, out: &mut Vec<ChatEvent>) {
    if !text.is_empty() {
        set(&mut seen.plain, choice);
        set(&mut seen.open, choice);
        out.push(ChatEvent::Reasoning { choice, text });
    }
}

/// Reasoning in a list, which a plain field may repeat: then only that one's words are taken, piece
/// by piece where both have the same.
pub fn details(
    raw: &RawValue,
    choice: u32,
    plain: String,
    seen: &mut Seen,
    out: &mut Vec<ChatEvent>,
) {
    let details = list::<Detail<'_>>(raw).into_iter().map(Detail::said);
    let said: Vec<Said> = details.collect();
    let words = said.iter().map(|said| match said {
        Said::Words(text, _) => text.as_str(),
        Said::Sealed(..) | Said::Unknown(_) => "",
    });
    let same = !plain.is_empty() && words.collect::<String>() == plain;
    let takes_words = same || (plain.is_empty() && !seen.plain.contains(&choice));
    if same {
        set(&mut seen.plain, choice);
    } else {
        reasoning(choice, plain, seen, out);
    }
    for said in said {
        match said {
            Said::Words(text, seal) => {
                if takes_words && !text.is_empty() {
                    set(&mut seen.open, choice);
                    out.push(ChatEvent::Reasoning { choice, text });
                }
                if let Some(seal) = seal {
                    seen.open.retain(|open| *open != choice);
                    out.push(ChatEvent::Seal { choice, on: Sealed::Reasoning, seal });
                }
            }
            Said::Sealed(seal, id) => {
                let on = place(choice, &seal, id.as_deref(), seen);
                out.push(ChatEvent::Seal { choice, on, seal });
            }
            Said::Unknown(kind) => out.push(ChatEvent::Other { choice, kind }),
        }
    }
}

/// OpenAI seals what it has summed up; Gemini a call, by its id; anything else hides.
fn place(choice: u32, seal: &Seal, id: Option<&str>, seen: &mut Seen) -> Sealed {
    if seal.by == Maker::OpenAi && seen.open.contains(&choice) {
        seen.open.retain(|open| *open != choice);
        return Sealed::Reasoning;
    }
    let call = seen.calls.iter().find(|(of, _, call)| *of == choice && Some(&**call) == id);
    call.map_or(Sealed::Hidden, |(_, index, _)| Sealed::ToolCall(*index))
}

/// A seal on a tool call.
pub fn on_call(choice: u32, index: u32, seal: Seal) -> ChatEvent {
    ChatEvent::Seal { choice, on: Sealed::ToolCall(index), seal }
}

/// Reads one of the rarer fields.
pub fn read(kind: Piece, raw: &RawValue, choice: u32, seen: &mut Seen, out: &mut Vec<ChatEvent>) {
    match kind {
        Piece::Audio => audio(raw, choice, out),
        Piece::Annotations => annotations(raw, choice, out),
        Piece::Images => images(raw, choice, out),
        Piece::ExecutedTools => executed(raw, choice, seen, out),
    }
}

/// A list whose entries are read one by one, so that a strange one costs only itself.
fn list<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Vec<T> {
    let items: Vec<&'a RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    items.into_iter().filter_map(|item| serde_json::from_str(item.get()).ok()).collect()
}

#[derive(Deserialize)]
struct Audio<'a> {
    #[serde(default, borrow)]
    transcript: Text<'a>,
    #[serde(default, borrow)]
    data: Text<'a>,
}

/// How sounds begin in base64; without a sign it is what streams hold, samples alone.
const SOUNDS: &[(&str, &str)] = &[
    ("//", "audio/mpeg"),
    ("SUQz", "audio/mpeg"),
    ("T2dnUw", "audio/ogg"),
    ("UklGR", "audio/wav"),
    ("ZkxhQ", "audio/flac"),
];

fn audio(raw: &RawValue, choice: u32, out: &mut Vec<ChatEvent>) {
    let Ok(audio) = serde_json::from_str::<Audio<'_>>(raw.get()) else { return };
    if let Some(text) = audio.transcript.some() {
        out.push(ChatEvent::Transcript { choice, text });
    }
    if let Some(data) = audio.data.some() {
        let sound = SOUNDS.iter().find(|(start, _)| data.starts_with(start));
        let mime = sound.map_or("audio/pcm", |(_, mime)| mime).to_owned();
        out.push(ChatEvent::Media { choice, mime, data });
    }
}

#[derive(Deserialize)]
struct Annotation<'a> {
    #[serde(default, borrow)]
    url_citation: Option<UrlCitation<'a>>,
}

#[derive(Deserialize)]
struct UrlCitation<'a> {
    #[serde(default, borrow)]
    url: Text<'a>,
    #[serde(default, borrow)]
    title: Text<'a>,
    #[serde(default, borrow)]
    content: Text<'a>,
    #[serde(default)]
    start_index: Option<u64>,
    #[serde(default)]
    end_index: Option<u64>,
}

fn annotations(raw: &RawValue, choice: u32, out: &mut Vec<ChatEvent>) {
    for annotation in list::<Annotation<'_>>(raw) {
        let Some(of) = annotation.url_citation else { continue };
        // 0 to 0 is how OpenRouter says that it does not know.
        let span = of.start_index.zip(of.end_index).filter(|(start, end)| start < end);
        let (url, title, quote) = (of.url.some(), of.title.some(), of.content.some());
        out.push(ChatEvent::Citation { choice, citation: Citation { url, title, quote, span } });
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Source<'a> {
    Url(String),
    Page {
        #[serde(default, borrow)]
        url: Text<'a>,
        #[serde(default, borrow)]
        title: Text<'a>,
    },
}

/// The list of sources of the whole answer; it only grows.
pub fn sources(raw: &RawValue, seen: &mut Seen, out: &mut Vec<ChatEvent>) {
    let sources: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    let known = seen.sources;
    seen.sources = known.max(sources.len());
    for source in sources.into_iter().skip(known) {
        let (url, title) = match serde_json::from_str(source.get()) {
            Ok(Source::Url(url)) => (Some(url), None),
            Ok(Source::Page { url, title }) => (url.some(), title.some()),
            Err(_) => continue,
        };
        let citation = Citation { url, title, ..Citation::default() };
        out.push(ChatEvent::Citation { choice: 0, citation });
    }
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow)]
    image_url: ImageUrl<'a>,
}

#[derive(Deserialize)]
struct ImageUrl<'a> {
    #[serde(default, borrow)]
    url: Text<'a>,
}

fn images(raw: &RawValue, choice: u32, out: &mut Vec<ChatEvent>) {
    for image in list::<Image<'_>>(raw) {
        out.push(match data_url(&image.image_url.url.text) {
            Some((mime, data)) => {
                ChatEvent::Media { choice, mime: mime.to_owned(), data: data.to_owned() }
            }
            None => ChatEvent::Other { choice, kind: "image_url".to_owned() },
        });
    }
}

/// Media type and base64 of a `data:` URL; other encodings are left as URLs.
pub fn data_url(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("data:")?.split_once(";base64,")
}

#[derive(Deserialize)]
struct Executed<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default, borrow)]
    r#type: Text<'a>,
}

/// Each is told when it begins and again with its output.
fn executed(raw: &RawValue, choice: u32, seen: &mut Seen, out: &mut Vec<ChatEvent>) {
    for (at, tool) in (0..).zip(list::<Executed<'_>>(raw)) {
        let index = tool.index.unwrap_or(at);
        if index >= seen.executed {
            seen.executed = index.saturating_add(1);
            let kind = tool.r#type.some().unwrap_or_else(|| "executed_tool".to_owned());
            out.push(ChatEvent::Other { choice, kind });
        }
    }
}

#[derive(Deserialize)]
struct Extra<'a> {
    #[serde(borrow)]
    google: Google<'a>,
}

#[derive(Deserialize)]
struct Google<'a> {
    #[serde(default, borrow)]
    thought_signature: Text<'a>,
}

/// What Google's endpoint that is compatible with OpenAI puts on a tool call.
pub fn thought_signature(raw: &RawValue) -> Option<Seal> {
    let extra: Extra<'_> = serde_json::from_str(raw.get()).ok()?;
    let text = extra.google.thought_signature;
    (!text.is_empty()).then(|| seal::read(&text.text, Maker::Gemini))
}

#[derive(Deserialize)]
struct Custom<'a> {
    #[serde(default, borrow)]
    name: Text<'a>,
    #[serde(default, borrow)]
    input: Text<'a>,
}

/// Name and input of a call whose input is plain text.
pub fn custom(raw: &RawValue) -> Option<(Option<String>, String)> {
    let custom: Custom<'_> = serde_json::from_str(raw.get()).ok()?;
    Some((custom.name.some(), custom.input.some().unwrap_or_default()))
}
