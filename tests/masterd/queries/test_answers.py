"""Whole answers: jobs, locks, the cluster, single values, tags, rows as old clients want them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from gnt import __version__
from gnt.model.errors import GntError
from gnt.wire.calls import OsFacts
from gnt.wire.disk_calls import ProviderFacts
from gnt.wire.luxi import decode_response, encode_response
from tests.masterd.queries.conftest import Desk


def test_the_shape_of_an_answer(desk: Desk) -> None:
    """Definitions in the order asked, then rows of cells; an unknown field is no error here."""
    answer = desk.now(desk.answers.query("instance", ["name", "nope"], ["=", "name", "web1"]))
    assert list(answer) == ["fields", "data"]
    assert [list(each) for each in answer["fields"]] == [["name", "title", "kind", "doc"]] * 2
    assert answer["fields"][1] == {"name": "nope", "title": "nope", "kind": "unknown", "doc": "Unknown field 'nope'"}
    assert answer["data"] == [[[0, "web1.example.com"], [1, None]]]


def test_no_fields_give_empty_rows(desk: Desk) -> None:
    """One for each object all the same."""
    assert desk.query("group", []) == [[], []]


def test_an_unknown_kind(desk: Desk) -> None:
    """Refused by name, with those there are."""
    with pytest.raises(GntError) as caught:
        desk.query("volume", ["name"])
    assert (caught.value.code, caught.value.text) == ("wrong_input", "Resource type 'volume' unknown")


def test_jobs(desk: Desk) -> None:
    """Live ones by number; archived ones too if a field asks whether they are, or if they are named."""
    assert desk.query("job", ["id", "status", "end_ts"]) == [
        [[0, 2], [0, "success"], [0, [60, 0]]],
        [[0, 3], [0, "running"], [3, None]],
        [[0, 10], [0, "queued"], [3, None]],
    ]
    assert [row[0] for row in desk.query("job", ["id", "archived"])] == [[0, 1], [0, 2], [0, 3], [0, 10]]
    assert desk.query("job", ["id"], ["?", "archived"]) == [[[0, 1]]]
    assert desk.query("job", ["id"], ["|", ["=", "id", "10"], ["=", "id", 1], ["=", "id", 10]]) == [[[0, 1]], [[0, 10]]]
    (row,) = desk.query("job", ["opresult", "ops", "summary"], ["=", "id", 2])
    assert row == [
        [0, [["done"]]],
        [0, [{"OP_ID": "OP_TEST_DELAY", "duration": 1}]],
        [0, ["TEST_DELAY(1000000000 ns)"]],
    ]


def test_jobs_that_are_not_there(desk: Desk) -> None:
    """Naming one is refused; so is what is no number."""
    with pytest.raises(GntError) as caught:
        desk.query("job", ["id"], ["=", "id", 99])
    assert caught.value.code == "unknown_entity"
    with pytest.raises(GntError, match="no job number"):
        desk.query("job", ["id"], ["=", "id", "web1"])


def test_locks(desk: Desk) -> None:
    """Who holds what and who waits, sorted by name."""
    assert desk.query("lock", ["name", "mode", "owner", "pending"]) == [
        [[0, "instance/web1"], [0, None], [0, None], [0, [["exclusive", ["Job10/I_STARTUP"]]]]],
        [
            [0, "node/n2"],
            [0, "shared"],
            [0, ["Job3/DELAY", "Job4/DELAY"]],
            [0, [["exclusive", ["Job10/I_STARTUP"]]]],
        ],
    ]
    assert desk.now(desk.answers.classic("lock", (), ["name", "mode"]))[0] == ["instance/web1", None]


def test_filter_rules(desk: Desk) -> None:
    """Rules are found by UUID."""
    fields = ["uuid", "priority", "action", "predicates"]
    assert desk.query("filter", fields, ["=", "uuid", "f1"]) == [[[0, "f1"], [0, 3], [0, "PAUSE"], [0, []]]]


def test_guest_systems(desk: Desk) -> None:
    """A definition is valid if all nodes that answer have it; it is found by name."""
    noop = OsFacts(name="noop", path="/os/noop", valid=True, variants=[], parameters=[], api_versions=[20])
    desk.nodes.systems = {"n1": [noop], "n2": [noop]}
    assert desk.query("os", ["name", "valid", "api_versions"]) == [[[0, "noop"], [0, True], [0, [20]]]]
    assert sorted(desk.nodes.asked()) == ["n1", "n10", "n2"]
    assert len(desk.query("os", ["name"], ["=", "name", "noop"])) == 1
    with pytest.raises(GntError, match="There is no os named plan9"):
        desk.query("os", ["name"], ["=", "name", "plan9"])


def test_exports(desk: Desk) -> None:
    """A row for each export; one for a node that does not answer, one for a node that is offline and not asked."""
    desk.nodes.exports = {"n1": ["web10.example.com", "web2.example.com"]}
    assert desk.query("export", ["node", "export"]) == [
        [[0, "node1.example.com"], [0, "web2.example.com"]],
        [[0, "node1.example.com"], [0, "web10.example.com"]],
        [[0, "node3.example.com"], [4, None]],
        [[0, "node10.example.com"], [2, None]],
    ]
    assert sorted(desk.nodes.asked()) == ["n1", "n10", "n2"]


def test_exports_of_some_nodes(desk: Desk) -> None:
    """Only nodes that are named are asked; their names may be short; one that there is not is refused."""
    desk.nodes.exports = {"n1": ["web2.example.com"], "n2": ["mail.example.com"]}
    named = ["|", ["=", "node", "node2"], ["=", "node", "node2.example.com"]]
    assert desk.query("export", ["export"], named) == [[[0, "mail.example.com"]]]
    assert desk.nodes.asked() == ["n2"]
    assert desk.query("export", ["node"], ["=", "export", "web2.example.com"])[0] == [[0, "node1.example.com"]]
    with pytest.raises(GntError, match="node9"):
        desk.query("export", ["export"], ["=", "node", "node9"])


def test_storage_providers(desk: Desk) -> None:
    """What each node has, where all nodes of a group have it, parameters that are everywhere."""
    san = ProviderFacts(name="san", path="/s/san", valid=True, parameters=[("pool", "where"), ("fast", "")])
    old = ProviderFacts(name="san", path="/t/san", valid=False, diagnose="File 'grow' is missing")
    desk.nodes.guests["n10"] = []
    desk.nodes.providers = {"n1": [san, old], "n2": [san], "n10": [replace(san, parameters=[("pool", "where")])]}
    fields = ["name", "node_status", "nodegroup_status", "parameters"]
    ((name, status, groups, parameters),) = desk.query("extstorage", fields)
    assert (name, groups, parameters) == ([0, "san"], [0, {"default": True}], [0, [["pool", "where"]]])
    assert status[1]["node1.example.com"] == [
        ["/s/san", True, "", [["pool", "where"], ["fast", ""]]],
        ["/t/san", False, "File 'grow' is missing", []],
    ]
    desk.nodes.providers["n2"] = [old]
    desk.nodes.providers["n10"] = []
    ((groups, status),) = desk.query("extstorage", ["nodegroup_status", "node_status"])
    assert groups == [0, {"default": False}]
    assert status[1]["node10.example.com"] == []
    with pytest.raises(GntError, match="zfs"):
        desk.query("extstorage", ["name"], ["=", "name", "zfs"])


def test_rows_as_old_clients_want_them(desk: Desk) -> None:
    """Bare values; what has none is null; names may be short; unknown fields and names are refused."""
    classic = desk.answers.classic
    assert desk.now(classic("instance", ["web10", "web2"], ["name", "oper_ram", "be/vcpus"])) == [
        ["web2.example.com", None, 2],
        ["web10.example.com", None, 1],
    ]
    assert len(desk.now(classic("node", [], ["name"]))) == 4
    assert desk.now(classic("group", ["spare"], ["name", "node_cnt"])) == [["spare", 1]]
    assert desk.now(classic("network", [], ["name"])) == [["lan"]]
    with pytest.raises(GntError, match="Unknown output fields selected: a, b") as caught:
        desk.now(classic("node", [], ["a", "name", "b"]))
    assert caught.value.code == "wrong_input"
    with pytest.raises(GntError, match="nosuch is not a node") as caught:
        desk.now(classic("node", ["nosuch"], ["name"]))
    assert caught.value.code == "unknown_entity"


INFO_KEYS = """
software_version protocol_version config_version os_api_version export_version vcs_version architecture name master
default_hypervisor enabled_hypervisors hvparams os_hvp beparams osparams ipolicy nicparams ndparams diskparams
candidate_pool_size max_running_jobs max_tracked_jobs mac_prefix master_netdev master_netmask use_external_mip_script
volume_group_name drbd_usermode_helper file_storage_dir shared_file_storage_dir gluster_storage_dir
maintain_node_health ctime mtime uuid tags uid_pool default_iallocator default_iallocator_params reserved_lvs
primary_ip_version prealloc_wipe_disks hidden_os blacklisted_os enabled_disk_templates install_image
instance_communication_network zeroing_image compression_tools enabled_user_shutdown enabled_data_collectors
data_collector_interval modify_ssh_setup ssh_key_type ssh_key_bits
"""


def test_the_description_of_the_cluster(desk: Desk) -> None:
    """All members that clients know and no others, with parameters filled in."""
    info = desk.now(desk.answers.cluster_info())
    assert set(info) == set(INFO_KEYS.split())
    assert (info["name"], info["master"], info["software_version"]) == (
        "cluster.example.com",
        "node1.example.com",
        __version__,
    )
    assert (info["config_version"], info["os_api_version"], info["primary_ip_version"]) == (3010000, 20, 4)
    assert (info["default_hypervisor"], info["enabled_hypervisors"]) == ("kvm", ["kvm", "fake"])
    assert info["hvparams"]["kvm"]["acpi"] is True
    assert info["beparams"]["default"]["maxmem"] == 128
    assert info["diskparams"]["drbd"]["metavg"] == "vg0"
    assert info["enabled_data_collectors"]["drbd"] is True
    assert info["data_collector_interval"]["drbd"] == 5_000_000
    assert re.fullmatch(r"\d+bits?", info["architecture"][0])


def test_no_private_parameter_is_in_the_description(desk: Desk) -> None:
    """They stay where they are."""
    settings = replace(desk.cluster.settings, osparams_private_cluster={"debian": {"pw": "hunter2"}})
    desk.cluster = desk.cluster.put(settings)
    assert "hunter2" not in str(desk.now(desk.answers.cluster_info()))


def test_single_values(desk: Desk) -> None:
    """In the order asked; null for what there is not."""
    names = ["master_node", "cluster_name", "nope", "drain_flag", "watcher_pause", "volume_group_name", "ssh_key_bits"]
    assert desk.now(desk.answers.config_values(names)) == [
        "node1.example.com",
        "cluster.example.com",
        None,
        True,
        None,
        "vg0",
        2048,
    ]
    desk.pause = 123.9
    assert desk.now(desk.answers.config_values(["watcher_pause"])) == [123]


def test_the_cluster_as_a_row(desk: Desk) -> None:
    """It has fields too."""
    desk.pause = 200.0
    assert desk.query("cluster", ["name", "drain_flag", "watcher_pause", "master_node"]) == [
        [[0, "cluster.example.com"], [0, True], [0, 200.0], [0, "node1.example.com"]]
    ]


def test_tags(desk: Desk) -> None:
    """Sorted, of any kind of object; a missing object is refused."""
    tags = desk.answers.tags
    assert desk.now(tags("node", "node10")) == ["loud", "old"]
    assert desk.now(tags("instance", "web2")) == ["prod"]
    assert desk.now(tags("nodegroup", "default")) == ["rack1"]
    assert desk.now(tags("network", "lan")) == []
    assert desk.now(tags("cluster", "")) == []
    with pytest.raises(GntError) as caught:
        desk.now(tags("node", "nosuch"))
    assert caught.value.code == "unknown_entity"
    with pytest.raises(GntError, match="disk has no tags"):
        desk.now(tags("disk", "d1"))


ALLOCATOR_NODES = (
    "name mtotal mnode mfree dtotal dfree ctotal cnos offline drained vm_capable ndp/spindle_count group.uuid tags"
    " ndp/exclusive_storage sptotal spfree ndp/cpu_speed"
)
ALLOCATOR_INSTANCES = (
    "name disk_usage be/memory be/vcpus status pnode snodes tags be/auto_balance disk_template be/spindle_use"
    " disk.sizes disk.spindles forthcoming"
)
CLIENTS: list[tuple[str, str]] = [
    ("node", ALLOCATOR_NODES),
    ("instance", ALLOCATOR_INSTANCES),
    ("group", "uuid name alloc_policy ipolicy tags"),
    ("instance", "name status admin_state disks_active snodes pnode.group.uuid"),
    ("node", "name bootid offline"),
]


@pytest.mark.parametrize(("what", "names"), CLIENTS)
def test_what_real_clients_ask_for(desk: Desk, what: str, names: str) -> None:
    """Every field that the allocator tools and the watcher ask for is known, and the answer crosses the wire."""
    answer: Any = decode_response(
        encode_response(desk.now(desk.answers.query(what, names.split(), None))).removesuffix(b"\x03")
    )
    assert [each["kind"] for each in answer["fields"]].count("unknown") == 0
    assert all(len(row) == len(names.split()) for row in answer["data"])


def test_rapi_finds_its_fields(desk: Desk) -> None:
    """The fields of bulk lists are all known."""
    del desk
    from gnt.masterd.queries.answers import RESOURCES

    spec = {
        "instance": "name admin_state os pnode snodes disk_template nic.ips nic.macs nic.modes nic.uuids nic.names"
        " nic.links nic.networks nic.networks.names nic.bridges network_port disk.sizes disk.spindles disk_usage"
        " disk.uuids disk.names beparams hvparams oper_state oper_ram oper_vcpus status custom_hvparams"
        " custom_beparams custom_nicparams custom_osparams ctime mtime uuid serial_no tags",
        "node": "name offline master_candidate drained dtotal dfree sptotal spfree mtotal mnode mfree pinst_cnt"
        " sinst_cnt ctotal cnos cnodes csockets pip sip role pinst_list sinst_list master_capable vm_capable ndparams"
        " group.uuid ctime mtime uuid serial_no tags",
    }
    for what, names in spec.items():
        assert [name for name in names.split() if RESOURCES[what].find(name) is None] == []
