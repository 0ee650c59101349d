"""The disks of nodes: listed, repaired, left, compared with what is on record."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.opcodes.instance_disks import InstanceReplaceDisks
from gnt.opcodes.instance_move import InstanceMigrate
from gnt.wire.disk_calls import MirrorOverview, VolumeFacts
from tests.masterd.fakes import NODE1, NODE2
from tests.masterd.operations.disk_world import Mirror, Volume
from tests.masterd.operations.test_new_disks import DiskGround


@pytest.fixture
def ground() -> DiskGround:
    """Give a cluster with a mirrored instance and a plain one, both running."""
    made = DiskGround()
    assert made.drbd("web1").error is None
    assert made.plain("web2").error is None
    made.nodes.made.clear()
    return made


# Volumes and storage units


def test_volumes_are_listed_with_their_instances(ground: DiskGround) -> None:
    """A row for each device that a volume lies on, in order; texts all."""
    disk = ground.journal.head.disks_of(ground.instance("web2"))[0]
    volumes = [
        VolumeFacts(group="xenvg", name="own", size=10, active=True, opened=False, devices=["/dev/sdb(0)"]),
        VolumeFacts(
            group="xenvg",
            name=str(disk.logical_id[1]),
            size=1024,
            active=True,
            opened=True,
            devices=["/dev/sda(0)", "/dev/sdb(7)"],
        ),
    ]
    ground.nodes.answers["volume_list"] = lambda node, _c: volumes if node == NODE1 else NodeFailure("failed", "no lvs")
    fields = ["node", "phys", "vg", "name", "size", "instance"]
    end = ground.run("OP_NODE_QUERYVOLS", output_fields=fields, nodes=["node1", "node2"])
    name = disk.logical_id[1]
    assert end.result == [
        ["node1.example.com", "/dev/sda", "xenvg", name, "1024", "web2"],
        ["node1.example.com", "/dev/sdb", "xenvg", name, "1024", "web2"],
        ["node1.example.com", "/dev/sdb", "xenvg", "own", "10", "-"],
    ]
    assert " - WARNING: node2.example.com: no lvs" in ground.said
    assert "no field 'colour'" in ground.refused("OP_NODE_QUERYVOLS", output_fields=["colour"])


def test_storage_units_are_listed(ground: DiskGround) -> None:
    """Of the kind that is asked for, with their sizes."""
    fields = ["node", "type", "name", "free"]
    end = ground.run("OP_NODE_QUERY_STORAGE", output_fields=fields, storage_type="lvm-vg", nodes=["node3"])
    assert end.result == [["node3.example.com", "lvm-vg", "xenvg", 100_000]]
    text = ground.refused("OP_NODE_QUERY_STORAGE", output_fields=fields, storage_type="rados")
    assert "has no units that could be listed" in text


def test_physical_volumes_are_marked(ground: DiskGround) -> None:
    """Only those, and only whether they are used for new volumes."""
    given = {"node_name": "node1", "storage_type": "lvm-pv", "name": "/dev/sda"}
    assert ground.run("OP_NODE_MODIFY_STORAGE", **given, changes={"allocatable": False}).error is None
    assert [(node, call.name, call.allocatable) for node, call in ground.nodes.made] == [(NODE1, "/dev/sda", False)]
    for changes, expected in (({}, "Nothing is to be changed"), ({"size": 5}, "size of a physical volume")):
        assert expected in ground.refused("OP_NODE_MODIFY_STORAGE", **given, changes=changes)
    given["storage_type"] = "lvm-vg"
    assert "nothing that can be changed" in ground.refused(
        "OP_NODE_MODIFY_STORAGE", **given, changes={"allocatable": True}
    )


def test_a_volume_group_is_not_repaired_over_a_last_copy(ground: DiskGround) -> None:
    """The instance is named; who insists is warned."""
    given = {"node_name": "node1", "storage_type": "lvm-vg", "name": "xenvg"}
    ground.world.mirrors[NODE2][0].volumes = None
    assert "web1 may have the last good copy" in ground.refused("OP_REPAIR_NODE_STORAGE", **given)
    assert ground.run("OP_REPAIR_NODE_STORAGE", **given, ignore_consistency=True).error is None
    assert ground.nodes.tags() == ["storage_repair"]
    ground.world.mirrors[NODE2][0].volumes = ("a", "b")
    assert ground.run("OP_REPAIR_NODE_STORAGE", **given).error is None
    unknown = ground.refused("OP_REPAIR_NODE_STORAGE", **{**given, "name": "nope"})
    assert unknown == "unknown_entity: node1.example.com has no volume group nope | there are: xenvg"
    given["storage_type"] = "lvm-pv"
    assert "are not repaired" in ground.refused("OP_REPAIR_NODE_STORAGE", **given)


# Leaving a node


def test_secondary_instances_get_another_secondary(ground: DiskGround) -> None:
    """A job for each."""
    end = ground.run("OP_NODE_EVACUATE", node_name="node2", mode="secondary-only", remote_node="node3")
    ((job,),) = end.jobs
    assert isinstance(job, InstanceReplaceDisks)
    assert (job.instance_name, job.mode, job.remote_node) == ("web1", "replace_new_secondary", "node3.example.com")


def test_primary_instances_go_to_their_other_side(ground: DiskGround) -> None:
    """Those that have none are named, with what would help."""
    text = ground.refused("OP_NODE_EVACUATE", node_name="node1", mode="primary-only")
    assert "web2 on node1.example.com has no other side" in text
    ground.run("OP_INSTANCE_REMOVE", instance_name="web2")
    ((job,),) = ground.run("OP_NODE_EVACUATE", node_name="node1", mode="primary-only").jobs
    assert isinstance(job, InstanceMigrate)
    assert (job.instance_name, job.allow_failover) == ("web1", True)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"mode": "all"}, "cannot leave at once"),
        ({"mode": "secondary-only"}, "No new secondary node is named"),
        ({"mode": "secondary-only", "remote_node": "node2"}, "is the node that is to be left"),
        ({"mode": "secondary-only", "remote_node": "node1"}, "is the primary node of web1"),
        ({"mode": "primary-only", "remote_node": "node3"}, "only named for secondary instances"),
        ({"mode": "secondary-only", "iallocator": "hail"}, "iallocator is not supported"),
    ],
)
def test_bad_wishes_to_leave_are_refused(ground: DiskGround, parameters: dict[str, Any], expected: str) -> None:
    """In one line."""
    assert expected in ground.refused("OP_NODE_EVACUATE", node_name="node2", **parameters)


def test_all_primary_instances_are_migrated(ground: DiskGround) -> None:
    """With the wishes of the one opcode."""
    ground.run("OP_INSTANCE_REMOVE", instance_name="web2")
    assert ground.drbd("web3").error is None
    end = ground.run("OP_NODE_MIGRATE", node_name="node1", mode="non-live")
    assert [(job.instance_name, job.mode) for (job,) in end.jobs] == [("web1", "non-live"), ("web3", "non-live")]


def test_migrations_that_could_only_fail_are_not_begun(ground: DiskGround) -> None:
    """Those whose disks do not move are named, those that need a target, and a target that is no mirror's side."""
    text = ground.refused("OP_NODE_MIGRATE", node_name="node1")
    assert text.startswith(
        "wrong_state: web2 on node1.example.com has disks that only this node reaches | gnt-instance"
    )
    ground.run("OP_INSTANCE_REMOVE", instance_name="web2")
    given: dict[str, Any] = {"disk_template": "diskless", "disks": [], "nics": [], "os_type": "noop", "pnode": "node1"}
    given["ignore_ipolicy"] = True
    for name in ("web4", "web5"):
        assert ground.run("OP_INSTANCE_CREATE", instance_name=name, mode="create", **given).error is None
    text = ground.refused("OP_NODE_MIGRATE", node_name="node1")
    assert "web4, web5 on node1.example.com have no secondary node: a target must be named | -n NODE" in text
    assert "can only go to its secondary node" in ground.refused(
        "OP_NODE_MIGRATE", node_name="node1", target_node="node3"
    )
    ends = ground.run("OP_NODE_MIGRATE", node_name="node1", target_node="node2")
    assert [job.instance_name for (job,) in ends.jobs] == ["web1", "web4", "web5"]


