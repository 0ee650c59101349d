"""Node groups: made, changed, renamed, removed, and nodes moved into them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level
from gnt.model.objects import AllocPolicy, Disk, DiskTemplate, Instance, NodeGroup
from tests.masterd.fakes import NODE1, NODE2
from tests.masterd.operations.ground import Ground


def group(ground: Ground, name: str) -> NodeGroup:
    """Give a group."""
    return ground.journal.head.group(name)


def with_rack() -> Ground:
    """Give a cluster with a second group."""
    ground = Ground()
    assert ground.run("OP_GROUP_ADD", group_name="rack7").error is None
    return ground


def test_a_group_is_made_with_its_parameters() -> None:
    """Only what was given is its own; the rest it has from the cluster."""
    ground = Ground()
    end = ground.run(
        "OP_GROUP_ADD",
        group_name="rack7",
        alloc_policy="last_resort",
        ndparams={"spindle_count": 4},
        diskparams={"plain": {"stripes": 2}},
        ipolicy={"vcpu-ratio": 2},
    )
    assert (end.error, end.result) == (None, None)
    made = group(ground, "rack7")
    assert made.alloc_policy is AllocPolicy.LAST_RESORT
    assert (made.ndparams, made.diskparams, made.ipolicy) == (
        {"spindle_count": 4},
        {"plain": {"stripes": 2}},
        {"vcpu-ratio": 2.0},
    )


def test_parameters_are_changed_and_taken_back() -> None:
    """The result says what is new; the word default takes an override away."""
    ground = with_rack()
    end = ground.run("OP_GROUP_SET_PARAMS", group_name="rack7", alloc_policy="unallocable", ndparams={"ssh_port": 23})
    assert end.result == [["alloc_policy", "unallocable"], ["ndparams", {"ssh_port": 23}]]
    assert {lock.level for lock in ground.locks.wanted if lock.exclusive} == {Level.NODEGROUP}
    ground.run("OP_GROUP_SET_PARAMS", group_name="rack7", ndparams={"ssh_port": "default"})
    assert group(ground, "rack7").ndparams == {}


def test_disk_parameters_fit_those_of_the_cluster() -> None:
    """With both of them no mirror could be set up."""
    ground = Ground(diskparams={"drbd": {"c-plan-ahead": 0}})
    given = {"group_name": "default", "diskparams": {"drbd": {"dynamic-resync": True}}}
    text = ground.refused("OP_GROUP_SET_PARAMS", **given)
    assert "drbd parameter dynamic-resync needs a c-plan-ahead above 0" in text
    given["diskparams"]["drbd"]["c-plan-ahead"] = 20  # type: ignore[index]
    assert ground.run("OP_GROUP_SET_PARAMS", **given).error is None


def test_instances_that_a_new_policy_would_not_allow_are_told() -> None:
    """They stay as they are."""
    ground = Ground()
    ground.add(nics=[{}])
    assert ground.run("OP_GROUP_SET_PARAMS", group_name="default", ipolicy={"disk-templates": ["drbd"]}).error is None
    assert any("web1 violates the new instance policy" in line for line in ground.said)


@pytest.mark.parametrize(
    ("op_id", "parameters", "text"),
    [
        ("OP_GROUP_ADD", {"group_name": "default"}, "already_exists"),
        ("OP_GROUP_ADD", {"group_name": "a b"}, "character that is not allowed"),
        ("OP_GROUP_ADD", {"group_name": "x", "ndparams": {"colour": 1}}, "colour is not a node parameter"),
        ("OP_GROUP_ADD", {"group_name": "x", "ipolicy": {"std": {"cpu-count": 1}}}, "std is the cluster's"),
        ("OP_GROUP_ADD", {"group_name": "x", "hv_state": {"kvm": {}}}, "hv_state is not supported"),
        ("OP_GROUP_SET_PARAMS", {"group_name": "default"}, "at least one modification"),
        ("OP_GROUP_SET_PARAMS", {"group_name": "nowhere", "alloc_policy": "preferred"}, "nowhere is not a node group"),
        ("OP_GROUP_RENAME", {"group_name": "rack7", "new_name": "default"}, "already_exists"),
        ("OP_GROUP_REMOVE", {"group_name": "default"}, "has nodes: node1.example.com"),
        ("OP_GROUP_ASSIGN_NODES", {"group_name": "rack7", "nodes": ["node9"]}, "node9 is not a node"),
    ],
)
def test_what_is_refused(op_id: str, parameters: dict[str, Any], text: str) -> None:
    """In one line, and nothing is changed."""
    assert text in with_rack().refused(op_id, **parameters)


def test_a_group_is_renamed_and_removed_but_not_the_last() -> None:
    """Nodes do not notice the name."""
    ground = with_rack()
    assert ground.run("OP_GROUP_RENAME", group_name="rack7", new_name="rack8").result == "rack8"
    assert ground.run("OP_GROUP_REMOVE", group_name="rack8").error is None
    assert [one.name for one in ground.journal.head.groups.values()] == ["default"]
    for node in ground.journal.head.nodes.values():
        ground.journal.head = ground.journal.head.put(replace(node, group="elsewhere"))
    assert "the only one" in ground.refused("OP_GROUP_REMOVE", group_name="default")


def test_nodes_move_into_a_group() -> None:
    """Those that are there already stay; nodes and groups are locked."""
    ground = with_rack()
    assert ground.run("OP_GROUP_ASSIGN_NODES", group_name="rack7", nodes=["node2", "node3"]).error is None
    assert {lock.level for lock in ground.locks.wanted if lock.exclusive} == {Level.NODEGROUP, Level.NODE}
    members = ground.journal.head.members(group(ground, "rack7"))
    assert [node.name for node in members] == ["node2.example.com", "node3.example.com"]
    before = ground.journal.head
    assert ground.run("OP_GROUP_ASSIGN_NODES", group_name="rack7", nodes=["node2"]).error is None
    assert ground.journal.head == before


def test_mirrored_instances_are_not_split_between_groups() -> None:
    """Unless that is said; those that were split before are only told."""
    ground = with_rack()
    disk = Disk(uuid="d1", dev_type=DiskTemplate.DRBD, logical_id=(NODE1, NODE2, 11000, 0, 0, "s"), size=1)
    mirrored = Instance(uuid="i1", name="db1", primary_node=NODE1, disks=("d1",))
    ground.journal.head = ground.journal.head.put(disk).put(mirrored)
    move = {"group_name": "rack7", "nodes": ["node2"]}
    assert "split between groups: db1" in str(ground.run("OP_GROUP_ASSIGN_NODES", **move).error)
    assert ground.run("OP_GROUP_ASSIGN_NODES", **move, force=True).error is None
    assert any("db1 is split between groups now" in line for line in ground.said)
    assert ground.run("OP_GROUP_ASSIGN_NODES", group_name="rack7", nodes=["node3"]).error is None
    assert any("as before" in line for line in ground.said)
