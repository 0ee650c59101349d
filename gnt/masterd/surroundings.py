"""What the master takes from its surroundings: names, freshness, stored jobs, calls that a former master left open."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from twisted.logger import Logger

from gnt.daemon import names
from gnt.daemon.runtime import Runtime
from gnt.masterd.jobs.job import Job
from gnt.masterd.jobs.rows import decode_job
from gnt.masterd.queries.rows import no_collector
from gnt.masterd.segments import decode_row
from gnt.model.errors import ConfigError
from gnt.model.layout import Layout
from gnt.store.changes import Space
from gnt.store.database import Database

log: Final = Logger()


class RuntimeFresh:
    """What a plan takes that must be new: `gnt.masterd.operation.Fresh` on the daemon's runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def uuid(self) -> str:
        """Give a fresh random UUID."""
        return self._runtime.uuid()

    def octets(self, count: int) -> bytes:
        """Give random octets."""
        return self._runtime.random.randbytes(count)

    def now(self) -> float:
        """Give the time in seconds since the epoch."""
        return self._runtime.now()


class PoolResolver:
    """Resolves host names off the reactor's thread: `gnt.masterd.looking.Resolver`."""

    def __init__(self, runtime: Runtime, layout: Layout) -> None:
        self._runtime = runtime
        self._layout = layout

    async def resolve(self, name: str) -> str:
        """Give an address; raises `Refused` (`resolver_error`)."""
        return await self._runtime.pools("resolver").run(names.resolve, self._layout, name)


class StoredJobs:
    """Jobs as they stand in the store: `gnt.masterd.jobs.queue.Shelf`, and the live ones for the start."""

    def __init__(self, runtime: Runtime, database: Database) -> None:
        self._pool = runtime.pools("store")
        self._database = database

    async def live(self) -> Mapping[str, bytes]:
        """Give the rows of the jobs that are not archived, by number."""
        return await self._pool.run(self._live)

    async def archived_job(self, number: int) -> bytes | None:
        """Give the row of an archived job, or None."""
        return await self._pool.run(self._archived_job, number)

    async def archived_jobs(self) -> Sequence[Job]:
        """Give all archived jobs, by number; there may be many, so they are read off the reactor's thread."""
        return await self._pool.run(self._archived_jobs)

    def _live(self) -> dict[str, bytes]:
        found = {}
        for row in self._database.jobs():
            try:
                found[str(row.id)] = row.value
            except ConfigError as error:
                log.warn("job {job} is left out: {error}", job=row.id, error=error)
        return found

    def _archived_job(self, number: int) -> bytes | None:
        return next((row.value for row in self._database.jobs(ids=[number]) if row.archived), None)

    def _archived_jobs(self) -> list[Job]:
        with no_collector():
            return [decode_job(row.value) for row in self._database.jobs(live=False)]


def open_calls(database: Database) -> Callable[[str], Collection[str]]:
    """Read which calls a former master recorded as open, and give their ids for a node (UUID). Blocks."""
    calls: dict[str, list[str]] = {}
    for _, value in database.rows(Space.UNDO):
        for segment in decode_row(value).segments:
            for step in segment.steps:
                calls.setdefault(step.node, []).append(step.id)
    return lambda node: calls.get(node, ())
