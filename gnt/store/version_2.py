"""From version 2 to 3: a table for parts of jobs. Those written before stand whole in their rows, as they still may."""

from __future__ import annotations

import sqlite3


def parts_of_jobs(connection: sqlite3.Connection) -> None:
    """Make the table, inside the caller's transaction."""
    connection.execute(
        "CREATE TABLE job_parts (job INTEGER NOT NULL, part TEXT NOT NULL, value BLOB NOT NULL,"
        " PRIMARY KEY (job, part)) WITHOUT ROWID"
    )
