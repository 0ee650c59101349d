"""Changing calls from their arrival to their end, and the lanes in which they wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gnt.model.epoch import Epoch
from gnt.noded.handler import CallContext
from gnt.wire.envelope import Answer, Request
from gnt.wire.log_calls import LogAppend, LogSnapshot

log: Final = Logger()

# Repeatable by themselves: they check epochs and keep their lane, and leave no row.
UNRECORDED: Final = frozenset({LogAppend, LogSnapshot})


class Aborts(list[Callable[[], None]]):
    """Functions that end a call's work; one that comes after the abort is called at once."""

    def __init__(self) -> None:
        super().__init__()
        self.called = False

    def append(self, function: Callable[[], None]) -> None:
        """Keep a function, or call it when it comes after the abort."""
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
        self.aborts = Aborts()
        self.context = CallContext(id=request.id, epoch=epoch, progress=progress, on_abort=self.aborts)
        self.begun = False
        self.working = False
        self.dropped = False
        self.waiting: list[Deferred[Answer]] = []
        self.turn: Turn | None = None

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

    def give_up(self) -> None:
        """End its work, or let it not begin."""
        if self.begun:
            self.aborts.call_all()
        else:
            self.dropped = True

    def end(self, answer: Answer) -> None:
        """Tell everybody who waits."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(answer)


class Turn:
    """A call's places in its lanes. `ready` fires when nothing that came before is in its way any more."""

    def __init__(self, lanes: Collection[str], part_of: str) -> None:
        self.alone = frozenset(lane for lane in lanes if lane)
        self.beside = frozenset({part_of} if part_of else ()) - self.alone
        self.ahead = 0
        self.ready: Deferred[None] | None = None

    def stands_back_for(self, other: Turn, lane: str) -> bool:
        """Say whether the other, which came before, must leave this lane first."""
        return lane in self.alone or lane in other.alone


class Lanes:
    """Queues by name: in each, one after the other in the order of arrival; parts of one thing side by side."""

    def __init__(self) -> None:
        self._lanes: dict[str, list[Turn]] = {}

    def enter(self, lanes: Collection[str], part_of: str = "") -> Turn:
        """Take a place in all of them at once, so that no two calls can wait for each other."""
        turn = Turn(lanes, part_of)
        for lane in turn.alone | turn.beside:
            queue = self._lanes.setdefault(lane, [])
            turn.ahead += sum(turn.stands_back_for(other, lane) for other in queue)
            queue.append(turn)
        if turn.ahead:
            turn.ready = Deferred()
        return turn

    def leave(self, turn: Turn) -> None:
        """Give the places up, also before they were ours, and let those in who waited for nothing else."""
        free: list[Turn] = []
        for lane in turn.alone | turn.beside:
            queue = self._lanes[lane]
            place = queue.index(turn)
            for other in queue[place + 1 :]:
                if other.stands_back_for(turn, lane):
                    other.ahead -= 1
                    if not other.ahead:
                        free.append(other)
            del queue[place]
            if not queue:
                del self._lanes[lane]
        for other in free:
            if other.ready is not None:
                other.ready.callback(None)
