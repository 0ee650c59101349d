"""The checker of lock order: what it lets pass, and what it finds when a lock manager has favourites."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gnt.masterd.jobs.locks import Claim, Held, LockManager, _LevelState, _Waiter
from gnt.masterd.jobs.lockset import EVERY, Level, Locks
from gnt.sim.lock_order import excluded, watch_grants

NODE = Level.NODE


class Watched:
    """A lock manager, and what its watch has found."""

    def __init__(self) -> None:
        self.wrongs: list[str] = []
        self.manager = LockManager(Clock())
        self.held: dict[str, Held] = {}
        self.claims: dict[str, Claim] = {}
        watch_grants(self.manager, self.wrongs.append)

    def ask(self, name: str, locks: Locks, priority: int = 0) -> None:
        """Ask for locks, and remember them when they come."""
        claim = self.claims[name] = self.manager.claim(len(self.claims) + 1, name, priority)

        def granted(held: Held) -> None:
            self.held[name] = held

        Deferred.fromCoroutine(self.manager.acquire(claim, locks)).addCallback(granted)


def test_a_just_manager_is_let_pass() -> None:
    """Readers together, a writer in its turn, an urgent one before it, one that goes on with less."""
    watched = Watched()
    watched.ask("reader", Locks().shared(NODE, "n1"))
    watched.ask("writer", Locks().exclusive(NODE, "n1"))
    watched.ask("urgent", Locks().exclusive(NODE, "n1"), priority=-10)
    watched.ask("elsewhere", Locks().exclusive(NODE, "n2"))
    watched.held["reader"].release()
    watched.held["urgent"].share(NODE)
    watched.held["urgent"].release()
    assert sorted(watched.held) == ["elsewhere", "reader", "urgent", "writer"]
    assert watched.wrongs == []


def test_who_overtakes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is let in before a writer that waited first; named with the lock."""
    watched = Watched()
    watched.ask("reader", Locks().shared(NODE, "n1"))
    watched.ask("writer", Locks().exclusive(NODE, "n1"))

    def nobody(_state: Any, _waiter: _Waiter) -> list[_Waiter]:
        return []

    monkeypatch.setattr(_LevelState, "before", nobody)
    watched.ask("late", Locks().shared(NODE, "n1"))
    assert watched.wrongs == ["late is granted node/n1 before writer, which waited first"]


@pytest.mark.parametrize(
    ("got", "wanted", "found"),
    [
        ({"a": False}, {"a": False}, []),
        ({"a": True}, {"a": False}, ["a"]),
        ({"a": False, "b": False}, {"b": True}, ["b"]),
        ({EVERY: False}, {"b": True}, [EVERY]),
        ({"a": False}, {EVERY: False}, []),
        ({"a": True}, {EVERY: False}, ["a"]),
        ({"a": True}, {"b": True}, []),
    ],
)
def test_what_excludes_what(got: dict[str, bool], wanted: dict[str, bool], found: list[str]) -> None:
    """Every lock of a level is excluded like each of them."""
    assert excluded(got, wanted) == found
