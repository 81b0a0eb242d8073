//! The table of known providers and the one of what goes without saying in a dialect.
//!
//! What is here comes from each provider's own documentation and recorded traffic; what is not
//! certain is left out, because a feature that is missing here is refused or left out on the way.

use crate::chat::DialectName;
use crate::provider::Auth;
use crate::provider::Hole;
use crate::provider::Native;
use crate::provider::Row;
use crate::wire::carry::Feature;
use crate::wire::quirk::Quirks;
use crate::wire::quirk::Thinking;

const CHAT: &[DialectName] = &[DialectName::OpenAi];
const CHAT_EMBEDDINGS: &[DialectName] = &[DialectName::OpenAi, DialectName::Embeddings];
const COMPATIBLE: &[DialectName] =
    &[DialectName::OpenAi, DialectName::Completions, DialectName::Embeddings];
const CHAT_RESPONSES: &[DialectName] = &[DialectName::OpenAi, DialectName::Responses];
const ALL_OPENAI: &[DialectName] = &[
    DialectName::OpenAi,
    DialectName::Responses,
    DialectName::Completions,
    DialectName::Embeddings,
];
const GATEWAY: &[DialectName] = &[
    DialectName::OpenAi,
    DialectName::Responses,
    DialectName::Anthropic,
    DialectName::Completions,
    DialectName::Embeddings,
];
const GEMINI: &[DialectName] = &[DialectName::Gemini, DialectName::GeminiEmbeddings];

/// Takes `reasoning_effort`.
const EFFORT: Quirks = Quirks { thinking: Thinking::Effort, ..Quirks::COMPATIBLE };

/// Switches thinking on and off, and takes the reasoning of earlier turns back.
const SWITCH: Quirks = Quirks {
    thinking: Thinking::Switch,
    reasoning_history: Some("reasoning_content"),
    ..Quirks::COMPATIBLE
};

/// What is the same for most, and what every row goes on from.
const BASE: Row = Row {
    name: "",
    base_url: "",
    regions: &[],
    holes: &[],
    dialects: CHAT,
    auth: Auth::Bearer,
    key_env: &[],
    quirks: Quirks::COMPATIBLE,
};

