"""What most tests of queries look at: four nodes, six instances, a network; nodes that answer from a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from gnt.masterd.jobs.job import Job, JobOpcode
from gnt.masterd.jobs.locks import LockFacts
from gnt.masterd.jobs.states import Status
from gnt.masterd.queries.answers import Answers
from gnt.masterd.queries.sightings import Sightings
from gnt.model.cluster import Cluster
from gnt.model.errors import GntError, NotReached
from gnt.model.initial import Identities, new_cluster
from gnt.model.objects import (
    AdminState,
    AdminStateSource,
    Disk,
    DiskTemplate,
    HypervisorName,
    Instance,
    JobFilter,
    Network,
    Nic,
    Node,
    NodeGroup,
)
from gnt.wire.calls import HypervisorFacts, NodeCall, NodeFacts, NodeInfo, OsFacts, OsList, StorageFacts
from gnt.wire.disk_calls import ProviderFacts, ProviderList
from gnt.wire.guest_calls import Console, GuestConsole, GuestFacts, GuestList
from gnt.wire.offer_calls import ExportList


def make_cluster() -> Cluster:
    """node1 master, node2 candidate, node10 silent by default, node3 offline and in a group of its own."""
    fresh = new_cluster(
        name="cluster.example.com",
        node_name="node1.example.com",
        primary_ip="192.0.2.1",
        identities=Identities(cluster="c-uuid", node="n1", group="g1"),
        now=100.0,
        enabled_hypervisors=[HypervisorName.KVM, HypervisorName.FAKE],
        enabled_disk_templates=["sharedfile", "drbd", "plain", "file", "diskless"],
        volume_group_name="vg0",
        node_certificate="ab12",
    )
    volume = {"dev_type": DiskTemplate.PLAIN, "size": 1024}
    group = fresh.group("default")
    objects: list[Any] = [
        replace(group, networks={"net1": {"mode": "routed", "link": "100"}}, tags=("rack1",)),
        NodeGroup(uuid="g2", name="spare", ndparams={"spindle_count": 4}),
        Node(name="node2.example.com", uuid="n2", primary_ip="192.0.2.2", group="g1", master_candidate=True),
        Node(name="node10.example.com", uuid="n10", primary_ip="192.0.2.10", group="g1", tags=("old", "loud")),
        Node(name="node3.example.com", uuid="n3", primary_ip="192.0.2.3", group="g2", offline=True),
        Network(
            name="lan",
            uuid="net1",
            network="198.51.100.0/29",
            gateway="198.51.100.1",
            reservations="01100000",
            ext_reservations="10000001",
        ),
        Disk(
            uuid="d1",
            dev_type=DiskTemplate.DRBD,
            size=1024,
            nodes=("n1", "n2"),
            logical_id=("n1", "n2", 11000, 0, 0, "s3cret"),
            children=(
                Disk(uuid="d1d", logical_id=("vg0", "x_data"), **volume),
                Disk(uuid="d1m", logical_id=("vg0", "x_meta"), **volume),
            ),
        ),
        Disk(uuid="d2", dev_type=DiskTemplate.SHAREDFILE, size=2048, name="root", logical_id=("loop", "/srv/d2")),
        Disk(uuid="d3", dev_type=DiskTemplate.SHAREDFILE, size=512, spindles=2, logical_id=("loop", "/srv/d3")),
        instance("web1", "i1", "n1", up=True, disks=("d1",), os="debian+min", osparams_private={"pw": "hunter2"}),
        instance(
            "web2",
            "i2",
            "n2",
            disks=("d2", "d3"),
            nics=(
                Nic(uuid="nic2", mac="aa:00:00:00:00:02", ip="198.51.100.2", network="net1", name="lan0"),
                Nic(uuid="nic3", mac="aa:00:00:00:00:03"),
            ),
            beparams={"maxmem": 512, "vcpus": 2},
            hvparams={"acpi": False},
            tags=("prod",),
        ),
        instance("web10", "i10", "n10", up=True),
        instance("db.web1", "i3", "n1", up=True),
        instance("mail", "i4", "n3", up=True),
        instance("toy", "i5", "n1", hypervisor=HypervisorName.FAKE, admin_state_source=AdminStateSource.USER),
        JobFilter(uuid="f1", priority=3, action="PAUSE"),
    ]
    changed = fresh
    for obj in objects:
        changed = changed.put(obj)
    return changed


def instance(name: str, uuid: str, node: str, *, up: bool = False, **slots: Any) -> Instance:
    """Make an instance of example.com."""
    state = AdminState.UP if up else AdminState.DOWN
    return Instance(name=f"{name}.example.com", uuid=uuid, primary_node=node, admin_state=state, **slots)


def guest(uuid: str, state: str = "running", hypervisor: str = "kvm") -> GuestFacts:
    """Make a guest of 128 MiB."""
    return GuestFacts(name=f"{uuid}.x", uuid=uuid, hypervisor=hypervisor, state=state, memory=128, vcpus=2)


class Nodes:
    """Connections to nodes that answer from what the test set up; `made` are the calls that were made."""

    def __init__(self) -> None:
        self.guests: dict[str, list[GuestFacts] | GntError] = {
            "n1": [guest("i1"), guest("i5", "user_down", "fake")],
            "n2": [],
            "n10": NotReached("no connection"),
        }
        self.systems: dict[str, list[OsFacts]] = {}
        self.exports: dict[str, list[str]] = {}
        self.providers: dict[str, list[ProviderFacts]] = {}
        self.boot_id = "b00t"
        self.silent: set[str] = set()
        self.made: list[tuple[str, NodeCall[Any]]] = []

    async def call(self, node: str, call: NodeCall[Any], *, deadline: float | None = None) -> Any:
        """Answer, fail, or stay silent for good."""
        assert deadline == 5.0
        self.made.append((node, call))
        if node in self.silent:
            await Deferred()
        answer = self.guests[node]
        if isinstance(answer, GntError):
            raise answer
        match call:
            case GuestList():
                return answer
            case GuestConsole():
                return Console(instance=call.instance.name, kind="ssh", host=call.node_name, command=["virsh"])
            case NodeInfo():
                return self.facts(call)
            case OsList():
                return self.systems.get(node, [])
            case ExportList():
                return self.exports.get(node, [])
            case ProviderList():
                return self.providers.get(node, [])
        raise AssertionError(call)

    def facts(self, call: NodeInfo) -> NodeFacts:
        """Facts about what was asked for."""
        seen = HypervisorFacts(memory_total=4096, memory_free=1000, memory_dom0=96, cpu_total=8, cpu_dom0=1)
        return NodeFacts(
            boot_id=self.boot_id,
            hypervisors=dict.fromkeys(call.hypervisors, seen),
            storage=[StorageFacts(kind=unit.kind, key=unit.key, free=70, size=100) for unit in call.storage],
        )

    def asked(self) -> list[str]:
        """Which nodes were called, in order."""
        return [node for node, _ in self.made]


def job(number: int, status: Status, start: int | None = None) -> Job:
    """Make a job of one opcode."""
    op = JobOpcode(
        input=msgspec.Raw(b'{"OP_ID":"OP_TEST_DELAY","duration":1}'), status=status, result=msgspec.Raw(b'["done"]')
    )
    began = None if start is None else (start, 500_000)
    ended = (start or 0, 0) if status is Status.SUCCESS else None
    return Job(id=number, ops=(op,), received_timestamp=(50, 999_999), start_timestamp=began, end_timestamp=ended)


class Queue:
    """Three live jobs and an archived one."""

    drained = True

    def __init__(self) -> None:
        self.jobs = [job(2, Status.SUCCESS, 60), job(3, Status.RUNNING, 70), job(10, Status.QUEUED)]
        self.old = job(1, Status.SUCCESS, 55)

    async def unarchived(self) -> Sequence[Job]:
        """Give all that are not archived."""
        return self.jobs

    async def find(self, number: int) -> tuple[Job, bool] | None:
        """Find one."""
        if number == 1:
            return self.old, True
        return next(((each, False) for each in self.jobs if each.id == number), None)

    async def archived_jobs(self) -> Sequence[Job]:
        """Give archived ones."""
        return [self.old]

    def snapshot(self) -> list[LockFacts]:
        """Two locks."""
        waits = (("exclusive", ("Job10/I_STARTUP",)),)
        return [
            LockFacts("node/n2", "shared", ("Job3/DELAY", "Job4/DELAY"), waits),
            LockFacts("instance/web1", None, (), waits),
        ]


class Desk:
    """A cluster that can be asked."""

    def __init__(self) -> None:
        self.cluster = make_cluster()
        self.nodes = Nodes()
        self.clock = Clock()
        self.queue = Queue()
        self.pause: float | None = None
        self.answers = Answers(
            snapshots=self,
            jobs=self.queue,
            shelf=self.queue,
            locks=self.queue,
            ask_all=Sightings(self.nodes, self.clock).ask_all,
            watcher_pause=lambda: self.pause,
        )

    def begin(self, answer: Any) -> list[Any]:
        """Start to wait for an answer; it comes into the list."""
        came: list[Any] = []
        ensureDeferred(answer).addBoth(came.append)
        return came

    def now(self, answer: Any) -> Any:
        """Give what must be there at once, as a client gets it; errors are raised.

        Each question comes long after the one before it, so that nothing is left of what nodes said to that.
        """
        self.clock.advance(60)
        (came,) = self.begin(answer)
        if hasattr(came, "raiseException"):
            came.raiseException()
        return msgspec.json.decode(msgspec.json.encode(came))

    def query(self, what: str, fields: Sequence[str], query_filter: Any = None) -> list[list[Any]]:
        """Rows of cells."""
        rows: list[list[Any]] = self.now(self.answers.query(what, fields, query_filter))["data"]
        return rows

    def names(self, what: str, query_filter: Any = None) -> list[str]:
        """First parts of the names of what passes a filter."""
        rows = self.query(what, ["name"], query_filter)
        return [value.removesuffix(".example.com") for [(_, value)] in rows]

    def one(self, what: str, name: str, field: str) -> Any:
        """One cell."""
        ((cell,),) = self.query(what, [field], ["=", "name", name])
        return tuple(cell)


@pytest.fixture
def desk() -> Desk:
    """Give a cluster that can be asked."""
    return Desk()
