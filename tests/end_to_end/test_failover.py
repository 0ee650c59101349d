"""The role of master moves: from one that lives, from one that is dead, without a majority; and who comes back."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
from collections.abc import Iterator

import pytest

from gnt.bootstrap.daemons import ALL, MASTERD, NODED, RAPI
from gnt.store.heard import HEARD, decode_heard
from gnt.wire.luxi_client import LuxiClient
from tests.live import Live, init, live_cluster, trees, wait_until

DISKLESS = ("-t", "diskless", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy")


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Give a cluster of three nodes, all of them candidates."""
    with live_cluster(3) as running:
        yield running


def kill_all(live: Live, node: str) -> None:
    """Have a machine die: all its daemons at once."""
    for daemon in reversed(ALL):
        if live.daemons(node).pid(daemon) is not None:
            live.kill(node, daemon, signal.SIGKILL)


def master_of(live: Live, node: str) -> str:
    """Give the master's name as a node has it."""
    return live.command(node, "gnt-cluster", "getmaster").stdout.strip()


def jobs_on(live: Live, node: str) -> dict[int, str]:
    """Give the jobs that a master knows, with their status."""
    with LuxiClient(live.layout(node).master_socket) as client:
        return {row[0]: row[1] for row in client.query_jobs(None, ["id", "status"]) if row is not None}


def candidates_heard_of(live: Live, node: str) -> int:
    """Say of how many candidates all nodes have heard, as the log of a node says."""
    reader = sqlite3.connect(f"file:{live.layout(node).config_db}?mode=ro", uri=True)
    with contextlib.closing(reader):
        row = reader.execute("SELECT value FROM rows WHERE space = 'meta' AND key = ?", [HEARD]).fetchone()
    return len(decode_heard(row[0]).candidates) if row is not None else 0


def test_a_demoted_node_gives_up_what_candidates_have(live: Live) -> None:
    """The authority's key and the store; as a candidate again it has both, and leads only where it was heard of."""
    layout = live.layout("node3")
    assert layout.authority_key.exists()
    live.command("node1", "gnt-node", "modify", "-C", "no", "node3")
    wait_until(lambda: not layout.authority_key.exists(), "node3 keeps the authority's key")
    wait_until(lambda: not layout.config_db.exists(), "node3 keeps the store")
    refused = live.command("node3", "gnt-cluster", "master-failover", check=False)
    assert "no master candidate" in refused.stderr
    live.command("node1", "gnt-node", "modify", "-C", "no", "--force", "node2")
    live.kill("node2", NODED)
    live.command("node1", "gnt-node", "modify", "-C", "yes", "node3")
    assert layout.authority_key.exists()
    assert layout.config_db.exists()
    refused = live.command("node3", "gnt-cluster", "master-failover", check=False)
    assert refused.returncode == 1
    assert "node2 (no connection" in refused.stderr
    assert "has not heard yet that node3 is a master candidate" in refused.stderr
    assert master_of(live, "node1") == "node1"
    live.start("node2", NODED)
    back = ("node1", "gnt-node", "modify", "-C", "yes", "node2")
    wait_until(lambda: live.command(*back, check=False).returncode == 0, "node2 does not become a candidate again")
    # A master that died before that would leave candidates of which its own node is not known to have heard.
    wait_until(
        lambda: candidates_heard_of(live, "node1") == 3, "not every node is known to have heard of all candidates"
    )


