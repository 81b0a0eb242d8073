"""The official openai package, unmodified, against understudy with simulated providers behind it.

Run with the built program in UNDERSTUDY_BIN; prints one line per check, exits 1 if any fails.
"""

import asyncio
import json
import sys
import tempfile
import time
import traceback

import openai

import _rig

KEY = "sk-simulated"
QUESTION = [{"role": "user", "content": "Which colours has a rainbow?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "parameters": {
            "type": "object",
            "properties": {"zone": {"type": "string"}},
            "required": ["zone"],
        },
    },
}
CHECKS = []


def check(function):
    """Registers a check; its docstring is the line that is printed."""
    CHECKS.append(function)
    return function


class Bench:
    """A simulator, a sidecar before it, and clients of the official SDK."""

    def __init__(self, folder):
        self.programs = _rig.Programs(folder)
        [port] = _rig.free_ports(1)
        self.simulator = f"http://127.0.0.1:{port}/v1"
        listen = ("--listen", f"127.0.0.1:{port}")
        self.programs.start("simulate", _rig.binary(), "simulate", *listen, "--api-key", KEY)
        self.data = self.programs.understudy(
            {
                # Every failure is to be seen, and none keeps the next request from being sent.
                "providers": {"openai": {"base_url": self.simulator, "limits": {"learn": False}}},
                "retry": {"attempts": 0},
                "routes": {"support-bot": {"targets": ["openai/gpt-4o"]}},
            }
        )
        self.programs.wait(f"{self.simulator}/models")

    def client(self, path="/v1", kind=openai.OpenAI, **options):
        options = {"api_key": KEY, "max_retries": 0, "timeout": 10, **options}
        return kind(base_url=f"{self.data}{path}", **options)


def fault(what):
    """A header that makes the simulator fail, and one that keeps its answer out of the cache."""
    return {"x-simulate-fault": what, "cache-control": "no-store"}


def refused(error, kind, status):
    assert isinstance(error, kind), repr(error)
    assert error.status_code == status, error.status_code
    assert error.body and error.body.get("message"), error.body


def text_of(stream):
    chunks = list(stream)
    pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    return "".join(pieces), chunks


@check
def whole(bench):
    """an answer in one piece, and the same one again from the cache"""
    client = bench.client()
    first = client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert first.choices[0].message.content and first.choices[0].finish_reason == "stop"
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    again = client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert again.id == first.id and again.model_dump() == first.model_dump()


@check
def stream(bench):
    """a stream, with its usage, and the same one again from the cache"""
    ask = dict(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Why do leaves turn red in autumn?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    client = bench.client()
    text, chunks = text_of(client.chat.completions.create(**ask))
    assert text and len(chunks) > 4, chunks
    assert chunks[-1].usage.completion_tokens > 0 and chunks[-1].choices == []
    assert [c for c in chunks if c.choices][-1].choices[0].finish_reason == "stop"
    again, cached = text_of(client.chat.completions.create(**ask))
    assert again == text and [c.model_dump() for c in cached] == [c.model_dump() for c in chunks]
    del ask["stream_options"]
    _, plain = text_of(client.chat.completions.create(**ask))
    assert all(chunk.usage is None for chunk in plain)


@check
def other_form(bench):
    """what was answered in one piece comes as a stream from the cache, and the other way round"""
    client = bench.client()
    for stream in (False, True):
        question = [{"role": "user", "content": f"What do you serve as a stream? {stream}"}]
        ask = dict(model="gpt-4o", messages=question)
        said = {}
        for form in (stream, not stream):
            answer = client.chat.completions.with_raw_response.create(stream=form, **ask)
            is_hit = "hit" in answer.headers["cache-status"]
            assert is_hit == (form != stream), answer.headers["cache-status"]
            parsed = answer.parse()
            said[form] = text_of(parsed)[0] if form else parsed.choices[0].message.content
        assert said[True] and said[True] == said[False], said


@check
def stream_helper(bench):
    """the SDK's own accumulator over a stream"""
    client = bench.client()
    with client.chat.completions.stream(model="gpt-4o", messages=QUESTION) as events:
        kinds = {event.type for event in events}
        final = events.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds, kinds
    assert final.choices[0].message.content and final.choices[0].finish_reason == "stop"


@check
def forced_tool(bench):
    """a tool that has to be called, its result, and the words after it"""
    client = bench.client()
    choice = {"type": "function", "function": {"name": "get_weather"}}
    messages = [{"role": "user", "content": "How is the weather in Turin?"}]
    ask = dict(model="gpt-4o", tools=[CLOCK, WEATHER])
    answer = client.chat.completions.create(messages=messages, tool_choice=choice, **ask)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather" and call.id and call.type == "function"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    messages += [
        answer.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear"}'},
    ]
    after = client.chat.completions.create(messages=messages, **ask)
    assert after.choices[0].message.content and not after.choices[0].message.tool_calls


