"""Until when the watcher does not act: kept in the store, so that it holds under the next master too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred

from gnt.model.errors import WRONG_INPUT, Refused
from gnt.store.changes import Archive, Change, Put, Remove, Space

KEY: Final = "watcher_pause"


class Commits(Protocol):
    """What the pause needs of the journal."""

    def enqueue(self, changes: Sequence[Change], job: int = 0) -> Deferred[Any]:
        """Fire when the changes are durable with a majority, after `committed` has heard of them."""


class Time(Protocol):
    """What time it is."""

    def now(self) -> float:
        """Give the time in seconds since the epoch."""


class WatcherPause:
    """The pause; times are seconds since the epoch. It holds once `committed` has heard of it."""

    def __init__(self, commits: Commits, time: Time) -> None:
        self._commits = commits
        self._time = time
        self._until: float | None = None

    def restore(self, row: bytes | None) -> None:
        """Take over what the store holds."""
        self._until = None if row is None else msgspec.json.decode(row, type=float)

    def until(self) -> float | None:
        """Give until when the watcher does not act; None if it may."""
        return self._until if self._until is not None and self._until > self._time.now() else None

    async def set(self, until: float | None) -> float | None:
        """Let the watcher not act until a time, or let it act again (None); gives that back. Raises `Refused`."""
        if until is not None and until < self._time.now():
            raise Refused(WRONG_INPUT, "Unable to set pause end time in the past")
        change: Change = Remove(Space.META, KEY)
        if until is not None:
            change = Put(Space.META, KEY, msgspec.json.encode(until))
        await self._commits.enqueue([change])
        return until

    def committed(self, _position: object, changes: Sequence[Change]) -> None:
        """Hear of everything that is durable, in order; for the journal's `on_commit`.

        So a pause that was in doubt holds as soon as it has come true after all.
        """
        for change in changes:
            if not isinstance(change, Archive) and change.space is Space.META and change.key == KEY:
                self.restore(change.value if isinstance(change, Put) else None)
