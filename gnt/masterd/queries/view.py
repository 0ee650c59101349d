"""What a query looks at: one snapshot of the configuration, and what the nodes said, with what both imply.

Whatever many rows need is worked out once and kept for as long as the query lasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gnt.masterd.queries.arranged import Seen, Tables, in_order
from gnt.model.cluster import Cluster
from gnt.model.objects import Disk, DiskTemplate, Instance, Node, NodeGroup, Params, disk_nodes
from gnt.model.params import fill_be, fill_group_nd, fill_hv, fill_nd
from gnt.wire.calls import NodeFacts
from gnt.wire.guest_calls import Console, GuestFacts


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What nodes said, by the UUID of the node (of the instance for consoles); an error is an answer too.

    A node that is not in here was not asked.
    """

    guests: Mapping[str, list[GuestFacts] | Exception] = field(default_factory=dict)
    nodes: Mapping[str, NodeFacts | Exception] = field(default_factory=dict)
    consoles: Mapping[str, Console | Exception] = field(default_factory=dict)

    @property
    def asked(self) -> bool:
        """Say whether any node was asked."""
        return bool(self.guests or self.nodes or self.consoles)


class View:
    """A snapshot as queries see it. `tables` may be shared by views: it keeps what is the same in several snapshots."""

    def __init__(self, cluster: Cluster, facts: Facts | None = None, tables: Tables | None = None) -> None:
        self.cluster = cluster
        self.tables = tables or Tables()
        self.facts = facts or Facts()
        self._hv_bases: dict[tuple[str, str], dict[str, Any]] = {}
        self._nd_bases: dict[str, dict[str, Any]] = {}

    # Names

    @cached_property
    def node_names(self) -> dict[str, str]:
        """Give the name of each node by UUID."""
        return {uuid: node.name for uuid, node in self.nodes.items()}

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Give the nodes by UUID, in a plain dict: a row looks up several."""
        return self.tables.nodes.by_uuid(self.cluster.nodes)

    def group_of(self, node_uuid: str) -> NodeGroup | None:
        """Give the group of a node, or None where the configuration has no such node or group."""
        node = self.nodes.get(node_uuid)
        return self.cluster.groups.get(node.group) if node is not None else None

    @cached_property
    def group_names_by_node(self) -> dict[str, str]:
        """Give the name of each node's group by the node's UUID."""
        names = {group.uuid: group.name for group in self.cluster.groups.values()}
        return {uuid: names[node.group] for uuid, node in self.nodes.items() if node.group in names}

    # Who is where

    def primaries_on(self, node_uuid: str) -> list[str]:
        """Give the names of the instances whose primary node this is, in order."""
        return in_order(instance.name for instance in self.cluster.instances_on(node_uuid))

    def secondaries_on(self, node_uuid: str) -> list[str]:
        """Give the names of the instances that have a secondary node here, in order."""
        return in_order(instance.name for instance in self.cluster.secondary_instances_on(node_uuid))

    @cached_property
    def members(self) -> dict[str, list[Node]]:
        """Give the nodes of each group by the group's UUID, in order."""
        found: dict[str, list[Node]] = {}
        for node in self.tables.nodes.in_order(self.cluster.nodes):
            found.setdefault(node.group, []).append(node)
        return found

    @cached_property
    def network_users(self) -> dict[str, list[str]]:
        """Give the names of the instances in each network by the network's UUID, in order."""
        found: dict[str, set[str]] = {}
        for instance in self.tables.instances.by_uuid(self.cluster.instances).values():
            for nic in instance.nics:
                if nic.network:
                    found.setdefault(nic.network, set()).add(instance.name)
        return {uuid: in_order(names) for uuid, names in found.items()}

    # Disks

    @cached_property
    def disks(self) -> dict[str, Disk]:
        """Give the disks by UUID, in a plain dict."""
        return self.tables.disks.by_uuid(self.cluster.disks)

    def disks_of(self, instance: Instance) -> list[Disk]:
        """Give the disks of an instance in their order."""
        disks = self.disks
        return [disks[uuid] for uuid in instance.disks if uuid in disks]

    def disk_template(self, instance: Instance) -> DiskTemplate:
        """Give the template of an instance: none of its disks is diskless, several kinds are mixed."""
        uuids = instance.disks
        if len(uuids) == 1 and uuids[0] in self.disks:
            return self.disks[uuids[0]].dev_type
        return self.cluster.disk_template(instance)

    def secondary_uuids(self, instance: Instance) -> list[str]:
        """Give the UUIDs of all nodes of the instance's disks other than its primary node; not to be changed."""
        kept = self._secondaries
        found = kept.get(instance.uuid)
        if found is None:
            found = kept[instance.uuid] = self._find_secondaries(instance)
        return found

    def _find_secondaries(self, instance: Instance) -> list[str]:
        found: dict[str, None] = {}
        for disk in self.disks_of(instance):
            if disk.nodes or disk.children or disk.dev_type is DiskTemplate.DRBD:
                found.update(dict.fromkeys(disk_nodes(disk)))
        found.pop(instance.primary_node, None)
        return list(found)

    @cached_property
    def _secondaries(self) -> dict[str, list[str]]:
        return self.tables.secondaries(self.cluster)

    def secondaries(self, instance: Instance) -> list[Node]:
        """Give the secondary nodes of an instance."""
        nodes = self.nodes
        return [nodes[uuid] for uuid in self.secondary_uuids(instance) if uuid in nodes]

    # Parameters, filled in

    def hv(self, instance: Instance) -> Params:
        """Give the complete hypervisor parameters of an instance."""
        if instance.hvparams:
            return fill_hv(self.cluster, instance.hypervisor, instance.os, instance.hvparams)
        key = (instance.hypervisor, instance.os)
        base = self._hv_bases.get(key)
        if base is None:
            base = self._hv_bases[key] = fill_hv(self.cluster, instance.hypervisor, instance.os, {})
        return base

    @cached_property
    def be_base(self) -> dict[str, Any]:
        """Give the backend parameters of an instance that sets none itself."""
        return fill_be(self.cluster, {})

    def be(self, instance: Instance) -> Params:
        """Give the complete backend parameters of an instance; memory is MiB."""
        return {**self.be_base, **instance.beparams} if instance.beparams else self.be_base

    def nd(self, node: Node) -> Params:
        """Give the complete parameters of a node."""
        if node.ndparams:
            return fill_nd(self.cluster, node)
        base = self._nd_bases.get(node.group)
        if base is None:
            base = self._nd_bases[node.group] = fill_group_nd(self.cluster, self.cluster.groups.get(node.group))
        return base

    # Guests

    @cached_property
    def offline(self) -> set[str]:
        """Give the UUIDs of the nodes that are marked offline."""
        return {uuid for uuid, node in self.nodes.items() if node.offline}

    @cached_property
    def guests(self) -> dict[str, dict[str, GuestFacts]]:
        """Give the guests that were seen, by UUID, for each node (UUID) that has answered."""
        return {node: seen.guests for node, seen in self._seen.items()}

    @cached_property
    def strays(self) -> dict[str, GuestFacts]:
        """Give the guests that run on a node which is not their primary one, by the instance's UUID."""
        instances = self.tables.instances.by_uuid(self.cluster.instances)
        found: dict[str, GuestFacts] = {}
        for node, seen in self._seen.items():
            found |= seen.strays(node, instances)
        return found

    @cached_property
    def _seen(self) -> dict[str, Seen]:
        tables = self.tables
        return {node: tables.seen(node, told) for node, told in self.facts.guests.items() if isinstance(told, list)}
