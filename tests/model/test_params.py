"""Parameters: the tables, the order of inheritance, the checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gnt.model import params_tables
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.objects import Disk, DiskTemplate, HypervisorName, Nic
from gnt.model.params import (
    Level,
    check_be,
    check_disk,
    check_hv,
    check_nd,
    check_nic,
    check_os,
    defaults,
    device_params,
    drbd_child_params,
    fill_be,
    fill_disk,
    fill_hv,
    fill_nd,
    fill_nic,
    fill_os,
    nic_problems,
    normal_vlan,
    refuse_bad_be,
    refuse_bad_hv,
)
from gnt.model.params_checks import RULES, cpu_mask_size, hv_problems, is_cpu_mask, is_multi_cpu_mask, is_normal_path
from gnt.model.params_tables import BACKEND, DISK, HYPERVISOR, NIC, NODE, Table

# Disk templates that are ours.
NEW = {"qcow2", "thin"}
FACTS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data/params.json").read_text())


def facts_of(table: Table) -> dict[str, dict[str, Any]]:
    """Give a table in the form of the facts; node parameters keep what is global in a list of their own."""
    return {
        name: {"type": str(p.type), "default": p.default, "since": p.since}
        | ({"cluster_only": True} if p.cluster_only and table is not NODE else {})
        for name, p in table.items()
    }


# Tables


def test_tables_hold_the_known_facts() -> None:
    """Every parameter, with type, default, first release and scope, and no other."""
    assert facts_of(BACKEND) == FACTS["beparams"]
    assert facts_of(NIC) == FACTS["nicparams"]
    assert facts_of(NODE) == FACTS["ndparams"]
    assert {name: facts_of(table) for name, table in DISK.items() if name not in NEW} == FACTS["diskparams"]
    assert set(DISK) >= NEW
    assert {name: facts_of(table) for name, table in HYPERVISOR.items()} == FACTS["hvparams"]
    assert [name for name, p in NODE.items() if p.cluster_only] == FACTS["ndc_globals"]
    assert sorted({n for t in HYPERVISOR.values() for n, p in t.items() if p.cluster_only}) == FACTS["hvc_globals"]


def test_the_default_policy_is_the_known_one() -> None:
    """So are the specs and the states that an administrator may give."""
    policy = params_tables.IPOLICY
    known = [name for name in policy["disk-templates"] if name not in NEW]
    assert {**policy, "disk-templates": known} == FACTS["ipolicy_default"]
    assert sorted(params_tables.SPEC_KEYS) == sorted(FACTS["ispec_types"])
    assert FACTS["hv_state_defaults"] == params_tables.HV_STATE
    assert FACTS["disk_state_defaults"] == params_tables.DISK_STATE


def test_rules_are_about_parameters_that_exist() -> None:
    """No rule has a misspelt name, and every hypervisor has its table and rules."""
    assert set(RULES) == set(HYPERVISOR) == set(HypervisorName)
    for hypervisor, rules in RULES.items():
        assert set(rules) <= set(HYPERVISOR[hypervisor])


@pytest.mark.parametrize("hypervisor", list(HypervisorName))
def test_the_defaults_pass_their_own_checks(hypervisor: str) -> None:
    """What is built in is well-formed and fits together."""
    refuse_bad_hv(hypervisor, defaults(HYPERVISOR[hypervisor]))


# Filling in


def test_hypervisor_parameters_inherit_in_order(cluster: Cluster) -> None:
    """Built in, cluster, guest OS, its variant, instance: later wins."""
    settings = replace(
        cluster.settings,
        hvparams={"kvm": {"acpi": False, "vga": "cluster", "keymap": "cluster", "soundhw": "cluster"}},
        os_hvp={
            "debian": {"kvm": {"vga": "os", "keymap": "os", "soundhw": "os"}, "fake": {"migration_mode": "non-live"}},
            "debian+min": {"kvm": {"keymap": "variant", "soundhw": "variant"}},
        },
    )
    filled = fill_hv(cluster.put(settings), "kvm", "debian+min", {"soundhw": "instance"})
    assert filled["boot_order"] == "disk"
    assert (filled["acpi"], filled["vga"], filled["keymap"], filled["soundhw"]) == (False, "os", "variant", "instance")
    assert set(filled) == set(HYPERVISOR["kvm"])
    assert fill_hv(cluster.put(settings), "kvm", "", {})["vga"] == "cluster"


def test_what_is_for_the_cluster_is_not_overridden(cluster: Cluster) -> None:
    """Neither by a guest OS nor by an instance, even where the configuration has it."""
    settings = replace(
        cluster.settings,
        hvparams={"kvm": {"migration_port": 9000}},
        os_hvp={"debian": {"kvm": {"migration_port": 9001}}},
    )
    assert fill_hv(cluster.put(settings), "kvm", "debian", {"migration_port": 9002})["migration_port"] == 9000


def test_backend_parameters_inherit_in_order(cluster: Cluster) -> None:
    """Built in, cluster, instance."""
    changed = cluster.put(replace(cluster.settings, beparams={"default": {"vcpus": 2, "maxmem": 512}}))
    filled = fill_be(changed, {"maxmem": 1024})
    assert (filled["minmem"], filled["vcpus"], filled["maxmem"]) == (128, 2, 1024)


def test_nic_parameters_inherit_in_order(cluster: Cluster) -> None:
    """Built in, cluster, the group's connection of the network, the interface; a network elsewhere adds nothing."""
    changed = cluster.put(replace(cluster.settings, nicparams={"default": {"link": "br0"}}))
    group = changed.group("default")
    nic = Nic(uuid="n", mac="m")
    assert fill_nic(changed, group, nic) == {"mode": "bridged", "link": "br0", "vlan": ""}
    assert fill_nic(changed, group, replace(nic, network="net1")) == {"mode": "routed", "link": "100", "vlan": ""}
    assert fill_nic(changed, None, replace(nic, network="net1"))["link"] == "br0"
    assert fill_nic(changed, group, replace(nic, network="net1", nicparams={"link": "own"}))["link"] == "own"


