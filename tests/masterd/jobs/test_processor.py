"""How jobs run: order, dependencies, locks, ends, restarts."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest

from gnt.masterd.absent import WHY_ABSENT
from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.jobs.seam import OpcodeEnd
from gnt.masterd.operation import Operation, operation_for
from gnt.model.cluster import Cluster
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_STATE, Failed, NoMajority, Refused
from gnt.opcodes import test as test_opcodes
from tests.masterd.jobs.fakes import Brain, Delay, delay, locks_of, result


@pytest.fixture
def brain() -> Brain:
    """Give a master that runs opcodes only when told."""
    made = Brain().start()
    made.engine.hold = True
    return made


def limited(brain: Brain, jobs: int) -> None:
    """Set how many jobs may be started."""
    settings = msgspec.structs.replace(brain.journal.head.settings, max_running_jobs=jobs)
    brain.journal.head = brain.journal.head.put(settings)


def results(brain: Brain, number: int) -> Any:
    """Give the results of a job's opcodes as clients see them."""
    return msgspec.json.decode(msgspec.json.encode(result(brain.queue.rows([number], ["opresult"]))))[0][0]


def test_opcodes_run_one_after_the_other(brain: Brain) -> None:
    """The second begins when the end of the first is durable."""
    number = brain.submit(delay(), delay())
    assert [(run.job, run.index) for run in brain.engine.runs] == [(1, 0)]
    brain.journal.hold = True
    brain.engine.finish(number)
    assert len(brain.engine.runs) == 1
    assert [op.status for op in brain.queue.live(1).shown.ops] == ["running", "queued"]  # type: ignore[union-attr]
    brain.journal.acknowledge()
    brain.journal.hold = False
    assert [(run.job, run.index) for run in brain.engine.runs] == [(1, 0), (1, 1)]
    brain.engine.waiting.clear()


def test_after_a_failure_nothing_more_runs(brain: Brain) -> None:
    """The rest ends in error too, and the locks are free."""
    number = brain.submit(delay("node/a!"), delay(), delay())
    brain.engine.finish(number, OpcodeEnd(error=Refused(WRONG_STATE, "web1 runs")))
    assert brain.status(number) == "error"
    assert results(brain, number) == [
        ["OpPrereqError", ["web1 runs", "wrong_state"]],
        ["OpExecError", ["Preceding opcode failed"]],
        ["OpExecError", ["Preceding opcode failed"]],
    ]
    assert brain.locks.snapshot() == []
    assert brain.processor.started == frozenset()


def test_an_engine_that_refuses_before_its_first_commit_just_raises(brain: Brain) -> None:
    """The processor makes the end durable."""
    brain.engine.hold = False
    brain.engine.end = Refused(UNKNOWN_ENTITY, "node9 is not a node of this cluster")
    number = brain.submit(delay("node/a!"))
    assert brain.status(number) == "error"
    assert brain.journal.job(number)["ops"][0]["result"][1][1] == "unknown_entity"
    assert brain.locks.snapshot() == []


def test_a_fault_of_ours_ends_the_job_and_not_the_daemon(brain: Brain, capsys: pytest.CaptureFixture[str]) -> None:
    """The client sees one line."""
    brain.engine.hold = False
    brain.engine.end = ZeroDivisionError("division by zero")
    number = brain.submit(delay("node/a!"))
    text = "unexpected error: ZeroDivisionError: division by zero (the log of the master daemon says more)"
    assert results(brain, number) == [["OpExecError", [text]]]
    brain.engine.end = OpcodeEnd(result=True)
    assert brain.status(brain.submit(delay("node/a!"))) == "success"


def test_a_result_that_is_no_json_ends_in_error(brain: Brain) -> None:
    """It is found before the commit, not by the client."""
    brain.engine.hold = False
    brain.engine.end = OpcodeEnd(result=object())
    number = brain.submit(delay())
    assert brain.status(number) == "error"


