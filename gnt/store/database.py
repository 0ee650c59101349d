"""Writing a store: the log and the rows that follow from it, one transaction for each append.

Blocking and synchronous: one thread at a time. What a method has returned is on disk.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import ConfigError, StaleEpoch
from gnt.store import write_ahead
from gnt.store.applying import Standing, apply_entry, cut_after, forget_secrets, is_plain, prepare
from gnt.store.changes import Entry, Put, Space
from gnt.store.migrations import RESTORE_HINT, check_identity, migrate
from gnt.store.reading import Reader, State, connect
from gnt.store.schema import APPLICATION_ID, TABLES, VERSION
from gnt.store.syncing import sync_directory, sync_file

MEMORY: Final = ":memory:"
LOG_ENTRIES: Final = 10_000
LOG_BYTES: Final = 64 * 2**20
# Trimming a few entries at each append would touch the oldest pages every time.
_TRIM_SLACK: Final = 256
HISTORY_AGE: Final = 90 * 86400.0
_HISTORY_TRIM_EVERY: Final = 3600.0
ROOM_AGAIN: Final = 18 * 2**20
"""The most room, in bytes, that a log gets at once which is begun anew because of a secret: changes wait for it."""


@dataclass(frozen=True)
class Limits:
    """How much of the past is kept: log entries and bytes (for catching up), history in seconds."""

    log_entries: int = LOG_ENTRIES
    log_bytes: int = LOG_BYTES
    history_age: float = HISTORY_AGE


@dataclass(frozen=True)
class AppendResult:
    """Whether the entries are on disk.

    `end`: the last position that is known to be the same in both logs; if refused, where to try next.
    """

    stored: bool
    end: Position


class Database(Reader):
    """The one connection that writes. Its properties are the state as of the last transaction."""

    def __init__(self, connection: sqlite3.Connection, path: str, limits: Limits | None = None) -> None:
        super().__init__(connection, path)
        self._limits = limits or Limits()
        self._seen_version = -1
        self._history_trimmed = 0.0
        self._secrets = False
        # Secrets were taken out of the log in this transaction; what they left on the disk is yet to be wiped away.
        self._forgot = False
        self._residue = False
        self._room = 0
        self._bytes = 0
        self._end = START
        prepare(connection)
        self._read_state()

    # Making, opening, closing

    @classmethod
    def create(cls, path: Path | None, cluster_uuid: str, limits: Limits | None = None) -> Self:
        """Make an empty store (0600; None: in memory). Raises `ConfigError` if there is a file already.

        It is made under another name first, so that a crash leaves no half store behind.
        """
        if path is None:
            connection = connect(None)
            _lay_out(connection, cluster_uuid)
            return cls(connection, MEMORY, limits)
        if path.exists():
            raise ConfigError(f"{path} exists already", code="exists", hint="this node is in a cluster already")
        new = path.with_name(path.name + ".new")
        with _told(str(path)):
            new.unlink(missing_ok=True)
            os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            connection = sqlite3.connect(new, isolation_level=None)
            try:
                _lay_out(connection, cluster_uuid)
            finally:
                connection.close()
            sync_file(new)
            new.rename(path)
            sync_directory(path.parent)
        return cls.open(path, limits)

    @classmethod
    def open(cls, path: Path, limits: Limits | None = None) -> Self:
        """Open a store for writing; the caller sees to it that nobody else does. Raises `ConfigError`."""
        connection = connect(path)
        try:
            with _told(str(path)):
                check_identity(connection, str(path))
                # What a removed secret leaves in its pages is overwritten.
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("PRAGMA synchronous = FULL")
                migrate(connection, str(path))
                _check_pages(connection, str(path))
                path.chmod(0o600)
                connection.execute("PRAGMA journal_mode = WAL")
                return cls(connection, str(path), limits)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def adopt(cls, connection: sqlite3.Connection, limits: Limits | None = None) -> Self:
        """Take over a connection to memory, as a daemon that starts again takes over the disk; open work is lost."""
        if connection.in_transaction:
            connection.rollback()
        check_identity(connection, MEMORY)
        migrate(connection, MEMORY)
        return cls(connection, MEMORY, limits)

    @classmethod
    def deserialize(cls, image: bytes, limits: Limits | None = None) -> Self:
        """Make a store in memory from what `serialize` gave."""
        connection = connect(None)
        connection.deserialize(image)
        return cls.adopt(connection, limits)

    def serialize(self) -> bytes:
        """Give the whole store in memory as bytes, as of the last transaction."""
        return self._connection.serialize()

    def close(self) -> None:
        """Fold the write-ahead log in and end the connection: afterwards the file alone is the store.

        A store in memory stays for `adopt`.
        """
        if self.path == MEMORY:
            return
        with _told(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def make_room(self, size: int) -> bool:
        """Let the write-ahead log have `size` bytes of the disk before they are needed, as far as it can spare them.

        Says whether the log has all of them: `gnt.store.write_ahead`.
        """
        self._room = size
        if self.path == MEMORY:
            return True
        with _told(self.path):
            return write_ahead.make_room(self._connection, self.path, size)

    def fold_by_itself(self, pages: int) -> None:
        """Let a commit fold the write-ahead log in when it has so many pages, if nobody has done it before."""
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")

    def fold(self) -> None:
        """Fold in what there is of the write-ahead log: little, once `Vault.checkpoint` has. Raises `ConfigError`.

        When no page is left the log begins anew, in the room that it has.
        """
        with _told(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        if self._residue:
            self._wipe()

    def abandon(self) -> None:
        """End the connection without folding in more than SQLite does by itself."""
        if self.path != MEMORY:
            self._connection.close()

    # What it knows about itself

    @property
    def cluster_uuid(self) -> str:
        """Give the UUID of the cluster whose store this is."""
        return self._state.cluster_uuid

    @property
    def end(self) -> Position:
        """Give the position of the last entry; `START` before the first."""
        return self._end

    @property
    def committed(self) -> int:
        """Give the serial up to which entries are known to be on a majority; never cut off again."""
        return self._state.committed

    @property
    def promised(self) -> Epoch:
        """Give the highest epoch that was promised here."""
        return self._state.promised

    @property
    def base(self) -> Position:
        """Give the position of the last entry that the log does not hold any more."""
        return self._state.base

    def refresh(self) -> None:
        """Look whether another connection has written meanwhile, and read the state anew if so."""
        if self._version() != self._seen_version:
            self._read_state()

    # Writing

    def append(
        self, previous: Position, entries: Sequence[Entry], *, epoch: Epoch | None = None, committed: int = 0
    ) -> AppendResult:
        """Store entries behind `previous`, all in one transaction.

        Entries that are here already stay; others in their place are cut off first, rows and all. `committed` is what
        the caller knows to be on a majority, `epoch` for whom it speaks (None: for this node itself). Refused without
        any change if the log does not hold `previous`. Raises `StaleEpoch` below the promised epoch; `ConfigError` if
        a committed entry were to be cut off, or if the disk does not take it.
        """
        _check_order(previous, entries)
        if epoch is not None and epoch.number < self.promised.number:
            raise StaleEpoch(f"epoch {epoch} is older than {self.promised}, which this node has promised")
        if not self._holds(previous):
            return AppendResult(stored=False, end=self.common(previous))
        new = self._new_part(entries)
        matched = entries[-1].position if entries else previous
        known = max(self.committed, min(committed, matched.serial))
        promise = epoch if epoch is not None and epoch.number > self.promised.number else self.promised
        if not new and known == self.committed and promise == self.promised:
            return AppendResult(stored=True, end=matched)
        if len(new) == 1 and self._is_one_statement(new[0], known):
            self._append_one(new[0], promise, known)
            return AppendResult(stored=True, end=matched)
        with self._transaction():
            if new and new[0].position.serial <= self._end.serial:
                cut_after(self._connection, new[0].position.serial - 1)
                self._next_bytes = self._log_bytes()
            for entry in new:
                self._next_bytes += apply_entry(self._connection, entry, keep_before=entry.position.serial > known)
            self._secrets = self._secrets or any(map(_writes_secret, new))
            self._write_state(promise, known)
            if new:
                self._next_end = matched
                self._trim(new[-1].time)
        return AppendResult(stored=True, end=matched)

    def promise(self, epoch: Epoch) -> bool:
        """Promise to take nothing from an epoch of a lower number. False: that number is promised to another, or past.

        Promising the same epoch again is no change.
        """
        if epoch.number <= self.promised.number:
            return epoch == self.promised
        with self._transaction():
            self._write_state(epoch, self.committed)
        return True

    def mark_committed(self, serial: int) -> None:
        """Record that everything up to `serial` is on a majority."""
        known = max(self.committed, min(serial, self._end.serial))
        if known != self.committed:
            with self._transaction():
                self._write_state(self.promised, known)

    def begin_at(self, base: Position) -> None:
        """Have the log of a restored store, which is empty, begin at a place that no other log has.

        Raises `ConfigError` if it is not empty or would go back.
        """
        if self.end != self.base or base <= self.base:
            raise ConfigError(f"{self.path} cannot begin at {base}", code="bad_entries")
        with self._transaction():
            self._connection.execute(
                "UPDATE state SET base_number = ?, base_node = ?, base_serial = ?, promised_number = ?,"
                " promised_node = ?, committed = ? WHERE id = 1",
                (base.epoch.number, base.epoch.node, base.serial, base.epoch.number, base.epoch.node, base.serial),
            )
            self._next = State(self._state.cluster_uuid, base.epoch, base.serial, base)
            self._next_end = base

    def trim_history(self, before: float) -> None:
        """Forget versions of objects that were replaced before that time (seconds)."""
        with self._transaction():
            self._forget_history(before)

    # Inside

    def _is_one_statement(self, entry: Entry, known: int) -> bool:
        """Say whether an entry can be stored by one statement, which is a transaction by itself."""
        cuts = entry.position.serial <= self._end.serial
        forgets = self._secrets and known != self.committed
        return not cuts and not forgets and is_plain(entry) and not self._must_trim(entry)

    def _append_one(self, entry: Entry, promise: Epoch, known: int) -> None:
        standing = Standing(promise, known, known if known != self.committed else None)
        keep_before = entry.position.serial > known
        with self._transaction(begin=False):
            self._next_bytes += apply_entry(self._connection, entry, keep_before=keep_before, standing=standing)
            self._next = replace(self._state, promised=promise, committed=known)
            self._next_end = entry.position

    def _must_trim(self, entry: Entry) -> bool:
        """Say whether something of the past is to be forgotten once this entry is there; its size does not matter."""
        count = entry.position.serial - self.base.serial
        return (
            entry.time - self._history_trimmed > _HISTORY_TRIM_EVERY
            or count > self._limits.log_entries + _TRIM_SLACK
            or self._bytes > self._limits.log_bytes + self._limits.log_bytes // 16
        )

    def _read_state(self) -> None:
        self._seen_version = self._version()
        self._state: State = self.state()
        self._end = self.log_end()
        self._bytes = self._log_bytes()
        self._secrets = self._connection.execute("SELECT 1 FROM secret_log LIMIT 1").fetchone() is not None

    def _holds(self, position: Position) -> bool:
        if position in (self._end, self.base):
            return True
        return position.serial < self._end.serial and self.position_at(position.serial) == position

    def _new_part(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Leave out the entries that are here already."""
        for index, entry in enumerate(entries):
            serial = entry.position.serial
            here = self.position_at(serial) if serial <= self._end.serial else None
            if here == entry.position or serial <= self.base.serial:
                continue
            if serial <= self.committed:
                raise ConfigError(
                    f"{self.path} holds a committed entry {serial} that differs from the master's",
                    code="diverged",
                    hint="two masters have written: compare the nodes' logs before anything else",
                )
            return entries[index:]
        return ()

    def _write_state(self, promised: Epoch, committed: int) -> None:
        self._connection.execute(
            "UPDATE state SET promised_number = ?, promised_node = ?, committed = ? WHERE id = 1",
            (promised.number, promised.node, committed),
        )
        if committed != self.committed:
            self._connection.execute("DELETE FROM before WHERE serial <= ?", (committed,))
            if self._secrets:
                self._forgot = forget_secrets(self._connection, committed)
        state = self._state
        self._next = State(state.cluster_uuid, promised, committed, state.base)

    def _log_bytes(self) -> int:
        # Lengths come from the record headers; the entries themselves are not read.
        return int(self._connection.execute("SELECT coalesce(sum(length(data)), 0) FROM log").fetchone()[0])

    def _trim(self, now: float) -> None:
        """Forget the oldest entries of the log, and now and then the oldest history; never what is not committed."""
        limits = self._limits
        if now - self._history_trimmed > _HISTORY_TRIM_EVERY:
            self._forget_history(now - limits.history_age)
            self._history_trimmed = now
        count = self._next_end.serial - self._next.base.serial
        slack = limits.log_bytes // 16
        if count <= limits.log_entries + _TRIM_SLACK and self._next_bytes <= limits.log_bytes + slack:
            return
        oldest = self._next_end.serial - limits.log_entries
        left, last = self._next_bytes, 0
        for serial, size in self._connection.execute("SELECT serial, length(data) FROM log ORDER BY serial"):
            if serial > self._next.committed or (serial > oldest and left <= limits.log_bytes):
                break
            left, last = left - size, serial
        if last:
            self._drop_log(last)
            self._next_bytes = left

    def _forget_history(self, before: float) -> None:
        if self._connection.execute("DELETE FROM history WHERE time < ?", (before,)).rowcount:
            self._connection.execute("UPDATE state SET history_from = max(history_from, ?)", (before,))

    def _drop_log(self, last: int) -> None:
        base = self.position_at(last)
        if base is None:
            raise ConfigError(f"{self.path} is damaged: no entry {last} in its log", code="damaged", hint=RESTORE_HINT)
        self._connection.execute("DELETE FROM log WHERE serial <= ?", (last,))
        self._connection.execute("DELETE FROM secret_log WHERE serial <= ?", (last,))
        self._connection.execute(
            "UPDATE state SET base_number = ?, base_node = ?, base_serial = ? WHERE id = 1",
            (base.epoch.number, base.epoch.node, base.serial),
        )
        self._next = replace(self._next, base=base)

    @contextmanager
    def _transaction(self, *, begin: bool = True) -> Iterator[None]:
        """Run the block in a transaction; what is known in memory changes only once that is on disk.

        Without `begin` the block is one statement, which is a transaction by itself.
        """
        self._next, self._next_end, self._next_bytes = self._state, self._end, self._bytes
        with _told(self.path):
            if begin:
                self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                if begin:
                    self._connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        self._state, self._end, self._bytes = self._next, self._next_end, self._next_bytes
        if self.path == MEMORY:
            self._seen_version = self._version()
        elif self._forgot:
            self._forgot, self._residue = False, True
            with suppress(ConfigError):  # the transaction is on the disk whatever becomes of this; the next fold tells
                self._wipe()

    def _wipe(self) -> None:
        """Wipe away what secrets that are gone left in the write-ahead log; while somebody reads there it waits."""
        with _told(self.path):
            self._residue = not write_ahead.wipe(self._connection, self.path, min(self._room, ROOM_AGAIN))

    def _version(self) -> int:
        """Give a number that moves when others write; in memory all share one connection, and its count of changes."""
        if self.path == MEMORY:
            return self._connection.total_changes
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def _writes_secret(entry: Entry) -> bool:
    return any(isinstance(change, Put) and change.space is Space.SECRET for change in entry.changes)


