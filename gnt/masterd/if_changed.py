"""Answers for those who have asked the same before, and look only at what is new.

LUXI method of our own: `IfChanged(known, method, args)`: `{"stamp", "result"}`, or `{"stamp"}` alone if that is
`known`: the result would be the one that had this stamp. It is a text that changes whenever what the method tells may
have changed, made of serials of the configuration and the log; null where there is none. `known` may be null.
Methods: Query, QueryClusterInfo, QueryTags and QueryJobs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from gnt.masterd.events import Events
from gnt.masterd.queries.answers import Wanted
from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.wire.luxi import Request

_CONFIGURATION: Final = frozenset({"QueryClusterInfo", "QueryTags"})
_JOBS: Final = "QueryJobs"
# What only the configuration and the nodes know. Others, such as locks, have no stamp.
_OBJECTS: Final = frozenset({"instance", "node", "group", "network", "filter"})


class Commits(Protocol):
    """What is known of the log: `gnt.masterd.journal.Journal`."""

    epoch: Epoch

    @property
    def committed(self) -> int:
        """Give the serial up to which everything is on a majority."""

    @property
    def cluster(self) -> Cluster:
        """Give the cluster as a majority has it on disk."""


class Queries(Protocol):
    """What answers queries: `gnt.masterd.queries.answers.Answers`."""

    async def query_if(self, what: str, fields: Sequence[str], query_filter: Any, wanted: Wanted) -> Any:
        """Answer a query, or give None where `wanted` says that the answer is not."""


class _If(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    known: str | None
    method: str
    args: list[Any]


class _Query(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    what: str
    fields: list[str]
    filter: Any = None


class IfChanged:
    """Answers `IfChanged`; `call` answers every other method."""

    def __init__(
        self, commits: Commits, events: Events, queries: Queries, call: Callable[[Request], Awaitable[Any]]
    ) -> None:
        self._commits = commits
        self._events = events
        self._queries = queries
        self._call = call

    def table(self) -> Mapping[str, Callable[[list[Any]], Awaitable[Any]]]:
        """Give the LUXI methods by name."""
        return {"IfChanged": self._if_changed}

    async def _if_changed(self, args: list[Any]) -> dict[str, Any]:
        wanted = _checked(args, _If)
        if wanted.method == "Query":
            return await self._query(wanted.known, _checked(wanted.args, _Query))
        if wanted.method in _CONFIGURATION:
            stamp = self._configuration(self._commits.cluster)
        elif wanted.method == _JOBS:
            stamp = self._jobs()
        else:
            raise Refused(WRONG_INPUT, f"IfChanged: {wanted.method[:40]} is none of Query, QueryClusterInfo, …")
        if stamp == wanted.known:
            return {"stamp": stamp}
        return {"stamp": stamp, "result": await self._call(Request(method=wanted.method, args=wanted.args))}

    async def _query(self, known: str | None, args: _Query) -> dict[str, Any]:
        stamp: str | None = None
        jobs = self._jobs()

        def wanted(cluster: Cluster, version: int | None) -> bool:
            nonlocal stamp
            if args.what == "job":
                stamp = jobs
            elif args.what in _OBJECTS:
                stamp = self._configuration(cluster)
                if version is not None:
                    stamp += f"-{self._events.life}.{version}"
            return stamp is None or stamp != known

        result = await self._queries.query_if(args.what, args.fields, args.filter, wanted)
        return {"stamp": stamp} if result is None else {"stamp": stamp, "result": result}

    def _configuration(self, cluster: Cluster) -> str:
        return f"{self._commits.epoch.number}.{cluster.serial_no}"

    def _jobs(self) -> str:
        """Jobs take steps that are in no commit: these are counted, by this process."""
        return f"{self._commits.epoch.number}.{self._commits.committed}-{self._events.life}.{self._events.steps}"


def _checked(args: list[Any], wanted: type[Any]) -> Any:
    try:
        return msgspec.convert(args, wanted)
    except msgspec.ValidationError as error:
        raise Refused(WRONG_INPUT, f"IfChanged: {str(error).replace('`', '')}") from None
