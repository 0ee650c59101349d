"""A candidate takes over: it gets what a majority may have, and the old master finds out when it comes back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gnt.daemon.takeover import Takeover
from gnt.masterd.candidates import HELD_FOR
from gnt.masterd.mastership import Term
from gnt.masterd.unsafe import PREFIX, UnsafeRecord, WayOut
from gnt.masterd.vote import HEARD_OUT, TERMS_AHEAD
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import Failed, GntError, NodeFailure, NoMajority, Refused, StaleEpoch
from gnt.store.changes import Entry, Put, Space
from gnt.store.configuration import object_changes
from gnt.store.heard import HEARD, Heard, encode_heard
from gnt.wire.calls import DeactivateMasterIp, Rights
from gnt.wire.log_calls import AskStanding, Fence, LogRead, Promise, Standing
from tests.masterd.journal_world import FIRST, meta, node
from tests.masterd.nodes_world import NodesWorld
from tests.store.support import entry

_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]
HERE = Takeover()
ALONE = Takeover(no_voting=True)


def begun(world: NodesWorld, host: str, order: Takeover | None = HERE, seconds: float = 0.0) -> Term:
    """Become master on a node."""
    beginning = world.begin(host, takeover=order)
    world.turn(seconds)
    term: Term = _trial.successResultOf(beginning)
    return term


def refused(world: NodesWorld, host: str, order: Takeover | None = HERE, seconds: float = 0.0) -> Any:
    """Fail to become master."""
    beginning = world.begin(host, takeover=order)
    world.turn(seconds)
    return _trial.failureResultOf(beginning).value


def ended(term: Term) -> None:
    """Step down in order."""
    _trial.successResultOf(Deferred.fromCoroutine(term.end()))


def killed(world: NodesWorld, term: Term) -> None:
    """Have a master daemon die: it says nothing more."""
    term.journal._candidates.stop()
    _trial.successResultOf(term.nodes.stop())
    for call in world.clock.getDelayedCalls():
        call.cancel()
    term.vault.release()


def committed(world: NodesWorld, term: Term, name: str) -> None:
    """Commit a row: who is down is asked first perhaps, and the others a moment later."""
    done = term.journal.enqueue([meta(name)])
    world.turn(HELD_FOR)
    _trial.successResultOf(done)


def records(world: NodesWorld, uuid: str) -> list[UnsafeRecord]:
    """Give what was recorded as unsafe."""
    rows = world.vaults[uuid].open().rows(Space.META, PREFIX)
    return [msgspec.json.decode(value, type=UnsafeRecord) for _, value in rows]


def test_a_candidate_takes_over_from_a_master_that_has_ended() -> None:
    """It is the master by the log, in an epoch of its own; all others are fenced; the queue is open."""
    world = NodesWorld("abc", "n")
    ended(begun(world, "node-a", None))
    term = begun(world, "node-b")
    assert term.epoch == Epoch(number=3, node="b")
    assert term.journal.cluster.settings.master_node == "b"
    assert term.journal.voters == {"a", "b", "c"}
    assert all(world.nodes[uuid].told(Fence)[-1].epoch == term.epoch for uuid in "abcn")
    world.turn(1)
    for uuid in "abc":
        database = world.vaults[uuid].open()
        assert database.load_cluster().settings.master_node == "b"
        assert database.get(Space.META, "drained") == b"false"


def test_a_cluster_without_an_address_of_its_own_is_reached_at_the_new_master() -> None:
    """One that has its own keeps it."""
    for before, after in (("192.0.2.97", "192.0.2.98"), ("198.51.100.1", "198.51.100.1")):
        world = NodesWorld("abc")
        first = begun(world, "node-a", None)
        settings = msgspec.structs.replace(first.journal.cluster.settings, master_ip=before)
        done = first.journal.enqueue(first.journal.object_changes(put=[settings]))
        world.turn()
        _trial.successResultOf(done)
        ended(first)
        assert begun(world, "node-b").journal.cluster.settings.master_ip == after


def test_what_was_acknowledged_survives_the_master() -> None:
    """The row is on a and c only when a dies; b reads it from c before it leads."""
    world = NodesWorld("abc")
    first = begun(world, "node-a", None)
    world.down("b")
    committed(world, first, "precious")
    killed(world, first)
    world.down("a")
    world.up("b")
    assert world.vaults["b"].open().get(Space.META, "precious") is None
    term = begun(world, "node-b")
    assert world.nodes["c"].told(LogRead)
    assert world.vaults["b"].open().get(Space.META, "precious") == b"1"
    assert term.journal.committed == world.vaults["b"].open().end.serial


def test_what_only_the_one_who_takes_over_has_is_kept_aside() -> None:
    """It was of an older epoch than the newest log of the majority."""
    world = NodesWorld("abc")
    stray = entry(2, meta("stray"), epoch=FIRST)
    world.vaults["b"].open().append(Position(FIRST, 1), [stray], epoch=FIRST)
    later = Epoch(number=4, node="c")
    for uuid in "ac":
        world.vaults[uuid].open().append(Position(FIRST, 1), [entry(2, meta("x"), epoch=later)], epoch=later)
    begun(world, "node-b")
    database = world.vaults["b"].open()
    assert (database.get(Space.META, "stray"), database.get(Space.META, "x")) == (None, b"1")
    ((name, content),) = world.vaults["b"].aside.items()
    assert name == "lost-1-2-2"
    assert b'"put":"meta/stray"' in content


def test_a_candidate_that_a_node_has_not_heard_of_does_not_take_over() -> None:
    """The node says so, or cannot be asked; the old master can go on. Nothing of the log has changed."""
    world = NodesWorld("abc", "mn", heard=False)
    ended(begun(world, "node-a", None))
    world.down("m")
    world.nodes["n"].obeys = False
    end = world.vaults["b"].open().end
    error = refused(world, "node-b", seconds=6)
    assert isinstance(error, Refused)
    assert error.text.startswith("node-m (no connection to node-m: connection refused) and node-n have not heard yet")
    assert world.vaults["b"].open().end == end
    begun(world, "node-a", None, seconds=1)


def test_where_the_log_does_not_say_who_has_heard_the_nodes_are_asked() -> None:
    """All of them answer, so it takes over at once: two nodes need not wait for a row after the second has come."""
    world = NodesWorld("ab", heard=False)
    ended(begun(world, "node-a", None))
    assert begun(world, "node-b").epoch.node == "b"
    assert [len(world.nodes[uuid].told(Rights)) for uuid in "ab"] == [1, 1]


def test_who_has_heard_is_read_from_the_newest_log() -> None:
    """It came to the others while this candidate was away; the node that it is about is away now."""
    world = NodesWorld("abc", "n", heard=False)
    first = begun(world, "node-a", None)
    world.down("b")
    row = Heard({uuid: [f"digest-{uuid}"] for uuid in "abc"}, ["a", "b", "c", "n"])
    done = first.journal.enqueue([Put(Space.META, HEARD, encode_heard(row))])
    world.turn(HELD_FOR)
    _trial.successResultOf(done)
    ended(first)
    world.up("b")
    world.down("n")
    assert begun(world, "node-b").epoch.node == "b"
    assert world.nodes["n"].told(Rights) == []


def test_a_node_that_will_not_obey_can_be_borne_by_order() -> None:
    """And one that is struck off need not obey."""
    world = NodesWorld("abc", "n", heard=False)
    ended(begun(world, "node-a", None))
    world.nodes["n"].obeys = False
    assert begun(world, "node-b", Takeover(unheard=True)).epoch.node == "b"
    world = NodesWorld("ab", heard=False)
    world.down("a")
    assert begun(world, "node-b", ALONE, seconds=6).journal.voters == {"b"}


def test_without_a_majority_nobody_takes_over() -> None:
    """The one that is missing is named, with what to type."""
    world = NodesWorld("ab")
    world.down("a")
    error = refused(world, "node-b", seconds=31)
    assert isinstance(error, NoMajority)
    assert "gnt-cluster master-failover --no-voting" in error.hint
    assert world.vaults["b"].open().promised == FIRST


def test_without_voting_those_who_are_missing_are_struck_off() -> None:
    """The two-node cluster whose master has burnt goes on, and it stands in the store that this was unsafe."""
    world = NodesWorld("ab", "n")
    world.down("a")
    term = begun(world, "node-b", ALONE, seconds=6)
    assert term.journal.voters == {"b"}
    old = term.journal.cluster.nodes["a"]
    assert (old.offline, old.master_candidate) == (True, False)
    (record,) = records(world, "b")
    # Far ahead of what the one that is struck off may begin by its own log.
    assert (record.nodes, record.epoch) == (["node-a"], f"{FIRST.number + TERMS_AHEAD}@b")
    assert "failover --no-voting" in record.by
    committed(world, term, "goes on")


def test_without_voting_those_who_answer_count() -> None:
    """They promise, their newer log is read, and they stay voters."""
    world = NodesWorld("abcde")
    first = begun(world, "node-a", None)
    world.down("b", "d")
    committed(world, first, "precious")
    killed(world, first)
    world.down("a", "e")
    world.up("b")
    term = begun(world, "node-b", ALONE, seconds=6)
    assert term.journal.voters == {"b", "c"}
    assert world.vaults["b"].open().get(Space.META, "precious") == b"1"
    assert records(world, "c")[0].nodes == ["node-a", "node-d", "node-e"]


def test_only_a_candidate_takes_over() -> None:
    """Others have no copy of all changes."""
    world = NodesWorld("ab", "n")
    image = world.vaults["a"].open().serialize()
    world.vaults["n"]._keep(type(world.vaults["a"].open()).deserialize(image))
    error = refused(world, "node-n")
    assert isinstance(error, Refused)
    assert "no master candidate" in error.text
    assert error.hint == "run this on one of node-b"


def test_an_old_master_that_returns_is_told_who_took_over() -> None:
    """It does not become master; its node follows the new one, and what only it had is kept aside."""
    world = NodesWorld("abc")
    first = begun(world, "node-a", None)
    world.down("b", "c")
    first.journal.enqueue([meta("unheard")]).addErrback(lambda _: None)
    world.turn()
    killed(world, first)
    world.up("b", "c")
    world.down("a")
    term = begun(world, "node-b")
    error = refused(world, "node-a", None)
    assert isinstance(error, Failed)
    assert (error.code, "node-b took over in epoch 3" in error.text) == ("not_master", True)
    world.up("a")
    world.turn(20)
    error = refused(world, "node-a", None)
    assert (error.code, "node-b is" in error.text) == ("not_master", True)
    assert term.journal.missing() == []
    assert world.vaults["a"].open().get(Space.META, "unheard") is None
    (content,) = world.vaults["a"].aside.values()
    assert b"meta/unheard" in content


STRUCK_OFF = NodeFailure("not_allowed", "node-b takes promise from master candidates only")


@pytest.mark.parametrize("order", [None, Takeover(here=False, no_voting=True)])
def test_an_old_master_that_was_struck_off_is_told_who_leads(order: Takeover | None) -> None:
    """Its node is flagged offline, so nobody tells it; it lets go of the address that it may have, and goes nowhere."""
    world = NodesWorld("ab")
    own = replace(world.cluster.settings, master_ip="192.0.2.200")
    _, changes = object_changes(world.cluster, [own], [], 1000.0)
    world.vaults["a"].open().append(
        Position(FIRST, 1), [Entry(Position(FIRST, 2), 1000.0, tuple(changes), (0,))], epoch=FIRST, committed=2
    )
    world.nodes["b"].failing[Promise] = STRUCK_OFF
    world.nodes["b"].standing = Standing(may_order=False, position=Position(Epoch(number=2, node="b"), 9))
    error = refused(world, "node-a", order, seconds=0.0)
    assert isinstance(error, Failed)
    assert (error.code, error.text) == (
        "not_master",
        "node-a is no master any more: node-b leads in epoch 2, as node-b says",
    )
    assert "gnt-node modify --offline=no node-a" in error.hint
    assert [call.ip for call in world.nodes["a"].told(DeactivateMasterIp)] == ["192.0.2.200"]
    assert world.vaults["a"].open().promised == FIRST


def struck_off_together() -> NodesWorld:
    """Have node-c lead without a majority; node-a, the old master, and node-b are back, and know nothing of it."""
    world = NodesWorld("abc")
    world.nodes["c"].failing[Promise] = STRUCK_OFF
    world.nodes["c"].standing = Standing(may_order=False, position=Position(Epoch(number=2, node="c"), 9))
    return world


@pytest.mark.parametrize(("host", "order"), [("node-a", None), ("node-b", HERE)])
def test_those_who_were_struck_off_together_are_no_majority(host: str, order: Takeover | None) -> None:
    """By their own logs they are one, and agree at once; but whoever leads may be there, and is heard out first."""
    world = struck_off_together()
    world.slow("c")
    beginning = world.begin(host, takeover=order)
    world.turn()
    _trial.assertNoResult(beginning)
    world.up("c")
    world.turn()
    error = _trial.failureResultOf(beginning).value
    assert (error.code, "node-c leads in epoch 2" in error.text) == ("not_master", True)


def test_who_refuses_has_time_to_say_why() -> None:
    """It was heard, so it is there: its word is waited for longer than that of those who have not been heard at all."""
    world = struck_off_together()
    serve, thinking = world.nodes["c"].serve, Deferred[None]()

    async def slowly(request: Any) -> Any:
        if isinstance(request.call, AskStanding):
            await thinking
        return await serve(request)

    world.nodes["c"].serve = slowly  # type: ignore[method-assign]
    beginning = world.begin("node-a")
    world.turn(HEARD_OUT + 1.0)
    _trial.assertNoResult(beginning)
    thinking.callback(None)
    world.turn()
    assert _trial.failureResultOf(beginning).value.code == "not_master"


def test_who_does_not_come_is_not_waited_for_long() -> None:
    """A machine without power refuses no connection, it says nothing: half a second more, not the deadline."""
    world = NodesWorld("abc")
    world.slow("c")
    beginning = world.begin("node-a")
    world.turn(HEARD_OUT - 0.1)
    _trial.assertNoResult(beginning)
    world.turn(0.2)
    assert _trial.successResultOf(beginning).epoch.number == 2


@pytest.mark.parametrize("epoch", [FIRST, Epoch(number=2, node="b")])
def test_a_voter_that_refuses_without_knowing_better_is_no_proof(epoch: Epoch) -> None:
    """It may have missed that this node's certificate was renewed, or have heard of it by now: the master tries on."""
    world = NodesWorld("ab")
    world.nodes["b"].failing[Promise] = STRUCK_OFF
    world.nodes["b"].standing = Standing(may_order=epoch != FIRST, position=Position(epoch, 9))
    error = refused(world, "node-a", None, seconds=31.0)
    assert isinstance(error, NoMajority)


