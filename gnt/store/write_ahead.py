"""The write-ahead log of the store's file: its room on the disk, and what old pages of it may not keep."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final

SHARE: Final = 8
"""A log takes one part in so many of what is free: other files on the disk, the call table of all, need theirs."""

_ZEROS: Final = bytes(2**18)


def make_room(connection: sqlite3.Connection, path: str, size: int) -> bool:
    """Let the log have `size` bytes of the disk before they are needed, or a share of what is free; says if it has all.

    What is written where the file has its blocks already is on disk with one write; a file that grows needs the
    file system's own log too, which takes three times as long, and waits for whatever else was written there.
    SQLite keeps the room: a log ends for it at the first page that does not follow the one before, and zeros follow
    nothing. Written by SQLite itself, in a transaction that is rolled back, they cost six times the processor time.
    Raises `sqlite3.Error`, `OSError`.
    """
    log = Path(f"{path}-wal")
    have = log.stat().st_size if log.exists() else 0
    spared = have + shutil.disk_usage(log.parent).free // SHARE
    wanted = min(size, spared)
    if have >= wanted:
        return have >= size
    # Nobody else may put pages there meanwhile.
    connection.execute("BEGIN IMMEDIATE")
    try:
        _fill(log, wanted)
    except OSError as error:
        # Who changes something is told; until then nobody wants more than to look.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    finally:
        connection.execute("ROLLBACK")
    return wanted == size


def _fill(log: Path, size: int) -> None:
    """Let a file have so many bytes: with zeros behind what it holds. They are on the disk afterwards."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CLOEXEC)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        while end < size:
            end += os.pwrite(descriptor, _ZEROS[: size - end], end)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def wipe(connection: sqlite3.Connection, path: str, room: int) -> bool:
    """Begin the log anew, in a room of so many bytes; False while somebody reads there, who is not waited for.

    Its older pages hold what later ones overwrite, a secret that is gone too, until new ones come. Raises
    `sqlite3.Error`, `OSError`.
    """
    (wait,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {wait}")
    if not busy:
        make_room(connection, path, room)
    return not busy
