"""Every fault that llmock of PyPI can play, behind understudy: hidden by it, or told to the SDK.

The SDKs of OpenAI, Anthropic and Google ask without retries of their own, so what llmock sees is
understudy alone, and `llmock report` judges it as a client.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings

import _rig
import _said

# The SDK, its provider's path on llmock, and a model that llmock plays.
DIALECTS = {
    "openai": ("/v1", "gpt-4o"),
    "anthropic": ("/anthropic", "claude-sonnet-4-5"),
    "gemini": ("/gemini", "gemini-2.5-flash"),
}
# Short enough for a test, and longer than llmock needs for what is well.
LIMITS = {"connect": "2s", "first_token": "2s", "idle": "1s", "total": "12s"}
STALL = 4
RETRY_AFTER = 1

HIDDEN, TOLD = "hidden", "told"


def fault(name, stream, behavior, one, two=HIDDEN):
    """A fault, and what comes of it with one target and with a second one that is well."""
    return name, stream, behavior, one, two


def faults():
    """Those of the first call are made good by a second; those of every call are told."""
    found = []
    for status in (429, 500, 503):
        once = {"type": "fail", "status": status, "times": 1}
        if status != 500:
            once["retry_after"] = RETRY_AFTER
        for stream in (False, True):
            found.append(fault(f"{status} once", stream, once, HIDDEN))
    found.append(fault("503 always", False, {"type": "fail", "status": 503, "times": None}, TOLD))
    for status in (400, 401):
        always = {"type": "fail", "status": status, "times": None}
        found.append(fault(f"{status} always", False, always, TOLD, TOLD))
    stream_fault = {"type": "stream_fault", "times": 1}
    for kind in ("disconnect", "truncate", "malformed", "stall"):
        more = {"stall_seconds": STALL} if kind == "stall" else {}
        begun = {**stream_fault, **more, "kind": kind, "after_chunks": 3}
        found.append(fault(f"{kind} in content", True, begun, TOLD, TOLD))
        first = {**begun, "after_chunks": 0}
        found.append(fault(f"{kind} at once", True, first, HIDDEN))
    slow = {"type": "slow_first_token", "seconds": STALL, "times": 1}
    found.append(fault("slow first token", True, slow, HIDDEN))
    return found


def speaker(name, base):
    kinds = {"openai": _said.OpenAi, "anthropic": _said.Anthropic, "gemini": _said.Gemini}
    return kinds[name](base)


def config(bad, good):
    """One provider whose faults are scripted, and one that is well, for each dialect."""
    providers, routes = {}, {}
    for name, (path, _) in DIALECTS.items():
        for which, base in (("bad", bad), ("good", good)):
            providers[f"{name}-{which}"] = {
                "dialect": name,
                "base_url": base + path,
                "api_keys": [{"value": f"{name}-{which}"}],
            }
    for name, (_, model) in DIALECTS.items():
        for row, _ in enumerate(faults()):
            first = f"{name}-bad/{model}-{row}-"
            routes[f"{name}-{row}-one"] = {"targets": [first + "one"]}
            routes[f"{name}-{row}-two"] = {"targets": [first + "two", f"{name}-good/{model}"]}
        routes[f"{name}-quota"] = {"targets": [f"{name}-bad/{model}"]}
    return {
        "providers": providers,
        "routes": routes,
        "timeouts": LIMITS,
        "retry": {"backoff": "100ms"},
        "cache": {"mode": "off"},
    }


def scenario(name, model):
    """What llmock does wrong, each for a model of its own."""
    found = []
    for row, (_, _, behavior, _, _) in enumerate(faults()):
        # Anthropic's content begins behind three events that say nothing.
        begun = {"after_chunks": 6} if name == "anthropic" and behavior.get("after_chunks") else {}
        for which in ("one", "two"):
            found.append({**behavior, **begun, "match": {"model": f"{model}-{row}-{which}"}})
    return found


def attempt(sdk, model, prompt, stream):
    messages = prompt if sdk.name == "gemini" else [{"role": "user", "content": prompt}]
    try:
        said = sdk.ask(model, stream=stream, messages=messages)
    except _said.Refused as refused:
        return TOLD, f"{refused.status}"
    except Exception as error:
        return TOLD, type(error).__name__
    if len(said["text"]) > 20 and said["finish"] == "stop":
        return HIDDEN, ""
    return "LOOKS COMPLETE", repr(said)[:200]


def report(llmock, base, name):
    """llmock's own verdict; what it says is shown when it finds fault."""
    told = subprocess.run([llmock, "report", "--url", base], capture_output=True, text=True)
    if told.returncode == 0:
        return 0
    print(f"FAILED  llmock report of {name}: exit {told.returncode}\n{told.stdout}{told.stderr}")
    return 1


