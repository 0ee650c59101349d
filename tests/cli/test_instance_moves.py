"""gnt-instance, the commands that move, restart, rename and reinstall, against a fake master."""

from __future__ import annotations

from typing import Any

import pytest

from gnt.cli import instance_life, instance_moves
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job

CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "failover": (
        ["failover", "-f", "--ignore-consistency", "--shutdown-timeout", "9", "web1"],
        {"OP_ID": "OP_INSTANCE_FAILOVER", "ignore_consistency": True, "shutdown_timeout": 9, "confirm_off": None},
    ),
    "failover of a dead node": (
        ["failover", "-f", "--confirm-off", "node1 is off", "web1"],
        {"OP_ID": "OP_INSTANCE_FAILOVER", "confirm_off": "node1 is off"},
    ),
    "move": (
        ["move", "-f", "-n", "node2", "--compress", "gzip", "web1"],
        {"OP_ID": "OP_INSTANCE_MOVE", "target_node": "node2", "compress": "gzip"},
    ),
    "reboot": (
        ["reboot", "web1"],
        {"OP_ID": "OP_INSTANCE_REBOOT", "reboot_type": "hard", "ignore_secondaries": False},
    ),
    "full reboot": (
        ["reboot", "-t", "full", "--ignore-secondaries", "web1"],
        {"OP_ID": "OP_INSTANCE_REBOOT", "reboot_type": "full", "ignore_secondaries": True},
    ),
    "rename": (["rename", "web1", "web2"], {"OP_ID": "OP_INSTANCE_RENAME", "new_name": "web2"}),
    "reinstall": (
        ["reinstall", "-f", "-o", "debian+stable", "-O", "a=b", "web1"],
        {"OP_ID": "OP_INSTANCE_REINSTALL", "os_type": "debian+stable", "osparams": {"a": "b"}},
    ),
}


@pytest.fixture
def web1(master: FakeMaster) -> dict[str, Any]:
    """Give an instance on a node that is there."""
    master.rows["instance"] = [{"name": "web1", "pnode": "node1"}]
    node = {"name": "node1", "offline": False, "powered": None}
    master.rows["node"] = [node]
    return node


@pytest.mark.usefixtures("web1")
@pytest.mark.parametrize("case", sorted(CASES))
def test_options_become_an_opcode(gnt: Run, master: FakeMaster, case: str) -> None:
    """What the words stand for."""
    words, expected = CASES[case]
    ran = gnt("instance", *words)
    assert ran.status == 0, ran.err
    sent = master.opcode()
    assert {key: sent.get(key) for key in expected} == expected


@pytest.mark.usefixtures("web1")
def test_a_new_name_is_told(gnt: Run, master: FakeMaster) -> None:
    """As the master answers."""
    master.plans = [Job("web2.example.com")]
    assert gnt("instance", "rename", "web1", "web2").out == "Instance 'web1' renamed to 'web2.example.com'\n"


def test_who_fails_over_from_a_node_that_is_marked_offline_types_that_it_is_off(
    gnt: Run, master: FakeMaster, web1: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words go with the job; without them nothing is submitted; nobody is asked about one that was switched off."""
    web1["offline"] = True
    asked: list[str] = []
    answers = ["node1 is off", "yes"]

    def ask_words(text: str) -> str:
        asked.append(text)
        return answers.pop(0)

    monkeypatch.setattr(instance_moves, "ask_words", ask_words)
    assert gnt("instance", "failover", "-f", "web1").status == 0
    assert master.opcode()["confirm_off"] == "node1 is off"
    assert asked == ["Type 'node1 is off' to go on: "]
    submitted = len(master.called("SubmitJob"))
    ran = gnt("instance", "failover", "-f", "web1")
    assert ran.status == 1
    assert "it needs the words 'node1 is off', typed or with --confirm-off" in ran.err
    assert len(master.called("SubmitJob")) == submitted
    web1["powered"] = False
    assert gnt("instance", "failover", "-f", "web1").status == 0
    assert len(asked) == 2


@pytest.mark.usefixtures("web1")
def test_a_question_comes_before_what_costs_data_or_time(
    gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says no has submitted nothing."""
    for module in (instance_moves, instance_life):
        monkeypatch.setattr(module, "ask", lambda _question: False)
    for words in (["failover", "web1"], ["move", "-n", "node2", "web1"], ["reinstall", "web1"]):
        ran = gnt("instance", *words)
        assert (ran.status, "not confirmed" in ran.err) == (1, True), words
    assert not master.called("SubmitJob")


@pytest.mark.usefixtures("web1")
def test_bad_words_are_refused(gnt: Run, master: FakeMaster) -> None:
    """In one line, and nothing is submitted."""
    for words, expected in (
        (["failover", "-f", "-n", "a", "-I", "b", "web1"], "-n and -I exclude each other"),
        (["move", "-f", "web1"], "no target is named"),
        (["reboot", "-t", "soon", "web1"], "soon"),
    ):
        ran = gnt("instance", *words)
        assert ran.status in {1, 2}
        assert expected in ran.err
    assert not master.called("SubmitJob")
