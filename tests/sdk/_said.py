"""What the official SDKs make of an answer, told in one set of words whatever the SDK.

Each `Speaker` is one SDK endpoint with its client. `ask` returns a dictionary: model, text,
reasoning, refusal, tool_calls [{id, name, arguments, raw}], finish (OpenAI's words), usage, `turn`:
the SDK's own objects to send back with the history, and `pieces`: the text put together from the
events of a stream, which has to be the same text.
"""

import json

FINISH = {
    "anthropic": {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    },
    "gemini": {"STOP": "stop", "MAX_TOKENS": "length"}
    | dict.fromkeys(
        "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY "
        "MODEL_ARMOR IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION".split(),
        "content_filter",
    ),
    "openai": {"function_call": "tool_calls"},
}


class Refused(Exception):
    """An SDK's own error: its class, the HTTP status if it has one, the provider's sentence."""

    def __init__(self, error, status, message, headers):
        super().__init__(message)
        self.error, self.status, self.message, self.headers = error, status, message, headers


def parsed(raw):
    """Arguments as JSON; empty and null are no arguments; None when they do not parse."""
    if not (raw or "").strip() or raw.strip() == "null":
        return {}
    try:
        return json.loads(raw)
    except ValueError:
        return None


def call(id, name, raw):
    return {"id": id, "name": name, "raw": raw, "arguments": parsed(raw)}


def get(value, *path):
    """The value at a path of attributes or keys, None where it ends early."""
    for key in path:
        if value is None:
            return None
        value = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
    return value


def function(name, properties, required=None):
    """A tool in nobody's words; its schema is closed, as strict tools demand."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": sorted(required if required is not None else properties),
        "additionalProperties": False,
    }
    return {"name": name, "description": f"Calls {name}.", "schema": schema}


def added(*counts):
    """The sum of the counts that are there."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


