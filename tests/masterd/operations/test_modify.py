"""Changes to instances: disks that come and go, other templates, parameters, interfaces."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import ensureDeferred

from gnt.masterd.settling import Debt
from gnt.model.errors import NodeFailure
from gnt.model.objects import AdminState, DiskTemplate
from gnt.store.changes import Space
from tests.masterd.fakes import NODE1, NODE2, NODE3
from tests.masterd.operations.crashing import crashes, lost_undos
from tests.masterd.operations.test_new_disks import DiskGround

MODIFY = "OP_INSTANCE_SET_PARAMS"


def stopped(template: str = "plain", disks: int = 1, **parameters: Any) -> DiskGround:
    """Give a cluster with an instance that is down."""
    ground = DiskGround()
    snode = {"snode": "node2"} if template == "drbd" else {}
    given = {"disks": [{"size": 1024}] * disks, "start": False, **snode, **parameters}
    assert ground.add(disk_template=template, **given).error is None
    ground.nodes.made.clear()
    return ground


def modify(ground: DiskGround, **parameters: Any) -> Any:
    """Change the instance; it must succeed."""
    end = ground.run(MODIFY, instance_name="web1", **parameters)
    assert end.error is None, end.error
    return end.result


# Disks


@pytest.mark.parametrize("template", ["plain", "drbd", "file"])
def test_a_disk_is_added_at_the_end(template: str) -> None:
    """Made as the others are; closed again on an instance that is down."""
    ground = stopped(template)
    result = modify(ground, disks=[["add", -1, {"size": 2048, "name": "logs"}]])
    assert result == [("disk/1", "add:size=2048,mode=rw")]
    first, second = ground.journal.head.disks_of(ground.instance())
    assert (second.iv_name, second.size, second.name, second.forthcoming) == ("disk/1", 2048, "logs", False)
    assert second.dev_type is first.dev_type
    assert not any(ground.world.mirrors.values())
    ground.tidy()


def test_a_disk_that_is_added_to_a_running_guest_is_set_up_and_seen_at_its_next_start() -> None:
    """The older form of the change is taken too."""
    ground = stopped("drbd", start=True)
    modify(ground, disks=[["add", {"size": 1024}]], hotplug=False)
    assert len(ground.world.mirrors[NODE1]) == 2
    assert any("changes at its next start" in line for line in ground.said)


def test_a_disk_is_removed_and_the_others_are_numbered_anew() -> None:
    """By index, name or UUID; on both nodes of a mirror."""
    ground = stopped("drbd", disks=3)
    disks = ground.journal.head.disks_of(ground.instance())
    assert modify(ground, disks=[["remove", disks[0].uuid, {}]]) == [("disk/0", "remove")]
    left = ground.journal.head.disks_of(ground.instance())
    assert [disk.uuid for disk in left] == [disk.uuid for disk in disks[1:]]
    assert [disk.iv_name for disk in left] == ["disk/0", "disk/1"]
    assert disks[0].uuid not in ground.journal.head.disks
    assert {len(volumes) for volumes in ground.world.volumes.values()} == {4}
    ground.tidy()


def test_a_disk_is_detached_and_attached_elsewhere() -> None:
    """It stays, with its data, and belongs to nobody in between."""
    ground = stopped(disks=2)
    ground.add("web2", disk_template="plain", start=False)
    (_, second) = ground.journal.head.disks_of(ground.instance())
    modify(ground, disks=[["detach", 1, {}]])
    assert ground.journal.head.disks[second.uuid].iv_name == ""
    assert ground.run(MODIFY, instance_name="web2", disks=[["attach", -1, {"uuid": second.uuid}]]).error is None
    assert ground.instance("web2").disks[1] == second.uuid
    assert ground.journal.head.disks[second.uuid].iv_name == "disk/1"
    assert "disk_remove" not in ground.nodes.tags()
    text = ground.refused(MODIFY, instance_name="web1", disks=[["attach", -1, {"uuid": second.uuid}]])
    assert "belongs to instance web2" in text


def test_a_disk_of_another_node_is_not_attached() -> None:
    """It says where the disk is."""
    ground = stopped(disks=2)
    ground.add("web2", disk_template="plain", start=False, pnode="node2")
    (_, second) = ground.journal.head.disks_of(ground.instance())
    modify(ground, disks=[["detach", 1, {}]])
    text = ground.refused(MODIFY, instance_name="web2", disks=[["attach", -1, {"uuid": second.uuid}]])
    assert "lies on node1.example.com, where web2 does not" in text


def test_mode_and_name_of_a_disk_change() -> None:
    """Nothing is done on the nodes."""
    ground = stopped()
    result = modify(ground, disks=[["modify", 0, {"mode": "ro", "name": "root"}]])
    assert result == [("disk.mode/0", "ro"), ("disk.name/0", "root")]
    assert ground.nodes.made == []
    assert modify(ground, disks=[[0, {"name": "none"}]])
    assert ground.journal.head.disks_of(ground.instance())[0].name is None


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "nothing is to be changed"),
    "size": (
        {"disks": [["modify", 0, {"size": 4096}]]},
        "disk/0: size cannot be changed here | gnt-instance grow-disk",
    ),
    "no such disk": ({"disks": [["modify", 7, {"mode": "ro"}]]}, "has no disk 7"),
    "no such name": ({"disks": [["remove", "logs", {}]]}, "has no disk 'logs'"),
    "no size": ({"disks": [["add", -1, {}]]}, "disk/1: no size is given"),
    "adoption": ({"disks": [["add", -1, {"adopt": "x"}]]}, "only new instances adopt"),
    "unknown disk": ({"disks": [["attach", -1, {"uuid": "x"}]]}, "x is not a disk of this cluster"),
    "too large": ({"disks": [["add", -1, {"size": 99_500}]]}, "Not enough disk space on node1.example.com"),
    "same template": ({"disk_template": "plain"}, "has disks of template plain already"),
    "no secondary": ({"disk_template": "drbd"}, "needs a secondary node"),
    "secondary equals primary": ({"disk_template": "drbd", "remote_node": "node1"}, "both primary and secondary"),
    "secondary of files": ({"disk_template": "file", "remote_node": "node2"}, "have no secondary node"),
    "secondary without conversion": ({"remote_node": "node2", "beparams": {"vcpus": 2}}, "-t drbd"),
    "to diskless": ({"disk_template": "diskless"}, "cannot be converted to diskless"),
    "both at once": ({"disk_template": "file", "disks": [["remove", 0, {}]]}, "at once"),
    "allocator": ({"disk_template": "drbd", "iallocator": "hail"}, "iallocator is not supported"),
    "memory": ({"runtime_mem": 512}, "runtime_mem is not supported"),
    "parameter": ({"hvparams": {"colour": "red"}}, "colour"),
    "not offline": ({"offline": False}, "is not marked offline"),
    "mac": ({"nics": [["modify", 0, {"mac": "auto"}]]}, "mac=auto is for new interfaces"),
    "nic": ({"nics": [["remove", 5, {}]]}, "has no interface '5'"),
    "primary": ({"pnode": "node1"}, "is the primary node of web1 already"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_changes_are_refused(case: str) -> None:
    """In one line; nothing is changed."""
    parameters, expected = BAD[case]
    assert expected in stopped().refused(MODIFY, instance_name="web1", **parameters)


def test_disks_of_a_running_guest_are_neither_taken_nor_converted() -> None:
    """It has to be stopped first, or its devices be exchanged while it runs."""
    ground = stopped(start=True)
    for parameters in ({"disks": [["remove", 0, {}]]}, {"disks": [["detach", 0, {}]]}, {"disk_template": "file"}):
        assert "web1 is running" in ground.refused(MODIFY, instance_name="web1", hotplug=False, **parameters)


# Templates


def test_volumes_become_mirrors_without_a_copy() -> None:
    """The data stays where it is under a new name; the other side syncs."""
    ground = stopped(disks=2)
    before = ground.journal.head.disks_of(ground.instance())
    modify(ground, disk_template="drbd", remote_node="node2")
    after = ground.journal.head.disks_of(ground.instance())
    assert ground.journal.head.disk_template(ground.instance()) is DiskTemplate.DRBD
    assert [disk.logical_id[:2] for disk in after] == [(NODE1, NODE2)] * 2
    assert not {disk.uuid for disk in before} & set(ground.journal.head.disks)
    assert {node: len(volumes) for node, volumes in ground.world.volumes.items()} == {NODE1: 4, NODE2: 4}
    assert not ground.world.copied
    assert (ground.instance().disks_active, any(ground.world.mirrors.values())) == (False, False)
    ground.tidy()


def test_a_conversion_that_fails_gives_the_volumes_their_names_back() -> None:
    """Nothing stays of the mirror."""
    ground = stopped(disks=2)
    before = {name: volume.owner for name, volume in ground.world.volumes[NODE1].items()}
    original = ground.nodes.answers["disk_assemble"]
    ground.nodes.answers["disk_assemble"] = lambda node, call: (
        NodeFailure("failed", "no module") if call.primary else original(node, call)
    )
    end = ground.run(MODIFY, instance_name="web1", disk_template="drbd", remote_node="node2")
    assert end.error is not None
    assert {name: volume.owner for name, volume in ground.world.volumes[NODE1].items()} == before
    assert not any(ground.world.mirrors.values())
    assert not ground.world.volumes[NODE2]
    ground.tidy()


def test_mirrors_become_volumes() -> None:
    """The data volume on the primary node stays, with its name."""
    ground = stopped("drbd", disks=2)
    before = ground.journal.head.disks_of(ground.instance())
    modify(ground, disk_template="plain")
    after = ground.journal.head.disks_of(ground.instance())
    assert [disk.logical_id for disk in after] == [disk.children[0].logical_id for disk in before]
    assert [(disk.iv_name, disk.size, disk.nodes) for disk in after] == [
        ("disk/0", 1024, (NODE1,)),
        ("disk/1", 1024, (NODE1,)),
    ]
    assert {node: len(volumes) for node, volumes in ground.world.volumes.items()} == {NODE1: 2, NODE2: 0}
    ground.tidy()


def test_a_mirror_that_cannot_be_closed_stays_one() -> None:
    """Its data lies below it on the primary node: nothing is changed."""
    ground = stopped("drbd")
    before = ground.journal.head
    ground.nodes.answers["disk_release"] = lambda node, _call: NodeFailure("busy", f"{node} holds it open")
    end = ground.run(MODIFY, instance_name="web1", disk_template="plain")
    assert end.error is not None
    assert f"{NODE1} holds it open" in end.error.text
    assert ground.journal.head == before
    assert {node: len(volumes) for node, volumes in ground.world.volumes.items()} == {NODE1: 2, NODE2: 2}


def owed(ground: DiskGround) -> list[str]:
    """Give the texts of what nodes owe."""
    return [
        msgspec.json.decode(value, type=Debt).text
        for (space, _), value in ground.journal.rows_.items()
        if space is Space.DEBT
    ]


@pytest.mark.parametrize("bad", [NODE1, NODE2])
def test_what_cannot_be_removed_of_a_mirror_is_owed_until_it_can(bad: str) -> None:
    """The conversion is done, with a warning; the node pays once it can."""
    ground = stopped("drbd", disks=2)
    original = ground.nodes.answers["disk_remove"]
    ground.nodes.answers["disk_remove"] = lambda node, call: (
        NodeFailure("busy", "it is held open") if node == bad else original(node, call)
    )
    modify(ground, disk_template="plain")
    assert ground.journal.head.disk_template(ground.instance()) is DiskTemplate.PLAIN
    assert [line for line in ground.said if "WARNING" in line and "it is held open" in line]
    assert owed(ground) == ["finish disk_remove: it is held open"] * 2
    ensureDeferred(ground.engine.pay(bad))
    assert len(owed(ground)) == 2, "it could not yet"
    ground.nodes.answers["disk_remove"] = original
    ensureDeferred(ground.engine.pay(bad))
    assert owed(ground) == []
    assert {node: len(volumes) for node, volumes in ground.world.volumes.items()} == {NODE1: 2, NODE2: 0}
    ground.tidy()


@pytest.mark.parametrize(
    ("old", "new"), [("plain", "file"), ("file", "plain"), ("drbd", "sharedfile"), ("file", "drbd")]
)
def test_other_templates_are_reached_by_copying(old: str, new: str) -> None:
    """Disk by disk; the old ones are removed behind it, all is closed again."""
    ground = stopped(old, disks=2)
    before = ground.journal.head.disks_of(ground.instance())
    snode = {"remote_node": "node3"} if new == "drbd" else {}
    modify(ground, disk_template=new, **snode)
    after = ground.journal.head.disks_of(ground.instance())
    assert {disk.dev_type for disk in after} == {new}
    assert [to for _, to in ground.world.copied] == [disk.uuid for disk in after]
    sources = [disk.children[0].uuid if disk.children else disk.uuid for disk in before]
    assert [source for source, _ in ground.world.copied] == sources
    assert set(ground.journal.head.disks) == {disk.uuid for disk in after}
    assert not any(ground.world.mirrors.values())
    held = {node: len(volumes) for node, volumes in ground.world.volumes.items() if volumes}
    assert held == ({NODE1: 4, NODE3: 4} if new == "drbd" else {NODE1: 2})
    ground.tidy()


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "add": ("drbd", {"disks": [["add", -1, {"size": 1024}]]}),
    "remove": ("drbd", {"disks": [["remove", 0, {}]]}),
    "to mirror": ("plain", {"disk_template": "drbd", "remote_node": "node2"}),
    "from mirror": ("drbd", {"disk_template": "plain"}),
    "copy": ("plain", {"disk_template": "file"}),
    "copy mirror": ("drbd", {"disk_template": "file"}),
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_master_that_dies_anywhere_leaves_whole_disks(name: str, after: bool) -> None:
    """As before or as wished: every disk of the record is there, no volume without owner."""
    template, parameters = CHANGES[name]
    count = 0
    for moment, ground in crashes(
        lambda: stopped(template, disks=2), MODIFY, after=after, instance_name="web1", **parameters
    ):
        count = moment
        ground.tidy()
        for disk in ground.journal.head.disks_of(ground.instance()):
            assert not disk.forthcoming
            for part in disk.children or (disk,):
                name_ = "/".join(map(str, part.logical_id)) if part.dev_type == "plain" else str(part.logical_id[1])
                for node in part.nodes or (NODE1,):
                    assert ground.world.volumes[node][name_].owner == part.uuid, (moment, name_)
        assert ground.run("OP_INSTANCE_STARTUP", instance_name="web1").error is None, moment
        ground.tidy()
    assert count > 5


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", sorted(CHANGES))
def test_what_changes_beside_disks_is_recorded_with_them(name: str, after: bool) -> None:
    """Who dies over a modify of disks, interfaces and memory has changed all of it, or nothing."""
    template, parameters = CHANGES[name]
    more = {"nics": [["add", -1, {}]], "beparams": {"memory": 512}}
    seen = set()
    for moment, ground in crashes(
        lambda: stopped(template, disks=2), MODIFY, after=after, instance_name="web1", **more, **parameters
    ):
        instance = ground.instance()
        disks = ground.journal.head.disks_of(instance)
        changed = len(disks) != 2 or {disk.dev_type for disk in disks} != {template}
        assert (len(instance.nics) == 2, instance.beparams.get("maxmem") == 512) == (changed, changed), moment
        seen.add(changed)
    assert True in seen


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", sorted(CHANGES))
def test_an_undo_that_is_lost_anywhere_is_made_up_for_in_order(name: str, after: bool) -> None:
    """A call fails, one of those that undo the rest is lost: when the node has paid, all disks are whole."""
    template, parameters = CHANGES[name]
    for moment, ground in lost_undos(
        lambda: stopped(template), MODIFY, after=after, instance_name="web1", **parameters
    ):
        ground.tidy()
        for disk in ground.journal.head.disks_of(ground.instance()):
            assert not disk.forthcoming
            for part in disk.children or (disk,):
                name_ = "/".join(map(str, part.logical_id)) if part.dev_type == "plain" else str(part.logical_id[1])
                for node in part.nodes or (NODE1,):
                    assert ground.world.volumes[node][name_].owner == part.uuid, (moment, name_)


# Settings


def test_parameters_are_set_and_taken_back() -> None:
    """`default` goes back to the cluster's; what is not named stays."""
    ground = stopped()
    assert modify(ground, beparams={"vcpus": 2, "memory": 512}, os_name="debian+stable") == [
        ("be/memory", 512),
        ("be/vcpus", 2),
        ("os", "debian+stable"),
    ]
    assert ground.instance().beparams == {"vcpus": 2, "minmem": 512, "maxmem": 512}
    assert ground.instance().os == "debian+stable"
    modify(ground, beparams={"vcpus": "default"})
    assert ground.instance().beparams == {"minmem": 512, "maxmem": 512}


