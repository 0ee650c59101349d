"""What a node must see of an instance: names instead of references, parameters filled in.

Sizes are MiB, times seconds since the epoch. A node needs nothing else about the configuration to work on a guest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gnt.model.cluster import Cluster
from gnt.model.objects import Disk, DiskTemplate, HypervisorName, Instance, Network, Nic, NicMode, NodeGroup, Params
from gnt.model.params import device_params, drbd_child_params, fill_be, fill_hv, fill_nic, fill_os
from gnt.model.secret import guarded_repr, redacted_logical_id, redacted_values

_NOTHING: Final[Mapping[str, Any]] = {}


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The network that an interface is in; `network` is CIDR."""

    name: str
    uuid: str
    network: str
    tags: tuple[str, ...] = ()
    gateway: str | None = None
    network6: str | None = None
    gateway6: str | None = None
    mac_prefix: str | None = None


class NicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A network interface: `link` is a bridge, a routing table or a switch, as `mode` says."""

    index: int
    uuid: str
    mac: str
    mode: NicMode
    link: str = ""
    vlan: str = ""
    name: str | None = None
    ip: str | None = None
    network: NetworkSpec | None = None


class DiskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A disk; `params` under the names that devices have them, complete (`spec/storage.md`, section 1.2).

    `addresses` maps the UUIDs of the nodes that mirror a disk to the addresses over which they do.
    """

    index: int
    uuid: str
    dev_type: DiskTemplate
    size: int
    logical_id: tuple[str | int, ...] = ()
    mode: str = "rw"
    name: str | None = None
    params: Params = {}
    children: tuple[DiskSpec, ...] = ()
    instance_name: str = ""
    instance_uuid: str = ""
    addresses: Mapping[str, str] = {}

    @property
    def shown(self) -> str:
        """Name it to people, who do not know the UUID of a disk that is only being made."""
        return f"disk/{self.index} of {self.instance_name}" if self.instance_name else f"disk {self.uuid}"

    def __repr__(self) -> str:
        return guarded_repr(self, {"logical_id": redacted_logical_id(self.logical_id)})


class InstanceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An instance with all its parameters; nodes are named, the primary and then the secondaries."""

    name: str
    uuid: str
    hypervisor: HypervisorName
    os: str = ""
    hvparams: Params = {}
    beparams: Params = {}
    osparams: Params = {}
    osparams_private: Params = {}
    nics: tuple[NicSpec, ...] = ()
    disks: tuple[DiskSpec, ...] = ()
    primary_node: str = ""
    secondary_nodes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    network_port: int | None = None
    ctime: float = 0.0
    mtime: float = 0.0
    serial_no: int = 1

    def __repr__(self) -> str:
        return guarded_repr(self, {"osparams_private": redacted_values(self.osparams_private)})


def group_of_instance(cluster: Cluster, instance: Instance) -> NodeGroup | None:
    """Give the group of an instance's primary node, or None where the configuration has no such node or group."""
    node = cluster.nodes.get(instance.primary_node)
    return cluster.groups.get(node.group) if node is not None else None


def instance_spec(
    cluster: Cluster,
    instance: Instance,
    *,
    hvparams: Params = _NOTHING,
    beparams: Params = _NOTHING,
    osparams: Params = _NOTHING,
    osparams_private: Params = _NOTHING,
) -> InstanceSpec:
    """Describe an instance to a node. The parameters given hold for this once and come after the instance's own."""
    group = group_of_instance(cluster, instance)
    os_params = fill_os(
        cluster,
        instance.os,
        {**instance.osparams, **osparams},
        {**instance.osparams_private, **osparams_private},
    )
    primary = cluster.nodes.get(instance.primary_node)
    return InstanceSpec(
        name=instance.name,
        uuid=instance.uuid,
        hypervisor=instance.hypervisor,
        os=instance.os,
        hvparams=fill_hv(cluster, instance.hypervisor, instance.os, {**instance.hvparams, **hvparams}),
        beparams=fill_be(cluster, {**instance.beparams, **beparams}),
        osparams=os_params.public,
        osparams_private=os_params.private,
        nics=tuple(nic_spec(cluster, group, nic, index) for index, nic in enumerate(instance.nics)),
        disks=tuple(disk_spec(cluster, instance, disk, i) for i, disk in enumerate(cluster.disks_of(instance))),
        primary_node=primary.name if primary is not None else "",
        secondary_nodes=tuple(node.name for node in cluster.secondaries(instance)),
        tags=instance.tags,
        network_port=instance.network_port,
        ctime=instance.ctime,
        mtime=instance.mtime,
        serial_no=instance.serial_no,
    )


