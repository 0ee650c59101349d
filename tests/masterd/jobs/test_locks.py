"""Locks: who gets what when; the invariants are in test_locks_machine."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gnt.masterd.jobs.locks import PATIENCE, Claim, Held, LockManager, WaitCanceled
from gnt.masterd.jobs.lockset import EVERY, Level, Locks
from tests.masterd.jobs.fakes import locks_of


class Asker:
    """Asks in the name of numbered jobs, and remembers who got what."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.manager = LockManager(self.clock)
        self.held: dict[int, Held] = {}
        self.failed: dict[int, Exception] = {}
        self.order: list[int] = []

    def ask(self, job: int, locks: str, priority: int = 0) -> Claim:
        """Ask for locks."""
        claim = self.manager.claim(job, f"Job{job}", priority)

        def granted(held: Held) -> None:
            self.held[job] = held
            self.order.append(job)

        def refused(failure: Any) -> None:
            self.failed[job] = failure.value

        Deferred.fromCoroutine(self.manager.acquire(claim, locks_of(locks))).addCallbacks(granted, refused)
        return claim


def test_readers_share_and_a_writer_waits_for_all_of_them() -> None:
    """The writer comes when the last reader has gone."""
    asker = Asker()
    asker.ask(1, "node/a")
    asker.ask(2, "node/a")
    asker.ask(3, "node/a!")
    assert asker.order == [1, 2]
    asker.held[1].release()
    assert asker.order == [1, 2]
    asker.held[2].release()
    assert asker.order == [1, 2, 3]


def test_a_waiting_writer_holds_up_later_readers_but_not_more_urgent_ones() -> None:
    """Who is more urgent passes."""
    asker = Asker()
    asker.ask(1, "node/a")
    asker.ask(2, "node/a!")
    asker.ask(3, "node/a")
    asker.ask(4, "node/a", priority=-10)
    assert asker.order == [1, 4]
    asker.held[1].release()
    asker.held[4].release()
    assert asker.order == [1, 4, 2]
    asker.held[2].release()
    assert asker.order == [1, 4, 2, 3]


def test_waiters_are_served_by_priority_then_age() -> None:
    """The line is not the order of arrival alone."""
    asker = Asker()
    asker.ask(1, "instance/a!")
    for job, priority in [(2, 0), (3, 10), (4, -10), (5, 0)]:
        asker.ask(job, "instance/a!", priority)
    for job in (1, 4, 2, 5):
        asker.held[job].release()
    assert asker.order == [1, 4, 2, 5, 3]


def test_the_whole_level_waits_for_writers_and_keeps_new_ones_out() -> None:
    """Shared `EVERY` goes beside readers, not beside writers, also not of names that were never heard of."""
    asker = Asker()
    asker.ask(1, "node/a")
    asker.ask(2, f"node/{EVERY}")
    asker.ask(3, "node/new!")
    assert asker.order == [1, 2]
    asker.held[2].release()
    assert asker.order == [1, 2, 3]
    asker.ask(4, f"node/{EVERY}!")
    asker.held[3].release()
    assert asker.order == [1, 2, 3]
    asker.held[1].release()
    assert asker.order == [1, 2, 3, 4]


def test_exclusive_every_is_exclusive_of_readers_to_come() -> None:
    """Not only of those there are."""
    asker = Asker()
    asker.ask(1, f"instance/{EVERY}!")
    asker.ask(2, "instance/x")
    assert asker.order == [1]
    asker.held[1].release()
    assert asker.order == [1, 2]


def test_the_cluster_lock_keeps_everybody_else_out() -> None:
    """All others hold it shared, though they do not ask."""
    asker = Asker()
    asker.ask(1, "instance/a!")
    asker.ask(2, "cluster/BGL!")
    asker.ask(3, "instance/b!")
    assert asker.order == [1]
    asker.held[1].release()
    assert asker.order == [1, 2]
    asker.held[2].release()
    assert asker.order == [1, 2, 3]


def test_releasing_twice_does_nothing_the_second_time() -> None:
    """The next holder keeps what it got."""
    asker = Asker()
    asker.ask(1, "node/a!")
    asker.ask(2, "node/a!")
    asker.held[1].release()
    asker.held[1].release()
    assert asker.held[2].locks == locks_of("node/a!").shared(Level.CLUSTER, "BGL")
    asker.ask(3, "node/a!")
    assert asker.order == [1, 2]


def test_locks_can_be_dropped_early_one_by_one_or_by_level() -> None:
    """What was not held is left alone."""
    asker = Asker()
    asker.ask(1, "node/a! node/b! node_res/a!")
    asker.ask(2, "node/a!")
    asker.ask(3, "node/b!")
    asker.held[1].drop(Level.NODE, "a", "never")
    assert asker.order == [1, 2]
    asker.held[1].drop(Level.NODE)
    asker.held[1].drop(Level.NETWORK)
    assert asker.order == [1, 2, 3]
    assert asker.held[1].locks == locks_of("node_res/a!").shared(Level.CLUSTER, "BGL")


