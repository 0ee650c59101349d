"""What a cluster is made of: the objects of the configuration, with exactly the slots of `spec/config.md`, section 2.

All are frozen values. Times are seconds since the epoch, sizes MiB, references between objects UUIDs. Parameters in
these objects are as stored, partial or complete; `gnt.model.params` fills them in.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from gnt.model.secret import guarded_repr, redacted_logical_id, redacted_values

Params = Mapping[str, Any]


class AdminState(StrEnum):
    """What the administrator wants of an instance."""

    UP = "up"
    DOWN = "down"
    OFFLINE = "offline"


class AdminStateSource(StrEnum):
    """Who wanted the admin state: the administrator, or the guest's user by shutting down from inside."""

    ADMIN = "admin"
    USER = "user"


class DiskTemplate(StrEnum):
    """How disks are stored. `mixed` is only an answer, for instances whose disks differ."""

    DISKLESS = "diskless"
    FILE = "file"
    SHAREDFILE = "sharedfile"
    QCOW2 = "qcow2"
    PLAIN = "plain"
    THIN = "thin"
    DRBD = "drbd"
    BLOCKDEV = "blockdev"
    RBD = "rbd"
    EXT = "ext"
    GLUSTER = "gluster"
    MIXED = "mixed"


class NicMode(StrEnum):
    """How a network interface reaches the outside."""

    BRIDGED = "bridged"
    ROUTED = "routed"
    OPENVSWITCH = "openvswitch"


class AllocPolicy(StrEnum):
    """Whether placement may use a node group by itself."""

    PREFERRED = "preferred"
    LAST_RESORT = "last_resort"
    UNALLOCABLE = "unallocable"


class HypervisorName(StrEnum):
    """The hypervisors that a configuration may name."""

    XEN_PVM = "xen-pvm"
    XEN_HVM = "xen-hvm"
    KVM = "kvm"
    FAKE = "fake"
    CHROOT = "chroot"
    LXC = "lxc"


class Role(StrEnum):
    """The role of a node, as the letter that lists show: master, candidate, regular, drained, offline."""

    MASTER = "M"
    CANDIDATE = "C"
    REGULAR = "R"
    DRAINED = "D"
    OFFLINE = "O"


class InstanceStatus(StrEnum):
    """The status of an instance, as lists show it: `gnt.model.state` decides."""

    RUNNING = "running"
    ADMIN_DOWN = "ADMIN_down"
    ADMIN_OFFLINE = "ADMIN_offline"
    USER_DOWN = "USER_down"
    ERROR_UP = "ERROR_up"
    ERROR_DOWN = "ERROR_down"
    ERROR_WRONGNODE = "ERROR_wrongnode"
    ERROR_NODEDOWN = "ERROR_nodedown"
    ERROR_NODEOFFLINE = "ERROR_nodeoffline"


class Stamped(msgspec.Struct, frozen=True, kw_only=True):
    """The slots of every object that has a history."""

    uuid: str
    ctime: float = 0.0
    mtime: float = 0.0
    serial_no: int = 1


class Tagged(Stamped, frozen=True, kw_only=True):
    """The slots of every object that a person may tag."""

    tags: tuple[str, ...] = ()


