"""How much room there is: free and total MiB of directories and volume groups."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.noded.handler import CallContext, Place
from gnt.noded.processes import IProcesses
from gnt.noded.storage.programs import Programs, environment
from gnt.noded.storage.volume_groups import VolumeGroups
from gnt.wire.calls import URGENT, StorageFacts, StorageUnit

MIB: Final = 1 << 20
NOT_INSTALLED: Final = 127
_VGS: Final = (
    "vgs",
    "--noheadings",
    "--nosuffix",
    "--units=m",
    "--unbuffered",
    "--separator=|",
    "-ovg_name,vg_free,vg_attr,vg_size,vg_extent_size",
)


class StorageUnits:
    """Reports on the storage of a node."""

    def __init__(self, place: Place, processes: IProcesses) -> None:
        self._layout = place.layout
        self._pool = place.runtime.pools("storage")
        self._processes = processes
        self._volumes = VolumeGroups(Programs(processes))

    async def facts(
        self, units: Sequence[StorageUnit], context: CallContext
    ) -> tuple[list[StorageFacts], dict[str, str]]:
        """Give what was asked for, in that order, and the problems by `kind key`."""
        found: list[StorageFacts] = []
        problems: dict[str, str] = {}
        groups: dict[str, tuple[int, int, int]] | None = None
        for unit in units:
            room: tuple[int, ...] | None = None
            try:
                if unit.kind == "file":
                    room = await self._pool.run(self._file_system, unit.key)
                elif unit.kind == "lvm-vg":
                    groups = groups if groups is not None else await self._groups(context)
                    room = groups.get(unit.key)
                elif unit.kind in {"lvm-pv", "lvm-thin"}:
                    room = await self._volumes.room(unit.kind, unit.key, context)
                else:
                    problems[f"{unit.kind} {unit.key}"] = f"storage of the kind {unit.kind!r} is not reported on"
            except NodeFailure as failure:
                problems[f"{unit.kind} {unit.key}"] = failure.text
            free, size = room[:2] if room is not None else (None, None)
            extent = room[2] if room is not None and len(room) > 2 else 0
            found.append(StorageFacts(kind=unit.kind, key=unit.key, free=free, size=size, extent=extent))
        return found, problems

    def _file_system(self, directory: str) -> tuple[int, int] | None:
        """Look at a directory of this node's own, or at one that is shared. Blocks."""
        return _file_system(str(self._layout.here(directory))) or _file_system(directory)

    async def _groups(self, context: CallContext) -> dict[str, tuple[int, int, int]]:
        """Ask LVM for the volume groups that can be written; a machine without LVM has none."""
        done = await self._processes.run(_VGS, env=environment(os.environ), timeout=URGENT, context=context)
        if done.status == NOT_INSTALLED:
            return {}
        if not done.ok:
            said = done.errors.strip().splitlines()
            raise NodeFailure("storage_error", f"vgs {done.how}: {said[-1].strip() if said else 'it said nothing'}")
        return parse_groups(done.output)


def parse_groups(output: str) -> dict[str, tuple[int, int, int]]:
    """Read what `vgs` says: free, total MiB and those of an extent by name, without groups that are read-only."""
    found = {}
    for line in output.splitlines():
        fields = line.strip().split("|")
        if len(fields) < 4 or fields[2].startswith("r"):
            continue
        extent = int(float(fields[4])) if len(fields) > 4 else 0
        found[fields[0]] = (int(float(fields[1])), int(float(fields[3])), extent)
    return found


def _file_system(directory: str) -> tuple[int, int] | None:
    """Give free and total MiB of the file system of a directory; None where there is no such directory."""
    try:
        facts = os.statvfs(directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NodeFailure("storage_error", f"{directory}: {error.strerror}") from error
    return facts.f_frsize * facts.f_bavail // MIB, facts.f_frsize * facts.f_blocks // MIB
