"""The fields of jobs, of the rules about them, and of locks: resources `job`, `filter` and `lock`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gnt.masterd.jobs.fields import FIELDS as JOB_FIELDS
from gnt.masterd.jobs.job import Job
from gnt.masterd.queries.fields import (
    NORMAL,
    UNAVAILABLE,
    Bind,
    Cell,
    Field,
    FieldKind,
    Fields,
    attribute,
    fields,
    number,
    other,
    plainly,
    text,
)


class SeenJob(NamedTuple):
    """A job, and whether it is archived."""

    job: Job
    archived: bool


def _job(name: str) -> Bind:
    """Bind a field of a job; what has not happened yet is not available."""
    get: Callable[[Job, bool], Any] = JOB_FIELDS[name]

    def cell(seen: SeenJob) -> Cell:
        value = get(seen.job, seen.archived)
        return UNAVAILABLE if value is None else (NORMAL, value)

    return lambda _view: cell


_JOB: Final[list[tuple[str, str, FieldKind, str]]] = [
    ("id", "ID", FieldKind.NUMBER, "Number of the job"),
    ("status", "Status", FieldKind.TEXT, "Status of the job"),
    ("priority", "Priority", FieldKind.NUMBER, "Priority; lower is more urgent"),
    ("archived", "Archived", FieldKind.BOOL, "Whether it is archived"),
    ("ops", "OpCodes", FieldKind.OTHER, "What it was asked to do"),
    ("opresult", "OpCode_result", FieldKind.OTHER, "Result of each opcode"),
    ("opstatus", "OpCode_status", FieldKind.OTHER, "Status of each opcode"),
    ("oplog", "OpCode_log", FieldKind.OTHER, "What each opcode said"),
    ("opstart", "OpCode_start", FieldKind.OTHER, "When each opcode's turn came"),
    ("opexec", "OpCode_exec", FieldKind.OTHER, "When each opcode had its locks"),
    ("opend", "OpCode_end", FieldKind.OTHER, "When each opcode ended"),
    ("oppriority", "OpCode_prio", FieldKind.OTHER, "Priority of each opcode"),
    ("summary", "Summary", FieldKind.OTHER, "Each opcode in short"),
    ("received_ts", "Received", FieldKind.OTHER, "When it was submitted"),
    ("start_ts", "Start", FieldKind.OTHER, "When it began"),
    ("end_ts", "End", FieldKind.OTHER, "When it ended"),
]

JOB: Final[Fields] = fields(
    "id",
    [
        Field(
            name,
            title,
            kind,
            doc,
            _job(name),
            pair=name in {"received_ts", "start_ts", "end_ts"},
            encoded=name in {"ops", "opresult"},
        )
        for name, title, kind, doc in _JOB
    ],
)

FILTER: Final[Fields] = fields(
    "uuid",
    [
        text("uuid", "UUID", "UUID of the rule", attribute("uuid")),
        number("watermark", "Watermark", "Last job there was when it was set", attribute("watermark")),
        number("priority", "Priority", "Rank among the rules; lower goes first", attribute("priority")),
        other("predicates", "Predicates", "Which jobs it applies to", attribute("predicates")),
        other("action", "Action", "What becomes of them", attribute("action")),
        other("reason_trail", "ReasonTrail", "Who set it, and why", attribute("reason_trail")),
    ],
)

LOCK: Final[Fields] = fields(
    "name",
    [
        text("name", "Name", "Name of the lock", attribute("name")),
        other("mode", "Mode", "exclusive or shared, while somebody holds it", attribute("mode")),
        other("owner", "Owner", "Who holds it", plainly(lambda lock: lock.owners or None)),
        other("pending", "Pending", "Who waits for it, and how", attribute("pending")),
    ],
)
