"""Calls about guests, on a false clock: what waits, for how long, and who wakes it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from gnt.daemon.runtime import Runtime
from gnt.model.errors import GntError, NodeFailure
from gnt.model.layout import Layout
from gnt.model.objects import DiskTemplate, HypervisorName, NicMode
from gnt.model.params import defaults
from gnt.model.params_tables import BACKEND, HYPERVISOR
from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.noded.guests import Guests
from gnt.noded.handler import CallContext, Place
from gnt.noded.hypervisors.fake import FakeHypervisor
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.noded.hypervisors.registry import drivers
from gnt.wire import calls, guest_calls

T = TypeVar("T")

DISK = DiskSpec(index=0, uuid="d1", dev_type=DiskTemplate.FILE, size=1)
WEB = InstanceSpec(
    name="web1",
    uuid="u1",
    hypervisor=HypervisorName.FAKE,
    hvparams=defaults(HYPERVISOR["fake"]),
    beparams=defaults(BACKEND),
    disks=(DISK,),
)


class Inline:
    """A pool that works at once; `held` keeps the answers of one named kind of work back."""

    def __init__(self) -> None:
        self.held: dict[str, list[Deferred[None]]] = {}

    def run(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> Deferred[T]:
        """Work at once."""
        name = getattr(work, "__name__", "")
        if name in self.held:
            gate: Deferred[None] = Deferred()
            self.held[name].append(gate)
            return gate.addCallback(lambda _: work(*args, **kwargs))
        return maybeDeferred(work, *args, **kwargs)


class Node:
    """A node with the fake hypervisor on a false clock."""

    def __init__(self, root: Path, name: str = "node1") -> None:
        self.clock = Clock()
        self.pool = Inline()
        runtime = Runtime(clock=self.clock, pools=lambda _: self.pool, random=random.Random(1))  # noqa: S311
        self.directory = root / name
        self.fake = FakeHypervisor(self.directory)
        self.looked_up: list[DiskSpec] = []
        place = Place(layout=Layout(root / name), name=name, runtime=runtime)
        self.guests = Guests(place, {"fake": self.fake}, self.devices)
        self.told: list[str] = []
        self.context = CallContext(id="c1", epoch=None, progress=self.told.append)

    async def devices(self, disks: Sequence[DiskSpec]) -> list[calls.DiskDevice]:
        """Find any disk."""
        self.looked_up += disks
        return [calls.DiskDevice(path=f"/disks/{disk.uuid}") for disk in disks]

    def call(self, call: calls.NodeCall[T]) -> Deferred[T]:
        """Take a call."""
        return Deferred.fromCoroutine(self.guests.handlers()[type(call)](call, self.context))  # type: ignore[arg-type]

    def done(self, call: calls.NodeCall[T]) -> T:
        """Take a call that answers at once."""
        results: list[T] = []
        self.call(call).addCallback(results.append).addErrback(lambda failure: failure.raiseException())
        assert results, "the call did not answer at once"
        return results[0]

    def failure(self, call: calls.NodeCall[Any]) -> GntError:
        """Take a call that fails at once."""
        failures: list[Any] = []
        self.call(call).addErrback(failures.append)
        assert failures, "the call did not fail at once"
        error = failures[0].value
        assert isinstance(error, GntError)
        return error

    @property
    def states(self) -> list[str]:
        """Give the states of all guests."""
        return [guest.state for guest in self.done(guest_calls.GuestList(hypervisors={"fake": {}}))]

    def deafen(self, name: str = "web1") -> Path:
        """Have a guest not hear its power button."""
        hook = self.directory / f"hooks/{name}.deaf"
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.touch()
        return hook


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Give a node."""
    return Node(tmp_path)


STOP = guest_calls.GuestStop(hypervisor="fake", name="web1", uuid="u1", timeout=120)


def fired(deferred: Deferred[Any]) -> list[Any]:
    """Give a list that will hold the result, or the error."""
    results: list[Any] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results


def test_start_looks_its_disks_up(node: Node) -> None:
    """A start takes the devices of the assembled disks; the guest is then found and listed."""
    assert node.done(guest_calls.GuestStart(instance=WEB)) is None
    assert node.looked_up == [DISK]
    found = node.done(guest_calls.GuestFind(hypervisor="fake", name="web1", uuid="u1"))
    assert found is not None
    assert found.state == "running"
    assert node.states == ["running"]


