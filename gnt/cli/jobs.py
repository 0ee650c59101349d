"""Submitting a job and waiting for its end: `spec/cli.md`, section 1.3."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gnt.cli.call import Call
from gnt.cli.failures import OK, JobFailed
from gnt.cli.plans import instead
from gnt.cli.progress import Progress
from gnt.cli.tables import FINAL
from gnt.cli.terminal import note, say
from gnt.model.errors import ENVIRONMENT, Failed, GntError, JobLost, Refused
from gnt.wire.errors import from_luxi
from gnt.wire.luxi_client import JobChange

if TYPE_CHECKING:
    from gnt.opcodes.base import Opcode

# Seconds of silence before a job that has not begun is explained, and between questions after that.
_PATIENCE: Final = 5.0
_BY_REQUEST: Final = "Job canceled by request"
_WAIT: Final = 29.0
# How often a master that is away is asked again, and the seconds between.
TRIES: Final = 30
PAUSE: Final = 1.0
AWAY: Final = frozenset({"connection_lost", "no_master", "timeout"})


class Ended(NamedTuple):
    """A job at its end: its status, and status and result of each opcode. `log` are its messages as they came."""

    job: int
    status: str
    opstatus: list[str]
    opresult: list[Any]
    log: Sequence[list[Any]] = ()

    @property
    def result(self) -> Any:
        """Give the result of the last opcode."""
        return self.opresult[-1] if self.opresult else None

    def failure(self) -> JobFailed | None:
        """Give the error that the job ended in, if it did."""
        if self.status == "success":
            return None
        if self.status == "canceled":
            why = next((each for each in self.opresult if isinstance(each, str) and each != _BY_REQUEST), "")
            text = f"job {self.job} was canceled{f': {why}' if why else ''}"
            return JobFailed(self.job, GntError("job_canceled", text))
        index = next((i for i, status in enumerate(self.opstatus) if status == "error"), 0)
        result = self.opresult[index] if index < len(self.opresult) else None
        cause = GntError("failed", f"job {self.job} ended in {self.status}") if result is None else from_luxi(result)
        if isinstance(cause, Refused | Failed) and not cause.hint:
            cause.text, cause.hint = split_hint(cause.text)
        return JobFailed(self.job, cause, index=index)


def split_hint(text: str) -> tuple[str, str]:
    """Split the text of an error in a job's result from the hint that stands after it in parentheses.

    Results of opcodes have no room of their own for hints; see `Refused.luxi_args`.
    """
    depth = 0
    for position in range(len(text) - 1, 0, -1) if text.endswith(")") else ():
        depth += {")": 1, "(": -1}.get(text[position], 0)
        if depth == 0:
            before, hint = text[:position], text[position + 1 : -1]
            return (before[:-1], hint) if before.endswith(" ") and before.strip() and hint else (text, "")
    return text, ""


ShowLine = Callable[[str], None]


def time_text(stamp: Any) -> str:
    """Give a log entry's time as C's `ctime` does; what is no time is left open."""
    seconds = stamp[0] if isinstance(stamp, list | tuple) and stamp else stamp
    return time.ctime(seconds) if isinstance(seconds, int | float) else "?"


def message_text(kind: str, payload: Any) -> str:
    """Give a log entry's text; entries for programs are shown as JSON."""
    if isinstance(payload, str):
        return payload
    return f"{kind}: {json.dumps(payload, ensure_ascii=False)}"


def wait(call: Call, job: int, *, name: str = "", show: ShowLine | None = say, tries: int = TRIES) -> Ended:
    """Wait until a job ends, showing its messages on the way.

    A master that is away is asked `tries` times. Raises `JobLost`, or what keeps us from hearing of the job: one of the
    codes in `AWAY`, or `Refused` where another node is the master by now.
    """
    title = f"job {job}{f' for {name}' if name else ''}"
    try:
        with Progress() as progress:
            return _Follower(call, job, title, progress, show=show, tries=tries).follow()
    except KeyboardInterrupt:
        note(f"\nJob {job} goes on. Watch it: gnt-job watch {job}; give it up: gnt-job cancel {job}")
        raise


def why_waiting(call: Call, job: int, status: str = "waiting") -> str:
    """Say what a job waits for, who holds it and its place in line, as far as the master tells."""
    try:
        found = call.client.explain_job(job)
    except GntError:
        found = None  # a master of another release; that the job waits is known without it
    return waits_text(found, status)


def waits_text(found: dict[str, Any] | None, status: str) -> str:
    """Say what `ExplainJob` told of a job that is queued or waits."""
    if found is None or (status == "queued" and not found.get("jobs") and not found.get("held")):
        place = f" (place {found['place']} in line)" if found and found.get("place") else ""
        known = "is in the queue, other jobs go first" if status == "queued" else "waits for locks that other jobs hold"
        return known + place
    if found.get("held"):
        return f"is held back: {found['held']}"
    parts = []
    if found.get("locks"):
        parts.append(f"{', '.join(found['locks'])}, {_whose(found)}")
    if found.get("jobs"):
        parts.append(f"the end of job {', '.join(map(str, found['jobs']))}")
    place = f" (place {found['place']} in line)" if found.get("place") else ""
    return f"waits for {' and for '.join(parts) or 'locks that other jobs hold'}{place}"