def test_node_parameters_inherit_in_order(cluster: Cluster) -> None:
    """Built in, cluster, group, node; exclusive storage stops at the group."""
    node, group = cluster.master, cluster.group("default")
    changed = (
        cluster.put(replace(cluster.settings, ndparams={"ssh_port": 23, "spindle_count": 2, "oob_program": "/c"}))
        .put(replace(group, ndparams={"spindle_count": 3, "oob_program": "/g", "exclusive_storage": False}))
        .put(replace(node, ndparams={"oob_program": "/n", "exclusive_storage": True}))
    )
    filled = fill_nd(changed, changed.master)
    assert (filled["cpu_speed"], filled["ssh_port"], filled["spindle_count"], filled["oob_program"]) == (
        1.0,
        23,
        3,
        "/n",
    )
    assert filled["exclusive_storage"] is False


def test_disk_parameters_inherit_in_order(cluster: Cluster) -> None:
    """Built in, cluster, group, the disk's own; the volume group of init stands in the cluster's."""
    group = replace(cluster.group("default"), diskparams={"drbd": {"protocol": "A", "net-custom": "g"}})
    filled = fill_disk(cluster, group, "drbd", {"net-custom": "d"})
    assert (filled["resync-rate"], filled["metavg"], filled["protocol"], filled["net-custom"]) == (
        61440,
        "vg0",
        "A",
        "d",
    )
    assert fill_disk(cluster, None, "drbd", {})["protocol"] == "C"


