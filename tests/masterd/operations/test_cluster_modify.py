"""Changing the cluster's parameters: what each becomes, what is refused, what nodes are asked, who fills the pool."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import BGL, Level
from gnt.masterd.voting import voters
from gnt.model.errors import NodeFailure, NotReached
from gnt.model.initial import Identities, new_cluster
from gnt.model.objects import ClusterSettings, DiskTemplate, HypervisorName, Node
from gnt.wire.calls import NodeFacts, StorageFacts
from gnt.wire.disk_calls import MirrorOverview
from tests.masterd.fakes import GROUP, NODE1, NODE2
from tests.masterd.operations.ground import Ground

MODIFY = "OP_CLUSTER_SET_PARAMS"


def complete(**settings: Any) -> Ground:
    """Give a cluster whose parameters are complete, as init makes them."""
    made = new_cluster(
        name="c",
        node_name="n",
        primary_ip="192.0.2.1",
        identities=Identities(cluster="c", node="n", group="g"),
        now=1.0,
    ).settings
    names = ("hvparams", "beparams", "nicparams", "ndparams", "diskparams", "ipolicy")
    nicparams = {"default": {**made.nicparams["default"], "link": "br0"}}
    return Ground(**{**{name: getattr(made, name) for name in names}, "nicparams": nicparams, **settings})


def test_whoever_may_be_the_master_has_its_interface() -> None:
    """The master and the other candidates; who insists is warned."""
    ground = complete()
    node3 = ground.journal.head.node("node3")
    ground.journal.object_changes(put=[replace(node3, master_candidate=False)])
    ground.nodes.answers["interface_check"] = lambda node, call: [] if node == NODE1 else list(call.interfaces)
    text = ground.refused(MODIFY, master_netdev="nope0")
    assert "master_netdev: there is no interface nope0 on node2.example.com |" in text
    assert "--force" in text
    assert changed(ground, master_netdev="nope0", force=True).master_netdev == "nope0"
    assert any("WARNING" in line and "nope0 on node2.example.com" in line for line in ground.said)


def changed(ground: Ground, **parameters: Any) -> ClusterSettings:
    """Change parameters; gives the settings after it."""
    end = ground.run(MODIFY, **parameters)
    assert end.error is None, end.error
    return ground.journal.head.settings


@pytest.mark.parametrize(
    ("parameters", "name", "value"),
    [
        ({"max_running_jobs": 5}, "max_running_jobs", 5),
        ({"max_tracked_jobs": 50}, "max_tracked_jobs", 50),
        ({"enabled_user_shutdown": True}, "enabled_user_shutdown", True),
        ({"mac_prefix": "AA:00:01"}, "mac_prefix", "aa:00:01"),
        ({"master_netdev": "br7"}, "master_netdev", "br7"),
        ({"master_netmask": 24}, "master_netmask", 24),
        ({"reserved_lvs": ["xenvg/keep.*"]}, "reserved_lvs", ("xenvg/keep.*",)),
        ({"file_storage_dir": "/srv/other"}, "file_storage_dir", "/srv/other"),
        ({"shared_file_storage_dir": "/srv/shared"}, "shared_file_storage_dir", "/srv/shared"),
        ({"compression_tools": ["gzip", "zstd", "gzip"]}, "compression_tools", ("gzip", "zstd")),
        ({"uid_pool": [[30, 40], [10, 20]]}, "uid_pool", ((10, 20), (30, 40))),
        ({"uid_pool": []}, "uid_pool", ()),
        ({"hidden_os": [["add", "noop"], ["add", "a"]]}, "hidden_os", ("a", "noop")),
        ({"blacklisted_os": [["add", "noop"], ["remove", "noop"]]}, "blacklisted_os", ()),
        (
            {"enabled_disk_templates": ["file", "diskless"]},
            "enabled_disk_templates",
            (DiskTemplate.FILE, DiskTemplate.DISKLESS),
        ),
        ({"enabled_hypervisors": ["fake", "kvm"]}, "enabled_hypervisors", (HypervisorName.FAKE, HypervisorName.KVM)),
        ({"vg_name": ""}, "volume_group_name", None),
        ({"osparams": {"debian": {"size": "1"}}, "force": True}, "osparams", {"debian": {"size": "1"}}),
    ],
)
def test_parameters_become_settings(parameters: dict[str, Any], name: str, value: Any) -> None:
    """In the form in which they are stored; nothing else moves."""
    ground = complete(hvparams={"kvm": {"kernel_path": ""}})
    before = ground.journal.head.settings
    after = changed(ground, **parameters)
    assert getattr(after, name) == value
    same = {"serial_no", "mtime", name, "hvparams"}
    assert all(getattr(after, slot) == getattr(before, slot) for slot in set(before.__struct_fields__) - same)


def test_parameters_merge_and_can_be_taken_back() -> None:
    """What is left out stays; the word default gives what is built in."""
    ground = complete(hvparams={"kvm": {"kernel_path": "", "acpi": False}})
    after = changed(
        ground,
        hvparams={"kvm": {"vnc_bind_address": "0.0.0.0"}},  # noqa: S104
        beparams={"maxmem": "1g", "vcpus": 2},
        ndparams={"spindle_count": 3},
        diskparams={"plain": {"stripes": 4}},
        nicparams={"link": "br9"},
    )
    assert (after.hvparams["kvm"]["acpi"], after.hvparams["kvm"]["vnc_bind_address"]) == (False, "0.0.0.0")  # noqa: S104
    assert (after.beparams["default"]["maxmem"], after.beparams["default"]["vcpus"]) == (1024, 2)
    assert after.beparams["default"]["minmem"] == 128
    assert (after.ndparams["spindle_count"], after.ndparams["ssh_port"]) == (3, 22)
    assert after.diskparams["plain"]["stripes"] == 4
    assert after.nicparams["default"] == {"mode": "bridged", "link": "br9", "vlan": ""}
    after = changed(ground, beparams={"vcpus": "default"}, hvparams={"kvm": {"acpi": "default"}})
    assert after.beparams["default"]["vcpus"] == 1
    assert after.hvparams["kvm"]["acpi"] is True


def test_the_policy_of_the_cluster() -> None:
    """Merged and kept complete; instances that it would not allow are told."""
    ground = complete()
    ground.add(nics=[{}])
    after = changed(ground, ipolicy={"vcpu-ratio": 8, "disk-templates": ["file"]})
    assert (after.ipolicy["vcpu-ratio"], after.ipolicy["disk-templates"]) == (8.0, ["file"])
    assert "minmax" in after.ipolicy
    assert any("web1 violates the new instance policy" in line for line in ground.said)


def test_the_parameters_of_a_guest_os() -> None:
    """By OS and hypervisor; null takes a hypervisor's away, and an OS without any goes too."""
    ground = complete(hvparams={"kvm": {"kernel_path": ""}})
    assert changed(ground, os_hvp={"debian": {"kvm": {"acpi": False}}}).os_hvp == {"debian": {"kvm": {"acpi": False}}}
    assert changed(ground, os_hvp={"debian": {"kvm": {"acpi": "default"}}}).os_hvp == {}
    changed(ground, os_hvp={"debian": {"kvm": {"acpi": False}}})
    assert changed(ground, os_hvp={"debian": {"kvm": None}}).os_hvp == {}
    hidden = changed(ground, osparams_private_cluster={"debian": {"key": "s3cret"}}, force=True)
    assert hidden.osparams_private_cluster == {"debian": {"key": "s3cret"}}
    assert "s3cret" not in repr(hidden)


