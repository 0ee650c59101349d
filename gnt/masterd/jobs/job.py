"""A job as a value, and its changes as pure functions; its stored form is in `gnt.masterd.jobs.rows`.

Input and result of an opcode stay encoded: they are encoded once and put into each row as they are. Private and secret
parameters are not in here but in rows of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from gnt.masterd.jobs.blocks import Blocks
from gnt.masterd.jobs.lockset import Wanted
from gnt.masterd.jobs.states import FINAL, Events, Status, after, job_priority
from gnt.model.errors import GntError
from gnt.model.secret import REDACTED
from gnt.opcodes.base import HIDDEN_PARAMETERS, Opcode
from gnt.opcodes.registry import redacted
from gnt.opcodes.summaries import summary_of
from gnt.wire.errors import to_job_error

Stamp = tuple[int, int]
"""A time as it crosses the wire: seconds and microseconds since the epoch."""

NULL: Final = msgspec.Raw(b"null")
CANCELED_BY_REQUEST: Final = "Job canceled by request"
PRECEDING_FAILED: Final = "Preceding opcode failed"

_replace = msgspec.structs.replace


# There may be a hundred thousand of these, and no cycle of references goes through them: the collector is spared them.


class LogEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A line of a job's log: serial number within the job, time, type (`message`, …), payload."""

    serial: int
    time: Stamp
    kind: str
    payload: Any


