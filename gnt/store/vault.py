"""Where a node keeps its store: made, opened, received from the master, given up, and held by one daemon at a time.

In a data directory, or in memory for the simulator.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from pathlib import Path
from typing import Final, Protocol

from gnt.model.errors import ConfigError
from gnt.store.database import Database, Limits, storage_error
from gnt.store.reading import Reader, connect
from gnt.store.syncing import sync_directory, sync_file

IN_USE: Final = "in_use"
"""Code of the error when another daemon holds the store."""

FOLD_AT: Final = 1000
"""What SQLite does if it is not told otherwise: 4 MiB."""
ROOM: Final = 6 * 2**20
"""What the write-ahead log of a daemon has of the disk before it is needed (`Database.make_room`), in bytes."""


class Snapshot(Protocol):
    """A consistent copy of a store on its way to another node. `digest`: SHA-256, lower-case hex; `size` in bytes."""

    digest: str
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Give a piece."""

    def close(self) -> None:
        """Take the copy away."""


class Vault(Protocol):
    """A place for one store."""

    def exists(self) -> bool:
        """Say whether there is a store."""

    def hold(self, owner: str) -> None:
        """Become the only one that may write. Raises `ConfigError` (`in_use`) naming who holds it."""

    def release(self) -> None:
        """Let others write again."""

    def create(self, cluster_uuid: str) -> Database:
        """Make an empty store. Raises `ConfigError`."""

    def open(self) -> Database:
        """Open the store for writing. Raises `ConfigError`."""

    def reader(self, database: Database) -> Reader:
        """Give a connection beside that one for long reads; the caller gives it to `done_reading`."""

    def done_reading(self, reader: Reader) -> None:
        """Take a connection back that `reader` gave."""

    def checkpoint(self) -> None:
        """Fold what is written into the main file, beside the writing."""

    def snapshot(self, database: Database, transfer: str) -> Snapshot:
        """Copy the store, secrets and log included, as of the last transaction; writing may go on meanwhile."""

    def receive(self, transfer: str, offset: int, piece: bytes) -> None:
        """Take a piece of another node's copy; offset 0 begins anew. Raises `ConfigError` on a gap."""

    def received(self, transfer: str, digest: str) -> Database:
        """Check the pieces and open them as a store beside the present one. Raises `ConfigError`."""

    def install(self, transfer: str, new: Database) -> Database:
        """Put a received store in place of the present one, which the caller has closed; gives it, open."""

    def discard(self) -> None:
        """Set the store aside (0600)."""

    def set_aside(self, name: str, content: bytes) -> str:
        """Keep something beside the store (0600), durably; gives where. Raises `ConfigError`."""


