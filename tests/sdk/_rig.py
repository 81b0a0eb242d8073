"""Starts programs and scripted providers on free ports of 127.0.0.1, and ends what it started."""

import atexit
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

# Straight to the socket, whatever proxy the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def binary():
    """The built program under test."""
    return os.environ.get("UNDERSTUDY_BIN") or sys.exit("set UNDERSTUDY_BIN to the built program")


def environment():
    """What a started program may see of ours: no key and no proxy."""
    kept = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "PYTHONDONTWRITEBYTECODE")
    return {name: os.environ[name] for name in kept if name in os.environ}


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Programs:
    """The programs of one test; each writes a log of its own into `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.running = {}
        self.admin = {}
        # Who is asked to stop still ends what it started.
        atexit.register(self.stop)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def start(self, name, *command, env=None, **how):
        """Starts a program under a name that tells it from the others; `env` is added to its own."""
        path = os.path.join(self.folder, f"{name}.log")
        with open(path, "wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**environment(), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **how,
            )
        self.running[name] = (process, path)

    def wait(self, url, seconds=30):
        """Returns when something answers there, with whatever status."""
        until = time.monotonic() + seconds
        while True:
            for name, (process, _) in self.running.items():
                if process.poll() is not None:
                    sys.exit(f"{name} ended early:\n{self.log(name)}")
            try:
                OPENER.open(url, timeout=2).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                if time.monotonic() > until:
                    sys.exit(f"{url} did not answer within {seconds} s")
                time.sleep(0.02)

    def understudy(self, config, name="understudy", env=None):
        """A sidecar with this configuration; returns the address of its data plane."""
        data, admin = free_ports(2)
        path = os.path.join(self.folder, f"{name}.yaml")
        with open(path, "w") as file:
            json.dump(config, file, indent=1)
        self.start(
            name,
            *(binary(), "serve", "--config", path),
            *("--listen", f"127.0.0.1:{data}"),
            *("--admin", f"127.0.0.1:{admin}"),
            *("--data-dir", os.path.join(self.folder, f"{name}-kept")),
            env=env,
        )
        self.admin[name] = f"http://127.0.0.1:{admin}"
        self.wait(f"http://127.0.0.1:{admin}/readyz")
        return f"http://127.0.0.1:{data}"

    def log(self, name):
        with open(self.running[name][1], errors="replace") as file:
            return file.read()

    def end(self, name):
        """Ends one by force, as a crash does."""
        process, _ = self.running.pop(name)
        process.kill()
        process.wait()

    def stop(self):
        """Ends them by their ids, with force if they do not listen; returns their exit codes."""
        for process, _ in self.running.values():
            if process.poll() is None:
                process.terminate()
        for process, _ in self.running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return {name: process.returncode for name, (process, _) in self.running.items()}


class Server(http.server.ThreadingHTTPServer):
    """A provider of ours; `answer(method, path, headers, body)` gives (status, headers, bytes).

    Bytes may also be a list of pieces, which are sent one by one as a stream is.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        # A client that leaves is no error of this server's.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet, and small ones do not wait for each other.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        status, headers, content = self.server.answer(self.command, self.path, self.headers, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if isinstance(content, list):
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in filter(None, content):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST

    def log_message(self, *_):
        pass


def post(url, body, headers=(), timeout=20):
    """One plain request: (status, headers, bytes), error statuses included."""
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", **dict(headers)},
    )
    try:
        with OPENER.open(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()
