"""A test suite that runs offline: recorded once, then replayed, with other keys and no provider.

The suite is `_offline_app.py`, run by pytest. It is recorded against the simulator in mode `record`;
then the simulator is ended, and the suite runs twice in mode `replay`, each time under other API
keys. It has to pass, and every answer has to be the recorded one, byte for byte. At last one word of
the prompts is changed: every test fails, and the error names the place.

    offline.py
"""

import json
import os
import subprocess
import sys
import tempfile

import _rig

SUITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_offline_app.py")
TESTS = 10
# Where the changed word is, as each test's request spells it.
PLACES = {
    "test_chat_whole": "messages[0].content",
    "test_chat_stream": "messages[0].content",
    "test_chat_tools": "messages[0].content",
    "test_responses_stream": "input",
    "test_embeddings": "input[0]",
    "test_messages_whole": "messages[0].content",
    "test_messages_stream_with_tools": "messages[0].content",
    "test_gemini_whole": "contents[0].parts[0].text",
    "test_gemini_stream": "contents[0].parts[0].text",
    "test_gemini_embeddings": "text",
}


def main():
    with tempfile.TemporaryDirectory(prefix="offline-") as folder:
        programs = _rig.Programs(folder)
        try:
            run(programs, folder)
        finally:
            programs.stop()
    print(f"{TESTS} tests of an application: recorded once, replayed twice offline, all the same")


def run(programs, folder):
    [port] = _rig.free_ports(1)
    simulator = f"http://127.0.0.1:{port}"
    listen = ("--listen", f"127.0.0.1:{port}")
    programs.start("simulate", _rig.binary(), "simulate", "--seed", "7", *listen)
    programs.wait(simulator)
    providers = {
        "openai": {"base_url": f"{simulator}/v1"},
        "anthropic": {"base_url": simulator},
        "gemini": {"base_url": simulator},
    }
    kept = os.path.join(folder, "understudy-kept")

    recorded = suite(programs, folder, providers, "record", "recorded")
    check(recorded, 0, "recording")
    end(programs, "simulate")

    for turn in ("first", "second"):
        replayed = suite(programs, folder, providers, "replay", turn)
        check(replayed, 0, f"the {turn} replay")
        for name, body in recorded["answers"].items():
            if replayed["answers"].get(name) != body:
                sys.exit(f"{name}: the {turn} replay is not what was recorded")

    changed = suite(programs, folder, providers, "replay", "changed", town="Bergen")
    check(changed, 1, "a changed prompt")
    for name, answers in changed["answers"].items():
        for status, _, body in answers:
            place = f"{PLACES[name]}: stored "
            if status != 504 or place not in body or "Bergen" not in body or "Troms" not in body:
                sys.exit(f"{name}: not the error that names {PLACES[name]}: {status} {body}")
    if f"{TESTS} failed" not in changed["said"]:
        sys.exit(f"not every changed prompt is missed:\n{changed['said']}")
    if not os.path.isdir(kept):
        sys.exit(f"nothing was kept in {kept}")


def suite(programs, folder, providers, mode, name, town="Tromsø"):
    """Runs the suite once through a sidecar in this mode: what pytest said, and every answer."""
    config = {"providers": providers, "cache": {"mode": mode}}
    url = programs.understudy(config)
    path = os.path.join(folder, f"{name}.jsonl")
    given = {"SIDECAR": url, "BYTES": path, "ANY_KEY": f"sk-of-{name}", "TOWN": town}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", SUITE],
        cwd=folder,
        env=_rig.environment() | given | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    end(programs, "understudy")
    answers = {}
    with open(path) as file:
        for line in map(json.loads, file):
            answer = (line["status"], line["kind"], line["body"])
            answers.setdefault(line["test"], []).append(answer)
    for each in answers.values():
        each[:] = [(s, k, b.encode("latin-1").decode(errors="replace")) for s, k, b in each]
    return {"code": ran.returncode, "said": ran.stdout + ran.stderr, "answers": answers}


def check(ran, code, what):
    if ran["code"] != code or len(ran["answers"]) != TESTS:
        count = len(ran["answers"])
        sys.exit(f"{what}: pytest ended with {ran['code']}, {count} tests asked\n{ran['said']}")


def end(programs, name):
    """Ends one program and waits until its data is written."""
    process, _ = programs.running.pop(name)
    process.terminate()
    process.wait(30)


if __name__ == "__main__":
    main()
