"""New disks: the names and numbers that are chosen, what the nodes are asked to make, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet.defer import ensureDeferred

from gnt.model.errors import NodeFailure
from gnt.model.objects import AdminState, DiskTemplate, HypervisorName
from gnt.model.specs import disk_spec
from gnt.store.changes import Space
from gnt.wire.calls import DiskAssemble, OsCreate
from tests.masterd.fakes import NODE1, NODE2
from tests.masterd.operations.disk_world import DiskWorld, Volume, all_disks
from tests.masterd.operations.ground import Ground

TEMPLATES = tuple(each for each in DiskTemplate if each not in {DiskTemplate.MIXED, DiskTemplate.GLUSTER})


class DiskGround(Ground):
    """A cluster with all templates, on nodes that have disks."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"enabled_disk_templates": TEMPLATES, **settings})
        self.world = DiskWorld()
        self.nodes.answers.update(self.world.answers())
        self.nodes.answers["node_info"] = self._info

    def _info(self, node: str, call: Any) -> Any:
        facts = self.facts(list(call.hypervisors))
        return replace(facts, storage=self.world.facts(node, call.storage))

    def plain(self, name: str = "web1", **parameters: Any) -> Any:
        """Make an instance on a logical volume."""
        return self.add(name, disk_template="plain", **parameters)

    def drbd(self, name: str = "web1", **parameters: Any) -> Any:
        """Make a mirrored instance on node1 and node2."""
        return self.add(name, **{"disk_template": "drbd", "snode": "node2", **parameters})

    def tidy(self) -> None:
        """See that no volume is without owner and nothing wrong was done."""
        assert self.world.orphans(set(all_disks(self.journal.head))) == []
        assert self.world.wrongs == []


def test_a_plain_disk_is_a_volume_in_the_clusters_group() -> None:
    """Named after the disk; it lies on the primary node only."""
    ground = DiskGround()
    end = ground.plain(disks=[{"size": 1024}, {"size": "2g", "mode": "ro", "name": "logs"}])
    assert (end.error, end.result) == (None, ["node1.example.com"])
    one, two = ground.journal.head.disks_of(ground.instance())
    assert one.logical_id == ("xenvg", f"{one.uuid}.disk0")
    assert (two.iv_name, two.size, two.mode, two.name) == ("disk/1", 2048, "ro", "logs")
    assert (one.nodes, one.forthcoming) == ((NODE1,), False)
    assert {name: volume.size for name, volume in ground.world.volumes[NODE1].items()} == {
        f"xenvg/{one.uuid}.disk0": 1024,
        f"xenvg/{two.uuid}.disk1": 2048,
    }
    ground.tidy()


def test_a_mirror_has_two_volumes_on_both_nodes_and_numbers_of_its_own() -> None:
    """Minors are the lowest free of each node, ports and secrets the cluster's; the next instance gets the next."""
    ground = DiskGround()
    assert ground.drbd().result == ["node1.example.com", "node2.example.com"]
    ground.drbd("web2", pnode="node2", snode="node3", disks=[{"size": 1024}, {"size": 1024, "vg": "fast"}])
    (disk,) = ground.journal.head.disks_of(ground.instance())
    assert disk.logical_id[:5] == (NODE1, NODE2, 11000, 0, 0)
    assert len(str(disk.logical_id[5])) == 40
    data, metadata = disk.children
    assert data.logical_id == ("xenvg", f"{disk.uuid}.disk0_data")
    assert metadata.logical_id == ("xenvg", f"{disk.uuid}.disk0_meta")
    assert (data.size, metadata.size, data.forthcoming) == (1024, 128, False)
    assert len({disk.uuid, data.uuid, metadata.uuid}) == 3
    assert ground.journal.head.secondaries(ground.instance())[0].uuid == NODE2
    assert ground.journal.head.settings.highest_used_port == 11000
    assert ground.journal.head.instances.by_name("web2") is None, "there is no volume group fast"
    ground.world.groups = ("xenvg", "fast")
    ground.drbd("web2", pnode="node2", snode="node3", disks=[{"size": 1024}, {"size": 1024, "vg": "fast"}])
    first, second = ground.journal.head.disks_of(ground.instance("web2"))
    assert first.logical_id[2:5] == (11001, 1, 0)
    assert second.logical_id[2:5] == (11002, 2, 1)
    assert second.children[0].logical_id[0] == "fast"
    assert second.children[1].logical_id[0] == "xenvg"
    assert first.logical_id[5] != second.logical_id[5]
    ground.tidy()