/// Every known provider, sorted by name.
pub static PROVIDERS: &[Row] = &[
    Row {
        name: "anthropic",
        base_url: "https://api.anthropic.com",
        dialects: &[DialectName::Anthropic],
        auth: Auth::Header("x-api-key"),
        key_env: &["ANTHROPIC_API_KEY"],
        quirks: Quirks::NONE,
        ..BASE
    },
    Row {
        name: "azure",
        base_url: "https://{resource}.openai.azure.com/openai/v1",
        holes: &[Hole { name: "resource", env: &["AZURE_RESOURCE_NAME"], example: "my-resource" }],
        dialects: ALL_OPENAI,
        auth: Auth::Header("api-key"),
        key_env: &["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"],
        quirks: Quirks::NONE,
        ..BASE
    },
    Row {
        name: "bedrock",
        base_url: "https://bedrock-runtime.{region}.amazonaws.com",
        holes: &[Hole {
            name: "region",
            env: &["AWS_REGION", "AWS_DEFAULT_REGION"],
            example: "us-east-1",
        }],
        dialects: &[DialectName::Converse],
        auth: Auth::SigV4,
        key_env: &["AWS_BEARER_TOKEN_BEDROCK"],
        quirks: Quirks::NONE,
        ..BASE
    },
    Row {
        name: "cerebras",
        base_url: "https://api.cerebras.ai/v1",
        dialects: &[DialectName::OpenAi, DialectName::Completions],
        key_env: &["CEREBRAS_API_KEY"],
        quirks: Quirks {
            max_tokens: "max_completion_tokens",
            lacks: &[Feature::FrequencyPenalty, Feature::PresencePenalty],
            ..EFFORT
        },
        ..BASE
    },
    Row {
        name: "cohere",
        base_url: "https://api.cohere.com",
        dialects: &[DialectName::Cohere],
        key_env: &["CO_API_KEY", "COHERE_API_KEY"],
        quirks: Quirks::NONE,
        ..BASE
    },
    Row {
        name: "deepseek",
        base_url: "https://api.deepseek.com/v1",
        dialects: CHAT_RESPONSES,
        key_env: &["DEEPSEEK_API_KEY"],
        quirks: Quirks { json_schema: false, lacks: &[Feature::Seed], ..SWITCH },
        ..BASE
    },
    Row {
        name: "fireworks",
        base_url: "https://api.fireworks.ai/inference/v1",
        dialects: ALL_OPENAI,
        key_env: &["FIREWORKS_API_KEY"],
        quirks: Quirks { reasoning_history: Some("reasoning_content"), ..EFFORT },
        ..BASE
    },
    Row {
        name: "gemini",
        base_url: "https://generativelanguage.googleapis.com",
        dialects: GEMINI,
        auth: Auth::Header("x-goog-api-key"),
        key_env: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        quirks: Quirks::NONE,
        ..BASE
    },
    Row {
        name: "groq",
        base_url: "https://api.groq.com/openai/v1",
        dialects: CHAT_RESPONSES,
        key_env: &["GROQ_API_KEY"],
        quirks: Quirks {
            max_tokens: "max_completion_tokens",
            lacks: &[Feature::Choices, Feature::Logprobs, Feature::Name],
            ..EFFORT
        },
        ..BASE
    },
    Row {
        name: "huggingface",
        base_url: "https://router.huggingface.co/v1",
        dialects: CHAT_RESPONSES,
        key_env: &["HF_TOKEN"],
        ..BASE
    },
    Row {
        name: "litellm",
        base_url: "http://127.0.0.1:4000/v1",
        dialects: GATEWAY,
        key_env: &["LITELLM_PROXY_API_KEY", "LITELLM_API_KEY"],
        quirks: Quirks {
            developer_role: true,
            reasoning_history: Some("reasoning_content"),
            ..EFFORT
        },
        ..BASE
    },
    Row {
        name: "lmstudio",
        base_url: "http://127.0.0.1:1234/v1",
        dialects: ALL_OPENAI,
        auth: Auth::None,
        ..BASE
    },
    Row {
        name: "mistral",
        base_url: "https://api.mistral.ai/v1",
        dialects: CHAT_EMBEDDINGS,
        key_env: &["MISTRAL_API_KEY"],
        // It refuses fields it does not know: its seed is called `random_seed`, and the usage
        // comes without being asked for.
        quirks: Quirks {
            stream_usage: false,
            lacks: &[Feature::EndUser, Feature::Logprobs, Feature::Seed],
            ..EFFORT
        },
        ..BASE
    },
    Row {
        name: "moonshot",
        base_url: "https://api.moonshot.ai/v1",
        key_env: &["MOONSHOT_API_KEY"],
        quirks: SWITCH,
        ..BASE
    },
    Row {
        name: "ollama",
        base_url: "http://127.0.0.1:11434/v1",
        dialects: ALL_OPENAI,
        auth: Auth::None,
        quirks: Quirks { reasoning_history: Some("reasoning"), ..EFFORT },
        ..BASE
    },
    Row {
        name: "openai",
        base_url: "https://api.openai.com/v1",
        dialects: ALL_OPENAI,
        key_env: &["OPENAI_API_KEY"],
        quirks: Quirks::NONE,
        ..BASE
    },
    Row {
        name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        dialects: GATEWAY,
        key_env: &["OPENROUTER_API_KEY"],
        quirks: Quirks {
            thinking: Thinking::Object,
            reasoning_history: Some("reasoning"),
            ..Quirks::COMPATIBLE
        },
        ..BASE
    },
    Row {
        name: "perplexity",
        base_url: "https://api.perplexity.ai",
        key_env: &["PERPLEXITY_API_KEY", "PPLX_API_KEY"],
        quirks: Quirks {
            lacks: &[
                Feature::Choices,
                Feature::Logprobs,
                Feature::ParallelTools,
                Feature::Seed,
                Feature::Tools,
                Feature::ToolChoice,
            ],
            ..EFFORT
        },
        ..BASE
    },
    Row {
        name: "portkey",
        base_url: "https://api.portkey.ai/v1",
        dialects: GATEWAY,
        auth: Auth::Header("x-portkey-api-key"),
        key_env: &["PORTKEY_API_KEY"],
        quirks: EFFORT,
        ..BASE
    },
    Row {
        name: "qwen",
        base_url: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        dialects: CHAT_EMBEDDINGS,
        key_env: &["DASHSCOPE_API_KEY"],
        quirks: Quirks { thinking: Thinking::Flag, ..Quirks::COMPATIBLE },
        ..BASE
    },
    Row {
        name: "together",
        base_url: "https://api.together.xyz/v1",
        dialects: ALL_OPENAI,
        key_env: &["TOGETHER_API_KEY"],
        quirks: EFFORT,
        ..BASE
    },
    Row {
        name: "tokenmix",
        base_url: "https://api.tokenmix.ai/v1",
        key_env: &["TOKENMIX_API_KEY"],
        ..BASE
    },
    Row {
        name: "vertex",
        base_url: "https://{region}-aiplatform.googleapis.com/v1/projects/{project}/locations/\
                   {region}/publishers/google",
        regions: &[
            (
                "eu",
                "https://aiplatform.eu.rep.googleapis.com/v1/projects/{project}/locations/eu/\
                 publishers/google",
            ),
            (
                "global",
                "https://aiplatform.googleapis.com/v1/projects/{project}/locations/global/\
                 publishers/google",
            ),
            (
                "us",
                "https://aiplatform.us.rep.googleapis.com/v1/projects/{project}/locations/us/\
                 publishers/google",
            ),
        ],
        holes: &[
            Hole { name: "region", env: &["GOOGLE_CLOUD_LOCATION"], example: "europe-west1" },
            Hole { name: "project", env: &["GOOGLE_CLOUD_PROJECT"], example: "my-project" },
        ],
        dialects: &[DialectName::Gemini],
        key_env: &["GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"],
        quirks: Quirks::NONE,
        ..BASE
    },
    Row {
        name: "vllm",
        base_url: "http://127.0.0.1:8000/v1",
        dialects: ALL_OPENAI,
        key_env: &["VLLM_API_KEY"],
        quirks: EFFORT,
        ..BASE
    },
    Row {
        name: "xai",
        base_url: "https://api.x.ai/v1",
        dialects: CHAT_RESPONSES,
        key_env: &["XAI_API_KEY"],
        quirks: Quirks { max_tokens: "max_completion_tokens", ..EFFORT },
        ..BASE
    },
    Row {
        name: "zai",
        base_url: "https://api.z.ai/api/paas/v4",
        key_env: &["ZAI_API_KEY"],
        quirks: Quirks {
            json_schema: false,
            lacks: &[
                Feature::Choices,
                Feature::EndUser,
                Feature::FrequencyPenalty,
                Feature::Logprobs,
                Feature::ParallelTools,
                Feature::PresencePenalty,
                Feature::Seed,
            ],
            ..SWITCH
        },
        ..BASE
    },
];

