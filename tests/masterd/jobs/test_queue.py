"""What the queue promises to those who submit, ask, cancel and archive."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gnt.masterd.jobs.fields import FIELDS
from gnt.masterd.jobs.seam import OpcodeEnd
from gnt.model.errors import WRONG_INPUT, Failed, JobLost, NoMajority, QueueDrained, Refused
from gnt.opcodes import test as test_opcodes
from gnt.store.changes import Archive, Put, Space
from tests.masterd.jobs.fakes import Brain, FakeJournal, delay, result, started


@pytest.fixture
def brain() -> Brain:
    """Give a master that runs opcodes only when told."""
    made = Brain().start()
    made.engine.hold = True
    return made


def came(waiting: Any) -> Any:
    """Give what a Deferred has come to."""
    assert waiting.called
    return waiting.result


def test_the_number_is_given_when_the_job_is_durable(brain: Brain) -> None:
    """Not before, and nobody sees the job before either."""
    brain.journal.hold = True
    answer = started(brain.queue.submit([delay()]))
    assert not answer.called
    assert list(brain.queue) == []
    brain.journal.acknowledge()
    assert answer.called
    assert [job.id for job in brain.queue] == [1]


def test_what_keeps_a_job_up_is_a_line_of_its_log(brain: Brain) -> None:
    """Shown at once to whoever watches it, and said once; other jobs have no such line."""
    number, other = brain.submit(delay()), brain.submit(delay())
    watching = started(brain.queue.wait_for_change(number, ["status"], ["running"], 0, 20))
    assert not watching.called
    brain.queue.kept_up([number, 4711], "node2 does not answer")
    brain.queue.kept_up([number], "node2 does not answer")
    _, lines = came(watching)
    assert [(line.kind, line.payload) for line in lines] == [("message", "node2 does not answer")]
    assert [line[3] for line in brain.journal.job(number)["ops"][0]["log"]] == ["node2 does not answer"]
    assert brain.journal.job(other)["ops"][0]["log"] == []


def test_a_job_whose_end_is_kept_up_says_so_until_it_ends(brain: Brain) -> None:
    """The line is no part of what is stored."""
    number = brain.submit(delay())
    brain.journal.hold = True
    brain.engine.finish(number, OpcodeEnd(result=None))
    watching = started(brain.queue.wait_for_change(number, ["status"], ["running"], 0, 20))
    assert not watching.called
    brain.queue.kept_up([number], "node2 does not answer")
    values, lines = came(watching)
    assert (values, [line.payload for line in lines]) == (["running"], ["node2 does not answer"])
    ending = started(brain.queue.wait_for_change(number, ["status"], values, lines[-1].serial, 20))
    assert not ending.called
    brain.journal.acknowledge()
    assert came(ending) == [["success"], []]
    assert brain.journal.job(number)["ops"][0]["log"] == []


def test_a_job_that_is_not_durable_is_none(brain: Brain) -> None:
    """The client gets the error, its number is not given to another job."""
    brain.journal.refuse = NoMajority("node2 and node3 do not answer")
    with pytest.raises(NoMajority):
        brain.submit(delay())
    brain.journal.refuse = None
    assert list(brain.queue) == []
    assert brain.submit(delay()) == 2


def test_numbers_go_on_after_a_restart(brain: Brain) -> None:
    """Also when the last job is archived."""
    brain.engine.hold = False
    assert [brain.submit(delay()) for _ in range(3)] == [1, 2, 3]
    assert result(brain.queue.archive(3))
    again = Brain(journal=brain.journal).start()
    assert again.submit(delay()) == 4


def test_the_stored_job_has_the_form_of_the_specification(brain: Brain) -> None:
    """Keys and values as other tools know them."""
    number = brain.submit(delay("node/a"))
    stored = brain.journal.job(number)
    assert set(stored) == {"id", "ops", "received_timestamp", "start_timestamp", "end_timestamp"}
    assert stored["received_timestamp"] == [1000, 0]
    op = stored["ops"][0]
    assert op["input"]["OP_ID"] == "OP_TEST_DELAY"
    assert op["input"]["reason"] == [["gnt:opcode:test_delay", "job=1;index=0", 1000000000000]]
    assert (op["status"], op["result"], op["log"], op["priority"]) == ("running", None, [], 0)
    brain.engine.finish(number, OpcodeEnd(result={"a": 1}))
    op = brain.journal.job(number)["ops"][0]
    assert (op["status"], op["result"], op["end_timestamp"]) == ("success", {"a": 1}, [1000, 0])
    assert "locks" not in op


def test_an_empty_job_is_refused(brain: Brain) -> None:
    """And uses no number."""
    with pytest.raises(Refused, match="at least one opcode"):
        brain.submit()
    assert brain.submit(delay()) == 1


def test_many_jobs_are_one_commit_and_refer_to_each_other(brain: Brain) -> None:
    """-1 is the job before; a job that was not taken cannot be meant."""
    before = len(brain.journal.commits)
    answers = result(
        brain.queue.submit_many(
            [
                [delay()],
                [delay(depends=((-1, ("success",)),))],
                Refused(WRONG_INPUT, "not an opcode"),
                [delay(depends=((-1, ()),))],
                [delay(depends=((-9, ()),))],
                [delay(depends=((-5, ()),))],
            ]
        )
    )
    assert [done for done, _ in answers] == [True, True, False, False, False, True]
    assert answers[2] == (False, "not an opcode")
    assert "same submission" in str(answers[3][1])
    assert len([c for c in brain.journal.commits[before:] if any(isinstance(x, Put) for x in c)]) >= 1
    submitted = brain.journal.commits[before]
    assert [change.key for change in submitted if isinstance(change, Put)] == ["last_job", "1", "2", "3"]
    assert brain.journal.job(2)["ops"][0]["input"]["depends"] == [[1, ["success"]]]
    assert brain.journal.job(3)["ops"][0]["input"]["depends"] == [[1, []]]


def test_a_drained_queue_takes_nothing_but_what_insists(brain: Brain) -> None:
    """The flag survives a restart."""
    result(brain.queue.set_drained(True))
    with pytest.raises(QueueDrained):
        brain.submit(delay())
    with pytest.raises(QueueDrained):
        result(brain.queue.submit_many([[delay()]]))
    assert result(brain.queue.submit([delay()], though_drained=True)) == 1
    again = Brain(journal=brain.journal).start()
    assert again.queue.drained
    result(again.queue.set_drained(False))
    assert again.submit(delay()) == 2


def test_secrets_are_not_in_the_job_and_go_with_it(brain: Brain) -> None:
    """They live in rows of their own, which a restarted master finds."""
    secret = test_opcodes.TestOsParams(osparams_secret={"password": "hunter2"})
    brain.journal.head = brain.journal.head.put(
        msgspec.structs.replace(brain.journal.head.settings, max_running_jobs=0)
    )
    number = brain.submit(delay(), secret)
    assert b"hunter2" not in brain.journal.rows[Space.JOB, str(number)]
    assert list(brain.journal.space(Space.SECRET)) == ["1/1"]
    again = Brain(journal=brain.journal)
    again.start()
    live = again.queue.live(number)
    assert live is not None
    assert live.opcode(1).osparams_secret == {"password": "hunter2"}  # type: ignore[attr-defined]
    assert b"hunter2" not in msgspec.json.encode(result(again.queue.rows([number], ["ops"])))
    assert result(again.queue.cancel(number)) == (True, "Job 1 canceled")
    assert brain.journal.space(Space.SECRET) == {}


def test_a_job_whose_secrets_are_gone_asks_for_them_again(brain: Brain) -> None:
    """It does not run with the words that stand for them."""
    brain.journal.head = brain.journal.head.put(
        msgspec.structs.replace(brain.journal.head.settings, max_running_jobs=0)
    )
    number = brain.submit(test_opcodes.TestOsParams(osparams_secret={"password": "hunter2"}))
    brain.journal.rows.pop((Space.SECRET, "1/0"))
    brain.journal.head = FakeJournal().head
    again = Brain(journal=brain.journal).start()
    assert again.status(number) == "error"
    assert again.engine.runs == []
    [row] = result(again.queue.rows([number], ["opresult"]))
    assert msgspec.json.decode(msgspec.json.encode(row)) == [
        [["OpPrereqError", ["Please re-submit secret parameters to job.", "wrong_input"]]]
    ]


# Canceling


def test_a_queued_job_is_canceled(brain: Brain) -> None:
    """It never runs, and those that depend on it are canceled with it."""
    brain.journal.head = brain.journal.head.put(
        msgspec.structs.replace(brain.journal.head.settings, max_running_jobs=1)
    )
    first, second = brain.submit(delay()), brain.submit(delay())
    third = brain.submit(delay(depends=((second, ()),)))
    assert result(brain.queue.cancel(second)) == (True, "Job 2 canceled")
    assert brain.status(second) == "canceled"
    brain.engine.finish(first)
    assert brain.status(third) == "canceled"
    assert [run.job for run in brain.engine.runs] == [first]
    job = brain.journal.job(second)
    assert job["ops"][0]["result"] == "Job canceled by request"
    assert job["end_timestamp"] == [1000, 0]


def test_a_job_being_canceled_is_not_started_and_comes_back_if_that_fails(brain: Brain) -> None:
    """Between the wish and its commit nobody picks it up."""
    brain.journal.head = brain.journal.head.put(
        msgspec.structs.replace(brain.journal.head.settings, max_running_jobs=1)
    )
    first, second = brain.submit(delay()), brain.submit(delay())
    brain.journal.refuse = NoMajority("alone")
    with pytest.raises(NoMajority):
        result(brain.queue.cancel(second))
    brain.journal.refuse = None
    assert brain.status(second) == "queued"
    brain.engine.finish(first)
    assert brain.status(second) == "running"


def test_a_waiting_job_is_canceled_and_its_lock_goes_on(brain: Brain) -> None:
    """The answer comes when it is so."""
    first, second = brain.submit(delay("node/a!")), brain.submit(delay("node/a!"), delay())
    third = brain.submit(delay("node/a!"))
    assert brain.status(second) == "waiting"
    brain.journal.hold = True
    answer = started(brain.queue.cancel(second))
    assert brain.status(second) == "canceling"
    assert not answer.called
    brain.journal.acknowledge()
    brain.journal.hold = False
    assert brain.status(second) == "canceled"
    assert answer.called
    assert [op["status"] for op in brain.journal.job(second)["ops"]] == ["canceled", "canceled"]
    brain.engine.finish(first)
    assert brain.status(third) == "running"


def test_a_running_job_goes_on(brain: Brain) -> None:
    """As do those that are over or were never there."""
    number = brain.submit(delay())
    assert result(brain.queue.cancel(number)) == (False, "Job 1 is no longer waiting in the queue")
    brain.engine.finish(number)
    assert result(brain.queue.cancel(number)) == (False, "Job 1 is no longer waiting in the queue")
    assert result(brain.queue.cancel(77)) == (False, "Job 77 not found")


# Priorities


def test_a_changed_priority_counts_for_the_start(brain: Brain) -> None:
    """And is in the stored job."""
    brain.journal.head = brain.journal.head.put(
        msgspec.structs.replace(brain.journal.head.settings, max_running_jobs=1)
    )
    first, second, third = (brain.submit(delay()) for _ in range(3))
    done, text = result(brain.queue.change_priority(third, -10))
    assert (done, text) == (True, "Priorities of pending opcodes for job 3 have been changed to -10")
    assert brain.journal.job(third)["ops"][0]["priority"] == -10
    brain.engine.finish(first)
    assert [brain.status(number) for number in (second, third)] == ["queued", "running"]


def test_a_changed_priority_counts_for_the_locks(brain: Brain) -> None:
    """A waiting job moves up in its line."""
    first, second, third = (brain.submit(delay("node/a!")) for _ in range(3))
    result(brain.queue.change_priority(third, -10))
    brain.engine.finish(first)
    assert [brain.status(number) for number in (second, third)] == ["waiting", "running"]


def test_priorities_that_cannot_change_are_said_so(brain: Brain) -> None:
    """Running, over, unknown, and numbers that may not be asked for."""
    number = brain.submit(delay())
    assert result(brain.queue.change_priority(number, 10)) == (False, "Job 1 had no pending opcodes")
    brain.engine.finish(number)
    assert result(brain.queue.change_priority(number, 10)) == (False, "Job 1 is finished")
    with pytest.raises(JobLost):
        result(brain.queue.change_priority(9, 10))
    with pytest.raises(Refused, match="-10, 0, 10"):
        result(brain.queue.change_priority(number, 3))


# Archiving


def test_archived_jobs_stay_readable(brain: Brain) -> None:
    """By number, and in lists that ask for them."""
    brain.engine.hold = False
    for _ in range(2):
        brain.submit(delay())
    assert result(brain.queue.archive(1))
    assert not result(brain.queue.archive(1))
    assert brain.journal.commits[-1] == (Archive((1,)),)
    assert result(brain.queue.rows(None, ["id"])) == [[2]]
    assert result(brain.queue.rows(None, ["id", "archived"])) == [[1, True], [2, False]]
    assert result(brain.queue.rows([1, 2, 9], ["id", "status"])) == [[1, "success"], [2, "success"], [9, None]]
    assert result(brain.queue.wait_for_change(1, ["status"], None, None, 10)) == [["success"], []]


def test_only_what_is_over_is_archived(brain: Brain) -> None:
    """Running jobs stay."""
    number = brain.submit(delay())
    assert not result(brain.queue.archive(number))
    assert result(brain.queue.auto_archive(-1, 10)) == (0, 0)
    brain.engine.finish(number)
    assert result(brain.queue.auto_archive(-1, 10)) == (1, 0)


def test_old_jobs_are_archived_by_age(brain: Brain) -> None:
    """Counted from the end of each."""
    brain.engine.hold = False
    brain.submit(delay())
    brain.clock.advance(100)
    brain.submit(delay())
    assert result(brain.queue.auto_archive(99, 10)) == (1, 0)
    assert [job.id for job in brain.queue] == [2]


def test_archiving_stops_when_its_time_is_over(brain: Brain) -> None:
    """And says how many are left."""
    brain.engine.hold = False
    for _ in range(150):
        brain.submit(delay())
    assert result(brain.queue.auto_archive(-1, 0)) == (100, 50)


# Waiting


def test_waiting_answers_at_once_when_something_is_new(brain: Brain) -> None:
    """Other values, or log entries that the caller lacks."""
    number = brain.submit(delay())
    assert result(brain.queue.wait_for_change(number, ["status"], None, None, 10)) == [["running"], []]
    brain.engine.runs[0].feedback("hello")
    info, entries = result(brain.queue.wait_for_change(number, ["status"], ["running"], None, 10))
    assert [entry.payload for entry in entries] == ["hello"]
    assert info == ["running"]


def test_waiting_ends_with_the_next_change(brain: Brain) -> None:
    """No timer, no polling: the change itself answers."""
    number = brain.submit(delay())
    answer = started(brain.queue.wait_for_change(number, ["status"], ["running"], None, 10))
    assert not answer.called
    brain.engine.finish(number)
    assert answer.result == [["success"], []]
    assert brain.clock.getDelayedCalls() == []


def test_waiting_ends_with_a_line_of_the_log(brain: Brain) -> None:
    """Only those after the serial number are told."""
    number = brain.submit(delay())
    brain.engine.runs[0].feedback("one")
    answer = started(brain.queue.wait_for_change(number, ["status"], ["running"], 1, 10))
    assert not answer.called
    brain.engine.runs[0].feedback("two")
    _, entries = answer.result
    assert [(entry.serial, entry.kind, entry.payload) for entry in entries] == [(2, "message", "two")]


def test_waiting_ends_with_the_time(brain: Brain) -> None:
    """Nothing is new: None; a wait never lasts longer than 89 seconds."""
    number = brain.submit(delay())
    short = started(brain.queue.wait_for_change(number, ["status"], ["running"], None, 10))
    long = started(brain.queue.wait_for_change(number, ["status"], ["running"], None, 1000))
    brain.clock.advance(10)
    assert short.result is None
    assert not long.called
    brain.clock.advance(79)
    assert long.result is None
    assert result(brain.queue.wait_for_change(number, ["status"], ["running"], None, 0)) is None


def test_waiting_is_deaf_to_changes_of_other_fields(brain: Brain) -> None:
    """A change that the caller did not ask about does not wake it."""
    number = brain.submit(delay("node/a!"))
    other = brain.submit(delay("node/a!"))
    answer = started(brain.queue.wait_for_change(other, ["status"], ["waiting"], None, 50))
    result(brain.queue.change_priority(other, 10))
    assert not answer.called
    brain.engine.finish(number)
    assert answer.result == [["running"], []]


def test_waiting_for_an_unknown_job_or_field_is_an_error(brain: Brain) -> None:
    """In words that clients know."""
    with pytest.raises(JobLost):
        result(brain.queue.wait_for_change(5, ["status"], None, None, 10))
    number = brain.submit(delay())
    with pytest.raises(Refused, match="Unknown output fields selected: nope"):
        result(brain.queue.wait_for_change(number, ["nope"], None, None, 10))


def test_a_wait_that_is_given_up_leaves_nothing(brain: Brain) -> None:
    """The client went away."""
    number = brain.submit(delay())
    answer = started(brain.queue.wait_for_change(number, ["status"], ["running"], None, 10))
    answer.addErrback(lambda _: None)
    answer.cancel()
    assert brain.clock.getDelayedCalls() == []
    brain.engine.finish(number)


# Asking


def test_the_fields_of_a_job(brain: Brain) -> None:
    """All that clients may ask for."""
    number = brain.submit(test_opcodes.TestDelay(duration=1.5), delay())
    brain.engine.runs[0].feedback("hello")
    brain.engine.finish(number, OpcodeEnd(error=Failed("no")))
    [row] = result(brain.queue.rows([number], [name for name in FIELDS if name != "ops"]))
    plain: list[Any] = msgspec.json.decode(msgspec.json.encode(row))
    assert plain == [
        1,
        "error",
        0,
        False,
        [["OpExecError", ["no"]], ["OpExecError", ["Preceding opcode failed"]]],
        ["error", "error"],
        [[[1, [1000, 0], "message", "hello"]], []],
        [[1000, 0], None],
        [[1000, 0], None],
        [[1000, 0], [1000, 0]],
        [0, 0],
        ["TEST_DELAY(1500000000 ns)", "TEST_DELAY(0 ns)"],
        [1000, 0],
        [1000, 0],
        [1000, 0],
    ]


def test_a_row_that_cannot_be_read_is_left_out(brain: Brain) -> None:
    """The others are there, and its number is not used again."""
    brain.submit(delay())
    brain.journal.rows[Space.JOB, "7"] = b'{"id": '
    again = Brain(journal=brain.journal)
    again.engine.end = OpcodeEnd(error=Failed("interrupted"))
    again.start()
    assert [job.id for job in again.queue] == [1]
    assert again.submit(delay()) == 8


def test_only_the_last_jobs_that_are_over_stay_in_memory(brain: Brain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are answered for from the store, as they were shown."""
    monkeypatch.setattr("gnt.masterd.jobs.table.RECENT", 2)
    numbers = [brain.submit(delay()) for _ in range(4)]
    for number in numbers:
        brain.engine.finish(number)
    running = brain.submit(delay())
    assert [job.id for job in brain.queue] == [3, 4, running]
    assert result(brain.queue.rows([1, 3, 9], ["id", "status"])) == [[1, "success"], [3, "success"], [9, None]]
    assert [row[0] for row in result(brain.queue.rows(None, ["id"]))] == [1, 2, 3, 4, running]
    assert result(brain.queue.wait_for_change(1, ["status"], None, None, 10)) == [["success"], []]
    assert brain.status(1) == "success"


