//! What a request asks in words that all dialects share, as bytes.
//!
//! Every struct is taken apart and every enum matched without a rest, so that a new field does not
//! compile until somebody has decided whether it counts. Values are tagged or have a fixed place,
//! and lists begin with their length: two requests never have the same bytes.

use serde_json::Map;
use serde_json::Value;

use crate::chat::Maker;
use crate::chat::Seal;
use crate::chat::request::Effort;
use crate::chat::request::Embed;
use crate::chat::request::EmbedInput;
use crate::chat::request::Format;
use crate::chat::request::Message;
use crate::chat::request::Part;
use crate::chat::request::PartKind;
use crate::chat::request::Request;
use crate::chat::request::Role;
use crate::chat::request::Sampling;
use crate::chat::request::Source;
use crate::chat::request::Tool;
use crate::chat::request::ToolChoice;
use crate::key::json;

/// The request's bytes; `None` if it holds a piece that only its own dialect knows.
///
/// Its spelling is not looked at: the caller makes sure that it says nothing.
pub fn bytes(request: &Request) -> Option<Vec<u8>> {
    let mut words = Words::default();
    words.request(request);
    (!words.is_own).then_some(words.out)
}

#[derive(Default)]
struct Words {
    out: Vec<u8>,
    /// Something was met that only the request's own dialect knows.
    is_own: bool,
}

impl Words {
    fn request(&mut self, request: &Request) {
        let Request {
            // Whoever says the same asks the same.
            dialect: _,
            // The key holds the model that is really called.
            model: _,
            // An answer is stored once and served in either form.
            stream: _,
            stream_usage: _,
            messages,
            tools,
            tool_choice,
            parallel_tools,
            format,
            reasoning,
            sampling,
            end_user,
            metadata,
            embed,
            rest,
            // Written out above: the caller's part.
            spelling: _,
        } = request;
        self.list(messages, Self::message);
        self.list(tools, Self::tool);
        self.option(tool_choice.as_ref(), Self::tool_choice);
        self.option(parallel_tools.as_ref(), Self::flag);
        self.option(format.as_ref(), Self::format);
        self.option(reasoning.as_ref(), Self::effort);
        self.sampling(sampling);
        self.option(end_user.as_ref(), Self::text);
        self.option(metadata.as_ref(), Self::json);
        self.option(embed.as_ref(), Self::embed);
        self.rest(rest);
    }

    fn message(&mut self, message: &Message) {
        let Message { role, parts, name, rest } = message;
        self.tag(match role {
            Role::System => 1,
            Role::Developer => 2,
            Role::User => 3,
            Role::Assistant => 4,
            Role::Tool => 5,
        });
        self.list(parts, Self::part);
        self.option(name.as_ref(), Self::text);
        self.rest(rest);
    }

    fn part(&mut self, part: &Part) {
        let Part { kind, rest } = part;
        self.rest(rest);
        match kind {
            PartKind::Text(text) => self.tagged(1, |words| words.text(text)),
            PartKind::Image { source, detail } => self.tagged(2, |words| {
                words.source(source);
                words.option(detail.as_ref(), Self::text);
            }),
            PartKind::Audio(source) => self.tagged(3, |words| words.source(source)),
            PartKind::Video(source) => self.tagged(4, |words| words.source(source)),
            PartKind::File { source, name } => self.tagged(5, |words| {
                words.source(source);
                words.option(name.as_ref(), Self::text);
            }),
            PartKind::Reasoning { text, seal } => self.tagged(6, |words| {
                words.text(text);
                words.option(seal.as_ref(), Self::seal);
            }),
            PartKind::Hidden(seal) => self.tagged(7, |words| words.seal(seal)),
            PartKind::Refusal(text) => self.tagged(8, |words| words.text(text)),
            PartKind::ToolCall { id, name, arguments, seal } => self.tagged(9, |words| {
                words.option(id.as_ref(), Self::text);
                words.text(name);
                words.arguments(arguments);
                words.option(seal.as_ref(), Self::seal);
            }),
            PartKind::ToolResult { call_id, name, parts, is_error } => self.tagged(10, |words| {
                words.option(call_id.as_ref(), Self::text);
                words.option(name.as_ref(), Self::text);
                words.list(parts, Self::part);
                words.flag(is_error);
            }),
            PartKind::Own(_) => self.is_own = true,
        }
    }

    /// Some dialects have an object here and some its text; a text that is more than the object,
    /// by its spaces for instance, counts as it is.
    fn arguments(&mut self, text: &String) {
        match serde_json::from_str::<Value>(text) {
            Ok(value) if is_compact(&value, text) => {
                self.tagged(1, |words| words.json(&value));
            }
            _ => self.tagged(2, |words| words.text(text)),
        }
    }

    fn source(&mut self, source: &Source) {
        match source {
            Source::Inline { mime, data } => self.tagged(1, |words| {
                words.text(mime);
                words.text(data);
            }),
            Source::Url { url, mime } => self.tagged(2, |words| {
                words.text(url);
                words.option(mime.as_ref(), Self::text);
            }),
            Source::Id(id) => self.tagged(3, |words| words.text(id)),
        }
    }

