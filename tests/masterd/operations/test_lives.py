"""What happens in the life of an instance besides start and stop: restarts, other names, another guest OS."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level
from gnt.model.errors import InDoubt, NodeFailure
from gnt.model.objects import AdminState
from gnt.wire.calls import OsCreate, OsRename
from gnt.wire.disk_calls import DiskLabel, DiskRename
from gnt.wire.guest_calls import GuestReboot
from tests.masterd.fakes import NODE1, NODE2
from tests.masterd.operations.crashing import crashes
from tests.masterd.operations.test_new_disks import DiskGround

REBOOT = "OP_INSTANCE_REBOOT"
RENAME = "OP_INSTANCE_RENAME"
REINSTALL = "OP_INSTANCE_REINSTALL"


def with_instance(template: str = "drbd", *, start: bool = True) -> DiskGround:
    """Give a cluster with an instance."""
    ground = DiskGround()
    snode = {"snode": "node2"} if template == "drbd" else {}
    assert ground.add(disk_template=template, start=start, **snode).error is None
    ground.nodes.made.clear()
    return ground


# reboot


@pytest.mark.parametrize(("kind", "hard"), [("soft", False), ("hard", True)])
def test_a_running_guest_is_restarted_by_its_hypervisor(kind: str, hard: bool) -> None:
    """Its disks are not touched."""
    ground = with_instance()
    assert ground.run(REBOOT, instance_name="web1", reboot_type=kind, shutdown_timeout=7).error is None
    ((node, call),) = ground.nodes.made
    assert isinstance(call, GuestReboot)
    assert (node, call.hard, call.timeout) == (NODE1, hard, 7)


def test_a_restart_that_was_lost_is_not_owed() -> None:
    """When its node is back the guest may be down, which could never be paid, or have worked for hours."""
    ground = with_instance()
    ground.nodes.answers["guest_reboot"] = lambda _node, _call: InDoubt("the connection was lost")
    ended = ground.run(REBOOT, instance_name="web1", reboot_type="hard")
    assert ended.error is not None
    assert "the connection was lost" in ended.error.text
    assert not [key for space, key in ground.journal.rows_ if space == "debt"]


def test_a_full_restart_detaches_the_disks_in_between() -> None:
    """Stopped, closed on both nodes, opened, started."""
    ground = with_instance()
    assert ground.run(REBOOT, instance_name="web1", reboot_type="full").error is None
    assert ground.nodes.tags() == [
        *("guest_stop", "disk_release", "disk_release"),
        *("disk_assemble", "disk_assemble", "disk_assemble", "guest_start"),
    ]
    assert (ground.instance().admin_state, ground.instance().disks_active) == (AdminState.UP, True)


def test_a_guest_that_does_not_run_is_started() -> None:
    """And wanted up from then on."""
    ground = with_instance(start=False)
    assert ground.run(REBOOT, instance_name="web1", reboot_type="hard").error is None
    assert ground.instance().admin_state is AdminState.UP
    assert ground.guests[NODE1]


def test_an_instance_that_is_marked_offline_is_not_restarted() -> None:
    """It says so."""
    ground = with_instance()
    ground.journal.head = ground.journal.head.put(replace(ground.instance(), admin_state=AdminState.OFFLINE))
    assert "marked offline" in ground.refused(REBOOT, instance_name="web1", reboot_type="hard")


# rename


def test_volumes_keep_their_names_and_get_new_labels() -> None:
    """On both nodes; the guest OS is told its old name."""
    ground = with_instance(start=False)
    before = ground.journal.head.disks_of(ground.instance())
    end = ground.run(RENAME, instance_name="web1", new_name="web2")
    assert (end.error, end.result) == (None, "web2")
    assert ground.journal.head.disks_of(ground.instance("web2")) == before
    labels = [(node, call.text) for node, call in ground.nodes.made if isinstance(call, DiskLabel)]
    assert labels == [(NODE1, "originstname+web2"), (NODE2, "originstname+web2")]
    (script,) = (call for _, call in ground.nodes.made if isinstance(call, OsRename))
    assert (script.instance.name, script.old_name) == ("web2", "web1")
    assert not any(ground.world.mirrors.values())
    assert {lock.name for lock in ground.locks.wanted if lock.level is Level.INSTANCE} == {"web1", "web2"}


def test_files_move_into_the_directory_of_the_new_name() -> None:
    """The record follows; a move that fails changes nothing."""
    ground = with_instance("file", start=False)
    ground.nodes.answers["disk_rename"] = lambda _n, _c: NodeFailure("failed", "read-only file system")
    end = ground.run(RENAME, instance_name="web1", new_name="web2")
    assert end.error is not None
    assert ground.instance().name == "web1"
    ground.nodes.answers.update(ground.world.answers())
    ground.nodes.made.clear()
    assert ground.run(RENAME, instance_name="web1", new_name="web2").error is None
    (disk,) = ground.journal.head.disks_of(ground.instance("web2"))
    assert disk.logical_id[1] == f"/srv/ganeti/file-storage/web2/{disk.uuid}.file.disk0"
    (call,) = (call for _, call in ground.nodes.made if isinstance(call, DiskRename))
    assert call.target.logical_id == disk.logical_id
    assert list(ground.world.volumes[NODE1]) == [disk.logical_id[1]]


@pytest.mark.parametrize("after", [False, True])
def test_a_master_that_dies_while_it_renames_leaves_one_name(after: bool) -> None:
    """The files lie where the record says."""
    count = 0
    for moment, ground in crashes(
        lambda: with_instance("file", start=False), RENAME, after=after, instance_name="web1", new_name="web2"
    ):
        count = moment
        (instance,) = ground.journal.head.instances.values()
        (disk,) = ground.journal.head.disks_of(instance)
        assert f"/{instance.name}/" in str(disk.logical_id[1])
        assert list(ground.world.volumes[NODE1]) == [disk.logical_id[1]], moment
    assert count > 3


def test_a_rename_script_that_fails_is_a_warning() -> None:
    """The instance has its new name."""
    ground = with_instance(start=False)
    ground.nodes.answers["os_rename"] = lambda _n, _c: NodeFailure("script_failed", "another name in there")
    assert ground.run(RENAME, instance_name="web1", new_name="web2").error is None
    assert any("another name in there" in line for line in ground.said)


def test_an_instance_without_disks_that_went_down_by_itself_is_renamed() -> None:
    """It has no links that bear the old name, and nothing that could be detached."""
    ground = DiskGround()
    assert ground.add(disk_template="diskless", disks=[]).error is None
    ground.guests.clear()
    assert ground.instance().disks_active
    assert ground.run(RENAME, instance_name="web1", new_name="web2").error is None
    assert ground.instance("web2").name == "web2"


def test_active_disks_have_to_be_detached_before() -> None:
    """Their links bear the old name, and would be left behind."""
    ground = with_instance("plain", start=False)
    ground.run("OP_INSTANCE_ACTIVATE_DISKS", instance_name="web1")
    assert "deactivate-disks web1" in ground.refused(RENAME, instance_name="web1", new_name="web2")
    ground.run("OP_INSTANCE_DEACTIVATE_DISKS", instance_name="web1")
    assert ground.run(RENAME, instance_name="web1", new_name="web2").error is None


def test_bad_new_names_are_refused() -> None:
    """Taken ones, a node's, those that are none; a running guest."""
    ground = with_instance(start=False)
    ground.add("web2", disk_template="plain")
    for name, expected in (
        ("web2", "already_exists: Instance web2 is already in the cluster"),
        ("web1", "has that name already"),
        ("node1.example.com", "resource_not_unique"),
        ("../x", "../x"),
    ):
        assert expected in ground.refused(RENAME, instance_name="web1", new_name=name)
    assert "is running: it cannot be renamed" in ground.refused(RENAME, instance_name="web2", new_name="web3")
    assert "--name-check" in ground.refused(RENAME, instance_name="web1", new_name="web3", ip_check=True)


