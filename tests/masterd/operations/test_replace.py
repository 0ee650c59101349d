"""Building one side of mirrors anew, in place and on another node."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level
from gnt.masterd.settling import Debt
from gnt.model.errors import NodeFailure, NotReached
from gnt.store.changes import Space
from gnt.wire.calls import DiskRelease
from tests.masterd.fakes import NODE1, NODE2, NODE3
from tests.masterd.operations.crashing import crashes, lost_undos
from tests.masterd.operations.test_new_disks import DiskGround

REPLACE = "OP_INSTANCE_REPLACE_DISKS"
NODE4 = "00000000-0000-4000-8000-000000000004"


def running(disks: int = 2, **parameters: Any) -> DiskGround:
    """Give a cluster with a mirrored instance of two disks, or so many, that runs."""
    ground = DiskGround()
    assert ground.drbd(disks=[{"size": 1024}] * disks, **parameters).error is None
    ground.nodes.made.clear()
    return ground


def syncing(ground: DiskGround) -> None:
    """Have the next side that is attached show 30 % once."""

    def begin(_node: str, call: Any) -> None:
        if call.tag() == "mirror_attach":
            ground.world.percent[:] = [30.0]

    ground.nodes.before = begin


def in_order(ground: DiskGround, primary: str = NODE1, secondary: str = NODE2) -> None:
    """See that every mirror is whole on both nodes, and nothing is left anywhere."""
    instance = ground.instance()
    disks = ground.journal.head.disks_of(instance)
    for node in (primary, secondary):
        assert len(ground.world.mirrors[node]) == len(disks), node
        for mirror in ground.world.mirrors[node].values():
            assert mirror.volumes is not None
            assert mirror.peer == (secondary if node == primary else primary)
    names = {"/".join(map(str, child.logical_id)) for disk in disks for child in disk.children}
    for node, volumes in ground.world.volumes.items():
        assert set(volumes) == (names if node in {primary, secondary} else set()), node
    assert set(ground.journal.head.disks) == {disk.uuid for disk in disks}, "volumes that were replaced are forgotten"
    ground.tidy()


@pytest.mark.parametrize(("mode", "node"), [("replace_on_primary", NODE1), ("replace_on_secondary", NODE2)])
def test_a_side_is_replaced_in_place(mode: str, node: str) -> None:
    """New volumes get the old names, the mirror never stops; the configuration is what it was."""
    ground = running()
    before = ground.journal.head.disks_of(ground.instance())
    syncing(ground)
    end = ground.run(REPLACE, instance_name="web1", mode=mode)
    assert end.error is None
    assert ground.journal.head.disks_of(ground.instance()) == before
    assert [tag for n, tag in ((n, c.tag()) for n, c in ground.nodes.made) if n != node] == []
    assert ground.nodes.tags() == [
        *(["disk_create"] * 4),
        *(["mirror_detach"] * 2),
        *(["disk_rename"] * 8),
        *(["mirror_attach"] * 2),
        *(["disk_remove"] * 4),
    ]
    assert any("30.00% done" in line for line in ground.said)
    assert [line for line in ground.said if "in sync" in line] == [" - INFO: Instance web1's disks are in sync"]
    in_order(ground)


def test_only_named_disks_are_replaced() -> None:
    """The others are not touched."""
    ground = running()
    ground.run(REPLACE, instance_name="web1", mode="replace_on_secondary", disks=[1])
    assert {call.disk.index for _, call in ground.nodes.made if call.tag() == "mirror_attach"} == {1}
    in_order(ground)


def test_the_old_volumes_stay_until_the_new_side_is_in_step() -> None:
    """A sync that fails leaves them, known to the configuration; the next attempt removes them."""
    ground = running()
    attach = ground.nodes.answers["mirror_attach"]

    def broken(node: str, call: Any) -> Any:
        answer = attach(node, call)
        ground.world.mirrors[node][0].volumes = None
        return answer

    ground.nodes.answers["mirror_attach"] = broken
    end = ground.run(REPLACE, instance_name="web1", mode="replace_on_secondary")
    assert end.error is not None
    assert "degraded" in end.error.text
    assert len([name for name in ground.world.volumes[NODE2] if "_replaced-1000" in name]) == 4
    ground.tidy()
    assert len(ground.journal.head.disks) == 6
    ground.nodes.answers["mirror_attach"] = attach
    ground.fresh.count += 100
    ground.fresh.now = lambda: 2000.0  # type: ignore[method-assign]
    assert ground.run(REPLACE, instance_name="web1", mode="replace_on_secondary").error is None
    in_order(ground)


@pytest.mark.parametrize("how", ["in place", "moved"])
def test_what_was_replaced_goes_with_its_instance(how: str) -> None:
    """A sync that failed has left the old volumes; nobody asks for another try, and the instance is removed."""
    ground = running()
    call = "mirror_attach" if how == "in place" else "mirror_connect"
    answer = ground.nodes.answers[call]

    def broken(node: str, made: Any) -> Any:
        given = answer(node, made)
        return NodeFailure("storage_error", "no") if how == "moved" else _loses(ground, node, given)

    ground.nodes.answers[call] = broken
    words: dict[str, Any] = {"mode": "replace_on_secondary"}
    if how == "moved":
        words = {"mode": "replace_new_secondary", "remote_node": "node3"}
    assert ground.run(REPLACE, instance_name="web1", **words).error is not None
    assert len(ground.journal.head.disks) == 6
    ground.nodes.answers[call] = answer
    assert ground.run("OP_INSTANCE_REMOVE", instance_name="web1").error is None
    assert ground.journal.head.disks == {}
    assert all(not volumes for volumes in ground.world.volumes.values())
    ground.tidy()


def _left_on_node2() -> DiskGround:
    """Give an instance between node1 and node3, the volumes of which on node2 were replaced and are still there."""
    ground = running()
    connect = ground.nodes.answers["mirror_connect"]
    ground.nodes.answers["mirror_connect"] = lambda _node, _call: NodeFailure("storage_error", "no")
    end = ground.run(REPLACE, instance_name="web1", mode="replace_new_secondary", remote_node="node3")
    assert end.error is not None
    ground.nodes.answers["mirror_connect"] = connect
    assert {node for disk in ground.journal.head.disks.values() if not disk.iv_name for node in disk.nodes} == {NODE2}
    assert ground.run("OP_INSTANCE_SHUTDOWN", instance_name="web1").error is None
    return ground


@pytest.mark.parametrize("back", ["to node2", "to node4"])
def test_what_a_move_left_is_not_lost_to_the_next_one(back: str) -> None:
    """Back to the old node, or on to a fourth: whatever was left on the way is removed."""
    ground = _left_on_node2()
    target = "node2"
    if back != "to node2":
        fourth = replace(ground.journal.head.nodes[NODE2], uuid=NODE4, name="node4.example.com")
        ground.journal.head, target = ground.journal.head.put(fourth), "node4"
    end = ground.run(REPLACE, instance_name="web1", mode="replace_new_secondary", remote_node=target)
    assert end.error is None
    held = {node: len(volumes) for node, volumes in ground.world.volumes.items() if volumes}
    assert held == {NODE1: 4, NODE2 if back == "to node2" else NODE4: 4}
    assert len(ground.journal.head.disks) == 2
    ground.tidy()


def test_the_last_good_copy_does_not_become_a_volume_without_it() -> None:
    """The side on the primary node was replaced and never came into step: what would be kept is not the data."""
    ground = running()
    attach = ground.nodes.answers["mirror_attach"]
    ground.nodes.answers["mirror_attach"] = lambda node, made: _loses(ground, node, attach(node, made))
    assert ground.run(REPLACE, instance_name="web1", mode="replace_on_primary").error is not None
    ground.nodes.answers["mirror_attach"] = attach
    assert ground.run("OP_INSTANCE_SHUTDOWN", instance_name="web1").error is None
    for template in ("plain", "file"):
        text = ground.refused("OP_INSTANCE_SET_PARAMS", instance_name="web1", disk_template=template)
        assert "wrong_state: disk/0 of web1 was replaced on node1.example.com and is not known to be in step" in text


@pytest.mark.parametrize(
    ("op_id", "parameters"),
    [
        ("OP_INSTANCE_REMOVE", {}),
        ("OP_INSTANCE_SET_PARAMS", {"disk_template": "plain"}),
        ("OP_INSTANCE_SET_PARAMS", {"disks": [["remove", 0, {}], ["remove", 0, {}]]}),
        (REPLACE, {"mode": "replace_on_secondary"}),
    ],
)
def test_who_removes_what_was_replaced_has_locked_its_node(op_id: str, parameters: dict[str, Any]) -> None:
    """The node is none of the instance's any more, and somebody may be about to remove it from the cluster."""
    ground = _left_on_node2()
    ground.nodes.made.clear()
    assert ground.run(op_id, instance_name="web1", **parameters).error is None
    assert (NODE2, "disk_remove") in [(node, call.tag()) for node, call in ground.nodes.made]
    locked = {(lock.level, lock.name) for lock in ground.locks.wanted if lock.exclusive}
    assert {(Level.NODE, NODE2), (Level.NODE_RES, NODE2)} <= locked
    assert not ground.world.volumes[NODE2]
    assert len(ground.journal.head.disks) == (0 if op_id == "OP_INSTANCE_REMOVE" or "disks" in parameters else 2)
    ground.tidy()


