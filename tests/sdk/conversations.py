"""Whole conversations with tools, by every official SDK, with a provider of every dialect.

The providers hold each request against the official types and rules of their API, tell what they
read in words that are the same for all, and answer by a script; see `_requests.py`. So a request is
wrong here if its provider would refuse it, or would understand something else than was asked.

    conversations.py [--only TEXT]... [--ingress NAME]... [--direct]

`--direct` talks to the providers without understudy, each SDK in its own dialect.
"""

import argparse
import base64
import collections
import concurrent.futures
import json
import sys
import tempfile
import threading
import time
import traceback
import warnings

import _answers
import _requests
import _rig
import _said

UPSTREAMS = {
    "up-chat": ("openai", "/v1"),
    "up-responses": ("openai-responses", "/v1"),
    "up-messages": ("anthropic", ""),
    "up-gemini": ("gemini", ""),
}
SYSTEM = "You are a harbour master. Answer in one sentence."
PROMPT = "What is the weather where this was taken, and how late is it there?"
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WEATHER = _said.function("get_weather", {"city": {"type": "string"}, "days": {"type": "integer"}})
CLOCK = _said.function("get_time", {"zone": {"type": "string"}})
CALLS = [
    ("call_weather1", "get_weather", {"city": "Tromsø", "days": 2}),
    ("call_time2", "get_time", {"zone": "Europe/Oslo"}),
]
GIVEN = {"get_weather": {"sky": "clear", "degrees": -4}, "get_time": "half past nine"}
BEFORE = "I will look."
AFTER = "It is clear in Tromsø — minus four degrees — and half past nine."
BERTHS = {"name": {"type": "string"}, "berths": {"type": "integer"}}
SCHEMA = _said.function("port", BERTHS)["schema"]
PORT = '{"name": "Hammerfest", "berths": 12}'
LIMIT, TEMPERATURE = 300, 0.5


def provider(name, dialect, seen, lock):
    """Reads, remembers under its own and the model's name, and answers by what was asked."""

    def answer(method, path, headers, body):
        json_type = {"content-type": "application/json"}
        try:
            asked = json.loads(body)
            model = asked.pop("model", None) if dialect == "gemini" else asked.get("model")
            if dialect == "gemini":
                model = path.partition("/models/")[2].partition(":")[0]
            read = _requests.READERS[dialect](path, asked)
        except (_requests.Invalid, KeyError, TypeError, ValueError) as error:
            what = f"not valid {dialect}: {error!r}"
            return 400, json_type, json.dumps(_answers.error(dialect, what)).encode()
        with lock:
            seen[name, model].append(read)
        written = _answers.WRITERS[dialect](script(dialect, model, read), read["stream"])
        if read["stream"]:
            return 200, {"content-type": "text/event-stream"}, written
        return 200, json_type, json.dumps(written).encode()

    return answer


def script(dialect, model, read):
    answer = {"model": model, "reasoning": "", "seal": None, "text": "", "calls": []}
    if read["turns"][-1][0] == "tool":
        return answer | {"text": AFTER}
    if read["schema"]:
        return answer | {"text": PORT}
    if read["choice"] == "get_weather":
        return answer | {"calls": CALLS[:1]}
    seal = _answers.SEALS.get(dialect)
    thought = {"reasoning": _answers.THOUGHT, "seal": seal}
    return answer | thought | {"text": BEFORE, "calls": CALLS}


class OpenAi:
    """What one says with the openai package's chat completions."""

    @staticmethod
    def opening(system):
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
        user = {"role": "user", "content": [{"type": "text", "text": PROMPT}, image]}
        return [{"role": "system", "content": system}, user]

    @staticmethod
    def options(system):
        return {"max_completion_tokens": LIMIT, "temperature": TEMPERATURE}

    @staticmethod
    def schema():
        wanted = {"name": "port", "strict": True, "schema": SCHEMA}
        return {"response_format": {"type": "json_schema", "json_schema": wanted}}

    @staticmethod
    def history(said):
        turn = plain(said["turn"])
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": text(GIVEN[call["name"]])}
            for call in said["tool_calls"]
        ]
        return [turn, *results]


