"""The event stream: without a gap, resumable, one question for all; slow clients, lost rights, a master away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gnt.model.errors import GntError
from gnt.rapi.events import AGAIN, MOST_PENDING, PACE, STILL_HERE
from tests.rapi.room import HANG_UP, PLAIN, Client, Room, request

LIFE = "aa"


class Script:
    """A master whose log a test writes: entries are lists of changes, serials count from 100."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.entries: list[list[dict[str, Any]]] = []
        self.waiting: list[tuple[int, Deferred[Any]]] = []
        self.calls: list[Any] = []
        self.piece = 1000
        self.held: list[Deferred[Any]] | None = None
        room.master.answers["WaitForEvents"] = self.wait

    @property
    def serial(self) -> int:
        """Give the newest serial."""
        return 100 + len(self.entries)

    def wait(self, position: Any, within: float) -> Any:
        """Answer at once, or once something happens."""
        self.calls.append(position)
        if position is None:
            return self.answer(self.serial)
        if position[0] < 100:
            return {**self.answer(self.serial), "lost": True}
        if within and position[0] == self.serial:
            self.waiting.append((position[0], Deferred()))
            return self.waiting[-1][1]
        if self.held is not None and not within:
            answer = self.answer(position[0])
            self.held.append(Deferred())
            return self.held[-1].addCallback(lambda _: answer)
        return self.answer(position[0], None if within else self.piece)

    def answer(self, since: int, piece: int | None = None) -> Any:
        """Tell what came after a serial."""
        until = self.serial if piece is None else min(self.serial, since + piece)
        changes = [change for entry in self.entries[since - 100 : until - 100] for change in entry]
        whole = until == self.serial
        return {
            "position": [until, until if whole else None, LIFE if whole else None],
            "changes": changes,
            "lost": False,
        }

    def happen(self, *changes: dict[str, Any]) -> None:
        """Let something happen."""
        self.entries.append(list(changes))
        waiting, self.waiting = self.waiting, []
        for since, one in waiting:
            if not one.called:
                one.callback(self.answer(since))
        self.room.clock.advance(PACE)


def job(number: int, status: str = "running") -> dict[str, Any]:
    """Give a change of a job."""
    return {"kind": "job", "id": number, "status": status}


class Stream:
    """A client that listens."""

    def __init__(self, room: Room, path: str = "/3/events", **headers: str) -> None:
        self.client: Client = room.client()
        self.client.send(
            request("GET", path, user=PLAIN, headers={name.replace("_", "-"): value for name, value in headers.items()})
        )
        self.head = b""
        self._rest = b""

    def blocks(self) -> list[dict[str, str]]:
        """Give the blocks of the stream that have come, by field; a comment is the field of no name."""
        data = self.client.value()
        self.client.clear()
        if not self.head:
            self.head, _, data = data.partition(b"\r\n\r\n")
        while data:
            size, _, data = data.partition(b"\r\n")
            self._rest += data[: int(size, 16)]
            data = data[int(size, 16) + 2 :]
        *blocks, self._rest = self._rest.split(b"\n\n")
        return [dict(line.split(": ", 1) for line in block.decode().split("\n")) for block in blocks]

    def heard(self) -> list[int]:
        """Give the numbers of the jobs that were told of."""
        told = [json.loads(block["data"]) for block in self.blocks() if block.get("event") in {"changes", "reset"}]
        return [change["id"] for message in told for change in message["changes"]]


@pytest.fixture
def script(room: Room) -> Iterator[Script]:
    """Give a master whose log is empty."""
    made = Script(room)
    yield made
    room.api.application.hub.stop()
    assert not [call for call in room.clock.getDelayedCalls() if call.getTime() - room.clock.seconds() < 20]


def test_from_now_on(room: Room, script: Script) -> None:
    """Who has nothing learns where it stands, then what happens, each message under its serial."""
    script.happen(job(1))
    stream = Stream(room)
    first = stream.blocks()
    assert b"Content-Type: text/event-stream" in stream.head
    assert first == [{"retry": "1000"}, {"id": "101", "event": "start", "data": '{"serial":101}'}]
    script.happen(job(2), job(3, "success"))
    (block,) = stream.blocks()
    assert (block["id"], block["event"]) == ("102", "changes")
    assert json.loads(block["data"]) == {"serial": 102, "changes": [job(2), job(3, "success")]}


def test_going_on_from_the_last_message(room: Room, script: Script) -> None:
    """By its id, as browsers do, or by the query; in pieces if it is much."""
    for number in range(1, 8):
        script.happen(job(number))
    script.piece = 2
    assert Stream(room, Last_Event_ID="103").heard() == [4, 5, 6, 7]
    assert Stream(room, "/3/events?since=105").heard() == [6, 7]
    at_the_end = Stream(room, Last_Event_ID="107")
    assert at_the_end.blocks() == [{"retry": "1000"}]
    script.happen(job(8))
    assert at_the_end.heard() == [8]


def test_nothing_falls_between_past_and_present(room: Room, script: Script) -> None:
    """What happens while a listener is told of the past comes after it; nothing is missing."""
    Stream(room)
    script.happen(job(1))
    script.held = []
    late = Stream(room, Last_Event_ID="100")
    script.happen(job(2))
    script.happen(job(3))
    assert late.heard() == []
    held, script.held = script.held, None
    held[0].callback(None)
    assert late.heard() == [1, 2, 3]
    script.happen(job(4))
    assert late.heard() == [4]


