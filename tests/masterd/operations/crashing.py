"""A master that dies at any moment of an operation, and one that settles what it left.

`crashes` runs a story once for each commit, call and answer of an operation: it dies there, another engine recovers,
and the caller looks at what is left. `lost_undos` has a call fail and one of those that undo the rest be lost: what is
owed then is paid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from twisted.internet.defer import ensureDeferred

from gnt.masterd.engine import Engine
from gnt.model.errors import InDoubt, NodeFailure, NotReached
from gnt.store.changes import Space
from gnt.wire.calls import NodeCall
from tests.masterd.fakes import Run
from tests.masterd.operations.ground import Ground

G = TypeVar("G", bound=Ground)


class Dead(BaseException):
    """The master died here."""


def crashes(
    make: Callable[[], G], op_id: str, *, after: bool, recovers: bool = True, **parameters: Any
) -> Iterator[tuple[int, G]]:
    """Give what is left after a death at the first, second, … moment, until the operation ends before it.

    `after`: calls have their effect, but the answer is lost; else they never leave.
    """
    moment = 0
    while True:
        ground = make()
        ground.nodes.outcomes.clear()  # all jobs here have one number
        moment += 1
        if _runs_to_the_end(ground, moment, after, op_id, parameters):
            return
        if recovers:
            _recover(ground)
        yield moment, ground


def lost_undos(
    make: Callable[[], G], op_id: str, *, after: bool, **parameters: Any
) -> Iterator[tuple[tuple[int, int], G]]:
    """Give what is left when a call failed, one of those that settle it was lost, and the nodes have paid.

    For each call that fails and each that is lost, counted from 1. `after`: a lost call has its effect.
    """
    failing = lost = 1
    while True:
        ground = make()
        ground.nodes.outcomes.clear()  # all jobs here have one number
        script = _Script(ground, failing, lost, after)
        end = ground.run(op_id, **parameters)
        script.over = True
        if script.made < failing:
            return
        if end.error is None or script.settled < lost:
            # It was borne, or there are no more calls to be lost.
            failing, lost = failing + 1, 1
            continue
        _pay(ground)
        yield (failing, lost), ground
        lost += 1


class _Script:
    """Has one changing call of an operation plainly fail, and one of those that follow be lost."""

    def __init__(self, ground: Ground, failing: int, lost: int, after: bool) -> None:
        self.made = self.settled = 0
        self.over = False
        self._plain = ground.nodes.call
        self._failing, self._lost, self._after = failing, lost, after
        ground.nodes.call = self.call  # type: ignore[method-assign]

    async def call(self, node: str, call: NodeCall[Any], *, id: str | None = None) -> Any:
        """Make a call, or not."""
        if self.over or not call.CHANGES:
            return await self._plain(node, call, id=id)
        if self.made < self._failing:
            self.made += 1
            if self.made == self._failing:
                raise NodeFailure("busy", "it fails here")
            return await self._plain(node, call, id=id)
        self.settled += 1
        if self.settled != self._lost:
            return await self._plain(node, call, id=id)
        if not self._after:
            raise NotReached("it is lost here")
        await self._plain(node, call, id=id)
        raise InDoubt("its answer is lost here")


def _pay(ground: Ground) -> None:
    """Have every node pay all that it owes."""
    for node in ground.journal.head.nodes:
        paid: list[Any] = []
        ensureDeferred(ground.engine.pay(node)).addBoth(paid.append)
        assert paid, "paying waits for something"
        if hasattr(paid[0], "raiseException"):
            paid[0].raiseException()
        assert paid[0].open == []
    left = [key for space, key in ground.journal.rows_ if space in {Space.UNDO, Space.DEBT}]
    assert left == [], left


def _runs_to_the_end(ground: Ground, moment: int, after: bool, op_id: str, parameters: dict[str, Any]) -> bool:
    passed = 0

    def passing() -> None:
        nonlocal passed
        passed += 1
        if passed == moment:
            raise Dead

    plain = ground.nodes.call

    async def call(node: str, call: NodeCall[Any], *, id: str | None = None) -> Any:
        if call.CHANGES and not after:
            passing()
        try:
            return await plain(node, call, id=id)
        finally:
            if call.CHANGES and after:
                passing()

    ground.nodes.call = call  # type: ignore[method-assign]
    ground.journal.on_commit = passing
    try:
        end = ground.run(op_id, **parameters)
    except Dead:
        return False
    finally:
        ground.nodes.call = plain  # type: ignore[method-assign]
        ground.journal.on_commit = lambda: None
    assert end.error is None, end.error
    return True


def _recover(ground: Ground) -> None:
    """Have another engine settle what is open; what ended is ended."""
    if ground.journal.rows_.get((Space.JOB, "7")) == b"ended":
        return
    ended: list[Any] = []
    run = Run(ground.last)
    ensureDeferred(Engine(ground.tools).recover(run)).addBoth(ended.append)
    assert ended, "recovery waits for something"
    if hasattr(ended[0], "raiseException"):
        ended[0].raiseException()
    left = [key for space, key in ground.journal.rows_ if space in {Space.UNDO, Space.DEBT}]
    assert left == [], left
