"""The past of the configuration, for those who ask, and forgetting what is too old.

LUXI methods of our own; times are seconds since the epoch, secrets are in none of the answers:

* `History(kind, name, since, until, limit)`: changes, the newest first: `{"changes": [{"time", "entry", "job",
  "summary", "comment", "reason", "change": {"kind", "uuid", "name", "what", "old_serial", "new_serial", "fields":
  [{"name", "old", "new"}]}}], "kept_from"}`. Everything but the limit may be null: any kind, any object, any time.
  `name` is a name, a name without its last labels or a UUID. `what` is added, changed or removed; `summary`, `comment`
  and `reason` are the job's, null where it made no such change or is gone. All is known since `kept_from`.
* `ObjectAt(kind, name, time)`: `{"kind", "uuid", "name", "time", "object", "disks", "names"}`: an object as it was
  stored then, its disks if it is an instance, the names of the UUIDs in it. The cluster needs no name.
* `ConfigDiff(first, second)`: what is different at the second time: a list of what `change` is above.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import msgspec
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.daemon.runtime import Runtime
from gnt.masterd.jobs.job import Job, summary
from gnt.model.cluster import Kind
from gnt.model.errors import WRONG_INPUT, GntError, Refused
from gnt.store.database import HISTORY_AGE, Database
from gnt.store.past import Past
from gnt.store.vault import Vault

T = TypeVar("T")

log: Final = Logger()

DAY: Final = 86400.0
MOST: Final = 10_000
"""Changes that one answer can have."""
_USER: Final = "gnt:user"


class Commits(Protocol):
    """What is known of the log: `gnt.masterd.journal.Journal`."""

    @property
    def committed(self) -> int:
        """Give the serial up to which everything is on a majority."""


class Jobs(Protocol):
    """Where jobs are found: `gnt.masterd.jobs.queue.JobQueue`."""

    async def find(self, number: int) -> tuple[Job, bool] | None:
        """Give a job, archived ones too."""


class _History(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    kind: str | None = None
    name: str | None = None
    since: float | None = None
    until: float | None = None
    limit: int = 100


class _At(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    kind: str
    name: str | None
    time: float


class _Diff(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    first: float
    second: float


class PastMethods:
    """Answers what was; begins to forget with `start`."""

    def __init__(self, runtime: Runtime, vault: Vault, database: Database, commits: Commits, jobs: Jobs) -> None:
        self._runtime = runtime
        self._vault = vault
        self._database = database
        self._commits = commits
        self._jobs = jobs
        self._due: IDelayedCall | None = None

    def table(self) -> Mapping[str, Callable[[list[Any]], Awaitable[Any]]]:
        """Give the LUXI methods by name."""
        return {"History": self._history, "ObjectAt": self._object_at, "ConfigDiff": self._diff}

    # Answers

    async def _history(self, args: list[Any]) -> dict[str, Any]:
        wanted = _checked("History", args, _History)
        _check_kind(wanted.kind)
        if not 0 < wanted.limit <= MOST:
            raise Refused(WRONG_INPUT, f"History: limit must be from 1 to {MOST}")

        def look(past: Past) -> tuple[Any, float]:
            found = past.changes(wanted.kind, wanted.name, wanted.since, wanted.until, wanted.limit)
            return found, past.kept_from()

        found, kept_from = await self._look(look)
        told = {number: await self._job(number) for number in sorted({change.job for change in found})}
        changes = [{**msgspec.structs.asdict(change), **told[change.job]} for change in found]
        return {"changes": changes, "kept_from": kept_from or None}

    async def _object_at(self, args: list[Any]) -> Any:
        wanted = _checked("ObjectAt", args, _At)
        _check_kind(wanted.kind)
        self._check_time(wanted.time)
        if wanted.name is None and wanted.kind != Kind.CLUSTER:
            raise Refused(WRONG_INPUT, f"ObjectAt: which {wanted.kind}?")
        return await self._look(lambda past: past.object_at(wanted.kind, wanted.name, wanted.time))

    async def _diff(self, args: list[Any]) -> Any:
        wanted = _checked("ConfigDiff", args, _Diff)
        self._check_time(wanted.first)
        self._check_time(wanted.second)
        return await self._look(lambda past: past.differences(wanted.first, wanted.second))

    def _check_time(self, time: float) -> None:
        if time > self._runtime.now() + 1.0:
            raise Refused(WRONG_INPUT, "that time has not come yet")

    async def _look(self, work: Callable[[Past], T]) -> T:
        committed = self._commits.committed

        def look() -> T:
            reader = self._vault.reader(self._database)
            try:
                return work(Past(reader, committed))
            finally:
                self._vault.done_reading(reader)

        return await self._runtime.pools("history").run(look)

    async def _job(self, number: int) -> dict[str, Any]:
        """Say what a job was, as far as that is known."""
        nothing = {"summary": None, "comment": None, "reason": None}
        try:
            found = await self._jobs.find(number) if number else None
        except GntError:
            return nothing
        if found is None:
            return nothing
        inputs = [msgspec.json.decode(op.input) for op in found[0].ops]
        reasons = [step[1] for given in inputs for step in given.get("reason") or () if step[0] == _USER]
        return {
            "summary": ", ".join(summary(op) for op in found[0].ops),
            "comment": next((given["comment"] for given in inputs if given.get("comment")), None),
            "reason": next((reason for reason in reasons if reason), None),
        }

    # Forgetting

    def start(self) -> None:
        """Forget what is older than is kept, once a day."""
        self._due = self._runtime.clock.callLater(DAY, self._forget)

    def stop(self) -> None:
        """Forget no more."""
        due, self._due = self._due, None
        if due is not None and due.active():
            due.cancel()

    def _forget(self) -> None:
        self.start()
        trimming = self._runtime.pools("store").run(self._database.trim_history, self._runtime.now() - HISTORY_AGE)
        trimming.addErrback(_not_forgotten)


def _not_forgotten(failure: Failure) -> None:
    log.error("old history stays for another day: {why}", why=failure.value)


def _check_kind(kind: str | None) -> None:
    if kind is not None and kind not in {member.value for member in Kind}:
        raise Refused(WRONG_INPUT, f"{kind} is no kind of object: {', '.join(Kind)}")


A = TypeVar("A", bound=msgspec.Struct)


def _checked(name: str, args: list[Any], wanted: type[A]) -> A:
    try:
        return msgspec.convert(args, wanted)
    except msgspec.ValidationError as error:
        raise Refused(WRONG_INPUT, f"{name}: {str(error).replace('`', '')}") from None
