"""The past, asked of a whole master daemon."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gnt.masterd.past import DAY
from gnt.model.errors import Refused
from gnt.store.database import HISTORY_AGE
from tests.masterd.nodes_world import NodesWorld
from tests.masterd.test_service import Master


@pytest.fixture
def world() -> NodesWorld:
    """Give a cluster of one node."""
    return NodesWorld("a")


def _tag(master: Master, tag: str) -> None:
    """Change the node's object as an operation would."""
    assert master.daemon._term is not None
    journal = master.daemon._term.journal
    node = journal.head.nodes["a"]
    journal.enqueue(journal.object_changes([replace(node, tags=(*node.tags, tag))]), job=1)
    master.world.turn()


def test_history_names_the_job_and_why(world: NodesWorld) -> None:
    """Its summary, its comment, and what its user gave as reason."""
    master = Master(world).start()
    reason = [["gnt:user", "because", 1], ["gnt:client:gnt-node", "modify", 1]]
    number = master.submit(0.0, comment="a remark", reason=reason)
    assert number == 1
    _tag(master, "blue")
    answer = master.ask("History", "node", "node-a", None, None, 1)
    [found] = answer["changes"]
    assert (found["job"], found["summary"]) == (1, "TEST_DELAY(0 ns)")
    assert (found["comment"], found["reason"]) == ("a remark", "because")
    assert found["change"]["fields"] == [{"name": "tags/0", "old": None, "new": "blue"}]
    assert answer["kept_from"] is None
    master.stop()


def test_an_object_then_and_the_difference_to_now(world: NodesWorld) -> None:
    """By times of the master's clock; a time to come is refused."""
    master = Master(world).start()
    world.turn(100.0)
    then = world.clock.seconds() - 50.0
    _tag(master, "blue")
    assert master.ask("ObjectAt", "node", "node-a", then)["object"]["tags"] == []
    [change] = master.ask("ConfigDiff", then, world.clock.seconds())
    assert (change["kind"], change["name"], change["what"]) == ("node", "node-a", "changed")
    with pytest.raises(Refused, match="not come yet"):
        master.ask("ObjectAt", "node", "node-a", world.clock.seconds() + 60.0)
    master.stop()


def test_bad_questions_are_refused_by_name(world: NodesWorld) -> None:
    """Kind, limit, missing name."""
    master = Master(world).start()
    for method, args, text in (
        ("History", ["guest", None, None, None, 1], "no kind of object"),
        ("History", [None, None, None, None, 0], "limit"),
        ("History", [None, None, "yesterday"], "History: Expected"),
        ("ObjectAt", ["node", None, 5.0], "which node"),
    ):
        with pytest.raises(Refused, match=text):
            master.ask(method, *args)
    master.stop()


def test_old_history_is_forgotten_daily(world: NodesWorld) -> None:
    """Also when nothing is changed that would make the store look."""
    master = Master(world).start()
    _tag(master, "blue")
    begun = world.clock.seconds()
    world.turn(DAY)
    assert len(master.ask("History", "node", "node-a", None, None, 9)["changes"]) == 2
    for _ in range(int(HISTORY_AGE / DAY)):
        world.turn(DAY)
    with pytest.raises(Refused, match="does not go back"):
        master.ask("ObjectAt", "node", "node-a", begun)
    assert master.ask("History", "node", "node-a", None, None, 9)["changes"] == []
    master.stop()
