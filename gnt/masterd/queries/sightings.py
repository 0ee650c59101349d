"""What nodes were seen to be like: asked once, shared by all queries of the same second, never older.

A question to a node is a *sighting*. It counts from the moment in which it was sent: what comes back was observed then
or later. A query that begins within `FRESH` seconds shares it; one that begins later has the node asked anew, unless
the answer is still under way: then it waits for that one. So a node that is slow has one question of a kind to work on,
however many look, and is not made slower by them.

Whatever the master does to a node ends its sightings: who has waited for a job sees what the job did. What was under
way then is answered first, and its answer serves only those who asked before; the next question is sent after it.

A node that stays silent costs the queries which run at that moment their whole patience, and those that come later only
a moment (`GRACE`), until it has answered again. A question that nobody waits for any more goes on until its own
deadline, so a node that comes back is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from gnt.daemon.runtime import Clock
from gnt.model.errors import GntError, InDoubt
from gnt.wire.calls import NodeCall, NodeInfo, OsList
from gnt.wire.contract import GuestChanged, NodeEvent
from gnt.wire.disk_calls import ProviderList
from gnt.wire.guest_calls import GuestList
from gnt.wire.offer_calls import ExportList

R = TypeVar("R")

PATIENCE: Final = 5.0
"""Seconds that a query waits for nodes; who has not answered by then is shown without data."""

FRESH: Final = 1.0
"""Seconds for which an answer serves, from the moment in which it was asked for."""

GRACE: Final = 0.25
"""Seconds that are given to a node which was silent the last time."""

SHARED: Final = (GuestList, NodeInfo, OsList, ProviderList, ExportList)
"""Calls that many queries make alike; all of them only read."""


class Calls(Protocol):
    """What queries need of the connections to the nodes."""

    async def call(self, node: str, call: NodeCall[R], *, deadline: float | None = None) -> R:
        """Make a call that is given up after `deadline` seconds. Raises `GntError`."""


class _Sighting:
    """One question to one node, and who waits for the answer. `answer` is a value or an error once it has ended.

    `begun`: when it was sent, None before its turn has come; `outdated`: something has changed since then; `next`: the
    same question once more, which waits for this one to end.
    """

    def __init__(self, call: NodeCall[Any]) -> None:
        self.call = call
        self.begun: float | None = None
        self.outdated = False
        self.next: _Sighting | None = None
        self.ended = False
        self.answer: Any = None
        self.fault: Failure | None = None
        self._waiting: list[Deferred[None]] = []

    def serves(self, now: float) -> bool:
        """Say whether a query that begins now may share it."""
        if self.outdated or self.fault is not None:
            return False
        return not self.ended or (self.begun is not None and 0 <= now - self.begun <= FRESH)

    def changed(self) -> None:
        """Serve no later query, unless it is still to be sent."""
        self.outdated = self.begun is not None

    def had(self, patience: float, now: float) -> bool:
        """Say whether it has no answer after so many seconds, without those in which it waited for its turn."""
        return not self.ended and self.begun is not None and self.begun + patience <= now

    @property
    def awaited(self) -> bool:
        """Say whether anybody still waits for the answer."""
        return any(not one.called for one in self._waiting)

    def end(self, answer: Any) -> None:
        """Take the answer; a failure that is no error of the family is a fault of ours, and everybody's."""
        self.ended = True
        if not isinstance(answer, Failure):
            self.answer = answer
        elif isinstance(answer.value, GntError):
            self.answer = answer.value
        else:
            self.fault = answer
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:  # who has run out of patience heard that already
                one.callback(None)

    def wait(self) -> Deferred[None]:
        """Fire when the answer is there; may be cancelled."""
        waiting: Deferred[None] = Deferred(lambda this: self._waiting.remove(this))  # noqa: PLW0108  (another list by then)
        self._waiting.append(waiting)
        return waiting


class Sightings:
    """Asks nodes for queries. `patience` and the other times are seconds on `clock`."""

    def __init__(self, calls: Calls, clock: Clock, patience: float = PATIENCE) -> None:
        self._calls = calls
        self._clock = clock
        self._patience = patience
        self._seen: dict[tuple[str, type[NodeCall[Any]]], list[_Sighting]] = {}
        self._silent: set[str] = set()

    def forget(self, node: str) -> None:
        """Ask a node anew from now on: something there has changed, or may have."""
        for kind in SHARED:
            for sighting in self._seen.get((node, kind), ()):
                sighting.changed()

    def told(self, node: str, event: NodeEvent) -> None:
        """Hear what a node says of its own accord."""
        if isinstance(event, GuestChanged):
            self.forget(node)

    async def ask_all(self, wanted: Sequence[tuple[str, NodeCall[Any]]]) -> list[Any]:
        """Make calls (node's UUID, call) side by side; gives a value or a `GntError` for each, in order.

        It takes `patience` at most. Raises what is no error of the family: a fault of ours.
        """
        asked = [self._sighting(node, call) for node, call in wanted]
        waits = [
            self._patiently(node, sighting)
            for (node, _), sighting in zip(wanted, asked, strict=True)
            if not sighting.ended
        ]
        for _, given_up in await DeferredList(waits, consumeErrors=True) if waits else ():
            if isinstance(given_up, Failure):
                given_up.raiseException()
        return [self._answer(node, sighting) for (node, _), sighting in zip(wanted, asked, strict=True)]

    def _answer(self, node: str, sighting: _Sighting) -> Any:
        if sighting.fault is not None:
            sighting.fault.raiseException()
        return sighting.answer if sighting.ended else InDoubt(f"{node} did not answer in time")

    def _sighting(self, node: str, call: NodeCall[Any]) -> _Sighting:
        """Give the sighting that answers a call now: one that serves, or a new one."""
        fresh = _Sighting(call)
        if not isinstance(call, SHARED):
            self._send(node, fresh)
            return fresh
        now = self._clock.seconds()
        key = (node, type(call))
        kept = self._seen[key] = [one for one in self._seen.get(key, ()) if not one.ended or one.serves(now)]
        same = [one for one in kept if one.call == call]
        for one in same:
            if one.serves(now):
                return one
        kept.append(fresh)
        if same:  # outdated and under way
            same[0].next = fresh
        else:
            self._send(node, fresh)
        return fresh

    def _send(self, node: str, sighting: _Sighting) -> None:
        sighting.begun = self._clock.seconds()
        asking = Deferred.fromCoroutine(self._calls.call(node, sighting.call, deadline=self._patience))
        asking.addBoth(self._ended, node, sighting)

    def _ended(self, answer: Any, node: str, sighting: _Sighting) -> None:
        if isinstance(answer, Failure) and isinstance(answer.value, InDoubt):
            self._silent.add(node)
        else:
            self._silent.discard(node)
        sighting.end(answer)
        if sighting.next is None:
            return
        if sighting.next.awaited:
            self._send(node, sighting.next)
        else:
            self._seen[node, type(sighting.call)].remove(sighting.next)

    def _patiently(self, node: str, sighting: _Sighting) -> Deferred[Failure | None]:
        """Wait for an answer, but not for ever."""
        patience = GRACE if node in self._silent else self._patience
        waiting = sighting.wait()
        timer = self._clock.callLater(patience, waiting.callback, None)

        def over(result: Failure | None) -> Failure | None:
            if timer.active():
                timer.cancel()
            elif sighting.had(patience, self._clock.seconds()):
                self._silent.add(node)
            return result

        return waiting.addBoth(over)
