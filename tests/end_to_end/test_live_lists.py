"""Lists of a real cluster: what a job did is seen at once, and a node that falls silent costs its deadline once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from gnt.bootstrap.daemons import NODED
from tests.live import Live, wait_until

DEADLINE = 5.0
SLACK = 4.0
"""Seconds that a command may take beside waiting for nodes, on a machine that is busy with other things."""


def timed(look: Callable[[], Any]) -> tuple[float, Any]:
    """Give how many seconds something takes, and what it gives."""
    begin = time.monotonic()
    found = look()
    return time.monotonic() - begin, found


def test_what_a_job_did_is_seen_at_once(live: Live) -> None:
    """However short ago the nodes were asked: whoever waited for the job sees what it did."""
    add = ("-t", "diskless", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy", "-n", "node2", "quick1")
    live.command("node1", "gnt-instance", "add", *add)
    for _ in range(2):
        assert live.instances()["quick1"] == "ADMIN_down"
        live.luxi("Query", "instance", ["status"], None)
        live.command("node1", "gnt-instance", "startup", "quick1")
        assert live.instances()["quick1"] == "running"
        live.command("node1", "gnt-instance", "shutdown", "--timeout=0", "quick1")
    live.command("node1", "gnt-instance", "remove", "-f", "quick1")


def test_a_silent_node_costs_its_deadline_once(live: Live) -> None:
    """Stopped in its tracks it shows without data; the first list waits for it, later ones do not; then it is back."""

    def look() -> Any:
        rows = live.luxi("Query", "node", ["name", "mfree", "bootid"], None)["data"]
        return {row[0][1]: [row[1][0], row[2][0]] for row in rows}

    assert look() == {"node1": [0, 0], "node2": [0, 0], "node3": [0, 0]}
    pid = live.pid("node3", NODED)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(1.1)  # what was observed before serves for a second
        took, found = timed(look)
        assert found == {"node1": [0, 0], "node2": [0, 0], "node3": [2, 2]}
        assert took < DEADLINE + SLACK
        took, found = timed(look)
        assert found["node3"] == [2, 2]
        assert took < DEADLINE - 1
        table = live.command("node1", "gnt-node", "list", "--no-headers", "-o", "name,mfree", "node3").stdout
        assert table.split() == ["node3", "?"]
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: look()["node3"] == [0, 0], "node3 does not come back into lists")


def test_lists_of_everything(live: Live) -> None:
    """Every list of every program answers on a real cluster, as a table and as JSON, and describes its fields."""
    exports = live.layout("node2").exports / "web1.example.com"
    exports.mkdir(parents=True)
    for program in ("backup", "filter", "group", "instance", "job", "network", "node"):
        name = f"gnt-{program}"
        table = live.command("node1", name, "list").stdout.splitlines()
        assert len(table) == len(live.json(name, "list")) + 1, name
        fields = [row["name"] for row in live.json(name, "list-fields")]
        assert fields
        wide = live.json(name, "list", "-o", ",".join(fields))
        assert all(list(row) == fields for row in wide)
    assert live.json("gnt-backup", "list") == [{"node": "node2", "export": "web1.example.com"}]
    assert live.luxi("QueryExports", ["node2"], False) == [["node2", "web1.example.com"]]
    assert "Node group: default" in live.command("node1", "gnt-group", "info").stdout
    assert live.command("node1", "gnt-storage", "diagnose").stdout == ""
    assert live.command("node1", "gnt-network", "info").stdout == ""
