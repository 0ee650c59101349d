"""Changing calls from their arrival to their end, and the lanes in which they wait for each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gnt.model.epoch import Epoch
from gnt.noded.handler import CallContext
from gnt.wire.calls import LogAppend, LogSnapshot
from gnt.wire.envelope import Answer, Request

log: Final = Logger()

# Repeatable by themselves: they check epochs and keep their lane, and leave no row.
UNRECORDED: Final = frozenset({LogAppend, LogSnapshot})


class _Aborts(list[Callable[[], None]]):
    """Functions that end a call's work; one that comes after the abort is called at once."""

    def __init__(self) -> None:
        super().__init__()
        self.called = False

    def append(self, function: Callable[[], None]) -> None:
        super().append(function)
        if self.called:
            _call(function)

    def call_all(self) -> None:
        """End the work, once."""
        if not self.called:
            self.called = True
            for function in list(self):
                _call(function)


def _call(function: Callable[[], None]) -> None:
    try:
        function()
    except Exception:  # noqa: BLE001 - one abort that fails keeps no other from its work
        log.failure("ending the work of a call")


class UnderWay:
    """A changing call from its arrival to its end.

    `begun`: its row is on disk or on its way there; `working`: its handler has been called; `dropped`: it is not to
    begin any more.
    """

    def __init__(self, request: Request, epoch: Epoch, progress: Callable[[str], None]) -> None:
        self.id = request.id
        self.call = request.call
        self.epoch = epoch
        self.aborts = _Aborts()
        self.context = CallContext(id=request.id, epoch=epoch, progress=progress, on_abort=self.aborts)
        self.begun = False
        self.working = False
        self.dropped = False
        self.waiting: list[Deferred[Answer]] = []
        self.turn: Deferred[None] | None = None

    @property
    def recorded(self) -> bool:
        """Say whether the call table knows it."""
        return type(self.call) not in UNRECORDED

    def revive(self, epoch: Epoch) -> None:
        """Take it up again before it began, because it came once more, perhaps from a newer master."""
        if not self.begun and epoch.number >= self.epoch.number:
            self.dropped = False
            self.epoch = epoch
            self.context.epoch = epoch

    def wait(self) -> Deferred[Answer]:
        """Give a Deferred for its answer."""
        waiting: Deferred[Answer] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def end(self, answer: Answer) -> None:
        """Tell everybody who waits."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(answer)


class Lanes:
    """Queues by name: in each, one after the other in the order of arrival. The empty name is no lane."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Deferred[None]]] = {}

    def enter(self, name: str) -> Deferred[None] | None:
        """Take a place; gives what to wait for, or None when it is our turn already."""
        if not name:
            return None
        if name not in self._lanes:
            self._lanes[name] = deque()
            return None
        turn: Deferred[None] = Deferred()
        self._lanes[name].append(turn)
        return turn

    def leave(self, name: str) -> None:
        """Let the next one in."""
        if not name:
            return
        lane = self._lanes[name]
        if lane:
            lane.popleft().callback(None)
        else:
            del self._lanes[name]
