"""Runs jobs: a coroutine for each, its opcodes one after the other.

An opcode waits for its dependencies and its locks; the names of the locks are computed from the model, and again after
they were granted, because the model may have moved meanwhile. Then the engine has it (`gnt.masterd.jobs.seam`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from gnt.daemon.runtime import Clock
from gnt.masterd.jobs import job as jobs
from gnt.masterd.jobs.live import LiveJob
from gnt.masterd.jobs.locks import Claim, Held, LockManager, WaitCanceled
from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.jobs.queue import JobQueue
from gnt.masterd.jobs.run import Run
from gnt.masterd.jobs.seam import Ending, Engine, LeftForRecovery
from gnt.masterd.jobs.states import Status
from gnt.masterd.operation import Operation
from gnt.model.cluster import Cluster
from gnt.model.errors import INTERNAL, ConfigError, Failed, GntError, NoMajority, StaleEpoch
from gnt.opcodes.base import Opcode

UNCLEAN_SHUTDOWN: Final = "Unclean master daemon shutdown"

BREATH: Final = 0.0005
"""Seconds that jobs stand by which were just taken, and for which nobody waits.

Whoever submits one job after the other has the answer before the job is started, and the next one is read before.
"""
AGAIN: Final = 1.0
"""Seconds before a change that could not be made is tried again."""

# What the journal raises when changes cannot be made at the moment.
_TROUBLE: Final = (NoMajority, ConfigError)


class Model(Protocol):
    """Where the processor sees the cluster."""

    @property
    def head(self) -> Cluster:
        """Give the model with everything that is on its way to the disk."""

    def when_free(self) -> Deferred[None]:
        """Fire when changes can be made; fails when this master's term is over."""

    def hurry(self) -> None:
        """Write what stands ready for others to go with it."""

    def press(self) -> bool:
        """Begin now to write what was to be written in this turn anyway; says whether there was anything."""


class Canceled(Exception):
    """The job is to be canceled before its opcode runs."""


