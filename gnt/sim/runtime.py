"""What a simulated daemon runs on: false time, blocking work inline at its simulated time, randomness from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gnt.daemon.runtime import Pool, Runtime
from gnt.sim.clock import LifeClock

P = ParamSpec("P")
T = TypeVar("T")

# How long blocking work takes, in simulated seconds: between these.
SHORTEST: Final = 0.0001
LONGEST: Final = 0.002

BEFORE: Final = "before"
AFTER: Final = "after"

Watch = Callable[[str, str], None]
"""Called before and after each piece of blocking work, with the pool's name; may end the daemon's life."""


class SimPool:
    """A pool of one thread that is none: each piece of work is done at a later simulated moment, in order.

    What ends the daemon's life before the work prevents it; after the work, nobody hears of its result. Work that
    waits for other daemons gives a Deferred here, where a thread would block. `pace` is how slow the machine is now.
    """

    def __init__(
        self, life: LifeClock, source: random.Random, name: str, watch: Watch, pace: Callable[[], float]
    ) -> None:
        self._pace = pace
        self._life = life
        self._source = source
        self._name = name
        self._watch = watch
        self._free_at = 0.0

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Do the work when it is its turn."""
        done: Deferred[T] = Deferred()
        now = self._life.true_time()
        self._free_at = max(self._free_at, now) + self._source.uniform(SHORTEST, LONGEST) * self._pace()

        def do() -> None:
            self._watch(self._name, BEFORE)
            if not self._life.alive:
                return
            failure: Failure | None = None
            try:
                result = work(*args, **kwargs)
            except BaseException:  # noqa: BLE001  (whatever it is belongs to the one who waits)
                failure = Failure()  # type: ignore[no-untyped-call]
            if self._life.alive:
                self._watch(self._name, AFTER)
            if not self._life.alive or done.called:
                return
            if failure is not None:
                done.errback(failure)
            elif isinstance(result, Deferred):
                result.addBoth(done.callback)
            else:
                done.callback(result)

        self._life.later(self._free_at, do)
        return done


def unwatched(_pool: str, _moment: str) -> None:
    """Let all work be done."""


def at_full_pace() -> float:
    """Take no more time than work takes."""
    return 1.0


def sim_runtime(
    life: LifeClock, source: random.Random, watch: Watch = unwatched, pace: Callable[[], float] = at_full_pace
) -> Runtime:
    """Make what one daemon runs on; its pools live as long as it does."""
    pools: dict[str, SimPool] = {}

    def pool(name: str) -> Pool:
        if name not in pools:
            pools[name] = SimPool(life, source, name, watch, pace)
        return pools[name]

    clock: Any = life
    return Runtime(clock=clock, pools=pool, random=source)
