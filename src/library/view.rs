//! A stored exchange as it is shown: a row of a list, or everything about one.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chat::Answer;
use crate::chat::DialectName;
use crate::chat::request::EmbedInput;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::key;
use crate::library;
use crate::library::line::Line;
use crate::library::line::Piece;
use crate::store::exchange::Exchange;
use crate::store::exchange::Head;
use crate::wire;

/// The fewest hex digits of an id that are shown.
const SHORT: usize = 8;

/// The longest beginning of a question that is shown, characters.
const QUESTION: usize = 80;

/// One exchange in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub id: key::ExchangeId,
    /// As much of its name as is needed to tell it from every other.
    pub short_id: String,
    /// The id of the request.
    pub request_id: String,
    /// The key of its answer.
    pub key: key::CacheKey,
    /// When it was answered, Unix milliseconds.
    pub answered_ms: i64,
    /// The model asked for.
    pub model: String,
    /// Who answered.
    pub target: String,
    /// The request's dialect.
    pub dialect: String,
    /// `experiment=variant`.
    pub assigned: Option<String>,
    /// HTTP status.
    pub status: u16,
    /// How it ended.
    pub ended: String,
    /// Whether it was asked for as a stream.
    pub stream: bool,
    /// Tokens of the request.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer.
    pub output_tokens: Option<u64>,
    /// Billionths of a dollar.
    pub cost_nano_usd: Option<u64>,
    /// Until the first piece, microseconds.
    pub first_us: u64,
    /// Until the end, microseconds.
    pub took_us: u64,
    /// Until when the cache may serve it, Unix milliseconds; 0 when it may not.
    pub fresh_until_ms: i64,
    /// Why it may not.
    pub not_served: Option<String>,
    /// The rules of redaction that changed what is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    /// The first words of what was asked.
    pub question: String,
}

/// Everything about one exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detail {
    /// Every fact: times, target, usage, cost.
    pub facts: Head,
    /// The request as the application sent it.
    pub request: Box<RawValue>,
    /// What the answer says.
    pub answer: Answer,
    /// How the answer came.
    pub timing: Timing,
    /// Why it is stored under its key.
    pub keyed: Keyed,
    /// The provider's bytes, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<Piece>>,
}

/// How an answer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Until the first piece, milliseconds.
    pub first_ms: f64,
    /// Until the end, milliseconds.
    pub took_ms: f64,
    /// Pieces of the body.
    pub frames: usize,
    /// The longest pause between two pieces, milliseconds.
    pub longest_gap_ms: f64,
    /// Bytes of the body.
    pub bytes: usize,
}

/// What the key of an answer is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyed {
    /// The version of the key's rules.
    pub version: u32,
    /// The half of the key that prompt, target and variant decide.
    pub prompt: String,
    /// The half that the credential decides, too.
    pub tenant: String,
    /// Each thing that counts, in words.
    pub counts: Vec<String>,
    /// Fields of this request that do not count.
    pub does_not_count: Vec<String>,
    /// What the cache does with it.
    pub served: String,
}

impl Row {
    /// The row of an exchange, with the shortest of names.
    pub fn of(exchange: &Exchange) -> Self {
        let head = &exchange.head;
        Self {
            id: head.id,
            short_id: head.id.to_string().chars().take(SHORT).collect(),
            request_id: head.request_id.clone(),
            key: head.key,
            answered_ms: head.answered_ms,
            model: head.asked.model.clone(),
            target: head.target.clone(),
            dialect: head.asked.dialect.clone(),
            assigned: head.assigned.clone(),
            status: head.status,
            ended: head.ended.clone(),
            stream: head.asked.stream,
            input_tokens: head.usage.and_then(|usage| usage.input_tokens),
            output_tokens: head.usage.and_then(|usage| usage.output_tokens),
            cost_nano_usd: head.cost_nano_usd,
            first_us: head.first_us,
            took_us: head.took_us,
            fresh_until_ms: head.fresh_until_ms,
            not_served: head.not_served.clone(),
            redacted: head.redacted.clone(),
            question: question(exchange),
        }
    }

