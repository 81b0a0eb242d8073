"""Everything that goes into a cluster, read as API servers read it.

The files of k8s/, the chart with many values, what `understudy inject` makes of every kind of
workload, and pods as a real API server showed them to a webhook: each has to be valid, unknown
fields included, in the oldest version that is supported and in the newest there is a schema of, and
its pods have to pass the strictest Pod Security Standard. The chart and the files for Kustomize say
the same, and the flags in them are flags of the program.

    manifests.py
"""

import copy
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

import helm_python as helm
import kubernetes_validate
import yaml

import _restricted

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = os.path.join(ROOT, "k8s")
CHART = os.path.join(FILES, "helm", "understudy")
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
# Came in later than the oldest version.
LATER = {"MutatingAdmissionPolicy": "1.36", "MutatingAdmissionPolicyBinding": "1.36"}
# Defined by others, who have no schema here.
FOREIGN = {"external-secrets.io/v1", "cert-manager.io/v1"}
FOREIGN |= {"kustomize.config.k8s.io/v1beta1", "kustomize.config.k8s.io/v1alpha1"}
TEMPLATES = {"Pod": [], "CronJob": ["spec", "jobTemplate", "spec", "template"]}
HELM_LABELS = {"app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}

SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
POD = {
    "metadata": {"labels": {"app": "w"}},
    "spec": {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [{"name": "first", "image": "app:1", "securityContext": SAFE}],
        "containers": [{"name": "app", "image": "app:1", "securityContext": SAFE}],
    },
}
CALM = {"understudy.dev/secret": "keys", "understudy.dev/key-mode": "managed"}
CALM |= {"understudy.dev/memory-request": "512Mi", "understudy.dev/cache-size": "3Gi"}
CALM |= {"understudy.dev/inject-init": "true", "understudy.dev/config": "other"}

VALUES = [
    {},
    {"certificate": {"source": "cert-manager"}},
    {"certificate": {"source": "cert-manager", "issuer": {"kind": "ClusterIssuer", "name": "ca"}}},
    {"certificate": {"source": "secret", "secret": "mine", "caBundle": "Y2E="}},
    {"failurePolicy": "Fail", "namespaceLabel": False, "replicas": 5},
    {"podDisruptionBudget": False, "networkPolicy": {"enabled": False}},
    {
        "image": {"repository": "r.example:5000/u", "digest": "sha256:" + "a" * 64},
        "imagePullSecrets": [{"name": "pull"}],
        "defaults": {"cache-size": "2Gi", "secret": "llm-keys", "key-mode": "managed"},
        "priorityClassName": "system-cluster-critical",
        "podLabels": {"team": "platform"},
        "podAnnotations": {"prometheus.io/scrape": "true"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
]
WRONG = [
    {"replica": 3},
    {"replicas": 0},
    {"failurePolicy": "ignore"},
    {"defaults": {"cache-sise": "2Gi"}},
    {"certificate": {"source": "secret"}},
    {"image": {"repository": "a b"}},
]

FAILED = []
COUNTS = {"objects": 0, "pods": 0}


def fail(what):
    FAILED.append(what)
    print(f"FAILED  {what}")


def main():
    began = time.monotonic()
    checks = (sharp, files, chart, same_as_chart, least_rights, inject, captured, kustomize, flags)
    for check in checks:
        check()
    seen = ", ".join(f"{count} {name}" for name, count in COUNTS.items())
    took = time.monotonic() - began
    print(f"{seen} read by {OLDEST} and {NEWEST}; {len(FAILED)} failed in {took:.0f} s")
    sys.exit(1 if FAILED else 0)


def documents(path):
    with open(path) as file:
        return [one for one in yaml.safe_load_all(file) if one]


def sharp():
    """What is wrong is found, or nothing below means anything."""
    pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(POD), "metadata": {"name": "w"}}
    kubernetes_validate.validate(pod, OLDEST, strict=True)
    if _restricted.violations(pod):
        fail(f"a good pod is forbidden: {_restricted.violations(pod)}")
    pod["spec"]["initContainers"][0]["restartPolcy"] = "Always"
    pod["spec"]["containers"][0]["securityContext"] = {}
    try:
        kubernetes_validate.validate(pod, OLDEST, strict=True)
        fail("an unknown field is not found")
    except kubernetes_validate.ValidationError:
        pass
    if len(_restricted.violations(pod)) != 2:
        fail(f"two violations are {_restricted.violations(pod)}")


def valid(where, one):
    """One object, or each of a list, by every version that has it."""
    if one.get("kind") == "List":
        for item in one["items"]:
            valid(where, item)
    elif one.get("apiVersion") not in FOREIGN:
        where = f"{where}: {one.get('kind')} {one.get('metadata', {}).get('name')}"
        COUNTS["objects"] += 1
        for version in {LATER.get(one.get("kind"), OLDEST), NEWEST}:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except Exception as error:  # Each of its errors is a finding.
                fail(f"{where}, by {version}: {str(error)[:300]}")
        secure(where, one)


def pod_of(one):
    """The pod, or the template of pods, in an object."""
    if one.get("kind") in TEMPLATES:
        for part in TEMPLATES[one["kind"]]:
            one = one[part]
        return one
    return (one.get("spec") or {}).get("template")


def secure(where, one):
    pod = pod_of(one)
    if pod and "containers" in pod.get("spec", {}):
        COUNTS["pods"] += 1
        for found in _restricted.violations(pod):
            fail(f"{where}: {found}")


def files():
    for path in sorted(glob.glob(f"{FILES}/**/*.yaml", recursive=True)):
        name = os.path.relpath(path, FILES)
        # Templates are read as rendered, patches as what they are applied to.
        if name.startswith("helm") or name == "kustomize/component/sidecar.yaml":
            continue
        for one in documents(path):
            valid(name, one)


def rendered(values, namespace="understudy", name="understudy"):
    with helm.Chart.load(CHART) as loaded:
        out = loaded.render(values, name=name, namespace=namespace)
    texts = [text for name, text in sorted(out.items()) if name.endswith(".yaml")]
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def chart():
    messages = helm.lint(CHART)
    errors = [m for m in messages["messages"] if m["severity"] > 1] + messages["errors"]
    if errors:
        fail(f"helm lint: {errors}")
    for values in VALUES:
        all_of_it = rendered(values, "llm", "of-the-platform-team-for-everybody-else")
        for one in all_of_it:
            valid(f"chart with {json.dumps(values)[:60]}", one)
        belongs_together(values, all_of_it)
    for values in WRONG:
        try:
            rendered(values)
        except helm.HelmError:
            continue
        fail(f"the chart takes {values}")


def belongs_together(values, all_of_it):
    """Selectors select, names lead somewhere, and what is not to be there is not."""
    by_kind = {}
    for one in all_of_it:
        by_kind.setdefault(one["kind"], []).append(one)
    [deployment] = by_kind["Deployment"]
    [service] = by_kind["Service"]
    [configuration] = by_kind["MutatingWebhookConfiguration"]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]]
    for kind, key in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        selectors += [one["spec"][key]["matchLabels"] for one in by_kind.get(kind, [])]
    if not all(selector.items() <= labels for selector in selectors):
        fail(f"chart with {values}: a selector does not select the webhook's pods")
    source = values.get("certificate", {}).get("source", "own")
    for entry in configuration["webhooks"]:
        called = entry["clientConfig"]["service"]
        if (called["name"], called["namespace"]) != (service["metadata"]["name"], "llm"):
            fail(f"chart with {values}: {entry['name']} calls {called}")
        if ("caBundle" in entry["clientConfig"]) != (source == "secret"):
            fail(f"chart with {values}: {entry['name']} has a bundle, or has none")
        excluded = entry["namespaceSelector"]["matchExpressions"][0]["values"]
        if "llm" not in excluded or "kube-system" not in excluded:
            fail(f"chart with {values}: {entry['name']} reviews its own namespace")
    if ("Role" in by_kind) != (source == "own"):
        fail(f"chart with {values}: rights without use, or none")


