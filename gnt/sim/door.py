"""The way to a simulated node, as a witness sees it: what arrives, what is answered, what may happen between."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from gnt.sim.faults import Fault
from gnt.wire.contract import Caller, INodeDaemon, Listener, StopListening
from gnt.wire.envelope import Answer, Request, decode_answer, decode_request
from gnt.wire.log_calls import Fence, LogAppend, LogSnapshot, Promise

REFUSED: Final = frozenset({"stale_epoch", "not_begun", "not_allowed"})
"""Codes of answers that say that nothing was done."""

_AFTERWARDS: Final = frozenset({Fault.NODE_AFTER, Fault.POWER_AFTER, Fault.MASTER_AFTER})

Happen = Callable[[str], Fault]
Strike = Callable[[Fault], bool]
"""Carries out a fault that falls on this node; says whether the node daemon still lives."""


class Witness:
    """Remembers what nodes have promised, across all their lives, and finds those that do not keep it.

    Nothing of an older epoch is begun behind a promise, nothing of the log ends behind it; and once a fence is answered
    nothing older ends at all. It finds masters, too, that have a node change something before it has answered their
    fence, two masters of one term, and one that takes over although a node would take no orders from it.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._promised: dict[str, int] = {}
        self._fenced: dict[str, int] = {}
        self._masters: dict[int, str] = {}

    def serves(self, node: str, number: int) -> None:
        """See a master begin to serve in an epoch of this number."""
        other = self._masters.setdefault(number, node)
        if other != node:
            self.problems.append(f"{node} is the master in epoch {number}, and {other} was too")

    def takes_over(self, node: str, deaf: Collection[str]) -> None:
        """See a candidate become the master while these nodes, which are online, do not know it as a candidate."""
        self.problems += [f"{node} takes over, and {other} does not know it as a candidate" for other in deaf]

    def promised(self, node: str) -> int:
        """Give the highest epoch that a node has promised or worked for by now."""
        return self._promised.get(node, 0)

    def answered(self, node: str, request: Request, answer: Answer, before: int) -> None:
        """See an answer leave a node, which had promised the epoch `before` when the request arrived."""
        number = request.epoch.number if request.epoch is not None else 0
        tag = request.call.tag()
        done = answer.err is None or answer.err.code not in REFUSED
        if type(request.call).CHANGES and done and request.epoch is not None and not _is_promise(request):
            of_the_log = isinstance(request.call, LogAppend | LogSnapshot)
            known = self.promised(node) if of_the_log else max(before, self._fenced.get(node, 0))
            if number < known and answer.err is None:
                self.problems.append(f"{node} did {tag} of epoch {number} after it promised {known}")
            if number > self._fenced.get(node, 0) and not of_the_log:
                self.problems.append(f"{node} did {tag} of epoch {number} and was not fenced for it")
            self._saw(node, number)
        if isinstance(request.call, Fence) and answer.err is None:
            self._fenced[node] = max(request.call.epoch.number, self._fenced.get(node, 0))
            self._saw(node, request.call.epoch.number)
        if isinstance(request.call, Promise) and not request.call.ask_only and b'"granted":true' in bytes(answer.ok):
            self._saw(node, request.call.epoch.number)

    def _saw(self, node: str, number: int) -> None:
        self._promised[node] = max(number, self._promised.get(node, 0))


def _is_promise(request: Request) -> bool:
    return isinstance(request.call, Promise | Fence)


def _nothing() -> None:
    """Let it be."""


@implementer(INodeDaemon)
class SimDoor:
    """What the network calls in place of a node daemon's own door; hands everything on to it.

    `happen` names the fault that falls on an arrival, `strike` carries it out, `say` adds a line to the trace.
    """

    def __init__(
        self, name: str, inner: Any, witness: Witness, *, happen: Happen, strike: Strike, say: Callable[[str], None]
    ) -> None:
        self._say = say
        self._name = name
        self._inner = inner
        self._witness = witness
        self._happen = happen
        self._strike = strike
        self.arrived: Callable[[], Callable[[], None]] = lambda: _nothing
        """Called when a request has arrived; gives what is called when its answer leaves."""
        self.tells: Callable[[], None] = _nothing
        """Called when the node daemon tells of an event."""

    def identity(self) -> tuple[str, str]:
        """Give the node's name and UUID."""
        found: tuple[str, str] = self._inner.identity()
        return found

    def listen(self, listener: Listener) -> StopListening:
        """Tell `listener` of every event."""

        def heard(*event: Any) -> None:
            self.tells()
            listener(*event)

        stop: StopListening = self._inner.listen(heard)
        return stop

    def call(self, request: bytes, caller: Caller) -> Deferred[bytes]:
        """Perform a request, unless the node dies before; whoever dies after does so before the answer leaves."""
        leaving: Deferred[bytes] = Deferred()
        decoded = decode_request(request)
        fault = self._happen(decoded.call.tag())
        if fault in {Fault.NODE_BEFORE, Fault.POWER_BEFORE} and not self._strike(fault):
            return leaving

        before = self._witness.promised(self._name)
        leaves = self.arrived()

        def answered(answer: bytes) -> None:
            read = decode_answer(answer)
            self._witness.answered(self._name, decoded, read, before)
            if read.err is not None:
                self._say(f"{self._name} answers {decoded.id}: {read.err.code}: {read.err.text}")
            leaves()
            if fault in _AFTERWARDS and not self._strike(fault):
                return
            leaving.callback(answer)

        answering: Deferred[bytes] = self._inner.call(request, caller)
        answering.addCallback(answered)
        return leaving
