"""Which ends of jobs may stand ready for a moment: those for which nobody waits."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError

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
