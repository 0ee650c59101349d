"""What happens, for those who follow it: changes of objects and jobs, from a serial of the log on and without a gap.

LUXI method of our own: `WaitForEvents(position, within)` waits, at most `within` seconds, until there is something
after `position`: `{"position": [serial, step, life], "changes": [...], "lost": bool}`. The answer's position is given
with the next call. `null` stands for now; `[serial, null, null]` goes on from an entry of the log as any master of this
cluster gave it, whoever is master now. `lost`: what was after it is not known any more, look at everything anew.

Changes of objects: `{"kind", "uuid", "name", "what", "serial_no"}`, `what` is added, changed or removed. Of jobs:
`{"kind": "job", "id", "status"}`; the status, as it is when the answer is made, is null when the job is archived. An
object or a job stands in an answer once, however often it has changed. Jobs also take steps that are in no commit yet
(waiting, running, log lines): they show at once, and who goes on from a serial is told of every job that is not over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred

from gnt.daemon.runtime import Runtime
from gnt.masterd.jobs.job import Job
from gnt.masterd.jobs.live import LiveJob
from gnt.masterd.jobs.news import come
from gnt.masterd.jobs.states import Status
from gnt.model.cluster import Cluster, Kind
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.store.changes import Archive, Change, Put, Space
from gnt.store.database import Database
from gnt.store.vault import Vault
from gnt.wire.luxi_frames import LONGEST_WAIT

KEPT: Final = 2000
"""Entries that are kept in memory; older ones are read from the log."""

MOST_STEPPED: Final = 5000
"""Jobs whose last step is remembered; who has heard of none since goes on from its serial."""

PIECE_BYTES: Final = 1024 * 1024
"""Of the log, read at a time."""


class Commits(Protocol):
    """What is known of the log: `gnt.masterd.journal.Journal`."""

    @property
    def committed(self) -> int:
        """Give the serial up to which everything is on a majority."""

    @property
    def cluster(self) -> Cluster:
        """Give the cluster as a majority has it on disk."""


class Jobs(Protocol):
    """The live jobs: `gnt.masterd.jobs.queue.JobQueue`."""

    def status(self, number: int) -> Status | None:
        """Give the status of a job that is not archived."""

    def __iter__(self) -> Any:
        """Go through those that are not over, and some that are, as they are shown."""


class _Seen(msgspec.Struct, frozen=True):
    """What one entry of the log touched: objects, by their keys in the store, and jobs."""

    serial: int
    objects: Mapping[str, dict[str, Any]]
    jobs: frozenset[int]


class _Named(msgspec.Struct):
    """What is read of an object's row; disks may have no name, the cluster's is another slot."""

    serial_no: int = 1
    name: str | None = None
    cluster_name: str | None = None


class _Wait(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    position: tuple[int, int | None, str | None] | None
    within: float = 0.0


_decode_named: Final = msgspec.json.Decoder(_Named).decode


class Events:
    """Follows the journal and the jobs. `steps` counts what jobs did; `life` tells this process from every other."""

    def __init__(self, runtime: Runtime, vault: Vault, database: Database, commits: Commits, jobs: Jobs) -> None:
        self.steps = 0
        self.life = runtime.token(4)
        self._runtime = runtime
        self._vault = vault
        self._database = database
        self._commits = commits
        self._jobs = jobs
        self._kept: deque[_Seen] = deque(maxlen=KEPT)
        # By job, the step at which it last changed; the latest last.
        self._stepped: dict[int, int] = {}
        self._forgotten = 0  # the last step that is not remembered any more
        self._names: dict[str, str | None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._told = False

    def table(self) -> Mapping[str, Callable[[list[Any]], Awaitable[Any]]]:
        """Give the LUXI methods by name."""
        return {"WaitForEvents": self._wait_for_events}

    # What happens

    def committed(self, position: Any, changes: Sequence[Change]) -> None:
        """Hear of everything that is durable, in order; for the journal's `on_commit`."""
        seen = _seen(position.serial, changes, self._name)
        self._kept.append(seen)
        for number in seen.jobs:
            self._step(number)
        self._tell()

    def stepped(self, live: LiveJob) -> None:
        """Hear that a job shows something new; for the queue's `watch`."""
        self._step(live.head.id)
        self._tell()

    def _step(self, number: int) -> None:
        self.steps += 1
        self._stepped.pop(number, None)
        self._stepped[number] = self.steps
        if len(self._stepped) > MOST_STEPPED:
            self._forgotten = self._stepped.pop(next(iter(self._stepped)))

    def _tell(self) -> None:
        """Wake who waits, once all that happens in this turn has happened."""
        if self._waiting and not self._told:
            self._told = True
            self._runtime.clock.callLater(0, self._wake)

    def _wake(self) -> None:
        self._told = False
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(None)

    # Answers

    async def _wait_for_events(self, args: list[Any]) -> dict[str, Any]:
        try:
            wanted = msgspec.convert(args, _Wait)
        except msgspec.ValidationError as error:
            raise Refused(WRONG_INPUT, f"WaitForEvents: {str(error).replace('`', '')}") from None
        if self._names is None:
            self._names = _names_of(self._commits.cluster)
        if wanted.position is None:
            return self._answer(self._commits.committed, [], lost=False)
        serial, step, life = wanted.position
        if serial > self._commits.committed or serial < 0:
            return self._answer(self._commits.committed, self._under_way(), lost=True)
        if step is None or life != self.life:
            return await self._catch_up(serial)
        until = self._runtime.now() + min(wanted.within, LONGEST_WAIT)
        while serial == self._commits.committed and step >= self.steps:
            if not await come(self._runtime.clock, self._news, until - self._runtime.now()):
                break
        if step < self._forgotten or not self._remembers(serial):
            return await self._catch_up(serial)
        return self._since(serial, step)

    def _since(self, serial: int, step: int) -> dict[str, Any]:
        """Answer a client that has followed so far."""
        objects: dict[str, dict[str, Any]] = {}
        for seen in self._after(serial):
            _merge(objects, seen.objects)
        return self._answer(self._commits.committed, [*objects.values(), *self._jobs_after(step)], lost=False)

    async def _catch_up(self, serial: int) -> dict[str, Any]:
        """Answer a client that comes back, perhaps from another master: from memory, else from the log."""
        until, entries = self._commits.committed, []
        if self._remembers(serial):
            entries = self._after(serial)
        else:
            read = await self._runtime.pools("history").run(self._read, serial, until)
            if read is None:
                return self._answer(self._commits.committed, self._under_way(), lost=True)
            entries, until = read
        objects: dict[str, dict[str, Any]] = {}
        jobs: set[int] = set()
        for seen in entries:
            _merge(objects, seen.objects)
            jobs |= seen.jobs
        changes = [*objects.values(), *map(self._job, sorted(jobs))]
        if until < self._commits.committed:
            return {"position": [until, None, None], "changes": changes, "lost": False}
        others = [job for job in self._under_way() if job["id"] not in jobs]
        return self._answer(until, [*changes, *others], lost=False)

    def _read(self, serial: int, until: int) -> tuple[list[_Seen], int] | None:
        """Read a piece of the log, and say how far it goes; None if it does not begin as early. In the pool."""
        reader = self._vault.reader(self._database)
        try:
            position = reader.position_at(serial)
            entries = None if position is None else reader.entries_after(position, PIECE_BYTES)
        finally:
            self._vault.done_reading(reader)
        if not entries:
            return None
        found = [
            _seen(entry.position.serial, entry.changes, lambda _key, value: value)
            for entry in entries
            if entry.position.serial <= until
        ]
        return (found, found[-1].serial) if found else None

    def _remembers(self, serial: int) -> bool:
        """Say whether everything after an entry is in memory."""
        return serial == self._commits.committed or (bool(self._kept) and self._kept[0].serial <= serial + 1)

    def _after(self, serial: int) -> list[_Seen]:
        found: list[_Seen] = []
        for seen in reversed(self._kept):
            if seen.serial <= serial:
                break
            found.append(seen)
        return found[::-1]

    def _jobs_after(self, step: int) -> list[dict[str, Any]]:
        found = []
        for number, at in reversed(self._stepped.items()):
            if at <= step:
                break
            found.append(number)
        return [self._job(number) for number in reversed(found)]

    def _job(self, number: int) -> dict[str, Any]:
        status = self._jobs.status(number)
        if status is None:
            self._stepped.pop(number, None)
        return {"kind": "job", "id": number, "status": None if status is None else str(status)}

    def _under_way(self) -> list[dict[str, Any]]:
        """Give the jobs that are not over: what they did last may be in no commit."""
        jobs: Iterable[Job] = self._jobs
        return [{"kind": "job", "id": job.id, "status": str(job.status)} for job in jobs if not job.final]

    def _answer(self, serial: int, changes: list[dict[str, Any]], *, lost: bool) -> dict[str, Any]:
        return {"position": [serial, self.steps, self.life], "changes": changes, "lost": lost}

    def _news(self) -> Deferred[None]:
        """Fire when something happens; may be canceled."""
        news: Deferred[None] = Deferred(lambda this: self._waiting.remove(this) if this in self._waiting else None)
        self._waiting.append(news)
        return news

    def _name(self, key: str, name: str | None) -> str | None:
        """Keep the name of an object for when it is gone; give the one that it has or had."""
        if self._names is None:
            return name
        if name is not None:
            self._names[key] = name
            return name
        return self._names.pop(key, None)


