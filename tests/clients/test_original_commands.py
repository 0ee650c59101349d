"""The gnt-* commands of Debian's Ganeti 3.0, unchanged, at the LUXI socket of a real cluster of ours.

They are Python programs that nobody here wrote, and with them goes whatever scripts of administrators import.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Live, live_cluster

FILES = Path(__file__).parent.parent.parent / ".cache/client/usr"
LIBRARIES = (*sorted((FILES / "share/ganeti").glob("3.*")), FILES / "lib/python3/dist-packages")
PYTHON = "/usr/bin/python3"

pytestmark = pytest.mark.skipif(
    not FILES.is_dir() or not Path(PYTHON).exists(), reason="the files of Debian's package ganeti-3.0 are not there"
)


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Give a cluster of two nodes with two instances that do not run."""
    with live_cluster(2) as running:
        for name in ("web1", "web2"):
            options = ("-t", "diskless", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy", "-n", "node1")
            running.command("node1", "gnt-instance", "add", *options, name)
        yield running


def theirs(live: Live, program: str, *words: str, status: int = 0) -> str:
    """Run one of their commands as it would be on node1, and give what it said; `status` is how it must end."""
    environ = live.environ("node1") | {
        "GANETI_ROOTDIR": str(live.root("node1")),
        "GANETI_HOSTNAME": "node1",
        "PYTHONPATH": ":".join(map(str, LIBRARIES)),
        "PYTHONWARNINGS": "ignore",
    }
    module = program.replace("-", "_")
    start = (
        f"import sys; sys.argv = {[program, *words]!r}; from ganeti.client import {module}; sys.exit({module}.Main())"
    )
    done = subprocess.run(
        [PYTHON, "-c", start], env=environ, input="", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, f"{program} {words}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def rows(text: str) -> list[list[str]]:
    """Give the words of the lines of a table, without its titles."""
    return [line.split() for line in text.splitlines()[1:] if line.strip()]


def test_lists(live: Live) -> None:
    """The usual lists of every kind of object."""
    assert rows(theirs(live, "gnt-instance", "list"))[0] == ["web1", "fake", "none", "node1", "ADMIN_down", "-"]
    assert [row[0] for row in rows(theirs(live, "gnt-node", "list"))] == ["node1", "node2"]
    assert rows(theirs(live, "gnt-group", "list"))[0][:4] == ["default", "2", "2", "preferred"]
    assert rows(theirs(live, "gnt-job", "list", "--no-headers", "1")) == []
    for program in ("gnt-network", "gnt-backup", "gnt-filter"):
        assert rows(theirs(live, program, "list")) == []
    assert rows(theirs(live, "gnt-debug", "locks")) == []
    assert ["noop"] in rows(theirs(live, "gnt-os", "list"))
    for program in ("gnt-instance", "gnt-node", "gnt-group", "gnt-job", "gnt-network", "gnt-backup", "gnt-filter"):
        assert len(rows(theirs(live, program, "list-fields"))) > 1


def test_fields_and_filters(live: Live) -> None:
    """Fields of their choice, unknown ones, filters, globs, names that there are not."""
    fields = "name,admin_state,oper_state,be/maxmem,nope"
    said = theirs(live, "gnt-instance", "list", "--no-headers", "--separator=|", "-o", fields, status=14)
    assert said.splitlines()[0] == "web1|down|N|128|??"
    assert "Queried for unknown fields nope" in said
    assert len(rows(theirs(live, "gnt-instance", "list", 'name =* "web*" and not oper_state'))) == 2
    assert len(rows(theirs(live, "gnt-instance", "list", "*2"))) == 1
    assert "unknown_entity" in theirs(live, "gnt-instance", "list", "nope", status=1)


def test_descriptions(live: Live) -> None:
    """What info commands make of the answers."""
    assert "Cluster name: cluster" in theirs(live, "gnt-cluster", "info")
    assert "Node name: node2" in theirs(live, "gnt-node", "info", "node2")
    assert "configured to be down, actual state is down" in theirs(live, "gnt-instance", "info", "web1")
    assert "Node group: default" in theirs(live, "gnt-group", "info")
    assert "Opcode: OP_NODE_ADD" in theirs(live, "gnt-job", "info", "1")
    assert "OS: noop [global status: valid]" in theirs(live, "gnt-os", "diagnose")
    assert theirs(live, "gnt-cluster", "getmaster").strip() == "node1"
    assert "Configuration format: 3010000" in theirs(live, "gnt-cluster", "version")


def test_the_life_of_an_instance(live: Live) -> None:
    """Jobs are submitted, followed with their log, and have done what they say."""
    theirs(live, "gnt-instance", "startup", "--all", "--force-multiple")
    assert live.instances() == {"web1": "running", "web2": "running"}
    assert "migrating instance to node2" in theirs(live, "gnt-instance", "migrate", "-f", "-n", "node2", "web2")
    assert rows(theirs(live, "gnt-instance", "list", "-o", "name,pnode,status", "web2")) == [
        ["web2", "node2", "running"]
    ]
    theirs(live, "gnt-instance", "shutdown", "--timeout=0", "web1", "web2", "--force-multiple", status=1)
    theirs(live, "gnt-instance", "shutdown", "--timeout=0", "--force-multiple", "web1", "web2")
    assert set(live.instances().values()) == {"ADMIN_down"}


def test_the_queue(live: Live) -> None:
    """Jobs are waited for, given up, archived; a drained queue says so; the watcher is paused."""
    number = theirs(live, "gnt-debug", "delay", "--submit", "30").split()[-1]
    assert rows(theirs(live, "gnt-job", "list", "--running"))[0][:2] == [number, "running"]
    assert "no longer waiting" in theirs(live, "gnt-job", "cancel", number, status=1)
    live.luxi("CancelJob", int(number), True)
    assert "Output from job 1 follows" in theirs(live, "gnt-job", "watch", "1")
    theirs(live, "gnt-job", "archive", "1")
    assert ["1", "success", "NODE_ADD(node2)", "Y"] in rows(theirs(live, "gnt-job", "list", "--archived"))
    theirs(live, "gnt-cluster", "queue", "drain")
    assert "marked for drain" in theirs(live, "gnt-instance", "startup", "web1", status=1)
    theirs(live, "gnt-cluster", "queue", "undrain")
    assert "is unset" in theirs(live, "gnt-cluster", "queue", "info")
    assert "The watcher is paused until" in theirs(live, "gnt-cluster", "watcher", "pause", "1h")
    theirs(live, "gnt-cluster", "watcher", "continue")
    assert "not found" in theirs(live, "gnt-job", "change-priority", "--priority", "high", "99", status=1)


def test_rules_tags_and_checks(live: Live) -> None:
    """Filters are made and removed, tags set and found, the cluster verified."""
    predicates = '[["reason",["=","reason","never"]]]'
    uuid = theirs(
        live, "gnt-filter", "add", "--priority", "5", "--action", "REJECT", "--predicates", predicates
    ).strip()
    assert rows(theirs(live, "gnt-filter", "list", "-o", "uuid,priority,action")) == [[uuid, "5", "REJECT"]]
    theirs(live, "gnt-filter", "delete", uuid)
    theirs(live, "gnt-instance", "add-tags", "web1", "prod")
    assert theirs(live, "gnt-instance", "list-tags", "web1").strip() == "prod"
    assert "/instances/web1 prod" in theirs(live, "gnt-cluster", "search-tags", "pro")
    assert "Verifying node status" in theirs(live, "gnt-cluster", "verify")
