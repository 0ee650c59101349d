"""Which queued job starts next: those whose dependencies are over and whom no rule holds back, by priority and number.

Jobs only ever wait for jobs of lower numbers, so they cannot wait for each other in a circle.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from gnt.masterd.jobs.rules import FREE, Limit, Verdict


class Schedule:
    """The jobs that may start when there is room. Knows numbers and priorities; `judge` gives the verdict on a job."""

    def __init__(self, judge: Callable[[int], Verdict] = lambda _job: FREE) -> None:
        self._judge = judge
        self._ready: list[tuple[int, int]] = []
        self._priority: dict[int, int] = {}
        self._missing: dict[int, set[int]] = {}
        self._dependents: dict[int, list[int]] = {}
        # Those whom a rule pauses or rejects; those behind a limit, by its key; who runs, and under which limits.
        self._held: set[int] = set()
        self._behind: dict[str, list[tuple[int, int]]] = {}
        self._most: dict[str, int] = {}
        self._begun: dict[int, tuple[Limit, ...]] = {}
        self._running: dict[str, set[int]] = {}

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

    def dependencies(self) -> dict[int, list[int]]:
        """Give the jobs that hold others back, by number, each with those that wait for its end."""
        found: dict[int, list[int]] = {}
        for job in sorted(self._missing):
            for other in self._missing[job]:
                found.setdefault(other, []).append(job)
        return dict(sorted(found.items()))

    def stands_in_line(self, job: int) -> bool:
        """Say whether a job has yet to be started."""
        return job in self._priority

    def running_under(self, limit: Limit) -> int:
        """Give how many jobs run under a limit."""
        return len(self._running.get(limit.key, ()))

    def before(self, job: int) -> int:
        """Give how many jobs go before one that stands in line: those that nothing else holds back."""
        own = (self._priority[job], job)
        return sum(
            (priority, other) < own
            for other, priority in self._priority.items()
            if other not in self._missing and other not in self._held
        )

    def over(self, job: int) -> None:
        """Take note that a job has ended: it no longer stands in line, and holds nobody back."""
        self.remove(job)
        for limit in self._begun.pop(job, ()):
            self._leave(limit, job)
        for dependent in self._dependents.pop(job, ()):
            missing = self._missing.get(dependent)
            if missing is None:
                continue
            missing.discard(job)
            if not missing:
                del self._missing[dependent]
                heapq.heappush(self._ready, (self._priority[dependent], dependent))

    def _leave(self, limit: Limit, job: int) -> None:
        running = self._running.get(limit.key)
        if running is not None:
            running.discard(job)
            if not running:
                del self._running[limit.key]

    def remove(self, job: int) -> None:
        """Take a job out of the line; one that is not in it stays out."""
        self._priority.pop(job, None)
        self._missing.pop(job, None)
        self._held.discard(job)

    def change(self, job: int, priority: int) -> None:
        """Give a job that stands in line another priority; others are left alone."""
        if job in self._priority and self._priority[job] != priority:
            self._priority[job] = priority
            if job not in self._missing:
                heapq.heappush(self._ready, (priority, job))

    def began(self, job: int) -> None:
        """Take note that a job runs that did not stand in line: an interrupted one."""
        self._begin(job, self._judge(job).limits)

    def _begin(self, job: int, limits: tuple[Limit, ...]) -> None:
        self._begun[job] = limits
        for limit in limits:
            self._running.setdefault(limit.key, set()).add(job)

    def reconsider(self) -> None:
        """Judge every job anew: the rules have changed. Those that run go on, and count where they now belong."""
        again = [*self._held, *(job for heap in self._behind.values() for _, job in heap)]
        self._held = set()
        self._behind = {}
        self._running = {}
        for job in again:
            if job in self._priority and job not in self._missing:
                heapq.heappush(self._ready, (self._priority[job], job))
        for job in list(self._begun):
            self._begin(job, self._judge(job).limits)

    def next(self) -> int | None:
        """Take the next job out of the line; None if none may start."""
        while (heap := self._first()) is not None:
            priority, job = heapq.heappop(heap)
            # Entries of jobs that were removed, or moved to another priority, are left behind in the heaps.
            if self._priority.get(job) != priority or job in self._missing or job in self._held:
                continue
            verdict = self._judge(job)
            if verdict.rejected or verdict.paused:
                self._held.add(job)
            elif not self._put_behind(job, priority, verdict.limits):
                del self._priority[job]
                self._begin(job, verdict.limits)
                return job
        return None

    def _first(self) -> list[tuple[int, int]] | None:
        """Give the line whose first may start before those of the others: the general one, and each of a limit."""
        if not self._behind:
            return self._ready or None
        heaps = [self._ready] if self._ready else []
        for key, heap in list(self._behind.items()):
            if not heap:
                del self._behind[key]
            elif len(self._running.get(key, ())) < self._most[key]:
                heaps.append(heap)
        return min(heaps, key=lambda heap: heap[0]) if heaps else None

    def _put_behind(self, job: int, priority: int, limits: tuple[Limit, ...]) -> bool:
        """Put a job behind the first of its limits that is reached; False if it may start."""
        for limit in limits:
            if self.running_under(limit) >= limit.most:
                self._most[limit.key] = limit.most
                heapq.heappush(self._behind.setdefault(limit.key, []), (priority, job))
                return True
        return False
