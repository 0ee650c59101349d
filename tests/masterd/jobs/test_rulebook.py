"""Rules as they are set, stored and brought to the queue; the watcher's pause; jobs that a new master takes over."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred

from gnt.masterd.jobs.rulebook import Rulebook
from gnt.masterd.watcher_pause import KEY, WatcherPause
from gnt.model.cluster import Cluster
from gnt.model.errors import GntError, NoMajority, Refused
from gnt.store.changes import Space
from tests.masterd.fakes import Fresh, Journal, cluster_of_three
from tests.masterd.jobs.fakes import Brain, FakeJournal, delay, result


class Book:
    """A rulebook with a queue; the journal tells the rulebook what is durable."""

    def __init__(self) -> None:
        self.brain = Brain().start()
        self.brain.engine.hold = True
        self.journal = Journal(cluster_of_three())
        self.rules = Rulebook(self.journal, self.brain.queue, Fresh())
        self.journal.on_commit = lambda: self.rules.committed(None, self.journal.commits[-1])

    def replace(self, uuid: str | None = None, **changes: Any) -> str:
        """Set a rule that pauses everything."""
        given = {"priority": 0, "predicates": [], "action": "PAUSE", "reason": [], **changes}
        found: str = result(self.rules.replace(uuid, **given))
        return found


def test_a_rule_is_stored_and_holds() -> None:
    """With the last job as its watermark and who set it; the queue goes by it as soon as it is durable."""
    book = Book()
    first = book.brain.submit(delay())
    uuid = book.replace(predicates=[["jobid", [">", "id", "watermark"]]], reason=[("gnt:user", "night", 5)])
    stored = book.journal.head.filters[uuid]
    assert stored.watermark == first
    assert stored.reason_trail == (("gnt:user", "night", 5), ("luxid", "", 1000_000_000_000))
    second = book.brain.submit(delay())
    assert [book.brain.status(number) for number in (first, second)] == ["running", "queued"]
    result(book.rules.delete(uuid.upper()))
    assert book.brain.status(second) == "running"
    assert uuid not in book.journal.head.filters


def test_a_removal_in_doubt_is_not_told_as_no_rule() -> None:
    """Who asks once more, without knowing whether the first request was carried out, hears what becomes of that one."""

    class Doubtful(Journal):
        """A journal whose durable model lags behind."""

        durable = cluster_of_three()

        @property
        def cluster(self) -> Cluster:
            """Give what was durable once."""
            return self.durable

    book = Book()
    uuid = book.replace()
    lagging = Doubtful(book.journal.head)
    lagging.durable = book.journal.head
    rules = Rulebook(lagging, book.brain.queue, Fresh())
    result(rules.delete(uuid))
    result(rules.delete(uuid))
    assert [len(changes) for changes in lagging.commits] == [1, 0]
    lagging.durable = lagging.head
    with pytest.raises(Refused, match="There is no filter"):
        result(rules.delete(uuid))


def test_a_rule_is_set_anew_or_with_a_chosen_identifier() -> None:
    """An unknown UUID makes the rule with it."""
    book = Book()
    uuid = "00000000-0000-4000-8000-00000000ABCD"
    assert book.replace(uuid) == uuid.lower()
    assert book.replace(uuid, action=["RATE_LIMIT", 3]) == uuid.lower()
    assert book.journal.head.filters[uuid.lower()].action == ("RATE_LIMIT", 3)
    assert len(book.journal.head.filters) == 1


def test_what_is_no_rule_is_refused_and_nothing_is_stored() -> None:
    """So is removing a rule that is not there."""
    book = Book()
    with pytest.raises(GntError):
        book.replace(action="STOP")
    with pytest.raises(Refused, match="There is no filter x"):
        result(book.rules.delete("x"))
    assert book.journal.commits == []


class Time:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        """Give it."""
        return self.time


def test_the_watcher_is_paused_until_a_time() -> None:
    """Under the next master too; a time that has passed pauses nothing."""
    journal, time = FakeJournal(), Time()
    pause = WatcherPause(journal, time)
    journal.listeners.append(pause.committed)
    assert result(pause.set(1060.0)) == 1060.0
    assert pause.until() == 1060.0
    after = WatcherPause(journal, time)
    after.restore(journal.rows[Space.META, KEY])
    assert after.until() == 1060.0
    time.time = 1061.0
    assert after.until() is None
    assert result(pause.set(None)) is None
    assert (Space.META, KEY) not in journal.rows
    with pytest.raises(Refused, match="in the past"):
        result(pause.set(1000.0))


def test_a_pause_that_is_not_durable_does_not_hold() -> None:
    """It is told, and nothing has changed."""
    journal = FakeJournal()
    journal.refuse = NoMajority("node2 does not answer")
    pause = WatcherPause(journal, Time())
    journal.listeners.append(pause.committed)
    with pytest.raises(NoMajority):
        result(pause.set(2000.0))
    assert pause.until() is None


def test_a_pause_that_comes_true_later_holds_from_then_on() -> None:
    """Whoever asked was told that nobody knows; the store has it, and so has this master."""
    journal = FakeJournal()
    journal.hold = True
    pause = WatcherPause(journal, Time())
    journal.listeners.append(pause.committed)
    setting = Deferred.fromCoroutine(pause.set(2000.0))
    journal.doubt()
    told: list[Any] = []
    setting.addErrback(lambda failure: told.append(failure.value))
    assert isinstance(told[0], NoMajority)
    assert pause.until() is None
    journal.mend()
    assert pause.until() == 2000.0


def test_a_job_that_is_taken_over_says_so() -> None:
    """Its reason trail has an element of the new master; that of a new job has none."""
    before = Brain().start()
    before.engine.hold = True
    for _ in range(2):
        before.submit(delay("node/a!"))
    after = Brain(journal=before.journal).start()
    after.submit(delay())
    rows = json.loads(msgspec.json.encode(result(after.queue.rows([1, 2, 3], ["ops"]))))
    trails = [[element[0] for element in ops[0]["reason"]] for (ops,) in rows]
    taken = "gnt:daemon:masterd:pickup:test_delay"
    assert taken not in trails[2]
    assert trails[1][-1] == taken
