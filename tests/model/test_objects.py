"""Objects: their defaults, their JSON, what they show, and their stamps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.model.cluster import Cluster, Kind, bumped, bumps_cluster, decode, encode, kind_of
from gnt.model.objects import (
    AdminState,
    ClusterSettings,
    Disk,
    DiskTemplate,
    HypervisorName,
    Instance,
    JobFilter,
    Network,
    Nic,
    Node,
    NodeGroup,
    Role,
    disk_nodes,
    role_of,
)

NODE = Node(name="node1", uuid="n1", primary_ip="192.0.2.1", group="g")

texts = st.text(max_size=12)
values = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), texts)
params = st.dictionaries(texts, values, max_size=3)
stamps: dict[str, Any] = {
    "uuid": texts,
    "ctime": st.floats(0, 4e9),
    "mtime": st.floats(0, 4e9),
    "serial_no": st.integers(1, 10**6),
}
tags = st.lists(texts, max_size=3).map(tuple)
nics = st.builds(Nic, uuid=texts, mac=texts, ip=st.none() | texts, nicparams=params, pci=st.none() | st.integers(0, 31))
plain_disks = st.builds(
    Disk,
    **stamps,
    dev_type=st.sampled_from(DiskTemplate),
    logical_id=st.lists(texts | st.integers(0, 2**31), max_size=6).map(tuple),
    size=st.integers(0, 2**40),
    params=params,
)
objects = st.one_of(
    st.builds(
        ClusterSettings, **stamps, tags=tags, cluster_name=texts, master_node=texts, hvparams=st.just({"kvm": {}})
    ),
    st.builds(Node, **stamps, tags=tags, name=texts, primary_ip=texts, group=texts, ndparams=params),
    st.builds(NodeGroup, **stamps, tags=tags, name=texts, ndparams=params),
    st.builds(
        Instance,
        **stamps,
        tags=tags,
        name=texts,
        nics=st.lists(nics, max_size=2).map(tuple),
        hvparams=params,
        hypervisor=st.sampled_from(HypervisorName),
        admin_state=st.sampled_from(AdminState),
        network_port=st.none() | st.integers(1, 65535),
        osparams_private=st.dictionaries(texts, texts, max_size=2),
    ),
    st.builds(
        lambda disk, children: msgspec.structs.replace(disk, children=children), plain_disks, st.tuples(plain_disks)
    ),
    st.builds(Network, **stamps, tags=tags, name=texts, network=texts),
    st.builds(
        JobFilter,
        uuid=texts,
        priority=st.integers(0, 9),
        action=st.sampled_from(["ACCEPT", ("RATE_LIMIT", 3)]),
        predicates=st.just((("jobid", [">", "id", 3]),)),
        reason_trail=st.just((("user", "why", 1),)),
    ),
)


@given(objects)
def test_every_object_survives_its_json(obj: Any) -> None:
    """What is decoded equals what was encoded, in content and in type."""
    again = decode(kind_of(obj), encode(obj))
    assert again == obj
    assert type(again) is type(obj)


def test_missing_slots_get_their_defaults() -> None:
    """An object written before a slot existed can be read."""
    node = decode(Kind.NODE, b'{"uuid": "n1", "name": "node1", "primary_ip": "192.0.2.1", "group": "g", "new": 1}')
    assert node == NODE


def test_an_object_of_wrong_types_is_not_read() -> None:
    """The decoder says where the fault is."""
    with pytest.raises(msgspec.ValidationError, match=r"\$\.primary_ip"):
        decode(Kind.NODE, b'{"uuid": "n1", "name": "node1", "primary_ip": 3, "group": "g"}')


def test_a_single_homed_node_has_its_primary_address_as_secondary() -> None:
    """Without a secondary address the primary one stands in."""
    assert NODE.secondary_ip == "192.0.2.1"
    assert msgspec.structs.replace(NODE, secondary_ip="10.0.0.1").secondary_ip == "10.0.0.1"


@pytest.mark.parametrize(
    ("flags", "role"),
    [
        ({}, Role.REGULAR),
        ({"master_candidate": True}, Role.CANDIDATE),
        ({"drained": True}, Role.DRAINED),
        ({"offline": True}, Role.OFFLINE),
        ({"uuid": "m", "master_candidate": True}, Role.MASTER),
    ],
)
def test_a_node_has_one_role(flags: dict[str, Any], role: Role) -> None:
    """Its flags, and being the master, decide."""
    settings = ClusterSettings(uuid="c", cluster_name="c", master_node="m")
    assert role_of(msgspec.structs.replace(NODE, **flags), settings) is role


def test_private_values_do_not_show() -> None:
    """The representation of whatever holds a secret, at any depth, has the key but not the value."""
    instance = Instance(name="w", uuid="i", osparams_private={"password": "hunter2"})
    settings = ClusterSettings(
        uuid="c", cluster_name="c", master_node="m", osparams_private_cluster={"debian": {"password": "hunter2"}}
    )
    disk = Disk(uuid="d", dev_type=DiskTemplate.DRBD, logical_id=("a", "b", 11000, 0, 1, "hunter2"))
    parent = Disk(uuid="e", dev_type=DiskTemplate.DRBD, children=(disk,))
    for obj in (instance, settings, disk, parent):
        assert "hunter2" not in repr([obj])
        assert "<redacted>" in repr(obj)
    assert "password" in repr(instance)
    assert "11000" in repr(disk)
    assert encode(instance).count(b"hunter2") == 1


def test_the_nodes_of_a_disk_come_from_where_they_are_said() -> None:
    """From the disk itself, from a drbd disk's id, from its parts; none for what any node reaches."""
    drbd = Disk(uuid="d", dev_type=DiskTemplate.DRBD, logical_id=("a", "b", 11000, 0, 1, "x"))
    assert disk_nodes(drbd) == ("a", "b")
    assert disk_nodes(msgspec.structs.replace(drbd, nodes=("b", "c"))) == ("b", "c")
    child = Disk(uuid="p", dev_type=DiskTemplate.PLAIN, nodes=("z",))
    assert disk_nodes(msgspec.structs.replace(drbd, children=(child, child))) == ("a", "b", "z")
    assert disk_nodes(Disk(uuid="s", dev_type=DiskTemplate.SHAREDFILE)) == ()


