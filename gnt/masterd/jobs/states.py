"""The life of an opcode as one machine; what a job is follows from its opcodes.

The transitions are those of `spec/jobs.md`, section 3, and no others: an event that a state does not know raises
`automat.NoTransition`. The machine is walked once for each pair of state and event and remembered, so a step costs a
dictionary lookup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cache
from typing import Final, Protocol

from automat import TypeMachineBuilder


class Status(StrEnum):
    """Statuses of opcodes and jobs, as they cross the wire, in the order in which they compare."""

    QUEUED = "queued"
    WAITING = "waiting"
    CANCELING = "canceling"
    RUNNING = "running"
    CANCELED = "canceled"
    SUCCESS = "success"
    ERROR = "error"


FINAL: Final = frozenset({Status.CANCELED, Status.SUCCESS, Status.ERROR})

HIGHEST_PRIORITY: Final = -20
SUBMITTABLE: Final = (-10, 0, 10)


class Events(Protocol):
    """What may happen to an opcode."""

    def pick_up(self) -> Status:
        """Take its turn: look at its dependencies, then ask for its locks."""

    def locked(self) -> Status:
        """Run, the locks being held."""

    def cancel(self) -> Status:
        """Be asked to end before it runs."""

    def notice(self) -> Status:
        """Let go, the wish having been seen."""

    def succeed(self) -> Status:
        """Run to the end."""

    def fail(self) -> Status:
        """Be unable to run, fail while running, or be found interrupted."""

    def give_up(self) -> Status:
        """Never have a turn: an opcode before it failed."""

    def retry(self) -> Status:
        """Lack something for the moment, and ask for the locks again."""

    def put_back(self) -> Status:
        """Start over: a new master finds it waiting."""


class _Nothing:
    """The machine keeps no data beside its state."""


_builder = TypeMachineBuilder(Events, _Nothing)
_STATES: Final = {status: _builder.state(status.value) for status in Status}


def _transition(old: Status, event: Callable[[Events], Status], new: Status) -> None:
    _STATES[old].upon(event).to(_STATES[new]).returns(new)


_transition(Status.QUEUED, Events.pick_up, Status.WAITING)
_transition(Status.QUEUED, Events.cancel, Status.CANCELED)
_transition(Status.QUEUED, Events.give_up, Status.ERROR)
_transition(Status.WAITING, Events.locked, Status.RUNNING)
_transition(Status.WAITING, Events.cancel, Status.CANCELING)
_transition(Status.WAITING, Events.fail, Status.ERROR)
_transition(Status.WAITING, Events.put_back, Status.QUEUED)
_transition(Status.CANCELING, Events.notice, Status.CANCELED)
_transition(Status.CANCELING, Events.fail, Status.ERROR)
_transition(Status.RUNNING, Events.succeed, Status.SUCCESS)
_transition(Status.RUNNING, Events.fail, Status.ERROR)
_transition(Status.RUNNING, Events.retry, Status.WAITING)

MACHINE: Final = _builder.build()
"""For drawing (`MACHINE.asDigraph()`); `after` walks it."""


@cache
def after(status: Status, event: Callable[[Events], Status]) -> Status:
    """Give the status that follows: `after(Status.QUEUED, Events.pick_up)`. Raises `automat.NoTransition`."""
    result: Status = getattr(_at(status), event.__name__)()
    return result


def _at(status: Status) -> Events:
    return MACHINE(_Nothing(), _STATES[status])


def job_status(opcodes: Iterable[Status]) -> Status:
    """Derive a job's status from those of its opcodes, in order (`spec/jobs.md`, section 1)."""
    status = Status.QUEUED
    succeeded = True
    for opcode in opcodes:
        if opcode is Status.SUCCESS:
            continue
        succeeded = False
        if opcode is Status.QUEUED:
            continue
        status = opcode
        if opcode in (Status.CANCELING, Status.ERROR, Status.CANCELED):
            return status
    return Status.SUCCESS if succeeded else status


def job_priority(opcodes: Iterable[tuple[Status, int]]) -> int:
    """Derive a job's priority: the most urgent (lowest) of its unfinished opcodes; 0 if there are none."""
    return min((priority for status, priority in opcodes if status not in FINAL), default=0)
