"""A master that dies at any moment of an operation, and one that settles what it left.

`crashes` runs a story once for each commit, call and answer of an operation: it dies there, another engine recovers,
and the caller looks at what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from twisted.internet.defer import ensureDeferred

from gnt.masterd.engine import Engine
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