class DataCollector(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a monitoring collector runs, and how often (microseconds)."""

    active: bool = True
    interval: int = 5_000_000


DATA_COLLECTORS = ("cpu-avg-load", "diskstats", "drbd", "inst-status-xen", "lv", "xen-cpu-avg-load")


class ClusterSettings(Tagged, frozen=True, kw_only=True):
    """The `cluster` object: what holds for the whole cluster.

    `hvparams` maps hypervisors, `diskparams` templates, `beparams` and `nicparams` the word `default` to parameters;
    `os_hvp` maps guest OS names to what `hvparams` is. `enabled_hypervisors` has the default first.
    """

    cluster_name: str
    master_node: str
    rsahostkeypub: str = ""
    dsahostkeypub: str | None = None
    highest_used_port: int = 10999
    tcpudp_port_pool: tuple[int, ...] = ()
    mac_prefix: str = "aa:00:00"
    volume_group_name: str | None = "xenvg"
    reserved_lvs: tuple[str, ...] = ()
    drbd_usermode_helper: str | None = None
    master_ip: str = ""
    master_netdev: str = "xen-br0"
    master_netmask: int = 32
    use_external_mip_script: bool = False
    file_storage_dir: str = "/srv/ganeti/file-storage"
    shared_file_storage_dir: str = "/srv/ganeti/shared-file-storage"
    gluster_storage_dir: str = "/var/run/ganeti/gluster"
    enabled_hypervisors: tuple[HypervisorName, ...] = (HypervisorName.XEN_PVM,)
    hvparams: Mapping[str, Params] = {}
    os_hvp: Mapping[str, Mapping[str, Params]] = {}
    beparams: Mapping[str, Params] = {}
    osparams: Mapping[str, Params] = {}
    osparams_private_cluster: Mapping[str, Params] = {}
    nicparams: Mapping[str, Params] = {}
    ndparams: Params = {}
    diskparams: Mapping[str, Params] = {}
    ipolicy: Params = {}
    candidate_pool_size: int = 10
    modify_etc_hosts: bool = True
    modify_ssh_setup: bool = True
    maintain_node_health: bool = False
    uid_pool: tuple[tuple[int, int], ...] = ()
    default_iallocator: str = ""
    default_iallocator_params: Params = {}
    hidden_os: tuple[str, ...] = ()
    blacklisted_os: tuple[str, ...] = ()
    primary_ip_family: int = 2
    prealloc_wipe_disks: bool = False
    hv_state_static: Mapping[str, Params] = {}
    disk_state_static: Mapping[str, Params] = {}
    enabled_disk_templates: tuple[DiskTemplate, ...] = (DiskTemplate.DRBD, DiskTemplate.PLAIN)
    candidate_certs: Mapping[str, str] = {}
    # Digests that are about to take the place of those above; empty but while certificates are being renewed.
    renewed_certs: Mapping[str, str] = {}
    max_running_jobs: int = 20
    max_tracked_jobs: int = 25
    install_image: str = ""
    zeroing_image: str = ""
    instance_communication_network: str = ""
    compression_tools: tuple[str, ...] = ("gzip", "gzip-fast", "gzip-slow")
    enabled_user_shutdown: bool = False
    data_collectors: Mapping[str, DataCollector] = msgspec.field(
        default_factory=lambda: {name: DataCollector() for name in DATA_COLLECTORS}
    )
    ssh_key_type: str = "rsa"
    ssh_key_bits: int = 2048

    @property
    def default_hypervisor(self) -> HypervisorName:
        """Give the hypervisor of new instances that name none."""
        return self.enabled_hypervisors[0]

    def __repr__(self) -> str:
        return guarded_repr(self, {"osparams_private_cluster": redacted_values(self.osparams_private_cluster)})


class Node(Tagged, frozen=True, kw_only=True):
    """A physical machine. An empty `secondary_ip` becomes the primary one: the node is single-homed."""

    name: str
    primary_ip: str
    group: str
    secondary_ip: str = ""
    master_candidate: bool = False
    offline: bool = False
    drained: bool = False
    master_capable: bool = True
    vm_capable: bool = True
    ndparams: Params = {}
    powered: bool = True
    hv_state_static: Mapping[str, Params] = {}
    disk_state_static: Mapping[str, Params] = {}

    def __post_init__(self) -> None:
        if not self.secondary_ip:
            msgspec.structs.force_setattr(self, "secondary_ip", self.primary_ip)


class NodeGroup(Tagged, frozen=True, kw_only=True):
    """Nodes that are alike and near each other; its members are the nodes that name it.

    `networks` maps network UUIDs to the `mode`, `link` and `vlan` of their connection here.
    """

    name: str
    ndparams: Params = {}
    diskparams: Mapping[str, Params] = {}
    ipolicy: Params = {}
    alloc_policy: AllocPolicy = AllocPolicy.PREFERRED
    networks: Mapping[str, Params] = {}
    hv_state_static: Mapping[str, Params] = {}
    disk_state_static: Mapping[str, Params] = {}


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """A network interface of an instance; `network` is a UUID, `nicparams` overrides."""

    uuid: str
    mac: str
    ip: str | None = None
    network: str | None = None
    nicparams: Params = {}
    name: str | None = None
    pci: int | None = None
    hvinfo: Params | None = None


class Disk(Stamped, frozen=True, kw_only=True):
    """A disk of an instance, or a part of one (the volumes below a drbd disk are its `children`).

    The shape of `logical_id` depends on `dev_type`: `spec/config.md`, section 2. `size` is MiB.
    """

    dev_type: DiskTemplate
    logical_id: tuple[str | int, ...] = ()
    children: tuple[Disk, ...] = ()
    iv_name: str = ""
    size: int = 0
    mode: str = "rw"
    params: Params = {}
    spindles: int | None = None
    name: str | None = None
    nodes: tuple[str, ...] = ()
    pci: int | None = None
    hvinfo: Params | None = None
    forthcoming: bool = False

    def __repr__(self) -> str:
        return guarded_repr(self, {"logical_id": redacted_logical_id(self.logical_id)})


class Instance(Tagged, frozen=True, kw_only=True):
    """A virtual machine; `disks` are UUIDs of disk objects. A forthcoming one is only reserved."""

    name: str
    primary_node: str = ""
    os: str = ""
    hypervisor: HypervisorName = HypervisorName.KVM
    hvparams: Params = {}
    beparams: Params = {}
    osparams: Params = {}
    osparams_private: Mapping[str, str] = {}
    admin_state: AdminState = AdminState.DOWN
    admin_state_source: AdminStateSource = AdminStateSource.ADMIN
    nics: tuple[Nic, ...] = ()
    disks: tuple[str, ...] = ()
    disks_active: bool = False
    network_port: int | None = None
    forthcoming: bool = False

    def __repr__(self) -> str:
        return guarded_repr(self, {"osparams_private": redacted_values(self.osparams_private)})


class Network(Tagged, frozen=True, kw_only=True):
    """An IP network with its address pool.

    `network` is CIDR; `reservations` and `ext_reservations` hold one `0` or `1` for each address of it.
    """

    name: str
    network: str
    gateway: str | None = None
    network6: str | None = None
    gateway6: str | None = None
    mac_prefix: str | None = None
    reservations: str = ""
    ext_reservations: str = ""


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A rule about which jobs may run: the `filter` object, `spec/jobs.md`, section 7."""

    uuid: str
    watermark: int = 0
    priority: int = 0
    predicates: tuple[tuple[Any, ...], ...] = ()
    action: str | tuple[str, int] = "CONTINUE"
    reason_trail: tuple[tuple[str, str, int], ...] = ()


ConfigObject = ClusterSettings | Node | NodeGroup | Instance | Disk | Network | JobFilter
"""Whatever the configuration consists of."""


def role_of(node: Node, settings: ClusterSettings) -> Role:
    """Give the role of a node: one each, since the flags behind it exclude each other."""
    if node.uuid == settings.master_node:
        return Role.MASTER
    if node.offline:
        return Role.OFFLINE
    if node.drained:
        return Role.DRAINED
    return Role.CANDIDATE if node.master_candidate else Role.REGULAR


def disk_nodes(disk: Disk) -> tuple[str, ...]:
    """Give the UUIDs of the nodes that hold a disk, each once; empty where any node can reach the data."""
    names = list(disk.nodes)
    if not names and disk.dev_type is DiskTemplate.DRBD:
        names.extend(str(part) for part in disk.logical_id[:2])
    for child in disk.children:
        names.extend(disk_nodes(child))
    return tuple(dict.fromkeys(names))
