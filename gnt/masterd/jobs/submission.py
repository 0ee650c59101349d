"""Making jobs out of opcodes: dependencies made absolute, reasons noted, secrets set aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gnt.masterd.jobs import job as jobs
from gnt.masterd.jobs.live import LiveJob
from gnt.model.errors import WRONG_INPUT, GntError, NoMajority, Refused
from gnt.opcodes.base import Opcode
from gnt.store.changes import Change, Put, Space


class NewJob:
    """A job with its number, not yet durable."""

    __slots__ = ("live", "number")

    def __init__(self, number: int, ops: Sequence[Opcode], now: float) -> None:
        inputs = [jobs.encode_input(op) for op in ops]
        job = jobs.new_job(number, [shown for shown, _ in inputs], [op.priority for op in ops], now)
        secrets = {index: whole for index, (_, whole) in enumerate(inputs) if whole is not None}
        self.number = number
        self.live = LiveJob(job, ops, secrets)

    def changes(self) -> list[Change]:
        """Give what stores the job."""
        secrets = [Put(Space.SECRET, f"{self.number}/{index}", data) for index, data in self.live.secrets.items()]
        return [*secrets, *self.live.rows()]


def with_places(ops: Sequence[Opcode], number: int, before: Sequence[int | None], now: float) -> list[Opcode]:
    """Give the opcodes of a job as they are kept: relative dependencies resolved, reason trails continued.

    `before` are the jobs of the same submission, None for those that were not taken. Raises `Refused`.
    """
    if not ops:
        raise Refused(WRONG_INPUT, "A job needs at least one opcode")
    return [_placed(op, number, index, before, now) for index, op in enumerate(ops)]


def _placed(op: Opcode, number: int, index: int, before: Sequence[int | None], now: float) -> Opcode:
    name = op.op_id().removeprefix("OP_").lower()
    came = [f"gnt:opcode:{name}", f"job={number};index={index}", round(now * 1_000_000_000)]
    changed: dict[str, Any] = {"reason": [*(op.reason or ()), came]}
    if op.depends:
        changed["depends"] = tuple((_absolute(other, before), wanted) for other, wanted in op.depends)
    return msgspec.structs.replace(op, **changed)


def _absolute(other: int, before: Sequence[int | None]) -> int:
    if other < 0:
        found = before[other] if -other <= len(before) else None
        if found is None:
            raise Refused(WRONG_INPUT, f"Dependency {other} means no job of the same submission")
        return found
    return other


def children(parent: Opcode, ops: Sequence[Opcode]) -> list[Opcode]:
    """Give the opcodes of a job that an opcode submits: they inherit what the parent was asked with."""
    return [
        msgspec.structs.replace(
            op,
            comment=op.comment or f"Submitted by {parent.op_id()}",
            debug_level=op.debug_level if op.debug_level is not None else parent.debug_level,
            priority=op.priority or parent.priority,
            reason=[*(op.reason or ()), *(parent.reason or ())],
        )
        for op in ops
    ]


def earlier_jobs(live: LiveJob) -> set[int]:
    """Give the jobs that any opcode of a job depends on, without itself; an input that cannot be read has none."""
    found: set[int] = set()
    for index in range(len(live.head.ops)):
        try:
            op = live.opcode(index)
        except GntError:
            continue  # it fails when its turn comes, with the reason
        found.update(other for other, _ in op.depends or () if other < live.head.id)
    return found


def told_of(error: NoMajority, new: Sequence[NewJob]) -> NoMajority:
    """Give the error of jobs of which nobody knows yet whether they are durable; it says which they may become."""
    first, last = new[0].number, new[-1].number
    they = f"it is job {first}" if first == last else f"they are the jobs {first} to {last}"
    return NoMajority(f"{error.text}; should it hold, {they}", hint=error.hint, in_doubt=True)
