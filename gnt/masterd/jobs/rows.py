"""How jobs stand in the store: whole in their row, what became of one with many opcodes beside it, part by part.

The row is the JSON of `spec/jobs.md`, section 2; parts are those of `gnt.store.job_parts`. So the end of an opcode
costs what that opcode costs, and a line of the log what that line costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gnt.masterd.jobs.blocks import Blocks
from gnt.masterd.jobs.job import Job, JobOpcode, LogEntry, Stamp
from gnt.masterd.jobs.lockset import Wanted
from gnt.masterd.jobs.states import Status
from gnt.model.errors import ConfigError
from gnt.store.changes import Change, Put, Space
from gnt.store.job_parts import INPUT, JOB, LOG, OP, part_key


class _Whole(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job as its row has it."""

    id: int
    ops: tuple[JobOpcode, ...]
    received_timestamp: Stamp | None = None
    start_timestamp: Stamp | None = None
    end_timestamp: Stamp | None = None


class _Times(msgspec.Struct, frozen=True, gc=False):
    """What of a job itself changes."""

    start_timestamp: Stamp | None
    end_timestamp: Stamp | None


class _Opcode(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What of an opcode changes, but for its log."""

    status: Status
    result: msgspec.Raw
    priority: int
    start_timestamp: Stamp | None
    exec_timestamp: Stamp | None
    end_timestamp: Stamp | None
    locks: tuple[Wanted, ...] | msgspec.UnsetType


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Whole)


def encode_job(job: Job) -> bytes:
    """Give the row of a whole job."""
    return _encoder.encode(
        _Whole(
            id=job.id,
            ops=tuple(job.ops),
            received_timestamp=job.received_timestamp,
            start_timestamp=job.start_timestamp,
            end_timestamp=job.end_timestamp,
        )
    )


def decode_job(data: bytes) -> Job:
    """Make a job from its JSON; keys that are not known are passed over. Raises `ConfigError` on damage."""
    try:
        found = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ConfigError(f"a stored job cannot be read: {error}") from None
    return Job(
        id=found.id,
        ops=Blocks.of(found.ops),
        received_timestamp=found.received_timestamp,
        start_timestamp=found.start_timestamp,
        end_timestamp=found.end_timestamp,
        done=next((place for place, op in enumerate(found.ops) if op.status is not Status.SUCCESS), len(found.ops)),
        last_serial=max((op.log[-1].serial for op in found.ops if op.log), default=0),
    )


def whole_row(job: Job) -> Change:
    """Give the change that writes a job anew; all its parts go."""
    return Put(Space.JOB, str(job.id), encode_job(job))


def rows_between(stored: Job | None, job: Job) -> list[Change]:
    """Give the changes that make the stored job this one; None: nobody knows what is stored.

    What is stored may be newer than `stored`, by changes on their way to the disk: these are made again.
    """
    if stored is None:
        return [whole_row(job)]
    changed = list(job.ops.differing(stored.ops))
    moved = [index for index in changed if _state(stored.ops[index]) != _state(job.ops[index])]
    if moved and 2 * len(moved) >= len(job.ops):
        return [whole_row(job)]
    changes = [_opcode(job.id, index, job.ops[index]) for index in moved]
    for index in changed:
        old, new = stored.ops[index], job.ops[index]
        if new.input is not old.input:
            changes.append(Put(Space.PART, part_key(job.id, f"{INPUT}{index}"), bytes(new.input)))
        if len(new.log) > len(old.log):
            changes.append(_lines(job.id, index, new.log[len(old.log) :]))
    times = _times(job)
    if times != _times(stored):
        changes.append(Put(Space.PART, part_key(job.id, JOB), _encoder.encode(times)))
    return changes


def _state(op: JobOpcode) -> tuple[object, ...]:
    # Input and result are bytes that never change: the same object, or another value.
    return (
        op.status,
        op.priority,
        op.start_timestamp,
        op.exec_timestamp,
        op.end_timestamp,
        op.locks,
        id(op.input),
        id(op.result),
    )


def _times(job: Job) -> _Times:
    return _Times(job.start_timestamp, job.end_timestamp)


def _opcode(job: int, index: int, op: JobOpcode) -> Change:
    part = _Opcode(
        status=op.status,
        result=op.result,
        priority=op.priority,
        start_timestamp=op.start_timestamp,
        exec_timestamp=op.exec_timestamp,
        end_timestamp=op.end_timestamp,
        locks=op.locks,
    )
    return Put(Space.PART, part_key(job, f"{OP}{index}"), _encoder.encode(part))


def _lines(job: int, index: int, lines: Sequence[LogEntry]) -> Change:
    return Put(Space.PART, part_key(job, f"{LOG}{lines[0].serial}"), _encoder.encode((index, lines)))
