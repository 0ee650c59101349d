"""DRBD 8.4 of all simulated machines: sides of mirrors, what they have of each other, and how they find together.

A side stands in its machine's memory: it outlives the node daemon, and not the power. What it knows of its data is on
its metadata volume (`gnt.sim.generations`), the data in the file of its data volume. Whatever depends on time and on
the network is brought up to date by `settle`: before each look, and after each event of the clock.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from gnt.noded.storage.drbd_show import Ends
from gnt.sim.content import content_of, copy_pieces
from gnt.sim.generations import JUST_CREATED, Metadata, Verdict, compare
from gnt.sim.lvm import SimVolume
from gnt.sim.mirror_sides import (
    ALONE,
    ATTACHED,
    CONNECTED,
    DISKLESS,
    HELD_OPEN,
    INCONSISTENT,
    NO_GOOD_DATA,
    NO_METADATA,
    NO_PRIMARY,
    OUTDATED,
    PAUSED_ALREADY,
    PEER_REFUSES,
    RESIZE_IN_SYNC,
    RESUMED_ALREADY,
    SEEKING,
    TAKEN,
    TWO_PRIMARIES,
    UNCLEAN,
    UP_TO_DATE,
    KernelRefusal,
    MirrorMachine,
    Side,
    Sync,
)
from gnt.sim.mirror_writing import flush


class SimMirrors:
    """All mirrors of all machines. `reachable` says whether one machine (by name) hears another."""

    def __init__(
        self, seconds: Callable[[], float], source: random.Random, reachable: Callable[[str, str], bool]
    ) -> None:
        self._seconds = seconds
        self._source = source
        self._reachable = reachable
        self.machines: dict[str, MirrorMachine] = {}
        self._looked: tuple[object, ...] = ()
        self.too_early: list[str] = []
        """Copies that were removed while those that are to take their place did not have all data yet."""

    def add(self, machine: MirrorMachine) -> MirrorMachine:
        """Take a machine in."""
        machine.cache.seconds = self._seconds
        self.machines[machine.name] = machine
        return machine

    def sides(self) -> list[Side]:
        """Give all sides, by machine and minor."""
        found: list[Side] = []
        for machine in self.machines.values():
            if machine.sides:
                found += [machine.sides[minor] for minor in sorted(machine.sides)]
        return found

    # What comes by itself

    def look(self, *surroundings: object) -> bool:
        """Settle, unless that would do nothing; say whether something may be different from what it was.

        It would do nothing if it did nothing the last time, and nothing has become of any side since, nor of the
        machines and ways (`surroundings`), and no data is on its way.
        """
        changes, any_side = 0, False
        for machine in self.machines.values():
            changes += machine.changes
            any_side = any_side or bool(machine.sides)
        if not any_side:
            # There is nothing to bring about: most clusters have no mirror at most times.
            self._looked = ()
            return False
        now = (changes, *surroundings)
        if now == self._looked:
            return False
        self.settle()
        self._looked = () if any(side.sync is not None for side in self.sides()) else now
        return True

    def settle(self) -> None:
        """Bring about what time and network have brought about since the last look."""
        sides = self.sides()
        for side in sides:
            if side.sync is not None and side.sync.source is side:
                self._advance(side.sync)
            if side.peer is not None and not self._linked(side, side.peer):
                one, other = side, side.peer
                self._lose(one)
                self._lose(other)
        seeking: dict[Ends, list[Side]] = {}
        for side in sides:
            if side.connection == SEEKING and side.ends is not None:
                seeking.setdefault(side.ends, []).append(side)
        for side in sides if len(seeking) > 1 else ():
            if side.connection == SEEKING and side.ends is not None:
                others = seeking.get((side.ends[1], side.ends[0]), ())
                partner = next((other for other in others if other.connection == SEEKING), None)
                if partner is not None and self._linked(side, partner):
                    self._meet(side, partner)

    def power_lost(self, machine: MirrorMachine) -> None:
        """Forget what the machine had in its memory; what is on its volumes stays as it was, and of the rest a part.

        It writes nothing more, no new generation either.
        """
        for side in machine.sides.values():
            if side.sync is not None:
                self._advance(side.sync)
        machine.cache.lose_power(self._source)
        gone, machine.sides = list(machine.sides.values()), {}
        machine.resources.clear()
        machine.log.clear()
        for side in gone:
            machine.device(side.minor).unlink(missing_ok=True)
            if side.peer is not None:
                other = side.peer
                self._end_sync(side)
                other.peer = None
                self._lose(other)

    def _linked(self, one: Side, other: Side) -> bool:
        names = one.machine.name, other.machine.name
        return self._reachable(*names) and self._reachable(*reversed(names))

    # Finding together

    def _meet(self, one: Side, other: Side) -> None:
        """Have two sides that hear each other find out what to do."""
        verdict = self._judge(one, other)
        if verdict.problem:
            for side in (one, other):
                self._say(side, verdict.problem)
                self._stand_alone(side)
            return
        one.peer, other.peer = other, one
        one.connection = other.connection = CONNECTED
        if verdict.direction:
            source, target = (one, other) if verdict.direction > 0 else (other, one)
            self._begin_sync(source, target, whole=verdict.whole)
        self._point_devices(one, other)

    def _judge(self, one: Side, other: Side) -> Verdict:
        if one.secret != other.secret:
            return Verdict(0, problem="authentication of peer failed")
        if one.dual != other.dual:
            return Verdict(0, problem="incompatible allow-two-primaries settings")
        if one.primary and other.primary and not one.dual:
            return Verdict(0, problem="Multiple primaries not allowed by config")
        if DISKLESS in {one.disk, other.disk}:
            return Verdict(0)
        problem = self._agree_on_size(one, other)
        if problem:
            return Verdict(0, problem=problem)
        verdict = compare(one.known, other.known)
        if verdict.problem:
            return self._resolved(one, other, verdict)
        if (one.disk == INCONSISTENT) != (other.disk == INCONSISTENT):
            verdict = Verdict(-1 if one.disk == INCONSISTENT else 1, whole=verdict.whole)
        return self._checked(one, other, verdict)

    def _resolved(self, one: Side, other: Side, verdict: Verdict) -> Verdict:
        """Settle what diverged if one side has changed nothing (`discard-zero-changes`, `consensus`)."""
        if one.known.bitmap != other.known.bitmap or not one.known.bitmap or (one.primary and other.primary):
            return verdict
        if bool(one.known.behind) == bool(other.known.behind):
            return verdict
        found = Verdict(1 if one.known.behind else -1)
        loser = other if found.direction > 0 else one
        return verdict if loser.primary else found

    def _checked(self, one: Side, other: Side, verdict: Verdict) -> Verdict:
        """Refuse a sync from data that is not whole, or over data that somebody writes."""
        if not verdict.direction:
            return verdict
        source, target = (one, other) if verdict.direction > 0 else (other, one)
        if source.disk == INCONSISTENT:
            return Verdict(0, problem="I shall become SyncSource, but I am inconsistent! peer presented nothing")
        # Who takes volumes while the peer serves the data has none of its own yet that it could lose.
        if target.primary and target.disk != INCONSISTENT and not target.negotiating:
            return Verdict(0, problem="I shall become SyncTarget, but I am primary! (data differ)")
        return verdict

    def _agree_on_size(self, one: Side, other: Side) -> str:
        agreed = min(one.room, other.room)
        if any(side.known.current != JUST_CREATED and agreed < side.known.size for side in (one, other)):
            return "The peer's disk size is too small!"
        for side in (one, other):
            side.known.behind |= set(range(side.size, agreed)) if side.size < agreed else set()
            side.size = side.known.size = agreed
        return ""

    # Bringing into step

    def _begin_sync(self, source: Side, target: Side, *, whole: bool) -> None:
        known, theirs = source.known, target.known
        if known.bitmap in {0, JUST_CREATED}:
            known.bitmap = self._fresh()
        theirs.current, theirs.bitmap, theirs.consistent = known.bitmap, 0, False
        behind = set(range(source.size)) if whole else known.behind | theirs.behind
        known.behind, theirs.behind = set(behind), set(behind)
        target.disk = INCONSISTENT
        sync = Sync(source, target, sorted(behind), len(behind), self._seconds())
        source.sync = target.sync = sync
        if not behind:
            self._finish(sync)

    def _advance(self, sync: Sync) -> None:
        """Copy as much as there was time for."""
        now = self._seconds()
        passed, sync.at = max(0.0, now - sync.at), now
        if sync.paused:
            return
        sync.part += passed * min(sync.source.rate, sync.target.rate)
        count = min(len(sync.left), math.floor(sync.part))
        sync.part -= count
        now_there, sync.left = set(sync.left[:count]), sync.left[count:]
        if now_there:
            copy_pieces(sync.source.path, sync.target.path, now_there)
            for side in (sync.source, sync.target):
                side.known.behind -= now_there
        if not sync.left:
            self._finish(sync)

    def _finish(self, sync: Sync) -> None:
        source, target = sync.source, sync.target
        source.sync = target.sync = None
        for side in (source, target):
            side.machine.cache.flush(str(side.path))
        source.known.be_whole()
        target.known.take_over(source.known)
        target.disk = UP_TO_DATE
        target.seen = content_of(target.path)
        self._point_devices(source, target)

    def _end_sync(self, side: Side) -> None:
        """Break a sync off; what has not come yet stays on record."""
        if side.sync is not None:
            sync = side.sync
            sync.source.sync = sync.target.sync = None

    # Coming apart

    def _lose(self, side: Side) -> None:
        """Have a side without its peer; it seeks it again if it knows where."""
        self._end_sync(side)
        if side.primary and side.data is not None:
            side.known.behind |= side.unconfirmed
        side.unconfirmed.clear()
        side.peer = None
        if side.connection != ALONE:
            side.connection = SEEKING if side.ends is not None else ALONE
        self._go_on_alone(side)
        self._point_devices(side)

    def _go_on_alone(self, side: Side) -> None:
        """Begin a new generation on a side that has lost the other one's copy, if one of them is open for writing."""
        is_open = side.primary or (side.peer is not None and side.peer.primary)
        if is_open and side.good and not side.known.bitmap:
            side.known.begin(self._fresh)

    def _stand_alone(self, side: Side) -> None:
        side.ends, side.dual = None, False
        side.connection = ALONE
        self._lose(side)

    # Commands

    def attach(self, side: Side, paths: tuple[str, str], limit: int) -> None:
        """Give a side its volumes."""
        data, meta = (side.machine.lvm.at(path) for path in paths)
        if side.data is not None:
            raise KernelRefusal(ATTACHED)
        if data is None or meta is None or self.is_attached(side.machine, data):
            raise KernelRefusal(TAKEN)
        if not isinstance(meta.superblock, Metadata):
            raise KernelRefusal(NO_METADATA)
        if meta.superblock.unclean:
            raise KernelRefusal(UNCLEAN)
        side.data, side.meta, side.paths, side.limit = data, meta, paths, limit
        known = side.known
        known.unclean = True
        known.crashed |= known.primary
        known.primary = side.primary
        if known.current == JUST_CREATED:
            known.behind = set(range(side.room))
        side.size = min(side.room, known.size) if known.size else side.room
        known.size = side.size
        side.disk = INCONSISTENT if not known.consistent else OUTDATED if known.outdated else UP_TO_DATE
        side.seen = content_of(side.path)
        if side.peer is not None:
            other, side.peer = side.peer, None
            other.peer, side.negotiating = None, True
            self._meet(side, other)
            side.negotiating = False
        self._point_devices(side)

    def detach(self, side: Side) -> None:
        """Take a side's volumes away."""
        if side.data is None:
            return
        if side.primary and side.good_peer is None:
            raise KernelRefusal(NO_GOOD_DATA)
        self._refuse_to_leave(side)
        self._let_go(side)

    def broken(self, machine: MirrorMachine) -> None:
        """Hear that volumes of a machine are gone: a mirror on one of them lets go, as after an error of its disk."""
        for side in machine.sides.values():
            if side.data is not None and not {side.data.key, side.known_key} <= machine.lvm.volumes.keys():
                self._let_go(side)

    def _let_go(self, side: Side) -> None:
        """Have a side without its volumes."""
        self._end_sync(side)
        self._close(side)
        side.data, side.meta, side.paths, side.disk, side.seen = None, None, ("", ""), DISKLESS, {}
        if side.peer is not None:
            self._go_on_alone(side.peer)
            self._point_devices(side.peer)
        self._point_devices(side)

    def connect(self, side: Side, ends: Ends, *, dual: bool, secret: str) -> None:
        """Have a side seek its peer."""
        side.ends, side.dual, side.secret = ends, dual, secret
        side.connection = SEEKING

    def disconnect(self, side: Side) -> None:
        """Have a side let its peer go, which seeks it again."""
        self._refuse_to_leave(side)
        if side.primary and not side.good and side.good_peer is not None:
            raise KernelRefusal(NO_GOOD_DATA)
        other = side.peer
        self._stand_alone(side)
        if other is not None:
            self._lose(other)

    def _refuse_to_leave(self, side: Side) -> None:
        if side.peer is not None and side.peer.primary and not side.peer.good and side.good:
            raise KernelRefusal(PEER_REFUSES)

    def promote(self, side: Side, *, force: bool) -> None:
        """Open a side for writing."""
        if side.primary:
            return
        if side.peer is not None and side.peer.primary and not side.dual:
            raise KernelRefusal(TWO_PRIMARIES)
        good = side.good or side.good_peer is not None
        if not good and (not force or side.disk == DISKLESS):
            raise KernelRefusal(NO_GOOD_DATA)
        side.primary = True
        if side.data is not None:
            side.known.primary = True
        if not good:
            known = side.known
            known.begin(self._fresh)
            known.consistent, known.outdated, side.disk = True, False, UP_TO_DATE
            known.behind = set(range(side.size))
            if side.peer is not None and side.peer.disk == INCONSISTENT:
                self._begin_sync(side, side.peer, whole=True)
        elif side.peer is None or side.peer.disk == DISKLESS:
            self._go_on_alone(side)
        self._point_devices(side)

    def demote(self, side: Side) -> None:
        """Close a side for writing."""
        if str(side.machine.device(side.minor)) in side.machine.in_use():
            raise KernelRefusal(HELD_OPEN)
        side.primary = False
        if side.data is not None:
            self._close(side)

    def _close(self, side: Side) -> None:
        """Have a side end what it was writing: it has not crashed, and its activity log says nothing more."""
        flush(side)
        side.known.primary = False
        side.known.active.clear()

    def pause(self, side: Side, pause: bool) -> None:
        """Hold the sync up, or let it go on."""
        if side.paused is pause:
            raise KernelRefusal(PAUSED_ALREADY if pause else RESUMED_ALREADY)
        side.paused = pause

    def resize(self, side: Side, size: int) -> None:
        """Make a mirror larger, as far as both its volumes go; what is new comes into step."""
        if side.sync is not None:
            raise KernelRefusal(RESIZE_IN_SYNC)
        if not side.primary and not (side.peer is not None and side.peer.primary):
            raise KernelRefusal(NO_PRIMARY)
        other = side.peer
        if other is None or DISKLESS in {side.disk, other.disk}:
            return
        side.limit = other.limit = size
        before, reached = side.size, min(side.room, other.room)
        if reached <= before:
            return
        fresh = set(range(before, reached))
        for each in (side, other):
            each.size = each.known.size = reached
            each.known.behind |= fresh
        source, target = (side, other) if side.primary else (other, side)
        self._begin_sync(source, target, whole=False)

    def down(self, side: Side) -> None:
        """Have the kernel forget a side."""
        self.demote(side)
        if side.connection != ALONE or side.peer is not None:
            self.disconnect(side)
        self.detach(side)
        del side.machine.sides[side.minor]
        side.machine.resources.discard(side.resource)
        side.machine.device(side.minor).unlink(missing_ok=True)

    # Beside the commands

    def removing(self, machine: MirrorMachine, volume: SimVolume) -> None:
        """Hear that a volume goes, which may be what was replaced in a mirror that somebody uses."""
        for side in self.sides():
            peer = side.peer
            if side.primary and peer is not None and INCONSISTENT in {side.disk, peer.disk}:
                for each in (side, peer):
                    if each.data is not None and stems_from(volume.key, each.data.key) and volume is not each.data:
                        text = f"{volume.key} on {machine.name} is removed before the new side is in step: {side.where}"
                        self.too_early.append(text)
                        break

    def is_attached(self, machine: MirrorMachine, volume: SimVolume) -> bool:
        """Say whether a mirror lies on a volume."""
        return any(volume in (side.data, side.meta) for side in machine.sides.values())

    def renamed(self, machine: MirrorMachine) -> None:
        """Hear that volumes of a machine may have other names: mirrors lie on the same ones as before."""
        self._point_devices(*machine.sides.values())

    def _point_devices(self, *sides: Side) -> None:
        """Have each device lead to the data: a side's own, or else that of the other one; else it gives errors."""
        for side in sides:
            device = side.machine.device(side.minor)
            at = side if side.good else side.good_peer
            target = str(at.path) if at is not None else str(device.with_name("nowhere"))
            if _leads_to(device) != target:
                device.unlink(missing_ok=True)
                device.parent.mkdir(parents=True, exist_ok=True)
                device.symlink_to(target)

    def _fresh(self) -> int:
        return self._source.getrandbits(63) << 1 | 1 << 8

    def _say(self, side: Side, text: str) -> None:
        side.machine.log.append(f"block drbd{side.minor}: {text}")


