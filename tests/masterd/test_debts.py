"""When nodes pay what they owe."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from gnt.daemon.runtime import Runtime
from gnt.masterd.debts import AGAIN, DebtCollector
from gnt.masterd.paying import Payment
from gnt.model.errors import GntError, NoMajority, NotReached
from gnt.store.changes import Put, Remove, Space


class Debtors:
    """Nodes that are there or not, and pay or not."""

    def __init__(self) -> None:
        self.clock = Clock()
        runtime = Runtime(clock=self.clock, pools=_no_pools, random=random.Random(1))  # noqa: S311
        self.away: dict[str, list[Deferred[None]]] = {}
        self.gone: set[str] = set()
        self.asked: list[str] = []
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


def test_a_node_that_left_the_cluster_is_not_waited_for(debtors: Debtors) -> None:
    """Its debt stays in the store."""
    debtors.gone.add("a")
    debtors.collector.start(["a/1/1"])
    assert debtors.asked == []


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
    assert debtors.asked == []


def test_a_stop_ends_all_waiting(debtors: Debtors) -> None:
    """Nothing is left that could fire."""
    debtors.away["a"] = []
    debtors.answers = [NoMajority("alone")]
    debtors.collector.start(["a/1/1", "b/1/1"])
    debtors.collector.stop()
    assert debtors.clock.getDelayedCalls() == []
    debtors.collector.start(["c/1/1"])
    assert debtors.asked == ["b"]