def test_an_old_master_that_lives_is_deposed() -> None:
    """At its next change; what it could not have acknowledged fails."""
    world = NodesWorld("abc")
    first = begun(world, "node-a", None)
    told: list[StaleEpoch] = []
    first.journal.on_deposed(told.append)
    world.nodes["a"].up = False
    term = begun(world, "node-b", seconds=1)
    waiting = first.journal.enqueue([meta("late")])
    world.turn(1)
    assert isinstance(_trial.failureResultOf(waiting).value, StaleEpoch)
    assert len(told) == 1
    assert term.journal.cluster.settings.master_node == "b"


# Flagging offline by force


def lacking(candidates: str, down: str) -> tuple[NodesWorld, Term, Deferred[Any]]:
    """Have a master whose majority is gone, and a change that waits for it."""
    world = NodesWorld(candidates)
    term = begun(world, "node-a", None)
    world.down(*down)
    waiting = term.journal.enqueue([meta("waits")])
    late: list[Any] = []
    waiting.addErrback(lambda failure: late.append(failure.value))
    world.turn(31)
    assert isinstance(late[0], NoMajority)
    return world, term, waiting


def forced(world: NodesWorld, term: Term, name: str, typed: str | None = None) -> Any:
    """Type what is asked for."""
    way_out = WayOut(world.runtime, term)
    doing = Deferred.fromCoroutine(way_out.force_offline(name, f"{name} is off" if typed is None else typed))
    world.turn()
    return _trial.successResultOf(doing)