class Responses(OpenAi):
    """What one says with the openai package's responses."""

    @staticmethod
    def opening(system):
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"}
        image["detail"] = "auto"
        return [{"role": "user", "content": [{"type": "input_text", "text": PROMPT}, image]}]

    @staticmethod
    def options(system):
        # Without a store the reasoning travels with the history, sealed.
        sealed = {"store": False, "include": ["reasoning.encrypted_content"]}
        common = {"max_output_tokens": LIMIT, "temperature": TEMPERATURE}
        return {"instructions": system, **common, **sealed}

    @staticmethod
    def schema():
        form = {"type": "json_schema", "name": "port", "strict": True, "schema": SCHEMA}
        return {"text": {"format": form}}

    @staticmethod
    def history(said):
        results = [
            {"type": "function_call_output", "call_id": call["id"]}
            | {"output": text(GIVEN[call["name"]])}
            for call in said["tool_calls"]
        ]
        return [plain(item) for item in said["turn"]] + results


class Anthropic(OpenAi):
    """What one says with the anthropic package."""

    @staticmethod
    def opening(system):
        source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
        parts = [{"type": "text", "text": PROMPT}, {"type": "image", "source": source}]
        return [{"role": "user", "content": parts}]

    @staticmethod
    def options(system):
        # The SDK has no argument for the temperature any more; the API has.
        warmth = {"extra_body": {"temperature": TEMPERATURE}}
        return {"system": system, "max_tokens": LIMIT, **warmth}

    @staticmethod
    def schema():
        return {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}

    @staticmethod
    def history(said):
        results = [
            {"type": "tool_result", "tool_use_id": call["id"], "content": text(GIVEN[call["name"]])}
            for call in said["tool_calls"]
        ]
        mine = {"role": "assistant", "content": [plain(block) for block in said["turn"]]}
        return [mine, {"role": "user", "content": results}]


class Gemini(OpenAi):
    """What one says with google-genai."""

    @staticmethod
    def opening(system):
        from google.genai import types

        image = types.Part.from_bytes(data=base64.b64decode(PICTURE), mime_type="image/png")
        return [types.Content(role="user", parts=[types.Part(text=PROMPT), image])]

    @staticmethod
    def options(system):
        common = {"max_output_tokens": LIMIT, "temperature": TEMPERATURE}
        return {"config": {"system_instruction": system, **common}}

    @staticmethod
    def schema():
        form = {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
        return {"config": form}

    @staticmethod
    def history(said):
        from google.genai import types

        answers = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call["id"],
                    name=call["name"],
                    response=value if isinstance(value, dict) else {"result": value},
                )
            )
            for call in said["tool_calls"]
            for value in [GIVEN[call["name"]]]
        ]
        mine = types.Content(role="model", parts=said["turn"])
        return [mine, types.Content(role="user", parts=answers)]


TALKS = {
    "openai": OpenAi,
    "openai-responses": Responses,
    "anthropic": Anthropic,
    "gemini": Gemini,
}
# What the SDKs' accumulators add for their users and no request has.
ADDED = ("parsed", "parsed_arguments", "parsed_output")


def plain(value):
    """An SDK's object as it is sent back."""
    value = value if isinstance(value, dict) else value.model_dump(mode="json", exclude_none=True)
    value = {key: each for key, each in value.items() if key not in ADDED}
    for key, each in value.items():
        if isinstance(each, list):
            value[key] = [plain(one) if isinstance(one, dict) else one for one in each]
        elif isinstance(each, dict) and key == "function":
            value[key] = plain(each)
    if value.get("type") == "function" and "function" in value:
        value.pop("index", None)
    return value


