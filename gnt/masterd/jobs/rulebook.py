"""The rules about jobs as the configuration has them: set, removed, and brought to the queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred

from gnt.masterd.jobs.queue import JobQueue
from gnt.masterd.jobs.rules import Rules, make_rule
from gnt.model.cluster import Cluster, Kind
from gnt.model.errors import UNKNOWN_ENTITY, Refused
from gnt.model.objects import ConfigObject
from gnt.store.changes import Archive, Change, Space

CAME_BY: Final = "luxid"
"""The source that clients know for rules that came over LUXI."""

_PREFIX: Final = f"{Kind.FILTER}/"


class Configuration(Protocol):
    """What the rulebook needs of the journal."""

    @property
    def head(self) -> Cluster:
        """Give the model with everything that is on its way to the disk."""

    @property
    def cluster(self) -> Cluster:
        """Give the model as a majority has it on disk."""

    def object_changes(self, put: Sequence[ConfigObject] = (), drop: Sequence[ConfigObject] = ()) -> list[Change]:
        """Stamp objects, put them into `head`, and give the changes to enqueue in the same turn."""

    def enqueue(self, changes: Sequence[Change], job: int = 0) -> Deferred[Any]:
        """Fire when the changes are durable with a majority."""


class Fresh(Protocol):
    """Where a new rule takes its UUID and its time."""

    def uuid(self) -> str:
        """Give a fresh random UUID."""

    def now(self) -> float:
        """Give the time in seconds since the epoch."""


class Rulebook:
    """Sets and removes rules; the queue goes by those that are durable."""

    def __init__(self, configuration: Configuration, queue: JobQueue, fresh: Fresh) -> None:
        self._configuration = configuration
        self._queue = queue
        self._fresh = fresh

    def start(self) -> None:
        """Have the queue go by the rules that there are."""
        self._queue.rule(Rules(self._configuration.cluster.filters.values()))

    def committed(self, _position: object, changes: Sequence[Change]) -> None:
        """Hear of everything that is durable, in order; for the journal's `on_commit`."""
        for change in changes:
            if not isinstance(change, Archive) and change.space is Space.OBJECT and change.key.startswith(_PREFIX):
                self.start()
                return

    async def replace(
        self, uuid: str | None, priority: Any, predicates: Any, action: Any, reason: Sequence[Sequence[Any]]
    ) -> str:
        """Set a rule and give its UUID (None: a fresh one). Raises `Refused` naming what is wrong with it."""
        trail = [*reason, (CAME_BY, "", round(self._fresh.now() * 1_000_000_000))]
        rule = make_rule(
            uuid.lower() if uuid is not None else self._fresh.uuid(),
            watermark=self._queue.last_job,
            priority=priority,
            predicates=predicates,
            action=action,
            reason=trail,
        )
        await self._configuration.enqueue(self._configuration.object_changes(put=[rule]))
        return rule.uuid

    async def delete(self, uuid: str) -> None:
        """Remove a rule. Raises `Refused` where there is none of this UUID."""
        rule = self._configuration.head.filters.get(uuid.lower())
        if rule is None and uuid.lower() in self._configuration.cluster.filters:
            # It was removed, but nobody knows yet whether that holds; when this does, so does that.
            await self._configuration.enqueue([])
            return
        if rule is None:
            raise Refused(
                UNKNOWN_ENTITY, f"There is no filter {uuid[:60]}", hint="gnt-filter list shows those there are"
            )
        await self._configuration.enqueue(self._configuration.object_changes(drop=[rule]))
