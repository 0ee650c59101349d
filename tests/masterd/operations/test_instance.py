"""Operations on instances, run by the engine on fake nodes."""

from __future__ import annotations

from typing import Any

import pytest

from gnt.masterd.jobs.lockset import Level
from gnt.model.errors import InDoubt, NodeFailure, NotReached
from gnt.model.objects import AdminState
from gnt.opcodes.registry import decode_opcode
from gnt.wire.calls import DiskCreate, OsCheck, OsCreate
from gnt.wire.guest_calls import GuestStart
from tests.masterd.fakes import NODE1, NODE2
from tests.masterd.operations.ground import Ground


def test_an_instance_is_made_and_started() -> None:
    """Disks, guest OS, start, in this order; the model says it is up and real."""
    ground = Ground()
    end = ground.add()
    assert (end.error, end.result) == (None, ["node1.example.com"])
    assert ground.nodes.tags() == ["disk_create", "disk_assemble", "os_create", "guest_start"]
    web1 = ground.instance()
    assert (web1.admin_state, web1.forthcoming, web1.primary_node) == (AdminState.UP, False, NODE1)
    (disk,) = ground.journal.head.disks_of(web1)
    assert (disk.size, disk.forthcoming) == (1024, False)
    assert disk.logical_id[1] == f"/srv/ganeti/shared-file-storage/web1/{disk.uuid}.sharedfile.disk0"
    assert web1.nics[0].mac.startswith("aa:00:00:")


def test_the_new_name_and_the_node_are_locked() -> None:
    """The instance's name exclusively, its node and the node's room too."""
    ground = Ground()
    ground.add()
    held = {(lock.level, lock.name, lock.exclusive) for lock in ground.locks.wanted}
    assert (Level.INSTANCE, "web1", True) in held
    assert (Level.NODE, NODE1, True) in held
    assert (Level.NODE_RES, NODE1, True) in held


def test_without_install_nothing_is_started() -> None:
    """Empty disks, no OS asked for, admin state down."""
    ground = Ground()
    assert ground.add(no_install=True, os_type=None).error is None
    assert ground.nodes.tags() == ["disk_create"]
    assert ground.instance().admin_state is AdminState.DOWN


def test_secret_parameters_reach_the_script_only() -> None:
    """Neither the model nor a row nor the running guest knows them."""
    ground = Ground()
    assert ground.add(osparams_secret={"pw": "hush"}, osparams_private={"key": "mine"}).error is None
    create = next(call for _, call in ground.nodes.made if isinstance(call, OsCreate))
    assert dict(create.instance.osparams_private) == {"key": "mine", "pw": "hush"}
    start = next(call for _, call in ground.nodes.made if isinstance(call, GuestStart))
    assert "hush" not in repr(start)
    assert not start.instance.osparams_private
    written = b"".join(getattr(change, "value", b"") for commit in ground.journal.commits for change in commit)
    assert b"hush" not in written


def test_the_check_of_parameters_names_those_that_no_failure_may_tell() -> None:
    """Private and secret ones; the node leaves their values out of what the definition's script says."""
    ground = Ground()
    checks: list[OsCheck] = []
    ground.nodes.before = lambda _node, call: checks.append(call) if isinstance(call, OsCheck) else None
    ground.add(osparams={"open": "yes"}, osparams_secret={"pw": "hush"}, osparams_private={"key": "mine"})
    (check,) = checks
    assert check.parameters == {"open": "yes", "key": "mine", "pw": "hush"}
    assert check.hidden == ["key", "pw"]


def test_a_failed_installation_leaves_nothing() -> None:
    """The disk is removed, the name is free again; the error carries the script's last words."""
    ground = Ground()
    ground.nodes.answers["os_create"] = lambda _n, _c: NodeFailure(
        "script_failed", "exited with exit code 3: no mirror"
    )
    end = ground.add()
    assert end.error is not None
    assert "no mirror" in end.error.text
    assert ground.nodes.tags()[-2:] == ["disk_release", "disk_remove"]
    assert not ground.journal.head.instances
    assert not ground.journal.head.disks
    ground.nodes.answers["os_create"] = lambda _n, _c: None
    assert ground.add().error is None


def test_a_failed_first_start_keeps_the_instance() -> None:
    """What was installed stays, and that it is wanted up stays recorded."""
    ground = Ground()
    ground.nodes.answers["guest_start"] = lambda _n, _c: NodeFailure("failed", "no such machine type")
    end = ground.add()
    assert end.error is not None
    assert (ground.instance().forthcoming, ground.instance().admin_state) == (False, AdminState.UP)
    assert "disk_remove" not in ground.nodes.tags()


