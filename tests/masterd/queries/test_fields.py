"""The fields of every kind of object: that they are those of the specification, and what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gnt.masterd.queries.answers import RESOURCES
from gnt.model.names import nice_key
from gnt.model.objects import DiskTemplate
from tests.masterd.queries.conftest import Desk

SPEC: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data" / "query-fields.json").read_text())
KINDS = [what for what in SPEC if not what.startswith("_")]
NODES_ARE_ASKED = {"instance", "node"}


@pytest.mark.parametrize("what", KINDS)
def test_every_field_of_the_specification(what: str) -> None:
    """Names, titles, kinds and how names compare are those of the specification, and there are no others."""
    wanted, fields = SPEC[what], RESOURCES[what]
    assert fields.key == wanted["name_field"]
    assert set(fields.by_name) == set(wanted["fields"])
    for name, one in wanted["fields"].items():
        field = fields.by_name[name]
        assert (field.title, field.kind, field.hostname) == (one["title"], one["kind"], one.get("hostname", False)), (
            name
        )
        assert field.doc
        if what in NODES_ARE_ASKED:
            assert bool(field.asks) == one.get("live", False), name


def test_all_kinds_are_there() -> None:
    """Every kind of the specification can be asked for."""
    assert set(RESOURCES) == set(KINDS)


def test_families() -> None:
    """Fields with a number have the titles and kinds of their family, whatever the number."""
    for family in SPEC["_families"]["instance"][2:]:
        name = family["pattern"].replace("<n>", "17")
        field = RESOURCES["instance"].find(name)
        assert field is not None, name
        assert (field.title, field.kind) == (family["title"].replace("<n>", "17"), family["kind"])
    for name in ("disk.size/", "disk.size/-1", "disk.size/01", "disk.size/x", "nic.colour/0", "disk.size/99999"):
        assert RESOURCES["instance"].find(name) is None


@pytest.mark.parametrize("what", KINDS)
def test_every_cell_is_well_formed(desk: Desk, what: str) -> None:
    """All fields of all objects at once: a status and a value that JSON can carry, null unless the status is 0."""
    names = list(RESOURCES[what].by_name)
    rows = desk.query(what, names)
    assert rows or what in {"export", "extstorage", "os"}
    for row in rows:
        assert len(row) == len(names)
        for name, (status, value) in zip(names, row, strict=True):
            assert status in {0, 2, 3, 4}, name
            assert status == 0 or value is None, name


VALUE_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str, type(None)),
    "bool": (bool,),
    "number": (int,),
    "float": (float, int),
    "unit": (int,),
    "timestamp": (float, int),
}


@pytest.mark.parametrize("what", KINDS)
def test_values_are_of_their_kind(desk: Desk, what: str) -> None:
    """A number is a number and a text a text."""
    for name, field in RESOURCES[what].by_name.items():
        for [(status, value)] in desk.query(what, [name]):
            if status == 0 and field.kind != "other":
                assert isinstance(value, VALUE_TYPES[field.kind]), name
                assert field.kind not in {"number", "unit"} or not isinstance(value, bool), name


def test_instances_are_listed_as_people_count(desk: Desk) -> None:
    """web2 comes before web10."""
    assert desk.names("instance") == ["db.web1", "mail", "toy", "web1", "web2", "web10"]
    assert desk.nodes.made == []


INSTANCE_CELLS = [
    ("web1", "pnode", (0, "node1.example.com")),
    ("web1", "snodes", (0, ["node2.example.com"])),
    ("web1", "snodes.group", (0, ["default"])),
    ("web1", "pnode.group.uuid", (0, "g1")),
    ("web1", "disk_template", (0, "drbd")),
    ("web1", "disk_usage", (0, 1024 + 128)),
    ("web1", "admin_up", (0, True)),
    ("web2", "disk_usage", (0, 0)),
    ("web2", "disk.count", (0, 2)),
    ("web2", "disk.sizes", (0, [2048, 512])),
    ("web2", "disk.names", (0, ["root", None])),
    ("web2", "disk.spindles", (0, [None, 2])),
    ("web2", "disk.size/1", (0, 512)),
    ("web2", "disk.size/2", (3, None)),
    ("web2", "disk.name/1", (3, None)),
    ("web2", "sdb_size", (0, 512)),
    ("web2", "nic.ips", (0, ["198.51.100.2", None])),
    ("web2", "nic.modes", (0, ["routed", "bridged"])),
    ("web2", "nic.links", (0, ["100", "xen-br0"])),
    ("web2", "nic.bridges", (0, [None, "xen-br0"])),
    ("web2", "nic.networks.names", (0, ["lan", None])),
    ("web2", "nic.network.name/0", (0, "lan")),
    ("web2", "nic.ip/1", (3, None)),
    ("web2", "nic.mac/2", (3, None)),
    ("web2", "bridge", (3, None)),
    ("web2", "nic_mode", (0, "routed")),
    ("web2", "be/maxmem", (0, 512)),
    ("web2", "be/memory", (0, 512)),
    ("web2", "vcpus", (0, 2)),
    ("web2", "be/minmem", (0, 128)),
    ("web2", "hv/acpi", (0, False)),
    ("web1", "hv/acpi", (0, True)),
    ("toy", "hv/acpi", (3, None)),
    ("web2", "custom_beparams", (0, {"maxmem": 512, "vcpus": 2})),
    ("web2", "custom_nicparams", (0, [{}, {}])),
    ("web2", "tags", (0, ["prod"])),
    ("web2", "network_port", (3, None)),
    ("web2", "disk.nonsense/0", (1, None)),
]


@pytest.mark.parametrize(("name", "field", "cell"), INSTANCE_CELLS)
def test_what_is_recorded_of_instances(desk: Desk, name: str, field: str, cell: Any) -> None:
    """Filled parameters, devices one by one, relations to nodes and networks; no node is asked for any of it."""
    assert desk.one("instance", name, field) == cell
    assert desk.nodes.made == []


def test_backend_parameters_have_memory_too(desk: Desk) -> None:
    """Old clients read the memory of an instance as it was called before it had a minimum and a maximum."""
    assert desk.one("instance", "web2", "beparams")[1]["memory"] == 512


def test_no_secret_is_shown(desk: Desk) -> None:
    """Neither private guest OS parameters nor the shared secret of drbd are in any field."""
    rows = desk.query("instance", list(RESOURCES["instance"].by_name))
    assert "hunter2" not in json.dumps(rows)
    assert "s3cret" not in json.dumps(rows)


NODE_CELLS = [
    ("node1", "role", (0, "M")),
    ("node2", "role", (0, "C")),
    ("node3", "role", (0, "O")),
    ("node10", "role", (0, "R")),
    ("node1", "master", (0, True)),
    ("node1", "pinst_cnt", (0, 3)),
    ("node1", "pinst_list", (0, [f"{name}.example.com" for name in ("db.web1", "toy", "web1")])),
    ("node2", "sinst_list", (0, ["web1.example.com"])),
    ("node2", "sinst_cnt", (0, 1)),
    ("node3", "group", (0, "spare")),
    ("node3", "ndp/spindle_count", (0, 4)),
    ("node1", "ndp/spindle_count", (0, 1)),
    ("node1", "powered", (3, None)),
    ("node1", "hv_state", (3, None)),
    ("node10", "tags", (0, ["old", "loud"])),
    ("node2", "sip", (0, "192.0.2.2")),
]


@pytest.mark.parametrize(("name", "field", "cell"), NODE_CELLS)
def test_what_is_recorded_of_nodes(desk: Desk, name: str, field: str, cell: Any) -> None:
    """Roles, instances in the order of their names, parameters of the group; no node is asked."""
    assert desk.one("node", name, field) == cell
    assert desk.nodes.made == []


def test_a_node_with_a_power_switch_shows_it(desk: Desk) -> None:
    """The recorded power state is shown once there is a program that knows it."""
    node = desk.cluster.node("node2")
    desk.cluster = desk.cluster.put(replace(node, ndparams={"oob_program": "/bin/oob"}, powered=False))
    assert desk.one("node", "node2", "powered") == (0, False)


def test_groups(desk: Desk) -> None:
    """Members, instances, and policies filled in from the cluster's."""
    fields = ["name", "node_cnt", "node_list", "pinst_cnt", "pinst_list", "ndp/spindle_count", "custom_ndparams"]
    first, second = desk.query("group", fields)
    assert [value for _, value in first[:4]] == [
        "default",
        3,
        ["node1.example.com", "node2.example.com", "node10.example.com"],
        5,
    ]
    assert second[3:] == [[0, 1], [0, ["mail.example.com"]], [0, 4], [0, {"spindle_count": 4}]]
    status, policy = desk.one("group", "spare", "ipolicy")
    assert (status, policy["vcpu-ratio"]) == (0, 4.0)
    assert set(desk.one("group", "spare", "diskparams")[1]) >= {"drbd", "plain", "sharedfile"}


