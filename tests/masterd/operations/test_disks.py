"""What is done to the disks of an instance: attached, detached, grown, made again."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level
from gnt.model.errors import NodeFailure, NotReached
from gnt.store.changes import Space
from gnt.wire.calls import DiskRemove
from gnt.wire.disk_calls import DiskGrow
from tests.masterd.fakes import NODE1, NODE2, NODE3
from tests.masterd.operations.crashing import crashes
from tests.masterd.operations.test_new_disks import DiskGround


def stopped(**parameters: Any) -> DiskGround:
    """Give a cluster with a mirrored instance that is down and has its disks released."""
    ground = DiskGround()
    assert ground.drbd(start=False, **parameters).error is None
    assert not any(ground.world.mirrors.values())
    ground.nodes.made.clear()
    return ground


def test_details_of_a_mirror_are_told_without_its_secret() -> None:
    """What the nodes prove themselves to each other with is in no job's result."""
    ground = stopped()
    [disk] = ground.journal.head.disks_of(ground.instance())
    secret = str(disk.logical_id[5])
    assert len(secret) == 40
    end = ground.run("OP_INSTANCE_QUERY_DATA", instances=["web1"], static=True)
    assert end.error is None
    assert end.result["web1"]["disks"][0]["logical_id"][:5] == list(disk.logical_id[:5])
    assert secret not in repr(end.result)


# activate-disks, deactivate-disks


def test_disks_are_attached_and_their_devices_told() -> None:
    """Node, name and device of each, as the node said when it opened them: it is not asked again; that is recorded."""
    ground = stopped(disks=[{"size": 1024}, {"size": 1024}])
    ground.nodes.answers["disk_states"] = lambda _node, _call: NodeFailure("storage_error", "asked again")
    end = ground.run("OP_INSTANCE_ACTIVATE_DISKS", instance_name="web1")
    assert end.result == [
        ("node1.example.com", "disk/0", "/dev/drbd0"),
        ("node1.example.com", "disk/1", "/dev/drbd1"),
    ]
    assert ground.instance().disks_active
    assert [mirror.primary for mirror in ground.world.mirrors[NODE1].values()] == [True, True]
    assert [mirror.primary for mirror in ground.world.mirrors[NODE2].values()] == [False, False]
    held = {(lock.level, lock.name) for lock in ground.locks.wanted}
    assert held == {(Level.INSTANCE, "web1"), (Level.NODE, NODE1), (Level.NODE, NODE2)}


def test_disks_that_cannot_be_attached_are_detached_again() -> None:
    """On both nodes; the record says so too."""
    ground = stopped()
    original = ground.nodes.answers["disk_assemble"]
    ground.nodes.answers["disk_assemble"] = lambda node, call: (
        NodeFailure("failed", "busy") if call.primary else original(node, call)
    )
    end = ground.run("OP_INSTANCE_ACTIVATE_DISKS", instance_name="web1")
    assert end.error is not None
    assert "busy" in end.error.text
    assert not any(ground.world.mirrors.values())
    assert not ground.instance().disks_active


def test_disks_in_use_stay_attached_when_attaching_them_again_fails() -> None:
    """Nothing is taken from a running guest."""
    ground = DiskGround()
    ground.drbd()
    ground.nodes.answers["disk_assemble"] = lambda _n, _c: NodeFailure("failed", "busy")
    assert ground.run("OP_INSTANCE_ACTIVATE_DISKS", instance_name="web1").error is not None
    assert ground.world.mirrors[NODE1][0].primary
    assert ground.instance().disks_active


def test_with_ignore_size_nodes_take_disks_as_large_as_they_are() -> None:
    """No size is sent."""
    ground = stopped()
    ground.run("OP_INSTANCE_ACTIVATE_DISKS", instance_name="web1", ignore_size=True)
    assert {call.disk.size for _, call in ground.nodes.made if call.tag() == "disk_assemble"} == {0}