def same_as_chart():
    """The base for Kustomize is the chart with its defaults, but for Helm's own labels."""
    from_chart = rendered({})
    for one in from_chart:
        labels = one["metadata"]["labels"]
        one["metadata"]["labels"] = {k: v for k, v in labels.items() if k not in HELM_LABELS}
    from_files = []
    for name in documents(f"{FILES}/kustomize/base/kustomization.yaml")[0]["resources"]:
        from_files += documents(f"{FILES}/kustomize/base/{name}")
    from_files = [one for one in from_files if one["kind"] != "Namespace"]
    order = lambda one: (one["kind"], one["metadata"]["name"])
    for ours, theirs in zip(sorted(from_files, key=order), sorted(from_chart, key=order)):
        if ours != theirs:
            fail(f"kustomize/base and the chart differ: {order(ours)} and {order(theirs)}")
    if len(from_files) != len(from_chart):
        fail("kustomize/base and the chart have not the same objects")


def least_rights():
    """One Secret by name, one configuration by name, and nothing else."""
    rules = [rule for one in rendered({}) for rule in one.get("rules", [])]
    wanted = [
        (["secrets"], ["understudy-webhook-tls"], ["get", "update"]),
        (["mutatingwebhookconfigurations"], ["understudy"], ["get", "patch"]),
    ]
    got = [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in rules]
    if got != wanted:
        fail(f"the webhook may do {got}")


