"""gnt-cluster master-failover: what is handed to the program, and what a person is told first."""

from __future__ import annotations

import json

from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster
from tests.cli.test_cluster import Bootstrap, bootstrap

__all__ = ["bootstrap"]

SURVEY = {
    "unheard": [],
    "majority": False,
    "missing": ["node1", "node3"],
    "needed": 2,
    "candidates": ["node1", "node2", "node3"],
}


def test_failover(gnt: Run, bootstrap: Bootstrap) -> None:
    """By both names; what is done is said on standard error."""
    kept = bootstrap({"progress": "having node1 hand over"}, {"result": {"master": "node2"}})
    for name in ("master-failover", "masterfailover"):
        ran = gnt("cluster", name)
        assert (ran.status, ran.out, ran.err) == (0, "node2 is the master\n", "* having node1 hand over\n")
        assert json.loads(kept.read_text()) == {"no_voting": False}
    ran = gnt("cluster", "master-failover", "--json")
    assert json.loads(ran.out) == {"result": {"master": "node2"}}


def test_a_failover_can_be_planned(gnt: Run, bootstrap: Bootstrap) -> None:
    """Who must agree, who is missing, the steps; where too few answer it is a failure. Nothing but asking is done."""
    kept = bootstrap({"result": {**SURVEY, "majority": True, "missing": [], "old_master": "node2"}})
    ran = gnt("cluster", "master-failover", "--plan")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[:2] == [
        "no job and no lock; 2 of these must agree: node1 node2 node3",
        "  1 node2 hands over: its jobs come to rest, its daemons end",
    ]
    assert json.loads(kept.read_text()) == {"survey": True}
    bootstrap({"result": {**SURVEY, "old_master": "node1"}})
    ran = gnt("cluster", "master-failover", "--plan")
    assert (ran.status, len(ran.out.splitlines())) == (1, 1)
    assert "These do not answer: node1 node3\nIt would be refused" in ran.err
    ran = gnt("cluster", "master-failover", "--plan", "--no-voting")
    assert ran.status == 0
    assert "node1 does not answer: it ends when it hears of this" in ran.out
    assert "node1 node3 flagged offline; what only they have is lost" in ran.out
    assert json.loads(gnt("cluster", "master-failover", "--plan", "--json").out)["plan"]["needed"] == 2
    bootstrap({"result": {**SURVEY, "majority": True, "missing": [], "old_master": "node2", "unheard": ["node3"]}})
    ran = gnt("cluster", "master-failover", "--plan")
    assert (ran.status, len(ran.out.splitlines())) == (1, 1)
    assert "These have not heard that node1 is a master candidate, as far as is known: node3\n" in ran.err
    ran = gnt("cluster", "master-failover", "--plan", "--no-voting")
    assert ran.status == 0
    assert "node3 will not obey until gnt-node add --readd" in ran.out


def test_without_voting_the_truth_is_told_first(gnt: Run, bootstrap: Bootstrap) -> None:
    """Who is missing, what may be lost; without a terminal nobody agrees to it."""
    kept = bootstrap({"result": SURVEY})
    ran = gnt("cluster", "master-failover", "--no-voting")
    assert ran.status == 1
    assert "do not answer: node1, node3. 2 of all" in ran.err
    assert "Changes that only they have are lost" in ran.err
    assert "taking over without a majority" in ran.err
    assert json.loads(kept.read_text()) == {"survey": True}


def test_nodes_that_will_not_obey_are_named_first(gnt: Run, bootstrap: Bootstrap) -> None:
    """A majority is there, so only they are asked about; what they are left to is said."""
    kept = bootstrap({"result": {**SURVEY, "majority": True, "missing": [], "unheard": ["node3"], "master": "node2"}})
    ran = gnt("cluster", "master-failover", "--no-voting")
    assert ran.status == 1
    assert "have not heard that this one is a master candidate, as far as is known: node3." in ran.err
    assert "gnt-node add --readd" in ran.err
    assert "taking over where nodes will not obey" in ran.err
    assert json.loads(kept.read_text()) == {"survey": True}
    ran = gnt("cluster", "master-failover", "--no-voting", "--yes-do-it")
    assert ran.status == 0
    assert json.loads(kept.read_text()) == {"no_voting": True}


def test_consent_may_be_given_beforehand(gnt: Run, bootstrap: Bootstrap) -> None:
    """It is told all the same."""
    kept = bootstrap({"result": {**SURVEY, "master": "node2"}})
    ran = gnt("cluster", "master-failover", "--no-voting", "--yes-do-it")
    assert ran.status == 0
    assert "will be flagged" in ran.err
    assert json.loads(kept.read_text()) == {"no_voting": True}


def test_the_clusters_address_by_hand(gnt: Run, master: FakeMaster) -> None:
    """Taking it down asks first."""
    assert gnt("cluster", "activate-master-ip").status == 0
    assert gnt("cluster", "deactivate-master-ip").status == 1
    assert [op["OP_ID"] for op in master.opcodes()] == ["OP_CLUSTER_ACTIVATE_MASTER_IP"]
    assert gnt("cluster", "deactivate-master-ip", "--yes").status == 0
    assert master.opcodes()[-1]["OP_ID"] == "OP_CLUSTER_DEACTIVATE_MASTER_IP"