def quotas(llmock, programs):
    """Real token buckets: understudy waits as long as it is told, and every call is answered."""
    failed = 0
    for number, limits in enumerate((("--rpm", "30"), ("--tpm", "3000"))):
        (port,) = _rig.free_ports(1)
        name = f"quota-{number}"
        programs.start(name, llmock, "serve", "--port", str(port), "--log-level", "warning", *limits)
        base = f"http://127.0.0.1:{port}"
        programs.wait(f"{base}/health")
        sidecar = programs.understudy(config(base, base), name=f"understudy-{name}")
        for dialect in DIALECTS:
            sdk = speaker(dialect, sidecar)
            outcomes = [
                attempt(sdk, f"{dialect}-quota", f"quota {number} {dialect} {turn} " + "x " * 40, False)
                for turn in range(8)
            ]
            bad = [outcome for outcome in outcomes if outcome[0] not in (HIDDEN, TOLD)]
            told = sum(outcome[0] == TOLD for outcome in outcomes)
            print(f"{dialect:10} {limits[0]} {limits[1]:>5}: {len(outcomes) - told} answered, {told} told")
            failed += len(bad)
        failed += report(llmock, base, name)
    return failed


def main():
    warnings.simplefilter("ignore")
    llmock = os.path.join(os.path.dirname(sys.executable), "llmock")
    if not os.path.exists(llmock):
        sys.exit("llmock is not here: pip install -r .ci/sdk.txt")
    began, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        programs = _rig.Programs(folder)
        try:
            ports = _rig.free_ports(2)
            bases = [f"http://127.0.0.1:{port}" for port in ports]
            for name, port, base in zip(("bad", "good"), ports, bases):
                programs.start(name, llmock, "serve", "--port", str(port), "--log-level", "warning")
                programs.wait(f"{base}/health")
            sidecar = programs.understudy(config(*bases))
            for dialect, (_, model) in DIALECTS.items():
                behaviors = scenario(dialect, model)
                _, _, told = _rig.post(
                    f"{bases[0]}/_llmock/scenario", {"behaviors": behaviors}
                )
                if json.loads(told).get("queued") != len(behaviors):
                    sys.exit(f"llmock did not take the scenario: {told!r}")
                sdk = speaker(dialect, sidecar)
                for row, (name, stream, _, one, two) in enumerate(faults()):
                    shown = []
                    for which, wanted in (("one", one), ("two", two)):
                        prompt = f"{name} {stream} of {dialect} with {which}"
                        got, how = attempt(sdk, f"{dialect}-{row}-{which}", prompt, stream)
                        shown.append(f"{got} {how}".strip())
                        if "in content" in name and got == TOLD:
                            # What has begun is the application's to ask again, as it was told to.
                            again, _ = attempt(sdk, f"{dialect}-{row}-{which}", prompt, stream)
                            got = got if again == HIDDEN else f"{again} when asked again"
                        if got != wanted:
                            failed += 1
                            print(f"FAILED  {dialect}: {prompt}: {got} {how}, not {wanted}")
                    form = "stream" if stream else "whole"
                    print(f"{dialect:10} {name:24} {form:7} {shown[0]:28} {shown[1]}")
            failed += sum(report(llmock, base, "understudy") for base in bases)
            failed += quotas(llmock, programs)
        finally:
            codes = programs.stop()
        for name, code in codes.items():
            if name.startswith("understudy") and code != 0:
                failed += 1
                print(f"FAILED  {name} ended with {code}\n{programs.log(name)[-4000:]}")
    print(f"{failed} failed in {time.monotonic() - began:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
