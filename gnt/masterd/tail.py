"""The newest entries of the log in memory, encoded once, for all candidates that are up to date."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from gnt.model.epoch import Position

TAIL_BYTES: Final = 16 * 2**20


class Tail:
    """Entries behind `base`, in order. What a slow candidate needs and is not here is read from the disk."""

    def __init__(self, base: Position, limit: int = TAIL_BYTES) -> None:
        self.base = base
        self._limit = limit
        self._positions: list[Position] = []
        self._entries: list[bytes] = []
        self._bytes = 0

    @property
    def end(self) -> Position:
        """Give the position of the newest entry."""
        return self._positions[-1] if self._positions else self.base

    def add(self, position: Position, entry: bytes) -> None:
        """Add the next entry."""
        self._positions.append(position)
        self._entries.append(entry)
        self._bytes += len(entry)

    def after(self, position: Position, limit: int) -> list[tuple[Position, bytes]] | None:
        """Give the entries behind a position, at least one if there is one, else up to `limit` bytes.

        None if the position is too old to be here.
        """
        if position == self.base:
            first = 0
        else:
            first = bisect_right(self._positions, position)
            if first == 0 or self._positions[first - 1] != position:
                return None
        found: list[tuple[Position, bytes]] = []
        size = 0
        for index in range(first, len(self._positions)):
            size += len(self._entries[index])
            if found and size > limit:
                break
            found.append((self._positions[index], self._entries[index]))
        return found

    def cut_after(self, position: Position) -> None:
        """Forget what is newer; for entries that nobody has seen."""
        keep = bisect_right(self._positions, position)
        self._bytes -= sum(map(len, self._entries[keep:]))
        del self._positions[keep:], self._entries[keep:]

    def shrink(self, stored: int, needed: int) -> None:
        """Forget entries that are on the local disk (up to `stored`) and that nobody needs (up to `needed`).

        When they grow too large, also those that a slow candidate still needs.
        """
        gone, size = 0, self._bytes
        for position, entry in zip(self._positions, self._entries, strict=True):
            if position.serial > stored or (position.serial > needed and size <= self._limit):
                break
            gone += 1
            size -= len(entry)
        # Leaving a list at its front costs as much as the rest is long: not for every entry.
        if gone and (gone >= 64 or gone == len(self._positions)):
            self.base = self._positions[gone - 1]
            del self._positions[:gone], self._entries[:gone]
            self._bytes = size