# verify-disks, repair-disk-sizes, verify


def test_disks_that_are_missing_or_not_attached_are_found(ground: DiskGround) -> None:
    """What fails by node, whom to activate, what is missing by instance."""
    ((job,),) = ground.run("OP_CLUSTER_VERIFY_DISKS").jobs
    assert job.group_name == "default"
    assert ground.run("OP_GROUP_VERIFY_DISKS", group_name="default").result == ({}, [], {})
    ground.world.mirrors[NODE2].clear()
    (gone,) = (name for name in ground.world.volumes[NODE1] if name.endswith("disk0"))
    del ground.world.volumes[NODE1][gone]
    assert ground.run("OP_GROUP_VERIFY_DISKS", group_name="default").result == (
        {},
        ["web1"],
        {"web2": [["node1.example.com", gone]]},
    )
    ground.nodes.answers["volume_list"] = lambda _n, _c: NodeFailure("storage_error", "vgs failed")
    failing, inactive, missing = ground.run("OP_GROUP_VERIFY_DISKS", group_name="default").result
    assert set(failing) == {"node1.example.com", "node2.example.com"}
    assert (inactive, missing) == (["web1"], {})


def test_sizes_are_recorded_as_they_are(ground: DiskGround) -> None:
    """For mirrors the data volumes grow with them; what differs is told and given."""
    assert ground.run("OP_CLUSTER_REPAIR_DISK_SIZES").result == []
    ground.world.mirrors[NODE1][0].size = 1500
    end = ground.run("OP_CLUSTER_REPAIR_DISK_SIZES", instances=["web1"])
    assert end.result == [("web1", 0, "size", 1500)]
    (disk,) = ground.journal.head.disks_of(ground.instance("web1"))
    assert (disk.size, disk.children[0].size) == (1500, 1500)
    assert any("has 1500 MiB, not 1024: recorded" in line for line in ground.said)


