"""Answers that several disk templates give in the same words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.wire.calls import DiskFacts
from gnt.wire.disk_calls import DiskState

GROWABLE = "drbd, ext, file, plain, qcow2, rbd, sharedfile, thin"
SNAPSHOTS = "drbd, ext, file, plain, qcow2, rbd, sharedfile, thin"
RENAMABLE = "blockdev, file, plain, qcow2, sharedfile, thin"


def check_size(disk: DiskSpec) -> None:
    """Refuse a disk of nothing."""
    if disk.size < 1:
        raise NodeFailure("wrong_input", f"{disk.shown} has a size of {disk.size} MiB", hint="at least 1 MiB")


def unsupported(disk: DiskSpec, what: str, others: str) -> NodeFailure:
    """Say that disks of this template cannot be worked on like this, and which can."""
    return NodeFailure(
        "unsupported", f"Disks of the template {disk.dev_type!s} cannot be {what}", hint=f"templates that can: {others}"
    )


def not_there(disk: DiskSpec, where: str) -> NodeFailure:
    """Say that a disk does not exist; `where` says what is missing."""
    return NodeFailure("not_found", f"{disk.shown} is not there: no {where}")


def exists(where: str, disk: DiskSpec) -> NodeFailure:
    """Say that something else is in a disk's place."""
    return NodeFailure("exists", f"{where} exists and is not disk {disk.uuid}", hint="it was left alone")


def exists_otherwise(where: str, has: str, disk: DiskSpec) -> NodeFailure:
    """Say that a disk is there, but with another size."""
    return NodeFailure("exists", f"{where} exists with {has}, not {disk.size} MiB", hint="it was left alone")


async def one_by_one(
    disks: Sequence[DiskSpec], find: Callable[[DiskSpec], Awaitable[DiskFacts | None]]
) -> list[DiskState]:
    """Find many disks where each look is cheap; one that fails hides no other."""
    states = []
    for disk in disks:
        try:
            states.append(DiskState(facts=await find(disk)))
        except NodeFailure as failure:
            states.append(DiskState(problem=failure.text))
    return states