def test_a_change_moves_serial_and_time() -> None:
    """New content: serial one up, mtime now, ctime as before, whatever stamps the new object came with."""
    stored = bumped(NODE, None, 5.0)
    assert (stored.serial_no, stored.ctime, stored.mtime) == (1, 5.0, 5.0)
    changed = bumped(msgspec.structs.replace(stored, offline=True, serial_no=77, ctime=0.0), stored, 9.0)
    assert (changed.serial_no, changed.ctime, changed.mtime, changed.offline) == (2, 5.0, 9.0, True)


def test_no_change_moves_nothing() -> None:
    """The same content gives back the stored object itself."""
    stored = bumped(NODE, None, 5.0)
    assert bumped(msgspec.structs.replace(stored), stored, 9.0) is stored


def test_filters_have_no_stamps() -> None:
    """A filter is stored as it is."""
    rule = JobFilter(uuid="f")
    assert bumped(rule, None, 5.0) == rule
    assert bumped(rule, JobFilter(uuid="f", priority=1), 5.0) == rule


def test_what_alters_ssconf_moves_the_clusters_serial() -> None:
    """Nodes always, other objects when they come, go or are renamed, disks and run states never."""
    instance = Instance(name="w", uuid="i")
    assert bumps_cluster(msgspec.structs.replace(NODE, offline=True), NODE)
    assert not bumps_cluster(NODE, NODE)
    assert bumps_cluster(instance, None)
    assert bumps_cluster(None, instance)
    assert bumps_cluster(msgspec.structs.replace(instance, name="v"), instance)
    assert not bumps_cluster(msgspec.structs.replace(instance, admin_state=AdminState.UP), instance)
    assert not bumps_cluster(Disk(uuid="d", dev_type=DiskTemplate.FILE), None)


def test_kinds_are_for_configuration_objects_only() -> None:
    """Anything else has no kind."""
    assert kind_of(NODE) is Kind.NODE
    with pytest.raises(KeyError):
        kind_of(Nic(uuid="n", mac="m"))  # type: ignore[arg-type]


def test_structs_stay_frozen(cluster: Cluster) -> None:
    """Nobody can change an object in place."""
    with pytest.raises(AttributeError):
        cluster.master.offline = True  # type: ignore[misc]