def test_two_instances_share_no_address() -> None:
    """MAC addresses and disk paths differ."""
    ground = Ground()
    ground.add("web1")
    ground.add("web2")
    one, two = ground.instance("web1"), ground.instance("web2")
    assert one.nics[0].mac != two.nics[0].mac
    assert not set(one.disks) & set(two.disks)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown node": ({"pnode": "node9"}, "unknown_entity: node9 is not a node of this cluster"),
    "no node": ({"pnode": None}, "wrong_input"),
    "unknown os": ({"os_type": "beos"}, "unknown_entity: Guest OS beos"),
    "broken os": ({"os_type": "broken"}, "wrong_state: Guest OS broken is not usable: no create script"),
    "os without variant": ({"os_type": "debian"}, "must include a variant"),
    "unknown variant": ({"os_type": "debian+woody"}, "no variant 'woody'"),
    "variant where there is none": ({"os_type": "noop+x"}, "does not support variants"),
    "no os": ({"os_type": None}, "No guest OS is given"),
    "hypervisor not enabled": ({"hypervisor": "kvm"}, "wrong_state: Hypervisor kvm is not enabled"),
    "unknown hypervisor parameter": ({"hvparams": {"colour": "red"}}, "colour"),
    "unknown backend parameter": ({"beparams": {"wings": 2}}, "wings"),
    "memory the wrong way round": ({"beparams": {"minmem": 512, "maxmem": 256}}, "maxmem"),
    "template not enabled": ({"disk_template": "plain"}, "plain is not enabled"),
    "disk of nothing": ({"disks": [{"size": 0}]}, "disk/0: size"),
    "disk of an exbibyte": ({"disks": [{"size": "1048576T"}]}, "disk/0: size"),
    "disk without size": ({"disks": [{"mode": "rw"}]}, "disk/0: no size"),
    "no disk": ({"disks": []}, "No disk is given"),
    "too many disks": ({"disks": [{"size": 1024}] * 17}, "17 disks"),
    "adoption": ({"disks": [{"size": 1024, "adopt": "lv"}]}, "adopt"),
    "path that leaves": ({"file_storage_dir": "../etc"}, "leaves"),
    "absolute path": ({"file_storage_dir": "/etc"}, "absolute"),
    "name with a path": ({"instance_name": "../web9"}, "web9"),
    "name of a node": ({"instance_name": "node1.example.com"}, "resource_not_unique"),
    "bad mac": ({"nics": [{"mac": "zz"}]}, "zz"),
    "routed without address": ({"nics": [{"mode": "routed"}]}, "nic/0"),
    "pool without network": ({"nics": [{"ip": "pool"}]}, "nic/0"),
    "unknown network": ({"nics": [{"network": "lan"}]}, "lan is not a network"),
    "bridge and link": ({"nics": [{"bridge": "br0", "link": "br0"}]}, "bridge and link"),
    "bad tag": ({"tags": ["not good"]}, "not good"),
    "import": ({"mode": "import"}, "mode import is not supported"),
    "allocator": ({"iallocator": "hail"}, "iallocator is not supported"),
    "address check": ({"ip_check": True, "name_check": True}, "ip_check is not supported"),
    "outside the policy": ({"disks": [{"size": 4}]}, "Instance policy violated"),
    "unresolvable": ({"name_check": True}, "does not resolve"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_refused_in_one_line(case: str) -> None:
    """It names what is wrong, and nothing is changed or even sent."""
    parameters, expected = BAD[case]
    assert expected in Ground().refused_add(**parameters)


def test_a_name_that_exists_is_refused() -> None:
    """Also while the other is only reserved."""
    ground = Ground()
    ground.add("web9")
    assert "already_exists: Instance web9" in ground.refused_add()


def test_a_drained_or_offline_node_takes_no_instance() -> None:
    """The refusal says which it is."""
    ground = Ground()
    node = ground.journal.head.node("node2")
    from msgspec.structs import replace

    ground.journal.head = ground.journal.head.put(replace(node, drained=True))
    assert "drained" in ground.refused_add(pnode="node2")
    ground.journal.head = ground.journal.head.put(replace(node, offline=True))
    assert "offline" in ground.refused_add(pnode="node2")


def test_a_node_without_memory_or_bridge_takes_no_instance() -> None:
    """Both are named with their numbers."""
    ground = Ground(enabled_hypervisors=("kvm",))
    ground.nodes.answers["bridge_check"] = lambda _n, call: list(call.bridges)
    assert "Missing bridges xen-br0 on node1.example.com" in ground.refused_add()
    ground.nodes.answers["bridge_check"] = lambda _n, _c: []
    ground.memory_free = 100
    assert "128 MiB wanted, 100 MiB free" in ground.refused_add()


def test_shutdown_records_the_wish_before_it_acts() -> None:
    """The first commit says down; then the guest is stopped and its disks released."""
    ground = Ground()
    ground.add()
    ground.nodes.made.clear()
    seen: list[AdminState] = []
    ground.nodes.before = lambda _n, call: seen.append(ground.instance().admin_state) if call.CHANGES else None
    assert ground.run("OP_INSTANCE_SHUTDOWN", instance_name="web1", timeout=7).error is None
    assert seen == [AdminState.DOWN, AdminState.DOWN]
    assert ground.nodes.tags() == ["guest_stop", "disk_release"]
    assert ground.nodes.made[0][1].timeout == 7


def test_a_stop_that_is_broken_off_leaves_the_disks_in_use() -> None:
    """The guest has them: what is owed for them is not void. It is wanted down all the same, as it may halt yet."""
    ground = Ground()
    ground.add()
    ground.nodes.answers["guest_stop"] = lambda _n, _c: NodeFailure("aborted", "stopping web1 was broken off")
    assert ground.run("OP_INSTANCE_SHUTDOWN", instance_name="web1").error is not None
    assert (ground.instance().admin_state, ground.instance().disks_active) == (AdminState.DOWN, True)
    assert "disk_release" not in ground.nodes.tags()
    del ground.nodes.answers["guest_stop"]
    assert ground.run("OP_INSTANCE_SHUTDOWN", instance_name="web1").error is None
    assert (ground.instance().admin_state, ground.instance().disks_active) == (AdminState.DOWN, False)


def test_a_guest_that_is_down_is_not_stopped_again() -> None:
    """Only the wish is recorded and the disks are released."""
    ground = Ground()
    ground.add(start=False)
    ground.nodes.made.clear()
    assert ground.run("OP_INSTANCE_SHUTDOWN", instance_name="web1").error is None
    assert ground.nodes.tags() == ["disk_release"]


def test_a_guest_that_runs_is_not_started_again() -> None:
    """Only the wish is recorded."""
    ground = Ground()
    ground.add()
    ground.nodes.made.clear()
    assert ground.run("OP_INSTANCE_STARTUP", instance_name="web1").error is None
    assert ground.nodes.tags() == []


def test_a_failed_start_stays_wanted() -> None:
    """So that the watcher tries again; the disks are released."""
    ground = Ground()
    ground.add(start=False)
    ground.nodes.answers["guest_start"] = lambda _n, _c: NodeFailure("failed", "no")
    assert ground.run("OP_INSTANCE_STARTUP", instance_name="web1").error is not None
    assert ground.instance().admin_state is AdminState.UP
    assert ground.nodes.tags()[-1] == "disk_release"


def test_a_silent_node_changes_nothing() -> None:
    """What cannot be seen is not acted upon."""
    ground = Ground()
    ground.add()
    ground.nodes.answers["guest_find"] = lambda _n, _c: NotReached("node1: no connection")
    before = ground.instance()
    assert "no connection" in ground.refused("OP_INSTANCE_SHUTDOWN", instance_name="web1")
    assert ground.instance() == before


def test_an_instance_is_removed_with_its_disks() -> None:
    """Stop, release, remove, forget."""
    ground = Ground()
    ground.add()
    ground.nodes.made.clear()
    assert ground.run("OP_INSTANCE_REMOVE", instance_name="web1").error is None
    assert ground.nodes.tags() == ["guest_stop", "disk_release", "disk_remove"]
    assert not ground.journal.head.instances
    assert not ground.journal.head.disks


def test_a_migration_moves_the_record_with_the_guest() -> None:
    """Prepared there, sent, recorded, cleaned up here."""
    ground = Ground()
    ground.add()
    ground.nodes.made.clear()
    assert ground.run("OP_INSTANCE_MIGRATE", instance_name="web1", target_node="node2").error is None
    assert ground.nodes.tags() == [
        *("disk_assemble", "disk_promote", "disk_promote"),
        *("migration_accept", "migration_send", "migration_finish", "migration_finish"),
        *("disk_demote", "disk_promote", "disk_release"),
    ]
    assert ground.instance().primary_node == NODE2
    assert list(ground.guests[NODE2]) == [ground.instance().uuid]


def test_a_migration_in_doubt_is_found_out() -> None:
    """The answer was lost, the guest has moved: the record follows it."""
    ground = Ground()
    ground.add()
    send = ground.nodes.answers["migration_send"]

    def lost(node: str, call: Any) -> Exception:
        send(node, call)
        return InDoubt("node1: the connection broke")

    ground.nodes.answers["migration_send"] = lost
    assert ground.run("OP_INSTANCE_MIGRATE", instance_name="web1", target_node="node2").error is None
    assert ground.instance().primary_node == NODE2


def test_a_migration_that_fails_is_undone_on_the_target() -> None:
    """The guest goes on where it was."""
    ground = Ground()
    ground.add()
    ground.nodes.made.clear()
    ground.nodes.answers["migration_send"] = lambda _n, _c: NodeFailure("failed", "cpu not compatible")
    end = ground.run("OP_INSTANCE_MIGRATE", instance_name="web1", target_node="node2")
    assert end.error is not None
    assert "cpu not compatible" in end.error.text
    assert ground.nodes.tags()[-4:] == ["migration_cancel", "disk_demote", "disk_promote", "disk_release"]
    assert ground.instance().primary_node == NODE1


BAD_MIGRATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no target": ({}, "no target"),
    "same node": ({"target_node": "node1"}, "already"),
    "unknown node": ({"target_node": "node9"}, "node9"),
    "both modes": ({"target_node": "node2", "mode": "live", "live": True}, "mode and live"),
}


