"""A master's journal with candidates whose copies of the log are real, on a false clock and without a network."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gnt.daemon.runtime import Runtime
from gnt.masterd.journal import Journal
from gnt.masterd.local_log import LocalLog
from gnt.model.cluster import Cluster
from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import InDoubt, NodeFailure, NotReached
from gnt.model.layout import Layout
from gnt.model.objects import ClusterSettings, Node, NodeGroup
from gnt.noded.handler import CallContext, Place
from gnt.noded.replica import Replica
from gnt.store.changes import Change, Entry, Put, Space
from gnt.store.configuration import initial_changes
from gnt.store.database import Limits
from gnt.store.vault import MemoryVault
from gnt.wire.calls import NodeCall
from gnt.wire.log_calls import AskLog, LogAppend, LogSnapshot

P = ParamSpec("P")
T = TypeVar("T")

FIRST = Epoch(number=1, node="a")
SECOND = Epoch(number=2, node="a")


def node(uuid: str, *, candidate: bool = True, offline: bool = False) -> Node:
    """Give a node named after its UUID."""
    return Node(
        uuid=uuid,
        name=f"node-{uuid}",
        primary_ip=f"192.0.2.{ord(uuid)}",
        group="g",
        master_candidate=candidate,
        offline=offline,
    )


def cluster_of(candidates: str, others: str = "") -> Cluster:
    """Give a cluster whose master is the first candidate; UUIDs are letters."""
    settings = ClusterSettings(uuid="c", cluster_name="cluster.example.com", master_node=candidates[0])
    nodes = [node(uuid) for uuid in candidates] + [node(uuid, candidate=False) for uuid in others]
    return Cluster.of(settings, [NodeGroup(uuid="g", name="default"), *nodes])


def with_certificates(cluster: Cluster) -> Cluster:
    """Give the cluster with a digest for the certificate of each candidate."""
    certificates = {uuid: f"digest-{uuid}" for uuid, node in cluster.nodes.items() if node.master_candidate}
    return cluster.put(msgspec.structs.replace(cluster.settings, candidate_certs=certificates))


class SteppingPool:
    """Does blocking work at once, or when it is told to; can be made to fail."""

    def __init__(self) -> None:
        self.manual = False
        self.waiting: list[Callable[[], None]] = []
        self.failing: Exception | None = None

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Do it."""
        done: Deferred[T] = Deferred()

        def now() -> None:
            if self.failing is not None:
                done.errback(self.failing)
                return
            try:
                result = work(*args, **kwargs)
            except Exception:  # noqa: BLE001  (carried to the caller, as a thread pool does)
                done.errback(Failure())
            else:
                done.callback(result)

        if self.manual:
            self.waiting.append(now)
        else:
            now()
        return done

    def step(self) -> None:
        """Do what waits."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one()


class World:
    """Nodes with vaults; node `a` is the master. `down` nodes are not reached; `slow` ones answer when told."""

    def __init__(self, candidates: str = "a", others: str = "", limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.pool = SteppingPool()
        inline = SteppingPool()
        self.limits = limits
        self.runtime = Runtime(
            clock=self.clock,
            pools=lambda name: self.pool if name == "store" else inline,
            random=random.Random(3),  # noqa: S311
        )
        self.vaults = {uuid: MemoryVault(limits) for uuid in candidates + others}
        self.replicas = {uuid: self._replica(uuid) for uuid in candidates + others if uuid != "a"}
        self.down: set[str] = set()
        # Nodes whose disk takes nothing.
        self.full: set[str] = set()
        self.slow: set[str] = set()
        self.lost: set[str] = set()
        # Nodes whose answers come when told, and those answers.
        self.late: set[str] = set()
        self.answers: list[Deferred[None]] = []
        self.held: list[tuple[str, Deferred[None]]] = []
        self.calls: list[tuple[str, NodeCall[Any]]] = []
        self.connecting: dict[str, list[Deferred[None]]] = {}
        self.master: Any = None
        cluster = cluster_of(candidates, others)
        first = initial_changes(cluster)
        entry = Entry(Position(epoch=FIRST, serial=1), self.clock.seconds(), first, (0,) * len(first))
        for uuid in candidates:
            database = self.vaults[uuid].create("cluster-uuid")
            database.append(START, [entry], epoch=FIRST, committed=1)

    def _replica(self, uuid: str) -> Replica:
        place = Place(layout=Layout(Path("/nowhere")), name=f"node-{uuid}", runtime=self.runtime)
        return Replica(place, self.vaults[uuid])

    def journal(self, epoch: Epoch = SECOND, deadline: float = 30.0) -> Journal:
        """Begin a term on node a, its first entry committed if a majority is there."""
        vault = self.vaults["a"]
        vault.hold("gnt-masterd")
        database = vault.open()
        database.promise(epoch)
        local = LocalLog(self.runtime, vault, database, epoch)
        self.epoch = epoch
        journal = Journal(self.runtime, local, self, epoch=epoch, cluster=database.load_cluster(), deadline=deadline)
        journal.enqueue([Put(Space.META, "term", b"1")]).addErrback(lambda _: None)
        self.turn()
        return journal

    # Peers

    async def call(self, node: str, call: NodeCall[Any]) -> Any:
        """Carry a call to a replica, or lose it."""
        self.calls.append((node, call))
        if node in self.down:
            raise NotReached(f"node-{node} is down")
        if node in self.slow:
            waiting: Deferred[None] = Deferred()
            self.held.append((node, waiting))
            await waiting
        replica = self.replicas[node]
        if node in self.full and (isinstance(call, LogSnapshot) or (isinstance(call, LogAppend) and call.entries)):
            raise NodeFailure("no_space", f"the disk of node-{node} is full")
        if isinstance(call, AskLog):
            return await replica.refresh()
        context = CallContext(id="x", epoch=self.epoch, progress=lambda _line: None)
        answer = await replica.handlers()[type(call)](call, context)
        if node in self.lost:
            raise InDoubt("the answer was lost")
        if node in self.late:
            coming: Deferred[None] = Deferred()
            self.answers.append(coming)
            await coming
        return answer

    def when_connected(self, node: str) -> Deferred[None]:
        """Fire when the node is not down."""
        if node not in self.down:
            return defer.succeed(None)
        waiting: Deferred[None] = Deferred()
        self.connecting.setdefault(node, []).append(waiting)
        return waiting

    # Faults

    def cut(self, *nodes: str) -> None:
        """Lose nodes; calls that were on their way to them end in doubt."""
        self.down |= set(nodes)
        held, self.held = self.held, []
        for name, waiting in held:
            if name in nodes:
                waiting.errback(InDoubt("the connection broke"))
            else:
                self.held.append((name, waiting))

    def heal(self, *nodes: str) -> None:
        """Have nodes back."""
        self.down -= set(nodes)
        for name in nodes:
            for waiting in self.connecting.pop(name, []):
                if not waiting.called:
                    waiting.callback(None)

    def deliver(self, *, last_first: bool = False) -> None:
        """Let calls to slow nodes arrive."""
        held, self.held = self.held, []
        for _, waiting in reversed(held) if last_first else held:
            waiting.callback(None)

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and all that follows at once."""
        self.clock.advance(seconds)
        for _ in range(50):
            self.clock.advance(0)

    def content(self, uuid: str) -> dict[str, bytes]:
        """Give what a node's copy holds."""
        return dict(self.vaults[uuid].open().rows(Space.META))


def meta(name: str, value: int = 1) -> Change:
    """Give a change that is easy to find again."""
    return Put(Space.META, name, str(value).encode())
