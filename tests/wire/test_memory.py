"""Node calls in memory, as the simulator drives them."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gnt.model.epoch import Epoch
from gnt.model.errors import InDoubt, NodeFailure, NotReached
from gnt.wire.calls import Delay
from gnt.wire.contract import Caller, CallProgress, NodeEvent
from gnt.wire.envelope import Answer, Request, decode_request, encode_answer
from gnt.wire.log_calls import AskLog
from gnt.wire.memory import Fate, MemoryLink, MemoryNetwork, Passage
from tests.wire.cluster_keys import NODE_UUID, Daemon

MASTER = Caller(digest="aa", common_name="node2")
DONE = encode_answer(Answer.value(None))


class World:
    """One node, one link, a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.fates: dict[str, Fate] = {}
        self.passages: list[Passage] = []
        network_clock: Any = self.clock
        self.network = MemoryNetwork(network_clock, self.fate)
        self.daemon = Daemon()
        self.network.attach(NODE_UUID, self.daemon)
        self.link: MemoryLink = self.network.link(MASTER, "node1", NODE_UUID)
        self.link.start()
        self.clock.advance(0)

    def fate(self, passage: Passage) -> Fate:
        """Decide as the test says."""
        self.passages.append(passage)
        return self.fates.get(passage.tag, Fate())

    def call(self, call: Any = None, deadline: float = 10.0) -> Deferred[Any]:
        """Make a call."""
        request = Request(id="1", epoch=Epoch(number=1, node="m"), deadline=deadline, call=call or Delay(seconds=1))
        return ensureDeferred(self.link.call(request))


@pytest.fixture
def world() -> World:
    """Give a fresh world."""
    return World()


def raised(deferred: Deferred[Any]) -> BaseException:
    """Give the error with which a Deferred has failed."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert isinstance(found[0], Failure)
    assert found[0].value is not None
    return found[0].value


def test_call_crosses_as_bytes(world: World) -> None:
    """Request and answer go through the codec; the caller is who the link says."""
    world.daemon.answers = [DONE]
    call = world.call()
    assert not world.daemon.asked
    world.clock.advance(0)
    world.clock.advance(0)
    assert call.called
    content, caller = world.daemon.asked[0]
    assert decode_request(content).call == Delay(seconds=1)
    assert caller == MASTER
    assert world.passages == [Passage("node2", NODE_UUID, "1", "delay")]


def test_errors_are_raised(world: World) -> None:
    """As on Perspective Broker."""
    world.daemon.answers = [encode_answer(Answer.of(NodeFailure("no_space", "full")))]
    call = world.call()
    world.clock.advance(0)
    world.clock.advance(0)
    error = raised(call)
    assert isinstance(error, NodeFailure)
    assert error.code == "no_space"


def test_latency(world: World) -> None:
    """Request and answer take their time."""
    world.fates["delay"] = Fate(request=2.0, answer=3.0)
    world.daemon.answers = [DONE]
    call = world.call()
    world.clock.advance(1.9)
    assert not world.daemon.asked
    world.clock.advance(0.1)
    assert world.daemon.asked
    world.clock.advance(2.9)
    assert not call.called
    world.clock.advance(0.1)
    assert call.called


@pytest.mark.parametrize("fate", [Fate(request=None), Fate(answer=None)])
def test_lost_request_or_answer_is_in_doubt(world: World, fate: Fate) -> None:
    """The master cannot tell which of them was lost."""
    world.fates["delay"] = fate
    world.daemon.answers = [DONE]
    call = world.call(deadline=5.0)
    world.clock.advance(5.0)
    assert isinstance(raised(call), InDoubt)
    assert len(world.daemon.asked) == (fate.request is not None)


def test_request_may_arrive_twice(world: World) -> None:
    """The second arrival comes late, and its answer is nobody's."""
    world.fates["delay"] = Fate(again=4.0)
    world.daemon.answers = [DONE, DONE]
    world.call()
    world.clock.advance(4.0)
    assert len(world.daemon.asked) == 2


def test_node_that_goes_away_leaves_doubt_and_comes_back(world: World) -> None:
    """Calls under way are in doubt at once, new ones are not sent, and the link connects again by itself."""
    world.daemon.answers = [Deferred(), DONE]
    call = world.call()
    world.clock.advance(0)
    world.network.detach(NODE_UUID)
    assert isinstance(raised(call), InDoubt)
    assert not world.link.connected
    assert isinstance(raised(world.call()), NotReached)
    waiting = world.link.when_connected()
    world.network.attach(NODE_UUID, world.daemon)
    world.clock.advance(0)
    assert waiting.called


def test_cut_network_is_one_end_only(world: World) -> None:
    """Another master still reaches the node."""
    other = world.network.link(Caller(digest="bb", common_name="node3"), "node1", NODE_UUID)
    other.start()
    world.clock.advance(0)
    world.network.cut("node2", NODE_UUID)
    assert (world.link.connected, other.connected) == (False, True)
    world.network.mend("node2", NODE_UUID)
    world.clock.advance(0)
    assert world.link.connected


def test_request_that_was_on_its_way_arrives_after_the_link_was_stopped(world: World) -> None:
    """A master that died may still be heard: late calls are what epochs are for."""
    world.fates["log_state"] = Fate(request=2.0)
    world.daemon.answers = [DONE]
    call = world.call(AskLog())
    world.link.stop()
    assert isinstance(raised(call), InDoubt)
    world.clock.advance(2.0)
    assert len(world.daemon.asked) == 1


def test_events(world: World) -> None:
    """They reach who listens while the link is up."""
    heard: list[NodeEvent] = []
    stop = world.link.listen(heard.append)
    event = CallProgress(id="1", text="half-way")
    world.daemon.tell(event)
    world.clock.advance(0)
    assert heard == [event]
    stop()
    world.daemon.tell(event)
    world.clock.advance(0)
    assert heard == [event]


def test_stopped_link_tells_those_who_wait(world: World) -> None:
    """They hear that there will be no connection, and so does who comes later."""
    world.network.detach(NODE_UUID)
    waiting = world.link.when_connected()
    world.link.stop()
    assert isinstance(raised(waiting), NotReached)
    assert isinstance(raised(world.link.when_connected()), NotReached)
