"""What the journal has on its way: the changes of one call, and the entry of the log that carries several of them."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.defer import Deferred

from gnt.model.cluster import Cluster
from gnt.model.epoch import Position
from gnt.model.errors import GntError
from gnt.store.changes import Change, Entry, Put


@dataclass
class Item:
    """The changes of one call to `enqueue`, and who waits for them (None: has been told otherwise)."""

    changes: tuple[Change, ...]
    job: int
    cluster: Cluster
    voters: frozenset[str]
    time: float
    waiting: Deferred[Position] | None
    size: int
    moves_voters: bool

    def fail(self, error: GntError) -> None:
        """Tell who waits that it will not be, or that nobody knows."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.errback(error)


@dataclass
class Batch:
    """One entry of the log on its way."""

    entry: Entry
    size: int
    items: list[Item]

    @property
    def serial(self) -> int:
        """Give the serial of the entry."""
        return self.entry.position.serial


def size_of(change: Change) -> int:
    """Give about the bytes that a change has in the log."""
    return len(change.value) + len(change.key) + 16 if isinstance(change, Put) else 64
