"""Jobs."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gnt.model.errors import GntError
from gnt.rapi import body
from gnt.rapi.errors import not_found
from gnt.rapi.resources.base import BULK, Access, Call, changes, flag, reads, shows
from gnt.rapi.resources.shapes import listing, shape

BULK_FIELDS: Final = ("id", "ops", "status", "summary", "opstatus", "received_ts", "start_ts", "end_ts")
FIELDS: Final = (*BULK_FIELDS, "oplog", "opresult")
WAIT: Final = 10.0


class Wait(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the body of a wait says: which fields, what they were, which log entries are known."""

    fields: list[str]
    previous_job_info: list[Any] | None = None
    previous_log_serial: int | None = None


async def jobs(call: Call) -> list[dict[str, Any]]:
    """Give all jobs that are not archived: with `bulk=1` their fields, else number and URI."""
    if call.query.flag("bulk"):
        found = await _jobs(call, None, BULK_FIELDS)
        return [dict(zip(BULK_FIELDS, row, strict=True)) for row in found if row is not None]
    numbers = sorted(row[0] for row in await _jobs(call, None, ("id",)) if row is not None)
    return [{"id": number, "uri": f"/2/jobs/{number}"} for number in numbers]


async def job(call: Call) -> dict[str, Any]:
    """Give one job, archived or not."""
    number = _number(call)
    found = await _jobs(call, [number], FIELDS)
    row = found[0] if found else None
    if row is None or all(value is None for value in row[1:]):
        raise _no_job(number)
    return dict(zip(FIELDS, row, strict=True))


async def cancel(call: Call) -> Any:
    """Cancel a job; give whether this was possible, and a sentence."""
    return await call.master.change("CancelJob", _number(call))


async def wait(call: Call) -> dict[str, Any] | None:
    """Wait until fields of a job change or it logs something; null if nothing does for a while."""
    given = body.as_form(call.body, Wait)
    change = await call.master.wait_for_job_change(
        _number(call), given.fields, given.previous_job_info, given.previous_log_serial, WAIT
    )
    return None if change is None else {"job_info": change.info, "log_entries": change.entries}


def _number(call: Call) -> int:
    """Give the number of the job that the path names; numbers that no job can have are unknown jobs."""
    number = int(call.names["job_id"][:20])
    if not 0 < number < 2**62:
        raise _no_job(number)
    return number


def _no_job(number: int) -> GntError:
    return not_found(f"There is no job {number}")


async def _jobs(call: Call, numbers: list[int] | None, fields: tuple[str, ...]) -> list[list[Any] | None]:
    answer = await call.ask("QueryJobs", numbers, list(fields))
    if not isinstance(answer, list) or not all(_fits(row, len(fields)) for row in answer):
        raise GntError("luxi_error", "the master answered QueryJobs with something else")
    return answer


def _fits(row: Any, length: int) -> bool:
    return row is None or (isinstance(row, list) and len(row) == length)


_CANCELED: Final = {"type": "array", "items": {"type": ["boolean", "string"]}, "minItems": 2, "maxItems": 2}

ROWS: Final = (
    shows("/2/jobs", jobs, query=(BULK,), gives=listing(BULK_FIELDS, "id")),
    shows("/2/jobs/[job_id]", job, gives=shape(FIELDS)),
    changes("DELETE", "/2/jobs/[job_id]", cancel, query=(flag("dry-run"),), gives=_CANCELED),
    reads("/2/jobs/[job_id]/wait", wait, Access.WRITE, given=Wait),
)
