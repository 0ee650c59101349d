"""Node calls about disks beyond make, assemble, release and remove: `spec/storage.md`, `spec/node-rpc.md`, section 2.

Each names the end that is wanted, not the way there (a size to reach, a name to bear, connected or not), so that each
may come again, and late, with the same effect. Calls about one disk are done in the order of their arrival; different
disks of an instance side by side.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gnt.model.specs import DiskSpec
from gnt.wire.calls import FAST, SLOW, URGENT, DiskFacts, NodeCall, OfOneDisk, disk_lanes


class _OfTwoNames(OfOneDisk):
    """What is done to a disk, and to what is to be there besides or instead."""

    __slots__ = ()

    target: DiskSpec

    @property
    def lanes(self) -> tuple[str, ...]:
        """In order with what is done to either name."""
        return disk_lanes(self.disk, self.target)


# --- any template


class DiskGrow(OfOneDisk, NodeCall[None], tag="disk_grow", frozen=True, kw_only=True):
    """Make the disk at least `size` MiB large; one that is as large already is left alone, none is ever shrunk.

    `backing`: for a mirror, what lies below it on this node; without it, the mirror itself (on the primary node, when
    both sides have grown). Templates without anything below do their work with `backing`. `NodeFailure`: `no_space`,
    `not_found`, `unsupported`.
    """

    disk: DiskSpec
    size: int
    backing: bool


class DiskGrowCheck(OfOneDisk, NodeCall[None], tag="disk_grow_check", frozen=True, kw_only=True):
    """Check, without changing anything, that what lies below the disk could grow to `size` MiB here."""

    CHANGES = False

    disk: DiskSpec
    size: int


class DiskRename(_OfTwoNames, NodeCall[None], tag="disk_rename", frozen=True, kw_only=True):
    """Give the disk the name in `target.logical_id`, and the mark of `target.uuid`.

    An empty UUID is that of what is not ours: as `disk` for an adoption, as `target` for one that is undone.
    One that has it already is left alone. `NodeFailure`: `exists` if both names are taken, `not_found` if neither is,
    `unsupported`.
    """

    disk: DiskSpec
    target: DiskSpec


class DiskSnapshot(_OfTwoNames, NodeCall[None], tag="disk_snapshot", frozen=True, kw_only=True):
    """Make `target` a copy of the disk as it is now (for a mirror: of its data here); it is removed like any disk.

    If it is there already, it is left as it is.
    """

    disk: DiskSpec
    target: DiskSpec


class DiskLabel(OfOneDisk, NodeCall[None], tag="disk_label", frozen=True, kw_only=True):
    """Write for people, on the device itself, whose it is: `originstname+NAME` (SetInfo of spec/storage.md)."""

    DEADLINE = FAST

    disk: DiskSpec
    text: str


class DiskWipe(OfOneDisk, NodeCall[None], tag="disk_wipe", frozen=True, kw_only=True):
    """Overwrite `size` MiB of an assembled disk from `offset` MiB with zeros."""

    DEADLINE = SLOW

    disk: DiskSpec
    offset: int
    size: int


class DiskCopy(OfOneDisk, NodeCall[None], tag="disk_copy", frozen=True, kw_only=True):
    """Copy the data of `source` onto `disk`, both assembled on this node; progress is told in per cent."""

    DEADLINE = SLOW

    source: DiskSpec
    disk: DiskSpec

    @property
    def lanes(self) -> tuple[str, ...]:
        """What is read is not taken away meanwhile."""
        return disk_lanes(self.disk, self.source)


class DiskOffer(OfOneDisk, NodeCall[dict[str, Any]], tag="disk_offer", frozen=True, kw_only=True):
    """Offer the data of an assembled disk for `DiskPull`, once, to the node with the UUID `reader`; gives the ticket.

    The node listens at `address`, one of its own, until the reader has come or some minutes have passed. A release of
    the disk takes the offer back.
    """

    DEADLINE = FAST

    disk: DiskSpec
    reader: str
    address: str


class DiskPull(OfOneDisk, NodeCall[None], tag="disk_pull", frozen=True, kw_only=True):
    """Copy onto `disk` (assembled here) the data of `source`, as the `ticket` of its `DiskOffer` says."""

    DEADLINE = SLOW

    source: DiskSpec
    disk: DiskSpec
    ticket: dict[str, Any]


class DiskPromote(OfOneDisk, NodeCall[None], tag="disk_promote", frozen=True, kw_only=True):
    """Open an assembled disk for writing on this node, without taking it from another (migration: `shared`)."""

    disk: DiskSpec
    shared: bool = False


class DiskDemote(OfOneDisk, NodeCall[None], tag="disk_demote", frozen=True, kw_only=True):
    """Close an assembled disk for writing; it stays assembled."""

    disk: DiskSpec


class DiskState(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of `DiskStates`: the facts, None if the disk is not there, or the text of what went wrong."""

    facts: DiskFacts | None = None
    problem: str = ""


