"""Failover as the program does it: who may, who is asked, who hands over, and what is left for the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gnt.bootstrap.daemons import MASTERD, NODED, RAPI
from gnt.bootstrap.failover import Asking, Failover, FailoverRequest, Reached
from gnt.daemon.takeover import Takeover, leave_order, take_order
from gnt.model.epoch import START, Position
from gnt.model.errors import ConfigError, Failed, GntError, NoMajority, Refused
from gnt.model.layout import Layout
from gnt.model.objects import Node
from gnt.store.changes import Entry, Put, Space
from gnt.store.configuration import initial_changes
from gnt.store.heard import HEARD, Heard, encode_heard
from gnt.store.vault import FileVault
from tests.masterd.journal_world import FIRST, cluster_of, with_certificates


class FakeAsking(Asking):
    """Candidates that answer, but for those that are `away`."""

    def __init__(self, *away: str) -> None:
        self.away = away
        self.handed_over: list[str] = []
        self.failing: GntError | None = None
        self.newest: int | None = None
        self.deaf: dict[str, str] = {}
        self.asked: list[str] = []

    def survey(self, nodes: list[Node], enough: int) -> Mapping[str, Reached]:
        """Say who is there."""
        problems = {node.uuid: "refused" if node.uuid in self.away else "" for node in nodes}
        return {uuid: Reached(problem, None if problem else self.newest) for uuid, problem in problems.items()}

    def rights(self, nodes: list[Node]) -> Mapping[str, str]:
        """Say who would take no orders."""
        self.asked = [node.uuid for node in nodes]
        return {uuid: why for uuid, why in self.deaf.items() if uuid in self.asked}

    def hand_over(self, node: Node, seconds: float) -> bool:
        """Note it."""
        if self.failing is not None:
            raise self.failing
        self.handed_over.append(node.name)
        return True


class FakeDaemons:
    """Daemons that start at once; the master daemon takes its order away."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.running = {NODED}
        self.order: Takeover | None = None
        self.failing: GntError | None = None

    def pid(self, name: str) -> int | None:
        """Say whether it runs."""
        return 1 if name in self.running else None

    def start(self, name: str) -> None:
        """Start."""
        self.running.add(name)
        if name == MASTERD and self.failing is None:
            self.order = take_order(self.layout)

    def stop(self, name: str) -> None:
        """End."""
        self.running.discard(name)

    def wait_for_masterd(self) -> None:
        """Be there at once, or fail."""
        if self.failing is not None:
            raise self.failing


class Place:
    """The node b of a cluster of a, b and c, whose master a is."""

    def __init__(self, root: Path, *, candidates: str = "abc", others: str = "") -> None:
        self.layout = Layout(root)
        self.layout.data.mkdir(parents=True)
        vault = FileVault(self.layout.config_db)
        database = vault.create("uuid")
        first = initial_changes(with_certificates(cluster_of(candidates, others)))
        database.append(START, [Entry(Position(FIRST, 1), 1000.0, first, (0,) * len(first))], committed=1)
        database.close()
        self.daemons: Any = FakeDaemons(self.layout)
        self.asking = FakeAsking()
        self.said: list[str] = []

    def heard(self, heard: Heard) -> None:
        """Have the log say who has heard of whom."""
        vault = FileVault(self.layout.config_db)
        database = vault.open()
        row = Put(Space.META, HEARD, encode_heard(heard))
        database.append(Position(FIRST, 1), [Entry(Position(FIRST, 2), 1000.0, (row,), (0,))], committed=2)
        database.close()

    def run(self, host: str = "node-b", **request: Any) -> dict[str, Any]:
        """Fail over to a node."""
        failover = Failover(
            FailoverRequest(**request),
            self.layout,
            host,
            self.said.append,
            asking=self.asking,
            daemons=self.daemons,
        )
        return failover.run()


def test_a_living_master_hands_over_first(tmp_path: Path) -> None:
    """Then the daemons start here, with the order to take over, which counts once."""
    place = Place(tmp_path)
    assert place.run()["master"] == "node-b"
    assert place.asking.handed_over == ["node-a"]
    assert place.daemons.running == {NODED, MASTERD, RAPI}
    assert place.daemons.order == Takeover()
    assert not place.layout.takeover.exists()


def test_a_dead_master_is_not_waited_for(tmp_path: Path) -> None:
    """A majority of the others is enough, also with --no-voting, which is then not needed."""
    place = Place(tmp_path)
    place.asking.away = ("a",)
    assert place.run(no_voting=True)["missing"] == ["node-a"]
    assert place.asking.handed_over == []
    assert place.daemons.order == Takeover()


def test_without_a_majority_nothing_is_begun(tmp_path: Path) -> None:
    """The living master is left alone; those missing are named; --no-voting goes without them."""
    place = Place(tmp_path)
    place.asking.away = ("a", "c")
    with pytest.raises(NoMajority, match=r"2 of 3 .*: node-a, node-c") as caught:
        place.run()
    assert "--no-voting" in caught.value.hint
    assert place.daemons.running == {NODED}
    survey = place.run(survey=True)
    assert (survey["majority"], survey["missing"], survey["old_master"]) == (False, ["node-a", "node-c"], "node-a")
    assert place.daemons.running == {NODED}
    place.run(no_voting=True)
    assert place.daemons.order == Takeover(no_voting=True)


