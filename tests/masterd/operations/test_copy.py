"""Instances whose disks are copied to another node."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.model.errors import NodeFailure, NotReached
from gnt.store.changes import Space
from gnt.wire.disk_calls import DiskOffer
from tests.masterd.fakes import NODE1, NODE2
from tests.masterd.operations.crashing import crashes
from tests.masterd.operations.test_new_disks import DiskGround

MOVE = "OP_INSTANCE_MOVE"


def local(template: str = "plain", **parameters: Any) -> DiskGround:
    """Give a cluster with an instance of two disks on node1."""
    wipes = parameters.pop("prealloc_wipe_disks", False)
    ground = DiskGround(prealloc_wipe_disks=wipes)
    assert ground.add(disk_template=template, disks=[{"size": 1024}, {"size": 2048}], **parameters).error is None
    ground.nodes.made.clear()
    return ground


@pytest.mark.parametrize("template", ["plain", "file"])
def test_a_running_instance_is_stopped_copied_and_started_there(template: str) -> None:
    """Its volumes have the same names there, and are gone here."""
    ground = local(template)
    names = set(ground.world.volumes[NODE1])
    assert ground.run(MOVE, instance_name="web1", target_node="node2").error is None
    assert ground.instance().primary_node == NODE2
    assert [disk.nodes for disk in ground.journal.head.disks_of(ground.instance())] == [(NODE2,), (NODE2,)]
    assert (ground.world.volumes[NODE1], set(ground.world.volumes[NODE2])) == ({}, names)
    assert [to for _, to in ground.world.copied] == list(ground.instance().disks)
    assert (ground.guests[NODE1], list(ground.guests[NODE2])) == ({}, [ground.instance().uuid])
    offers = [call for _, call in ground.nodes.made if isinstance(call, DiskOffer)]
    assert {(offer.reader, offer.address) for offer in offers} == {(NODE2, "192.0.2.1")}
    ground.tidy()


@pytest.mark.parametrize("wipes", [False, True])
def test_sizes_are_those_that_volumes_have_on_the_new_node(wipes: bool) -> None:
    """Its group may have larger extents; what the copy does not fill is wiped where the cluster wants that."""
    ground = local(start=False, prealloc_wipe_disks=wipes)
    ground.world.extents = {NODE2: 768}
    ground.world.wiped.clear()
    assert ground.run(MOVE, instance_name="web1", target_node="node2", ignore_ipolicy=True).error is None
    one, two = ground.journal.head.disks_of(ground.instance())
    assert (one.size, two.size) == (1536, 2304)
    assert {volume.size for volume in ground.world.volumes[NODE2].values()} == {1536, 2304}
    filled = [(disk, offset + size) for disk, offset, size in ground.world.wiped]
    ends = {disk: max(end for each, end in filled if each == disk) for disk, _ in filled}
    assert ends == ({one.uuid: 1536, two.uuid: 2304} if wipes else {})
    begins = {disk: min(offset for each, offset, _ in ground.world.wiped if each == disk) for disk, _ in filled}
    assert begins == ({one.uuid: 1024, two.uuid: 2048} if wipes else {})
    ground.tidy()


def test_a_target_with_larger_extents_must_have_the_room_for_them() -> None:
    """What is wanted there is what the volumes will take, and it is told before anything is made."""
    ground = local(start=False)
    ground.world.extents = {NODE2: 60_000}
    text = ground.refused(MOVE, instance_name="web1", target_node="node2", ignore_ipolicy=True)
    assert "node2.example.com: volume group xenvg has 100000 MiB free, 120000 MiB wanted" in text
    assert ground.world.volumes.get(NODE2, {}) == {}


def test_an_instance_that_is_down_stays_down() -> None:
    """Its disks are closed on the new node."""
    ground = local(start=False)
    assert ground.run(MOVE, instance_name="web1", target_node="node2").error is None
    assert "guest_start" not in ground.nodes.tags()
    assert ground.nodes.tags()[-1] == "disk_release"
    assert not ground.instance().disks_active


def test_a_copy_that_fails_starts_the_guest_where_it_was() -> None:
    """Nothing stays on the other node."""
    ground = local()
    ground.nodes.answers["disk_pull"] = lambda _n, _c: NodeFailure("failed", "connection lost")
    end = ground.run(MOVE, instance_name="web1", target_node="node2")
    assert end.error is not None
    assert "connection lost" in end.error.text
    assert ground.instance().primary_node == NODE1
    assert list(ground.guests[NODE1]) == [ground.instance().uuid]
    assert not ground.world.volumes[NODE2]
    ground.tidy()


def test_what_the_old_node_cannot_remove_is_owed() -> None:
    """The record has the disks elsewhere by then: nobody else would find the old ones again."""
    ground = local()
    ground.nodes.answers["disk_remove"] = lambda _node, _call: NodeFailure("busy", "it is held open")
    assert ground.run(MOVE, instance_name="web1", target_node="node2").error is None
    owing = [key.partition("/")[0] for space, key in ground.journal.rows_ if space is Space.DEBT]
    assert owing == [NODE1] * 2


@pytest.mark.parametrize("after", [False, True])
def test_a_master_that_dies_anywhere_leaves_one_copy(after: bool) -> None:
    """Where the record says; no volume without owner, no second guest."""
    count = 0
    for moment, ground in crashes(local, MOVE, after=after, instance_name="web1", target_node="node2"):
        count = moment
        here = ground.instance().primary_node
        there = NODE1 if here == NODE2 else NODE2
        assert len(ground.world.volumes[here]) == 2, moment
        assert not ground.world.volumes.get(there), moment
        assert not ground.guests.get(there), moment
        if here == NODE2:
            assert len(ground.world.copied) == 2, moment
        ground.tidy()
    assert count > 10


def test_bad_targets_are_refused() -> None:
    """Each says why."""
    ground = local()
    for parameters, expected in (
        ({"target_node": "node1"}, "is on node1.example.com already"),
        ({"target_node": "node9"}, "unknown_entity: node9"),
        ({"target_node": "node2", "compress": "gzip"}, "compress gzip is not supported"),
    ):
        assert expected in ground.refused(MOVE, instance_name="web1", **parameters)
    ground.memory_free = 10
    assert "Not enough memory on node2" in ground.refused(MOVE, instance_name="web1", target_node="node2")
    ground.memory_free = 4096
    node2 = ground.journal.head.node("node2")
    ground.journal.head = ground.journal.head.put(replace(node2, drained=True))
    assert "drained" in ground.refused(MOVE, instance_name="web1", target_node="node2")
    ground.journal.head = ground.journal.head.put(replace(node2, offline=True))
    ground.nodes.answers["hypervisor_check"] = lambda _node, _call: NotReached("node2: Node is marked offline")
    text = ground.refused(MOVE, instance_name="web1", target_node="node2")
    assert "node2.example.com is marked offline and cannot be target of a move | choose another node" in text
    del ground.nodes.answers["hypervisor_check"]
    ground.drbd("web2", snode="node3")
    text = ground.refused(MOVE, instance_name="web2", target_node="node3")
    assert "disks of template drbd, which are not copied" in text