def test_devices_have_names_of_their_own(cluster: Cluster) -> None:
    """A drbd device sees barriers and metadata group under device names, its parts see stripes."""
    disk = replace(cluster.disk("d1"), params={"data-stripes": 3})
    device = device_params(cluster, None, disk)
    assert device["disabled-barriers"] == "n"
    assert device["default-metavg"] == "vg0"
    assert device["disable-meta-flush"] is False
    assert not {"data-stripes", "meta-stripes", "disk-barriers", "metavg"} & set(device)
    assert drbd_child_params(cluster, None, disk) == ({"stripes": 3}, {"stripes": 1})
    plain = Disk(uuid="p", dev_type=DiskTemplate.PLAIN)
    assert device_params(cluster, None, plain) == {"stripes": 1}


def test_guest_os_parameters_inherit_in_order(cluster: Cluster) -> None:
    """OS, variant, instance; the private ones apart."""
    settings = replace(
        cluster.settings,
        osparams={"debian": {"a": "os", "b": "os", "c": "os"}, "debian+min": {"b": "variant", "c": "variant"}},
        osparams_private_cluster={"debian": {"key": "os"}},
    )
    filled = fill_os(cluster.put(settings), "debian+min", {"c": "instance"}, {"other": "x"})
    assert filled.public == {"a": "os", "b": "variant", "c": "instance"}
    assert filled.private == {"key": "os", "other": "x"}


# Checking requests


def test_values_get_their_types() -> None:
    """As the command line gives them, and as JSON does."""
    assert check_be({"maxmem": "4G", "minmem": "512m", "vcpus": "2", "auto_balance": "yes"}) == {
        "maxmem": 4096,
        "minmem": 512,
        "vcpus": 2,
        "auto_balance": True,
    }
    assert check_be({"maxmem": 4096, "auto_balance": False}) == {"maxmem": 4096, "auto_balance": False}
    assert check_nd({"cpu_speed": "1.5", "ovs_name": "none", "ovs": "OFF"}) == {
        "cpu_speed": 1.5,
        "ovs_name": None,
        "ovs": False,
    }
    assert check_hv("kvm", {"root_path": "none", "kernel_args": None, "serial_speed": 9600}) == {
        "root_path": None,
        "serial_speed": 9600,
    }


def test_memory_stands_for_both_bounds() -> None:
    """The name of before 2.6 is still understood, but not beside the new ones."""
    assert check_be({"memory": "1g"}) == {"minmem": 1024, "maxmem": 1024}
    assert check_be({"memory": "default"}, {"minmem": 1, "maxmem": 2, "vcpus": 3}) == {"vcpus": 3}
    with pytest.raises(Refused, match="memory sets minmem and maxmem"):
        check_be({"memory": 512, "maxmem": 512})