def test_a_candidate_that_every_node_has_heard_of_asks_nobody(tmp_path: Path) -> None:
    """The log says it."""
    place = Place(tmp_path)
    place.heard(Heard({"b": ["digest-b"]}, ["a", "b", "c"]))
    assert place.run()["unheard"] == []
    assert place.asking.asked == []


def test_a_candidate_that_a_node_has_not_heard_of_does_not_begin(tmp_path: Path) -> None:
    """Those that the log does not name are asked; the living master is left alone; the refusal says all ways out."""
    place = Place(tmp_path, others="n")
    place.heard(Heard({"b": ["digest-b"]}, ["a", "b"]))
    place.asking.deaf = {"c": "", "n": "no answer"}
    with pytest.raises(Refused, match=r"^node-c and node-n \(no answer\) have not heard yet that node-b") as caught:
        place.run()
    assert place.asking.asked == ["c", "n"]
    assert "gnt-node modify --offline=yes node-c; gnt-node modify --offline=yes node-n" in caught.value.hint
    assert "--no-voting" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert (place.daemons.running, place.asking.handed_over) == ({NODED}, [])
    assert place.run(survey=True)["unheard"] == ["node-c", "node-n"]
    place.run(no_voting=True)
    assert place.daemons.order == Takeover(unheard=True)


def test_nodes_that_are_flagged_offline_by_force_need_not_have_heard(tmp_path: Path) -> None:
    """Without a majority those that do not answer are left out; the others are asked."""
    place = Place(tmp_path, others="n")
    place.asking.away = ("a", "c")
    place.run(no_voting=True)
    assert place.asking.asked == ["b", "n"]
    assert place.daemons.order == Takeover(no_voting=True)


def test_one_whose_log_lacks_something_leaves_it_to_the_master_daemon(tmp_path: Path) -> None:
    """What it lacks may say that every node has heard of it."""
    place = Place(tmp_path)
    place.asking.newest, place.asking.deaf = 7, {"c": "no answer"}
    place.run()
    assert place.asking.asked == []
    assert place.daemons.order == Takeover()


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("node-a", "node-a is the master already"),
        ("node-d", "node-d is no master candidate"),
        ("node-z", "node-z is no master candidate"),
    ],
)
def test_who_cannot_take_over(tmp_path: Path, host: str, text: str) -> None:
    """Each is told why."""
    with pytest.raises(Refused, match=text):
        Place(tmp_path, others="d").run(host)


def test_the_master_itself_is_told_what_is_left_to_do(tmp_path: Path) -> None:
    """Nothing while its daemon runs; else to start that."""
    place = Place(tmp_path)
    for running, hint in (({NODED, MASTERD}, "nothing is to be done"), ({NODED}, "start its daemon: gnt-masterd")):
        place.daemons.running = running
        with pytest.raises(Refused) as caught:
            place.run("node-a")
        assert hint in caught.value.hint


def test_a_node_without_a_store_or_a_daemon_cannot_take_over(tmp_path: Path) -> None:
    """It has nothing to lead with, or cannot be followed."""
    place = Place(tmp_path)
    place.daemons.running = set()
    with pytest.raises(Refused, match="gnt-noded does not run here"):
        place.run()
    place.layout.config_db.unlink()
    with pytest.raises(Refused, match="no copy of the configuration"):
        place.run()


def test_a_master_that_does_not_hand_over_stays_the_master(tmp_path: Path) -> None:
    """Nothing is started here."""
    place = Place(tmp_path)
    place.asking.failing = Failed("gnt-masterd (pid 7) does not end")
    with pytest.raises(Failed, match="node-a does not hand over: gnt-masterd"):
        place.run()
    assert place.daemons.running == {NODED}


def test_an_order_that_was_not_carried_out_is_taken_back(tmp_path: Path) -> None:
    """A later start of the daemon must not take over by surprise."""
    place = Place(tmp_path)
    place.daemons.failing = Failed("gnt-masterd has ended again")
    with pytest.raises(Failed, match="has ended again") as caught:
        place.run()
    assert "gnt-masterd there" in caught.value.hint
    assert not place.layout.takeover.exists()


def test_an_order_counts_once_and_a_damaged_one_is_no_order(tmp_path: Path) -> None:
    """It is gone from the disk before it is acted upon."""
    layout = Layout(tmp_path)
    layout.data.mkdir(parents=True)
    leave_order(layout, Takeover(no_voting=True))
    assert layout.takeover.stat().st_mode & 0o777 == 0o600
    assert take_order(layout) == Takeover(no_voting=True)
    assert take_order(layout) is None
    layout.takeover.write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        take_order(layout)
    assert take_order(layout) is None


def test_a_remote_api_without_users_is_told(tmp_path: Path) -> None:
    """The users file is each node's own: who fails over learns that programs with passwords are shut out."""
    place = Place(tmp_path)
    place.run()
    (said,) = (line for line in place.said if "rapi/users" in line)
    assert "only tokens open the remote API until it is copied here" in said
    other = Place(tmp_path / "other")
    other.layout.rapi_users.parent.mkdir()
    other.layout.rapi_users.write_text("ops secret write\n", encoding="utf-8")
    other.run()
    assert not any("rapi/users" in line for line in other.said)
