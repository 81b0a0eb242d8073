"""The recorded answers of providers, and a provider that replays them byte for byte."""

import collections
import json
import os
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ.get("UNDERSTUDY_SHARED") or HERE.parent / "shared") / "data" / "recordings"

# Of an API: the provider here, its dialect, and its path below the base URL; `{m}` is the model.
Api = collections.namedtuple("Api", "provider dialect base path stream_path")
APIS = {
    "chat": Api("up-chat", "openai", "/v1", "/chat/completions", None),
    "responses": Api("up-responses", "openai-responses", "/v1", "/responses", None),
    "messages": Api("up-messages", "anthropic", "", "/v1/messages", None),
    "generate_content": Api(
        *("up-gemini", "gemini", ""),
        *("/v1beta/models/{m}:generateContent", "/v1beta/models/{m}:streamGenerateContent"),
    ),
    "cohere_v2_chat": Api("up-cohere", "cohere", "", "/v2/chat", None),
    "converse": Api("up-converse", "bedrock", "", "/model/{m}/converse", None),
    "completions": Api("up-completions", "completions", "/v1", "/completions", None),
    "embeddings": Api("up-embeddings", "embeddings", "/v1", "/embeddings", None),
}


class Recording:
    """One recording with what is expected of it."""

    def __init__(self, number, row):
        self.number, self.id, self.api = number, row["id"], row["api"]
        self.token = f"rec-{number:04}"
        self.is_stream = row["kind"] == "stream"
        self.status = row["status"]
        self.bytes = (ROOT / row["id"]).read_bytes()
        self.expected = json.loads((ROOT / row["expected"]).read_text())["expected"]


def recordings():
    rows = (ROOT / "manifest.jsonl").read_text().splitlines()
    return [Recording(number, json.loads(row)) for number, row in enumerate(rows)]


def replay(all_recordings):
    """Answers each request with the recording its model names, if it asks as that API is asked."""
    by_token = {recording.token: recording for recording in all_recordings}

    def answer(method, path, headers, body):
        try:
            asked = json.loads(body) if body else {}
        except ValueError:
            return wrong("the body is not JSON")
        bare = path.partition("?")[0]
        found = by_token.get(asked.get("model")) or next(
            (by_token[part] for part in bare.replace(":", "/").split("/") if part in by_token),
            None,
        )
        if method != "POST" or found is None:
            return wrong(f"no recording is asked for by {method} {path}")
        api = APIS[found.api]
        is_gemini = api.dialect == "gemini"
        path_wanted = api.stream_path if found.is_stream and api.stream_path else api.path
        path_wanted = api.base + path_wanted.format(m=found.token)
        if bare not in (path_wanted, path_wanted.replace("/v1beta/", "/v1/")):
            return wrong(f"{bare} is not {path_wanted}")
        if is_gemini and found.is_stream and "alt=sse" not in path:
            return wrong("a stream without alt=sse")
        if not is_gemini and bool(asked.get("stream")) != found.is_stream:
            return wrong(f"stream is {asked.get('stream')!r}")
        if not found.is_stream:
            return found.status, {"content-type": "application/json"}, found.bytes
        size = 1500
        pieces = [found.bytes[at : at + size] for at in range(0, len(found.bytes), size)]
        return found.status, {"content-type": "text/event-stream"}, pieces

    return answer


def wrong(what):
    """What no recording says, so that it shows in the differences."""
    body = {"error": {"message": f"replay: {what}", "type": "replay", "code": "replay"}}
    return 418, {"content-type": "application/json"}, json.dumps(body).encode()


def config(upstream):
    providers = {
        api.provider: {
            "dialect": api.dialect,
            "base_url": upstream + api.base,
            "api_keys": [{"value": "test"}],
        }
        for api in APIS.values()
    }
    # A plain key instead of signed requests.
    providers["up-converse"]["auth"] = "bearer"
    return {"providers": providers, "cache": {"mode": "off"}}
