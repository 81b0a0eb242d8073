"""An application with a test suite of its own, by every official SDK; `offline.py` runs it.

It knows one address and three keys from its environment, as any application does, and leaves every
byte it was answered in the file that `BYTES` names.
"""

import json
import os

import anthropic
import httpx
import httpx2
import openai
import pytest
from google import genai

BASE = os.environ["SIDECAR"]
KEY = os.environ["ANY_KEY"]
TOWN = os.environ.get("TOWN", "Tromsø")
QUESTION = f"What is worth seeing in {TOWN} when it rains?"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = f"Please use get_weather for {TOWN}."


NOW = {"test": ""}


def witness(library):
    """A client of the SDK's own HTTP library that remembers the bytes of every answer."""

    class Witness(library.HTTPTransport):
        def handle_request(self, request):
            answer = super().handle_request(request)
            body = b"".join(answer.stream)
            answer.close()
            kind = answer.headers.get("content-type", "")
            told = NOW | {"status": answer.status_code, "kind": kind}
            with open(os.environ["BYTES"], "a") as file:
                file.write(json.dumps(told | {"body": body.decode("latin-1")}) + "\n")
            return library.Response(answer.status_code, headers=answer.headers, content=body)

    return library.Client(transport=Witness())


@pytest.fixture(autouse=True)
def named(request):
    NOW["test"] = request.node.name


@pytest.fixture
def chat():
    http = witness(httpx)
    return openai.OpenAI(base_url=f"{BASE}/v1", api_key=KEY, http_client=http, max_retries=0)


@pytest.fixture
def claude():
    http = witness(httpx2)
    return anthropic.Anthropic(base_url=BASE, api_key=KEY, http_client=http, max_retries=0)


@pytest.fixture
def gemini():
    http = witness(httpx)
    return genai.Client(api_key=KEY, http_options={"base_url": BASE, "httpx_client": http})


def asked(text):
    return [{"role": "user", "content": text}]


def test_chat_whole(chat):
    answer = chat.chat.completions.create(model="gpt-4o", temperature=0, messages=asked(QUESTION))
    assert answer.choices[0].message.content


def test_chat_stream(chat):
    chunks = chat.chat.completions.create(
        model="gpt-4o",
        temperature=0,
        messages=asked(QUESTION),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(chunks)
    text = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(text) and chunks[-1].usage.total_tokens


def test_chat_tools(chat):
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
    answer = chat.chat.completions.create(
        model="gpt-4o", temperature=0, messages=asked(CALL), tools=[tool]
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather" and "city" in json.loads(call.function.arguments)


def test_responses_stream(chat):
    events = chat.responses.create(model="gpt-4o", temperature=0, input=QUESTION, stream=True)
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"


def test_embeddings(chat):
    answer = chat.embeddings.create(model="text-embedding-3-small", input=[QUESTION, TOWN])
    assert len(answer.data) == 2 and answer.data[0].embedding != answer.data[1].embedding


def test_messages_whole(claude):
    answer = claude.messages.create(
        model="claude-sonnet-4-5", max_tokens=200, messages=asked(QUESTION)
    )
    assert answer.content[0].text and answer.usage.output_tokens


def test_messages_stream_with_tools(claude):
    tool = {"name": "get_weather", "input_schema": WEATHER}
    with claude.messages.stream(
        model="claude-sonnet-4-5", max_tokens=200, messages=asked(CALL), tools=[tool]
    ) as stream:
        answer = stream.get_final_message()
    call = [block for block in answer.content if block.type == "tool_use"][0]
    assert call.name == "get_weather" and "city" in call.input


def test_gemini_whole(gemini):
    answer = gemini.models.generate_content(model="gemini-2.5-flash", contents=QUESTION)
    assert answer.text


def test_gemini_stream(gemini):
    pieces = gemini.models.generate_content_stream(model="gemini-2.5-flash", contents=QUESTION)
    assert "".join(piece.text or "" for piece in pieces)


def test_gemini_embeddings(gemini):
    answer = gemini.models.embed_content(model="gemini-embedding-001", contents=QUESTION)
    assert answer.embeddings[0].values