def test_an_opcode_without_operation_is_refused_by_name(brain: Brain) -> None:
    """As not supported."""
    brain.operation_of = lambda op: operation_for(op, None)  # type: ignore[arg-type]
    number = brain.submit(test_opcodes.TestDummy(result=1, messages=[], fail=False, submit_jobs=None))
    assert results(brain, number) == [
        [
            "OpPrereqError",
            [f"OP_TEST_DUMMY is not supported by this version ({WHY_ABSENT['OP_TEST_DUMMY']})", "wrong_input"],
        ]
    ]


def test_only_so_many_jobs_are_started(brain: Brain) -> None:
    """Waiting for locks counts; the next starts when one ends."""
    limited(brain, 2)
    numbers = [brain.submit(delay("node/a!")) for _ in range(3)]
    assert [brain.status(number) for number in numbers] == ["running", "waiting", "queued"]
    brain.engine.finish(numbers[0])
    assert [brain.status(number) for number in numbers] == ["success", "running", "waiting"]


def test_a_job_whose_end_is_on_its_way_to_the_disk_leaves_its_place(brain: Brain) -> None:
    """The next one begins while the disk works; it waits for locks that the first still holds."""
    limited(brain, 1)
    numbers = [brain.submit(delay(text)) for text in ("node/a!", "node/a!", "node/b!")]
    brain.journal.hold = True
    brain.engine.finish(numbers[0])
    brain.clock.advance(0)
    assert [brain.status(number) for number in numbers] == ["running", "waiting", "queued"]
    brain.journal.acknowledge()
    assert [brain.status(number) for number in numbers] == ["success", "running", "queued"]


def test_a_job_that_has_to_be_settled_takes_its_place_again(brain: Brain) -> None:
    """Its end did not come true: as long as it is under way nothing else is started in its stead."""
    limited(brain, 1)
    numbers = [brain.submit(delay()) for _ in range(3)]
    brain.journal.hold = True
    brain.engine.finish(numbers[0])
    brain.journal.doubt()
    brain.journal._pending = []
    brain.clock.advance(0)
    assert [brain.status(number) for number in numbers] == ["running", "waiting", "queued"]
    brain.journal.mend()
    brain.clock.advance(2)
    assert [job for job, _ in brain.engine.recovered] == [numbers[0]]
    brain.engine.finish(numbers[1])
    brain.clock.advance(0)
    assert [brain.status(number) for number in numbers] == ["running", "success", "queued"]
    brain.engine.finish(numbers[0], OpcodeEnd(error=Failed("interrupted")))
    assert [brain.status(number) for number in numbers] == ["error", "success", "running"]


# Dependencies


def test_a_job_starts_when_those_it_depends_on_are_over(brain: Brain) -> None:
    """They do not use up places meanwhile."""
    limited(brain, 1)
    first = brain.submit(delay())
    second = brain.submit(delay(depends=((first, ("success",)),)), delay())
    third = brain.submit(delay(priority=10))
    assert [brain.status(number) for number in (first, second, third)] == ["running", "queued", "queued"]
    brain.engine.finish(first)
    assert [brain.status(number) for number in (second, third)] == ["running", "queued"]


