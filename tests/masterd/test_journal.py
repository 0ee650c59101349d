"""What the journal promises: order, gathering, majorities, catching up, honest errors."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gnt.masterd.candidates import HELD_FOR, SURE_AFTER
from gnt.masterd.departure import LONGEST_PATIENCE, PATIENCE
from gnt.masterd.lateness import NOTICE
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import ConfigError, NoMajority, Refused, StaleEpoch
from gnt.model.objects import Node
from gnt.store.changes import Change, Put, Space
from gnt.store.database import Limits
from gnt.wire.log_calls import AskLog, LogAppend, LogDiscard, LogSnapshot
from tests.masterd.journal_world import SECOND, World, meta, node
from tests.store.support import entry

_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]


def result(waiting: Deferred[Any]) -> Any:
    """Give what a Deferred has come to."""
    return _trial.successResultOf(waiting)


def error(waiting: Deferred[Any]) -> Any:
    """Give the error that a Deferred has come to."""
    return _trial.failureResultOf(waiting).value


def waits(waiting: Deferred[Any]) -> bool:
    """Say whether a Deferred has not fired."""
    _trial.assertNoResult(waiting)
    return True


def test_a_lone_master_commits_on_its_own_disk() -> None:
    """One entry, committed in the transaction that writes it."""
    world = World()
    journal = world.journal()
    done = journal.enqueue([meta("x")])
    assert waits(done)
    world.turn()
    assert result(done) == Position(epoch=SECOND, serial=3)
    database = world.vaults["a"].open()
    assert (database.end.serial, database.committed) == (3, 3)


def test_changes_of_one_turn_share_an_entry_and_keep_their_order() -> None:
    """And changes that come while it is being written gather in the next one."""
    world = World()
    journal = world.journal()
    world.pool.manual = True
    first = [journal.enqueue([meta("x", value)]) for value in range(5)]
    world.turn()
    later = [journal.enqueue([meta("x", value)]) for value in range(5, 9)]
    world.turn()
    assert len(world.pool.waiting) == 1
    world.pool.step()
    assert {result(one).serial for one in first} == {3}
    world.pool.step()
    assert {result(one).serial for one in later} == {4}
    assert world.content("a")["x"] == b"8"


def test_a_change_is_true_once_a_majority_has_it() -> None:
    """Three voters: one candidate is enough; before that neither callers, queries nor listeners see it."""
    world = World("abc")
    world.slow = {"b", "c"}
    journal = world.journal()
    world.deliver()
    world.turn()
    world.deliver()
    world.turn()
    heard: list[tuple[int, int]] = []
    journal.on_commit(lambda position, changes: heard.append((position.serial, len(changes))))
    renamed = msgspec.structs.replace(node("b"), tags=("x",))
    done = journal.enqueue(journal.object_changes(put=[renamed]))
    world.turn()
    assert waits(done)
    assert journal.head.nodes["b"].tags == ("x",)
    assert journal.cluster.nodes["b"].tags == ()
    assert heard == []
    world.cut("c")
    world.deliver()
    world.turn()
    assert result(done).serial == 3
    assert journal.cluster.nodes["b"].tags == ("x",)
    assert heard == [(3, 2)]


def test_local_disk_and_candidates_work_side_by_side() -> None:
    """The append to a candidate leaves while the own disk is still writing; both are needed."""
    world = World("ab")
    journal = world.journal()
    world.pool.manual = True
    done = journal.enqueue([meta("x")])
    world.turn()
    assert world.content("b")["x"] == b"1"
    assert waits(done)
    world.pool.step()
    assert result(done).serial == 3


def test_a_candidate_faster_than_the_own_disk_learns_that_its_newest_entry_is_committed() -> None:
    """Nothing new has to come for that: secrets of jobs that ended leave its disk only then."""
    world = World("abc")
    journal = world.journal()
    world.turn(1.0)
    world.pool.manual = True
    done = journal.enqueue([meta("x")])
    world.turn()
    assert waits(done)
    world.pool.step()
    world.turn(1.0)
    last = result(done).serial
    assert [world.vaults[uuid].open().committed for uuid in "bc"] == [last, last]


def test_what_is_committed_is_told_with_the_next_entry_and_once_after_the_last() -> None:
    """A candidate that is kept busy is told nothing apart: each such append would cost it an fsync."""
    world = World("ab")
    journal = world.journal()
    world.turn(1.0)
    world.calls.clear()
    for number in range(20):
        journal.enqueue([meta("x", number)])
        world.turn(0.1)
    world.turn(1.0)
    assert [len(call.entries) for _, call in world.calls if isinstance(call, LogAppend)] == [1] * 20 + [0]
    assert world.vaults["b"].open().committed == journal.committed


def test_several_appends_are_on_their_way_at_once() -> None:
    """A slow candidate gets them in order and all are confirmed."""
    world = World("ab")
    journal = world.journal()
    world.slow = {"b"}
    waiting = []
    for value in range(4):
        waiting.append(journal.enqueue([meta("x", value)]))
        world.turn()
    assert len(world.held) == 4
    assert all(waits(one) for one in waiting)
    world.deliver()
    world.turn()
    assert [result(one).serial for one in waiting] == [3, 4, 5, 6]


def test_an_answer_that_was_overtaken_takes_nothing_back() -> None:
    """What a candidate has stored is not less because an earlier answer comes later."""
    world = World("ab")
    journal = world.journal()
    world.late = {"b"}
    waiting = []
    for value in range(2):
        waiting.append(journal.enqueue([meta("x", value)]))
        world.turn()
    first, second = world.answers
    second.callback(None)
    world.turn()
    assert [result(one).serial for one in waiting] == [3, 4]
    first.callback(None)
    world.turn()
    assert journal._candidates.matched == {"b": 4}


def test_appends_that_arrive_out_of_order_or_whose_answer_is_lost_are_sent_again() -> None:
    """The stream begins again at the common point; nothing is lost, doubled or cut off."""
    world = World("ab")
    journal = world.journal()
    world.slow = {"b"}
    waiting = []
    for value in range(3):
        waiting.append(journal.enqueue([meta("x", value), meta(f"y{value}")]))
        world.turn()
    world.slow = set()
    world.deliver(last_first=True)
    world.turn(1)
    assert [result(one).serial for one in waiting] == [3, 4, 5]
    world.lost = {"b"}
    lost = journal.enqueue([meta("z")])
    world.turn()
    assert waits(lost)
    world.lost = set()
    world.turn(1)
    assert result(lost).serial == 6
    assert world.content("b") == world.content("a")


def test_a_candidate_that_was_away_gets_what_it_missed() -> None:
    """From memory or from the disk, and it learns what is committed although nothing more is written."""
    world = World("abc")
    journal = world.journal()
    world.cut("c")
    waiting = []
    for value in range(30):
        waiting.append(journal.enqueue([meta("x", value)]))
        world.turn()
    assert [result(one).serial for one in waiting] == list(range(3, 33))
    assert "node-c" in journal.missing()[0]
    world.heal("c")
    world.turn(20)
    world.turn(1)
    assert journal.missing() == []
    assert world.content("c") == world.content("a")
    assert world.vaults["c"].open().committed == 32


def test_whoever_waits_hears_soon_by_whom_it_is_kept_up() -> None:
    """Long before it is given up: the jobs that wait, once each time, and whoever asks; and what can be typed."""
    world = World("abc")
    journal = world.journal()
    told: list[tuple[list[int], str]] = []
    journal.on_late(lambda jobs, text: told.append((list(jobs), text)))
    world.cut("b", "c")
    waiting = [journal.enqueue([meta("x")], 7), journal.enqueue([meta("y")], 8), journal.enqueue([meta("z")])]
    world.turn(NOTICE - 0.1)
    assert (told, journal.hindrance()) == ([], None)
    world.turn(0.1)
    ((jobs, text),) = told
    assert jobs == [7, 8]
    assert "these do not answer: node-b (node-b is down), node-c (node-c is down) (" in text
    assert "gnt-node modify --offline=yes --force node-b" in text
    said = journal.hindrance()
    assert said is not None
    assert f"{said[0]} ({said[1]})" == text
    world.turn(10)
    assert len(told) == 1
    world.heal("b")
    world.turn(20)
    assert [result(one).serial for one in waiting]
    assert journal.hindrance() is None
    world.cut("b")
    journal.enqueue([meta("x")], 7).addErrback(lambda _: None)
    world.turn(NOTICE)
    assert [jobs for jobs, _ in told] == [[7, 8], [7]]
    world.turn(31)
    given_up = journal.hindrance()
    assert given_up is not None
    assert "Too few master candidates answer" in given_up[0]
    assert "nothing was changed" not in given_up[0]  # the change that waits may hold yet


def test_who_comes_later_hears_as_soon() -> None:
    """Not only when those are given up who were told already."""
    world = World("abc")
    journal = world.journal()
    told: list[list[int]] = []
    journal.on_late(lambda jobs, _text: told.append(list(jobs)))
    world.cut("b")
    world.cut("c")
    for job in (7, 8):
        journal.enqueue([meta("x")], job).addErrback(lambda _: None)
        world.turn(NOTICE + 1)
    assert told == [[7], [8]]


def test_who_has_less_patience_hears_earlier_and_the_others_wait_on() -> None:
    """What it asked for may come true all the same, and nobody is refused before all patience is at its end."""
    world = World("abc")
    journal = world.journal()
    world.cut("b", "c")
    waits_long = journal.enqueue([meta("x")])
    hasty = journal.enqueue([meta("y")], within=5)
    world.turn(4.9)
    assert waits(hasty)
    world.turn(0.1)
    told = error(hasty)
    assert isinstance(told, NoMajority)
    assert told.in_doubt
    assert "node-b" in told.text
    assert "holds if they return" in told.text
    assert waits(waits_long)
    third = journal.enqueue([meta("z")], within=5)
    assert waits(third)
    world.heal("b")
    world.turn(20)
    assert result(waits_long)
    assert world.content("a")["y"] == world.content("b")["y"]


def test_one_that_was_given_up_early_counts_until_all_patience_is_at_its_end() -> None:
    """Else everybody who came later would wait as long again, each time in doubt; now it is refused at once."""
    world = World("abc")
    journal = world.journal()
    world.cut("b", "c")
    assert isinstance(error(after(world, journal.enqueue([meta("x")], within=1), 1)), NoMajority)
    world.turn(28.9)
    late = journal.enqueue([meta("y")], within=1)
    assert waits(late)
    world.turn(1)
    assert error(late).in_doubt
    refused = error(journal.enqueue([meta("z")], within=1))
    assert not refused.in_doubt
    assert "nothing was changed" in refused.text


def after(world: World, waiting: Deferred[Any], seconds: float) -> Deferred[Any]:
    """Let time pass, and give what was waiting."""
    world.turn(seconds)
    return waiting


def test_a_change_that_is_made_soon_is_none_to_speak_of() -> None:
    """Nobody is told of the waits of every day."""
    world = World("ab")
    journal = world.journal()
    told: list[object] = []
    journal.on_late(lambda *late: told.append(late))
    for value in range(5):
        journal.enqueue([meta("x", value)], 7)
        world.turn(1)
    world.turn(31)
    assert told == []
    assert world.clock.getDelayedCalls() == [] or journal.hindrance() is None


def asked(world: World, seconds: float) -> int:
    """Let time pass, second by second, and count how often node b is asked where its log ends."""
    before = len(world.calls)
    for _ in range(int(seconds * 10)):
        world.turn(0.1)
    return sum(isinstance(call, AskLog) for node, call in world.calls[before:] if node == "b")


def test_a_candidate_that_takes_nothing_is_asked_more_and_more_seldom() -> None:
    """Its full disk is not its master's to fill with questions; a new connection, or an entry taken, begins anew."""
    world = World("abc")
    journal = world.journal()
    world.full = {"b"}
    assert result(after(world, journal.enqueue([meta("x")]), 1))
    asked(world, 30)
    assert 10 <= asked(world, 60) <= 13
    assert "node-b" in journal.missing()[0]
    journal.met("b")
    assert asked(world, 2) == 2
    asked(world, 30)
    world.full = set()
    journal.met("b")
    world.turn(0.1)
    assert journal.missing() == []
    assert world.content("b")["x"] == world.content("a")["x"]
    world.full = {"b"}
    taken = journal.enqueue([meta("y")])
    assert asked(world, 2) == 2
    assert result(taken)


