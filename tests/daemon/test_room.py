"""Room for a log is made in pieces, and ends with the daemon."""

from __future__ import annotations

import random
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from gnt.daemon.room import PAUSE, PIECE, Room
from gnt.daemon.runtime import Runtime

AFTER = 2.0


class Log:
    """A log that takes note of the room it is asked to have, and has no more than `spared` bytes of it."""

    def __init__(self, spared: int = 2**40) -> None:
        self.spared = spared
        self.asked: list[int] = []
        self.problem: Exception | None = None
        self.waiting: Deferred[bool] | None = None

    def make(self, size: int) -> Deferred[bool]:
        """Have so much in all."""
        if self.problem is not None:
            raise self.problem
        self.asked.append(size)
        return self.waiting or succeed(size <= self.spared)


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


def room(clock: Clock, log: Log, size: int) -> Room:
    """Give what makes room in a log."""
    nothing: Any = None
    return Room(Runtime(clock=clock, pools=nothing, random=random.Random(1)), size, log.make)  # noqa: S311


def test_room_is_made_in_pieces_with_time_between_them_for_others(clock: Clock) -> None:
    """A moment after the start; the last piece is as large as is left, and then there is an end."""
    log = Log()
    room(clock, log, 2 * PIECE + 5).begin(AFTER)
    clock.advance(AFTER / 2)
    assert log.asked == []
    clock.advance(AFTER / 2)
    assert log.asked == [PIECE]
    clock.advance(PAUSE)
    assert log.asked == [PIECE, 2 * PIECE]
    clock.pump([PAUSE] * 9)
    assert log.asked == [PIECE, 2 * PIECE, 2 * PIECE + 5]
    assert clock.getDelayedCalls() == []


def test_a_disk_that_can_spare_no_more_is_not_asked_again(clock: Clock) -> None:
    """What there is of it must do."""
    log = Log(spared=PIECE)
    room(clock, log, 5 * PIECE).begin(0)
    clock.pump([PAUSE] * 9)
    assert log.asked == [PIECE, 2 * PIECE]


@pytest.mark.parametrize("under_way", [False, True])
def test_a_daemon_that_stops_makes_no_more(clock: Clock, *, under_way: bool) -> None:
    """Whether the next piece is still to come or on its way; stopping twice is no fault."""
    log = Log()
    making = room(clock, log, 5 * PIECE)
    making.begin(AFTER)
    clock.advance(AFTER)
    if under_way:
        log.waiting = Deferred()
        clock.advance(PAUSE)
    before = list(log.asked)
    making.stop()
    making.stop()
    clock.pump([PAUSE] * 9)
    assert log.asked == before
    assert clock.getDelayedCalls() == []


def test_what_is_begun_again_begins_anew(clock: Clock) -> None:
    """As when a node's copy of the store was replaced: not twice at the same time."""
    log = Log()
    making = room(clock, log, 2 * PIECE)
    making.begin(AFTER)
    clock.advance(AFTER)
    making.begin(AFTER)
    clock.pump([PAUSE] * 9)
    assert log.asked == [PIECE]
    clock.advance(AFTER)
    clock.pump([PAUSE] * 9)
    assert log.asked == [PIECE, PIECE, 2 * PIECE]


def test_a_failure_is_told_in_the_log_and_hurts_nobody(clock: Clock) -> None:
    """Who writes next is told by the store itself."""
    log = Log()
    log.problem = ValueError("broken")
    told: list[Any] = []
    globalLogPublisher.addObserver(told.append)
    try:
        room(clock, log, PIECE).begin(0)
        clock.advance(0)
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert [event["log_format"] for event in told] == ["the write-ahead log has no room of its own"]
    assert told[0]["log_failure"].check(ValueError)
