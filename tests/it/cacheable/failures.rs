//! Failures that are served again for a short time, and those that never are.

use super::DialectName;
use super::ProviderError;
use super::json;
use super::recordings;
use super::wire;
use super::would_repeat;
use DialectName::Anthropic;
use DialectName::Cohere;
use DialectName::Converse;
use DialectName::Embeddings;
use DialectName::Gemini;
use DialectName::OpenAi;
use DialectName::Responses;

fn told(dialect: DialectName, body: &str) -> ProviderError {
    wire::fold(dialect.dialect(), false, [body.as_bytes()]).error.unwrap()
}

/// A failure in the shape of each provider.
fn shaped(dialect: DialectName, kind: &str, code: &str, message: &str) -> String {
    let code = (!code.is_empty()).then_some(code);
    match dialect {
        Anthropic => json!({"type": "error", "error": {"type": kind, "message": message}}),
        Gemini => json!({"error": {"code": 400, "message": message, "status": kind}}),
        Cohere => json!({"id": "1", "message": message}),
        Converse => json!({"__type": kind, "message": message}),
        _ => json!({"error": {"message": message, "type": kind, "param": null, "code": code}}),
    }
    .to_string()
}

const INVALID: &str = "invalid_request_error";

#[test]
fn a_failure_repeats_itself_when_the_request_is_at_fault() {
    for (dialect, status, kind, code, message) in [
        (
            OpenAi,
            400,
            INVALID,
            "context_length_exceeded",
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 200000 tokens.",
        ),
        (
            OpenAi,
            404,
            INVALID,
            "model_not_found",
            "The model `gpt-9` does not exist or you do not have access to it.",
        ),
        (OpenAi, 400, INVALID, "unsupported_parameter", "Unsupported parameter: 'x'."),
        (
            OpenAi,
            400,
            INVALID,
            "",
            "Invalid schema for response_format 'r': In context=(), 'additionalProperties' is required to be supplied and to be false.",
        ),
        (OpenAi, 400, INVALID, "string_above_max_length", "Invalid 'user': string too long."),
        (OpenAi, 400, INVALID, "", "Unrecognized request argument supplied: foo"),
        (OpenAi, 422, "invalid", "", "Field required: messages"),
        (Responses, 400, INVALID, "unknown_parameter", "Unknown parameter: 'inputt'."),
        (Anthropic, 400, INVALID, "", "prompt is too long: 208310 tokens > 200000 maximum"),
        (
            Anthropic,
            400,
            INVALID,
            "",
            "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet",
        ),
        (Anthropic, 400, INVALID, "", "messages.0.content: Field required"),
        (Anthropic, 400, INVALID, "", "foo: Extra inputs are not permitted"),
        (Anthropic, 404, "not_found_error", "", "model: claude-sonet-4-5"),
        (Anthropic, 413, "request_too_large", "", "Request exceeds the maximum size"),
        (
            Gemini,
            400,
            "INVALID_ARGUMENT",
            "",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        ),
        (
            Gemini,
            404,
            "NOT_FOUND",
            "",
            "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent.",
        ),
        (
            Gemini,
            400,
            "INVALID_ARGUMENT",
            "",
            "Invalid JSON payload received. Unknown name \"foo\": Cannot find field.",
        ),
        (
            Cohere,
            400,
            "",
            "",
            "too many tokens: total number of tokens in the prompt cannot exceed 128000",
        ),
        (
            Cohere,
            404,
            "",
            "",
            "model 'command-z' not found, make sure the correct model ID was used",
        ),
        (Converse, 400, "ValidationException", "", "The provided model identifier is invalid."),
        (
            Converse,
            400,
            "ValidationException",
            "",
            "The model returned the following errors: Input is too long for requested model.",
        ),
        (
            Converse,
            400,
            "ValidationException",
            "",
            "Malformed input request: #/inferenceConfig: extraneous key [x] is not permitted, please reformat your input and try again.",
        ),
    ] {
        let error = told(dialect, &shaped(dialect, kind, code, message));
        assert!(would_repeat(status, &error), "{dialect:?} {status} {error:?}");
        for status in [200, 401, 402, 403, 408, 409, 429, 500, 502, 503, 529] {
            assert!(!would_repeat(status, &error), "{dialect:?} {status} {error:?}");
        }
    }
}

