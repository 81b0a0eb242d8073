"""Recorded provider answers, read by every official SDK through understudy.

A provider of ours replays each recording byte for byte; the SDK of each dialect that clients speak
asks for it, and what the SDK understood is compared with what people read in the recording.

    recordings.py [--only ID]... [--ingress NAME]... [--jobs N] [--show N] [--direct]

`--direct` points each SDK at the replaying provider itself, in the provider's own dialect: this
checks the comparison. Recordings are not ours to ship; where they are absent it says so.
"""

import argparse
import collections
import multiprocessing
import os
import queue
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import _compare
import _replay
import _rig
import _said

# Seconds after which what is left counts as not run; the gate ends us at 300.
LIMIT = 270

CHATS = tuple(_said.SPEAKERS)
# The dialects whose clients can ask an API; `bytes` is a plain request whose answer must be the
# recording itself, byte for byte.
INGRESS = {api: (*CHATS, "bytes") for api in _replay.APIS} | {
    "completions": ("completions", "bytes"),
    "embeddings": ("embeddings", "gemini-embeddings", "bytes"),
}

# What an SDK reads otherwise, or not at all, in its own dialect: the bytes pass untouched, so the
# provider's oddity meets the SDK as it would without us. (SDK dialect, part of the recording's id,
# what the difference begins with, why); each has to be met in a whole run.
OWN = (
    ("gemini", "v-google-stream-no-args-tool-call.", "tool calls", "partialArgs are left apart"),
    ("gemini", "-arguments-missing-terminal-", "tool calls", "partialArgs are left apart"),
    ("openai", "azure/chat/o-test_prompt_content_filtering.", "TypeError", "status 200: no error"),
    ("openai", "groq/chat/p-test_groq_model_", "usage", "told in x_groq, which the SDK ignores"),
    ("openai", "mistral/chat/", "cached_input_tokens", "told in a field the SDK ignores"),
    ("openai", "moonshot/chat/", "cached_input_tokens", "told in a field the SDK ignores"),
    ("openai", "together/chat/", "finish", "the provider's word is eos"),
)
# The same for what reaches an SDK from another dialect.
CUT = "the recorded picture is cut short and no base64, which this SDK refuses"
CROSS = (
    ("gemini", "responses/a-stream-image.", "ValidationError", CUT),
    ("gemini", "v-openai-image-generation-tool.", "ValidationError", CUT),
)
# Streams that the openai package's accumulators refuse in its own dialect, read by hand instead.
BY_HAND = {
    "a-stream.stream.sse": "a piece of content that was never begun",
    "p-test_openrouter_web_search_annotations_stream.stream.sse": "annotations without index",
    "v-anthropic-fallback-tool-call.stream.sse": "the first index of a tool call is 1",
    "v-github-copilot-id-rotation.1.stream.sse": "ids change from event to event",
    "v-mistral-reasoning.stream.sse": "content is a list",
    "v-openai-client-tool-search.1.stream.sse": "an item's id changes",
    "v-perplexity-text.stream.sse": "the message in each chunk beside the delta",
}


class Completions(_said.OpenAi):
    """Legacy completions, all choices."""

    name = "completions"

    def ask(self, model, stream=False, helper=True, **more):
        ask = dict(model=model, prompt="hi")
        create = self.client.completions.create
        if not stream:
            return self.guarded(lambda: self.told([create(**ask)]))
        ask["stream_options"] = {"include_usage": True}
        return self.guarded(lambda: self.told(list(create(stream=True, **ask))))

    def told(self, chunks):
        choices = collections.defaultdict(lambda: {"text": "", "finish": None})
        for choice in (choice for chunk in chunks for choice in chunk.choices):
            known = choices[choice.index]
            known["text"] += choice.text or ""
            known["finish"] = choice.finish_reason or known["finish"]
        told = [chunk.usage for chunk in chunks if chunk.usage]
        return {
            "model": chunks[0].model,
            "reasoning": "",
            "refusal": "",
            "tool_calls": [],
            "usage": self.usage(told[-1]) if told else None,
            "choices": [choices[index] for index in sorted(choices)],
            **choices[0],
        }


class Embeddings(_said.OpenAi):
    """Embeddings by the openai package."""

    name = "embeddings"

    def ask(self, model, inputs=1, encoding="float", **_):
        ask = dict(model=model, input=["hi"] * inputs)
        # The SDK unpacks base64 only if it was not asked for it.
        ask |= {} if encoding == "base64" else {"encoding_format": encoding}
        answer = self.guarded(lambda: self.client.embeddings.create(**ask))
        return {
            "model": answer.model,
            "vectors": [each.embedding for each in answer.data],
            "input_tokens": answer.usage.prompt_tokens,
        }


class GeminiEmbeddings(_said.Gemini):
    """Embeddings by google-genai."""

    name = "gemini-embeddings"

    def ask(self, model, inputs=1, **_):
        answer = self.guarded(
            lambda: self.client.models.embed_content(model=model, contents=["hi"] * inputs)
        )
        return {"vectors": [each.values for each in answer.embeddings]}


