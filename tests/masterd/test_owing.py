"""What debts touch, whether they are still owed, and that they are paid before anything else touches the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred, ensureDeferred, succeed

from gnt.masterd.debts import DebtLocks
from gnt.masterd.engine import Engine
from gnt.masterd.jobs.locks import LockManager
from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Operation, Stage
from gnt.masterd.owing import OpenDebts, due, instances_of, locks_of, not_owed, removed_in
from gnt.masterd.plan import Forward, Plan, Step, Undoable, on
from gnt.masterd.segments import StoredCall
from gnt.masterd.settling import Debt, is_moot
from gnt.masterd.tools import Tools
from gnt.model.cluster import Cluster
from gnt.model.errors import InDoubt, NodeFailure, NotFenced, NotReached
from gnt.model.objects import AdminState, Disk, DiskTemplate, HypervisorName, Instance
from gnt.model.specs import DiskSpec, disk_spec, instance_spec
from gnt.opcodes.test import TestDelay as SleepOpcode
from gnt.store.changes import Put, Remove, Space
from gnt.wire.calls import DiskAssemble, DiskCreate, DiskDevice, DiskRelease, DiskRemove, NodeCall
from gnt.wire.disk_calls import DiskDemote, DiskGrow, DiskPromote, DiskWipe, MirrorConnect, MirrorDisconnect
from gnt.wire.guest_calls import GuestStart, GuestStop, MigrationFinish
from tests.masterd.fakes import NODE1, NODE2, NODE3, Journal, Nodes, Resolver, Run, cluster_of_three

DISK = Disk(
    uuid="dddddddd-0000-4000-8000-000000000001",
    dev_type=DiskTemplate.SHAREDFILE,
    logical_id=("loop", "/srv/web1/disk0"),
    size=128,
)
WEB1 = Instance(
    uuid="22222222-0000-4000-8000-000000000001",
    name="web1.example.com",
    primary_node=NODE1,
    hypervisor=HypervisorName.FAKE,
    disks=(DISK.uuid,),
    admin_state=AdminState.UP,
    disks_active=True,
)
CLUSTER = cluster_of_three().put(DISK).put(WEB1)
MOVED = CLUSTER.put(replace(WEB1, primary_node=NODE2))
DOWN = CLUSTER.put(replace(WEB1, admin_state=AdminState.DOWN, disks_active=False))
RENAMED = CLUSTER.put(replace(WEB1, name="shop.example.com"))


def spec() -> DiskSpec:
    """Describe the disk."""
    return disk_spec(CLUSTER, WEB1, DISK, 0)


MIRROR = Disk(
    uuid="dddddddd-0000-4000-8000-000000000002",
    dev_type=DiskTemplate.DRBD,
    logical_id=(NODE1, NODE2, 11000, 0, 0, "not-a-secret"),
    size=128,
)
WITH_MIRROR = cluster_of_three().put(MIRROR).put(replace(WEB1, disks=(MIRROR.uuid,)))
MOVED_MIRROR = WITH_MIRROR.put(replace(WEB1, disks=(MIRROR.uuid,), primary_node=NODE2))
RELEASED_MIRROR = WITH_MIRROR.put(replace(WEB1, disks=(MIRROR.uuid,), disks_active=False))
REPLACED_MIRROR = WITH_MIRROR.put(replace(MIRROR, logical_id=(NODE1, NODE3, 11000, 0, 4, "not-a-secret")))


def mirror() -> DiskSpec:
    """Describe the mirror."""
    return disk_spec(WITH_MIRROR, WEB1, MIRROR, 0)


def owed(call: NodeCall[Any], **more: Any) -> Debt:
    """Make a debt of node1."""
    return Debt(opcode="7/0", node=NODE1, id="7/0/0/1", text="it", call=StoredCall(NODE1, call), **more)


def test_the_locks_are_those_of_the_instances_that_the_calls_name() -> None:
    """By the name that they have now, and by the one they had, and those that the opcode had locked."""
    debt = owed(DiskRelease(disk=spec()), instances=["locked.example.com"])
    assert instances_of(debt, CLUSTER) == {"web1.example.com", "locked.example.com"}
    assert instances_of(owed(DiskRelease(disk=spec())), RENAMED) == {"shop.example.com"}
    stop = owed(GuestStop(hypervisor="fake", name="gone.example.com", uuid="gone", timeout=0))
    assert locks_of(stop, CLUSTER) == Locks().exclusive(Level.INSTANCE, "gone.example.com")


@pytest.mark.parametrize(
    ("call", "cluster", "reason"),
    [
        (DiskRelease(disk=spec()), CLUSTER, "in use there by web1"),
        (DiskRelease(disk=spec()), MOVED, ""),
        (DiskRelease(disk=spec()), DOWN, ""),
        (DiskRelease(disk=mirror()), WITH_MIRROR, "in use there by web1"),
        (DiskRelease(disk=mirror()), MOVED_MIRROR, ""),
        (DiskDemote(disk=mirror()), WITH_MIRROR, "in use there by web1"),
        (DiskDemote(disk=mirror()), MOVED_MIRROR, ""),
        (DiskPromote(disk=mirror()), WITH_MIRROR, ""),
        (DiskPromote(disk=mirror()), MOVED_MIRROR, "not in use there any more"),
        (DiskPromote(disk=mirror()), WITH_MIRROR.drop(WEB1), "not in use there any more"),
        (MirrorConnect(disk=mirror(), dual=False), WITH_MIRROR, ""),
        (MirrorConnect(disk=mirror(), dual=False), MOVED_MIRROR, ""),
        (MirrorConnect(disk=mirror(), dual=False), WITH_MIRROR.drop(WEB1), "not in use any more"),
        (MirrorConnect(disk=mirror(), dual=False), RELEASED_MIRROR, "not in use any more"),
        (MirrorConnect(disk=mirror(), dual=False), REPLACED_MIRROR, "lies elsewhere now"),
        (DiskRemove(disk=spec()), CLUSTER, "belongs to the cluster again"),
        (DiskRemove(disk=spec()), CLUSTER.drop(WEB1).drop(DISK), ""),
        (MigrationFinish(instance=instance_spec(CLUSTER, WEB1), arrived=False), CLUSTER, "is back there"),
        (MigrationFinish(instance=instance_spec(CLUSTER, WEB1), arrived=False), MOVED, ""),
        (MigrationFinish(instance=instance_spec(CLUSTER, WEB1), arrived=True), CLUSTER, ""),
        (MigrationFinish(instance=instance_spec(CLUSTER, WEB1), arrived=True), MOVED, "has moved on"),
    ],
)
def test_what_the_model_has_overtaken_is_not_owed(call: NodeCall[Any], cluster: Cluster, reason: str) -> None:
    """A disk in use is not closed under its guest, one that is kept is not removed, a guest that is back stays."""
    found = not_owed(owed(call), cluster)
    assert reason in found
    assert bool(found) is bool(reason)


def test_a_mirror_that_its_guest_has_left_is_closed_and_stays_set_up() -> None:
    """A failover was cut off as the old primary node was to release it, and went on: it must not stay open there."""
    release = StoredCall(NODE1, DiskRelease(disk=mirror()))
    assert due(release, MOVED_MIRROR) == DiskDemote(disk=mirror())
    for cluster in (WITH_MIRROR, MOVED_MIRROR.drop(WEB1)):
        assert due(release, cluster) is release.call


def test_what_is_not_set_up_any_more_need_not_be_connected_again() -> None:
    """The node has lost its power meanwhile: it would owe for ever what nobody can do."""
    world = World()
    world.journal.head = WITH_MIRROR
    world.nodes.answers["mirror_connect"] = away
    world.nodes.answers["disk_wipe"] = lambda _node, _call: NodeFailure("storage_error", "no")
    parting = Undoable(
        on(NODE1, MirrorDisconnect(disk=mirror())), undo=on(NODE1, MirrorConnect(disk=mirror(), dual=False))
    )
    world.run(parting, Undoable(on(NODE1, DiskWipe(disk=mirror(), offset=0, size=1)), undo=None))
    assert len(world.debts.keys) == 1
    world.nodes.answers["mirror_connect"] = lambda _node, _call: NodeFailure("not_found", "it is not set up")
    assert [(len(one.paid), one.open) for one in world.pay()] == [(1, [])]
    assert not world.debts.keys


def test_a_mirror_that_is_not_set_up_any_more_need_not_grow() -> None:
    """Its volumes have grown, and it takes their size when it is set up; volumes that are gone are another matter."""
    grow = DiskGrow(disk=mirror(), size=256, backing=False)
    gone = NodeFailure("not_found", "it is not set up")
    assert is_moot(StoredCall(NODE1, grow), gone)
    assert not is_moot(StoredCall(NODE1, grow), NodeFailure("no_space", "it is full"))
    assert not is_moot(StoredCall(NODE1, replace(grow, backing=True)), gone)


class HalfSetUp:
    """A mirror of node1 and node2 that an opcode was to open, and was cut off when it was set up on node1."""

    def __init__(self, world: World) -> None:
        self.up: set[str] = {NODE1}
        self.open = False
        self.grown = False
        world.journal.head = WITH_MIRROR
        grow = DiskGrow(disk=mirror(), size=256, backing=False)
        world.nodes.answers["disk_grow"] = lambda node, call: None if node == NODE2 else away(node, call)
        world.run(Forward(on(NODE2, replace(grow, backing=True))), Forward(on(NODE1, grow)))
        assert len(world.debts.keys) == 1
        world.nodes.answers |= {
            "disk_grow": lambda node, _call: self._grow(node),
            "disk_assemble": self._assemble,
            "disk_release": lambda node, _call: self.up.discard(node),
        }

    def _grow(self, node: str) -> NodeFailure | None:
        if node not in self.up:
            return NodeFailure("not_found", "it is not set up")
        if not self.open:
            return NodeFailure("not_open", "it is open for writing on neither of its nodes")
        self.grown = True
        return None

    def _assemble(self, node: str, call: DiskAssemble) -> DiskDevice:
        self.up.add(node)
        assert not call.primary or (node == NODE1 and self.up == {NODE1, NODE2})
        self.open = self.open or call.primary
        return DiskDevice(path="/dev/drbd0")


def test_a_mirror_that_is_set_up_and_not_open_is_opened_to_grow() -> None:
    """Its disk is in use, says the model, and nobody may come to open it: its node would owe for ever."""
    world = World()
    half = HalfSetUp(world)
    assert [(len(one.paid), one.open) for one in world.pay()] == [(1, [])]
    assert half.grown
    assert not world.debts.keys


def test_a_mirror_that_is_set_up_and_not_in_use_is_closed_and_grows_when_it_is_set_up() -> None:
    """It was set up with its old size, and would keep that when it is opened."""
    world = World()
    half = HalfSetUp(world)
    half.up.add(NODE2)
    world.journal.head = RELEASED_MIRROR
    assert [(len(one.paid), one.open) for one in world.pay()] == [(1, [])]
    assert (half.up, half.grown) == (set(), False)
    assert not world.debts.keys


def test_a_mirror_that_cannot_be_opened_is_owed_still_and_says_why() -> None:
    """Its other node cannot be asked: the node that owes is there all the same."""
    world = World()
    half = HalfSetUp(world)
    world.nodes.answers["disk_assemble"] = lambda node, call: (
        away(node, call) if node == NODE2 else half._assemble(node, call)
    )
    (payment,) = world.pay()
    assert not payment.paid
    assert "neither of its nodes; " in payment.open[0]
    assert not payment.away
    assert len(world.debts.keys) == 1


def test_a_guest_whose_disks_are_not_set_up_any_more_is_not_owed() -> None:
    """Its node has lost its power since it was stopped: whoever starts it sets its disks up first."""
    world = World()
    world.nodes.answers["guest_start"] = away
    world.nodes.answers["disk_wipe"] = lambda _node, _call: NodeFailure("storage_error", "no")
    start = GuestStart(instance=instance_spec(CLUSTER, WEB1))
    wipe = Undoable(on(NODE1, DiskWipe(disk=spec(), offset=0, size=1)), undo=None)
    world.run(Undoable(on(NODE1, STOP), undo=on(NODE1, start)), wipe)
    assert len(world.debts.keys) == 1
    world.nodes.answers["guest_start"] = lambda _node, _call: NodeFailure("no_memory", "another time")
    assert [len(one.open) for one in world.pay()] == [1]
    world.nodes.answers["guest_start"] = lambda _node, _call: NodeFailure("not_found", "disk/0 is not set up")
    assert [(len(one.paid), one.open) for one in world.pay()] == [(1, [])]
    assert not world.debts.keys


def test_what_was_only_reserved_is_removed_all_the_same() -> None:
    """A disk stands in the model for no other reason than that its removal is owed."""
    assert not not_owed(owed(DiskRemove(disk=spec()), reserved=[("disk", DISK.uuid)]), CLUSTER)


def test_what_was_begun_for_a_lost_disk_is_removed_until_the_disk_is_made_again() -> None:
    """The disk is recorded all the time; half of what was made for it would keep it from being made for ever."""
    debt = owed(DiskRemove(disk=spec()), serials=removed_in(owed(DiskRemove(disk=spec())), CLUSTER))
    assert not not_owed(debt, CLUSTER)
    made = CLUSTER.put(replace(DISK, serial_no=DISK.serial_no + 1))
    assert "belongs to the cluster again" in not_owed(debt, made)
    assert removed_in(owed(DiskRelease(disk=spec())), CLUSTER) == {}
    assert removed_in(owed(DiskRemove(disk=spec())), CLUSTER.drop(WEB1).drop(DISK)) == {}


def test_the_engine_notes_in_which_version_a_disk_was_whose_removal_is_owed() -> None:
    """A lost disk was to be made again, and its node went away before what was made could be removed."""
    world = World()
    world.nodes.answers["disk_remove"] = away
    world.nodes.answers["disk_wipe"] = lambda _node, _call: NodeFailure("storage_error", "no")
    make = Undoable(on(NODE1, DiskCreate(disk=spec())), undo=on(NODE1, DiskRemove(disk=spec())))
    world.run(make, Undoable(on(NODE1, DiskWipe(disk=spec(), offset=0, size=1)), undo=None))
    assert len(world.debts.keys) == 1
    del world.nodes.answers["disk_remove"]
    world.nodes.made.clear()
    assert [(len(one.paid), one.open) for one in world.pay()] == [(1, [])]
    assert world.nodes.tags() == ["disk_remove"]


def test_open_debts_are_counted_in_memory() -> None:
    """By what commits say."""
    debts = OpenDebts()
    debts.committed(None, [Put(Space.DEBT, "a/1", b""), Put(Space.DEBT, "a/2", b""), Put(Space.JOB, "1", b"")])
    debts.committed(None, [Remove(Space.DEBT, "a/1"), Remove(Space.UNDO, "a/2")])
    assert debts.keys == {"a/2"}


class Scripted(Operation[SleepOpcode]):
    """An operation that plans given steps."""

    steps: tuple[Step, ...] = ()

    def stages(self) -> tuple[Stage, ...]:
        """Give one stage."""
        return (Stage(self.observe, lambda _cluster, _seen: Plan(self.steps)),)


class Locked(Run):
    """A run that holds the lock of web1."""

    @property
    def locks(self) -> Locks:
        """Give it."""
        return Locks().exclusive(Level.INSTANCE, WEB1.name)


class World:
    """An engine, nodes, and locks."""

    def __init__(self) -> None:
        self.journal = Journal(CLUSTER)
        self.nodes = Nodes()
        self.debts = OpenDebts()
        self.locks = LockManager(_Clock())  # type: ignore[arg-type]
        self.journal.on_commit = lambda: self.debts.committed(None, self.journal.commits[-1])
        self.engine = Engine(
            Tools(
                self.journal,
                self.journal,
                self.nodes,
                self.nodes,
                Resolver(),
                lambda _: succeed(None),
                owed=self.debts.keys,
                locking=DebtLocks(self.locks, lambda: self.journal.head),
            )
        )

    def run(self, *steps: Step, job: int = 7) -> Run:
        """Run an opcode that holds web1 to its end."""
        run = Locked(SleepOpcode(duration=0), job=job)
        operation = Scripted(run.op, None)  # type: ignore[arg-type]
        operation.steps = steps
        result: list[Any] = []
        ensureDeferred(self.engine.run(run, operation)).addBoth(result.append)
        assert result
        return run

    def pay(self) -> list[Any]:
        """Have node1 pay; gives what came of it, as soon as something did."""
        result: list[Any] = []
        ensureDeferred(self.engine.pay(NODE1)).addBoth(result.append)
        return result


class _Clock:
    """Time stands still."""

    def seconds(self) -> float:
        """Give the hour."""
        return 0.0

    def callLater(self, *_: Any) -> Any:
        """Never."""
        return self

    def getTime(self) -> float:
        """Give a time far off."""
        return 1e9

    def cancel(self) -> None:
        """Be gone."""


def away(_node: str, _call: Any) -> Exception:
    """Be a node that is away."""
    return NotReached("no connection")


STOP = GuestStop(hypervisor="fake", name=WEB1.name, uuid=WEB1.uuid, timeout=0)
TO_STOP = Forward(on(NODE1, STOP), tolerant=True)


def test_a_debt_waits_for_the_job_that_has_its_instance() -> None:
    """Nothing is sent to the node while somebody else works on the instance."""
    world = World()
    world.nodes.answers["guest_stop"] = away
    world.run(TO_STOP)
    world.nodes.answers.clear()
    world.nodes.made.clear()
    held: list[Any] = []
    line = world.locks.acquire(world.locks.claim(8, "job8", 0), Locks().exclusive(Level.INSTANCE, WEB1.name))
    ensureDeferred(line).addBoth(held.append)
    payment = world.pay()
    assert (payment, world.nodes.made) == ([], [])
    held[0].release()
    assert [len(one.paid) for one in payment] == [1]
    assert world.nodes.tags() == ["guest_stop"]
    assert world.locks.snapshot() == []


def test_what_was_overtaken_while_the_payment_waited_is_not_done() -> None:
    """The job that had the instance has brought it back to the node: its disks stay open."""
    world = World()
    world.journal.head = MOVED
    world.nodes.answers["disk_release"] = away
    world.run(Forward(on(NODE1, DiskRelease(disk=spec())), tolerant=True))
    world.nodes.answers.clear()
    world.nodes.made.clear()
    held: list[Any] = []
    line = world.locks.acquire(world.locks.claim(8, "job8", 0), Locks().exclusive(Level.INSTANCE, WEB1.name))
    ensureDeferred(line).addBoth(held.append)
    payment = world.pay()
    world.journal.head = CLUSTER
    held[0].release()
    assert "not done any more" in payment[0].paid[0]
    assert world.nodes.made == []
    assert not world.debts.keys


def test_an_opcode_has_debts_of_its_instances_paid_first() -> None:
    """A guest that was to be stopped is stopped before the next job starts it, never after."""
    world = World()
    world.nodes.answers["guest_stop"] = away
    world.run(TO_STOP)
    world.nodes.answers.clear()
    world.nodes.made.clear()
    run = world.run(Undoable(on(NODE1, DiskRelease(disk=spec())), undo=None), job=8)
    assert world.nodes.tags() == ["guest_stop", "disk_release"]
    assert any("paid first" in line for line in run.said)
    assert not world.debts.keys


@pytest.mark.parametrize(
    "error", [InDoubt("too late"), NodeFailure("failed", "it hangs"), NotFenced("its disk is full, it answers")]
)
def test_an_opcode_does_not_go_on_while_its_guest_may_still_be_ended(error: Exception) -> None:
    """The node is there and owes the end of this guest: what a job does now would be undone later."""
    world = World()
    world.nodes.answers["guest_stop"] = away
    world.run(Undoable(on(NODE1, DiskRelease(disk=spec())), undo=on(NODE1, STOP)), Forward(on(NODE1, STOP)))
    assert world.debts.keys
    world.nodes.answers["guest_stop"] = lambda _node, _call: error
    world.nodes.made.clear()
    run = world.run(Undoable(on(NODE1, DiskRelease(disk=spec())), undo=None), job=8)
    assert run.end is not None
    assert "owes what would end the guest" in str(run.end.error)
    assert world.nodes.tags() == ["guest_stop"]


def test_a_node_that_is_away_holds_up_no_job() -> None:
    """The instance goes on elsewhere; the debt stays."""
    world = World()
    world.nodes.answers["guest_stop"] = away
    world.run(TO_STOP)
    run = world.run(Undoable(on(NODE2, DiskRelease(disk=spec())), undo=None), job=8)
    assert run.end is not None
    assert run.end.error is None
    assert len(world.debts.keys) == 1


def test_a_debt_that_was_paid_meanwhile_is_not_paid_twice() -> None:
    """Whoever waited for the locks looks again."""
    world = World()
    world.nodes.answers["guest_stop"] = away
    world.run(TO_STOP)
    world.nodes.answers.clear()
    held: list[Any] = []
    line = world.locks.acquire(world.locks.claim(8, "job8", 0), Locks().exclusive(Level.INSTANCE, WEB1.name))
    ensureDeferred(line).addBoth(held.append)
    world.nodes.made.clear()
    payment = world.pay()
    world.run(job=8)
    held[0].release()
    assert world.nodes.tags() == ["guest_stop"]
    assert payment[0].paid == []


def test_what_a_node_owes_that_has_left_is_dropped_with_what_was_reserved() -> None:
    """Nothing stays in the store that nobody can ever pay."""
    world = World()
    reserved = owed(DiskRemove(disk=spec()), reserved=[("disk", DISK.uuid)])
    world.journal.rows_[Space.DEBT, f"{NODE1}/7/0/0/1"] = msgspec.json.encode(reserved)
    world.journal.rows_[Space.DEBT, f"{NODE2}/7/0/0/2"] = msgspec.json.encode(
        replace(reserved, node=NODE2, id="7/0/0/2", opcode="9/0")
    )
    result: list[Any] = []
    Deferred.fromCoroutine(world.engine.forgive(NODE1)).addBoth(result.append)
    assert result == [["it"]]
    assert [key for space, key in world.journal.rows_ if space is Space.DEBT] == [f"{NODE2}/7/0/0/2"]
    assert DISK.uuid not in world.journal.head.disks
