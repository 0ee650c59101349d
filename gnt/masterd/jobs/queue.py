"""The job queue: takes jobs, keeps them, tells what became of them.

A change of a job is handed to the store and shown, answered and acted upon once it is acknowledged. What runs the jobs
is `gnt.masterd.jobs.processor`; making jobs out of opcodes is `gnt.masterd.jobs.submission`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gnt.daemon.runtime import Clock
from gnt.masterd.jobs import job as jobs
from gnt.masterd.jobs.doubt import Doubtful
from gnt.masterd.jobs.fields import values_of
from gnt.masterd.jobs.job import Job
from gnt.masterd.jobs.live import LiveJob
from gnt.masterd.jobs.needs import Commits, Runner, Shelf
from gnt.masterd.jobs.news import changed, seen
from gnt.masterd.jobs.rows import decode_job, whole_row
from gnt.masterd.jobs.rules import FREE, Rules, Verdict
from gnt.masterd.jobs.schedule import Schedule
from gnt.masterd.jobs.seam import Ending, OpcodeEnd
from gnt.masterd.jobs.states import SUBMITTABLE, Status
from gnt.masterd.jobs.submission import NewJob, children, earlier_jobs, told_of, with_places
from gnt.masterd.jobs.table import JobTable
from gnt.model.errors import (
    INTERNAL,
    WRONG_INPUT,
    ConfigError,
    Failed,
    GntError,
    JobLost,
    NoMajority,
    QueueDrained,
    Refused,
)
from gnt.opcodes.base import Opcode
from gnt.store.changes import Archive, Change, Put, Remove, Space
from gnt.wire.luxi_frames import LONGEST_WAIT

ARCHIVE_BATCH: Final = 100


class JobQueue:
    """All jobs that are not archived. Fill it with `restore`, then `attach` what runs them."""

    def __init__(self, commits: Commits, shelf: Shelf, clock: Clock) -> None:
        self.schedule = Schedule(self.judge)
        self._rules = Rules()
        self._commits = commits
        self._shelf = shelf
        self._clock = clock
        self._jobs = JobTable(shelf)
        self._last = 0
        self._drained = False
        self._runner: Runner | None = None
        # Hears of every job that shows something new.
        self.watch: Callable[[LiveJob], None] | None = None
        self.doubtful = Doubtful(commits)
        self._log = Logger()

    @property
    def drained(self) -> bool:
        """Say whether the queue takes no jobs."""
        return self._drained

    @property
    def last_job(self) -> int:
        """Give the highest number that a job has got; 0 if there was none."""
        return self._last

    def attach(self, runner: Runner) -> None:
        """Say who runs the jobs."""
        self._runner = runner
        self._reject(self._jobs.in_memory())

    def restore(
        self,
        rows: Mapping[str, bytes],
        secrets: Mapping[str, bytes],
        *,
        ended: Mapping[int, Status] | None = None,
        last_job: int = 0,
        drained: bool = False,
    ) -> None:
        """Take over what the store holds: jobs that are not over, secrets, the others by number, what `META` says.

        Jobs that waited start over; those that ran stay `running` until they are settled. A row that cannot be read
        is left where it is, and its job is treated as missing.
        """
        self._drained = drained
        self._jobs.stored(ended or {})
        self._last = max([last_job, *map(int, rows), *(ended or ())])
        hidden: dict[int, dict[int, bytes]] = {}
        for key, value in secrets.items():
            owner, _, index = key.partition("/")
            hidden.setdefault(int(owner), {})[int(index)] = value
        for number in sorted(map(int, rows)):
            try:
                stored = decode_job(rows[str(number)])
            except ConfigError as error:
                self._log.error("job {job} is left out: {error}", job=number, error=error)
                continue
            job = jobs.put_back(stored)
            live = LiveJob(job, secrets=hidden.get(number), again=True, stored=stored)
            live.watch = self.watch
            self._jobs.add(live)
            if live.head.status is Status.QUEUED:
                self._stand_in_line(live)

    # Looking

    def __iter__(self) -> Iterator[Job]:
        """Go through the jobs in memory as they are shown, by number: all that are not over, and some that are."""
        return iter(self._jobs)

    def status(self, number: int) -> Status | None:
        """Give the status of a job that is not archived, as it is shown; None: there is none of that number."""
        return self._jobs.status(number)

    async def unarchived(self) -> Sequence[Job]:
        """Give the jobs that are not archived as they are shown, by number."""
        return await self._jobs.unarchived()

    def live(self, number: int) -> LiveJob | None:
        """Give a job in memory."""
        return self._jobs.get(number)

    async def find(self, number: int) -> tuple[Job, bool] | None:
        """Give a job as it is shown, archived ones too, and whether it is archived."""
        return (await self._jobs.find([number])).get(number)

    async def rows(self, numbers: Sequence[int] | None, fields: Sequence[str]) -> list[list[Any]]:
        """Give rows of field values: of the named jobs, or of all (archived ones if the field `archived` is asked).

        A job that is not known has a row with nothing but its number. Raises `Refused` for an unknown field.
        """
        values = values_of(fields)
        if numbers:
            found = await self._jobs.find(numbers)
            return [
                values(*found[number]) if number in found else [number if name == "id" else None for name in fields]
                for number in numbers
            ]
        archived = await self._shelf.archived_jobs() if "archived" in fields else ()
        return [values(job, True) for job in archived] + [values(job, False) for job in await self.unarchived()]

    async def wait_for_change(
        self, number: int, fields: Sequence[str], previous: Any, serial: int | None, within: float
    ) -> list[Any] | None:
        """Wait until a job differs from what the caller saw, and give `[values, log entries]`; None if it does not.

        `previous` are the values that the caller has (None: none), `serial` the last log entry that it has; `within`
        in seconds. Raises `JobLost`, and `Refused` for an unknown field.
        """
        values = values_of(fields)
        live = self._jobs.get(number)
        if live is not None:
            if not live.shown.final:
                self._hurry()
            limit = min(within, LONGEST_WAIT)
            return await changed(self._clock, live, values, previous=previous, serial=serial, within=limit)
        found = await self.find(number)
        if found is None:
            raise JobLost(f"Job {number} not found")
        return seen(values, *found, serial)

    def _hurry(self) -> None:
        """Have no job stand by that somebody waits for: neither its start nor its end."""
        if self._runner is not None:
            self._runner.wake()
        self._commits.hurry()

    # Taking jobs

    async def submit(self, ops: Sequence[Opcode], *, though_drained: bool = False, within: float = 0.0) -> int:
        """Take a job and give its number once the job is durable; waits `within` seconds at most, if any are given.

        Raises `QueueDrained`, `Refused`, and `NoMajority`: if that is in doubt it names the job that it may become.
        """
        self._open(though_drained)
        new = self._make(ops, ())
        await self._take([new], within)
        return new.number

    async def submit_many(self, wanted: Sequence[Sequence[Opcode] | GntError]) -> list[tuple[bool, int | str]]:
        """Take many jobs in one commit; give for each its number, or why it is not taken.

        An error in `wanted` stands for a job that could not be read: it uses up a place, so that those which refer to
        jobs before them by negative numbers still mean the right ones. Raises `QueueDrained`.
        """
        self._open(though_drained=False)
        made = self._make_many(wanted)
        await self._take([one for one in made if isinstance(one, NewJob)])
        return [(True, one.number) if isinstance(one, NewJob) else (False, str(one)) for one in made]

    def _open(self, though_drained: bool) -> None:
        if self._drained and not though_drained:
            raise QueueDrained

    def _make(self, ops: Sequence[Opcode], before: Sequence[int | None]) -> NewJob:
        """Make a job of the next number; `before` are the jobs that negative numbers may mean."""
        placed = with_places(ops, self._last + 1, before, self._clock.seconds())
        self._last += 1
        return NewJob(self._last, placed, self._clock.seconds())

    def _make_many(self, wanted: Sequence[Sequence[Opcode] | GntError]) -> list[NewJob | GntError]:
        made: list[NewJob | GntError] = []
        numbers: list[int | None] = []
        for ops in wanted:
            one: NewJob | GntError
            try:
                one = ops if isinstance(ops, GntError) else self._make(ops, numbers)
            except GntError as error:
                one = error
            made.append(one)
            numbers.append(one.number if isinstance(one, NewJob) else None)
        return made

    def _changes_for(self, new: Sequence[NewJob]) -> list[Change]:
        changes = [self._last_row()] if new else []
        for one in new:
            changes += one.changes()
        return changes

    async def _take(self, new: Sequence[NewJob], within: float = 0.0) -> None:
        if not new:
            return
        try:
            await self.doubtful.commit(self._changes_for(new), lambda: self._enter(new), within=within)
        except NoMajority as error:
            raise (told_of(error, new) if error.in_doubt else error) from None

    def _enter(self, new: Sequence[NewJob]) -> None:
        """Let jobs that are durable stand in line."""
        for one in new:
            self._jobs.add(one.live)
            one.live.stored = one.live.head
            one.live.watch = self.watch
            self._stand_in_line(one.live)
        self._reject([one.live for one in new])
        if self._runner is not None:
            self._runner.wake_later()

    def _stand_in_line(self, live: LiveJob) -> None:
        unfinished = []
        for number in earlier_jobs(live):
            other = self._jobs.get(number)
            if other is not None and not other.shown.final:
                unfinished.append(number)
        self.schedule.add(live.head.id, live.head.priority, unfinished)

    # Rules

    def rule(self, rules: Rules) -> None:
        """Go by these rules from now on."""
        self._rules = rules
        for live in self._jobs.in_memory():
            live.verdict = None
        self.schedule.reconsider()
        self._reject(self._jobs.in_memory())
        if self._runner is not None:
            self._runner.wake()

    def judge(self, number: int) -> Verdict:
        """Say what the rules say of a job."""
        live = self._jobs.get(number)
        if live is None:
            return FREE
        if live.verdict is None:
            live.verdict = self._rules.judge(live.head)
        return live.verdict

    def _reject(self, lives: Iterable[LiveJob]) -> None:
        """Have those ended that are rejected and do not run yet."""
        if self._runner is None:
            return
        for live in list(lives):
            verdict = self.judge(live.head.id)
            if verdict.rejected and live.head.status in (Status.QUEUED, Status.WAITING):
                self._runner.reject(live.head.id, f"Rejected by the rule {verdict.rejected}{verdict.reason}")

    async def touch(self) -> None:
        """Fire when whatever was in doubt before is durable, or will never be."""
        await self._commits.enqueue([self._last_row()])
        self.doubtful.clear()

    def _last_row(self) -> Change:
        return Put(Space.META, "last_job", str(self._last).encode())

    # Changing jobs

    async def change(self, live: LiveJob, change: jobs.Change) -> None:
        """Make a change of a job durable, then show it.

        When it is in doubt (`NoMajority`) `head` keeps it and it is shown should it come true; on other errors the job
        is as it was before.
        """
        before = live.head
        live.head = then = change(before)
        changes = self._stored(live, then)
        try:
            await self.doubtful.commit(changes, lambda: self._shown(live, change, then), then.id)
        except GntError:
            live.stored = None
            if changes not in self.doubtful and live.head is then:
                live.head = before
                live.wake()
            raise

    def _stored(self, live: LiveJob, then: Job) -> list[Change]:
        changes = live.rows() or [whole_row(then)]
        if then.final:
            changes += [Remove(Space.SECRET, f"{then.id}/{index}") for index in live.secrets]
        return changes

    def _shown(self, live: LiveJob, change: jobs.Change, then: Job) -> None:
        live.stored = then
        live.show(change, then)
        if live.shown.final:
            live.forget_input()
            self.schedule.over(then.id)
            self._jobs.ended(live)
            if self._runner is not None:
                self._runner.over(then.id)

    def ending(self, live: LiveJob, index: int, end: OpcodeEnd) -> Ending:
        """Give the end of an opcode as changes for somebody's commit; see `gnt.masterd.jobs.seam`."""
        new: list[NewJob] = []
        result = end.result
        if end.jobs:
            made = self._make_many([children(live.opcode(index), ops) for ops in end.jobs])
            new = [one for one in made if isinstance(one, NewJob)]
            listed = [[True, one.number] if isinstance(one, NewJob) else [False, str(one)] for one in made]
            if end.error is None:
                result = {**(result or {}), "jobs": listed}
        change = self._end(live.head.id, index, end.error, result)
        then = live.head = change(live.head)

        told: list[bool] = []

        def seen() -> None:
            if not told:
                told.append(True)
                if new:
                    self._enter(new)
                self._shown(live, change, then)

        return Ending(live.head.id, index, end, (*self._changes_for(new), *self._stored(live, then)), seen)

    def _end(self, job: int, index: int, error: GntError | None, result: Any) -> jobs.Change:
        now = self._clock.seconds()
        if error is None:
            try:
                return jobs.succeeded(index, now, jobs.encode_result(result))
            except (TypeError, ValueError, RecursionError):
                # A fault of ours; the one who asks for the ending holds changes that must be committed with it.
                self._log.failure("job {job}: the result of opcode {index} is no JSON", job=job, index=index)
                error = Failed("what the operation gave as its result cannot be told", code=INTERNAL)
        return jobs.failed(index, now, jobs.encode_error(error))

    def note(self, live: LiveJob, index: int, text: str) -> None:
        """Add a line to a job's log: shown at once, stored in the background."""
        live.step(jobs.noted(index, self._clock.seconds(), "message", text))
        live.dirty = True
        if not live.saving:
            live.saving = True
            Deferred.fromCoroutine(self._save(live))

    def kept_up(self, numbers: Collection[int], text: str) -> None:
        """Tell those who watch these jobs what keeps them from going on."""
        for live in filter(None, map(self._jobs.get, numbers)):
            if live.shown.final:
                continue
            index, log = live.place, live.shown.ops[live.place].log
            if log and log[-1].payload == text:
                continue
            if live.head.final:
                # Its end is on its way, and will have no such line; those who watch see it until then.
                live.hint(jobs.noted(index, self._clock.seconds(), "message", text))
            else:
                self.note(live, index, text)

    async def _save(self, live: LiveJob) -> None:
        """Store a job's log; lines that come while a write is under way go into the next one."""
        try:
            while live.dirty and not live.head.final:
                live.dirty = False
                then = live.head
                changes = live.rows()
                if changes:
                    await self._commits.enqueue(changes, then.id)
                    live.stored = then
        except GntError as error:
            live.stored = None
            self._log.warn("the log of job {job} is not stored: {error}", job=live.head.id, error=error)
        finally:
            live.saving = False

    # What clients ask

    async def cancel(self, number: int) -> tuple[bool, str]:
        """Cancel a job that does not run yet; give whether it is so, and a line that says it."""
        live = self._jobs.get(number)
        if live is None:
            known = self._jobs.is_over(number)
            return False, f"Job {number} {'is no longer waiting in the queue' if known else 'not found'}"
        return await self._cancel(live)

    async def _cancel(self, live: LiveJob) -> tuple[bool, str]:
        number, status = live.head.id, live.head.status
        if status is Status.QUEUED:
            self.schedule.remove(number)
            try:
                await self.change(live, jobs.canceled(self._clock.seconds()))
            except GntError:
                if live.head.status is Status.QUEUED:
                    self._stand_in_line(live)
                raise
            return True, f"Job {number} canceled"
        if status is Status.WAITING:
            live.step(jobs.canceling)
            if self._runner is not None:
                self._runner.let_go(number)
        elif status is not Status.CANCELING and (status is not Status.CANCELED or live.shown.final):
            return False, f"Job {number} is no longer waiting in the queue"
        while not live.shown.final:
            if live.head.status not in (Status.CANCELING, Status.CANCELED):
                return False, f"Job {number} could not be canceled"
            await live.news()
        return True, f"Job {number} will be canceled"

    def kill(self, number: int) -> tuple[bool, str]:
        """Have a job that runs ended by force; give whether it is so, and a line that says it."""
        live = self._jobs.get(number)
        if live is None and not self._jobs.is_over(number):
            return False, f"Job {number} not found"
        if live is None or live.head.final:
            return False, f"Job {number} is finished"
        if self._runner is None or not self._runner.kill(number):
            return False, f"Job {number} cannot be killed now: what it began is being settled already"
        return True, f"Job {number} is being killed; what it began is undone or finished"

    async def change_priority(self, number: int, priority: int) -> tuple[bool, str]:
        """Change the priority of what a job has yet to do; give whether it is so, and a line that says it.

        Raises `JobLost`, and `Refused` for a priority that may not be asked for.
        """
        if priority not in SUBMITTABLE:
            allowed = ", ".join(map(str, SUBMITTABLE))
            raise Refused(WRONG_INPUT, f"Invalid priority {priority}, allowed are {allowed}")
        live = self._jobs.get(number)
        if live is None and not self._jobs.is_over(number):
            raise JobLost(f"Job {number} not found")
        if live is None or live.head.final:
            return False, f"Job {number} is finished"
        if live.head.status is Status.CANCELING:
            return False, f"Job {number} is cancelling"
        if not any(op.status in (Status.QUEUED, Status.WAITING) for op in live.head.ops):
            return False, f"Job {number} had no pending opcodes"
        await self.change(live, jobs.prioritized(priority))
        self.schedule.change(number, live.head.priority)
        if self._runner is not None:
            self._runner.reprioritize(number, priority)
        return True, f"Priorities of pending opcodes for job {number} have been changed to {priority}"

    async def archive(self, number: int) -> bool:
        """Archive a job that is over; False if there is none of this number that is."""
        if not self._jobs.is_over(number):
            return False
        await self._archive([number])
        return True

    async def auto_archive(self, age: float, within: float) -> tuple[int, int]:
        """Archive the jobs that ended more than `age` seconds ago (-1: all that ended), within `within` seconds.

        Gives how many were archived, and how many there was no time to look at.
        """
        now = self._clock.seconds()
        old = await self._jobs.ended_before(None if age == -1 else now - age)
        numbers = self._jobs.numbers()
        archived = 0
        batch: list[int] = []
        for place, number in enumerate(numbers, 1):
            if number in old:
                batch.append(number)
            if batch and (len(batch) >= ARCHIVE_BATCH or place == len(numbers)):
                await self._archive(batch)
                archived += len(batch)
                batch = []
                if self._clock.seconds() - now >= within:
                    return archived, len(numbers) - place
        return archived, 0

    async def _archive(self, numbers: Sequence[int]) -> None:
        await self.doubtful.commit([Archive(tuple(numbers))], lambda: self._jobs.leave(numbers))

    async def set_drained(self, drained: bool) -> None:
        """Let the queue take no more jobs, or take jobs again."""

        def done() -> None:
            self._drained = drained

        await self.doubtful.commit([Put(Space.META, "drained", b"true" if drained else b"false")], done)