    fn seal(&mut self, seal: &Seal) {
        let Seal { by, data } = seal;
        self.tag(match by {
            Maker::Anthropic => 1,
            Maker::Gemini => 2,
            Maker::OpenAi => 3,
        });
        self.text(data);
    }

    fn tool(&mut self, tool: &Tool) {
        match tool {
            Tool::Function { name, description, parameters, strict, rest } => {
                self.text(name);
                self.option(description.as_ref(), Self::text);
                self.option(parameters.as_ref(), Self::json);
                self.option(strict.as_ref(), Self::flag);
                self.rest(rest);
            }
            Tool::Own(_) => self.is_own = true,
        }
    }

    fn tool_choice(&mut self, choice: &ToolChoice) {
        match choice {
            ToolChoice::Auto => self.tag(1),
            ToolChoice::None => self.tag(2),
            ToolChoice::Required => self.tag(3),
            ToolChoice::Named(name) => self.tagged(4, |words| words.text(name)),
            ToolChoice::Own(_) => self.is_own = true,
        }
    }

    fn format(&mut self, format: &Format) {
        match format {
            Format::Json => self.tag(1),
            Format::Schema { name, description, schema, strict } => self.tagged(2, |words| {
                words.option(name.as_ref(), Self::text);
                words.option(description.as_ref(), Self::text);
                words.json(schema);
                words.option(strict.as_ref(), Self::flag);
            }),
            Format::Own(_) => self.is_own = true,
        }
    }

    fn effort(&mut self, effort: &Effort) {
        let Effort { enabled, level, budget_tokens, summary } = effort;
        self.option(enabled.as_ref(), Self::flag);
        self.option(level.as_ref(), Self::text);
        self.option(budget_tokens.as_ref(), Self::count);
        self.option(summary.as_ref(), Self::text);
    }

    fn sampling(&mut self, sampling: &Sampling) {
        let Sampling {
            max_tokens,
            temperature,
            top_p,
            top_k,
            stop,
            seed,
            frequency_penalty,
            presence_penalty,
            choices,
            logprobs,
        } = sampling;
        self.option(max_tokens.as_ref(), Self::count);
        self.option(temperature.as_ref(), Self::number);
        self.option(top_p.as_ref(), Self::number);
        self.option(top_k.as_ref(), Self::count);
        self.list(stop, Self::text);
        self.option(seed.as_ref(), |words, seed| json::add_integer((*seed).into(), &mut words.out));
        self.option(frequency_penalty.as_ref(), Self::number);
        self.option(presence_penalty.as_ref(), Self::number);
        self.option(choices.as_ref(), Self::count);
        self.option(logprobs.as_ref(), Self::count);
    }

    fn embed(&mut self, embed: &Embed) {
        let Embed { inputs, dimensions, encoding, purpose, title, is_single } = embed;
        self.list(inputs, |words, input| match input {
            EmbedInput::Text(text) => words.tagged(1, |words| words.text(text)),
            EmbedInput::Tokens(tokens) => words.tagged(2, |words| words.list(tokens, Self::count)),
        });
        self.option(dimensions.as_ref(), Self::count);
        self.option(encoding.as_ref(), Self::text);
        self.option(purpose.as_ref(), Self::text);
        self.option(title.as_ref(), Self::text);
        self.flag(is_single);
    }

    fn rest(&mut self, rest: &Map<String, Value>) {
        self.is_own |= !rest.is_empty();
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.out.extend_from_slice(&(items.len() as u64).to_le_bytes());
        items.iter().for_each(|item| each(self, item));
    }

    fn option<T>(&mut self, value: Option<&T>, each: impl FnOnce(&mut Self, &T)) {
        match value {
            None => self.tag(0),
            Some(value) => self.tagged(1, |words| each(words, value)),
        }
    }

    fn tagged(&mut self, tag: u8, write: impl FnOnce(&mut Self)) {
        self.tag(tag);
        write(self);
    }

    fn tag(&mut self, tag: u8) {
        self.out.push(tag);
    }

    #[expect(clippy::ptr_arg, reason = "the fields are strings, and these are their writers")]
    fn text(&mut self, text: &String) {
        json::add_text(text, &mut self.out);
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as the other writers")]
    fn count(&mut self, count: &u64) {
        json::add_integer((*count).into(), &mut self.out);
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as the other writers")]
    fn number(&mut self, number: &f64) {
        json::add_number(*number, &mut self.out);
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as the other writers")]
    fn flag(&mut self, value: &bool) {
        json::add_flag(*value, &mut self.out);
    }

    fn json(&mut self, value: &Value) {
        json::add(value, &mut self.out);
    }
}

/// Whether the text is the value without a space more than it needs.
fn is_compact(value: &Value, text: &str) -> bool {
    serde_json::to_string(value).is_ok_and(|compact| compact == text)
}
