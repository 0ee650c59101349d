"""The small text files about the cluster that every node has: `spec/config.md`, section 4."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gnt.model.cluster import Cluster
from gnt.model.names import nice_key
from gnt.model.params import fill_nd
from gnt.model.params_tables import HYPERVISOR

KEYS: Final = (
    *("cluster_name", "cluster_tags", "file_storage_dir", "shared_file_storage_dir", "gluster_storage_dir"),
    *("master_candidates", "master_candidates_ips", "master_candidates_certs", "master_ip", "master_netdev"),
    *("master_netmask", "master_node", "node_list", "node_primary_ips", "node_secondary_ips", "node_vm_capable"),
    *("offline_nodes", "online_nodes", "primary_ip_family", "instance_list", "release_version", "hypervisor_list"),
    *("maintain_node_health", "uid_pool", "nodegroups", "networks", "enabled_user_shutdown", "ssh_ports"),
    *(f"hvparams_{hypervisor}" for hypervisor in HYPERVISOR),
)
"""The names of all files, without `ssconf_`."""


def ssconf_files(cluster: Cluster, release: str) -> dict[str, str]:
    """Give the content of every ssconf file by key (without `ssconf_`), final newline included; empty stays empty.

    `release` is ours, such as `3.1.1`. The original keeps each file within 128 KiB, that is some 6,000 instances; here
    they have no limit: nobody of ours reads them back, and a list that is cut short would be a lie.
    """
    lines = {**_settings_lines(cluster, release), **_node_lines(cluster), **_object_lines(cluster)}
    return {key: "".join(f"{line}\n" for line in lines[key] if line) for key in KEYS}


def _settings_lines(cluster: Cluster, release: str) -> dict[str, Iterable[str]]:
    settings = cluster.settings
    lines: dict[str, Iterable[str]] = {
        "cluster_name": [settings.cluster_name],
        "cluster_tags": sorted(settings.tags, key=nice_key),
        "file_storage_dir": [settings.file_storage_dir],
        "shared_file_storage_dir": [settings.shared_file_storage_dir],
        "gluster_storage_dir": [settings.gluster_storage_dir],
        "master_candidates_certs": [f"{uuid}={digest}" for uuid, digest in sorted(settings.candidate_certs.items())],
        "master_ip": [settings.master_ip],
        "master_netdev": [settings.master_netdev],
        "master_netmask": [str(settings.master_netmask)],
        "master_node": [cluster.master.name],
        "primary_ip_family": [str(settings.primary_ip_family)],
        "release_version": [release],
        "hypervisor_list": settings.enabled_hypervisors,
        "maintain_node_health": [str(settings.maintain_node_health)],
        "uid_pool": [str(low) if low == high else f"{low}-{high}" for low, high in settings.uid_pool],
        "enabled_user_shutdown": [str(settings.enabled_user_shutdown)],
    }
    for hypervisor in HYPERVISOR:
        params = settings.hvparams.get(hypervisor, {})
        lines[f"hvparams_{hypervisor}"] = [f"{name}={value}" for name, value in sorted(params.items())]
    return lines


def _node_lines(cluster: Cluster) -> dict[str, Iterable[str]]:
    nodes = cluster.sorted_nodes()
    candidates = [node for node in nodes if node.master_candidate]
    return {
        "master_candidates": [node.name for node in candidates],
        "master_candidates_ips": [node.primary_ip for node in candidates],
        "node_list": [node.name for node in nodes],
        "node_primary_ips": [f"{node.name} {node.primary_ip}" for node in nodes],
        "node_secondary_ips": [f"{node.name} {node.secondary_ip}" for node in nodes],
        "node_vm_capable": [f"{node.name}={node.vm_capable}" for node in nodes],
        "offline_nodes": [node.name for node in nodes if node.offline],
        "online_nodes": [node.name for node in nodes if not node.offline],
        "ssh_ports": [f"{node.name}={fill_nd(cluster, node)['ssh_port']}" for node in nodes],
    }


def _object_lines(cluster: Cluster) -> dict[str, Iterable[str]]:
    groups = sorted(cluster.groups.values(), key=lambda group: nice_key(group.name))
    networks = sorted(cluster.networks.values(), key=lambda network: nice_key(network.name))
    return {
        "instance_list": [instance.name for instance in cluster.sorted_instances()],
        "nodegroups": [f"{group.uuid} {group.name}" for group in groups],
        "networks": [f"{network.uuid} {network.name}" for network in networks],
    }
