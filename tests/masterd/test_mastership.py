"""Who may become master, and what has happened by the time that it is."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gnt.masterd.mastership import Term
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import ConfigError, Failed, NoMajority, StaleEpoch
from gnt.store.changes import Put, Space
from gnt.wire.calls import Delay
from gnt.wire.log_calls import Fence, LogAppend, Outcome, Promise
from tests.masterd.journal_world import FIRST, meta, node
from tests.masterd.nodes_world import ANOTHER, NodesWorld
from tests.store.support import entry

_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]


def begun(world: NodesWorld, **options: Any) -> Term:
    """Become master at once."""
    beginning = world.begin(**options)
    world.turn()
    term: Term = _trial.successResultOf(beginning)
    return term


def refused(world: NodesWorld, host: str = "node-a", seconds: float = 0.0, **options: Any) -> Any:
    """Fail to become master, leaving the store as free as before."""
    beginning = world.begin(host, **options)
    world.turn(seconds)
    error = _trial.failureResultOf(beginning).value
    world.vaults[host[-1]].hold("somebody else")
    assert all(link.stopped for link in world.links)
    return error


def test_a_single_node_is_master_at_once() -> None:
    """A new epoch, promised, its first entry committed, its own node fenced."""
    world = NodesWorld("a")
    term = begun(world)
    assert term.epoch == Epoch(number=2, node="a")
    database = world.vaults["a"].open()
    assert (database.promised, database.end, database.committed) == (term.epoch, Position(term.epoch, 2), 2)
    assert [call.epoch for call in world.nodes["a"].told(Fence)] == [term.epoch]


def test_each_start_takes_a_new_epoch() -> None:
    """So that calls of the one before are refused."""
    world = NodesWorld("a")
    first = begun(world)
    _trial.successResultOf(Deferred.fromCoroutine(first.end()))
    assert begun(world).epoch.number == first.epoch.number + 1


def test_a_node_that_the_log_does_not_name_is_no_master() -> None:
    """It is told who is, and what to do."""
    error = refused(NodesWorld("ab"), "node-b")
    assert isinstance(error, Failed)
    assert (error.code, "node-a is" in error.text) == ("not_master", True)
    assert "failover" in error.hint


def test_a_majority_must_promise() -> None:
    """Both ask and promise reach the others; one of two that is away does not hinder."""
    world = NodesWorld("abc")
    world.down("c")
    term = begun(world)
    asked = [call.ask_only for call in world.nodes["b"].told(Promise)]
    assert asked == [True, False]
    assert world.vaults["b"].open().promised == term.epoch
    assert world.vaults["c"].open().promised == FIRST
    assert term.nodes.is_fenced("b")


def test_without_a_majority_nothing_is_raised() -> None:
    """After the deadline those missing are named, and no number was stored anywhere."""
    world = NodesWorld("abcd")
    world.down("c", "d")
    error = refused(world, seconds=31)
    assert isinstance(error, NoMajority)
    assert "node-c (connection refused), node-d" in error.text
    assert "3 of 4" in error.text
    assert world.vaults["a"].open().promised == FIRST
    assert world.vaults["b"].open().promised == FIRST


def test_a_voter_that_comes_in_time_is_waited_for() -> None:
    """Nodes that start together need not be in order."""
    world = NodesWorld("ab")
    world.down("b")
    beginning = world.begin()
    world.turn(10)
    _trial.assertNoResult(beginning)
    world.up("b")
    world.turn()
    assert _trial.successResultOf(beginning).epoch.number == 2


def test_a_higher_promise_is_outbid() -> None:
    """The number is above every promise that is known of."""
    world = NodesWorld("abc")
    world.vaults["b"].open().promise(ANOTHER)
    assert begun(world).epoch == Epoch(number=10, node="a")


def test_a_vote_that_is_lost_is_told() -> None:
    """A voter that promises a higher number to another between question and promise."""
    world = NodesWorld("ab")
    serve = world.nodes["b"].serve

    async def outbid(request: Any) -> Any:
        answer = await serve(request)
        if isinstance(request.call, Promise) and request.call.ask_only:
            world.vaults["b"].open().promise(ANOTHER)
        return answer

    world.nodes["b"].serve = outbid  # type: ignore[method-assign]
    error = refused(world)
    assert isinstance(error, StaleEpoch)
    assert "node-b" in error.text


def test_a_log_that_lacks_changes_cannot_lead() -> None:
    """A voter with newer entries of another master, or with more committed than we have, makes us refuse."""
    world = NodesWorld("abc")
    later = Epoch(number=5, node="b")
    world.vaults["b"].open().append(Position(FIRST, 1), [entry(2, meta("x"), epoch=later)], epoch=later)
    error = refused(world)
    assert isinstance(error, Failed)
    assert (error.code, "node-b took over in epoch 5, as node-b says" in error.text) == ("not_master", True)
    world = NodesWorld("abc")
    world.vaults["b"].open().append(Position(FIRST, 1), [entry(2, meta("x"), epoch=FIRST)], epoch=FIRST, committed=2)
    error = refused(world)
    assert isinstance(error, ConfigError)
    assert "node-b has newer changes (entry 2) than this node (1)" in error.text


def test_what_only_a_candidate_has_of_our_own_entries_was_never_acknowledged() -> None:
    """We died between sending and our own fsync: we may lead, and the candidate's stray entry goes."""
    world = NodesWorld("ab")
    world.vaults["b"].open().append(Position(FIRST, 1), [entry(2, meta("stray"), epoch=FIRST)], epoch=FIRST)
    term = begun(world)
    assert world.vaults["b"].open().end == Position(term.epoch, 2)
    assert world.vaults["b"].open().get(Space.META, "stray") is None


