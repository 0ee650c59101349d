"""What is done with nodes."""

from __future__ import annotations

from gnt.sim.administrator import Administrator
from gnt.sim.operations.table import does

FEWEST = 3
"""Nodes that a cluster keeps."""


def _modify(admin: Administrator, node: str, **change: object) -> bool:
    return admin.job({"OP_ID": "OP_NODE_SET_PARAMS", "node_name": node, "auto_promote": True, **change})


@does("node role", weight=8)
def role(admin: Administrator) -> bool:
    """Make a node a candidate, or none, drained or offline, or back."""
    node = admin.pick(admin.nodes(master=False))
    if node is None:
        return False
    wish = admin.source.choice(
        (
            {"master_candidate": not node.master_candidate},
            {"drained": not node.drained},
            {"offline": not node.offline},
            {"master_capable": not node.master_capable},
        )
    )
    return _modify(admin, node.name, **wish)


@does("node modify", weight=2)
def modify(admin: Administrator) -> bool:
    """Change a parameter of a node."""
    node = admin.pick(admin.nodes())
    return node is not None and _modify(admin, node.name, ndparams={"spindle_count": admin.source.randint(1, 9)})


@does("node back", weight=6)
def back(admin: Administrator) -> bool:
    """Have a node back that is offline."""
    node = admin.pick([node for node in admin.nodes() if node.offline])
    return node is not None and _modify(admin, node.name, offline=False)


@does("node remove", weight=3)
def remove(admin: Administrator) -> bool:
    """Let a node go that holds nothing."""
    held = {instance.primary_node for instance in admin.instances()}
    free = [node for node in admin.nodes(master=False) if node.uuid not in held]
    node = admin.pick([node for node in free if admin.world.nodes[node.name].noded is not None])
    if node is None or len(admin.nodes()) <= FEWEST:
        return False
    return admin.job({"OP_ID": "OP_NODE_REMOVE", "node_name": node.name})


@does("node add", weight=8)
def add(admin: Administrator) -> bool:
    """Take a machine in that is no node, or no longer."""
    known = {node.name for node in admin.nodes()}
    name = admin.pick([name for name, node in admin.world.nodes.items() if name not in known and node.powered])
    return name is not None and admin.take_in(name)


@does("candidate forced offline", weight=1)
def force(admin: Administrator) -> bool:
    """Have the power of so many candidates fail that nothing changes any more, and go on without them."""
    return admin.force_offline()
