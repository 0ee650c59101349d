"""Disks as thin volumes of LVM: the template `thin`. They take room in their pool as they are written.

What holds for `plain` holds here: the tag says whose volume it is. A pool of the name in the disk parameter `pool` is
the administrator's to make, in each volume group.
"""

from __future__ import annotations

from collections.abc import Sequence

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext
from gnt.noded.storage.lvm import MIB, UUID_TAG, Volume, check_name
from gnt.noded.storage.plain import LogicalVolumes


class ThinVolumes(LogicalVolumes):
    """Disks of the template `thin`: logical_id (volume group, name); parameter `pool`."""

    async def _make(self, disk: DiskSpec, context: CallContext | None) -> NodeFailure | None:
        """Make the volume in its pool; gives what went wrong."""
        group, name = self._names(disk)
        pool = await self._pool_of(disk, context)
        failure = _larger_than(pool, disk.size)
        if failure is not None:
            return failure
        return await self.lvm.attempt(
            [
                *("lvcreate", "-Wn", f"-V{disk.size}m", f"-n{name}", "--thinpool", pool.name),
                *("--addtag", f"{UUID_TAG}{disk.uuid}", group),
            ],
            context,
        )

    async def _make_snapshot(self, source: Volume, name: str, target: DiskSpec, context: CallContext | None) -> None:
        """Make a snapshot that shares what it can with its disk, in the same pool; it needs no room of its own yet."""
        await self.lvm.change(
            [
                *("lvcreate", "-s", "-kn", f"-n{name}"),
                *("--addtag", f"{UUID_TAG}{target.uuid}", f"{source.group}/{source.name}"),
            ],
            context,
        )

    async def _extend(self, disk: DiskSpec, size: int, options: Sequence[str], context: CallContext | None) -> None:
        """Extend the volume; the pool is not asked for more room until something is written."""
        volume = await self._own(disk, context)
        missing = size * MIB - volume.size
        if missing <= 0:
            return
        failure = _larger_than(await self._pool_of(disk, context), size)
        if failure is not None:
            raise failure
        amount = -(-missing // volume.extent) * volume.extent // 1024
        await self.lvm.change(["lvextend", "-L", f"+{amount}k", *options, f"{volume.group}/{volume.name}"], context)

    def _activation(self) -> tuple[str, ...]:
        """Snapshots are marked to be left out of what is activated by itself."""
        return ("-ay", "-K")

    async def _pool_of(self, disk: DiskSpec, context: CallContext | None) -> Volume:
        """Find the pool that the disk's volumes are in; raises `not_found`."""
        group, _ = self._names(disk)
        name = check_name("a thin pool", str(disk.params.get("pool", "")))
        found = await self.lvm.volume(group, name, context=context)
        if found is None or not found.attributes.startswith("t"):
            raise NodeFailure(
                "not_found",
                f"Thin pool {group}/{name} does not exist on this node",
                hint=f"lvcreate --type thin-pool -L SIZE -n {name} {group}",
            )
        return found


def _larger_than(pool: Volume, size: int) -> NodeFailure | None:
    """Refuse a disk that could never be filled; less than that may be promised more than once."""
    if size * MIB <= pool.size:
        return None
    where = f"its pool {pool.group}/{pool.name} of {pool.size // MIB} MiB"
    return NodeFailure("no_space", f"A disk of {size} MiB is larger than {where}")