@pytest.mark.parametrize(
    ("ended", "wanted", "status", "text"),
    [
        ("success", (), "success", None),
        ("error", (), "success", None),
        ("canceled", (), "canceled", None),
        ("canceled", ("canceled",), "success", None),
        ("canceled", ("success",), "canceled", None),
        ("error", ("error", "success"), "success", None),
        (
            "error",
            ("success", "canceled"),
            "error",
            "Dependency job 1 finished with status 'error', not one of 'success, canceled' as required",
        ),
    ],
)
def test_how_a_dependency_ended_decides(
    brain: Brain, ended: str, wanted: tuple[Any, ...], status: str, text: str | None
) -> None:
    """spec/jobs.md, section 6; archived jobs count too."""
    limited(brain, 0 if ended == "canceled" else 5)
    first = brain.submit(delay())
    if ended == "canceled":
        result(brain.queue.cancel(first))
        limited(brain, 5)
    else:
        brain.engine.finish(first, OpcodeEnd(error=Failed("no") if ended == "error" else None))
    brain.engine.hold = False
    second = brain.submit(delay(depends=((first, wanted),)))
    assert brain.status(second) == status
    result(brain.queue.archive(first))
    third = brain.submit(delay(depends=((first, wanted),)))
    assert brain.status(third) == status
    if text:
        assert results(brain, second) == [["OpExecError", [text]]]


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (3, "Job can't depend on itself"),
        (0, "Dependency error: job 0 not found"),
        (2, "Dependency error: job 2 not found"),
        (9, "Dependency error: job 9 did not exist when job 3 was submitted"),
    ],
)
def test_dependencies_that_cannot_be(brain: Brain, other: int, text: str) -> None:
    """They end the job, they do not keep it forever."""
    brain.engine.hold = False
    brain.submit(delay())
    result(brain.queue.submit_many([Failed("uses up no number"), [delay()]]))
    brain.journal.rows.clear()
    brain.queue._jobs.leave(brain.queue._jobs.numbers())
    number = brain.submit(delay(depends=((other, ()),)))
    assert number == 3
    assert results(brain, number) == [["OpExecError", [text]]]


# Locks


class Moving(Delay):
    """Names what the model says: the master node."""

    def locks(self, cluster: Cluster) -> Locks:
        """Name the locks."""
        if cluster.settings.master_node == "gone":
            raise Refused(UNKNOWN_ENTITY, "web1 is not an instance of this cluster")
        return Locks().exclusive(Level.NODE, cluster.settings.master_node)


def moved(brain: Brain, master: str) -> None:
    """Let the model move."""
    brain.journal.head = brain.journal.head.put(
        msgspec.structs.replace(brain.journal.head.settings, master_node=master)
    )


def operations(kind: type[Operation[Any]]) -> Any:
    """Use this operation for opcodes without comment."""
    return lambda op: (Delay if op.comment else kind)(op, None)  # type: ignore[arg-type]


def test_locks_are_named_again_after_the_grant(brain: Brain) -> None:
    """The model moved while the job waited: it asks anew, and lets go of what it does not need."""
    brain.operation_of = operations(Moving)
    first = brain.submit(delay("node/m!"))
    second = brain.submit(delay())
    assert brain.status(second) == "waiting"
    moved(brain, "n")
    brain.engine.finish(first)
    assert brain.engine.runs[-1].held.locks == locks_of("node/n!").shared(Level.CLUSTER, "BGL")
    assert brain.status(brain.submit(delay("node/m!"))) == "running"


def test_an_object_that_is_gone_after_the_grant_ends_the_job(brain: Brain) -> None:
    """With its name, and the locks are free."""
    brain.operation_of = operations(Moving)
    first = brain.submit(delay("node/m!"))
    second = brain.submit(delay())
    moved(brain, "gone")
    brain.engine.finish(first)
    assert results(brain, second) == [["OpPrereqError", ["web1 is not an instance of this cluster", "unknown_entity"]]]
    assert brain.locks.snapshot() == []


def test_locks_are_released_between_opcodes(brain: Brain) -> None:
    """Another job may come between."""
    first = brain.submit(delay("node/a!"), delay("node/a!"))
    second = brain.submit(delay("node/a!"))
    brain.engine.finish(first)
    assert [brain.status(number) for number in (first, second)] == ["waiting", "running"]


def test_waiting_long_shows_in_the_priority_of_the_opcode(brain: Brain) -> None:
    """Half an hour makes it more urgent by one."""
    brain.submit(delay("node/a!"))
    second = brain.submit(delay("node/a!"))
    brain.clock.advance(1800)
    assert result(brain.queue.rows([second], ["oppriority", "priority"])) == [[[-1], -1]]


