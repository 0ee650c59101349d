"""A node's databases whose transactions can be cut: before they are written, after, and within.

The files and SQLite are the real ones: a transaction is whole or not there, and that is their promise. When the power
fails within a transaction, any beginning of what it wrote may be on disk, and the promise is put to the test.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from gnt.daemon.runtime import Runtime
from gnt.model.errors import ConfigError
from gnt.noded.call_table import CallTable
from gnt.sim.runtime import AFTER, BEFORE
from gnt.store.applying import prepare
from gnt.store.database import Database
from gnt.store.reading import connect
from gnt.store.vault import IN_USE, FileVault

_PATIENCE: Final = 30
"""Seconds that a connection waits for another one, as the store's own."""
FOLD: Final = "PRAGMA wal_checkpoint(TRUNCATE)"


class Cut(Protocol):
    """What a transaction asks on its way."""

    def __call__(self, moment: str, path: str) -> bool:
        """Come by a moment of a transaction in this file: say whether the daemon still lives."""

    def touched(self) -> None:
        """Hear that files were changed in another way than by a transaction."""

    def full(self) -> bool:
        """Say whether the disk takes nothing more."""


class Killed(BaseException):
    """The daemon died in the middle of its work; nothing of it hears of this."""


class DiskFull(sqlite3.OperationalError):
    """What SQLite says when the disk is full."""

    sqlite_errorname = "SQLITE_FULL"

    def __init__(self) -> None:
        super().__init__("database or disk is full")


class CutDatabase(Database):
    """A store that asks at each transaction whether its daemon still lives.

    In a world that goes on in another process its connection is made ready when it is first used: most of those that
    a fault falls on are not any more, and that takes longer than all else.
    """

    cut: Cut | None = None
    _file = 0
    _image: bytes | None = None
    _made: sqlite3.Connection
    _is_ready = True

    @property
    def _connection(self) -> sqlite3.Connection:
        if not self._is_ready:
            self._is_ready = True
            if self._image is None:
                self._made.execute("PRAGMA secure_delete = ON")
                self._made.execute("PRAGMA synchronous = FULL")
            prepare(self._made)
        return self._made

    @_connection.setter
    def _connection(self, connection: sqlite3.Connection) -> None:
        self._made = connection

    def opened(self) -> None:
        """Remember which file this is: another one may take its name."""
        self._file = _number_of(self.path)

    def prepare_to_reopen(self) -> None:
        """Keep what only this process can read: a file that was removed, or replaced, while it was open."""
        gone = _number_of(self.path) != self._file
        self._image = _image_of(self._connection) if gone else None

    def reopen(self) -> sqlite3.Connection:
        """Use a connection of this process; gives the one of the process that this one came from."""
        old, self._is_ready = self._made, False
        if self._image is not None:
            self._made = connect(None)
            self._made.deserialize(self._image)
            return old
        # What it is has been looked at when it was opened the first time.
        self._made = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE)
        self.opened()
        # Of what another connection has written before the copy the daemon need not have heard yet.
        self._seen_version = -1
        return old

    def abandon(self) -> None:
        """End the connection."""
        self._is_ready = True
        super().abandon()

    @contextmanager
    def _transaction(self, *, begin: bool = True) -> Iterator[None]:
        cut = self.cut
        if cut is None:
            with super()._transaction(begin=begin):
                yield
            return
        if not cut(BEFORE, self.path):
            raise Killed
        with super()._transaction(begin=begin):
            if cut.full():
                raise DiskFull
            yield
        cut(AFTER, self.path)


