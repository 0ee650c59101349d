"""Jobs under any order of events: submitted, canceled, killed, paused, refused, while the master dies and starts again.

I2 (no acknowledged job is lost), I4 (no lock held by a finished job), I5 (only the listed transitions, final states
final, nothing runs after a failure) and I8 (everything comes to an end) of the simulation page.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gnt.masterd.jobs.job import Job
from gnt.masterd.jobs.rows import decode_job
from gnt.masterd.jobs.rules import Rules, make_rule
from gnt.masterd.jobs.seam import OpcodeEnd
from gnt.masterd.jobs.states import FINAL, Status
from gnt.model.errors import Failed, GntError
from gnt.model.objects import JobFilter
from gnt.opcodes.base import Opcode
from tests.masterd.jobs.fakes import Brain, delay, result, started

UUID = "00000000-0000-4000-8000-000000000001"
LOCKS = ["", "node/a!", "node/a", "instance/i! node/a", "node/[lockset]", "cluster/BGL!"]
# What a client may see next, of one job, within the life of one master.
NEXT = {
    Status.QUEUED: set(Status),
    Status.WAITING: set(Status) - {Status.QUEUED} | {Status.QUEUED},
    Status.CANCELING: {Status.CANCELING, Status.CANCELED, Status.ERROR},
    Status.RUNNING: {Status.RUNNING, Status.SUCCESS, Status.ERROR, Status.QUEUED, Status.WAITING, Status.CANCELED},
    **{status: {status} for status in FINAL},
}


def make(action: Any, predicate: Any) -> JobFilter:
    """Make a rule."""
    return make_rule(UUID, watermark=0, priority=0, predicates=[predicate], action=action, reason=[])


class QueueRules(RuleBasedStateMachine):
    """A master, its clients, and a store that outlives it."""

    def __init__(self) -> None:
        super().__init__()
        self.brain = Brain().start()
        self.brain.engine.hold = True
        self.promised: set[int] = set()
        self.archived: set[int] = set()
        self.seen: dict[int, Status] = {}
        self.ends: dict[int, Job] = {}
        self.rules: tuple[JobFilter, ...] = ()

    @property
    def running(self) -> list[int]:
        """Give the jobs whose opcode the engine has."""
        return sorted(self.brain.engine.waiting)

    def ask(self, coroutine: Any, told: Any = None) -> None:
        """Ask as a client; whether the answer comes is up to the store."""

        def refused(failure: Any) -> None:
            failure.trap(GntError)

        started(coroutine).addCallbacks(told or (lambda _: None), refused)

    @rule(locks=st.lists(st.sampled_from(LOCKS), min_size=1, max_size=6), on=st.integers(0, 30), data=st.data())
    def submit(self, locks: list[str], on: int, data: st.DataObject) -> None:
        """Submit a job, perhaps one that depends on another."""
        wanted = data.draw(st.sampled_from([(), ("success",), ("canceled", "error")]))
        priority = data.draw(st.sampled_from([-10, 0, 10]))
        depends = ((on, wanted),) if on else None
        ops: list[Opcode] = [delay(text, depends=depends, priority=priority) for text in locks]
        self.ask(self.brain.queue.submit(ops), self.promised.add)

    @precondition(lambda self: self.promised)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a job."""
        self.ask(self.brain.queue.cancel(data.draw(st.sampled_from(sorted(self.promised)))))

    @precondition(lambda self: self.promised)
    @rule(data=st.data(), priority=st.sampled_from([-10, 0, 10]))
    def change_priority(self, data: st.DataObject, priority: int) -> None:
        """Change a priority."""
        self.ask(self.brain.queue.change_priority(data.draw(st.sampled_from(sorted(self.promised))), priority))

    @precondition(lambda self: self.promised)
    @rule(data=st.data())
    def archive(self, data: st.DataObject) -> None:
        """Archive a job."""
        number = data.draw(st.sampled_from(sorted(self.promised)))
        self.ask(self.brain.queue.archive(number), lambda done: self.archived.add(number) if done else None)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), good=st.booleans())
    def finish(self, data: st.DataObject, good: bool) -> None:
        """End an opcode."""
        number = data.draw(st.sampled_from(self.running))
        self.brain.engine.finish(number, OpcodeEnd(error=None if good else Failed("no")))

    @precondition(lambda self: self.promised)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """Kill a job, whatever it does."""
        self.brain.queue.kill(data.draw(st.sampled_from(sorted(self.promised))))

    @rule(
        action=st.sampled_from([None, "PAUSE", "REJECT", ["RATE_LIMIT", 1], ["RATE_LIMIT", 2]]),
        after=st.integers(0, 6),
    )
    def set_rule(self, action: Any, after: int) -> None:
        """Set the only rule, or remove it."""
        predicate = ["jobid", [">", "id", after]]
        self.rules = () if action is None else (make(action, predicate),)
        self.brain.queue.rule(Rules(self.rules))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def feedback(self, data: st.DataObject) -> None:
        """Say something on the way."""
        number = data.draw(st.sampled_from(self.running))
        runs = [run for run in self.brain.engine.runs if run.job == number]
        if runs:
            runs[-1].feedback("on the way")

    @rule()
    def hold(self) -> None:
        """Let the store be slow."""
        self.brain.journal.hold = True

    @rule()
    def acknowledge(self) -> None:
        """Let the store be quick again."""
        self.brain.journal.mend()
        self.brain.clock.advance(2)

    @precondition(lambda self: self.brain.journal.hold)
    @rule()
    def lose_majority(self) -> None:
        """Leave in doubt what is on its way, and take nothing more."""
        self.brain.journal.doubt()

    @rule()
    def die(self) -> None:
        """Let the master die, and start another one on what is stored."""
        journal = self.brain.journal
        journal.listeners = []
        journal.refuse, journal.hold = None, False
        journal._pending, journal._free = [], []
        self.brain = Brain(journal=journal)
        self.brain.engine.hold = True
        self.brain.queue.rule(Rules(self.rules))
        self.seen = {number: status for number, status in self.seen.items() if status in FINAL}
        self.brain.start()

    @invariant()
    def no_promised_job_is_lost(self) -> None:
        """Each is in the live queue, or archived."""
        live = {job.id for job in result(self.brain.queue.unarchived())}
        assert self.promised <= live | set(self.brain.journal.archived)

    @invariant()
    def only_listed_changes_are_seen(self) -> None:
        """And a job that is over stays as it is, for good."""
        for job in result(self.brain.queue.unarchived()):
            status = job.status
            assert self.brain.queue.status(job.id) is status
            assert status in NEXT[self.seen.get(job.id, Status.QUEUED)]
            self.seen[job.id] = status
            if status in FINAL:
                assert job.end_timestamp is not None
                row = self.brain.journal.archived.get(job.id) or self.brain.journal.job_row(job.id)
                assert decode_job(row) == job
                assert self.ends.setdefault(job.id, job) == job
                failed = [op.status for op in job.ops if op.status is not Status.SUCCESS]
                assert not failed or set(failed) == {failed[0]}

    @invariant()
    def no_finished_job_holds_a_lock(self) -> None:
        """Those that hold or wait are alive."""
        alive = {job.id for job in self.brain.queue if not job.final}
        for fact in self.brain.locks.snapshot():
            owners = [*fact.owners, *(owner for _, owners in fact.pending for owner in owners)]
            assert {int(owner.partition("/")[0].removeprefix("Job")) for owner in owners} <= alive

    def teardown(self) -> None:
        """See that all comes to an end when opcodes end and the store answers."""
        self.brain.queue.rule(Rules())
        self.acknowledge()
        for _ in range(1000):
            if not self.running:
                break
            self.brain.engine.finish(self.running[0])
            self.acknowledge()
        assert {job.status for job in self.brain.queue} <= FINAL
        assert self.brain.locks.snapshot() == []
        assert self.brain.processor.started == frozenset()


TestQueueRules = QueueRules.TestCase
TestQueueRules.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