class JobOpcode(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One opcode of a job. `locks` are those it holds while it runs, so that recovery can take them again."""

    input: msgspec.Raw
    status: Status = Status.QUEUED
    result: msgspec.Raw = NULL
    log: tuple[LogEntry, ...] = ()
    priority: int = 0
    start_timestamp: Stamp | None = None
    exec_timestamp: Stamp | None = None
    end_timestamp: Stamp | None = None
    locks: tuple[Wanted, ...] | msgspec.UnsetType = msgspec.UNSET


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job: a number and opcodes that run in order.

    Two members follow from the opcodes and spare changes the way through thousands of them: `done` opcodes have
    succeeded, the first ones; `last_serial` is the highest serial number in the log, 0 if it is empty.
    """

    id: int
    ops: Blocks[JobOpcode]
    received_timestamp: Stamp | None = None
    start_timestamp: Stamp | None = None
    end_timestamp: Stamp | None = None
    done: int = 0
    last_serial: int = 0

    @property
    def status(self) -> Status:
        """Give the status that follows from the opcodes: the first that has not succeeded tells it.

        Those behind it wait for their turn, or ended with it.
        """
        return self.ops[self.done].status if self.done < len(self.ops) else Status.SUCCESS

    @property
    def priority(self) -> int:
        """Give the priority that follows from the opcodes; lower is more urgent."""
        return job_priority((op.status, op.priority) for op in self.ops)

    @property
    def final(self) -> bool:
        """Say whether the job is over."""
        return self.end_timestamp is not None


Change = Callable[[Job], Job]
"""How a job changes. One change may be applied to the job as it is stored and to the job as it is shown."""

_encoder = msgspec.json.Encoder()
_REDACTED: Final = f':"{REDACTED}"'.encode()
_HIDDEN_KEYS: Final = tuple(sorted(name.encode() for name in HIDDEN_PARAMETERS))


def stamp(now: float) -> Stamp:
    """Give a time in seconds as seconds and microseconds."""
    microseconds = round(now * 1_000_000)
    return microseconds // 1_000_000, microseconds % 1_000_000


def encode_input(op: Opcode) -> tuple[msgspec.Raw, bytes | None]:
    """Give an opcode as its job keeps it, and whole if it has hidden values (None: there is nothing to hide)."""
    whole = _encoder.encode(op)
    # Hidden parameters are known by name, so an input without the names has none; most inputs are spared the search.
    if not any(key in whole for key in _HIDDEN_KEYS):
        return msgspec.Raw(whole), None
    shown = redacted(op)
    if shown == msgspec.json.decode(whole):
        return msgspec.Raw(whole), None
    return msgspec.Raw(_encoder.encode(shown)), whole


def has_redacted(data: msgspec.Raw) -> bool:
    """Say whether an input stands for one with hidden values: without those the opcode cannot run."""
    raw = bytes(data)
    return _REDACTED in raw and any(key in raw for key in _HIDDEN_KEYS)


def encode_result(result: Any) -> msgspec.Raw:
    """Give a result as its job keeps it. Raises `TypeError` if it is not plain JSON."""
    return msgspec.Raw(_encoder.encode(result)) if result is not None else NULL


def encode_error(error: GntError) -> msgspec.Raw:
    """Give an error as the result of an opcode: `[class name, [arguments]]`."""
    return msgspec.Raw(_encoder.encode(to_job_error(error)))


def summary(op: JobOpcode) -> str:
    """Give the short form of an opcode: `INSTANCE_STARTUP(web1)`; `INVALID_OP` if this version cannot read it."""
    return summary_of(bytes(op.input))


_SHORT_WORDS: Final = (("BACKUP_", "B_"), ("CLUSTER_", "C_"), ("GROUP_", "G_"), ("NODE_", "N_"), ("INSTANCE_", "I_"))


def owner(number: int, name: str) -> str:
    """Give the name under which lock lists show a job: `Job7/I_STARTUP`; `name` is an OP_ID, or a summary."""
    name = name.partition("(")[0].removeprefix("OP_")
    for long, short in _SHORT_WORDS:
        name = name.replace(long, short)
    return f"Job{number}/{name}"


def new_job(number: int, inputs: Sequence[msgspec.Raw], priorities: Sequence[int], now: float) -> Job:
    """Make a job that was just received."""
    ops = [JobOpcode(input=data, priority=urgency) for data, urgency in zip(inputs, priorities, strict=True)]
    return Job(id=number, ops=Blocks.of(ops), received_timestamp=stamp(now))


# Changes


def _each(job: Job, change: Callable[[JobOpcode], JobOpcode]) -> Job:
    return _replace(job, ops=Blocks.of([change(op) for op in job.ops]))


def _with(job: Job, index: int, op: JobOpcode) -> Job:
    return _replace(job, ops=job.ops.replaced(index, op))


def picked_up(index: int, now: float, *, again: bool = False) -> Change:
    """Let the opcode's turn come: from `queued` to `waiting`. `again`: an earlier master had it before us."""

    def change(job: Job) -> Job:
        op = _taken_over(job.id, index, job.ops[index], now) if again else job.ops[index]
        op = _replace(op, status=after(op.status, Events.pick_up), start_timestamp=stamp(now))
        return _replace(_with(job, index, op), start_timestamp=job.start_timestamp or stamp(now))

    return change


def _taken_over(number: int, index: int, op: JobOpcode, now: float) -> JobOpcode:
    """Note in the reason trail that a new master goes on with an opcode; an input that cannot be read stays."""
    try:
        value = msgspec.json.decode(bytes(op.input))
        name = str(value["OP_ID"]).removeprefix("OP_").lower()
        came = [f"gnt:daemon:masterd:pickup:{name}", f"job={number};index={index}", round(now * 1_000_000_000)]
        value["reason"] = [*(value.get("reason") or ()), came]
    except (msgspec.DecodeError, UnicodeError, TypeError, KeyError):
        return op
    return _replace(op, input=msgspec.Raw(_encoder.encode(value)))


def locked(index: int, now: float, locks: tuple[Wanted, ...]) -> Change:
    """Let the opcode run, holding these locks."""

    def change(job: Job) -> Job:
        op = job.ops[index]
        return _with(
            job, index, _replace(op, status=after(op.status, Events.locked), exec_timestamp=stamp(now), locks=locks)
        )

    return change


def narrowed(index: int, locks: tuple[Wanted, ...]) -> Change:
    """Let a running opcode hold these locks only, from now on."""

    def change(job: Job) -> Job:
        return _with(job, index, _replace(job.ops[index], locks=locks))

    return change


def succeeded(index: int, now: float, result: msgspec.Raw) -> Change:
    """End the opcode with a result; with the last opcode, the job."""

    def change(job: Job) -> Job:
        op = job.ops[index]
        ended = _replace(
            op,
            status=after(op.status, Events.succeed),
            result=result,
            end_timestamp=stamp(now),
            locks=msgspec.UNSET,
        )
        job = _replace(_with(job, index, ended), done=index + 1)
        return _replace(job, end_timestamp=stamp(now)) if index == len(job.ops) - 1 else job

    return change


def failed(index: int, now: float, error: msgspec.Raw) -> Change:
    """End the opcode with an error, and with it the job: what comes after it never runs."""

    def change(job: Job) -> Job:
        never = msgspec.Raw(_encoder.encode(["OpExecError", [PRECEDING_FAILED]]))
        ops = list(job.ops)
        for place, op in enumerate(ops[index:], index):
            ops[place] = _replace(
                op,
                status=after(op.status, Events.fail if place == index else Events.give_up),
                result=error if place == index else never,
                end_timestamp=stamp(now),
                locks=msgspec.UNSET,
            )
        return _replace(job, ops=Blocks.of(ops), end_timestamp=stamp(now))

    return change


def canceling(job: Job) -> Job:
    """Record the wish to cancel a job that waits."""
    return _each(
        job,
        lambda op: _replace(op, status=after(op.status, Events.cancel)) if op.status is Status.WAITING else op,
    )


def canceled(now: float, why: str = CANCELED_BY_REQUEST) -> Change:
    """End every unfinished opcode, and the job, as canceled: from `queued` or `canceling`."""

    def end(op: JobOpcode) -> JobOpcode:
        if op.status in FINAL:
            return op
        event = Events.notice if op.status is Status.CANCELING else Events.cancel
        return _replace(
            op,
            status=after(op.status, event),
            result=msgspec.Raw(_encoder.encode(why)),
            end_timestamp=stamp(now),
        )

    return lambda job: _replace(_each(job, end), end_timestamp=stamp(now))


def put_back(job: Job) -> Job:
    """Let an opcode that waited under an earlier master start over."""
    if job.status is not Status.WAITING:
        return job
    op = job.ops[job.done]
    return _with(job, job.done, _replace(op, status=after(op.status, Events.put_back), start_timestamp=None))


def noted(index: int, now: float, kind: str, *payloads: Any) -> Change:
    """Add entries to the log, with one time."""

    def change(job: Job) -> Job:
        op = job.ops[index]
        first = job.last_serial + 1
        new = tuple(LogEntry(serial, stamp(now), kind, payload) for serial, payload in enumerate(payloads, first))
        job = _with(job, index, _replace(op, log=(*op.log, *new)))
        return _replace(job, last_serial=job.last_serial + len(new))

    return change


def prioritized(priority: int, index: int | None = None) -> Change:
    """Set the priority of one opcode, or (None) of all that are queued or wait."""

    def set_on(op: JobOpcode) -> JobOpcode:
        return _replace(op, priority=priority) if op.status in (Status.QUEUED, Status.WAITING) else op

    if index is None:
        return lambda job: _each(job, set_on)
    return lambda job: _with(job, index, set_on(job.ops[index]))