/// What natives of other dialects than chat completions go on from.
const STRICT: Native = Native {
    dialect: DialectName::OpenAi,
    home: "openai",
    speaks: &[],
    auth: Auth::Bearer,
    headers: &[],
    token: None,
    quirks: Quirks::NONE,
};

/// Every dialect, in the order of [`crate::chat::DIALECTS`].
pub static NATIVES: [Native; 9] = [
    Native {
        dialect: DialectName::OpenAi,
        speaks: COMPATIBLE,
        quirks: Quirks::COMPATIBLE,
        ..STRICT
    },
    Native { dialect: DialectName::Responses, speaks: &[DialectName::Responses], ..STRICT },
    Native {
        dialect: DialectName::Anthropic,
        home: "anthropic",
        speaks: &[DialectName::Anthropic],
        auth: Auth::Header("x-api-key"),
        // Without a version it answers 400, and there is only this one.
        headers: &[("anthropic-version", "2023-06-01")],
        ..STRICT
    },
    Native {
        dialect: DialectName::Gemini,
        home: "gemini",
        speaks: GEMINI,
        auth: Auth::Header("x-goog-api-key"),
        token: Some("ya29."),
        ..STRICT
    },
    Native { dialect: DialectName::Completions, speaks: &[DialectName::Completions], ..STRICT },
    Native { dialect: DialectName::Embeddings, speaks: &[DialectName::Embeddings], ..STRICT },
    Native {
        dialect: DialectName::GeminiEmbeddings,
        home: "gemini",
        speaks: &[DialectName::GeminiEmbeddings],
        auth: Auth::Header("x-goog-api-key"),
        token: Some("ya29."),
        ..STRICT
    },
    Native {
        dialect: DialectName::Cohere,
        home: "cohere",
        speaks: &[DialectName::Cohere],
        ..STRICT
    },
    Native {
        dialect: DialectName::Converse,
        home: "bedrock",
        speaks: &[DialectName::Converse],
        auth: Auth::SigV4,
        ..STRICT
    },
];