def test_much_happens_while_one_catches_up(room: Room, script: Script) -> None:
    """More than is kept for it: it is asked for again, and still nothing is missing."""
    Stream(room)
    script.held = []
    late = Stream(room, Last_Event_ID="100")
    for number in range(1, MOST_PENDING + 10):
        script.happen(job(number))
    held, script.held = script.held, None
    held[0].callback(None)
    assert late.heard() == list(range(1, MOST_PENDING + 10))


def test_a_hundred_listeners_are_one_question(room: Room, script: Script) -> None:
    """And each message is encoded once for each choice of kinds."""
    streams = [Stream(room) for _ in range(20)]
    asked = len(script.calls)
    script.happen(job(1))
    assert len(script.calls) == asked + 1
    assert [stream.heard() for stream in streams] == [[1]] * 20
    assert len(script.waiting) == 1


def test_kinds(room: Room, script: Script) -> None:
    """Who names kinds of objects hears of nothing else; its serial moves on all the same."""
    jobs, groups = Stream(room, "/3/events?kind=job"), Stream(room, "/3/events?kind=group,node&kind=disk")
    jobs.blocks()
    groups.blocks()
    script.happen(job(1))
    script.happen({"kind": "group", "uuid": "g", "name": "g", "what": "added", "serial_no": 1})
    assert jobs.heard() == [1]
    (block,) = groups.blocks()
    assert json.loads(block["data"])["changes"][0]["uuid"] == "g"
    room.clock.advance(STILL_HERE)
    assert jobs.blocks() == [{"": "still here", "id": "102"}]


def test_a_lost_past_is_said(room: Room, script: Script) -> None:
    """The client has to look at everything anew; then it hears what happens."""
    script.happen(job(1))
    stream = Stream(room, Last_Event_ID="7")
    assert [block.get("event") for block in stream.blocks()] == [None, "reset"]
    script.happen(job(2))
    assert stream.heard() == [2]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/3/events?kind=planet", {}),
        ("/3/events?since=x", {}),
        ("/3/events?since=-1", {}),
        ("/3/events", {"Last_Event_ID": "9" * 30}),
    ],
)
def test_what_cannot_be_listened_to(room: Room, script: Script, path: str, headers: dict[str, str]) -> None:
    """400, and the master is not asked."""
    stream = Stream(room, path, **headers)
    assert stream.client.received()[0].status == 400
    assert script.calls == []


def test_a_master_that_is_away_at_the_beginning(room: Room, script: Script) -> None:
    """The usual error, in JSON."""
    room.master.answers["WaitForEvents"] = lambda *_: HANG_UP
    answer = Stream(room).client.received()[0]
    assert (answer.status, answer.headers["content-type"]) == (502, "application/json")


def test_a_master_that_goes_away(room: Room, script: Script) -> None:
    """Streams stay; it is asked again until it is back, from where they stood."""
    stream = Stream(room)
    stream.blocks()
    room.master.answers["WaitForEvents"] = lambda *_: GntError("no_master", "away")
    for wire in room.master.wires:
        wire.abortConnection()
    room.clock.advance(AGAIN)
    script.entries.append([job(1)])
    room.master.answers["WaitForEvents"] = script.wait
    room.clock.advance(AGAIN)
    assert stream.heard() == [1]


def test_a_client_that_does_not_read(room: Room, script: Script) -> None:
    """Nothing piles up for it; once it reads again it gets what it missed, from its last serial."""
    stream = Stream(room)
    stream.blocks()
    stream.client.producer.pauseProducing()
    for number in range(1, 50):
        script.happen(job(number))
    room.clock.advance(STILL_HERE)
    assert stream.client.value() == b""
    stream.client.producer.resumeProducing()
    assert stream.heard() == list(range(1, 50))
    script.happen(job(50))
    assert stream.heard() == [50]


def test_signs_of_life(room: Room, script: Script) -> None:
    """A quiet stream says that it is there, and under which serial."""
    stream = Stream(room)
    stream.blocks()
    room.clock.advance(STILL_HERE)
    assert stream.blocks() == [{"": "still here", "id": "100"}]


def test_who_may_listen_no_more(room: Room, script: Script) -> None:
    """The stream ends when the user has gone; others go on."""
    stream = Stream(room)
    stream.blocks()
    room.users.write_text("writer secret1 write\n")
    room.clock.advance(STILL_HERE)
    assert b"0\r\n\r\n" in stream.client.value()
    assert len(room.api.application.hub) == 0


def test_nobody_listens_nobody_asks(room: Room, script: Script) -> None:
    """When the last client has gone the question is taken back; a next one begins anew."""
    first, second = Stream(room), Stream(room)
    first.client.hang_up()
    assert len(room.api.application.hub) == 1
    second.client.hang_up()
    assert len(room.api.application.hub) == 0
    assert any(wire.aborted for wire in room.master.wires)
    third = Stream(room)
    third.blocks()
    script.happen(job(1))
    assert third.heard() == [1]


def test_without_a_login(room: Room, open_room: Room, tmp_path: Path) -> None:
    """As for all that is read: with open reads anybody may."""
    client = room.client()
    client.send(request("GET", "/3/events", user=None))
    assert client.received()[0].status == 401
    Script(open_room)
    client = open_room.client()
    client.send(request("GET", "/3/events", user=None))
    assert b"event: start" in client.value()
    open_room.api.application.hub.stop()


def test_old_clients(room: Room, script: Script) -> None:
    """HTTP/1.0 knows no chunks: the stream is what comes until the end."""
    client = room.client()
    client.send(request("GET", "/3/events", user=PLAIN).replace(b"HTTP/1.1", b"HTTP/1.0"))
    script.happen(job(1))
    assert b"Transfer-Encoding" not in client.value()
    assert b'\n\nid: 101\nevent: changes\ndata: {"serial":101' in client.value()
