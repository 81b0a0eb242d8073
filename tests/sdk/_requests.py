"""Reads requests as the providers' own documentation has them.

`READERS` hold one reader a dialect: it refuses what the official types of that API do not allow and
what the API's own rules forbid, and tells the rest in words that are the same for all:

    {system, turns: [[role, [part, …]], …], tools: {name: schema}, choice, schema, max_tokens,
     temperature, stream, seals}

where a part is `text:…`, `image:MIME:BASE64`, `call:NAME:JSON` or `result:NAME:JSON`.
"""

import json
import threading

import _answers


class Invalid(Exception):
    """The request is not one of this dialect."""


def expect(condition, what):
    if not condition:
        raise Invalid(what)


ADAPTERS = {}
# Iterables are checked late, by an adapter that must not have been replaced in the meantime.
LOCK = threading.Lock()


def checked(name, body, known=()):
    """Holds a body against the SDK's own type of the request: wrong or unknown fields are told.

    `known` are fields that compatible providers have and the official type has not.
    """
    import pydantic

    try:
        with LOCK:
            if name not in ADAPTERS:
                ADAPTERS[name] = pydantic.TypeAdapter(official(name))
            read = exhausted(ADAPTERS[name].validate_python(body))
    except pydantic.ValidationError as error:
        # Of a union's many complaints the deepest is the one about what was meant.
        worst = sorted(error.errors(include_url=False), key=lambda each: -len(each["loc"]))[:3]
        told = "; ".join(
            f"{'.'.join(str(step) for step in each['loc'][-5:])}: {each['msg']}" for each in worst
        )
        raise Invalid(f"not as {name} is typed: {told}") from None
    strange = [path for path in unknown(body, read, "") if path.rpartition(".")[2] not in known]
    expect(not strange, f"fields that {name} does not have: {strange}")


def official(name):
    if name == "openai":
        from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

        return CompletionCreateParamsNonStreaming
    if name == "openai-responses":
        from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

        return ResponseCreateParamsNonStreaming
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    return MessageCreateParamsNonStreaming


def exhausted(value):
    """The SDKs' types say Iterable, which is only checked when it is walked through."""
    if isinstance(value, dict):
        return {key: exhausted(each) for key, each in value.items()}
    if isinstance(value, (str, bytes, int, float, type(None))) or not hasattr(value, "__iter__"):
        return value
    return [exhausted(each) for each in value]


