"""The cluster itself: its fields, its description, and its single values. `spec/luxi.md`, sections 6 and 7."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from gnt import __version__
from gnt.masterd.queries.fields import (
    NO_DATA,
    NORMAL,
    UNAVAILABLE,
    Cell,
    Field,
    FieldKind,
    Fields,
    attribute,
    boolean,
    fields,
    number,
    other,
    plainly,
    text,
)
from gnt.masterd.queries.policy import told_ipolicy
from gnt.model.cluster import CONFIG_VERSION, Cluster
from gnt.model.objects import ClusterSettings
from gnt.model.params import DEFAULT, defaults, fill_be, fill_disk
from gnt.model.params_tables import DISK, HYPERVISOR, NIC, NODE

OS_API: Final = 20
EXPORT_VERSION: Final = 0
PROTOCOL_VERSION: Final = CONFIG_VERSION
ARCHITECTURE: Final = ("64bits", "x86_64")
VCS_VERSION: Final = f"(gnt) version {__version__}"


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster, and what the daemon knows about it that is not in the configuration.

    `drained` is None where that is not known. `watcher_pause` is the time (seconds since the epoch) until which the
    watcher does not act; None if it may.
    """

    cluster: Cluster
    drained: bool | None = None
    watcher_pause: float | None = None

    @property
    def settings(self) -> ClusterSettings:
        """Give the settings."""
        return self.cluster.settings


def _pause(state: ClusterState) -> Cell:
    return UNAVAILABLE if state.watcher_pause is None else (NORMAL, state.watcher_pause)


def _drained(state: ClusterState) -> Cell:
    return NO_DATA if state.drained is None else (NORMAL, state.drained)


def _of_settings(name: str) -> Any:
    return attribute(f"settings.{name}")


def _master(state: ClusterState) -> str:
    return state.cluster.master.name


CLUSTER: Final[Fields] = fields(
    "name",
    [
        text("name", "Name", "Name of the cluster", _of_settings("cluster_name"), hostname=True),
        text("cluster_name", "Name", "Name of the cluster", _of_settings("cluster_name"), hostname=True),
        text("master_node", "Master", "Name of the master node", plainly(_master), hostname=True),
        text("volume_group_name", "VgName", "Volume group for instances", _of_settings("volume_group_name")),
        boolean("drain_flag", "QueueDrained", "Whether the job queue takes no jobs", lambda _view: _drained),
        Field(
            "watcher_pause",
            "WatcherPause",
            FieldKind.TIMESTAMP,
            "Until when the watcher does not act",
            lambda _view: _pause,
        ),
        Field("ctime", "CTime", FieldKind.TIMESTAMP, "When the cluster was made", _of_settings("ctime")),
        Field("mtime", "MTime", FieldKind.TIMESTAMP, "When its settings were last changed", _of_settings("mtime")),
        other("tags", "Tags", "Tags of the cluster", _of_settings("tags")),
        text("software_version", "SoftwareVersion", "Release that runs", plainly(lambda _: __version__)),
        text("vcs_version", "VCSVersion", "What that release was made from", plainly(lambda _: VCS_VERSION)),
        number("protocol_version", "ProtocolVersion", "Version of the calls", plainly(lambda _: PROTOCOL_VERSION)),
        number("config_version", "ConfigVersion", "Version of the configuration", plainly(lambda _: CONFIG_VERSION)),
        number("os_api_version", "OsApiVersion", "Latest guest OS interface", plainly(lambda _: OS_API)),
        number("export_version", "ExportVersion", "Version of exports", plainly(lambda _: EXPORT_VERSION)),
        other("architecture", "ArchInfo", "Bits and kind of machine", plainly(lambda _: ARCHITECTURE)),
    ],
)

_AS_STORED: Final = (
    "candidate_pool_size",
    "max_running_jobs",
    "max_tracked_jobs",
    "mac_prefix",
    "master_netdev",
    "master_netmask",
    "use_external_mip_script",
    "volume_group_name",
    "drbd_usermode_helper",
    "file_storage_dir",
    "shared_file_storage_dir",
    "gluster_storage_dir",
    "maintain_node_health",
    "ctime",
    "mtime",
    "uuid",
    "tags",
    "uid_pool",
    "default_iallocator",
    "default_iallocator_params",
    "reserved_lvs",
    "prealloc_wipe_disks",
    "hidden_os",
    "blacklisted_os",
    "enabled_disk_templates",
    "install_image",
    "instance_communication_network",
    "zeroing_image",
    "compression_tools",
    "enabled_user_shutdown",
    "modify_ssh_setup",
    "ssh_key_type",
    "ssh_key_bits",
    "enabled_hypervisors",
    "os_hvp",
    "osparams",
)
"""Members of the description that are slots of the settings, named alike; no secret is among them."""


def cluster_info(cluster: Cluster) -> dict[str, Any]:
    """Describe the cluster, with all parameters filled in: `QueryClusterInfo`."""
    settings = cluster.settings
    return {
        "software_version": __version__,
        "protocol_version": PROTOCOL_VERSION,
        "config_version": CONFIG_VERSION,
        "os_api_version": OS_API,
        "export_version": EXPORT_VERSION,
        "vcs_version": VCS_VERSION,
        "architecture": ARCHITECTURE,
        "name": settings.cluster_name,
        "master": cluster.master.name,
        "default_hypervisor": settings.default_hypervisor,
        "hvparams": {
            str(name): {**defaults(table), **settings.hvparams.get(name, {})} for name, table in HYPERVISOR.items()
        },
        "beparams": {DEFAULT: fill_be(cluster, {})},
        "nicparams": {DEFAULT: {**defaults(NIC), **settings.nicparams.get(DEFAULT, {})}},
        "ndparams": {**defaults(NODE), **settings.ndparams},
        "diskparams": {template: fill_disk(cluster, None, template, {}) for template in DISK},
        "ipolicy": told_ipolicy(cluster, None),
        "primary_ip_version": 6 if settings.primary_ip_family == 10 else 4,
        "enabled_data_collectors": {name: each.active for name, each in settings.data_collectors.items()},
        "data_collector_interval": {name: each.interval for name, each in settings.data_collectors.items()},
        **{name: getattr(settings, name) for name in _AS_STORED},
    }


_VALUES: Final[dict[str, Callable[[ClusterState], Any]]] = {
    "cluster_name": lambda state: state.settings.cluster_name,
    "master_node": _master,
    "drain_flag": lambda state: state.drained,
    "watcher_pause": lambda state: None if state.watcher_pause is None else int(state.watcher_pause),
    "volume_group_name": lambda state: state.settings.volume_group_name,
    "modify_ssh_setup": lambda state: state.settings.modify_ssh_setup,
    "ssh_key_type": lambda state: state.settings.ssh_key_type,
    "ssh_key_bits": lambda state: state.settings.ssh_key_bits,
}


def config_values(state: ClusterState, names: Sequence[str]) -> list[Any]:
    """Give single values in the order of their names; None for a name that there is not."""
    found = []
    for name in names:
        get = _VALUES.get(name)
        found.append(None if get is None else get(state))
    return found