@pytest.mark.parametrize("how", ["plain", "file"])
def test_what_was_replaced_goes_with_its_mirror(how: str) -> None:
    """The mirror is turned into something else: the old volumes of a try that failed are not left."""
    ground = running()
    attach = ground.nodes.answers["mirror_attach"]
    ground.nodes.answers["mirror_attach"] = lambda node, made: _loses(ground, node, attach(node, made))
    assert ground.run(REPLACE, instance_name="web1", mode="replace_on_secondary").error is not None
    ground.nodes.answers["mirror_attach"] = attach
    assert ground.run("OP_INSTANCE_SHUTDOWN", instance_name="web1").error is None
    end = ground.run("OP_INSTANCE_SET_PARAMS", instance_name="web1", disk_template=how)
    assert end.error is None
    assert len(ground.journal.head.disks) == 2
    names = [name for volumes in ground.world.volumes.values() for name in volumes]
    assert len(names) == 2
    assert not any("_replaced-" in name for name in names)
    ground.tidy()


def _loses(ground: DiskGround, node: str, given: Any) -> Any:
    for mirror in ground.world.mirrors[node].values():
        mirror.volumes = None
    return given


def test_with_early_release_the_old_volumes_go_first() -> None:
    """And others may use the nodes while the new side comes into step."""
    ground = running()
    syncing(ground)
    assert ground.run(REPLACE, instance_name="web1", mode="replace_on_secondary", early_release=True).error is None
    said = [line for line in ground.said if "removing" in line or "30.00%" in line]
    assert said[0] == "* removing the old volumes"
    in_order(ground)


