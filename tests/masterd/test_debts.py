"""When nodes pay what they owe."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock

from gnt.daemon.runtime import Runtime
from gnt.masterd.debts import AGAIN, DebtCollector, DebtLocks
from gnt.masterd.jobs.locks import LockManager
from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.paying import Payment
from gnt.model.errors import GntError, NoMajority, NotReached
from gnt.store.changes import Put, Remove, Space
from tests.masterd.fakes import cluster_of_three

CLUSTER, OTHER = cluster_of_three(), cluster_of_three(cluster_name="other.example.com")


def done(coroutine: Any) -> Any:
    """Give the result of a coroutine that waits for nothing."""
    result: list[Any] = []
    ensureDeferred(coroutine).addBoth(result.append)
    assert result, "it waits for something"
    return result[0]


class Debtors:
    """Nodes that are there or not, and pay or not."""

    def __init__(self) -> None:
        self.clock = Clock()
        runtime = Runtime(clock=self.clock, pools=_no_pools, random=random.Random(1))  # noqa: S311
        self.away: dict[str, list[Deferred[None]]] = {}
        self.gone: set[str] = set()
        self.asked: list[str] = []
        self.forgiven: list[str] = []
        self.trouble: GntError | None = None
        self.answers: list[Payment | GntError] = []
        self.collector = DebtCollector(runtime, self, self)

    def when_connected(self, node: str) -> Deferred[None]:
        """Fire when it is there."""
        if node in self.gone:
            return fail(NotReached("not a node of this cluster"))
        if node not in self.away:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self.away[node].append(waiting)
        return waiting

    async def pay(self, node: str) -> Payment:
        """Pay, or not."""
        self.asked.append(node)
        answer = self.answers.pop(0) if self.answers else Payment(["it"], [])
        if isinstance(answer, GntError):
            raise answer
        return answer

    async def forgive(self, node: str) -> list[str]:
        """Drop what it owes."""
        if isinstance(self.trouble, GntError):
            raise self.trouble
        self.forgiven.append(node)
        return ["it"]

    def back(self, node: str) -> None:
        """Have a node back."""
        for waiting in self.away.pop(node):
            waiting.callback(None)


def _no_pools(name: str) -> Callable[..., None]:
    raise AssertionError(name)


@pytest.fixture
def debtors() -> Debtors:
    """Give nodes that are all there."""
    return Debtors()


def test_debts_in_the_store_are_collected_at_the_start(debtors: Debtors) -> None:
    """Each node is asked once, however many debts it has."""
    debtors.collector.start(["a/1/1", "a/1/2", "b/7/1"])
    assert debtors.asked == ["a", "b"]


def test_a_node_that_is_away_pays_when_it_is_back(debtors: Debtors) -> None:
    """Once, for all that came together meanwhile."""
    debtors.away["a"] = []
    debtors.collector.start(["a/1/1"])
    debtors.collector.committed(None, [Put(Space.DEBT, "a/2/1", b""), Remove(Space.DEBT, "b/1/1")])
    assert debtors.asked == []
    debtors.back("a")
    assert debtors.asked == ["a"]


@pytest.mark.parametrize("first", [Payment([], ["remove disk 0: busy"]), NoMajority("alone")])
def test_what_stays_open_is_tried_again(debtors: Debtors, first: Payment | GntError) -> None:
    """After a while, not at once, and then no more."""
    debtors.answers = [first]
    debtors.collector.committed(None, [Put(Space.DEBT, "a/1/1", b"")])
    assert debtors.asked == ["a"]
    debtors.clock.advance(AGAIN)
    assert debtors.asked == ["a", "a"]
    assert debtors.clock.getDelayedCalls() == []


def test_a_node_that_died_while_it_paid_is_asked_again_as_soon_as_it_is_back(debtors: Debtors) -> None:
    """The return of the node ends the pause before the next try; of one that owes nothing it begins none."""
    debtors.answers = [Payment([], ["remove disk 0: the connection was lost"])]
    debtors.collector.committed(None, [Put(Space.DEBT, "a/1/1", b"")])
    debtors.collector.returned("b")
    assert debtors.asked == ["a"]
    debtors.collector.returned("a")
    assert debtors.asked == ["a", "a"]
    assert debtors.clock.getDelayedCalls() == []


def test_a_node_that_left_the_cluster_is_let_off(debtors: Debtors) -> None:
    """Nobody waits for it: what it owes is dropped."""
    debtors.gone.add("a")
    debtors.collector.start(["a/1/1"])
    assert (debtors.asked, debtors.forgiven) == ([], ["a"])


def test_what_cannot_be_dropped_now_is_dropped_at_the_next_start(debtors: Debtors) -> None:
    """It stays in the store, and nobody tries for ever."""
    debtors.gone.add("a")
    debtors.trouble = NoMajority("alone")
    debtors.collector.start(["a/1/1"])
    assert debtors.forgiven == []
    assert debtors.clock.getDelayedCalls() == []


def test_a_node_that_leaves_between_two_tries_is_let_off_at_once(debtors: Debtors) -> None:
    """The removal of the node ends the pause before the next try."""
    debtors.answers = [Payment([], ["remove disk 0: busy"])]
    debtors.collector.committed(None, [Put(Space.DEBT, "a/1/1", b"")])
    debtors.gone.add("a")
    debtors.collector.committed(None, [Remove(Space.OBJECT, "node/a")])
    assert (debtors.asked, debtors.forgiven) == (["a"], ["a"])
    assert debtors.clock.getDelayedCalls() == []


def test_a_node_that_moves_while_it_is_waited_for_pays_at_its_new_place(debtors: Debtors) -> None:
    """The wait for the old link fails, and that is not the end."""
    debtors.away["a"] = []
    debtors.collector.start(["a/1/1"])
    for _ in range(2):
        (old,), debtors.away["a"] = debtors.away["a"], []
        old.errback(NotReached("the link to a was closed"))
    debtors.back("a")
    assert debtors.asked == ["a"]


def test_a_node_that_leaves_while_it_is_waited_for_is_let_go(debtors: Debtors) -> None:
    """Asking again says at once that it is no node any more."""
    debtors.away["a"] = []
    debtors.collector.start(["a/1/1"])
    debtors.gone.add("a")
    debtors.away["a"].pop().errback(NotReached("the link to a was closed"))
    assert (debtors.asked, debtors.forgiven) == ([], ["a"])


def test_payments_stand_in_line_for_locks_before_jobs_and_ask_again() -> None:
    """The names are computed anew after the grant: a renamed instance is locked under its new name."""
    locks, models = LockManager(Clock()), [CLUSTER]
    line = DebtLocks(locks, lambda: models[0])
    mine = done(locks.acquire(locks.claim(1, "job1", 0), Locks().exclusive(Level.INSTANCE, "cluster.example.com")))
    job: list[Any] = []
    pay: list[Any] = []
    ensureDeferred(
        locks.acquire(locks.claim(2, "job2", 0), Locks().exclusive(Level.INSTANCE, "cluster.example.com"))
    ).addBoth(job.append)
    names = lambda cluster: Locks().exclusive(Level.INSTANCE, cluster.settings.cluster_name)  # noqa: E731
    ensureDeferred(line.acquire("debt of node1", names)).addBoth(pay.append)
    models[0] = OTHER
    mine.release()
    [held] = pay
    assert {lock.name for lock in held.locks.wanted if lock.level is Level.INSTANCE} == {"other.example.com"}
    assert len(job) == 1  # what the payment did not want after all, the job has


def test_a_stop_ends_waiting_for_locks() -> None:
    """And nothing stays locked."""
    locks = LockManager(Clock())
    line = DebtLocks(locks, lambda: CLUSTER)
    mine = done(locks.acquire(locks.claim(1, "job1", 0), Locks().whole_cluster()))
    pay: list[Any] = []
    ensureDeferred(line.acquire("debt", lambda _: Locks().exclusive(Level.INSTANCE, "web1"))).addBoth(pay.append)
    line.stop()
    assert pay[0].check(CancelledError)
    mine.release()
    assert locks.snapshot() == []


def test_a_stop_ends_all_waiting(debtors: Debtors) -> None:
    """Nothing is left that could fire."""
    debtors.away["a"] = []
    debtors.answers = [NoMajority("alone")]
    debtors.collector.start(["a/1/1", "b/1/1"])
    debtors.collector.stop()
    assert debtors.clock.getDelayedCalls() == []
    debtors.collector.start(["c/1/1"])
    assert debtors.asked == ["b"]