def test_default_removes_an_override() -> None:
    """Also one that is not there; what is not named stays."""
    current = {"acpi": False, "vga": "std"}
    assert check_hv("kvm", {"acpi": "default", "keymap": "default"}, current) == {"vga": "std"}
    assert check_hv("kvm", {"acpi": None}, current) == {"vga": "std"}
    assert current == {"acpi": False, "vga": "std"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("acpi", "perhaps"), ("acpi", 1), ("acpi", []), ("cpu_cores", "two"), ("cpu_cores", True)),
        *(
            ("cpu_cores", 1.5),
            ("cpu_cores", 10**30),
            ("cpu_cores", "9" * 5000),
            ("vga", 7),
            ("vga", {}),
            ("root_path", 3),
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(name: str, value: Any) -> None:
    """One line that names the parameter and its type."""
    with pytest.raises(Refused, match=f"parameter {name} must be of type") as caught:
        check_hv("kvm", {name: value})
    assert caught.value.code == WRONG_INPUT
    assert len(caught.value.text) < 150


def test_a_number_too_long_to_print_is_refused() -> None:
    """As any other value of the wrong type."""
    with pytest.raises(Refused, match="parameter cpu_cores must be of type int, not a number beyond measure"):
        check_hv("kvm", {"cpu_cores": 10**6000})


def test_an_unknown_parameter_is_refused_with_near_names() -> None:
    """So that a slip of the finger is mended at once."""
    with pytest.raises(Refused) as caught:
        check_hv("kvm", {"disk_cahce": "none"})
    assert caught.value.text == "disk_cahce is not a kvm parameter"
    assert "disk_cache" in caught.value.hint
    with pytest.raises(Refused, match="zzz is not a backend parameter") as caught:
        check_be({"zzz": 1})
    assert "maxmem" in caught.value.hint
    with pytest.raises(Refused, match="xen_cmd does not exist any more: xl"):
        check_hv("xen-pvm", {"xen_cmd": "xm"})
    with pytest.raises(Refused, match="vmware is not a hypervisor") as caught:
        check_hv("vmware", {})
    assert "kvm" in caught.value.hint


def test_cluster_parameters_are_set_for_the_cluster_only() -> None:
    """Migration ports, and exclusive storage on a node."""
    with pytest.raises(Refused, match="migration_port"):
        check_hv("kvm", {"migration_port": 9000})
    assert check_hv("kvm", {"migration_port": "9000"}, level=Level.CLUSTER) == {"migration_port": 9000}
    with pytest.raises(Refused, match="exclusive_storage"):
        check_nd({"exclusive_storage": True})
    assert check_nd({"exclusive_storage": "yes"}, level=Level.GROUP) == {"exclusive_storage": True}


@pytest.mark.parametrize(
    ("hypervisor", "name", "value"),
    [
        *(("kvm", "boot_order", "tape"), ("kvm", "disk_cache", "some"), ("kvm", "kernel_path", "vmlinuz")),
        *(("kvm", "kernel_path", "/boot/../etc/x"), ("kvm", "initrd_path", "/boot//x"), ("kvm", "cpu_mask", "1-")),
        *(
            ("kvm", "cpu_mask", "3-1"),
            ("kvm", "cpu_mask", ""),
            ("kvm", "security_model", "root"),
            ("kvm", "kvm_path", ""),
        ),
        *(("kvm", "virtio_net_queues", 9), ("kvm", "kvm_pci_reservations", 33), ("kvm", "cpu_cores", -1)),
        *(("kvm", "cdrom_image_path", "gopher://x"), ("kvm", "spice_ip_version", 5), ("kvm", "migration_caps", "a::b")),
        *(("kvm", "nic_type", "wavelan"), ("kvm", "disk_aio", "fast"), ("kvm", "migration_downtime", -3)),
        *(("xen-hvm", "boot_order", "xyz"), ("xen-hvm", "boot_order", ""), ("xen-hvm", "vnc_bind_address", "::1")),
        *(("xen-pvm", "cpu_weight", 0), ("xen-pvm", "kernel_path", ""), ("lxc", "cpu_mask", "all")),
        *(("chroot", "init_script", "init"),),
    ],
)
def test_a_malformed_value_is_refused(hypervisor: str, name: str, value: Any) -> None:
    """The parameter is named, and what it must be."""
    with pytest.raises(Refused, match=f"Parameter '{name}'"):
        check_hv(hypervisor, {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("cpu_mask", "0-2,5"), ("cpu_mask", "1:all:3-4"), ("cdrom_image_path", "https://example.com/a.iso")),
        *(("kernel_path", ""), ("usb_mouse", ""), ("migration_caps", "xbzrle:auto-converge"), ("disk_cache", "none")),
    ],
)
def test_a_well_formed_value_is_taken(name: str, value: Any) -> None:
    """Empty ones too, where nothing is required."""
    assert check_hv("kvm", {name: value}) == {name: value}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kernel_path": "/k", "root_path": ""}, "Need a root partition"),
        ({"serial_speed": 9601}, "serial_speed 9601"),
        ({"vnc_x509_verify": True}, "vnc_x509_path"),
        ({"boot_order": "cdrom"}, "cdrom_image_path"),
        ({"disk_aio": "native"}, "disk_cache none"),
        ({"security_model": "user"}, "security_domain"),
        ({"security_domain": "kvm"}, "security_model user"),
        ({"spice_bind": "127.0.0.1", "vnc_bind_address": "127.0.0.1"}, "exclude"),
        ({"spice_bind": "127.0.0.1", "spice_ip_version": 6}, "IPv6"),
        ({"nonsense": 1}, "not supported"),
        ({"acpi": "yes"}, "must be of type bool"),
    ],
)
def test_kvm_parameters_must_fit_together(changes: dict[str, Any], text: str) -> None:
    """Each conflict is said in words."""
    good = defaults(HYPERVISOR["kvm"])
    with pytest.raises(Refused, match=text):
        refuse_bad_hv("kvm", {**good, **changes})


