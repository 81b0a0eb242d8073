"""Agents with tools in 50/50 experiments: no conversation changes its variant on the way.

Agents of the openai package (chat completions; responses with previous_response_id) and of the
anthropic package (plain; with signed thoughts) hold conversations of several turns. Chat and plain
messages are answered by `understudy simulate`. It keeps no responses and signs no thoughts, so
those who do are scripted here, and refuse what is not their own as their originals do.
Run with the built program in UNDERSTUDY_BIN; prints one line per agent, exits 1 if any fails.
"""

import collections
import concurrent.futures
import itertools
import json
import os
import sys
import tempfile
import time
import traceback

import anthropic
import openai

import _answers
import _rig

CONVERSATIONS = 40
TURNS = 3
QUESTION = "Call get_weather for harbour {number}, turn {turn}."
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
RESULT = json.dumps({"sky": "clear", "degrees": -4})
# What was assigned, and who answered.
EXPERIMENT, TARGET = "x-understudy-experiment", "x-understudy-target"
NUMBERS = itertools.count()


class Refused(Exception):
    """What a scripted provider says no to."""


def keeper(name):
    """The Responses API of a provider that keeps responses: it knows its own ids only."""
    kept = set()

    def reply(asked):
        previous = asked.get("previous_response_id")
        if previous is not None and previous not in kept:
            raise Refused(f"Previous response with id '{previous}' not found.")
        for item in asked["input"] if isinstance(asked["input"], list) else []:
            sealed = item.get("encrypted_content") or name
            if not sealed.startswith(name):
                raise Refused(f"The encrypted content {sealed} could not be verified.")
        last = asked["input"][-1] if isinstance(asked["input"], list) else {}
        is_result = last.get("type") == "function_call_output"
        id = f"resp_{name}_{next(NUMBERS)}"
        kept.add(id)
        written = _answers.write_responses(script(name, asked, is_result), asked.get("stream"))
        return written, ("resp_1", id)

    return reply


def signer(name):
    """The Messages API of a provider that signs thoughts: it takes back its own only."""

    def reply(asked):
        blocks = [
            block
            for turn in asked["messages"]
            if isinstance(turn["content"], list)
            for block in turn["content"]
        ]
        signed = [block for block in blocks if block["type"] == "thinking"]
        if not all(block["signature"].startswith(name) for block in signed):
            raise Refused("Invalid `signature` in `thinking` block")
        is_result = bool(blocks) and blocks[-1]["type"] == "tool_result"
        written = _answers.write_anthropic(script(name, asked, is_result), asked.get("stream"))
        return written, ("msg_1", f"msg_{next(NUMBERS)}")

    return reply


def script(name, asked, is_result):
    """A thought and a call, and words after the call's result."""
    answer = {"model": asked["model"], "reasoning": "", "seal": None, "text": "", "calls": []}
    if is_result:
        return answer | {"text": "It is clear."}
    call = (f"call_{next(NUMBERS)}", "get_weather", {"city": "Hammerfest"})
    thought = {"reasoning": _answers.THOUGHT, "seal": f"{name}-{next(NUMBERS)}"}
    return answer | thought | {"calls": [call]}


def serve(dialect, reply):
    def answer(method, path, headers, body):
        json_type = {"content-type": "application/json"}
        try:
            written, (old, new) = reply(json.loads(body))
        except Refused as refused:
            return 400, json_type, json.dumps(_answers.error(dialect, str(refused))).encode()
        if isinstance(written, list):
            pieces = [piece.replace(old.encode(), new.encode()) for piece in written]
            return 200, {"content-type": "text/event-stream"}, pieces
        return 200, json_type, json.dumps(written).replace(old, new).encode()

    return _rig.Server(answer)


def chat(base, number, told):
    """the openai package's chat completions, with the simulator"""
    client = openai.OpenAI(base_url=f"{base}/v1", api_key="sk-test", max_retries=0)
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
    messages = [{"role": "system", "content": "You are a harbour master."}]
    for turn in range(TURNS):
        messages.append({"role": "user", "content": QUESTION.format(number=number, turn=turn)})
        while True:
            raw = client.chat.completions.with_raw_response.create(
                model="chat-bot", messages=messages, tools=[tool]
            )
            told(raw.headers)
            message = raw.parse().choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            if not message.tool_calls:
                break
            for call in message.tool_calls:
                result = {"role": "tool", "tool_call_id": call.id, "content": RESULT}
                messages.append(result)


