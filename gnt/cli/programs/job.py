"""gnt-job: what was asked of the cluster, and what became of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Program, option
from gnt.cli.failures import DECLINED, FAILURE, OK, Declined, as_json, exit_status, json_line
from gnt.cli.filters import any_value
from gnt.cli.jobs import json_of, message_text, wait, waits_text
from gnt.cli.list_commands import LISTS, NOT_BEGUN
from gnt.cli.options import FORCE, PRIORITIES, PRIORITY, YES_DO_IT
from gnt.cli.tables import time_with_micros
from gnt.cli.terminal import confirm_many, note, say
from gnt.cli.tree import Pairs, show
from gnt.cli.values import seconds
from gnt.model.errors import WRONG_INPUT, JobLost, Refused
from gnt.wire.luxi_frames import parse_job_id

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
    waits = {job["id"]: _waits(call, job["id"]) for job in found if job["status"] in NOT_BEGUN}
    if call.json:
        call.print_json([{**job, "waits": waits.get(job["id"])} for job in found])
    elif found:
        show([_described(job, waits) for job in found])
    sys.stdout.flush()
    for number in missing:
        lost = JobLost(f"Job ID {number} not found")
        note(json_line(lost) if call.json else lost.text)
    return FAILURE if missing else OK


def _waits(call: Call, number: int) -> dict[str, Any] | None:
    """Ask what a job waits for; it may have begun, or gone, by now."""
    try:
        return call.client.explain_job(number)
    except JobLost:
        return None


def _described(job: dict[str, Any], waits: dict[int, Any]) -> Pairs:
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
            *([("Waiting", waits_text(waits[job["id"]], job["status"]))] if waits.get(job["id"]) else []),
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


def _wait(call: Call) -> int:
    """Wait in silence."""
    number = parse_job_id(call.arguments[0])
    ended = wait(call, number, show=None)
    failure = ended.failure()
    if call.json:
        extra = {"error": as_json(failure)} if failure else {}
        call.print_json({**json_of(ended), **extra})
    if failure is None:
        return OK
    if not call.json:
        note(f"Job {number} failed: {failure}")
    return exit_status(failure)


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
    kill = bool(call.option("kill"))
    if kill and not call.option("yes_do_it"):
        hint = "what it began is undone or finished; --yes-do-it says that it is really meant"
        raise Refused(WRONG_INPUT, "--kill ends jobs that run, and needs --yes-do-it", hint=hint)
    if call.option("status_filter") == RUNNING and not kill:
        raise Refused(WRONG_INPUT, "a job that runs is not canceled", hint="--kill --yes-do-it ends it all the same")
    numbers = _chosen(call, "cancel")
    return _told(call, [(number, *call.client.cancel_job(number, kill=kill)) for number in numbers])


def _change_priority(call: Call) -> int:
    word = call.option("priority")
    if word is None:
        raise Refused(WRONG_INPUT, "no priority is given", hint="--priority low, normal or high")
    numbers = _chosen(call, "change-priority")
    return _told(call, [(number, *_changed(call, number, PRIORITIES[word])) for number in numbers])


def _changed(call: Call, number: int, priority: int) -> tuple[bool, str]:
    try:
        return call.client.change_job_priority(number, priority)
    except JobLost as lost:
        return False, lost.text


def _told(call: Call, answers: Sequence[tuple[int, bool, str]]) -> int:
    """Print what the master said of each job, and give the exit status."""
    if call.json:
        call.print_json([{"job": number, "success": done, "text": text} for number, done, text in answers])
    else:
        for _, _, text in answers:
            say(text)
    return OK if all(done for _, done, _ in answers) else FAILURE


def _archive(call: Call) -> int:
    numbers = [parse_job_id(word) for word in call.arguments]
    done = {number: call.client.archive_job(number) for number in numbers}
    if call.json:
        call.print_json([{"job": number, "success": success} for number, success in done.items()])
    for number in [] if call.json else [number for number, success in done.items() if not success]:
        note(f"Failed to archive job with ID '{number}'")
    return OK if all(done.values()) else FAILURE


def _auto_archive(call: Call) -> int:
    word = call.arguments[0]
    try:
        age = -1 if word == "all" else seconds(word)
    except ValueError as problem:
        raise Refused(WRONG_INPUT, f"age: {problem}", hint="or all, for every job that has ended") from None
    archived, left = call.client.auto_archive_jobs(age, _ARCHIVE_WITHIN)
    if call.json:
        call.print_json({"archived": archived, "unchecked": left})
    else:
        say(f"Archived {archived} jobs, {left} unchecked left")
    return OK


_ARCHIVE_WITHIN: Final = 30.0
"""Seconds that the master works on it; who wants more calls again."""


def _chosen(call: Call, verb: str) -> list[int]:
    """Give the jobs that are named, or those that a status filter finds and a person confirms."""
    statuses = call.option("status_filter")
    if statuses and call.arguments:
        raise Refused(WRONG_INPUT, "give job numbers or a status filter, not both")
    if not statuses:
        if not call.arguments:
            raise Refused(
                WRONG_INPUT, "no job is named", hint="job numbers, or --pending, --queued, --waiting, --running"
            )
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
RUNNING: Final = ("running",)
_ANY_JOBS: Final = Argument("job-id", 0, None, kind="job")
_WHICH: Final = (
    FORCE,
    option("--pending", help="all jobs that have not begun", dest="status_filter", const=NOT_BEGUN[:2]),
    option("--queued", help="all jobs in the queue", dest="status_filter", const=("queued",)),
    option("--waiting", help="all jobs that wait for locks", dest="status_filter", const=("waiting",)),
    option("--running", help="all jobs that run", dest="status_filter", const=RUNNING),
)

PROGRAM = Program(
    name="gnt-job",
    help="look at jobs, follow them and give them up",
    commands=(
        *LISTS["gnt-job"],
        Command(
            name="info",
            help="show jobs with all their details",
            run=_info,
            arguments=(_JOBS,),
            aliases=("show",),
            text="""
                Of a job that does not run yet it says what it waits for, who holds that, and its
                place in line. With --json: a list of objects; "waits" has that, or null.
            """,
            examples=("gnt-job info 17",),
        ),
        Command(
            name="watch",
            help="follow what a job says until it ends",
            run=_watch,
            arguments=(Argument("job-id", kind="job"),),
            text="With --json: one object with job, status, result and log, when the job has ended.",
            examples=("gnt-job watch 17",),
        ),
        Command(
            name="cancel",
            help="give up jobs that have not begun",
            run=_cancel,
            options=(
                *_WHICH,
                option("--kill", help="jobs that run too: what they began is undone or finished"),
                YES_DO_IT,
            ),
            arguments=(_ANY_JOBS,),
            examples=(
                "gnt-job cancel 17",
                "gnt-job cancel --kill --yes-do-it 17",
            ),
        ),
        Command(
            name="wait",
            help="wait in silence until a job ends",
            run=_wait,
            arguments=(Argument("job-id", kind="job"),),
            examples=("gnt-job wait 17 && gnt-instance list",),
        ),
        Command(
            name="change-priority",
            help="change the priority of what jobs have yet to do",
            run=_change_priority,
            options=(*_WHICH, PRIORITY),
            arguments=(_ANY_JOBS,),
            examples=("gnt-job change-priority --priority=high 17",),
        ),
        Command(
            name="archive",
            help="archive jobs that have ended",
            run=_archive,
            arguments=(_JOBS,),
            examples=("gnt-job archive 17 18",),
        ),
        Command(
            name="autoarchive",
            help="archive all jobs that ended longer ago than an age; all: every one",
            run=_auto_archive,
            arguments=(Argument("age"),),
            examples=("gnt-job autoarchive 2d", "gnt-job autoarchive all"),
        ),
    ),
)
