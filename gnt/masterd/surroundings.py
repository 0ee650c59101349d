"""What the master takes from its surroundings: names, freshness, stored jobs, calls that a former master left open."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

from twisted.logger import Logger

from gnt.daemon import names
from gnt.daemon.runtime import Runtime
from gnt.masterd.jobs.job import Job
from gnt.masterd.jobs.rows import decode_job
from gnt.masterd.jobs.states import Status
from gnt.masterd.queries.rows import no_collector
from gnt.masterd.segments import decode_row
from gnt.model.errors import ConfigError
from gnt.model.layout import Layout
from gnt.store.changes import Space
from gnt.store.database import Database
from gnt.store.reading import JobRow, Reader
from gnt.store.vault import Vault

T = TypeVar("T")

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
    """Jobs as they stand in the store: `gnt.masterd.jobs.needs.Shelf`, and what the queue needs at the start.

    There may be many, so they are read on connections and in a pool of their own: no commit waits for that.
    """

    def __init__(self, runtime: Runtime, vault: Vault, database: Database) -> None:
        self._runtime = runtime
        self._vault = vault
        self._database = database

    async def unfinished(self) -> Mapping[str, bytes]:
        """Give the JSON of the jobs that are not over, by number; one that is damaged is left out."""
        return await self._read(_unfinished)

    async def ended(self) -> Mapping[int, Status]:
        """Give the jobs that are over and not archived, with their statuses."""
        return await self._read(lambda reader: {number: Status(status) for number, status in reader.ended_jobs()})

    async def jobs(self, numbers: Collection[int]) -> Mapping[int, tuple[Job, bool]]:
        """Give those of these jobs that are there, each with whether it is archived. Raises `ConfigError`."""
        return await self._read(
            lambda reader: {row.id: (decode_job(row.value), row.archived) for row in reader.jobs(ids=numbers)}
        )

    async def ended_jobs(self) -> Sequence[Job]:
        """Give all jobs that are over and not archived, by number."""
        return [job for job in await self._read(lambda reader: _decoded(reader.jobs())) if job.final]

    async def ended_before(self, when: float | None) -> Collection[int]:
        """Give the numbers of those that ended before a time (seconds since the epoch; None: of all)."""
        return await self._read(lambda reader: {number for number, _ in reader.ended_jobs(when)})

    async def archived_jobs(self) -> Sequence[Job]:
        """Give all archived jobs, by number."""
        return await self._read(lambda reader: _decoded(reader.jobs(live=False)))

    async def _read(self, work: Callable[[Reader], T]) -> T:
        def read() -> T:
            reader = self._vault.reader(self._database)
            try:
                return work(reader)
            finally:
                self._vault.done_reading(reader)

        return await self._runtime.pools("jobs").run(read)


def _unfinished(reader: Reader) -> dict[str, bytes]:
    found = {}
    for row in reader.unfinished_jobs():
        try:
            found[str(row.id)] = row.value
        except ConfigError as error:
            log.warn("job {job} is left out: {error}", job=row.id, error=error)
    return found


def _decoded(rows: Sequence[JobRow]) -> list[Job]:
    found = []
    with no_collector():
        for row in rows:
            try:
                found.append(decode_job(row.value))
            except ConfigError as error:
                log.warn("job {job} is left out: {error}", job=row.id, error=error)
    return found


def open_calls(database: Database) -> Callable[[str], Collection[str]]:
    """Read which calls a former master recorded as open, and give their ids for a node (UUID). Blocks."""
    calls: dict[str, list[str]] = {}
    for _, value in database.rows(Space.UNDO):
        for segment in decode_row(value).segments:
            for step in segment.steps:
                calls.setdefault(step.node, []).append(step.id)
    return lambda node: calls.get(node, ())
