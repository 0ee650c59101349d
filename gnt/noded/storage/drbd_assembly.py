"""Bringing one side of a mirror to where it is wanted: volumes, connection, role. Repeated, it changes nothing.

What the kernel has is compared with what the configuration says, and only the difference is made: spec/storage.md,
section 4.4. Data is judged by DRBD alone; nothing here makes a side primary by force but a new mirror's first opening,
and that only while both sides are in touch and agree that neither has any data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gnt.daemon.runtime import Runtime
from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext
from gnt.noded.storage.drbd_kernel import JUST_CREATED, STALE, Kernel
from gnt.noded.storage.drbd_log import KernelLog, is_about_two, is_split
from gnt.noded.storage.drbd_show import Setup
from gnt.noded.storage.drbd_side import Side
from gnt.noded.storage.drbd_status import PRIMARY, UP_TO_DATE, MinorStatus
from gnt.noded.storage.interface import IDiskTemplate

DIVERGED: Final = "diverged"
# Seconds that a peer has to answer before this side goes on without it, and for which one that did not is not waited
# for again; seconds that a connection has to end.
PEER_TIME: Final = 10.0
STILL_SILENT: Final = 60.0
PARTING_TIME: Final = 60.0
# Seconds in which a peer tells how large its volume is now: the kernel's programs do not wait for that.
TELLING_TIME: Final = 5.0
LOOK_EVERY: Final = 0.1
LOOK_SELDOM: Final = 2.0
_SLOWER: Final = 1.5
# What DRBD says of a mirror that does not grow, and that can be used all the same.
_DOES_NOT_GROW: Final = frozenset({"busy", "not_open", "storage_error"})


class Assembly:
    """Works on sides of mirrors; `volumes` serves what they lie on."""

    def __init__(self, kernel: Kernel, volumes: IDiskTemplate, runtime: Runtime) -> None:
        self._kernel = kernel
        self._volumes = volumes
        self._runtime = runtime
        # Minors whose peer did not answer, and when that was.
        self._silent: dict[int, float] = {}

    # Looking

    def path(self, volume: DiskSpec) -> str:
        """Give the device of a volume."""
        group, name = map(str, volume.logical_id)
        return str(self._kernel.devices / group / name)

    def is_ours(self, side: Side, setup: Setup) -> bool:
        """Say whether what a minor is set up as is this mirror, or a part of it."""
        if setup.data is not None:
            return side.data is not None and setup.data == self.path(side.data)
        # Without volumes, this node's own port tells: no other mirror of the cluster has it.
        return setup.ends is None or side.ends is None or setup.ends[0][2] == side.ends[0][2]

    async def own_setup(self, side: Side, context: CallContext | None = None) -> Setup | None:
        """Give how this mirror is set up, None if it is not; raises `foreign` where its minor is another's."""
        setup = await self._kernel.setup(side.minor, context)
        if setup is not None and not self.is_ours(side, setup):
            raise NodeFailure(
                "foreign",
                f"{side.name} is not disk {side.disk.uuid}: it is set up on {setup.data or 'another port'}",
                hint="it was left alone",
            )
        return setup

    async def must_be_up(self, side: Side, context: CallContext | None = None) -> Setup:
        """Give how this mirror is set up; raises `not_found` if it is not."""
        setup = await self.own_setup(side, context)
        if setup is None:
            raise NodeFailure(
                "not_found",
                f"{side.disk.shown} is not set up: {side.name} is not in use",
                hint="gnt-instance activate-disks",
            )
        return setup

    async def status(self, side: Side) -> MinorStatus:
        """Give what the kernel says of the side now."""
        return (await self._kernel.status()).minor(side.minor)

    # Volumes

    async def bring_up(self, side: Side, context: CallContext | None = None) -> None:
        """Have the kernel know the mirror, with its volumes and its peer.

        Volumes that are not there are gone without as long as the peer has the data; else `not_found`, and nothing is
        set up. Raises `diverged` when the two sides refuse each other.
        """
        await self._kernel.status()
        setup = await self.own_setup(side, context)
        was_up = setup is not None
        missing: NodeFailure | None = None
        if setup is not None and setup.has_disk:
            await self._refuse_other_volumes(side)
            await self._kernel.set_speed(side, context)
        else:
            missing = await self._missing(side, context)
            if missing is not None and side.ends is None:
                raise missing
            if setup is None:
                await self._kernel.make_minor(side, context)
                setup = Setup(resource=side.resource, minor=side.minor)
            if missing is None and side.data is not None and side.meta is not None:
                await self._kernel.attach(side, self.path(side.data), self.path(side.meta), context)
        if side.ends is not None and (setup.ends != side.ends or await self._is_left_dual(side, setup)):
            await self.connect(side, setup, dual=False, patience=PEER_TIME, context=context)
        if missing is not None:
            await self._lean_on_peer(side, missing, context, was_up=was_up)

    async def _is_left_dual(self, side: Side, setup: Setup) -> bool:
        """Say whether a migration that was broken off has left the mirror so that both its sides may write."""
        if not setup.dual:
            return False
        now = await self.status(side)
        return not (now.is_primary and now.peer_role == PRIMARY)

    async def _missing(self, side: Side, context: CallContext | None) -> NodeFailure | None:
        """Activate the volumes; gives what is said of one that is not there, or that cannot be read."""
        if side.data is None or side.meta is None:
            return NodeFailure("not_found", f"{side.disk.shown} has no volumes of its own here")
        try:
            for child in side.children:
                await self._volumes.assemble(child, False, context)
        except NodeFailure as failure:
            if failure.code != "not_found":
                raise
            return failure
        if not await self._kernel.can_read(self.path(side.meta)):
            return NodeFailure("not_found", f"{side.disk.shown}: {self.path(side.meta)} cannot be read")
        return None

    async def _lean_on_peer(
        self, side: Side, missing: NodeFailure, context: CallContext | None, *, was_up: bool
    ) -> None:
        """Go on without volumes, if the peer has the data; it may be about to be set up. Else set nothing up.

        What was set up before stays: a guest may have it open, and finds its data again when the peer is back.
        """
        if was_up:
            await self._give_time(side)
        if (await self.status(side)).peer_disk == UP_TO_DATE:
            _say(context, f"{side.name} goes on without volumes of its own: {missing.text}")
            return
        if not was_up:
            await self._kernel.down(side, side.resource, context)
        raise missing

    async def _refuse_other_volumes(self, side: Side) -> None:
        """Refuse a mirror on volumes that do not bear the names any more under which it took them."""
        if not await self._kernel.lies_on(side.minor, [self.path(child) for child in side.children]):
            raise NodeFailure(
                "foreign",
                f"{side.name} lies on other volumes than those of disk {side.disk.uuid}",
                hint="detach it first",
            )

    async def attach_anew(self, side: Side, context: CallContext | None = None) -> None:
        """Take volumes with fresh metadata, so that all data comes from the peer; those taken already stay."""
        setup = await self.must_be_up(side, context)
        if setup.has_disk:
            await self._refuse_other_volumes(side)
            return
        if side.data is None or side.meta is None:
            raise NodeFailure("wrong_input", f"{side.disk.shown}: there are no volumes to take")
        for child in side.children:
            await self._volumes.assemble(child, False, context)
        await self._kernel.make_metadata(side, self.path(side.meta), context)
        await self._kernel.attach(side, self.path(side.data), self.path(side.meta), context)

    async def detach(self, side: Side, context: CallContext | None = None) -> None:
        """Let the volumes go."""
        setup = await self.must_be_up(side, context)
        if setup.has_disk:
            await self._kernel.detach(side, context)
            await self._until(side, lambda now: not now.has_disk, PEER_TIME, "does not let its volumes go")

    # The peer

    async def connect(
        self, side: Side, setup: Setup, *, dual: bool, patience: float = 0.0, context: CallContext | None = None
    ) -> None:
        """Seek the peer, and wait so many seconds for it; goes on without one that does not answer.

        Raises `diverged` when the two sides refuse each other: they stand alone then, and nothing is resolved here.
        """
        if side.ends is None:
            raise NodeFailure("wrong_input", f"{side.disk.shown}: the addresses of its nodes are not known")
        await self.disconnect(side, setup, context)
        end = self._runtime.clock.seconds() + patience
        while True:
            log = await self._kernel.listen()
            try:
                await self._kernel.connect(side, side.ends, dual=dual, context=context)
                reason = await self._await_peer(side, log, patience)
            finally:
                log.close()
            if reason is None:
                return
            # The peer may be about to be connected in the same way as this side.
            if not is_about_two(reason) or self._runtime.clock.seconds() >= end:
                raise _refused(side, reason)
            await self._runtime.sleep(LOOK_EVERY)

    async def _await_peer(self, side: Side, log: KernelLog, patience: float) -> str | None:
        """Wait until the peer has answered, or has not, for so long; gives why it was refused, None if it was not."""
        end = self._runtime.clock.seconds() + patience
        while True:
            now = await self.status(side)
            if now.alone:
                return await self._kernel.reason(log, side)
            if not now.trying:
                self._silent.pop(side.minor, None)
                return None
            if self._runtime.clock.seconds() >= end:
                if patience:
                    self._silent[side.minor] = self._runtime.clock.seconds()
                return None
            await self._runtime.sleep(LOOK_EVERY)

    async def disconnect(self, side: Side, setup: Setup, context: CallContext | None = None) -> None:
        """Let the peer go, and wait until the side stands alone.

        Raises `busy` while both sides are open for writing: what was one disk would be two.
        """
        if setup.ends is None:
            return
        now = await self.status(side)
        if now.is_primary and now.peer_role == PRIMARY:
            raise NodeFailure(
                "busy",
                f"{side.name} is open for writing on both its nodes, and is not parted",
                hint="close it on one of them first",
                retry=True,
            )
        await self._kernel.disconnect(side, setup.ends, context)
        await self._until(side, lambda now: now.alone, PARTING_TIME, "does not come to stand alone")

    # The role

    async def promote(self, side: Side, *, shared: bool, context: CallContext | None = None) -> None:
        """Open the side for writing, after its peer had the time to answer.

        Raises `busy` where the other side writes (unless `shared`), `diverged` for a side that stands alone although it
        has a peer, and `stale` where no data is up to date.
        """
        await self._give_time(side)
        now = await self.status(side)
        if now.alone and not now.is_primary and side.ends is not None:
            raise NodeFailure(
                DIVERGED,
                f"{side.name} stands alone: nobody knows whether its other side has newer data, or writes",
                hint="gnt-instance activate-disks connects it",
            )
        if now.peer_role == PRIMARY and not shared:
            raise NodeFailure("busy", f"{side.name} is open for writing on its other node", retry=True)
        if now.is_primary:
            return
        try:
            await self._kernel.primary(side, context=context)
        except NodeFailure as failure:
            if failure.code != STALE or shared or not await self._is_new(side, context):
                raise
            await self._kernel.primary(side, force=True, context=context)

    async def fit(self, side: Side, context: CallContext | None = None) -> None:
        """Make an open mirror as large as it is to be: it may have been set up before its volumes grew.

        One that cannot grow now is used as it is, and that is said: a guest waits for it.
        """
        has = await self._kernel.size(side.minor)
        if not 0 < has < side.size:
            return
        why = "a volume below it is smaller, or its other side is away"
        try:
            has = await self.grow(side, side.size, context)
        except NodeFailure as failure:
            if failure.code not in _DOES_NOT_GROW:
                raise
            why = failure.text
        if has < side.size:
            text = f"{side.name} is opened with {has} MiB of {side.size}: {why}"
            _say(context, f"{text}; gnt-instance activate-disks tries again")

    async def grow(self, side: Side, size: int, context: CallContext | None = None) -> int:
        """Make a mirror as large as `size` MiB, and give how large it is then: as the smaller of its two volumes.

        The peer is asked how large its volume is now, and a mirror whose other side has just grown follows its answer.
        """
        await self._kernel.resize(side, size, context)
        end = self._runtime.clock.seconds() + TELLING_TIME
        while (has := await self._kernel.size(side.minor)) < size and self._runtime.clock.seconds() < end:
            now = await self.status(side)
            if now.alone or now.trying:
                break
            await self._runtime.sleep(LOOK_EVERY)
        return has

    async def _give_time(self, side: Side) -> None:
        """Wait for a peer that is sought; not again for one that was silent a moment ago."""
        since = self._silent.get(side.minor)
        if since is None or self._runtime.clock.seconds() - since > STILL_SILENT:
            await self._until(side, lambda now: not now.trying, PEER_TIME, None)

    async def _is_new(self, side: Side, context: CallContext | None) -> bool:
        """Say whether nobody has ever written to this mirror, as both its sides agree.

        Were it only this side whose data nobody has written, its peer would send its own: they would not just be
        connected.
        """
        if not (await self.status(side)).nobody_has_data:
            return False
        return await self._kernel.generation(side.minor, context) == JUST_CREATED

    async def demote(self, side: Side, context: CallContext | None = None) -> None:
        """Close the side for writing."""
        if await self.own_setup(side, context) is not None and (await self.status(side)).is_primary:
            await self._kernel.secondary(side, context)

    async def take_down(self, side: Side, context: CallContext | None = None) -> None:
        """Have the kernel forget the side; its volumes stay, and another's minor is left alone."""
        setup = await self._kernel.setup(side.minor, context)
        if setup is not None and self.is_ours(side, setup):
            await self._kernel.down(side, setup.resource, context)

    async def _until(
        self, side: Side, done: Callable[[MinorStatus], bool], seconds: float, failure: str | None
    ) -> None:
        """Look again and again, less and less often; gives up with a failure, or without."""
        end = self._runtime.clock.seconds() + seconds
        pause = LOOK_EVERY
        while not done(await self.status(side)):
            if self._runtime.clock.seconds() >= end:
                if failure is not None:
                    raise NodeFailure("storage_error", f"{side.name} {failure} within {seconds:.0f} s", retry=True)
                return
            await self._runtime.sleep(pause)
            pause = min(LOOK_SELDOM, pause * _SLOWER)


def _refused(side: Side, reason: str) -> NodeFailure:
    if not reason or is_split(reason):
        why = "both have data that the other has not (split brain)" if reason else "the kernel's log knows why"
        return NodeFailure(
            DIVERGED,
            f"{side.name}: its two sides refuse each other: {why}",
            hint="an administrator decides which side's data goes: drbdsetup connect --discard-my-data there",
        )
    return NodeFailure(DIVERGED, f"{side.name}: its two sides refuse each other: {reason}")


def _say(context: CallContext | None, text: str) -> None:
    if context is not None:
        context.progress(text)
