"""From the tables of an older version to ours, one step at a time.

A step is a function, under the version that it starts from. Each runs with the change of the version number in one
transaction, so a store is never between two versions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from gnt.model.errors import ConfigError
from gnt.store.schema import APPLICATION_ID, VERSION
from gnt.store.version_1 import secrets_apart
from gnt.store.version_2 import parts_of_jobs
from gnt.store.version_3 import ends_of_jobs

Step = Callable[[sqlite3.Connection], None]

MIGRATIONS: Final[Mapping[int, Step]] = {1: secrets_apart, 2: parts_of_jobs, 3: ends_of_jobs}


def check_identity(connection: sqlite3.Connection, path: str) -> None:
    """Refuse a file that another program made. Raises `ConfigError`."""
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if found != APPLICATION_ID:
        raise ConfigError(
            f"{path} was not made by gnt",
            code="foreign_file",
            hint="move it away, or give gnt a data directory of its own",
        )


def found_version(connection: sqlite3.Connection, path: str) -> int:
    """Give the version that the store's own row names. Raises `ConfigError` where there is none."""
    try:
        row = connection.execute("SELECT version FROM state WHERE id = 1").fetchone()
    except sqlite3.OperationalError as error:
        raise ConfigError(f"{path} is damaged: {error}", code="damaged", hint=RESTORE_HINT) from error
    if row is None:
        raise ConfigError(f"{path} is damaged: it names no version", code="damaged", hint=RESTORE_HINT)
    return int(row[0])


RESTORE_HINT: Final = "put back a copy from a backup, or from another master candidate"


def check_version(connection: sqlite3.Connection, path: str) -> None:
    """Refuse a store whose version is not ours, without changing it. Raises `ConfigError` naming both versions."""
    found = found_version(connection, path)
    if found != VERSION:
        raise ConfigError(
            f"{path} has version {found}, this gnt reads version {VERSION}",
            code="version_mismatch",
            hint="run the release of gnt that wrote it, or upgrade it there first",
        )


def migrate(connection: sqlite3.Connection, path: str, steps: Mapping[int, Step] = MIGRATIONS) -> None:
    """Bring an older store to our version; one that no step leads from is refused untouched. Raises `ConfigError`."""
    version = found_version(connection, path)
    if all(number in steps for number in range(version, VERSION)):
        for number in range(version, VERSION):
            connection.execute("BEGIN IMMEDIATE")
            try:
                steps[number](connection)
                connection.execute("UPDATE state SET version = version + 1")
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
    check_version(connection, path)
