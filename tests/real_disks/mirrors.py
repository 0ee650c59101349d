"""Mirrors to try on two machines: descriptions as the master makes them, and what is done to both sides."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from gnt.model.objects import Disk, DiskTemplate, Instance
from gnt.model.specs import DiskSpec, disk_spec
from gnt.wire.calls import DiskAssemble, DiskCreate, DiskFacts, DiskRelease, NodeCall
from gnt.wire.disk_calls import DiskStates, MirrorFacts, MirrorList
from tests.live import wait_until
from tests.real_disks.cluster import GROUP, RealCluster

SIZE: Final = 32
SYNC_TIME: Final = 60.0
_uuids: Final = itertools.count(1)


def another_uuid() -> str:
    """Give a UUID that nothing has yet."""
    return f"00000000-0000-4000-8000-{next(_uuids):012d}"


@dataclass
class Mirror:
    """A mirror between two machines, the first of which is the primary one when none is named."""

    real: RealCluster
    spec: DiskSpec
    nodes: tuple[str, str]
    minors: dict[str, int] = field(default_factory=dict)

    def ask(self, node: str, call: NodeCall[Any]) -> Any:
        """Make a node call."""
        return self.real.ask(node, call)

    def together(self, call: NodeCall[Any], *nodes: str) -> None:
        """Make a call to both machines, or to these, at once as the master does."""
        self.real.together(dict.fromkeys(nodes or self.nodes, call))

    def create(self) -> None:
        """Make both sides."""
        self.together(DiskCreate(disk=self.spec))

    def connect(self, *nodes: str) -> None:
        """Set both sides up."""
        self.together(DiskAssemble(disk=self.spec, primary=False), *nodes)

    def open(self, node: str) -> str:
        """Set the mirror up for writing on a machine; gives its device."""
        return str(self.ask(node, DiskAssemble(disk=self.spec, primary=True)).path)

    def start(self) -> str:
        """Make, set up, open on the first machine, and wait until both sides are in step; gives the device."""
        self.create()
        self.connect()
        device = self.open(self.nodes[0])
        self.in_sync()
        return device

    def release(self) -> None:
        """Take both sides down."""
        self.together(DiskRelease(disk=self.spec))

    def facts(self, node: str) -> DiskFacts | None:
        """Find it on a machine."""
        [state] = self.ask(node, DiskStates(disks=[self.spec]))
        assert not state.problem, state.problem
        found: DiskFacts | None = state.facts
        return found

    def kernel(self, node: str) -> MirrorFacts | None:
        """Give what the kernel of a machine says of it."""
        overview = self.ask(node, MirrorList())
        return next((one for one in overview.minors if one.minor == self.minors[node]), None)

    def until(self, node: str, seen: Callable[[MirrorFacts], bool]) -> None:
        """Wait until the kernel of a machine says something."""

        def look() -> bool:
            found = self.kernel(node)
            return found is not None and seen(found)

        wait_until(look, f"{node} says {self.kernel(node)}", SYNC_TIME)

    def in_sync(self) -> None:
        """Wait until both sides have all data."""
        self.until(
            self.nodes[0], lambda now: (now.connection, now.disk, now.peer_disk) == ("Connected", *["UpToDate"] * 2)
        )


def mirror(
    real: RealCluster, number: int = 0, *, size: int = SIZE, nodes: tuple[str, str] = ("node2", "node3")
) -> Mirror:
    """Describe a mirror; `number` gives its port, and minors that differ between the nodes."""
    cluster = real.model()
    by_name = {node.name: node for node in cluster.nodes.values()}
    one, other = (by_name[name] for name in nodes)
    minors = {nodes[0]: number, nodes[1]: number + 20}
    name = f"mirror{number}.disk0"
    children = tuple(
        Disk(uuid=another_uuid(), dev_type=DiskTemplate.PLAIN, logical_id=(GROUP, f"{name}_{part}"), size=room)
        for part, room in (("data", size), ("meta", 128))
    )
    disk = Disk(
        uuid=another_uuid(),
        dev_type=DiskTemplate.DRBD,
        logical_id=(one.uuid, other.uuid, 11000 + number, *minors.values(), "not-a-secret-of-anybody"),
        children=children,
        size=size,
    )
    instance = Instance(uuid=another_uuid(), name="web1", primary_node=one.uuid)
    return Mirror(real, disk_spec(cluster, instance, disk, 0), nodes, minors)