def test_a_copy_that_a_candidate_does_not_take_is_made_more_and_more_seldom() -> None:
    """Each is one of the whole store."""
    world = World("abc", limits=Limits(log_entries=20))
    journal = world.journal()
    world.cut("b")
    for value in range(400):
        journal.enqueue([meta("x", value)])
        world.turn()
    world.turn(60)
    world.full = {"b"}
    world.heal("b")
    asked(world, 30)
    before = len(world.calls)
    asked(world, 60)
    copies = [call for node, call in world.calls[before:] if node == "b" and isinstance(call, LogSnapshot)]
    assert 10 <= len(copies) <= 13


def test_a_candidate_too_far_behind_gets_a_copy() -> None:
    """What it lacks has left the log; large stores go in pieces, and the stream goes on behind the copy."""
    world = World("abc", limits=Limits(log_entries=20))
    journal = world.journal()
    world.cut("c")
    filler = Put(Space.META, "filler", b'"' + b"x" * 600_000 + b'"')
    result_of = journal.enqueue([filler])
    for value in range(400):
        result_of = journal.enqueue([meta("x", value)])
        world.turn(HELD_FOR)
    assert result(result_of)
    world.heal("c")
    world.turn(20)
    world.turn(1)
    pieces = [call for to, call in world.calls if to == "c" and isinstance(call, LogSnapshot)]
    assert len(pieces) > 2
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert world.content("c") == world.content("a")
    assert journal.missing() == []


