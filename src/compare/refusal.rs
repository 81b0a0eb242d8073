//! Whether an answer declines: by what its provider says, or in words.

use crate::chat::Answer;
use crate::compare::text;

/// Only the opening counts: further on an answer speaks of what others cannot do.
const OPENING: usize = 240;

/// Evened words by which models decline. Each names the help that is refused, or asks for pardon
/// and refuses, so that "I can't recommend it enough" is none.
const PHRASES: &[&str] = &[
    "as an ai language model i can't",
    "as an ai language model i cannot",
    "can't assist with that",
    "can't comply with",
    "can't fulfill that",
    "can't fulfill this",
    "can't fulfill your request",
    "can't help with that",
    "can't help you with that",
    "cannot assist with",
    "cannot comply with",
    "cannot fulfill",
    "cannot help with that",
    "cannot in good conscience",
    "cannot provide assistance with",
    "i am not able to assist",
    "i am not able to help with",
    "i am unable to assist",
    "i am unable to help",
    "i am unable to provide",
    "i can't assist",
    "i can't create content",
    "i can't help with",
    "i can't provide instructions",
    "i can't provide that",
    "i cannot assist",
    "i cannot create content",
    "i cannot help",
    "i cannot provide",
    "i must decline",
    "i won't be able to help",
    "i'm not able to assist",
    "i'm not able to help with",
    "i'm sorry but i can't",
    "i'm sorry but i cannot",
    "i'm sorry but i'm not able to",
    "i'm sorry but i'm unable to",
    "i'm sorry i can't",
    "i'm sorry i cannot",
    "i'm unable to assist",
    "i'm unable to help",
    "i'm unable to provide",
    "sorry but i can't",
    "sorry but i cannot",
    "sorry i can't help",
    // In other languages that models decline in.
    "dabei kann ich nicht helfen",
    "dabei kann ich dir leider nicht",
    "dabei kann ich ihnen leider nicht",
    "es tut mir leid aber ich kann",
    "tut mir leid dabei kann ich",
    "je ne peux pas vous aider",
    "je ne peux pas t'aider",
    "je suis désolé mais je ne peux pas",
    "lo siento pero no puedo",
    "no puedo ayudarte con",
    "no puedo ayudar con",
    "desculpe mas não posso",
    "não posso ajudar com",
    "mi dispiace ma non posso",
    "抱歉,我不能",
    "抱歉，我不能",
    "抱歉，我无法",
    "很抱歉，我无法",
    "对不起，我不能",
    "对不起，我无法",
    "申し訳ありませんが、",
    "申し訳ございませんが、",
    "죄송하지만",
];

/// Whether the model declined: any of its choices.
pub fn refuses(answer: &Answer) -> bool {
    let words = |text: &str| is_in_words(text);
    answer.refused()
        || answer.choices.iter().any(|choice| choice.tool_calls.is_empty() && words(&choice.text))
}

/// Whether a text declines in its opening. Code means that it helps.
pub fn is_in_words(text: &str) -> bool {
    if text.contains("```") {
        return false;
    }
    let opening: String = text.trim_start().chars().take(OPENING).collect();
    let opening = text::evened(&opening);
    PHRASES.iter().any(|phrase| opening.contains(phrase))
}
