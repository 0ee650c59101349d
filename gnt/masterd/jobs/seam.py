"""Where the job queue and the engine meet.

The processor brings an opcode to the point where it may run: dependencies met, locks held, status `running`. Then it
hands an `OpcodeRun` to the engine, which observes, plans and runs the steps. The engine makes the opcode's last commit:
it asks the run for the changes that end the opcode and puts them beside its own (the last model change, the cleared
undo list), so all of it happens or none of it.

    ending = run.ending(OpcodeEnd(result=plan.result, jobs=plan.jobs))
    await journal.commit([*my_changes, *ending.changes], job=run.job)
    return ending

The processor then shows the new state to those who wait, releases the locks and goes on with the next opcode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Operation
from gnt.model.errors import GntError
from gnt.opcodes.base import Opcode
from gnt.store.changes import Change


class Holds(Protocol):
    """The locks that an opcode holds, as far as an engine may touch them; the processor releases the rest."""

    @property
    def locks(self) -> Locks:
        """Give what is still held, the cluster lock included."""

    def drop(self, level: Level, *names: str) -> None:
        """Release some locks of a level early; no names: all of that level. What is not held is left alone."""

    def share(self, level: Level, *names: str) -> None:
        """Hold exclusive locks only shared from now on; no names: all of that level."""


@dataclass(frozen=True, slots=True)
class OpcodeEnd:
    """How an opcode ended: with a result (plain JSON), or with an error, or in success but for nothing (dry run).

    `jobs` are lists of opcodes, to be submitted in the same commit; the result, an object or None, then gets the
    member `jobs`: `[[true, id], …]`, or `[false, text]` for one that the queue does not take. With an error they are
    those that make up for what was cut off.
    """

    result: Any = None
    error: GntError | None = None
    jobs: tuple[tuple[Opcode, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an opcode, ready to be committed: `changes` belong in the engine's last commit, in this order."""

    job: int
    index: int
    end: OpcodeEnd
    changes: tuple[Change, ...]
    seen: Callable[[], None]
    """Called by the processor once the commit is acknowledged: the new state is shown and whoever waits is woken.

    A second call does nothing.
    """


class OpcodeRun(Protocol):
    """One opcode that may run now, and what its engine may do with it."""

    @property
    def job(self) -> int:
        """Give the number of the job."""

    @property
    def index(self) -> int:
        """Give the place of the opcode in the job, from 0."""

    @property
    def op(self) -> Opcode:
        """Give the opcode, secrets included; `op.dry_run` and `op.reason` are to be minded."""

    @property
    def held(self) -> Holds:
        """Give the locks, so that some may be released early."""

    @property
    def awaited(self) -> bool:
        """Say whether anybody waits for what was handed out as the end: a client, another job, the next opcode.

        If not, its commit may stand ready for a moment, for others to go with it.
        """

    def feedback(self, text: str) -> None:
        """Add a line to the job's log and wake whoever waits; it is stored in the background."""

    def beginning(self) -> tuple[Change, ...]:
        """Give the changes that record the opcode as running, with its locks.

        They belong in the first commit that the engine makes for this opcode, whatever that is (an undo, a milestone).
        An opcode whose only commit is its last one needs none: if the master dies before, it starts again from queued.
        """

    def giving_up(self, levels: Sequence[Level]) -> tuple[Change, ...]:
        """Give the changes that record the locks of these levels as given up; to be committed before they are dropped.

        Otherwise recovery would take them again although somebody else has had them since.
        """

    def ending(self, end: OpcodeEnd) -> Ending:
        """Give the end of the opcode as changes. To be asked for once, right before the commit that carries them."""


class LeftForRecovery(Exception):
    """The engine stops in the middle of an opcode, on purpose: what is open is settled at the next start.

    The job stays `running` in the store and its locks stay held for as long as this process lives.
    """


class Engine(Protocol):
    """What runs opcodes."""

    async def run(self, run: OpcodeRun, operation: Operation[Any]) -> Ending:
        """Run the opcode to its end and give the ending that was committed.

        Raises `GntError` only if nothing was committed for the opcode (a refusal, a failed observation): then the
        processor commits the error as its end. Raises `LeftForRecovery` when stopped.
        """

    async def recover(self, run: OpcodeRun) -> Ending:
        """Settle an opcode that an earlier master left running; its locks are held again.

        Gives the committed ending: an error that says what was undone or finished. Also called when nothing is open.
        """

    def kill(self, job: int) -> bool:
        """End a job's opcode in error: calls under way are aborted, what was begun is settled.

        False if it runs no opcode, or settles one already.
        """

    def stop(self) -> None:
        """Begin no further step; calls of `run` and `recover` end, or raise `LeftForRecovery`."""