def test_entries_that_no_majority_had_are_cut_off_at_the_candidate() -> None:
    """A candidate that kept what an older master wrote for it alone takes the new master's instead."""
    world = World("abc")
    old = Epoch(number=1, node="a")
    stray = world.vaults["b"].open()
    stray.append(
        Position(epoch=old, serial=1),
        [entry(2, meta("stray"), epoch=old), entry(3, meta("stray2"), epoch=old)],
        epoch=old,
    )
    journal = world.journal()
    done = journal.enqueue([meta("x")])
    world.turn(1)
    assert result(done).serial == 3
    assert world.content("b") == world.content("a")
    assert "stray" not in world.content("b")


def test_without_a_majority_changes_wait_then_say_so_honestly() -> None:
    """Those under way are in doubt, new ones are refused with nothing changed, and all goes on when voters return."""
    world = World("abc")
    journal = world.journal()
    world.cut("b", "c")
    doubtful = journal.enqueue([meta("x")])
    world.turn(29)
    assert waits(doubtful)
    world.turn(1.5)
    told = error(doubtful)
    assert isinstance(told, NoMajority)
    assert "node-b" in told.text
    assert "node-c" in told.text
    assert "holds if they return" in told.text
    before = journal.head
    refused = error(journal.enqueue([*journal.object_changes(put=[msgspec.structs.replace(node("b"), tags=("q",))])]))
    assert isinstance(refused, NoMajority)
    assert "nothing was changed" in refused.text
    assert journal.head is before
    free = journal.when_free()
    assert waits(free)
    world.heal("b")
    world.turn(20)
    result(free)
    assert world.content("b")["x"] == b"1"
    done = journal.enqueue([meta("y")])
    world.turn()
    assert result(done).serial == 4


