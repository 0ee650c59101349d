"""What a LUXI client may ask: one function for each method of `spec/luxi.md`, section 3.

Beside those there are, for clients of our own:

* `SubmitJob(ops, within)`: waits for a majority for so many seconds at most; then the error names the job's number.
* `ExplainJob(id)`: what a job waits for: `{"locks": ["node/…"], "holders": ["Job3/I_STARTUP"], "ahead": [], "place":
  1, "jobs": [7], "held": "…"}`; `locks` (nodes by name) that are not free for it, who holds them, who stands before it
  in line for them, its place in line (for locks, or in the queue), `jobs` it depends on that are not over, `held`: what
  else holds it back, in words. null if it waits for nothing.
* `PlanJob(ops)`: what a job of these opcodes would do, as things stand: `gnt.masterd.planning`. Changes nothing.
* `ForceOffline(name, confirmation)`: flag a master candidate offline although too few of them answer. With an empty
  confirmation nothing is done: `{"needed", "confirm", "missing"}` says whether it is needed, which words a person has
  to type, who does not answer. With those words: `{"done", "missing"}`.
* `OfferToken(name, {"readd", "secondary_ip", "group"})`: a token with which the node of this name may join:
  `{"id", "token", "name", "uuid", "address", "addresses", "port", "ssh_port", "ends"}`. The token is a secret.
* `WaitForToken(id, seconds)`: wait until it has ended, at most so long, and say what became of it:
  `{"state", "uuid", "digest", "tries", "problem"}`.
* `WithdrawToken(id)`: make it worthless; the same answer.
* `History`, `ObjectAt`, `ConfigDiff`: what was: `gnt.masterd.past`.
* `AddApiToken`, `ApiTokens`, `RevokeApiToken`, `CheckApiToken`: tokens for the remote API: `gnt.masterd.api_tokens`.
* `UnsafeChanges()`: what was done without a majority, the oldest first: `[{"time", "epoch", "nodes", "by"}]`.
* `Hindrance()`: what keeps changes from being made, and what to type: `{"text", "hint"}`; null while nothing does.
* `WaitForEvents(position, within)`: what changes, from a serial on: `gnt.masterd.events`.
* `IfChanged(known, method, args)`: an answer only if it is another one than before: `gnt.masterd.if_changed`.
* `Abilities()`: which opcodes this version carries out: `gnt.masterd.abilities`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec

from gnt.masterd.jobs.explain import explain
from gnt.masterd.jobs.locks import LockManager
from gnt.masterd.jobs.queue import JobQueue
from gnt.masterd.luxi_arguments import Method, checked
from gnt.masterd.luxi_foreign import as_foreign
from gnt.masterd.token_methods import TokenMethods, Tokens
from gnt.model.errors import WRONG_INPUT, GntError, JobLost, Refused
from gnt.opcodes.base import Opcode
from gnt.opcodes.registry import decode_opcode
from gnt.wire.luxi import Request, unknown_method
from gnt.wire.luxi_frames import NO_CHANGE, parse_job_id

A = TypeVar("A", bound=msgspec.Struct)


class Queries(Protocol):
    """Where what is asked about the cluster comes from; answers are what `spec/luxi.md` says, as values for JSON."""

    async def query(self, what: str, fields: Sequence[str], query_filter: Any) -> Any:
        """Give definitions and rows of cells (section 4). Raises `GntError` for an unknown resource or bad filter."""

    async def query_fields(self, what: str, fields: Sequence[str] | None) -> Any:
        """Give definitions of fields; None: of all."""

    async def classic(self, what: str, names: Sequence[str], fields: Sequence[str]) -> list[list[Any]]:
        """Give rows of bare values (section 6) of the named objects, of all if none are named."""

    async def cluster_info(self) -> dict[str, Any]:
        """Describe the cluster (section 7)."""

    async def config_values(self, fields: Sequence[str]) -> list[Any]:
        """Give single values of the configuration, null for unknown ones."""

    async def tags(self, kind: str, name: str) -> list[str]:
        """Give the tags of an object; the cluster has no name."""


class Filters(Protocol):
    """What sets rules about jobs: `gnt.masterd.jobs.rulebook.Rulebook`."""

    async def replace(
        self, uuid: str | None, priority: Any, predicates: Any, action: Any, reason: Sequence[Sequence[Any]]
    ) -> str:
        """Set a rule and give its UUID (None: a fresh one). Raises `Refused`."""

    async def delete(self, uuid: str) -> None:
        """Remove a rule. Raises `Refused`."""


class Pause(Protocol):
    """The watcher's pause: `gnt.masterd.watcher_pause.WatcherPause`."""

    async def set(self, until: float | None) -> float | None:
        """Let the watcher not act until a time, or let it act again."""


class Plans(Protocol):
    """What says what jobs would do: `gnt.masterd.planning.Planner`."""

    async def plan(self, ops: Sequence[Opcode]) -> Any:
        """Plan each opcode as things stand."""


