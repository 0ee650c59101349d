"""Which jobs there are: those that are not over in memory, and the last of the others; the rest in the store.

There may be a hundred thousand that are over and not archived yet: a master that starts must not read them all, nor
keep them. Of these it knows the number and the status.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from gnt.masterd.jobs.job import Job
from gnt.masterd.jobs.live import LiveJob
from gnt.masterd.jobs.needs import Shelf
from gnt.masterd.jobs.states import Status

RECENT: Final = 1000
"""Jobs that are over and stay in memory: clients ask for what came of those that have just ended."""


class JobTable:
    """All jobs that are not archived, as they are shown."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._jobs: dict[int, LiveJob] = {}
        # Those that are over, in memory or not; and the last of them in the order in which they ended.
        self._over: dict[int, Status] = {}
        self._recent: deque[int] = deque()

    # In memory

    def get(self, number: int) -> LiveJob | None:
        """Give a job in memory."""
        return self._jobs.get(number)

    def in_memory(self) -> list[LiveJob]:
        """Give the jobs in memory: all that are not over, and some that are."""
        return list(self._jobs.values())

    def __iter__(self) -> Iterator[Job]:
        """Go through the jobs in memory as they are shown, by number."""
        return (self._jobs[number].shown for number in sorted(self._jobs))

    def add(self, live: LiveJob) -> None:
        """Take a job in."""
        self._jobs[live.head.id] = live

    # All of them

    def numbers(self) -> list[int]:
        """Give the numbers of all jobs, in order."""
        return sorted(self._jobs.keys() | self._over.keys())

    def is_over(self, number: int) -> bool:
        """Say whether there is such a job and it is over."""
        return number in self._over

    def status(self, number: int) -> Status | None:
        """Give the status of a job; None: there is none of that number."""
        live = self._jobs.get(number)
        return live.shown.status if live is not None else self._over.get(number)

    def stored(self, over: Mapping[int, Status]) -> None:
        """Know of jobs that are over and were never in memory."""
        self._over.update(over)

    def ended(self, live: LiveJob) -> None:
        """Note that a job is over, and let the one go from memory that has been over longest."""
        self._over[live.shown.id] = live.shown.status
        self._recent.append(live.shown.id)
        if len(self._recent) > RECENT:
            self._jobs.pop(self._recent.popleft(), None)

    def leave(self, numbers: Iterable[int]) -> None:
        """Forget jobs: they are archived."""
        for number in numbers:
            self._jobs.pop(number, None)
            self._over.pop(number, None)

    async def find(self, numbers: Collection[int]) -> Mapping[int, tuple[Job, bool]]:
        """Give those of these jobs that there are, archived ones too, each with whether it is archived.

        Those that are not in memory are read with one look into the store. Raises `ConfigError` for damaged ones.
        """
        elsewhere = [number for number in numbers if number not in self._jobs]
        read = await self._shelf.jobs(elsewhere) if elsewhere else {}
        # What is neither archived nor known here is in no majority's log yet.
        found = {number: one for number, one in read.items() if one[1] or number in self._over}
        return found | {number: (self._jobs[number].shown, False) for number in numbers if number in self._jobs}

    async def unarchived(self) -> Sequence[Job]:
        """Give all jobs, by number."""
        read: Sequence[Job] = ()
        if self._over.keys() - self._jobs.keys():
            read = await self._shelf.ended_jobs()
        found = {job.id: job for job in read if job.id in self._over} | {job.id: job for job in self}
        return [found[number] for number in sorted(found)]

    async def ended_before(self, when: float | None) -> set[int]:
        """Give the numbers of those that ended before a time (seconds since the epoch; None: all that are over)."""
        return self._over.keys() & await self._shelf.ended_before(when)