def test_a_mirror_is_set_up_on_both_sides_before_it_is_opened_and_in_step_before_the_guest_starts() -> None:
    """The order of the manual: create, connect, open, install (without sync meanwhile), wait, start."""
    ground = DiskGround()
    ground.world.percent = [10.0, 60.0]
    assert ground.drbd().error is None
    assert ground.nodes.tags() == [
        *(["disk_create"] * 2),
        *(["disk_assemble"] * 3),
        *("mirror_pause", "os_create", "mirror_pause"),
        "guest_start",
    ]
    assembled = [(node, call.primary) for node, call in ground.nodes.made if isinstance(call, DiskAssemble)]
    assert assembled == [(NODE2, False), (NODE1, False), (NODE1, True)]
    assert " - INFO: - device disk/0: 10.00% done, 1s remaining (estimated)" in ground.said
    assert " - INFO: Instance web1's disks are in sync" in ground.said
    assert ground.instance().admin_state is AdminState.UP


def test_without_waiting_a_mirror_on_its_way_is_enough() -> None:
    """One look: the sync goes on behind the running guest."""
    ground = DiskGround()
    ground.world.percent = [10.0, 20.0, 30.0]
    assert ground.drbd(wait_for_sync=False).error is None
    assert ground.world.percent == [20.0, 30.0]


def test_a_mirror_that_does_not_come_into_step_keeps_the_instance_and_says_so() -> None:
    """What was installed is not thrown away; it is not started."""
    ground = DiskGround()
    ground.nodes.before = lambda _n, call: ground.world.mirrors[NODE2].clear() if call.tag() == "os_create" else None
    end = ground.drbd()
    assert end.error is not None
    assert "degraded" in end.error.text
    assert (ground.instance().admin_state, ground.instance().disks_active) == (AdminState.DOWN, True)
    assert "guest_start" not in ground.nodes.tags()


def test_disks_are_wiped_where_the_cluster_wants_it() -> None:
    """In pieces from the beginning to the end, before anything is installed."""
    ground = DiskGround(prealloc_wipe_disks=True)
    assert ground.plain(disks=[{"size": 2000}]).error is None
    assert sum(size for _, _, size in ground.world.wiped) == 2000
    assert [offset for _, offset, _ in ground.world.wiped] == list(range(0, 2000, 200))
    tags = ground.nodes.tags()
    assert max(i for i, tag in enumerate(tags) if tag == "disk_wipe") < tags.index("os_create")


def test_a_group_that_is_full_half_way_leaves_nothing() -> None:
    """The second node fails: all is taken back on both, the name and numbers are free again."""
    ground = DiskGround()
    original = ground.nodes.answers["disk_create"]
    ground.nodes.answers["disk_create"] = lambda node, call: (
        NodeFailure("no_space", "full") if node == NODE2 and call.disk.index == 1 else original(node, call)
    )
    end = ground.drbd(disks=[{"size": 1024}, {"size": 1024}])
    assert end.error is not None
    assert "full" in end.error.text
    assert not ground.journal.head.disks
    assert not ground.journal.head.instances
    assert not any(ground.world.volumes.values())
    ground.tidy()


def test_what_was_undone_alike_is_said_once() -> None:
    """An error stays one line that can be read, however many disks there are."""
    ground = DiskGround()
    original = ground.nodes.answers["disk_create"]
    ground.nodes.answers["disk_create"] = lambda node, call: (
        NodeFailure("exists", "full") if call.disk.index == 3 else original(node, call)
    )
    end = ground.plain(disks=[{"size": 1024}] * 4)
    assert end.error is not None
    assert end.error.text == (
        "disk_create on node1.example.com: full; undone: disk_create on node1.example.com ×3"  # noqa: RUF001
    )


@pytest.mark.parametrize("code", ["missing_program", "not_begun"])
def test_a_back_end_that_is_away_leaves_nothing_behind(code: str) -> None:
    """It could not be asked to remove anything either: nothing is owed, and the name is free again."""
    ground = DiskGround()
    for call in ("disk_create", "disk_remove"):
        ground.nodes.answers[call] = lambda _node, _call: NodeFailure(code, "Ceph does not answer", hint="ceph status")
    end = ground.add(disk_template="rbd")
    assert end.error is not None
    assert (end.error.text, end.error.hint) == ("disk_create on node1.example.com: Ceph does not answer", "ceph status")
    assert (list(ground.journal.head.instances), list(ground.journal.head.disks)) == ([], [])
    assert not [key for space, key in ground.journal.rows_ if space in {Space.UNDO, Space.DEBT}]


