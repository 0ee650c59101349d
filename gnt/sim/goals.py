"""When a job has come about, as the disks tell: whatever its end was, and whoever died over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gnt.model.cluster import Cluster
from gnt.model.objects import AdminState
from gnt.sim.world import SimWorld

Goal = Callable[[dict[str, Any], SimWorld, Cluster], bool]


def _node_is_there(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return cluster.nodes.by_name(op["node_name"]) is not None


def _node_is_gone(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return cluster.nodes.by_name(op["node_name"]) is None


def _node_is_so(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    node = cluster.nodes.by_name(op["node_name"])
    flags = ("master_candidate", "offline", "drained", "master_capable", "vm_capable")
    return node is not None and all(getattr(node, flag) is op[flag] for flag in flags if flag in op)


def _is_there(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return cluster.instances.by_name(op["instance_name"]) is not None


def _is_gone(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return cluster.instances.by_name(op["instance_name"]) is None


def _is_up(op: dict[str, Any], world: SimWorld, cluster: Cluster) -> bool:
    instance = cluster.instance(op["instance_name"])
    return instance.admin_state is AdminState.UP and op["instance_name"] in running(world)


def _is_down(op: dict[str, Any], world: SimWorld, cluster: Cluster) -> bool:
    instance = cluster.instance(op["instance_name"])
    return instance.admin_state is AdminState.DOWN and op["instance_name"] not in running(world)


def _has_moved(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    instance = cluster.instance(op["instance_name"])
    return cluster.nodes[instance.primary_node].name == str(op["target_node"])


def _has_name(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return cluster.instances.by_name(op["new_name"]) is not None


def _has_template(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return bool(cluster.disk_template(cluster.instance(op["instance_name"])) == op["disk_template"])


def _is_mirrored_there(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    secondaries = cluster.secondaries(cluster.instance(op["instance_name"]))
    return op["remote_node"] in {node.name for node in secondaries}


def _has_disks(count: int) -> Goal:
    def goal(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
        return len(cluster.instance(op["instance_name"]).disks) == count

    return goal


def goal_of(op: dict[str, Any], before: Callable[[], Cluster]) -> Goal | None:
    """Give when an opcode has come about; None: when its job ended well. `before` gives the cluster as it is now."""
    if op["OP_ID"] == "OP_INSTANCE_REPLACE_DISKS" and "remote_node" in op:
        return _is_mirrored_there
    if op["OP_ID"] == "OP_INSTANCE_SET_PARAMS" and "disk_template" in op:
        return _has_template
    if op["OP_ID"] == "OP_INSTANCE_SET_PARAMS" and "disks" in op:
        words = [change[0] for change in op["disks"]]
        count = len(before().instance(op["instance_name"]).disks)
        return _has_disks(count + words.count("add") - words.count("remove"))
    return GOALS.get(op["OP_ID"])


def running(world: SimWorld) -> set[str]:
    """Give the names of all guests that run, wherever."""
    return {guest.name for node in world.nodes.values() for guest in world.guests(node)}


GOALS: Final[dict[str, Goal]] = {
    "OP_NODE_ADD": _node_is_there,
    "OP_NODE_REMOVE": _node_is_gone,
    "OP_NODE_SET_PARAMS": _node_is_so,
    "OP_INSTANCE_CREATE": _is_there,
    "OP_INSTANCE_STARTUP": _is_up,
    "OP_INSTANCE_SHUTDOWN": _is_down,
    "OP_INSTANCE_MIGRATE": _has_moved,
    "OP_INSTANCE_FAILOVER": _has_moved,
    "OP_INSTANCE_MOVE": _has_moved,
    "OP_INSTANCE_RENAME": _has_name,
    "OP_INSTANCE_REMOVE": _is_gone,
}
"""Jobs of other opcodes have come about when they end well."""