def test_entries_of_older_epochs_are_committed_with_our_first() -> None:
    """What we have and no majority had becomes true."""
    world = NodesWorld("abc")
    world.vaults["a"].open().append(Position(FIRST, 1), [entry(2, meta("x"), epoch=FIRST)], epoch=FIRST)
    term = begun(world)
    assert term.journal.committed == 3
    assert world.vaults["b"].open().get(Space.META, "x") == b"1"


def test_open_calls_of_the_former_master_are_asked_for() -> None:
    """The fence names them, and their outcomes are handed on."""
    world = NodesWorld("ab")
    world.nodes["b"].outcomes = [Outcome(id="1/7/0/1", state="done")]
    wanted = {"b": ["1/7/0/1"]}
    world.vaults["a"].open().append(
        Position(FIRST, 1), [entry(2, Put(Space.UNDO, "7/0/001", b"{}"), epoch=FIRST)], epoch=FIRST
    )

    def open_calls(database: Any) -> Any:
        assert [key for key, _ in database.rows(Space.UNDO)] == ["7/0/001"]
        return lambda uuid: wanted.get(uuid, ())

    term = begun(world, open_calls=open_calls)
    (call,) = world.nodes["b"].told(Fence)
    assert call.calls == ["1/7/0/1"]
    assert term.nodes.outcomes["b"] == {"1/7/0/1": Outcome(id="1/7/0/1", state="done")}


def test_connections_follow_the_model() -> None:
    """A node that is added is connected to once that is durable; one that is removed is let go."""
    world = NodesWorld("a")
    term = begun(world)
    new = node("n", candidate=False)
    term.journal.enqueue(term.journal.object_changes(put=[new]))
    world.turn()
    assert [link.name for link in world.links] == ["node-a", "node-n"]
    assert term.nodes.is_fenced("n")
    moved = msgspec.structs.replace(new, primary_ip="192.0.2.77")
    term.journal.enqueue(term.journal.object_changes(put=[moved]))
    world.turn()
    assert [link.stopped for link in world.links] == [False, True, False]
    term.journal.enqueue(term.journal.object_changes(drop=[new]))
    world.turn()
    assert [link.stopped for link in world.links] == [False, True, True]


def test_a_store_that_is_in_use_is_refused() -> None:
    """Two master daemons on one node; the node daemon, which has it for a moment only, is waited for."""
    world = NodesWorld("a")
    world.vaults["a"].hold("somebody else")
    beginning = world.begin()
    for _ in range(30):
        world.turn(0.1)
    assert _trial.failureResultOf(beginning).value.code == "in_use"
    again = world.begin()
    world.turn(0.1)
    world.vaults["a"].release()
    world.turn(0.1)
    assert _trial.successResultOf(again).epoch.number == 2


def test_a_deposed_master_hears_of_it_from_any_node() -> None:
    """Also from one that is no voter."""
    world = NodesWorld("a", "n")
    term = begun(world)
    told: list[StaleEpoch] = []
    term.journal.on_deposed(told.append)
    world.nodes["n"].epoch = ANOTHER
    calling = Deferred.fromCoroutine(term.nodes.call("n", Delay(seconds=1)))
    assert isinstance(_trial.failureResultOf(calling).value, StaleEpoch)
    assert len(told) == 1
    assert world.nodes["a"].told(LogAppend) == []
