"""Where faults may fall, and what falls there.

Every moment at which a crash or a loss could make a difference is a point: a commit of the master, an answer of the
master to its client, a call that is sent, a call that arrives at a node, a piece of work on a node, a program there.
The points of a kind are numbered as they come. A run without faults counts them; another run of the same seed comes by
the same points in the same order, until it is struck.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol


class Kind(StrEnum):
    """What happens at a point."""

    COMMIT = "commit"  # a transaction of the master's store
    REPLY = "reply"  # the master answers a client
    SEND = "send"  # a call leaves its sender
    ARRIVAL = "arrival"  # a call arrives at a node, and its answer leaves
    WORK = "work"  # a piece of blocking work of a node daemon
    COMMAND = "command"  # a program of a node daemon that changes its storage
    RECORD = "record"  # a transaction of a node daemon: its copy of the log, its table of calls


class Fault(StrEnum):
    """What may happen at a point. `BEFORE`: it does not come about; `AFTER`: it has, and nobody hears of it."""

    NOTHING = ""
    MASTER_BEFORE = "master dies before"
    MASTER_AFTER = "master dies after"
    NODE_BEFORE = "node dies before"
    NODE_AFTER = "node dies after"
    POWER_BEFORE = "power fails before"
    POWER_AFTER = "power fails after"
    POWER_TORN = "power fails within"  # of what was being written, any part is on disk
    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    DOUBLED = "doubled"
    LATE_AGAIN = "again much later"
    LATE_EPOCH = "held until there is a new master"  # and the old one is dead
    LATE_EPOCH_AGAIN = "again when there is a new master"


FAULTS: Final[Mapping[Kind, tuple[Fault, ...]]] = {
    Kind.COMMIT: (
        Fault.MASTER_BEFORE,
        Fault.MASTER_AFTER,
        Fault.POWER_BEFORE,
        Fault.POWER_TORN,
        Fault.POWER_AFTER,
    ),
    Kind.REPLY: (Fault.MASTER_BEFORE, Fault.MASTER_AFTER),
    Kind.SEND: (
        Fault.MASTER_BEFORE,
        Fault.MASTER_AFTER,
        Fault.REQUEST_LOST,
        Fault.ANSWER_LOST,
        Fault.DOUBLED,
        Fault.LATE_AGAIN,
        Fault.LATE_EPOCH,
        Fault.LATE_EPOCH_AGAIN,
    ),
    Kind.ARRIVAL: (
        Fault.MASTER_AFTER,
        Fault.NODE_BEFORE,
        Fault.NODE_AFTER,
        Fault.POWER_BEFORE,
        Fault.POWER_AFTER,
    ),
    Kind.WORK: (Fault.NODE_BEFORE, Fault.NODE_AFTER),
    Kind.COMMAND: (Fault.NODE_BEFORE, Fault.NODE_AFTER, Fault.POWER_BEFORE, Fault.POWER_AFTER),
    Kind.RECORD: (Fault.NODE_BEFORE, Fault.NODE_AFTER, Fault.POWER_BEFORE, Fault.POWER_TORN, Fault.POWER_AFTER),
}
"""What may happen at the points of each kind."""


@dataclass(frozen=True)
class Strike:
    """One fault at one point: the `number`th of its kind, from 0."""

    kind: Kind
    number: int
    fault: Fault

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.fault}"

    @classmethod
    def parse(cls, text: str) -> Strike:
        """Read what `str` gives. Raises `ValueError`."""
        where, _, fault = text.partition(": ")
        kind, _, number = where.partition(" ")
        return cls(Kind(kind), int(number), Fault(fault))


class Faults(Protocol):
    """What decides at each point."""

    def at(self, kind: Kind, text: str) -> Fault:
        """Come by a point; `text` says what happens there."""


@dataclass
class Strikes:
    """Counts all points, and lets the planned strikes fall. `points` are the texts by kind, in order."""

    planned: tuple[Strike, ...] = ()
    points: dict[Kind, list[str]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    fallen: list[Strike] = field(default_factory=list)

    def at(self, kind: Kind, text: str) -> Fault:
        """Count, and strike if it is planned."""
        number = len(self.points[kind])
        self.points[kind].append(text)
        for strike in self.planned:
            if strike.kind is kind and strike.number == number:
                self.fallen.append(strike)
                return strike.fault
        return Fault.NOTHING

    def all_strikes(self) -> list[Strike]:
        """Give every single strike that this run could have had."""
        return [
            Strike(kind, number, fault)
            for kind in Kind
            for number in range(len(self.points[kind]))
            for fault in FAULTS[kind]
        ]


@dataclass
class Chances:
    """Lets faults fall by chance, at `rate` of all points, at most so many: in the end everything must be well."""

    source: random.Random
    rate: float
    left: int = 10

    def at(self, kind: Kind, text: str) -> Fault:  # noqa: ARG002  (as `Faults`)
        """Throw the dice."""
        if not self.left or self.source.random() >= self.rate:
            return Fault.NOTHING
        self.left -= 1
        return self.source.choice(FAULTS[kind])