def test_user_numbers_are_added_and_removed() -> None:
    """Ranges join and split; what overlaps or is not there is refused."""
    ground = complete(uid_pool=((10, 20),))
    assert changed(ground, add_uids=[[21, 30]]).uid_pool == ((10, 30),)
    assert changed(ground, remove_uids=[[15, 16]]).uid_pool == ((10, 14), (17, 30))
    assert changed(ground, remove_uids=[[10, 14]]).uid_pool == ((17, 30),)
    assert "overlaps" in ground.refused(MODIFY, add_uids=[[30, 31]])
    assert "not all in the pool" in ground.refused(MODIFY, remove_uids=[[30, 31]])
    assert "not a range" in ground.refused(MODIFY, uid_pool=[[5, 4]])
    assert "overlap at 4" in ground.refused(MODIFY, uid_pool=[[1, 4], [4, 5]])


def test_data_collectors() -> None:
    """On and off, and how often; an unknown one is named with those that there are."""
    ground = complete()
    after = changed(ground, enabled_data_collectors={"drbd": False}, data_collector_interval={"lv": 7_000_000})
    assert (after.data_collectors["drbd"].active, after.data_collectors["lv"].interval) == (False, 7_000_000)
    assert "cpu-avg-load, diskstats" in ground.refused(MODIFY, enabled_data_collectors={"x": True})
    assert "no interval" in ground.refused(MODIFY, data_collector_interval={"lv": 0})


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"use_external_mip_script": True}, "use_external_mip_script is not supported by this version"),
        ({"prealloc_wipe_disks": True}, "prealloc_wipe_disks is not supported"),
        ({"default_iallocator": "nobody"}, "name nodes with -n"),
        ({"maintain_node_health": True}, "maintain_node_health is not supported"),
        ({"install_image": "x"}, "install_image is not supported"),
        ({"instance_communication_network": "x"}, "instance_communication_network is not supported"),
        ({"hv_state": {"kvm": {}}}, "hv_state is not supported"),
        ({"mac_prefix": "01:00:00"}, "not a MAC prefix"),
        ({"master_netmask": 33}, "not a prefix length from 1 to 32"),
        ({"master_netdev": "a/b"}, "not the name of an interface"),
        ({"reserved_lvs": ["("]}, "no regular expression"),
        ({"file_storage_dir": "srv"}, "not an absolute path"),
        ({"file_storage_dir": ""}, "file_storage_dir: disks of the template file need a directory"),
        ({"compression_tools": ["../sh"]}, "not the name of a program"),
        ({"enabled_hypervisors": []}, "at least one"),
        ({"enabled_disk_templates": []}, "at least one"),
        ({"enabled_disk_templates": ["plain"], "vg_name": ""}, "plain need a volume group"),
        ({"enabled_disk_templates": ["drbd"], "vg_name": "xenvg"}, "drbd needs a helper"),
        ({"ipolicy": {"disk-templates": ["drbd"]}}, "not enabled: drbd"),
        ({"ipolicy": {"nonsense": 1}}, "not a key of an instance policy"),
        ({"beparams": {"minmem": "2g", "maxmem": "1g"}}, "less than minmem"),
        ({"beparams": {"colour": "red"}}, "colour is not a backend parameter"),
        ({"nicparams": {"mode": "flying"}}, "Invalid NIC mode"),
        ({"hvparams": {"kvm": {"nonsense": 1}}}, "nonsense is not a kvm parameter"),
        ({"hvparams": {"toaster": {}}}, "toaster is not a hypervisor"),
        ({"os_hvp": {"debian": {"kvm": {"migration_port": 1}}}}, "can only be set for all at once"),
        ({"ndparams": {"ssh_port": 0}}, "port number"),
        ({"diskparams": {"plain": {"stripes": 0}}}, "at least 1"),
        ({"vg_name": "a b"}, "not the name of a volume group"),
        ({"drbd_helper": "true"}, "not an absolute path"),
    ],
)
def test_bad_values_are_refused_by_name(parameters: dict[str, Any], text: str) -> None:
    """In one line, and nothing is changed."""
    assert text in complete().refused(MODIFY, **parameters)


