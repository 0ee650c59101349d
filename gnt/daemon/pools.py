"""Real thread pools by name: bounded, made when first asked for, joined when the daemon stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread, deferToThreadPool
from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

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
    """One pool; its threads start with its first work."""

    def __init__(self, reactor: Any, name: str, size: int) -> None:
        self._reactor = reactor
        self._threads = ThreadPool(minthreads=0, maxthreads=size, name=name)
        self._started = False
        self._stopped = False

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Do blocking work in one of the threads; the Deferred fires on the reactor's."""
        if self._stopped:
            raise RuntimeError(f"the pool {self._threads.name} has been stopped")
        if not self._started:
            self._started = True
            self._threads.start()
        running: Deferred[T] = deferToThreadPool(self._reactor, self._threads, work, *args, **kwargs)
        return running

    def stop(self) -> Deferred[None]:
        """Take no more work; fires when all there was has ended."""
        self._stopped = True
        joining: Deferred[Any] = deferToThread(self._threads.stop if self._started else lambda: None)
        return joining.addCallback(lambda _: None)
