"""The node's memory of changing calls, and of the epoch that it has promised: one SQLite file.

A row says that a call was begun, before it has any effect, and later how it ended. One writer, in the pool `calls`:
while one transaction is on its way to the disk the next gathers, so many calls that arrive together share one fsync.
Arguments are never written down, so no secret of a call is found here; the file is 0600 all the same.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.model.epoch import START, Epoch
from gnt.model.errors import ConfigError, NodeFailure

log: Final = Logger()

T = TypeVar("T")
State = Literal["started", "done", "failed", "in_doubt"]

VERSION: Final = 1
KEEP_SECONDS: Final = 7 * 86400.0
KEEP_ROWS: Final = 10_000
# A row that a master may still ask about stays, however many calls came after it.
KEEP_AT_LEAST: Final = 3600.0
TRIM_EVERY: Final = 500
TRIM_BATCH: Final = 1000

_SCHEMA: Final = """
CREATE TABLE promise (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, node TEXT NOT NULL);
CREATE TABLE calls (
    id TEXT PRIMARY KEY, tag TEXT NOT NULL, number INTEGER NOT NULL, node TEXT NOT NULL, lane TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('started', 'done', 'failed', 'in_doubt')), answer BLOB, time REAL NOT NULL
);
CREATE INDEX calls_by_time ON calls (time);
"""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded call. `answer` is the encoded answer of one that ended; `time` when it began or ended."""

    id: str
    tag: str
    epoch: Epoch
    lane: str
    state: State
    answer: bytes | None
    time: float