@check
def parallel_tools(bench):
    """several tools in one answer, in one piece and as deltas of a stream"""
    client = bench.client()
    ask = dict(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Please get weather and get time for Oslo."}],
        tools=[WEATHER, CLOCK],
        tool_choice="required",
        parallel_tool_calls=True,
    )
    answer = client.chat.completions.create(**ask)
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls" and len(calls) == 2
    assert len({call.id for call in calls}) == len(calls)
    pieces, finish = {}, None
    for chunk in client.chat.completions.create(stream=True, **ask):
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for delta in choice.delta.tool_calls or []:
                call = pieces.setdefault(delta.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += delta.id or ""
                call["name"] += delta.function.name or ""
                call["arguments"] += delta.function.arguments or ""
    assert finish == "tool_calls" and len(pieces) == 2, pieces
    for call in pieces.values():
        assert call["id"] and call["name"] in ("get_weather", "get_time")
        assert isinstance(json.loads(call["arguments"]), dict), call


@check
def json_mode(bench):
    """an answer as JSON, free and by a schema"""
    client = bench.client()
    ask = dict(model="gpt-4o", messages=QUESTION)
    free = client.chat.completions.create(response_format={"type": "json_object"}, **ask)
    assert isinstance(json.loads(free.choices[0].message.content), dict)
    schema = {
        "type": "object",
        "properties": {"colour": {"type": "string"}, "rank": {"type": "integer"}},
        "required": ["colour", "rank"],
        "additionalProperties": False,
    }
    wanted = {"name": "colour", "strict": True, "schema": schema}
    bound = client.chat.completions.create(
        response_format={"type": "json_schema", "json_schema": wanted}, **ask
    )
    value = json.loads(bound.choices[0].message.content)
    assert isinstance(value["colour"], str) and isinstance(value["rank"], int), value


@check
def two_answers(bench):
    """two answers at once, whole and streamed"""
    client = bench.client()
    answer = client.chat.completions.create(model="gpt-4o", messages=QUESTION, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    texts = {0: "", 1: ""}
    for chunk in client.chat.completions.create(
        model="gpt-4o", messages=QUESTION, n=2, stream=True
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts[0] and texts[1], texts


@check
def log_probabilities(bench):
    """log-probabilities with their rivals"""
    answer = bench.client().chat.completions.create(
        model="gpt-4o", messages=QUESTION, logprobs=True, top_logprobs=3
    )
    tokens = answer.choices[0].logprobs.content
    assert tokens and all(token.logprob <= 0 for token in tokens)
    assert all(len(token.top_logprobs) == 3 for token in tokens)
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content


@check
def unusual_text(bench):
    """text in every script comes back as it was sent"""
    text = 'naïve "quotes" \\ / \u0000 \n\t 漢字 😀 e\u0301 \u2028'
    messages = [{"role": "user", "content": text}]
    client = bench.client()
    whole = client.chat.completions.create(model="echo", messages=messages)
    assert whole.choices[0].message.content == text, repr(whole.choices[0].message.content)
    streamed, _ = text_of(
        client.chat.completions.create(model="echo", messages=messages, stream=True)
    )
    assert streamed == text, repr(streamed)


@check
def bad_key(bench):
    """a wrong key raises AuthenticationError, and a right one's answers are not shared with it"""
    bench.client().chat.completions.create(model="gpt-4o", messages=QUESTION)
    client = bench.client(api_key="sk-wrong")
    for options in ({}, {"stream": True}):
        try:
            client.chat.completions.create(model="gpt-4o", messages=QUESTION, **options)
        except openai.APIStatusError as error:
            refused(error, openai.AuthenticationError, 401)
        else:
            raise AssertionError("it was let in")


@check
def rate_limit(bench):
    """status 429 raises RateLimitError with its Retry-After, and a retry succeeds"""
    client = bench.client()
    ask = dict(model="gpt-4o", messages=QUESTION)
    try:
        client.chat.completions.create(extra_headers=fault("status=429,retry_after=3"), **ask)
    except openai.APIStatusError as error:
        refused(error, openai.RateLimitError, 429)
        assert error.response.headers["retry-after"] == "3"
    else:
        raise AssertionError("no error")
    try:
        client.chat.completions.create(extra_headers=fault("status=500"), **ask)
    except openai.APIStatusError as error:
        refused(error, openai.InternalServerError, 500)
    else:
        raise AssertionError("no error")


@check
def wrong_requests(bench):
    """an unknown path, a wrong body and a missing answer raise the SDK's own errors"""
    client = bench.client()
    try:
        client.post("/nothing", body={}, cast_to=object)
    except openai.APIStatusError as error:
        refused(error, openai.NotFoundError, 404)
        assert "understudy" in error.message, error.message
    else:
        raise AssertionError("no error")
    try:
        client.chat.completions.create(model="", messages=QUESTION)
    except openai.APIStatusError as error:
        refused(error, openai.BadRequestError, 400)
        assert "is empty" in error.message, error.message
    else:
        raise AssertionError("no error")
    try:
        client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "never asked"}],
            extra_headers={"cache-control": "only-if-cached"},
        )
    except openai.APIStatusError as error:
        refused(error, openai.InternalServerError, 504)
        assert error.code == "not_cached", error.code
    else:
        raise AssertionError("no error")


