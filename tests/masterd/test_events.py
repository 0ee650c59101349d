"""Following what happens: from now, from a position, from a serial; over a new start and over a new master's eyes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred

from gnt.masterd import events
from gnt.masterd.events import Events
from gnt.model.errors import Refused
from gnt.model.objects import ConfigObject, NodeGroup
from gnt.wire.luxi import Request
from tests.masterd.nodes_world import NodesWorld
from tests.masterd.test_service import Master


class Follower:
    """Who follows a master as the remote API does."""

    def __init__(self, master: Master, position: Any = None) -> None:
        self.master = master
        self.position = position
        self.lost = False

    def look(self) -> list[dict[str, Any]]:
        """Give what there is now."""
        answer = self.master.ask("WaitForEvents", self.position, 0)
        self.position, self.lost = answer["position"], answer["lost"]
        changes: list[dict[str, Any]] = answer["changes"]
        return changes

    def wait(self, seconds: float = 60.0) -> list[Any]:
        """Begin to wait; the list gets the answer once it comes."""
        request = Request(method="WaitForEvents", args=[self.position, seconds])
        came: list[Any] = []
        self.waiting = Deferred.fromCoroutine(_awaited(self.master, request))
        self.waiting.addBoth(came.append)
        return came


async def _awaited(master: Master, request: Request) -> Any:
    return await master.daemon.methods.call(request)


def change(master: Master, put: Sequence[ConfigObject] = (), drop: Sequence[ConfigObject] = ()) -> None:
    """Change objects as an operation does."""
    assert master.daemon._term is not None
    journal = master.daemon._term.journal
    master.done(journal.commit(journal.object_changes(put, drop)))


GROUP = NodeGroup(uuid="g2", name="second")
LATER = NodeGroup(uuid="g2", name="second", tags=("x",))


@pytest.fixture
def master() -> Iterator[Master]:
    """Run a master of one node."""
    made = Master(NodesWorld("a")).start()
    yield made
    made.stop()


def told(what: str, serial: int | None) -> dict[str, Any]:
    """Give a change of the group."""
    return {"kind": "group", "uuid": "g2", "name": "second", "what": what, "serial_no": serial}


def test_objects_that_change(master: Master) -> None:
    """Added, changed, removed; a name is known although the object is gone."""
    follower = Follower(master)
    assert follower.look() == []
    change(master, [GROUP])
    (added, *others) = follower.look()
    assert added == told("added", 1)
    assert {other["kind"] for other in others} <= {"cluster"}
    change(master, [LATER])
    assert told("changed", 2) in follower.look()
    change(master, drop=[GROUP])
    assert told("removed", None) in follower.look()
    assert follower.look() == []


def test_an_object_is_told_once(master: Master) -> None:
    """However often it changed meanwhile: what was made and changed was made; what was made and removed is gone."""
    first, second = Follower(master), Follower(master)
    first.look()
    second.look()
    change(master, [GROUP])
    change(master, [LATER])
    assert [one for one in first.look() if one["kind"] == "group"] == [told("added", 2)]
    change(master, drop=[GROUP])
    assert [one for one in second.look() if one["kind"] == "group"] == [told("removed", None)]


def test_jobs_that_go_their_way(master: Master) -> None:
    """Every status that shows, also those that are in no commit; an archived job has none."""
    follower = Follower(master)
    follower.look()
    number = master.submit(5)
    assert follower.look() == [{"kind": "job", "id": number, "status": "running"}]
    master.world.turn(5)
    assert follower.look() == [{"kind": "job", "id": number, "status": "success"}]
    master.ask("ArchiveJob", number)
    assert follower.look() == [{"kind": "job", "id": number, "status": None}]
    assert follower.look() == []


def test_waiting(master: Master) -> None:
    """The answer comes with the change, in the same turn of the clock; without one, when the time is over."""
    follower = Follower(master)
    follower.look()
    came = follower.wait(60)
    master.world.turn(59)
    assert came == []
    change(master, [GROUP])
    assert told("added", 1) in came[0]["changes"]
    follower.position = came[0]["position"]
    came = follower.wait(10)
    master.world.turn(10)
    assert came[0]["changes"] == []
    assert came[0]["position"] == follower.position


def test_who_gives_up_waits_no_more(master: Master) -> None:
    """A client that has gone leaves no timer and is not woken."""
    follower = Follower(master)
    follower.look()
    follower.wait(60)
    follower.waiting.cancel()
    change(master, [GROUP])
    assert not [
        call for call in master.world.clock.getDelayedCalls() if call.getTime() - master.world.clock.seconds() == 60
    ]


def test_going_on_from_a_serial(master: Master) -> None:
    """What was committed after it, and the jobs that are under way."""
    follower = Follower(master)
    follower.look()
    serial = follower.position[0]
    change(master, [GROUP])
    running = master.submit(1000)
    later = Follower(master, [serial, None, None])
    assert later.look() == [told("added", 1), {"kind": "job", "id": running, "status": "running"}]
    assert later.look() == []
    assert not later.lost


def test_going_on_after_a_new_start(master: Master) -> None:
    """The log has what happened before; a position of the life before means its serial."""
    follower = Follower(master)
    follower.look()
    change(master, [GROUP])
    done = master.submit(0)
    master.world.turn(1)
    running = master.submit(1000)
    master.stop()
    again = Master(master.world).start()
    for position in (follower.position, [follower.position[0], None, None]):
        later = Follower(again, position)
        found = later.look()
        while len(more := later.look()):
            found += more
        assert told("added", 1) in found
        assert {"kind": "job", "id": done, "status": "success"} in found
        assert {"kind": "job", "id": running, "status": "running"} in found
        assert not later.lost
    again.stop()
    master.start()


def test_the_log_in_pieces(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long way to catch up is gone in steps, without a gap and without an end in between."""
    follower = Follower(master)
    follower.look()
    for number in range(20):
        change(master, [NodeGroup(uuid=f"x{number}", name=f"group{number}")])
    monkeypatch.setattr(events, "PIECE_BYTES", 1)
    _of(master)._kept.clear()
    later = Follower(master, [follower.position[0], None, None])
    found: list[Any] = []
    for _ in range(30):
        found += later.look()
    assert [one["uuid"] for one in found if one["kind"] == "group"] == [f"x{number}" for number in range(20)]
    assert later.position[0] == _of(master)._commits.committed