class CallTable:
    """The table of calls of one node. `open` first; everything else is `async` and answered once it is on disk.

    A write that fails (full disk) raises `NodeFailure` `call_table`, which may be tried again later.
    """

    def __init__(self, path: Path, runtime: Runtime) -> None:
        self._path = path
        self._runtime = runtime
        self._pool = runtime.pools("calls")
        self._connection: sqlite3.Connection | None = None
        self._queue: list[tuple[Callable[[sqlite3.Connection], Any], Deferred[Any]]] = []
        self._busy = False
        self._since_trim = 0
        # Ends that the disk did not take: (state, answer, time, id), for the next transaction that it takes.
        self._late: list[tuple[State, bytes, float, str]] = []
        self.promised: Epoch = START.epoch
        self.known: set[str] = set()
        self.left_open: list[Row] = []

    async def open(self) -> None:
        """Open or make the file; what was begun and not ended is in doubt from now on (`left_open` lists it).

        Raises `ConfigError` if the file is damaged or of another version.
        """
        await self._pool.run(self._open)

    async def close(self) -> None:
        """Fold the write-ahead log in and close the file, after every write that was asked for."""
        if self._connection is not None:
            await self._write(lambda _: None)
            await self._pool.run(self._close)

    def abandon(self) -> None:
        """Let go of the file at once, as a crash does: what is not on disk never will be."""
        self._close()

    async def begin(self, row: Row) -> None:
        """Record that a call begins, and that its epoch was seen."""
        await self._write(lambda connection: self._begin(connection, row))
        self.known.add(row.id)
        self._saw(row.epoch)

    async def forget(self, call: str) -> None:
        """Take back a `begin` after which nothing was done."""
        await self._write(lambda connection: connection.execute("DELETE FROM calls WHERE id = ?", (call,)))
        self.known.discard(call)

    async def finish(self, call: str, state: State, answer: bytes) -> None:
        """Record how a call ended; if that cannot be written now it is with whatever is written next."""
        end = (state, answer, self._runtime.now(), call)
        try:
            await self._write(lambda connection: connection.execute(_END, end))
        except NodeFailure:
            self._late.append(end)
            raise
        self._since_trim += 1
        if self._since_trim >= TRIM_EVERY:
            self._since_trim = 0
            Deferred.fromCoroutine(self.trim()).addErrback(
                lambda failure: log.failure("trimming the call table", failure=failure)
            )

    async def promise(self, epoch: Epoch) -> None:
        """Record that nothing of a lower number is taken any more; a lower number changes nothing."""
        await self._write(lambda connection: _raise_promise(connection, epoch))
        self._saw(epoch)

    async def look_up(self, call: str) -> Row | None:
        """Find a call that was begun at some time; None also for one that was trimmed long after it ended."""
        if call not in self.known:
            return None
        row: Row | None = await self._write(lambda connection: _find(connection, call))
        return row

    async def trim(self) -> int:
        """Drop ended calls that are a week old, or over ten thousand and an hour old; gives how many."""
        total = 0
        now = self._runtime.now()
        while True:
            gone: list[str] = await self._write(lambda connection: _trim(connection, now))
            self.known.difference_update(gone)
            total += len(gone)
            if len(gone) < TRIM_BATCH:
                return total

    def _saw(self, epoch: Epoch) -> None:
        if epoch.number > self.promised.number:
            self.promised = epoch

    def _begin(self, connection: sqlite3.Connection, row: Row) -> None:
        _raise_promise(connection, row.epoch)
        connection.execute(
            "INSERT INTO calls (id, tag, number, node, lane, state, time) VALUES (?, ?, ?, ?, ?, 'started', ?)",
            (row.id, row.tag, row.epoch.number, row.epoch.node, row.lane, row.time),
        )

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Do `work` in the next transaction; the Deferred fires when that is on disk."""
        done: Deferred[T] = Deferred()
        self._queue.append((work, done))
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._pump()).addErrback(
                lambda failure: log.failure("writing the call table", failure=failure)
            )
        return done

    async def _pump(self) -> None:
        """Write what has gathered, in one transaction after the other, until nothing is left."""
        while self._queue:
            batch, self._queue = self._queue, []
            late, works = tuple(self._late), [work for work, _ in batch]
            if late:
                works.insert(0, partial(_record_ends, ends=late))
            try:
                results = (await self._pool.run(self._commit, works))[-len(batch) :]
            except sqlite3.Error as problem:
                error = NodeFailure("call_table", f"{self._path} cannot be written: {problem}", retry=True)
                for _, done in batch:
                    done.errback(error)
            else:
                del self._late[: len(late)]
                for (_, done), result in zip(batch, results, strict=True):
                    done.callback(result)
        self._busy = False

    def _commit(self, works: list[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        """Run the works in one transaction. In the pool."""
        connection = self._connection
        if connection is None:
            raise sqlite3.OperationalError("the table is closed")
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [work(connection) for work in works]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def _open(self) -> None:
        """Open the file and read what is needed at once. In the pool."""
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as problem:
            raise ConfigError(f"{self._path}: {problem}") from None
        try:
            self._prepare(connection)
        except sqlite3.DatabaseError as problem:
            connection.close()
            raise ConfigError(f"{self._path}: {problem}", hint=_DAMAGED) from None
        except ConfigError:
            connection.close()
            raise
        self._connection = connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if _check_version(self._path, connection) == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("SELECT number, node FROM promise").fetchone()
        self.promised = Epoch(number=found[0], node=found[1]) if found else START.epoch
        self.left_open = [_row(one) for one in connection.execute(f"{_COLUMNS} WHERE state = 'started'")]
        connection.execute("UPDATE calls SET state = 'in_doubt' WHERE state = 'started'")
        self.known = {one for (one,) in connection.execute("SELECT id FROM calls")}
        connection.execute("COMMIT")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_END: Final = "UPDATE calls SET state = ?, answer = ?, time = ? WHERE id = ?"
_COLUMNS: Final = "SELECT id, tag, number, node, lane, state, answer, time FROM calls"


def _row(found: tuple[Any, ...]) -> Row:
    call, tag, number, node, lane, state, answer, time = found
    epoch = Epoch(number=number, node=node)
    return Row(id=call, tag=tag, epoch=epoch, lane=lane, state=state, answer=answer, time=time)


def _find(connection: sqlite3.Connection, call: str) -> Row | None:
    found = connection.execute(f"{_COLUMNS} WHERE id = ?", (call,)).fetchone()
    return None if found is None else _row(found)


def _record_ends(connection: sqlite3.Connection, *, ends: tuple[tuple[State, bytes, float, str], ...]) -> None:
    connection.executemany(_END, ends)


def _raise_promise(connection: sqlite3.Connection, epoch: Epoch) -> None:
    connection.execute(
        "INSERT INTO promise (one, number, node) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE"
        " SET number = excluded.number, node = excluded.node WHERE excluded.number > promise.number",
        (epoch.number, epoch.node),
    )


def _trim(connection: sqlite3.Connection, now: float) -> list[str]:
    """Drop one batch of old rows; those still under way are never old."""
    (count,) = connection.execute("SELECT count(*) FROM calls").fetchone()
    over = max(0, min(TRIM_BATCH, count - KEEP_ROWS))
    old = connection.execute(
        "SELECT id FROM calls WHERE state != 'started' AND time < ? ORDER BY time LIMIT ?",
        (now - KEEP_SECONDS, TRIM_BATCH),
    ).fetchall()
    if len(old) < over:
        old = connection.execute(
            "SELECT id FROM calls WHERE state != 'started' AND time < ? ORDER BY time LIMIT ?",
            (now - KEEP_AT_LEAST, over),
        ).fetchall()
    connection.executemany("DELETE FROM calls WHERE id = ?", old)
    return [call for (call,) in old]


def check_table(path: Path) -> None:
    """Refuse a table that cannot be used, changing nothing; none at all is fine. Blocks. Raises `ConfigError`."""
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        try:
            _check_version(path, connection)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as problem:
        raise ConfigError(f"{path}: {problem}", hint=_DAMAGED) from None


_DAMAGED: Final = "move the damaged file away; it holds no data"


def _check_version(path: Path, connection: sqlite3.Connection) -> int:
    """Give the version of a table (0: a new one), or refuse one that we do not know."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in {0, VERSION}:
        raise ConfigError(f"{path}: version {version} of the call table is not known to this program")
    return int(version)
