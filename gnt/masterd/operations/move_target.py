"""Where an instance may go whose disks other nodes reach too: checks that migration and failover share."""

from __future__ import annotations

from typing import Any

from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.objects import Instance, Node
from gnt.model.templates import INTERNALLY_MIRRORED, MIRRORED


def target_of(cluster: Cluster, instance: Instance, op: Any) -> Node:
    """Give the node to go to: the other side of the mirrors, or the one that is named.

    `op` has `target_node`, `target_node_uuid` and `iallocator`. Raises `Refused` and `Unsupported`.
    """
    tag = op.__struct_config__.tag
    template = cluster.disk_template(instance)
    if template not in MIRRORED:
        raise Refused(
            WRONG_STATE,
            f"{instance.name} has disks of template {template}, which only its own node reaches",
            hint="only instances on shared or mirrored storage can be migrated or fail over",
        )
    named = op.target_node_uuid or op.target_node
    if template in INTERNALLY_MIRRORED:
        return _other_side(cluster, instance, named, tag, allocator=op.iallocator)
    if op.iallocator is not None:
        raise Unsupported(f"{tag}: iallocator is not supported by this version", hint="name a node: -n")
    if named is None:
        hint = f"gnt-instance failover or migrate: -n NODE {instance.name}"
        raise Refused(WRONG_INPUT, f"{tag}: target_node: no target is given", hint=hint)
    target = cluster.node(named)
    if target.uuid == instance.primary_node:
        raise Refused(WRONG_STATE, f"{instance.name} is on {target.name} already", hint="name another node: -n")
    return target


def _other_side(cluster: Cluster, instance: Instance, named: str | None, tag: str, *, allocator: str | None) -> Node:
    secondaries = cluster.secondaries(instance)
    if len(secondaries) != 1:
        raise Refused(WRONG_STATE, f"{instance.name} has {len(secondaries)} secondary nodes, not one")
    (target,) = secondaries
    if allocator is not None or (named is not None and cluster.node(named).uuid != target.uuid):
        raise Refused(
            WRONG_INPUT,
            f"{tag}: {instance.name} can only go to its secondary node, {target.name}",
            hint="gnt-instance replace-disks -n NODE makes another node its secondary",
        )
    return target
