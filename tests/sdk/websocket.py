"""The official openai package's WebSockets, unmodified, through understudy.

The Responses API's socket mode is asked of a provider that knows only HTTP and server-sent events;
the Realtime API's sockets pass to a provider that has them.
Run with the built program in UNDERSTUDY_BIN; prints one line per check, exits 1 if any fails.
"""

import asyncio
import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

import openai
import websockets.sync.server

BIN = os.environ.get("UNDERSTUDY_BIN") or sys.exit("set UNDERSTUDY_BIN to the built program")
# Straight to the socket, whatever proxy the environment names.
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]
CHECKS = []


def check(function):
    """Registers a check; its docstring is the line that is printed."""
    CHECKS.append(function)
    return function


class Upstream(http.server.BaseHTTPRequestHandler):
    """The Responses API over HTTP: answers with the number of items it was sent."""

    protocol_version = "HTTP/1.1"
    asked = []
    both = threading.Barrier(2, timeout=10)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        if body["model"] == "busy":
            return self.reply(429, "application/json", self.busy(), {"retry-after": "3"})
        if body["model"] == "together":
            # Answers only when two are asked at once.
            self.both.wait()
        self.reply(200, "text/event-stream", self.events(body), {})

    @staticmethod
    def busy():
        error = {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded", "param": None}
        return json.dumps({"error": error}).encode()

    def events(self, body):
        count = len(body["input"]) if isinstance(body["input"], list) else 1
        id, text = f"resp_{len(self.asked)}", f"{count} items"
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"id": f"msg_{id}", "type": "message", "role": "assistant", "status": "completed"}
        where = {"item_id": item["id"], "output_index": 0, "content_index": 0}

        def response(status, output):
            usage = {
                **{"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
                **{"input_tokens_details": {"cached_tokens": 0}},
                **{"output_tokens_details": {"reasoning_tokens": 0}},
            }
            return {
                **{"id": id, "object": "response", "created_at": 1, "model": body["model"]},
                **{"status": status, "error": None, "incomplete_details": None, "tools": []},
                **{"instructions": None, "metadata": {}, "tool_choice": "auto", "output": output},
                **{"parallel_tool_calls": True, "temperature": 1, "top_p": 1},
                **({"usage": usage} if output else {}),
            }

        done = {**item, "content": [part]}
        told = [
            ("response.created", {"response": response("in_progress", [])}),
            ("response.output_item.added", {"output_index": 0, "item": {**item, "content": []}}),
            ("response.content_part.added", {**where, "part": {**part, "text": ""}}),
            ("response.output_text.delta", {**where, "delta": text, "logprobs": []}),
            ("response.output_text.done", {**where, "text": text, "logprobs": []}),
            ("response.content_part.done", {**where, "part": part}),
            ("response.output_item.done", {"output_index": 0, "item": done}),
            ("response.completed", {"response": response("completed", [done])}),
        ]
        return b"".join(
            f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': at, **data})}\n\n".encode()
            for at, (kind, data) in enumerate(told)
        )

    def reply(self, status, kind, body, headers):
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def realtime(connection):
    """The Realtime API, as far as it goes: says back what it is told, and how it was opened."""
    request = connection.request
    opened = {"path": request.path, "key": request.headers["authorization"]}
    connection.send(json.dumps({"type": "session.created", "event_id": "e", "session": opened}))
    for message in connection:
        connection.send(json.dumps({**json.loads(message), "type": "session.updated"}))


class Bench:
    """Both providers, a sidecar before them, and clients of the official SDK."""

    def __init__(self, folder):
        self.plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        self.sockets = websockets.sync.server.serve(realtime, "127.0.0.1", 0)
        for server in (self.plain, self.sockets):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        plain = self.plain.server_address[1]
        sockets = self.sockets.socket.getsockname()[1]
        providers = {
            "plain": {"base_url": f"http://127.0.0.1:{plain}/v1", "dialect": "openai-responses"},
            "openai": {"base_url": f"http://127.0.0.1:{sockets}/v1"},
        }
        routes = {name: {"targets": [f"plain/{name}"]} for name in ("bot", "together", "busy")}
        with open(os.path.join(folder, "understudy.yaml"), "w") as file:
            json.dump({"providers": providers, "routes": routes}, file)
        data, admin = free_ports(2)
        listen = ["--listen", f"127.0.0.1:{data}", "--admin", f"127.0.0.1:{admin}"]
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.log = open(os.path.join(folder, "log"), "w+")
        streams = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        self.process = subprocess.Popen([BIN, "serve", *listen], cwd=folder, env=kept, **streams)
        self.wait(f"http://127.0.0.1:{admin}/readyz")
        options = {"base_url": f"http://127.0.0.1:{data}/v1", "api_key": "sk-test"}
        self.client = openai.OpenAI(**options)
        self.aio = openai.AsyncOpenAI(**options)

    def wait(self, url):
        until = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(url, timeout=2).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    sys.exit(f"the sidecar does not answer:\n{self.output()}")
                time.sleep(0.02)

    def output(self):
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        self.process.terminate()
        status = self.process.wait(15)
        self.plain.shutdown()
        self.sockets.shutdown()
        return status


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def events(connection):
    """The events up to the end of an answer."""
    told = []
    for event in connection:
        told.append(event)
        if event.type in ("response.completed", "response.failed", "error"):
            return told


def text(told):
    return "".join(event.delta for event in told if event.type == "response.output_text.delta")


@check
def turns(bench):
    """client.responses.connect(): turns go on from the last, which the provider never stored"""
    with bench.client.responses.connect() as connection:
        connection.response.create(model="bot", input="one", store=False)
        first = events(connection)
        assert text(first) == "1 items", first
        assert [event.sequence_number for event in first] == list(range(8))
        previous = first[-1].response
        assert (previous.status, previous.usage.total_tokens) == ("completed", 7), previous
        more = [{"type": "message", "role": "user", "content": "two"}]
        more = {"input": more, "previous_response_id": previous.id, "store": False}
        connection.response.create(model="bot", **more)
        second = events(connection)
        assert text(second) == "3 items", second
    sent = Upstream.asked[-1]
    assert "previous_response_id" not in sent and sent["stream"] is True, sent
    assert [item["role"] for item in sent["input"]] == ["user", "assistant", "user"], sent


@check
def prepared(bench):
    """generate=False prepares a response without asking anyone"""
    before = len(Upstream.asked)
    with bench.client.responses.connect() as connection:
        connection.response.create(model="bot", input="first", generate=False)
        created, completed = events(connection)
        assert (created.type, completed.response.output) == ("response.created", []), created
        assert len(Upstream.asked) == before
        id = completed.response.id
        connection.response.create(model="bot", input="second", previous_response_id=id)
        assert text(events(connection)) == "2 items"


@check
def lanes(bench):
    """stream_id: two answers come side by side, each event with its lane"""
    with bench.client.responses.connect() as connection:
        for lane in ("left", "right"):
            connection.response.create(model="together", input=lane, stream_id=lane)
        told = [event for _ in range(2) for event in events(connection)]
    for lane in ("left", "right"):
        own = [event for event in told if event.stream_id == lane]
        assert len(own) == 8 and own[-1].type == "response.completed", own
    assert len(told) == 16, told


@check
def errors(bench):
    """Errors are events with status, code and message, and the socket goes on"""
    with bench.client.responses.connect() as connection:
        connection.response.create(model="busy", input="x")
        error = connection.recv()
        assert (error.type, error.status) == ("error", 429), error
        assert (error.error.code, error.error.message) == ("rate_limit_exceeded", "slow down")
        assert error.error.headers["retry-after"] == "3", error
        connection.response.create(model="", input="x")
        error = connection.recv()
        assert (error.status, error.error.code) == (400, "bad_request"), error
        connection.send_raw("{")
        assert connection.recv().error.code == "invalid_json"
        connection.response.steer(input="now", previous_response_id="resp_1")
        failed = connection.recv()
        assert failed.type == "response.steer.failed", failed
        assert failed.error.code == "steering_not_supported", failed
        connection.response.create(model="bot", input="still here")
        assert text(events(connection)) == "1 items"


@check
def asynchronous(bench):
    """AsyncOpenAI: the same socket mode"""

    async def run():
        async with bench.aio.responses.connect() as connection:
            await connection.response.create(model="plain/bot", input="async")
            async for event in connection:
                if event.type == "response.completed":
                    return event.response

    response = asyncio.run(run())
    assert response.output[0].content[0].text == "1 items", response


@check
def passing(bench):
    """client.realtime.connect(): the provider's own socket, as if nothing were between"""
    with bench.client.realtime.connect(model="gpt-realtime") as connection:
        created = connection.recv()
        opened = created.session.model_dump() if hasattr(created.session, "model_dump") else created.session
        assert opened["path"] == "/v1/realtime?model=gpt-realtime", opened
        assert opened["key"] == "Bearer sk-test", opened
        connection.session.update(session={"type": "realtime", "instructions": "be brief"})
        updated = connection.recv()
        assert (updated.type, updated.session.instructions) == ("session.updated", "be brief")


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder)
        for each in CHECKS:
            try:
                each(bench)
                print(f"ok    {each.__doc__}")
            except Exception:
                failed += 1
                print(f"FAIL  {each.__doc__}\n{traceback.format_exc()}")
        status = bench.stop()
        if failed or status:
            print(f"the sidecar ended with {status}:\n{bench.output()}")
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed, openai {openai.__version__}")
    sys.exit(1 if failed or status else 0)


if __name__ == "__main__":
    main()