def test_a_dead_master_is_replaced_and_comes_back_as_a_candidate(live: Live) -> None:
    """Kill -9 all of node1 right after an acknowledgement: node2 has the job; node1 learns who is the master."""
    with LuxiClient(live.layout("node1").master_socket) as client:
        done = [client.call("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 0}]) for _ in range(20)]
        last = client.call("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 30}])
    kill_all(live, "node1")
    refused = live.command("node1", "gnt-cluster", "master-failover", check=False)
    assert refused.returncode == 1
    assert "is the master already" in refused.stderr
    said = live.command("node2", "gnt-cluster", "masterfailover")
    assert said.stdout == "node2 is the master\n"
    assert master_of(live, "node2") == "node2"
    known = jobs_on(live, "node2")
    assert set(done) | {last} <= set(known)
    live.command("node2", "gnt-instance", "add", *DISKLESS, "-n", "node3", "after")
    wait_until(lambda: master_of(live, "node3") == "node2", "node3 was not told")
    # The old master comes back: its master daemon refuses to start, before and after its node has heard the news.
    started = live.daemons("node1")
    live.start("node1", NODED)
    wait_until(lambda: master_of(live, "node1") == "node2", "node1 was not told")
    with pytest.raises(Exception, match="node1 is not the master, node2 is"):
        started.start(MASTERD)
    verified = live.command("node2", "gnt-cluster", "verify", check=False)
    assert verified.returncode == 0, verified.stdout
    # And back again, by hand-over: the living master ends, nothing is lost.
    live.command("node1", "gnt-cluster", "master-failover")
    assert live.daemons("node2").pid(MASTERD) is None
    assert live.daemons("node2").pid(RAPI) is None
    assert set(known) <= set(jobs_on(live, "node1"))
    assert "after" in live.instances()


def test_a_cut_off_majority_needs_a_word(live: Live) -> None:
    """Two of three die: changes stop with what to type; typed, they go on, and it is recorded.

    Who waits for a change hears why within a moment, whether its job is taken already or not.
    """
    last = max(jobs_on(live, "node1"))
    begun = live.spawn("node1", "gnt-debug", "delay", "--no-master", "-n", "node1", "2")
    wait_until(lambda: jobs_on(live, "node1").get(last + 1) == "running", "the job does not begin")
    kill_all(live, "node2")
    kill_all(live, "node3")
    new = live.spawn("node1", "gnt-cluster", "modify", "--candidate-pool-size=9")
    for waiting in (new, begun):
        assert waiting.stdout is not None
        line = next(line for line in waiting.stdout if "waits for a majority" in line)
        assert waiting.poll() is None, "told only when it was over"
        assert re.search(r"these do not answer: node2 \(.+\), node3 \(.+\)", line), line
        typed = line if waiting is begun else waiting.stdout.readline()
        assert "gnt-node modify --offline=yes --force node2" in typed
    wait_until(lambda: live.luxi("ForceOffline", "node2", "")["needed"], "the master does not notice")
    assert live.luxi("ForceOffline", "node2", "")["missing"] == ["node2", "node3"]
    refused = live.command("node1", "gnt-node", "modify", "--offline=yes", "--force", "node2", check=False)
    assert refused.returncode == 1
    assert "'node2 is off'" in refused.stderr
    for node in ("node2", "node3"):
        words = ("--confirm", f"{node} is off")
        live.command("node1", "gnt-node", "modify", "--offline=yes", "--force", *words, node)
    live.command("node1", "gnt-instance", "add", *DISKLESS, "-n", "node1", "alone")
    assert (begun.wait(60), new.wait(60)) == (0, 0)
    rows = live.json("gnt-node", "list", "-o", "name,role")
    assert {row["name"]: row["role"] for row in rows} == {"node1": "M", "node2": "O", "node3": "O"}
    assert "--force struck off node3" in live.command("node1", "gnt-cluster", "info").stdout
    verified = live.command("node1", "gnt-cluster", "verify", check=False)
    assert "struck off node2 without a majority" in verified.stdout


def test_two_nodes() -> None:
    """Planned absence stops nothing; a dead master needs --no-voting, and its node stays offline."""
    with trees(2) as live:
        init(live)
        live.add_by_token("node2")
        live.command("node1", "gnt-node", "modify", "--offline=yes", "node2")
        kill_all(live, "node2")
        live.command("node1", "gnt-instance", "add", *DISKLESS, "-n", "node1", "meanwhile")
        live.start("node2", NODED)
        wait_until(
            lambda: live.command("node1", "gnt-node", "modify", "-O", "no", "-f", "node2", check=False).returncode == 0,
            "node2 is not taken back",
        )
        assert live.layout("node2").authority_key.exists()
        wait_until(lambda: candidates_heard_of(live, "node1") == 2, "node1 does not hear of node2")
        kill_all(live, "node1")
        refused = live.command("node2", "gnt-cluster", "master-failover", check=False)
        assert refused.returncode == 1
        assert "do not answer: node1" in refused.stderr
        assert "--no-voting" in refused.stderr
        unsure = live.command("node2", "gnt-cluster", "master-failover", "--no-voting", check=False)
        assert unsure.returncode == 1
        assert "Changes that only they have are lost" in unsure.stderr
        live.command("node2", "gnt-cluster", "master-failover", "--no-voting", "--yes-do-it")
        rows = json.loads(live.command("node2", "gnt-node", "list", "--json", "-o", "name,role").stdout)
        assert {row["name"]: row["role"] for row in rows} == {"node1": "O", "node2": "M"}
        names = json.loads(live.command("node2", "gnt-instance", "list", "--json", "-o", "name").stdout)
        assert [row["name"] for row in names] == ["meanwhile"]
        # The old master's node comes back. Nobody tells it of the new one; its daemon finds out, and does not try on.
        live.start("node1", NODED)
        again = live.command("node1", "twistd", "--nodaemon", "--pidfile=", "gnt-masterd", check=False)
        assert again.returncode == 11, again.stdout + again.stderr
        said = [line for line in live.log("node1", MASTERD).splitlines() if "cannot start" in line]
        assert len(said) == 1, said
        assert "node1 is no master any more: node2 leads in epoch" in said[0]
        assert "on node2: gnt-node modify --offline=no node1" in said[0]
        back = live.command("node2", "gnt-node", "modify", "--offline=no", "-f", "node1", check=False)
        assert back.returncode == 0, back.stderr
