"""Writes scripted answers as providers write them, whole and as streams.

An answer is {model, reasoning, seal, text, calls: [(id, name, arguments)]}; `WRITERS` hold one
writer a dialect, which gives a body or, for a stream, its pieces.
"""

import base64
import json

THOUGHT = "The person wants weather and time; I look both up."
SEALS = {
    "openai-responses": "gAAAAABencrypted+reasoning/==",
    "anthropic": "EqQBCkgIBRABGAIiQsigned+thinking/==",
    "gemini": base64.b64encode(b"a thought that is signed").decode(),
}


def pieces(text, size=7):
    return [text[at : at + size] for at in range(0, len(text), size)]


def sse(events, named=False):
    out = []
    for event in events:
        head = f"event: {event['type']}\n" if named else ""
        out.append(f"{head}data: {json.dumps(event)}\n\n".encode())
    return out


def write_openai(answer, stream):
    calls = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for id, name, given in answer["calls"]
    ]
    finish = "tool_calls" if calls else "stop"
    usage = {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}
    base = {"id": "chatcmpl-1", "created": 1700000000, "model": answer["model"]}
    if not stream:
        message = {"role": "assistant", "content": answer["text"] or None}
        message |= {"tool_calls": calls} if calls else {}
        message |= {"reasoning_content": answer["reasoning"]} if answer["reasoning"] else {}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return base | {"object": "chat.completion", "choices": [choice], "usage": usage}
    deltas = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in pieces(answer["reasoning"])]
    deltas += [{"content": piece} for piece in pieces(answer["text"])]
    for at, each in enumerate(calls):
        function = each["function"]
        first = each | {"index": at, "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"tool_calls": [first]})
        for piece in pieces(function["arguments"]):
            deltas.append({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
    base["object"] = "chat.completion.chunk"
    chunks = [
        base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    chunks.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append(base | {"choices": [], "usage": usage})
    return [*sse(chunks), b"data: [DONE]\n\n"]


def write_responses(answer, stream):
    items = []
    if answer["reasoning"]:
        summary = [{"type": "summary_text", "text": answer["reasoning"]}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": summary})
        items[-1] |= {"encrypted_content": answer["seal"]} if answer["seal"] else {}
    if answer["text"]:
        text = {"type": "output_text", "text": answer["text"], "annotations": []}
        items.append({"type": "message", "id": "msg_1", "role": "assistant", "content": [text]})
    for at, (id, name, given) in enumerate(answer["calls"]):
        items.append(
            {"type": "function_call", "id": f"fc_{at}", "call_id": id, "name": name}
            | {"arguments": json.dumps(given)}
        )
    items = [
        item if item["type"] == "reasoning" else item | {"status": "completed"} for item in items
    ]
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "status": "completed",
        "model": answer["model"],
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 30,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 12,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 42,
        },
    }
    if not stream:
        return response
    begun = response | {"status": "in_progress", "output": [], "usage": None}
    events = [{"type": "response.created", "response": begun}]
    for at, item in enumerate(items):
        events += responses_item(at, item)
    events.append({"type": "response.completed", "response": response})
    return sse([event | {"sequence_number": n} for n, event in enumerate(events)], named=True)


def responses_item(at, item):
    """The events of one item."""
    where = {"item_id": item["id"], "output_index": at}
    empty = dict(item)
    kind = item["type"]
    if kind == "reasoning":
        empty["summary"] = []
        spot = where | {"summary_index": 0}
        text = item["summary"][0]["text"]
        begin = {"part": {"type": "summary_text", "text": ""}}
        inner = [{"type": "response.reasoning_summary_part.added"} | spot | begin]
        word = "response.reasoning_summary_text"
        inner += [{"type": f"{word}.delta", "delta": piece} | spot for piece in pieces(text)]
        inner.append({"type": f"{word}.done", "text": text} | spot)
        end = {"type": "response.reasoning_summary_part.done"}
        inner.append(end | spot | {"part": item["summary"][0]})
    elif kind == "message":
        empty |= {"content": [], "status": "in_progress"}
        spot = where | {"content_index": 0}
        part = item["content"][0]
        begin = {"part": part | {"text": ""}}
        inner = [{"type": "response.content_part.added"} | spot | begin]
        word = "response.output_text"
        inner += [
            {"type": f"{word}.delta", "delta": piece, "logprobs": []} | spot
            for piece in pieces(part["text"])
        ]
        inner.append({"type": f"{word}.done", "text": part["text"], "logprobs": []} | spot)
        inner.append({"type": "response.content_part.done", "part": part} | spot)
    else:
        empty |= {"arguments": "", "status": "in_progress"}
        word = "response.function_call_arguments"
        text = item["arguments"]
        inner = [{"type": f"{word}.delta", "delta": piece} | where for piece in pieces(text)]
        inner.append({"type": f"{word}.done", "arguments": text, "name": item["name"]} | where)
    first = {"type": "response.output_item.added", "output_index": at, "item": empty}
    return [first, *inner, {"type": "response.output_item.done", "output_index": at, "item": item}]


def write_anthropic(answer, stream):
    blocks = []
    if answer["reasoning"]:
        thinking = {"type": "thinking", "thinking": answer["reasoning"]}
        blocks.append(thinking | {"signature": answer["seal"] or ""})
    if answer["text"]:
        blocks.append({"type": "text", "text": answer["text"]})
    for id, name, given in answer["calls"]:
        blocks.append({"type": "tool_use", "id": id, "name": name, "input": given})
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": answer["model"],
        "content": blocks,
        "stop_reason": "tool_use" if answer["calls"] else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 30, "output_tokens": 12},
    }
    if not stream:
        return message
    begun = message | {"content": [], "stop_reason": None}
    begun["usage"] = {"input_tokens": 30, "output_tokens": 1}
    events = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for at, block in enumerate(blocks):
        kind = block["type"]
        if kind == "thinking":
            empty = {"type": kind, "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": piece} for piece in pieces(block[kind])
            ]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif kind == "text":
            empty = block | {"text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        else:
            empty = block | {"input": {}}
            deltas = [
                {"type": "input_json_delta", "partial_json": piece}
                for piece in pieces(json.dumps(block["input"]))
            ]
        events.append({"type": "content_block_start", "index": at, "content_block": empty})
        events += [{"type": "content_block_delta", "index": at, "delta": d} for d in deltas]
        events.append({"type": "content_block_stop", "index": at})
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 12}})
    events.append({"type": "message_stop"})
    return sse(events, named=True)


