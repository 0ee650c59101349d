"""Disks as logical volumes of LVM: the template `plain`, spec/storage.md, section 3.

Whose volume it is, a tag says: `gnt.disk.UUID`, given in the command that makes the volume. A volume without the tag of
this disk is not this disk: it is never overwritten, opened or removed.
"""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

import os.path
from collections.abc import Sequence
from typing import Final

from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Place
from gnt.noded.storage.answers import check_size, exists, exists_otherwise, not_there
from gnt.noded.storage.interface import Contents, IDiskTemplate
from gnt.noded.storage.lvm import A_GROUP, MIB, UUID_TAG, Lvm, Volume, check_name, tag_text
from gnt.noded.storage.lvm_space import Space
from gnt.noded.storage.programs import Programs
from gnt.wire.calls import DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState

POOL: Final = "storage"
# A device that was just closed may be looked at by udev for a moment.
BUSY_EVERY: Final = 3.0
BUSY_TRIES: Final = 10
_ALLOC_POLICIES: Final = ("contiguous", "cling", "normal")


@implementer(IDiskTemplate)
class LogicalVolumes:
    """Disks of the template `plain`: logical_id (volume group, name); parameter `stripes`."""

    def __init__(self, place: Place, programs: Programs) -> None:
        self._runtime = place.runtime
        self._pool = place.runtime.pools(POOL)
        self.lvm = Lvm(programs)
        self.space = Space(self.lvm, place.runtime.clock)

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Make the volume with its tag, rounded up to whole extents: `IDiskTemplate.create`."""
        check_size(disk)
        group, name = self._names(disk)
        failure = await self._make(disk, context)
        if failure is None:
            return
        found = await self.lvm.volume(group, name, context=context)
        if found is None:
            raise failure
        self._refuse_other(found, disk)

    async def remove(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Remove the volume that bears the disk's tag: `IDiskTemplate.remove`."""
        group, _ = self._names(disk)
        # One command looks at the tag and removes: nothing can come in between. None is selected: removed already.
        selection = self._selection(disk)
        for attempt in range(BUSY_TRIES):
            failure = await self.lvm.attempt(["lvremove", "-f", "-S", selection, group], context)
            if failure is None or failure.code == "not_found":
                return
            if failure.code != "busy" or attempt == BUSY_TRIES - 1:
                raise failure
            await self._runtime.sleep(BUSY_EVERY)

    async def assemble(self, disk: DiskSpec, primary: bool, context: CallContext | None = None) -> DiskDevice:
        """Activate the volume: `IDiskTemplate.assemble`."""
        group, name = self._names(disk)
        path = self.lvm.path(group, name)
        # One command as a rule. What has no device is activated if it is ours, and has one then; what has one already
        # is active, and only has to be ours. Without device-mapper nothing gets a device.
        tried = not await self._pool.run(os.path.exists, path)
        if tried:
            await self.lvm.change(["lvchange", *self._activation(), "-S", self._selection(disk), group], context)
            if await self._pool.run(os.path.exists, path):
                return DiskDevice(path=path)
        volume = await self._own(disk, context)
        if not tried and not volume.is_active:
            await self.lvm.change(["lvchange", *self._activation(), f"{group}/{name}"], context)
        return DiskDevice(path=path)

    async def release(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Nothing to do: a volume stays active: `IDiskTemplate.release`."""
        self._names(disk)

    async def find(self, disk: DiskSpec, context: CallContext | None = None) -> DiskFacts | None:
        """Find the volume, if it is this disk's: `IDiskTemplate.find`."""
        group, name = self._names(disk)
        return self._facts(await self.lvm.volume(group, name, context=context), disk)

    async def find_many(self, disks: Sequence[DiskSpec], context: CallContext | None = None) -> list[DiskState]:
        """Find many volumes with one `lvs`: `IDiskTemplate.find_many`."""
        try:
            groups = dict.fromkeys(self._names(disk)[0] for disk in disks)
            volumes = await self.lvm.volumes(*groups, context=context)
        except NodeFailure as failure:
            return [DiskState(problem=failure.text) for _ in disks]
        return [DiskState(facts=self._facts(volumes.get(self._names(disk)), disk)) for disk in disks]

    async def promote(self, disk: DiskSpec, shared: bool, context: CallContext | None = None) -> None:
        """Check that the volume is there: `IDiskTemplate.promote`."""
        await self._own(disk, context)

    async def demote(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Nothing to do: `IDiskTemplate.demote`."""
        self._names(disk)

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Extend the volume, contiguously if that can be: `IDiskTemplate.grow`."""
        if backing:
            await self._extend(disk, size, (), context)

    async def check_grow(self, disk: DiskSpec, size: int, context: CallContext | None = None) -> None:
        """Let LVM try the extension without doing it: `IDiskTemplate.check_grow`."""
        await self._extend(disk, size, ("--test",), context)

    async def rename(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Give the volume another name in its group, another tag, or both: `IDiskTemplate.rename`.

        First the tag, then the name: between the two the volume is found by a repeated call under its old name.
        """
        group, old = self._names(disk)
        into, new = self._names(target)
        if group != into:
            raise NodeFailure("wrong_input", f"{disk.shown}: a volume stays in its group {group}")
        volumes = await self.lvm.volumes(group, context=context)
        source, taken = volumes.get((group, old)), volumes.get((group, new))
        if taken is not None and self._is_renamed(taken, source, disk, target):
            await self._retag(taken, disk, target, context)
            return
        if taken is not None and new != old:
            raise exists(f"Volume {group}/{new}", target)
        if source is None:
            raise not_there(disk, f"volume {group}/{old}")
        if source.owner not in {disk.uuid or None, target.uuid or None}:
            raise NodeFailure("foreign", f"Volume {group}/{old} is not disk {disk.uuid or 'of nobody'}")
        if not disk.uuid and source.opened and source.owner is None:
            raise NodeFailure("busy", f"Volume {group}/{old} is in use", hint="close what has it open first")
        await self._retag(source, disk, target, context)
        if new != old:
            await self.lvm.change(["lvrename", group, old, new], context)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Make a snapshot volume with room for `target.size` MiB of changes: `IDiskTemplate.snapshot`."""
        check_size(target)
        into, name = self._names(target)
        volumes = await self.lvm.volumes(into, context=context)
        source = await self._own(disk, context, volumes)
        if source.group != into:
            raise NodeFailure("wrong_input", f"Disk {target.uuid}: a snapshot is in the group of its disk")
        there = volumes.get((into, name))
        if there is not None:
            if there.owner != target.uuid:
                raise exists(f"Volume {into}/{name}", target)
            return
        await self._make_snapshot(source, name, target, context)

    async def label(self, disk: DiskSpec, text: str, context: CallContext | None = None) -> None:
        """Make the text a tag, instead of others that are there; the disk's own stays: `IDiskTemplate.label`."""
        volume = await self._own(disk, context)
        wanted = tag_text(text)
        stale = [tag for tag in volume.tags if tag not in {wanted, f"{UUID_TAG}{disk.uuid}"}]
        changes = [word for tag in stale for word in ("--deltag", tag)]
        if wanted not in volume.tags:
            changes += ["--addtag", wanted]
        if changes:
            await self.lvm.change(["lvchange", *changes, f"{volume.group}/{volume.name}"], context)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Give the device: `IDiskTemplate.contents`."""
        volume = await self._own(disk, context)
        return Contents(place=self.lvm.path(volume.group, volume.name), size=disk.size)

    # What thin volumes do in another way

    async def _make(self, disk: DiskSpec, context: CallContext | None) -> NodeFailure | None:
        """Make the volume where the most room is; gives what went wrong.

        What was seen a moment ago will do, but is no reason to refuse anything.
        """
        group, _ = self._names(disk)
        seen = await self.space.of(group, context)
        failure = await self._make_on(seen.devices, disk, context)
        if failure is None:
            return None
        self.space.forget(group)
        if seen.fresh:
            return failure
        return await self._make_on((await self.space.of(group, context)).devices, disk, context)

    async def _make_on(
        self, devices: Sequence[tuple[str, int]], disk: DiskSpec, context: CallContext | None
    ) -> NodeFailure | None:
        """Make the volume on these physical volumes, with fewer stripes where so many do not fit."""
        group, name = self._names(disk)
        free = sum(room for _, room in devices) // MIB
        if free < disk.size:
            text = f"Not enough free space: required {disk.size}, available {free}"
            return NodeFailure("no_space", f"{text} (MiB in volume group {group})")
        names = [device for device, _ in devices]
        failure: NodeFailure | None = None
        for stripes in range(min(len(names), max(1, int(disk.params.get("stripes", 1)))), 0, -1):
            self.space.take(group, names[:stripes], disk.size * MIB)
            failure = await self.lvm.attempt(
                [
                    *("lvcreate", "-Wn", f"-L{disk.size}m", f"-n{name}", f"-i{stripes}"),
                    *("--addtag", f"{UUID_TAG}{disk.uuid}", group, *names),
                ],
                context,
            )
            if failure is None:
                return None
        return failure

    async def _make_snapshot(self, source: Volume, name: str, target: DiskSpec, context: CallContext | None) -> None:
        """Make a snapshot with room of its own."""
        free = sum(room for _, room in await self.lvm.free_of(source.group, context)) // MIB
        if free < target.size:
            text = f"Not enough free space: required {target.size}, available {free}"
            raise NodeFailure("no_space", f"{text} (MiB in volume group {source.group})")
        await self.lvm.change(
            [
                *("lvcreate", f"-L{target.size}m", "-s", f"-n{name}"),
                *("--addtag", f"{UUID_TAG}{target.uuid}", f"{source.group}/{source.name}"),
            ],
            context,
        )

    def _activation(self) -> tuple[str, ...]:
        """Give the options that activate a volume."""
        return ("-ay",)

    def _grain(self, volume: Volume) -> int:
        """Give the bytes in whose multiples a volume grows."""
        return volume.extent * volume.stripes

    # Common ground

    def _names(self, disk: DiskSpec) -> tuple[str, str]:
        """Give group and name of a disk's volume, or refuse them."""
        if len(disk.logical_id) != 2:
            raise NodeFailure("wrong_input", f"{disk.shown}: logical_id must be volume group and volume")
        group, name = map(str, disk.logical_id)
        return check_name(A_GROUP, group), check_name("a logical volume", name)

    def _selection(self, disk: DiskSpec) -> str:
        """Give what selects the disk's volume in its group, if it bears the disk's tag."""
        return f'lv_name="{self._names(disk)[1]}" && lv_tags="{UUID_TAG}{disk.uuid}"'

    def _facts(self, volume: Volume | None, disk: DiskSpec) -> DiskFacts | None:
        """Say what is to be said of a volume, if it is the disk's."""
        if volume is None or volume.owner != disk.uuid:
            return None
        return DiskFacts(
            path=self.lvm.path(volume.group, volume.name),
            size=volume.size // MIB,
            degraded=volume.broken,
            local_status="faulty" if volume.broken else "ok",
        )

    async def _own(
        self,
        disk: DiskSpec,
        context: CallContext | None,
        volumes: dict[tuple[str, str], Volume] | None = None,
        *,
        segments: bool = False,
    ) -> Volume:
        """Give the disk's volume; raises `not_found`, or `foreign` if another has its name."""
        group, name = self._names(disk)
        found = (
            await self.lvm.volume(group, name, segments=segments, context=context)
            if volumes is None
            else volumes.get((group, name))
        )
        if found is None:
            raise not_there(disk, f"volume {group}/{name}")
        if found.owner != disk.uuid:
            raise NodeFailure(
                "foreign",
                f"Volume {group}/{name} is not marked as disk {disk.uuid}",
                hint=f"if it is that disk: lvchange --addtag {UUID_TAG}{disk.uuid} {group}/{name}",
            )
        return found

    def _refuse_other(self, volume: Volume, disk: DiskSpec) -> None:
        """Refuse a volume that is not this disk in this size, as LVM rounds it."""
        where = f"Volume {volume.group}/{volume.name}"
        if volume.owner != disk.uuid:
            raise exists(where, disk)
        grain = volume.extent * max(1, int(disk.params.get("stripes", 1)))
        if not 0 <= volume.size - disk.size * MIB < grain:
            raise exists_otherwise(where, f"{volume.size // MIB} MiB", disk)

    async def _extend(self, disk: DiskSpec, size: int, options: Sequence[str], context: CallContext | None) -> None:
        """Extend the volume to at least `size` MiB by whole rows of extents."""
        volume = await self._own(disk, context, segments=True)
        missing = size * MIB - volume.size
        if missing <= 0:
            return
        grain = self._grain(volume)
        amount = -(-missing // grain) * grain // 1024
        failure: NodeFailure | None = None
        for policy in _ALLOC_POLICIES:
            argv = ["lvextend", "-L", f"+{amount}k", *options, "--alloc", policy, f"{volume.group}/{volume.name}"]
            failure = await self.lvm.attempt(argv, context)
            if failure is None:
                return
        if failure is not None:
            raise failure

    def _is_renamed(self, taken: Volume, source: Volume | None, disk: DiskSpec, target: DiskSpec) -> bool:
        """Say whether the volume of the new name is the one that was to get it."""
        if taken.owner == (target.uuid or None):
            if source is not None and source is not taken and disk.uuid and source.owner == disk.uuid:
                raise exists(f"Volume {taken.group}/{taken.name}", disk)
            return True
        return source is None and bool(disk.uuid) and taken.owner == disk.uuid

    async def _retag(self, volume: Volume, disk: DiskSpec, target: DiskSpec, context: CallContext | None) -> None:
        """Give a volume the target's tag instead of the disk's, in one change."""
        # A target without UUID is nobody's: an adoption that is undone.
        if volume.owner == (target.uuid or None):
            return
        old = ["--deltag", f"{UUID_TAG}{volume.owner}"] if volume.owner else []
        new = ["--addtag", f"{UUID_TAG}{target.uuid}"] if target.uuid else []
        words = [*old, *new, f"{volume.group}/{volume.name}"]
        await self.lvm.change(["lvchange", *words], context)
