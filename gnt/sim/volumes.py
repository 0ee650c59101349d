"""Logical volumes of a simulated node: sparse files and an index, below the node's own root. The template `plain`.

They survive the daemon and the machine's power. Each call is one piece of blocking work that has happened or has not:
what can fall between two commands of real LVM is tried on real LVM.
"""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace
from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Place
from gnt.noded.processes import IProcesses
from gnt.noded.storage.answers import check_size, exists, exists_otherwise, not_there, one_by_one
from gnt.noded.storage.interface import Contents, IDiskTemplate
from gnt.noded.storage.lvm import check_name, no_group
from gnt.noded.storage.registry import real_templates
from gnt.wire.calls import DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState

MIB: Final = 1 << 20
EXTENT: Final = 4
GROUPS: Final[Mapping[str, int]] = {"xenvg": 1 << 20}
"""Volume groups that every simulated node has, with their MiB."""


class SimVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume. `owner` is the UUID of the disk that it is, empty for somebody else's; `size` in MiB."""

    owner: str
    size: int
    label: str = ""


@implementer(IDiskTemplate)
class SimVolumes:
    """Disks of the template `plain` without LVM. `groups` maps volume groups to their MiB."""

    def __init__(self, place: Place, groups: Mapping[str, int] = GROUPS) -> None:
        self._pool = place.runtime.pools("storage")
        self._directory = place.layout.root / "var/lib/gnt-sim/volumes"
        self._groups = groups

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Make a volume of whole extents: `IDiskTemplate.create`."""
        check_size(disk)
        await self._pool.run(self._create, disk)

    async def remove(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Remove the disk's own volume: `IDiskTemplate.remove`."""
        await self._pool.run(self._remove, disk)

    async def assemble(self, disk: DiskSpec, primary: bool, context: CallContext | None = None) -> DiskDevice:
        """Give the volume's file: `IDiskTemplate.assemble`."""
        await self._pool.run(self._own, disk)
        return DiskDevice(path=str(self._file(disk)))

    async def release(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Nothing to do: `IDiskTemplate.release`."""
        _names(disk)

    async def find(self, disk: DiskSpec, context: CallContext | None = None) -> DiskFacts | None:
        """Find the volume: `IDiskTemplate.find`."""
        found = await self._pool.run(self._look, disk)
        if found is None or found.owner != disk.uuid:
            return None
        return DiskFacts(path=str(self._file(disk)), size=found.size)

    async def find_many(self, disks: Sequence[DiskSpec], context: CallContext | None = None) -> list[DiskState]:
        """Find many volumes: `IDiskTemplate.find_many`."""
        return await one_by_one(disks, self.find)

    async def promote(self, disk: DiskSpec, shared: bool, context: CallContext | None = None) -> None:
        """Check that the volume is there: `IDiskTemplate.promote`."""
        await self._pool.run(self._own, disk)

    async def demote(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Nothing to do: `IDiskTemplate.demote`."""
        _names(disk)

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Make the volume larger: `IDiskTemplate.grow`."""
        if backing:
            await self._pool.run(self._grow, disk, size, True)

    async def check_grow(self, disk: DiskSpec, size: int, context: CallContext | None = None) -> None:
        """Check that there is room: `IDiskTemplate.check_grow`."""
        await self._pool.run(self._grow, disk, size, False)

    async def rename(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Give the volume another name and owner: `IDiskTemplate.rename`."""
        await self._pool.run(self._rename, disk, target)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Copy the volume: `IDiskTemplate.snapshot`."""
        check_size(target)
        await self._pool.run(self._snapshot, disk, target)

    async def label(self, disk: DiskSpec, text: str, context: CallContext | None = None) -> None:
        """Remember the text: `IDiskTemplate.label`."""
        await self._pool.run(self._label, disk, text)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Give the volume's file: `IDiskTemplate.contents`."""
        await self._pool.run(self._own, disk)
        return Contents(place=str(self._file(disk)), size=disk.size)

    def volumes(self) -> dict[str, SimVolume]:
        """Give all volumes by `group/name`, for checkers."""
        try:
            return msgspec.json.decode((self._directory / "index.json").read_bytes(), type=dict[str, SimVolume])
        except FileNotFoundError:
            return {}

    # Blocking work

    def _create(self, disk: DiskSpec) -> None:
        found = self._look(disk)
        if found is None:
            size = -(-disk.size // EXTENT) * EXTENT
            self._refuse_full(disk, size)
            self._resize(disk, size)
            self._keep(disk, SimVolume(owner=disk.uuid, size=size))
        elif found.owner != disk.uuid:
            raise exists(f"Volume {_key(disk)}", disk)
        elif not 0 <= found.size - disk.size < EXTENT:
            raise exists_otherwise(f"Volume {_key(disk)}", f"{found.size} MiB", disk)

    def _remove(self, disk: DiskSpec) -> None:
        found = self._look(disk)
        if found is not None and found.owner == disk.uuid:
            self._keep(disk, None)
            self._file(disk).unlink(missing_ok=True)

    def _grow(self, disk: DiskSpec, size: int, really: bool) -> None:
        found = self._own(disk)
        wanted = -(-size // EXTENT) * EXTENT
        if wanted <= found.size:
            return
        self._refuse_full(disk, wanted - found.size)
        if really:
            self._resize(disk, wanted)
            self._keep(disk, replace(found, size=wanted))

    def _rename(self, disk: DiskSpec, target: DiskSpec) -> None:
        if _names(disk)[0] != _names(target)[0]:
            raise NodeFailure("wrong_input", f"Disk {disk.uuid}: a volume stays in its group")
        source, taken = self._look(disk), self._look(target)
        if taken is not None and taken.owner == target.uuid:
            if _key(disk) != _key(target) and source is not None and disk.uuid and source.owner == disk.uuid:
                raise exists(f"Volume {_key(target)}", disk)
            return
        if taken is not None and _key(disk) != _key(target):
            raise exists(f"Volume {_key(target)}", target)
        if source is None:
            raise not_there(disk, f"volume {_key(disk)}")
        if source.owner != disk.uuid:
            raise NodeFailure("foreign", f"Volume {_key(disk)} is not disk {disk.uuid or 'of nobody'}")
        if _key(disk) != _key(target):
            self._file(disk).rename(self._file(target))
            self._keep(disk, None)
        self._keep(target, replace(source, owner=target.uuid))

    def _snapshot(self, disk: DiskSpec, target: DiskSpec) -> None:
        source, there = self._own(disk), self._look(target)
        if there is not None:
            if there.owner != target.uuid:
                raise exists(f"Volume {_key(target)}", target)
            return
        self._refuse_full(target, source.size)
        shutil.copyfile(self._file(disk), self._file(target))
        self._keep(target, SimVolume(owner=target.uuid, size=source.size))

    def _label(self, disk: DiskSpec, text: str) -> None:
        self._keep(disk, replace(self._own(disk), label=text))

    def _own(self, disk: DiskSpec) -> SimVolume:
        found = self._look(disk)
        if found is None:
            raise not_there(disk, f"volume {_key(disk)}")
        if found.owner != disk.uuid:
            raise NodeFailure("foreign", f"Volume {_key(disk)} is not marked as disk {disk.uuid}")
        return found

    def _look(self, disk: DiskSpec) -> SimVolume | None:
        return self.volumes().get(_key(disk))

    def _refuse_full(self, disk: DiskSpec, more: int) -> None:
        group = _names(disk)[0]
        if group not in self._groups:
            raise no_group(group)
        used = sum(one.size for key, one in self.volumes().items() if key.startswith(f"{group}/"))
        if self._groups[group] - used < more:
            free = self._groups[group] - used
            raise NodeFailure("no_space", f"Not enough free space: required {more}, available {free}")

    def _resize(self, disk: DiskSpec, size: int) -> None:
        path = self._file(disk)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(size * MIB)

    def _keep(self, disk: DiskSpec, volume: SimVolume | None) -> None:
        """Write the index anew, as a whole."""
        found = self.volumes()
        if volume is None:
            del found[_key(disk)]
        else:
            found[_key(disk)] = volume
        self._directory.mkdir(parents=True, exist_ok=True)
        fresh = self._directory / "index.new"
        fresh.write_bytes(msgspec.json.encode(found))
        fresh.replace(self._directory / "index.json")

    def _file(self, disk: DiskSpec) -> Path:
        group, name = _names(disk)
        return self._directory / group / name


def sim_templates(place: Place, processes: IProcesses) -> dict[str, IDiskTemplate]:
    """Give the disk templates of a simulated node: files as they are, volumes without LVM."""
    real = real_templates(place, processes)
    kept = {name: real[name] for name in ("diskless", "file", "sharedfile")}
    return {**kept, "plain": SimVolumes(place)}


def _names(disk: DiskSpec) -> tuple[str, str]:
    if len(disk.logical_id) != 2:
        raise NodeFailure("wrong_input", f"Disk {disk.uuid}: logical_id must be volume group and volume")
    group, name = map(str, disk.logical_id)
    return check_name("a volume group", group), check_name("a logical volume", name)


def _key(disk: DiskSpec) -> str:
    return "/".join(_names(disk))
