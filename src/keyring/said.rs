//! What an answer says of the key that was sent with its request.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use crate::chat::ProviderError;
use crate::keyring::Outcome;
use crate::wire::openai::failure::provider_error;

/// Classes and codes of an account without money, in any dialect.
const UNPAID: &[&str] =
    &["billing_error", "billing_hard_limit_reached", "billing_not_active", "insufficient_quota"];

/// How Anthropic begins to say the same, as a request that is not valid.
const UNPAID_WORDS: &str = "Your credit balance is too low";

/// How Google's reasons begin that find fault with the key, as a request that is not valid:
/// <https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto>.
const WRONG_KEY: &str = "API_KEY_";

/// Whether it takes the body to tell what an answer with this status says of the key.
pub fn is_in_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::TOO_MANY_REQUESTS)
}

/// What an answer says of the key; nothing, when it is about something else.
///
/// `asked` is how long its headers ask to wait, `body` the beginning of it where
/// [`is_in_body`] says so.
pub fn outcome(status: StatusCode, asked: Option<Duration>, body: &[u8]) -> Option<Outcome> {
    let (is_wrong, error) = read(body);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
            Some(Outcome::Refused)
        }
        _ if is_in_body(status) && (is_wrong || is_unpaid(&error)) => Some(Outcome::Refused),
        StatusCode::TOO_MANY_REQUESTS => {
            let told = error.retry_after_ms.map(Duration::from_millis);
            Some(Outcome::Limited(asked.or(told)))
        }
        status if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS => {
            Some(Outcome::Good)
        }
        _ => None,
    }
}

/// Whether an account has no money, so that its key is refused until somebody pays.
pub fn is_unpaid(error: &ProviderError) -> bool {
    let words = [&error.kind, &error.code].into_iter().flatten();
    let is_said = words.into_iter().any(|word| UNPAID.contains(&word.as_str()));
    is_said || error.message.starts_with(UNPAID_WORDS)
}

/// Whether the key is found at fault by name, and what else is said.
fn read(body: &[u8]) -> (bool, ProviderError) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Default::default() };
    // Google wraps some errors in a list of one.
    let error = body.get(0).unwrap_or(&body).get("error");
    let details = error.and_then(|error| error.get("details")?.as_array());
    let mut reasons = details.into_iter().flatten().filter_map(|detail| detail.get("reason"));
    let is_wrong =
        reasons.any(|reason| reason.as_str().is_some_and(|it| it.starts_with(WRONG_KEY)));
    (is_wrong, provider_error(&body))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use serde_json::json;

    use super::outcome;
    use crate::keyring::Outcome;

    #[test]
    fn a_refusal_of_the_key_is_told_from_one_of_the_request_in_every_dialect() {
        let google = |status: &str, detail| json!({"error": {"code": 400, "message": "m", "status": status, "details": [detail]}});
        let wrong = json!({"@type": "ErrorInfo", "reason": "API_KEY_INVALID"});
        let openai = |kind: &str, code: &str| json!({"error": {"message": "m", "type": kind, "param": null, "code": code}});
        let anthropic = |message: &str| {
            let error = json!({"type": "invalid_request_error", "message": message});
            json!({"type": "error", "error": error})
        };
        let limited = |ms| Some(Outcome::Limited(Some(Duration::from_millis(ms))));
        for (status, body, expected) in [
            (400, google("INVALID_ARGUMENT", wrong.clone()), Some(Outcome::Refused)),
            (400, json!([google("INVALID_ARGUMENT", wrong.clone())]), Some(Outcome::Refused)),
            (400, google("INVALID_ARGUMENT", json!({"reason": "FIELD_INVALID"})), None),
            (404, google("NOT_FOUND", wrong), None),
            (429, google("RESOURCE_EXHAUSTED", json!({"retryDelay": "7s"})), limited(7_000)),
            (429, openai("insufficient_quota", "insufficient_quota"), Some(Outcome::Refused)),
            (429, openai("billing_not_active", ""), Some(Outcome::Refused)),
            (429, openai("requests", "rate_limit_exceeded"), Some(Outcome::Limited(None))),
            (400, openai("invalid_request_error", "billing_hard_limit_reached"), {
                Some(Outcome::Refused)
            }),
            (400, openai("invalid_request_error", "context_length_exceeded"), None),
            (
                400,
                anthropic("Your credit balance is too low to access the API."),
                Some(Outcome::Refused),
            ),
            (400, anthropic("messages.0: 'Your credit balance is too low'"), None),
            (400, json!("no error at all"), None),
            (401, json!({}), Some(Outcome::Refused)),
            (500, openai("insufficient_quota", ""), None),
        ] {
            let code = StatusCode::from_u16(status).unwrap();
            let said = outcome(code, None, body.to_string().as_bytes());
            assert_eq!(said, expected, "{status}: {body}");
        }
        let asked = Some(Duration::from_secs(3));
        let busy = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(outcome(busy, asked, b"busy {"), limited(3_000), "no JSON");
    }
}