def _check_order(previous: Position, entries: Sequence[Entry]) -> None:
    """Refuse entries that do not follow each other: a fault of the sender, not of the disk."""
    last = previous
    for entry in entries:
        if entry.position.serial != last.serial + 1 or entry.position.epoch < last.epoch:
            raise ConfigError(f"entry {entry.position.serial} cannot follow {last.serial} in a log", code="bad_entries")
        last = entry.position


def _lay_out(connection: sqlite3.Connection, cluster_uuid: str) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.executescript(f"BEGIN; {TABLES} COMMIT;")
    connection.execute("INSERT INTO state (id, version, cluster_uuid) VALUES (1, ?, ?)", (VERSION, cluster_uuid))


def _check_pages(connection: sqlite3.Connection, path: str) -> None:
    """Find a torn file before anything is built on it. Raises `ConfigError`."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise ConfigError(f"{path} is damaged: {found.splitlines()[-1]}", code="damaged", hint=RESTORE_HINT)


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Tell what SQLite says as one of our errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(path, error) from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", code="write_failed") from error


def storage_error(path: str, error: sqlite3.Error) -> ConfigError:
    """Say in one line what SQLite found: no space, damage, or another failure to write."""
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        hint = "free space in the file system of the data directory"
        return ConfigError(f"cannot write {path}: the disk is full", code="no_space", hint=hint)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return ConfigError(f"{path} is damaged: {error}", code="damaged", hint=RESTORE_HINT)
    return ConfigError(f"cannot write {path}: {error}", code="write_failed")
