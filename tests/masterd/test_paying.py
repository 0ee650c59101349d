"""In which order nodes pay what they owe."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from gnt.masterd.paying import debt_key, in_turn
from gnt.masterd.plan import on
from gnt.masterd.segments import OpenRow, OpenSegment, OpenStep, StoredCall
from gnt.masterd.settling import IN_DOUBT, Debt, Settlement, Settling
from gnt.model.errors import NotReached
from gnt.wire.calls import BridgeCheck


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
    settling = Settling(
        "7/0", NobodyThere(), str, {step.id: IN_DOUBT for row in rows for step in row.segments[0].steps}
    )
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


def test_opcodes_pay_one_after_the_other() -> None:
    """Those of the older job first; what an opcode has to finish comes in the order of its steps."""
    ids = ["9/0/0/2", "9/0/0/10", "10/0/0/1"]
    debts = [Debt(opcode="/".join(each.split("/")[:2]), node="node-2", id=each, text="finish it") for each in ids]
    assert [debt.id for _, debt in in_turn(dict(sorted((debt_key(debt), debt) for debt in debts)))] == ids
