"""Where the nodes of these tests live: namespaces of their own with two networks, ended with whoever made them.

`br0` carries the calls to the nodes, `br1` what the mirrors replicate, so that either can be cut by itself. No root is
needed: users, networks, processes and mounts are all the room's own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

NETWORK: Final = "10.99.0"
MIRRORS: Final = "10.98.0"
# The number of the host of the master in both networks.
HOST: Final = 1

_BEGIN: Final = """
set -e
ip link set lo up
for bridge in br0 br1; do ip link add $bridge type bridge; ip link set $bridge up; done
ip addr add {network}.{host}/24 dev br0
ip addr add {mirrors}.{host}/24 dev br1
echo ready
exec cat
"""


class Room:
    """The namespaces. `enter` gives a command line that runs a program inside."""

    def __init__(self) -> None:
        begin = _BEGIN.format(network=NETWORK, mirrors=MIRRORS, host=HOST)
        self._first = subprocess.Popen(
            ["unshare", "-rnpm", "--fork", "--kill-child", "--mount-proc", "sh", "-c", begin],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._first.stdout is not None
        assert self._first.stderr is not None
        said = self._first.stdout.readline()
        assert said == "ready\n", self._first.stderr.read()
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text().split()
        self._inside = int(children[0])

    def enter(self, argv: Sequence[str | Path]) -> list[str]:
        """Give the command line that runs `argv` in the room."""
        return [
            *("nsenter", "-t", str(self._inside), "-U", "-n", "-p", "-m", "--preserve-credentials", "--"),
            *(str(word) for word in argv),
        ]

    def run(self, *argv: str) -> str:
        """Run a program in the room; gives its output. It must succeed."""
        done = subprocess.run(self.enter(argv), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def tap(self, name: str, bridge: str) -> None:
        """Make the room's end of a node's network card, unless it is there."""
        if not self.has(name):
            self.run("ip", "tuntap", "add", name, "mode", "tap")
            self.run("ip", "link", "set", name, "master", bridge, "up")

    def has(self, name: str) -> bool:
        """Say whether there is a network card of that name."""
        return f" {name}:" in self.run("ip", "-o", "link")

    def plug(self, name: str, state: str) -> None:
        """Put a node's cable in (`up`) or pull it out (`down`)."""
        self.run("ip", "link", "set", name, state)

    def end(self) -> None:
        """End all that lives in the room."""
        assert self._first.stdin is not None
        self._first.stdin.close()
        self._first.wait(10)
        for stream in (self._first.stdout, self._first.stderr):
            if stream is not None:
                stream.close()


def why_not() -> str:
    """Say what this machine lacks for a room with nodes; empty where nothing is missing."""
    for program, package in _NEEDED.items():
        if not any(os.access(Path(place, program), os.X_OK) for place in ("/usr/bin", "/usr/sbin", "/sbin", "/bin")):
            return f"{program} is missing (Debian's {package})"
    if not any(Path("/usr/lib/uml/modules").glob("*/kernel/drivers/block/drbd/drbd.ko")):
        return "the kernel of user-mode-linux comes without drbd"
    tried = subprocess.run(["unshare", "-rnpm", "--fork", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no namespaces for this user: {tried.stderr.strip()}"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened"
    if not os.access("/dev/shm", os.W_OK):  # noqa: S108 - where user-mode-linux has its memory
        return "/dev/shm cannot be written"  # noqa: S108
    return ""


_NEEDED: Final = {
    "linux.uml": "user-mode-linux",
    "drbdsetup": "drbd-utils",
    "lvs": "lvm2",
    "modprobe": "kmod",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