def test_attaching_waits_for_mirrors_where_that_is_wanted() -> None:
    """With progress in the log."""
    ground = stopped()
    ground.world.percent = [50.0]
    ground.run("OP_INSTANCE_ACTIVATE_DISKS", instance_name="web1", wait_for_sync=True)
    assert " - INFO: Instance web1's disks are in sync" in ground.said


def test_disks_of_a_running_guest_are_not_detached() -> None:
    """Unless forced; of a stopped one they are, on both nodes, the primary one first."""
    ground = DiskGround()
    ground.drbd()
    assert "wrong_state: web1 is running" in ground.refused("OP_INSTANCE_DEACTIVATE_DISKS", instance_name="web1")
    ground.nodes.made.clear()
    assert ground.run("OP_INSTANCE_DEACTIVATE_DISKS", instance_name="web1", force=True).error is None
    assert [node for node, _ in ground.nodes.made] == [NODE1, NODE2]
    assert not any(ground.world.mirrors.values())
    assert not ground.instance().disks_active


def test_an_instance_without_disks_has_none_that_are_active() -> None:
    """Its last disk was removed while it was active: that can be set right, also twice; there is nothing to attach."""
    ground = stopped()
    assert ground.run("OP_INSTANCE_ACTIVATE_DISKS", instance_name="web1").error is None
    ground.run("OP_INSTANCE_SET_PARAMS", instance_name="web1", disks=[["remove", 0, {}]] * len(ground.instance().disks))
    assert (ground.instance().disks, ground.instance().disks_active) == ((), True)
    for _ in range(2):
        assert ground.run("OP_INSTANCE_DEACTIVATE_DISKS", instance_name="web1").error is None
        assert not ground.instance().disks_active
    assert "has no disks to activate" in ground.refused("OP_INSTANCE_ACTIVATE_DISKS", instance_name="web1")


@pytest.mark.parametrize(
    ("op_id", "parameters"),
    [
        ("OP_INSTANCE_ACTIVATE_DISKS", {}),
        ("OP_INSTANCE_DEACTIVATE_DISKS", {}),
        ("OP_INSTANCE_GROW_DISK", {"disk": 0, "amount": 1024}),
        ("OP_INSTANCE_REPLACE_DISKS", {"mode": "replace_on_primary"}),
        ("OP_INSTANCE_RECREATE_DISKS", {}),
        ("OP_INSTANCE_SET_PARAMS", {"disk_template": "plain"}),
        ("OP_INSTANCE_SET_PARAMS", {"disks": [["add", -1, {"size": 1024}]]}),
        ("OP_INSTANCE_MIGRATE", {}),
    ],
)
def test_disks_of_a_node_that_is_away_are_left_alone(op_id: str, parameters: dict[str, Any]) -> None:
    """One line with the node and a remedy that the command has."""
    ground = stopped()
    ground.journal.head = ground.journal.head.put(replace(ground.journal.head.nodes[NODE1], offline=True))
    text = ground.refused(op_id, instance_name="web1", **parameters)
    assert text == (
        "wrong_state: the primary node node1.example.com is marked offline | "
        "gnt-node modify --offline=no node1.example.com"
    )


@pytest.mark.parametrize(
    ("op_id", "parameters", "what"),
    [
        (
            "OP_INSTANCE_GROW_DISK",
            {"disk": 0, "amount": 1024},
            "the secondary node node2.example.com is marked offline",
        ),
        ("OP_INSTANCE_RECREATE_DISKS", {}, "the secondary node node2.example.com is marked offline"),
        ("OP_INSTANCE_REPLACE_DISKS", {"mode": "replace_on_primary"}, "the secondary node node2.example.com is marked"),
        (
            "OP_INSTANCE_SET_PARAMS",
            {"disks": [["add", -1, {"size": 1024}]]},
            "the secondary node node2.example.com is marked offline",
        ),
        ("OP_INSTANCE_MIGRATE", {}, "node2.example.com is marked offline and cannot be target of a migration"),
    ],
)
def test_what_needs_the_other_side_says_that_it_is_away(op_id: str, parameters: dict[str, Any], what: str) -> None:
    """Before anything is asked or done."""
    ground = stopped()
    ground.journal.head = ground.journal.head.put(replace(ground.journal.head.nodes[NODE2], offline=True))
    assert f"wrong_state: {what}" in ground.refused(op_id, instance_name="web1", **parameters)


