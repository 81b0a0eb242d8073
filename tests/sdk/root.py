"""The static program in a root that holds nothing but it, a configuration and a file of authorities:
it finds names, believes whom it is told to, and says what is missing where something is."""

import datetime
import http.server
import json
import socket
import ssl
import struct
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import _pod
import _rig

# One that a file knows, and one that only the name server does.
HOST, NAME = "in-the-file", "provider.test"
DATA, CONFIG, PEM = "/data", "/understudy.yaml", "/authorities.pem"
SERVE = ["serve", "--config", CONFIG, "--data-dir", DATA, "--listen", "127.0.0.1:4100"]


def signed(subject, key, by, names=()):
    """A certificate of `by`, a pair of name and key."""
    now = datetime.datetime.now(datetime.timezone.utc)
    named = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    made = x509.CertificateBuilder(named(by[0]), named(subject), key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1))
    made = made.not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    if names:
        names = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        made = made.add_extension(names, critical=False)
    return made.sign(by[1], hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def authority(name):
    """Its certificate, and what signs with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return signed(name, key, (name, key)), (name, key)


class Provider(http.server.ThreadingHTTPServer):
    """Answers over TLS, with a certificate for both names."""

    daemon_threads = True

    def __init__(self, folder, by):
        super().__init__(("127.0.0.1", 0), Handler)
        key = ec.generate_private_key(ec.SECP256R1())
        with open(f"{folder}/provider.pem", "w") as file:
            file.write(signed("provider", key, by, [HOST, NAME]))
            file.write(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ).decode()
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/provider.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass


class Handler(_rig.Handler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": self.headers["host"].partition(":")[0]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def name_server():
    """Knows one name, which is here; RFC 1035."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 53))
    known = b"".join(bytes([len(part)]) + part.encode() for part in NAME.split(".")) + b"\0"

    def answer():
        while True:
            asked, client = udp.recvfrom(512)
            end = asked.index(b"\0", 12) + 5
            name, kind = asked[12 : end - 4], struct.unpack("!H", asked[end - 4 : end - 2])[0]
            is_known = name.lower() == known
            found = is_known and kind == 1
            head = asked[:2] + struct.pack("!5H", 0x8180 if is_known else 0x8183, 1, found, 0, 0)
            record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + socket.inet_aton("127.0.0.1")
            udp.sendto(head + asked[12:end] + (record if found else b""), client)

    threading.Thread(target=answer, daemon=True).start()


class Root:
    """A root with these files, and nothing else in it."""

    def __init__(self, name, files):
        self.name = name
        self.container = _pod.Container(f"/mnt/{name}", _rig.binary(), files.items(), [DATA])
        self.container.room(DATA, "64m")

    def answers(self, programs, env=None):
        """What each provider says, or the error that the application gets instead."""
        confine = self.container.confine()
        programs.start(self.name, "/understudy", *SERVE, env=env, preexec_fn=confine)
        programs.wait("http://127.0.0.1:4101/readyz")
        said = {}
        for host in (HOST, NAME):
            body = {"model": f"{host}/m", "messages": [{"role": "user", "content": "who?"}]}
            status, _, body = _rig.post("http://127.0.0.1:4100/v1/chat/completions", body)
            body = json.loads(body)
            said[host] = (status, body["choices"] if status == 200 else body["error"]["message"])
        process, _ = programs.running.pop(self.name)
        process.terminate()
        assert process.wait(30) == 0
        return said


def main():
    _pod.enter()
    if _pod.linked(_rig.binary()):
        print("root.py: skipped, the program needs libraries: build it as .ci/run does")
        return
    _pod.mount("-t", "tmpfs", "tmpfs", "/mnt")
    pem, by = authority("ours")
    strange, _ = authority("another")
    provider = Provider("/mnt", by)
    name_server()
    base = {host: f"https://{host}:{provider.server_address[1]}/v1" for host in (HOST, NAME)}
    providers = {host: {"dialect": "openai", "base_url": url} for host, url in base.items()}
    config = {"providers": providers, "retry": {"attempts": 0}}
    names = {"/etc/hosts": f"127.0.0.1 {HOST}\n", "/etc/resolv.conf": "nameserver 127.0.0.1\n"}
    by_key = {CONFIG: json.dumps({**config, "ca_file": PEM}), PEM: pem, **names}
    by_variable = {CONFIG: json.dumps(config), PEM: pem, **names}
    programs = _rig.Programs("/mnt")

    known = {HOST: 200, NAME: 200}
    for root, env in (Root("key", by_key), None), (Root("variable", by_variable), {"SSL_CERT_FILE": PEM}):
        said = root.answers(programs, env)
        assert {host: status for host, (status, _) in said.items()} == known, said
        for host, (_, choices) in said.items():
            assert choices[0]["message"]["content"] == host, said
        found = sorted(path for path in walked(root.container.root) if not path.startswith(DATA))
        print(f"root: TLS to {HOST} and {NAME} by {root.name}; all there is: {' '.join(found)}")

    said = Root("stranger", {**by_key, PEM: strange}).answers(programs)
    for status, message in said.values():
        assert status == 502 and "certificate" in message and "ca_file" in message, said
    print(f"root: another authority is not believed: {said[NAME][1]}")
    code, told = Root("none", {CONFIG: json.dumps(config), **names}).container.run(*SERVE)
    assert code == 1 and "SSL_CERT_FILE" in told and "ca_file" in told, (code, told)
    print(f"root: without any authority it does not start: {told.splitlines()[-1]}")


def walked(root):
    found = subprocess.run(["find", root, "-type", "f"], capture_output=True, text=True, check=True)
    return [path[len(root) :] for path in found.stdout.split()]


if __name__ == "__main__":
    main()