def test_the_engine_may_release_locks_early(brain: Brain) -> None:
    """Through what it gets."""
    brain.submit(delay("node/a! node_res/a!"))
    second = brain.submit(delay("node/a!"))
    brain.engine.runs[0].held.drop(Level.NODE)
    assert brain.status(second) == "running"


# Jobs that submit jobs


def test_jobs_of_an_opcode_are_durable_with_its_end(brain: Brain) -> None:
    """They inherit, and the result names them."""
    number = brain.submit(delay("node/a", priority=-10, debug_level=2))
    brain.engine.hold = False
    before = len(brain.journal.commits)
    brain.engine.finish(number, OpcodeEnd(result={"x": 1}, jobs=((delay(),), (), (delay(depends=((-2, ()),)),))))
    assert results(brain, number) == [
        {"x": 1, "jobs": [[True, 2], [False, "A job needs at least one opcode"], [True, 3]]}
    ]
    keys = [change.key for change in brain.journal.commits[before] if hasattr(change, "key")]
    assert keys == ["last_job", "2", "3", "1"]
    child = brain.journal.job(2)["ops"][0]["input"]
    assert (child["comment"], child["priority"], child["debug_level"]) == ("Submitted by OP_TEST_DELAY", -10, 2)
    assert [text for _, text, _ in child["reason"]] == ["job=1;index=0", "job=2;index=0"]
    assert [brain.status(number) for number in (2, 3)] == ["success", "success"]


def test_jobs_that_make_up_for_an_opcode_are_submitted_with_its_error(brain: Brain) -> None:
    """The error stays what it was; the new job is there and runs."""
    number = brain.submit(delay("node/a"))
    brain.engine.hold = False
    brain.engine.finish(number, OpcodeEnd(error=Failed("interrupted"), jobs=((delay(),),)))
    assert brain.status(number) == "error"
    assert results(brain, number) == [["OpExecError", ["interrupted"]]]
    assert brain.status(2) == "success"


# Logs


def test_lines_of_the_log_are_stored_while_the_job_runs(brain: Brain) -> None:
    """One write at a time, however many lines come meanwhile."""
    brain.submit(delay())
    run = brain.engine.runs[0]
    brain.journal.hold = True
    before = len(brain.journal.commits)
    for text in ("one", "two", "three"):
        run.feedback(text)
    assert len(brain.journal.commits) == before + 1
    brain.journal.acknowledge()
    brain.journal.acknowledge()
    brain.journal.hold = False
    assert len(brain.journal.commits) == before + 2
    log = brain.journal.job(1)["ops"][0]["log"]
    assert [(serial, text) for serial, _, _, text in log] == [(1, "one"), (2, "two"), (3, "three")]


def test_serial_numbers_go_on_in_the_next_opcode(brain: Brain) -> None:
    """They count over the whole job."""
    number = brain.submit(delay(), delay())
    brain.engine.runs[0].feedback("one")
    brain.engine.finish(number)
    brain.engine.runs[1].feedback("two")
    [[log]] = result(brain.queue.rows([number], ["oplog"]))
    assert [entry.serial for entries in log for entry in entries] == [1, 2]


# Starting and stopping


def test_a_new_master_starts_what_was_queued_or_waited(brain: Brain) -> None:
    """A job that waited starts over, its finished opcodes stay."""
    number = brain.submit(delay(), delay("node/a!"))
    blocked = brain.submit(delay("node/a!"))
    brain.engine.finish(number)
    brain.journal.hold = False
    result(brain.queue.change_priority(number, 10))
    again = Brain(journal=brain.journal)
    again.engine.end = OpcodeEnd(error=Failed("undone"))
    again.start()
    assert again.status(blocked) == "error"
    assert again.status(number) == "error"
    assert again.engine.recovered == [(blocked, locks_of("node/a!").shared(Level.CLUSTER, "BGL"))]
    assert [(run.job, run.index) for run in again.engine.runs] == [(number, 1)]


