"""Official SDKs, pointed here by nothing but the variables that `understudy inject` gives their pod.

Those for Node are in the folder NODE_SDKS, where npm has installed them; without it they are
skipped, unless CI is set.
"""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile

import _rig

HERE = "http://127.0.0.1:4100"
KEYS = {"OPENAI_API_KEY": "key", "ANTHROPIC_API_KEY": "key", "GEMINI_API_KEY": "key"}
TEXT = "Where is my parcel?"

# By which dialect each has to arrive.
PYTHON = {
    "openai": "openai",
    "openai-responses": "openai-responses",
    "anthropic": "anthropic",
    "genai": "gemini",
    "langchain-openai": "openai",
    "langchain-anthropic": "anthropic",
}
NODE = {
    "openai": "openai",
    "anthropic": "anthropic",
    "genai": "gemini",
    "langchain-openai": "openai",
    "langchain-anthropic": "anthropic",
    "vercel-openai": "openai-responses",
    "vercel-openai-chat": "openai",
    "vercel-anthropic": "anthropic",
}


def call(name, model):
    """A whole answer and a streamed one, of an SDK that is told nothing but the model."""
    messages = [{"role": "user", "content": TEXT}]
    if name == "openai":
        import openai

        chat = openai.OpenAI().chat.completions
        whole = chat.create(model=model, messages=messages)
        stream = chat.create(model=model, messages=messages, stream=True)
        pieces = [piece.choices[0].delta.content or "" for piece in stream if piece.choices]
        return whole.choices[0].message.content, "".join(pieces)
    if name == "openai-responses":
        import openai

        client = openai.OpenAI()
        whole = client.responses.create(model=model, input=TEXT)
        with client.responses.stream(model=model, input=TEXT) as stream:
            return whole.output_text, stream.get_final_response().output_text
    if name == "anthropic":
        import anthropic

        client = anthropic.Anthropic()
        ask = {"model": model, "messages": messages, "max_tokens": 500}
        whole = client.messages.create(**ask)
        with client.messages.stream(**ask) as stream:
            return whole.content[0].text, stream.get_final_text()
    if name == "genai":
        from google import genai

        client = genai.Client()
        models = client.models
        whole = models.generate_content(model=model, contents=TEXT)
        stream = models.generate_content_stream(model=model, contents=TEXT)
        return whole.text, "".join(piece.text or "" for piece in stream)
    if name == "langchain-openai":
        from langchain_openai import ChatOpenAI

        chain = ChatOpenAI(model=model)
    else:
        from langchain_anthropic import ChatAnthropic

        chain = ChatAnthropic(model=model, max_tokens=500)
    return chain.invoke(TEXT).text, "".join(piece.text for piece in chain.stream(TEXT))


def injected():
    """The variables that a container gets which had none."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bot"}}
    pod["spec"] = {"containers": [{"name": "bot", "image": "bot:1"}]}
    done = subprocess.run(
        [_rig.binary(), "inject", "-o", "json"],
        input=json.dumps(pod),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    container = json.loads(done.stdout)["spec"]["containers"][0]
    return {each["name"]: each["value"] for each in container["env"]}


def run(command, env):
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def shown(admin, path):
    with _rig.OPENER.open(admin + path, timeout=10) as answer:
        return json.load(answer)


def check(admin, language, name, dialect, answers):
    """The answers came, and by the dialect's own path: it is written down how each was asked."""
    whole, streamed = answers
    assert whole and whole == streamed, (language, name, answers)
    rows = shown(admin, f"/api/v1/exchanges?model={language}.{name}.&limit=10")
    found = [shown(admin, f"/api/v1/exchanges/{row['id']}") for row in rows["exchanges"]]
    found = [detail["facts"] for one in found for detail in one["exchanges"]]
    assert found, (language, name, "nothing was asked")
    asked = {facts["asked"]["dialect"] for facts in found}
    assert asked == {dialect}, (language, name, asked)
    print(f"{language:6} {name:20} {dialect}", flush=True)


def main():
    node = os.environ.get("NODE_SDKS")
    if not node and os.environ.get("CI"):
        sys.exit("NODE_SDKS is not set: let npm install what .ci/node.txt names")
    variables = injected()
    with tempfile.TemporaryDirectory() as folder:
        programs = _rig.Programs(folder)
        port = _rig.free_ports(1)[0]
        programs.start("provider", _rig.binary(), "simulate", "--listen", f"127.0.0.1:{port}")
        base = f"http://127.0.0.1:{port}/v1"
        programs.wait(f"{base}/models")
        # The provider has one dialect; whoever asks in another is translated.
        one = {"base_url": base, "dialect": "openai"}
        here = programs.understudy({"providers": dict.fromkeys(["openai", "anthropic", "gemini"], one)})
        # In a pod the port is always the same; here it may be taken.
        env = {name: value.replace(HERE, here) for name, value in variables.items()}
        env = {**_rig.environment(), **env, **KEYS}
        jobs = {("python", name): dialect for name, dialect in PYTHON.items()}
        if node:
            jobs |= {("node", name): dialect for name, dialect in NODE.items()}
        else:
            print("node: skipped, NODE_SDKS is not set")

        def command(language, name):
            folder = os.path.dirname(os.path.abspath(__file__))
            program = sys.executable, os.path.abspath(__file__), "--as"
            if language == "node":
                beside = os.path.dirname(sys.executable) + ":" + os.environ["PATH"]
                program = shutil.which("node", path=beside), os.path.join(folder, "_injected.cjs")
            return [*program, name, f"{language}.{name}."]

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            of = {job: pool.submit(run, command(*job), {**env, "NODE_SDKS": node or ""}) for job in jobs}
        for job, done in of.items():
            check(programs.admin["understudy"], *job, jobs[job], done.result())
        names = ", ".join(sorted(set(variables)))
        print(f"{len(jobs)} SDKs were led here by {names}")
        programs.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        print(json.dumps(call(*sys.argv[2:])))
    else:
        main()
