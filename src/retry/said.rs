//! Whether an answer says anything yet, and whether it says anything at all.

use crate::chat::Answer;
use crate::chat::ChatEvent;
use crate::chat::Choice;
use crate::chat::Stop;

/// Whether an event is something that an application may already have acted on.
///
/// Ids, roles, usage and how an answer ended are not: nothing is lost if they are never told.
pub fn is_content(event: &ChatEvent) -> bool {
    match event {
        ChatEvent::Text { text, .. }
        | ChatEvent::Reasoning { text, .. }
        | ChatEvent::Refusal { text, .. }
        | ChatEvent::Transcript { text, .. } => !text.is_empty(),
        ChatEvent::Logprobs { tokens, .. } => !tokens.is_empty(),
        ChatEvent::Seal { .. }
        | ChatEvent::ToolCall { .. }
        | ChatEvent::Citation { .. }
        | ChatEvent::Media { .. }
        | ChatEvent::Other { .. }
        | ChatEvent::Embedding { .. } => true,
        ChatEvent::Start { .. }
        | ChatEvent::Finish { .. }
        | ChatEvent::Usage(_)
        | ChatEvent::Error(_)
        | ChatEvent::Done => false,
    }
}

/// Whether an answer claims to be finished and holds nothing.
///
/// One that was withheld, reached its limit or paused holds nothing for a reason, and one that
/// counts tokens was made by a model that had nothing to say: asked again it would say it again.
pub fn is_empty(answer: &Answer) -> bool {
    let made = answer.usage.and_then(|usage| usage.output_tokens).unwrap_or(0);
    made == 0 && answer.embeddings.is_empty() && answer.choices.iter().all(holds_nothing)
}

fn holds_nothing(choice: &Choice) -> bool {
    let is_plain = matches!(choice.stop, Some(Stop::Stop | Stop::ToolCalls))
        || (choice.stop.is_none() && choice.finish.is_none());
    is_plain
        && choice.said().trim().is_empty()
        && choice.reasoning.is_empty()
        && choice.tool_calls.is_empty()
        && choice.logprobs.is_empty()
        && choice.citations.is_empty()
        && choice.media.is_empty()
        && choice.seals.is_empty()
        && choice.others.is_empty()
}

#[cfg(test)]
mod tests {
    use super::is_empty;
    use crate::chat::DialectName;
    use crate::wire;

    fn says_nothing(choice: &str, usage: &str) -> bool {
        let body = format!("{{\"id\":\"1\",\"choices\":[{choice}]{usage}}}");
        let answer = wire::fold(DialectName::OpenAi.dialect(), false, [body.as_bytes()]);
        assert!(answer.is_whole(), "{body}: {answer:?}");
        is_empty(&answer)
    }

    #[test]
    fn only_an_answer_without_a_reason_to_be_empty_is_empty() {
        let message = |content: &str, finish: &str| {
            format!("{{\"index\":0,\"message\":{{{content}}},\"finish_reason\":\"{finish}\"}}")
        };
        let call = r#""tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]"#;
        for (content, finish, expected) in [
            (r#""content":"""#, "stop", true),
            (r#""content":" \n""#, "stop", true),
            (r#""content":null"#, "tool_calls", true),
            (r#""content":"a""#, "stop", false),
            (r#""content":null,"refusal":"no""#, "stop", false),
            (r#""content":null,"reasoning_content":"hm""#, "stop", false),
            (call, "tool_calls", false),
            (r#""content":"""#, "length", false),
            (r#""content":"""#, "content_filter", false),
        ] {
            assert_eq!(says_nothing(&message(content, finish), ""), expected, "{content} {finish}");
        }
        let nothing = message(r#""content":"""#, "stop");
        assert!(says_nothing(&nothing, r#","usage":{"prompt_tokens":3,"completion_tokens":0}"#));
        assert!(!says_nothing(&nothing, r#","usage":{"prompt_tokens":3,"completion_tokens":2}"#));
    }
}
