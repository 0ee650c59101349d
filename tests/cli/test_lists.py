"""Lists of every kind of object: fields, cells, filters, and what info shows of groups, networks, providers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gnt.cli.list_commands import LISTS
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job

DEFAULTS = {
    "group": "Group Nodes Instances AllocPolicy NDParams",
    "network": "Network Subnet Gateway MacPrefix GroupList Tags",
    "backup": "Node Export",
    "node": "Node DTotal DFree MTotal MNode MFree Pinst Sinst",
    "instance": "Instance Hypervisor OS Primary_node Status Memory",
    "job": "ID Status Summary",
    "filter": "UUID Watermark Priority Predicates Action ReasonTrail",
}


@pytest.mark.parametrize("program", sorted(DEFAULTS))
def test_the_usual_columns(gnt: Run, master: FakeMaster, program: str) -> None:
    """Titles in the order of the specification, also where there are no rows; each has its list of fields."""
    assert gnt(program, "list") == (0, f"{DEFAULTS[program]}\n", "")
    status, out, _ = gnt(program, "list-fields", "--no-headers", "--separator=|")
    assert status == 0
    assert all(line.count("|") == 3 for line in out.splitlines())
    assert gnt(program, "list", "-o", "nonsense").status == 14
    assert {f"gnt-{name}" for name in DEFAULTS} | {"gnt-debug", "gnt-os"} == set(LISTS)


GROUPS: list[dict[str, Any]] = [
    {"name": "default", "node_cnt": 3, "pinst_cnt": 12, "alloc_policy": "preferred", "ndparams": {}},
    {"name": "spare", "node_cnt": 0, "pinst_cnt": 0, "alloc_policy": "unallocable", "ndparams": {"b": 1, "a": "x"}},
]


def test_groups(gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters as pairs; the environment has words that come before the others."""
    master.rows["group"] = GROUPS
    assert gnt("group", "list").out.splitlines()[1:] == [
        "default     3        12 preferred   (empty)",
        "spare       0         0 unallocable a=x, b=1",
    ]
    monkeypatch.setenv("GNT_GROUP_LIST", "--no-headers -o name")
    assert gnt("group", "list").out == "default\nspare\n"
    assert gnt("group", "list", "-o", "node_cnt", "spare").out == "0\n"


def test_networks(gnt: Run, master: FakeMaster) -> None:
    """Groups with mode, link and VLAN, if there is one; what is not set is a dash."""
    master.rows["network"] = [
        {
            "name": "lan",
            "network": "198.51.100.0/29",
            "gateway": None,
            "mac_prefix": None,
            "group_list": [["default", "bridged", "br0", "7"], ["spare", "routed", "100", ""]],
            "tags": [],
        }
    ]
    assert gnt("network", "list", "--no-headers", "--separator=|").out == (
        "lan|198.51.100.0/29|-|-|default (bridged, br0, 7), spare (routed, 100)|-\n"
    )


def test_exports(gnt: Run, master: FakeMaster) -> None:
    """A node that does not answer has a line; -n asks only some nodes."""
    master.rows["export"] = [
        {"name": "x", "node": "node1", "export": "web1"},
        {"name": "y", "node": "node2", "export": (2, None)},
        {"name": "z", "node": "node3", "export": (4, None)},
    ]
    assert gnt("backup", "list").out.splitlines()[1:] == ["node1 web1", "node2 ?", "node3 *"]
    assert gnt("backup", "list", "-v", "--no-headers").out.splitlines()[1:] == ["node2 (nodata)", "node3 (offline)"]
    assert gnt("backup", "list", "-n", "node1,node2").status == 0
    assert master.called("Query")[-1] == [
        "export",
        ["node", "export"],
        ["|", ["=", "node", "node1"], ["=", "node", "node2"]],
    ]


def test_what_a_group_is_like(gnt: Run, master: FakeMaster) -> None:
    """Its own values, and those that are the cluster's marked as defaults; JSON has all of it."""
    group = {
        "name": "spare",
        "uuid": "g2",
        "alloc_policy": "preferred",
        "node_list": ["node3"],
        "tags": [],
        "ndparams": {"spindle_count": 4, "ovs": False},
        "custom_ndparams": {"spindle_count": 4},
        "diskparams": {"plain": {"stripes": 1}},
        "custom_diskparams": {},
        "ipolicy": {
            "minmax": [{"min": {"disk-size": 1}, "max": {"disk-size": 9}}],
            "std": {"disk-size": 2},
            "vcpu-ratio": 4.0,
            "disk-templates": ["plain", "file"],
        },
        "custom_ipolicy": {"vcpu-ratio": 4.0},
    }
    master.rows["group"] = [group]
    assert gnt("group", "info", "spare").out.splitlines() == [
        "- Node group: spare",
        "  UUID: g2",
        "  Allocation policy: preferred",
        "  Nodes: ",
        "    - node3",
        "  Tags: ",
        "  Node parameters: ",
        "    ovs: default (False)",
        "    spindle_count: 4",
        "  Disk parameters: ",
        "    plain: ",
        "      stripes: default (1)",
        "  Instance policy: ",
        "    bounds specs 0 min (default): ",
        "      disk-size: 1",
        "    bounds specs 0 max (default): ",
        "      disk-size: 9",
        "    vcpu-ratio: 4.0",
        "    disk-templates: default (plain, file)",
    ]
    assert json.loads(gnt("group", "info", "--json").out) == [group]
    assert gnt("group", "info", "nope").status == 1