    /// Makes the short name longer than what it shares with a neighbour's.
    pub fn lengthen(&mut self, shared: usize) {
        if shared >= self.short_id.len() {
            self.short_id = self.id.to_string().chars().take(shared + 1).collect();
        }
    }
}

impl Detail {
    /// Everything, with the provider's bytes if they are wanted.
    pub fn of(exchange: &Exchange, with_frames: bool) -> Self {
        let line = Line::of(exchange, true);
        Self {
            facts: exchange.head.clone(),
            request: line.request,
            answer: answer(exchange),
            timing: Timing::of(exchange),
            keyed: Keyed::of(exchange),
            frames: with_frames.then_some(line.frames),
        }
    }
}

impl Timing {
    fn of(exchange: &Exchange) -> Self {
        let ms = |us: u64| us as f64 / 1e3;
        let frames = &exchange.frames;
        let gaps = frames.windows(2).map(|pair| match pair {
            [a, b] => b.at_us.saturating_sub(a.at_us),
            _ => 0,
        });
        Self {
            first_ms: ms(exchange.head.first_us),
            took_ms: ms(exchange.head.took_us),
            frames: frames.len(),
            longest_gap_ms: ms(gaps.max().unwrap_or(0)),
            bytes: frames.iter().map(|frame| frame.bytes.len()).sum(),
        }
    }
}

impl Keyed {
    fn of(exchange: &Exchange) -> Self {
        let head = &exchange.head;
        let text = head.key.to_string();
        let (prompt, tenant) = text.split_at(text.len() / 2);
        let fields: Vec<String> = match serde_json::from_slice(&exchange.request) {
            Ok(Value::Object(body)) => body.into_iter().map(|(name, _)| name).collect(),
            _ => Vec::new(),
        };
        let is_out = |name: &String| uncounted_fields().any(|out| out == name);
        let (out, fields): (Vec<String>, Vec<String>) = fields.into_iter().partition(is_out);
        let mut counts = vec![
            format!("the fields of the request: {}", fields.join(", ")),
            format!("the target {}", head.target),
        ];
        counts.extend(head.assigned.iter().map(|assigned| format!("the variant {assigned}")));
        counts.extend(head.asked.query.iter().map(|query| format!("the URL's query {query}")));
        counts.push("whose credential it was, except in replay mode".to_owned());
        let served = match (&head.not_served, head.fresh_until_ms) {
            (Some(why), _) => format!("not served: {why}"),
            (None, 0) => "not served".to_owned(),
            (None, until) => format!("served until {}", moment(until)),
        };
        let (prompt, tenant) = (prompt.to_owned(), tenant.to_owned());
        let version = key::KEY_VERSION;
        Self { version, prompt, tenant, counts, does_not_count: out, served }
    }
}

/// Top-level fields that do not make an answer another one.
pub fn uncounted_fields() -> impl Iterator<Item = &'static str> {
    key::NOT_IN_KEY.iter().map(|(name, _)| *name)
}

/// A moment as people write it, UTC.
pub fn moment(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms);
    time.map_or_else(|_| ms.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// What the stored answer says.
pub fn answer(exchange: &Exchange) -> Answer {
    let dialect = DialectName::parse(&exchange.head.dialect).unwrap_or(DialectName::OpenAi);
    let pieces = exchange.frames.iter().map(|frame| &frame.bytes[..]);
    wire::fold(dialect.dialect(), exchange.head.is_stream, pieces)
}

/// The first words of the last thing a person said.
pub fn question(exchange: &Exchange) -> String {
    let read = library::asked(exchange).and_then(|(head, dialect)| dialect.read(&head));
    let text = read.ok().and_then(|request| last_words(&request)).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(QUESTION / 2).collect();
    words.join(" ").chars().take(QUESTION).collect()
}

fn last_words(request: &Request) -> Option<String> {
    let users = request.messages.iter().rev().filter(|message| message.role == Role::User);
    let texts = users.flat_map(|message| &message.parts).find_map(|part| match &part.kind {
        PartKind::Text(text) => Some(text.clone()),
        _ => None,
    });
    texts.or_else(|| match request.embed.as_ref()?.inputs.first()? {
        EmbedInput::Text(text) => Some(text.clone()),
        EmbedInput::Tokens(tokens) => Some(format!("{} tokens", tokens.len())),
    })
}
