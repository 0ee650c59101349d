"""What a job costs that does nothing: processor time of queue, locks, processor and the stored rows, without a disk.

`python bench/bench_jobs.py [jobs]`. The store acknowledges at once, the engine ends each opcode at once. The goal is
0.4 ms for each job.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from gnt.masterd.jobs.locks import LockManager
from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.jobs.processor import Processor
from gnt.masterd.jobs.queue import JobQueue
from gnt.masterd.jobs.seam import Ending, OpcodeEnd, OpcodeRun
from gnt.masterd.jobs.states import Status
from gnt.masterd.operation import Operation
from gnt.model.cluster import Cluster
from gnt.model.objects import ClusterSettings
from gnt.opcodes.test import TestDelay
from gnt.store.changes import Change

NO_LOCKS = Locks()
THREE = Locks().exclusive(Level.INSTANCE, "web1").shared(Level.NODE, "a", "b")


class Store:
    """Takes everything and keeps nothing."""

    head = Cluster.of(ClusterSettings(uuid="c", cluster_name="cluster.example.com", master_node="m"))

    def enqueue(self, changes: Sequence[Change], job: int = 0) -> Deferred[Any]:  # noqa: ARG002
        """Acknowledge at once."""
        return succeed(None)

    def hurry(self) -> None:
        """Have nothing that waits."""

    def when_free(self) -> Deferred[None]:
        """Be free."""
        return succeed(None)


class Engine:
    """Ends every opcode at once, with the one commit that each needs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, run: OpcodeRun, operation: Operation[Any]) -> Ending:  # noqa: ARG002
        """End it."""
        ending = run.ending(OpcodeEnd())
        await self._store.enqueue(ending.changes, run.job)
        return ending

    async def recover(self, run: OpcodeRun) -> Ending:
        """Never come to this."""
        raise NotImplementedError

    def kill(self, job: int) -> bool:  # noqa: ARG002
        """Have nothing to end."""
        return False

    def stop(self) -> None:
        """Have nothing to stop."""


class Idle(Operation[TestDelay]):
    """Takes the locks that its comment asks for."""

    def locks(self, cluster: Cluster) -> Locks:  # noqa: ARG002
        """Name them."""
        return THREE if self.op.comment else NO_LOCKS


def _master() -> tuple[JobQueue, Processor]:
    store, clock = Store(), Clock()
    queue, locks = JobQueue(store, store, clock), LockManager(clock)  # type: ignore[arg-type]
    fresh: Any = None
    processor = Processor(
        queue=queue,
        locks=locks,
        engine=Engine(store),
        model=store,
        clock=clock,  # type: ignore[arg-type]
        operation_of=lambda op: Idle(op, fresh),  # type: ignore[arg-type]
    )
    return queue, processor


def measure(jobs: int, comment: str | None) -> float:
    """Give the processor time of a job in milliseconds."""
    queue, processor = _master()
    processor.start()
    begin = time.process_time()
    for _ in range(jobs):
        Deferred.fromCoroutine(queue.submit([TestDelay(duration=0, comment=comment)]))
    spent = time.process_time() - begin
    # Most of them are not in memory any more.
    over = sum(queue.status(number) is Status.SUCCESS for number in range(1, jobs + 1))
    if over != jobs:
        raise AssertionError(f"{jobs - over} jobs are not over")
    return spent / jobs * 1000


def measure_opcodes(opcodes: int) -> float:
    """Give the processor time of one opcode of a job of so many, in milliseconds."""
    queue, processor = _master()
    processor.start()
    begin = time.process_time()
    Deferred.fromCoroutine(queue.submit([TestDelay(duration=0) for _ in range(opcodes)]))
    spent = time.process_time() - begin
    if not all(job.final for job in queue):
        raise AssertionError("the job is not over")
    return spent / opcodes * 1000


def main() -> None:
    """Measure, and print."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    measure(500, None)
    for what, comment in (("no locks", None), ("three locks", "three")):
        print(f"a job that does nothing, {what}: {measure(jobs, comment):.3f} ms of processor time")
    for opcodes in (50, 500, 5000):
        print(f"an opcode of a job of {opcodes}: {measure_opcodes(opcodes):.3f} ms of processor time")


if __name__ == "__main__":
    main()
