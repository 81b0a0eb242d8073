"""A pod on this machine: a network of its own, a root that nobody can write, volumes as a kubelet
lays them, and a user without any right."""

import ctypes
import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

USER = 65532
INSIDE = "UNDERSTUDY_POD"
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")

# What Python has no name for.
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
LIBC = ctypes.CDLL(None, use_errno=True)


def enter():
    """Runs this script again inside a pod of its own; returns when that is where it runs.

    Where the machine does not allow it, says so and ends well.
    """
    if os.environ.get(INSIDE):
        loopback()
        return
    why = "this is not root"
    if os.geteuid() == 0:
        tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
        if tried.returncode == 0:
            command = [*UNSHARE, sys.executable, *sys.argv]
            os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})
        why = tried.stderr.strip()
    print(f"{os.path.basename(sys.argv[0])}: skipped, no namespaces are to be had here: {why}")
    sys.exit(0)


def loopback():
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


class Volume:
    """A ConfigMap or a Secret as a kubelet lays it: a link, `..data`, is swapped at once."""

    def __init__(self, path, files):
        self.path = path
        self.versions = 0
        os.makedirs(path)
        self.write(files)

    def write(self, files):
        """Puts these files in the place of those that are there."""
        self.versions += 1
        folder = time.strftime("..%Y_%m_%d_%H_%M_%S.") + f"{self.versions:09}"
        os.mkdir(os.path.join(self.path, folder))
        for name, text in files.items():
            with open(os.path.join(self.path, folder, name), "w") as file:
                file.write(text)
        data, fresh = (os.path.join(self.path, name) for name in ("..data", "..data_tmp"))
        before = os.readlink(data) if os.path.lexists(data) else None
        os.symlink(folder, fresh)
        os.rename(fresh, data)
        for name in files:
            link = os.path.join(self.path, name)
            if not os.path.lexists(link):
                os.symlink(os.path.join("..data", name), link)
        if before:
            shutil.rmtree(os.path.join(self.path, before))


class Container:
    """A root for one program, with nothing in it but what is named here."""

    def __init__(self, root, binary, files=(), folders=()):
        """`files` are (path inside, text); `folders` are to be mounted over."""
        self.root = root
        os.makedirs(root)
        libraries = linked(binary)
        self.is_static = not libraries
        for path in ["/understudy", *libraries]:
            self.copy(binary if path == "/understudy" else path, path)
        for path, text in files:
            with open(self.make(path), "w") as file:
                file.write(text)
        for path in folders:
            os.makedirs(self.inside(path), exist_ok=True)
        mount("--bind", root, root)
        mount("-o", "remount,bind,ro", root)

    def inside(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def make(self, path):
        os.makedirs(os.path.dirname(self.inside(path)), exist_ok=True)
        return self.inside(path)

    def copy(self, source, path):
        shutil.copy(source, self.make(path))

    def lay(self, source, path):
        """A volume that it can read, and nobody inside can write."""
        mount("--bind", source, self.inside(path))
        mount("-o", "remount,bind,ro", self.inside(path))

    def room(self, path, size):
        """An emptyDir."""
        mount("-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", self.inside(path))

    def confine(self, folder="/"):
        """What a child does before it becomes the program."""

        def confined():
            os.chroot(self.root)
            os.chdir(folder)
            for capability in range(64):
                LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
            LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)

        return confined

    def run(self, *command, folder="/", env=None):
        """What a kubelet's exec does: a program to its end, its code and what it said."""
        done = subprocess.run(
            ["/understudy", *command],
            preexec_fn=self.confine(folder),
            env=env or {},
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.returncode, (done.stdout + done.stderr).strip()


def linked(binary):
    """The libraries that it needs besides itself."""
    told = subprocess.run(["ldd", binary], capture_output=True, text=True)
    return re.findall(r"(/\S+) \(0x", told.stdout) if told.returncode == 0 else []


def status(pid):
    """What the system says of a process."""
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
