"""Consistency of the configuration, and instance policies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gnt.model.checks import (
    FINDING_CODES,
    Needs,
    Severity,
    candidate_target,
    needs_of,
    policy_violations,
    verify_config,
)
from gnt.model.cluster import Cluster
from gnt.model.errors import Refused
from gnt.model.objects import ClusterSettings, Disk, DiskTemplate, Instance, Nic, Node, NodeGroup
from gnt.model.params import Level
from gnt.model.params_tables import IPOLICY
from gnt.model.policy import check_ipolicy, fill_ipolicy, stored_ipolicy_problems


def texts(cluster: Cluster) -> list[str]:
    """Give what is found, each as one text."""
    return [f"{f.code} {f.item} {f.name} {f.text}".replace("  ", " ") for f in verify_config(cluster)]


def test_a_sound_cluster_has_no_findings(cluster: Cluster) -> None:
    """But for the policy, which a diskless instance keeps too."""
    assert texts(cluster) == []


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        ({"enabled_hypervisors": ()}, "no hypervisor is enabled"),
        ({"hvparams": {}}, "kvm is enabled but has no parameters"),
        ({"hvparams": {"kvm": {"boot_order": "x"}, "fake": {}}}, "boot_order"),
        ({"hvparams": {"kvm": {"acpi": 1}, "fake": {}, "vmware": {}}}, "vmware, which is not a hypervisor"),
        ({"os_hvp": {"debian": {"kvm": {"colour": 1}}}}, "kvm for debian: Parameter 'colour'"),
        ({"enabled_disk_templates": ()}, "no disk template is enabled"),
        ({"enabled_disk_templates": (DiskTemplate.MIXED,)}, "mixed"),
        ({"master_node": "nobody"}, "the master node nobody does not exist"),
        ({"candidate_pool_size": 0}, "pool size is 0"),
        ({"beparams": {"default": {"vcpus": "two"}}}, "backend: Parameter 'vcpus' must be of type int"),
        ({"beparams": {"default": {"vcpus": 0}}}, "vcpus must be at least 1"),
        ({"nicparams": {"default": {"mode": "pool"}}}, "Invalid NIC mode 'pool'"),
        ({"nicparams": {"default": {"link": ""}}}, "Missing bridged NIC link"),
        ({"ndparams": {"ssh_port": 0}}, "ssh_port"),
        ({"diskparams": {"rbd": {"access": "x"}, "tape": {}}}, "tape, which is not a disk template"),
        ({"diskparams": {"rbd": {"access": "x"}}}, "cluster: rbd disks: rbd parameter access"),
        ({"ipolicy": {"colour": 1}}, "colour"),
        ({"ipolicy": {"vcpu-ratio": "4.0"}}, "wrong type"),
        ({"ipolicy": {"disk-templates": []}}, "allows no disk template"),
        ({"master_ip": "192.0.2.2"}, "IP address 192.0.2.2 is used 2 times: the cluster, node node2.example.com"),
        ({"highest_used_port": 10999}, "TCP port 11000 is above"),
        ({"tcpudp_port_pool": (11000,)}, "TCP port 11000 is used 2 times"),
    ],
)
def test_faults_of_the_settings_are_found(cluster: Cluster, slots: dict[str, Any], text: str) -> None:
    """Each is reported as an error of the cluster."""
    found = [f for f in verify_config(cluster.put(replace(cluster.settings, **slots))) if text in f.text]
    assert found
    assert (found[0].code, found[0].item, found[0].name, found[0].severity) == ("ECLUSTERCFG", "cluster", "", "error")


def test_a_master_address_that_is_the_masters_own_is_fine(cluster: Cluster) -> None:
    """A cluster need not have an address of its own."""
    assert texts(cluster.put(replace(cluster.settings, master_ip="192.0.2.1"))) == []


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        ({"group": "nowhere"}, "ECLUSTERDANGLINGNODES node node2.example.com its group nowhere does not exist"),
        ({"offline": True}, "flags that exclude each other: master_candidate, offline"),
        ({"ndparams": {"ssh_port": "x"}}, "node node2.example.com: Parameter 'ssh_port'"),
        ({"ndparams": {"exclusive_storage": True}}, "overrides exclusive_storage"),
        ({"name": "NODE1.example.com"}, "node name node1.example.com is used 2 times"),
        ({"primary_ip": "192.0.2.1"}, "IP address 192.0.2.1 is used 2 times"),
        ({"secondary_ip": "192.0.2.10"}, "IP address 192.0.2.10 is used 2 times"),
        ({"master_candidate": False}, "there are 2 master candidates, but there should be 3"),
    ],
)
def test_faults_of_a_node_are_found(cluster: Cluster, slots: dict[str, Any], text: str) -> None:
    """Each with the node's name."""
    assert any(text in found for found in texts(cluster.put(replace(cluster.nodes["n2"], **slots))))


