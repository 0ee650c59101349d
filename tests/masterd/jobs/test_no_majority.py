"""Jobs while changes cannot be made: nothing is told that is not durable, and nothing is lost when it is again."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gnt.masterd.jobs.seam import OpcodeEnd
from gnt.model.errors import ConfigError, Failed, NoMajority
from tests.masterd.jobs.fakes import Brain, delay, result, started


@pytest.fixture
def brain() -> Brain:
    """Give a master that runs opcodes only when told, and a store that acknowledges only when told."""
    made = Brain().start()
    made.engine.hold = True
    return made


def failure(answer: Deferred[Any]) -> NoMajority:
    """Give the error that an answer has come to."""
    found: list[NoMajority] = []
    answer.addErrback(lambda reason: found.append(reason.value))
    return found[0]


def mended(brain: Brain) -> None:
    """Have a majority again, and let the time pass after which is tried again."""
    brain.journal.mend()
    brain.clock.advance(1)


def test_a_submission_in_doubt_may_come_true(brain: Brain) -> None:
    """The client is told that nobody knows; if the job is durable after all it runs."""
    brain.journal.hold = True
    answer = started(brain.queue.submit([delay()]))
    brain.journal.doubt()
    failure: list[object] = []
    answer.addErrback(lambda reason: failure.append(reason.value))
    assert isinstance(failure[0], NoMajority)
    assert list(brain.queue) == []
    mended(brain)
    assert brain.status(1) == "running"
    assert brain.submit(delay()) == 2


def test_an_end_in_doubt_is_shown_when_it_comes_true(brain: Brain) -> None:
    """Until then the job runs and its locks are held."""
    number = brain.submit(delay("node/a!"), delay())
    brain.journal.hold = True
    brain.engine.finish(number, OpcodeEnd(result=5))
    brain.journal.doubt()
    brain.clock.advance(100)
    assert brain.status(number) == "running"
    assert [lock.owners for lock in brain.locks.snapshot() if lock.name == "node/a"] == [("Job1/TEST_DELAY",)]
    mended(brain)
    assert [run.index for run in brain.engine.runs] == [0, 1]
    assert brain.engine.recovered == []
    brain.engine.finish(number)
    assert brain.status(number) == "success"
    assert brain.locks.snapshot() == []


@pytest.mark.parametrize("end", [OpcodeEnd(result=5), OpcodeEnd(error=Failed("undone"))])
def test_a_job_whose_end_comes_true_late_holds_no_lock_from_then_on(brain: Brain, end: OpcodeEnd) -> None:
    """Though nothing else becomes durable after it: the majority may be gone again."""
    number = brain.submit(delay("node/a!"))
    brain.journal.hold = True
    brain.engine.finish(number, end)
    brain.journal.doubt()
    brain.journal.acknowledge(1)
    assert brain.status(number) == ("success" if end.error is None else "error")
    assert brain.locks.snapshot() == []
    mended(brain)
    assert brain.locks.snapshot() == []
    assert brain.processor.started == frozenset()


def test_the_end_of_a_refused_opcode_that_comes_true_late_frees_its_locks(brain: Brain) -> None:
    """So it is also where the processor itself made the end."""
    number = brain.submit(delay("node/a!"))
    brain.journal.hold = True
    brain.engine.waiting.pop(number).errback(Failed("node2 does not answer"))
    brain.journal.doubt()
    brain.journal.acknowledge(1)
    assert brain.status(number) == "error"
    assert brain.locks.snapshot() == []
    mended(brain)
    assert brain.processor.started == frozenset()


def test_an_end_that_was_not_taken_is_settled_when_changes_are_taken_again(brain: Brain) -> None:
    """What the engine left open is settled by its recovery, with the locks still held."""
    number = brain.submit(delay("node/a!"))
    brain.journal.doubt()
    brain.engine.finish(number, OpcodeEnd(result=5))
    assert brain.status(number) == "running"
    mended(brain)
    assert [job for job, _ in brain.engine.recovered] == [number]
    brain.journal.doubt()
    brain.engine.finish(number, OpcodeEnd(error=Failed("undone")))
    assert brain.status(number) == "running"
    mended(brain)
    brain.engine.finish(number, OpcodeEnd(error=Failed("undone")))
    assert brain.status(number) == "error"
    assert brain.locks.snapshot() == []


@pytest.mark.parametrize("trouble", [NoMajority("alone"), ConfigError("no space left")])
def test_the_end_of_a_refused_opcode_is_made_durable_sooner_or_later(brain: Brain, trouble: NoMajority) -> None:
    """The processor tries again until it is taken."""
    number = brain.submit(delay())
    brain.journal.refuse = trouble
    brain.engine.waiting.pop(number).errback(Failed("node2 does not answer"))
    brain.clock.advance(5)
    assert brain.status(number) == "running"
    mended(brain)
    assert brain.status(number) == "error"
    assert brain.journal.job(number)["ops"][0]["result"] == ["OpExecError", ["node2 does not answer"]]


def test_a_cancel_in_doubt_may_come_true(brain: Brain) -> None:
    """The job does not start meanwhile."""
    settings = brain.journal.head.settings
    first = brain.submit(delay("node/a!"))
    second = brain.submit(delay("node/a!"))
    assert settings.max_running_jobs == 20
    brain.journal.hold = True
    answer = started(brain.queue.cancel(second))
    brain.journal.doubt()
    assert brain.status(second) == "canceling"
    brain.journal.refuse = None
    mended(brain)
    assert brain.status(second) == "canceled"
    assert answer.result == (True, "Job 2 will be canceled")
    brain.engine.finish(first)
    assert brain.locks.snapshot() == []


def test_no_opcode_is_begun_while_changes_are_not_taken(brain: Brain) -> None:
    """The next one waits, without locks."""
    first = brain.submit(delay("node/a!"), delay("node/b!"))
    brain.journal.hold = True
    brain.engine.finish(first)
    brain.journal.refuse = NoMajority("alone")
    brain.journal.acknowledge()
    assert brain.status(first) == "waiting"
    assert brain.locks.snapshot() == []
    mended(brain)
    assert brain.status(first) == "running"


def test_a_master_without_majority_can_be_stopped(brain: Brain) -> None:
    """Jobs that wait for a majority are left for the next start, and no timer stays."""
    first = brain.submit(delay("node/a!"))
    second = brain.submit(delay("node/b!"))
    brain.journal.doubt()
    brain.engine.finish(first)
    brain.clock.advance(1)
    brain.engine.finish(second)
    result(brain.processor.stop())
    assert brain.processor.started == frozenset()
    assert brain.clock.getDelayedCalls() == []
    brain.journal.refuse = None
    again = Brain(journal=brain.journal)
    again.engine.end = OpcodeEnd(error=Failed("settled"))
    again.start()
    assert [again.status(number) for number in (first, second)] == ["error", "error"]


def test_a_submission_in_doubt_names_the_jobs_that_it_may_become(brain: Brain) -> None:
    """So that who asked can look for them, and does not submit them once more."""
    brain.submit(delay())
    brain.journal.hold = True
    one = started(brain.queue.submit([delay()], within=5))
    many = started(brain.queue.submit_many([[delay()], [delay()]]))
    assert brain.journal.within[-2:] == [5, 0]
    brain.journal.doubt()
    told = [failure(one), failure(many)]
    assert [error.in_doubt for error in told] == [True, True]
    assert "; should it hold, it is job 2" in told[0].text
    assert "; should it hold, they are the jobs 3 to 4" in told[1].text


def test_a_refused_submission_names_no_job(brain: Brain) -> None:
    """It will never be one."""
    brain.journal.refuse = NoMajority("alone; nothing was changed")
    assert failure(started(brain.queue.submit([delay()]))).text == "alone; nothing was changed"