class FileSnapshot:
    """A copy in a file beside the store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size
        self.digest = _digest(path)

    def read(self, offset: int, length: int) -> bytes:
        """Give a piece."""
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def close(self) -> None:
        """Take the copy away."""
        self._path.unlink(missing_ok=True)


class FileVault:
    """A store in a file. The lock is a file of its own: closing a file drops all of a process's locks on it.

    `database_type` is what it opens; the simulator has one whose transactions it can cut. A commit folds the
    write-ahead log in at `fold_at` pages.
    """

    database_type: type[Database] = Database

    def __init__(self, path: Path, limits: Limits | None = None, *, fold_at: int = FOLD_AT) -> None:
        self.path = path
        self._limits = limits
        self._fold_at = fold_at
        self._lock: int | None = None

    def exists(self) -> bool:
        """Say whether there is a store."""
        return self.path.exists()

    def hold(self, owner: str) -> None:
        """Become the only one that may write; the lock ends with the process. Raises `ConfigError` (`in_use`)."""
        if self._lock is not None:
            return
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot lock {self.path}: {error.strerror}", code="write_failed") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 100).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise ConfigError(f"{self.path} is in use by {holder}", code=IN_USE) from error
        ours = f"{owner} (pid {os.getpid()})\n".encode()
        # A node daemon comes for each entry of the log: mostly nobody else has been here since.
        if os.pread(descriptor, len(ours) + 1, 0) != ours:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, ours, 0)
        self._lock = descriptor

    def release(self) -> None:
        """Let others write again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def create(self, cluster_uuid: str) -> Database:
        """Make an empty store. Raises `ConfigError`."""
        return self.database_type.create(self.path, cluster_uuid, self._limits)

    def open(self) -> Database:
        """Open the store for writing. Raises `ConfigError`."""
        database = self._ready(self.database_type.open(self.path, self._limits))
        for left in self.path.parent.glob(f"{self.path.name}.sending-*"):
            left.unlink(missing_ok=True)
        return database

    def _ready(self, database: Database) -> Database:
        database.fold_by_itself(self._fold_at)
        return database

    def reader(self, database: Database) -> Reader:  # noqa: ARG002
        """Give a connection of its own, for reading only. Raises `ConfigError`."""
        return Reader.open(self.path)

    def done_reading(self, reader: Reader) -> None:
        """Close it."""
        reader.close()

    def checkpoint(self) -> None:
        """Fold the write-ahead log in on a connection of its own; the writer does not wait. Raises `ConfigError`."""
        connection = connect(self.path)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            raise storage_error(str(self.path), error) from error
        finally:
            connection.close()

    def snapshot(self, database: Database, transfer: str) -> FileSnapshot:  # noqa: ARG002
        """Copy the store on a connection of its own, so that writing goes on meanwhile."""
        target = self._beside("sending", transfer)
        copy_store(self.path, target)
        return FileSnapshot(target)

    def receive(self, transfer: str, offset: int, piece: bytes) -> None:
        """Take a piece of another node's copy; offset 0 begins anew. Raises `ConfigError` on a gap."""
        target = self._beside("receiving", transfer)
        if offset == 0:
            for left in self.path.parent.glob(f"{self.path.name}.receiving-*"):
                left.unlink(missing_ok=True)
        try:
            descriptor = os.open(target, os.O_WRONLY | (os.O_CREAT if offset == 0 else 0), 0o600)
            with os.fdopen(descriptor, "wb") as file:
                if file.seek(0, os.SEEK_END) < offset:
                    raise ConfigError(f"a piece of the store is missing before byte {offset}", code="gap")
                file.seek(offset)
                file.write(piece)
                file.truncate()
        except FileNotFoundError as error:
            raise ConfigError(f"a piece of the store is missing before byte {offset}", code="gap") from error
        except OSError as error:
            raise ConfigError(f"cannot write {target}: {error.strerror}", code="write_failed") from error

    def received(self, transfer: str, digest: str) -> Database:
        """Check the pieces and open them as a store beside the present one. Raises `ConfigError`."""
        target = self._beside("receiving", transfer)
        if not target.exists() or _digest(target) != digest:
            raise ConfigError("the store that was received is incomplete", code="gap")
        sync_file(target)
        return self.database_type.open(target, self._limits)

    def install(self, transfer: str, new: Database) -> Database:
        """Put a received store in place of the present one, which the caller has closed; gives it, open."""
        new.close()
        target = self._beside("receiving", transfer)
        sync_file(target)
        # A write-ahead log of the old store would be taken for one of the new.
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        target.rename(self.path)
        sync_directory(self.path.parent)
        return self._ready(self.database_type.open(self.path, self._limits))

    def discard(self) -> None:
        """Set the store aside (0600), in place of what was set aside before."""
        if self.path.exists():
            aside = self.path.with_name(self.path.name + ".aside")
            self.path.rename(aside)
            aside.chmod(0o600)
            sync_directory(self.path.parent)

    def set_aside(self, name: str, content: bytes) -> str:
        """Keep something beside the store (0600), durably; gives its path. Raises `ConfigError`."""
        target = self.path.with_name(f"{self.path.name}.{name}")
        new = target.with_name(f".{target.name}.new")
        try:
            with os.fdopen(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
                file.write(content)
            sync_file(new)
            new.rename(target)
            sync_directory(self.path.parent)
        except OSError as error:
            raise ConfigError(f"cannot write {target}: {error.strerror}", code="write_failed") from error
        return str(target)

    def _beside(self, what: str, transfer: str) -> Path:
        if not transfer.replace("-", "").isalnum():
            raise ConfigError(f"{transfer!r} cannot be the name of a transfer", code="bad_transfer")
        return self.path.with_name(f"{self.path.name}.{what}-{transfer}")


class MemorySnapshot:
    """A copy in memory."""

    def __init__(self, image: bytes) -> None:
        self._image = image
        self.size = len(image)
        self.digest = hashlib.sha256(image).hexdigest()

    def read(self, offset: int, length: int) -> bytes:
        """Give a piece."""
        return self._image[offset : offset + length]

    def close(self) -> None:
        """Take the copy away."""
        self._image = b""


class MemoryVault:
    """A store in memory: this object is the disk, and outlives the daemons that crash over it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits
        self._disk: sqlite3.Connection | None = None
        self._owner = ""
        self._pieces: dict[str, bytes] = {}
        self.aside: dict[str, bytes] = {}

    def exists(self) -> bool:
        """Say whether there is a store."""
        return self._disk is not None

    def hold(self, owner: str) -> None:
        """Become the only one that may write. Raises `ConfigError` (`in_use`)."""
        if self._owner not in ("", owner):
            raise ConfigError(f"the store is in use by {self._owner}", code=IN_USE)
        self._owner = owner

    def release(self) -> None:
        """Let others write again; the simulator calls it when it kills a daemon."""
        self._owner = ""

    def create(self, cluster_uuid: str) -> Database:
        """Make an empty store. Raises `ConfigError`."""
        if self._disk is not None:
            raise ConfigError("there is a store already", code="exists")
        return self._keep(Database.create(None, cluster_uuid, self._limits))

    def open(self) -> Database:
        """Open the store as the last transaction left it."""
        if self._disk is None:
            raise ConfigError("there is no store", code="no_store", hint="run gnt-cluster init")
        return Database.adopt(self._disk, self._limits)

    def reader(self, database: Database) -> Reader:
        """Give the only connection there is."""
        return database

    def done_reading(self, reader: Reader) -> None:
        """Leave it open."""

    def checkpoint(self) -> None:
        """Nothing to do in memory."""

    def snapshot(self, database: Database, transfer: str) -> MemorySnapshot:  # noqa: ARG002
        """Copy the store."""
        return MemorySnapshot(database.serialize())

    def receive(self, transfer: str, offset: int, piece: bytes) -> None:
        """Take a piece of another node's copy. Raises `ConfigError` on a gap."""
        have = b"" if offset == 0 else self._pieces.get(transfer, b"")
        if len(have) < offset:
            raise ConfigError(f"a piece of the store is missing before byte {offset}", code="gap")
        self._pieces = {transfer: have[:offset] + piece}

    def received(self, transfer: str, digest: str) -> Database:
        """Check the pieces and open them as a store beside the present one. Raises `ConfigError`."""
        image = self._pieces.get(transfer, b"")
        if hashlib.sha256(image).hexdigest() != digest:
            raise ConfigError("the store that was received is incomplete", code="gap")
        return Database.deserialize(image, self._limits)

    def install(self, transfer: str, new: Database) -> Database:
        """Put a received store in place of the present one."""
        self._pieces.pop(transfer, None)
        return self._keep(new)

    def discard(self) -> None:
        """Give the store up."""
        self._disk = None

    def set_aside(self, name: str, content: bytes) -> str:
        """Keep something beside the store."""
        self.aside[name] = content
        return name

    def _keep(self, database: Database) -> Database:
        self._disk = database.connection
        return database


def copy_store(source: Path, target: Path, *, export: bool = False) -> None:
    """Copy a store (0600) as of its last transaction, on a connection of its own.

    An `export` has neither the secrets nor the log that may hold some. Raises `ConfigError`.
    """
    connection = connect(source, read_only=True)
    try:
        target.unlink(missing_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection.execute("VACUUM INTO ?", (str(target),))
        if export:
            strip_store(target)
        sync_file(target)
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise storage_error(str(target), error) from error
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}", code="write_failed") from error
    finally:
        connection.close()


def strip_store(path: Path) -> None:
    """Take the secrets, and the log that may hold some, out of a copy of a store. Raises `ConfigError`."""
    database = Database.open(path)
    connection = database.connection
    end = database.end
    for table in ("secrets", "secret_log", "before", "log"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608
    connection.execute(
        "UPDATE state SET base_number = ?, base_node = ?, base_serial = ? WHERE id = 1",
        (end.epoch.number, end.epoch.node, end.serial),
    )
    connection.execute("VACUUM")
    database.close()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
