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
TOO_MANY: Final = 12_000
"""Events with which whoever waits gives up: daemons that poll would never let him."""


class Stuck(Exception):
    """No event is left, or the time is over, and what was waited for has not come."""


class Endless(AssertionError):
    """Events bring on events, and nothing comes of it: nobody need wait any longer."""


@implementer(IReactorTime)
class SimClock:
    """Simulated time in seconds, beginning at a fixed moment."""

    def __init__(self, source: random.Random) -> None:
        self._now = BEGINNING
        self._source = source
        self._events: list[tuple[float, float, int, DelayedCall]] = []
        self._count = 0
        self.steps = 0
        self.after: Callable[[], None] = _nothing
        """Called after each event."""

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
        if self._next_time() is None:
            return False
        self._happen()
        return True

    def _happen(self) -> None:
        """Let the first event happen, which is due as `_next_time` has found."""
        when, _, _, call = heapq.heappop(self._events)
        self._now = max(self._now, when)
        self.steps += 1
        call.called = 1
        call.func(*call.args, **call.kw)
        self.after()

    def run_until(self, done: Callable[[], bool], *, within: float) -> None:
        """Let events happen until something is so; raises `Stuck` after `within` simulated seconds."""
        end, last = self._now + within, self.steps + TOO_MANY
        while not done():
            if self.steps > last:
                raise Endless(f"{TOO_MANY} events have not brought it about")
            moment = self._next_time()
            if moment is None:
                raise Stuck("no event is left")
            if moment > end:
                self._now = end
                raise Stuck(f"not so within {within} simulated seconds")
            self._happen()

    def run_for(self, seconds: float) -> None:
        """Let all events of the next `seconds` happen."""
        end, last = self._now + seconds, self.steps + TOO_MANY
        while (moment := self._next_time()) is not None and moment <= end:
            self._happen()
            if self.steps > last:
                raise Endless(f"{TOO_MANY} events in {seconds:.0f} s: somebody tries again and again")
        self._now = max(self._now, end)

    def forget(self) -> None:
        """Forget all that is planned: this is the end of time."""
        self._events.clear()
        self.after = _nothing

    def _next_time(self) -> float | None:
        while self._events:
            when, _, _, call = self._events[0]
            if not (call.cancelled or call.called) and call.getTime() <= when:
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


def _nothing() -> None:
    """Do nothing."""


class MachineTime:
    """What the clock on the wall of one machine shows; it may be put forward or back, and timers go by it.

    That is so with a real reactor: its time is that of the machine.
    """

    def __init__(self, clock: SimClock) -> None:
        self.clock = clock
        self.ahead = 0.0
        self._lives: list[LifeClock] = []

    def seconds(self) -> float:
        """Give the time that the machine shows."""
        return self.clock.seconds() + self.ahead

    def jump(self, seconds: float) -> None:
        """Put the clock forward, or back if negative: all timers of the machine are due that much earlier, or later."""
        self.ahead += seconds
        self._lives = [life for life in self._lives if life.alive]
        mine = set(map(id, self._lives))
        for call in self.clock.getDelayedCalls():
            timer: Any = getattr(call, "func", None)
            if getattr(timer, "__func__", None) is LifeClock.timer and id(timer.__self__) in mine:
                call.reset(max(0.0, call.getTime() - self.clock.seconds() - seconds))

    def live(self, life: LifeClock) -> None:
        """Take in a life whose timers go by this time."""
        self._lives.append(life)


@implementer(IReactorTime)
class LifeClock:
    """One daemon's view of the clock: when its life ends, nothing that it had planned happens any more."""

    def __init__(self, clock: SimClock, machine: MachineTime | None = None) -> None:
        self._clock = clock
        self._machine = machine or MachineTime(clock)
        self._machine.live(self)
        self.alive = True

    def seconds(self) -> float:
        """Give the time that the machine shows."""
        return self._machine.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any) -> IDelayedCall:  # noqa: A002
        """Plan a call that is dropped when the daemon is dead by then."""
        return self._clock.callLater(delay, self.timer, callable, args, kwargs)

    def later(self, moment: float, function: Callable[[], object]) -> None:
        """Do work at a moment of true time, unless the daemon is dead by then: work takes as long as it takes."""
        self._clock.callLater(max(0.0, moment - self._clock.seconds()), self._unless_dead, function)

    def true_time(self) -> float:
        """Give the time that no machine can change."""
        return self._clock.seconds()

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """Give all planned calls of the whole clock."""
        return self._clock.getDelayedCalls()

    def kill(self) -> None:
        """End this life."""
        self.alive = False

    def timer(self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call what was planned, unless the daemon is dead."""
        if self.alive:
            function(*args, **kwargs)

    def _unless_dead(self, function: Callable[[], object]) -> None:
        if self.alive:
            function()
