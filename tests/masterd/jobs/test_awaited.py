"""Which ends of jobs may stand ready for a moment: those for which nobody waits."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError

from gnt.masterd.jobs.processor import BREATH, Processor
from gnt.masterd.operation import Stage
from gnt.masterd.plan import Plan
from gnt.model.cluster import Cluster
from gnt.opcodes.test import TestDelay as SleepOpcode
from tests.masterd.jobs.fakes import Brain, delay, started
from tests.masterd.test_engine import World, planned


@pytest.fixture
def brain() -> Brain:
    """Give a master that runs opcodes only when told."""
    made = Brain().start()
    made.engine.hold = True
    return made


def test_the_end_of_a_job_that_nobody_looks_at(brain: Brain) -> None:
    """A client that submits jobs and goes."""
    brain.engine.finish(brain.submit(delay("node/a!")))
    assert brain.engine.awaited == [False]


def test_a_client_that_waits(brain: Brain) -> None:
    """It is told at once; that it begins to wait has everything written that stands ready."""
    number = brain.submit(delay())
    assert brain.journal.hurried == 0
    waiting = started(brain.queue.wait_for_change(number, ["status"], ["running"], None, 60))
    assert brain.journal.hurried == 1
    brain.engine.finish(number)
    assert brain.engine.awaited == [True]
    assert waiting.called


def test_nobody_hurries_for_what_is_over(brain: Brain) -> None:
    """It is written already."""
    number = brain.submit(delay())
    brain.engine.finish(number)
    assert started(brain.queue.wait_for_change(number, ["status"], None, None, 60)).called
    assert brain.journal.hurried == 0


def test_a_client_that_has_gone_waits_no_more(brain: Brain) -> None:
    """Its wait was given up."""
    number = brain.submit(delay())
    waiting = started(brain.queue.wait_for_change(number, ["status"], ["running"], None, 60))
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    brain.engine.finish(number)
    assert brain.engine.awaited == [False]


def test_its_own_next_opcode(brain: Brain) -> None:
    """It begins when the end of the one before is durable."""
    number = brain.submit(delay(), delay())
    brain.engine.finish(number)
    brain.engine.finish(number)
    assert brain.engine.awaited == [True, False]


def test_jobs_that_wait_for_its_locks_or_its_end(brain: Brain) -> None:
    """Both would stand still for that moment."""
    first = brain.submit(delay("node/a!"))
    second = brain.submit(delay("node/a!"))
    brain.engine.finish(first)
    third = brain.submit(delay(depends=((second, ()),)))
    brain.engine.finish(second)
    brain.engine.finish(third)
    assert brain.engine.awaited == [True, True, False]


@pytest.mark.parametrize("awaited", [True, False])
def test_the_engine_is_patient_with_such_an_end_only(awaited: bool) -> None:
    """What comes before the end is part of a job that goes on."""
    world = World()
    run = world.run(planned(), awaited=awaited)
    assert run.end is not None
    assert world.journal.patient == [not awaited]


def test_jobs_that_an_end_submits_begin_at_once() -> None:
    """They wait for it."""
    world = World()

    async def nothing(_cluster: Cluster, _look: object) -> None:
        """See nothing."""

    jobs = ((SleepOpcode(duration=0),),)
    world.run(Stage(nothing, lambda _cluster, _seen: Plan((), jobs=jobs)), awaited=False)
    assert world.journal.patient == [False]


# The start of jobs that were just taken


@pytest.fixture
def breathing() -> Brain:
    """Give a master whose new jobs stand by for a moment."""
    made = Brain(processor_type=Processor).start()
    made.engine.hold = True
    return made


def test_who_submits_is_answered_before_the_job_is_started(breathing: Brain) -> None:
    """It is started a moment later, though nobody asks for it."""
    number = breathing.submit(delay())
    assert breathing.status(number) == "queued"
    breathing.clock.advance(BREATH)
    assert breathing.status(number) == "running"


def test_jobs_that_are_taken_meanwhile_wait_no_longer_than_the_first(breathing: Brain) -> None:
    """A client that never stops submitting does not keep jobs from being started."""
    first = breathing.submit(delay())
    breathing.clock.advance(BREATH / 2)
    second = breathing.submit(delay())
    breathing.clock.advance(BREATH / 2)
    assert [breathing.status(first), breathing.status(second)] == ["running", "running"]


def test_a_job_that_somebody_waits_for_is_started_at_once(breathing: Brain) -> None:
    """As the commands do: they submit a job and wait for it."""
    number = breathing.submit(delay())
    started(breathing.queue.wait_for_change(number, ["status"], ["queued"], None, 60))
    assert breathing.status(number) == "running"


def test_a_job_that_stands_by_waits_for_no_other(breathing: Brain) -> None:
    """The end of the one before may stand ready; once a job stands in line for a place it may not."""
    first = breathing.submit(delay())
    breathing.clock.advance(BREATH)
    breathing.submit(delay())
    breathing.engine.finish(first)
    assert breathing.engine.awaited == [False]


def test_a_place_that_is_free_is_not_waited_for(breathing: Brain) -> None:
    """What stands in line is started in the round in which another job ends, also while new jobs stand by."""
    most = breathing.journal.head.settings.max_running_jobs
    numbers = [breathing.submit(delay()) for _ in range(most + 1)]
    breathing.clock.advance(BREATH)
    assert breathing.status(numbers[-1]) == "queued"
    breathing.submit(delay())
    breathing.engine.finish(numbers[0])
    breathing.clock.advance(0)
    assert breathing.status(numbers[-1]) == "running"


def test_the_end_of_another_job_does_not_start_a_new_one_sooner(breathing: Brain) -> None:
    """Its submitter is about to submit the next: there is room for all, so nobody waits for a place."""
    first = breathing.submit(delay())
    breathing.clock.advance(BREATH)
    second = breathing.submit(delay())
    breathing.engine.finish(first)
    breathing.clock.advance(0)
    assert [breathing.status(first), breathing.status(second)] == ["success", "queued"]
    breathing.clock.advance(BREATH)
    assert breathing.status(second) == "running"


def test_a_submission_that_has_come_meanwhile_goes_to_the_disk_first(breathing: Brain) -> None:
    """And the jobs stand by for a moment more, in which it is written; but for one only."""
    number = breathing.submit(delay())
    breathing.journal.due = True
    breathing.clock.advance(BREATH)
    assert breathing.journal.pressed == 1
    assert breathing.status(number) == "queued"
    breathing.journal.due = True
    breathing.clock.advance(BREATH)
    assert breathing.journal.pressed == 2
    assert breathing.status(number) == "running"
    later = breathing.submit(delay())
    breathing.journal.due = True
    breathing.clock.advance(BREATH)
    assert breathing.status(later) == "queued"


def test_who_stands_in_line_for_a_place_does_not_wait_for_the_disk(breathing: Brain) -> None:
    """What is started with a place that has become free may have changes of its own, which go along."""
    most = breathing.journal.head.settings.max_running_jobs
    numbers = [breathing.submit(delay()) for _ in range(most + 1)]
    breathing.clock.advance(BREATH)
    breathing.journal.due = True
    breathing.engine.finish(numbers[0])
    breathing.clock.advance(0)
    assert breathing.journal.pressed == 0
    assert breathing.status(numbers[-1]) == "running"


def test_a_master_that_stops_starts_nothing_that_stood_by(breathing: Brain) -> None:
    """It is left for the next start."""
    number = breathing.submit(delay())
    stopping = started(breathing.processor.stop())
    breathing.clock.advance(1)
    assert stopping.called
    assert breathing.status(number) == "queued"
