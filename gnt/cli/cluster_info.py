"""What gnt-cluster info says: the tree of `spec/cli.md`, 4.1, made of the answer to QueryClusterInfo."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from gnt.cli.tree import Pairs

Info = Mapping[str, Any]

# Titles under "Cluster parameters", and the member of the answer that each shows.
_PARAMETERS: Final = (
    ("candidate pool size", "candidate_pool_size"),
    ("maximal number of jobs running simultaneously", "max_running_jobs"),
    ("maximal number of jobs simultaneously tracked by the scheduler", "max_tracked_jobs"),
    ("mac prefix", "mac_prefix"),
    ("master netdev", "master_netdev"),
    ("master netmask", "master_netmask"),
    ("use external master IP address setup script", "use_external_mip_script"),
    ("lvm volume group", "volume_group_name"),
    ("lvm reserved volumes", "reserved_lvs"),
    ("drbd usermode helper", "drbd_usermode_helper"),
    ("file storage path", "file_storage_dir"),
    ("shared file storage path", "shared_file_storage_dir"),
    ("gluster storage path", "gluster_storage_dir"),
    ("maintenance of node health", "maintain_node_health"),
    ("uid pool", "uid_pool"),
    ("default instance allocator", "default_iallocator"),
    ("default instance allocator parameters", "default_iallocator_params"),
    ("primary ip version", "primary_ip_version"),
    ("preallocation wipe disks", "prealloc_wipe_disks"),
    ("enabled disk templates", "enabled_disk_templates"),
    ("install image", "install_image"),
    ("instance communication network", "instance_communication_network"),
    ("zeroing image", "zeroing_image"),
    ("compression tools", "compression_tools"),
    ("enabled user shutdown", "enabled_user_shutdown"),
    ("modify ssh setup", "modify_ssh_setup"),
    ("ssh_key_type", "ssh_key_type"),
    ("ssh_key_bits", "ssh_key_bits"),
)


def described(info: Info) -> Pairs:
    """Give the description for people."""
    bits, machine = info["architecture"]
    return Pairs(
        [
            ("Cluster name", info["name"]),
            ("Cluster UUID", info["uuid"]),
            ("Creation time", _when(info["ctime"])),
            ("Modification time", _when(info["mtime"])),
            ("Master node", info["master"]),
            ("Architecture (this node)", f"{bits} ({machine})"),
            ("Tags", _words(info["tags"])),
            ("Default hypervisor", info["default_hypervisor"]),
            ("Enabled hypervisors", _words(info["enabled_hypervisors"])),
            ("Hypervisor parameters", {hv: info["hvparams"].get(hv, {}) for hv in info["enabled_hypervisors"]}),
            ("OS-specific hypervisor parameters", info["os_hvp"]),
            ("OS parameters", info["osparams"]),
            ("Hidden OSes", _words(info["hidden_os"])),
            ("Blacklisted OSes", _words(info["blacklisted_os"])),
            ("Cluster parameters", Pairs([(title, _parameter(name, info)) for title, name in _PARAMETERS])),
            ("Default node parameters", info["ndparams"]),
            ("Default instance parameters", info["beparams"]),
            ("Default nic parameters", info["nicparams"]),
            ("Default disk parameters", info["diskparams"]),
            ("Instance policy - limits for instances", _policy(info["ipolicy"])),
            ("Data collectors", _collectors(info)),
            *_unsafe(info),
        ]
    )


def _unsafe(info: Info) -> list[tuple[str, Any]]:
    """Say what was done without a majority, where anything was."""
    lines = []
    for change in info.get("unsafe_changes", ()):
        epoch = change["epoch"].partition("@")[0]
        lines.append(f"{_when(change['time'])}: {change['by']} struck off {' '.join(change['nodes'])} (epoch {epoch})")
    return [("Changes without a majority", lines)] if lines else []


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _words(words: Any) -> str:
    return ", ".join(map(str, words)) or "(none)"


def _parameter(name: str, info: Info) -> Any:
    value = info.get(name)
    if name == "uid_pool":
        return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in value or []) or "(none)"
    if isinstance(value, list | tuple):
        return _words(value)
    return "(none)" if value is None or value == "" else value


def _policy(policy: Mapping[str, Any]) -> Pairs:
    bounds = [
        Pairs([(f"min/{number}", pair["min"]), (f"max/{number}", pair["max"])])
        for number, pair in enumerate(policy.get("minmax", []))
    ]
    return Pairs(
        [
            ("bounds specs", bounds),
            ("std", policy.get("std", {})),
            ("allowed disk templates", _words(policy.get("disk-templates", []))),
            ("vcpu-ratio", policy.get("vcpu-ratio")),
            ("spindle-ratio", policy.get("spindle-ratio")),
        ]
    )


def _collectors(info: Info) -> dict[str, Any]:
    intervals = info.get("data_collector_interval") or {}
    return {
        name: {"active": active, "interval": f"{intervals.get(name, 0) / 1e6:.3f}s"}
        for name, active in (info.get("enabled_data_collectors") or {}).items()
    }
