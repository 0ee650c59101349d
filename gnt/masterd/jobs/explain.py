"""Why a job does not run: what it waits for, who has that, its place in line. For people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnt.masterd.jobs.locks import LockManager
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
    return {"locks": (), "holders": (), "place": place, "jobs": others, "held": held}


def _held(queue: JobQueue, number: int) -> str:
    """Say what rule or limit holds a job back; empty if none does."""
    verdict = queue.judge(number)
    if verdict.rejected:
        return f"the rule {verdict.rejected} rejects it"
    if verdict.paused:
        return f"the rule {verdict.paused} pauses it"
    for limit in verdict.limits:
        running = queue.schedule.running_under(limit)
        if running >= limit.most:
            return f"{limit.text}: {running} of {limit.most} job{'s' if limit.most > 1 else ''} run"
    return ""