def _whose(found: dict[str, Any]) -> str:
    """Say who has the locks; or, where they are free and others asked for them before, who goes first."""
    if not found.get("holders") and found.get("ahead"):
        return f"which {', '.join(found['ahead'])} asked for before"
    return f"held by {', '.join(found.get('holders') or ['nobody'])}"


class _Follower:
    """Follows one job."""

    def __init__(
        self, call: Call, job: int, title: str, progress: Progress, *, show: ShowLine | None, tries: int
    ) -> None:
        self._call = call
        self._job = job
        self._title = title
        self._progress = progress
        self._show = show
        self._tries = tries
        self._log: list[list[Any]] = []
        self._explained: set[str] = set()

    def follow(self) -> Ended:
        """Ask for changes until the job has ended."""
        previous: list[Any] | None = None
        serial: int | None = None
        while True:
            status = previous[0] if previous else ""
            patience = _PATIENCE if status in {"queued", "waiting"} and status not in self._explained else _WAIT
            change = self._next_change(previous, serial, patience)
            if change is None or (change.info == previous and not change.entries):
                self._explain(status)
                continue
            self._show_entries(change.entries)
            serial = max([serial or 0, *(entry[0] for entry in change.entries)]) or None
            previous = change.info
            self._progress.show(f"{self._title}: {previous[0]}")
            if previous[0] in FINAL:
                return self._ended()

    def _next_change(self, previous: list[Any] | None, serial: int | None, patience: float) -> JobChange | None:
        """Ask once; a master that is away for a moment, or restarts, is asked again: the job does not mind."""
        for left in range(self._tries - 1, -1, -1):
            try:
                return self._call.client.wait_for_job_change(self._job, ["status"], previous, serial, patience)
            except GntError as problem:
                if problem.code not in AWAY:
                    raise
                master = self._call.other_master()
                if master is not None:
                    text = f"{master} is the master now, and goes on with the job"
                    raise Refused(ENVIRONMENT, text, hint=f"on {master}: gnt-job watch {self._job}") from None
                if not left:
                    problem.hint = f"the job may go on without us: gnt-job watch {self._job}"
                    raise
            if "away" not in self._explained:
                with self._progress.away():
                    note("The master daemon is away; waiting for it to come back")
                self._explained.add("away")
            time.sleep(PAUSE)
        raise AssertionError  # the last try returns or raises

    def _show_entries(self, entries: Sequence[Any]) -> None:
        for entry in entries:
            _, stamp, kind, payload = entry
            self._log.append(list(entry))
            if self._show is not None:
                with self._progress.away():
                    self._show(f"{time_text(stamp)} {message_text(kind, payload)}")

    def _explain(self, status: str) -> None:
        """Say once why nothing happens."""
        if status in {"queued", "waiting"} and status not in self._explained and not self._call.json:
            said = why_waiting(self._call, self._job, status)
            with self._progress.away():
                note(f"{self._title} {said}")
        self._explained.add(status)

    def _ended(self) -> Ended:
        rows = self._call.client.query_jobs([self._job], ["status", "opstatus", "opresult"])
        row = rows[0] if rows else None
        if row is None or row[0] is None:
            raise JobLost(f"Job with id {self._job} lost")
        return Ended(job=self._job, status=row[0], opstatus=row[1] or [], opresult=row[2] or [], log=self._log)


def line_writer(call: Call) -> ShowLine:
    """Give where a job's messages go: standard output, unless a program reads that."""
    return note if call.json else say


def submit(call: Call, opcodes: Sequence[Opcode | dict[str, Any]], *, drained_too: bool = False) -> int:
    """Submit a job, if `drained_too` to a drained queue as well; print its number first if that was asked for."""
    instead(call, [("", opcodes)])
    job = call.client.submit_job(opcodes, even_if_drained=drained_too)
    if call.option("print_jobid") and not call.json:
        say(str(job))
        sys.stdout.flush()
    return job


def run(call: Call, *opcodes: Opcode | dict[str, Any], drained_too: bool = False) -> Ended | None:
    """Submit a job and wait for its success. With --submit, print its number and give None.

    Raises `JobFailed` when the job ends otherwise. An opcode may be the JSON object of one.
    """
    job = submit(call, opcodes, drained_too=drained_too)
    if call.option("submit"):
        say_submitted(call, job)
        return None
    ended = wait(call, job, show=line_writer(call))
    failure = ended.failure()
    if failure is not None:
        raise failure
    return ended


def say_submitted(call: Call, job: int) -> None:
    """Say the number of a job that nobody waits for."""
    if call.json:
        call.print_json({"job": job, "status": "submitted", "result": None})
    else:
        note(f"JobID: {job}")


def run_command(
    call: Call, opcode: Opcode, show: Callable[[Any], None] | None = None, *, drained_too: bool = False
) -> int:
    """Do what a command with one opcode does: submit, wait, show the result."""
    ended = run(call, opcode, drained_too=drained_too)
    if ended is None:
        return OK
    if call.json:
        call.print_json(json_of(ended))
    elif show is not None and not call.option("dry_run"):
        show(ended.result)
    return OK


def json_of(ended: Ended) -> dict[str, Any]:
    """Give a job's end for programs."""
    return {"job": ended.job, "status": ended.status, "result": ended.result}
