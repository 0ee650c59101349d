"""How long the master takes to list jobs while 50,000 archived ones are in the store.

Run: `python -m bench.job_lists [archived]`. From the request's arguments to the bytes of the answer, store in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, execute
from twisted.internet.task import Clock

from bench.queries import best, build
from gnt.masterd.jobs import job as jobs
from gnt.masterd.jobs.queue import JobQueue
from gnt.masterd.jobs.rows import encode_job
from gnt.masterd.queries.answers import Answers
from gnt.masterd.surroundings import StoredJobs
from gnt.model.epoch import Epoch, Position
from gnt.opcodes.instance_power import InstanceStartup
from gnt.store.changes import Archive, Change, Entry, Put, Space
from gnt.store.database import Database
from gnt.store.vault import MemoryVault
from gnt.wire.luxi import encode_response

LIVE = 200
DEFAULT_LIST = ("id", "status", "summary")
EPOCH = Epoch(number=1, node="a")


class Inline:
    """A pool that does its work at once."""

    def run(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Do it."""
        return execute(work, *args)

    def pools(self, _name: str) -> Inline:
        """Give the only pool."""
        return self


def ended(number: int) -> bytes:
    """Make the row of a job that has ended well."""
    op = InstanceStartup(instance_name=f"instance{number % 1000}.example.com", reason=[["gnt:user", "night", number]])
    job = jobs.new_job(number, [jobs.encode_input(op)[0]], [0], 1000.0)
    for change in (
        jobs.picked_up(0, 1001.0),
        jobs.locked(0, 1002.0, ()),
        jobs.noted(0, 1003.0, "message", "starting"),
        jobs.succeeded(0, 1004.0, jobs.NULL),
    ):
        job = change(job)
    return encode_job(job)


def store(archived: int) -> Database:
    """Make a store with that many archived jobs, and a few live ones."""
    database = Database.create(None, "c")
    for serial, first in enumerate(range(1, archived + LIVE + 1, 500), 1):
        numbers = range(first, min(first + 500, archived + LIVE + 1))
        changes: list[Change] = [Put(Space.JOB, str(number), ended(number)) for number in numbers]
        changes.append(Archive(tuple(number for number in numbers if number <= archived)))
        position = Position(epoch=EPOCH, serial=serial)
        database.append(database.end, [Entry(position, 1000.0, tuple(changes), (0,) * len(changes))], committed=serial)
    return database


class Bench:
    """A master's queue on that store, which is asked."""

    def __init__(self, archived: int) -> None:
        database = store(archived)
        shelf = StoredJobs(Inline(), MemoryVault(), database)  # type: ignore[arg-type]
        self.cluster = build(1)
        queue = JobQueue(self, shelf, Clock())  # type: ignore[arg-type]
        queue.restore(_now(shelf.unfinished()), {}, ended=_now(shelf.ended()), last_job=archived + LIVE)
        self._answers = Answers(
            snapshots=self,
            jobs=queue,
            shelf=shelf,
            locks=self,  # type: ignore[arg-type]
            ask_all=self,  # type: ignore[arg-type]
        )

    def ask(self, fields: Sequence[str], query_filter: Any = None) -> bytes:
        """Ask, and give the bytes that go to the client."""
        return encode_response(_now(self._answers.query("job", fields, query_filter)))


def _now(coroutine: Any) -> Any:
    came: list[Any] = []
    ensureDeferred(coroutine).addCallback(came.append)
    return came[0]


def main() -> None:
    """Print a table."""
    archived = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    bench = Bench(archived)
    print(f"{archived} archived jobs, {LIVE} live ones")
    rows: list[tuple[str, Callable[[], bytes]]] = [
        ("gnt-job list", lambda: bench.ask(DEFAULT_LIST)),
        ("gnt-job list NUMBER, archived", lambda: bench.ask(DEFAULT_LIST, ["=", "id", archived // 2])),
        ("gnt-job list --archived", lambda: bench.ask((*DEFAULT_LIST, "archived"))),
        (
            "gnt-job list --archived --error",
            lambda: bench.ask((*DEFAULT_LIST, "archived"), ["|", ["=", "status", "error"]]),
        ),
    ]
    for what, function in rows:
        milliseconds, size = best(function, 3)
        print(f"{what:34} {milliseconds:9.1f} ms {size:8} KiB")


if __name__ == "__main__":
    main()
