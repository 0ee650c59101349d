"""A place for a node daemon in tests: below a temporary directory, on a false clock, blocking work inline."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet import defer, threads
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gnt.daemon import runtime
from gnt.daemon.runtime import Runtime
from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.wire.calls import NodeCall

P = ParamSpec("P")
T = TypeVar("T")


class InlinePool:
    """Does blocking work at once."""

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> defer.Deferred[T]:
        """Do it now; the Deferred has fired already."""
        return defer.maybeDeferred(work, *args, **kwargs)


class ThreadPool:
    """Blocking work on the reactor's threads, for tests that run it."""

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> defer.Deferred[T]:
        """Do it on a thread."""
        return threads.deferToThread(work, *args, **kwargs)


def inline_pools(name: str) -> InlinePool:
    """Give a pool without threads."""
    return InlinePool()


def place_below(root: Path, *, clock: runtime.Clock | None = None, pools: runtime.Pools = inline_pools) -> Place:
    """Give a place for a node daemon named node1.example.com."""
    on = Runtime(clock=clock if clock is not None else Clock(), pools=pools, random=random.Random(7))  # noqa: S311
    return Place(layout=Layout(root), name="node1.example.com", runtime=on)


def context() -> CallContext:
    """Give the context of a call that nobody watches."""
    return CallContext(id="call-1", epoch=None, progress=lambda _line: None)


class Part(Protocol):
    """A part of the node daemon."""

    def handlers(self) -> Handlers:
        """Give the calls that it takes."""


_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]


def begin(part: Part, call: NodeCall[Any], within: CallContext | None = None) -> defer.Deferred[Any]:
    """Hand a call to a part; the answer may still be under way."""

    async def asking() -> Any:
        return await part.handlers()[type(call)](call, within or context())

    return defer.ensureDeferred(asking())


def ask(part: Part, call: NodeCall[Any]) -> Any:
    """Let a part answer a call at once."""
    return _trial.successResultOf(begin(part, call))


def refused(part: Part, call: NodeCall[Any]) -> NodeFailure:
    """Let a part refuse a call at once."""
    value = _trial.failureResultOf(begin(part, call), NodeFailure).value
    assert isinstance(value, NodeFailure)
    return value
