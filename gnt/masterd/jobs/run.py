"""One opcode on its way through the engine: what the engine asks of the queue, and tells it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gnt.masterd.jobs import job as jobs
from gnt.masterd.jobs.live import LiveJob
from gnt.masterd.jobs.locks import Held
from gnt.masterd.jobs.lockset import Level
from gnt.masterd.jobs.queue import JobQueue
from gnt.masterd.jobs.seam import Ending, OpcodeEnd
from gnt.opcodes.base import Opcode
from gnt.store.changes import Change


class Owner(Protocol):
    """Who runs the job: `gnt.masterd.jobs.processor.Processor`."""

    def is_awaited(self, live: LiveJob) -> bool:
        """Say whether anybody waits for what a job is doing."""

    def ends(self, live: LiveJob) -> None:
        """Take note that a job ends with a commit that is being put together."""


class Run:
    """One opcode that may run now; what the engine gets (`gnt.masterd.jobs.seam.OpcodeRun`)."""

    __slots__ = ("_live", "_processor", "_queue", "handed_out", "held", "index", "job", "op")

    def __init__(self, queue: JobQueue, live: LiveJob, index: int, *, op: Opcode, held: Held, processor: Owner) -> None:
        self.job = live.head.id
        self.index = index
        self.op = op
        self.held = held
        self.handed_out: Ending | None = None
        self._queue = queue
        self._live = live
        self._processor = processor

    @property
    def awaited(self) -> bool:
        """Say whether anybody waits for the end."""
        return self._processor.is_awaited(self._live)

    def feedback(self, text: str) -> None:
        """Add a line to the job's log."""
        self._queue.note(self._live, self.index, text)

    def beginning(self) -> tuple[Change, ...]:
        """Give the changes that record the opcode as running, with its locks."""
        return tuple(self._live.rows())

    def giving_up(self, levels: Sequence[Level]) -> tuple[Change, ...]:
        """Give the changes that record the locks of these levels as given up."""
        kept = tuple(lock for lock in self.held.locks.in_order() if lock.level not in levels)
        self._live.step(jobs.narrowed(self.index, kept))
        return self.beginning()

    def ending(self, end: OpcodeEnd) -> Ending:
        """Give the end of the opcode as changes."""
        self.handed_out = ending = self._queue.ending(self._live, self.index, end)
        self._processor.ends(self._live)
        return ending