class OpenAi:
    """The chat completions of the openai package."""

    name = "openai"

    def __init__(self, base, key="test", **options):
        import openai

        self.package, self.streamed = openai, True
        options = {"max_retries": 0, "timeout": 20, **options}
        self.client = openai.OpenAI(base_url=f"{base}/v1", api_key=key, **options)

    def guarded(self, action):
        """Runs it; the SDK's error becomes `Refused`."""
        try:
            return action()
        except self.package.APIStatusError as error:
            headers = error.response.headers
            raise Refused(error, error.status_code, error.message, headers) from error
        except self.package.APIError as error:
            raise Refused(error, None, error.message, {}) from error

    def ask(self, model, stream=False, helper=True, messages=None, **more):
        messages = messages or [{"role": "user", "content": "hi"}]
        more = {"model": model, "messages": messages, **more}
        if not stream:
            return self.guarded(lambda: self.said(self.client.chat.completions.create(**more)))
        more["stream_options"] = {"include_usage": True}
        return self.guarded(lambda: self.helped(more) if helper else self.by_hand(more))

    @staticmethod
    def tools(functions, choice="auto"):
        """These tools, and `auto`, `any` or the name of the one to call."""
        return {
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": each["name"],
                        "description": each["description"],
                        "parameters": each["schema"],
                        "strict": True,
                    },
                }
                for each in functions
            ],
            "tool_choice": {"auto": "auto", "any": "required"}.get(choice)
            or {"type": "function", "function": {"name": choice}},
        }

    def helped(self, more):
        """Through the SDK's own accumulator, which is stricter than reading chunks."""
        chunks = []
        with self.client.chat.completions.stream(**more) as events:
            for event in events:
                if event.type == "chunk":
                    chunks.append(event.chunk)
            final = events.current_completion_snapshot
        # The snapshot remembers the last chunk's usage only where the SDK takes it over.
        said = self.said(final)
        told = [chunk.usage for chunk in chunks if chunk.usage]
        said["usage"] = self.usage(told[-1]) if told else None
        said["pieces"] = self.text_of(chunks)
        return said

    def by_hand(self, more):
        """Chunk by chunk, for streams of providers that the accumulator refuses."""
        chunks = list(self.client.chat.completions.create(stream=True, **more))
        deltas = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == 0]
        calls, last = {}, None
        for piece in (p for d in deltas for p in (get(d, "delta", "tool_calls") or [])):
            # Some providers give no index: an id then begins a call.
            if piece.index is not None:
                last = piece.index
            elif piece.id or last is None:
                last = len(calls)
            known = calls.setdefault(last, {"id": None, "name": "", "raw": ""})
            known["id"] = known["id"] or piece.id
            known["name"] = known["name"] or get(piece, "function", "name") or ""
            known["raw"] += get(piece, "function", "arguments") or ""
        told = [chunk.usage for chunk in chunks if chunk.usage]
        text = self.text_of(chunks)
        finish = [d.finish_reason for d in deltas if d.finish_reason]
        return {
            "model": next((c.model for c in chunks if c.model), None),
            "text": text,
            "pieces": text,
            "reasoning": "".join(self.reasoning(d.delta) for d in deltas if d.delta),
            "refusal": "".join(get(d.delta, "refusal") or "" for d in deltas),
            "tool_calls": [call(c["id"], c["name"], c["raw"]) for c in calls.values()],
            "finish": self.finish(finish[-1] if finish else None),
            "usage": self.usage(told[-1]) if told else None,
        }

    @staticmethod
    def text_of(chunks):
        first = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == 0]
        pieces = [get(choice, "delta", "content") or "" for choice in first]
        # A list is Mistral's way to give typed parts.
        return "".join(
            piece if isinstance(piece, str) else parts_of(piece, "text") for piece in pieces
        )

    @staticmethod
    def reasoning(message):
        content = get(message, "content")
        if isinstance(content, list):
            return parts_of(content, "thinking")
        return get(message, "reasoning_content") or get(message, "reasoning") or ""

    @staticmethod
    def finish(word):
        return FINISH["openai"].get(word, word)

    def said(self, answer):
        choice = answer.choices[0]
        message = choice.message
        content = get(message, "content") or ""
        calls = [
            call(c.id, c.function.name, c.function.arguments)
            if get(c, "function")
            else {**call(c.id, c.custom.name, None), "raw": c.custom.input, "arguments": None}
            for c in get(message, "tool_calls") or []
        ]
        if legacy := get(message, "function_call"):
            calls.append(call(None, legacy.name, legacy.arguments))
        return {
            "model": answer.model,
            "text": content if isinstance(content, str) else parts_of(content, "text"),
            "reasoning": self.reasoning(message),
            "refusal": get(message, "refusal") or "",
            "transcript": get(message, "audio", "transcript") or "",
            "tool_calls": calls,
            "finish": self.finish(choice.finish_reason),
            "usage": self.usage(answer.usage),
            "turn": message,
        }

    @staticmethod
    def usage(usage):
        return usage and {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "cached_input_tokens": get(usage, "prompt_tokens_details", "cached_tokens"),
            "reasoning_tokens": get(usage, "completion_tokens_details", "reasoning_tokens"),
        }


def parts_of(content, kind):
    """The words of one kind in a list of typed parts."""
    out = ""
    for part in content:
        if isinstance(part, dict) and part.get("type") == kind:
            inner = part.get(kind)
            out += parts_of(inner, "text") if isinstance(inner, list) else inner or ""
    return out