def test_two_voters_need_both() -> None:
    """The same rule as for any number."""
    world = World("ab")
    journal = world.journal()
    world.cut("b")
    done = journal.enqueue([meta("x")])
    world.turn(31)
    assert isinstance(error(done), NoMajority)


def test_a_newer_master_ends_the_term() -> None:
    """A candidate that promised a higher number makes this one step down, once, and nothing more is taken."""
    world = World("abc")
    journal = world.journal()
    told: list[StaleEpoch] = []
    journal.on_deposed(told.append)
    database = world.vaults["b"].open()
    database.promise(Epoch(number=7, node="b"))
    world.vaults["c"].open().promise(Epoch(number=7, node="b"))
    doubtful = journal.enqueue([meta("x")])
    world.turn()
    assert isinstance(error(doubtful), StaleEpoch)
    assert len(told) == 1
    assert isinstance(error(journal.enqueue([meta("y")])), StaleEpoch)
    assert isinstance(error(journal.when_free()), StaleEpoch)
    assert journal.cluster is not None


def _full(text: str = "cannot write config.db: the disk is full") -> ConfigError:
    return ConfigError(text, code="no_space", hint="free space")


def test_a_full_disk_alone_changes_nothing_and_passes() -> None:
    """Nobody else has the entries, so they are taken back; when there is room again changes go through."""
    world = World()
    journal = world.journal()
    before = journal.head
    world.pool.failing = _full()
    lost = [
        journal.enqueue(journal.object_changes(put=[msgspec.structs.replace(node("a"), tags=("x",))])),
        journal.enqueue([meta("x")]),
    ]
    world.turn()
    for one in lost:
        told = error(one)
        assert (told.code, "nothing was changed" in told.text) == ("no_space", True)
    assert journal.head is before
    world.pool.failing = None
    done = journal.enqueue([meta("y")])
    world.turn()
    assert result(done).serial == 3
    assert "x" not in world.content("a")


def test_a_full_disk_with_candidates_is_in_doubt_until_it_has_room() -> None:
    """They may have the entries: new changes are refused, the old ones come true later."""
    world = World("ab")
    journal = world.journal()
    world.pool.failing = _full()
    doubtful = journal.enqueue([meta("x")])
    world.turn()
    told = error(doubtful)
    assert isinstance(told, NoMajority)
    assert "may come true" in told.text
    assert "nothing was changed" in error(journal.enqueue([meta("y")])).text
    world.pool.failing = None
    world.turn(1)
    assert world.content("a")["x"] == b"1"
    done = journal.enqueue([meta("y")])
    world.turn()
    assert result(done).serial == 4


