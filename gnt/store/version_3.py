"""From version 3 to 4: which jobs are over can be seen without reading them."""

from __future__ import annotations

import sqlite3

from gnt.store.job_ends import note_ends


def ends_of_jobs(connection: sqlite3.Connection) -> None:
    """Make the columns, and work out what stands in them, inside the caller's transaction."""
    connection.execute("DROP INDEX jobs_live")
    connection.execute("ALTER TABLE jobs DROP COLUMN status")
    connection.execute("ALTER TABLE jobs ADD COLUMN ended REAL")
    connection.execute("ALTER TABLE jobs ADD COLUMN status TEXT")
    note_ends(connection, "SELECT id FROM jobs")
    connection.execute("CREATE INDEX jobs_live ON jobs (id, ended, status) WHERE archived = 0")