def test_networks(desk: Desk) -> None:
    """The map has an X for each address in use, whoever uses it."""
    fields = ["map", "free_count", "reserved_count", "external_reservations", "group_list", "group_cnt", "inst_list"]
    (row,) = desk.query("network", fields)
    assert [value for _, value in row] == [
        "XXX....X",
        4,
        4,
        "198.51.100.0, 198.51.100.7",
        [["default", "routed", "100", ""]],
        1,
        ["web2.example.com"],
    ]


def test_a_network_without_a_pool_is_free(desk: Desk) -> None:
    """All addresses are free as long as nothing is recorded about them."""
    network = replace(desk.cluster.network("lan"), reservations="", ext_reservations="")
    desk.cluster = desk.cluster.put(network)
    assert desk.one("network", "lan", "map") == (0, "........")


def test_mixed_disks(desk: Desk) -> None:
    """An instance whose disks differ is mixed, and what is in no volume group takes no room there."""
    disk = replace(desk.cluster.disk("d2"), dev_type=DiskTemplate.PLAIN)
    desk.cluster = desk.cluster.put(disk)
    assert desk.one("instance", "web2", "disk_template") == (0, "mixed")
    assert desk.one("instance", "web2", "disk_usage") == (0, 2048)


def test_definitions(desk: Desk) -> None:
    """Fields are described in the order that was asked for, unknown ones too; all of them in the order of names."""
    asked = desk.now(desk.answers.query_fields("instance", ["status", "nope", "disk.size/0"]))["fields"]
    assert [(each["name"], each["title"], each["kind"]) for each in asked] == [
        ("status", "Status", "text"),
        ("nope", "nope", "unknown"),
        ("disk.size/0", "Disk/0", "unit"),
    ]
    assert asked[1]["doc"] == "Unknown field 'nope'"
    everything = desk.now(desk.answers.query_fields("node", None))["fields"]
    names = [each["name"] for each in everything]
    assert names == sorted(RESOURCES["node"].by_name, key=nice_key)
    assert all(" " not in each["title"] for each in everything)