class Bytes:
    """No SDK: the recording itself, as a client of the provider's own dialect gets it."""

    def __init__(self, base, **_):
        self.base = base


SPEAKERS = _said.SPEAKERS | {
    speaker.name: speaker for speaker in (Completions, Embeddings, GeminiEmbeddings)
}


def speaker(name, base):
    return Bytes(base) if name == "bytes" else SPEAKERS[name](base)


def untouched(client, recording, is_direct):
    """Whether the provider's own endpoint gives the recording as it is."""
    api = _replay.APIS[recording.api]
    is_bare = is_direct or api.dialect in ("cohere", "bedrock")
    model = recording.token if is_bare else f"{api.provider}/{recording.token}"
    path = api.stream_path if recording.is_stream and api.stream_path else api.path
    path = (api.base + path).format(m=model)
    if is_bare and not is_direct:
        # No client of ours speaks these: they pass under the provider's name.
        path = f"/{api.provider}{path}"
    body = {} if "{m}" in api.path else {"model": model}
    if api.dialect == "gemini":
        body["contents"] = [{"role": "user", "parts": [{"text": "hi"}]}]
        path += "?alt=sse" if recording.is_stream else ""
    elif api.dialect == "bedrock":
        body["messages"] = [{"role": "user", "content": [{"text": "hi"}]}]
    elif api.dialect in ("openai-responses", "embeddings"):
        body["input"] = "hi"
    elif api.dialect == "completions":
        body["prompt"] = "hi"
    else:
        body |= {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    if recording.is_stream and api.dialect != "gemini":
        body["stream"] = True
    status, headers, got = _rig.post(client.base + path, body, {"authorization": "Bearer test"})
    if got != recording.bytes:
        want, have = (
            _compare.short(each.decode(errors="replace")) for each in (recording.bytes, got)
        )
        return [f"bytes: expected {want}, got {have}"]
    if status != recording.status:
        return [f"status: expected {recording.status}, got {status}"]
    kind = "text/event-stream" if recording.is_stream else "application/json"
    if headers.get("content-type", "").partition(";")[0] != kind:
        return [f"content-type: expected {kind}, got {headers.get('content-type')}"]
    return []


def check(client, ingress, recording, is_direct):
    """What is wrong with one recording as one SDK reads it."""
    if ingress == "bytes":
        return untouched(client, recording, is_direct)
    api, expected = _replay.APIS[recording.api], recording.expected
    is_own = api.dialect == ingress
    model = recording.token if is_direct else f"{api.provider}/{recording.token}"
    by_hand = is_own and Path(recording.id).name in BY_HAND
    ask = dict(stream=recording.is_stream, helper=not by_hand)
    if recording.api == "embeddings":
        ask = dict(inputs=expected.get("n_embeddings") or 1)
        ask |= {"encoding": "base64"} if expected.get("encoding") == "base64" else {}
    try:
        said = client.ask(model, **ask)
    except _said.Refused as refused:
        if not expected.get("error"):
            return [f"raised: {refused.error!r}"]
        return _compare.refusals(expected, refused, recording, is_own)
    if expected.get("error"):
        return [f"raised nothing: expected {_compare.short(expected['error'])}"]
    if recording.api == "embeddings":
        return _compare.vectors(expected, said)
    found = _compare.differences(expected, said, ingress, is_own)
    for at, choice in enumerate(expected.get("choices") or []):
        have = (said.get("choices") or [{}] * 99)[at]
        for key, name in (("text", "text"), ("finish_reason", "finish")):
            if choice[key] != have.get(name):
                wanted = _compare.short(choice[key])
                found.append(f"choices[{at}].{name}: expected {wanted}, got {_compare.short(have)}")
    return found


def exceptions(ingress, recording, found):
    """The rows of a table that explain these differences, none if one stays unexplained."""
    table = OWN if _replay.APIS[recording.api].dialect == ingress else CROSS
    rows = [row for row in table if row[0] == ingress and row[1] in recording.id]
    used = [next((row for row in rows if each.startswith(row[2])), None) for each in found]
    return set() if None in used else set(used)


def work(task):
    """Runs in a process of its own: one SDK over its recordings."""
    ingress, base, numbers, is_direct, results = task
    # What providers say beside the letter is in the recordings.
    warnings.simplefilter("ignore")
    chosen = [recording for recording in _replay.recordings() if recording.number in numbers]
    try:
        clients = [speaker(ingress, base)]
        if ingress == "gemini":
            # Without a version the SDK asks below /v1: half of the recordings each way.
            clients.append(_said.Gemini(base, version=None))
    except Exception:
        results.put((ingress, None, [traceback.format_exc()]))
        return
    for recording in chosen:
        try:
            client = clients[recording.number % len(clients)]
            found = check(client, ingress, recording, is_direct)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            found = [f"{type(error).__name__} at {place}: {str(error)[:300]}"]
        results.put((ingress, recording.number, found))


def run(chosen, ingresses, base, jobs, is_direct):
    """Every recording in every SDK: {(ingress, number): differences}; what hangs is missing."""
    until = time.monotonic() + LIMIT
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    waiting = []
    for ingress in ingresses:
        numbers = {
            recording.number
            for recording in chosen
            if ingress in INGRESS[recording.api]
            and (not is_direct or ingress in ("bytes", _replay.APIS[recording.api].dialect))
        }
        if numbers:
            waiting.append((ingress, numbers))
    wanted = sum(len(numbers) for _, numbers in waiting)
    found, running = {}, []
    while len(found) < wanted and time.monotonic() < until:
        running = [process for process in running if process.is_alive()]
        while waiting and len(running) < jobs:
            ingress, numbers = waiting.pop(0)
            task = (ingress, base, numbers, is_direct, results)
            process = context.Process(target=work, args=(task,), daemon=True)
            process.start()
            running.append(process)
        try:
            ingress, number, differences_found = results.get(timeout=0.5)
        except queue.Empty:
            if not running and not waiting:
                break
            continue
        if number is None:
            sys.exit(f"{ingress}: {differences_found[0]}")
        found[ingress, number] = differences_found
    for process in running:
        process.terminate()
    return found, wanted


def report(chosen, ingresses, found, is_direct, show):
    by_number = {recording.number: recording for recording in chosen}
    rows = collections.defaultdict(collections.Counter)
    shown, excepted = [], collections.Counter()
    for (ingress, number), differences_found in sorted(found.items()):
        recording = by_number[number]
        form = "stream" if recording.is_stream else "body"
        if ingress == "gemini":
            form += " v1" if recording.number % 2 else " v1beta"
        row = rows[recording.api, ingress, form]
        row["recordings"] += 1
        why = exceptions(ingress, recording, differences_found)
        if why:
            row["excepted"] += 1
            excepted.update(why)
        elif differences_found:
            row["differ"] += 1
            lines = "\n    ".join(differences_found)
            shown.append(f"{recording.id} by {ingress} ({recording.token}, {form}):\n    {lines}")
        else:
            row["agree"] += 1
    line = "{:18}{:20}{:15}{:>6}{:>7}{:>8}{:>8}"
    print(line.format("API", "SDK dialect", "form", "all", "agree", "except", "differ"))
    total = collections.Counter()
    for (api, ingress, form), row in sorted(rows.items()):
        total.update(row)
        counts = [row[key] for key in ("recordings", "agree", "excepted", "differ")]
        print(line.format(api, ingress, form, *counts))
    for (ingress, id, what, why), count in excepted.items():
        print(f"exception: {count} of {id} by {ingress}: {what}: {why}")
    for line in shown[:show]:
        print(f"DIFFERS  {line}")
    if len(shown) > show:
        print(f"… and {len(shown) - show} more (--show N)")
    known = OWN if is_direct else OWN + CROSS
    return total, set(known) - set(excepted)


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--only", action="append", help="recordings whose id or token holds this")
    parse.add_argument("--ingress", action="append", help="only this SDK dialect, or `bytes`")
    parse.add_argument("--api", action="append", choices=_replay.APIS, help="only these recordings")
    parse.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parse.add_argument("--show", type=int, default=40, help="differences to print")
    parse.add_argument("--direct", action="store_true", help="without understudy")
    options = parse.parse_args()
    if not (_replay.ROOT / "manifest.jsonl").is_file():
        print("recordings: skipped, ../shared is not here")
        return 0
    began = time.monotonic()
    everything = _replay.recordings()
    chosen = [
        recording
        for recording in everything
        if (not options.api or recording.api in options.api)
        and (
            not options.only
            or any(part in recording.id or part == recording.token for part in options.only)
        )
    ]
    known = [*CHATS, "bytes", "completions", "embeddings", "gemini-embeddings"]
    ingresses = [name for name in known if not options.ingress or name in options.ingress]
    with tempfile.TemporaryDirectory() as folder:
        programs = _rig.Programs(folder)
        provider = _rig.Server(_replay.replay(everything))
        codes = {}
        try:
            base = provider.url
            if not options.direct:
                base = programs.understudy(_replay.config(provider.url))
            found, wanted = run(chosen, ingresses, base, options.jobs, options.direct)
        finally:
            codes = programs.stop()
            provider.stop()
        total, unmet = report(chosen, ingresses, found, options.direct, options.show)
        ended_well = all(code == 0 for code in codes.values())
        if not ended_well:
            print(f"FAILED  understudy ended with {codes}\n{programs.log('understudy')[-4000:]}")
    missing = wanted - len(found)
    if missing:
        print(f"FAILED  {missing} of {wanted} were not run within {LIMIT} s")
    stale = unmet if not (options.only or options.api or options.ingress) else ()
    for row in stale:
        print(f"FAILED  no exception any more: {row}")
    took = time.monotonic() - began
    print(
        f"recordings: {total['recordings']} read by SDKs, {total['agree']} agree, "
        f"{total['excepted']} exceptions, {total['differ']} differ, {took:.1f} s"
    )
    return 0 if wanted and not missing and not stale and not total["differ"] and ended_well else 1


if __name__ == "__main__":
    sys.exit(main())
