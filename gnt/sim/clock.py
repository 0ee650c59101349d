"""False time: a heap of events that always jumps to the next one.

Events of the same moment are permuted by the seed, so that nothing can depend on an order that nobody promised. Each
daemon has its own view of the clock; when the daemon is killed, what it had planned never happens.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

BEGINNING: Final = 1_700_000_000.0


class Stuck(Exception):
    """No event is left, or the time is over, and what was waited for has not come."""


@implementer(IReactorTime)
class SimClock:
    """Simulated time in seconds, beginning at a fixed moment."""

    def __init__(self, source: random.Random) -> None:
        self._now = BEGINNING
        self._source = source
        self._events: list[tuple[float, float, int, DelayedCall]] = []
        self._count = 0
        self.steps = 0

    def seconds(self) -> float:
        """Give the time."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any) -> IDelayedCall:  # noqa: A002
        """Plan a call."""
        if delay < 0:
            raise AssertionError("a call into the past")
        call = DelayedCall(self._now + delay, callable, args, kwargs, lambda _call: None, self._moved, self.seconds)
        self._push(call)
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """Give all planned calls."""
        return [call for _, _, _, call in self._events if call.active()]

    def step(self) -> bool:
        """Jump to the next event and let it happen; False if there is none."""
        while self._events:
            when, _, _, call = heapq.heappop(self._events)
            if self._put_off(call, when) or not call.active():
                continue
            self._now = max(self._now, when)
            self.steps += 1
            call.called = 1
            call.func(*call.args, **call.kw)
            return True
        return False

    def run_until(self, done: Callable[[], bool], *, within: float) -> None:
        """Let events happen until something is so; raises `Stuck` after `within` simulated seconds."""
        end = self._now + within
        while not done():
            if self._now > end:
                raise Stuck(f"not so within {within} simulated seconds")
            if not self.step():
                raise Stuck("no event is left")

    def run_for(self, seconds: float) -> None:
        """Let all events of the next `seconds` happen."""
        end = self._now + seconds
        while self._next_time() is not None and (self._next_time() or 0.0) <= end:
            self.step()
        self._now = max(self._now, end)

    def forget(self) -> None:
        """Forget all that is planned: this is the end of time."""
        self._events.clear()

    def _next_time(self) -> float | None:
        while self._events:
            when, _, _, call = self._events[0]
            if call.active() and call.getTime() <= when:
                return when
            heapq.heappop(self._events)
            self._put_off(call, when)
        return None

    def _put_off(self, call: DelayedCall, when: float) -> bool:
        """Plan a call anew that was to be at `when` and has been put off since, which nobody tells the clock."""
        if not call.active() or call.getTime() <= when:
            return False
        self._push(call)
        return True

    def _moved(self, call: DelayedCall) -> None:
        """Take a call that was delayed or reset to another moment."""
        self._push(call)

    def _push(self, call: DelayedCall) -> None:
        self._count += 1
        heapq.heappush(self._events, (call.getTime(), self._source.random(), self._count, call))


@implementer(IReactorTime)
class LifeClock:
    """One daemon's view of the clock: when its life ends, nothing that it had planned happens any more."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self.alive = True

    def seconds(self) -> float:
        """Give the time."""
        return self._clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any) -> IDelayedCall:  # noqa: A002
        """Plan a call that is dropped when the daemon is dead by then."""
        return self._clock.callLater(delay, self._unless_dead, callable, args, kwargs)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """Give all planned calls of the whole clock."""
        return self._clock.getDelayedCalls()

    def kill(self) -> None:
        """End this life."""
        self.alive = False

    def _unless_dead(self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.alive:
            function(*args, **kwargs)
