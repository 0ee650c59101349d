"""Instances that go to the other side of their mirrors: running, or stopped on the way. Never two writers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gnt.masterd.settling import Debt
from gnt.model.errors import NodeFailure, NotReached
from gnt.model.objects import AdminState, NodeGroup
from tests.masterd.fakes import NODE1, NODE2
from tests.masterd.operations.crashing import crashes
from tests.masterd.operations.test_new_disks import DiskGround

MIGRATE = "OP_INSTANCE_MIGRATE"
FAILOVER = "OP_INSTANCE_FAILOVER"


def mirrored(**parameters: Any) -> DiskGround:
    """Give a cluster with a mirrored instance on node1 and node2."""
    ground = DiskGround()
    assert ground.drbd(disks=[{"size": 1024}, {"size": 1024}], **parameters).error is None
    ground.nodes.made.clear()
    return ground


def writers(ground: DiskGround) -> dict[str, list[bool]]:
    """Give which mirrors are open for writing, by node."""
    return {node: [mirror.primary for mirror in mirrors.values()] for node, mirrors in ground.world.mirrors.items()}


def usual(ground: DiskGround, here: str, there: str) -> None:
    """See that the instance runs here, its mirrors are open here only and connected in the usual way."""
    assert ground.instance().primary_node == here
    assert list(ground.guests.get(here, {})) == [ground.instance().uuid]
    assert not ground.guests.get(there)
    assert writers(ground) == {here: [True, True], there: [False, False]}
    for node, other in ((here, there), (there, here)):
        for mirror in ground.world.mirrors[node].values():
            assert (mirror.peer, mirror.dual) == (other, False)
    ground.tidy()


def away(ground: DiskGround, name: str, **flags: Any) -> None:
    """Flag a node offline; it answers nothing."""
    node = ground.journal.head.node(name)
    ground.journal.head = ground.journal.head.put(replace(node, offline=True, **flags))
    ground.world.mirrors.pop(node.uuid, None)
    ground.guests.pop(node.uuid, None)

    def silent(asked: str, _call: Any) -> None:
        if asked == node.uuid:
            raise NotReached("Node is marked offline")

    ground.nodes.before = silent


# Migration


def test_a_mirror_is_written_on_both_sides_only_while_the_guest_migrates() -> None:
    """Connected anew for that; closed on the old side before anything else behind it."""
    ground = mirrored()
    dual: list[bool] = []
    send = ground.nodes.answers["migration_send"]

    def sent(node: str, call: Any) -> Any:
        dual.extend(
            mirror.dual and mirror.primary for each in ground.world.mirrors.values() for mirror in each.values()
        )
        return send(node, call)

    ground.nodes.answers["migration_send"] = sent
    assert ground.run(MIGRATE, instance_name="web1").error is None
    assert dual == [True] * 4
    behind = ground.nodes.tags()[ground.nodes.tags().index("migration_finish") + 2 :]
    assert behind == [
        *(["disk_demote"] * 2),
        *(["mirror_disconnect"] * 4),
        *(["mirror_connect"] * 4),
        *(["disk_promote"] * 2),
    ]
    usual(ground, NODE2, NODE1)
    assert ground.run(MIGRATE, instance_name="web1").error is None
    usual(ground, NODE1, NODE2)


def test_a_mirror_that_cannot_be_closed_behind_a_guest_is_owed_as_it_is_usually() -> None:
    """The daemon of the node that it left is away: what is left open, and open to both, is owed until it is not."""
    ground = mirrored()

    def away(node: str, call: Any) -> None:
        if node == NODE1 and ground.instance().primary_node == NODE2:
            raise NotReached("the connection was lost")

    ground.nodes.before = away
    busy = NodeFailure("busy", "open for writing on both its nodes")
    for tag in ("mirror_disconnect", "mirror_connect"):
        usually = ground.nodes.answers[tag]
        ground.nodes.answers[tag] = lambda node, call, usually=usually: (
            busy if ground.instance().primary_node == NODE2 else usually(node, call)
        )
    assert ground.run(MIGRATE, instance_name="web1").error is None
    debts = [msgspec.json.decode(row, type=Debt) for (space, _), row in ground.journal.rows_.items() if space == "debt"]
    owed = sorted((debt.node, debt.text.partition(":")[0]) for debt in debts)
    assert [one for one in owed if "mirror" in one[1]] == [
        *([(NODE1, "finish mirror_connect")] * 2),
        *([(NODE2, "finish mirror_connect")] * 2),
    ]
    assert (NODE1, "finish disk_demote") in owed


@pytest.mark.parametrize("at", ["migration_send", "migration_accept", "disk_promote", "mirror_connect"])
def test_a_migration_that_fails_leaves_all_as_it_was(at: str) -> None:
    """Whatever step it is that fails."""
    ground = mirrored()
    original = ground.nodes.answers[at]
    failing = [True]

    def fails(node: str, call: Any) -> Any:
        if failing and (at != "disk_promote" or node == NODE2):
            failing.clear()
            return NodeFailure("failed", "no")
        return original(node, call)

    ground.nodes.answers[at] = fails
    end = ground.run(MIGRATE, instance_name="web1")
    assert end.error is not None
    usual(ground, NODE1, NODE2)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("op_id", [MIGRATE, FAILOVER])
def test_a_master_that_dies_anywhere_leaves_one_guest_and_one_writer(op_id: str, after: bool) -> None:
    """On the old node or on the new one, as recorded; the same command again, or a start, sets all right."""
    count = 0
    for moment, ground in crashes(mirrored, op_id, after=after, instance_name="web1"):
        count = moment
        here = ground.instance().primary_node
        there = NODE1 if here == NODE2 else NODE2
        assert not ground.guests.get(there), moment
        assert [any(each) for node, each in writers(ground).items() if node == there] in ([False], []), moment
        assert ground.world.wrongs == [], moment
        if op_id == MIGRATE:
            usual(ground, here, there)
        else:
            assert ground.run("OP_INSTANCE_STARTUP", instance_name="web1").error is None
            usual(ground, here, there)
    assert count > 10


def test_only_the_other_side_is_a_target_of_mirrors() -> None:
    """Another node, or an allocator, is refused with the way to it; naming the secondary is fine."""
    ground = mirrored()
    text = ground.refused(MIGRATE, instance_name="web1", target_node="node3")
    assert "can only go to its secondary node, node2.example.com" in text
    assert "replace-disks" in text
    assert "can only go" in ground.refused(FAILOVER, instance_name="web1", iallocator="hail")
    assert ground.run(MIGRATE, instance_name="web1", target_node="node2").error is None


def test_a_guest_that_does_not_run_fails_over_where_that_is_wished() -> None:
    """Else it is refused."""
    ground = mirrored(start=False)
    assert "does not run" in ground.refused(MIGRATE, instance_name="web1")
    assert ground.run(MIGRATE, instance_name="web1", allow_failover=True).error is None
    assert ground.instance().primary_node == NODE2
    assert not ground.guests.get(NODE2)


def test_cleanup_puts_mirrors_in_order_where_the_guest_is() -> None:
    """After a migration that nobody settled: still dual, open on both sides."""
    ground = mirrored()
    for node, mirrors in ground.world.mirrors.items():
        for mirror in mirrors.values():
            mirror.dual, mirror.primary = True, True
            mirror.peer = NODE2 if node == NODE1 else NODE1
    ground.guests[NODE2] = ground.guests.pop(NODE1)
    assert ground.run(MIGRATE, instance_name="web1", cleanup=True).error is None
    usual(ground, NODE2, NODE1)


# Failover


def test_a_guest_is_stopped_here_and_started_there() -> None:
    """Closed before it is opened; the mirrors are connected again."""
    ground = mirrored()
    assert ground.run(FAILOVER, instance_name="web1", shutdown_timeout=9).error is None
    tags = ground.nodes.tags()
    assert tags[0] == "guest_stop"
    assert ground.nodes.made[0][1].timeout == 9
    assert tags.index("disk_release") < tags.index("disk_assemble") < tags.index("guest_start")
    usual(ground, NODE2, NODE1)


def test_an_instance_that_is_down_is_only_recorded_elsewhere() -> None:
    """Nothing is started, nothing stays set up."""
    ground = mirrored(start=False)
    assert ground.run(FAILOVER, instance_name="web1").error is None
    assert ground.instance().primary_node == NODE2
    assert ground.instance().admin_state is AdminState.DOWN
    assert "guest_start" not in ground.nodes.tags()
    assert not any(ground.world.mirrors.values())


def test_a_primary_node_that_is_marked_offline_must_be_known_to_be_off() -> None:
    """Old data is another question; typed words, or a node that was switched off through us, are an answer."""
    ground = mirrored()
    away(ground, "node1")
    text = ground.refused(FAILOVER, instance_name="web1", ignore_consistency=True)
    assert "nobody knows that it is off" in text
    assert "--confirm-off='node1.example.com is off'" in text
    assert "nobody knows" in ground.refused(FAILOVER, instance_name="web1", confirm_off="yes")
    assert ground.run(FAILOVER, instance_name="web1", confirm_off="node1.example.com is off").error is None
    assert any("was typed by a person: 'node1.example.com is off'" in line for line in ground.said)
    assert ground.instance().primary_node == NODE2
    assert list(ground.guests[NODE2]) == [ground.instance().uuid]
    assert writers(ground) == {NODE2: [True, True]}
    ground = mirrored()
    away(ground, "node1", powered=False)
    assert ground.run(FAILOVER, instance_name="web1").error is None
    assert any("switched off out of band" in line for line in ground.said)


def test_a_primary_node_that_only_does_not_answer_is_not_passed_over() -> None:
    """It may be alive: nothing is done."""
    ground = mirrored()

    def silent(asked: str, _call: Any) -> None:
        if asked == NODE1:
            raise NotReached("no connection")

    ground.nodes.before = silent
    end = ground.run(FAILOVER, instance_name="web1", ignore_consistency=True, confirm_off="node1.example.com is off")
    assert end.error is not None
    assert "no connection" in end.error.text
    assert ground.nodes.made == []
    assert ground.instance().primary_node == NODE1


def test_shared_disks_fail_over_to_the_node_that_is_named() -> None:
    """Any node reaches them; the same rule for a node that is off."""
    ground = DiskGround()
    ground.nodes.answers.update({tag: lambda _n, _c: None for tag in ("disk_create", "disk_assemble")})
    ground.add(disk_template="sharedfile")
    assert "no target is given" in ground.refused(FAILOVER, instance_name="web1")
    assert "is on node1.example.com already" in ground.refused(FAILOVER, instance_name="web1", target_node="node1")
    away(ground, "node1")
    assert "nobody knows" in ground.refused(FAILOVER, instance_name="web1", target_node="node3")
    words = {"confirm_off": "node1.example.com is off"}
    assert ground.run(FAILOVER, instance_name="web1", target_node="node2", **words).error is None
    assert ground.instance().primary_node == NODE2


def test_a_target_with_old_data_is_refused_unless_that_is_wished() -> None:
    """The disk is named."""
    ground = mirrored()
    ground.world.mirrors[NODE2][1].volumes = None
    text = ground.refused(FAILOVER, instance_name="web1")
    assert "disk/1 of web1 may be out of date on node2.example.com" in text
    assert ground.run(FAILOVER, instance_name="web1", ignore_consistency=True).error is None
    assert any("that is ignored, as wished" in line for line in ground.said)


def test_a_target_without_memory_is_refused() -> None:
    """Nothing is stopped before."""
    ground = mirrored()
    ground.memory_free = 10
    assert "Not enough memory on node2.example.com" in ground.refused(FAILOVER, instance_name="web1")


def test_disks_that_cannot_be_closed_keep_the_guest_here() -> None:
    """It is started again where it was."""
    ground = mirrored()
    ground.nodes.answers["guest_stop"] = lambda _n, _c: NodeFailure("still_running", "does not stop")
    end = ground.run(FAILOVER, instance_name="web1")
    assert end.error is not None
    usual(ground, NODE1, NODE2)


def test_the_policy_is_asked_about_only_in_another_group() -> None:
    """Within its group an instance may move although it was made outside the policy."""
    ground = mirrored(ignore_ipolicy=True, nics=[])
    assert ground.run(MIGRATE, instance_name="web1").error is None
    other = NodeGroup(uuid="00000000-0000-4000-8000-0000000000bb", name="other")
    ground.journal.head = ground.journal.head.put(other)
    ground.journal.head = ground.journal.head.put(replace(ground.journal.head.node("node1"), group=other.uuid))
    for op_id in (MIGRATE, FAILOVER):
        assert "policy violated: nic-count 0" in ground.refused(op_id, instance_name="web1")
    assert ground.run(FAILOVER, instance_name="web1", ignore_ipolicy=True).error is None
