"""Machines below temporary directories, daemons that only pretend to run, and a master with a join port."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest import TestCase, mock

import msgspec
from twisted.internet import reactor as _reactor
from twisted.internet.interfaces import IDelayedCall, IListeningPort

from gnt.bootstrap import this_node
from gnt.bootstrap.daemons import ALL, NODED, Daemons
from gnt.daemon.runtime import Runtime
from gnt.masterd.join_port import JoinPort
from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import Failed
from gnt.model.initial import Identities, new_cluster
from gnt.model.layout import Layout
from gnt.wire import certificates
from tests.live import free_prefix
from tests.noded.places import InlinePool

reactor: Any = _reactor

CLUSTER_UUID = "00000000-0000-4000-8000-00000000000c"
MASTER_UUID = "00000000-0000-4000-8000-000000000001"
GROUP_UUID = "00000000-0000-4000-8000-00000000000b"
PREFIX = free_prefix()
NAMES = {"node1": f"{PREFIX}.1", "node2": f"{PREFIX}.2", "node3": f"{PREFIX}.3", "demo": f"{PREFIX}.1"}


def directory(test: TestCase) -> Path:
    """Give a directory that goes with the test."""
    path = Path(tempfile.mkdtemp(prefix="gnt-join-"))
    test.addCleanup(shutil.rmtree, path)
    return path


def machine(root: Path, names: dict[str, str] = NAMES) -> Layout:
    """Give a plain machine: nothing but names."""
    (root / "etc").mkdir(parents=True)
    (root / "etc/hosts").write_text("".join(f"{address} {name}\n" for name, address in names.items()))
    return Layout(root)


def state(layout: Layout) -> dict[str, tuple[int, bytes]]:
    """Give everything on a machine: modes and contents by path."""
    return {
        str(path.relative_to(layout.root)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(layout.root.rglob("*"))
    }


@dataclass
class PretendedDaemons:
    """Daemons that leave the traces of real ones. `fails` names the step, such as `start gnt-noded`, that fails."""

    layout: Layout
    fails: str = ""
    running: set[str] = field(default_factory=set)
    steps: list[str] = field(default_factory=list)

    def as_daemons(self) -> Daemons:
        """Give it under the type that it stands in for."""
        return cast("Daemons", self)

    def start(self, name: str) -> None:
        """Leave a pid file, and what a node daemon writes when it first runs."""
        self.running.add(name)
        self.layout.pid_file(name).write_text("1\n")
        if name == NODED:
            self.layout.calls_db.write_bytes(b"calls")
        self._step(f"start {name}")

    def start_all(self) -> None:
        """Start them, one after the other."""
        for name in ALL:
            self.start(name)

    def stop(self, name: str) -> None:
        """Take the pid file away."""
        self.running.discard(name)
        self.layout.pid_file(name).unlink(missing_ok=True)
        self._step(f"stop {name}")

    def pid(self, name: str) -> int | None:
        """Say whether one runs."""
        return 1 if name in self.running else None

    def wait_for_noded(self, address: str, port: int) -> None:
        """Answer at once."""
        self._step(f"wait {address}:{port}")

    def wait_for_masterd(self) -> None:
        """Answer at once."""
        self._step("wait gnt-masterd")

    def refuse_long_sockets(self) -> None:
        """Refuse nothing."""

    def _step(self, step: str) -> None:
        self.steps.append(step)
        if step == self.fails:
            raise Failed(f"{step} failed")


STEPS = [*(f"start {name}" for name in ALL), f"wait {PREFIX}.1:1811", "wait gnt-masterd"]


@contextmanager
def failing_write(number: int) -> Iterator[list[Path]]:
    """Have the disk full at the n-th file that is written (from 1); gives the list of those written."""
    real = this_node.write_atomically
    written: list[Path] = []

    def write(path: Path, data: bytes | str, mode: int) -> None:
        written.append(path)
        if len(written) == number:
            raise OSError(28, "No space left on device", str(path))
        real(path, data, mode)

    with mock.patch.object(this_node, "write_atomically", write):
        yield written


class JumpingClock:
    """The reactor's time, which can be moved on: what was due meanwhile happens soon."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._calls: list[IDelayedCall] = []

    def seconds(self) -> float:
        """Give the time."""
        return time.time() + self._ahead

    def callLater(self, delay: float, function: Callable[..., object], *args: Any, **kwargs: Any) -> IDelayedCall:
        """Call later."""
        call: IDelayedCall = reactor.callLater(delay, function, *args, **kwargs)
        self._calls.append(call)
        return call

    def jump(self, seconds: float) -> None:
        """Move on."""
        self._ahead += seconds
        now = reactor.seconds()
        for call in self._calls:
            if call.active():
                call.reset(max(0.0, call.getTime() - now - seconds))


@dataclass
class Truth:
    """What is committed."""

    cluster: Cluster
    position: Position


class Master:
    """A master with certificates, a configuration and a join port at the address of node1."""

    def __init__(self, root: Path, *, names: dict[str, str] = NAMES, seed: int = 1) -> None:
        self.layout = machine(root, names)
        self.layout.data.mkdir(parents=True)
        self.clock = JumpingClock()
        source = random.Random(seed)  # noqa: S311
        self.runtime = Runtime(clock=self.clock, pools=lambda _name: InlinePool(), random=source)
        now = self.clock.seconds()
        self.authority = certificates.make_authority("demo", now=now, source=source)
        key = certificates.make_key()
        request = certificates.make_request(key, "node1")
        signed = certificates.sign_node(
            self.authority,
            request,
            name="node1",
            uuid=MASTER_UUID,
            addresses=[names["node1"]],
            now=now,
            source=source,
        )
        certificates.save_public(self.layout.authority_certificate, self.authority.certificate)
        certificates.save_secret(self.layout.authority_key, self.authority.key)
        certificates.save_identity(self.layout.node_pem, certificates.Identity(signed, key))
        digest = certificates.digest(signed)
        cluster = new_cluster(
            name="demo",
            node_name="node1",
            primary_ip=names["node1"],
            identities=Identities(cluster=CLUSTER_UUID, node=MASTER_UUID, group=GROUP_UUID),
            now=now,
            enabled_hypervisors=["fake"],
            node_certificate=digest,
            settings={
                "file_storage_dir": str(root.parent / "files"),
                "shared_file_storage_dir": str(root.parent / "shared"),
                "candidate_certs": {MASTER_UUID: digest},
            },
        )
        self.truth = Truth(cluster, Position(epoch=Epoch(number=1, node=MASTER_UUID), serial=7))
        self.port = JoinPort(self.runtime, self.layout, self.truth, "1.0", _listen, port=0)

    def rename(self, name: str) -> None:
        """Make it another cluster's master."""
        settings = msgspec.structs.replace(
            self.truth.cluster.settings, cluster_name=name, uuid=CLUSTER_UUID.replace("c", "d")
        )
        self.truth.cluster = self.truth.cluster.put(settings)


def _listen(address: str, port: int, factory: Any) -> IListeningPort:
    listening: IListeningPort = reactor.listenTCP(port, factory, interface=address)
    return listening