@check
def missing_model(bench):
    """a provider's 404 raises NotFoundError with the provider's words"""
    client = bench.client()
    try:
        client.chat.completions.create(
            model="gpt-4o", messages=QUESTION, extra_headers=fault("status=404")
        )
    except openai.APIStatusError as error:
        refused(error, openai.NotFoundError, 404)
        assert "understudy" not in error.message, error.message
    else:
        raise AssertionError("no error")
    try:
        client.models.retrieve("no-such-model")
    except openai.APIStatusError as error:
        refused(error, openai.NotFoundError, 404)
    else:
        raise AssertionError("no error")


@check
def cut_streams(bench):
    """a stream that is cut, ends early or carries an error raises and is never silently complete"""
    client = bench.client(timeout=5)
    for what in ("cut=2", "no_done", "error_in_stream=2", "malformed=2"):
        texts = []
        try:
            for chunk in client.chat.completions.create(
                model="gpt-4o", messages=QUESTION, stream=True, extra_headers=fault(what)
            ):
                texts += [c.delta.content for c in chunk.choices if c.delta.content]
        except (openai.APIError, json.JSONDecodeError) as error:
            assert texts, f"{what}: nothing came before {error!r}"
        else:
            raise AssertionError(f"{what}: looked complete after {len(texts)} pieces")
    for what in ("cut", "drop"):
        try:
            client.chat.completions.create(
                model="gpt-4o", messages=QUESTION, extra_headers=fault(what)
            )
        except openai.APIStatusError as error:
            refused(error, openai.InternalServerError, 502)
            assert error.code == "provider_broken", error.code
        else:
            raise AssertionError(f"{what}: looked complete")


@check
def models(bench):
    """the routes are the list of models, a prefix lists the provider's"""
    assert [model.id for model in bench.client().models.list()] == ["support-bot"]
    theirs = [model.id for model in bench.client("/openai/v1").models.list()]
    assert "echo" in theirs, theirs


