//! Carries a maker's signatures through dialects that are not its own, and back unharmed.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use crate::chat::Maker;
use crate::chat::Seal;

/// Begins a seal that is not in its maker's own dialect.
const MARK: &str = "understudy-seal";

/// The seal as `own` dialect's field holds it: its maker's bytes, or marked with the maker's name.
pub fn write(seal: &Seal, own: Maker) -> String {
    if seal.by == own {
        return seal.data.clone();
    }
    let marked = format!("{MARK}:{}:{}", word(seal.by), seal.data);
    // Gemini's field holds bytes, which travel as base64.
    if own == Maker::Gemini { STANDARD.encode(marked) } else { marked }
}

/// Reads what [`write()`] wrote, or the dialect's own.
pub fn read(field: &str, own: Maker) -> Seal {
    let decoded = (own == Maker::Gemini).then(|| bytes(field)).flatten();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let marked = decoded.as_deref().unwrap_or(field).strip_prefix(MARK);
    let parts = marked.and_then(|marked| marked.strip_prefix(':')?.split_once(':'));
    match parts.and_then(|(by, data)| Some((maker(by)?, data))) {
        Some((by, data)) => Seal { by, data: data.to_owned() },
        None => Seal { by: own, data: field.to_owned() },
    }
}

/// Google's SDKs send bytes back in the alphabet for URLs, whatever they came in, and JSON that
/// Google reads may have either, padded or not.
fn bytes(field: &str) -> Option<Vec<u8>> {
    let padding = DecodePaddingMode::Indifferent;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
    let field = field.replace('-', "+").replace('_', "/");
    GeneralPurpose::new(&alphabet::STANDARD, config).decode(field).ok()
}

/// Whether a body holds a seal that [`write()`] marked.
pub fn is_in(body: &[u8]) -> bool {
    // Fifteen bytes make twenty of base64 without a rest, so the mark always begins like this.
    const ENCODED: &str = "dW5kZXJzdHVkeS1zZWFs";
    [MARK, ENCODED].iter().any(|mark| memmem::find(body, mark.as_bytes()).is_some())
}

fn word(maker: Maker) -> &'static str {
    match maker {
        Maker::Anthropic => "anthropic",
        Maker::Gemini => "gemini",
        Maker::OpenAi => "openai",
    }
}

fn maker(word: &str) -> Option<Maker> {
    [Maker::Anthropic, Maker::Gemini, Maker::OpenAi].into_iter().find(|by| self::word(*by) == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_returns_unharmed_through_every_dialect() {
        for by in [Maker::Anthropic, Maker::Gemini, Maker::OpenAi] {
            for own in [Maker::Anthropic, Maker::Gemini, Maker::OpenAi] {
                let seal = Seal { by, data: "Eo8C:+/=".to_owned() };
                let written = write(&seal, own);
                assert_eq!(read(&written, own), seal);
                assert_eq!(written == seal.data, by == own);
            }
        }
    }

    #[test]
    fn a_seal_survives_the_alphabet_of_googles_sdks() {
        let seal = Seal { by: Maker::Anthropic, data: "a~?>~??~>".to_owned() };
        let written = write(&seal, Maker::Gemini);
        let changed = written.replace('+', "-").replace('/', "_");
        assert_ne!(written, changed, "the sample has a letter that differs");
        for back in [changed.as_str(), changed.trim_end_matches('=')] {
            assert_eq!(read(back, Maker::Gemini), seal, "{back}");
        }
    }
}
