"""Disks mirrored between two nodes by DRBD 8.4: the template `drbd`, spec/storage.md, section 4.

A mirror lies on two volumes of the template `plain` (data, and 128 MiB of metadata) on each of its nodes. Its minor is
ours if it is set up on our volumes; whose those are, their own marks say. A mirror that is not set up is found by its
volumes, without a path, and counts as degraded.
"""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Place
from gnt.noded.membership import MembershipFile
from gnt.noded.storage.answers import RENAMABLE, check_size, exists, exists_otherwise, unsupported
from gnt.noded.storage.drbd_assembly import Assembly
from gnt.noded.storage.drbd_kernel import Kernel
from gnt.noded.storage.drbd_show import Setup
from gnt.noded.storage.drbd_side import LARGEST_META, META_SIZE, Side, side_of
from gnt.noded.storage.drbd_status import KernelStatus
from gnt.noded.storage.interface import Contents, IDiskTemplate, IMirror
from gnt.wire.calls import DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState, MirrorFacts, MirrorOverview

POOL: Final = "storage"
NOT_LOADED: Final = KernelStatus(version="", minors={})


@implementer(IDiskTemplate, IMirror)
class MirroredDisks:
    """Disks of the template `drbd`. `volumes` serves their volumes; `own_uuid` gives this node's UUID, and blocks."""

    def __init__(self, place: Place, kernel: Kernel, volumes: IDiskTemplate, own_uuid: Callable[[], str]) -> None:
        self._kernel = kernel
        self._volumes = volumes
        self._assembly = Assembly(kernel, volumes, place.runtime)
        self._pool = place.runtime.pools(POOL)
        self._own_uuid = own_uuid

    # Making and removing

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Make this side's volumes and fresh metadata; nothing is set up yet: `IDiskTemplate.create`."""
        check_size(disk)
        side = await self._side(disk)
        data, meta = side.data, side.meta
        if data is None or meta is None:
            raise NodeFailure("wrong_input", f"{disk.shown}: a mirror lies on two volumes")
        await self._kernel.status()
        setup = await self._kernel.setup(side.minor, context)
        if setup is not None and not self._assembly.is_ours(side, setup):
            raise exists(side.name, disk)
        made: list[DiskSpec] = []
        try:
            there = await self._volumes.find_many((data, meta), context)
            _check_sizes(disk, *(state.facts for state in there))
            for child, state in zip((data, meta), there, strict=True):
                if state.facts is None:
                    made.append(child)
                await self._volumes.create(child, context)
            if meta in made:
                await self._kernel.make_metadata(side, self._assembly.path(meta), context)
            elif setup is None:
                await self._prepare(side, meta, context)
        except BaseException:
            for child in reversed(made):
                await self._volumes.remove(child)
            raise

    async def _prepare(self, side: Side, meta: DiskSpec, context: CallContext | None) -> None:
        """Make metadata unless it is there: a volume of ours begins with zeros, so what it bears was made by us."""
        device = await self._volumes.assemble(meta, False, context)
        if not await self._kernel.has_metadata(side, device.path, context):
            await self._kernel.make_metadata(side, device.path, context)

    async def remove(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Take the mirror down, if it is set up, and remove its volumes: `IDiskTemplate.remove`."""
        side = await self._side(disk)
        if await self._kernel.is_loaded():
            await self._assembly.take_down(side, context)
        for child in side.children:
            await self._volumes.remove(child, context)

    # Using

    async def assemble(self, disk: DiskSpec, primary: bool, context: CallContext | None = None) -> DiskDevice:
        """Set the mirror up, connect it, and open it if `primary`: `IDiskTemplate.assemble`.

        A new mirror is opened by force, for the first time, once both its sides are in touch: then its first sync
        begins. One that was set up with an older size grows. Raises `diverged` for a split brain, `stale` where no side
        with good data can be reached.
        """
        side = await self._side(disk)
        await self._assembly.bring_up(side, context)
        if primary:
            await self._assembly.promote(side, shared=False, context=context)
            await self._assembly.fit(side, context)
        return DiskDevice(path=self._kernel.device(side))

    async def release(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Take the mirror down; its volumes stay: `IDiskTemplate.release`."""
        side = await self._side(disk)
        if await self._kernel.is_loaded():
            await self._assembly.take_down(side, context)

    async def promote(self, disk: DiskSpec, shared: bool, context: CallContext | None = None) -> None:
        """Open the mirror for writing: `IDiskTemplate.promote`."""
        side = await self._side(disk)
        await self._assembly.must_be_up(side, context)
        await self._assembly.promote(side, shared=shared, context=context)

    async def demote(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Close the mirror for writing: `IDiskTemplate.demote`."""
        side = await self._side(disk)
        if await self._kernel.is_loaded():
            await self._assembly.demote(side, context)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Give the device, on the node where it is open for writing: `IDiskTemplate.contents`."""
        side = await self._side(disk)
        await self._assembly.must_be_up(side, context)
        if not (await self._assembly.status(side)).is_primary:
            raise NodeFailure("busy", f"{side.name} can be read only where it is open for writing", hint="promote it")
        return Contents(place=self._kernel.device(side), size=disk.size)

    # Looking

    async def find(self, disk: DiskSpec, context: CallContext | None = None) -> DiskFacts | None:
        """Find the mirror, or at least its volumes: `IDiskTemplate.find`."""
        [state] = await self.find_many([disk], context)
        if state.problem:
            raise NodeFailure("storage_error", state.problem)
        return state.facts

    async def find_many(self, disks: Sequence[DiskSpec], context: CallContext | None = None) -> list[DiskState]:
        """Find many with one look at the kernel, and one at the volumes of those not set up: `find_many`."""
        try:
            own = await self._pool.run(self._own_uuid)
            loaded = await self._kernel.is_loaded()
            status = await self._kernel.status() if loaded else NOT_LOADED
            setups = await self._kernel.setups(context) if loaded else {}
        except NodeFailure as failure:
            return [DiskState(problem=failure.text) for _ in disks]
        sides = [_side_or_problem(disk, own) for disk in disks]
        known = [side for side in sides if isinstance(side, Side)]
        lying = {side.disk.uuid: side.data for side in known if side.data is not None and side.minor not in setups}
        volumes = await self._volumes.find_many(list(lying.values()), context) if lying else []
        waiting = dict(zip(lying, volumes, strict=True))
        return [
            await self._state(side, status, setups.get(side.minor), waiting.get(side.disk.uuid))
            if isinstance(side, Side)
            else side
            for side in sides
        ]

    async def _state(
        self, side: Side, status: KernelStatus, setup: Setup | None, volume: DiskState | None
    ) -> DiskState:
        if setup is None:
            return _lying(volume)
        if not self._assembly.is_ours(side, setup):
            return DiskState()
        now = status.minor(side.minor)
        facts = DiskFacts(
            path=self._kernel.device(side),
            size=await self._kernel.size(side.minor) or side.size,
            sync_percent=now.sync_percent,
            estimated_time=now.estimated_time,
            sync_speed=now.sync_speed,
            degraded=now.degraded,
            local_status=now.local_status,
        )
        return DiskState(facts=facts)

    # Growing, and what its volumes do

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Grow this side's volume, or the mirror when both sides' volumes have grown: `IDiskTemplate.grow`."""
        side = await self._side(disk)
        if backing:
            await self._volumes.grow(_data(side), size, True, context)
            return
        await self._assembly.must_be_up(side, context)
        if await self._kernel.size(side.minor) >= size:
            return
        reached = await self._assembly.grow(side, size, context)
        if reached < size:
            raise NodeFailure(
                "storage_error",
                f"{side.name} has grown to {reached} MiB, not {size}: a volume below it is smaller",
                hint="grow the volumes of both its nodes first",
            )

    async def check_grow(self, disk: DiskSpec, size: int, context: CallContext | None = None) -> None:
        """Check whether this side's volume could grow: `IDiskTemplate.check_grow`."""
        await self._volumes.check_grow(_data(await self._side(disk)), size, context)

    async def rename(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Refuse: a mirror's name is its minor: `IDiskTemplate.rename`."""
        raise unsupported(disk, "renamed", RENAMABLE)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Make a snapshot of this side's volume: `IDiskTemplate.snapshot`."""
        await self._volumes.snapshot(_data(await self._side(disk)), target, context)

    async def label(self, disk: DiskSpec, text: str, context: CallContext | None = None) -> None:
        """Label the volumes: `IDiskTemplate.label`."""
        side = await self._side(disk)
        for child in side.children:
            await self._volumes.label(child, text, context)

    # As a mirror

    async def connect(self, disk: DiskSpec, dual: bool, context: CallContext | None = None) -> None:
        """Connect to the peer, in this way: `IMirror.connect`."""
        side = await self._side(disk)
        setup = await self._assembly.must_be_up(side, context)
        if (setup.ends, setup.dual) != (side.ends, dual):
            await self._assembly.connect(side, setup, dual=dual, context=context)

    async def disconnect(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Stand alone: `IMirror.disconnect`."""
        side = await self._side(disk)
        setup = await self._assembly.must_be_up(side, context)
        await self._assembly.disconnect(side, setup, context)

    async def detach(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Go on without volumes: `IMirror.detach`."""
        await self._assembly.detach(await self._side(disk), context)

    async def attach(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Take volumes with fresh metadata: `IMirror.attach`."""
        await self._assembly.attach_anew(await self._side(disk), context)

    async def pause(self, disk: DiskSpec, pause: bool, context: CallContext | None = None) -> None:
        """Pause the resync, or let it go on: `IMirror.pause`."""
        side = await self._side(disk)
        await self._assembly.must_be_up(side, context)
        await self._kernel.pause(side, pause, context)

    async def overview(self, context: CallContext | None = None) -> MirrorOverview:
        """Give all minors in use: `IMirror.overview`."""
        if not await self._kernel.is_loaded():
            return MirrorOverview()
        status = await self._kernel.status()
        minors = [
            MirrorFacts(
                minor=one.minor,
                connection=one.connection,
                role=one.role,
                peer_role=one.peer_role,
                disk=one.disk,
                peer_disk=one.peer_disk,
            )
            for one in sorted(status.minors.values(), key=lambda one: one.minor)
            if one.in_use
        ]
        return MirrorOverview(version=status.version, helper=await self._kernel.helper(), minors=minors)

    async def _side(self, disk: DiskSpec) -> Side:
        return side_of(disk, await self._pool.run(self._own_uuid))


def _check_sizes(disk: DiskSpec, found: DiskFacts | None, described: DiskFacts | None) -> None:
    """Refuse volumes that the mirror does not fit on: those that are there, and those that are to be made."""
    data, meta = disk.children
    if found is not None and found.size < disk.size:
        raise exists_otherwise(f"Its volume {data.logical_id[1]}", f"{found.size} MiB", disk)
    if found is None and data.size < disk.size:
        raise NodeFailure("wrong_input", f"{disk.shown}: its volume would have {data.size} MiB of {disk.size}")
    room = meta.size if described is None else described.size
    if not META_SIZE <= room <= LARGEST_META:
        raise NodeFailure(
            "wrong_input",
            f"{disk.shown}: a metadata volume of {room} MiB",
            hint=f"{META_SIZE} to {LARGEST_META} MiB",
        )


def own_uuid(place: Place) -> Callable[[], str]:
    """Give what reads this node's UUID, empty before it has joined a cluster."""
    membership = MembershipFile(place.layout)

    def read() -> str:
        known = membership.current or membership.load()
        return known.node_uuid if known is not None else ""

    return read


def _data(side: Side) -> DiskSpec:
    if side.data is None:
        raise NodeFailure("not_found", f"{side.disk.shown} has no volume of its own here")
    return side.data


def _side_or_problem(disk: DiskSpec, own: str) -> Side | DiskState:
    try:
        return side_of(disk, own)
    except NodeFailure as failure:
        return DiskState(problem=failure.text)


def _lying(volume: DiskState | None) -> DiskState:
    """Say of a mirror that is not set up what its volume says: it is there, and without a device."""
    if volume is None or volume.facts is None:
        return volume or DiskState()
    return DiskState(facts=DiskFacts(path="", size=volume.facts.size, degraded=True, local_status="unknown"))
