"""gnt-job: what was asked of the cluster, and what became of it."""

from __future__ import annotations

import sys
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Program, option, unsupported
from gnt.cli.failures import DECLINED, FAILURE, OK, Declined, as_json, exit_status
from gnt.cli.filters import any_value
from gnt.cli.jobs import FINAL, json_of, message_text, wait
from gnt.cli.lists import fields_command, list_objects
from gnt.cli.options import FILTER, FORCE, TABLE
from gnt.cli.tables import time_with_micros
from gnt.cli.terminal import confirm_many, note, say
from gnt.cli.tree import Pairs, show
from gnt.cli.values import job_number
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.wire.luxi import parse_job_id

_PENDING: Final = ("queued", "waiting", "canceling")

_STATUS_FILTERS: Final = (
    option("--pending", help="only jobs that have not begun", dest="status_filter", const=_PENDING),
    option("--running", help="only jobs that run", dest="status_filter", const=("running",)),
    option("--error", help="only jobs that failed", dest="status_filter", const=("error",)),
    option("--finished", help="only jobs that have ended", dest="status_filter", const=tuple(sorted(FINAL))),
)


def _list(call: Call) -> int:
    statuses = call.option("status_filter")
    return list_objects(
        call,
        "job",
        ("id", "status", "summary"),
        name_field="id",
        convert=job_number,
        also=any_value("status", statuses) if statuses else None,
        extra=("archived",) if call.option("archived") else (),
    )


_INFO_FIELDS: Final = (
    "id",
    "status",
    "ops",
    "opresult",
    "opstatus",
    "oplog",
    "opstart",
    "opexec",
    "opend",
    "received_ts",
    "start_ts",
    "end_ts",
)


def _info(call: Call) -> int:
    numbers = [parse_job_id(word) for word in call.arguments]
    rows = call.client.query_jobs(numbers, _INFO_FIELDS)
    found: list[dict[str, Any]] = []
    missing: list[int] = []
    for number, row in zip(numbers, rows, strict=True):
        if row is None or row[1] is None:
            missing.append(number)
        else:
            found.append(dict(zip(_INFO_FIELDS, row, strict=True)))
    if call.json:
        call.print_json(found)
    elif found:
        show([_described(job) for job in found])
    sys.stdout.flush()
    for number in missing:
        note(f"Job ID {number} not found")
    return FAILURE if missing else OK


def _described(job: dict[str, Any]) -> Pairs:
    ops = [
        {name: job[name][number] for name in ("ops", "opstatus", "opresult", "oplog", "opstart", "opexec", "opend")}
        for number in range(len(job["ops"]))
    ]
    received, start, end = job["received_ts"], job["start_ts"], job["end_ts"]
    total = f"{_seconds(end) - _seconds(received):.6f} seconds" if received and end else "N/A"
    return Pairs(
        [
            ("Job ID", job["id"]),
            ("Status", job["status"]),
            ("Received", time_with_micros(received)),
            ("Processing start", _since(start, received)),
            ("Processing end", _since(end, start)),
            ("Total processing time", total),
            ("Opcodes", [_described_op(op) for op in ops]),
        ]
    )


def _described_op(op: dict[str, Any]) -> Pairs:
    fields = {name: value for name, value in op["ops"].items() if name != "OP_ID"}
    return Pairs(
        [
            ("Opcode", op["ops"].get("OP_ID", "?")),
            ("Status", op["opstatus"]),
            ("Processing start", time_with_micros(op["opstart"])),
            ("Execution start", time_with_micros(op["opexec"])),
            ("Processing end", time_with_micros(op["opend"])),
            ("Input fields", fields),
            ("Result", op["opresult"]),
            ("Execution log", [_described_entry(entry) for entry in op["oplog"] or []]),
        ]
    )


def _described_entry(entry: Any) -> Pairs:
    serial, stamp, kind, payload = entry
    return Pairs([("Time", time_with_micros(stamp)), ("Content", (serial, kind, message_text(kind, payload)))])