def test_the_master_must_be_a_candidate(cluster: Cluster) -> None:
    """It is said, also where the pool is full without it."""
    changed = cluster.put(replace(cluster.master, master_candidate=False))
    assert "ECLUSTERCFG cluster the master node1.example.com is not a master candidate" in texts(changed)


def test_the_pool_counts_who_may_be_in_it(cluster: Cluster) -> None:
    """Offline, drained and incapable nodes do not count, and the pool has a size."""
    assert candidate_target(cluster) == 3
    assert candidate_target(cluster.put(replace(cluster.nodes["n2"], offline=True))) == 2
    assert candidate_target(cluster.put(replace(cluster.nodes["n2"], drained=True))) == 2
    assert candidate_target(cluster.put(replace(cluster.nodes["n2"], master_capable=False))) == 2
    assert candidate_target(cluster.put(replace(cluster.settings, candidate_pool_size=1))) == 1


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        ({"name": "6f2a7c1e-0000-4000-8000-0123456789ab"}, "looks like a UUID"),
        ({"ndparams": {"spindle_count": -1}}, "group x: node parameter spindle_count"),
        ({"diskparams": {"plain": {"stripes": 0}}}, "group x: plain disks"),
        ({"ipolicy": {"std": 3}}, "group x: std"),
        ({"networks": {"gone": {}}}, "network gone, which does not exist"),
        ({"name": "DEFAULT"}, "group name default is used 2 times"),
    ],
)
def test_faults_of_a_group_are_found(cluster: Cluster, slots: dict[str, Any], text: str) -> None:
    """Each with the group's name."""
    group = replace(NodeGroup(name="x", uuid="gx"), **slots)
    assert any(text in found for found in texts(cluster.put(group)))


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        ({"primary_node": "gone"}, "ECLUSTERDANGLINGINST instance web2.example.com its primary node gone"),
        ({"primary_node": ""}, "its primary node (none) does not exist"),
        ({"disks": ("gone",)}, "has the disk gone, which does not exist"),
        ({"hvparams": {"acpi": "x"}}, "web2.example.com: Parameter 'acpi' must be of type bool"),
        ({"hvparams": {"migration_port": 1}}, "migration_port is overridden"),
        ({"beparams": {"maxmem": "x"}}, "Parameter 'maxmem' must be of type size"),
        ({"beparams": {"maxmem": 64}}, "maxmem (64 MiB) is less than minmem"),
        ({"beparams": {"maxmem": 65536}}, "EINSTANCEPOLICY instance web2.example.com memory-size 65536"),
        ({"nics": (Nic(uuid="x", mac="aa:00:00:00:00:01"),)}, "MAC address aa:00:00:00:00:01 is used 2 times"),
        ({"nics": (Nic(uuid="x", mac="AA:00:00:00:00:01"),)}, "MAC address aa:00:00:00:00:01 is used 2 times"),
        ({"nics": (Nic(uuid="x", mac="m", network="gone"),)}, "network gone, which does not exist"),
        ({"nics": (Nic(uuid="x", mac="m", nicparams={"link": 3}),)}, "nic 0: Parameter 'link'"),
        ({"nics": (Nic(uuid="x", mac="m", nicparams={"mode": "routed"}),)}, "nic 0: Routed nic mode"),
        ({"network_port": 11000}, "TCP port 11000 is used 2 times: disk d1, instance web2.example.com"),
        ({"disks": ("d1", "d2")}, "disk 1 is called disk/0, not disk/1"),
        ({"disks": ("d1",)}, "disk d1 belongs to several instances: web1.example.com, web2.example.com"),
        ({"name": "web1.example.com"}, "instance name web1.example.com is used 2 times"),
    ],
)
def test_faults_of_an_instance_are_found(cluster: Cluster, slots: dict[str, Any], text: str) -> None:
    """Each with the instance's name."""
    assert any(text in found for found in texts(cluster.put(replace(cluster.instances["i2"], **slots))))