def test_a_lost_volume_is_no_hindrance() -> None:
    """What is not there is not renamed; the side is made anew."""
    ground = running()
    for volume in list(ground.world.volumes[NODE2]):
        if "disk1" in volume:
            del ground.world.volumes[NODE2][volume]
    ground.world.mirrors[NODE2][1].volumes = None
    assert ground.run(REPLACE, instance_name="web1", mode="replace_on_secondary", disks=[1]).error is None
    in_order(ground)


def test_faulty_disks_are_found_by_themselves() -> None:
    """-a: nothing faulty, nothing done; a faulty side is replaced; both sides are refused."""
    ground = running()
    assert ground.run(REPLACE, instance_name="web1", mode="replace_auto").error is None
    assert ground.nodes.made == []
    assert "No faulty disk of web1: nothing is replaced" in ground.said
    ground.world.mirrors[NODE1][1].volumes = None
    assert ground.run(REPLACE, instance_name="web1", mode="replace_auto").error is None
    assert {node for node, _ in ground.nodes.made} == {NODE1}
    in_order(ground)
    ground.world.mirrors[NODE1][0].volumes = None
    ground.world.mirrors[NODE2][1].volumes = None
    assert "faulty disks on both nodes" in ground.refused(REPLACE, instance_name="web1", mode="replace_auto")


def test_the_last_good_copy_is_not_replaced() -> None:
    """The side that would remain must be good."""
    ground = running()
    ground.world.mirrors[NODE2][0].volumes = None
    text = ground.refused(REPLACE, instance_name="web1", mode="replace_on_primary")
    assert "disk/0 of web1 is not good on node2.example.com, which would be the only copy" in text
    ground.world.mirrors[NODE1][0].volumes = None
    text = ground.refused(REPLACE, instance_name="web1", mode="replace_new_secondary", remote_node="node3")
    assert "not good on node1.example.com" in text