def _role(uuid: str, **flags: bool) -> Node:
    return msgspec.structs.replace(node(uuid), **flags)


def test_a_node_becomes_a_voter_after_it_was_caught_up() -> None:
    """Before that the commit is refused; afterwards its vote is needed."""
    world = World("a", "d")
    journal = world.journal()
    early = error(journal.enqueue(journal.object_changes(put=[_role("d")])))
    assert isinstance(early, Refused)
    assert not journal.head.nodes["d"].master_candidate
    learning = Deferred.fromCoroutine(journal.add_voter("d"))
    world.turn()
    result(learning)
    done = journal.enqueue(journal.object_changes(put=[_role("d")]))
    world.turn()
    result(done)
    assert journal.voters == {"a", "d"}
    assert world.content("d") == world.content("a")
    world.slow = {"d"}
    needed = journal.enqueue([meta("x")])
    world.turn()
    assert waits(needed)
    world.deliver()
    assert result(needed)


def committed_elsewhere(world: World, uuid: str) -> None:
    """Have a node that kept to a master, struck off with it since, by whose word its log is committed."""
    first, old = Position(Epoch(number=1, node="a"), 1), Epoch(number=2, node="b")
    world.vaults[uuid].open().append(first, [entry(2, meta("stray"), epoch=old)], epoch=old, committed=2)


def test_who_was_struck_off_with_another_master_starts_over() -> None:
    """Its log is set aside as a whole, and it gets a copy of ours: as a learner it has no say."""
    world = World("ad")
    committed_elsewhere(world, "d")
    journal = world.journal(Epoch(number=1000, node="a"))
    struck = journal.enqueue_unsafe(journal.object_changes(put=[_role("d", master_candidate=False, offline=True)]))
    world.turn()
    result(struck)
    learning = Deferred.fromCoroutine(journal.add_voter("d"))
    world.turn(5)
    result(learning)
    assert world.content("d") == world.content("a")
    assert "stray" not in world.content("d")
    (discard,) = [call for node, call in world.calls if node == "d" and isinstance(call, LogDiscard)]
    # Should it come again, or late, it finds a log that goes on from ours, and leaves it alone.
    assert discard.before is not None
    assert discard.before <= world.vaults["d"].open().end


def test_what_a_voter_has_committed_is_not_taken_from_it() -> None:
    """Two masters have written; that is said, once, and nothing is set aside however often it is tried."""
    world = World("abd")
    committed_elsewhere(world, "d")
    journal = world.journal(Epoch(number=3, node="a"))
    for _ in range(3):
        world.turn(20)
    assert "holds a committed entry 2 that differs" in journal._candidates.problem("d")
    assert world.vaults["d"].open().get(Space.META, "stray") is not None
    assert not world.vaults["d"].aside


def test_catching_up_waits_for_the_node() -> None:
    """A node that is away is waited for; giving up leaves it alone."""
    world = World("a", "d")
    journal = world.journal()
    world.cut("d")
    learning = Deferred.fromCoroutine(journal.add_voter("d"))
    world.turn(5)
    assert waits(learning)
    journal.drop_voter("d")
    world.heal("d")
    world.turn(60)
    assert world.calls == []
    assert not world.vaults["d"].exists()
    learning.addErrback(lambda _: None)
    learning.cancel()


def test_a_node_stops_being_a_voter() -> None:
    """Its vote does not count from the entry on that says so, and it gets nothing any more."""
    world = World("abc")
    journal = world.journal()
    done = journal.enqueue(journal.object_changes(put=[_role("c", master_candidate=False)]))
    world.turn()
    result(done)
    assert journal.voters == {"a", "b"}
    count = len(world.calls)
    journal.enqueue([meta("x")])
    world.turn(1)
    assert {to for to, _ in world.calls[count:]} == {"b"}


