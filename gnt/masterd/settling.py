"""How an opcode that was cut off is settled: undone in reverse, or finished where there was no way back.

The same code serves a stage that failed while the master lives and one that a dead master left behind: what differs
is only how the outcomes of the calls are known. What cannot be settled because a node is away becomes its debt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import Enum
from itertools import groupby
from typing import Any, Protocol, TypeVar

import msgspec

from gnt.masterd.plan import Action
from gnt.masterd.segments import OpenRow, OpenSegment, OpenStep, StoredCall
from gnt.model.cluster import Kind
from gnt.model.errors import GntError, InDoubt, NodeFailure, NotReached, StaleEpoch
from gnt.model.objects import ConfigObject
from gnt.wire.calls import NodeCall
from gnt.wire.disk_calls import (
    DiskGrow,
    DiskPromote,
    MirrorAttach,
    MirrorConnect,
    MirrorDetach,
    MirrorDisconnect,
    MirrorPause,
)
from gnt.wire.guest_calls import GuestStart

R = TypeVar("R")

DONE = "done"
FAILED = "failed"
IN_DOUBT = "in_doubt"
UNKNOWN = "unknown"

# Such a call has made nothing that could be undone: something else is in its place, a program is missing, the first
# question to the back end had no answer. Undoing it would fail for the same reason, and be owed in vain.
NOTHING_MADE = frozenset({"exists", "missing_program", "not_begun"})
# Disks that are not set up any more, after their machine lost power: nothing can be taken back of what was done with
# them, and a guest that runs from them is for its next start, or for the watcher.
NOTHING_THERE = "not_found"
_OF_WHAT_IS_SET_UP = (GuestStart, DiskPromote, MirrorAttach, MirrorConnect, MirrorDetach, MirrorDisconnect, MirrorPause)


class Debt(msgspec.Struct, frozen=True, kw_only=True):
    """What a node owes: a call to make when it is back, and what the model then loses.

    `opcode` is "<job>/<index>": when the last debt of an opcode is paid, its `reserved` objects are dropped.
    A debt without a call is a question: `rows` are settled anew, with what was known (`outcomes`). Objects that are not
    in the version of `serials` any more are left as they are. A `tolerant` call may fail: then that is its end.
    `instances` are the names of those that the opcode had locked: `gnt.masterd.owing` has what comes of that.
    `turn` is its place among the debts of its opcode: what is undone is undone in reverse, whenever it is paid.
    """

    opcode: str
    node: str
    id: str
    text: str
    call: StoredCall | None = None
    tolerant: bool = False
    reserved: list[tuple[Kind, str]] = []
    rows: list[OpenRow] = []
    outcomes: dict[str, str] = {}
    serials: dict[str, int] = {}
    instances: list[str] = []
    turn: int = 0


def is_moot(call: StoredCall, failure: GntError) -> bool:
    """Say whether a call that is owed failed because what it is about is not set up any more."""
    gone = isinstance(failure, NodeFailure) and failure.code == NOTHING_THERE
    # A mirror that is set up again takes the size that its volumes have by then.
    grows = isinstance(call.call, DiskGrow) and not call.call.backing
    return gone and (grows or isinstance(call.call, _OF_WHAT_IS_SET_UP))


class Calls(Protocol):
    """What settling needs of the connections to the nodes."""

    async def call(self, node: str, call: NodeCall[R], *, id: str | None = None) -> R:  # noqa: A002
        """Make a call; raises `NotReached`, `InDoubt`, `NodeFailure` or `StaleEpoch`."""

    async def meet(self, name: str, address: str, call: NodeCall[R]) -> R:
        """Make a reading call, over a connection of its own, to a node that is not in the model."""


Settler = Callable[[Calls, Mapping[str, Any]], Awaitable[bool]]
SETTLERS: dict[str, Settler] = {}


def settles(name: str) -> Callable[[Settler], Settler]:
    """Register how an uncertain step is found out; the function says whether the step has happened.

    It raises `NotReached` or `InDoubt` if the nodes that know cannot be asked now.
    """

    def register(settler: Settler) -> Settler:
        SETTLERS[name] = settler
        return settler

    return register


class Recorded(Enum):
    """How much of what an opcode was to change stands in the model once it is settled."""

    NOTHING = "nothing"
    PART = "part"
    ALL = "all"


class Settlement(msgspec.Struct, kw_only=True):
    """What settling an opcode came to: lines for people, objects to commit, debts to write down.

    `traces`: something of what it did on the nodes is there that the model does not have, or may be.
    """

    recorded: Recorded = Recorded.NOTHING
    traces: bool = False
    said: list[str] = []
    keep: list[ConfigObject] = []
    forget: list[ConfigObject] = []
    drop: list[ConfigObject] = []
    debts: list[Debt] = []

    def text(self) -> str:
        """Give the lines as one, for the end of an error."""
        return joined(self.said)


def joined(lines: Sequence[str]) -> str:
    """Give lines as one; what is said of several disks alike is said once."""
    alike = ((line, len(list(same))) for line, same in groupby(lines))
    return "; ".join(line if count == 1 else f"{line} ×{count}" for line, count in alike)  # noqa: RUF001


def _all_onward(segment: OpenSegment) -> bool:
    return all(step.onward for step in segment.steps)


class _Reached(Enum):
    """Where finishing a segment led: to its milestone, back to where it must be undone, or to a wait."""

    MILESTONE = "milestone"
    BACK = "back"
    WAITING = "waiting"


class Settling:
    """Settles one opcode. `name_of` gives a node's name for people; `outcomes` maps call ids to how they ended.

    `owing`: nodes that owe something of this opcode already, which comes first; `turn`: the place of what is owed now.
    """

    def __init__(
        self,
        opcode: str,
        calls: Calls,
        name_of: Callable[[str], str],
        outcomes: Mapping[str, str],
        *,
        owing: Collection[str] = (),
        turn: int = 0,
    ) -> None:
        self._opcode = opcode
        self._calls = calls
        self._name_of = name_of
        self._outcomes = outcomes
        self._owing = set(owing)
        self._turn = turn
        self._result = Settlement()
        self._rows: Sequence[OpenRow] = ()

    async def settle(self, rows: Sequence[OpenRow]) -> Settlement:
        """Settle all open rows of the opcode, the latest first; one that goes onward keeps those before it."""
        for index in reversed(range(len(rows))):
            self._rows = rows[: index + 1]
            if rows[index].kept:
                self._result.recorded = Recorded.PART
            if await self._settle_row(rows[index]) is not _Reached.BACK:
                break
        return self._result

    async def _settle_row(self, row: OpenRow) -> _Reached:
        if not row.segments:
            self._at_its_end(row)
            return _Reached.MILESTONE
        opened, later = row.segments[0], row.segments[1:]
        onward = self._began_onward(opened) or (row.kept and _all_onward(opened))
        end = await self._finish(opened) if onward else _Reached.BACK
        if end is _Reached.BACK:
            await self._undo(opened)
        for segment in later if end is _Reached.MILESTONE else ():
            if not _all_onward(segment) or await self._finish(segment) is not _Reached.MILESTONE:
                break
        else:
            if end is _Reached.MILESTONE:
                self._at_its_end(row)
        return end

    def _at_its_end(self, row: OpenRow) -> None:
        if row.last:
            self._result.recorded = Recorded.ALL

    def _began_onward(self, segment: OpenSegment) -> bool:
        """Say whether the point of no return was passed: an onward step was begun and did not plainly fail."""
        return any(step.onward and self._outcome(step) in {DONE, IN_DOUBT} for step in segment.steps)

    def _outcome(self, step: OpenStep) -> str:
        return self._outcomes.get(step.id, UNKNOWN)

    async def _finish(self, segment: OpenSegment) -> _Reached:
        """Finish the onward steps of a segment, and keep what it leads to."""
        for step in segment.steps:
            if not step.onward or self._outcome(step) == DONE:
                continue
            if self._outcome(step) == FAILED and step.forward is not None:
                if not step.tolerant:
                    self._result.traces = True
                    return _Reached.WAITING
                if step.until_done:
                    self._owe(step, step.forward, f"finish {step.name}: the node could not")
                continue
            end = await (self._settle_uncertain(step) if step.settle else self._go_on(step))
            if end is not _Reached.MILESTONE:
                self._result.traces |= end is _Reached.WAITING
                return end
        if segment.keep or segment.forget:
            self._result.recorded = Recorded.PART
        elif segment.steps:
            self._result.traces = True
        self._result.keep.extend(stored.load() for stored in segment.keep)
        self._result.forget.extend(stored.load() for stored in segment.forget)
        return _Reached.MILESTONE

    async def _settle_uncertain(self, step: OpenStep) -> _Reached:
        if self._outcome(step) == UNKNOWN:
            return _Reached.BACK
        try:
            happened = await SETTLERS[step.settle](self._calls, step.arguments)
        except (NotReached, InDoubt) as error:
            self._ask_later(step, f"find out whether {step.name} has happened: {error}")
            self._result.said.append(f"not known yet: {step.name} on {self._name_of(step.node)}: {error}")
            return _Reached.WAITING
        said = "has happened" if happened else "has not happened"
        self._result.said.append(f"{step.name} {said}, as the nodes say")
        return _Reached.MILESTONE if happened else _Reached.BACK

    async def _go_on(self, step: OpenStep) -> _Reached:
        assert step.forward is not None  # noqa: S101  (an onward step is uncertain or forward)
        failure = await self._try(step.forward.action(), f"{step.id}/finish", owed=step.owed)
        where = f"{step.name} on {self._name_of(step.node)}"
        if failure is None:
            self._result.said.append(f"finished: {where}")
            return _Reached.MILESTONE
        self._result.said.append(f"not finished: {where}: {failure}")
        if not step.owed or (isinstance(failure, NodeFailure) and not step.until_done):
            return _Reached.MILESTONE if step.tolerant else _Reached.WAITING
        self._owe(step, step.forward, f"finish {step.name}: {failure}")
        return _Reached.MILESTONE

    async def _undo(self, segment: OpenSegment) -> None:
        """Undo what was begun, in reverse; then what was reserved goes, unless a node that is away still owes."""
        owed = len(self._result.debts)
        for step in reversed(segment.steps):
            if self._outcome(step) == UNKNOWN:
                continue
            if step.undo is None:
                # An uncertain step has been found not to have happened, or else this would not be undone.
                self._result.traces |= not (step.settle and self._outcome(step) == IN_DOUBT)
                continue
            failure = await self._try(step.undo.action(), f"{step.id}/undo")
            where = f"{step.name} on {self._name_of(step.node)}"
            if failure is None or is_moot(step.undo, failure):
                self._result.said.append(f"undone: {where}")
            else:
                self._result.traces = True
                self._result.said.append(f"not undone yet: {where}: {failure}")
                self._owe(step, step.undo, f"undo {step.name}: {failure}")
        reserved = [stored.load() for stored in segment.reserved]
        new_debts = self._result.debts[owed:]
        if not new_debts:
            self._result.drop.extend(reserved)
            return
        held = [(stored.kind, obj.uuid) for stored, obj in zip(segment.reserved, reserved, strict=True)]
        self._result.debts[owed:] = [msgspec.structs.replace(debt, reserved=held) for debt in new_debts]

    async def _try(self, action: Action, call_id: str, *, owed: bool = True) -> GntError | None:
        """Make a call; gives why it is not done. What is `owed` waits for what its node owes already, in order.

        One undo that is lost, and the next one done, could leave a volume under the name of another.
        """
        if owed and action.node in self._owing:
            return NotReached("what it owes comes first")
        try:
            await self._calls.call(action.node, action.call, id=call_id)
        except StaleEpoch:
            raise
        except (NotReached, InDoubt) as error:
            if owed:
                self._owing.add(action.node)
            return error
        except GntError as error:
            return error
        return None

    def _owe(self, step: OpenStep, call: StoredCall, text: str) -> None:
        """Note a call that is to be made when its node is back."""
        tolerant = step.tolerant and not step.until_done
        bare = Debt(opcode=self._opcode, node=call.node, id=step.id, text=text, call=call, tolerant=tolerant)
        self._result.debts.append(msgspec.structs.replace(bare, turn=self._turn + len(self._result.debts)))

    def _ask_later(self, step: OpenStep, text: str) -> None:
        """Note a question; this row and those before it are settled when it is answered."""
        known = {one.id: self._outcome(one) for row in self._rows for segment in row.segments for one in segment.steps}
        rows = list(self._rows)
        bare = Debt(opcode=self._opcode, node=step.node, id=step.id, text=text, rows=rows, outcomes=known)
        self._result.debts.append(msgspec.structs.replace(bare, turn=self._turn + len(self._result.debts)))
