"""What went wrong elsewhere: cancel against start (#736), locks of killed jobs (#1027), waiters not woken (#1030)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import CancelledError, Deferred

from gnt.masterd.jobs.explain import LockTable
from gnt.masterd.jobs.seam import OpcodeEnd
from gnt.model.errors import ConfigError, Failed
from tests.masterd.jobs.fakes import Brain, delay, result, started

STATUS = ["status"]


@pytest.fixture
def brain() -> Brain:
    """Give a master that runs opcodes only when told."""
    made = Brain().start()
    made.engine.hold = True
    return made


def test_a_thousand_waiters_are_told_of_one_change(brain: Brain) -> None:
    """Each once, of the same change, and no timer is left."""
    number = brain.submit(delay())
    answers = [started(brain.queue.wait_for_change(number, STATUS, ["running"], None, 60)) for _ in range(1000)]
    assert len(brain.clock.getDelayedCalls()) == 1000
    brain.engine.finish(number)
    assert [answer.result for answer in answers] == [[["success"], []]] * 1000
    assert brain.clock.getDelayedCalls() == []


def test_waiters_may_come_and_go_while_others_are_told(brain: Brain) -> None:
    """Whoever is told first may give up the wait of another, or ask again: nobody is passed over."""
    number = brain.submit(delay())
    waits: list[Deferred[Any]] = []

    def told(answer: Any) -> Any:
        waits[1].cancel()
        waits.append(started(brain.queue.wait_for_change(number, STATUS, answer[0], answer[1][-1].serial, 60)))
        return answer

    waits += [started(brain.queue.wait_for_change(number, STATUS, ["running"], 0, 60)) for _ in range(4)]
    waits[0].addCallback(told)
    waits[1].addErrback(lambda failure: failure.trap(CancelledError))
    brain.engine.runs[0].feedback("half-way")
    assert [wait.called for wait in waits] == [True, True, True, True, False]
    assert waits[1].result is CancelledError
    brain.engine.finish(number)
    assert waits[4].result[0] == ["success"]


def test_a_wait_begins_with_what_the_client_saw_not_with_what_is(brain: Brain) -> None:
    """What happened between two questions is not lost."""
    number = brain.submit(delay())
    brain.engine.finish(number)
    assert result(brain.queue.wait_for_change(number, STATUS, ["running"], None, 60)) == [["success"], []]


def test_a_job_is_canceled_or_runs_at_every_moment_of_its_start(brain: Brain) -> None:
    """What the client is told is what comes true, whichever turn the cancel falls into."""
    holder = brain.submit(delay("node/a!"))
    # Not durable yet: nobody knows its number.
    brain.journal.hold = True
    submitting = started(brain.queue.submit([delay("node/a!")]))
    assert result(brain.queue.cancel(2)) == (False, "Job 2 not found")
    brain.journal.acknowledge()
    assert submitting.result == 2
    assert brain.status(2) == "waiting"
    # Twice, while the end is on its way to the disk; the lock comes free meanwhile.
    answers = [started(brain.queue.cancel(2)) for _ in range(2)]
    brain.engine.finish(holder)
    brain.journal.acknowledge()
    brain.journal.hold = False
    assert [answer.result for answer in answers] == [(True, "Job 2 will be canceled")] * 2
    assert brain.status(2) == "canceled"
    assert [run.job for run in brain.engine.runs] == [holder]
    assert brain.locks.snapshot() == []


def test_a_second_cancel_shares_the_fate_of_the_first(brain: Brain) -> None:
    """Where the first cannot be recorded the second says so, and the job goes on."""
    settings = brain.journal.head.settings
    brain.journal.head = brain.journal.head.put(msgspec.structs.replace(settings, max_running_jobs=1))
    holder, queued = brain.submit(delay()), brain.submit(delay())
    brain.journal.hold = True
    first, second = (started(brain.queue.cancel(queued)) for _ in range(2))
    first.addErrback(lambda failure: failure.trap(ConfigError))
    done = brain.journal._pending.pop()[1]
    assert not second.called
    done.errback(ConfigError("the disk is full"))
    assert second.result == (False, f"Job {queued} could not be canceled")
    brain.journal.hold = False
    brain.engine.finish(holder)
    assert brain.status(queued) == "running"


def test_a_job_that_just_got_its_locks_is_not_canceled(brain: Brain) -> None:
    """The cancel comes in the same turn, after the grant: it is refused, and the job runs to its end."""
    holder, other = brain.submit(delay("node/a!")), brain.submit(delay("node/a!"))
    brain.engine.finish(holder)
    assert result(brain.queue.cancel(other)) == (False, f"Job {other} is no longer waiting in the queue")
    brain.engine.finish(other)
    assert brain.status(other) == "success"


def test_between_two_opcodes_a_cancel_holds(brain: Brain) -> None:
    """While the end of the first opcode is on its way; the second never runs."""
    number = brain.submit(delay("node/a!"), delay("node/a!"))
    brain.journal.hold = True
    brain.engine.finish(number)
    answer = started(brain.queue.cancel(number))
    brain.journal.acknowledge()
    brain.journal.acknowledge()
    brain.journal.hold = False
    assert answer.result == (True, f"Job {number} canceled")
    assert [op["status"] for op in brain.journal.job(number)["ops"]] == ["success", "canceled"]
    assert len(brain.engine.runs) == 1
    assert brain.locks.snapshot() == []


def test_who_waits_for_the_end_of_a_job_is_shown(brain: Brain) -> None:
    """Beside the locks, under the number of the job that is waited for; gone with its end."""
    table = LockTable(brain.queue, brain.locks)
    first = brain.submit(delay("node/a!"))
    for _ in range(2):
        brain.submit(delay(depends=((first, ()),)))
    facts = table.snapshot()
    assert [fact.name for fact in facts] == ["cluster/BGL", "node/a", "job/1"]
    assert facts[2].pending == (("shared", ("Job2/TEST_DELAY",)), ("shared", ("Job3/TEST_DELAY",)))
    assert (facts[2].mode, facts[2].owners) == (None, ())
    brain.engine.finish(first)
    assert [fact.name for fact in table.snapshot()] == ["cluster/BGL"]


def test_a_killed_job_leaves_no_lock(brain: Brain) -> None:
    """Who waited for them runs; the job ends in error and says why."""
    first, second = brain.submit(delay("node/a! instance/i!")), brain.submit(delay("node/a!"))
    assert brain.queue.kill(first) == (True, f"Job {first} is being killed; what it began is undone or finished")
    assert [brain.status(number) for number in (first, second)] == ["error", "running"]
    assert brain.journal.job(first)["ops"][0]["result"] == ["OpExecError", ["This was killed by request"]]
    assert {owner for fact in brain.locks.snapshot() for owner in fact.owners} == {f"Job{second}/TEST_DELAY"}


def test_what_cannot_be_killed_is_said(brain: Brain) -> None:
    """Jobs that are over, that there are not, and those that an earlier master left and that are being settled."""
    number = brain.submit(delay())
    brain.engine.finish(number, OpcodeEnd(error=Failed("no")))
    assert brain.queue.kill(number) == (False, f"Job {number} is finished")
    assert brain.queue.kill(77) == (False, "Job 77 not found")
    left = brain.submit(delay("node/a!"))
    after = Brain(journal=brain.journal)
    after.engine.hold = True
    after.start()
    after.engine.kill = lambda _job: False  # type: ignore[method-assign]
    assert after.queue.kill(left)[0] is False
    assert "being settled" in after.queue.kill(left)[1]