def test_equal_addresses_matter_only_on_one_link(cluster: Cluster) -> None:
    """Interfaces of different links or networks may have the same address."""
    web2 = cluster.instances["i2"]
    nic = replace(web2.nics[0], uuid="x", mac="aa:00:00:00:00:09")
    same = replace(web2, uuid="i9", name="web9", disks=(), nics=(nic,))
    assert any("IP address 198.51.100.7 on routed:100 in network net1" in found for found in texts(cluster.put(same)))
    other = replace(same, nics=(replace(nic, network=None),))
    assert not any("198.51.100.7" in found for found in texts(cluster.put(other)))


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        ({"mode": "wo"}, "neither rw nor ro"),
        ({"dev_type": DiskTemplate.MIXED}, "type mixed"),
        ({"size": 0}, "size of 0 MiB"),
        ({"params": {"access": "magic"}}, "access mode 'magic'"),
    ],
)
def test_faults_of_a_disk_are_found(cluster: Cluster, slots: dict[str, Any], text: str) -> None:
    """Each with the disk's UUID."""
    loose = replace(cluster.disks["d2"], uuid="loose", **slots)
    assert any(text in found and "loose" in found for found in texts(cluster.put(loose)))


def test_drbd_minors_and_volumes_are_unique_on_a_node(cluster: Cluster) -> None:
    """Two disks with the same minor or volume on the same node are found, on other nodes they are not."""
    disk = cluster.disks["d1"]
    double = replace(disk, uuid="twin", logical_id=("n2", "n10", 11001, 0, 0, "x"), nodes=("n2", "n10"))
    found = texts(cluster.put(replace(cluster.settings, highest_used_port=11001)).put(double))
    assert "ECLUSTERCFG cluster drbd minor 0 on node2.example.com is used 2 times: disk d1, disk twin" in found
    assert any("logical volume vg0/x_data on node2.example.com is used 2 times" in text for text in found)
    assert not any("node10" in text for text in found)


def test_layouts_are_only_warned_about(cluster: Cluster) -> None:
    """Several secondaries, and nodes of one instance in different groups."""
    changed = cluster.put(NodeGroup(name="other", uuid="g2")).put(replace(cluster.nodes["n2"], group="g2"))
    second = Disk(uuid="d3", dev_type=DiskTemplate.PLAIN, size=1024, iv_name="disk/1", nodes=("n10",))
    changed = changed.put(second).put(replace(cluster.instances["i1"], disks=("d1", "d3")))
    found = {f.code: f for f in verify_config(changed)}
    assert set(found) == {"EINSTANCELAYOUT", "EINSTANCESPLITGROUPS"}
    assert {f.severity for f in found.values()} == {Severity.WARNING}
    assert {f.name for f in found.values()} == {"web1.example.com"}


def test_a_reserved_instance_may_lack_everything(cluster: Cluster) -> None:
    """A forthcoming one is not looked into."""
    assert texts(cluster.put(Instance(name="later", uuid="f", forthcoming=True))) == []


junk = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2))
bags = st.dictionaries(
    st.sampled_from(["vcpus", "maxmem", "acpi", "mode", "link", "std", "minmax", "ssh_port", "x"]), junk
)


@given(bags, bags, bags, bags, bags)
def test_no_damage_makes_verification_fall_over(be: Any, hv: Any, nic: Any, nd: Any, policy: Any) -> None:
    """Whatever stands in the parameters, there are findings and no exception; all codes are known ones."""
    base = Cluster.of(_damaged_settings(be, nic, nd, policy))
    group = NodeGroup(name="g", uuid="g", ndparams=nd, ipolicy=policy, diskparams={"drbd": be})
    node = Node(name="n", uuid="n", primary_ip="?", group="g", ndparams=nd)
    instance = Instance(
        name="i",
        uuid="i",
        primary_node="n",
        beparams=be,
        hvparams=hv,
        nics=(Nic(uuid="q", mac="", nicparams=nic, ip="x"),),
    )
    for finding in verify_config(base.put(group).put(node).put(instance)):
        assert finding.code in FINDING_CODES
        assert "\n" not in finding.text or any(
            "\n" in str(value) for bag in (be, hv, nic, nd) for value in bag.values()
        )


def _damaged_settings(be: Any, nic: Any, nd: Any, policy: Any) -> Any:
    return ClusterSettings(
        uuid="c",
        cluster_name="c",
        master_node="n",
        beparams={"default": be},
        nicparams={"default": nic},
        ndparams=nd,
        ipolicy=policy,
        diskparams={"drbd": nd},
    )


# Policies


def test_policies_inherit(cluster: Cluster) -> None:
    """Of a group, `std` merges key by key and everything else replaces."""
    pair = {"min": dict.fromkeys(IPOLICY["std"], 1), "max": dict.fromkeys(IPOLICY["std"], 2)}
    group = replace(cluster.group("default"), ipolicy={"std": {"cpu-count": 2}, "minmax": [pair]})
    filled = fill_ipolicy(cluster, group)
    assert filled["std"] == {**IPOLICY["std"], "cpu-count": 2}
    assert filled["minmax"] == [pair]
    assert filled["vcpu-ratio"] == 4.0
    assert fill_ipolicy(cluster, None) == IPOLICY


