"""The calls about what a node has to store disks on: storage units, volumes, devices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.noded.storage.allowed import AllowedDirectories
from gnt.noded.storage.devices import device_size
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.volume_groups import VolumeGroups
from gnt.wire.disk_calls import (
    DeviceSizes,
    StorageList,
    StorageModify,
    StorageRepair,
    StorageRow,
    VolumeFacts,
    VolumeList,
)

MIB: Final = 1 << 20
LVM_KINDS: Final = ("lvm-pv", "lvm-thin", "lvm-vg")
FILE_KINDS: Final = ("file", "sharedfile")


class Storage:
    """Takes the calls about storage units, volumes and devices."""

    def __init__(self, place: Place, programs: Programs) -> None:
        self._layout = place.layout
        self._pool = place.runtime.pools("storage")
        self._groups = VolumeGroups(programs)

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {
            StorageList: self._list,
            StorageModify: self._modify,
            StorageRepair: self._repair,
            VolumeList: self._volumes,
            DeviceSizes: self._sizes,
        }

    async def _list(self, call: StorageList, context: CallContext) -> list[StorageRow]:
        if call.kind in LVM_KINDS:
            return await self._groups.rows(call.kind, call.name, context)
        if call.kind not in FILE_KINDS:
            raise NodeFailure(
                "unsupported",
                f"Storage units of the kind {call.kind!r} are not listed",
                hint=f"there are: {', '.join(sorted((*FILE_KINDS, *LVM_KINDS)))}",
            )
        if call.name not in {"", call.directory}:
            return []
        return [await self._pool.run(self._directory, call.kind, call.directory)]

    async def _modify(self, call: StorageModify, context: CallContext) -> None:
        await self._groups.allow(call.name, call.allocatable, context)

    async def _repair(self, call: StorageRepair, context: CallContext) -> None:
        await self._groups.repair(call.name, context)

    async def _volumes(self, call: VolumeList, context: CallContext) -> list[VolumeFacts]:
        return await self._groups.volumes(call.groups, context)

    async def _sizes(self, call: DeviceSizes, _context: CallContext) -> dict[str, int]:
        return await self._pool.run(device_sizes, call.paths)

    def _directory(self, kind: str, directory: str) -> StorageRow:
        """Report on a storage directory and the file system that it is on. Blocks."""
        place = AllowedDirectories(self._layout, kind).check(directory)
        try:
            system = os.statvfs(place)
            used = sum(_disk_usage(place))
        except OSError as error:
            raise NodeFailure("storage_error", f"{directory}: {error.strerror}") from error
        return StorageRow(
            kind=kind,
            name=directory,
            size=system.f_frsize * system.f_blocks // MIB,
            used=used // MIB,
            free=system.f_frsize * system.f_bavail // MIB,
        )


def device_sizes(paths: Iterable[str]) -> dict[str, int]:
    """Give the sizes in bytes of those paths below /dev that are block devices; others are left out. Blocks."""
    sizes = {path: device_size(path) for path in paths}
    return {path: size for path, size in sizes.items() if size is not None}


def _disk_usage(directory: Path) -> Iterable[int]:
    """Give the bytes that each file below a directory really takes. What goes meanwhile is not counted."""
    for place, _directories, files in os.walk(directory):
        for name in files:
            try:
                yield (Path(place) / name).lstat().st_blocks * 512
            except FileNotFoundError:
                continue
