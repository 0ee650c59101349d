"""Answers that are kept, encoded, until the master says that there is something new.

Each request has the master asked, after it came, whether what is kept still holds; so nobody sees what is older than
the request. Requests for the same that come while the master is being asked wait for the next time it is, and share
that: a hundred clients cost the master as much as one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gnt.model.errors import GntError
from gnt.rapi.encoded import Encoded, encoded

MOST_BYTES: Final = 12 * 1024 * 1024
MOST_ANSWERS: Final = 500

Ask = Callable[..., Awaitable[Any]]
"""Asks the master: a method and its arguments."""


class Asks(Protocol):
    """Who asks the master: `gnt.rapi.luxi.Master`."""

    async def call(self, method: str, *args: Any, patience: float = 0.0) -> Any:
        """Call a method that only reads."""


class _Same(Exception):
    """The master has nothing new."""


class _Answer:
    """One kept answer: `stamp` is the master's. Who waits: for what is being asked now, and for the next time."""

    def __init__(self) -> None:
        self.stamp: str | None = None
        self.encoded: Encoded | None = None
        self.now: list[Deferred[Encoded]] | None = None
        self.next: list[Deferred[Encoded]] = []

    @property
    def size(self) -> int:
        """Give the bytes that it takes."""
        return 0 if self.encoded is None else len(self.encoded.body)


class Keeper:
    """Keeps answers by key: what was asked for decides about the answer, not who asked."""

    def __init__(self, master: Asks) -> None:
        self._master = master
        self._answers: dict[bytes, _Answer] = {}
        self._size = 0

    def answer(self, key: bytes, make: Callable[[Ask], Awaitable[Any]]) -> Deferred[Encoded]:
        """Give the answer of a key. `make` makes its value, asking the master once, by what it is given for that."""
        answer = self._answers.pop(key, None) or _Answer()
        self._answers[key] = answer  # the last in line to be dropped
        waiting: Deferred[Encoded] = Deferred()
        answer.next.append(waiting)
        if answer.now is None:
            self._begin(key, answer, make)
        return waiting

    def _begin(self, key: bytes, answer: _Answer, make: Callable[[Ask], Awaitable[Any]]) -> None:
        answer.now, answer.next = answer.next, []
        looking = Deferred.fromCoroutine(self._look(key, answer, make))
        looking.addBoth(self._ended, key, answer, make)

    def _ended(self, result: Any, key: bytes, answer: _Answer, make: Callable[[Ask], Awaitable[Any]]) -> None:
        waiting, answer.now = answer.now or [], None
        if answer.next:
            self._begin(key, answer, make)
        for one in waiting:
            if one.called:  # who has gone meanwhile
                continue
            if isinstance(result, Failure):
                one.errback(result)
            else:
                one.callback(result)

    async def _look(self, key: bytes, answer: _Answer, make: Callable[[Ask], Awaitable[Any]]) -> Encoded:
        stamp: str | None = None

        async def ask(method: str, *args: Any) -> Any:
            nonlocal stamp
            found = await self._master.call("IfChanged", answer.stamp, method, list(args))
            match found:
                case {"stamp": new, "result": result} if new is None or isinstance(new, str):
                    stamp = new
                    return result
                case {"stamp": str(new)} if new == answer.stamp:
                    raise _Same
            raise GntError("luxi_error", "the master answered IfChanged with something else")

        try:
            value = await make(ask)
        except _Same:
            if answer.encoded is None:
                raise AssertionError("a stamp is known, and not what had it") from None
            return answer.encoded
        made = encoded(value, stamp)
        before = answer.encoded
        if before is not None and before.body == made.body and stamp is not None:
            made = before  # it has another stamp, and shows the same: its tag stays
        self._keep(key, answer, made, stamp)
        return made

    def _keep(self, key: bytes, answer: _Answer, made: Encoded, stamp: str | None) -> None:
        """Keep an answer; drop those that were not asked for longest, and what is too large to be kept."""
        if self._answers.get(key) is not answer:
            return
        self._size -= answer.size
        if stamp is None or len(made.body) > MOST_BYTES:
            answer.stamp, answer.encoded = None, None
            return
        answer.stamp, answer.encoded = stamp, made
        self._size += answer.size
        while self._size > MOST_BYTES or len(self._answers) > MOST_ANSWERS:
            oldest = next(iter(self._answers))
            self._size -= self._answers.pop(oldest).size