def test_voters_change_one_at_a_time() -> None:
    """Two in one commit are a fault; two commits wait for each other, and keep what comes behind them in order."""
    world = World("abc")
    journal = world.journal()
    gone_b, gone_c = _role("b", master_candidate=False), _role("c", master_candidate=False)
    with pytest.raises(AssertionError, match="one voter"):
        journal.enqueue(journal.object_changes(put=[gone_b, gone_c]))
    world = World("abc")
    journal = world.journal()
    world.slow = {"b", "c"}
    first = journal.enqueue(journal.object_changes(put=[gone_c]))
    second = journal.enqueue(journal.object_changes(put=[gone_b]))
    behind = journal.enqueue([meta("x")])
    world.turn()
    assert journal.voters == {"a", "b"}
    assert world.vaults["a"].open().end.serial == 3
    world.deliver()
    world.turn()
    assert [result(one).serial for one in (first, second, behind)] == [3, 4, 5]
    assert journal.voters == {"a"}


def test_objects_are_stamped_and_true_together() -> None:
    """Serial and times move, the configuration's serial too, and a restart reads the same."""
    world = World("a")
    journal = world.journal()
    done = journal.enqueue(journal.object_changes(put=[_role("a", powered=False)], drop=[]), 17)
    world.turn()
    result(done)
    stored = world.vaults["a"].open()
    assert stored.load_cluster().nodes["a"] == journal.cluster.nodes["a"]
    assert journal.cluster.nodes["a"].serial_no == 2
    assert (journal.cluster.serial_no, journal.cluster.settings.serial_no) == (2, 2)
    assert stored.history("node/a")[0].job == 17


def test_changes_of_objects_are_not_forgotten() -> None:
    """What was put into head goes into the log in the same turn, and nothing gets there past head."""
    world = World()
    journal = world.journal()
    journal.object_changes(put=[_role("a", powered=False)])
    with pytest.raises(AssertionError, match="same turn"):
        journal.enqueue([meta("x")])
    other: list[Change] = [Put(Space.OBJECT, "node/z", b"{}")]
    with pytest.raises(AssertionError):
        journal.enqueue(other)


def test_large_batches_are_several_entries_in_one_write() -> None:
    """So that an append stays small; each call's changes stay together."""
    world = World("ab")
    journal = world.journal()
    big = b'"' + b"x" * 50_000 + b'"'
    waiting = [journal.enqueue([Put(Space.META, f"k{n}", big), meta(f"n{n}")]) for n in range(10)]
    world.turn()
    serials = [result(one).serial for one in waiting]
    assert serials == sorted(serials)
    assert len(set(serials)) == 4
    sizes = [sum(map(len, call.entries)) for to, call in world.calls if isinstance(call, LogAppend)]
    assert max(sizes) <= 256 * 1024
    assert world.content("b") == world.content("a")


def test_stopping_refuses_what_comes_and_folds_nothing_away() -> None:
    """Waiting callers are told; what is committed is recorded."""
    world = World("ab")
    journal = world.journal()
    world.cut("b")
    doubtful = journal.enqueue([meta("x")])
    world.turn()
    stopping = Deferred.fromCoroutine(journal.stop())
    world.turn()
    result(stopping)
    assert isinstance(error(doubtful), NoMajority)
    assert isinstance(error(journal.enqueue([meta("y")])), NoMajority)
    assert world.vaults["a"].open().committed == 2
    world.turn(100)


def test_an_unforeseen_failure_ends_the_term() -> None:
    """Going on might write what is wrong."""
    world = World()
    journal = world.journal()
    world.pool.failing = RuntimeError("surprise")
    doubtful = journal.enqueue([meta("x")])
    world.turn()
    assert isinstance(error(doubtful), NoMajority)
    assert isinstance(error(journal.enqueue([meta("y")])), ConfigError)


def test_a_candidate_is_sent_an_entry_before_the_own_disk_is() -> None:
    """The way there and back is the longer one; both are under way at the same time."""
    world = World("ab")
    journal = world.journal()
    world.turn(1)
    sent: list[int] = []
    run = world.pool.run

    def noted(*args: Any, **named: Any) -> Any:
        sent.append(len(world.calls) - before)
        return run(*args, **named)

    before = len(world.calls)
    world.pool.run = noted  # type: ignore[method-assign]
    world.pool.manual = True
    done = journal.enqueue([meta("x")])
    world.turn()
    assert sent == [1]
    assert waits(done)
    world.pool.manual = False
    world.pool.step()
    world.turn()
    assert result(done).serial == journal.end.serial


# Patience


def test_what_nobody_waits_for_is_written_after_a_moment() -> None:
    """It waits for others to come, and not for ever."""
    world = World()
    journal = world.journal()
    done = journal.enqueue([meta("x")], patient=True)
    world.turn()
    assert waits(done)
    world.turn(PATIENCE)
    assert result(done).serial == 3


