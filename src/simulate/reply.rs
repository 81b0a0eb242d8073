//! What the simulator answers, in no provider's words: each dialect writes bodies from this.

/// One answer to a request.
pub(super) struct Reply {
    pub(super) choices: Vec<Choice>,
    pub(super) prompt_tokens: usize,
    /// Price of this answer, when the persona has one.
    pub(super) cost_usd: Option<f64>,
}

/// One of the alternatives asked for.
pub(super) struct Choice {
    pub(super) text: String,
    /// Where each token of `text` ends, in bytes, in order; the last is the text's length.
    pub(super) ends: Vec<usize>,
    /// One entry per token, when log-probabilities were asked for.
    pub(super) odds: Option<Vec<TokenOdds>>,
    pub(super) calls: Vec<Call>,
    pub(super) finish: Finish,
}

/// How likely a token was, and what else might have stood there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TokenOdds {
    /// Natural logarithm of the probability.
    pub(super) logprob: f64,
    /// The likeliest tokens, likeliest first.
    pub(super) top: Vec<(String, f64)>,
}

/// A tool call.
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON text.
    pub(super) arguments: String,
}

/// Why the answer ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

/// A refusal to answer; each dialect has its own shape for it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) message: String,
    /// The request field at fault.
    pub(super) param: Option<&'static str>,
    pub(super) code: Option<&'static str>,
    pub(super) retry_after_s: Option<u64>,
}

impl Refusal {
    /// A refusal without a field, code or waiting time.
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None, retry_after_s: None }
    }

    /// Names the field at fault.
    pub(super) fn on(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    /// Adds the code programs look at.
    pub(super) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }
}

impl Reply {
    /// Tokens in all choices, tool calls included.
    pub(super) fn completion_tokens(&self) -> usize {
        self.choices.iter().map(Choice::tokens).sum()
    }
}

impl Choice {
    /// A choice that says this text and stops by itself.
    pub(super) fn saying(text: String) -> Self {
        let ends = token_ends(&text);
        Self { text, ends, odds: None, calls: Vec::new(), finish: Finish::Stop }
    }

    /// The tokens of the text, in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| self.text.get(from..*to).unwrap_or_default())
    }

    /// Cuts the text after so many tokens.
    pub(super) fn limit(&mut self, tokens: usize) {
        if tokens < self.ends.len() {
            self.ends.truncate(tokens);
            self.text.truncate(self.ends.last().copied().unwrap_or(0));
            self.finish = Finish::Length;
        }
    }

    fn tokens(&self) -> usize {
        let calls =
            self.calls.iter().map(|c| 4 + count_tokens(&c.name) + count_tokens(&c.arguments));
        self.ends.len() + calls.sum::<usize>()
    }
}

/// How many tokens the simulator bills for a text: a token is white space with up to seven
/// letters or digits after it, or up to three other characters. English prose has about
/// 4.5 bytes a token this way, close to what real tokenizers make of it.
pub(super) fn count_tokens(text: &str) -> usize {
    let mut count = 0;
    each_token(text, |_| count += 1);
    count
}

/// Where each token of the text ends; see [`count_tokens`].
pub(super) fn token_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::with_capacity(text.len() / 4 + 1);
    each_token(text, |end| ends.push(end));
    ends
}

fn each_token(text: &str, mut emit: impl FnMut(usize)) {
    #[derive(PartialEq, Clone, Copy)]
    enum Kind {
        Space,
        Word,
        Mark,
    }
    // Characters of this kind so far in the open token; a token may start with spaces.
    let mut open: Option<(Kind, usize)> = None;
    for (at, c) in text.char_indices() {
        let kind = match c {
            c if c.is_alphanumeric() => Kind::Word,
            c if c.is_whitespace() => Kind::Space,
            _ => Kind::Mark,
        };
        open = Some(match open {
            None => (kind, 1),
            Some((Kind::Space, n)) if kind == Kind::Space && n < 16 => (kind, n + 1),
            Some((Kind::Space, _)) if kind != Kind::Space => (kind, 1),
            Some((Kind::Word, n)) if kind == Kind::Word && n < 7 => (kind, n + 1),
            Some((Kind::Mark, n)) if kind == Kind::Mark && n < 3 => (kind, n + 1),
            Some(_) => {
                emit(at);
                (kind, 1)
            }
        });
    }
    if open.is_some() {
        emit(text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Finish, count_tokens};

    #[test]
    fn pieces_joined_are_the_text_and_are_counted_alike() {
        for text in
            ["", " ", "Hello, world!", "läuft:\n\n  gut — 你好世界你好世界", "a\tb```\ncode"]
        {
            let choice = Choice::saying(text.to_owned());
            assert_eq!(choice.pieces().collect::<String>(), text);
            assert_eq!(choice.pieces().count(), count_tokens(text));
            assert!(choice.pieces().all(|piece| !piece.is_empty()));
        }
    }

    #[test]
    fn a_limit_cuts_whole_tokens_and_says_so() {
        let mut choice = Choice::saying("one two three".to_owned());
        choice.limit(3);
        assert_eq!(choice.finish, Finish::Stop);
        choice.limit(2);
        assert_eq!((choice.text.as_str(), choice.finish), ("one two", Finish::Length));
    }
}