def test_a_node_that_cannot_be_asked_is_named() -> None:
    """Whatever keeps it from answering."""
    ground = stopped()
    ground.nodes.answers["node_info"] = lambda _node, _call: NotReached("no connection")
    text = ground.refused("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=1024)
    assert text.startswith("not_reached: node1.example.com: no connection")


# grow-disk


def test_a_mirror_grows_on_both_sides_and_then_itself() -> None:
    """The new size is recorded, for the data volumes too; a stopped instance has its disks detached again."""
    ground = stopped()
    assert ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=512).error is None
    grown = [(node, call.size, call.backing) for node, call in ground.nodes.made if isinstance(call, DiskGrow)]
    assert grown == [(NODE1, 1536, True), (NODE2, 1536, True), (NODE1, 1536, False)]
    (disk,) = ground.journal.head.disks_of(ground.instance())
    assert (disk.size, disk.children[0].size, disk.children[1].size) == (1536, 1536, 128)
    assert not any(ground.world.mirrors.values())


@pytest.mark.parametrize("start", [False, True])
def test_a_group_that_is_full_half_way_keeps_the_mirror_as_it_was(start: bool) -> None:
    """One side has grown, the other cannot: the mirror has its old size, is closed if it was, and grows later."""
    ground = DiskGround()
    ground.drbd(start=start)
    plain = ground.nodes.answers["disk_grow"]
    ground.nodes.answers["disk_grow"] = lambda node, call: (
        NodeFailure("no_space", "it is full") if node == NODE2 else plain(node, call)
    )
    end = ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=512)
    assert end.error is not None
    assert "it is full" in end.error.text
    (disk,) = ground.journal.head.disks_of(ground.instance())
    assert disk.size == 1024
    assert any(ground.world.mirrors.values()) is start
    assert ground.instance().disks_active is start
    ground.nodes.answers["disk_grow"] = plain
    assert ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=512).error is None
    (disk,) = ground.journal.head.disks_of(ground.instance())
    assert (disk.size, disk.children[0].size) == (1536, 1536)
    assert {volume.size for volumes in ground.world.volumes.values() for volume in volumes.values()} == {1536, 128}
    assert any(ground.world.mirrors.values()) is start


def test_what_has_grown_already_needs_no_room_again() -> None:
    """One side took most of its group before the other failed: the same command again only needs the other's room."""
    ground = stopped()
    plain = ground.nodes.answers["disk_grow"]
    ground.nodes.answers["disk_grow"] = lambda node, call: (
        NodeFailure("storage_error", "it is full") if node == NODE2 else plain(node, call)
    )
    grow = {"instance_name": "web1", "disk": 0, "amount": 60_000, "ignore_ipolicy": True}
    assert "it is full" in str(ground.run("OP_INSTANCE_GROW_DISK", **grow).error)
    assert ground.world.free(NODE1) < 60_000 < ground.world.free(NODE2)
    ground.nodes.answers["disk_grow"] = plain
    more = ground.refused("OP_INSTANCE_GROW_DISK", **{**grow, "amount": 99_000})
    assert "node1.example.com: volume group xenvg has 38848 MiB free, 39000 MiB wanted" in more
    assert ground.run("OP_INSTANCE_GROW_DISK", **grow).error is None
    (disk,) = ground.journal.head.disks_of(ground.instance())
    assert (disk.size, disk.children[0].size) == (61_024, 61_024)
    assert ground.world.free(NODE1) == ground.world.free(NODE2)