def test_private_parameters_are_recorded_and_not_told() -> None:
    """Neither in the result nor in the log."""
    ground = stopped()
    result = modify(ground, osparams_private={"pw": "hush"}, osparams={"a": "b"})
    assert "hush" not in repr(result)
    assert dict(ground.instance().osparams_private) == {"pw": "hush"}


def test_an_instance_is_marked_offline_and_back() -> None:
    """Only one that is stopped."""
    ground = stopped()
    modify(ground, offline=True)
    assert ground.instance().admin_state is AdminState.OFFLINE
    modify(ground, offline=False)
    assert ground.instance().admin_state is AdminState.DOWN
    ground.run("OP_INSTANCE_STARTUP", instance_name="web1")
    assert "wanted up" in ground.refused(MODIFY, instance_name="web1", offline=True)


def test_interfaces_come_change_and_go() -> None:
    """A change keeps what it does not name."""
    ground = stopped()
    mac = ground.instance().nics[0].mac
    modify(ground, nics=[["add", -1, {"link": "br1"}]])
    modify(ground, nics=[["modify", 0, {"ip": "192.0.2.77", "name": "lan"}]])
    first, second = ground.instance().nics
    assert (first.mac, first.ip, first.name) == (mac, "192.0.2.77", "lan")
    assert second.nicparams == {"link": "br1"}
    text = ground.refused(MODIFY, instance_name="web1", nics=[["modify", 1, {"mac": mac}]])
    assert "already in use" in text
    modify(ground, nics=[["remove", "lan", {}]])
    assert [nic.uuid for nic in ground.instance().nics] == [second.uuid]


