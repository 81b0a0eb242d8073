"""The sidecar in a pod of this machine: files and keys that are swapped under it, and its end in the
middle of a hundred streams. Nothing that an application was given is lost."""

import concurrent.futures
import http.client
import json
import os
import signal
import subprocess
import threading
import time

import certifi

import _pod
import _rig

STREAMS = 100
LIMIT = 256 << 20  # of memory, bytes; what a pod gets by default
DRAIN = 4  # seconds
GRACE = 30  # seconds, after which a kubelet kills

ADMIN = "http://127.0.0.1:4101"
DATA = "127.0.0.1", 4100
CONTROLLERS = "/sys/fs/cgroup"
WISH = ["--set", "secret=keys", "--set", "key-mode=managed", "--set", "cache-size=256Mi"]

# An answer takes as long as its persona speaks: some well within the drain limit, some well beyond.
PERSONAS = {"quick": {"token_rate": 100, "ttft": "20ms"}, "slow": {"token_rate": 2, "ttft": "20ms"}}
PERSONAS |= {"old": {}, "new": {}}


def config(provider, keyed, target):
    providers = {
        "mine": {"base_url": f"{provider}/v1"},
        # Its key is in the Secret.
        "openai": {"base_url": f"{keyed}/v1"},
    }
    routes = {"bot": {"targets": [target]}}
    return json.dumps({"providers": providers, "routes": routes, "limits": {"drain": f"{DRAIN}s"}})


def experiment(name):
    half = {"candidates": {"next": {"target": "mine/new"}}, "control": {"target": "mine/old"}}
    return json.dumps({"experiment": name, "match": {"model": "nobody-asks"}, **half})


def question(model, text, stream=False):
    return {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}


def ask(model, text, stream=False):
    url = "http://%s:%d/v1/chat/completions" % DATA
    return _rig.post(url, question(model, text, stream), timeout=GRACE)


def shown(path):
    with _rig.OPENER.open(ADMIN + path, timeout=10) as answer:
        return json.load(answer)


def until(what, holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.02)


def refuses(address):
    try:
        http.client.HTTPConnection(*address, timeout=5).connect()
    except ConnectionRefusedError:
        return True
    return False


class Stream(threading.Thread):
    """An application that reads a stream to its end."""

    def __init__(self, model, number, begun):
        super().__init__(daemon=True)
        self.model, self.text = model, f"stream {number}: where is my parcel?"
        self.begun = begun
        self.events, self.failure = [], None

    def run(self):
        try:
            connection = http.client.HTTPConnection(*DATA, timeout=GRACE)
            body = json.dumps(question(self.model, self.text, stream=True))
            headers = {"content-type": "application/json"}
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.status
            # As HTTP has it: a body that is cut off raises.
            for line in answer:
                if line.startswith(b"data: "):
                    self.events.append(line[6:].decode().strip())
                    if len(self.events) == 2:
                        self.begun.release()
        except Exception as failure:
            self.failure = failure
            self.begun.release()

    def ended(self):
        """How, in a word."""
        if self.failure or not self.events:
            return f"failed: {self.failure!r}"
        if self.events[-1] == "[DONE]":
            return "whole"
        last = json.loads(self.events[-1])
        told = last.get("error", {}).get("message", "")
        return "told" if "the process was told to end" in told else f"silent: {last}"