def test_what_is_in_use_stays_enabled() -> None:
    """Templates and hypervisors of instances, and the volume group of their disks."""
    ground = complete(enabled_hypervisors=(HypervisorName.FAKE, HypervisorName.KVM))
    ground.add(disk_template="diskless", disks=[])
    assert "diskless cannot be disabled: it is used by web1" in ground.refused(MODIFY, enabled_disk_templates=["file"])
    assert "fake cannot be disabled: it is used by web1" in ground.refused(MODIFY, enabled_hypervisors=["kvm"])


def test_defaults_under_which_interfaces_would_be_invalid_are_refused() -> None:
    """A routed interface needs an address."""
    ground = complete()
    ground.add(nics=[{}])
    said = ground.refused(MODIFY, nicparams={"mode": "routed"})
    assert "Instance web1, nic/0: Routed nic mode requires an ip address" in said


# What nodes say


def test_nodes_are_asked_for_the_volume_group() -> None:
    """It must be there on all of them, and large enough."""
    ground = complete()
    sizes: dict[str, int | None] = {NODE2: None}

    def info(node: str, call: Any) -> NodeFacts:
        size = sizes.get(node, 50_000)
        return NodeFacts(boot_id="b", storage=[StorageFacts(kind="lvm-vg", key="vg1", free=size, size=size)])

    ground.nodes.answers["node_info"] = info
    assert "vg1 on node2.example.com: it does not exist" in ground.refused(MODIFY, vg_name="vg1")
    sizes[NODE2] = 1000
    assert "too small: 1000 MiB of at least 20480" in ground.refused(MODIFY, vg_name="vg1")
    sizes[NODE2] = 50_000
    assert changed(ground, vg_name="vg1").volume_group_name == "vg1"