def text(value):
    return value if isinstance(value, str) else json.dumps(value)


def merged(*options):
    """Options of one call; Google's lie all in one field."""
    out = {}
    for each in options:
        for key, value in each.items():
            out[key] = {**out.get(key, {}), **value} if key == "config" else value
    return out


class Talk:
    """One conversation of one SDK with one provider."""

    def __init__(self, speaker, upstream, model, stream, seen):
        self.speaker, self.stream, self.seen = speaker, stream, seen
        self.dialect, self.upstream = UPSTREAMS[upstream][0], upstream
        self.sent_model, self.model = model
        self.words = TALKS[speaker.name]

    def ask(self, messages, *more):
        options = merged(self.words.options(SYSTEM), *more)
        return self.speaker.ask(self.sent_model, stream=self.stream, messages=messages, **options)

    def read(self, at, **wanted):
        """The provider must have read this as request number `at` of the conversation."""
        with LOCK:
            found = list(self.seen[self.upstream, self.model])
        assert len(found) == at + 1, f"{len(found)} requests came, not {at + 1}"
        wanted = {
            "system": SYSTEM,
            "max_tokens": LIMIT,
            "temperature": TEMPERATURE,
            "stream": self.stream,
        } | wanted
        wrong = [
            f"request {at}, {key}: expected {value!r}, got {found[at][key]!r}"
            for key, value in wanted.items()
            if found[at][key] != value
        ]
        assert not wrong, "; ".join(wrong)


LOCK = threading.Lock()
OPENING = ["user", [f"text:{PROMPT}", f"image:image/png:{PICTURE}"]]
TOOLS = {each["name"]: _requests.normal_schema(each["schema"]) for each in (WEATHER, CLOCK)}


def same(what, have, want):
    assert have == want, f"{what}: expected {want!r}, got {have!r}"


def calls_of(said):
    return [(call["name"], call["arguments"]) for call in said["tool_calls"]]


def tools(talk):
    """Two calls at once with words and thoughts before, their results, and the words after."""
    messages = talk.words.opening(SYSTEM)
    said = talk.ask(messages, talk.speaker.tools([WEATHER, CLOCK], "any"))
    talk.read(0, turns=[OPENING], tools=TOOLS, choice="any", schema=None, seals=[])
    same("calls", calls_of(said), [(name, given) for _, name, given in CALLS])
    same("text", said["text"], BEFORE)
    same("reasoning", said["reasoning"], _answers.THOUGHT)
    same("finish", said["finish"], "tool_calls")
    ids = [call["id"] for call in said["tool_calls"]]
    if talk.dialect != "gemini":
        same("ids", ids, [id for id, _, _ in CALLS])
    elif talk.speaker.name != "gemini":
        assert all(ids) and len(set(ids)) == 2, f"ids: {ids}"
    usage = said["usage"]
    same("usage", (usage["input_tokens"], usage["output_tokens"]), (30, 12))

    messages = messages + talk.words.history(said)
    said = talk.ask(messages, talk.speaker.tools([WEATHER, CLOCK], "auto"))
    mine = [f"text:{BEFORE}", *(_requests.call(name, given) for _, name, given in CALLS)]
    gave = [_requests.result(name, GIVEN[name]) for _, name, _ in CALLS]
    seal = _answers.SEALS.get(talk.dialect)
    talk.read(
        1,
        turns=[OPENING, ["assistant", mine], ["tool", gave]],
        tools=TOOLS,
        seals=[seal] if seal else [],
    )
    same("text", said["text"], AFTER)
    same("text of the stream's events", said.get("pieces", AFTER), AFTER)
    same("calls", said["tool_calls"], [])
    same("finish", said["finish"], "stop")