def workloads():
    """One of every kind, and all of them in a list."""
    selector = {"matchLabels": {"app": "w"}}

    def made(kind, group, spec):
        return {"apiVersion": group, "kind": kind, "metadata": {"name": "w"}, "spec": spec}

    def template(**spec):
        pod = copy.deepcopy(POD)
        pod["spec"].update(spec)
        return pod

    ends = template(restartPolicy="Never")
    every = [
        {"apiVersion": "v1", "kind": "Pod", **template(), "metadata": {"name": "w"}},
        made("Deployment", "apps/v1", {"selector": selector, "template": template()}),
        made("ReplicaSet", "apps/v1", {"selector": selector, "template": template()}),
        made("DaemonSet", "apps/v1", {"selector": selector, "template": template()}),
        made("ReplicationController", "v1", {"selector": {"app": "w"}, "template": template()}),
        made(
            "StatefulSet",
            "apps/v1",
            {"selector": selector, "serviceName": "w", "template": template()},
        ),
        made("Job", "batch/v1", {"template": ends}),
        made(
            "CronJob",
            "batch/v1",
            {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": ends}}},
        ),
    ]
    return [*every, {"apiVersion": "v1", "kind": "List", "items": copy.deepcopy(every)}]


def understudy(*arguments, text=""):
    binary = os.environ.get("UNDERSTUDY_BIN") or sys.exit("set UNDERSTUDY_BIN to the built program")
    ended = subprocess.run([binary, *arguments], input=text, capture_output=True, text=True, timeout=60)
    if ended.returncode != 0:
        fail(f"understudy {' '.join(arguments)}: exit {ended.returncode}, {ended.stderr[-500:]}")
    return ended.stdout


def injected(one, *options):
    """The object with the sidecar, read from YAML as another reader understands it."""
    written = understudy("inject", *options, text=yaml.safe_dump(one, sort_keys=False))
    return next(yaml.safe_load_all(written))


def inject():
    for one in workloads():
        for annotations in ({}, CALM):
            asked = copy.deepcopy(one)
            for each in asked["items"] if asked["kind"] == "List" else [asked]:
                pod_of(each).setdefault("metadata", {})["annotations"] = dict(annotations)
            after = injected(asked)
            where = f"inject of a {one['kind']}"
            valid(where, after)
            for each in after["items"] if after["kind"] == "List" else [after]:
                first = pod_of(each)["spec"]["initContainers"][0]
                if (first["name"], first["restartPolicy"]) != ("understudy", "Always"):
                    fail(f"{where}: the sidecar is not the first to start")
            if injected(after) != after:
                fail(f"{where}: a second time changes it")


def captured():
    """Pods as a real API server showed them; the sidecar adds no violation to what they are."""
    shared = os.environ.get("UNDERSTUDY_SHARED") or os.path.join(ROOT, "..", "shared")
    paths = sorted(glob.glob(os.path.join(shared, "data", "admission", "*.json")))
    if not paths:
        print("skipped: no captured reviews are beside this checkout")
    for path in paths:
        with open(path) as file:
            # They were captured with a forerunner, which had another name.
            review = json.loads(file.read().replace("splitproxy", "understudy"))
        pod = review["request"]["object"]
        pod["metadata"].setdefault("name", "named-later")
        name = os.path.basename(path)
        after = injected(pod)
        has_one = any(c["name"] == "understudy" for c in pod["spec"].get("initContainers", []))
        expected = has_one or not pod["spec"].get("hostNetwork")
        names = [c["name"] for c in after["spec"].get("initContainers", [])]
        if (names.count("understudy") == 1) != expected:
            fail(f"{name}: {names}")
        for version in (OLDEST, NEWEST):
            try:
                kubernetes_validate.validate(after, version, strict=True)
            except Exception as error:  # Each of its errors is a finding.
                fail(f"{name}, by {version}: {str(error)[:300]}")
        for found in set(_restricted.violations(after)) - set(_restricted.violations(pod)):
            fail(f"{name}: {found}")
        COUNTS["objects"] += 1


def kustomize():
    """The folders build, where kubectl is at hand: no registry of packages has Kustomize alone."""
    if not shutil.which("kubectl"):
        print("skipped: kubectl is not at hand, kustomizations are not built")
        return
    for folder in ("kustomize/base", "examples/overlay", "examples/component"):
        command = ["kubectl", "kustomize", os.path.join(FILES, folder)]
        built = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if built.returncode != 0:
            fail(f"{folder}: {built.stderr[-500:]}")
            continue
        for one in yaml.safe_load_all(built.stdout):
            valid(f"{folder}, built", one)
            if one["kind"] == "Deployment" and folder.startswith("examples"):
                images = set(re.findall(r"[^\s=\"]*understudy:[^\s\"]+", yaml.safe_dump(one)))
                if images != {"registry.example/understudy:0.1.0"}:
                    fail(f"{folder}, built: {images}")


def flags():
    """The arguments of containers are ones that the program takes."""
    [deployment] = [one for one in rendered(VALUES[-1]) if one["kind"] == "Deployment"]
    [given] = [one for one in rendered(VALUES[3]) if one["kind"] == "Deployment"]
    sidecar = injected(workloads()[0])["spec"]["initContainers"][0]
    webhooks = [one["spec"]["template"]["spec"]["containers"][0] for one in (deployment, given)]
    for container in (sidecar, *webhooks):
        command, *rest = container["args"]
        told = understudy(command, "--help")
        for flag in (word.split("=")[0] for word in rest if word.startswith("--")):
            if not re.search(rf"{flag}\b", told):
                fail(f"understudy {command} has no {flag}")


if __name__ == "__main__":
    main()