def write_gemini(answer, stream):
    thoughts = [{"text": text, "thought": True} for text in pieces(answer["reasoning"], 20)]
    said = [{"text": text} for text in pieces(answer["text"], 20)]
    calls = [{"functionCall": {"name": name, "args": given}} for _, name, given in answer["calls"]]
    if calls and answer["seal"]:
        # The first of parallel calls is signed for all.
        calls[0]["thoughtSignature"] = answer["seal"]
    base = {"modelVersion": answer["model"], "responseId": "r-1"}
    usage = {"promptTokenCount": 30, "candidatesTokenCount": 12, "totalTokenCount": 42}

    def chunk(parts, end):
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        candidate |= {"finishReason": "STOP"} if end else {}
        return base | {"candidates": [candidate]} | ({"usageMetadata": usage} if end else {})

    parts = thoughts + said + calls
    if not stream:
        return chunk(parts, True)
    return sse([chunk([part], at + 1 == len(parts)) for at, part in enumerate(parts)])


WRITERS = {
    "openai": write_openai,
    "openai-responses": write_responses,
    "anthropic": write_anthropic,
    "gemini": write_gemini,
}


def error(dialect, message):
    """A refusal in the dialect's own words."""
    if dialect == "anthropic":
        inner = {"type": "invalid_request_error", "message": message}
        return {"type": "error", "error": inner}
    if dialect == "gemini":
        return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}
