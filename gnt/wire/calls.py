"""The calls that the master makes to a node, as values: the contract between `gnt.masterd` and `gnt.noded`.

Here: what a call is, and those about the node itself, its disks and its guest operating systems. `log_calls`,
`guest_calls`, `disk_calls` (what more is done to disks), `certificate_calls` and `offer_calls` have the others.

A call is a struct; its class says what comes back (`NodeCall[Result]`), whether it changes the node, and how long it
may take. A step of a plan holds such a value, the engine sends it, the node's call table records it, tests compare it.
Arguments and results are plain JSON; what each call means is `spec/node-rpc.md`. Sizes in MiB, times in seconds.

Calls that change something carry the master's epoch and are entered in the node's call table: they may arrive never,
once or twice, and late, and each of them may be repeated with the same effect.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, get_args

import msgspec

from gnt.model.epoch import Position
from gnt.model.specs import DiskSpec, InstanceSpec

R = TypeVar("R")

# Deadlines by class of call: spec/node-rpc.md, section 1.4.
URGENT = 60.0
FAST = 300.0
NORMAL = 900.0
SLOW = 3600.0
DAY = 86400.0


class NodeCall(msgspec.Struct, Generic[R], frozen=True, kw_only=True, tag_field="call"):
    """A call to a node daemon whose answer is an `R`."""

    CHANGES: ClassVar[bool] = True
    DEADLINE: ClassVar[float] = NORMAL

    @property
    def lane(self) -> str:
        """Name what this call works on; changing calls with the same lane run in the order of their arrival."""
        return ""

    @property
    def lanes(self) -> tuple[str, ...]:
        """Name all that this call works on, where that is more than one thing."""
        return (self.lane,)

    @property
    def part_of(self) -> str:
        """Name the whole that this call works on a part of.

        In a whole's lane, calls about parts of it run side by side, but none beside a call about the whole.
        """
        return ""

    @property
    def deadline(self) -> float:
        """Give the seconds after which the outcome is in doubt."""
        return self.DEADLINE

    @classmethod
    def tag(cls) -> str:
        """Give the call's name on the wire."""
        return str(cls.__struct_config__.tag)

    @classmethod
    def result_type(cls) -> Any:
        """Give the type of the answer's value."""
        for base in cls.__orig_bases__:  # type: ignore[attr-defined]
            arguments = get_args(base)
            if arguments:
                return arguments[0]
        return None


# --- the node itself


class NodeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a node runs. `protocol` as in spec/node-rpc.md (3.1 is 3010000), `release` ours."""

    protocol: int
    release: str
    name: str
    uuid: str


class Version(NodeCall[NodeVersion], tag="version", frozen=True, kw_only=True):
    """Ask for the versions; answers without an epoch, also on a node that is flagged offline."""

    CHANGES = False
    DEADLINE = URGENT


class Rights(NodeCall[bool], tag="rights", frozen=True, kw_only=True):
    """Ask whether this node takes changes from the caller; the door itself answers, also on one that is offline."""

    CHANGES = False
    DEADLINE = URGENT


class StorageUnit(msgspec.Struct, frozen=True, kw_only=True):
    """A storage to report on: kind `file`, `lvm-vg` or `lvm-pv`, and its path or name."""

    kind: str
    key: str


class StorageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Free and total MiB of a storage unit; None where the unit does not exist.

    `extent`: the MiB of which disks there are whole multiples; 0 where any size can be had, or it is not known.
    """

    kind: str
    key: str
    free: int | None
    size: int | None
    extent: int = 0


class HypervisorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Memory (MiB) and processors of a node as its hypervisor sees them."""

    memory_total: int
    memory_free: int
    memory_dom0: int
    cpu_total: int
    cpu_nodes: int = 1
    cpu_sockets: int = 1
    cpu_dom0: int = 0
    version: list[int] = []


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself. `hypervisors` has an entry for each that was asked for and answers."""

    boot_id: str
    storage: list[StorageFacts] = []
    hypervisors: dict[str, HypervisorFacts] = {}
    problems: dict[str, str] = {}
    time: float = 0.0


class NodeInfo(NodeCall[NodeFacts], tag="node_info", frozen=True, kw_only=True):
    """Ask for memory, processors and free storage."""

    CHANGES = False
    DEADLINE = URGENT

    storage: list[StorageUnit] = []
    hypervisors: dict[str, dict[str, Any]] = {}


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Another node, as far as a reachability test needs it."""

    name: str
    primary_ip: str
    secondary_ip: str
    port: int = 1811


class VerifyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `NodeVerify`: what was asked for, problems as text by subject.

    `kept_aside` are files beside the store, with changes that were cut off from this node's log.
    """

    version: NodeVersion
    time: float
    unreachable: dict[str, str] = {}
    hypervisors: dict[str, str] = {}
    parameters: list[tuple[str, str, str]] = []
    files: dict[str, str] = {}
    storage_paths: dict[str, str] = {}
    bridges_missing: list[str] = []
    certificate: str = ""
    certificate_ends: float = 0.0
    orphan_calls: list[str] = []
    kept_aside: list[str] = []