def _seen(serial: int, changes: Sequence[Change], named: Callable[[str, str | None], str | None]) -> _Seen:
    """Give what an entry of the log touched. Nothing of secrets, undo lists and debts is told."""
    objects: dict[str, dict[str, Any]] = {}
    jobs: set[int] = set()
    for change in changes:
        if isinstance(change, Archive):
            jobs.update(change.jobs)
        elif change.space in {Space.JOB, Space.PART}:
            jobs.add(int(change.key.partition("/")[0]))
        elif change.space is Space.OBJECT:
            kind, _, uuid = change.key.partition("/")
            about: dict[str, Any] = {"kind": kind, "uuid": uuid, "name": None, "what": "removed", "serial_no": None}
            if isinstance(change, Put):
                row = _decode_named(change.value)
                about["name"] = row.cluster_name if kind == Kind.CLUSTER else row.name
                about["what"] = "added" if row.serial_no == 1 else "changed"
                about["serial_no"] = row.serial_no
            about["name"] = named(change.key, about["name"])
            _merge(objects, {change.key: about})
    return _Seen(serial, objects, frozenset(jobs))


def _merge(objects: dict[str, dict[str, Any]], later: Mapping[str, dict[str, Any]]) -> None:
    """Put later changes over earlier ones: one line for each object. What was added and changed was added."""
    for key, change in later.items():
        earlier = objects.pop(key, None)
        added = earlier is not None and earlier["what"] == "added" and change["what"] == "changed"
        objects[key] = {**change, "what": "added"} if added else change


def _names_of(cluster: Cluster) -> dict[str, str | None]:
    """Give the names of all objects that have one, by their keys in the store."""
    tables: Sequence[tuple[Kind, Iterable[Any]]] = (
        (Kind.NODE, cluster.nodes.values()),
        (Kind.GROUP, cluster.groups.values()),
        (Kind.INSTANCE, cluster.instances.values()),
        (Kind.NETWORK, cluster.networks.values()),
    )
    return {f"{kind}/{one.uuid}": one.name for kind, objects in tables for one in objects}
