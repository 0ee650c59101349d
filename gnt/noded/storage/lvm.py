"""What LVM says of volumes, groups and physical volumes: asked for in JSON, never in columns for people.

The commands are those of spec/storage.md, section 3. `--reportformat json` (LVM 2.02.158, of 2016) leaves no doubt
about separators in names and tags.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from gnt.model.errors import NodeFailure
from gnt.noded.handler import CallContext
from gnt.noded.processes import Finished
from gnt.noded.storage.programs import LARGE, Programs, said

MIB: Final = 1 << 20
UUID_TAG: Final = "gnt.disk."
_NAME: Final = re.compile(r"[a-zA-Z0-9+_.-]+")
A_GROUP: Final = "a volume group"
_BAD_NAMES: Final = frozenset({".", ".."})
# What LVM keeps for volumes that it makes for itself: lvm(8).
_RESERVED: Final = re.compile(
    r"^(snapshot|pvmove)"
    r"|_(cdata|cmeta|corig|iorig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig)"
)
_JSON: Final = ("--reportformat", "json", "--units", "b", "--nosuffix")
_NO_SPACE: Final = (
    "insufficient free space",
    "insufficient suitable",
    "not enough free",
    "too big",
    "too large",
    "exceeds limit",
)
# The last two are device-mapper's: somebody had the device open just then, udev as a rule.
_BUSY: Final = ("in use", "is used by", "open count", "device or resource busy", "unable to deactivate open")
_LV: Final = (
    *("vg_name", "lv_name", "lv_size", "lv_attr", "lv_tags", "lv_active", "vg_extent_size"),
    *("origin", "origin_size", "pool_lv"),
)


def check_name(what: str, name: str) -> str:
    """Refuse a name that LVM would refuse or misunderstand; gives it back."""
    if not _NAME.fullmatch(name) or name.startswith("-") or name in _BAD_NAMES:
        raise NodeFailure("wrong_input", f"{name!r} is no name for {what}")
    if what != A_GROUP and (kept := _RESERVED.search(name)):
        raise NodeFailure("wrong_input", f"{name!r} is no name for {what}: LVM keeps {kept[0]!r} for itself")
    return name


def tag_text(text: str) -> str:
    """Give a text as LVM takes it for a tag: spec/storage.md, section 2."""
    return (re.sub(r"[^A-Za-z0-9_+.]", "_", text[:1]) + re.sub(r"[^-A-Za-z0-9_+.]", "_", text[1:]))[:128]


@dataclass(frozen=True)
class Volume:
    """A logical volume. Sizes in bytes; `pool` names the thin pool that it is in, `origin` what it is a snapshot of."""

    group: str
    name: str
    size: int
    attributes: str
    tags: tuple[str, ...]
    active: str
    extent: int
    origin: str = ""
    pool: str = ""
    stripes: int = 1
    devices: tuple[str, ...] = ()

    @property
    def is_active(self) -> bool:
        """Say whether it is known to be active; without device-mapper nobody knows."""
        return self.active == "active"

    @property
    def opened(self) -> bool:
        """Say whether something uses it."""
        return self.attributes[5:6] == "o"

    @property
    def virtual(self) -> bool:
        """Say whether what it was made of is gone."""
        return self.attributes[:1] == "v"

    @property
    def broken(self) -> bool:
        """Say whether its data is not whole: a physical volume is missing, or a snapshot has overflown."""
        return self.virtual or self.attributes[8:9] in {"p", "F", "D"} or self.attributes[4:5] in {"I", "S"}

    @property
    def owner(self) -> str | None:
        """Give the UUID of the disk that it is; None for a volume that is none of ours."""
        found = [tag.removeprefix(UUID_TAG) for tag in self.tags if tag.startswith(UUID_TAG)]
        return found[0] if found else None


class Lvm:
    """Asks LVM, and tells what its failures mean."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def path(self, group: str, name: str) -> str:
        """Give the device of a volume."""
        return str(self._programs.devices / group / name)

    async def volumes(
        self, *names: str, segments: bool = False, context: CallContext | None = None
    ) -> dict[tuple[str, str], Volume]:
        """List volumes by (group, name): those of the groups or volumes named, or all.

        What does not exist is left out. `segments`: with stripes and devices.
        """
        fields = (*_LV, "stripes", "devices") if segments else _LV
        rows = await self.report("lv", ["lvs", *_JSON, "-o", ",".join(fields), *names], context)
        found: dict[tuple[str, str], Volume] = {}
        for row in rows:
            volume = _volume(row)
            key = (volume.group, volume.name)
            before = found.get(key)
            # With fields of segments there is a row for each segment.
            if before is not None:
                volume = _merged(before, volume)
            found[key] = volume
        return found

    async def volume(
        self, group: str, name: str, *, segments: bool = False, context: CallContext | None = None
    ) -> Volume | None:
        """Give one volume, or None."""
        found = await self.volumes(f"{group}/{name}", segments=segments, context=context)
        return found.get((group, name))

    async def free_of(self, group: str, context: CallContext | None = None) -> list[tuple[str, int]]:
        """Give the allocatable physical volumes of a group with their free bytes, most room first.

        Raises `not_found` for a group that does not exist here.
        """
        rows = await self.report("pv", ["pvs", *_JSON, "-o", "pv_name,vg_name,pv_free,pv_attr"], context)
        mine = [row for row in rows if row["vg_name"] == group]
        if not mine:
            raise no_group(group)
        usable = [(str(row["pv_name"]), int(row["pv_free"])) for row in mine if str(row["pv_attr"]).startswith("a")]
        for name, _ in usable:
            if ":" in name:
                raise NodeFailure("storage_error", f"Physical volume {name}: LVM would misread the ':' in its name")
        return sorted(usable, key=lambda one: (-one[1], one[0]))

    async def change(self, argv: Sequence[str], context: CallContext | None = None) -> None:
        """Run a command that has to succeed; `no_space`, `not_found`, `busy` or `storage_error` where it does not."""
        done = await self._programs.try_run(argv, context)
        if not done.ok:
            raise failure_of(argv[0], done)

    async def attempt(self, argv: Sequence[str], context: CallContext | None = None) -> NodeFailure | None:
        """Run a command that may fail; gives what its failure means."""
        done = await self._programs.try_run(argv, context)
        return None if done.ok else failure_of(argv[0], done)

    async def report(self, kind: str, argv: Sequence[str], context: CallContext | None) -> list[dict[str, Any]]:
        """Run a reporting command and read its rows. Names that do not exist make it fail, and are no failure here."""
        done = await self._programs.try_run(argv, context, keep=LARGE)
        if not done.ok and not _only_missing(done):
            raise failure_of(argv[0], done)
        return rows_of(kind, argv[0], done.output)


