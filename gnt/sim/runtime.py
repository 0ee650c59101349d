"""What a simulated daemon runs on: false time, blocking work inline at its simulated time, randomness from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gnt.daemon.runtime import Clock, Pool, Runtime

P = ParamSpec("P")
T = TypeVar("T")

# How long blocking work takes, in simulated seconds: between these.
SHORTEST: Final = 0.0001
LONGEST: Final = 0.002


class SimPool:
    """A pool of one thread that is none: each piece of work is done at a later simulated moment, in order."""

    def __init__(self, clock: Clock, source: random.Random) -> None:
        self._clock = clock
        self._source = source
        self._free_at = 0.0

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Do the work when it is its turn."""
        done: Deferred[T] = Deferred()
        now = self._clock.seconds()
        self._free_at = max(self._free_at, now) + self._source.uniform(SHORTEST, LONGEST)

        def do() -> None:
            try:
                result = work(*args, **kwargs)
            except BaseException:  # noqa: BLE001  (whatever it is belongs to the one who waits)
                failure = Failure()  # type: ignore[no-untyped-call]
                if not done.called:
                    done.errback(failure)
            else:
                if not done.called:
                    done.callback(result)

        self._clock.callLater(self._free_at - now, do)
        return done


def sim_runtime(clock: Clock, source: random.Random) -> Runtime:
    """Make what one daemon runs on; its pools live as long as it does."""
    pools: dict[str, SimPool] = {}

    def pool(name: str) -> Pool:
        if name not in pools:
            pools[name] = SimPool(clock, source)
        return pools[name]

    return Runtime(clock=clock, pools=pool, random=source)