def test_a_lost_majority_says_exactly_what_to_type() -> None:
    """For each node that is missing."""
    world, term, _ = lacking("ab", "b")
    error = _trial.failureResultOf(term.journal.enqueue([meta("x")])).value
    assert "gnt-node modify --offline=yes --force node-b" in error.hint
    assert world.vaults["b"].open().end.serial < term.journal._local.end.serial


@pytest.mark.parametrize(("candidates", "steps"), [("ab", "b"), ("abc", "bc"), ("abcdefghijklmnopqrst", "klmnopqrst")])
def test_those_missing_are_struck_off_one_by_one(candidates: str, steps: str) -> None:
    """One rule for two nodes and for twenty: as soon as those that remain are enough, changes are taken again."""
    world, term, _ = lacking(candidates, candidates[1:] if len(candidates) < 4 else steps)
    for place, uuid in enumerate(steps):
        answer = forced(world, term, f"node-{uuid}")
        remaining = len(candidates) - place - 1
        away = len(steps) - place - 1
        assert answer["done"] is (remaining - away >= remaining // 2 + 1)
        if answer["done"]:
            break
    assert term.journal.cluster.nodes[steps[0]].offline
    committed(world, term, "goes on")
    assert world.vaults["a"].open().get(Space.META, "waits") == b"1"
    assert [record.nodes for record in records(world, "a")] == [[f"node-{uuid}"] for uuid in steps[: place + 1]]


def test_nothing_is_forced_that_need_not_be() -> None:
    """Not without the words typed, not a node that answers, not where there is a majority, not the master."""
    world, term, _ = lacking("abc", "bc")
    way_out = WayOut(world.runtime, term)
    asked = _trial.successResultOf(Deferred.fromCoroutine(way_out.force_offline("node-b", "")))
    assert asked == {"needed": True, "confirm": "node-b is off", "missing": ["node-b", "node-c"]}

    def refusal(name: str, typed: str) -> str:
        doing = Deferred.fromCoroutine(way_out.force_offline(name, typed))
        error: GntError = _trial.failureResultOf(doing).value
        return error.text

    assert "nothing was changed" in refusal("node-b", "yes")
    assert "master itself" in refusal("node-a", "node-a is off")
    world.up("b")
    assert "answers" in refusal("node-b", "node-b is off")
    assert "nothing has to be forced" in refusal("node-c", "node-c is off")
    assert records(world, "a") == []


def test_a_change_of_voters_that_waits_is_no_hindrance() -> None:
    """The planned demotion of one was under way when the majority was lost: both come true."""
    world = NodesWorld("abc")
    term = begun(world, "node-a", None)
    world.down("b", "c")
    journal = term.journal
    demoted = journal.enqueue(journal.object_changes(put=[node("b", candidate=False)]))
    behind = journal.enqueue([meta("behind")])
    world.turn(1)
    assert forced(world, term, "node-c")["done"]
    _trial.successResultOf(demoted)
    _trial.successResultOf(behind)
    assert term.journal.voters == {"a"}
    committed(world, term, "goes on")


def test_a_master_that_starts_alone_goes_on_without_voting() -> None:
    """Two nodes, the other is gone: refused with what to type; with --no-voting it is flagged offline."""
    world = NodesWorld("ab")
    world.down("b")
    error = refused(world, "node-a", None, seconds=31)
    assert "gnt-masterd --no-voting" in error.hint
    term = begun(world, "node-a", Takeover(here=False, no_voting=True), seconds=6)
    assert term.journal.voters == {"a"}
    assert records(world, "a")[0].by == "gnt-masterd --no-voting"


def test_a_planned_absence_stops_nothing() -> None:
    """Two nodes: the one that is flagged offline first may be switched off."""
    world = NodesWorld("ab")
    term = begun(world, "node-a", None)
    journal = term.journal
    away = node("b", candidate=False, offline=True)
    done = journal.enqueue(journal.object_changes(put=[away]))
    world.turn()
    _trial.successResultOf(done)
    world.down("b")
    committed(world, term, "goes on")
