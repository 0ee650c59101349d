"""The order in which queued jobs start."""

from __future__ import annotations

from gnt.masterd.jobs.schedule import Schedule


def drained(schedule: Schedule) -> list[int]:
    """Take all that may start."""
    return list(iter(schedule.next, None))


def test_urgent_jobs_go_first_and_older_ones_before_younger() -> None:
    """By priority, then by number."""
    schedule = Schedule()
    for job, priority in [(1, 10), (2, 0), (3, -10), (4, 0)]:
        schedule.add(job, priority)
    assert drained(schedule) == [3, 2, 4, 1]


def test_a_job_is_held_back_until_all_it_depends_on_are_over() -> None:
    """And it says for which it is held back."""
    schedule = Schedule()
    schedule.add(3, -10, [1, 2])
    assert schedule.next() is None
    assert schedule.waits_for(3) == (1, 2)
    schedule.over(1)
    assert schedule.next() is None
    schedule.over(2)
    assert drained(schedule) == [3]


def test_a_changed_priority_counts_and_the_job_starts_once() -> None:
    """Both up and down, and back again."""
    schedule = Schedule()
    for job in (1, 2, 3):
        schedule.add(job, 0)
    schedule.change(3, -10)
    schedule.change(1, 10)
    schedule.change(2, 10)
    schedule.change(2, 0)
    assert drained(schedule) == [3, 2, 1]
    assert drained(schedule) == []


def test_a_removed_job_does_not_start() -> None:
    """Not even when what held it back ends."""
    schedule = Schedule()
    schedule.add(1, 0)
    schedule.add(2, 0, [1])
    schedule.remove(2)
    schedule.remove(1)
    schedule.over(1)
    assert drained(schedule) == []
    assert len(schedule) == 0