def rows_of(kind: str, program: str, output: str) -> list[dict[str, Any]]:
    """Read the rows of a report; raises `storage_error` for what is no report."""
    try:
        parts = msgspec.json.decode(output)["report"]
        return [row for part in parts for row in part.get(kind, ())]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise NodeFailure("storage_error", f"{program} gave an answer that is no report") from None


def no_group(group: str) -> NodeFailure:
    """Say that a volume group does not exist."""
    hint = "gnt-node list-storage -t lvm-vg shows those that do"
    return NodeFailure("not_found", f"Volume group '{group}' does not exist on this node", hint=hint)


def failure_of(program: str, done: Finished) -> NodeFailure:
    """Say what the failure of an LVM command means."""
    text = f"{program} {done.how}: {said(done)}"
    words = done.errors.lower()
    missing = re.search(r'volume group "?([^" ]+)"? not found', done.errors, re.IGNORECASE)
    if missing:
        return no_group(missing.group(1))
    if any(sign in words for sign in _NO_SPACE):
        return NodeFailure("no_space", text)
    if any(sign in words for sign in _BUSY):
        hint = "on that node fuser -v, lsblk or dmsetup info say who has the volume open"
        return NodeFailure("busy", text, hint=hint, retry=True)
    if "failed to find logical volume" in words:
        return NodeFailure("not_found", text)
    return NodeFailure("storage_error", text)


def _only_missing(done: Finished) -> bool:
    """Say whether all that a report complains about is names that do not exist."""
    lines = [line.strip() for line in done.errors.splitlines()]
    spoken = [line for line in lines if line and not line.startswith(("WARNING:", "Cannot process volume group"))]
    signs = ("Failed to find logical volume", "Volume group", "Skipping volume group")
    return done.status == 5 and all(
        (line.startswith(signs) and "find" in line) or "not found" in line for line in spoken
    )


def _volume(row: dict[str, Any]) -> Volume:
    """Read a row of `lvs`. A snapshot's device is as large as what it is a snapshot of."""
    attributes = str(row["lv_attr"])
    size = row["origin_size"] if attributes[:1] in {"s", "S"} and row["origin_size"] else row["lv_size"]
    return Volume(
        group=str(row["vg_name"]),
        name=str(row["lv_name"]).strip("[]"),
        size=int(size),
        attributes=attributes,
        tags=tuple(tag for tag in str(row["lv_tags"]).split(",") if tag),
        active=str(row["lv_active"]),
        extent=int(row["vg_extent_size"]),
        origin=str(row["origin"]).strip("[]"),
        pool=str(row["pool_lv"]).strip("[]"),
        stripes=int(row.get("stripes") or 1),
        devices=tuple(device for device in str(row.get("devices", "")).split(",") if device),
    )


def _merged(one: Volume, more: Volume) -> Volume:
    """Put two segments of a volume together."""
    return replace(one, stripes=max(one.stripes, more.stripes), devices=one.devices + more.devices)
