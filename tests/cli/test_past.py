"""What the commands show of the past."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from gnt.cli.times import point_in_time
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster

MOVED: dict[str, Any] = {
    "kind": "instance",
    "uuid": "i1",
    "name": "web1",
    "what": "changed",
    "old_serial": 2,
    "new_serial": 3,
    "fields": [{"name": "primary_node", "old": "node1", "new": None}],
}
CHANGE: dict[str, Any] = {
    "time": 1_700_000_000.5,
    "entry": 9,
    "job": 12,
    "summary": "INSTANCE_SET_PARAMS(web1)",
    "comment": None,
    "reason": "less heat",
    "change": MOVED,
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000", 1_700_000_000.0),
        ("@1700000000.25", 1_700_000_000.25),
        ("2023-11-14", 1_699_920_000.0),
        ("2023-11-14 22:13", 1_699_999_980.0),
        ("2023-11-14 22:13:20", 1_700_000_000.0),
        ("2023-11-14T22:13:20+01:00", 1_699_996_400.0),
    ],
)
def test_times(text: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds, and local times with or without seconds."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert point_in_time(text) == seconds


@pytest.mark.parametrize(("text", "ago"), [("2h", 7200), ("3d ago", 259200), ("1.5m", 90), ("0s", 0), ("now", 0)])
def test_times_ago(text: str, ago: float) -> None:
    """From now on backwards."""
    assert point_in_time(text) == pytest.approx(time.time() - ago, abs=5)


@pytest.mark.parametrize("text", ["", "2 fortnights", "yesterday", "2023-13-01", "12"])
def test_what_is_no_time(text: str) -> None:
    """It says which forms there are."""
    with pytest.raises(ValueError, match="is no time"):
        point_in_time(text)


def test_history(gnt: Run, master: FakeMaster) -> None:
    """One line for a change, its reason and its fields below it."""
    master.answers["History"] = lambda *_: {"changes": [CHANGE], "kept_from": None}
    ran = gnt("cluster", "history", "--since", "1600000000", "-n", "5", "instance/web1")
    assert ran == (
        0,
        (
            "2023-11-14 22:13:20  instance/web1  changed  serial 2 -> 3  job 12 INSTANCE_SET_PARAMS(web1)\n"
            "  reason: less heat\n"
            "  primary_node: node1 -> -\n"
        ),
        "",
    )
    assert master.called("History") == [["instance", "web1", 1_600_000_000.0, None, 5]]


def test_history_of_what(gnt: Run, master: FakeMaster) -> None:
    """Everything, a name of any kind, the cluster; a kind that there is not is refused."""
    master.answers["History"] = lambda *_: {"changes": [], "kept_from": 1_700_000_000.0}
    for words in ((), ("web1",), ("cluster",)):
        ran = gnt("cluster", "history", *words)
        assert ran == (0, "", "What was replaced before 2023-11-14 22:13:20 is forgotten.\n")
    asked = [args[:2] for args in master.called("History")]
    assert asked == [[None, None], [None, "web1"], ["cluster", None]]
    assert "neither a name nor KIND/NAME" in gnt("cluster", "history", "guest/web1").err


def test_history_says_when_there_is_more(gnt: Run, master: FakeMaster) -> None:
    """And for programs the answer is passed on."""
    master.answers["History"] = lambda *_: {"changes": [CHANGE], "kept_from": None}
    assert gnt("cluster", "history", "-n", "1").err == "The newest 1 are shown; --limit shows more.\n"
    assert json.loads(gnt("cluster", "history", "--json").out) == {"changes": [CHANGE], "kept_from": None}


def test_diff(gnt: Run, master: FakeMaster) -> None:
    """What is different, and for nothing a word."""
    added = {**MOVED, "what": "added", "old_serial": None, "new_serial": 1}
    added["fields"] = [{"name": "os", "old": None, "new": "busybox"}]
    removed = {**MOVED, "what": "removed", "new_serial": None, "name": "", "uuid": "d1", "kind": "disk"}
    master.answers["ConfigDiff"] = lambda *_: [MOVED, added, removed]
    ran = gnt("cluster", "diff", "1600000000", "1700000000")
    assert ran.out.splitlines() == [
        "instance/web1  changed  serial 2 -> 3",
        "  primary_node: node1 -> -",
        "instance/web1  added",
        "  os: busybox",
        "disk/d1  removed",
    ]
    new = {**added, "fields": [{"name": f"value{n}", "old": None, "new": n} for n in range(31)]}
    master.answers["ConfigDiff"] = lambda *_: [new]
    assert gnt("cluster", "diff", "1600000000", "1700000000").out.splitlines()[1:] == ["  with 31 values"]
    master.answers["ConfigDiff"] = lambda *_: []
    assert gnt("cluster", "diff", "1600000000", "1700000000").err.startswith("Nothing is different between 2020-09-13")
    assert gnt("cluster", "diff", "then", "now").status == 1
    assert gnt("cluster", "diff").status == 1
    assert gnt("cluster", "diff", "1600000000").status == 0
    assert master.called("ConfigDiff")[-1][1] == pytest.approx(time.time(), abs=5)


def test_info_at(gnt: Run, master: FakeMaster) -> None:
    """An instance as it was stored: names for UUIDs, its disks whole; no job is submitted."""
    master.answers["ObjectAt"] = lambda kind, name, when: {
        "kind": kind,
        "uuid": "i1",
        "name": name or "cluster",
        "time": when,
        "object": {
            "uuid": "i1",
            "name": name,
            "primary_node": "n1",
            "disks": ["d1"],
            "mtime": 1_700_000_000,
            "os": None,
        },
        "disks": [{"uuid": "d1", "size": 1024, "nodes": ["n1"]}],
        "names": {"n1": "node1"},
    }
    ran = gnt("instance", "info", "--at", "1700000060", "web1")
    assert ran.out.splitlines() == [
        "- Instance: web1",
        "  UUID: i1",
        "  As stored at: 2023-11-14 22:14:20",
        "  primary_node: node1",
        "  mtime: 2023-11-14 22:13:20",
        "  os: -",
        "  disks: ",
        "    - uuid: d1",
        "      size: 1024",
        "      nodes: [node1]",
    ]
    assert master.opcodes() == []
    assert gnt("node", "info", "--at", "1700000060", "node1").status == 0
    assert gnt("cluster", "info", "--at", "1700000060", "--json").status == 0
    assert [args[:2] for args in master.called("ObjectAt")] == [
        ["instance", "web1"],
        ["node", "node1"],
        ["cluster", None],
    ]
    assert "needs the name" in gnt("node", "info", "--at", "1h").err
    master.requests.clear()
    for kind in ("group", "network", "filter"):
        assert gnt(kind, "info", "--at", "1700000060", "x").status == 0
    asked = [args[:2] for args in master.called("ObjectAt")]
    assert asked == [["group", "x"], ["network", "x"], ["filter", "x"]]
