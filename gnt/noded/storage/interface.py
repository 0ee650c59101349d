"""What every disk template can do on a node."""

# In a zope interface the first argument is the method's own, there is no self.
# ruff: noqa: N805

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import msgspec
from zope.interface import Interface

from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext
from gnt.wire.calls import DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState, MirrorOverview

RAW = "raw"


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """Where the data of an assembled disk is: a path, or a URI that QEMU understands; `format` `raw` or `qcow2`.

    `size` in MiB is what the disk holds; a device may be a little larger.
    """

    place: str
    size: int
    format: str = RAW

    @property
    def plain(self) -> bool:
        """Say whether what is read at the place is the data itself."""
        return self.format == RAW and self.place.startswith("/")


class IDiskTemplate(Interface):
    """Disks of one template on this node.

    All methods may be repeated with the same effect. Work on one disk arrives in order, different disks come side by
    side. What blocks runs in the pool `storage`, programs run through `IProcesses`; `context` is that of the call, to
    end them with it. Each raises `NodeFailure`, with the code `no_space`, `exists`, `not_found`, `foreign` (something
    else is where the disk should be), `not_allowed` (a path outside the allowed directories), `wrong_input`, `busy`
    (something uses it), `missing_program` (the text names the package), `not_begun` (nothing was done: the back end
    does not answer), `unsupported` or `storage_error`.
    """

    def create(disk: DiskSpec, context: CallContext | None = None) -> Awaitable[None]:
        """Make the disk unless it is there with this size already.

        A failure leaves nothing behind. Whatever else is found in its place is left alone: code `exists`.
        """

    def remove(disk: DiskSpec, context: CallContext | None = None) -> Awaitable[None]:
        """Remove the disk; one that is not there is removed already. What is not this disk is never touched."""

    def assemble(disk: DiskSpec, primary: bool, context: CallContext | None = None) -> Awaitable[DiskDevice]:
        """Make the disk usable on this node, for writing if `primary`; gives its device without a link."""

    def release(disk: DiskSpec, context: CallContext | None = None) -> Awaitable[None]:
        """Undo `assemble`; the data stays."""

    def find(disk: DiskSpec, context: CallContext | None = None) -> Awaitable[DiskFacts | None]:
        """Find the disk without changing anything."""

    def find_many(disks: Sequence[DiskSpec], context: CallContext | None = None) -> Awaitable[list[DiskState]]:
        """Find many disks with one look for all, in the order given; one that fails hides no other."""

    def promote(disk: DiskSpec, shared: bool, context: CallContext | None = None) -> Awaitable[None]:
        """Open an assembled disk for writing here; `shared`: while another node may have it open too."""

    def demote(disk: DiskSpec, context: CallContext | None = None) -> Awaitable[None]:
        """Close an assembled disk for writing; it stays assembled."""

    def grow(disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> Awaitable[None]:
        """Make the disk at least `size` MiB large; never smaller. `backing`: below a mirror, as `DiskGrow` says."""

    def check_grow(disk: DiskSpec, size: int, context: CallContext | None = None) -> Awaitable[None]:
        """Raise what would keep the disk from growing to `size` MiB; changes nothing."""

    def rename(disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> Awaitable[None]:
        """Give the disk the name in `target.logical_id` and the mark of `target.uuid`; the data stays.

        An empty `disk.uuid` says that the disk is nobody's yet: what is found under its name is taken in.
        """

    def snapshot(disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> Awaitable[None]:
        """Make `target` a copy of the disk as it is now; `target.size` is the room for it where that is fixed."""

    def label(disk: DiskSpec, text: str, context: CallContext | None = None) -> Awaitable[None]:
        """Write for people, on the device itself, whose it is; nothing where devices bear no text."""

    def contents(disk: DiskSpec, context: CallContext | None = None) -> Awaitable[Contents]:
        """Say where the data of an assembled disk can be read and written; `not_found` if it is not assembled."""


class IMirror(Interface):
    """What mirrors can do besides. The same rules hold as for `IDiskTemplate`; each call is in `gnt.wire.disk_calls`.

    Of assembled mirrors; `not_found` where one is not. Two codes more: `diverged` (its sides refuse each other, most
    often a split brain: an administrator decides) and `stale` (no side within reach has data that is up to date).
    """

    def connect(disk: DiskSpec, dual: bool, context: CallContext | None = None) -> Awaitable[None]:
        """Connect to the peer: `MirrorConnect`."""

    def disconnect(disk: DiskSpec, context: CallContext | None = None) -> Awaitable[None]:
        """Stand alone: `MirrorDisconnect`."""

    def detach(disk: DiskSpec, context: CallContext | None = None) -> Awaitable[None]:
        """Go on without local volumes: `MirrorDetach`."""

    def attach(disk: DiskSpec, context: CallContext | None = None) -> Awaitable[None]:
        """Take local volumes with fresh metadata: `MirrorAttach`."""

    def pause(disk: DiskSpec, pause: bool, context: CallContext | None = None) -> Awaitable[None]:
        """Pause the resync, or let it go on: `MirrorPause`."""

    def overview(context: CallContext | None = None) -> Awaitable[MirrorOverview]:
        """Give all minors in use: `MirrorList`."""
