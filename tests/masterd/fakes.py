"""Stand-ins for what surrounds the engine: a journal that commits at once, nodes that follow a script, a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.jobs.seam import Ending, OpcodeEnd
from gnt.model.cluster import Cluster, bumped, encode, kind_of
from gnt.model.errors import Failed
from gnt.model.objects import ClusterSettings, ConfigObject, DiskTemplate, HypervisorName, Node, NodeGroup
from gnt.opcodes.base import Opcode
from gnt.store.changes import Change, Put, Remove, Space
from gnt.wire.calls import NodeCall
from gnt.wire.log_calls import CallOutcome, Outcome

NODE1, NODE2, NODE3 = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
GROUP = "00000000-0000-4000-8000-0000000000aa"


def cluster_of_three(**settings: Any) -> Cluster:
    """Three nodes, node1 the master, fake hypervisor, file templates."""
    return Cluster.of(
        ClusterSettings(
            **{
                "uuid": "00000000-0000-4000-8000-0000000000cc",
                "cluster_name": "cluster.example.com",
                "master_node": NODE1,
                "enabled_hypervisors": (HypervisorName.FAKE,),
                "enabled_disk_templates": (DiskTemplate.SHAREDFILE, DiskTemplate.FILE, DiskTemplate.DISKLESS),
                **settings,
            }
        ),
        [
            NodeGroup(uuid=GROUP, name="default"),
            *(
                Node(
                    uuid=uuid,
                    name=f"node{n}.example.com",
                    primary_ip=f"192.0.2.{n}",
                    group=GROUP,
                    master_candidate=True,
                )
                for n, uuid in enumerate((NODE1, NODE2, NODE3), start=1)
            ),
        ],
    )


class Fresh:
    """Counts instead of drawing: plans are equal from run to run."""

    def __init__(self) -> None:
        self.count = 0

    def uuid(self) -> str:
        """Give the next UUID."""
        self.count += 1
        return f"11111111-0000-4000-8000-{self.count:012d}"

    def octets(self, count: int) -> bytes:
        """Give the next octets."""
        self.count += 1
        return self.count.to_bytes(count, "big")

    def now(self) -> float:
        """Give one time."""
        return 1000.0


@dataclass
class Journal:
    """Keeps rows and the model in memory; each enqueue is a commit at once."""

    head: Cluster
    rows_: dict[tuple[Space, str], bytes] = field(default_factory=dict)
    commits: list[list[Change]] = field(default_factory=list)
    patient: list[bool] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)
    on_commit: Callable[[], None] = lambda: None

    @property
    def cluster(self) -> Cluster:
        """The durable model is the head."""
        return self.head

    def object_changes(self, put: Sequence[ConfigObject] = (), drop: Sequence[ConfigObject] = ()) -> list[Change]:
        """Stamp and put into the head."""
        changes: list[Change] = []
        for obj in put:
            tables: Mapping[str, Any] = {
                "instance": self.head.instances,
                "disk": self.head.disks,
                "node": self.head.nodes,
                "filter": self.head.filters,
                "group": self.head.groups,
                "network": self.head.networks,
            }
            old = self.head.settings if isinstance(obj, ClusterSettings) else tables[kind_of(obj)].get(obj.uuid)
            stamped = bumped(obj, old, 1000.0)  # type: ignore[type-var]
            self.head = self.head.put(stamped)
            changes.append(Put(Space.OBJECT, f"{kind_of(obj)}/{obj.uuid}", encode(stamped)))
        for obj in drop:
            self.head = self.head.drop(obj)
            changes.append(Remove(Space.OBJECT, f"{kind_of(obj)}/{obj.uuid}"))
        return changes

    def enqueue(self, changes: Sequence[Change], job: int = 0, *, patient: bool = False) -> Deferred[None]:
        """Apply the rows."""
        self.patient.append(patient)
        self.jobs.append(job)
        self.commits.append(list(changes))
        for change in changes:
            if isinstance(change, Put):
                self.rows_[change.space, change.key] = change.value
            elif isinstance(change, Remove):
                self.rows_.pop((change.space, change.key), None)
        self.on_commit()
        return succeed(None)

    async def rows(self, space: Space, prefix: str) -> Mapping[str, bytes]:
        """Give rows by prefix."""
        return {key: value for (where, key), value in self.rows_.items() if where is space and key.startswith(prefix)}


@dataclass
class Nodes:
    """Answers calls from a table of functions by the call's tag; remembers what was called."""

    answers: dict[str, Callable[[str, Any], Any]] = field(default_factory=dict)
    made: list[tuple[str, NodeCall[Any]]] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    prepared: list[str] = field(default_factory=list)
    before: Callable[[str, NodeCall[Any]], None] = lambda _node, _call: None

    async def call(self, node: str, call: NodeCall[Any], *, id: str | None = None) -> Any:
        """Make a call: an exception in place of an answer is raised."""
        if isinstance(call, CallOutcome):
            state = self.outcomes.get(call.id, "unknown")
            answer = self.answers.get(call.tag(), lambda _node, _call: None)(node, call)
            if isinstance(answer, Exception):
                raise answer
            failure = self.failures.get(call.id)
            code = getattr(failure, "code", "")
            return Outcome(id=call.id, state=state, code=code, text=getattr(failure, "text", ""))
        self.before(node, call)
        if call.CHANGES:
            self.made.append((node, call))
        answer = self.answers.get(call.tag(), lambda _node, _call: None)(node, call)
        if id is not None:
            self.outcomes[id] = "failed" if isinstance(answer, Exception) else "done"
            if isinstance(answer, Exception):
                self.failures[id] = answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def meet(self, name: str, address: str, call: NodeCall[Any]) -> Any:
        """Call a node that is not in the model: it is known by its name."""
        return await self.call(name, call)

    async def prepare(self, node: str) -> None:
        """Bring a node so far that it may vote."""
        self.prepared.append(node)

    def leave(self, node: str) -> None:
        """Leave a node alone."""
        self.prepared.remove(node)

    def tags(self) -> list[str]:
        """Give the names of the changing calls, in order."""
        return [call.tag() for _, call in self.made]


