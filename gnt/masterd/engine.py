"""The one engine that runs all steps of all operations.

For each stage: observe, plan, then segment by segment: record what is about to be done, do it, keep the milestone
(`gnt.masterd.course`). The last commit of an opcode changes the model, ends the opcode and clears what was open, in
one. When a stage fails the engine settles what is open (`gnt.masterd.settling`) and the opcode ends in error, saying
what was undone; when the master died, also whether what it was to change stands (`gnt.masterd.cut_off`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.logger import Logger

from gnt.masterd.course import Course
from gnt.masterd.hidden import hidden_rows
from gnt.masterd.jobs.seam import Ending, LeftForRecovery, OpcodeRun
from gnt.masterd.looking import Looking
from gnt.masterd.operation import OPERATIONS, Operation
from gnt.masterd.paying import Payment
from gnt.masterd.tools import Tools
from gnt.model.errors import (
    INTERNAL,
    ConfigError,
    Failed,
    GntError,
    NoMajority,
    StaleEpoch,
)
from gnt.store.changes import Space
from gnt.wire.contract import CallProgress, NodeEvent


class Engine:
    """Runs operations. One engine serves all jobs; what is open in an opcode stands in the store, not here."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._log = Logger()
        self._stopped = False
        self._courses: dict[int, Course] = {}

    def stop(self) -> None:
        """Begin no further step: opcodes under way are left for recovery at the next start."""
        self._stopped = True
        for course in list(self._courses.values()):
            course.end_pause()

    def kill(self, job: int) -> bool:
        """End the opcode of a job in error: its calls are aborted, what it began is settled.

        False if it runs no opcode, or settles one already.
        """
        course = self._courses.get(job)
        return course is not None and course.kill()

    def told(self, node: str, event: NodeEvent) -> None:
        """Hear an event of a node (its UUID): what it says of a call that is under way goes into the job's log."""
        if isinstance(event, CallProgress):
            for course in self._courses.values():
                course.progress(node, event)

    async def run(self, run: OpcodeRun, operation: Operation[Any]) -> Ending:
        """Run one opcode to its end and give the ending that was committed.

        Raises `LeftForRecovery` when stopped, `StaleEpoch` when another master has taken over; errors of the journal
        pass through.
        """
        course = self._courses[run.job] = Course(self._tools, run, self._halt)
        try:
            return await self._run(course, run, operation)
        finally:
            del self._courses[run.job]

    async def _run(self, course: Course, run: OpcodeRun, operation: Operation[Any]) -> Ending:
        tools = self._tools
        look = Looking(
            tools.calls,
            tools.rows,
            tools.commits.head,
            tools.resolver,
            run.feedback,
            address_problem=tools.address_problem,
            unpaid=tools.unpaid,
        )
        try:
            return await course.stages(operation.stages(), look)
        except (StaleEpoch, NoMajority, ConfigError, LeftForRecovery):
            raise
        except GntError as error:
            return await course.fail(error)
        except Exception as error:  # noqa: BLE001  (whatever it is, what was begun must be settled, and told)
            self._log.failure("job {job}: opcode {index} failed unexpectedly", job=run.job, index=run.index)
            return await course.fail(Failed(f"unexpected error: {type(error).__name__}: {error}", code=INTERNAL))

    async def recover(self, run: OpcodeRun) -> Ending:
        """Settle an opcode that a former master left open, and end it in error."""
        prefix = f"{run.job}/{run.index}/"
        rows = await self._tools.rows.rows(Space.UNDO, prefix)
        hidden = await hidden_rows(self._tools.rows, Space.UNDO, prefix)
        course = Course(self._tools, run, self._halt)
        await course.adopt(rows, hidden)
        operation = OPERATIONS.get(type(run.op))
        then = partial(operation.after_cut_off, run.op) if operation is not None else None
        return await course.end_cut_off(then)

    def _halt(self) -> None:
        if self._stopped:
            raise LeftForRecovery

    async def pay(self, node: str) -> Payment:
        """Pay what a node owes now that it is back. A debt that fails again stays."""
        return await self._tools.payer().pay(node)

    async def forgive(self, node: str) -> list[str]:
        """Drop what a node owes that has left the cluster; says what it was."""
        return await self._tools.payer().forgive(node)
