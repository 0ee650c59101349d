"""Waiting for news of a job, without polling: `spec/jobs.md`, section 5."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from gnt.daemon.runtime import Clock
from gnt.masterd.jobs.fields import plain
from gnt.masterd.jobs.job import Job, LogEntry
from gnt.masterd.jobs.live import LiveJob


def seen(values: Callable[[Job, bool], list[Any]], job: Job, archived: bool, serial: int | None) -> list[Any]:
    """Give what a client sees of a job: `[values, log entries]`, entries after a serial number (None: all)."""
    return [plain(values(job, archived)), entries_after(job, serial)]


def entries_after(job: Job, serial: int | None) -> list[LogEntry]:
    """Give the log entries after a serial number (None: all), of all opcodes in order."""
    if serial is not None and serial >= job.last_serial:
        return []  # mostly so: a job of thousands of opcodes must not be gone through whenever it changes
    return [entry for op in job.ops for entry in op.log if serial is None or entry.serial > serial]


async def changed(
    clock: Clock,
    live: LiveJob,
    values: Callable[[Job, bool], list[Any]],
    *,
    previous: Any,
    serial: int | None,
    within: float,
) -> list[Any] | None:
    """Wait until a job differs from `previous`, has log entries after `serial`, or is over: then give what is seen.

    None if that is not so within `within` seconds.
    """
    until = clock.seconds() + within
    while True:
        found = seen(values, live.shown, False, serial)
        if live.shown.final or found[1] or found[0] != previous:
            return found
        if not await come(clock, live.news, until - clock.seconds()):
            return None


async def come(clock: Clock, wait: Callable[[], Deferred[None]], seconds: float) -> bool:
    """Wait for news, which `wait` gives once and lets one cancel; False if there was none within the time."""
    if seconds <= 0:
        return False
    news = wait()
    timer = clock.callLater(seconds, news.cancel)
    try:
        await news
    except CancelledError:
        if timer.active():
            raise
        return False
    finally:
        if timer.active():
            timer.cancel()
    return True