def injected(binary):
    """The container that a pod gets, and where its volumes are: {name of the volume: path}."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bot"}}
    pod["spec"] = {"containers": [{"name": "bot", "image": "bot:1"}]}
    command = [binary, "inject", *WISH, "-o", "json"]
    done = subprocess.run(command, input=json.dumps(pod), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    container = json.loads(done.stdout)["spec"]["initContainers"][0]
    return container, {each["name"]: each["mountPath"] for each in container["volumeMounts"]}


class Pod:
    """The sidecar's container, its volumes, and the provider beside it."""

    def __init__(self, folder):
        self.programs = _rig.Programs(folder)
        self.keys = []
        self.keyed = _rig.Server(self.answer)
        with open(f"{folder}/personas.json", "w") as file:
            json.dump({"personas": PERSONAS}, file)
        command = [_rig.binary(), "simulate", "--config", f"{folder}/personas.json"]
        self.programs.start("provider", *command)
        self.provider = "http://127.0.0.1:4200"
        self.programs.wait(f"{self.provider}/v1/models")
        self.config = _pod.Volume(f"{folder}/config", self.files("mine/old", "first"))
        self.secrets = _pod.Volume(f"{folder}/secrets", {"OPENAI_API_KEY": "key-one"})
        # A container sees its own group of processes as the root.
        os.mkdir(f"{folder}/cgroup")
        with open(f"{folder}/cgroup/memory.max", "w") as file:
            file.write(f"{LIMIT}\n")
        with open(certifi.where()) as file:
            files = [("/etc/ssl/certs/ca-certificates.crt", file.read())]
        self.spec, paths = injected(_rig.binary())
        folders = [*paths.values(), CONTROLLERS, "/proc"]
        self.container = _pod.Container(f"{folder}/root", _rig.binary(), files, folders)
        self.container.lay(self.config.path, paths["understudy-config"])
        self.container.lay(self.secrets.path, paths["understudy-secret"])
        self.container.lay(f"{folder}/cgroup", CONTROLLERS)
        self.container.room(paths["understudy-cache"], "256m")
        _pod.mount("-t", "proc", "proc", self.container.inside("/proc"))

    def answer(self, _method, _path, headers, _body):
        self.keys.append(headers["authorization"])
        choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}}
        body = {"object": "chat.completion", "choices": [{**choice, "finish_reason": "stop"}]}
        return 200, {"content-type": "application/json"}, json.dumps(body).encode()

    def files(self, target, *experiments):
        config_ = config(self.provider, self.keyed.url, target)
        named = {f"{name}.yaml": experiment(name) for name in experiments}
        return {"understudy.yaml": config_, **named}

    def start(self, name):
        confine = self.container.confine(self.spec["workingDir"])
        env = {each["name"]: each["value"] for each in self.spec["env"]}
        self.programs.start(name, "/understudy", *self.spec["args"], env=env, preexec_fn=confine)
        self.programs.wait("http://127.0.0.1:4102/readyz")
        return self.programs.running[name][0]

    def probe(self, *more):
        return self.container.run("healthcheck", "--health", "0.0.0.0:4102", *more)


def confined(pod, process):
    """It has no right that a pod's restricted security standard would not give it."""
    told = _pod.status(process.pid)
    assert told["Uid"].split() == [str(_pod.USER)] * 4, told["Uid"]
    assert told["Groups"].split() == [] and told["NoNewPrivs"] == "1", told
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(told[kind], 16) == 0, (kind, told[kind])
    for at in (4100, 4101):
        assert refuses(("127.0.0.2", at)), f"port {at} is not on loopback alone"
    assert not refuses(("127.0.0.2", 4102)), "no kubelet could reach the probes"
    assert pod.probe() == (0, "ok") and pod.probe("--live") == (0, "ok"), pod.probe()
    log = pod.programs.log("sidecar")
    assert f'"memory is limited, in bytes","limit":{LIMIT}' in log, log
    print(f"pod: user {_pod.USER} with no capability, on a root that is read-only; probes answer",
          flush=True)


def swapped(pod):
    """Configuration, experiments and keys change as a kubelet changes them."""
    def target():
        return ask("bot", f"who? {time.monotonic()}")[1]["x-understudy-target"]

    def experiments():
        return {each["experiment"] for each in shown("/api/v1/experiments")["experiments"]}

    def last_key():
        assert ask("openai/m", f"which key? {time.monotonic()}")[0] == 200
        return pod.keys[-1]

    assert target() == "mine/old" and experiments() == {"first"}
    assert last_key() == "Bearer key-one"
    before = shown("/api/v1/config")["hash"]
    pod.config.write(pod.files("mine/new", "first", "second"))
    until("the new files", lambda: shown("/api/v1/config")["hash"] != before)
    assert target() == "mine/new" and experiments() == {"first", "second"}
    pod.config.write({**pod.files("mine/old", "first"), "understudy.yaml": "routes: nonsense"})
    until("a refusal", lambda: shown("/api/v1/config")["error"])
    assert target() == "mine/new" and pod.probe() == (0, "ok")
    pod.secrets.write({"OPENAI_API_KEY": "key-two"})
    until("the new key", lambda: last_key() == "Bearer key-two")
    pod.config.write(pod.files("mine/old", "first"))
    until("good files again", lambda: not shown("/api/v1/config")["error"])
    assert target() == "mine/old"
    print("pod: files and a key were swapped by ..data; broken ones changed nothing", flush=True)


