"""Which queued job starts next: those whose dependencies are over, by priority, then by number.

Jobs only ever wait for jobs of lower numbers, so they cannot wait for each other in a circle.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable


class Schedule:
    """The jobs that may start when there is room. Knows numbers and priorities, nothing else."""

    def __init__(self) -> None:
        self._ready: list[tuple[int, int]] = []
        self._priority: dict[int, int] = {}
        self._missing: dict[int, set[int]] = {}
        self._dependents: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._priority)

    def add(self, job: int, priority: int, unfinished: Iterable[int] = ()) -> None:
        """Let a job stand in line; it is held back while one of `unfinished` is not over."""
        self._priority[job] = priority
        missing = {other for other in unfinished if other != job}
        if missing:
            self._missing[job] = missing
            for other in missing:
                self._dependents.setdefault(other, []).append(job)
        else:
            heapq.heappush(self._ready, (priority, job))

    def waits_for(self, job: int) -> tuple[int, ...]:
        """Give the jobs that hold a job back, by number."""
        return tuple(sorted(self._missing.get(job, ())))

    def over(self, job: int) -> None:
        """Take note that a job has ended: it no longer stands in line, and holds nobody back."""
        self.remove(job)
        for dependent in self._dependents.pop(job, ()):
            missing = self._missing.get(dependent)
            if missing is None:
                continue
            missing.discard(job)
            if not missing:
                del self._missing[dependent]
                heapq.heappush(self._ready, (self._priority[dependent], dependent))

    def remove(self, job: int) -> None:
        """Take a job out of the line; one that is not in it stays out."""
        self._priority.pop(job, None)
        self._missing.pop(job, None)

    def change(self, job: int, priority: int) -> None:
        """Give a job that stands in line another priority; others are left alone."""
        if job in self._priority and self._priority[job] != priority:
            self._priority[job] = priority
            if job not in self._missing:
                heapq.heappush(self._ready, (priority, job))

    def next(self) -> int | None:
        """Take the next job out of the line; None if none may start."""
        while self._ready:
            priority, job = heapq.heappop(self._ready)
            # Entries of jobs that were removed, or moved to another priority, are left behind in the heap.
            if self._priority.get(job) == priority and job not in self._missing:
                del self._priority[job]
                return job
        return None
