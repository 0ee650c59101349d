"""What two nodes with a mirror promise, whatever is below: real DRBD on two machines, or the simulator's.

A subclass of `MirrorContract` gives the fixture `pair`, a `MirrorPair`. All is done by node calls, as the master makes
them; what is written is written to the device, as a guest does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.wire.calls import DiskAssemble, DiskCreate, DiskFacts, DiskRelease, DiskRemove, NodeCall
from gnt.wire.disk_calls import (
    DiskDemote,
    DiskGrow,
    DiskPromote,
    DiskStates,
    MirrorAttach,
    MirrorConnect,
    MirrorDetach,
    MirrorDisconnect,
    MirrorFacts,
    MirrorList,
    MirrorPause,
)

FIRST, SECOND, THIRD = b"first payload", b"other payload", b"third payload"


class MirrorPair:
    """Two nodes with one mirror, described by `spec`; the first of `nodes` is the primary one when none is named."""

    spec: DiskSpec
    nodes: tuple[str, str]
    minors: dict[str, int]

    # To be given

    def ask(self, node: str, call: NodeCall[Any]) -> Any:
        """Make a node call; raises `NodeFailure`."""
        raise NotImplementedError

    def together(self, call: NodeCall[Any], *nodes: str) -> None:
        """Make a call to both machines, or to these, at once as the master does; raises the first `NodeFailure`."""
        raise NotImplementedError

    def wait(self, so: Callable[[], bool], what: str) -> None:
        """Let time pass until something is so."""
        raise NotImplementedError

    def apart(self) -> AbstractContextManager[None]:
        """Cut the network over which the two replicate, for a while."""
        raise NotImplementedError

    def lose_power(self, node: str) -> None:
        """Have a machine lose its power, and boot."""
        raise NotImplementedError

    def write(self, node: str, data: bytes) -> None:
        """Write to the beginning of the device, and past every cache."""
        raise NotImplementedError

    def read(self, node: str, length: int) -> bytes:
        """Read from the beginning of the device."""
        raise NotImplementedError

    def read_volume(self, node: str, length: int) -> bytes:
        """Read from the beginning of the volume below, while the mirror is released."""
        raise NotImplementedError

    # What is common

    def create(self) -> None:
        """Make both sides."""
        self.together(DiskCreate(disk=self.spec))

    def connect(self, *nodes: str) -> None:
        """Set both sides up, or those of these nodes."""
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

        self.wait(look, f"{node} says {self.kernel(node)}")

    def in_sync(self) -> None:
        """Wait until both sides have all data."""
        self.until(
            self.nodes[0], lambda now: (now.connection, now.disk, now.peer_disk) == ("Connected", *["UpToDate"] * 2)
        )

    def refusal(self, node: str, call: NodeCall[Any]) -> NodeFailure:
        """Give what a call is refused with: one line, without the secret."""
        with pytest.raises(NodeFailure) as caught:
            self.ask(node, call)
        assert "\n" not in caught.value.text
        assert str(self.spec.logical_id[5]) not in caught.value.text + caught.value.hint
        return caught.value


class MirrorContract:
    """Holds for every mirror."""

    def test_what_is_written_on_one_side_is_read_on_the_other(self, pair: MirrorPair) -> None:
        """Create, write, fail over; removed, nothing is left."""
        one, other = pair.nodes
        pair.start()
        facts = pair.facts(one)
        assert facts is not None
        assert (facts.size, facts.degraded, facts.local_status, facts.sync_percent) == (
            pair.spec.size,
            False,
            "ok",
            None,
        )
        pair.write(one, FIRST)
        assert pair.refusal(other, DiskAssemble(disk=pair.spec, primary=True)).code == "busy"
        pair.ask(one, DiskDemote(disk=pair.spec))
        pair.open(other)
        assert pair.read(other, len(FIRST)) == FIRST
        found = pair.kernel(other)
        assert found is not None
        assert (found.role, found.peer_role) == ("Primary", "Secondary")
        pair.release()
        lying = pair.facts(one)
        assert lying is not None
        assert (lying.path, lying.size, lying.degraded) == ("", pair.spec.size, True)
        pair.together(DiskRemove(disk=pair.spec))
        assert [pair.facts(node) for node in pair.nodes] == [None, None]

    def test_each_call_may_come_twice(self, pair: MirrorPair) -> None:
        """And late: what was written in between stays."""
        one, _ = pair.nodes
        device = pair.start()
        pair.write(one, FIRST)
        pair.create()
        pair.connect()
        assert pair.open(one) == device
        assert pair.read(one, len(FIRST)) == FIRST
        for _time in range(2):
            pair.ask(one, DiskDemote(disk=pair.spec))
        for _time in range(2):
            pair.release()
        for _time in range(2):
            pair.together(DiskRemove(disk=pair.spec))
        assert [pair.facts(node) for node in pair.nodes] == [None, None]

    def test_a_new_mirror_is_not_opened_by_one_side_alone(self, pair: MirrorPair) -> None:
        """The other one may have data: only both together know that nobody has any."""
        pair.create()
        with pair.apart():
            assert pair.refusal(pair.nodes[0], DiskAssemble(disk=pair.spec, primary=True)).code == "stale"

    def test_half_a_copy_is_never_opened(self, pair: MirrorPair) -> None:
        """The first sync is held up and the network cut: what has come so far is no disk; it goes on afterwards."""
        one, other = pair.nodes
        pair.create()
        pair.connect()
        pair.ask(one, MirrorPause(disk=pair.spec, pause=True))
        pair.open(one)
        pair.write(one, FIRST)
        found = pair.kernel(other)
        assert found is not None
        assert (found.disk, found.peer_disk) == ("Inconsistent", "UpToDate")
        with pair.apart():
            pair.until(other, lambda now: now.peer_role == "Unknown")
            pair.ask(one, DiskDemote(disk=pair.spec))
            assert pair.refusal(other, DiskPromote(disk=pair.spec)).code == "stale"
        pair.open(one)
        pair.until(one, lambda now: now.peer_role != "Unknown")
        pair.ask(one, MirrorPause(disk=pair.spec, pause=False))
        pair.in_sync()
        pair.ask(one, DiskDemote(disk=pair.spec))
        pair.open(other)
        assert pair.read(other, len(FIRST)) == FIRST

    def test_sides_come_into_step_after_a_cut(self, pair: MirrorPair) -> None:
        """What was written meanwhile is on both sides afterwards."""
        one, other = pair.nodes
        pair.start()
        pair.write(one, FIRST)
        with pair.apart():
            pair.until(one, lambda now: now.connection != "Connected")
            pair.write(one, SECOND)
            facts = pair.facts(one)
            assert facts is not None
            assert (facts.degraded, facts.local_status) == (True, "ok")
        pair.in_sync()
        pair.release()
        assert [pair.read_volume(node, len(SECOND)) for node in (one, other)] == [SECOND, SECOND]

    def test_who_was_away_gets_what_it_missed(self, pair: MirrorPair) -> None:
        """The other machine loses its power, the first one writes on: set up again, the first one's data wins."""
        one, other = pair.nodes
        pair.start()
        pair.write(one, FIRST)
        pair.lose_power(other)
        pair.until(one, lambda now: now.connection != "Connected")
        pair.write(one, SECOND)
        pair.connect(other)
        pair.in_sync()
        pair.ask(one, DiskDemote(disk=pair.spec))
        pair.open(other)
        assert pair.read(other, len(SECOND)) == SECOND

    def test_who_took_over_has_the_data(self, pair: MirrorPair) -> None:
        """The writer's power fails; the other side is opened and writes; the first one comes back as the older one."""
        one, other = pair.nodes
        pair.start()
        pair.write(one, FIRST)
        pair.lose_power(one)
        pair.until(other, lambda now: now.connection != "Connected")
        pair.open(other)
        assert pair.read(other, len(FIRST)) == FIRST
        pair.write(other, SECOND)
        pair.connect(one)
        pair.until(other, lambda now: (now.connection, now.peer_disk) == ("Connected", "UpToDate"))
        pair.ask(other, DiskDemote(disk=pair.spec))
        pair.open(one)
        assert pair.read(one, len(SECOND)) == SECOND

    def test_a_split_brain_is_refused_and_told(self, pair: MirrorPair) -> None:
        """Both sides wrote while they were apart: they do not come together, and keep what they have."""
        one, other = pair.nodes
        pair.start()
        with pair.apart():
            for node in pair.nodes:
                pair.until(node, lambda now: now.connection != "Connected")
            pair.write(one, FIRST)
            # What nobody should do: the other side is opened although the first one lives.
            pair.open(other)
            pair.write(other, SECOND)
        for node in pair.nodes:
            pair.until(node, lambda now: now.connection == "StandAlone")
        for node in pair.nodes:
            pair.ask(node, DiskDemote(disk=pair.spec))
        with pytest.raises(NodeFailure) as refused:
            pair.connect()
        assert refused.value.code == "diverged"
        assert "split brain" in refused.value.text
        for node in pair.nodes:
            pair.until(node, lambda now: (now.connection, now.role) == ("StandAlone", "Secondary"))
            facts = pair.facts(node)
            assert facts is not None
            assert (facts.degraded, facts.local_status) == (True, "faulty")
            assert pair.refusal(node, DiskPromote(disk=pair.spec)).code == "diverged"
        pair.release()
        assert [pair.read_volume(node, len(FIRST)) for node in pair.nodes] == [FIRST, SECOND]

    def test_two_writers_only_while_a_guest_migrates(self, pair: MirrorPair) -> None:
        """The dance of spec/storage.md, section 4.5: dual in the middle of it, and neither before nor afterwards."""
        one, other = pair.nodes
        pair.start()
        pair.write(one, FIRST)
        assert pair.refusal(other, DiskPromote(disk=pair.spec, shared=True)).code == "busy"
        for dual in (True, False):
            for node in pair.nodes:
                pair.ask(node, MirrorDisconnect(disk=pair.spec))
                pair.until(node, lambda now: now.connection == "StandAlone")
            for node in pair.nodes:
                for _time in range(2):
                    pair.ask(node, MirrorConnect(disk=pair.spec, dual=dual))
            pair.in_sync()
            if dual:
                for node in pair.nodes:
                    pair.ask(node, DiskPromote(disk=pair.spec, shared=True))
                pair.until(one, lambda now: (now.role, now.peer_role) == ("Primary", "Primary"))
                pair.write(one, SECOND)
                assert pair.read(other, len(SECOND)) == SECOND
                for node in pair.nodes:
                    assert pair.refusal(node, MirrorDisconnect(disk=pair.spec)).code == "busy"
                pair.ask(one, DiskDemote(disk=pair.spec))
        pair.until(other, lambda now: (now.role, now.peer_role) == ("Primary", "Secondary"))
        assert pair.refusal(one, DiskPromote(disk=pair.spec, shared=True)).code == "busy"

    def test_a_migration_that_was_broken_off_leaves_no_second_writer(self, pair: MirrorPair) -> None:
        """Set up again, the mirror is connected in the usual way, whatever it was before."""
        one, other = pair.nodes
        pair.start()
        for node in pair.nodes:
            pair.ask(node, MirrorDisconnect(disk=pair.spec))
        for node in pair.nodes:
            pair.ask(node, MirrorConnect(disk=pair.spec, dual=True))
        pair.in_sync()
        pair.ask(other, DiskPromote(disk=pair.spec, shared=True))
        pair.ask(other, DiskDemote(disk=pair.spec))
        pair.write(one, FIRST)
        pair.connect()
        pair.in_sync()
        assert pair.refusal(other, DiskPromote(disk=pair.spec, shared=True)).code == "busy"
        assert pair.read(one, len(FIRST)) == FIRST

    def test_a_side_without_volumes_goes_on_over_the_other(self, pair: MirrorPair) -> None:
        """Detached, it reads and writes over there; attached anew, it gets everything."""
        one, other = pair.nodes
        pair.start()
        pair.write(one, FIRST)
        for _time in range(2):
            pair.ask(one, MirrorDetach(disk=pair.spec))
        facts = pair.facts(one)
        assert facts is not None
        assert (facts.degraded, facts.local_status) == (True, "faulty")
        assert pair.read(one, len(FIRST)) == FIRST
        pair.write(one, SECOND)
        for _time in range(2):
            pair.ask(one, MirrorAttach(disk=pair.spec))
        pair.in_sync()
        assert pair.read(one, len(SECOND)) == SECOND
        pair.release()
        assert [pair.read_volume(node, len(SECOND)) for node in (one, other)] == [SECOND, SECOND]

    def test_volumes_that_were_let_go_are_old_when_they_are_taken_again(self, pair: MirrorPair) -> None:
        """Whoever takes them with what it knew of them, in use over the other side, gets what was written meanwhile."""
        one, other = pair.nodes
        pair.start()
        pair.write(one, FIRST)
        pair.ask(one, MirrorDetach(disk=pair.spec))
        pair.write(one, SECOND)
        pair.open(one)
        pair.in_sync()
        assert pair.read(one, len(SECOND)) == SECOND
        pair.release()
        assert [pair.read_volume(node, len(SECOND)) for node in (one, other)] == [SECOND, SECOND]

    def test_volumes_that_were_let_go_are_old_after_a_power_failure(self, pair: MirrorPair) -> None:
        """The machine that wrote over the other side comes back with both: the other side's data is the newer."""
        one, other = pair.nodes
        pair.start()
        pair.write(one, FIRST)
        pair.ask(one, MirrorDetach(disk=pair.spec))
        pair.write(one, SECOND)
        pair.lose_power(one)
        pair.until(other, lambda now: now.connection != "Connected")
        pair.connect(one)
        pair.in_sync()
        pair.release()
        assert [pair.read_volume(node, len(SECOND)) for node in (one, other)] == [SECOND, SECOND]

    def test_a_mirror_grows_when_both_its_sides_have(self, pair: MirrorPair) -> None:
        """First the volumes, then the mirror; one side alone is not enough, and that is said."""
        one, other = pair.nodes
        pair.start()
        size = pair.spec.size * 2
        grown = msgspec.structs.replace(pair.spec, size=size)
        pair.ask(one, DiskGrow(disk=pair.spec, size=size, backing=True))
        assert pair.refusal(one, DiskGrow(disk=pair.spec, size=size, backing=False)).code == "storage_error"
        pair.ask(other, DiskGrow(disk=pair.spec, size=size, backing=True))
        for _time in range(2):
            pair.wait(lambda: self._grows(pair, size), "it does not grow")
        pair.spec = grown
        pair.in_sync()
        facts = [pair.facts(node) for node in pair.nodes]
        assert [one.size for one in facts if one is not None] == [size, size]

    def test_a_mirror_that_was_set_up_before_its_volumes_grew_grows_when_it_is_opened(self, pair: MirrorPair) -> None:
        """Whoever grew them was cut off, and nobody owes the rest: set up and closed it keeps its size, opened not."""
        one, other = pair.nodes
        pair.start()
        pair.ask(one, DiskDemote(disk=pair.spec))
        size = pair.spec.size * 2
        for node in pair.nodes:
            pair.ask(node, DiskGrow(disk=pair.spec, size=size, backing=True))
        pair.spec = msgspec.structs.replace(pair.spec, size=size)
        pair.connect()
        facts = [pair.facts(node) for node in pair.nodes]
        assert [found.size for found in facts if found is not None] == [size // 2, size // 2]
        pair.open(one)
        pair.in_sync()
        facts = [pair.facts(node) for node in (one, other)]
        assert [found.size for found in facts if found is not None] == [size, size]

    def _grows(self, pair: MirrorPair, size: int) -> bool:
        try:
            pair.ask(pair.nodes[0], DiskGrow(disk=pair.spec, size=size, backing=False))
        except NodeFailure as failure:
            if failure.retry:
                return False
            raise
        return True
