"""Answers queries: the door of this room. One snapshot for each query, static questions before those to nodes.

`Answers` has the shape that `gnt.masterd.luxi_methods.Queries` asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from gnt.masterd.jobs.job import Job
from gnt.masterd.jobs.locks import LockFacts
from gnt.masterd.operations.ext_storage import merge_providers
from gnt.masterd.operations.os import merge_definitions
from gnt.masterd.queries.arranged import Tables, natural
from gnt.masterd.queries.cluster import CLUSTER, ClusterState, cluster_info, config_values
from gnt.masterd.queries.collector import AskAll, exports_on, look, offered
from gnt.masterd.queries.fields import Asks, Field, Fields
from gnt.masterd.queries.filters import Filter, leaves, names_of, numbers_of, parse_filter, split
from gnt.masterd.queries.group import GROUP
from gnt.masterd.queries.instance import INSTANCE
from gnt.masterd.queries.network import NETWORK
from gnt.masterd.queries.node import NODE
from gnt.masterd.queries.offers import EXPORT, EXT_STORAGE, OS, Export, exports_of
from gnt.masterd.queries.predicates import compile_filter, find_field
from gnt.masterd.queries.rows import Row, make_rows
from gnt.masterd.queries.versions import Versions
from gnt.masterd.queries.view import View
from gnt.masterd.queries.work import FILTER, JOB, LOCK, SeenJob
from gnt.model.cluster import Cluster
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, Refused
from gnt.model.objects import Node
from gnt.wire.calls import OsList
from gnt.wire.disk_calls import ProviderList

RESOURCES: Final[Mapping[str, Fields]] = {
    "cluster": CLUSTER,
    "export": EXPORT,
    "extstorage": EXT_STORAGE,
    "filter": FILTER,
    "group": GROUP,
    "instance": INSTANCE,
    "job": JOB,
    "lock": LOCK,
    "network": NETWORK,
    "node": NODE,
    "os": OS,
}


Wanted = Callable[[Cluster, int | None], bool]
"""Says of a snapshot, and of the number of what nodes said, whether an answer made of them is wanted."""


class Snapshots(Protocol):
    """Where the configuration is read: the journal."""

    @property
    def cluster(self) -> Cluster:
        """Give the cluster as a majority of the voters has it on disk."""


class Jobs(Protocol):
    """What queries need of the job queue."""

    @property
    def drained(self) -> bool | None:
        """Say whether the queue takes no jobs; None where that is not known."""

    async def unarchived(self) -> Sequence[Job]:
        """Give the jobs that are not archived, by number."""

    async def find(self, number: int) -> tuple[Job, bool] | None:
        """Give a job, archived ones too, and whether it is archived."""


class Shelf(Protocol):
    """Where archived jobs are read."""

    async def archived_jobs(self) -> Sequence[Job]:
        """Give all archived jobs, by number."""


class LockTable(Protocol):
    """What queries need of the locks."""

    def snapshot(self) -> list[LockFacts]:
        """Give every lock that is held or waited for."""


def resource(what: str) -> Fields:
    """Give the fields of a kind of object. Raises `Refused` (`wrong_input`)."""
    found = RESOURCES.get(what)
    if found is None:
        raise Refused(WRONG_INPUT, f"Resource type '{what[:60]}' unknown", hint=f"there are: {', '.join(RESOURCES)}")
    return found


def describe_fields(what: str, names: Sequence[str] | None) -> dict[str, Any]:
    """Give the definitions of fields, of all if none are named."""
    known = resource(what)
    chosen = [known.get(name) for name in names] if names else known.listed
    return {"fields": [field.definition for field in chosen]}


class Answers:
    """Answers what is asked about the cluster. `ask_all` reaches the nodes."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        jobs: Jobs,
        shelf: Shelf,
        locks: LockTable,
        ask_all: AskAll,
        watcher_pause: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._snapshots = snapshots
        self._jobs = jobs
        self._shelf = shelf
        self._locks = locks
        self._ask_all = ask_all
        self._watcher_pause = watcher_pause
        self._tables = Tables()
        self._versions = Versions()

    async def query(self, what: str, fields: Sequence[str], query_filter: Any) -> dict[str, Any]:
        """Give definitions and rows of cells. Raises `GntError` for an unknown resource or a bad filter."""
        known = resource(what)
        tree = parse_filter(query_filter)
        chosen = [known.get(name) for name in fields]
        rows = await self._rows(what, known, chosen, tree)
        return {"fields": [field.definition for field in chosen], "data": rows}

    async def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Any]:
        """Give definitions of fields, of all if none are named."""
        return describe_fields(what, fields)

    async def classic(self, what: str, names: Sequence[str], fields: Sequence[str]) -> list[list[Any]]:
        """Give rows of bare values of the named objects, of all if none are named; what has no value is None."""
        known = resource(what)
        unknown = [name for name in fields if known.find(name) is None]
        if unknown:
            raise Refused(WRONG_INPUT, f"Unknown output fields selected: {', '.join(unknown)}")
        tree = parse_filter(["|", *(["=", known.key, name] for name in names)] if names else None)
        rows = await self._rows(what, known, [known.get(name) for name in fields], tree)
        return [[value for _, value in row] for row in rows]

    async def cluster_info(self) -> dict[str, Any]:
        """Describe the cluster."""
        return cluster_info(self._snapshots.cluster)

    async def config_values(self, fields: Sequence[str]) -> list[Any]:
        """Give single values of the configuration; None for what is not one."""
        return config_values(self._state(self._snapshots.cluster), fields)

    async def tags(self, kind: str, name: str) -> list[str]:
        """Give the tags of an object. Raises `Refused`."""
        return tags_of(self._snapshots.cluster, kind, name)

    # Rows

    async def query_if(
        self, what: str, fields: Sequence[str], query_filter: Any, wanted: Wanted
    ) -> dict[str, Any] | None:
        """Answer a query, or give None where `wanted` says that the answer is not.

        `wanted` is told the snapshot that is answered from, and the number of what nodes said, None if none were asked.
        """
        known = resource(what)
        tree = parse_filter(query_filter)
        chosen = [known.get(name) for name in fields]
        view, objects = await self._seen(what, known, chosen, tree)
        number = None
        if view.facts.asked:
            number = self._versions.number(repr((what, fields, query_filter)), view.facts)
        if not wanted(view.cluster, number):
            return None
        return {"fields": [field.definition for field in chosen], "data": make_rows(view, chosen, objects)}

    async def _rows(self, what: str, known: Fields, chosen: Sequence[Field], tree: Filter | None) -> list[Row]:
        view, objects = await self._seen(what, known, chosen, tree)
        return make_rows(view, chosen, objects)

    async def _seen(
        self, what: str, known: Fields, chosen: Sequence[Field], tree: Filter | None
    ) -> tuple[View, list[Any]]:
        """Look at what a query needs, and find the objects that it is about."""
        cluster = self._snapshots.cluster
        asked_about = [find_field(known, leaf.field) for leaf in leaves(tree)]
        live = frozenset(field.name for field in asked_about if field.asks)
        early, late = split(tree, live)
        view = View(cluster, tables=self._tables)
        if late is not None:
            compile_filter(late, known, view)  # a bad one is refused before nodes are asked
        objects = await self._objects(what, known, view, early, [*chosen, *asked_about])
        asks = Asks.NOTHING
        for field in (*chosen, *asked_about):
            asks |= field.asks
        if asks:
            view = View(cluster, await look(self._ask_all, view, asks, objects), self._tables)
        if late is not None:
            passes = compile_filter(late, known, view)
            objects = [obj for obj in objects if passes(obj)]
        return view, objects

    async def _objects(
        self, what: str, known: Fields, view: View, tree: Filter | None, used: Sequence[Field]
    ) -> list[Any]:
        """Give the objects that pass the filter, in order; the filter asks nothing that only nodes know."""
        found: list[Any]
        if what == "job":
            found, tree = await self._some_jobs(tree, used)
        else:
            names = names_of(tree, known.key)
            if names is not None and what in _FINDERS:
                found, tree = _named(_FINDERS[what], view.cluster, names), None
                if what == "export":
                    found = await self._exports(found)
            else:
                found = await self._all(what, view.cluster)
                if names is not None:
                    _refuse_missing(what, known, found, names, view)
        if tree is None:
            return found
        passes = compile_filter(tree, known, view)
        return [obj for obj in found if passes(obj)]

    async def _all(self, what: str, cluster: Cluster) -> list[Any]:
        match what:
            case "instance":
                return self._tables.instances.in_order(cluster.instances)
            case "node":
                return self._tables.nodes.in_order(cluster.nodes)
            case "group":
                return self._tables.groups.in_order(cluster.groups)
            case "network":
                return self._tables.networks.in_order(cluster.networks)
            case "filter":
                return sorted(cluster.filters.values(), key=lambda each: each.uuid)
            case "lock":
                return sorted(self._locks.snapshot(), key=lambda lock: natural(lock.name))
            case "cluster":
                return [self._state(cluster)]
            case "os":
                return merge_definitions(cluster, await offered(self._ask_all, cluster, OsList()))
            case "extstorage":
                return merge_providers(cluster, await offered(self._ask_all, cluster, ProviderList()))
        return await self._exports(self._tables.nodes.in_order(cluster.nodes))

    async def _exports(self, nodes: Sequence[Node]) -> list[Export]:
        return exports_of(nodes, await exports_on(self._ask_all, nodes))

    async def _some_jobs(self, tree: Filter | None, used: Sequence[Field]) -> tuple[list[SeenJob], Filter | None]:
        """Give jobs, and what of the filter is left to ask them.

        Archived ones are among them if they were named by number, or if a field says whether they are archived.
        """
        numbers = numbers_of(tree, JOB.key)
        if numbers is not None:
            found = []
            for number in sorted(numbers):
                seen = await self._jobs.find(number)
                if seen is None:
                    raise Refused(UNKNOWN_ENTITY, f"Job {number} not found", hint="gnt-job list shows those there are")
                found.append(SeenJob(*seen))
            return found, None
        jobs = [SeenJob(job, archived=False) for job in await self._jobs.unarchived()]
        if any(field.name == "archived" for field in used):
            archived = await self._shelf.archived_jobs()
            jobs[:0] = [SeenJob(job, archived=True) for job in archived]
            jobs.sort(key=lambda seen: seen.job.id)
        return jobs, tree

    def _state(self, cluster: Cluster) -> ClusterState:
        return ClusterState(cluster=cluster, drained=self._jobs.drained, watcher_pause=self._watcher_pause())