def verified(ground: DiskGround) -> list[str]:
    """Verify the group; give what is said of disks."""
    end = ground.run("OP_CLUSTER_VERIFY_GROUP", group_name="default", error_codes=True)
    assert end.error is None
    wanted = ("LV", "DISK", "DRBD", "LVM")
    return [line for line in ground.said if any(word in line.split(":")[1:2][0] for word in wanted if ":" in line)]


def test_sizes_on_a_node_that_is_away_are_not_known(ground: DiskGround) -> None:
    """It is said, and nothing is recorded."""
    ground.journal.head = ground.journal.head.put(replace(ground.journal.head.nodes[NODE1], offline=True))
    end = ground.run("OP_CLUSTER_REPAIR_DISK_SIZES", instances=["web1"])
    assert (end.error, end.result) == (None, [])
    assert ground.said == [
        " - WARNING: node1.example.com is marked offline: the sizes of its instances' disks are not known"
    ]


def test_verify_finds_nothing_wrong_with_good_disks(ground: DiskGround) -> None:
    """No line about them."""
    assert verified(ground) == []


def test_verify_finds_what_is_wrong_with_disks(ground: DiskGround) -> None:
    """Orphans unless reserved, missing ones, degraded ones, minors, helpers."""
    ground.journal.head = ground.journal.head.put(
        replace(ground.journal.head.settings, reserved_lvs=("xenvg/root",), drbd_usermode_helper="/bin/false")
    )
    ground.world.volumes[NODE1]["xenvg/root"] = Volume("", 10)
    ground.world.volumes[NODE1]["xenvg/stray"] = Volume("", 10)
    (gone,) = (name for name in ground.world.volumes[NODE1] if name.endswith("disk0"))
    del ground.world.volumes[NODE1][gone]
    ground.world.mirrors[NODE1][0].peer = None
    ground.world.mirrors[NODE2].clear()
    ground.world.mirrors[NODE2][7] = Mirror("x", None)
    said = "\n".join(verified(ground))
    for expected in (
        "ENODEORPHANLV:node:node1.example.com:has the volume xenvg/stray",
        f"EINSTANCEMISSINGDISK:instance:web2:has no volume {gone} on node1.example.com",
        "EINSTANCEFAULTYDISK:instance:web1:disk/0 on node1.example.com is degraded",
        "EINSTANCEFAULTYDISK:instance:web1:disk/0 on node2.example.com is not there",
        "ENODEDRBD:node:node2.example.com:drbd minor 0 of web1 is not active",
        "ENODEDRBD:node:node2.example.com:drbd minor 7 is in use, but belongs to no disk",
        "ENODEDRBDHELPER:node:node1.example.com:has the helper /bin/true, not /bin/false",
    ):
        assert expected in said, said
    assert "xenvg/root" not in said


