"""What of a job is written when it changes: no more than the change, and enough for whoever reads it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gnt.masterd.jobs import job as jobs
from gnt.masterd.jobs.job import Job
from gnt.masterd.jobs.rows import decode_job, encode_job, rows_between
from gnt.masterd.jobs.states import job_status
from gnt.store.changes import Change, Put, Space
from gnt.store.job_parts import merged
from tests.masterd.jobs.fakes import Brain, FakeJournal, delay, result


def new(count: int) -> Job:
    """Make a job of so many opcodes."""
    inputs = [jobs.encode_input(delay())[0] for _ in range(count)]
    return jobs.new_job(7, inputs, [0] * count, 1000.0)


def after(job: Job, *changes: jobs.Change) -> Job:
    """Give a job after some changes."""
    for change in changes:
        job = change(job)
    return job


def ran(index: int) -> list[jobs.Change]:
    """Give what happens to an opcode that says something and succeeds."""
    return [
        jobs.picked_up(index, 1001.0),
        jobs.locked(index, 1002.0, ()),
        jobs.noted(index, 1003.0, "message", "on the way"),
        jobs.succeeded(index, 1004.0, jobs.encode_result(index)),
    ]


def keys(changes: Sequence[Change]) -> list[str]:
    """Give which rows are written."""
    return [f"{change.space}/{change.key}" for change in changes if isinstance(change, Put)]


def test_the_end_of_one_opcode_of_many_writes_that_opcode() -> None:
    """Its result and its lines; not the job, whose row has all inputs."""
    first = after(new(1000), *ran(0))
    job = after(first, *ran(1))
    assert keys(rows_between(first, job)) == ["part/7/op/1", "part/7/log/2"]
    assert sum(len(change.value) for change in rows_between(first, job) if isinstance(change, Put)) < 400


def test_a_job_of_one_opcode_stays_one_row() -> None:
    """But lines of its log do not write it again and again."""
    job = after(new(1), *ran(0)[:2])
    assert keys(rows_between(new(1), job)) == ["job/7"]
    said = after(job, jobs.noted(0, 1003.0, "message", "one"))
    assert keys(rows_between(job, said)) == ["part/7/log/1"]
    assert keys(rows_between(said, after(said, jobs.noted(0, 1003.0, "message", "two")))) == ["part/7/log/2"]
    assert keys(rows_between(said, after(said, jobs.succeeded(0, 1004.0, jobs.NULL)))) == ["job/7"]


def test_what_changes_most_of_a_job_writes_it_whole() -> None:
    """An opcode that fails ends all behind it."""
    job = after(new(10), *ran(0)[:2])
    assert keys(rows_between(job, jobs.failed(0, 1004.0, jobs.NULL)(job))) == ["job/7"]
    late = after(new(10), *(change for index in range(9) for change in ran(index)), *ran(9)[:2])
    assert keys(rows_between(late, jobs.failed(9, 1004.0, jobs.NULL)(late))) == ["part/7/op/9", "part/7/job"]


def test_nothing_is_written_twice() -> None:
    """A job that is as it is stored costs nothing."""
    job = after(new(3), *ran(0))
    assert rows_between(job, job) == []


def test_without_knowledge_of_what_is_stored_all_is_written() -> None:
    """The row takes the place of whatever there is."""
    assert keys(rows_between(None, new(100))) == ["job/7"]


STEPS = st.lists(st.tuples(st.sampled_from(["keep", "lose", "late"]), st.integers(1, 4)), max_size=12)


@given(count=st.integers(1, 9), steps=STEPS, failing=st.booleans(), again=st.booleans())
def test_what_is_stored_is_always_the_job(count: int, steps: list[tuple[str, int]], failing: bool, again: bool) -> None:
    """Whichever changes are written together, and however late their acknowledgement comes."""
    journal = FakeJournal()
    stored = known = job = new(count)
    journal.enqueue(rows_between(None, job))
    changes = [change for index in range(count) for change in ran(index)]
    changes[0] = jobs.picked_up(0, 1001.0, again=again)
    if failing:
        changes[-1] = jobs.failed(count - 1, 1004.0, jobs.NULL)
    for how, number in steps:
        now, changes = changes[:number], changes[number:]
        job = after(job, *now)
        assert job.status is job_status(op.status for op in job.ops)
        if how == "lose":
            continue  # stored with whatever is stored next
        journal.enqueue(rows_between(known, job))
        stored = job
        known = job if how == "keep" else known
    found = decode_job(merged(journal.rows[Space.JOB, "7"], journal.parts("7").items()))
    assert encode_job(found) == encode_job(stored)
    assert (found.done, found.last_serial) == (stored.done, stored.last_serial)


def test_a_long_job_costs_no_more_for_each_opcode_than_a_short_one() -> None:
    """What is written grows with the number of opcodes, not with its square."""

    def written(count: int) -> float:
        brain = Brain()
        brain.start()
        number = result(brain.queue.submit([delay() for _ in range(count)]))
        assert brain.status(number) == "success"
        commits = brain.journal.commits[1:]
        return sum(len(change.value) for commit in commits for change in commit if isinstance(change, Put)) / count

    assert written(400) < 1.2 * written(40)
