"""Calls to nodes: fenced first, offline ones left alone, ids and epochs, errors as values."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gnt.masterd.nodes import RETRY_FENCE, Nodes
from gnt.masterd.vote import NOT_MASTER
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import InDoubt, NodeFailure, NotFenced, NotReached, StaleEpoch
from gnt.wire.calls import Delay, NodeCall, NodeInfo, Version
from gnt.wire.log_calls import Fence, Standing
from tests.masterd.journal_world import node
from tests.masterd.nodes_world import REFUSED, NodesWorld

_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]
EPOCH = Epoch(number=4, node="a")


class Fixture:
    """A world and its connections."""

    def __init__(self, *, term: bool = True) -> None:
        self.world = NodesWorld("ab", "n")
        self.nodes = Nodes(self.world.runtime, self.world.connect)
        self.nodes.update(self.world.cluster)
        if term:
            self.nodes.begin_term(EPOCH)
        self.world.turn()

    def begin(self, uuid: str, call: NodeCall[Any], **options: Any) -> Deferred[Any]:
        """Begin a call."""
        return Deferred.fromCoroutine(self.nodes.call(uuid, call, **options))

    def fails(self, uuid: str, call: NodeCall[Any]) -> Any:
        """Make a call that fails."""
        return _trial.failureResultOf(self.begin(uuid, call)).value


def test_every_node_is_fenced_once_without_being_asked() -> None:
    """As soon as it is there; calls that change something come behind that."""
    fixture = Fixture()
    fixture.begin("n", Delay(seconds=1))
    fixture.begin("n", Delay(seconds=2))
    kinds = [type(request.call) for request in fixture.world.nodes["n"].requests]
    assert kinds == [Fence, Delay, Delay]


def test_whoever_listens_hears_of_a_node_that_is_back() -> None:
    """Once for each return, and before this node is the master of an epoch too."""
    world = NodesWorld("a", "n")
    nodes = Nodes(world.runtime, world.connect)
    met: list[str] = []
    nodes.on_met(met.append)
    nodes.update(world.cluster)
    world.down("n")
    world.up("n")
    assert met == ["n"]


def test_a_node_that_was_away_is_fenced_before_anything_changes_it() -> None:
    """Reads do not wait for the fence."""
    world = NodesWorld("a", "n")
    world.down("n")
    nodes = Nodes(world.runtime, world.connect)
    nodes.update(world.cluster)
    nodes.begin_term(EPOCH)
    calling = Deferred.fromCoroutine(nodes.call("n", Delay(seconds=1)))
    assert isinstance(_trial.failureResultOf(calling).value, NotReached)
    world.nodes["n"].failing[Fence] = REFUSED
    world.up("n")
    world.turn()
    Deferred.fromCoroutine(nodes.call("n", NodeInfo())).addErrback(lambda _: None)
    for problem in (REFUSED, NodeFailure("call_table", "its disk is full"), InDoubt("nobody knows")):
        world.nodes["n"].failing[Fence] = problem
        calling = Deferred.fromCoroutine(nodes.call("n", Delay(seconds=1)))
        # Not what the fence has failed with: the call itself is in no doubt, and may become a debt of the node.
        error = _trial.failureResultOf(calling).value
        assert isinstance(error, NotFenced)
        assert problem.text in error.text
    assert world.nodes["n"].told(Delay) == []
    assert len(world.nodes["n"].told(NodeInfo)) == 1
    del world.nodes["n"].failing[Fence]
    world.turn(5)
    assert nodes.is_fenced("n")
    Deferred.fromCoroutine(nodes.call("n", Delay(seconds=1)))
    assert len(world.nodes["n"].told(Delay)) == 1


def test_a_node_that_comes_back_is_asked_whom_it_follows() -> None:
    """A master that has nothing to say would never hear that it has been replaced meanwhile."""
    fixture = Fixture()
    deposed: list[StaleEpoch] = []
    fixture.nodes.on_deposed(deposed.append)
    fixture.world.down("n")
    fixture.world.up("n")
    assert deposed == []
    fixture.world.down("n")
    fixture.world.nodes["n"].epoch = Epoch(number=5, node="b")
    fixture.world.up("n")
    assert [type(error) for error in deposed] == [StaleEpoch]


def test_a_node_that_takes_no_orders_is_asked_by_whose_word() -> None:
    """A master that was struck off would not hear it otherwise; by the word of an older one it is no proof."""
    fixture = Fixture(term=False)
    deposed: list[StaleEpoch] = []
    fixture.nodes.on_deposed(deposed.append)
    other = fixture.world.nodes["n"]
    other.failing[Fence] = NodeFailure("not_allowed", "node-n takes fence from master candidates only")
    other.standing = Standing(may_order=False, position=Position(Epoch(number=3, node="b"), 9))
    fixture.nodes.begin_term(EPOCH)
    fixture.world.turn()
    assert deposed == []
    other.standing = Standing(may_order=False, position=Position(Epoch(number=5, node="b"), 9))
    fixture.world.turn(RETRY_FENCE)
    assert "node-n follows another master, in epoch 5@b" in deposed[0].text
    # Its daemon is not started again: nothing would be different then.
    assert deposed[0].code == NOT_MASTER


def test_who_waits_for_a_node_that_moves_can_ask_for_it_at_once() -> None:
    """When the old link is given up there is the new one already, and calls go over it."""
    world = NodesWorld("a", "n")
    world.down("n")
    nodes = Nodes(world.runtime, world.connect)
    nodes.update(world.cluster)
    again: list[Deferred[None]] = []
    nodes.when_connected("n").addErrback(lambda _: again.append(nodes.when_connected("n")))
    nodes.update(world.cluster.put(msgspec.structs.replace(node("n"), primary_ip="192.0.2.99")))
    (waiting,) = again
    _trial.assertNoResult(waiting)
    world.up("n")
    _trial.successResultOf(waiting)


def test_a_new_term_fences_again() -> None:
    """Each epoch has fences of its own."""
    fixture = Fixture()
    fixture.nodes.begin_term(Epoch(number=5, node="a"))
    fixture.world.turn()
    assert [call.epoch.number for call in fixture.world.nodes["n"].told(Fence)] == [4, 5]


def test_calls_carry_epoch_deadline_and_an_id_of_their_own() -> None:
    """Given ids stay; fresh ones begin with the epoch's number, so that no other master makes the same."""
    fixture = Fixture()
    fixture.begin("n", Delay(seconds=1), id="4/7/0/1")
    fixture.begin("n", Delay(seconds=1), deadline=2.5)
    fixture.begin("n", Delay(seconds=1))
    _, given, short, last = fixture.world.nodes["n"].requests
    assert (given.id, given.deadline, given.epoch) == ("4/7/0/1", 6.0, EPOCH)
    assert short.deadline == 2.5
    assert short.id != last.id
    assert short.id.startswith("4/")


