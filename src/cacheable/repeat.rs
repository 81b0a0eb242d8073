//! Failures that would only repeat themselves, told from those that may pass.

use crate::chat::ProviderError;

/// Statuses of requests that are wrong in themselves.
const STATUSES: &[u16] = &[400, 404, 413, 422];

/// Classes and codes that say by themselves that the request is at fault, in small letters.
const CODES: &[&str] = &[
    "array_above_max_length",
    "array_below_min_length",
    "context_length_exceeded",
    "decimal_above_max_value",
    "decimal_below_min_value",
    "integer_above_max_value",
    "integer_below_min_value",
    "invalid_function_parameters",
    "invalid_json_schema",
    "invalid_schema",
    "invalid_type",
    "invalid_value",
    "missing_required_parameter",
    "model_not_found",
    "request_too_large",
    "string_above_max_length",
    "string_below_min_length",
    "unknown_parameter",
    "unsupported_file",
    "unsupported_parameter",
    "unsupported_value",
];

/// What sentences say when the request is at fault, in small letters.
const PHRASES: &[&str] = &[
    // Too long.
    "cannot exceed",
    "context length",
    "context window",
    "exceeds the limit",
    "exceeds the maximum",
    "input is too long",
    "prompt is too long",
    "too many input tokens",
    "too many tokens",
    "which is the maximum",
    // Not of the right form.
    "extra inputs are not permitted",
    "extraneous key",
    "field required",
    "improperly formed",
    "input should be",
    "invalid json payload",
    "invalid schema",
    "invalid type",
    "invalid value",
    "is required",
    "malformed input request",
    "missing required",
    "must be",
    "must have required property",
    "required following item",
    "unknown name",
    "unknown parameter",
    "unrecognized request argument",
    // Nobody there by that name.
    "does not exist or you do not have access to it",
    "is not found for api version",
    "model identifier is invalid",
    "make sure the correct model id",
    // Not what this model does.
    "does not support",
    "doesn't support",
    "is not supported",
    "isn't supported",
    "not supported with this model",
    "unsupported parameter",
    "unsupported value",
];

/// What is in failures that may be over soon, or concern the account and not the request, or were
/// decided by a filter whose mind may change; one of these outweighs everything else.
const MAY_PASS: &[&str] = &[
    "account",
    "api key",
    "api token",
    "api_key",
    "apikey",
    "at this time",
    "authenti",
    "balance",
    "billing",
    "blocked",
    "capacity",
    "content filter",
    "content_filter",
    "content management",
    "content policy",
    "content_policy",
    "credential",
    "credit",
    "deadline",
    "disabled",
    "download",
    "expired",
    "fetch",
    "flagged",
    "free tier",
    "guardrail",
    "harm",
    "location",
    "moderat",
    "organization",
    "overloaded",
    "payment",
    "permission",
    "please wait",
    "policy",
    "precondition",
    "quota",
    "rate limit",
    "rate_limit",
    "region",
    "responsible ai",
    "safety",
    "spend",
    "subscription",
    "temporar",
    "throttl",
    "timed out",
    "timeout",
    "tool_use_failed",
    "try again later",
    "unavailable",
    "usage limit",
    "usage_limit",
    "verified",
    "wait a moment",
];

/// Names of kinds that say which model is missing and nothing else.
const MISSING: (&str, &str) = ("not_found_error", "model: ");

/// Whether the same request would only fail in the same way again.
pub fn would_repeat(status: u16, error: &ProviderError) -> bool {
    if !STATUSES.contains(&status) || error.retry_after_ms.is_some() {
        return false;
    }
    let word = |word: &Option<String>| word.as_deref().unwrap_or_default().to_ascii_lowercase();
    let (kind, code) = (word(&error.kind), word(&error.code));
    let message = error.message.to_ascii_lowercase();
    let may_pass =
        |phrase: &&str| [&kind, &code, &message].iter().any(|text| text.contains(*phrase));
    if MAY_PASS.iter().any(may_pass) {
        return false;
    }
    CODES.iter().any(|known| *known == kind || *known == code)
        || PHRASES.iter().any(|phrase| message.contains(phrase))
        || is_missing_model(status, &kind, &message)
}

/// Anthropic says no more than `model: NAME`, Cohere and gateways `model 'NAME' not found`.
fn is_missing_model(status: u16, kind: &str, message: &str) -> bool {
    let (missing, named) = MISSING;
    let is_said = message.contains("model") && message.contains("not found");
    (kind == missing && message.starts_with(named)) || (status == 404 && is_said)
}