def test_what_comes_meanwhile_takes_it_along() -> None:
    """In one entry, in the order of the calls: one commit instead of two."""
    world = World()
    journal = world.journal()
    first = journal.enqueue([meta("x", 1)], patient=True)
    world.turn(PATIENCE / 2)
    second = journal.enqueue([meta("x", 2)])
    world.turn()
    assert result(first) == result(second)
    assert world.content("a")["x"] == b"2"
    assert waits(journal.enqueue([meta("x", 3)], patient=True))


def test_whoever_begins_to_wait_has_it_written_at_once() -> None:
    """As if it had never been patient; with nothing there, nothing is written."""
    world = World()
    journal = world.journal()
    journal.hurry()
    world.turn(PATIENCE)
    assert journal.end.serial == 2
    done = journal.enqueue([meta("x")], patient=True)
    journal.hurry()
    world.turn()
    assert result(done).serial == 3


def test_it_also_waits_behind_what_is_being_written() -> None:
    """A moment from the end of that; when somebody begins to wait meanwhile, not at all."""
    world = World()
    journal = world.journal()
    for hurried in (False, True):
        world.pool.manual = True
        first = journal.enqueue([meta("x")])
        world.turn()
        second = journal.enqueue([meta("y")], patient=True)
        world.turn(2 * PATIENCE)
        if hurried:
            journal.hurry()
        world.pool.manual = False
        world.pool.step()
        world.turn()
        before = result(first).serial
        if not hurried:
            assert waits(second)
            world.turn(PATIENCE)
        assert result(second).serial == before + 1


def test_what_is_to_be_written_in_this_turn_is_written_before_others_do_things() -> None:
    """Who presses has it on its way to the disk when it goes on; what has a moment keeps it, and nothing is nothing."""
    world = World()
    journal = world.journal()
    assert not journal.press()
    world.pool.manual = True
    patient = journal.enqueue([meta("x")], patient=True)
    assert not journal.press()
    assert journal.end.serial == 2
    urgent = journal.enqueue([meta("y")])
    assert journal.press()
    assert journal.end.serial == 3
    assert not journal.press()
    world.pool.manual = False
    world.pool.step()
    world.turn()
    assert result(patient) == result(urgent)
    assert journal.end.serial == 3


def test_a_disk_that_failed_is_not_pressed() -> None:
    """It is asked again in its time."""
    world = World("abc")
    journal = world.journal()
    world.turn(1)
    world.pool.failing = ConfigError("cannot write: the disk is full", code="no_space")
    failed = journal.enqueue([meta("x")])
    world.turn()
    assert isinstance(error(failed), NoMajority)
    assert not journal.press()


def test_whoever_waits_is_told_before_those_who_do_not() -> None:
    """A client has its answer before the end of a job is shown that went with it to the disk."""
    world = World()
    journal = world.journal()
    told: list[str] = []
    journal.on_commit(lambda *_: told.append("all"))
    for name, patient in (("end", True), ("first", False), ("other end", True), ("second", False)):
        done = journal.enqueue([meta(name)], patient=patient)
        done.addCallback(lambda _, name=name: told.append(name))
    world.turn()
    assert told == ["all", "first", "second", "end", "other end"]


def test_it_waits_for_the_answer_that_is_to_come() -> None:
    """Whoever submits one job after the other has none before a majority has it; the next comes then, or does not."""
    world = World("abc")
    journal = world.journal()
    world.turn(1)
    for company in (True, False):
        world.slow |= {"b", "c"}
        first = journal.enqueue([meta("x")])
        world.turn()
        second = journal.enqueue([meta("y")], patient=True)
        world.turn(2 * PATIENCE)
        before = journal.end.serial
        assert waits(first)
        world.slow.clear()
        held, world.held = world.held, []
        for _, waiting in held:
            waiting.callback(None)
        world.turn()
        assert result(first).serial == before == journal.end.serial
        if company:
            journal.enqueue([meta("z")])
        else:
            assert waits(second)
            world.turn(PATIENCE)
        world.turn()
        assert result(second).serial == before + 1


def test_it_waits_for_no_answer_that_does_not_come() -> None:
    """What is not on a majority for long is on this disk at least, as all that was promised is."""
    world = World("abc")
    journal = world.journal()
    world.turn(1)
    world.slow |= {"b", "c"}
    journal.enqueue([meta("x")])
    world.turn()
    journal.enqueue([meta("y")], patient=True)
    world.turn(LONGEST_PATIENCE)
    world.turn()
    assert world.content("a").keys() >= {"x", "y"}