@pytest.mark.parametrize("case", sorted(BAD_MIGRATIONS))
def test_a_migration_that_cannot_be_is_refused(case: str) -> None:
    """Before anything is prepared."""
    ground = Ground()
    ground.add()
    parameters, expected = BAD_MIGRATIONS[case]
    assert expected in ground.refused("OP_INSTANCE_MIGRATE", instance_name="web1", **parameters)


def test_disks_that_one_node_reaches_do_not_migrate() -> None:
    """Template file is refused by name."""
    ground = Ground()
    ground.add(disk_template="file")
    assert "template file" in ground.refused("OP_INSTANCE_MIGRATE", instance_name="web1", target_node="node2")


def test_cleanup_records_where_the_guest_runs() -> None:
    """After a migration that was cut off, the record follows the guest."""
    ground = Ground()
    ground.add()
    uuid = ground.instance().uuid
    ground.guests[NODE2] = {uuid: ground.guests[NODE1].pop(uuid)}
    end = ground.run("OP_INSTANCE_MIGRATE", instance_name="web1", target_node="node2", cleanup=True)
    assert end.error is None
    assert ground.instance().primary_node == NODE2


def test_the_details_of_an_instance() -> None:
    """Recorded and filled parameters, state, disks; private parameters are hidden."""
    ground = Ground()
    ground.add(osparams_private={"key": "mine"}, beparams={"vcpus": 2})
    details = ground.run("OP_INSTANCE_QUERY_DATA", instances=["web1"]).result["web1"]
    assert (details["run_state"], details["config_state"], details["pnode"]) == ("up", "up", "node1.example.com")
    assert details["be_actual"]["vcpus"] == 2
    assert details["os_private"] == {"key": "<redacted>"}
    static = ground.run("OP_INSTANCE_QUERY_DATA", static=True).result["web1"]
    assert static["run_state"] is None


def test_the_console_of_a_guest_that_is_down_is_refused() -> None:
    """With the command that starts it."""
    ground = Ground()
    ground.add(start=False)
    assert "gnt-instance startup web1" in ground.refused("OP_INSTANCE_CONSOLE", instance_name="web1")


def test_a_plan_is_a_value() -> None:
    """The same opcode on the same model gives an equal plan."""
    from gnt.masterd.operation import operation_for
    from gnt.masterd.operations.instance_create import Room
    from tests.masterd.fakes import Fresh

    ground = Ground()
    op = decode_opcode(
        {
            "OP_ID": "OP_INSTANCE_CREATE",
            "instance_name": "web1",
            "mode": "create",
            "disks": [{"size": "1g"}],
            "nics": [{}],
            "os_type": "noop",
            "pnode": "node1",
        }
    )
    one, two = (operation_for(op, Fresh()).plan(ground.journal.head, Room()) for _ in range(2))
    assert one == two
    assert any(isinstance(getattr(step, "do", None) and step.do.call, DiskCreate) for step in one.steps)
