"""Time as this room needs it, so that transports run on a reactor and on the simulator's clock alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall


class Clock(Protocol):
    """Seconds since the epoch, and calls in the future; the clock of `gnt.daemon.runtime`."""

    def seconds(self) -> float:
        """Give the time in seconds."""

    def callLater(self, delay: float, function: Callable[..., object], *args: Any, **kwargs: Any) -> IDelayedCall:
        """Call later; `delay` in seconds."""


def or_passed(clock: Clock, seconds: float, work: Deferred[Any], error: Callable[[], Exception]) -> Deferred[Any]:
    """Wait for `work`, at most `seconds`; then fail with `error`, and let the work end unheard."""
    outcome: Deferred[Any] = Deferred()

    def passed() -> None:
        outcome.errback(error())

    def ended(result: Any) -> None:
        if timer.active():
            timer.cancel()
            outcome.callback(result)

    timer = clock.callLater(seconds, passed)
    work.addBoth(ended)
    return outcome