@pytest.mark.parametrize(
    ("tag", "parameters"),
    [
        ("hypervisor_check", {"hvparams": {"kvm": {"acpi": True}}, "enabled_hypervisors": ["fake", "kvm"]}),
        ("hypervisor_check", {"enabled_hypervisors": ["fake", "kvm"]}),
        ("storage_check", {"file_storage_dir": "/srv/other"}),
        ("storage_check", {"shared_file_storage_dir": "/srv/other"}),
        ("os_list", {"osparams": {"debian": {"size": 1}}}),
    ],
)
def test_nodes_that_object_or_are_silent_refuse_the_change(tag: str, parameters: dict[str, Any]) -> None:
    """Unless it is forced; nodes that are offline or host nothing are not asked."""
    for problem in (NodeFailure("failed", "not here"), NotReached("no connection")):
        ground = complete(hvparams={"kvm": {"kernel_path": ""}})
        ground.nodes.answers[tag] = lambda node, _call, problem=problem: problem if node == NODE2 else []
        said = ground.refused(MODIFY, **parameters)
        assert "node2.example.com" in said
        assert "--force" in said
        assert ground.run(MODIFY, **parameters, force=True).error is None
        for flag in ({"offline": True, "master_candidate": False}, {"vm_capable": False}):
            ground = complete(hvparams={"kvm": {"kernel_path": ""}})
            ground.nodes.answers[tag] = lambda node, _call, problem=problem: problem if node == NODE2 else []
            ground.nodes.answers["os_list"] = lambda _n, _c: []
            ground.journal.head = ground.journal.head.put(replace(ground.journal.head.node("node2"), **flag))
            end = ground.run(MODIFY, **parameters)
            assert end.error is None or "node2" not in str(end.error)


def test_parameters_that_a_guest_os_does_not_know_are_refused() -> None:
    """By the definitions that the nodes have."""
    ground = complete()
    known = [replace(facts, parameters=[("size", "")]) for facts in ground.nodes.answers["os_list"]("", None)]
    ground.nodes.answers["os_list"] = lambda _n, _c: known
    assert "debian has no parameter colour | it has: size" in ground.refused(MODIFY, osparams={"debian": {"colour": 1}})
    assert "No node has a guest OS definition plan9" in ground.refused(MODIFY, osparams={"plan9": {"size": 1}})
    assert changed(ground, osparams={"debian+stable": {"size": 1}}).osparams == {"debian+stable": {"size": "1"}}
    assert changed(ground, osparams={"debian+stable": {"size": None}}).osparams == {}