def unknown(given, read, path):
    """The paths of fields that were given and that the type did not take."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            if key not in read:
                yield f"{path}.{key}"
            else:
                yield from unknown(value, read[key], f"{path}.{key}")
    if isinstance(given, list) and isinstance(read, list):
        for at, (left, right) in enumerate(zip(given, read)):
            yield from unknown(left, right, f"{path}[{at}]")


def normal_result(value):
    """What a tool gave: JSON where it is JSON, without the object that some dialects put around."""
    if isinstance(value, list):
        value = "".join(part["text"] for part in value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict) and len(value) == 1:
        [(key, inner)] = value.items()
        if key in ("result", "output", "content", "response"):
            return normal_result(inner)
    return value


def normal_schema(schema):
    """What every dialect can say of a schema."""
    if not isinstance(schema, dict):
        return schema
    out = {"type": str(schema.get("type", "")).lower()}
    if "properties" in schema:
        out["properties"] = {
            name: normal_schema(each) for name, each in schema["properties"].items()
        }
        out["required"] = sorted(schema.get("required") or [])
    if "items" in schema:
        out["items"] = normal_schema(schema["items"])
    return out


def call(name, arguments):
    return f"call:{name}:{json.dumps(arguments, sort_keys=True)}"


def result(name, value):
    return f"result:{name}:{json.dumps(normal_result(value), sort_keys=True, ensure_ascii=False)}"


def data_url(url):
    expect(url.startswith("data:") and ";base64," in url, "an image that is no data URL")
    mime, _, data = url[5:].partition(";base64,")
    return f"image:{mime}:{data}"


class Turns:
    """Collects parts into turns; parts of one role in a row are one turn."""

    def __init__(self):
        self.turns, self.names, self.open, self.seals = [], {}, [], []

    def add(self, role, *parts):
        if not self.turns or self.turns[-1][0] != role:
            expect(role in ("tool", "assistant") or not self.open, f"no results for {self.open}")
            self.turns.append([role, []])
        into = self.turns[-1][1]
        for part in parts:
            if part.startswith("text:") and into and into[-1].startswith("text:"):
                # Where a text was cut into parts is nobody's concern.
                into[-1] += part.removeprefix("text:")
            elif part != "text:":
                into.append(part)

    def call(self, id, name, arguments):
        expect(id and id not in self.names, f"a call's id {id!r} is missing or given twice")
        self.names[id] = name
        self.open.append(id)
        self.add("assistant", call(name, arguments))

    def result(self, id, value):
        expect(id in self.open, f"a result for {id!r}, but the open calls are {self.open}")
        self.open.remove(id)
        self.add("tool", result(self.names[id], value))

    def told(self, **more):
        expect(not self.open, f"no results for {self.open}")
        return {"turns": self.turns, "seals": self.seals, **more}


def read_openai(path, body):
    stream = body.get("stream") or False
    expect(path == "/v1/chat/completions", f"path {path}")
    checked(
        "openai",
        {key: value for key, value in body.items() if key != "stream"},
        ("reasoning_content", "reasoning"),
    )
    turns, system = Turns(), []
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        words = [
            f"text:{part['text']}" if part["type"] == "text" else data_url(part["image_url"]["url"])
            for part in parts
        ]
        if role in ("system", "developer"):
            system += [word.removeprefix("text:") for word in words]
        elif role == "tool":
            turns.result(message["tool_call_id"], content)
        else:
            turns.add(role, *words)
            for each in message.get("tool_calls") or []:
                function = each["function"]
                turns.call(each["id"], function["name"], json.loads(function["arguments"]))
    choice = body.get("tool_choice")
    form = body.get("response_format") or {}
    expect(form.get("type") in (None, "json_schema"), f"response_format {form}")
    return turns.told(
        system="\n".join(system),
        tools={
            tool["function"]["name"]: normal_schema(tool["function"]["parameters"])
            for tool in body.get("tools") or []
        },
        choice={"required": "any"}.get(choice, choice)
        if isinstance(choice, str)
        else choice and choice["function"]["name"],
        schema=normal_schema(form.get("json_schema", {}).get("schema")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        temperature=body.get("temperature"),
        stream=stream,
    )


def read_responses(path, body):
    stream = body.get("stream") or False
    expect(path == "/v1/responses", f"path {path}")
    checked("openai-responses", {key: value for key, value in body.items() if key != "stream"})
    turns, system = Turns(), [body["instructions"]] if body.get("instructions") else []
    items = body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        kind = item.get("type", "message")
        if kind == "function_call":
            turns.call(item["call_id"], item["name"], json.loads(item["arguments"]))
        elif kind == "function_call_output":
            turns.result(item["call_id"], item["output"])
        elif kind == "reasoning":
            turns.seals += [item["encrypted_content"]] if item.get("encrypted_content") else []
        elif kind == "message":
            content = item["content"]
            role = item["role"]
            if isinstance(content, str):
                content = [{"type": "input_text", "text": content}]
            mine = "output_text" if role == "assistant" else "input_text"
            words = []
            for part in content:
                if part["type"] == "input_image":
                    words.append(data_url(part["image_url"]))
                else:
                    expect(part["type"] in (mine, "input_text"), f"{part['type']} of {role}")
                    words.append(f"text:{part['text']}")
            if role in ("system", "developer"):
                system += [word.removeprefix("text:") for word in words]
            else:
                turns.add(role, *words)
        else:
            raise Invalid(f"an item of type {kind}")
    choice = body.get("tool_choice")
    form = (body.get("text") or {}).get("format") or {}
    return turns.told(
        system="\n".join(system),
        tools={tool["name"]: normal_schema(tool["parameters"]) for tool in body.get("tools") or []},
        choice={"required": "any"}.get(choice, choice)
        if isinstance(choice, str)
        else choice and choice["name"],
        schema=normal_schema(form.get("schema")),
        max_tokens=body.get("max_output_tokens"),
        temperature=body.get("temperature"),
        stream=stream,
    )


def read_anthropic(path, body):
    stream = body.get("stream") or False
    expect(path == "/v1/messages", f"path {path}")
    checked(
        "anthropic",
        {key: value for key, value in body.items() if key != "stream"},
        # Of the API, but no longer of the SDK.
        ("temperature",),
    )
    turns, last = Turns(), None
    for message in body["messages"]:
        role, content = message["role"], message["content"]
        expect(role != last and role in ("user", "assistant"), f"{role} after {last}")
        last = role
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        expect(blocks, "a message without content")
        kinds = [block["type"] for block in blocks]
        if "tool_result" in kinds:
            results = kinds.count("tool_result")
            expect(set(kinds[:results]) == {"tool_result"}, "tool_result after something else")
        for block in blocks:
            kind = block["type"]
            if kind == "text":
                expect(block["text"], "an empty text block")
                turns.add(role, f"text:{block['text']}")
            elif kind == "image":
                source = block["source"]
                turns.add(role, f"image:{source['media_type']}:{source['data']}")
            elif kind == "tool_use":
                turns.call(block["id"], block["name"], block["input"])
            elif kind == "tool_result":
                turns.result(block["tool_use_id"], block["content"])
            elif kind == "thinking":
                expect(kinds[0] == "thinking", "thinking does not come first")
                turns.seals.append(block["signature"])
                expect(block["thinking"] == _answers.THOUGHT, "signed thinking was changed")
            else:
                raise Invalid(f"a block of type {kind}")
    system = body.get("system") or ""
    choice = body.get("tool_choice") or {}
    form = (body.get("output_config") or {}).get("format") or {}
    return turns.told(
        system=system if isinstance(system, str) else "\n".join(block["text"] for block in system),
        tools={
            tool["name"]: normal_schema(tool["input_schema"]) for tool in body.get("tools") or []
        },
        choice=choice.get("name") or choice.get("type"),
        schema=normal_schema(form.get("schema")),
        max_tokens=body["max_tokens"],
        temperature=body.get("temperature"),
        stream=stream,
    )


def read_gemini(path, body):
    from google.genai import types

    bare, _, query = path.partition("?")
    stream = bare.endswith(":streamGenerateContent")
    expect(bare.endswith((":streamGenerateContent", ":generateContent")), f"path {path}")
    expect(not stream or "alt=sse" in query, "a stream without alt=sse")
    sorts = {
        "contents": types.Content,
        "systemInstruction": types.Content,
        "tools": types.Tool,
        "toolConfig": types.ToolConfig,
        "generationConfig": types.GenerationConfig,
        "safetySettings": types.SafetySetting,
    }
    body = {key: spelled(sorts.get(key), key, value) for key, value in body.items()}
    turns, last = Turns(), None
    for content in body["contents"]:
        role = content.get("role", "user")
        expect(role in ("user", "model") and role != last, f"{role} after {last}")
        last = role
        expect(content.get("parts"), "a content without parts")
        parts = content["parts"]
        answers = sum("functionResponse" in part for part in parts)
        expect(answers in (0, len(turns.open)), "results and calls differ in number")
        for part in parts:
            gemini_part(turns, role, part)
    config = body.get("generationConfig") or {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    names = calling.get("allowedFunctionNames") or []
    mode = calling.get("mode", "").lower() or None
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    expect(not schema or config.get("responseMimeType") == "application/json", "no JSON type")
    system = body.get("systemInstruction") or {"parts": []}
    return turns.told(
        system="\n".join(part["text"] for part in system["parts"]),
        tools={
            each["name"]: normal_schema(each.get("parametersJsonSchema") or each.get("parameters"))
            for tool in body.get("tools") or []
            for each in tool.get("functionDeclarations") or []
        },
        choice=names[0] if mode == "any" and len(names) == 1 else mode,
        schema=normal_schema(schema),
        max_tokens=config.get("maxOutputTokens"),
        temperature=config.get("temperature"),
        stream=stream,
    )


def spelled(sort, key, value):
    """Checked, with the names in one of the two spellings that the API takes."""
    expect(sort, f"a field {key}")
    if isinstance(value, list):
        return [spelled(sort, key, each) for each in value]
    try:
        read = sort.model_validate(value)
    except ValueError as error:
        raise Invalid(f"{key}: {str(error)[:300]}") from None
    return read.model_dump(mode="json", by_alias=True, exclude_none=True)


def plain_base64(text):
    return text.replace("-", "+").replace("_", "/")


def gemini_part(turns, role, part):
    mine = "assistant" if role == "model" else "user"
    if part.get("thoughtSignature"):
        # Base64 of either alphabet is fine there.
        turns.seals.append(plain_base64(part["thoughtSignature"]))
    if part.get("thought"):
        return
    if "text" in part:
        turns.add(mine, f"text:{part['text']}")
    elif "inlineData" in part:
        data = part["inlineData"]
        turns.add(mine, f"image:{data['mimeType']}:{plain_base64(data['data'])}")
    elif "functionCall" in part:
        made = part["functionCall"]
        # Ids are rare there; order tells calls of one name apart.
        turns.call(f"{len(turns.names)}", made["name"], made.get("args") or {})
    elif "functionResponse" in part:
        answer = part["functionResponse"]
        expect(isinstance(answer["response"], dict), "a response that is no object")
        open_ids = [id for id in turns.open if turns.names[id] == answer["name"]]
        expect(open_ids, f"a response for {answer['name']}, which was not called")
        turns.result(open_ids[0], answer["response"])
    else:
        raise Invalid(f"a part of {sorted(part)}")


READERS = {
    "openai": read_openai,
    "openai-responses": read_responses,
    "anthropic": read_anthropic,
    "gemini": read_gemini,
}
