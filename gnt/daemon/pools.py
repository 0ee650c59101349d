"""Real thread pools by name: bounded, made when first asked for, joined when the daemon stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from gnt.daemon.turns import ask_for_short_turns

P = ParamSpec("P")
T = TypeVar("T")

_Piece = tuple[Deferred[Any], Callable[[], Any]]

ONE: Final = 1
SEVERAL: Final = 4
SIZES: Final[Mapping[str, int]] = {
    # One writer each: order is part of what they promise.
    "calls": ONE,
    "log": ONE,
    "store": ONE,
    "snapshot": ONE,
    "checkpoint": ONE,
    # A migration holds its thread as long as it lasts.
    "migration": 8,
    "storage": 8,
    "hypervisor": 8,
}
"""Threads of a pool; those not named here have `SEVERAL`."""

QUICK: Final = frozenset({"calls", "log", "store"})
"""Pools that every change goes through: whoever waits for it waits for their turn on a processor."""


class ThreadPools:
    """The pools of one daemon: `gnt.daemon.runtime.Pools`."""

    def __init__(self, reactor: Any, sizes: Mapping[str, int] = SIZES) -> None:
        self._reactor = reactor
        self._sizes = sizes
        self._pools: dict[str, _NamedPool] = {}
        self._stopped = False

    def __call__(self, name: str) -> _NamedPool:
        """Give the pool of that name. Raises `RuntimeError` for a new one after the stop: nobody would join it."""
        if name not in self._pools:
            if self._stopped:
                raise RuntimeError(f"the pool {name} has been stopped with all others")
            self._pools[name] = _NamedPool(self._reactor, name, self._sizes.get(name, SEVERAL))
        return self._pools[name]

    def stop(self) -> Deferred[None]:
        """End all pools; fires when the work that was begun or waits has ended."""
        self._stopped = True
        ending = [pool.stop() for pool in self._pools.values()]
        return DeferredList(ending, consumeErrors=True).addCallback(lambda _: None)


class _NamedPool:
    """One pool; its threads start when there is work for them.

    Each commit goes through here and back, so there is little on the way: a queue there, a call of the reactor back.
    """

    def __init__(self, reactor: Any, name: str, size: int) -> None:
        self._reactor = reactor
        self._name = name
        self._size = size
        self._work: SimpleQueue[_Piece | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._under_way = 0
        self._stopped = False

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Do blocking work in one of the threads; the Deferred fires on the reactor's."""
        if self._stopped:
            raise RuntimeError(f"the pool {self._name} has been stopped")
        waiting: Deferred[T] = Deferred()
        self._under_way += 1
        self._work.put((waiting, partial(work, *args, **kwargs)))
        if len(self._threads) < min(self._size, self._under_way):
            self._threads.append(Thread(target=self._serve, name=f"{self._name}-{len(self._threads) + 1}"))
            self._threads[-1].start()
        return waiting

    def stop(self) -> Deferred[None]:
        """Take no more work; fires when all there was has ended."""
        self._stopped = True
        for _ in self._threads:
            self._work.put(None)
        joining: Deferred[Any] = deferToThread(self._join) if self._threads else succeed(None)
        return joining.addCallback(lambda _: None)

    def _serve(self) -> None:
        """Work, in a thread of this pool."""
        if self._name in QUICK:
            ask_for_short_turns()
        while (piece := self._work.get()) is not None:
            waiting, work = piece
            try:
                result = work()
            except BaseException:  # noqa: BLE001  (whatever it is, who waits for it hears of it)
                result = Failure()  # type: ignore[no-untyped-call]
            self._reactor.callFromThread(self._ended, waiting, result)
            # Nothing of it is kept alive by a thread that waits.
            del piece, waiting, work, result

    def _ended(self, waiting: Deferred[Any], result: Any) -> None:
        self._under_way -= 1
        if isinstance(result, Failure):
            waiting.errback(result)
        else:
            waiting.callback(result)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()