def shown_device(spec: InstanceSpec, uuid: str) -> str:
    """Name a disk or interface of an instance as people know it: `disk/1`, `nic/0`; by its UUID if it has none such."""
    found = [f"disk/{disk.index}" for disk in spec.disks if disk.uuid == uuid]
    found += [f"nic/{nic.index}" for nic in spec.nics if nic.uuid == uuid]
    return found[0] if found else uuid


def disk_spec(cluster: Cluster, instance: Instance, disk: Disk, index: int) -> DiskSpec:
    """Describe a disk of an instance to a node; the disk may be one that the configuration does not have yet."""
    group = group_of_instance(cluster, instance)
    child_params: tuple[Params, ...] = tuple(device_params(cluster, group, child) for child in disk.children)
    if disk.dev_type is DiskTemplate.DRBD:
        child_params = drbd_child_params(cluster, group, disk)[: len(disk.children)]
    children = tuple(
        _disk_spec(instance, child, index, params, ())
        for child, params in zip(disk.children, child_params, strict=True)
    )
    described = _disk_spec(instance, disk, index, device_params(cluster, group, disk), children)
    return msgspec.structs.replace(described, addresses=_mirror_addresses(cluster, disk))


def _mirror_addresses(cluster: Cluster, disk: Disk) -> dict[str, str]:
    """Give the replication addresses of the two nodes of a drbd disk, by UUID; of others none."""
    if disk.dev_type is not DiskTemplate.DRBD:
        return {}
    found = {str(uuid): cluster.nodes.get(str(uuid)) for uuid in disk.logical_id[:2]}
    return {uuid: node.secondary_ip for uuid, node in found.items() if node is not None}


def _disk_spec(instance: Instance, disk: Disk, index: int, params: Params, children: tuple[DiskSpec, ...]) -> DiskSpec:
    return DiskSpec(
        index=index,
        uuid=disk.uuid,
        dev_type=disk.dev_type,
        size=disk.size,
        logical_id=disk.logical_id,
        mode=disk.mode,
        name=disk.name,
        params=params,
        children=children,
        instance_name=instance.name,
        instance_uuid=instance.uuid,
    )


def nic_spec(cluster: Cluster, group: NodeGroup | None, nic: Nic, index: int) -> NicSpec:
    """Describe an interface to a node; `group` is that of its instance's primary node."""
    filled = fill_nic(cluster, group, nic)
    network = cluster.networks.get(nic.network) if nic.network else None
    return NicSpec(
        index=index,
        uuid=nic.uuid,
        mac=nic.mac,
        mode=NicMode(filled["mode"]),
        link=filled["link"],
        vlan=filled["vlan"],
        name=nic.name,
        ip=nic.ip,
        network=network_spec(network) if network is not None else None,
    )


def network_spec(network: Network) -> NetworkSpec:
    """Describe a network to a node: without its address pool."""
    return NetworkSpec(
        name=network.name,
        uuid=network.uuid,
        network=network.network,
        tags=network.tags,
        gateway=network.gateway,
        network6=network.network6,
        gateway6=network.gateway6,
        mac_prefix=network.mac_prefix,
    )