def test_the_secondary_moves_to_another_node() -> None:
    """New minors there, port and secret as before; the old node keeps nothing."""
    ground = running()
    before = ground.journal.head.disks_of(ground.instance())
    end = ground.run(REPLACE, instance_name="web1", mode="replace_new_secondary", remote_node="node3")
    assert end.error is None
    after = ground.journal.head.disks_of(ground.instance())
    for old, new in zip(before, after, strict=True):
        assert new.logical_id[:2] == (NODE1, NODE3)
        assert (new.logical_id[2], new.logical_id[3], new.logical_id[5]) == (
            old.logical_id[2],
            old.logical_id[3],
            old.logical_id[5],
        )
        assert new.nodes == (NODE1, NODE3)
        assert new.children[0].nodes == (NODE1, NODE3)
    assert {(lock.level, lock.name) for lock in ground.locks.wanted if lock.level is Level.NODE} == {
        (Level.NODE, node) for node in (NODE1, NODE2, NODE3)
    }
    in_order(ground, NODE1, NODE3)


def test_an_old_secondary_that_is_away_is_left_and_owes_its_volumes() -> None:
    """Nothing is asked of it; the mirror has a good side again."""
    ground = running()
    node2 = ground.journal.head.node("node2")
    ground.journal.head = ground.journal.head.put(replace(node2, offline=True))

    def away(node: str, _call: Any) -> None:
        if node == NODE2:
            raise NotReached("Node is marked offline")

    ground.nodes.before = away
    ground.world.mirrors[NODE2].clear()
    end = ground.run(REPLACE, instance_name="web1", mode="replace_new_secondary", remote_node="node3")
    assert end.error is None
    assert ground.journal.head.secondaries(ground.instance())[0].uuid == NODE3
    debts = [key for space, key in sorted(ground.journal.rows_) if space == "debt" and key.startswith(NODE2)]
    owed = [msgspec.json.decode(ground.journal.rows_[Space.DEBT, key], type=Debt).text for key in debts]
    assert [text.partition(":")[0] for text in owed] == ["finish disk_release"] * 2 + ["finish disk_remove"] * 4
    assert len(ground.journal.head.disks) == 2


def test_an_old_secondary_that_did_not_part_does_so_before_its_volumes_go() -> None:
    """Its daemon was away just then, which is borne; a mirror that nobody knows any more would keep its volumes."""
    ground = running()
    failed: list[Any] = []

    def away(node: str, call: Any) -> None:
        if node == NODE2 and isinstance(call, DiskRelease) and len(failed) < 2:
            failed.append(call)
            raise NotReached("the connection was lost")

    ground.nodes.before = away
    end = ground.run(REPLACE, instance_name="web1", mode="replace_new_secondary", remote_node="node3")
    assert end.error is None
    assert len(failed) == 2
    assert not ground.world.mirrors[NODE2]
    in_order(ground, NODE1, NODE3)


def test_a_new_secondary_that_fails_leaves_the_old_one() -> None:
    """Connected as before; nothing stays on the new node."""
    ground = running()
    before = ground.journal.head
    original = ground.nodes.answers["mirror_disconnect"]
    ground.nodes.answers["mirror_disconnect"] = lambda node, call: (
        NodeFailure("failed", "does not let go") if call.disk.index == 1 else original(node, call)
    )
    end = ground.run(REPLACE, instance_name="web1", mode="replace_new_secondary", remote_node="node3")
    assert end.error is not None
    assert "does not let go" in end.error.text
    assert ground.journal.head.disks_of(ground.instance()) == before.disks_of(ground.instance())
    in_order(ground)


def test_disks_that_were_not_active_are_closed_again() -> None:
    """They are set up for the replacement only."""
    ground = running(start=False)
    assert not any(ground.world.mirrors.values())
    assert ground.run(REPLACE, instance_name="web1", mode="replace_on_secondary").error is None
    assert not any(ground.world.mirrors.values())
    assert not ground.instance().disks_active
    text = ground.refused(REPLACE, instance_name="web1", mode="replace_auto")
    assert "not active" in text


