"""`--plan`: what a command would have the cluster do, printed instead of done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gnt.cli.call import Call
from gnt.cli.failures import FAILURE, OK, text_of
from gnt.cli.tables import summary_text
from gnt.cli.terminal import note, say
from gnt.model.errors import GntError

if TYPE_CHECKING:
    from gnt.opcodes.base import Opcode
    from gnt.wire.plan_answer import OpcodePlan, PlanRefusal

MOST_LOCKS: Final = 12
"""Locks that are named; of more, only how many there are."""


class Planned(Exception):
    """The plan has been shown: the command ends here, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def instead(call: Call, jobs: Sequence[tuple[str, Sequence[Opcode | dict[str, Any]]]]) -> None:
    """With --plan, show what the jobs would do, each under its name, and end the command; else do nothing.

    To be called right before jobs are submitted. Raises `Planned`.
    """
    if not call.option("plan"):
        return
    plans = [(name, call.client.plan_job(ops)) for name, ops in jobs]
    if call.json:
        import msgspec  # noqa: PLC0415  (only a plan pays for it)

        call.print_json({"plans": [{"name": name, "opcodes": msgspec.to_builtins(plan)} for name, plan in plans]})
    else:
        for name, plan in plans:
            for opcode in plan:
                _show(f"{name}: " if name and len(plans) > 1 else "", opcode, many=len(plan) > 1)
    refused = any(opcode.refused is not None for _, plan in plans for opcode in plan)
    raise Planned(FAILURE if refused else OK)


def _show(name: str, opcode: OpcodePlan, *, many: bool) -> None:
    what = summary_text(opcode.summary) if many else "job"
    say(f"{name}{what} would take: {_locks(opcode)}")
    if opcode.nodes:
        say(f"  on: {', '.join(opcode.nodes)}")
    for text in opcode.notes:
        say(f"  {text.strip()}")
    for line in step_lines(opcode):
        say(line)
    for text in opcode.then:
        say(f"  then: {text}")
    if opcode.refused is not None:
        sys.stdout.flush()
        note(_refusal(opcode.refused))


def step_lines(opcode: OpcodePlan) -> list[str]:
    """Give a line for each step; those with one number go side by side."""
    if not opcode.steps:
        return [] if opcode.then or opcode.refused else ["  nothing is to be done"]
    width = len(str(opcode.steps[-1].number))
    kinds = max(len(step.kind) for step in opcode.steps)
    return [
        " ".join(
            part for part in (f"  {step.number:>{width}} {step.kind:<{kinds}}", step.node, step.call, step.text) if part
        )
        for step in opcode.steps
    ]


def _locks(opcode: OpcodePlan) -> str:
    if not opcode.locks:
        return "no lock"
    shown = [
        f"{lock.level} {lock.name} ({lock.mode})" if lock.name != "all" else f"{_whole(lock.level)} ({lock.mode})"
        for lock in opcode.locks[:MOST_LOCKS]
    ]
    more = len(opcode.locks) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _whole(level: str) -> str:
    return "the whole cluster" if level == "cluster" else f"every {level}"


def _refusal(refused: PlanRefusal) -> str:
    problem: dict[str, Any] = {"code": refused.code, "text": refused.text, "hint": refused.hint}
    return text_of(GntError(**problem))