def _leads_to(device: Path) -> str:
    """Give where a device leads to; empty if it is not there."""
    try:
        return os.readlink(device)  # noqa: PTH115  (as a text)
    except FileNotFoundError:
        return ""


def two_writers(mirrors: SimMirrors) -> Iterator[str]:
    """Say of which mirrors two sides are open for writing: only in touch may they be, and where both were told so."""
    writing = [side for side in mirrors.sides() if side.primary]
    for index, side in enumerate(writing):
        for other in writing[index + 1 :]:
            if (
                side.machine is not other.machine
                and _same_mirror(side, other)
                and not (side.dual and other.dual and side.peer is other)
            ):
                yield f"{side.where} and {other.where} are open for writing, and may not be"


def _same_mirror(one: Side, other: Side) -> bool:
    """Say whether two sides are of one mirror: their volumes bear one mark, or their connection is the same."""
    if one.data is not None and other.data is not None:
        return any("disk" in tag and tag in other.data.tags for tag in one.data.tags)
    return one.ends is not None and other.ends is not None and one.ends == (other.ends[1], other.ends[0])


def stems_from(name: str, of: str) -> bool:
    """Say whether a volume (group and name) is one that had this name until it was replaced, or has it elsewhere."""
    return name == of or name.startswith(f"{of}_replaced-")