# reinstall


@pytest.mark.parametrize("template", ["drbd", "plain", "file"])
def test_the_guest_os_is_installed_anew(template: str) -> None:
    """On assembled disks, which are closed again; another OS is recorded."""
    ground = with_instance(template, start=False)
    assert ground.run(REINSTALL, instance_name="web1", os_type="debian+stable").error is None
    (install,) = (call for _, call in ground.nodes.made if isinstance(call, OsCreate))
    assert (install.reinstall, install.instance.os) == (True, "debian+stable")
    assert ground.instance().os == "debian+stable"
    tags = ground.nodes.tags()
    assert tags[0] == "disk_assemble"
    assert tags[-1] == "disk_release"
    assert not any(ground.world.mirrors.values())


def test_secret_parameters_reach_the_script_only() -> None:
    """They are not recorded, nor written down."""
    ground = with_instance("plain", start=False)
    before = len(ground.journal.commits)
    secrets = {"osparams_secret": {"pw": "hush"}, "osparams": {"key": "open"}}
    assert ground.run(REINSTALL, instance_name="web1", **secrets).error is None
    (install,) = (call for _, call in ground.nodes.made if isinstance(call, OsCreate))
    assert dict(install.instance.osparams_private) == {"pw": "hush"}
    assert dict(install.instance.osparams) == {"key": "open"}
    written = b"".join(getattr(change, "value", b"") for each in ground.journal.commits[before:] for change in each)
    assert b"hush" not in written


def test_only_a_stopped_instance_with_disks_and_a_sound_os_is_installed() -> None:
    """Each refusal says why."""
    ground = with_instance("plain")
    assert "is running: it cannot be installed anew" in ground.refused(REINSTALL, instance_name="web1")
    ground.add("none", disk_template="diskless", disks=[], os_type="noop", start=False)
    assert "has no disks" in ground.refused(REINSTALL, instance_name="none")
    ground.add("off", disk_template="plain", start=False)
    assert "Guest OS beos" in ground.refused(REINSTALL, instance_name="off", os_type="beos")
    assert "must include a variant" in ground.refused(REINSTALL, instance_name="off", os_type="debian")
