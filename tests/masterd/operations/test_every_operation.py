"""What holds for every operation that there is: its plan can be shown, and a dry run changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred

import gnt.masterd.operations.all  # noqa: F401  (each registers what it executes)
from gnt.masterd.operation import OPERATIONS
from gnt.masterd.planning import Planner
from gnt.model.errors import INTERNAL
from gnt.model.objects import Network
from gnt.opcodes.registry import decode_opcode
from gnt.wire.disk_calls import DiskState
from gnt.wire.guest_calls import Console
from tests.masterd.fakes import Resolver
from tests.masterd.operations.ground import Ground
from tests.opcodes.samples import OPCODES, good

NAMES: dict[str, Any] = {
    "instance_name": "web1",
    "node_name": "node2",
    "group_name": "default",
    "network_name": "net1",
    "kind": "node",
    "disk_template": "sharedfile",
    "nodes": ["node2"],
}
OF: dict[str, dict[str, Any]] = {
    "OP_NODE_ADD": {"node_name": "node4.example.com"},
    "OP_INSTANCE_CREATE": {
        "instance_name": "web2",
        "pnode": "node1",
        "os_type": "noop",
        "disks": [{"size": 64}],
        "nics": [{}],
        "mode": "create",
    },
    "OP_TAGS_SET": {"kind": "node", "name": "node2", "tags": ["a"]},
    "OP_TAGS_DEL": {"kind": "node", "name": "node2", "tags": ["a"]},
    "OP_NODE_SET_PARAMS": {"drained": True, "force": True},
    "OP_CLUSTER_SET_PARAMS": {"mac_prefix": "aa:00:01"},
    "OP_CLUSTER_RENAME": {"name": "other.example.com"},
    "OP_TEST_DELAY": {"duration": 0.1, "on_nodes": ["node2"]},
    "OP_GROUP_ADD": {"group_name": "rack7"},
    "OP_GROUP_RENAME": {"new_name": "rack7"},
    "OP_NETWORK_ADD": {"network_name": "net2", "network": "198.51.100.0/24"},
}
OP_IDS = sorted(opcode.op_id() for opcode in OPERATIONS)


def ground() -> Ground:
    """Give a cluster of three with an instance and a network."""
    made = Ground()
    assert made.add(disk_template="sharedfile").error is None
    network = Network(uuid="00000000-0000-4000-8000-0000000000bb", name="net1", network="192.0.2.0/24")
    made.journal.head = made.journal.head.put(network)
    made.nodes.answers["disk_states"] = lambda _n, call: [DiskState() for _ in call.disks]
    made.nodes.answers["guest_console"] = lambda _n, call: Console(instance=call.instance.name, kind="msg")
    return made


def parameters(op_id: str) -> dict[str, Any]:
    """Give what the opcode needs: things that exist where they are named, else the plainest value of each type."""
    spec = OPCODES[op_id]["params"]
    needed = {name: good(facts["type"])[0] for name, facts in spec.items() if "default" not in facts}
    known = {name: value for name, value in NAMES.items() if name in needed}
    return {**needed, **known, **OF.get(op_id, {})}


@pytest.mark.parametrize("op_id", OP_IDS)
def test_its_plan_can_be_shown(op_id: str) -> None:
    """Locks, nodes and steps, or the refusal that the job would end in; never a fault, and nothing is changed."""
    made = ground()
    planner = Planner(made.journal, made.journal, made.nodes, Resolver(), made.fresh)
    before, calls, commits = made.journal.head, len(made.nodes.made), len(made.journal.commits)
    found: list[Any] = []
    ensureDeferred(planner.plan([decode_opcode({"OP_ID": op_id, **parameters(op_id)})])).addBoth(found.append)
    assert isinstance(found[0], list), found
    (plan,) = found[0]
    assert (plan["refused"] or {}).get("code") != INTERNAL, plan["refused"]
    assert (made.journal.head, len(made.nodes.made), len(made.journal.commits)) == (before, calls, commits)
    assert all(step.text or step.call for step in plan["steps"])


@pytest.mark.parametrize("op_id", OP_IDS)
def test_its_dry_run_changes_nothing(op_id: str) -> None:
    """It checks what the plan checks: it ends as the plan says, no node is asked for a change, no object moves."""
    made = ground()
    before, calls = made.journal.head, len(made.nodes.made)
    end = made.run(op_id, **parameters(op_id), dry_run=True)
    assert made.journal.head == before
    assert len(made.nodes.made) == calls, made.nodes.tags()
    assert end.error is None or end.error.code != INTERNAL, end.error
    assert end.jobs == ()