def test_another_primary_node_is_only_recorded() -> None:
    """The other side of the mirrors; of a stopped instance."""
    ground = stopped("drbd")
    assert "holds none of the mirrors" in ground.refused(MODIFY, instance_name="web1", pnode="node3")
    modify(ground, pnode="node2")
    assert ground.instance().primary_node == NODE2
    assert ground.nodes.made == []


def test_an_instance_outside_the_policy_may_still_change_what_that_does_not_bound() -> None:
    """Its guest OS, for example; more memory than is allowed is refused."""
    ground = stopped(ignore_ipolicy=True, nics=[])
    modify(ground, os_name="debian+stable")
    assert "policy violated" in ground.refused(MODIFY, instance_name="web1", beparams={"memory": 99_999})
    assert modify(ground, beparams={"memory": 99_999}, ignore_ipolicy=True)
    assert ground.instance().beparams["maxmem"] == 99_999
    assert modify(ground, disks=[["add", -1, {"size": 1024}]])
    text = ground.refused(MODIFY, instance_name="web1", disks=[["add", -1, {"size": 1}]])
    assert "disk-size 4 is not" in text or "disk-size 1 is not" in text
    assert "nic-count" not in text, "that was so before"
    assert ground.run("OP_INSTANCE_GROW_DISK", instance_name="web1", disk=0, amount=1024).error is None