@check
def names(bench):
    """a route, a target and a provider's prefix all name the same model"""
    for path, model in (
        ("/v1", "support-bot"),
        ("/v1", "openai/gpt-4o"),
        ("/openai/v1", "gpt-4o"),
        ("/openai", "gpt-4o"),
        ("", "gpt-4o"),
    ):
        raw = bench.client(path).chat.completions.with_raw_response
        answer = raw.create(model=model, messages=QUESTION)
        assert answer.headers["x-understudy-target"] == "openai/gpt-4o", (path, model)
        assert answer.parse().model == "gpt-4o"


@check
def headers(bench):
    """headers say what the cache did, who answered, when, and for which request"""
    client = bench.client()
    messages = [{"role": "user", "content": "What is a header?"}]
    raw = client.chat.completions.with_raw_response
    first = raw.create(model="gpt-4o", messages=messages)
    assert first.headers["cache-status"].startswith("understudy; fwd=miss; stored; key=")
    assert "upstream;dur=" in first.headers["server-timing"]
    assert first.headers["x-upstream-request-id"].startswith("req_")
    assert first.headers["x-ratelimit-remaining-requests"]
    assert first.headers["x-understudy-cost-usd"]
    again = raw.create(model="gpt-4o", messages=messages)
    assert again.headers["cache-status"].startswith("understudy; hit; key=")
    assert int(again.headers["age"]) >= 0 and again.headers["x-understudy-cost-usd"] == "0"
    assert again.content == first.content


@check
def request_ids(bench):
    """every answer and every error has the id of its request, the client's own if it sent one"""
    client = bench.client()
    ask = dict(model="gpt-4o", messages=QUESTION)
    first = client.chat.completions.create(**ask)
    second = client.chat.completions.create(**ask)
    assert first._request_id and second._request_id != first._request_id
    mine = client.chat.completions.create(extra_headers={"x-request-id": "mine-1"}, **ask)
    assert mine._request_id == "mine-1"
    try:
        client.chat.completions.create(model="", messages=QUESTION)
    except openai.BadRequestError as error:
        assert error.request_id, "an error without an id"


@check
def asynchronous(bench):
    """the asynchronous client: many at once, and streams"""

    async def run():
        async with bench.client(kind=openai.AsyncOpenAI) as client:

            async def one(number):
                messages = [{"role": "user", "content": f"number {number}"}]
                answer = await client.chat.completions.create(model="echo", messages=messages)
                return answer.choices[0].message.content

            texts = await asyncio.gather(*(one(number) for number in range(32)))
            assert texts == [f"number {number}" for number in range(32)], texts
            stream = await client.chat.completions.create(
                model="gpt-4o", messages=QUESTION, stream=True
            )
            pieces = [c.choices[0].delta.content or "" async for c in stream if c.choices]
            assert "".join(pieces)

    asyncio.run(run())


@check
def leaving(bench):
    """a client that leaves a stream leaves the sidecar well"""
    client = bench.client()
    stream = client.chat.completions.create(
        model="gpt-4o", messages=QUESTION, stream=True, extra_headers=fault("stall=2")
    )
    next(iter(stream))
    stream.close()
    whole(bench)


def main():
    failed = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder)
        try:
            for function in CHECKS:
                line = function.__doc__
                try:
                    note = function(bench)
                    print(f"ok      {line}" + (f" ({note})" if note else ""))
                except Exception:
                    failed += 1
                    print(f"FAILED  {line}\n{traceback.format_exc()}")
        finally:
            codes = bench.programs.stop()
        if any(codes.values()):
            failed += 1
            print(f"FAILED  both programs end with 0 when asked to: {codes}")
        if failed:
            for name in codes:
                print(f"--- {name}\n{bench.programs.log(name)}")
    took = time.monotonic() - began
    print(f"openai {openai.__version__}: {len(CHECKS)} checks, {failed} failed, {took:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