def ended(pod, process):
    """SIGTERM during a hundred streams; returns what each application was given whole."""
    begun = threading.Semaphore(0)
    streams = [
        Stream("mine/slow" if at % 4 == 0 else "mine/quick", at, begun) for at in range(STREAMS)
    ]
    for stream in streams:
        stream.start()
    for _ in streams:
        assert begun.acquire(timeout=GRACE), pod.programs.log("sidecar")
    going = sum(stream.is_alive() for stream in streams)
    peak = int(_pod.status(process.pid)["VmHWM"].split()[0]) << 10
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    until("that it takes nothing new", lambda: refuses(DATA))
    code, said = pod.probe()
    assert (code, said) == (1, "stopping"), (code, said)
    code = process.wait(GRACE)
    took = time.monotonic() - began
    for stream in streams:
        stream.join(GRACE)
    how = {stream: stream.ended() for stream in streams}
    counts = {word: list(how.values()).count(word) for word in sorted(set(how.values()))}
    log = pod.programs.log("sidecar")
    assert set(counts) <= {"whole", "told"}, (counts, log)
    assert code == 0 and '"message":"stopped"' in log, (code, log)
    assert peak < LIMIT, f"{peak} bytes of memory"
    print(f"pod: SIGTERM during {going} open streams: {counts}, exit {code} after {took:.1f} s; "
          f"peak memory {peak >> 20} MiB of {LIMIT >> 20}", flush=True)
    return [stream for stream in streams if how[stream] == "whole"]


def kept(pod, plain, streams):
    """A second start serves all of it, with no provider left to ask."""
    process = pod.start("again")
    assert refuses(("127.0.0.1", 4200)), "the provider still runs"
    for text, answer in plain:
        status, headers, body = ask("mine/quick", text)
        assert status == 200 and "; hit" in headers["cache-status"], (text, status, body)
        assert body == answer, text
    for stream in streams:
        status, headers, body = ask(stream.model, stream.text, stream=True)
        assert status == 200 and "; hit" in headers["cache-status"], (stream.text, status, body)
        assert stream.events == [line[6:] for line in body.decode().split("\n") if line[:6] == "data: "]
    process.send_signal(signal.SIGTERM)
    assert process.wait(GRACE) == 0, pod.programs.log("again")
    print(f"pod: the second start gave {len(plain)} answers and {len(streams)} streams again, "
          "to the last byte, without a provider", flush=True)


def main():
    _pod.enter()
    # What is mounted from here on goes with the namespace.
    _pod.mount("-t", "tmpfs", "tmpfs", "/mnt")
    pod = Pod("/mnt")
    try:
        process = pod.start("sidecar")
        confined(pod, process)
        swapped(pod)
        texts = [f"question {at}: when does the shop open?" for at in range(40)]
        with concurrent.futures.ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(lambda text: ask("mine/quick", text), texts))
        assert {status for status, _, _ in answers} == {200}, answers
        plain = [(text, body) for text, (_, _, body) in zip(texts, answers)]
        streams = ended(pod, process)
        pod.programs.end("provider")
        del pod.programs.running["sidecar"]
        kept(pod, plain, streams)
    except BaseException:
        for name in pod.programs.running:
            print(f"-- {name}\n{pod.programs.log(name)[-3000:]}")
        raise


if __name__ == "__main__":
    main()