#[test]
fn a_failure_about_the_account_the_service_or_a_filter_is_never_served_again() {
    for (dialect, status, kind, code, message) in [
        (
            OpenAi,
            400,
            "invalid_request_error",
            "billing_hard_limit_reached",
            "Billing hard limit has been reached",
        ),
        (
            OpenAi,
            400,
            "insufficient_quota",
            "insufficient_quota",
            "You exceeded your current quota, which must be raised.",
        ),
        (OpenAi, 400, INVALID, "content_policy_violation", "Your request was rejected."),
        (
            OpenAi,
            400,
            INVALID,
            "invalid_prompt",
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
        ),
        (
            OpenAi,
            400,
            "",
            "content_filter",
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        ),
        (
            OpenAi,
            404,
            INVALID,
            "DeploymentNotFound",
            "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.",
        ),
        (
            OpenAi,
            400,
            INVALID,
            "unsupported_value",
            "Your organization must be verified to stream this model.",
        ),
        (
            OpenAi,
            400,
            INVALID,
            "tool_use_failed",
            "Failed to call a function: parameters did not match schema, 'name' is required",
        ),
        (
            OpenAi,
            400,
            INVALID,
            "unsupported_country_region_territory",
            "Country, region, or territory not supported",
        ),
        (OpenAi, 400, INVALID, "invalid_image_url", "Timeout while downloading the image."),
        (
            Responses,
            400,
            INVALID,
            "previous_response_not_found",
            "Previous response with id 'resp_1' not found.",
        ),
        (
            Anthropic,
            400,
            INVALID,
            "",
            "Your credit balance is too low to access the Anthropic API.",
        ),
        (Anthropic, 400, INVALID, "", "This organization has been disabled."),
        (Anthropic, 400, INVALID, "", "Output blocked by content filtering policy"),
        (
            Anthropic,
            400,
            INVALID,
            "",
            "You have reached your specified API usage limits. You will regain access on 2026-01-01.",
        ),
        (Gemini, 400, "INVALID_ARGUMENT", "", "API key not valid. Please pass a valid API key."),
        (Gemini, 400, "INVALID_ARGUMENT", "", "API key expired. Please renew the API key."),
        (Gemini, 400, "FAILED_PRECONDITION", "", "User location is not supported for the API use."),
        (
            Gemini,
            400,
            "FAILED_PRECONDITION",
            "",
            "Gemini API free tier is not available in your country. Please enable billing.",
        ),
        (
            Converse,
            400,
            "ValidationException",
            "",
            "Your account is not authorized to invoke this API operation.",
        ),
        (Converse, 400, "ThrottlingException", "", "The value must be lower"),
        (Cohere, 400, "", "", "invalid api token"),
        // Nothing is known of these.
        (OpenAi, 400, "", "", "bad request"),
        (OpenAi, 404, "", "", "404 page not found"),
        (Anthropic, 400, INVALID, "", "Error"),
    ] {
        let error = told(dialect, &shaped(dialect, kind, code, message));
        assert!(!would_repeat(status, &error), "{dialect:?} {error:?}");
    }
    let mut later = told(OpenAi, &shaped(OpenAi, INVALID, "model_not_found", "gone"));
    assert!(would_repeat(404, &later));
    later.retry_after_ms = Some(1);
    assert!(!would_repeat(404, &later), "what tells when to come back passes");
}

/// The recorded failures that do not repeat themselves: a tool call the model got wrong, a quota, a
/// file that could not be read at the time.
const PASSING: &[&str] = &[
    "groq/chat/p-test_tool_use_failed_error.response.json",
    "gemini/generate_content/v-google-429-retry-info.response.json",
    "vertex/generate_content/p-test_model_sees_multiple_images-google_vertex-2.response.json",
];

#[test]
fn of_the_recorded_failures_those_that_repeat_are_known() {
    let apis = [
        ("chat", OpenAi),
        ("responses", Responses),
        ("messages", Anthropic),
        ("generate_content", Gemini),
        ("completions", DialectName::Completions),
        ("embeddings", Embeddings),
        ("cohere_v2_chat", Cohere),
        ("converse", Converse),
    ];
    let (mut seen, mut passing) = (0, 0);
    for (api, dialect) in apis {
        for recording in recordings::of_api(api).unwrap_or_default() {
            if recording.status == 200 {
                continue;
            }
            let error = recordings::fold(dialect, &recording, &[&recording.bytes]).error.unwrap();
            let passes = PASSING.contains(&recording.id.as_str());
            let repeats = would_repeat(recording.status, &error);
            assert_eq!(repeats, !passes, "{}: {error:?}", recording.id);
            (seen, passing) = (seen + 1, passing + usize::from(passes));
        }
    }
    assert!(seen == 0 || (seen >= 19 && passing == PASSING.len()), "{seen} {passing}");
}
