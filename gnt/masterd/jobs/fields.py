"""The values of a job's fields, as QueryJobs and WaitForJobChange give them: `spec/jobs.md`, section 4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from gnt.masterd.jobs.job import Job, summary
from gnt.model.errors import WRONG_INPUT, Refused

# Each takes the job and whether it is archived; values are what msgspec encodes to the JSON of the field.
FIELDS: Final[dict[str, Callable[[Job, bool], Any]]] = {
    "id": lambda job, _: job.id,
    "status": lambda job, _: job.status,
    "priority": lambda job, _: job.priority,
    "archived": lambda _, archived: archived,
    "ops": lambda job, _: [op.input for op in job.ops],
    "opresult": lambda job, _: [op.result for op in job.ops],
    "opstatus": lambda job, _: [op.status for op in job.ops],
    "oplog": lambda job, _: [op.log for op in job.ops],
    "opstart": lambda job, _: [op.start_timestamp for op in job.ops],
    "opexec": lambda job, _: [op.exec_timestamp for op in job.ops],
    "opend": lambda job, _: [op.end_timestamp for op in job.ops],
    "oppriority": lambda job, _: [op.priority for op in job.ops],
    "summary": lambda job, _: [summary(op) for op in job.ops],
    "received_ts": lambda job, _: job.received_timestamp,
    "start_ts": lambda job, _: job.start_timestamp,
    "end_ts": lambda job, _: job.end_timestamp,
}


def values_of(fields: Sequence[str]) -> Callable[[Job, bool], list[Any]]:
    """Give the function that makes a row of these fields. Raises `Refused` (`wrong_input`), naming unknown ones."""
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise Refused(WRONG_INPUT, f"Unknown output fields selected: {', '.join(map(str, unknown))}")
    getters = [FIELDS[name] for name in fields]
    return lambda job, archived: [get(job, archived) for get in getters]


def plain(values: list[Any]) -> Any:
    """Give values as a client sees them after a round trip through JSON."""
    return msgspec.json.decode(msgspec.json.encode(values))
