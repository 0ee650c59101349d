"""The life of an opcode, and what it makes of a job."""

from __future__ import annotations

import pytest
from automat import NoTransition

from gnt.masterd.jobs.states import FINAL, Events, Status, after, job_priority, job_status

ALLOWED = {
    (Status.QUEUED, "pick_up"): Status.WAITING,
    (Status.QUEUED, "cancel"): Status.CANCELED,
    (Status.QUEUED, "give_up"): Status.ERROR,
    (Status.WAITING, "locked"): Status.RUNNING,
    (Status.WAITING, "cancel"): Status.CANCELING,
    (Status.WAITING, "fail"): Status.ERROR,
    (Status.WAITING, "put_back"): Status.QUEUED,
    (Status.CANCELING, "notice"): Status.CANCELED,
    (Status.CANCELING, "fail"): Status.ERROR,
    (Status.RUNNING, "succeed"): Status.SUCCESS,
    (Status.RUNNING, "fail"): Status.ERROR,
    (Status.RUNNING, "retry"): Status.WAITING,
}
EVENTS = {name: value for name, value in vars(Events).items() if not name.startswith("_")}


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("event", sorted(EVENTS))
def test_only_the_listed_transitions_exist(status: Status, event: str) -> None:
    """Every other pair of state and event is refused by the machine."""
    if (status, event) in ALLOWED:
        assert after(status, EVENTS[event]) is ALLOWED[status, event]
    else:
        with pytest.raises(NoTransition):
            after(status, EVENTS[event])


def test_final_states_are_final() -> None:
    """No transition leaves success, error or canceled."""
    assert not {status for status, _ in ALLOWED} & FINAL


@pytest.mark.parametrize(
    ("opcodes", "status"),
    [
        ("queued", "queued"),
        ("success queued", "queued"),
        ("success waiting queued", "waiting"),
        ("success running queued", "running"),
        ("success success", "success"),
        ("success error error", "error"),
        ("success canceled canceled", "canceled"),
        ("canceling queued", "canceling"),
        ("waiting canceling running", "canceling"),
    ],
)
def test_the_job_follows_from_its_opcodes(opcodes: str, status: str) -> None:
    """The walk of spec/jobs.md, section 1."""
    assert job_status(map(Status, opcodes.split())) == status


def test_the_most_urgent_unfinished_opcode_gives_the_priority() -> None:
    """Finished opcodes do not count; with none left it is 0."""
    assert job_priority([(Status.SUCCESS, -10), (Status.QUEUED, 5), (Status.QUEUED, 10)]) == 5
    assert job_priority([(Status.ERROR, -10)]) == 0