class NodeVerify(NodeCall[VerifyFacts], tag="node_verify", frozen=True, kw_only=True):
    """Check this node: reach the peers by both addresses, hypervisors, their parameters, files, storage paths."""

    CHANGES = False

    peers: list[Peer] = []
    hypervisors: list[str] = []
    parameters: list[tuple[str, str, dict[str, Any]]] = []
    files: list[str] = []
    storage_paths: dict[str, str] = {}
    bridges: list[str] = []


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """Which cluster a node belongs to and whose certificates may order changes.

    `candidates` maps the UUID of each master candidate to the SHA-256 digest (lower-case hex of the DER) of its
    certificate, `renewed` to that of the one that takes its place while certificates are being renewed: both count.
    `position` is the place in the log that this was read from; a node ignores an older one.
    """

    cluster_name: str
    cluster_uuid: str
    node_uuid: str
    node_name: str
    position: Position
    candidates: dict[str, str]
    renewed: dict[str, str] = {}


class Configure(NodeCall[None], tag="configure", frozen=True, kw_only=True):
    """Record membership and write the ssconf files; `files` maps a name such as `master_node` to its text."""

    DEADLINE = FAST

    membership: Membership
    files: dict[str, str]
    config_data: str | None = None

    @property
    def lane(self) -> str:
        """All configuration of a node in order."""
        return "configure"


class InstallAuthority(NodeCall[None], tag="install_authority", frozen=True, kw_only=True):
    """Give a node that becomes a master candidate the authority's key (PEM); a secret, never logged or recorded.

    An empty key takes it away from a node that ceases to be one.
    """

    DEADLINE = FAST

    certificate: str
    key: str

    @property
    def lane(self) -> str:
        """In order with the node's configuration."""
        return "configure"

    def __repr__(self) -> str:
        return "InstallAuthority(<redacted>)"


class LeaveCluster(NodeCall[None], tag="leave_cluster", frozen=True, kw_only=True):
    """Forget the cluster: certificates, configuration, ssconf; the daemon ends itself after its answer."""

    @property
    def lane(self) -> str:
        """After all configuration that came before."""
        return "configure"


class StopMaster(NodeCall[bool], tag="stop_master", frozen=True, kw_only=True):
    """End the master daemon and the remote API of this node in order, for a hand-over; False: none ran.

    Who takes over speaks in no epoch yet, so it counts as no change; only candidates may ask for it.
    """

    CHANGES = False
    DEADLINE = URGENT


class ActivateMasterIp(NodeCall[None], tag="activate_master_ip", frozen=True, kw_only=True):
    """Raise the cluster's address on this node; fails with `in_use` while it answers elsewhere."""

    DEADLINE = URGENT

    ip: str
    netmask: int
    netdev: str

    @property
    def lane(self) -> str:
        """In order with taking it down."""
        return "master"


class DeactivateMasterIp(NodeCall[None], tag="deactivate_master_ip", frozen=True, kw_only=True):
    """Take the cluster's address down; where it is not raised nothing is done."""

    DEADLINE = URGENT

    ip: str
    netmask: int
    netdev: str

    @property
    def lane(self) -> str:
        """In order with raising it."""
        return "master"


class Delay(NodeCall[None], tag="delay", frozen=True, kw_only=True):
    """Do nothing for `seconds`, then answer (OP_TEST_DELAY)."""

    seconds: float

    @property
    def deadline(self) -> float:
        """Five seconds over the delay itself: spec/node-rpc.md, section 1.4."""
        return self.seconds + 5.0


# --- disks


class DiskDevice(msgspec.Struct, frozen=True, kw_only=True):
    """An assembled disk: its device or file, the stable link to it, and a userspace URI where that is used."""

    path: str
    link: str | None = None
    uri: str | None = None


class DiskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A disk that is there. `size` in MiB; `uri` for access without a device.

    Of a sync under way (`sync_percent` None: there is none) the seconds that it still takes and its speed in MiB/s, as
    far as somebody knows.
    """

    path: str
    size: int
    uri: str | None = None
    sync_percent: float | None = None
    estimated_time: float | None = None
    sync_speed: float | None = None
    degraded: bool = False
    local_status: str = "ok"


def disk_lanes(*disks: DiskSpec) -> tuple[str, ...]:
    """Name all that a call about these disks works on: themselves and what they are made of."""
    names = (one.uuid for disk in disks for one in (disk, *disk.children))
    return tuple(dict.fromkeys(name for name in names if name))


class OfOneInstance:
    """What is done to one instance, in order."""

    __slots__ = ()

    instance: InstanceSpec

    @property
    def lane(self) -> str:
        """One instance, one thing at a time."""
        return self.instance.uuid


class OfOneDisk:
    """What is done to one disk, in order. The other disks of its instance do not wait for it; the guest does."""

    __slots__ = ()

    disk: DiskSpec

    @property
    def lane(self) -> str:
        """One disk, one thing at a time."""
        return self.disk.uuid

    @property
    def lanes(self) -> tuple[str, ...]:
        """A mirror and its volumes are one thing."""
        return disk_lanes(self.disk)

    @property
    def part_of(self) -> str:
        """A disk is a part of its instance."""
        return self.disk.instance_uuid


class DiskCreate(OfOneDisk, NodeCall[None], tag="disk_create", frozen=True, kw_only=True):
    """Make the disk unless it is there with this size already; NodeFailure `exists` if something else is there."""

    disk: DiskSpec


class DiskRemove(OfOneDisk, NodeCall[None], tag="disk_remove", frozen=True, kw_only=True):
    """Remove the disk; one that is not there is removed already."""

    disk: DiskSpec


class DiskAssemble(OfOneDisk, NodeCall[DiskDevice], tag="disk_assemble", frozen=True, kw_only=True):
    """Make the disk usable on this node; `primary` also opens it for writing and makes the stable link."""

    disk: DiskSpec
    primary: bool


class DiskRelease(OfOneDisk, NodeCall[None], tag="disk_release", frozen=True, kw_only=True):
    """Close the disk and take its link away; the data stays."""

    disk: DiskSpec


class DiskFind(NodeCall[DiskFacts | None], tag="disk_find", frozen=True, kw_only=True):
    """Find a disk without changing anything."""

    CHANGES = False

    disk: DiskSpec


class StorageCheck(NodeCall[None], tag="storage_check", frozen=True, kw_only=True):
    """Check that file disks may live in `directory` on this node (allowed list, forbidden places, writable)."""

    CHANGES = False

    kind: str
    directory: str


class BridgeCheck(NodeCall[list[str]], tag="bridge_check", frozen=True, kw_only=True):
    """Give those of the bridges that this node does not have."""

    CHANGES = False
    DEADLINE = URGENT

    bridges: list[str]


class InterfaceCheck(NodeCall[list[str]], tag="interface_check", frozen=True, kw_only=True):
    """Give those of the network interfaces that this node does not have."""

    CHANGES = False
    DEADLINE = URGENT

    interfaces: list[str]


# --- guest operating systems


class OsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A guest OS definition found on a node: spec/os-interface.md, sections 2 and 3."""

    name: str
    path: str
    valid: bool
    diagnose: str = ""
    variants: list[str] = []
    parameters: list[tuple[str, str]] = []
    api_versions: list[int] = []
    trusted: bool = True


class OsList(NodeCall[list[OsFacts]], tag="os_list", frozen=True, kw_only=True):
    """List all guest OS definitions of this node, shadowed and broken ones too."""

    CHANGES = False
    DEADLINE = FAST


class OsCheck(NodeCall[None], tag="os_check", frozen=True, kw_only=True):
    """Check a definition, its variant and parameters; with `required` False one that is missing is no failure.

    `hidden` names the parameters whose values no failure tells, even if the definition's script says them.
    """

    CHANGES = False
    DEADLINE = FAST

    os: str
    parameters: dict[str, str]
    hidden: list[str] = []
    required: bool = True
    force_variant: bool = False


class OsCreate(OfOneInstance, NodeCall[None], tag="os_create", frozen=True, kw_only=True):
    """Run the definition's create script on assembled disks; failure carries the end of its log."""

    DEADLINE = DAY

    instance: InstanceSpec
    reinstall: bool = False
    debug_level: int = 0


class OsRename(OfOneInstance, NodeCall[None], tag="os_rename", frozen=True, kw_only=True):
    """Run the definition's rename script on assembled disks of an instance that has its new name already."""

    instance: InstanceSpec
    old_name: str
    debug_level: int = 0


def call_types() -> dict[str, type[NodeCall[Any]]]:
    """Give every call by its name on the wire."""
    # These declare more of them, and need this module.
    import gnt.wire.certificate_calls  # noqa: PLC0415
    import gnt.wire.disk_calls  # noqa: PLC0415
    import gnt.wire.guest_calls  # noqa: PLC0415
    import gnt.wire.log_calls  # noqa: PLC0415
    import gnt.wire.offer_calls  # noqa: F401, PLC0415

    return {kind.tag(): kind for kind in NodeCall.__subclasses__()}