def test_stop_of_a_guest_that_hears(node: Node) -> None:
    """It is down at once, without waiting."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.done(STOP)
    assert node.states == []
    assert node.clock.getDelayedCalls() == []


def test_stop_of_a_guest_that_is_down(node: Node) -> None:
    """It is nothing."""
    assert node.done(STOP) is None


def test_stop_of_a_guest_halted_from_inside(node: Node) -> None:
    """The remark that its user halted it is taken away."""
    node.done(guest_calls.GuestStart(instance=WEB))
    (node.directory / "hooks").mkdir()
    (node.directory / "hooks/web1.halt").touch()
    assert node.states == ["user_down"]
    node.done(STOP)
    assert node.states == []


def test_plug_is_pulled_at_the_end(node: Node) -> None:
    """A guest that does not hear has its full time, is asked again, and then loses its power."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.deafen()
    asked: list[float] = []
    ask = node.fake.ask_to_halt

    def counting(name: str, uuid: str) -> bool:
        asked.append(node.clock.seconds())
        return ask(name, uuid)

    node.fake.ask_to_halt = counting  # type: ignore[method-assign]
    ended = fired(node.call(STOP))
    for _ in range(1199):
        node.clock.advance(0.1)
    assert (ended, node.states) == ([], ["running"])
    node.clock.advance(0.2)
    assert (ended, node.states) == ([None], [])
    assert 12 < len(asked) <= 24
    assert node.clock.getDelayedCalls() == []


def test_timeout_of_zero(node: Node) -> None:
    """The plug is pulled without asking."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.deafen()
    node.done(guest_calls.GuestStop(hypervisor="fake", name="web1", uuid="u1", timeout=0))
    assert node.states == []


def test_event_wakes_the_stop(node: Node) -> None:
    """A change that the driver hears of ends the wait at once."""
    node.done(guest_calls.GuestStart(instance=WEB))
    hook = node.deafen()
    ended = fired(node.call(STOP))
    node.clock.advance(0.1)
    assert ended == []
    hook.unlink()
    node.fake.pull_plug("web1", "u1")
    assert ended == [None]
    assert node.clock.getDelayedCalls() == []


def test_without_events_the_guest_is_looked_at(node: Node) -> None:
    """A guest that ends unheard is missed at the next look."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.deafen()
    ended = fired(node.call(STOP))
    (node.directory / "web1").unlink()
    assert ended == []
    node.clock.advance(0.6)
    assert ended == [None]


def test_stop_is_broken_off(node: Node) -> None:
    """An abort ends the wait, and the plug stays in."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.deafen()
    ended = fired(node.call(STOP))
    for abort in list(node.context.on_abort):
        abort()
    assert [error.code for error in ended] == ["aborted"]
    assert node.states == ["running"]
    assert node.context.on_abort == []


def test_guest_that_cannot_be_ended(node: Node) -> None:
    """A guest that survives its plug is reported, after some looks."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.fake.pull_plug = lambda *_: None  # type: ignore[method-assign]
    ended = fired(node.call(guest_calls.GuestStop(hypervisor="fake", name="web1", uuid="u1", timeout=0)))
    for _ in range(11):
        node.clock.advance(1)
    assert [error.code for error in ended] == ["still_running"]


@pytest.mark.parametrize(("hard", "timeout"), [(True, 120), (True, 0), (False, 120), (False, 0)])
def test_reboot(node: Node, hard: bool, timeout: int) -> None:
    """Every kind of reboot ends with a running guest that was booted anew."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.done(guest_calls.GuestReboot(instance=WEB, hard=hard, timeout=timeout))
    assert node.states == ["running"]
    assert node.looked_up == ([DISK, DISK] if hard or timeout else [DISK])


def test_soft_reboot_of_a_guest_that_is_down(node: Node) -> None:
    """It is refused; a hard one starts it."""
    failure = node.failure(guest_calls.GuestReboot(instance=WEB, hard=False, timeout=120))
    assert failure.code == "not_running"
    node.done(guest_calls.GuestReboot(instance=WEB, hard=True, timeout=120))
    assert node.states == ["running"]


# Devices of guests that run

SECOND = replace(DISK, index=1, uuid="d2", size=2)
NIC = NicSpec(index=0, uuid="n1", mac="aa:00:00:00:00:01", mode=NicMode.BRIDGED, link="br0")
WIDER = replace(WEB, disks=(DISK, SECOND), nics=(NIC,))


def unplug(kind: str, device: str) -> guest_calls.DeviceUnplug:
    """Take a device from the guest."""
    return guest_calls.DeviceUnplug(hypervisor="fake", name="web1", uuid="u1", kind=kind, device=device, shown="disk/0")


def has(node: Node) -> tuple[dict[str, int], list[str]]:
    """Give the disks and interfaces that the guest sees."""
    guest = node.fake._running("web1", "u1")
    return guest.sizes, list(guest.nics)


def test_devices_come_and_go(node: Node) -> None:
    """Only the disk in question is looked up; each call may arrive twice."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.looked_up.clear()
    node.done(guest_calls.DevicePlugCheck(instance=WEB, kinds=["disk", "nic"]))
    for _ in range(2):
        node.done(guest_calls.DevicePlug(instance=WIDER, kind="disk", device="d2"))
        node.done(guest_calls.DevicePlug(instance=WIDER, kind="nic", device="n1"))
    assert has(node) == ({"d1": 1, "d2": 2}, ["n1"])
    assert node.looked_up == [SECOND, SECOND]
    node.done(guest_calls.DiskResized(hypervisor="fake", name="web1", uuid="u1", disk="d2", size=5))
    for _ in range(2):
        node.done(unplug("disk", "d1"))
        node.done(unplug("nic", "n1"))
    assert has(node) == ({"d2": 5}, [])
    assert node.fake._running("web1", "u1").disks == ("/disks/d2",)