class Processor:
    """Starts jobs as long as there is room, and brings each to its end.

    `operation_of` makes the operation of an opcode (`gnt.masterd.operation.operation_for`).
    """

    def __init__(
        self,
        *,
        queue: JobQueue,
        locks: LockManager,
        engine: Engine,
        model: Model,
        clock: Clock,
        operation_of: Callable[[Opcode], Operation[Any]],
    ) -> None:
        self._queue = queue
        self._locks = locks
        self._engine = engine
        self._model = model
        self._clock = clock
        self._operation_of = operation_of
        self._started: set[int] = set()
        # Those of them whose end is on its way to the disk: they do nothing more, so others have their places.
        self._ending: set[int] = set()
        self._held: dict[int, Held] = {}
        self._waking_soon: IDelayedCall | None = None
        # Jobs that were just taken wait for that, and for nothing that another one has; once they have waited longer.
        self._standing_by = False
        self._put_off = False
        # Others stand in line for want of room.
        self._crowded = False
        self._open = False
        self._waking = False
        self._idle: list[Deferred[None]] = []
        self._pauses: set[Deferred[None]] = set()
        self._log = Logger()

    @property
    def started(self) -> frozenset[int]:
        """Give the jobs that are started and not over."""
        return frozenset(self._started)

    def start(self) -> None:
        """Take the locks of interrupted opcodes again and have them settled; then start what is queued."""
        interrupted = [(live, index, self._retake(live, index)) for live, index in self._interrupted()]
        self._open = True
        for live, _, _ in interrupted:
            self._started.add(live.head.id)
            self._queue.schedule.began(live.head.id)
        self._queue.attach(self)
        for live, index, held in interrupted:
            Deferred.fromCoroutine(self._settle(live, index, held))
        self.wake()

    async def stop(self) -> None:
        """Start nothing more, and fire when nothing runs any more: opcodes end, or are left for recovery."""
        self._open = False
        if self._waking_soon is not None:
            self._waking_soon.cancel()
            self._waking_soon = None
        self._engine.stop()
        for number in sorted(self._started):
            self._locks.cancel(number)
        for pause in list(self._pauses):
            pause.cancel()
        self._model.hurry()
        if self._started:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle

    # What the queue tells

    def wake(self) -> None:
        """Start jobs while there is room."""
        if self._waking or not self._open:
            return
        self._waking, self._standing_by, self._put_off, self._crowded = True, False, False, True
        try:
            while len(self._started) - len(self._ending) < self._model.head.settings.max_running_jobs:
                number = self._queue.schedule.next()
                if number is None:
                    self._crowded = False
                    return
                live = self._queue.live(number)
                if live is not None:
                    self._started.add(number)
                    Deferred.fromCoroutine(self._job(live))
        finally:
            self._waking = False

    def over(self, job: int) -> None:
        """Free the locks of a job whose end is durable: its coroutine may hear of that much later.

        It waits until nothing is in doubt any more, and the majority may be gone again before.
        """
        held = self._held.get(job)
        if held is not None:
            held.release()
        self._make_use_of_room()

    def is_awaited(self, live: LiveJob) -> bool:
        """Say whether anybody waits for what a job is doing: its own next opcode, clients, or any other job."""
        stands_in_line = bool(self._queue.schedule) and not self._standing_by
        return not live.head.final or live.awaited or stands_in_line or self._locks.awaited

    def ends(self, live: LiveJob) -> None:
        """Take note that a job ends with a commit that is being put together; others are started once it is."""
        if live.head.final:
            self._ending.add(live.head.id)
            if self._queue.schedule and self._may_follow:
                self._wake_within(0)

    def wake_later(self) -> None:
        """Start jobs that were just taken, in a moment."""
        self._standing_by = True
        self._wake_within(BREATH)

    def _wake_within(self, seconds: float) -> None:
        if not self._open:
            return
        if self._waking_soon is None:
            self._waking_soon = self._clock.callLater(seconds, self._wake_now)
        elif self._waking_soon.getTime() > self._clock.seconds() + seconds:
            self._waking_soon.reset(seconds)

    def _wake_now(self) -> None:
        self._waking_soon = None
        # The next submission may be there already: it is on its way to the disk before anything is started, and what is
        # started does not take the interpreter from the thread that writes it.
        if self._standing_by and self._model.press() and not self._put_off:
            self._put_off = True
            self._wake_within(BREATH)
        else:
            self.wake()

    @property
    def _may_follow(self) -> bool:
        """Say whether somebody stands in line for the place of a job that ends: not those that were just taken."""
        return self._crowded or not self._standing_by

    def _make_use_of_room(self) -> None:
        if self._may_follow:
            self.wake()

    def let_go(self, job: int) -> None:
        """End the wait of a job that is to be canceled."""
        self._locks.cancel(job)

    def reprioritize(self, job: int, priority: int) -> None:
        """Change the place in line of a job that may wait for locks."""
        self._locks.reprioritize(job, priority)

    def reject(self, job: int, why: str) -> None:
        """End a job that does not run yet as canceled."""
        live = self._queue.live(job)
        if live is None:
            return
        if job not in self._started:
            self._queue.schedule.remove(job)
            self._started.add(job)
            Deferred.fromCoroutine(self._rejected(live, why))
        elif live.head.status is Status.WAITING:
            live.step(jobs.canceling)
            self._locks.cancel(job)

    def kill(self, job: int) -> bool:
        """End a job that runs; False if it is being settled already."""
        return self._engine.kill(job)

    async def _rejected(self, live: LiveJob, why: str) -> None:
        try:
            await self._surely(live, jobs.canceled(self._clock.seconds(), why))
        except (LeftForRecovery, NoMajority, StaleEpoch) as reason:
            self._log.warn("job {job} is left as it is: {reason!r}", job=live.head.id, reason=reason)
        self._over(live.head.id)

    # One job

    async def _job(self, live: LiveJob) -> None:
        try:
            for index in range(len(live.head.ops)):
                status = live.head.ops[index].status
                if status is Status.SUCCESS:
                    continue
                # It may have been canceled between two opcodes.
                if status is not Status.QUEUED or not self._open or not await self._opcode(live, index):
                    break
        except (LeftForRecovery, NoMajority, StaleEpoch) as reason:
            self._log.warn("job {job} is left as it is: {reason!r}", job=live.head.id, reason=reason)
        except Exception:  # noqa: BLE001  (one job's trouble must not keep others from starting)
            self._log.failure("job {job} is left as it is", job=live.head.id)
        self._over(live.head.id)

    def _over(self, number: int) -> None:
        self._started.discard(number)
        self._ending.discard(number)
        self._make_use_of_room()
        if not self._started:
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)

    async def _opcode(self, live: LiveJob, index: int) -> bool:
        """Bring one opcode to its end; say whether the next one may begin."""
        live.step(jobs.picked_up(index, self._clock.seconds(), again=live.again))
        try:
            await self._pause(self._model.when_free())
            op = live.opcode(index)
            for other, wanted in op.depends or ():
                await self._depend(live, other, wanted)
            operation = self._operation_of(op)
            held = await self._locked(live, index, op, operation)
        except (Canceled, WaitCanceled):
            if live.head.status is Status.WAITING and not self._open:
                return False
            return await self._cancel(live)
        except (LeftForRecovery, NoMajority, StaleEpoch):
            raise
        except GntError as error:
            return await self._fail(live, index, error)
        except Exception as error:  # noqa: BLE001  (a fault of ours: the job ends in error, the daemon goes on)
            return await self._fail(live, index, self._unexpected(live, index, error))
        return await self._run(live, index, op, operation, held)

    async def _depend(self, live: LiveJob, other: int, wanted: tuple[str, ...]) -> None:
        """See that a job has ended as wanted. Raises `Failed`, or `Canceled`: `spec/jobs.md`, section 6."""
        own = live.head.id
        if other == own:
            raise Failed("Job can't depend on itself")
        if other > own:
            raise Failed(f"Dependency error: job {other} did not exist when job {own} was submitted")
        # A job is not started before those it depends on are over, so there is nothing to wait for here.
        found = await self._queue.find(other)
        if live.head.status is not Status.WAITING:
            raise Canceled
        if found is None:
            raise Failed(f"Dependency error: job {other} not found")
        status = found[0].status
        if status is Status.CANCELED and status not in wanted:
            raise Canceled
        if wanted and status not in wanted:
            listed = ", ".join(wanted)
            raise Failed(f"Dependency job {other} finished with status '{status}', not one of '{listed}' as required")

    async def _locked(self, live: LiveJob, index: int, op: Opcode, operation: Operation[Any]) -> Held:
        """Take the locks that the operation names; ask anew while the model names others than those granted."""
        if live.head.status is not Status.WAITING:
            raise Canceled
        claim = self._claim(live, index, op.op_id())
        model = self._model.head
        names = operation.locks(model)
        while True:
            held = await self._locks.acquire(claim, names)
            try:
                if self._model.head is model:
                    return held
                model = self._model.head
                again = operation.locks(model)
                if again == names:
                    return held
            except BaseException:
                held.release()
                raise
            held.release()
            names = again

    def _claim(self, live: LiveJob, index: int, op_id: str) -> Claim:
        number = live.head.id
        priority = live.head.ops[index].priority
        return self._locks.claim(
            number,
            jobs.owner(number, op_id),
            priority,
            lambda escalated: live.step(jobs.prioritized(escalated, index)),
        )

    async def _run(self, live: LiveJob, index: int, op: Opcode, operation: Operation[Any], held: Held) -> bool:
        keep = False
        self._held[live.head.id] = held
        try:
            live.step(jobs.locked(index, self._clock.seconds(), held.locks.in_order()))
            return await self._engaged(live, Run(self._queue, live, index, op=op, held=held, processor=self), operation)
        except (LeftForRecovery, NoMajority, StaleEpoch, GeneratorExit):
            # What was begun is open: nobody else may touch it as long as this daemon lives.
            keep = True
            raise
        finally:
            del self._held[live.head.id]
            if not keep:
                held.release()

    async def _engaged(self, live: LiveJob, run: Run, operation: Operation[Any]) -> bool:
        """Let the engine have the opcode; say whether the next one may begin."""
        try:
            ending = await self._engine.run(run, operation)
        except _TROUBLE as trouble:
            ending = await self._settled(live, run, trouble)
        except (LeftForRecovery, StaleEpoch):
            raise
        except GntError as error:
            return await self._fail(live, run.index, error)
        except Exception as error:  # noqa: BLE001  (a fault of ours: the job ends in error, the daemon goes on)
            return await self._fail(live, run.index, self._unexpected(live, run.index, error))
        ending.seen()
        return ending.end.error is None

    def _unexpected(self, live: LiveJob, index: int, error: Exception) -> Failed:
        self._log.failure("job {job}: opcode {index} failed unexpectedly", job=live.head.id, index=index)
        text = f"unexpected error: {type(error).__name__}: {error}"
        return Failed(text, code=INTERNAL, hint="the log of the master daemon says more")

    async def _fail(self, live: LiveJob, index: int, error: GntError) -> bool:
        await self._surely(live, jobs.failed(index, self._clock.seconds(), jobs.encode_error(error)))
        return False

    async def _cancel(self, live: LiveJob) -> bool:
        if live.head.status is Status.WAITING:
            live.step(jobs.canceling)
        await self._surely(live, jobs.canceled(self._clock.seconds()))
        return False

    # When changes cannot be made

    async def _pause(self, waiting: Deferred[None]) -> None:
        """Wait for something that may never come; ends with `LeftForRecovery` when this daemon stops."""
        if not self._open:
            waiting.addErrback(lambda _: None)
            waiting.cancel()
            raise LeftForRecovery
        self._pauses.add(waiting)
        try:
            await waiting
        except CancelledError:
            raise LeftForRecovery from None
        finally:
            self._pauses.discard(waiting)

    async def _calm(self, job: int, trouble: GntError) -> None:
        """Wait until changes can be made again, and all that was in doubt is decided."""
        while True:
            self._log.warn("job {job} cannot go on: {trouble}", job=job, trouble=trouble)
            waiting: Deferred[None] = Deferred(lambda _: timer.cancel())  # noqa: B023  (canceled within this turn)
            timer = self._clock.callLater(AGAIN, waiting.callback, None)
            await self._pause(waiting)
            await self._pause(self._model.when_free())
            try:
                await self._queue.touch()
            except _TROUBLE as again:
                trouble = again
            else:
                return

    async def _surely(self, live: LiveJob, change: jobs.Change) -> None:
        """Make the end of a job durable, however long that takes."""
        while True:
            try:
                await self._queue.change(live, change)
            except _TROUBLE as trouble:
                await self._calm(live.head.id, trouble)
                if not live.shown.final:
                    live.go_back()
                    continue
            return

    async def _settled(self, live: LiveJob, run: Run, trouble: GntError) -> Ending:
        """Give the end of an opcode that could not be made durable in its time, or settle what it left open."""
        while True:
            happened: list[Ending] = []
            ending = run.handed_out
            if ending is not None:
                # Shown when it comes true, and not later: other changes of the job may come true after it.
                self._queue.doubtful.expect(ending.changes, partial(_happened, ending, happened))
            await self._calm(run.job, trouble)
            if ending is not None and happened:
                return ending
            live.go_back()
            self._ending.discard(run.job)
            run.handed_out = None
            try:
                return await self._engine.recover(run)
            except _TROUBLE as again:
                trouble = again

    # What an earlier master left

    def _interrupted(self) -> Iterator[tuple[LiveJob, int]]:
        for job in self._queue:
            live = self._queue.live(job.id)
            for index, op in enumerate(job.ops):
                if live is not None and op.status in (Status.RUNNING, Status.CANCELING):
                    yield live, index
                    break

    def _retake(self, live: LiveJob, index: int) -> Held:
        stored = live.head.ops[index].locks
        locks = Locks(frozenset(stored)) if isinstance(stored, tuple) else Locks()
        return self._locks.retake(self._claim(live, index, jobs.summary(live.head.ops[index])), locks)

    async def _settle(self, live: LiveJob, index: int, held: Held) -> None:
        keep = False
        self._held[live.head.id] = held
        try:
            if live.head.ops[index].status is Status.CANCELING:
                await self._fail(live, index, Failed(UNCLEAN_SHUTDOWN))
            else:
                run = Run(self._queue, live, index, op=live.opcode(index), held=held, processor=self)
                try:
                    ending = await self._engine.recover(run)
                except _TROUBLE as trouble:
                    ending = await self._settled(live, run, trouble)
                ending.seen()
        except (LeftForRecovery, NoMajority, StaleEpoch) as reason:
            keep = True
            self._log.warn("job {job} is left as it is: {reason!r}", job=live.head.id, reason=reason)
        except Exception:  # noqa: BLE001  (what is open stays open, and its locks stay held)
            keep = True
            self._log.failure("job {job} cannot be settled; its locks stay held", job=live.head.id)
        del self._held[live.head.id]
        if not keep:
            held.release()
        if not keep and live.head.status is Status.QUEUED:
            await self._job(live)
        else:
            self._over(live.head.id)


def _happened(ending: Ending, happened: list[Ending]) -> None:
    happened.append(ending)
    ending.seen()