def test_a_missing_parameter_is_named() -> None:
    """Complete means complete."""
    filled = defaults(HYPERVISOR["lxc"])
    del filled["num_ttys"]
    assert hv_problems("lxc", filled) == ["Parameter 'num_ttys' is missing"]


@given(
    st.dictionaries(st.sampled_from(sorted(HYPERVISOR["kvm"])), st.text() | st.integers() | st.booleans() | st.none())
)
def test_whatever_is_asked_is_either_typed_or_refused(given_params: dict[str, Any]) -> None:
    """No value of any type makes the checks fall over; what passes has its parameter's type."""
    try:
        result = check_hv("kvm", given_params, level=Level.CLUSTER)
    except Refused:
        return
    problems = hv_problems("kvm", {**defaults(HYPERVISOR["kvm"]), **result})
    assert not [problem for problem in problems if "must be of type" in problem or "fails syntax check" in problem]


@pytest.mark.parametrize(
    ("given_params", "text"),
    [
        ({"vcpus": 0}, "vcpus must be at least 1"),
        ({"minmem": 0}, "minmem must be more than 0"),
        ({"maxmem": 0}, "maxmem must be more than 0"),
        ({"maxmem": 128, "minmem": 256}, r"maxmem \(128 MiB\) is less than minmem \(256 MiB\)"),
        ({"spindle_use": -1}, "spindle_use must not be negative"),
        ({"maxmem": "1024000t"}, None),
        ({"maxmem": "lots"}, "maxmem 'lots' is not a size"),
    ],
)
def test_backend_parameters_have_bounds(given_params: dict[str, Any], text: str | None) -> None:
    """Each is named; a big but possible size passes."""
    if text is None:
        assert check_be(given_params)
        return
    with pytest.raises(Refused, match=text):
        check_be(given_params)


def test_bounds_against_inherited_values_are_checked_when_filled(cluster: Cluster) -> None:
    """A minimum above the inherited maximum shows only in the complete set."""
    partial = check_be({"minmem": 256})
    with pytest.raises(Refused, match="maxmem"):
        refuse_bad_be(fill_be(cluster, partial))
    refuse_bad_be(fill_be(cluster, {"maxmem": 256}))


def test_nic_parameters() -> None:
    """Known modes, links that are names, vlans in their forms."""
    assert check_nic({"mode": "openvswitch", "link": "switch1", "vlan": "5"}) == {
        "mode": "openvswitch",
        "link": "switch1",
        "vlan": ".5",
    }
    for bad in ({"mode": "pool"}, {"link": "a b"}, {"link": "-x"}, {"link": "../x"}, {"vlan": "x"}, {"speed": 1}):
        with pytest.raises(Refused):
            check_nic(bad)


@pytest.mark.parametrize(
    ("text", "vlan"), [("", ""), ("7", ".7"), (".7", ".7"), (":7:8", ":7:8"), (".7:8:9", ".7:8:9")]
)
def test_vlans_have_a_normal_form(text: str, vlan: str) -> None:
    """A number alone is an access port."""
    assert normal_vlan(text) == vlan


@pytest.mark.parametrize("text", ["0", ".4095", ":", ".", "a", ".1:", "7:8", ":1::2", "²", "-1"])
def test_malformed_vlans_are_refused(text: str) -> None:
    """Numbers are 1 to 4094."""
    with pytest.raises(Refused, match="vlan"):
        normal_vlan(text)


