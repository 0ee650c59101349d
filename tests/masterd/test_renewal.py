"""What the master itself does while certificates are renewed: new links beside old calls, telling, the key."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from gnt.masterd.nodes import Nodes
from gnt.masterd.plan import ByMaster, Entrust, Reconnect, Tell
from gnt.masterd.publish import UNDER_WAY
from gnt.masterd.renewal import RECONNECT_TIME, TELL_TIME, Renewal
from gnt.model.epoch import Epoch
from gnt.model.errors import Failed, NotReached
from gnt.wire.calls import Delay
from gnt.wire.certificate_calls import CertificateForget
from gnt.wire.envelope import Request
from tests.masterd.nodes_world import FakeLink, FakeNode, NodesWorld

_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]
EPOCH = Epoch(number=4, node="a")


class Slow(FakeNode):
    """A node that answers a `Delay` when the test wants."""

    delay: Deferred[None]

    async def serve(self, request: Request) -> Any:
        """Carry out a request."""
        if isinstance(request.call, Delay):
            return await self.delay
        return await super().serve(request)


class Fixture:
    """A master with links to two nodes; `n` is slow."""

    def __init__(self) -> None:
        self.world = NodesWorld("a", "n")
        self.slow = self.world.nodes["n"]
        self.slow.__class__ = Slow
        self.slow.delay = Deferred()  # type: ignore[attr-defined]
        self.nodes = Nodes(self.world.runtime, self.world.connect)
        self.nodes.update(self.world.cluster)
        self.nodes.begin_term(EPOCH)
        self.world.turn()

    def links(self, uuid: str) -> list[FakeLink]:
        """Give the links to a node in the order in which they were made."""
        return [link for link in self.world.links if link.uuid == uuid]

    def renew(self) -> Any:
        """Connect anew and give who failed."""
        renewing = Deferred.fromCoroutine(self.nodes.renew_links(RECONNECT_TIME))
        self.world.turn(RECONNECT_TIME + 1)
        return _trial.successResultOf(renewing)


def test_a_call_under_way_ends_where_it_began() -> None:
    """New calls take the new link at once; the old one is closed after its last call."""
    fixture = Fixture()
    waiting = Deferred.fromCoroutine(fixture.nodes.call("n", Delay(seconds=1)))
    assert fixture.renew() == {}
    old, new = fixture.links("n")
    assert (old.stopped, new.connected) == (False, True)
    old.node = fixture.world.nodes["a"]  # whoever still used it would ask another node
    _trial.successResultOf(Deferred.fromCoroutine(fixture.nodes.call("n", CertificateForget())))
    assert fixture.slow.told(CertificateForget)
    old.node = fixture.slow
    fixture.slow.delay.callback(None)  # type: ignore[attr-defined]
    _trial.successResultOf(waiting)
    assert old.stopped
    assert [link.stopped for link in fixture.links("a")] == [True, False]


def test_a_node_that_takes_no_new_link_keeps_the_old_one() -> None:
    """It is named; its calls go on."""
    fixture = Fixture()
    connect = fixture.world.connect

    def refuse(node: Any) -> FakeLink:
        link = connect(node)
        if node.uuid == "n":
            link.start = lambda: None  # type: ignore[method-assign]
        return link

    fixture.nodes._connect = refuse
    assert fixture.renew() == {"n": "connection refused"}
    old, new = fixture.links("n")
    assert (old.stopped, new.stopped) == (False, True)
    _trial.successResultOf(Deferred.fromCoroutine(fixture.nodes.call("n", CertificateForget())))


def test_links_that_wait_for_their_last_call_end_with_the_others() -> None:
    """When the master stops, all are closed."""
    fixture = Fixture()
    waiting = Deferred.fromCoroutine(fixture.nodes.call("n", Delay(seconds=1)))
    waiting.addErrback(lambda _: None)
    fixture.renew()
    fixture.nodes.stop()
    assert all(link.stopped for link in fixture.world.links)


class Part:
    """Links, publisher and keeper of the key in one, with answers as the test wants."""

    def __init__(self) -> None:
        self.world = NodesWorld("a", "n")
        self.cluster = self.world.cluster
        self.flushed: Deferred[None] = succeed(None)
        self.late: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.entrusted: list[str] = []
        self.renewal = Renewal(self.world.runtime, self, self, self, self)

    async def renew_links(self, seconds: float) -> dict[str, str]:
        """Connect anew."""
        assert seconds > 0
        return self.failed

    async def flush(self) -> None:
        """Tell."""
        await self.flushed

    def behind(self) -> dict[str, str]:
        """Say who was not told."""
        return self.late

    async def entrust(self, node: str) -> None:
        """Give the key."""
        if node == "gone":
            raise NotReached("cut off")
        self.entrusted.append(node)

    async def entrust_rapi(self, node: str) -> None:
        """Give that of the remote API."""
        self.entrusted.append(f"{node} rapi")

    def perform(self, step: ByMaster) -> Deferred[None]:
        """Begin a step."""
        return Deferred.fromCoroutine(self.renewal.perform(step))


@pytest.fixture
def part() -> Part:
    """Give it."""
    return Part()


def test_steps_that_succeed(part: Part) -> None:
    """Nobody late, nobody refusing; a node that is behind what was committed since is none of them."""
    part.late = {"n": UNDER_WAY}
    for step in (Tell(), Reconnect(), Entrust("n"), Entrust("n", rapi=True)):
        _trial.successResultOf(part.perform(step))
    assert part.entrusted == ["n", "n rapi"]
    assert part.world.clock.getDelayedCalls() == []


def test_steps_that_fail(part: Part) -> None:
    """Nodes are named, with the reason."""
    part.late, part.failed = {"n": "disk full"}, {"n": "refused"}
    assert "node-n was not told: disk full" in _trial.failureResultOf(part.perform(Tell()), Failed).value.text
    assert "takes no new connection: refused" in _trial.failureResultOf(part.perform(Reconnect()), Failed).value.text
    _trial.failureResultOf(part.perform(Entrust("gone")), NotReached)


def test_a_node_that_is_away_is_not_waited_for_without_end(part: Part) -> None:
    """After a while it is named."""
    part.flushed, part.late = Deferred(), {"n": UNDER_WAY}
    telling = part.perform(Tell())
    part.world.turn(TELL_TIME - 1)
    assert not telling.called
    part.world.turn(2)
    assert "node-n was not told" in _trial.failureResultOf(telling, Failed).value.text
