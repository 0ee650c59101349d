"""What only nodes can tell: who is asked, and what a silent node means."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.model.errors import GntError, NodeFailure
from gnt.wire.calls import NodeInfo
from gnt.wire.guest_calls import GuestConsole, GuestList
from tests.masterd.queries.conftest import Desk, guest

FIELDS = ["name", "status", "oper_state", "oper_ram", "oper_vcpus"]


def test_each_node_is_asked_once(desk: Desk) -> None:
    """However many fields and instances: one call to each node that is concerned; offline ones are left alone."""
    desk.query("instance", FIELDS, ["|", ["=", "status", "x"], ["!=", "status", "x"]])
    assert sorted(desk.nodes.asked()) == ["n1", "n10", "n2"]


def test_only_the_nodes_of_matching_instances_are_asked(desk: Desk) -> None:
    """Names and static parts of a filter are looked at first."""
    desk.query("instance", FIELDS, ["=", "name", "web2"])
    assert desk.nodes.asked() == ["n2"]
    desk.nodes.made.clear()
    desk.query("instance", ["name"], ["&", ["=", "os", "debian+min"], ["=", "status", "running"]])
    assert desk.nodes.asked() == ["n1", "n2"]  # the primary, and the secondary, where it might run by mistake


def test_states_of_instances(desk: Desk) -> None:
    """Running, wanted but absent, halted, on a node that is silent, on one that is offline."""
    found = {row[0][1].removesuffix(".example.com"): row[1:] for row in desk.query("instance", FIELDS)}
    assert found == {
        "web1": [[0, "running"], [0, True], [0, 128], [0, 2]],
        "db.web1": [[0, "ERROR_down"], [0, False], [3, None], [3, None]],
        "toy": [[0, "ADMIN_down"], [0, True], [0, 128], [0, 2]],
        "web2": [[0, "ADMIN_down"], [0, False], [3, None], [3, None]],
        "web10": [[0, "ERROR_nodedown"], [2, None], [2, None], [2, None]],
        "mail": [[0, "ERROR_nodeoffline"], [4, None], [4, None], [4, None]],
    }


def test_a_guest_on_the_wrong_node(desk: Desk) -> None:
    """It runs where its disks are, but not where it should; one that waits for a migration does not run."""
    desk.nodes.guests["n1"] = []
    desk.nodes.guests["n2"] = [guest("i1")]
    assert desk.one("instance", "web1", "status") == (0, "ERROR_wrongnode")
    assert desk.one("instance", "web1", "oper_ram") == (0, 128)
    desk.nodes.guests["n1"] = [guest("i1")]
    desk.nodes.guests["n2"] = [guest("i1", "paused")]
    assert desk.one("instance", "web1", "status") == (0, "running")


def test_a_guest_that_was_halted_from_inside(desk: Desk) -> None:
    """Where users may do that, it is down by their wish."""
    assert desk.one("instance", "toy", "status") == (0, "ADMIN_down")
    desk.cluster = desk.cluster.put(replace(desk.cluster.settings, enabled_user_shutdown=True))
    assert desk.one("instance", "toy", "status") == (0, "USER_down")


def test_an_instance_without_a_node_is_only_down(desk: Desk) -> None:
    """One that is reserved but not placed runs nowhere, and nobody is asked."""
    desk.cluster = desk.cluster.put(replace(desk.cluster.instance("web2"), primary_node="", disks=(), forthcoming=True))
    assert desk.one("instance", "web2", "status") == (0, "ADMIN_down")
    assert desk.one("instance", "web2", "oper_ram") == (3, None)
    assert desk.nodes.made == []


def test_filters_on_what_nodes_say(desk: Desk) -> None:
    """A node that does not answer leaves out none of its instances."""
    assert desk.names("instance", ["?", "oper_state"]) == ["mail", "toy", "web1", "web10"]
    assert desk.names("instance", ["=", "status", "running"]) == ["web1"]


def test_consoles(desk: Desk) -> None:
    """Only where a guest runs is its node asked for the way to it; unused members are null."""
    fields = ["name", "console"]
    found: dict[str, Any] = {row[0][1].partition(".")[0]: row[1] for row in desk.query("instance", fields)}
    assert found["web1"] == [
        0,
        {
            "instance": "web1.example.com",
            "kind": "ssh",
            "message": None,
            "host": "node1.example.com",
            "port": None,
            "user": None,
            "command": ["virsh"],
            "display": None,
        },
    ]
    assert (found["web2"], found["web10"], found["mail"]) == ([3, None], [2, None], [4, None])
    asked = [call.instance.name for _, call in desk.nodes.made if isinstance(call, GuestConsole)]
    assert sorted(asked) == ["toy.example.com", "web1.example.com"]


def test_a_console_that_the_node_cannot_tell(desk: Desk) -> None:
    """The node answers about its guests, but not about this one: no data."""
    call, known = desk.nodes.call, desk.nodes.guests

    async def failing(node: str, wanted: Any, *, deadline: float | None = None) -> Any:
        if isinstance(wanted, GuestConsole):
            known["n1"] = NodeFailure("failed", "no such display")
        return await call(node, wanted, deadline=deadline)

    desk.nodes.call = failing  # type: ignore[method-assign]
    assert desk.one("instance", "web1", "console") == (2, None)


def test_a_silent_node_costs_five_seconds_at_most(desk: Desk) -> None:
    """Its instances are shown without data then; those of the others have theirs."""
    desk.nodes.silent = {"n1", "n10"}
    came = desk.begin(desk.answers.query("instance", ["name", "status"], ["|", ["=", "name", "web1"]]))
    desk.clock.advance(4.9)
    assert came == []
    desk.clock.advance(0.2)
    assert [tuple(row) for row in came[0]["data"]] == [((0, "web1.example.com"), (0, "ERROR_nodedown"))]


def test_a_fault_of_ours_is_no_silent_node(desk: Desk) -> None:
    """Only errors of nodes become cells; a mistake in the program is not hidden in a list."""
    desk.nodes.guests["n1"] = None  # type: ignore[assignment]
    desk.nodes.call = lambda *_a, **_k: _broken()  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        desk.query("instance", ["status"])


async def _broken() -> None:
    raise ZeroDivisionError


NODE_FIELDS = ["bootid", "mtotal", "mnode", "mfree", "ctotal", "cnos", "cnodes", "csockets", "dtotal", "dfree"]


def test_nodes_describe_themselves(desk: Desk) -> None:
    """Memory and processors of the default hypervisor, room in the default storage."""
    (row,) = desk.query("node", NODE_FIELDS, ["=", "name", "node1"])
    assert row == [[0, value] for value in ("b00t", 4096, 96, 1000, 8, 1, 1, 1, 100, 70)]
    ((node, call),) = desk.nodes.made
    assert isinstance(call, NodeInfo)
    assert (node, list(call.hypervisors)) == ("n1", ["kvm"])
    assert [(unit.kind, unit.key) for unit in call.storage] == [("file", "/srv/ganeti/shared-file-storage")]


def test_nodes_that_do_not(desk: Desk) -> None:
    """Silent: no data; offline: offline; hosting no instances: unavailable, and not asked."""
    desk.cluster = desk.cluster.put(replace(desk.cluster.node("node2"), vm_capable=False))
    cells = desk.query("node", ["mtotal"])
    assert cells == [[[0, 4096]], [[3, None]], [[4, None]], [[2, None]]]
    assert sorted(desk.nodes.asked()) == ["n1", "n10"]


def test_spindles_are_counted_where_they_are_given_out_whole(desk: Desk) -> None:
    """Elsewhere there are none to speak of."""
    assert desk.one("node", "node1", "sptotal") == (3, None)
    settings = replace(desk.cluster.settings, ndparams={"exclusive_storage": True}, volume_group_name="vg0")
    desk.cluster = desk.cluster.put(settings)
    assert desk.one("node", "node1", "sptotal") == (0, 100)
    assert desk.one("node", "node1", "spfree") == (0, 70)


@pytest.mark.parametrize(
    ("templates", "unit"),
    [
        (("diskless", "drbd"), ("lvm-vg", "vg0")),
        (("file",), ("file", "/srv/ganeti/file-storage")),
        (("diskless",), None),
    ],
)
def test_the_default_storage(desk: Desk, templates: tuple[Any, ...], unit: tuple[str, str] | None) -> None:
    """It is that of the first enabled template that keeps anything on the node."""
    desk.cluster = desk.cluster.put(
        replace(desk.cluster.settings, enabled_disk_templates=templates, volume_group_name="vg0")
    )
    cell = desk.one("node", "node1", "dfree")
    ((_, call),) = desk.nodes.made
    assert isinstance(call, NodeInfo)
    assert [(each.kind, each.key) for each in call.storage] == ([unit] if unit else [])
    assert cell == ((0, 70) if unit else (3, None))


def test_the_call_names_every_enabled_hypervisor(desk: Desk) -> None:
    """An instance may run under any of them."""
    desk.query("instance", ["status"], ["=", "name", "web2"])
    ((_, call),) = desk.nodes.made
    assert isinstance(call, GuestList)
    assert list(call.hypervisors) == ["kvm", "fake"]


def test_a_bad_filter_costs_no_call(desk: Desk) -> None:
    """It is refused before any node is asked."""
    with pytest.raises(GntError, match="cannot be compared"):
        desk.query("instance", ["name"], ["=", "oper_ram", "much"])
    assert desk.nodes.made == []