def test_a_guest_that_cannot_be_told_of_its_larger_disk(node: Node) -> None:
    """When it will see it is said; of an image nothing has grown then, and what helps is said."""

    def refuse(*_: object) -> None:
        raise NodeFailure("unsupported", "web1 runs, and it is not told of larger disks")

    node.fake.resize_disk = refuse  # type: ignore[method-assign]
    call = guest_calls.DiskResized(hypervisor="fake", name="web1", uuid="u1", disk="d1", size=5)
    error = node.failure(call)
    assert error.text == (
        "web1 runs, and it is not told of larger disks; the guest sees the new size after its next start"
    )
    error = node.failure(replace(call, image=True))
    assert error.text == "web1 runs, and it is not told of larger disks"
    assert error.hint.startswith("gnt-instance shutdown web1")


def test_a_guest_that_lets_go_late(node: Node) -> None:
    """The call waits for it, and is over as soon as it has."""
    node.done(guest_calls.GuestStart(instance=WEB))
    clings = node.deafen().with_name("web1.clings")
    clings.touch()
    ended = fired(node.call(unplug("disk", "d1")))
    node.clock.advance(1)
    assert ended == []
    clings.unlink()
    node.clock.advance(5)
    assert ended == [None]
    assert has(node) == ({}, [])


def test_a_guest_that_does_not_let_go(node: Node) -> None:
    """After some time it is said, with what can be done; the device is still there."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.deafen().with_name("web1.clings").touch()
    ended = fired(node.call(unplug("disk", "d1")))
    for _ in range(40):
        node.clock.advance(1)
    (error,) = ended
    assert (error.code, error.text) == ("held", "web1 does not let go of its disk/0")
    assert "is it in use" in error.hint
    assert has(node) == ({"d1": 1}, [])


def test_waiting_for_a_guest_to_let_go_is_broken_off(node: Node) -> None:
    """When the call is given up, it ends."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.deafen().with_name("web1.clings").touch()
    ended = fired(node.call(unplug("disk", "d1")))
    for abort in tuple(node.context.on_abort):
        abort()
    assert [error.code for error in ended] == ["aborted"]


def test_devices_of_a_guest_that_is_down(node: Node) -> None:
    """It has let go already, and has all when it starts; its disks, which may be closed, are not looked for."""
    node.done(unplug("disk", "d1"))
    node.done(guest_calls.DiskResized(hypervisor="fake", name="web1", uuid="u1", disk="d1", size=5))
    node.done(guest_calls.DevicePlug(instance=WEB, kind="disk", device="d1"))
    assert node.looked_up == []
    assert node.failure(guest_calls.DevicePlugCheck(instance=WEB, kinds=["disk"])).code == "not_running"
    node.done(guest_calls.GuestStart(instance=WEB))
    assert node.failure(guest_calls.DevicePlug(instance=WEB, kind="disk", device="d9")).code == "wrong_input"


def test_unknown_hypervisor(node: Node) -> None:
    """It is refused by name, and those that are there are listed."""
    failure = node.failure(guest_calls.GuestFind(hypervisor="vax", name="web1", uuid="u1"))
    assert (failure.code, failure.hint) == ("unsupported", "known here: fake")
    with pytest.raises(NodeFailure, match="'vax' is not supported"):
        drivers(Place(layout=Layout(Path("/")), name="n", runtime=None), ["vax"])  # type: ignore[arg-type]