_FINDERS: Final[Mapping[str, Callable[[Cluster, str], Any]]] = {
    "instance": Cluster.instance,
    "node": Cluster.node,
    "group": Cluster.group,
    "network": Cluster.network,
    "export": Cluster.node,
}
"""How objects are found by the names that a filter has; exports are asked for by node."""


def _named(find: Callable[[Cluster, str], Any], cluster: Cluster, names: Sequence[str]) -> list[Any]:
    """Give the objects of these names, each once, in order."""
    by_uuid = {obj.uuid: obj for obj in (find(cluster, name) for name in names)}
    return sorted(by_uuid.values(), key=lambda obj: natural(obj.name))


def _refuse_missing(what: str, known: Fields, found: Sequence[Any], names: Sequence[str], view: View) -> None:
    """Refuse names that nothing has."""
    get = known.get(known.key).bind(view)
    have = {get(obj)[1] for obj in found}
    for name in names:
        if name not in have:
            raise Refused(UNKNOWN_ENTITY, f"There is no {what} named {name[:80]}")


def tags_of(cluster: Cluster, kind: str, name: str | None) -> list[str]:
    """Give the tags of an object, sorted; the cluster has no name. Raises `Refused`."""
    match kind:
        case "cluster":
            tags = cluster.settings.tags
        case "node":
            tags = cluster.node(name or "").tags
        case "instance":
            tags = cluster.instance(name or "").tags
        case "nodegroup":
            tags = cluster.group(name or "").tags
        case "network":
            tags = cluster.network(name or "").tags
        case _:
            raise Refused(
                WRONG_INPUT, f"{kind[:60]} has no tags", hint="cluster, nodegroup, node, instance and network have"
            )
    return sorted(tags)
