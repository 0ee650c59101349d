"""Why a job does not run: what it waits for, who has that, its place in line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnt.masterd.jobs.job import owner, summary
from gnt.masterd.jobs.locks import LockFacts, LockManager
from gnt.masterd.jobs.queue import JobQueue


def explain(
    queue: JobQueue, locks: LockManager, number: int, lock_name: Callable[[str], str] = str
) -> dict[str, Any] | None:
    """Say what a job waits for: `ExplainJob` in `gnt.masterd.luxi_methods`. None if it waits for nothing.

    `lock_name` gives a lock (`node/<uuid>`) as people know it.
    """
    waits = locks.explain(number)
    if waits is not None:
        return {
            "locks": tuple(map(lock_name, waits.locks)),
            "holders": waits.holders,
            "ahead": waits.ahead,
            "place": waits.place,
            "jobs": (),
            "held": "",
        }
    schedule = queue.schedule
    if not schedule.stands_in_line(number):
        return None
    others = schedule.waits_for(number)
    held = "" if others else _held(queue, number)
    place = None if others or held else schedule.before(number) + 1
    return {"locks": (), "holders": (), "ahead": (), "place": place, "jobs": others, "held": held}


class LockTable:
    """What the lock query shows: all locks, and as `job/<number>` the jobs whose end others wait for."""

    def __init__(self, queue: JobQueue, locks: LockManager) -> None:
        self._queue = queue
        self._locks = locks

    def snapshot(self) -> list[LockFacts]:
        """Give every lock that is held or waited for, and every job that is waited for."""
        waited = [
            LockFacts(f"job/{other}", None, (), tuple(("shared", (self._owner(number),)) for number in numbers))
            for other, numbers in self._queue.schedule.dependencies().items()
        ]
        return self._locks.snapshot() + waited

    def _owner(self, number: int) -> str:
        live = self._queue.live(number)
        ops = live.shown.ops if live is not None else ()
        return owner(number, summary(ops[0]) if ops else "")


def _held(queue: JobQueue, number: int) -> str:
    """Say what rule or limit holds a job back; empty if none does."""
    verdict = queue.judge(number)
    if verdict.rejected:
        return f"the rule {verdict.rejected} rejects it{verdict.reason}"
    if verdict.paused:
        return f"the rule {verdict.paused} pauses it{verdict.reason}"
    for limit in verdict.limits:
        running = queue.schedule.running_under(limit)
        if running >= limit.most:
            return f"{limit.text}: {running} of at most {limit.most} run"
    return ""