class Resolver:
    """Resolves nothing but example names."""

    async def resolve(self, name: str) -> str:
        """Give an address."""
        if not name.endswith(".example.com"):
            raise Failed(f"{name} does not resolve")
        return "192.0.2.99"


@dataclass
class Run:
    """One opcode as the processor would hand it over."""

    op: Opcode
    job: int = 7
    index: int = 0
    said: list[str] = field(default_factory=list)
    end: OpcodeEnd | None = None
    dropped: list[Level] = field(default_factory=list)
    awaited: bool = True

    @property
    def held(self) -> Any:
        """No locks."""
        return self

    @property
    def locks(self) -> Locks:
        """No locks."""
        return Locks()

    def drop(self, level: Level, *names: str) -> None:
        """Note what is released."""
        self.dropped.append(level)

    def share(self, level: Level, *names: str) -> None:
        """Share nothing."""

    def feedback(self, text: str) -> None:
        """Remember a line."""
        self.said.append(text)

    def beginning(self) -> tuple[Change, ...]:
        """Mark the job as running."""
        return (Put(Space.JOB, str(self.job), b"running"),)

    def giving_up(self, levels: Sequence[Level]) -> tuple[Change, ...]:
        """Mark the job as running with fewer locks."""
        return (Put(Space.JOB, str(self.job), b"without " + b",".join(str(level).encode() for level in levels)),)

    def ending(self, end: OpcodeEnd) -> Ending:
        """Mark the job as ended."""
        self.end = end
        return Ending(self.job, self.index, end, (Put(Space.JOB, str(self.job), b"ended"),), lambda: None)