def test_a_new_master_reads_no_job_that_is_over(brain: Brain) -> None:
    """It knows of them all the same: they are shown, refused, waited for by others, archived."""
    first, second, running = (brain.submit(delay()) for _ in range(3))
    brain.engine.finish(first)
    brain.clock.advance(100)
    brain.engine.finish(second)
    again = Brain(journal=brain.journal, clock=brain.clock)
    again.engine.hold = True
    again.start()
    assert [job.id for job in again.queue] == [running]
    assert [(job.id, job.status) for job in result(again.queue.unarchived())][:2] == [(1, "success"), (2, "success")]
    assert result(again.queue.cancel(first)) == (False, "Job 1 is no longer waiting in the queue")
    assert again.queue.kill(first) == (False, "Job 1 is finished")
    assert result(again.queue.change_priority(first, 10)) == (False, "Job 1 is finished")
    after = again.submit(delay(depends=((first, ("success",)),)))
    assert again.status(after) == "running"
    assert result(again.queue.auto_archive(1050, 10)) == (1, 0)
    assert result(again.queue.archive(second))
    assert not result(again.queue.archive(running))
    assert sorted(again.journal.archived) == [first, second]
    assert again.submit(delay()) == after + 1


def test_a_job_that_no_majority_has_yet_is_not_there(brain: Brain) -> None:
    """Though it stands in this node's store already."""
    brain.journal.hold = True
    started(brain.queue.submit([delay()]))
    assert result(brain.queue.find(1)) is None
    assert result(brain.queue.unarchived()) == []
    brain.journal.acknowledge()
    assert result(brain.queue.find(1)) is not None