def test_an_interface_needs_what_its_mode_asks() -> None:
    """A link where there is a bridge, an address where there is a route."""
    assert nic_problems({"mode": "bridged", "link": ""}) == ["Missing bridged NIC link"]
    assert nic_problems({"mode": "routed", "link": ""}) == [
        "Routed nic mode requires an ip address if not attached to a network"
    ]
    assert nic_problems({"mode": "routed", "link": ""}, network="net1") == []
    assert nic_problems({"mode": "pool", "link": "x"}) == ["Invalid NIC mode 'pool'"]


def test_node_parameters_have_bounds() -> None:
    """Ports, paths, counts and speeds."""
    for bad in ({"ssh_port": 0}, {"ssh_port": 65536}, {"oob_program": "x"}, {"spindle_count": -1}, {"cpu_speed": 0}):
        with pytest.raises(Refused, match=next(iter(bad))):
            check_nd(bad)
    with pytest.raises(Refused, match="cpu_speed"):
        check_nd({"cpu_speed": "nan"})


def test_disk_parameters_have_bounds() -> None:
    """Barriers, protocols, access, stripes; other templates have none."""
    assert check_disk("drbd", {"disk-barriers": "bf", "resync-rate": "1000"}) == {
        "disk-barriers": "bf",
        "resync-rate": 1000,
    }
    for template, bad in (
        ("drbd", {"disk-barriers": "nb"}),
        ("drbd", {"disk-barriers": "bb"}),
        ("drbd", {"disk-barriers": ""}),
        ("drbd", {"protocol": "D"}),
        ("drbd", {"c-max-rate": -1}),
        ("drbd", {"dynamic-resync": True, "c-plan-ahead": 0}),
        ("plain", {"stripes": 0}),
        ("rbd", {"access": "magic"}),
        ("gluster", {"port": 0}),
    ):
        with pytest.raises(Refused, match=next(iter(bad))):
            check_disk(template, bad)
    assert check_disk("drbd", {"dynamic-resync": False, "c-plan-ahead": 0})["c-plan-ahead"] == 0
    for pool in ("", "a b", "-p", "a/b"):
        with pytest.raises(Refused, match="rbd parameter pool must be a name"):
            check_disk("rbd", {"pool": pool})
    with pytest.raises(Refused, match="size is not a file disk parameter"):
        check_disk("file", {"size": 1})
    with pytest.raises(Refused, match="mixed is not a disk template"):
        check_disk("mixed", {})


def test_guest_os_parameters_are_texts() -> None:
    """Any name that makes an environment variable; null and default remove."""
    assert check_os({"a-b": 3, "c": None, "d": "default", "e": "x"}, {"c": "1", "d": "2"}) == {"a-b": "3", "e": "x"}
    for bad in ({"": "x"}, {"a b": "x"}, {"a=b": "x"}, {"ä": "x"}):
        with pytest.raises(Refused, match="name of a guest OS parameter"):
            check_os(bad)
    with pytest.raises(Refused, match="parameter a must be a text"):
        check_os({"a": []})


# Small predicates


def test_cpu_masks() -> None:
    """Single masks count, multiple ones may say all."""
    assert cpu_mask_size("0-2,5") == 4
    assert cpu_mask_size("0-2,1") == 3
    assert is_cpu_mask("0")
    assert not is_cpu_mask("all")
    assert not is_cpu_mask(None)
    assert is_multi_cpu_mask("all:1-2")
    assert not is_multi_cpu_mask("all:")


@pytest.mark.parametrize(
    ("path", "good"), [("/a/b", True), ("/", True), ("a", False), ("/a/", False), ("/a\0", False), (3, False)]
)
def test_normal_paths(path: Any, good: bool) -> None:
    """Absolute, and nothing to be resolved in them."""
    assert is_normal_path(path) is good