class Responses(OpenAi):
    """The responses of the openai package."""

    name = "openai-responses"

    def ask(self, model, stream=False, helper=True, messages=None, **more):
        more = {"model": model, "input": messages or "hi", **more}
        if not stream:
            return self.guarded(lambda: self.said(self.client.responses.create(**more)))
        return self.guarded(lambda: self.helped(more) if helper else self.by_hand(more))

    @staticmethod
    def tools(functions, choice="auto"):
        return {
            "tools": [
                {
                    "type": "function",
                    "name": each["name"],
                    "description": each["description"],
                    "parameters": each["schema"],
                    "strict": True,
                }
                for each in functions
            ],
            "tool_choice": {"auto": "auto", "any": "required"}.get(choice)
            or {"type": "function", "name": choice},
        }

    def helped(self, more):
        pieces = []
        with self.client.responses.stream(**more) as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    pieces.append(event.delta)
                self.failure(event)
                if event.type in ("response.completed", "response.incomplete"):
                    final = event.response
        return {**self.said(final), "pieces": "".join(pieces)}

    def by_hand(self, more):
        """Event by event, items as their own `done` events tell them."""
        pieces, items, final = [], [], None
        for event in self.client.responses.create(stream=True, **more):
            self.failure(event)
            if event.type == "response.output_text.delta":
                pieces.append(event.delta)
            if event.type == "response.output_item.done":
                items.append(event.item)
            if event.type in ("response.completed", "response.incomplete"):
                final = event.response
        final.output = final.output or items
        return {**self.said(final), "pieces": "".join(pieces)}

    @staticmethod
    def failure(event):
        """A stream tells a failure in an event; the SDK raises for none of them."""
        if event.type == "error":
            raise Refused(None, None, event.message, {})
        if event.type == "response.failed":
            raise Refused(None, None, get(event.response, "error", "message"), {})

    def said(self, response):
        text, reasoning, refusal, calls = "", "", "", []
        if response.status == "failed":
            raise Refused(None, None, get(response, "error", "message"), {})
        for item in response.output:
            if item.type == "message":
                for part in item.content:
                    text += part.text if part.type == "output_text" else ""
                    refusal += part.refusal if part.type == "refusal" else ""
            elif item.type == "reasoning":
                shown = list(item.summary or []) + list(get(item, "content") or [])
                reasoning += "".join(part.text for part in shown)
            elif item.type == "function_call":
                calls.append(call(item.call_id, item.name, item.arguments))
            elif item.type == "custom_tool_call":
                calls.append(
                    {"id": item.call_id, "name": item.name, "raw": item.input, "arguments": None}
                )
        why = get(response, "incomplete_details", "reason")
        finish = {"max_output_tokens": "length", "max_tokens": "length"}.get(why, why)
        if response.status == "completed":
            finish = "tool_calls" if calls else "stop"
        usage = response.usage
        return {
            "model": response.model,
            "text": text,
            "reasoning": reasoning,
            "refusal": refusal,
            "tool_calls": calls,
            "finish": finish,
            "turn": response.output,
            "usage": usage
            and {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "total_tokens": usage.total_tokens,
                "cached_input_tokens": get(usage, "input_tokens_details", "cached_tokens"),
                "reasoning_tokens": get(usage, "output_tokens_details", "reasoning_tokens"),
            },
        }


class Anthropic:
    """The messages of the anthropic package."""

    name = "anthropic"

    def __init__(self, base, key="test", **options):
        import anthropic

        self.package = anthropic
        options = {"max_retries": 0, "timeout": 20, **options}
        self.client = anthropic.Anthropic(base_url=base, api_key=key, **options)

    guarded = OpenAi.guarded

    def ask(self, model, stream=False, helper=True, messages=None, **more):
        messages = messages or [{"role": "user", "content": "hi"}]
        more = {"model": model, "max_tokens": 1024, "messages": messages, **more}
        if not stream:
            return self.guarded(lambda: self.said(self.client.messages.create(**more)))
        return self.guarded(lambda: self.helped(more))

    @staticmethod
    def tools(functions, choice="auto"):
        return {
            "tools": [
                {
                    "name": each["name"],
                    "description": each["description"],
                    "input_schema": each["schema"],
                }
                for each in functions
            ],
            "tool_choice": {"type": choice}
            if choice in ("auto", "any")
            else {"type": "tool", "name": choice},
        }

    def helped(self, more):
        pieces = []
        with self.client.messages.stream(**more) as events:
            for event in events:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    pieces.append(event.delta.text)
            final = events.get_final_message()
        return {**self.said(final), "pieces": "".join(pieces)}

    @staticmethod
    def said(message):
        blocks = message.content
        usage = message.usage
        calls = [
            {"id": b.id, "name": b.name, "raw": None, "arguments": b.input}
            for b in blocks
            if b.type == "tool_use"
        ]
        return {
            "model": message.model,
            "text": "".join(b.text for b in blocks if b.type == "text"),
            "reasoning": "".join(b.thinking for b in blocks if b.type == "thinking"),
            "refusal": "",
            "tool_calls": calls,
            "finish": FINISH["anthropic"].get(message.stop_reason),
            "turn": blocks,
            "usage": {
                "input_tokens": added(
                    usage.input_tokens,
                    usage.cache_read_input_tokens,
                    usage.cache_creation_input_tokens,
                ),
                "output_tokens": usage.output_tokens,
                "cached_input_tokens": usage.cache_read_input_tokens,
                "cache_write_tokens": usage.cache_creation_input_tokens,
                "reasoning_tokens": get(usage, "output_tokens_details", "thinking_tokens"),
            },
        }


