"""When a job ended and with which status, as SQL: from its row, and from its parts over it."""

from __future__ import annotations

import sqlite3
from typing import Final


def ended_in(text: str) -> str:
    """Give the expression for the time, in seconds, in JSON with the member `end_timestamp`; null: not yet."""
    return f"({text} ->> '$.end_timestamp[0]') + ({text} ->> '$.end_timestamp[1]') / 1000000.0"


def status_in(text: str) -> str:
    """Give the expression for the status of the last opcode, which is that of a job that is over."""
    return f"{text} ->> '$.ops[#-1].status'"


_VALUE: Final = "CAST(value AS TEXT)"
NOTE_ENDS: Final = f"""
UPDATE jobs SET
    ended = coalesce(
        (SELECT {ended_in(_VALUE)} FROM job_parts WHERE job = jobs.id AND part = 'job'),
        {ended_in(_VALUE)}
    ),
    status = coalesce(
        (
            SELECT {_VALUE} ->> '$.status' FROM job_parts
            WHERE job = jobs.id AND part = 'op/' || (json_array_length(CAST(jobs.value AS TEXT), '$.ops') - 1)
        ),
        {status_in(_VALUE)}
    )
"""  # noqa: S608
"""Works both out anew; the caller says for which jobs."""


def note_ends(connection: sqlite3.Connection, which: str, *values: str) -> None:
    """Work both out anew for the jobs whose ids a query gives, inside the caller's transaction."""
    connection.execute(f"{NOTE_ENDS} WHERE id IN ({which})", values)