def test_interrupted_opcodes_have_their_locks_before_anything_starts(brain: Brain) -> None:
    """And until they are settled; then the job ends in error, saying what was done about it."""
    first = brain.submit(delay("instance/web1! node/a"))
    second = brain.submit(delay("instance/web1!"))
    again = Brain(journal=brain.journal)
    again.engine.hold = True
    again.start()
    assert [again.status(number) for number in (first, second)] == ["running", "waiting"]
    again.engine.finish(first, OpcodeEnd(error=Failed("disk 0 was removed again")))
    assert results(again, first) == [["OpExecError", ["disk 0 was removed again"]]]
    assert [again.status(number) for number in (first, second)] == ["error", "running"]


def test_locks_that_were_given_up_are_not_taken_again(brain: Brain) -> None:
    """Somebody else may have had them since: after a crash both opcodes are settled with what they held."""
    brain.engine.hold = True
    first = brain.submit(delay("instance/web1! node/a!"))
    second = brain.submit(delay("node/a!"))
    (run,) = brain.engine.runs
    brain.journal.enqueue(run.giving_up((Level.NODE,)))
    run.held.drop(Level.NODE)
    assert [brain.status(number) for number in (first, second)] == ["running", "running"]
    again = Brain(journal=brain.journal)
    again.start()
    assert [again.status(number) for number in (first, second)] == ["success", "success"]
    held = dict(again.engine.recovered)
    assert not [lock for lock in held[first].wanted if lock.level is Level.NODE]
    assert [lock.name for lock in held[second].wanted if lock.level is Level.NODE] == ["a"]


def test_settling_does_not_hold_up_what_needs_other_locks(brain: Brain) -> None:
    """A node that is away does not stop the cluster."""
    brain.submit(delay("instance/web1!"))
    again = Brain(journal=brain.journal)
    again.engine.hold = True
    again.start()
    assert again.status(again.submit(delay("instance/web2!"))) == "running"


def test_stopping_leaves_waiting_jobs_for_the_next_start(brain: Brain) -> None:
    """What runs is left to recovery, and nothing new begins."""
    first = brain.submit(delay("node/a!"))
    second = brain.submit(delay("node/a!"))
    result(brain.processor.stop())
    assert brain.engine.stopped
    assert [brain.status(number) for number in (first, second)] == ["running", "waiting"]
    assert [lock.owners for lock in brain.locks.snapshot() if lock.name == "node/a"] == [("Job1/TEST_DELAY",)]
    assert brain.status(brain.submit(delay())) == "queued"
    again = Brain(journal=brain.journal)
    again.engine.end = OpcodeEnd(error=Failed("settled"))
    again.start()
    assert [again.status(number) for number in (first, second, 3)] == ["error", "error", "error"]
    assert [number for number, _ in again.engine.recovered] == [first]


def test_without_a_majority_a_job_stays_as_it_is_with_its_locks(brain: Brain) -> None:
    """Nobody is told of an end that is not durable, and nobody touches what is open."""
    number = brain.submit(delay("node/a!"))
    waiting = brain.engine.waiting.pop(number)
    waiting.errback(NoMajority("node2 and node3 do not answer"))
    assert brain.status(number) == "running"
    assert brain.status(brain.submit(delay("node/a!"))) == "waiting"
    assert brain.status(brain.submit(delay("node/b!"))) == "running"


def test_finished_jobs_leave_nothing_behind() -> None:
    """No locks, no timers, nothing unhandled."""
    brain = Brain().start()
    for _ in range(50):
        brain.submit(delay("instance/a! node/b"), delay())
    gc.collect()
    assert brain.locks.snapshot() == []
    assert brain.clock.getDelayedCalls() == []
    assert brain.processor.started == frozenset()
    assert len(brain.queue.schedule) == 0
