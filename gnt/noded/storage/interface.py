"""What every disk template can do on a node."""

# In a zope interface the first argument is the method's own, there is no self.
# ruff: noqa: N805

from __future__ import annotations

from zope.interface import Interface

from gnt.model.specs import DiskSpec
from gnt.wire.calls import DiskDevice, DiskFacts


class IDiskTemplate(Interface):
    """Disks of one template on this node.

    All methods block, run in the pool `storage`, and may be repeated with the same effect. Work on the disks of one
    instance arrives in order. Each raises `NodeFailure`, with the code `no_space`, `exists`, `not_found`, `foreign`
    (something else is where the disk should be), `not_allowed` (a path outside the allowed directories),
    `wrong_input`, `unsupported` or `storage_error`.
    """

    def create(disk: DiskSpec) -> None:
        """Make the disk unless it is there with this size already.

        A failure leaves nothing behind. Whatever else is found in its place is left alone: code `exists`.
        """

    def remove(disk: DiskSpec) -> None:
        """Remove the disk; one that is not there is removed already. What is not this disk is never touched."""

    def assemble(disk: DiskSpec, primary: bool) -> DiskDevice:
        """Make the disk usable on this node, for writing if `primary`; gives its device without a link."""

    def release(disk: DiskSpec) -> None:
        """Undo `assemble`; the data stays."""

    def find(disk: DiskSpec) -> DiskFacts | None:
        """Find the disk without changing anything."""
