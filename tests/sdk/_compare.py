"""What an SDK understood of a recording, held against what people read in it."""

import json

import _said


def differences(expected, said, ingress, is_own):
    """What the SDK understood otherwise; every allowance names what the dialect cannot say."""
    out = []

    def same(what, want, have):
        if want != have:
            out.append(f"{what}: expected {short(want)}, got {short(have)}")

    if expected.get("model"):
        same("model", expected["model"], said["model"])
    words(expected, said, ingress, same)
    if not tool_calls(expected, said, ingress, is_own, same):
        return out
    # Where nothing is expected, nothing is prescribed.
    if expected.get("finish_reason"):
        # The old function_call is a tool call.
        word = expected["finish_reason"]
        wanted = {_said.FINISH["openai"].get(word, word)}
        if expected.get("refusal") and ingress in ("anthropic", "gemini"):
            # These refuse by their reason to stop.
            wanted.add("content_filter")
        if said["finish"] not in wanted:
            same("finish", word, said["finish"])
    usage(expected.get("usage"), said["usage"], ingress, same)
    if "pieces" in said:
        same("text of the stream's events", said["text"], said["pieces"])
    return out


def words(expected, said, ingress, same):
    text, reasoning = expected.get("text") or "", expected.get("reasoning") or ""
    refusal = expected.get("refusal") or ""
    transcript = expected.get("audio_transcript") or ""
    if said.get("transcript"):
        same("transcript", transcript, said["transcript"])
    elif transcript and not text:
        # Only chat has words beside a sound; elsewhere they are the text.
        text = transcript
    if refusal and ingress in ("anthropic", "gemini"):
        # They have no words of refusal beside the text.
        text, refusal = text + refusal, ""
    plan = expected.get("tool_plan") or ""
    if plan and said["reasoning"] == reasoning + plan:
        # What Cohere plans is neither words nor thoughts by the expectation; it may be thoughts.
        reasoning += plan
    same("text", text, said["text"])
    same("reasoning", reasoning, said["reasoning"])
    same("refusal", refusal, said["refusal"])


def tool_calls(expected, said, ingress, is_own, same):
    wanted, had = expected.get("tool_calls") or [], said["tool_calls"]
    names = [call["name"] for call in wanted], [call["name"] for call in had]
    if names[0] != names[1]:
        same("tool calls", *names)
        return False
    for at, (want, have) in enumerate(zip(wanted, had)):
        if want["id"]:
            same(f"id of tool call {at}", want["id"], have["id"])
        elif ingress != "gemini" and not is_own and not have["id"]:
            same(f"id of tool call {at}", "any", have["id"])
        what = f"arguments of tool call {at}"
        if want.get("custom_input") is not None:
            # Free text: JSON dialects may wrap it, but have to hold it.
            text = want["custom_input"]
            holder = have["raw"] if have["raw"] is not None else have["arguments"]
            held = holder == text or text in leaves(holder) or parsed_is(text, have["arguments"])
            same(what, text, text if held else holder)
        elif want["arguments"] is not None:
            same(what, want["arguments"], have["arguments"])
        elif have["raw"] is not None:
            # Broken JSON; Anthropic's and Google's SDKs give objects only and cannot show it.
            same(what, want["arguments_raw"], have["raw"])
    ids = [call["id"] for call in had if call["id"]]
    if not is_own:
        same("distinct ids of tool calls", len(ids), len(set(ids)))
    return True


def leaves(value):
    """The strings in a JSON value, which may still be text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [leaf if isinstance(leaf, str) else json.dumps(leaf) for leaf in value]
    return [json.dumps(value)]


def parsed_is(text, arguments):
    try:
        return arguments is not None and json.loads(text) == arguments
    except ValueError:
        return False


def usage(want, have, ingress, same):
    if have and all(count is None for count in have.values()):
        have = None
    if not want:
        # Anthropic's messages cannot go without: there it is an estimate.
        if ingress != "anthropic":
            same("usage", None, have)
        return
    if not have:
        same("usage", want, have)
        return
    want = dict(want)
    thought = want.get("reasoning_tokens") or 0
    beside = want["input_tokens"] + want["output_tokens"] + thought == want.get("total_tokens")
    if ingress == "gemini" and thought and beside:
        # xAI counts thoughts beside the answer's tokens; in Gemini's words both are output.
        want["output_tokens"] += thought
    for key in ("input_tokens", "output_tokens"):
        same(key, want[key], have[key])
    if "total_tokens" in have and want.get("total_tokens") is not None:
        same("total_tokens", want["total_tokens"], have["total_tokens"])
    elif have.get("total_tokens") is not None:
        total = want["input_tokens"] + want["output_tokens"]
        same("total_tokens", total, have["total_tokens"])
    for key in ("cached_input_tokens", "reasoning_tokens"):
        # Of these an SDK's type may demand a number where the provider says nothing.
        if key in have:
            same(key, want.get(key) or 0, have[key] or 0)
    written = want.get("cache_write_tokens")
    cached = (want.get("cached_input_tokens") or 0) + (written or 0)
    if "cache_write_tokens" in have and written is not None and cached <= want["input_tokens"]:
        # Anthropic's counts are parts of the input; OpenRouter's may overlap.
        same("cache_write_tokens", written, have["cache_write_tokens"] or 0)


def short(value):
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 240 else f"{text[:150]} … {text[-80:]} ({len(text)} characters)"


def refusals(expected, refused, recording, is_own):
    """What is wrong with an SDK's error for a recorded one."""
    out = []
    error = expected["error"]
    if error["message"] not in (refused.message or ""):
        out.append(f"error: expected {short(error['message'])}, got {short(refused.message)}")
    if recording.status >= 400:
        if refused.status != recording.status:
            out.append(f"status: expected {recording.status}, got {refused.status}")
    elif not recording.is_stream and not is_own and (refused.status or 0) < 400:
        out.append(f"status: expected an error's, got {refused.status}")
    if delay := error.get("retry_delay"):
        # Only the body tells it; other dialects tell it by a header.
        wait = refused.headers.get("retry-after")
        seconds = float(delay.rstrip("s"))
        if not is_own and not (wait and seconds <= float(wait) <= seconds + 1):
            out.append(f"retry-after: expected {delay}, got {wait}")
    return out


def vectors(expected, said):
    out = []
    have = {
        "n_embeddings": len(said["vectors"]),
        "dimensions": len(said["vectors"][0]) if said["vectors"] else None,
        "model": said.get("model", expected["model"]),
        "input_tokens": said.get("input_tokens", expected["usage"]["input_tokens"]),
    }
    want = expected | {"input_tokens": expected["usage"]["input_tokens"]}
    want["dimensions"] = expected["dimensions"][0]
    for key, value in have.items():
        if value != want[key]:
            out.append(f"{key}: expected {want[key]}, got {value}")
    if not all(isinstance(number, float) for vector in said["vectors"] for number in vector):
        out.append("a vector holds something that is no number")
    return out