def test_what_was_patient_ends_with_its_term() -> None:
    """Nobody is left waiting by a master that stops."""
    world = World()
    journal = world.journal()
    done = journal.enqueue([meta("x")], patient=True)
    result(Deferred.fromCoroutine(journal.stop()))
    assert isinstance(error(done), NoMajority)
    world.turn(PATIENCE)
    assert "x" not in world.content("a")


# Which candidates are asked first


def appended(world: World, node: str) -> list[int]:
    """Give how many entries each append to a node has carried since the last look."""
    counts = [len(call.entries) for to, call in world.calls if to == node and isinstance(call, LogAppend)]
    world.calls = [(to, call) for to, call in world.calls if to != node]
    return [count for count in counts if count]


def settled(candidates: str = "abc") -> World:
    """Give a master whose candidates have all that there is."""
    world = World(candidates)
    world.master = world.journal()
    world.turn(1)
    assert world.master.missing() == []
    world.calls.clear()
    return world


@pytest.mark.parametrize(("candidates", "first", "later"), [("ab", "b", ""), ("abc", "b", "c"), ("abcde", "bc", "de")])
def test_as_many_candidates_as_a_majority_needs_are_asked_at_once(candidates: str, first: str, later: str) -> None:
    """The others get what comes meanwhile along with it, and are not behind for long."""
    world = settled(candidates)
    for value in range(3):
        done = world.master.enqueue([meta("x", value)])
        world.turn()
        result(done)
    assert [appended(world, node) for node in first] == [[1, 1, 1]] * len(first)
    assert [appended(world, node) for node in later] == [[]] * len(later)
    world.turn(HELD_FOR + SURE_AFTER)
    assert [appended(world, node) for node in later] == [[3]] * len(later)
    assert world.master.missing() == []
    assert {node: world.content(node)["x"] for node in candidates} == dict.fromkeys(candidates, b"2")


def test_the_others_are_asked_when_the_first_takes_its_time() -> None:
    """Nobody waits for one candidate where another one will do."""
    world = settled()
    world.slow.add("b")
    done = world.master.enqueue([meta("x")])
    world.turn()
    assert waits(done)
    world.turn(SURE_AFTER)
    assert result(done)
    assert appended(world, "c") == [1]


def test_who_was_slow_is_not_asked_first_any_more() -> None:
    """The quickest are."""
    world = settled()
    world.slow.add("b")
    world.master.enqueue([meta("x")])
    world.turn()
    world.turn(0.2)
    world.slow.clear()
    world.deliver()
    world.turn(1)
    appended(world, "b")
    appended(world, "c")
    done = world.master.enqueue([meta("y")])
    world.turn()
    assert result(done)
    assert (appended(world, "b"), appended(world, "c")) == ([], [1])


def test_a_candidate_that_is_away_is_not_counted_on() -> None:
    """The other one is asked at once."""
    world = settled()
    world.cut("b")
    world.master.enqueue([meta("x")])
    world.turn()
    world.turn(1)
    appended(world, "c")
    done = world.master.enqueue([meta("y")])
    world.turn()
    assert result(done)
    assert appended(world, "c") == [1]


def test_a_master_that_stops_leaves_no_timer_behind() -> None:
    """Nothing is sent after its term."""
    world = settled()
    world.master.enqueue([meta("x")])
    world.turn()
    result(Deferred.fromCoroutine(world.master.stop()))
    world.turn(1)
    assert appended(world, "c") == []


def test_a_clock_that_jumps_makes_no_candidate_wait_for_long() -> None:
    """An append that seems to have taken an hour is no measure of how long another may take."""
    world = settled()
    world.slow |= {"b", "c"}
    done = world.master.enqueue([meta("x")])
    world.turn()
    world.clock.rightNow += 3600.0
    world.slow.clear()
    world.deliver()
    assert result(done)
    world.turn(1)
    world.calls.clear()
    done = world.master.enqueue([meta("y")])
    world.turn()
    assert result(done)
    for _ in range(3):
        world.turn(HELD_FOR)
    assert [appended(world, node) for node in "bc"] == [[1], [1]]
    assert world.master.missing() == []


def test_what_is_on_its_way_when_a_daemon_stops_is_in_doubt() -> None:
    """A candidate may have it already, and then it comes true; what comes later is refused."""
    world = World("abc")
    journal = world.journal()
    world.slow = {"b", "c"}
    waiting = journal.enqueue([meta("x")])
    world.turn()
    Deferred.fromCoroutine(journal.stop())
    told = error(waiting)
    assert told.in_doubt
    assert "nobody knows whether the change will hold" in told.text
    assert not error(journal.enqueue([meta("y")])).in_doubt
