"""Tables that are kept from query to query."""

from __future__ import annotations

import gc

from msgspec.structs import replace

from gnt.masterd.queries.arranged import Arranged
from gnt.model.names import nice_key
from gnt.model.objects import Node
from gnt.model.table import Table
from tests.masterd.queries.conftest import Desk


def node(number: int) -> Node:
    """Make a node."""
    return Node(uuid=f"u{number}", name=f"node{number}", primary_ip="192.0.2.1", group="g")


def test_a_changed_table_is_read_anew() -> None:
    """Added, changed, renamed and removed objects are seen, in the order of their names; the same table is not read."""
    arranged: Arranged[Node] = Arranged()
    table = Table([node(number) for number in (10, 2, 1)])
    assert [each.name for each in arranged.in_order(table)] == ["node1", "node2", "node10"]
    assert arranged.in_order(table) is arranged.in_order(table)
    changed = table.put(node(3)).drop("u1").put(replace(node(10), drained=True)).put(replace(node(2), name="node99"))
    found = arranged.in_order(changed)
    assert [(each.name, each.drained) for each in found] == [("node3", False), ("node10", True), ("node99", False)]
    assert set(arranged.by_uuid(changed)) == {"u2", "u3", "u10"}
    assert [each.name for each in arranged.in_order(table)] == sorted(["node1", "node2", "node10"], key=nice_key)


def test_a_query_sees_the_last_change(desk: Desk) -> None:
    """What was kept for an earlier query does not show up in a later one."""
    assert desk.one("instance", "web1", "pnode") == (0, "node1.example.com")
    desk.cluster = desk.cluster.put(replace(desk.cluster.node("node1"), name="first.example.com"))
    desk.cluster = desk.cluster.put(replace(desk.cluster.disk("d2"), size=7))
    assert desk.one("instance", "web1", "pnode") == (0, "first.example.com")
    assert desk.one("instance", "web2", "disk.sizes") == (0, [7, 512])


def test_the_collector_is_back_after_a_query(desk: Desk) -> None:
    """It is kept away while rows are made, and only then."""
    assert gc.isenabled()
    desk.query("instance", ["name"])
    assert gc.isenabled()
