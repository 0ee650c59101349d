"""Disk templates driven to their answers from tests that do not wait: inline, or on the real reactor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Wait = Callable[[Awaitable[Any]], Any]
PATIENCE = 120.0


def at_once(work: Awaitable[Any]) -> Any:
    """Give the answer of what needs no reactor."""
    return _answer(_begin(work))


def on_reactor(work: Awaitable[Any]) -> Any:
    """Let the reactor run until there is an answer; it can run again afterwards, as trial does it."""
    turning: Any = reactor
    results = _begin(work)
    if not results:
        done = results.done
        timer = turning.callLater(PATIENCE, turning.crash)

        def ended(_: object) -> None:
            if timer.active():
                timer.cancel()
            turning.crash()

        done.addBoth(ended)
        turning.run()
        # As trial does it: threads that wait for work would keep this process from ending.
        if turning.threadpool is not None:
            turning._stopThreadPool()
    return _answer(results)


class _Results(list[Any]):
    """What came of some work, when something has."""

    done: Deferred[Any]


def _begin(work: Awaitable[Any]) -> _Results:
    async def doing() -> Any:
        return await work

    results = _Results()
    results.done = Deferred.fromCoroutine(doing())
    results.done.addBoth(results.append)
    return results


def _answer(results: _Results) -> Any:
    assert results, "the work did not come to an end"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


class Driven:
    """A disk template whose methods answer when they are called: what the contract talks to."""

    def __init__(self, template: Any, wait: Wait = at_once) -> None:
        self.template = template
        self.wait = wait

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Give a method that waits."""
        method = getattr(self.template, name)
        return lambda *args: self.wait(method(*args))
