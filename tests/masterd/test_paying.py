"""In which order nodes pay what they owe."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred

from gnt.masterd.paying import Payer, Payment, debt_key, in_turn
from gnt.masterd.plan import on
from gnt.masterd.segments import OpenRow, OpenSegment, OpenStep, StoredCall
from gnt.masterd.settling import IN_DOUBT, Calls, Debt, Settlement, Settling
from gnt.model.errors import GntError, InDoubt, NodeFailure, NotReached
from gnt.store.changes import Space
from gnt.wire.calls import BridgeCheck
from tests.masterd.fakes import Journal, cluster_of_three


class NobodyThere:
    """Connections to nodes none of which can be reached."""

    async def call(self, node: str, call: Any, *, id: str | None = None) -> Any:
        """Reach nobody."""
        raise NotReached("no connection")

    async def meet(self, name: str, address: str, call: Any) -> Any:
        """Reach nobody."""
        raise NotReached("no connection")


def settled(*rows: OpenRow) -> Settlement:
    """Settle rows while no node can be reached."""
    return settle_with(NobodyThere(), *rows)


def settle_with(calls: Calls, *rows: OpenRow) -> Settlement:
    """Settle rows all of whose calls are in doubt."""
    settling = Settling("7/0", calls, str, {step.id: IN_DOUBT for row in rows for step in row.segments[0].steps})
    found: list[Settlement] = []
    Deferred.fromCoroutine(settling.settle(rows)).addCallback(found.append)
    return found[0]


def undoable(number: int) -> OpenStep:
    """Give a step that was begun, the so-manieth of its opcode, with a call that undoes it."""
    undo = StoredCall.of(on("node-2", BridgeCheck(bridges=[f"br{number}"])))
    return OpenStep(id=f"7/0/1/{number}", node="node-2", name="bridge_check", undo=undo)


def test_what_is_undone_later_is_undone_in_reverse_too() -> None:
    """A volume that has got another's name gives it back before the other takes it: the last step first."""
    row = OpenRow(segments=[OpenSegment(steps=[undoable(number) for number in range(12)])])
    owed = {debt_key(debt): debt for debt in settled(row).debts}
    stored = dict(sorted(owed.items()))
    assert [debt.id for _, debt in in_turn(stored)] == [f"7/0/1/{number}" for number in reversed(range(12))]


class OneIsLost:
    """Connections over which one call is lost, the so-manieth; the others are noted."""

    def __init__(self, lost: int, error: GntError) -> None:
        self.lost, self.error = lost, error
        self.count = 0
        self.made: list[tuple[str, str]] = []

    async def call(self, node: str, call: Any, *, id: str | None = None) -> Any:
        """Make it, or lose it."""
        self.count += 1
        if self.count == self.lost:
            raise self.error
        self.made.append((node, call.bridges[0]))

    async def meet(self, name: str, address: str, call: Any) -> Any:
        """Reach nobody."""
        raise NotReached("no connection")


def on_nodes(*nodes: str) -> OpenRow:
    """Give a row of steps that were begun, one on each of these nodes."""
    steps = [
        msgspec.structs.replace(
            undoable(number), node=node, undo=StoredCall.of(on(node, BridgeCheck(bridges=[f"br{number}"])))
        )
        for number, node in enumerate(nodes)
    ]
    return OpenRow(segments=[OpenSegment(steps=steps)])


LOST = [NotReached("no connection"), InDoubt("the answer was lost")]


@pytest.mark.parametrize("error", LOST)
def test_after_an_undo_that_is_lost_its_node_owes_the_rest(error: GntError) -> None:
    """What comes back in order must not be half done: other nodes go on."""
    calls = OneIsLost(2, error)
    row = on_nodes("a", "b", "a", "b", "a")
    settlement = settle_with(calls, row)
    assert calls.made == [("a", "br4"), ("a", "br2"), ("a", "br0")]
    assert [(debt.node, debt.id, debt.turn) for debt in settlement.debts] == [("b", "7/0/1/3", 0), ("b", "7/0/1/1", 1)]
    assert "not undone yet: bridge_check on b: what it owes comes first" in settlement.said


def test_an_undo_that_plainly_fails_holds_nothing_back() -> None:
    """The node is there and has said no: what is left to undo is another matter, and is not kept for it."""
    calls = OneIsLost(1, NodeFailure("busy", "in use"))
    settlement = settle_with(calls, on_nodes("a", "a", "a"))
    assert calls.made == [("a", "br1"), ("a", "br0")]
    assert [debt.id for debt in settlement.debts] == ["7/0/1/2"]


class Books(Journal):
    """A journal with debts of two opcodes of one node."""

    def __init__(self) -> None:
        super().__init__(cluster_of_three())
        for opcode, number in (("7/0", 0), ("7/0", 1), ("8/0", 0)):
            call = StoredCall.of(on("a", BridgeCheck(bridges=[f"{opcode}:{number}"])))
            debt = Debt(opcode=opcode, node="a", id=f"{opcode}/1/{number}", text="undo", call=call, turn=number)
            self.rows_[Space.DEBT, debt_key(debt)] = msgspec.json.encode(debt)


@pytest.mark.parametrize("error", LOST)
@pytest.mark.parametrize("first", [False, True])
def test_after_a_payment_that_is_lost_the_opcode_waits(error: GntError, first: bool) -> None:
    """The rest of that opcode on that node stays owed, in order; others pay."""
    books, calls = Books(), OneIsLost(1, error)
    payer = Payer(books, books, calls, str)
    if first:
        for key, value in list(books.rows_.items()):
            debt = msgspec.json.decode(value, type=Debt)
            books.rows_[key] = msgspec.json.encode(msgspec.structs.replace(debt, instances=["web1"]))
    found: list[Payment] = []
    Deferred.fromCoroutine(payer.pay_first(["web1"]) if first else payer.pay("a")).addCallback(found.append)
    assert calls.made == [("a", "8/0:0")]
    assert [text.partition(":")[0] for text in found[0].open] == ["undo", "undo"]
    assert sorted(key for _, key in books.rows_) == ["a/7/0/1/0", "a/7/0/1/1"]


def test_opcodes_pay_one_after_the_other() -> None:
    """Those of the older job first; what an opcode has to finish comes in the order of its steps."""
    ids = ["9/0/0/2", "9/0/0/10", "10/0/0/1"]
    debts = [Debt(opcode="/".join(each.split("/")[:2]), node="node-2", id=each, text="finish it") for each in ids]
    assert [debt.id for _, debt in in_turn(dict(sorted((debt_key(debt), debt) for debt in debts)))] == ids


def test_what_is_paid_is_the_doing_of_the_job_that_left_it() -> None:
    """The history of what was reserved names that job, though it has ended long ago."""
    books, calls = Books(), OneIsLost(0, NotReached("never"))
    Deferred.fromCoroutine(Payer(books, books, calls, str).pay("a"))
    assert books.jobs == [7, 7, 8]