def _since(stamp: Any, before: Any) -> str:
    text = time_with_micros(stamp)
    return f"{text} (delta {_seconds(stamp) - _seconds(before):.6f}s)" if stamp and before else text


def _seconds(stamp: list[int]) -> float:
    return stamp[0] + stamp[1] / 1e6


def _watch(call: Call) -> int:
    number = parse_job_id(call.arguments[0])
    title = f"Output from job {number} follows"
    if not call.json:
        say(title)
        say("-" * len(title))
    ended = wait(call, number, show=None if call.json else say)
    failure = ended.failure()
    if call.json:
        extra = {"error": as_json(failure)} if failure else {}
        call.print_json({**json_of(ended), "log": ended.log, **extra})
    sys.stdout.flush()
    if failure is None:
        return OK
    if not call.json:
        note(f"Job {number} failed: {failure}")
    return exit_status(failure)


def _cancel(call: Call) -> int:
    numbers = _chosen(call, "cancel")
    answers = [(number, *call.client.cancel_job(number)) for number in numbers]
    if call.json:
        call.print_json([{"job": number, "success": done, "text": text} for number, done, text in answers])
    else:
        for _, _, text in answers:
            say(text)
    return OK if all(done for _, done, _ in answers) else FAILURE


def _chosen(call: Call, verb: str) -> list[int]:
    """Give the jobs that are named, or those that a status filter finds and a person confirms."""
    statuses = call.option("status_filter")
    if statuses and call.arguments:
        raise Refused(WRONG_INPUT, "give job numbers or a status filter, not both")
    if not statuses:
        if not call.arguments:
            raise Refused(WRONG_INPUT, "no job is named", hint="job numbers, or --pending, --queued, --waiting")
        return [parse_job_id(word) for word in call.arguments]
    answer = call.client.query("job", ["id", "summary"], any_value("status", statuses))
    jobs = {int(row[0][1]): ",".join(row[1][1] or []) for row in answer.data}
    if not jobs:
        raise Refused(WRONG_INPUT, f"no job is {' or '.join(statuses)}")
    shown = [f"{number} {summary}" for number, summary in jobs.items()]
    if not call.option("force") and not confirm_many(shown, kind="jobs", verb=verb):
        raise Declined(verb, hint="-f asks no question", status=DECLINED)
    return list(jobs)


_JOBS: Final = Argument("job-id", 1, None, kind="job")
_ANY_JOBS: Final = Argument("job-id", 0, None, kind="job")

PROGRAM = Program(
    name="gnt-job",
    help="look at jobs, follow them and give them up",
    commands=(
        Command(
            name="list",
            help="list jobs, the oldest first",
            run=_list,
            options=(*TABLE, FILTER, *_STATUS_FILTERS, option("--archived", help="also jobs that are archived")),
            arguments=(_ANY_JOBS,),
            examples=("gnt-job list --running", "gnt-job list -o id,summary,received_ts 'status = \"error\"'"),
            text="With --json: a list of objects, one for each job, with raw values by field name.",
        ),
        fields_command("job"),
        Command(name="info", help="show jobs with all their details", run=_info, arguments=(_JOBS,), aliases=("show",)),
        Command(
            name="watch",
            help="follow what a job says until it ends",
            run=_watch,
            arguments=(Argument("job-id", kind="job"),),
            text="With --json: one object with job, status, result and log, when the job has ended.",
        ),
        Command(
            name="cancel",
            help="give up jobs that have not begun",
            run=_cancel,
            options=(
                FORCE,
                option("--pending", help="all jobs that have not begun", dest="status_filter", const=_PENDING[:2]),
                option("--queued", help="all jobs in the queue", dest="status_filter", const=("queued",)),
                option("--waiting", help="all jobs that wait for locks", dest="status_filter", const=("waiting",)),
                unsupported("--kill", hint="a running job ends by itself, with what it did undone or finished"),
                unsupported("--yes-do-it", "--ya-rly"),
            ),
            arguments=(_ANY_JOBS,),
        ),
    ),
    unsupported={"archive": "", "autoarchive": "", "wait": "gnt-job watch", "change-priority": ""},
)
