"""Nodes behind links in memory: each promises, fences, keeps a copy of the log, and remembers what it was told."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gnt.daemon.runtime import Runtime
from gnt.masterd.departure import PATIENCE
from gnt.masterd.mastership import Term, take_mastership
from gnt.model.cluster import Cluster
from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import GntError, InDoubt, NodeFailure, NotReached, StaleEpoch
from gnt.model.layout import Layout
from gnt.model.objects import Node
from gnt.noded.handler import CallContext, Place
from gnt.noded.replica import Replica
from gnt.store.changes import Entry, Put, Space
from gnt.store.configuration import initial_changes
from gnt.store.heard import HEARD, NOBODY, encode_heard, revised
from gnt.store.vault import MemoryVault
from gnt.wire.calls import NodeCall, Rights
from gnt.wire.contract import Listener, StopListening
from gnt.wire.envelope import Answer, Request
from gnt.wire.log_calls import AskLog, AskStanding, Fence, Outcome, Promise, Standing
from tests.masterd.journal_world import FIRST, SteppingPool, cluster_of, with_certificates


class FakeNode:
    """One node daemon."""

    def __init__(self, uuid: str, replica: Replica) -> None:
        self.uuid = uuid
        self.replica = replica
        self.epoch = START.epoch
        self.up = True
        # Why it is not.
        self.problem = "connection refused"
        # Whether it takes orders from whoever asks.
        self.obeys = True
        self.standing = Standing(may_order=True, position=START)
        self.requests: list[Request] = []
        self.outcomes: list[Outcome] = []
        self.failing: dict[type[NodeCall[Any]], GntError] = {}
        self.waiting: list[Deferred[None]] = []
        self.coming: list[Callable[[], None]] = []

    def told(self, kind: type[NodeCall[Any]]) -> list[Any]:
        """Give the calls of one kind that came."""
        return [request.call for request in self.requests if isinstance(request.call, kind)]

    async def serve(self, request: Request) -> Any:
        """Carry out a request."""
        self.requests.append(request)
        call = request.call
        if request.epoch is not None and request.epoch.number < self.epoch.number:
            raise StaleEpoch(f"node-{self.uuid} has promised {self.epoch}")
        if type(call) in self.failing:
            raise self.failing[type(call)]
        if isinstance(call, AskLog):
            return await self.replica.refresh()
        if isinstance(call, Rights):
            return self.obeys
        if isinstance(call, AskStanding):
            return self.standing
        if isinstance(call, Promise):
            return await self.replica.promise(call.epoch, ask_only=call.ask_only)
        if isinstance(call, Fence):
            self.epoch = call.epoch
            return self.outcomes
        handler = self.replica.handlers().get(type(call))
        if handler is None:
            return None
        return await handler(call, CallContext(id=request.id, epoch=request.epoch, progress=lambda _line: None))


class FakeLink:
    """A link to it."""

    def __init__(self, node: FakeNode, name: str) -> None:
        self.name = name
        self.uuid = node.uuid
        self.node = node
        self.started = False
        self.stopped = False
        self._waiting: list[Deferred[None]] = []

    @property
    def connected(self) -> bool:
        """Say whether the node is there."""
        return self.started and not self.stopped and self.node.up

    @property
    def problem(self) -> str:
        """Say why not."""
        return "" if self.connected else self.node.problem

    def start(self) -> None:
        """Begin."""
        self.started = True

    def stop(self) -> Deferred[None]:
        """End; who waits is told."""
        self.stopped = True
        for waiting in [waiting for waiting in self._waiting if waiting in self.node.waiting]:
            self.node.waiting.remove(waiting)
            waiting.errback(NotReached(f"the link to {self.name} was closed"))
        return defer.succeed(None)

    def when_connected(self) -> Deferred[None]:
        """Fire when the node is there."""
        if self.stopped:
            return defer.fail(NotReached("stopped"))
        if self.connected:
            return defer.succeed(None)
        waiting: Deferred[None] = Deferred(self.node.waiting.remove)
        self.node.waiting.append(waiting)
        self._waiting.append(waiting)
        return waiting

    def on_connected(self, listener: Callable[[], None]) -> None:
        """Have it told when the node comes back."""
        self.node.coming.append(listener)

    def listen(self, listener: Listener) -> StopListening:
        """Never tell anything."""
        return lambda: None

    async def call(self, request: Request) -> Answer:
        """Carry a call, as JSON."""
        if not self.connected:
            raise NotReached(f"no connection to {self.name}: connection refused")
        value = await self.node.serve(request)
        if not self.connected:
            raise InDoubt("the connection broke")
        return Answer.value(value)


class NodesWorld:
    """A cluster of letters; the master is a. Every node has heard of every candidate, as the log says if `heard`."""

    def __init__(self, candidates: str = "a", others: str = "", *, heard: bool = True) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        pool = SteppingPool()
        self.runtime = Runtime(clock=self.clock, pools=lambda _name: pool, random=random.Random(3))  # noqa: S311
        self.cluster: Cluster = with_certificates(cluster_of(candidates, others))
        self.vaults = {uuid: MemoryVault() for uuid in candidates + others}
        self.nodes = {uuid: FakeNode(uuid, self._replica(uuid)) for uuid in candidates + others}
        self.links: list[FakeLink] = []
        first = initial_changes(self.cluster)
        row = revised(NOBODY, self.cluster, candidates + others)
        if heard and row != NOBODY:
            first = (*first, Put(Space.META, HEARD, encode_heard(row)))
        entry = Entry(Position(epoch=FIRST, serial=1), self.clock.seconds(), first, (0,) * len(first))
        for uuid in candidates:
            self.vaults[uuid].create("cluster-uuid").append(START, [entry], epoch=FIRST, committed=1)

    def _replica(self, uuid: str) -> Replica:
        place = Place(layout=Layout(Path("/nowhere")), name=f"node-{uuid}", runtime=self.runtime)
        return Replica(place, self.vaults[uuid])

    def connect(self, node: Node) -> FakeLink:
        """Make a link."""
        if node.uuid not in self.nodes:
            self.vaults[node.uuid] = MemoryVault()
            self.nodes[node.uuid] = FakeNode(node.uuid, self._replica(node.uuid))
        link = FakeLink(self.nodes[node.uuid], node.name)
        self.links.append(link)
        return link

    def begin(self, host: str = "node-a", **options: Any) -> Deferred[Term]:
        """Become master, or try."""
        vault = self.vaults[host[-1]]
        return Deferred.fromCoroutine(take_mastership(self.runtime, vault, self.connect, host=host, **options))

    def down(self, *uuids: str) -> None:
        """Lose nodes."""
        for uuid in uuids:
            self.nodes[uuid].up = False

    def slow(self, *uuids: str) -> None:
        """Have nodes of which it is not known yet whether they are there: the connection is being made."""
        for uuid in uuids:
            self.nodes[uuid].up, self.nodes[uuid].problem = False, ""

    def up(self, *uuids: str) -> None:
        """Have nodes back."""
        for uuid in uuids:
            node = self.nodes[uuid]
            node.up = True
            waiting, node.waiting = node.waiting, []
            for one in waiting:
                one.callback(None)
            for listener in node.coming:
                listener()

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and all that follows at once; with time, also what stood ready for others to go with it."""
        for passed in (seconds, PATIENCE) if seconds else (0.0,):
            self.clock.advance(passed)
            for _ in range(50):
                self.clock.advance(0)


REFUSED = NodeFailure("refused", "no")
ANOTHER = Epoch(number=9, node="z")