MODES: dict[str, dict[str, Any]] = {
    "primary": {"mode": "replace_on_primary"},
    "secondary": {"mode": "replace_on_secondary"},
    "early": {"mode": "replace_on_secondary", "early_release": True},
    "moved": {"mode": "replace_new_secondary", "remote_node": "node3"},
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", sorted(MODES))
@pytest.mark.parametrize("start", [False, True])
def test_a_master_that_dies_anywhere_leaves_whole_mirrors(name: str, after: bool, start: bool) -> None:
    """Either as before or replaced; no volume without owner; the same command again ends it."""
    count = 0
    for moment, ground in crashes(
        lambda: running(start=start), REPLACE, after=after, instance_name="web1", **MODES[name]
    ):
        count = moment
        ground.tidy()
        for disk in ground.journal.head.disks_of(ground.instance()):
            secondary = str(disk.logical_id[1])
            for node in (NODE1, secondary) if start else ():
                mirrors = [mirror for mirror in ground.world.mirrors[node].values() if mirror.owner == disk.uuid]
                assert [mirror.volumes is not None for mirror in mirrors] == [True], (moment, node)
        ground.fresh.count += 1000
        ground.fresh.now = lambda: 2000.0  # type: ignore[method-assign]
        if ground.journal.head.secondary_uuids(ground.instance()) == (NODE3,):
            continue
        assert ground.run(REPLACE, instance_name="web1", **MODES[name]).error is None, moment
        if start:
            in_order(ground, NODE1, NODE3 if name == "moved" else NODE2)
    assert count > 10


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", sorted(MODES))
def test_an_undo_that_is_lost_anywhere_is_made_up_for_in_order(name: str, after: bool) -> None:
    """A call fails, one of those that undo the rest is lost: when the node has paid, no volume has another's name."""
    count = 0
    for moment, ground in lost_undos(lambda: running(1), REPLACE, after=after, instance_name="web1", **MODES[name]):
        count += 1
        ground.tidy()
        assert not ground.world.wrongs, moment
        for disk in ground.journal.head.disks_of(ground.instance()):
            for child in disk.children:
                for node in child.nodes:
                    volume = ground.world.volumes[node]["/".join(map(str, child.logical_id))]
                    assert volume.owner == child.uuid, (moment, node)
    assert count > 5


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no node": ({"mode": "replace_new_secondary"}, "wrong_input: No new secondary node is named"),
    "node in another mode": (
        {"mode": "replace_on_primary", "remote_node": "node3"},
        "wrong_input: A new secondary node is named",
    ),
    "primary": (
        {"mode": "replace_new_secondary", "remote_node": "node1"},
        "node1.example.com is the primary node of web1",
    ),
    "secondary": ({"mode": "replace_new_secondary", "remote_node": "node2"}, "is the secondary node of web1 already"),
    "unknown": ({"mode": "replace_new_secondary", "remote_node": "node9"}, "unknown_entity: node9"),
    "allocator": ({"mode": "replace_new_secondary", "iallocator": "hail"}, "iallocator is not supported"),
    "disks and auto": ({"mode": "replace_auto", "disks": [0]}, "leave --disks out"),
    "some disks to another node": (
        {"mode": "replace_new_secondary", "remote_node": "node3", "disks": [0]},
        "All disks move",
    ),
    "no such disk": ({"mode": "replace_on_primary", "disks": [7]}, "has no disk 7"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_wishes_are_refused(case: str) -> None:
    """In one line; nothing is changed."""
    parameters, expected = BAD[case]
    assert expected in running().refused(REPLACE, instance_name="web1", **parameters)


def test_only_mirrors_are_replaced() -> None:
    """Others have no second side."""
    ground = DiskGround()
    ground.plain()
    text = ground.refused(REPLACE, instance_name="web1", mode="replace_on_primary")
    assert "disks of template plain: only mirrors are replaced" in text


def test_nodes_that_are_away_or_full_are_refused() -> None:
    """With what would help."""
    ground = running()
    node2 = ground.journal.head.node("node2")
    before = ground.journal.head
    ground.journal.head = before.put(replace(node2, offline=True))
    text = ground.refused(REPLACE, instance_name="web1", mode="replace_on_secondary")
    assert "-n NODE" in text
    ground.journal.head = before.put(replace(before.node("node3"), drained=True))
    text = ground.refused(REPLACE, instance_name="web1", mode="replace_new_secondary", remote_node="node3")
    assert "drained" in text
    ground.journal.head = before
    from tests.masterd.operations.disk_world import Volume

    ground.world.volumes[NODE3] = {"xenvg/big": Volume("", 99_000)}
    text = ground.refused(REPLACE, instance_name="web1", mode="replace_new_secondary", remote_node="node3")
    assert "Not enough disk space on node3.example.com" in text
