"""A daemon ends once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from twisted.internet.error import ReactorNotRunning

from gnt.daemon.ending import SIGNALS, end_once, stop


class Reactor:
    """Stops once; a second time is an error, as Twisted has it."""

    def __init__(self) -> None:
        self.stops = 0
        self.triggers: list[tuple[object, ...]] = []

    def stop(self) -> None:
        """Stop."""
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning

    def addSystemEventTrigger(self, phase: str, event: str, function: object, *arguments: object) -> None:
        """Remember it."""
        assert (phase, event) == ("before", "shutdown")
        self.triggers.append((function, *arguments))

    def shutdown(self) -> None:
        """Do what is to be done before the end."""
        for function, *arguments in self.triggers:
            function(*arguments)  # type: ignore[operator]


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Have both signals noted; they are as before afterwards."""
    found: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: found.append(number)) for number in SIGNALS}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


def test_only_the_first_signal_counts(heard: list[int]) -> None:
    """Whichever it is."""
    end_once(Reactor())
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    assert heard == [signal.SIGTERM]


def test_a_signal_while_the_daemon_ends_by_itself_changes_nothing(heard: list[int]) -> None:
    """It is on its way already."""
    reactor = Reactor()
    end_once(reactor)
    reactor.shutdown()
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == []


def test_a_second_stop_is_none() -> None:
    """Nothing is raised."""
    reactor = Reactor()
    stop(reactor)
    stop(reactor)
    assert reactor.stops == 2