def test_the_helper_of_drbd_is_the_same_on_all_nodes() -> None:
    """As the kernel module says it there."""
    settings = {"enabled_disk_templates": (DiskTemplate.DRBD,), "volume_group_name": "xenvg"}
    ground = complete(**settings, drbd_usermode_helper="/bin/true")
    ground.nodes.answers["mirror_list"] = lambda _n, _c: MirrorOverview(version="8.4", helper="/bin/false")
    assert "DRBD calls /bin/false on node1" in ground.refused(MODIFY, drbd_helper="/sbin/helper")
    ground.nodes.answers["mirror_list"] = lambda _n, _c: MirrorOverview(version="8.4", helper="/sbin/helper")
    assert changed(ground, drbd_helper="/sbin/helper").drbd_usermode_helper == "/sbin/helper"
    assert "wrong_state" in ground.refused(MODIFY, drbd_helper="")


# The address, the pool, locks


def test_the_address_moves_to_its_new_interface() -> None:
    """Down on the old one, up on the new one, then recorded; undone if the new one does not take it."""
    ground = complete(master_ip="192.0.2.77", master_netdev="br0")
    assert changed(ground, master_netdev="br1").master_netdev == "br1"
    assert [(call.tag(), call.netdev) for _, call in ground.nodes.made] == [  # type: ignore[attr-defined]
        ("deactivate_master_ip", "br0"),
        ("activate_master_ip", "br1"),
    ]
    ground = complete(master_ip="192.0.2.77", master_netdev="br0")
    ground.nodes.answers["activate_master_ip"] = lambda _n, call: (
        NodeFailure("failed", "no br1") if call.netdev == "br1" else None
    )
    assert ground.run(MODIFY, master_netdev="br1").error is not None
    assert ground.journal.head.settings.master_netdev == "br0"
    assert ground.nodes.made[-1][1].netdev == "br0"  # type: ignore[attr-defined]


def test_a_larger_pool_is_filled_one_voter_a_commit_and_a_smaller_one_is_noted() -> None:
    """With the whole cluster locked; otherwise only the settings are."""
    ground = complete(candidate_pool_size=3)
    for number in (4, 5):
        node = Node(uuid=f"u{number}", name=f"node{number}", primary_ip=f"192.0.2.{number}", group=GROUP)
        ground.journal.head = ground.journal.head.put(node)
    counts: list[int] = []
    ground.journal.on_commit = lambda: counts.append(len(voters(ground.journal.head)))
    assert changed(ground, candidate_pool_size=5).candidate_pool_size == 5
    assert any(lock.level is Level.CLUSTER and lock.name == BGL and lock.exclusive for lock in ground.locks.wanted)
    assert ground.nodes.prepared == ["u4", "u5"]
    assert sorted(set(counts)) == [3, 4, 5]
    changed(ground, candidate_pool_size=2)
    assert any("3 more master candidates than wanted" in line for line in ground.said)
    changed(ground, mac_prefix="aa:00:02")
    assert not any(lock.level is Level.CLUSTER for lock in ground.locks.wanted)
    assert {lock.level for lock in ground.locks.wanted if lock.exclusive} == {Level.NODEGROUP}


def test_a_dry_run_asks_and_changes_nothing() -> None:
    """Refusals are the same."""
    ground = complete()
    before = ground.journal.head
    assert ground.run(MODIFY, mac_prefix="aa:00:02", dry_run=True).error is None
    assert ground.journal.head == before
    assert ground.run(MODIFY, mac_prefix="x", dry_run=True).error is not None