class CutCallTable(CallTable):
    """A table of calls that does likewise."""

    def __init__(self, path: Path, runtime: Runtime, cut: Cut) -> None:
        super().__init__(path, runtime)
        self._cut = cut
        self._name = str(path)
        self._file = 0
        self._image: bytes | None = None

    def _commit(self, works: list[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        if not self._cut(BEFORE, self._name):
            raise Killed
        if self._cut.full():
            raise DiskFull
        results = super()._commit(works)
        self._cut(AFTER, self._name)
        return results

    def reopen(self) -> list[sqlite3.Connection]:
        """Use a connection of this process; gives the one of the process that this one came from."""
        if self._connection is None:
            return []
        old, self._connection = self._connection, None
        if self._image is not None:
            self._connection = connect(None)
            self._connection.deserialize(self._image)
            return [old]
        # Opening would say of calls under way that they are in doubt, as after a crash.
        self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._file = _number_of(self._name)
        return [old]

    def fold_log(self) -> None:
        """Fold the write-ahead log in."""
        if self._connection is not None:
            self._connection.execute(FOLD)

    def prepare_to_reopen(self) -> None:
        """Keep what only this process can read: a node that has left its cluster has the file no more."""
        gone = self._connection is not None and _number_of(self._name) != self._file
        self._image = _image_of(self._connection) if gone and self._connection is not None else None

    def _open(self) -> None:
        super()._open()
        self._file = _number_of(self._name)


class SimVault(FileVault):
    """A node's store as one daemon's life sees it; `abandon` when that ends.

    Who holds which store stands in `holders`, by path: all daemons of a machine are in one process here.
    """

    database_type = CutDatabase

    def __init__(self, path: Path, cut: Cut | None = None, holders: dict[Path, Any] | None = None) -> None:
        super().__init__(path)
        self._cut = cut
        self._opened: list[Database] = []
        self._holders = {} if holders is None else holders

    def hold(self, owner: str) -> None:
        """Become the only one that may write. Raises `ConfigError` (`in_use`)."""
        holder, name = self._holders.setdefault(self.path, (self, owner))
        if holder is not self:
            raise ConfigError(f"{self.path} is in use by {name}", code=IN_USE)

    def release(self) -> None:
        """Let others write again."""
        if self._holders.get(self.path, (None, ""))[0] is self:
            del self._holders[self.path]

    def open(self) -> Database:
        """Open the store for writing."""
        return self._watched(super().open())

    def receive(self, transfer: str, offset: int, piece: bytes) -> None:
        """Take a piece of another node's copy."""
        super().receive(transfer, offset, piece)
        self._touched()

    def install(self, transfer: str, new: Database) -> Database:
        """Put a received store in place."""
        installed = self._watched(super().install(transfer, new))
        self._touched()
        return installed

    def discard(self) -> None:
        """Set the store aside."""
        super().discard()
        self._touched()

    def set_aside(self, name: str, content: bytes) -> str:
        """Keep something beside the store."""
        where = super().set_aside(name, content)
        self._touched()
        return where

    def _touched(self) -> None:
        if self._cut is not None:
            self._cut.touched()

    def abandon(self) -> None:
        """Let go of everything as a dead process does."""
        opened, self._opened = self._opened, []
        for database in opened:
            database.abandon()
        self.release()

    def fold_logs(self) -> None:
        """Fold the write-ahead logs of open stores in."""
        for database in self._opened:
            if _is_open(database) and _number_of(database.path):
                database.connection.execute(FOLD)

    def prepare_to_reopen(self) -> None:
        """Get ready for `reopen` in another process."""
        self._opened = [database for database in self._opened if _is_open(database)]
        for database in self._opened:
            if isinstance(database, CutDatabase):
                database.prepare_to_reopen()

    def reopen(self) -> list[sqlite3.Connection]:
        """Use connections of this process; gives those of the process that this one came from."""
        return [database.reopen() for database in self._opened if isinstance(database, CutDatabase)]

    def _watched(self, database: Database) -> Database:
        if isinstance(database, CutDatabase):
            database.cut = self._cut
            database.opened()
        self._opened.append(database)
        return database


def _in_common(one: bytes, other: bytes) -> int:
    """Give how many bytes two texts have in common from their beginning on."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _image_of(connection: sqlite3.Connection) -> bytes:
    """Give a database as bytes that memory can take."""
    image = bytearray(connection.serialize())
    # Memory has no write-ahead log: these two bytes of the header say that there is one.
    image[18:20] = b"\x01\x01"
    return bytes(image)


def _number_of(path: str) -> int:
    """Give what tells a file from any other; 0 where there is none."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116  (asked at every point of a story)
    except FileNotFoundError:
        return 0


def _is_open(database: Database) -> bool:
    try:
        database.connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


class Readers:
    """Connections that read databases of a world past their daemons; one stays open as long as the file is that one.

    They are read-only: closing one folds nothing in and takes nothing away.
    """

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, sqlite3.Connection]] = {}

    def of(self, path: str) -> sqlite3.Connection:
        """Give a connection to a database. Raises `sqlite3.OperationalError` where there is none."""
        number = _number_of(path)
        known = self._open.get(path)
        if known is not None:
            if known[0] == number:
                return known[1]
            del self._open[path]
            known[1].close()
        fresh = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
        self._open[path] = (number, fresh)
        return fresh

    def close(self, below: str = "") -> None:
        """Close those to files below a directory: they are about to be changed in another way than by SQLite."""
        for path in [path for path in self._open if path.startswith(below)]:
            self._open.pop(path)[1].close()

    def forget(self) -> list[sqlite3.Connection]:
        """Open all anew, in a process that goes on from elsewhere; gives the old ones."""
        left = [connection for _, connection in self._open.values()]
        self._open.clear()
        return left


class Tear:
    """The write-ahead log of a database before a transaction; afterwards a part of what was written is taken away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._main, self._before = self._contents()

    def tear(self, source: random.Random) -> Callable[[], None]:
        """Look at what was written, and give what leaves a part of it on disk once every connection is closed.

        The log was not synced yet, or the transaction would be over: any beginning of what is new may be there.
        """
        if not self._path.exists():
            # It has no name any more: nobody finds it when the machine is up again, torn or not.
            return lambda: None
        main, after = self._contents()
        same = _in_common(self._before, after)
        left = source.randint(same, len(after))
        torn = after[:left] + self._before[left:]
        if main != self._main:
            # The log was folded in, so it had been synced before: all of it is there.
            torn = after

        def put_back() -> None:
            self._path.write_bytes(main)
            self._log.write_bytes(torn)
            self._path.with_name(f"{self._path.name}-shm").unlink(missing_ok=True)

        return put_back

    def _contents(self) -> tuple[bytes, bytes]:
        return tuple(path.read_bytes() if path.exists() else b"" for path in (self._path, self._log))  # type: ignore[return-value]