class Gemini:
    """The models of google-genai; without a version it calls the SDK's own choice of path."""

    name = "gemini"

    def __init__(self, base, key="test", version="v1beta", timeout=20):
        from google import genai
        from google.genai import errors

        options = {"base_url": base, "timeout": timeout * 1000}
        if version:
            options["api_version"] = version
        self.package = errors
        self.client = genai.Client(api_key=key, http_options=options)

    def guarded(self, action):
        try:
            return action()
        except self.package.APIError as error:
            headers = getattr(error.response, "headers", None) or {}
            raise Refused(error, error.code, error.message, headers) from error

    @staticmethod
    def tools(functions, choice="auto"):
        mode = {"auto": {"mode": "AUTO"}, "any": {"mode": "ANY"}}.get(choice)
        calling = mode or {"mode": "ANY", "allowed_function_names": [choice]}
        declared = [
            {
                "name": each["name"],
                "description": each["description"],
                "parameters_json_schema": each["schema"],
            }
            for each in functions
        ]
        return {
            "config": {
                "tools": [{"function_declarations": declared}],
                "tool_config": {"function_calling_config": calling},
                "automatic_function_calling": {"disable": True},
            }
        }

    def ask(self, model, stream=False, helper=True, messages=None, config=None):
        ask = dict(model=model, contents=messages or "hi", config=config)
        models = self.client.models

        def run():
            if not stream:
                return self.said([models.generate_content(**ask)])
            chunks = list(models.generate_content_stream(**ask))
            return {**self.said(chunks), "chunks": len(chunks)}

        return self.guarded(run)

    @staticmethod
    def said(chunks):
        candidates = [c.candidates[0] for c in chunks if c.candidates]
        parts = [p for c in candidates for p in get(c, "content", "parts") or []]
        calls = [
            {
                "id": p.function_call.id,
                "name": p.function_call.name,
                "raw": None,
                "arguments": p.function_call.args or {},
            }
            for p in parts
            if p.function_call
        ]
        finish = [c.finish_reason.value for c in candidates if c.finish_reason]
        finish = FINISH["gemini"].get(finish[-1]) if finish else None
        if any(get(c, "prompt_feedback", "block_reason") for c in chunks):
            finish = "content_filter"
        told = [c.usage_metadata for c in chunks if c.usage_metadata]
        usage = told[-1] if told else None
        text = "".join(p.text for p in parts if p.text and not p.thought)
        return {
            "model": next((c.model_version for c in chunks if c.model_version), None),
            "text": text,
            "reasoning": "".join(p.text for p in parts if p.text and p.thought),
            "refusal": "",
            "tool_calls": calls,
            "finish": "tool_calls" if finish == "stop" and calls else finish,
            "turn": parts,
            "usage": usage
            and {
                "input_tokens": usage.prompt_token_count,
                "output_tokens": added(usage.candidates_token_count, usage.thoughts_token_count),
                "total_tokens": usage.total_token_count,
                "cached_input_tokens": usage.cached_content_token_count,
                "reasoning_tokens": usage.thoughts_token_count,
            },
        }


SPEAKERS = {speaker.name: speaker for speaker in (OpenAi, Responses, Anthropic, Gemini)}