def test_a_volume_is_adopted_with_its_size_and_gets_our_name() -> None:
    """It is neither made nor wiped nor installed on; a failed start leaves it ours, a failed adoption foreign."""
    ground = DiskGround(prealloc_wipe_disks=True)
    ground.world.volumes[NODE1] = {"xenvg/old": Volume("", 3000), "xenvg/open": Volume("", 10, opened=True)}
    assert ground.plain(disks=[{"adopt": "old"}]).error is None
    (disk,) = ground.journal.head.disks_of(ground.instance())
    assert disk.size == 3000
    assert ground.world.volumes[NODE1][f"xenvg/{disk.uuid}.disk0"].owner == disk.uuid
    assert not any(isinstance(call, OsCreate) for _, call in ground.nodes.made)
    assert ground.world.wiped == []
    ground.nodes.made.clear()
    assert "xenvg/new is not there on node1.example.com" in ground.refused_add(
        disk_template="plain", disks=[{"adopt": "new"}]
    )
    assert "xenvg/open is in use" in ground.refused_add(disk_template="plain", disks=[{"adopt": "open"}])
    taken = f"{disk.uuid}.disk0"
    assert "belongs to instance web1" in ground.refused_add(disk_template="plain", disks=[{"adopt": taken}])


def test_an_adoption_that_fails_gives_the_volumes_back() -> None:
    """With their own names, and nobody's."""
    ground = DiskGround()
    ground.world.volumes[NODE1] = {"xenvg/a": Volume("", 300), "xenvg/b": Volume("", 300)}
    original = ground.nodes.answers["disk_rename"]
    ground.nodes.answers["disk_rename"] = lambda node, call: (
        NodeFailure("failed", "lvrename says no")
        if call.disk.logical_id[1] == "b" and not call.disk.uuid
        else original(node, call)
    )
    assert ground.plain(disks=[{"adopt": "a"}, {"adopt": "b"}]).error is not None
    assert ground.world.volumes[NODE1] == {"xenvg/a": Volume("", 300), "xenvg/b": Volume("", 300)}


def test_devices_images_and_providers_have_names_of_their_own_kind() -> None:
    """As the specification of each template says."""
    ground = DiskGround()
    ground.nodes.answers.update({tag: lambda _n, _c: None for tag in ("disk_create", "disk_assemble")})
    from gnt.wire.disk_calls import ProviderFacts

    provider = ProviderFacts(name="san", path="/san", valid=True)
    ground.nodes.answers["provider_list"] = lambda _n, _c: [provider]
    ground.add("block", disk_template="blockdev", disks=[{"adopt": "/dev/disk/by-id/x"}])
    ground.add("image", disk_template="rbd", disks=[{"size": 1024, "access": "userspace"}])
    ground.add("given", disk_template="ext", disks=[{"size": 1024, "provider": "san", "tier": "gold"}])
    (block,), (image,), (given,) = (
        ground.journal.head.disks_of(ground.instance(name)) for name in ("block", "image", "given")
    )
    assert (block.logical_id, block.size) == (("manual", "/dev/disk/by-id/x"), 2048)
    assert image.logical_id == ("rbd", f"{image.uuid}.rbd.disk0")
    assert image.params == {"pool": "rbd", "access": "userspace"}
    assert given.logical_id == ("san", f"{given.uuid}.ext.disk0")
    assert given.params == {"provider": "san", "tier": "gold"}


def test_an_instance_is_removed_with_all_volumes_of_both_nodes() -> None:
    """The mirror is closed first; its numbers are free for the next one."""
    ground = DiskGround()
    ground.drbd()
    assert ground.run("OP_INSTANCE_REMOVE", instance_name="web1").error is None
    assert not any(ground.world.volumes.values())
    assert not any(ground.world.mirrors.values())
    assert not ground.journal.head.disks
    ground.drbd("web2")
    (disk,) = ground.journal.head.disks_of(ground.instance("web2"))
    assert disk.logical_id[2:5] == (11000, 0, 0)
    ground.tidy()


