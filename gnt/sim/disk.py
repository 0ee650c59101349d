"""A node's store whose transactions can be cut: before they are written, and after, before anybody hears of it.

The file and SQLite are the real ones: a transaction is whole or not there, and that is their promise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gnt.sim.runtime import AFTER, BEFORE
from gnt.store.database import Database
from gnt.store.vault import FileVault

Cut = Callable[[str], bool]
"""Called before and after each transaction; says whether the daemon still lives."""


class Killed(BaseException):
    """The daemon died in the middle of its work; nothing of it hears of this."""


class CutDatabase(Database):
    """A store that asks at each transaction whether its daemon still lives."""

    cut: Cut | None = None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self.cut is not None and not self.cut(BEFORE):
            raise Killed
        with super()._transaction():
            yield
        if self.cut is not None:
            self.cut(AFTER)


class SimVault(FileVault):
    """A node's store as one daemon's life sees it; `abandon` when that ends."""

    database_type = CutDatabase

    def __init__(self, path: Path, cut: Cut | None = None) -> None:
        super().__init__(path)
        self._cut = cut
        self._opened: list[Database] = []

    def open(self) -> Database:
        """Open the store for writing."""
        return self._watched(super().open())

    def install(self, transfer: str, new: Database) -> Database:
        """Put a received store in place."""
        return self._watched(super().install(transfer, new))

    def abandon(self) -> None:
        """Let go of everything as a dead process does."""
        opened, self._opened = self._opened, []
        for database in opened:
            database.abandon()
        self.release()

    def _watched(self, database: Database) -> Database:
        if isinstance(database, CutDatabase):
            database.cut = self._cut
        self._opened.append(database)
        return database
