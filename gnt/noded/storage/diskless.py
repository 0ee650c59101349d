"""Instances without disks: there is nothing to make, and nothing to find."""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext
from gnt.noded.storage.interface import Contents, IDiskTemplate
from gnt.wire.calls import DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState


@implementer(IDiskTemplate)
class Diskless:
    """The template `diskless`: no call should ever name a disk of it, and one that does is refused."""

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.create`."""
        _refuse(disk)

    async def remove(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Do nothing, since no such disk is there: `IDiskTemplate.remove`."""

    async def assemble(self, disk: DiskSpec, primary: bool, context: CallContext | None = None) -> DiskDevice:
        """Refuse: `IDiskTemplate.assemble`."""
        _refuse(disk)

    async def release(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Do nothing: `IDiskTemplate.release`."""

    async def find(self, disk: DiskSpec, context: CallContext | None = None) -> DiskFacts | None:
        """Find none: `IDiskTemplate.find`."""
        return None

    async def find_many(self, disks: Sequence[DiskSpec], context: CallContext | None = None) -> list[DiskState]:
        """Find none: `IDiskTemplate.find_many`."""
        return [DiskState() for _ in disks]

    async def promote(self, disk: DiskSpec, shared: bool, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.promote`."""
        _refuse(disk)

    async def demote(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Do nothing: `IDiskTemplate.demote`."""

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.grow`."""
        _refuse(disk)

    async def check_grow(self, disk: DiskSpec, size: int, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.check_grow`."""
        _refuse(disk)

    async def rename(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.rename`."""
        _refuse(disk)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.snapshot`."""
        _refuse(disk)

    async def label(self, disk: DiskSpec, text: str, context: CallContext | None = None) -> None:
        """Refuse: `IDiskTemplate.label`."""
        _refuse(disk)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Refuse: `IDiskTemplate.contents`."""
        _refuse(disk)


def _refuse(disk: DiskSpec) -> NoReturn:
    raise NodeFailure("wrong_input", f"{disk.shown}: instances of the template diskless have no disks")