def test_a_node_that_is_offline_is_fenced_when_it_is_flagged_online() -> None:
    """Until then nobody looks again and again whether it may be."""
    world = NodesWorld("a", "n")
    nodes = Nodes(world.runtime, world.connect)
    nodes.update(world.cluster.put(msgspec.structs.replace(world.cluster.nodes["n"], offline=True)))
    nodes.begin_term(EPOCH)
    world.turn()
    assert not world.clock.getDelayedCalls()
    assert not nodes.is_fenced("n")
    nodes.update(world.cluster)
    world.turn()
    assert nodes.is_fenced("n")


def test_nodes_that_are_offline_get_no_traffic() -> None:
    """But for the question for the version."""
    fixture = Fixture()
    offline = msgspec.structs.replace(node("n", candidate=False), offline=True)
    fixture.nodes.update(fixture.world.cluster.put(offline))
    count = len(fixture.world.nodes["n"].requests)
    error = fixture.fails("n", NodeInfo())
    assert (type(error), error.text) == (NotReached, "Node is marked offline")
    assert len(fixture.world.nodes["n"].requests) == count
    fixture.begin("n", Version()).addErrback(lambda _: None)
    assert len(fixture.world.nodes["n"].told(Version)) == 1


def test_a_node_that_nobody_knows_is_not_reached() -> None:
    """It may have left the cluster meanwhile."""
    assert isinstance(Fixture().fails("q", NodeInfo()), NotReached)


def test_asking_many_gives_errors_as_values() -> None:
    """One that fails hides no other."""
    fixture = Fixture()
    fixture.world.nodes["b"].failing[NodeInfo] = REFUSED
    fixture.world.nodes["n"].failing[NodeInfo] = InDoubt("who knows")
    asking = Deferred.fromCoroutine(fixture.nodes.ask_all({"b": NodeInfo(), "n": NodeInfo(), "q": NodeInfo()}))
    found = _trial.successResultOf(asking)
    assert {uuid: type(answer) for uuid, answer in found.items()} == {"b": NodeFailure, "n": InDoubt, "q": NotReached}


def test_stopping_closes_all_links() -> None:
    """And nothing is fenced afterwards."""
    fixture = Fixture()
    _trial.successResultOf(fixture.nodes.stop())
    assert all(link.stopped for link in fixture.world.links)
    count = len(fixture.world.nodes["n"].requests)
    fixture.world.turn(60)
    assert len(fixture.world.nodes["n"].requests) == count


def test_changes_are_told_when_they_have_ended() -> None:
    """Well or badly; what only reads changes nothing, nor does the log tell of guests."""
    fixture = Fixture()
    told: list[str] = []
    fixture.nodes.on_changed(told.append)
    fixture.begin("n", NodeInfo()).addErrback(lambda _: None)
    assert told == []
    fixture.world.nodes["n"].failing[Delay] = REFUSED
    fixture.fails("n", Delay(seconds=1))
    assert told == ["n"]
