"""What the journal has on its way: the changes of one call, and the entry of the log that carries several of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import Deferred

from gnt.model.cluster import Cluster
from gnt.model.epoch import Position
from gnt.model.errors import GntError, NoMajority, StaleEpoch
from gnt.store.changes import Change, Entry, Put

ENTRY_BYTES: Final = 192 * 1024


@dataclass
class Item:
    """The changes of one call to `enqueue`, and who waits for them (None: has been told otherwise).

    `within`: who waits does so for this many seconds at most; 0: as long as anybody. `noticed`: it has been said that
    they take long. `patient`: nobody waits for what comes of them.
    """

    changes: tuple[Change, ...]
    job: int
    cluster: Cluster
    voters: frozenset[str]
    time: float
    waiting: Deferred[Position] | None
    size: int
    moves_voters: bool
    within: float = 0.0
    noticed: bool = False
    patient: bool = False

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


def gathered(pending: deque[Item]) -> list[Item]:
    """Take the first changes for one entry, up to a size; a change of voters is an entry of its own."""
    items = [pending.popleft()]
    size = items[0].size
    while pending and not (items[0].moves_voters or pending[0].moves_voters):
        size += pending[0].size
        if size > ENTRY_BYTES:
            break
        items.append(pending.popleft())
    return items


def entry_of(items: Sequence[Item], position: Position, now: float) -> Entry:
    """Make the entry that carries these changes."""
    changes = tuple(change for item in items for change in item.changes)
    return Entry(position, now, changes, tuple(item.job for item in items for _ in item.changes))


def size_of(change: Change) -> int:
    """Give about the bytes that a change has in the log."""
    return len(change.value) + len(change.key) + 16 if isinstance(change, Put) else 64


def in_doubt(error: GntError) -> GntError:
    """Say of changes that are on their way when a term ends that nobody knows: candidates may have them already."""
    text = f"{error.text}; nobody knows whether the change will hold"
    if isinstance(error, NoMajority):
        return NoMajority(text, hint=error.hint, in_doubt=True)
    return StaleEpoch(text, in_doubt=True) if isinstance(error, StaleEpoch) else error
