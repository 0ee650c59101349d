"""What stands in for the store, the engine and the operations in tests of the job queue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gnt.masterd.jobs.job import Job, Stamp
from gnt.masterd.jobs.locks import LockManager
from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.jobs.processor import Processor
from gnt.masterd.jobs.queue import JobQueue
from gnt.masterd.jobs.rows import decode_job
from gnt.masterd.jobs.seam import Ending, LeftForRecovery, OpcodeEnd, OpcodeRun
from gnt.masterd.operation import Operation
from gnt.model.cluster import Cluster
from gnt.model.errors import ConfigError, Failed, GntError, NoMajority
from gnt.model.objects import ClusterSettings
from gnt.opcodes.base import Opcode
from gnt.opcodes.test import TestDelay
from gnt.store.changes import Archive, Change, Put, Space
from gnt.store.job_parts import merged

SETTINGS = ClusterSettings(
    uuid="c", serial_no=1, ctime=0.0, mtime=0.0, cluster_name="cluster.example.com", master_node="m"
)


def delay(locks: str = "", **common: Any) -> TestDelay:
    """Make an opcode whose locks are named in its comment: `instance/a! node/b` (`!`: exclusive)."""
    return TestDelay(duration=0, comment=locks or None, **common)


def locks_of(text: str) -> Locks:
    """Read locks as `delay` has them."""
    locks = Locks()
    for word in text.split() if "/" in text else ():
        level, name = word.rstrip("!").split("/")
        if level == "cluster":
            locks = locks.whole_cluster()
        elif word.endswith("!"):
            locks = locks.exclusive(Level[level.upper()], name)
        else:
            locks = locks.shared(Level[level.upper()], name)
    return locks


class Delay(Operation[TestDelay]):
    """Locks as the comment says."""

    def locks(self, cluster: Cluster) -> Locks:
        """Name the locks."""
        return locks_of(self.op.comment or "")


class FakeJournal:
    """A store in memory. With `hold`, commits are acknowledged only when `acknowledge` is called."""

    def __init__(self) -> None:
        self.head = Cluster.of(SETTINGS)
        self.rows: dict[tuple[Space, str], bytes] = {}
        self.archived: dict[int, bytes] = {}
        self.hold = False
        self.refuse: GntError | None = None
        self.commits: list[tuple[Change, ...]] = []
        self.hurried = self.pressed = 0
        self.due = False
        self.within: list[float] = []
        self.listeners: list[Callable[[object, Sequence[Change]], None]] = []
        self._pending: list[tuple[tuple[Change, ...], Deferred[None]]] = []
        self._free: list[Deferred[None]] = []

    def enqueue(self, changes: Sequence[Change], job: int = 0, *, within: float = 0.0) -> Deferred[None]:
        """Store at once; acknowledge at once, or when told."""
        self.within.append(within)
        done: Deferred[None] = Deferred()
        if self.refuse is not None:
            done.errback(self.refuse)
            return done
        self.commits.append(tuple(changes))
        for change in changes:
            if isinstance(change, Archive):
                for number in change.jobs:
                    if (Space.JOB, str(number)) in self.rows:
                        self.archived[number] = self.job_row(number)
                        del self.rows[Space.JOB, str(number)]
                continue
            if change.space is Space.JOB:
                for part in self.parts(change.key):
                    del self.rows[Space.PART, f"{change.key}/{part}"]
            if isinstance(change, Put):
                self.rows[change.space, change.key] = change.value
            else:
                self.rows.pop((change.space, change.key), None)
        if self.hold:
            self._pending.append((tuple(changes), done))
        else:
            self._tell(tuple(changes), done)
        return done

    def hurry(self) -> None:
        """Note that somebody waits."""
        self.hurried += 1

    def press(self) -> bool:
        """Say whether something was to be written in this turn, which now is on its way."""
        due, self.due = self.due, False
        self.pressed += due
        return due

    def _tell(self, changes: tuple[Change, ...], done: Deferred[None]) -> None:
        for listener in self.listeners:
            listener(None, changes)
        if not done.called:
            done.callback(None)

    def acknowledge(self, count: int | None = None) -> None:
        """Acknowledge what is held, in order."""
        now, self._pending = self._pending[:count], self._pending[len(self._pending[:count]) :]
        for changes, done in now:
            self._tell(changes, done)

    def doubt(self) -> None:
        """Lose the majority: what is held may come true later, nothing more is taken."""
        self.refuse = NoMajority("node2 and node3 do not answer; nothing was changed")
        for done in [done for _, done in self._pending if not done.called]:
            done.errback(NoMajority("node2 and node3 do not answer", in_doubt=True))

    def mend(self) -> None:
        """Have the majority again."""
        self.refuse, self.hold = None, False
        self.acknowledge()
        free, self._free = self._free, []
        for done in free:
            done.callback(None)

    def _forget(self, done: Deferred[None]) -> None:
        self._free.remove(done)

    def when_free(self) -> Deferred[None]:
        """Fire when changes are taken."""
        done: Deferred[None] = Deferred(self._forget)
        if self.refuse is None:
            done.callback(None)
        else:
            self._free.append(done)
        return done

    def space(self, space: Space) -> dict[str, bytes]:
        """Give the rows of a space by key; jobs whole."""
        found = {key: value for (where, key), value in self.rows.items() if where is space}
        return (
            {key: merged(value, self.parts(key).items()) for key, value in found.items()}
            if space is Space.JOB
            else found
        )

    def parts(self, job: str) -> dict[str, bytes]:
        """Give the parts of a job, by their names within it."""
        prefix = f"{job}/"
        return {
            key.removeprefix(prefix): value
            for (space, key), value in self.rows.items()
            if space is Space.PART and key.startswith(prefix)
        }

    def job_row(self, number: int) -> bytes:
        """Give a stored job, whole."""
        return merged(self.rows[Space.JOB, str(number)], self.parts(str(number)).items())

    def job(self, number: int) -> Any:
        """Give a stored job as JSON."""
        return msgspec.json.decode(self.job_row(number))

    async def jobs(self, numbers: Collection[int]) -> dict[int, tuple[Job, bool]]:
        """Give stored jobs, archived ones too."""
        live = {job.id: (job, False) for job in self._readable()}
        archived = {number: (decode_job(value), True) for number, value in self.archived.items()}
        return {number: one for number, one in (live | archived).items() if number in numbers}

    async def ended_jobs(self) -> Sequence[Job]:
        """Give stored jobs that are over."""
        return sorted((job for job in self._readable() if job.final), key=lambda job: job.id)

    def _readable(self) -> list[Job]:
        found = []
        for value in self.space(Space.JOB).values():
            with suppress(ConfigError):
                found.append(decode_job(value))
        return found

    async def ended_before(self, when: float | None) -> Collection[int]:
        """Give the numbers of those that ended before a time."""
        return {job.id for job in await self.ended_jobs() if when is None or _seconds(job.end_timestamp) < when}

    async def archived_jobs(self) -> Sequence[Job]:
        """Give all archived jobs."""
        return [decode_job(self.archived[number]) for number in sorted(self.archived)]


def _seconds(stamp: Stamp | None) -> float:
    assert stamp is not None
    return stamp[0] + stamp[1] / 1_000_000


class FakeEngine:
    """Runs what the test says. Without `hold`, each opcode ends at once with `end`."""

    def __init__(self, journal: FakeJournal) -> None:
        self.journal = journal
        self.hold = False
        self.end: OpcodeEnd | Exception = OpcodeEnd(result=True)
        self.runs: list[OpcodeRun] = []
        self.waiting: dict[int, Deferred[OpcodeEnd]] = {}
        self.recovered: list[tuple[int, Locks]] = []
        self.stopped = False
        # Whether anybody waited for each end.
        self.awaited: list[bool] = []

    async def run(self, run: OpcodeRun, operation: Operation[Any]) -> Ending:
        """Run an opcode."""
        self.runs.append(run)
        end = self.end
        if self.hold:
            self.waiting[run.job] = waiting = Deferred()
            await self.journal.enqueue(run.beginning())
            end = await waiting
        if isinstance(end, Exception):
            raise end
        return await self._ended(run, end)

    async def recover(self, run: OpcodeRun) -> Ending:
        """Settle an opcode."""
        self.recovered.append((run.job, run.held.locks))
        if self.hold:
            self.waiting[run.job] = waiting = Deferred()
            return await self._ended(run, await waiting)
        assert isinstance(self.end, OpcodeEnd)
        return await self._ended(run, self.end)

    async def _ended(self, run: OpcodeRun, end: OpcodeEnd) -> Ending:
        ending = run.ending(end)
        self.awaited.append(run.awaited)
        await self.journal.enqueue(ending.changes)
        return ending

    def kill(self, job: int) -> bool:
        """End a held opcode in error."""
        if job not in self.waiting:
            return False
        self.finish(job, OpcodeEnd(error=Failed("This was killed by request", code="killed")))
        return True

    def stop(self) -> None:
        """Leave what runs."""
        self.stopped = True
        for waiting in list(self.waiting.values()):
            waiting.errback(LeftForRecovery())
        self.waiting = {}

    def finish(self, job: int, end: OpcodeEnd | None = None) -> None:
        """Let a held opcode end."""
        self.waiting.pop(job).callback(end or OpcodeEnd(result=True))


class AtOnce(Processor):
    """Starts new jobs at once: that they stand by for a moment has tests of its own."""

    def wake_later(self) -> None:
        """Start jobs."""
        self.wake()


@dataclass
class Brain:
    """Queue, locks, processor, on a false clock and a false store."""

    journal: FakeJournal = field(default_factory=FakeJournal)
    clock: Clock = field(default_factory=Clock)
    operation_of: Callable[[Opcode], Operation[Any]] = lambda op: Delay(op, None)  # type: ignore[arg-type]
    processor_type: type[Processor] = AtOnce

    def __post_init__(self) -> None:
        self.clock.advance(1000)
        self.engine = FakeEngine(self.journal)
        self.locks = LockManager(self.clock)
        self.queue = JobQueue(self.journal, self.journal, self.clock)
        self.journal.listeners = [self.queue.doubtful.committed]
        self.processor = self.processor_type(
            queue=self.queue,
            locks=self.locks,
            engine=self.engine,
            model=self.journal,
            clock=self.clock,
            operation_of=lambda op: self.operation_of(op),  # noqa: PLW0108  (tests put another one in later)
        )

    def start(self) -> Brain:
        """Take over what the store holds and begin."""
        meta = self.journal.space(Space.META)
        ended = {job.id: job.status for job in result(self.journal.ended_jobs())}
        rows = self.journal.space(Space.JOB)
        self.queue.restore(
            {number: row for number, row in rows.items() if int(number) not in ended},
            self.journal.space(Space.SECRET),
            ended=ended,
            last_job=int(meta.get("last_job", b"0")),
            drained=meta.get("drained") == b"true",
        )
        self.processor.start()
        return self

    def submit(self, *ops: Opcode) -> int:
        """Submit a job that is acknowledged at once."""
        return result(self.queue.submit(ops))

    def status(self, number: int) -> str:
        """Give the status that clients see."""
        status = self.queue.status(number)
        assert status is not None
        return status.value


def started(coroutine: Any) -> Deferred[Any]:
    """Start a coroutine."""
    return Deferred.fromCoroutine(coroutine)


def result(coroutine: Any) -> Any:
    """Give the result of a coroutine that must be over by now; raises what it raised."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(outcome.append)
    assert outcome, "it still waits"
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]
