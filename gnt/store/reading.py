"""Reading a store: rows, jobs, history, the log, the cluster. Blocking; nothing here writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from gnt.model.cluster import Cluster, Kind, decode
from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import ConfigError
from gnt.model.objects import ClusterSettings, ConfigObject
from gnt.store.changes import Entry, Space, decode_entry
from gnt.store.configuration import CLUSTER_SERIAL, ClusterStamp
from gnt.store.job_parts import merged
from gnt.store.migrations import RESTORE_HINT, check_identity, check_version, found_version
from gnt.store.schema import VERSION
from gnt.store.secrets import PREFIX, join_row, secret_key

# Which jobs are read; the same words find their parts.
_BY_ID: Final = "WHERE id IN (SELECT value FROM json_each(?))"
_LIVE: Final = "INDEXED BY jobs_live WHERE archived = 0"
_UNFINISHED: Final = "INDEXED BY jobs_live WHERE archived = 0 AND ended IS NULL"
_ARCHIVED: Final = "INDEXED BY jobs_archived WHERE archived = 1"
# Where rows stand that have no place among the others.
_KEYED: Final = {
    Space.SECRET: "secrets",
    Space.PART: "(SELECT job || '/' || part AS key, value FROM job_parts)",
}


@dataclass(frozen=True)
class JobRow:
    """A job as it is stored."""

    id: int
    archived: bool
    row: bytes
    parts: tuple[tuple[str, bytes], ...] = ()

    @property
    def value(self) -> bytes:
        """Give the JSON of the whole job. Raises `ConfigError` if it is damaged."""
        return merged(self.row, self.parts)


@dataclass(frozen=True)
class Version:
    """What an object was before the entry at `position` replaced it; `value` None: it did not exist.

    `time` in seconds; `job` made the change (0: none).
    """

    position: Position
    time: float
    job: int
    value: bytes | None


@dataclass(frozen=True)
class State:
    """The row that a store keeps about itself."""

    cluster_uuid: str
    promised: Epoch
    committed: int
    base: Position


class Reader:
    """A connection for reading; sees the last transaction that ended before each of its own reads."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store that another connection may be writing. Raises `ConfigError` if it is none of ours."""
        connection = connect(path, read_only=True)
        try:
            check_identity(connection, str(path))
            check_version(connection, str(path))
        except BaseException:
            connection.close()
            raise
        return cls(connection, str(path))

    @property
    def connection(self) -> sqlite3.Connection:
        """Give the connection itself."""
        return self._connection

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    # The state of the store itself

    def state(self) -> State:
        """Read the store's own row."""
        row = self._connection.execute(
            "SELECT cluster_uuid, promised_number, promised_node, committed, base_number, base_node, base_serial"
            " FROM state WHERE id = 1"
        ).fetchone()
        return State(
            cluster_uuid=row[0],
            promised=Epoch(number=row[1], node=row[2]),
            committed=row[3],
            base=Position(epoch=Epoch(number=row[4], node=row[5]), serial=row[6]),
        )

    def log_end(self) -> Position:
        """Read where the log ends; `START` in a store without any entry."""
        row = self._connection.execute(
            "SELECT epoch_number, epoch_node, serial FROM log ORDER BY serial DESC LIMIT 1"
        ).fetchone()
        return _position(row) if row else self.state().base

    # Rows

    def get(self, space: Space, key: str) -> bytes | None:
        """Give the value of a row, or None; of a job all of it, its parts over its row."""
        if space is Space.JOB:
            row = next(((job.value,) for job in self.jobs(ids=[int(key)])), None)
        elif space is Space.PART:
            job, _, part = key.partition("/")
            query = "SELECT value FROM job_parts WHERE job = ? AND part = ?"
            row = self._connection.execute(query, (int(job), part)).fetchone()
        elif space is Space.SECRET:
            row = self._connection.execute("SELECT value FROM secrets WHERE key = ?", (key,)).fetchone()
        else:
            row = self._connection.execute(
                "SELECT value FROM rows WHERE space = ? AND key = ?", (space, key)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def rows(self, space: Space, prefix: str = "") -> list[tuple[str, bytes]]:
        """Give keys and values whose key begins with `prefix`, sorted by key; for jobs use `jobs`."""
        if space is Space.JOB:
            raise ValueError("jobs are read with jobs()")
        query = f"SELECT key, value FROM {_KEYED.get(space, 'rows')} WHERE key >= ? AND key < ?"  # noqa: S608
        query += f" AND space = '{space}' ORDER BY key" if space not in _KEYED else " ORDER BY key"
        # The greatest code point sorts behind every key that begins with the prefix.
        return [(key, bytes(value)) for key, value in self._connection.execute(query, (prefix, prefix + "\U0010ffff"))]

    def jobs(self, *, live: bool = True, ids: Collection[int] | None = None) -> list[JobRow]:
        """Give jobs in the order of their ids: those in `ids`, wherever they are; else the live or the archived."""
        if ids is not None:
            return self._jobs(_BY_ID, msgspec.json.encode(sorted(set(ids))).decode())
        return self._jobs(_LIVE if live else _ARCHIVED)

    def _jobs(self, which: str, *values: str) -> list[JobRow]:
        with self._one_view():
            return self._read_jobs(which, values)

    def _read_jobs(self, which: str, values: Sequence[str]) -> list[JobRow]:
        parts: dict[int, list[tuple[str, bytes]]] = {}
        query = f"SELECT job, part, value FROM job_parts WHERE job IN (SELECT id FROM jobs {which})"  # noqa: S608
        for job, part, value in self._connection.execute(query, values):
            parts.setdefault(job, []).append((part, bytes(value)))
        query = f"SELECT id, archived, value FROM jobs {which} ORDER BY id"  # noqa: S608
        return [
            JobRow(number, bool(archived), bytes(value), tuple(parts.get(number, ())))
            for number, archived, value in self._connection.execute(query, values)
        ]

    def unfinished_jobs(self) -> list[JobRow]:
        """Give the jobs that are not over, in the order of their ids."""
        return self._jobs(_UNFINISHED)

    def ended_jobs(self, before: float | None = None) -> list[tuple[int, str]]:
        """Give ids and statuses of the jobs that are over and not archived, without reading them.

        Only of those that ended before a time (seconds), if one is given; in the order of their ids.
        """
        query = "SELECT id, status FROM jobs INDEXED BY jobs_live WHERE archived = 0 AND ended IS NOT NULL"
        if before is None:
            return self._connection.execute(f"{query} ORDER BY id").fetchall()
        return self._connection.execute(f"{query} AND ended < ? ORDER BY id", (before,)).fetchall()

    @contextmanager
    def _one_view(self) -> Iterator[None]:
        """Have all reads of the block see the same transaction as the last one."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def job_ids(self, *, live: bool = True) -> list[int]:
        """Give the ids of the live or of the archived jobs, without reading the jobs."""
        query = "SELECT id FROM jobs WHERE archived = 0" if live else "SELECT id FROM jobs WHERE archived = 1"
        return [number for (number,) in self._connection.execute(query + " ORDER BY id")]

    def history(self, key: str, limit: int = 1000) -> list[Version]:
        """Give what an object (`<kind>/<uuid>`) was before each change of it, the newest first."""
        found = self._connection.execute(
            "SELECT epoch_number, epoch_node, serial, time, job, value FROM history WHERE key = ?"
            " ORDER BY serial DESC, number DESC LIMIT ?",
            (key, limit),
        )
        return [Version(_position(row[:3]), row[3], row[4], None if row[5] is None else bytes(row[5])) for row in found]

    def load_cluster(self, *, instances: bool = True) -> Cluster:
        """Build the cluster from its rows; without `instances` only settings, groups and nodes, which takes no time.

        Raises `ConfigError` if the rows are damaged or there is no cluster.
        """
        settings: ClusterSettings | None = None
        objects: list[ConfigObject] = []
        secrets = dict(self.rows(Space.SECRET, PREFIX))
        kinds = [f"{kind}/" for kind in (Kind.CLUSTER, Kind.GROUP, Kind.NODE)] if not instances else [""]
        for key, value in (row for prefix in kinds for row in self.rows(Space.OBJECT, prefix)):
            kind, _, _ = key.partition("/")
            try:
                found = decode(Kind(kind), join_row(kind, value, secrets.get(secret_key(key))))
            except (ValueError, msgspec.DecodeError) as error:
                raise ConfigError(
                    f"{self.path}: {key} is damaged: {error}", code="damaged", hint=RESTORE_HINT
                ) from error
            if isinstance(found, ClusterSettings):
                settings = found
            else:
                objects.append(found)
        stamp = self.get(Space.META, CLUSTER_SERIAL)
        if settings is None or stamp is None:
            raise ConfigError(f"{self.path} holds no cluster", code="no_cluster", hint=RESTORE_HINT)
        when = msgspec.json.decode(stamp, type=ClusterStamp)
        settings = msgspec.structs.replace(settings, serial_no=when.settings_serial_no, mtime=when.settings_mtime)
        return Cluster.of(settings, objects, serial_no=when.serial_no, ctime=when.ctime, mtime=when.mtime)

    # The log

    def position_at(self, serial: int) -> Position | None:
        """Give the position of the entry with this serial; None if it is not in the log (any more)."""
        row = self._connection.execute(
            "SELECT epoch_number, epoch_node, serial FROM log WHERE serial = ?", (serial,)
        ).fetchone()
        if row:
            return _position(row)
        base = self.state().base
        return base if base.serial == serial else None

    def common(self, position: Position) -> Position:
        """Give the last position of this log that another log, which holds `position`, may have too.

        Where the logs differ, asking both sides in turn comes to their common point in as many steps as epochs.
        """
        row = self._connection.execute(
            "SELECT epoch_number, epoch_node, serial FROM log"
            " WHERE serial <= ? AND (epoch_number, epoch_node) <= (?, ?) ORDER BY serial DESC LIMIT 1",
            (position.serial, position.epoch.number, position.epoch.node),
        ).fetchone()
        return _position(row) if row else self.state().base

    def entries_after(self, position: Position, limit_bytes: int) -> list[Entry] | None:
        """Give the entries behind a position, at least one if there is one; None if the log does not hold `position`.

        `limit_bytes` bounds their encoded size together, but for the first.
        """
        if self.position_at(position.serial) != position:
            return None
        entries: list[Entry] = []
        size = 0
        query = "SELECT data FROM log WHERE serial > ? ORDER BY serial"
        for (data,) in self._connection.execute(query, (position.serial,)):
            size += len(data)
            if entries and size > limit_bytes:
                break
            entries.append(decode_entry(data))
        return entries


def is_older(path: Path) -> bool:
    """Say whether an older gnt wrote a store, so that opening it for writing brings it over. Raises `ConfigError`."""
    connection = connect(path, read_only=True)
    try:
        check_identity(connection, str(path))
        return found_version(connection, str(path)) < VERSION
    finally:
        connection.close()


def _position(row: tuple[int, str, int]) -> Position:
    number, node, serial = row
    return START if serial == 0 else Position(epoch=Epoch(number=number, node=node), serial=serial)


def connect(path: Path | None, *, read_only: bool = False) -> sqlite3.Connection:
    """Connect to the file, or to memory of its own for None. Raises `ConfigError` for what is not an SQLite file."""
    if path is None:
        return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        with path.open("rb") as file:
            header = file.read(16)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", code="no_store", hint="run gnt-cluster init") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", code="unreadable") from error
    if header != b"SQLite format 3\0":
        raise ConfigError(f"{path} is not a store of gnt", code="foreign_file", hint=RESTORE_HINT)
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"{path} is damaged: {error}", code="damaged", hint=RESTORE_HINT) from error
    return connection