def responses(base, number, told):
    """the openai package's responses, each going on from the one before"""
    client = openai.OpenAI(base_url=f"{base}/v1", api_key="sk-test", max_retries=0)
    tool = {"type": "function", "name": "get_weather", "parameters": CITY, "strict": False}
    previous = openai.NOT_GIVEN
    for turn in range(TURNS):
        given = [{"role": "user", "content": QUESTION.format(number=number, turn=turn)}]
        while given:
            raw = client.responses.with_raw_response.create(
                model="responses-bot",
                input=given,
                tools=[tool],
                previous_response_id=previous,
                stream=number % 2 == 0,
            )
            told(raw.headers)
            answer = raw.parse()
            if number % 2 == 0:
                answer = [event for event in answer if event.type == "response.completed"][0]
                answer = answer.response
            previous = answer.id
            calls = [item for item in answer.output if item.type == "function_call"]
            given = [
                {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
                for call in calls
            ]


def messages_with(model, **options):
    """An agent of the anthropic package; gives the history it ends with."""

    def agent(base, number, told, history=(), turns=TURNS):
        client = anthropic.Anthropic(base_url=base, api_key="sk-test", max_retries=0)
        tool = {"name": "get_weather", "input_schema": CITY}
        history = list(history)
        for turn in range(turns):
            question = QUESTION.format(number=number, turn=turn)
            history.append({"role": "user", "content": question})
            while True:
                with client.messages.stream(
                    model=model, max_tokens=2048, messages=history, tools=[tool], **options
                ) as stream:
                    told(stream.response.headers)
                    message = stream.get_final_message()
                content = [block.model_dump(exclude_none=True) for block in message.content]
                content = [{k: v for k, v in b.items() if k != "caller"} for b in content]
                history.append({"role": "assistant", "content": content})
                calls = [block for block in message.content if block.type == "tool_use"]
                if not calls:
                    break
                results = [
                    {"type": "tool_result", "tool_use_id": call.id, "content": RESULT}
                    for call in calls
                ]
                history.append({"role": "user", "content": results})
        return history

    return agent


THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
plain = messages_with("plain-bot")
plain.__doc__ = "the anthropic package's messages, with the simulator"
thinking = messages_with("thinking-bot", **THINKING)
thinking.__doc__ = "the anthropic package's messages with signed thoughts, across dialects"
AGENTS = {"chat": chat, "responses": responses, "plain": plain, "thinking": thinking}


def converse(base, agent):
    """Holds all conversations; gives what each was told, request by request."""

    def one(number):
        seen = []
        agent(base, number, lambda headers: seen.append((headers[EXPERIMENT], headers[TARGET])))
        return seen

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(CONVERSATIONS)))


def keeps(name, base):
    """Every conversation has one variant and one target, and both variants have conversations."""
    told = converse(base, AGENTS[name])
    for number, seen in enumerate(told):
        assert len(set(seen)) == 1, f"conversation {number} moved: {seen}"
        assert len(seen) >= 2 * TURNS, f"conversation {number} called no tool: {seen}"
    share = collections.Counter(seen[0][0] for seen in told)
    assert set(share) == {f"{name}=control", f"{name}=next"}, share
    # Of 40 at one half, fewer than 7 would come by chance once in 250,000 runs; units are fixed.
    assert min(share.values()) >= 7, share
    return f"{len(told)} conversations, {sum(map(len, told))} requests, {dict(share)}"


def stays_with_its_signer(base):
    """a history signed before the experiment stays with who can read it, whatever is assigned"""
    before = messages_with("signer/m", **THINKING)
    seen = []

    def one(number):
        history = before(f"{base}/signer", number + 1000, lambda _: None, turns=1)

        def told(headers):
            seen.append((headers[EXPERIMENT], headers[TARGET]))

        thinking(base, number + 1000, told, history, turns=1)

    for number in range(12):
        one(number)
    assert {target for _, target in seen} == {"signer/m"}, seen
    assert {assigned for assigned, _ in seen} == {"thinking=control", "thinking=next"}, seen
    return f"{len(seen)} requests"


def experiment(name, control, candidate):
    return {
        "experiment": name,
        "match": {"route": f"{name}-bot"},
        "control": {"target": control},
        "candidates": {"next": {"target": candidate}},
        "traffic": {"split": {"next": "50%"}},
        "evaluate": {"comparators": ["exact"]},
    }


def start(programs, folder):
    """The providers, the experiments, and the sidecar; gives the address of the last."""
    (port,) = _rig.free_ports(1)
    programs.start("simulate", _rig.binary(), "simulate", "--listen", f"127.0.0.1:{port}")
    simulated = f"http://127.0.0.1:{port}"
    programs.wait(simulated)
    openai_responses, messages = "openai-responses", "anthropic"
    providers = {"signer": (messages, serve(messages, signer("signer")).url)}
    for name in ("keeper-a", "keeper-b"):
        providers[name] = (openai_responses, serve(openai_responses, keeper(name)).url + "/v1")
    for name in ("chat-a", "chat-b"):
        providers[name] = ("openai", simulated + "/v1")
    for name in ("plain-a", "plain-b"):
        providers[name] = (messages, simulated)
    pairs = {
        "chat": ("chat-a/m", "chat-b/n"),
        "responses": ("keeper-a/m", "keeper-b/n"),
        "plain": ("plain-a/m", "plain-b/n"),
        "thinking": ("signer/m", "keeper-b/n"),
    }
    config = {
        "providers": {
            name: {"dialect": dialect, "base_url": url, "api_keys": [{"value": "sk-test"}]}
            for name, (dialect, url) in providers.items()
        },
        "routes": {f"{name}-bot": {"targets": [pair[0]]} for name, pair in pairs.items()},
        "cache": {"mode": "off"},
    }
    definitions = os.path.join(folder, "experiments")
    os.mkdir(definitions)
    for name, pair in pairs.items():
        with open(os.path.join(definitions, f"{name}.yaml"), "w") as file:
            json.dump(experiment(name, *pair), file)
    return programs.understudy(config)


def main():
    began, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        programs = _rig.Programs(folder)
        base = start(programs, folder)
        checks = [
            (agent.__doc__, lambda name=name: keeps(name, base)) for name, agent in AGENTS.items()
        ]
        checks.append((stays_with_its_signer.__doc__, lambda: stays_with_its_signer(base)))
        for what, check in checks:
            try:
                print(f"ok      {what} ({check()})")
            except Exception:
                failed += 1
                print(f"FAILED  {what}\n{traceback.format_exc()}")
        codes = programs.stop()
        if any(codes.values()):
            failed += 1
            print(f"FAILED  all programs end with 0 when asked to: {codes}")
        if failed:
            print(programs.log("understudy"))
    print(f"{len(checks)} checks, {failed} failed, {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