def test_a_wipe_that_fails_leaves_nothing_open() -> None:
    """The disk has its new size, since there is no way back, and is closed as it was."""
    ground = DiskGround(prealloc_wipe_disks=True)
    ground.drbd(start=False)
    ground.nodes.answers["disk_wipe"] = lambda _node, _call: NodeFailure("storage_error", "a bad block")
    end = ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=512)
    assert end.error is not None
    assert "a bad block" in end.error.text
    assert ground.journal.head.disks_of(ground.instance())[0].size == 1536
    assert not any(ground.world.mirrors.values())
    assert not ground.instance().disks_active


@pytest.mark.parametrize("after", [False, True])
def test_a_master_that_dies_while_a_mirror_grows(after: bool) -> None:
    """The record never has more than there is; what was closed is closed, and the command may be given again."""
    grow = {"instance_name": "web1", "disk": 0, "amount": 2048, "absolute": True}
    moments = 0
    for moments, ground in crashes(stopped, "OP_INSTANCE_GROW_DISK", after=after, **grow):
        (disk,) = ground.journal.head.disks_of(ground.instance())
        volumes = [volume.size for held in ground.world.volumes.values() for volume in held.values()]
        assert disk.size <= disk.children[0].size <= min(size for size in volumes if size != 128), moments
        assert not any(ground.world.mirrors.values()), moments
        if disk.size < 2048:
            assert ground.run("OP_INSTANCE_GROW_DISK", **grow).error is None, moments
        assert ground.journal.head.disks_of(ground.instance())[0].size == 2048
        ground.tidy()
    assert moments > 5