def forced(talk):
    """A tool that has to be called."""
    messages = talk.words.opening(SYSTEM)
    said = talk.ask(messages, talk.speaker.tools([WEATHER, CLOCK], "get_weather"))
    talk.read(0, turns=[OPENING], tools=TOOLS, choice="get_weather", schema=None)
    same("calls", calls_of(said), [CALLS[0][1:]])
    same("finish", said["finish"], "tool_calls")


def schema(talk):
    """An answer that keeps to a schema."""
    said = talk.ask(talk.words.opening(SYSTEM), talk.words.schema())
    wanted = _requests.normal_schema(SCHEMA)
    talk.read(0, turns=[OPENING], tools={}, schema=wanted)
    same("text", said["text"], PORT)
    same("finish", said["finish"], "stop")


CHECKS = (tools, forced, schema)


def attempt(case):
    run, talk = case
    try:
        run(talk)
    except AssertionError as error:
        place = traceback.extract_tb(error.__traceback__)[-1].lineno
        return f"{error} (line {place})"
    except _said.Refused as refused:
        return f"raised: {refused.status} {refused.message}"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{error!r} ({place.filename}:{place.lineno})"
    return None


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--only", action="append", help="conversations whose line holds this text")
    parse.add_argument("--ingress", action="append", choices=_said.SPEAKERS)
    parse.add_argument("--jobs", type=int, default=4)
    parse.add_argument("--direct", action="store_true", help="without understudy")
    options = parse.parse_args()
    warnings.simplefilter("ignore")
    began = time.monotonic()
    seen = collections.defaultdict(list)
    servers = {
        name: _rig.Server(provider(name, dialect, seen, LOCK))
        for name, (dialect, _) in UPSTREAMS.items()
    }
    table, failed, count = collections.defaultdict(list), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        programs = _rig.Programs(folder)
        try:
            chosen = cases(servers, programs, options, seen)
            with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
                for (line, case), wrong in zip(chosen, pool.map(attempt, [c for _, c in chosen])):
                    count += 1
                    row, _, what = line.partition(": ")
                    table[row].append(f"{what} {'FAILED' if wrong else 'ok'}")
                    if wrong:
                        failed += 1
                        print(f"FAILED  {line}\n    {wrong[:2000]}")
        finally:
            codes = programs.stop()
            for server in servers.values():
                server.stop()
        if any(codes.values()):
            failed += 1
            print(f"FAILED  understudy ended with {codes}\n{programs.log('understudy')[-4000:]}")
    for row, told in table.items():
        print(f"{row:36} {'  '.join(told)}")
    took = time.monotonic() - began
    print(f"conversations: {count}, {failed} failed, {took:.1f} s")
    return 1 if failed or not count else 0


def cases(servers, programs, options, seen):
    """(line, (check, talk)) of every conversation."""
    sidecar = None
    if not options.direct:
        providers = {
            name: {
                "dialect": dialect,
                "base_url": servers[name].url + path,
                "api_keys": [{"value": "test"}],
            }
            for name, (dialect, path) in UPSTREAMS.items()
        }
        sidecar = programs.understudy({"providers": providers, "cache": {"mode": "off"}})
    out = []
    for ingress in options.ingress or _said.SPEAKERS:
        speaker = sidecar and _said.SPEAKERS[ingress](sidecar)
        for upstream, (dialect, _) in UPSTREAMS.items():
            if options.direct and ingress != dialect:
                continue
            if options.direct:
                speaker = _said.SPEAKERS[ingress](servers[upstream].url)
            for run in CHECKS:
                for stream in (False, True):
                    form = "stream" if stream else "body"
                    line = f"{ingress} to {upstream}: {run.__name__} {form}"
                    if options.only and not any(part in line for part in options.only):
                        continue
                    name = f"{run.__name__}-{form}-{ingress}"
                    model = (name if options.direct else f"{upstream}/{name}", name)
                    out.append((line, (run, Talk(speaker, upstream, model, stream, seen))))
    return out


if __name__ == "__main__":
    sys.exit(main())
