"""A machine room for tests: nodes with namespaces and a libvirtd each, as `make demo` builds it.

Needs root and the packages of `tools/setup.sh packages`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gnt.wire.certificates import Identity, make_authority, make_key, make_request, sign_node

CHECKOUT = Path(__file__).resolve().parents[2]
GUEST = CHECKOUT / ".cache/guest"
PROGRAMS = ("libvirtd", "virt-admin", "qemu-system-x86_64", "unshare", "nsenter", "ip", "busybox")


def why_not() -> str:
    """Say why this machine can have no machine room; empty when it can."""
    if os.geteuid() != 0:
        return "a machine room needs root (namespaces, bridges)"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"a machine room needs programs that are not installed: {' '.join(missing)} (tools/setup.sh packages)"
    if not (GUEST / "initrd").exists():
        return "no guest kernel (tools/setup.sh guest)"
    return ""


@dataclass(frozen=True)
class Room:
    """A running machine room. `base` holds one directory for each node: its GNT_ROOTDIR."""

    base: Path
    subnet: str
    cable: str

    def root(self, node: str) -> Path:
        """Give a node's GNT_ROOTDIR."""
        return self.base / node

    def address(self, node: str) -> str:
        """Give a node's address; `node3` has the third one."""
        return f"{self.subnet}.{node.removeprefix('node')}"

    def libvirt_uri(self, node: str) -> str:
        """Give what opens a node's libvirtd from the host."""
        return f"qemu+unix:///system?socket={self.root(node)}/run/libvirt/libvirt-sock"

    def run(self, node: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on a node and give what it said."""
        pid = (self.root(node) / "pid").read_text().strip()
        enter = ["nsenter", "--target", pid, "--mount", "--uts", "--ipc", "--net"]
        enter += [f"--pid=/proc/{pid}/ns/pid_for_children", "--wd=/"]
        return subprocess.run(
            [*enter, *command], capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
        )

    def give_certificate(self, node: str, authority: Identity) -> None:
        """Do what a node daemon does with its certificate: hand it to libvirt and QEMU, `servercert.pem` last."""
        source = random.SystemRandom()
        key = make_key()
        certificate = sign_node(
            authority,
            make_request(key, node),
            name=node,
            uuid="11111111-2222-4333-8444-555555555555",
            addresses=[self.address(node)],
            now=time.time(),
            source=source,
        )
        save_pki(self.root(node) / "etc/ganeti/pki", authority.certificate, Identity(certificate, key))
        wait_until((self.root(node) / "run/libvirt/tls-ready").exists, f"libvirtd on {node} took no certificate")


def save_pki(directory: Path, authority: bytes, node: Identity) -> None:
    """Write certificates under all the names that libvirtd, libvirt's client and QEMU look for."""
    directory.mkdir(parents=True, exist_ok=True)
    contents: list[tuple[bytes, tuple[str, ...]]] = [(authority, ("cacert.pem", "ca-cert.pem"))]
    contents += [(node.key, ("clientkey.pem", "serverkey.pem", "client-key.pem", "server-key.pem"))]
    contents += [(node.certificate, ("clientcert.pem", "client-cert.pem", "server-cert.pem", "servercert.pem"))]
    for content, names in contents:
        for name in names:
            new = directory / f".{name}.new"
            new.touch(mode=0o600)
            new.write_bytes(content)
            new.replace(directory / name)


def new_authority(name: str) -> Identity:
    """Make an authority for a test."""
    return make_authority(name, now=time.time(), source=random.SystemRandom())


def wait_until(condition: Callable[[], bool], failure: str, seconds: float = 30.0) -> None:
    """Wait for something that happens in another process; fail in words when it does not."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(failure)
        time.sleep(0.05)


@contextmanager
def machine_room(nodes: int) -> Iterator[Room]:
    """Build a room, give it, and leave nothing of it."""
    base = Path(tempfile.mkdtemp(prefix="gnt.", dir="/tmp"))  # short: socket paths have a limit
    cable = f"gnt-{base.name[-8:]}"
    try:
        subprocess.run(
            [CHECKOUT / "tools/demo/room.sh", base, str(nodes), cable],
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        yield Room(base, (base / "subnet").read_text().strip(), cable)
    finally:
        subprocess.run([CHECKOUT / "tools/demo/stop.sh", base], check=True, timeout=60, stdin=subprocess.DEVNULL)
