"""What a daemon runs on: clock, thread pools, randomness.

Everything that waits takes the clock from here, everything that blocks a pool, everything random the source. The
simulator puts its own under the same daemons, so that a whole cluster runs from a seed.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

P = ParamSpec("P")
T = TypeVar("T")


class Clock(Protocol):
    """Time: `seconds()` since the epoch, and calls in the future. A reactor and the simulator's clock are both one."""

    def seconds(self) -> float:
        """Give the time in seconds."""

    def callLater(self, delay: float, function: Callable[..., object], *args: Any, **kwargs: Any) -> IDelayedCall:
        """Call later; `delay` in seconds."""


class Pool(Protocol):
    """A named pool for blocking work."""

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Do blocking work off the reactor's thread; the Deferred fires on it."""


class Pools(Protocol):
    """The pools of one daemon, made when first asked for."""

    def __call__(self, name: str) -> Pool:
        """Give the pool of that name, for example `storage`, `hypervisor`, `store`."""


@dataclass(frozen=True)
class Runtime:
    """What one daemon runs on. Shape: a clock, pools by name, a source of randomness."""

    clock: Clock
    pools: Pools
    random: random.Random

    def now(self) -> float:
        """Give the time in seconds since the epoch."""
        return self.clock.seconds()

    def uuid(self) -> str:
        """Give a fresh random UUID as text."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def token(self, octets: int) -> str:
        """Give a random hexadecimal text of `octets` bytes, for secrets; `random` is the system's in production."""
        return self.random.randbytes(octets).hex()

    def sleep(self, seconds: float) -> Deferred[None]:
        """Fire after that many seconds; cancelling it ends the wait."""
        waiting: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self.clock.callLater(seconds, waiting.callback, None)
        return waiting
