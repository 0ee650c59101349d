"""The whole node daemon in memory: real parts, fake hypervisor, real files, false clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gnt.model.epoch import START, Epoch
from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.hypervisors.registry import drivers
from gnt.noded.machine import Machine
from gnt.noded.processes import Processes
from gnt.noded.service import NodeDaemon, Providers
from gnt.noded.storage.registry import real_templates
from gnt.wire.calls import DiskCreate, DiskFind, DiskRemove, LeaveCluster, Membership, NodeCall, OsList, call_types
from gnt.wire.contract import Caller
from gnt.wire.envelope import Request
from gnt.wire.guest_calls import GuestList
from gnt.wire.log_calls import CallOutcome, Fence
from gnt.wire.memory import MemoryNetwork
from tests.noded.places import place_below

MASTER = Caller(digest="a" * 64, common_name="node2.example.com")
NODE = "node-uuid-1"
# Those that the calls themselves answer.
ELSEWHERE = frozenset({"promise", "fence", "call_outcome", "call_abort", "log_state", "rights", "standing"})


class World:
    """A node daemon, a master's link to it."""

    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        clock: Any = self.clock
        self.place = place_below(root, clock=clock)
        layout = self.place.layout
        for directory in (layout.data, layout.run, layout.default_file_storage()):
            directory.mkdir(parents=True)
        layout.membership.write_bytes(
            msgspec.json.encode(
                Membership(
                    cluster_name="c",
                    cluster_uuid="cu",
                    node_uuid=NODE,
                    node_name=self.place.name,
                    position=START,
                    candidates={"m": MASTER.digest},
                )
            )
        )
        self.network = MemoryNetwork(clock)
        self.ended: list[bool] = []
        self.boot()
        self.link = self.network.link(MASTER, self.place.name, NODE)
        self.link.start()
        self.count = 0

    def boot(self) -> None:
        """Start the daemon with what is on disk."""
        nothing: Any = None
        machine: Any = Machine(nothing)
        processes: Any = Processes(self.place, nothing)
        providers = Providers(
            hypervisors=drivers(self.place, ["fake"]),
            templates=real_templates(self.place, processes),
            machine=machine,
            processes=processes,
        )
        self.daemon = NodeDaemon(self.place, providers, lambda: self.ended.append(True))
        ensureDeferred(self.daemon.start())
        self.network.attach(NODE, self.daemon.door)

    def crash(self) -> None:
        """End the daemon without a word, and start it again."""
        self.network.detach(NODE)
        self.daemon.abandon()
        self.boot()

    def call(self, call: NodeCall[Any], *, number: int = 1, name: str = "") -> Any:
        """Make a call as the master of an epoch, and give its value."""
        self.clock.advance(0)
        self.count += 1
        epoch = Epoch(number=number, node="m")
        request = Request(id=name or f"call-{self.count}", epoch=epoch, deadline=60.0, call=call)
        results: list[Any] = []
        ensureDeferred(self.link.call(request)).addBoth(results.append)
        for _ in range(20):
            self.clock.advance(0.1)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0].result(call)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a fresh node."""
    return World(tmp_path)


def disk(world: World) -> DiskSpec:
    """Give a file disk of 1 MiB."""
    path = world.place.layout.default_file_storage() / "web1/u1.file.disk0"
    return DiskSpec(
        index=0,
        uuid="u1",
        instance_name="web1",
        instance_uuid="i1",
        dev_type=DiskTemplate.FILE,
        size=1,
        logical_id=("loop", str(path)),
    )


def test_every_call_is_taken_by_somebody(world: World) -> None:
    """No call of the contract is left without a part that carries it out."""
    taken = {kind.tag() for kind in world.daemon.calls._handlers}
    assert set(call_types()) - taken == ELSEWHERE


def test_parts_answer_through_the_door(world: World) -> None:
    """Storage, hypervisor, guest OS: each by one call."""
    spec = disk(world)
    world.call(DiskCreate(disk=spec))
    assert world.call(DiskFind(disk=spec)).size == 1
    assert world.call(GuestList(hypervisors={"fake": {}})) == []
    assert isinstance(world.call(OsList()), list)


def test_restart_keeps_answers_and_promises(world: World) -> None:
    """After a crash a repeated id is not done again, and the fence holds."""
    spec = disk(world)
    world.call(DiskCreate(disk=spec), name="create")
    world.call(DiskRemove(disk=spec))
    world.call(Fence(epoch=Epoch(number=2, node="m")), number=2)
    world.crash()
    with pytest.raises(Exception, match="epoch"):
        world.call(DiskCreate(disk=spec), name="create", number=1)
    world.call(DiskCreate(disk=spec), name="create", number=2)
    assert world.call(DiskFind(disk=spec), number=2) is None
    assert world.call(CallOutcome(id="create"), number=2).state == "done"


def test_leaving_ends_the_daemon(world: World) -> None:
    """The node answers, belongs to nobody, and the daemon is told to end."""
    world.call(LeaveCluster())
    assert world.ended == [True]
    with pytest.raises(NodeFailure, match="no cluster"):
        world.call(OsList())
