"""The door of a node: who may call what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from gnt.model.epoch import START, Epoch
from gnt.noded.call_table import CallTable
from gnt.noded.calls import Calls
from gnt.noded.handler import CallContext
from gnt.noded.membership import MembershipFile
from gnt.noded.perspective import Events, NodeDoor
from gnt.wire.calls import Delay, Membership, NodeCall, Rights, Version
from gnt.wire.contract import Caller, CallProgress, NodeEvent
from gnt.wire.envelope import (
    BAD_REQUEST,
    NOT_ALLOWED,
    UNKNOWN_CALL,
    Answer,
    Request,
    decode_answer,
    encode_request,
)
from gnt.wire.log_calls import (
    AskLog,
    AskStanding,
    CallAbort,
    CallOutcome,
    Fence,
    LogAppend,
    Promise,
    Standing,
)
from tests.noded.places import place_below

EPOCH = Epoch(number=1, node="m")
CANDIDATE = Caller(digest="a" * 64, common_name="node2.example.com")
OTHER = Caller(digest="b" * 64, common_name="node3.example.com")


class Door:
    """A door over calls that do nothing."""

    def __init__(self, root: Path) -> None:
        self.done: list[NodeCall[Any]] = []
        place = place_below(root)
        place.layout.data.mkdir(parents=True)
        self.membership = MembershipFile(place.layout)
        self.events = Events()

        async def handler(call: NodeCall[Any], _context: CallContext) -> None:
            self.done.append(call)

        handlers = dict.fromkeys((Delay, Version, LogAppend), handler)
        calls = Calls(place, handlers, CallTable(place.layout.calls_db, place.runtime))
        ensureDeferred(calls.start())
        self.door = NodeDoor(calls, self.membership, self.events)

    def join(self) -> None:
        """Let the node belong to a cluster with one candidate."""
        self.membership.store(
            Membership(
                cluster_name="c",
                cluster_uuid="cu",
                node_uuid="nu",
                node_name="node1.example.com",
                position=START,
                candidates={"m": CANDIDATE.digest},
            )
        )

    def ask(self, call: NodeCall[Any], caller: Caller) -> Answer:
        """Ask, and give the answer."""
        return self.ask_bytes(encode_request(Request(id="1", epoch=EPOCH, deadline=5.0, call=call)), caller)

    def ask_bytes(self, request: bytes, caller: Caller) -> Answer:
        """Ask with any bytes."""
        answers: list[Any] = []
        answering: Deferred[bytes] = self.door.call(request, caller)
        answering.addBoth(answers.append)
        return decode_answer(answers[0])


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """Give the door of a node that belongs to a cluster."""
    made = Door(tmp_path)
    made.join()
    return made


CHANGES: list[NodeCall[Any]] = [
    Delay(seconds=0),
    LogAppend(previous=START, entries=[], committed=0),
    Promise(epoch=EPOCH),
    Promise(epoch=EPOCH, ask_only=True),
    Fence(epoch=EPOCH),
    CallAbort(id="9"),
]


@pytest.mark.parametrize("call", CHANGES)
def test_changes_are_taken_from_candidates_only(door: Door, call: NodeCall[Any]) -> None:
    """A certificate of the cluster alone is not enough; the refusal names who it was."""
    refused = door.ask(call, OTHER)
    assert refused.err is not None
    assert refused.err.code == NOT_ALLOWED
    assert OTHER.common_name in refused.err.text
    assert door.done == []
    assert door.ask(call, CANDIDATE).err is None


@pytest.mark.parametrize("call", [Version(), AskLog(), CallOutcome(id="1")])
def test_reading_is_open_to_the_cluster(door: Door, call: NodeCall[Any]) -> None:
    """Every node may look."""
    assert door.ask(call, OTHER).err is None


def test_who_asks_learns_whether_it_may_order(door: Door) -> None:
    """A master whose certificate was renewed while the node was away asks before it counts on it."""
    assert door.ask(Rights(), CANDIDATE).result(Rights())
    assert not door.ask(Rights(), OTHER).result(Rights())


def test_who_is_refused_learns_by_what_configuration(door: Door) -> None:
    """An old master that was struck off while it was away hears of it this way only."""
    assert door.ask(AskStanding(), CANDIDATE).result(AskStanding()) == Standing(may_order=True, position=START)
    assert door.ask(AskStanding(), OTHER).result(AskStanding()) == Standing(may_order=False, position=START)


def test_candidate_list_is_the_one_of_now(door: Door) -> None:
    """Who was a candidate and is none any more orders nothing."""
    assert door.membership.current is not None
    door.membership.forget()
    door.join()
    assert door.ask(Delay(seconds=0), CANDIDATE).err is None
    door.membership.forget()
    refused = door.ask(Delay(seconds=0), CANDIDATE)
    assert refused.err is not None
    assert refused.err.code == NOT_ALLOWED


def test_node_without_a_cluster_answers_nothing(tmp_path: Path) -> None:
    """Not even reading calls: there is no cluster whose certificates it could trust."""
    refused = Door(tmp_path).ask(Version(), CANDIDATE)
    assert refused.err is not None
    assert refused.err.code == NOT_ALLOWED


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"garbage", BAD_REQUEST),
        (b'{"id":"1","epoch":null,"deadline":1,"call":{"call":"make_coffee"}}', UNKNOWN_CALL),
    ],
)
def test_garbage_gets_an_answer(door: Door, request_bytes: bytes, code: str) -> None:
    """An error as data, and the door stays open."""
    answer = door.ask_bytes(request_bytes, CANDIDATE)
    assert answer.err is not None
    assert answer.err.code == code
    assert door.ask(Version(), CANDIDATE).err is None


def test_identity_is_the_membership(door: Door) -> None:
    """The greeting compares this UUID with the one that the master wants."""
    assert door.door.identity() == ("node1.example.com", "nu")
    door.membership.forget()
    assert door.door.identity() == ("", "")


def test_events_reach_all_who_listen_and_no_others(door: Door) -> None:
    """One who has stopped to listen hears nothing; stopping twice is no mistake."""
    heard: list[NodeEvent] = []
    stop = door.door.listen(heard.append)
    door.door.listen(heard.append)
    event = CallProgress(id="1", text="t")
    door.events.emit(event)
    assert heard == [event, event]
    stop()
    stop()
    door.events.emit(event)
    assert len(heard) == 3
