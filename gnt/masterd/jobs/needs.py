"""What the job queue needs of the others: where changes go, where archived jobs are, who runs the jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from gnt.masterd.jobs.job import Job
from gnt.store.changes import Change


class Commits(Protocol):
    """What the queue needs of the journal."""

    def enqueue(self, changes: Sequence[Change], job: int = 0, *, within: float = 0.0) -> Deferred[Any]:
        """Fire when the changes are durable with a majority; in the order of the calls.

        `within`: wait for so many seconds at most; 0: for as long as the journal does.
        Fails at once where nothing was changed; fails later with `NoMajority` where they may still come true.
        """

    def hurry(self) -> None:
        """Write what stands ready for others to go with it: somebody waits for it now."""


class Shelf(Protocol):
    """Where jobs are read that are over."""

    async def jobs(self, numbers: Collection[int]) -> Mapping[int, tuple[Job, bool]]:
        """Give those of these jobs that are there, each with whether it is archived. Raises `ConfigError`."""

    async def ended_jobs(self) -> Sequence[Job]:
        """Give all jobs that are over and not archived, by number."""

    async def ended_before(self, when: float | None) -> Collection[int]:
        """Give the numbers of those that ended before a time (seconds since the epoch; None: of all)."""

    async def archived_jobs(self) -> Sequence[Job]:
        """Give all archived jobs, by number."""


class Runner(Protocol):
    """What the queue tells the one who runs its jobs."""

    def wake(self) -> None:
        """See whether a job may be started."""

    def wake_later(self) -> None:
        """See to that in a moment: whoever brought a job is answered before, and may bring the next."""

    def over(self, job: int) -> None:
        """Free what a job holds whose end is durable, and see whether another may be started."""

    def let_go(self, job: int) -> None:
        """End the wait of a job that is to be canceled."""

    def reprioritize(self, job: int, priority: int) -> None:
        """Change the place in line of a job that may wait for locks."""

    def reject(self, job: int, why: str) -> None:
        """End a job that does not run yet as canceled."""

    def kill(self, job: int) -> bool:
        """End a job that runs: what it has begun is undone or finished. False if it cannot be ended now."""
