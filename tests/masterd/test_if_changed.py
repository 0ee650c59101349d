"""Answers that are given only if they are new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gnt.model.errors import Refused
from tests.masterd.nodes_world import NodesWorld
from tests.masterd.test_events import GROUP, change
from tests.masterd.test_service import Master


@pytest.fixture
def master() -> Iterator[Master]:
    """Run a master of one node."""
    made = Master(NodesWorld("a")).start()
    yield made
    made.stop()


def ask(master: Master, known: str | None, method: str, *args: Any) -> Any:
    """Ask for what is new."""
    return master.ask("IfChanged", known, method, list(args))


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("Query", ["group", ["name"], None]),
        ("Query", ["node", ["name", "mfree"], None]),
        ("QueryClusterInfo", []),
        ("QueryTags", ["cluster", ""]),
    ],
)
def test_what_the_configuration_tells(master: Master, method: str, args: list[Any]) -> None:
    """The same stamp while nothing changes; the answer is that of the method itself."""
    first = ask(master, None, method, *args)
    assert first["result"] == master.ask(method, *args)
    assert ask(master, first["stamp"], method, *args) == {"stamp": first["stamp"]}
    assert "result" in ask(master, "other", method, *args)
    change(master, [GROUP])
    later = ask(master, first["stamp"], method, *args)
    assert later["stamp"] != first["stamp"]
    assert later["result"] == master.ask(method, *args)


@pytest.mark.parametrize(
    ("method", "args"), [("QueryJobs", [None, ["id", "status"]]), ("Query", ["job", ["id", "status"], None])]
)
def test_what_jobs_do(master: Master, method: str, args: list[Any]) -> None:
    """Every step of a job, committed or not, makes another stamp; so does its going to the archive."""
    stamps = {ask(master, None, method, *args)["stamp"]}
    number = master.submit(5)
    stamps.add(ask(master, None, method, *args)["stamp"])
    master.world.turn(5)
    ended = ask(master, None, method, *args)
    assert ask(master, ended["stamp"], method, *args) == {"stamp": ended["stamp"]}
    stamps.add(ended["stamp"])
    master.ask("ArchiveJob", number)
    stamps.add(ask(master, None, method, *args)["stamp"])
    assert len(stamps) == 4


def test_what_has_no_stamp(master: Master) -> None:
    """Locks change without a trace: their answers are always given."""
    assert ask(master, None, "Query", "lock", ["name"], None)["stamp"] is None
    assert "result" in ask(master, None, "Query", "lock", ["name"], None)


def test_a_stamp_of_another_life_is_none(master: Master) -> None:
    """What nodes said is numbered anew by every process."""
    query = ("Query", "node", ["name", "mfree"], None)
    first = ask(master, None, *query)
    master.stop()
    again = Master(master.world).start()
    assert "result" in ask(again, first["stamp"], *query)
    again.stop()
    master.start()


@pytest.mark.parametrize("args", [[], [None, "SubmitJob", []], [1, "Query", []], [None, "Query", ["node"]]])
def test_arguments_are_checked(master: Master, args: list[Any]) -> None:
    """Only what reads can be asked so."""
    with pytest.raises(Refused, match="IfChanged"):
        master.ask("IfChanged", *args)