def test_migration(tmp_path: Path) -> None:
    """A guest moves between two nodes by the calls that the master makes."""
    source, target = Node(tmp_path, "node1"), Node(tmp_path, "node2")
    source.done(guest_calls.GuestStart(instance=WEB))
    ticket = target.done(guest_calls.MigrationAccept(instance=WEB, source="node1", address="192.0.2.2"))
    source.done(guest_calls.MigrationSend(instance=WEB, target="node2", ticket=ticket))
    source.done(guest_calls.MigrationFinish(instance=WEB, arrived=False))
    target.done(guest_calls.MigrationFinish(instance=WEB, arrived=True))
    assert (source.states, target.states) == ([], ["running"])
    assert source.clock.getDelayedCalls() == []


def test_migration_reports_and_is_aborted(node: Node) -> None:
    """While a guest is sent the master hears how far it is; an abort reaches the driver again and again."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.pool.held["send"] = []
    aborts: list[str] = []
    node.fake.abort_send = lambda *called: aborts.append(called[0])  # type: ignore[method-assign]
    node.fake.progress = lambda *_: guest_calls.MigrationProgress(  # type: ignore[method-assign]
        state="active", transferred=1, total=8
    )
    node.fake.abort_send.__name__ = node.fake.progress.__name__ = "other"
    ticket = guest_calls.MigrationTicket(hypervisor="fake", address="192.0.2.2")
    ended = fired(node.call(guest_calls.MigrationSend(instance=WEB, target="node2", ticket=ticket)))
    node.clock.advance(10)
    assert node.told == ["* memory transfer progress: 12.50 %"]
    assert aborts == []
    for abort in list(node.context.on_abort):
        abort()
    assert aborts == ["web1"]
    node.clock.advance(1)
    assert aborts == ["web1", "web1"]
    node.pool.held["send"][0].callback(None)
    assert [error.code for error in ended] == ["migration_failed"]
    assert node.clock.getDelayedCalls() == []


def test_cancelled_migration(tmp_path: Path) -> None:
    """A target that is told to forget it knows nothing of the guest."""
    target = Node(tmp_path, "node2")
    target.done(guest_calls.MigrationAccept(instance=WEB, source="node1", address="192.0.2.2"))
    target.done(guest_calls.MigrationCancel(instance=WEB))
    assert target.failure(guest_calls.MigrationFinish(instance=WEB, arrived=True)).code == "not_running"
    status = target.done(guest_calls.MigrationStatus(hypervisor="fake", name="web1", uuid="u1"))
    assert status.state == "none"


def test_facts_verify_and_check(node: Node) -> None:
    """A hypervisor that is not here is a problem of its own and spoils nothing else."""
    facts = fired(Deferred.fromCoroutine(node.guests.node_facts(["fake", "vax"])))[0]
    assert facts[0]["fake"].memory_total == 16384
    assert list(facts[1]) == ["vax"]
    assert fired(Deferred.fromCoroutine(node.guests.verify(["fake", "vax"]))) == [
        {"vax": "this node has no hypervisor 'vax'"}
    ]
    assert fired(Deferred.fromCoroutine(node.guests.settle(["fake", "vax"]))) == [
        {"vax": "this node has no hypervisor 'vax'"}
    ]
    assert node.done(guest_calls.HypervisorCheck(hypervisor="fake", parameters={})) is None
    assert node.done(guest_calls.GuestConsole(instance=WEB, node_name="node1")).kind == "msg"


def test_broken_progress_does_not_break_the_migration(node: Node) -> None:
    """A report that fails is logged; the guest is sent all the same."""
    node.done(guest_calls.GuestStart(instance=WEB))
    node.pool.held["send"] = []

    def broken(name: str, uuid: str) -> guest_calls.MigrationProgress:
        raise NodeFailure("hypervisor", "no answer")

    node.fake.progress = broken  # type: ignore[method-assign]
    ticket = guest_calls.MigrationTicket(hypervisor="fake", address="192.0.2.2", data={"directory": "/no/such"})
    ended = fired(node.call(guest_calls.MigrationSend(instance=WEB, target="node2", ticket=ticket)))
    node.clock.advance(10)
    node.pool.held["send"][0].callback(None)
    assert ended == [None]


def test_fake_satisfies_the_interface(node: Node) -> None:
    """The registry's fake hypervisor provides the interface."""
    made = drivers(Place(layout=Layout(node.directory), name="n", runtime=None), ["fake"])  # type: ignore[arg-type]
    assert IHypervisor.providedBy(made["fake"])
