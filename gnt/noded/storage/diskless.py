"""Instances without disks: there is nothing to make, and nothing to find."""

from __future__ import annotations

from typing import NoReturn

from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.storage.interface import IDiskTemplate
from gnt.wire.calls import DiskDevice, DiskFacts


@implementer(IDiskTemplate)
class Diskless:
    """The template `diskless`: no call should ever name a disk of it, and one that does is refused."""

    def create(self, disk: DiskSpec) -> None:
        """Refuse: `IDiskTemplate.create`."""
        _refuse(disk)

    def remove(self, disk: DiskSpec) -> None:
        """Do nothing, since no such disk is there: `IDiskTemplate.remove`."""

    def assemble(self, disk: DiskSpec, primary: bool) -> DiskDevice:  # noqa: ARG002
        """Refuse: `IDiskTemplate.assemble`."""
        _refuse(disk)

    def release(self, disk: DiskSpec) -> None:
        """Do nothing: `IDiskTemplate.release`."""

    def find(self, disk: DiskSpec) -> DiskFacts | None:  # noqa: ARG002
        """Find none: `IDiskTemplate.find`."""
        return None


def _refuse(disk: DiskSpec) -> NoReturn:
    raise NodeFailure("wrong_input", f"Disk {disk.uuid}: instances of the template diskless have no disks")
