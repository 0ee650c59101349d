"""The real node daemon's calls under a bad network: nothing acknowledged is lost, all copies become equal."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gnt.daemon.runtime import Runtime
from gnt.masterd.mastership import Term, take_mastership
from gnt.model.epoch import START, Position
from gnt.model.layout import Layout
from gnt.model.objects import Node
from gnt.noded.call_table import CallTable
from gnt.noded.calls import Calls
from gnt.noded.handler import Place
from gnt.noded.replica import Replica
from gnt.store.changes import Entry, Space
from gnt.store.configuration import initial_changes
from gnt.store.vault import MemoryVault
from gnt.wire.contract import Caller, INodeDaemon, Listener, StopListening
from gnt.wire.envelope import decode_request, encode_answer
from gnt.wire.memory import Fate, MemoryLink, MemoryNetwork, Passage
from tests.masterd.journal_world import FIRST, SteppingPool, cluster_of, meta

_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]
SEEDS = (*range(12), 38, 49)


@implementer(INodeDaemon)
class Daemon:
    """A node daemon that knows the log only."""

    def __init__(self, uuid: str, calls: Calls) -> None:
        self.uuid = uuid
        self.calls = calls

    def call(self, request: bytes, caller: Caller) -> Deferred[bytes]:
        """Perform a request."""
        return Deferred.fromCoroutine(self.calls.perform(decode_request(request), caller)).addCallback(encode_answer)

    def listen(self, listener: Listener) -> StopListening:
        """Never tell anything."""
        return lambda: None

    def identity(self) -> tuple[str, str]:
        """Give name and UUID."""
        return f"node-{self.uuid}", self.uuid


class Cluster:
    """Nodes a, b, c on a network that the seed makes bad; a is the master, whose daemon may die and come again."""

    def __init__(self, root: Path, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.root = root
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.bad = False
        self.network = MemoryNetwork(self.clock, self.fate)
        self.vaults = {uuid: MemoryVault() for uuid in "abc"}
        self.cluster = cluster_of("abc")
        first = initial_changes(self.cluster)
        entry = Entry(Position(FIRST, 1), 1000.0, first, (0,) * len(first))
        for uuid in "abc":
            self.vaults[uuid].create("uuid").append(START, [entry], epoch=FIRST, committed=1)
            self.start_node(uuid)

    def runtime(self) -> Runtime:
        """Give what a daemon runs on."""
        return Runtime(clock=self.clock, pools=lambda _name: SteppingPool(), random=self.random)

    def start_node(self, uuid: str) -> None:
        """Start a node daemon, perhaps again."""
        runtime = self.runtime()
        (self.root / uuid).mkdir(exist_ok=True)
        place = Place(layout=Layout(self.root / uuid), name=f"node-{uuid}", runtime=runtime)
        replica = Replica(place, self.vaults[uuid])
        calls = Calls(place, replica.handlers(), CallTable(self.root / uuid / "calls.db", runtime), replica=replica)
        _trial.successResultOf(Deferred.fromCoroutine(calls.start()))
        self.network.attach(uuid, Daemon(uuid, calls))

    def fate(self, _passage: Passage) -> Fate:
        """Lose, delay and double calls while the network is bad."""
        if not self.bad:
            return Fate()
        chance = self.random.random
        return Fate(
            request=None if chance() < 0.1 else chance() * 0.2,
            answer=None if chance() < 0.1 else chance() * 0.2,
            again=chance() * 3 if chance() < 0.2 else None,
        )

    def connect(self, node: Node) -> MemoryLink:
        """Make a link."""
        return self.network.link(Caller(digest="d", common_name="a"), node.name, node.uuid, source="a")

    def master(self) -> Term:
        """Have node a become master."""
        self.vaults["a"].release()
        beginning = Deferred.fromCoroutine(
            take_mastership(self.runtime(), self.vaults["a"], self.connect, host="node-a")
        )
        self.run(1)
        term: Term = _trial.successResultOf(beginning)
        return term

    def run(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(int(seconds * 20)):
            self.clock.advance(0.05)

    def kill(self, term: Term) -> None:
        """End the master daemon as a crash would: it hears and says nothing any more."""
        for call in self.clock.getDelayedCalls():
            call.cancel()
        _trial.successResultOf(term.nodes.stop())
        self.clock.calls = []  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bad_network_loses_nothing(tmp_path: Path, seed: int) -> None:
    """Calls are lost, late and doubled, a candidate restarts, the master dies: what was acknowledged is everywhere."""
    cluster = Cluster(tmp_path, seed)
    acknowledged: list[str] = []
    for round_ in range(3):
        cluster.bad = False
        term = cluster.master()
        for name in acknowledged:
            assert cluster.vaults["a"].open().get(Space.META, name) == b"1"
        cluster.bad = True
        for number in range(30):
            name = f"{round_}.{number}"
            waiting = term.journal.enqueue([meta(name)])
            waiting.addCallbacks(lambda _, name=name: acknowledged.append(name), lambda _: None)
            cluster.run(cluster.random.random() * 0.5)
            if number == 15:
                cluster.start_node(cluster.random.choice("bc"))
        if round_ < 2:
            cluster.kill(term)
    cluster.bad = False
    cluster.run(120)
    assert len(acknowledged) > 10
    assert term.journal.missing() == []
    contents = [dict(cluster.vaults[uuid].open().rows(Space.META)) for uuid in "abc"]
    assert contents[0] == contents[1] == contents[2]
    assert set(acknowledged) <= set(contents[0])
