"""How long the master takes to answer queries: from the request's arguments to the bytes of the answer.

Run: `python -m bench.queries`. Nodes answer at once, so live lists show what the master itself adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from gnt.masterd.queries.answers import Answers
from gnt.masterd.queries.sightings import Sightings
from gnt.model.cluster import Cluster
from gnt.model.initial import Identities, new_cluster
from gnt.model.objects import AdminState, Disk, DiskTemplate, Instance, Nic, Node
from gnt.wire.calls import HypervisorFacts, NodeCall, NodeFacts
from gnt.wire.guest_calls import GuestFacts, GuestList
from gnt.wire.luxi import encode_response

NODES = 100
STATIC = "name os pnode snodes admin_state disk_template be/maxmem be/vcpus nic.macs tags"
DEFAULT_LIST = "name hypervisor os pnode status oper_ram"
ALLOCATOR = (
    "name disk_usage be/memory be/vcpus status pnode snodes tags be/auto_balance disk_template be/spindle_use"
    " disk.sizes disk.spindles forthcoming"
)
RAPI_BULK = (
    "name admin_state os pnode snodes disk_template nic.ips nic.macs nic.modes nic.uuids nic.names nic.links"
    " nic.networks nic.networks.names nic.bridges network_port disk.sizes disk.spindles disk_usage disk.uuids"
    " disk.names beparams hvparams oper_state oper_ram oper_vcpus status custom_hvparams custom_beparams"
    " custom_nicparams custom_osparams ctime mtime uuid serial_no tags"
)
NODE_LIST = "name dtotal dfree mtotal mnode mfree pinst_cnt sinst_cnt"


def build(count: int) -> Cluster:
    """Make a cluster of 100 nodes with that many running instances."""
    made = new_cluster(
        name="cluster.example.com",
        node_name="node0.example.com",
        primary_ip="192.0.2.1",
        identities=Identities(cluster="c", node="n0", group="g"),
        now=1.0,
    )
    objects: list[Any] = [
        Node(name=f"node{n}.example.com", uuid=f"n{n}", primary_ip=f"10.0.0.{n}", group="g") for n in range(1, NODES)
    ]
    for n in range(count):
        disk = Disk(uuid=f"d{n}", dev_type=DiskTemplate.SHAREDFILE, size=10240, logical_id=("loop", f"/srv/d{n}"))
        instance = Instance(
            name=f"instance{n}.example.com",
            uuid=f"i{n}",
            primary_node=f"n{n % NODES}",
            os="debian+stable",
            disks=(disk.uuid,),
            nics=(Nic(uuid=f"nic{n}", mac="aa:00:00:00:00:01"),),
            beparams={"maxmem": 1024},
            admin_state=AdminState.UP,
        )
        objects.extend((disk, instance))
    return Cluster.of(replace(made.settings, ctime=1.0), [*made.objects(), *objects][1:])


class Nodes:
    """Nodes that answer at once."""

    def __init__(self, cluster: Cluster) -> None:
        self._facts = NodeFacts(
            boot_id="b",
            hypervisors={"kvm": HypervisorFacts(memory_total=1, memory_free=1, memory_dom0=1, cpu_total=1)},
        )
        self._guests = {
            node: [
                GuestFacts(name=each.name, uuid=each.uuid, hypervisor="kvm", state="running", memory=1024, vcpus=1)
                for each in cluster.instances_on(node)
            ]
            for node in cluster.nodes
        }

    async def call(self, node: str, call: NodeCall[Any], *, deadline: float | None = None) -> Any:
        """Answer."""
        del deadline
        return self._guests[node] if isinstance(call, GuestList) else self._facts


class Bench:
    """One cluster that is asked."""

    drained = False

    def __init__(self, count: int) -> None:
        self.cluster = build(count)
        self.clock = Clock()
        self.answers = Answers(
            snapshots=self,
            jobs=self,  # type: ignore[arg-type]  # no jobs are asked for
            shelf=self,  # type: ignore[arg-type]
            locks=self,  # type: ignore[arg-type]
            ask_all=Sightings(Nodes(self.cluster), self.clock).ask_all,
        )

    def ask(self, what: str, fields: Sequence[str], query_filter: Any = None) -> bytes:
        """Ask, and give the bytes that go to the client."""
        self.clock.advance(60)  # so that each question goes to the nodes
        came: list[Any] = []
        ensureDeferred(self.answers.query(what, fields, query_filter)).addCallback(came.append)
        return encode_response(came[0])


def best(function: Callable[[], bytes], rounds: int = 7) -> tuple[float, int]:
    """Give the shortest time in milliseconds, and the size of the answer in KiB."""
    times = []
    size = 0
    for _ in range(rounds):
        begin = time.perf_counter()
        size = len(function())
        times.append((time.perf_counter() - begin) * 1000)
    return min(times), size // 1024


def main() -> None:
    """Print a table."""
    for count in (1_000, 10_000):
        bench = Bench(count)
        rows: list[tuple[str, Callable[[], bytes]]] = [
            (f"static, {len(STATIC.split())} fields", lambda bench=bench: bench.ask("instance", STATIC.split())),
            ("default list, live", lambda bench=bench: bench.ask("instance", DEFAULT_LIST.split())),
            ("allocator, live", lambda bench=bench: bench.ask("instance", ALLOCATOR.split())),
            ("RAPI bulk, live", lambda bench=bench: bench.ask("instance", RAPI_BULK.split())),
            ("one by name", lambda bench=bench: bench.ask("instance", STATIC.split(), ["=", "name", "instance7"])),
            (
                "filter on status and name",
                lambda bench=bench: bench.ask(
                    "instance", ["name"], ["&", ["=~", "name", "^instance.*7"], ["=", "status", "running"]]
                ),
            ),
            (f"{NODES} nodes, default list", lambda bench=bench: bench.ask("node", NODE_LIST.split())),
        ]
        print(f"{count} instances on {NODES} nodes")
        for name, function in rows:
            milliseconds, size = best(function)
            print(f"  {name:28} {milliseconds:8.2f} ms {size:8} KiB")


if __name__ == "__main__":
    main()