class DiskStates(NodeCall[list[DiskState]], tag="disk_states", frozen=True, kw_only=True):
    """Find many disks at once (one scan of the volumes for all), in the order given; changes nothing."""

    CHANGES = False
    DEADLINE = FAST

    disks: list[DiskSpec]


# --- mirrors, as drbd makes them


class MirrorConnect(OfOneDisk, NodeCall[None], tag="mirror_connect", frozen=True, kw_only=True):
    """Connect the mirror to its peer; `dual`: both sides may write (only while a guest migrates).

    One that is connected in the other way is disconnected first. Does not wait for the peer.
    """

    disk: DiskSpec
    dual: bool = False


class MirrorDisconnect(OfOneDisk, NodeCall[None], tag="mirror_disconnect", frozen=True, kw_only=True):
    """Disconnect the mirror from its peer; answered when it stands alone."""

    disk: DiskSpec


class MirrorDetach(OfOneDisk, NodeCall[None], tag="mirror_detach", frozen=True, kw_only=True):
    """Take the local volumes away from a mirror, which goes on over the network; the volumes stay."""

    disk: DiskSpec


class MirrorAttach(OfOneDisk, NodeCall[None], tag="mirror_attach", frozen=True, kw_only=True):
    """Give a mirror that has no local volumes those in `disk.children`, with fresh metadata: a full resync follows.

    One that has them already is left alone.
    """

    disk: DiskSpec


class MirrorPause(OfOneDisk, NodeCall[None], tag="mirror_pause", frozen=True, kw_only=True):
    """Pause the resync of an assembled mirror, or let it go on."""

    DEADLINE = FAST

    disk: DiskSpec
    pause: bool


class MirrorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel says of one minor, in its own words: connection state, roles, disk states (ours, the peer's)."""

    minor: int
    connection: str
    role: str
    peer_role: str
    disk: str
    peer_disk: str


class MirrorOverview(msgspec.Struct, frozen=True, kw_only=True):
    """All minors in use on a node. `version` as the module says it, empty where it is not loaded; `helper` likewise."""

    version: str = ""
    helper: str = ""
    minors: list[MirrorFacts] = []


class MirrorList(NodeCall[MirrorOverview], tag="mirror_list", frozen=True, kw_only=True):
    """List the minors in use."""

    CHANGES = False
    DEADLINE = URGENT


# --- what a node has: volumes, storage units, providers


class VolumeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A logical volume. `size` MiB; `opened`: something uses it; `devices`: `/dev/sda(0)`-like, as LVM says them."""

    group: str
    name: str
    size: int
    active: bool
    opened: bool
    virtual: bool = False
    tags: list[str] = []
    devices: list[str] = []


class VolumeList(NodeCall[list[VolumeFacts]], tag="volume_list", frozen=True, kw_only=True):
    """List the logical volumes of these groups, or of all; `NodeFailure` `storage_error` if LVM fails."""

    CHANGES = False
    DEADLINE = FAST

    groups: tuple[str, ...] = ()


class DeviceSizes(NodeCall[dict[str, int]], tag="device_sizes", frozen=True, kw_only=True):
    """Give the sizes (bytes) of those paths below /dev that are block devices here."""

    CHANGES = False
    DEADLINE = FAST

    paths: list[str]


class StorageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A storage unit of a node: sizes in MiB; `kind` `lvm-pv`, `lvm-vg`, `lvm-thin`, `file` or `sharedfile`."""

    kind: str
    name: str
    size: int
    used: int
    free: int
    allocatable: bool = True


class StorageList(NodeCall[list[StorageRow]], tag="storage_list", frozen=True, kw_only=True):
    """List the storage units of a kind; `directory` for the file kinds, `name` for one unit only."""

    CHANGES = False

    kind: str
    directory: str = ""
    name: str = ""


class StorageModify(NodeCall[None], tag="storage_modify", frozen=True, kw_only=True):
    """Let a physical volume be used for new volumes, or not."""

    name: str
    allocatable: bool

    @property
    def lane(self) -> str:
        """Changes of storage units one after the other."""
        return "storage"


class StorageRepair(NodeCall[None], tag="storage_repair", frozen=True, kw_only=True):
    """Make a volume group that lost a physical volume consistent again (`fix-consistency`)."""

    name: str

    @property
    def lane(self) -> str:
        """Changes of storage units one after the other."""
        return "storage"


class ProviderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An external storage provider found on a node: spec/storage.md, section 9."""

    name: str
    path: str
    valid: bool
    diagnose: str = ""
    parameters: list[tuple[str, str]] = []


class ProviderList(NodeCall[list[ProviderFacts]], tag="provider_list", frozen=True, kw_only=True):
    """List the external storage providers of this node, broken ones too."""

    CHANGES = False
    DEADLINE = FAST
