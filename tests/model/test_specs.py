"""What nodes see of instances."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from gnt.model.cluster import Cluster
from gnt.model.objects import DiskTemplate, NicMode
from gnt.model.params_tables import BACKEND, HYPERVISOR
from gnt.model.specs import InstanceSpec, disk_spec, instance_spec


def test_an_instance_is_described_with_names_and_complete_parameters(cluster: Cluster) -> None:
    """Nodes by name, every parameter there, disks and interfaces in order."""
    spec = instance_spec(cluster, cluster.instance("web1"))
    assert (spec.name, spec.uuid, spec.os) == ("web1.example.com", "i1", "debian+min")
    assert spec.primary_node == "node1.example.com"
    assert spec.secondary_nodes == ("node2.example.com",)
    assert set(spec.hvparams) == set(HYPERVISOR["kvm"])
    assert set(spec.beparams) == set(BACKEND)
    assert spec.osparams_private == {"password": "hunter2"}
    assert [disk.uuid for disk in spec.disks] == ["d1"]
    assert spec.nics[0].mode is NicMode.BRIDGED


def test_parameters_for_once_come_last(cluster: Cluster) -> None:
    """They override the instance's own, and the configuration keeps its own."""
    instance = replace(cluster.instance("web1"), beparams={"vcpus": 2}, osparams={"a": "own", "b": "own"})
    spec = instance_spec(
        cluster,
        instance,
        hvparams={"acpi": False},
        beparams={"vcpus": 4},
        osparams={"a": "once"},
        osparams_private={"password": "once"},
    )
    assert spec.hvparams["acpi"] is False
    assert spec.beparams["vcpus"] == 4
    assert spec.osparams == {"a": "once", "b": "own"}
    assert spec.osparams_private == {"password": "once"}
    assert instance.beparams == {"vcpus": 2}


def test_a_drbd_disk_is_described_with_its_parts(cluster: Cluster) -> None:
    """Parameters under device names, on the parts the stripes; each says whose it is."""
    spec = disk_spec(cluster, cluster.instance("web1"), cluster.disk("d1"), 3)
    assert (spec.index, spec.dev_type, spec.size, spec.mode) == (3, DiskTemplate.DRBD, 1024, "rw")
    assert spec.params["default-metavg"] == "vg0"
    assert [child.params for child in spec.children] == [{"stripes": 1}, {"stripes": 1}]
    assert [child.logical_id for child in spec.children] == [("vg0", "x_data"), ("vg0", "x_meta")]
    assert {part.instance_uuid for part in (spec, *spec.children)} == {"i1"}
    assert {part.instance_name for part in (spec, *spec.children)} == {"web1.example.com"}


def test_an_interface_in_a_network_is_described_with_it(cluster: Cluster) -> None:
    """Mode and link come from the group's connection, the network's data come along."""
    nic = instance_spec(cluster, cluster.instance("web2")).nics[0]
    assert (nic.index, nic.mode, nic.link, nic.ip) == (0, NicMode.ROUTED, "100", "198.51.100.7")
    assert nic.network is not None
    assert (nic.network.name, nic.network.gateway) == ("lan", "198.51.100.1")


def test_dangling_references_do_not_stop_a_description(cluster: Cluster) -> None:
    """Verification reports them; a node must still be able to clean up."""
    instance = replace(cluster.instance("web2"), primary_node="gone", disks=("d2", "gone"))
    instance = replace(instance, nics=(replace(instance.nics[0], network="gone"),))
    spec = instance_spec(cluster, instance)
    assert spec.primary_node == ""
    assert len(spec.disks) == 1
    assert spec.nics[0].network is None


@pytest.mark.parametrize("name", ["web1", "web2", "db.web1"])
def test_a_description_survives_its_json(cluster: Cluster, name: str) -> None:
    """It crosses to the nodes unchanged."""
    spec = instance_spec(cluster, cluster.instance(name))
    assert msgspec.json.decode(msgspec.json.encode(spec), type=InstanceSpec) == spec


def test_secrets_do_not_show(cluster: Cluster) -> None:
    """Neither private guest OS parameters nor the secret of a drbd disk are in the representation."""
    shown = repr(instance_spec(cluster, cluster.instance("web1")))
    assert "hunter2" not in shown
    assert "s3cret" not in shown
    assert "password" in shown
