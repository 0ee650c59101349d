"""The write-ahead log of the store's file: its room on the disk, and what old pages of it may not keep."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Final

from gnt.store.syncing import sync_file

SHARE: Final = 8
"""A log takes one part in so many of what is free: other files on the disk, the call table of all, need theirs."""


def make_room(connection: sqlite3.Connection, path: str, size: int) -> bool:
    """Let the log have `size` bytes of the disk before they are needed, or a share of what is free; says if it has all.

    What is written where the file has its blocks already is on disk with one write; a file that grows needs the
    file system's own log too, which takes three times as long, and waits for whatever else was written there.
    SQLite keeps the room: to write over a log that was folded in is nothing new to it. Raises `sqlite3.Error`.
    """
    log = Path(f"{path}-wal")
    have = log.stat().st_size if log.exists() else 0
    spared = have + shutil.disk_usage(log.parent).free // SHARE
    wanted = min(size, spared)
    if have >= wanted:
        return have >= size
    (pages,) = connection.execute("PRAGMA cache_size").fetchone()
    # What the cache cannot hold goes into the log, and is nothing once it is rolled back.
    connection.execute("PRAGMA cache_size = -64")
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("CREATE TABLE room (filler BLOB)")
        connection.execute("INSERT INTO room VALUES (zeroblob(?))", (wanted,))
    except sqlite3.OperationalError as error:
        # Who changes something is told; until then nobody wants more than to look.
        if error.sqlite_errorname != "SQLITE_FULL":
            raise
        return False
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute(f"PRAGMA cache_size = {pages}")
    sync_file(log)
    return wanted == size


def wipe(connection: sqlite3.Connection, path: str, room: int) -> bool:
    """Begin the log anew, in a room of so many bytes; False while somebody reads there, who is not waited for.

    Its older pages hold what later ones overwrite, a secret that is gone too, until new ones come. Raises
    `sqlite3.Error`.
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