def test_a_size_may_be_absolute_and_is_never_smaller() -> None:
    """The refusal says how large the disk is."""
    ground = DiskGround()
    ground.plain()
    assert ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=2048, absolute=True).error is None
    assert ground.journal.head.disks_of(ground.instance())[0].size == 2048
    shrink = ground.refused("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=100, absolute=True)
    assert shrink.startswith("wrong_state: disk/0 has 2048 MiB already, which is more than 100 MiB")
    assert "cannot be made smaller" in shrink
    assert "larger" in ground.refused("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=0)
    assert "has no disk 3" in ground.refused("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=3, amount=1)


@pytest.mark.parametrize("stripes", [1, 2])
def test_sizes_are_those_that_volumes_have(stripes: int) -> None:
    """A volume consists of whole extents of its group, in whole rows; a mirror has just the size that it is given."""
    ground = DiskGround(diskparams={"plain": {"stripes": stripes}})
    ground.world.extent = grain = 32
    grain *= stripes

    def sizes(name: str) -> list[int]:
        return [disk.size for disk in ground.journal.head.disks_of(ground.instance(name))]

    def modify(**parameters: Any) -> None:
        end = ground.run("OP_INSTANCE_SET_PARAMS", instance_name="web1", ignore_ipolicy=True, **parameters)
        assert end.error is None

    given: dict[str, Any] = {"disks": [{"size": 1030}], "start": False, "ignore_ipolicy": True}
    assert ground.plain(**given).error is None
    assert ground.drbd("web2", **given).error is None
    assert (sizes("web1"), sizes("web2")) == ([1024 + grain], [1030])
    modify(disks=[["add", -1, {"size": 10}]])
    grow = {"instance_name": "web1", "disk": 0, "ignore_ipolicy": True}
    assert ground.run("OP_INSTANCE_GROW_DISK", **grow, amount=1).error is None
    assert sizes("web1") == [1024 + 2 * grain, grain]
    assert "which is more than" in ground.refused("OP_INSTANCE_GROW_DISK", **grow, amount=1024, absolute=True)
    assert ground.run("OP_INSTANCE_GROW_DISK", **{**grow, "disk": 1}, amount=grain + 1, absolute=True).error is None
    modify(disk_template="file")
    assert sizes("web1") == [1024 + 2 * grain, 2 * grain]
    ground.world.extent = 128
    modify(disk_template="plain")
    assert sizes("web1") == [1024 + 128 * stripes, 128 * stripes]


def test_sizes_are_those_that_thin_volumes_have() -> None:
    """They too consist of whole extents of their group; a pool knows no stripes."""
    ground = DiskGround(diskparams={"plain": {"stripes": 2}})
    ground.world.extent = 32
    given: dict[str, Any] = {"disks": [{"size": 1030}], "start": False, "ignore_ipolicy": True}
    assert ground.add("web1", disk_template="thin", **given).error is None
    added = {"instance_name": "web1", "disks": [["add", -1, {"size": 10}]], "ignore_ipolicy": True}
    assert ground.run("OP_INSTANCE_SET_PARAMS", **added).error is None
    grow = {"instance_name": "web1", "disk": 0, "ignore_ipolicy": True}
    assert ground.run("OP_INSTANCE_GROW_DISK", **grow, amount=1).error is None
    disks = ground.journal.head.disks_of(ground.instance())
    assert [disk.size for disk in disks] == [1024 + 2 * 32, 32]
    volumes = {volume.owner: volume.size for volume in ground.world.volumes[NODE1].values()}
    assert [volumes[disk.uuid] for disk in disks] == [1024 + 2 * 32, 32]
    ground.world.volumes[NODE1].clear()
    ground.world.extents = {NODE1: 64}
    made = {"instance_name": "web1", "disks": [[0, {"size": 100}]]}
    assert ground.run("OP_INSTANCE_RECREATE_DISKS", **made).error is None
    assert ground.journal.head.disks_of(ground.instance())[0].size == 128


def test_only_the_new_part_is_filled_with_zeros() -> None:
    """Where the cluster wants new disks wiped."""
    ground = DiskGround(prealloc_wipe_disks=True)
    ground.plain()
    ground.world.wiped.clear()
    assert ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=1024).error is None
    assert ground.world.wiped[0][1] == 1024
    assert sum(size for _, _, size in ground.world.wiped) == 1024


def test_growing_is_refused_without_room_and_beyond_the_policy() -> None:
    """Before anything grows; the group and its numbers are named."""
    ground = DiskGround()
    ground.plain()
    text = ground.refused("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=99_000)
    assert "insufficient_resources: Not enough disk space on node1.example.com: volume group xenvg" in text
    assert text.endswith("grow it by less, or enlarge the group there: vgextend")
    ground.add("files", disk_template="file")
    ground.nodes.answers["disk_grow_check"] = lambda _n, _c: None
    text = ground.refused("OP_INSTANCE_GROW_DISK", instance_name="files", disk=0, amount=2_000_000)
    assert "policy violated" in text


def test_templates_that_cannot_grow_say_so() -> None:
    """Devices of others are as large as they are."""
    ground = DiskGround()
    ground.nodes.answers.update({tag: lambda _n, _c: None for tag in ("disk_create", "disk_assemble")})
    ground.add("block", disk_template="blockdev", disks=[{"adopt": "/dev/disk/by-id/x"}])
    assert "cannot grow" in ground.refused("OP_INSTANCE_GROW_DISK", instance_name="block", disk=0, amount=1)


# recreate-disks


def lost(ground: DiskGround) -> None:
    """Lose all volumes of all nodes."""
    ground.world.volumes.clear()
    ground.world.mirrors.clear()
    ground.nodes.made.clear()


def test_lost_disks_are_made_again_where_they_were() -> None:
    """With their names and numbers."""
    ground = stopped(disks=[{"size": 1024}, {"size": 1024}])
    before = ground.journal.head.disks_of(ground.instance())
    lost(ground)
    assert ground.run("OP_INSTANCE_RECREATE_DISKS", instance_name="web1").error is None
    assert ground.journal.head.disks_of(ground.instance()) == before
    assert {node: len(volumes) for node, volumes in ground.world.volumes.items()} == {NODE1: 4, NODE2: 4}
    ground.tidy()


def test_one_disk_may_be_made_again_with_another_size() -> None:
    """The others are left alone."""
    ground = stopped(disks=[{"size": 1024}, {"size": 1024}])
    (first, second) = ground.journal.head.disks_of(ground.instance())
    for node in (NODE1, NODE2):
        for child in second.children:
            del ground.world.volumes[node]["/".join(map(str, child.logical_id))]
    end = ground.run("OP_INSTANCE_RECREATE_DISKS", instance_name="web1", disks=[[1, {"size": 2048}]])
    assert end.error is None
    (same, larger) = ground.journal.head.disks_of(ground.instance())
    assert same == first
    assert (larger.size, larger.children[0].size) == (2048, 2048)
    ground.tidy()


def test_a_disk_that_is_there_is_not_made_again() -> None:
    """Its data would be lost; the way to renew one side of a mirror is named."""
    ground = stopped()
    text = ground.refused("OP_INSTANCE_RECREATE_DISKS", instance_name="web1")
    assert "disk/0 is not lost" in text
    assert "replace-disks" in text


def test_disks_are_made_again_on_other_nodes_although_the_old_one_is_away() -> None:
    """New minors, the old port and secret; what the old nodes may still have goes when they are back."""
    ground = stopped()
    (before,) = ground.journal.head.disks_of(ground.instance())
    node1 = ground.journal.head.node("node1")
    ground.journal.head = ground.journal.head.put(replace(node1, offline=True))
    lost(ground)
    end = ground.run("OP_INSTANCE_RECREATE_DISKS", instance_name="web1", nodes=["node3", "node2"])
    assert end.error is None
    (after,) = ground.journal.head.disks_of(ground.instance())
    assert ground.instance().primary_node == NODE3
    assert after.logical_id[:2] == (NODE3, NODE2)
    assert after.logical_id[2] == before.logical_id[2]
    assert after.logical_id[5] == before.logical_id[5]
    assert [node for node, call in ground.nodes.made if isinstance(call, DiskRemove)] == [NODE1]
    ground.tidy()


def test_what_the_old_nodes_cannot_remove_is_owed() -> None:
    """The model has the disks elsewhere by then: nobody else would find the old ones again."""
    ground = stopped()
    lost(ground)
    ground.nodes.answers["disk_remove"] = lambda _node, _call: NodeFailure("busy", "it is held open")
    end = ground.run("OP_INSTANCE_RECREATE_DISKS", instance_name="web1", nodes=["node3", "node2"])
    assert end.error is None
    assert [key.partition("/")[0] for space, key in ground.journal.rows_ if space is Space.DEBT] == [NODE1]


def test_bad_wishes_for_lost_disks_are_refused() -> None:
    """Each names what is wrong."""
    ground = stopped()
    for parameters, expected in (
        ({"disks": [7]}, "has no disk 7"),
        ({"disks": [0, 0]}, "disk/0 is named twice"),
        ({"disks": [[0, {"name": "x"}]]}, "disk/0: name cannot be changed here"),
        ({"disks": [[0, {"size": "-1"}]]}, "size"),
        ({"nodes": ["node3"]}, "on 2 node(s), but 1 are named"),
        ({"nodes": ["node3", "node3"]}, "named twice"),
        ({"iallocator": "hail"}, "iallocator is not supported"),
    ):
        assert expected in ground.refused("OP_INSTANCE_RECREATE_DISKS", instance_name="web1", **parameters)
    ground.run("OP_INSTANCE_STARTUP", instance_name="web1")
    assert "is running" in ground.refused("OP_INSTANCE_RECREATE_DISKS", instance_name="web1")
