"""Questions asked as jobs: what LUXI answers without one, for clients that submit an opcode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from twisted.internet.defer import ensureDeferred

from gnt.masterd.jobs.job import Job
from gnt.masterd.jobs.locks import LockFacts
from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, O, Operation, executes
from gnt.masterd.plan import Plan
from gnt.masterd.queries.answers import Answers, describe_fields, tags_of
from gnt.masterd.queries.cluster import ClusterState, cluster_info, config_values
from gnt.masterd.queries.collector import side_by_side
from gnt.masterd.queries.patterns import Pattern
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, GntError, Refused, Unsupported
from gnt.model.names import nice_key
from gnt.opcodes.cluster import ClusterConfigQuery, ClusterQuery
from gnt.opcodes.query import Query, QueryFields
from gnt.opcodes.tags import TagsGet, TagsSearch


class _Question(Operation[O]):
    """An opcode that only reads, and locks nothing: it sees one snapshot anyway."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock nothing; who wants locks is told that there are none to be had."""
        del cluster
        if getattr(self.op, "use_locking", False):
            raise Refused(WRONG_INPUT, "Sync queries are not allowed", hint="leave use_locking out")
        return Locks()


def _not_from_a_job() -> NoReturn:
    raise Unsupported("Jobs and locks cannot be queried by a job", hint="ask directly: gnt-job list, gnt-debug locks")


class _Elsewhere:
    """Stands for the queue and the locks, which a job does not see."""

    drained = None

    async def unarchived(self) -> Sequence[Job]:
        """Refuse."""
        _not_from_a_job()

    async def find(self, number: int) -> tuple[Job, bool] | None:
        """Refuse."""
        del number
        _not_from_a_job()

    async def archived_jobs(self) -> Sequence[Job]:
        """Refuse."""
        _not_from_a_job()

    def snapshot(self) -> list[LockFacts]:
        """Refuse."""
        _not_from_a_job()


_ELSEWHERE: Final = _Elsewhere()


@dataclass(frozen=True)
class _Snapshot:
    cluster: Cluster


@executes(Query)
class RunQuery(_Question[Query]):
    """Give fields of objects that pass a filter."""

    async def observe(self, cluster: Cluster, look: Look) -> dict[str, Any]:
        """Answer: all of it is reading."""
        answers = Answers(
            snapshots=_Snapshot(cluster),
            jobs=_ELSEWHERE,
            shelf=_ELSEWHERE,
            locks=_ELSEWHERE,
            ask_all=side_by_side(lambda node, call: ensureDeferred(look.ask(node, call))),
        )
        return await answers.query(self.op.what, self.op.fields, self.op.qfilter)

    def plan(self, cluster: Cluster, seen: dict[str, Any]) -> Plan:
        """Hand the answer over."""
        del cluster
        return Plan(result=seen)


@executes(QueryFields)
class DescribeFields(_Question[QueryFields]):
    """Say which fields objects of a kind have."""

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Look them up."""
        del cluster, seen
        return Plan(result=describe_fields(self.op.what, self.op.fields))


@executes(ClusterQuery)
class DescribeCluster(_Question[ClusterQuery]):
    """Describe the cluster."""

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Put the description together."""
        del seen
        return Plan(result=cluster_info(cluster))


@executes(ClusterConfigQuery)
class ReadConfiguration(_Question[ClusterConfigQuery]):
    """Give single values of the configuration."""

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Look them up; None for what is not one."""
        del seen
        return Plan(result=config_values(ClusterState(cluster=cluster), self.op.output_fields))


@executes(TagsGet)
class ListTags(_Question[TagsGet]):
    """List the tags of an object."""

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Look them up."""
        del seen
        return Plan(result=tags_of(cluster, self.op.kind, self.op.name))


@executes(TagsSearch)
class SearchTags(_Question[TagsSearch]):
    """Find the objects that carry tags in which a regular expression occurs."""

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Give `[path, tag]` pairs, such as `["/instances/web1", "prod"]`."""
        del seen
        try:
            pattern = Pattern("tags", self.op.pattern)
        except GntError as error:
            raise Refused(WRONG_INPUT, error.text.replace("filter on tags", "search for tags", 1)) from None
        return Plan(result=[[path, tag] for path, tags in _tagged(cluster) for tag in tags if pattern.found_in(tag)])


def _tagged(cluster: Cluster) -> Iterator[tuple[str, list[str]]]:
    """Go through everything that may have tags, by path."""
    yield "/cluster", sorted(cluster.settings.tags)
    tables: Mapping[str, Mapping[str, Any]] = {
        "nodegroup": cluster.groups,
        "nodes": cluster.nodes,
        "instances": cluster.instances,
        "networks": cluster.networks,
    }
    for place, table in tables.items():
        for obj in sorted(table.values(), key=lambda each: nice_key(each.name)):
            yield f"/{place}/{obj.name}", sorted(obj.tags)