def _of(master: Master) -> Events:
    return master.daemon.parts.events


@pytest.mark.parametrize("serial", [-1, 10**9])
def test_what_is_not_known_is_said(master: Master, serial: int) -> None:
    """A serial of another cluster, or from before the log begins: the client has to look at everything."""
    running = master.submit(1000)
    follower = Follower(master, [serial, None, None])
    assert follower.look() == [{"kind": "job", "id": running, "status": "running"}]
    assert follower.lost
    assert follower.look() == []
    assert not follower.lost


def test_who_is_too_slow_is_told_so(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds so much; a position before it is looked up in the log, which has it still."""
    follower = Follower(master)
    follower.look()
    for number in range(5):
        change(master, [NodeGroup(uuid=f"x{number}", name=f"group{number}")])
    while len(_of(master)._kept) > 2:
        _of(master)._kept.popleft()
    found = follower.look()
    while len(more := follower.look()):
        found += more
    assert [one["uuid"] for one in found if one["kind"] == "group"] == [f"x{number}" for number in range(5)]
    assert not follower.lost


def test_steps_are_forgotten(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs there were; who has not heard of them goes on from its serial, and misses none."""
    monkeypatch.setattr(events, "MOST_STEPPED", 3)
    follower = Follower(master)
    follower.look()
    numbers = [master.submit(0) for _ in range(6)]
    master.world.turn(1)
    running = master.submit(1000)
    assert len(_of(master)._stepped) == 3
    told_of = {job["id"]: job["status"] for job in follower.look() if job["kind"] == "job"}
    assert told_of == {**dict.fromkeys(numbers, "success"), running: "running"}
    assert follower.look() == []


@pytest.mark.parametrize("args", [[], [1], [[1]], [["x", None, None], 0], [None, "x"], [None, 0, 1]])
def test_arguments_are_checked(master: Master, args: list[Any]) -> None:
    """A clear line."""
    with pytest.raises(Refused, match="WaitForEvents"):
        master.ask("WaitForEvents", *args)


def test_no_secret_is_told(master: Master) -> None:
    """Tokens and other secrets are no objects."""
    follower = Follower(master)
    follower.look()
    token = master.ask("AddApiToken", "t", "read", None)["token"]
    assert token.split("_")[2] not in str(msgspec.json.encode(follower.look()))