@pytest.mark.parametrize("template", ["plain", "drbd"])
def test_a_disk_that_cannot_be_removed_keeps_its_instance_unless_that_is_wished(template: str) -> None:
    """Then it is owed: nobody could name it any more."""
    ground = DiskGround()
    ground.add(disk_template=template, **({"snode": "node2"} if template == "drbd" else {}))
    original = ground.nodes.answers["disk_remove"]
    ground.nodes.answers["disk_remove"] = lambda _node, _call: NodeFailure("busy", "it is held open")
    remove = {"op_id": "OP_INSTANCE_REMOVE", "instance_name": "web1"}
    end = ground.run(**remove)
    assert end.error is not None
    assert "it is held open" in end.error.text
    assert ground.instance().disks
    assert ground.run(**remove, ignore_failures=True).error is None
    assert (list(ground.journal.head.instances), list(ground.journal.head.disks)) == ([], [])
    assert any("WARNING" in line and "it is held open" in line for line in ground.said)
    ground.nodes.answers["disk_remove"] = original
    for node in (NODE1, NODE2):
        ensureDeferred(ground.engine.pay(node))
    assert not any(ground.world.volumes.values())
    assert not [key for space, key in ground.journal.rows_ if space in {Space.UNDO, Space.DEBT}]


def test_an_instance_of_a_node_that_is_away_is_not_removed_by_chance() -> None:
    """The node is named, and how its disks are removed once it is back."""
    ground = DiskGround()
    ground.plain()
    ground.journal.head = ground.journal.head.put(replace(ground.journal.head.nodes[NODE1], offline=True))
    text = ground.refused("OP_INSTANCE_REMOVE", instance_name="web1")
    assert text == (
        "wrong_state: the primary node node1.example.com is marked offline | "
        "--ignore-failures: the node removes the disks once it is back"
    )


def test_a_secondary_that_is_away_is_no_hindrance_to_stop_start_and_remove() -> None:
    """Flagged offline: it is told that the mirror has one side; its volumes become its debt."""
    ground = DiskGround()
    ground.drbd()
    node2 = ground.journal.head.node("node2")
    ground.journal.head = ground.journal.head.put(replace(node2, offline=True))
    from gnt.model.errors import NotReached

    def away(node: str, _call: Any) -> None:
        if node == NODE2:
            raise NotReached("Node is marked offline")

    ground.nodes.before = away
    assert ground.run("OP_INSTANCE_SHUTDOWN", instance_name="web1").error is None
    assert ground.run("OP_INSTANCE_STARTUP", instance_name="web1").error is None
    assert any("node2.example.com is offline; the mirror has one side" in line for line in ground.said)
    assert ground.run("OP_INSTANCE_REMOVE", instance_name="web1").error is None
    debts = [key for space, key in ground.journal.rows_ if space == "debt"]
    assert len(debts) == 1
    assert debts[0].startswith(NODE2)


