"""The cluster's address on an interface of this node: `spec/networking-security.md`, section 7.

What this node has raised is noted in a file below the run directory, gone after a boot like the address itself.
"""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from twisted.logger import Logger

from gnt.daemon.files import write_atomically
from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout

log: Final = Logger()

NODED_PORT: Final = 1811
PROGRAM_TIME: Final = 20.0
LABEL_LIMIT: Final = 15
_PATH: Final = "/sbin:/usr/sbin:/bin:/usr/bin"

Run = Callable[[Sequence[str]], tuple[int, str]]
Reach = Callable[[str, int, str], Awaitable[bool]]


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """The address that this node has raised."""

    ip: str
    netmask: int
    netdev: str


def run_program(words: Sequence[str]) -> tuple[int, str]:
    """Run a program; gives its exit status and what it wrote. Blocks."""
    try:
        done = subprocess.run(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PROGRAM_TIME,
            check=False,
            env={"PATH": _PATH, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout.strip()


class MasterAddress:
    """Raises it with ip(8). All methods but `answers` block. `reach` says whether somebody answers at an address."""

    def __init__(self, layout: Layout, reach: Reach, run: Run = run_program) -> None:
        self._note = layout.master_address
        self._reach = reach
        self._run = run

    def is_here(self, ip: str) -> bool:
        """Say whether an interface of this node has the address; a loopback address is everywhere."""
        return ipaddress.ip_address(ip).is_loopback or self._device_of(ip) is not None

    async def answers(self, ip: str) -> bool:
        """Say whether somebody answers at the address: being refused is an answer."""
        return await self._reach(ip, NODED_PORT, "")

    def put_up(self, ip: str, netmask: int, netdev: str) -> None:
        """Raise the address, and tell the neighbours. Raises `NodeFailure`."""
        address = ipaddress.ip_address(ip)
        if address.is_loopback:
            return
        where = self._device_of(ip)
        if where is None:
            label = f"{netdev}:0"
            labelled = ["label", label] if address.version == 4 and len(label) <= LABEL_LIMIT else []
            self._ip("address", "add", f"{ip}/{netmask}", "dev", netdev, *labelled, "preferred_lft", "0")
            self._announce(address, netdev)
        elif where != netdev:
            log.warn("{ip} is on {where}, not on {netdev}", ip=ip, where=where, netdev=netdev)
        raised = Raised(ip=ip, netmask=netmask, netdev=where or netdev)
        write_atomically(self._note, msgspec.json.encode(raised), 0o644)
        log.info("the cluster's address {ip} is up on {netdev}", ip=ip, netdev=raised.netdev)

    def take_down(self, ip: str, netmask: int, netdev: str) -> None:
        """Take the address down, if it is up. Raises `NodeFailure` if another interface has it."""
        where = None if ipaddress.ip_address(ip).is_loopback else self._device_of(ip)
        if where is not None:
            if where != netdev:
                raise NodeFailure("wrong_state", f"{ip} is on {where}, not on {netdev}: it is left alone")
            self._ip("address", "del", f"{ip}/{netmask}", "dev", netdev)
            log.info("the cluster's address {ip} is down", ip=ip)
        self._note.unlink(missing_ok=True)

    def take_down_ours(self) -> None:
        """Take down what this node has raised, if it has. Raises `NodeFailure`."""
        try:
            raised = msgspec.json.decode(self._note.read_bytes(), type=Raised)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            raise NodeFailure("damaged", f"{self._note} cannot be read: {error}") from error
        self.take_down(raised.ip, raised.netmask, raised.netdev)

    def _announce(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, netdev: str) -> None:
        """Tell the neighbours where the address is now; that it fails is no harm."""
        ip = str(address)
        words = ["ndisc6", "-q", "-r", "3", ip, netdev]
        if address.version == 4:
            words = ["arping", "-q", "-U", "-c", "3", "-I", netdev, "-s", ip, ip]
        if shutil.which(words[0], path=_PATH) is not None:
            self._run(words)

    def _device_of(self, ip: str) -> str | None:
        """Give the interface that has the address. Raises `NodeFailure` if the system does not say."""
        wanted = ipaddress.ip_address(ip)
        for line in self._ip("-o", "address", "show").splitlines():
            words = line.split()
            found = words[3].partition("/")[0] if len(words) > 3 and words[2] in {"inet", "inet6"} else ""
            if found and ipaddress.ip_address(found) == wanted:
                return words[1].partition("@")[0]
        return None

    def _ip(self, *words: str) -> str:
        status, said = self._run(["ip", *words])
        if status:
            raise NodeFailure("environment_error", f"ip {' '.join(words)}: {said.splitlines()[-1] if said else status}")
        return said