def test_what_a_network_is_like(gnt: Run, master: FakeMaster) -> None:
    """Its map in lines of 64, groups, and the addresses of its users."""
    master.rows["network"] = [
        {
            "name": "lan",
            "uuid": "net1",
            "serial_no": 3,
            "network": "198.51.100.0/25",
            "gateway": "198.51.100.1",
            "network6": None,
            "gateway6": None,
            "mac_prefix": None,
            "free_count": 96,
            "reserved_count": 32,
            "map": "X" * 32 + "." * 96,
            "external_reservations": "198.51.100.0, 198.51.100.127",
            "group_list": [["default", "bridged", "br0", ""]],
            "inst_list": ["web1", "web2"],
        }
    ]
    master.rows["instance"] = [
        {"name": "web1", "nic.networks": ["other", "net1"], "nic.ips": ["192.0.2.9", "198.51.100.9"]},
        {"name": "web2", "nic.networks": ["net1", None], "nic.ips": [None, None]},
        {"name": "web3", "nic.networks": ["net1"], "nic.ips": [None]},
    ]
    assert gnt("network", "info").out.splitlines() == [
        "Network name: lan",
        "UUID: net1",
        "Serial number: 3",
        "  Subnet: 198.51.100.0/25",
        "  Gateway: 198.51.100.1",
        "  IPv6 Subnet:",
        "  IPv6 Gateway:",
        "  Mac Prefix:",
        "  Size: 128",
        "  Free: 96 (75.00%)",
        "  Usage map:",
        f"     0 {'X' * 32}{'.' * 32} 63",
        f"     64 {'.' * 64} 127",
        "         (X) used    (.) free",
        "  externally reserved IPs:",
        "    198.51.100.0",
        "    198.51.100.127",
        "  connected to node groups:",
        "    default (mode:bridged link:br0 vlan:)",
        "  used by 2 instances:",
        "    web1: 1:198.51.100.9",
        "    web2: 0:-",
    ]
    master.rows["network"][0] |= {"group_list": [], "inst_list": [], "external_reservations": ""}
    out = gnt("network", "info").out
    assert "  not connected to any node group\n  not used by any instances\n" in out


PROVIDER = [
    "san",
    {
        "node1": [["/e/san", True, "", [["pool", "where"]]], ["/f/san", False, "no grow", []]],
        "node2": [],
        "node3": [["/e/san", True, "", []]],
    },
    {"default": False, "spare": True},
]


def test_what_nodes_make_of_providers(gnt: Run, master: FakeMaster) -> None:
    """Each copy on each node, then each group."""
    master.plans = [Job([PROVIDER])]
    assert gnt("storage", "diagnose").out.splitlines() == [
        "Provider: san",
        "---",
        "  Node: node1, status: valid (path: /e/san) [parameters: pool]",
        "  Node: node1, status: invalid - no grow (path: /f/san)",
        "  Node: node2, status: not found",
        "  Node: node3, status: valid (path: /e/san) [no parameters]",
        "  --",
        "  For nodegroup: default --> invalid",
        "  For nodegroup: spare --> valid",
        "",
    ]
    assert master.opcode()["output_fields"] == ["name", "node_status", "nodegroup_status"]


def test_where_providers_can_be_used(gnt: Run, master: FakeMaster) -> None:
    """Groups and parameters; one that is nowhere, and one that no node has, by which the command fails."""
    master.plans = [
        Job([["san", {"default": False, "spare": True}, [["pool", "where"]]], ["old", {"default": False}, []]])
    ]
    ran = gnt("storage", "info", "san", "old", "nope")
    assert ran.status == 1
    assert ran.out.splitlines() == [
        "san:",
        "  - Valid for nodegroups:",
        "      spare",
        "  - Supported parameters:",
        "      pool: where",
        "old:",
        "  - Invalid for all nodegroups",
        "nope: Not Found",
    ]
    assert master.opcode()["names"] == ["san", "old", "nope"]


def test_what_a_guest_os_is_like(gnt: Run, master: FakeMaster) -> None:
    """Lists of a valid one; an invalid one has none; one that is on no node is named and fails."""
    rows = [
        ["debian", True, False, False, [20, 15], ["stable"], [["fs", "what is made"]], True],
        ["broken", False, True, False, [], [], [], True],
    ]
    master.plans = [Job(rows)]
    assert gnt("os", "info").out.splitlines() == [
        "debian:",
        "  - valid: True",
        "  - hidden: False",
        "  - blacklisted: False",
        "  - API versions:",
        "    - 15",
        "    - 20",
        "  - variants:",
        "    - stable",
        "  - parameters:",
        "    - fs: what is made",
        "  - trusted: True",
        "",
        "broken:",
        "  - valid: False",
        "  - hidden: True",
        "  - blacklisted: False",
        "",
    ]
    master.plans = [Job(rows)]
    ran = gnt("os", "show", "nope", "broken")
    assert ran.status == 1
    assert ran.out.startswith("broken:\n")
    assert "nope is on no node" in ran.err