def test_an_exclusive_lock_can_be_shared_from_now_on() -> None:
    """Readers come in, writers still wait."""
    asker = Asker()
    asker.ask(1, "node/a!")
    asker.ask(2, "node/a")
    asker.ask(3, "node/a!")
    asker.held[1].share(Level.NODE)
    assert asker.order == [1, 2]
    asker.held[1].release()
    asker.held[2].release()
    assert asker.order == [1, 2, 3]


def test_a_canceled_waiter_gives_back_what_it_had_and_lets_others_pass() -> None:
    """The lower levels too."""
    asker = Asker()
    asker.ask(1, "node/a")
    asker.ask(2, "instance/i! node/a!")
    asker.ask(3, "node/a")
    asker.ask(4, "instance/i!")
    assert asker.order == [1]
    assert asker.manager.cancel(2)
    assert isinstance(asker.failed[2], WaitCanceled)
    assert sorted(asker.order) == [1, 3, 4]
    assert not asker.manager.cancel(2)
    assert not asker.manager.cancel(1)


def test_who_waits_long_becomes_more_urgent_down_to_the_limit() -> None:
    """One step for each half hour; the holder of the claim is told."""
    asker = Asker()
    told: list[int] = []
    asker.ask(1, "node/a!")
    asker.ask(2, "node/a!", priority=10).escalated = told.append
    asker.ask(3, "node/a!", priority=9)
    asker.clock.advance(PATIENCE - 1)
    assert told == []
    asker.clock.advance(1)
    assert told == [9]
    for _ in range(40):
        asker.clock.advance(PATIENCE)
    assert told == list(range(9, -21, -1))
    asker.held[1].release()
    assert asker.order == [1, 2], "older, and by now as urgent"


def test_no_timer_runs_when_nobody_waits() -> None:
    """A simulated cluster at rest has no events."""
    asker = Asker()
    asker.ask(1, "node/a!")
    asker.ask(2, "node/a!")
    assert len(asker.clock.getDelayedCalls()) == 1
    asker.held[1].release()
    assert asker.clock.getDelayedCalls() == []


def test_a_changed_priority_moves_a_waiter() -> None:
    """Up to the front."""
    asker = Asker()
    asker.ask(1, "node/a!")
    asker.ask(2, "node/a!")
    asker.ask(3, "node/a!")
    asker.manager.reprioritize(3, -10)
    asker.manager.reprioritize(1, 10)
    asker.held[1].release()
    assert asker.order == [1, 3]


def test_a_waiter_can_say_what_it_waits_for_and_its_place() -> None:
    """Which locks, who holds them, who is before it in line and how many those are."""
    asker = Asker()
    asker.ask(1, "node/a! node/b")
    asker.ask(2, "node/a")
    asker.ask(3, "node/a! node/b! node/c")
    assert asker.manager.explain(1) is None
    second, third = asker.manager.explain(2), asker.manager.explain(3)
    assert second is not None
    assert third is not None
    assert (second.locks, second.holders, second.place) == (("node/a",), ("Job1",), 1)
    assert (third.locks, third.holders, third.place) == (("node/a", "node/b"), ("Job1",), 2)
    assert (second.ahead, third.ahead) == ((), ("Job2",))


def test_a_waiter_behind_another_one_can_name_it() -> None:
    """Nobody holds the lock that it asks for, but who asked before needs that one too, and waits for a third."""
    asker = Asker()
    asker.ask(1, "node/b")
    asker.ask(2, "node/a! node/b!")
    asker.ask(3, "node/a!")
    third = asker.manager.explain(3)
    assert third is not None
    assert (third.locks, third.holders, third.ahead, third.place) == (("node/a",), (), ("Job2",), 2)


def test_the_snapshot_shows_holders_and_line() -> None:
    """For the lock query."""
    asker = Asker()
    asker.ask(1, "node/a")
    asker.ask(2, "node/a!")
    asker.ask(3, "node/a")
    facts = {fact.name: (fact.mode, fact.owners, fact.pending) for fact in asker.manager.snapshot()}
    assert facts == {
        "cluster/BGL": ("shared", ("Job1", "Job2", "Job3"), ()),
        "node/a": ("shared", ("Job1",), (("exclusive", ("Job2",)), ("shared", ("Job3",)))),
    }
    asker.held[1].release()
    asker.held[2].release()
    asker.held[3].release()
    assert asker.manager.snapshot() == []


def test_interrupted_opcodes_get_their_locks_again() -> None:
    """Before anybody asks; two that did not fit together are a fault of ours."""
    asker = Asker()
    held = asker.manager.retake(asker.manager.claim(1, "Job1", 0), locks_of("node/a!"))
    asker.ask(2, "node/a")
    assert asker.order == []
    with pytest.raises(AssertionError, match="node"):
        asker.manager.retake(asker.manager.claim(3, "Job3", 0), locks_of("instance/i! node/a"))
    asker.ask(4, "instance/i!")
    assert asker.order == [4], "what was taken before the fault is free again"
    held.release()
    assert asker.order == [4, 2]


def test_asking_for_nothing_takes_the_cluster_lock_shared() -> None:
    """As every opcode does."""
    asker = Asker()
    asker.ask(1, "")
    assert asker.held[1].locks == Locks().shared(Level.CLUSTER, "BGL")
