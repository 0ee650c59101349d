"""Room for a write-ahead log, a piece at a time: a change that comes meanwhile waits for a piece, and not for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.daemon.runtime import Runtime

PIECE: Final = 2 * 2**20
"""Bytes: two milliseconds of a processor, and a sync."""
PAUSE: Final = 0.05
"""Seconds between two pieces."""

log: Final = Logger()


class Room:
    """Makes `size` bytes of room; `make` lets the log have so many bytes in all, and says whether it has them.

    The first piece of all is made some time after `begin`: whoever waits for a daemon to start has things to do first,
    and a thousand jobs that came with the room made at once took twice as long as ever after.
    """

    def __init__(self, runtime: Runtime, size: int, make: Callable[[int], Awaitable[bool]]) -> None:
        self._runtime = runtime
        self._size = size
        self._make = make
        self._making: Deferred[None] | None = None

    def begin(self, after: float) -> None:
        """Make the room, `after` so many seconds; what was begun before is begun anew."""
        self.stop()
        self._making = Deferred.fromCoroutine(self._pieces(after))
        self._making.addErrback(_failed)

    def stop(self) -> None:
        """Make no more of it."""
        making, self._making = self._making, None
        if making is not None:
            making.cancel()

    async def _pieces(self, after: float) -> None:
        await self._runtime.sleep(after)
        have = 0
        while have < self._size:
            have = min(have + PIECE, self._size)
            if not await self._make(have):
                return
            await self._runtime.sleep(PAUSE)


def _failed(failure: Failure) -> None:
    if not failure.check(CancelledError):  # type: ignore[no-untyped-call]
        log.failure("the write-ahead log has no room of its own", failure=failure)