def test_each_node_is_looked_at_once(ground: DiskGround) -> None:
    """By verify and by repair-disk-sizes, however many instances there are: each look is a scan of all its volumes."""
    assert ground.plain("web3").error is None
    assert ground.drbd("web4").error is None
    asked: list[tuple[str, str]] = []
    ground.nodes.before = lambda node, call: asked.append((node, call.tag()))
    assert verified(ground) == []
    looks = ("disk_states", "volume_list", "mirror_list")
    assert sorted(each for each in asked if each[1] == "disk_states") == [
        (NODE1, "disk_states"),
        (NODE2, "disk_states"),
    ]
    assert [asked.count((NODE1, tag)) for tag in looks] == [1, 1, 1]
    asked.clear()
    assert ground.run("OP_CLUSTER_REPAIR_DISK_SIZES").result == []
    assert asked == [(NODE1, "disk_states")]


def test_verify_finds_what_the_last_disk_left() -> None:
    """Without any disk on record, and with the templates disabled meanwhile: a volume in the cluster's group."""
    ground = DiskGround()
    ground.world.volumes[NODE1] = {"xenvg/stray": Volume("", 10)}
    ground.world.mirrors[NODE2] = {7: Mirror("x", None)}
    orphan = "ENODEORPHANLV:node:node1.example.com:has the volume xenvg/stray"
    minor = "ENODEDRBD:node:node2.example.com:drbd minor 7 is in use, but belongs to no disk"
    said = "\n".join(verified(ground))
    assert orphan in said
    assert minor in said
    settings = ground.journal.head.settings
    ground.journal.head = ground.journal.head.put(
        replace(settings, enabled_disk_templates=(DiskTemplate.DISKLESS,), volume_group_name="xenvg")
    )
    ground.said.clear()
    assert orphan in "\n".join(verified(ground))


def test_verify_tells_nodes_that_cannot_say(ground: DiskGround) -> None:
    """And versions that differ."""
    ground.nodes.answers["volume_list"] = lambda _n, _c: NodeFailure("storage_error", "vgs failed")
    mirrors = ground.nodes.answers["mirror_list"]
    ground.nodes.answers["mirror_list"] = lambda node, call: (
        MirrorOverview(version="8.4.10", minors=mirrors(node, call).minors) if node == NODE2 else mirrors(node, call)
    )
    said = "\n".join(verified(ground))
    assert "ENODELVM:node:node1.example.com:does not list its volumes" in said
    assert "ENODEDRBDVERSION:node:node2.example.com:has drbd 8.4.10" in said


# gnt-instance info


def test_the_disks_of_both_nodes_are_described(ground: DiskGround) -> None:
    """Each node is asked once for all disks that it holds; a mirror has a state on either."""
    ground.world.mirrors[NODE2][0].volumes = None
    asked: list[tuple[str, Any]] = []
    ground.nodes.before = lambda node, call: asked.append((node, call))
    found = ground.run("OP_INSTANCE_QUERY_DATA").result
    (one, two) = (found[name]["disks"][0] for name in ("web1", "web2"))
    assert (one["pstatus"]["path"], one["pstatus"]["local_status"]) == ("/dev/drbd0", "ok")
    assert (one["sstatus"]["path"], one["sstatus"]["local_status"]) == ("/dev/drbd0", "faulty")
    assert two["pstatus"]["path"].startswith("/dev/xenvg/")
    assert two["sstatus"] is None
    looks = [(node, len(call.disks)) for node, call in asked if call.tag() in {"disk_states", "disk_find"}]
    assert looks == [(NODE1, 2), (NODE2, 1)]


def test_a_node_that_does_not_tell_its_disks(ground: DiskGround) -> None:
    """The other one's state is shown, and what is missing told; a node that is offline is not asked."""
    states = ground.nodes.answers["disk_states"]
    ground.nodes.answers["disk_states"] = lambda node, call: (
        NodeFailure("storage_error", "lvs failed") if node == NODE2 else states(node, call)
    )
    (disk,) = ground.run("OP_INSTANCE_QUERY_DATA", instances=["web1"]).result["web1"]["disks"]
    assert disk["pstatus"] is not None
    assert disk["sstatus"] is None
    assert " - WARNING: node2.example.com does not tell its disks: lvs failed" in "\n".join(ground.said)
    node = ground.journal.head.nodes[NODE2]
    ground.journal.head = ground.journal.head.put(replace(node, offline=True))
    ground.said.clear()
    ground.run("OP_INSTANCE_QUERY_DATA", instances=["web1"])
    assert ground.said == []
