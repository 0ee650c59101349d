"""Storage units of LVM: groups, physical volumes, thin pools; how they are changed: spec/storage.md, section 12."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gnt.model.errors import NodeFailure
from gnt.noded.handler import CallContext
from gnt.noded.storage.lvm import A_GROUP, MIB, Lvm, check_name, failure_of
from gnt.noded.storage.programs import Programs, said
from gnt.wire.disk_calls import StorageRow, VolumeFacts

_JSON: Final = ("--reportformat", "json", "--units", "b", "--nosuffix")
_PV: Final = "pv_name,vg_name,pv_size,pv_used,pv_free,pv_attr"
_POOL: Final = "vg_name,lv_name,lv_size,data_percent,lv_attr"


class VolumeGroups:
    """The storage units of LVM on this node. Sizes in MiB, rounded down."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._lvm = Lvm(programs)

    async def rows(self, kind: str, name: str = "", context: CallContext | None = None) -> list[StorageRow]:
        """List the units of a kind (`lvm-vg`, `lvm-pv`, `lvm-thin`), or the one of that name; none: an empty list."""
        listing = {"lvm-vg": self._groups, "lvm-pv": self._physical_volumes, "lvm-thin": self._pools}[kind]
        return [row for row in await listing(context) if name in {"", row.name}]

    async def room(self, kind: str, key: str, context: CallContext | None = None) -> tuple[int, int] | None:
        """Give free and total MiB: `lvm-pv` of a group's allocatable physical volumes, `lvm-thin` of a pool."""
        if kind == "lvm-thin":
            found = [row for row in await self._pools(context) if row.name == key]
        else:
            rows = await self._report("pv", "pvs", _PV, context)
            mine = [_physical(row) for row in rows if row["vg_name"] == key]
            found = [row for row in mine if row.allocatable]
        return (sum(row.free for row in found), sum(row.size for row in found)) if found else None

    async def volumes(self, groups: Sequence[str], context: CallContext | None = None) -> list[VolumeFacts]:
        """List logical volumes, of some groups or of all."""
        for group in groups:
            check_name(A_GROUP, group)
        found = await self._lvm.volumes(*groups, segments=True, context=context)
        return [
            VolumeFacts(
                group=one.group,
                name=one.name,
                size=one.size // MIB,
                active=one.attributes[4:5] != "-",
                opened=one.opened,
                virtual=one.virtual,
                tags=list(one.tags),
                devices=list(one.devices),
            )
            for one in found.values()
        ]

    async def allow(self, name: str, allocatable: bool, context: CallContext | None = None) -> None:
        """Let a physical volume be used for new volumes, or not; one that is so already is left alone."""
        rows = await self.rows("lvm-pv", name, context)
        if not rows:
            hint = "gnt-node list-storage -t lvm-pv shows those that do"
            raise NodeFailure("not_found", f"Physical volume {name} does not exist on this node", hint=hint)
        if rows[0].allocatable is not allocatable:
            await self._lvm.change(["pvchange", "--allocatable", "y" if allocatable else "n", name], context)

    async def repair(self, group: str, context: CallContext | None = None) -> None:
        """Make a group that lost a physical volume consistent again; volumes that were on it are lost.

        The plain form first, `--force` where LVM asks for it; then the group must be whole.
        """
        check_name(A_GROUP, group)
        first = await self._programs.try_run(["vgreduce", "--removemissing", group], context)
        words = first.output + first.errors
        if first.ok and "--removemissing --force" not in words:
            return await self._check_whole(group, context)
        if "not found" in first.errors and not first.ok:
            raise NodeFailure(
                "not_found",
                f"Volume group '{group}' does not exist on this node",
                hint="gnt-node list-storage -t lvm-vg lists those that there are",
            )
        await self._lvm.change(["vgreduce", "--removemissing", "--force", group], context)
        return await self._check_whole(group, context)

    async def _check_whole(self, group: str, context: CallContext | None) -> None:
        """Raise unless the group lacks nothing any more."""
        done = await self._programs.try_run(["vgs", "--noheadings", "--nosuffix", group], context)
        if not done.ok:
            raise failure_of("vgs", done)
        if "find device with uuid" in done.errors or "missing" in done.errors.lower():
            raise NodeFailure("storage_error", f"Volume group '{group}' still lacks a physical volume: {said(done)}")

    async def _groups(self, context: CallContext | None) -> list[StorageRow]:
        return [
            _row("lvm-vg", row["vg_name"], row["vg_size"], row["vg_free"])
            for row in await self._report("vg", "vgs", "vg_name,vg_size,vg_free", context)
        ]

    async def _physical_volumes(self, context: CallContext | None) -> list[StorageRow]:
        return [_physical(row) for row in await self._report("pv", "pvs", _PV, context)]

    async def _pools(self, context: CallContext | None) -> list[StorageRow]:
        rows = await self._report("lv", "lvs", _POOL, context)
        return [
            _row("lvm-thin", f"{row['vg_name']}/{row['lv_name']}", row["lv_size"], _free_of_pool(row))
            for row in rows
            if str(row["lv_attr"]).startswith("t")
        ]

    async def _report(self, kind: str, program: str, fields: str, context: CallContext | None) -> list[dict[str, Any]]:
        return await self._lvm.report(kind, [program, *_JSON, "-o", fields], context)


def _physical(row: dict[str, Any]) -> StorageRow:
    return StorageRow(
        kind="lvm-pv",
        name=str(row["pv_name"]),
        size=int(row["pv_size"]) // MIB,
        used=int(row["pv_used"]) // MIB,
        free=int(row["pv_free"]) // MIB,
        allocatable=str(row["pv_attr"]).startswith("a"),
    )


def _row(kind: str, name: Any, size: Any, free: Any) -> StorageRow:
    total, rest = int(size) // MIB, int(free) // MIB
    return StorageRow(kind=kind, name=str(name), size=total, used=total - rest, free=rest)


def _free_of_pool(row: dict[str, Any]) -> int:
    """Give the free bytes of a thin pool; one that is not active says nothing of itself, and counts as empty."""
    used = float(row["data_percent"] or 0.0)
    return int(int(row["lv_size"]) * (100.0 - used) / 100.0)
