"""The MutatingAdmissionPolicy, evaluated: pods get of it what `understudy inject` gives them.

Its expressions are parsed as CEL and evaluated on pods. Objects and patches that they make are
typed in the API server; here each is a map. Patches are applied as RFC 6902 has it, configurations
merged as server-side apply merges them: lists of named things by name.

    policy.py
"""

import copy
import json
import os
import re
import subprocess
import sys

import celpy
import celpy.adapter
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = os.path.join(ROOT, "k8s", "policy", "policy.yaml")


def main():
    with open(FILE) as file:
        documents = {one["kind"]: one for one in yaml.safe_load_all(file)}
    policy, params = documents["MutatingAdmissionPolicy"]["spec"], documents["ConfigMap"]
    failed = 0
    for name, pod, matches in pods():
        got = admitted(policy, pod, params)
        wanted = injected(pod, params["data"]["image"]) if matches else pod
        if ordered(got) != ordered(wanted):
            failed += 1
            print(f"FAILED  {name}: {differing(ordered(got), ordered(wanted))}")
    print(f"{len(pods())} pods, the policy and the program give them the same; {failed} failed")
    sys.exit(1 if failed else 0)


def pods():
    """Names, pods, and whether the policy is for them."""
    def pod(container=None, annotations=None, **spec):
        metadata = {"name": "p", "labels": {"understudy.dev/inject": "true"}}
        if annotations:
            metadata["annotations"] = annotations
        containers = [{"name": "app", "image": "app:1", **(container or {})}]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": containers, **spec},
        }

    def env(**values):
        return {"env": [{"name": name, "value": value} for name, value in values.items()]}

    first = [{"name": "first", "image": "app:1"}]
    own = [{"name": "understudy-cache", "persistentVolumeClaim": {"claimName": "answers"}}]
    both = [{"name": name, "image": "app:1"} for name in ("app", "log")]
    config = {"understudy.dev/config": "mine", "other": "x"}
    sidecar = [{"name": "understudy", "image": "x", "restartPolicy": "Always"}]
    return [
        ("a plain pod", pod(), True),
        ("one with init containers", pod(initContainers=first), True),
        ("one with variables", pod(env(A="1", B="2")), True),
        ("one that goes elsewhere", pod(env(OPENAI_BASE_URL="https://gw.example/v1")), True),
        ("one that names the second", pod(env(ANTHROPIC_API_URL="https://gw.example")), True),
        ("one of two containers", pod(containers=both), True),
        ("one with a ConfigMap of its own", pod(annotations=config), True),
        ("one with a volume of its own", pod(volumes=own), True),
        ("one that has it", pod(initContainers=sidecar), False),
        ("one on the host's network", pod(hostNetwork=True), False),
        ("one for Windows", pod(os={"name": "windows"}), False),
        ("one behind a proxy", pod(env(https_proxy="http://p:1")), False),
    ]


def injected(pod, image):
    binary = os.environ.get("UNDERSTUDY_BIN") or sys.exit("set UNDERSTUDY_BIN to the built program")
    command = [binary, "inject", "--image", image, "-o", "json"]
    ended = subprocess.run(command, input=json.dumps(pod), capture_output=True, text=True, timeout=60)
    if ended.returncode != 0:
        sys.exit(f"understudy inject: {ended.stderr}")
    return json.loads(ended.stdout)


def admitted(policy, pod, params):
    """The pod as the API server would store it."""
    known = {"object": pod, "params": params}
    for condition in policy["matchConditions"]:
        if not evaluated(condition["expression"], known):
            return pod
    pod, variables = copy.deepcopy(pod), {}
    for mutation in policy["mutations"]:
        known = {"object": pod, "params": params, "variables": variables}
        for variable in policy["variables"]:
            variables[variable["name"]] = evaluated(variable["expression"], known)
        if mutation["patchType"] == "JSONPatch":
            for operation in evaluated(mutation["jsonPatch"]["expression"], known):
                patch(pod, operation)
        else:
            pod = merged(pod, evaluated(mutation["applyConfiguration"]["expression"], known))
    return pod


def evaluated(expression, known):
    # Types are maps here, and names of members their keys.
    plain = re.sub(r"\b(?:Object(?:\.\w+)*|JSONPatch)\{", "{", expression)
    plain = re.sub(r'([{,]\s*)([A-Za-z]\w*)(\s*:)', r'\1"\2"\3', plain)
    environment = celpy.Environment()
    functions = {"split": split, "lowerAscii": lambda text: celpy.celtypes.StringType(text.lower())}
    program = environment.program(environment.compile(plain), functions=functions)
    values = {name: celpy.adapter.json_to_cel(value) for name, value in known.items()}
    return json.loads(json.dumps(program.evaluate(values), cls=celpy.adapter.CELJSONEncoder))


def split(text, mark):
    parts = [celpy.celtypes.StringType(part) for part in text.split(mark)]
    return celpy.celtypes.ListType(parts)


def patch(document, operation):
    *way, last = operation["path"].split("/")[1:]
    for part in way:
        document = document[part]
    if isinstance(document, list):
        document.insert(int(last), operation["value"])
    else:
        document[last] = operation["value"]


def merged(old, new):
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: merged(old.get(key), new.get(key, old.get(key))) for key in {**old, **new}}
    if isinstance(old, list) and all("name" in one for one in old + new):
        by_name = {one["name"]: one for one in old}
        for one in new:
            by_name[one["name"]] = merged(by_name.get(one["name"]), one)
        return list(by_name.values())
    return new


def ordered(pod):
    """Without what has no meaning: empty lists, and the order of variables."""
    pod = copy.deepcopy(pod)
    for container in pod["spec"]["containers"]:
        env = sorted(container.pop("env", []), key=lambda one: one["name"])
        if env:
            container["env"] = env
    return pod


def differing(got, wanted, path=""):
    if isinstance(got, dict) and isinstance(wanted, dict):
        for key in {**got, **wanted}:
            if got.get(key) != wanted.get(key):
                return differing(got.get(key), wanted.get(key), f"{path}.{key}")
    return f"{path} is {json.dumps(got)[:300]}, not {json.dumps(wanted)[:300]}"


if __name__ == "__main__":
    main()