def test_a_secondary_that_cannot_be_set_up_stops_a_start_unless_forced() -> None:
    """--force starts with one side of the mirror."""
    ground = DiskGround()
    ground.drbd(start=False)
    original = ground.nodes.answers["disk_assemble"]
    ground.nodes.answers["disk_assemble"] = lambda node, call: (
        NodeFailure("failed", "minor is in use") if node == NODE2 else original(node, call)
    )
    end = ground.run("OP_INSTANCE_STARTUP", instance_name="web1")
    assert end.error is not None
    assert not ground.world.mirrors[NODE1], "what was assembled is released again"
    assert ground.run("OP_INSTANCE_STARTUP", instance_name="web1", force=True).error is None
    assert any("minor is in use" in line for line in ground.said)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown volume group": (
        {"disk_template": "plain", "disks": [{"size": 1024, "vg": "nope"}]},
        "environment_error: node1.example.com has no volume group nope",
    ),
    "group too small": (
        {"disk_template": "plain", "disks": [{"size": "99g"}], "ignore_ipolicy": True},
        "insufficient_resources: Not enough disk space on node1.example.com: volume group xenvg has 100000 MiB free",
    ),
    "secondary equals primary": (
        {"disk_template": "drbd", "snode": "node1"},
        "wrong_input: node1.example.com cannot be both primary and secondary node",
    ),
    "no secondary": ({"disk_template": "drbd"}, "wrong_input: Disk template drbd needs a secondary node"),
    "unknown secondary": ({"disk_template": "drbd", "snode": "node9"}, "unknown_entity: node9"),
    "vg with a slash": ({"disk_template": "plain", "disks": [{"size": 1024, "vg": "../x"}]}, "disk/0: vg"),
    "vg for files": ({"disk_template": "file", "disks": [{"size": 1024, "vg": "x"}]}, "disk/0: vg is no parameter"),
    "provider for volumes": (
        {"disk_template": "plain", "disks": [{"size": 1024, "provider": "x"}]},
        "disk/0: provider is no parameter of a disk of template plain",
    ),
    "no provider": ({"disk_template": "ext", "disks": [{"size": 1024}]}, "disk/0: no provider is given"),
    "size and adopt": (
        {"disk_template": "plain", "disks": [{"size": 1024, "adopt": "x"}]},
        "disk/0: size and adopt exclude each other",
    ),
    "some adopted": (
        {"disk_template": "plain", "disks": [{"adopt": "x"}, {"size": 1024}]},
        "disk/1: either all disks are adopted or none",
    ),
    "adopted twice": (
        {"disk_template": "plain", "disks": [{"adopt": "x"}, {"adopt": "x"}]},
        "xenvg/x is adopted twice",
    ),
    "mirror adopts": ({"disk_template": "drbd", "snode": "node2", "disks": [{"adopt": "x"}]}, "adopts nothing"),
    "device outside /dev/disk": ({"disk_template": "blockdev", "disks": [{"adopt": "/dev/sda"}]}, "below /dev/disk"),
    "device with dots": (
        {"disk_template": "blockdev", "disks": [{"adopt": "/dev/disk/../sda"}]},
        "below /dev/disk",
    ),
    "device that is made": ({"disk_template": "blockdev", "disks": [{"size": 1024}]}, "are adopted, not made"),
    "spindles": ({"disk_template": "plain", "disks": [{"size": 1024, "spindles": 2}]}, "spindles need exclusive"),
    "name that is a number": (
        {"disk_template": "plain", "disks": [{"size": 1024, "name": "7"}]},
        "disk/0: '7' is not a name for a device",
    ),
    "file driver for volumes": ({"disk_template": "plain", "file_driver": "loop"}, "file driver is given"),
    "gluster": ({"disk_template": "gluster"}, "gluster is not supported"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_disks_are_refused_in_one_line(case: str) -> None:
    """It names the disk or node and what would help; nothing is changed or even sent."""
    parameters, expected = BAD[case]
    assert expected in DiskGround().refused_add(**parameters)


def test_a_secondary_that_is_offline_or_drained_is_refused() -> None:
    """It says which."""
    for flag in ("offline", "drained"):
        ground = DiskGround()
        node = ground.journal.head.node("node2")
        ground.journal.head = ground.journal.head.put(replace(node, **{flag: True}))
        assert flag in ground.refused_add(disk_template="drbd", snode="node2")


def test_a_cluster_without_volume_group_makes_no_volumes_unless_one_is_named() -> None:
    """The disk may name its own."""
    ground = DiskGround(volume_group_name=None)
    assert "disk/0: the cluster has no volume group" in ground.refused_add(disk_template="plain")
    ground.world.groups = ("own",)
    assert ground.plain(disks=[{"size": 1024, "vg": "own"}]).error is None


def test_nodes_with_exclusive_storage_are_refused_by_name() -> None:
    """This version has no such thing."""
    ground = DiskGround(ndparams={"exclusive_storage": True})
    assert "exclusive storage" in ground.refused_add(disk_template="plain")


def test_ports_are_shared_with_consoles_and_leave_the_pool() -> None:
    """No number is given out twice."""
    ground = DiskGround(enabled_hypervisors=(HypervisorName.KVM,), tcpudp_port_pool=(11000, 11001, 11002))
    ground.add("one", disk_template="sharedfile")
    ground.drbd("two")
    (disk,) = ground.journal.head.disks_of(ground.instance("two"))
    assert ground.instance("one").network_port == 11000
    assert {disk.logical_id[2], ground.instance("two").network_port} == {11001, 11002}
    assert ground.journal.head.settings.tcpudp_port_pool == ()


def test_an_image_stays_in_its_pool() -> None:
    """The pool is recorded with the disk: choosing another one for new images does not lose those that are there."""
    ground = DiskGround()
    ground.nodes.answers.update({tag: lambda _n, _c: None for tag in ("disk_create", "disk_assemble")})
    ground.add("image", disk_template="rbd", disks=[{"size": 1024}])
    ground.run("OP_CLUSTER_SET_PARAMS", diskparams={"rbd": {"pool": "fast"}})
    ground.add("image2", disk_template="rbd", disks=[{"size": 1024}])
    specs = [
        disk_spec(ground.journal.head, instance, disk, 0)
        for instance in (ground.instance("image"), ground.instance("image2"))
        for disk in ground.journal.head.disks_of(instance)
    ]
    assert [spec.params["pool"] for spec in specs] == ["rbd", "fast"]
