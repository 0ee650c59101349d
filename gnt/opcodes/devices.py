"""Lists of disks and network interfaces, and of changes to them: what the type alone cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from gnt.opcodes.base import Opcode
from gnt.opcodes.faults import in_words
from gnt.opcodes.parameter_types import DiskParams, ListEdit, ListEditFull, Name, NicParams, NonNegative


class KnownDisk(msgspec.Struct, frozen=True, kw_only=True):
    """The values of a disk that have a type of their own; all others belong to external storage."""

    size: int | str | None = None
    mode: Literal["rw", "ro"] | None = None
    vg: str | None = None
    metavg: str | None = None
    adopt: str | None = None
    name: str | None = None
    provider: str | None = None
    spindles: NonNegative | None = None
    access: Literal["kernelspace", "userspace"] | None = None
    dev_type: Name | None = None


class Change(NamedTuple):
    """One change to a list of devices.

    `action` is `add`, `attach`, `detach`, `modify` or `remove`; `target` an index (-1: at the end), a name or a UUID.
    """

    action: ListEditFull
    target: int | str
    params: dict[str, Any]


_DISK_CHANGES: Final = tuple[tuple[ListEditFull, int | str, DiskParams], ...]
_NIC_CHANGES: Final = tuple[tuple[ListEditFull, int | str, NicParams], ...]
_OLDER_DISK_CHANGES: Final = tuple[tuple[ListEdit | NonNegative, DiskParams], ...]
_OLDER_NIC_CHANGES: Final = tuple[tuple[ListEdit | NonNegative, NicParams], ...]


def check_disks(opcode: Opcode, path: str, disks: Sequence[DiskParams]) -> None:
    """Refuse a disk whose known values have a wrong type. `path` is that of the list."""
    for index, disk in enumerate(disks):
        _convert(opcode, f"{path}[{index}]", disk, KnownDisk)


def check_recreated(opcode: Opcode, path: str, disks: Sequence[Any]) -> None:
    """Refuse negative indexes, and a list that mixes indexes with `[index, parameters]` pairs."""
    pairs = [isinstance(disk, tuple | list) for disk in disks]
    if any(pairs) and not all(pairs):
        raise opcode.fault(f"{path}[{pairs.index(not pairs[0])}]", "indexes and [index, parameters] pairs are mixed")
    for index, disk in enumerate(disks):
        if pairs[index]:
            _convert(opcode, f"{path}[{index}][1]", disk[1], KnownDisk)
        else:
            _convert(opcode, f"{path}[{index}]", disk, NonNegative)


def check_changes(opcode: Opcode, path: str, changes: Sequence[Sequence[Any]], *, disks: bool) -> None:
    """Refuse changes that are neither all `[action, target, parameters]` nor all of the older pairs."""
    older = bool(changes) and len(changes[0]) == 2
    if disks:
        _convert(opcode, path, changes, _OLDER_DISK_CHANGES if older else _DISK_CHANGES)
    else:
        _convert(opcode, path, changes, _OLDER_NIC_CHANGES if older else _NIC_CHANGES)
    if disks:
        for index, change in enumerate(changes):
            _convert(opcode, f"{path}[{index}][{len(change) - 1}]", change[-1], KnownDisk)


def as_changes(changes: Sequence[Sequence[Any]]) -> tuple[Change, ...]:
    """Give checked changes in one form: an older pair adds or removes at the end, or modifies the index it names."""
    return tuple(_as_change(change) for change in changes)


def _as_change(change: Sequence[Any]) -> Change:
    if len(change) == 3:
        return Change(change[0], change[1], dict(change[2]))
    action, params = change
    if isinstance(action, int):
        return Change("modify", action, dict(params))
    return Change(action, -1, dict(params))


def _convert(opcode: Opcode, path: str, value: Any, wanted: Any) -> None:
    """Let msgspec check a value, and refuse with the path from the opcode on."""
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        within, text = in_words(str(error))
        raise opcode.fault(path + within.removeprefix("$"), text) from None
