"""A small cluster that most tests of the model look at."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gnt.model.cluster import Cluster
from gnt.model.initial import Identities, new_cluster
from gnt.model.objects import AdminState, Disk, DiskTemplate, HypervisorName, Instance, Network, Nic, Node


@pytest.fixture
def fresh() -> Cluster:
    """Give a cluster as init makes it."""
    return new_cluster(
        name="cluster.example.com",
        node_name="node1.example.com",
        primary_ip="192.0.2.1",
        identities=Identities(cluster="c-uuid", node="n1", group="g1"),
        now=100.0,
        enabled_hypervisors=[HypervisorName.KVM, HypervisorName.FAKE],
        enabled_disk_templates=["drbd", "plain", "sharedfile", "file", "diskless"],
        volume_group_name="vg0",
        node_certificate="ab12",
    )


@pytest.fixture
def cluster(fresh: Cluster) -> Cluster:
    """Give a cluster of three nodes with an instance on drbd, one on a shared file and one without disks."""
    volume = {"dev_type": DiskTemplate.PLAIN, "size": 1024}
    objects = [
        Node(name="node2.example.com", uuid="n2", primary_ip="192.0.2.2", group="g1", master_candidate=True),
        Node(name="node10.example.com", uuid="n10", primary_ip="192.0.2.10", group="g1", master_candidate=True),
        Network(name="lan", uuid="net1", network="198.51.100.0/24", gateway="198.51.100.1"),
        Disk(
            uuid="d1",
            dev_type=DiskTemplate.DRBD,
            size=1024,
            iv_name="disk/0",
            nodes=("n1", "n2"),
            logical_id=("n1", "n2", 11000, 0, 0, "s3cret"),
            children=(
                Disk(uuid="d1d", logical_id=("vg0", "x_data"), **volume),
                Disk(uuid="d1m", logical_id=("vg0", "x_meta"), **volume),
            ),
        ),
        Disk(uuid="d2", dev_type=DiskTemplate.SHAREDFILE, size=2048, iv_name="disk/0", logical_id=("loop", "/srv/d2")),
        Instance(
            name="web1.example.com",
            uuid="i1",
            primary_node="n1",
            os="debian+min",
            disks=("d1",),
            nics=(Nic(uuid="nic1", mac="aa:00:00:00:00:01"),),
            admin_state=AdminState.UP,
            osparams_private={"password": "hunter2"},
        ),
        Instance(
            name="web2.example.com",
            uuid="i2",
            primary_node="n2",
            disks=("d2",),
            nics=(Nic(uuid="nic2", mac="aa:00:00:00:00:02", ip="198.51.100.7", network="net1"),),
        ),
        Instance(
            name="db.web1.example.com",
            uuid="i3",
            primary_node="n1",
            nics=(Nic(uuid="nic3", mac="aa:00:00:00:00:03"),),
        ),
    ]
    group = fresh.group("default")
    changed = fresh.put(replace(group, networks={"net1": {"mode": "routed", "link": "100"}}))
    for obj in objects:
        changed = changed.put(obj)
    return changed.put(replace(fresh.settings, highest_used_port=11000))
