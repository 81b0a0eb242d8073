"""What the image says of its parts: the schema of CycloneDX takes it, and nothing linked is missing."""

import json
import os
import subprocess
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def sbom():
    command = [sys.executable, os.path.join(SOURCE, "k8s", "sbom")]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    text = sbom()
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert wrong is None, wrong
    assert text == sbom(), "the same source gave two texts"
    told = json.loads(text)
    names = {row["name"] for row in told["components"]}
    assert {"ring", "rustls", "sled", "tokio", "libc"} <= names, names
    strangers = names & {"criterion", "proptest", "serde_derive", "syn", "tempfile"}
    assert not strangers, f"not in the program: {strangers}"
    for row in told["components"]:
        assert row["licenses"] and row["hashes"], row
    refs = {row["bom-ref"] for row in told["components"]}
    refs.add(told["metadata"]["component"]["bom-ref"])
    reached, waiting = set(), [told["metadata"]["component"]["bom-ref"]]
    graph = {row["ref"]: row["dependsOn"] for row in told["dependencies"]}
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += graph[ref]
    assert reached == refs, reached ^ refs
    print(f"sbom: {len(names)} crates, each with licence and hash, all of them needed")


if __name__ == "__main__":
    main()
