"""gnt-node modify: opcodes, what is printed, and the way out when too few candidates answer."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job

NEEDED = {"needed": True, "confirm": "node2 is off", "missing": ["node2"]}


def way_out(master: FakeMaster, done: bool = True) -> None:
    """Have a master without a majority."""

    def answer(_name: str, confirmation: str) -> Any:
        return {"done": done, "missing": [] if done else ["node3"]} if confirmation else NEEDED

    master.answers["ForceOffline"] = answer


def test_flags_become_the_opcode(gnt: Run, master: FakeMaster) -> None:
    """Those that are given, and no others."""
    master.plans.append(Job([["drained", "True"], ["master_candidate", "auto-demotion due to drain"]]))
    ran = gnt("node", "modify", "-D", "yes", "--auto-promote", "--node-parameters", "ssh_port=23", "node2")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "Modified node node2\n - drained -> True\n - master_candidate -> auto-demotion due to drain\n"
    opcode = master.opcode()
    assert opcode["OP_ID"] == "OP_NODE_SET_PARAMS"
    assert (opcode["node_name"], opcode["drained"], opcode["auto_promote"]) == ("node2", True, True)
    assert opcode["ndparams"] == {"ssh_port": "23"} or opcode["ndparams"] == {"ssh_port": 23}
    assert opcode.get("offline") is None


def test_taking_a_node_back_is_asked_about(gnt: Run, master: FakeMaster) -> None:
    """Without a terminal the answer is no; --force asks nothing."""
    ran = gnt("node", "modify", "--offline=no", "node2")
    assert ran.status == 1
    assert "--readd node2" in ran.err
    assert master.opcodes() == []
    assert gnt("node", "modify", "--offline=no", "--force", "node2").status == 0
    assert master.opcode()["offline"] is False


def test_with_a_majority_force_is_a_job_as_always(gnt: Run, master: FakeMaster) -> None:
    """The master says that nothing has to be forced."""
    master.answers["ForceOffline"] = lambda _name, _words: {"needed": False, "confirm": "", "missing": []}
    assert gnt("node", "modify", "--offline=yes", "--force", "node2").status == 0
    assert master.opcode()["force"] is True


def test_without_a_majority_the_words_must_be_typed(gnt: Run, master: FakeMaster) -> None:
    """No job is submitted; without a terminal the words come with --confirm, and only the right ones do."""
    way_out(master)
    ran = gnt("node", "modify", "--offline=yes", "--force", "node2")
    assert ran.status == 1
    assert "missing: node2" in ran.err
    assert "'node2 is off'" in ran.err
    ran = gnt("node", "modify", "--offline=yes", "--force", "--confirm", "yes", "node2")
    assert ran.status == 1
    assert master.called("ForceOffline") == [["node2", ""]] * 2
    ran = gnt("node", "modify", "--offline=yes", "--force", "--confirm", "node2 is off", "node2")
    assert ran.status == 0
    assert "node2 is flagged offline" in ran.out
    assert master.called("ForceOffline")[-1] == ["node2", "node2 is off"]
    assert master.opcodes() == []


def test_when_more_are_missing_the_next_one_is_named(gnt: Run, master: FakeMaster) -> None:
    """Also for programs."""
    way_out(master, done=False)
    words = ("node", "modify", "--offline=yes", "--force", "--confirm", "node2 is off")
    assert "missing: node3" in gnt(*words, "node2").err
    ran = gnt(*words, "--json", "node2")
    assert ran.err == ""
    assert json.loads(ran.out)["result"] == {"done": False, "missing": ["node3"]}
