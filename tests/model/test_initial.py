"""The first configuration, and its views: ssconf files and config.data."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gnt.model.checks import verify_config
from gnt.model.cluster import Cluster
from gnt.model.config_data import config_data
from gnt.model.errors import Refused
from gnt.model.initial import Identities, new_cluster
from gnt.model.objects import DataCollector, Instance, Node, Role, role_of
from gnt.model.params_tables import BACKEND, DISK, HYPERVISOR, NIC, NODE
from gnt.model.ssconf import KEYS, ssconf_files

BASE: dict[str, Any] = {
    "name": "cluster",
    "node_name": "node1",
    "primary_ip": "192.0.2.1",
    "identities": Identities(cluster="c", node="n", group="g"),
    "now": 5.0,
}


def test_a_new_cluster_is_complete_and_consistent(fresh: Cluster) -> None:
    """One node, master and candidate, in the group default; every parameter is there; nothing is found wrong."""
    assert verify_config(fresh) == []
    assert fresh.master.name == "node1.example.com"
    assert role_of(fresh.master, fresh.settings) is Role.MASTER
    assert fresh.master.master_candidate
    assert fresh.group_of(fresh.master).name == "default"
    assert {obj.serial_no for obj in (fresh, fresh.settings, fresh.master, fresh.group("default"))} == {1}
    assert {obj.mtime for obj in (fresh, fresh.settings, fresh.master, fresh.group("default"))} == {100.0}
    settings = fresh.settings
    assert {name: set(values) for name, values in settings.hvparams.items()} == {
        name: set(table) for name, table in HYPERVISOR.items()
    }
    assert {name: set(values) for name, values in settings.diskparams.items()} == {
        name: set(table) for name, table in DISK.items()
    }
    assert set(settings.beparams["default"]) == set(BACKEND)
    assert set(settings.nicparams["default"]) == set(NIC)
    assert set(settings.ndparams) == set(NODE)
    assert settings.diskparams["drbd"]["metavg"] == "vg0"
    assert settings.drbd_usermode_helper == "/bin/true"
    assert settings.candidate_certs == {"n1": "ab12"}
    assert settings.default_hypervisor == "kvm"


def test_the_defaults_work_on_a_plain_machine() -> None:
    """Without anything given: kvm, files, no volume group."""
    cluster = new_cluster(**BASE)
    assert verify_config(cluster) == []
    assert cluster.settings.enabled_hypervisors == ("kvm",)
    assert cluster.settings.enabled_disk_templates == ("sharedfile", "file", "diskless")
    assert cluster.settings.volume_group_name is None
    assert cluster.settings.drbd_usermode_helper is None
    assert cluster.master.secondary_ip == "192.0.2.1"


def test_what_is_given_is_taken() -> None:
    """Parameters as people write them, settings by their slots."""
    cluster = new_cluster(
        **BASE,
        secondary_ip="198.51.100.1",
        enabled_hypervisors=["fake", "kvm", "fake"],
        hvparams={"kvm": {"kernel_path": "", "migration_port": "9000"}},
        beparams={"memory": "1g"},
        nicparams={"link": "br0"},
        ndparams={"ssh_port": "2222"},
        diskparams={"gluster": {"host": "192.0.2.9"}},
        ipolicy={"vcpu-ratio": "2"},
        settings={
            "mac_prefix": "AA:11:22",
            "master_ip": "192.0.2.100",
            "candidate_pool_size": 3,
            "uid_pool": [[5, 9]],
            "data_collectors": {"lv": DataCollector(active=False)},
        },
    )
    settings = cluster.settings
    assert settings.enabled_hypervisors == ("fake", "kvm")
    assert (settings.hvparams["kvm"]["kernel_path"], settings.hvparams["kvm"]["migration_port"]) == ("", 9000)
    assert settings.beparams["default"]["minmem"] == 1024
    assert settings.nicparams["default"] == {"link": "br0", "mode": "bridged", "vlan": ""}
    assert settings.ndparams["ssh_port"] == 2222
    assert settings.ipolicy["vcpu-ratio"] == 2.0
    assert (settings.mac_prefix, settings.master_ip, settings.uid_pool) == ("aa:11:22", "192.0.2.100", ((5, 9),))
    assert settings.data_collectors == {"lv": DataCollector(active=False)}
    assert cluster.master.secondary_ip == "198.51.100.1"
    assert verify_config(cluster) == []


def test_an_ipv6_cluster_knows_its_family() -> None:
    """Family 10 and a netmask of 128."""
    cluster = new_cluster(**{**BASE, "primary_ip": "2001:db8::1"})
    assert (cluster.settings.primary_ip_family, cluster.settings.master_netmask) == (10, 128)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "../c"}, "cluster name"),
        ({"node_name": "-n"}, "node name"),
        ({"primary_ip": "here"}, "not an IP address"),
        ({"secondary_ip": "there"}, "not an IP address"),
        ({"enabled_hypervisors": []}, "at least one enabled hypervisor"),
        ({"enabled_hypervisors": ["vmware"]}, "vmware is not a hypervisor"),
        ({"enabled_disk_templates": ["mixed"]}, "mixed is not a disk template"),
        ({"enabled_disk_templates": ["plain"]}, "need a volume group"),
        ({"hvparams": {"kvm": {"boot_order": "tape"}}}, "boot_order"),
        ({"hvparams": {"kvm": {"disk_aio": "native"}}}, "disk_cache none"),
        ({"hvparams": {"vmware": {}}}, "vmware is not a hypervisor"),
        ({"beparams": {"minmem": 256}}, "maxmem"),
        ({"nicparams": {"link": ""}}, "Missing bridged NIC link"),
        ({"ndparams": {"ssh_port": 0}}, "ssh_port"),
        ({"diskparams": {"drbd": {"protocol": "Z"}}}, "protocol"),
        ({"ipolicy": {"minmax": []}}, "minmax"),
        ({"settings": {"master_node": "x"}}, "master_node is not a setting"),
        ({"settings": {"colour": "red"}}, "colour is not a setting"),
        ({"settings": {"candidate_pool_size": 0}}, "candidate_pool_size"),
        ({"settings": {"candidate_pool_size": "many"}}, "candidate_pool_size"),
        ({"settings": {"mac_prefix": "zz"}}, "MAC prefix"),
    ],
)
def test_bad_options_are_refused(changes: dict[str, Any], text: str) -> None:
    """Each with a line that names it."""
    with pytest.raises(Refused, match=text):
        new_cluster(**{**BASE, **changes})


# ssconf


def test_ssconf_says_what_every_node_needs(cluster: Cluster) -> None:
    """Scalars, lists in the order in which people count, one entry each line, a final newline."""
    offline = Node(
        name="node3",
        uuid="n3",
        primary_ip="192.0.2.3",
        group="g1",
        offline=True,
        vm_capable=False,
        ndparams={"ssh_port": 9},
    )
    changed = cluster.put(offline).put(
        replace(cluster.settings, tags=("b", "a10", "a2"), uid_pool=((1000, 1010), (7, 7)), master_ip="192.0.2.100")
    )
    files = ssconf_files(changed, "3.1.1")
    assert set(files) == set(KEYS)
    assert files["cluster_name"] == "cluster.example.com\n"
    assert files["cluster_tags"] == "a2\na10\nb\n"
    assert files["master_node"] == "node1.example.com\n"
    assert files["master_ip"] == "192.0.2.100\n"
    assert files["node_list"] == "node1.example.com\nnode2.example.com\nnode3\nnode10.example.com\n"
    assert files["master_candidates"] == "node1.example.com\nnode2.example.com\nnode10.example.com\n"
    assert files["master_candidates_ips"] == "192.0.2.1\n192.0.2.2\n192.0.2.10\n"
    assert files["master_candidates_certs"] == "n1=ab12\n"
    assert files["offline_nodes"] == "node3\n"
    assert "node3" not in files["online_nodes"]
    assert "node3 192.0.2.3\n" in files["node_secondary_ips"]
    assert "node3=False\n" in files["node_vm_capable"]
    assert "node3=9\n" in files["ssh_ports"]
    assert files["instance_list"] == "db.web1.example.com\nweb1.example.com\nweb2.example.com\n"
    assert files["hypervisor_list"] == "kvm\nfake\n"
    assert files["uid_pool"] == "1000-1010\n7\n"
    assert files["maintain_node_health"] == "False\n"
    assert files["primary_ip_family"] == "2\n"
    assert files["release_version"] == "3.1.1\n"
    assert files["nodegroups"] == "g1 default\n"
    assert files["networks"] == "net1 lan\n"
    assert "acpi=True\n" in files["hvparams_kvm"]


def test_an_empty_value_is_an_empty_file(fresh: Cluster) -> None:
    """Not a file with an empty line."""
    files = ssconf_files(fresh, "3.1.1")
    assert files["offline_nodes"] == files["cluster_tags"] == files["networks"] == files["master_ip"] == ""


def test_the_list_of_many_instances_is_whole(fresh: Cluster) -> None:
    """Ten thousand are more than the 128 KiB that the original allows a file."""
    for number in range(10_000):
        fresh = fresh.put(Instance(name=f"instance{number}.example.com", uuid=f"i{number}"))
    assert len(ssconf_files(fresh, "3.1.1")["instance_list"].splitlines()) == 10_000


def test_no_secret_is_in_world_readable_files(cluster: Cluster) -> None:
    """Ssconf files are for everybody on the node."""
    text = "".join(ssconf_files(cluster, "3.1.1").values())
    assert "hunter2" not in text
    assert "s3cret" not in text


# config.data


def test_the_json_view_has_the_known_shape(cluster: Cluster) -> None:
    """Containers by UUID, the version, slots under their names, absent values left out, JSON values only."""
    data = config_data(cluster)
    assert set(data) == {
        *("version", "cluster", "nodes", "nodegroups", "instances", "networks", "disks", "filters"),
        *("serial_no", "ctime", "mtime"),
    }
    assert data["version"] == 3010000
    assert data["nodes"]["n2"]["name"] == "node2.example.com"
    assert data["instances"]["i1"]["disks"] == ["d1"]
    assert data["instances"]["i2"]["nics"][0]["network"] == "net1"
    assert "network_port" not in data["instances"]["i1"]
    assert data["cluster"]["enabled_hypervisors"] == ["kvm", "fake"]
    assert json.loads(json.dumps(data)) == data == json.loads(msgspec.json.encode(data))


def test_secrets_are_not_in_the_json_view(cluster: Cluster) -> None:
    """Private guest OS parameters and drbd secrets are hidden, on any level; their places are there."""
    settings = replace(cluster.settings, osparams_private_cluster={"debian": {"key": "hunter3"}})
    child = replace(cluster.disk("d1"), uuid="inner")
    changed = cluster.put(settings).put(replace(cluster.disk("d1"), uuid="outer", children=(child,)))
    text = json.dumps(config_data(changed))
    for secret in ("hunter2", "hunter3", "s3cret"):
        assert secret not in text
    assert config_data(changed)["instances"]["i1"]["osparams_private"] == {"password": "<redacted>"}
    assert config_data(changed)["disks"]["outer"]["children"][0]["logical_id"][5] == "<redacted>"