def test_policy_values_get_their_types() -> None:
    """Sizes with units, numbers as texts; `default` resets on the cluster and removes on a group."""
    given_policy = {"std": {"memory-size": "1g"}, "vcpu-ratio": "2.5", "disk-templates": ["plain"]}
    made = check_ipolicy(given_policy, IPOLICY)
    assert made["std"] == {**IPOLICY["std"], "memory-size": 1024}
    assert (made["vcpu-ratio"], made["disk-templates"]) == (2.5, ["plain"])
    assert check_ipolicy({"vcpu-ratio": "default"}, made)["vcpu-ratio"] == 4.0
    assert check_ipolicy({"vcpu-ratio": None}, {"vcpu-ratio": 2.0}, level=Level.GROUP) == {}
    assert IPOLICY["std"]["memory-size"] == 128


def _pair(**changes: Any) -> dict[str, Any]:
    base = IPOLICY["minmax"][0]
    return {"min": {**base["min"], **changes.get("min", {})}, "max": {**base["max"], **changes.get("max", {})}}


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ({"colour": 1}, "'colour' is not a key"),
        ({"minmax": []}, "minmax of the instance policy is empty"),
        ({"minmax": {}}, "must be a list"),
        ({"minmax": [{}]}, "objects with min and max"),
        ({"minmax": [{"min": {}, "max": {}}]}, "max of the instance policy lacks memory-size"),
        ({"minmax": [_pair(min={"cpu-count": 9})]}, r"min cpu-count \(9\) is more than max \(8\)"),
        ({"minmax": [_pair(min={"cpu-count": 2})]}, "std of the instance policy lies in none"),
        ({"minmax": [_pair(min={"cpu-cuont": 2})]}, "cpu-cuont is not an instance policy parameter"),
        ({"std": {"memory-size": "much"}}, "std memory-size"),
        ({"std": 3}, "std of the instance policy must be an object"),
        ({"disk-templates": []}, "allows no disk template"),
        ({"disk-templates": ["tape"]}, "tape is not a disk template"),
        ({"vcpu-ratio": 0}, "vcpu-ratio of the instance policy must be more than 0"),
        ({"vcpu-ratio": "x"}, "vcpu-ratio of the instance policy must be of type float"),
    ],
)
def test_bad_policies_are_refused(policy: dict[str, Any], text: str) -> None:
    """Each with the key that is wrong."""
    with pytest.raises(Refused, match=text):
        check_ipolicy(policy, IPOLICY)
    assert stored_ipolicy_problems({**IPOLICY, **policy}, complete=True)


def test_an_instance_fits_one_of_the_pairs_in_all() -> None:
    """Being inside different pairs in different ways is not enough; the nearest pair is reported."""
    small = {"min": dict.fromkeys(IPOLICY["std"], 1), "max": dict.fromkeys(IPOLICY["std"], 10)}
    large = {"min": dict.fromkeys(IPOLICY["std"], 100), "max": dict.fromkeys(IPOLICY["std"], 1000)}
    policy = {**IPOLICY, "minmax": [small, large]}
    needs = Needs(template=DiskTemplate.PLAIN, memory=5, cpus=5, disk_sizes=(5,) * 5, nics=5, spindle_use=5)
    assert policy_violations(policy, needs) == []
    assert policy_violations(policy, replace(needs, cpus=500)) == ["cpu-count 500 is not in the range 1 to 10"]
    assert policy_violations(policy, replace(needs, disk_sizes=(5, 50, 60))) == [
        "disk-size 50 is not in the range 1 to 10",
        "disk-size 60 is not in the range 1 to 10",
    ]


def test_what_does_not_apply_is_not_checked(cluster: Cluster) -> None:
    """Disks of a diskless instance, and what is not asked about; a template that is not allowed is named."""
    diskless = needs_of(cluster, cluster.instance("db.web1"))
    assert policy_violations(IPOLICY, diskless) == []
    assert policy_violations(IPOLICY, Needs()) == []
    plain = Needs(template=DiskTemplate.PLAIN, disk_sizes=())
    assert policy_violations(IPOLICY, plain) == ["disk-count 0 is not in the range 1 to 16"]
    assert policy_violations({**IPOLICY, "disk-templates": ["drbd"]}, replace(plain, disk_sizes=(2048,))) == [
        "disk template plain is not allowed"
    ]