class Forcing(Protocol):
    """What changes voters without a majority: `gnt.masterd.unsafe.WayOut`."""

    async def force_offline(self, name: str, confirmation: str) -> Mapping[str, Any]:
        """Flag a candidate offline by force, or say what has to be typed for it. Raises `Refused`."""


class _Nothing(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    pass


class _Ops(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    ops: list[dict[str, Any]]


class _Submit(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    ops: list[dict[str, Any]]
    within: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class _ManyOps(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    jobs: list[list[dict[str, Any]]]


class _Id(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    id: int | str


class _Cancel(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    id: int | str
    kill: bool = False


class _Priority(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    id: int | str
    priority: int


class _AutoArchive(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    age: float
    within: float


class _Wait(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    id: int | str
    fields: list[str]
    previous: Any
    serial: int | None
    within: float


class _Flag(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    flag: bool


class _Query(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    what: str
    fields: list[str]
    filter: Any = None


class _QueryFields(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    what: str
    fields: list[str] | None = None


class _QueryJobs(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    ids: list[int | str] | None
    fields: list[str]


class _Classic(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    names: list[str] | None
    fields: list[str]
    use_locking: bool = False


class _Exports(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    nodes: list[str] | None
    use_locking: bool = False


class _Locks(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    fields: list[str]
    sync: bool = False


class _Fields(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    fields: list[str]


class _Tags(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    kind: str
    name: str = ""


class _Uuids(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    uuids: list[str] | None
    fields: list[str]


class _Uuid(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    uuid: str


class _Rule(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    uuid: str | None
    priority: int
    predicates: list[Any]
    action: Any
    reason: list[tuple[str, str, int]] = []


class _Until(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    until: float | None


class _ForceOffline(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    name: str
    confirmation: str = ""


READING: Final = frozenset(
    {
        "WaitForJobChange",
        "WaitForToken",
        "WaitForEvents",
        "IfChanged",
        "Query",
        "QueryFields",
        "QueryJobs",
        "QueryInstances",
        "QueryNodes",
        "QueryGroups",
        "QueryNetworks",
        "QueryFilters",
        "QueryExports",
        "PlanJob",
    }
)
"""Methods that may be given up half-way when their client has gone."""


class LuxiMethods:
    """Answers requests; knows nothing of connections."""

    def __init__(
        self,
        queue: JobQueue,
        locks: LockManager,
        queries: Queries,
        tokens: Tokens,
        *,
        filters: Filters,
        pause: Pause,
        plans: Plans,
        forcing: Forcing,
        lock_name: Callable[[str], str] = str,
    ) -> None:
        self._lock_name = lock_name
        self._queue = queue
        self._locks = locks
        self._queries = queries
        self._tokens = TokenMethods(queue, tokens)
        self._filters = filters
        self._pause = pause
        self._plans = plans
        self._forcing = forcing
        self._methods = self._table()

    def extend(self, more: Mapping[str, Method]) -> None:
        """Take in methods that another part of the daemon answers; each checks its own arguments."""
        self._methods |= more

    async def call(self, request: Request) -> Any:
        """Do what a request asks and give the result, a value for JSON. Raises `GntError`; anything else is a fault."""
        method = self._methods.get(request.method)
        if method is not None:
            result = await method(request.args)
            return result if request.own else as_foreign(request.method, request.args, result)
        if request.method == "PickupJob":
            raise GntError("failed", "PickupJob is internal to another program")
        raise unknown_method(request.method)

    def _table(self) -> dict[str, Method]:
        queue, queries = self._queue, self._queries
        return {
            "SubmitJob": checked("SubmitJob", _Submit, self._submit),
            "SubmitJobToDrainedQueue": checked("SubmitJobToDrainedQueue", _Ops, self._submit_though_drained),
            "SubmitManyJobs": checked("SubmitManyJobs", _ManyOps, self._submit_many),
            "CancelJob": checked("CancelJob", _Cancel, self._cancel),
            "ArchiveJob": checked("ArchiveJob", _Id, lambda args: queue.archive(parse_job_id(args.id))),
            "AutoArchiveJobs": checked(
                "AutoArchiveJobs", _AutoArchive, lambda args: queue.auto_archive(args.age, args.within)
            ),
            "ChangeJobPriority": checked(
                "ChangeJobPriority",
                _Priority,
                lambda args: queue.change_priority(parse_job_id(args.id), args.priority),
            ),
            "WaitForJobChange": checked("WaitForJobChange", _Wait, self._wait_for_change),
            "SetDrainFlag": checked("SetDrainFlag", _Flag, self._set_drain),
            "ExplainJob": checked("ExplainJob", _Id, self._explain),
            "PlanJob": checked("PlanJob", _Ops, lambda args: self._plans.plan(_opcodes(args.ops))),
            "SetWatcherPause": checked("SetWatcherPause", _Until, lambda args: self._pause.set(args.until)),
            "ReplaceFilter": checked(
                "ReplaceFilter",
                _Rule,
                lambda args: self._filters.replace(args.uuid, args.priority, args.predicates, args.action, args.reason),
            ),
            "DeleteFilter": checked("DeleteFilter", _Uuid, lambda args: self._filters.delete(args.uuid)),
            "QueryFilters": checked(
                "QueryFilters", _Uuids, lambda args: queries.classic("filter", args.uuids or (), args.fields)
            ),
            "Query": checked("Query", _Query, lambda args: queries.query(args.what, args.fields, args.filter)),
            "QueryFields": checked(
                "QueryFields", _QueryFields, lambda args: queries.query_fields(args.what, args.fields or None)
            ),
            "QueryJobs": checked("QueryJobs", _QueryJobs, self._query_jobs),
            "QueryInstances": checked("QueryInstances", _Classic, self._classic("instance")),
            "QueryNodes": checked("QueryNodes", _Classic, self._classic("node")),
            "QueryGroups": checked("QueryGroups", _Classic, self._classic("group")),
            "QueryNetworks": checked("QueryNetworks", _Classic, self._classic("network")),
            "QueryExports": checked("QueryExports", _Exports, self._query_exports),
            "QueryLocks": checked("QueryLocks", _Locks, self._query_locks),
            "QueryConfigValues": checked("QueryConfigValues", _Fields, lambda args: queries.config_values(args.fields)),
            "QueryClusterInfo": checked("QueryClusterInfo", _Nothing, lambda _: queries.cluster_info()),
            "ForceOffline": checked(
                "ForceOffline",
                _ForceOffline,
                lambda args: self._forcing.force_offline(args.name, args.confirmation),
            ),
            **self._tokens.table(),
            "QueryTags": checked("QueryTags", _Tags, lambda args: queries.tags(args.kind, args.name)),
        }

    async def _submit(self, args: _Submit) -> int:
        return await self._taken(_opcodes(args.ops), though_drained=False, within=args.within)

    async def _submit_though_drained(self, args: _Ops) -> int:
        return await self._taken(_opcodes(args.ops), though_drained=True)

    async def _taken(self, ops: Sequence[Opcode], *, though_drained: bool, within: float = 0.0) -> int:
        number = await self._queue.submit(ops, though_drained=though_drained, within=within)
        self._tokens.followed(ops)
        return number

    async def _submit_many(self, args: _ManyOps) -> list[tuple[bool, int | str]]:
        wanted: list[Sequence[Opcode] | GntError] = []
        for ops in args.jobs:
            try:
                wanted.append(_opcodes(ops))
            except GntError as error:
                wanted.append(error)
        return await self._queue.submit_many(wanted)

    async def _cancel(self, args: _Cancel) -> tuple[bool, str]:
        number = parse_job_id(args.id)
        done, text = await self._queue.cancel(number)
        return self._queue.kill(number) if args.kill and not done else (done, text)

    async def _wait_for_change(self, args: _Wait) -> Any:
        change = await self._queue.wait_for_change(
            parse_job_id(args.id), args.fields, args.previous, args.serial, args.within
        )
        return NO_CHANGE if change is None else change

    async def _set_drain(self, args: _Flag) -> bool:
        await self._queue.set_drained(args.flag)
        return True

    async def _query_jobs(self, args: _QueryJobs) -> list[list[Any]]:
        return await self._queue.rows([parse_job_id(number) for number in args.ids or ()], args.fields)

    def _classic(self, what: str) -> Callable[[_Classic], Awaitable[list[list[Any]]]]:
        async def query(args: _Classic) -> list[list[Any]]:
            _refuse_locking(args.use_locking)
            return await self._queries.classic(what, args.names or (), args.fields)

        return query

    async def _query_locks(self, args: _Locks) -> list[list[Any]]:
        _refuse_locking(args.sync)
        return await self._queries.classic("lock", (), args.fields)

    async def _query_exports(self, args: _Exports) -> list[list[Any]]:
        """Give `[node, export]` pairs; null stands for the exports of a node that did not tell."""
        _refuse_locking(args.use_locking)
        return await self._queries.classic("export", args.nodes or (), ("node", "export"))

    async def _explain(self, args: _Id) -> dict[str, Any] | None:
        number = parse_job_id(args.id)
        if await self._queue.find(number) is None:
            raise JobLost(f"Job {number} not found")
        return explain(self._queue, self._locks, number, self._lock_name)


def _refuse_locking(wanted: bool) -> None:
    if wanted:
        raise Refused(WRONG_INPUT, "Sync queries are not allowed")


def _opcodes(ops: Sequence[dict[str, Any]]) -> list[Opcode]:
    """Read the opcodes of a job; a bad one is refused with its place."""
    read = []
    for index, op in enumerate(ops):
        try:
            read.append(decode_opcode(op))
        except Refused as error:
            raise Refused(error.code, f"opcode {index}: {error.text}", hint=error.hint) from None
    return read
