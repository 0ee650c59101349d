"""Which strikes fall into the same situation, up to names; over all stories.

A strike is a fault at a point. Its situation is what is struck and in the midst of what: the fault, what happens at the
point, the calls that the machine is at work for, the opcodes of the jobs that are under way, and what is the matter
with the cluster already, if a story has befallen it. Where the master dies over its own commit the situation is finer,
for there what counts is how far the jobs have come: how many commits there were since these are under way, the states
of their opcodes, the steps that are open in the store and those that come after them, the locks that are held and
waited for, and what nodes owe. Where only the log is shipped, the jobs are left out: what a candidate does with an
entry does not depend on what is in it. Names are left out everywhere, of machines, instances, disks and files.

`exhaust --situations` lets one strike of each situation fall. `gnt.sim.alike` is sound: two strikes that are alike
leave one world, and what comes of one world is one thing. This is a choice, and not sound: two strikes of one situation
leave worlds that differ in

* which part of its work a machine had done: the third write of a call is one situation with the first;
* which of the other machines ails, or is behind, and whether the entry that was lost made the majority;
* names: of two machines the one that comes first by name is asked first, and locks are taken in the order of names;
* parameters of opcodes: disk templates, modes, how many disks;
* what came before: jobs that are over, entries of call tables, how often something was tried already;
* what comes after: what is left of one story is not what is left of the other.

Why it is worth its runs all the same: what the product does about a fault it does in few places, and those are told
apart by the call, the opcode and the fault, not by the instance; strikes of one situation mostly go wrong together. Two
things guard against where they do not. `make simulate` lets every strike fall that is not alike, whatever situation it
falls into. And of those that are passed over, one in `AGAINST`, always the same ones, is told to the end of its story,
with no other shortening.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gnt.masterd.segments import OpenStep, decode_row
from gnt.sim.faults import Fault, Kind, Strike
from gnt.store.changes import Space
from gnt.store.reading import Reader

if TYPE_CHECKING:
    from gnt.masterd.jobs.job import Job
    from gnt.sim.world import SimWorld

AGAINST: Final = 480
"""One in so many of the strikes that are passed over is told to the end, against the choice."""

_OF_THE_LOG: Final = frozenset({"log_append", "log_state", "log_snapshot", "configure"})
"""Calls in which a candidate is brought up to date; nodes hear of the configuration in the same way."""
_AT_WORK: Final = frozenset({Kind.WORK, Kind.COMMAND, Kind.RECORD})
_MASTER_DIES: Final = frozenset({Fault.MASTER_BEFORE, Fault.MASTER_AFTER})
_MIDST: Final = " in "
"""Stands between what happens and in the midst of what."""
_LEVEL: Final = re.compile(r"/.*")

Situation = tuple[str, str]
"""What happens and in the midst of what; the fault."""


class _Op(msgspec.Struct):
    """The name of an opcode, of its row."""

    name: str = msgspec.field(name="OP_ID")


_op: Final = msgspec.json.Decoder(_Op).decode


class Situations:
    """Looks on while a story is told without any fault, and names the situation at each point."""

    def __init__(self) -> None:
        self._at: dict[tuple[Kind, int], str] = {}
        self._fine: dict[tuple[Kind, int], str] = {}
        # The calls that each machine is at work for.
        self._calls: dict[str, Counter[str]] = {}
        # The jobs that are under way, and how many commits there were since these are.
        self._jobs: list[int] = []
        self._commits = 0

    def before(self, world: SimWorld, kind: Kind, number: int, text: str) -> None:
        """See a point come."""
        machine, _, rest = text.partition(" ")
        if kind is Kind.ARRIVAL:
            self._calls.setdefault(machine, Counter())[rest] += 1
        what = " ".join(word for word in text.split(" ") if word not in world.nodes and not word.startswith("/"))
        calls = self._at_work(machine, what) if kind in _AT_WORK else [what]
        ships = kind is not Kind.COMMIT and {*_OF_THE_LOG, "the log"}.issuperset(calls)
        jobs = list(_jobs(world))
        ops = sorted({_op(bytes(op.input)).name for job in jobs for op in job.ops})
        self._at[kind, number] = f"{kind} {what}{_MIDST}{calls} {[] if ships else ops} {_ailing(world)}"
        if kind is Kind.COMMIT:
            numbers = [job.id for job in jobs]
            self._commits = self._commits + 1 if numbers == self._jobs else 0
            self._jobs = numbers
            self._fine[kind, number] = " | ".join([self._at[kind, number], str(self._commits), *_position(world, jobs)])

    def _at_work(self, machine: str, what: str) -> list[str]:
        """Name the calls for which a machine does a piece of work; its log is written for no other than those of it."""
        calls = sorted(+self._calls.get(machine, Counter()))
        return ["the log"] if what == "config.db" else [call for call in calls if call not in _OF_THE_LOG] or calls

    def after(self, kind: Kind, text: str) -> None:
        """See it pass."""
        if kind is Kind.ARRIVAL:
            machine, _, tag = text.partition(" ")
            self._calls[machine][tag] -= 1

    def of(self, strike: Strike) -> Situation | None:
        """Give the situation that a strike falls into; None for a point that was not seen."""
        where = (strike.kind, strike.number)
        found = self._fine.get(where) if strike.fault in _MASTER_DIES else None
        found = found or self._at.get(where)
        return None if found is None else (found, strike.fault.value)


@dataclass(frozen=True)
class Choice:
    """Which strikes fall: the first of each situation, each with those that come to the same; and those `against` it.

    `passed` is how many are passed over. `foremost` are the first ones of their encounter: the same fault has not been
    told yet at the same call, piece of work or answer, in the midst of whatever.
    """

    groups: Mapping[Strike, list[Strike]]
    against: frozenset[Strike]
    passed: int
    foremost: frozenset[Strike] = frozenset()

    def part(self, runs: int) -> Choice:
        """Give a choice of so many of the situations: all foremost ones, be they more, the others evenly over them.

        What is told against stays.
        """
        own = [one for one in self.groups if one not in self.against and one not in self.foremost]
        left = max(0, runs - len(self.foremost))
        some = own if len(own) <= left else [own[index * len(own) // left] for index in range(left)]
        kept = {*self.against, *self.foremost, *some}
        groups = {one: alike for one, alike in self.groups.items() if one in kept}
        return Choice(groups, self.against, self.passed + len(self.groups) - len(groups), self.foremost)


@dataclass
class Seen:
    """The situations that were told in one story after the other, and the encounters: what happens, and the fault.

    One in `one_in` of the strikes that are passed over is told against the choice; None: one in `AGAINST`.
    """

    situations: set[Situation] = field(default_factory=set)
    encounters: set[tuple[str, str]] = field(default_factory=set)
    one_in: int | None = None

    def choose(self, groups: Mapping[Strike, list[Strike]], situations: Situations, story: str) -> Choice:
        """Choose among the strikes of a story (its name) that are not alike, and enter their situations."""
        chosen: dict[Strike, list[Strike]] = {}
        against: set[Strike] = set()
        foremost: set[Strike] = set()
        for strike, alike in groups.items():
            situation = situations.of(strike)
            if situation is not None and situation in self.situations:
                if zlib.crc32(f"{story} {strike}".encode()) % (self.one_in or AGAINST):
                    continue
                against.add(strike)
            elif situation is not None:
                self.situations.add(situation)
                encounter = (situation[0].partition(_MIDST)[0], situation[1])
                if encounter not in self.encounters:
                    self.encounters.add(encounter)
                    foremost.add(strike)
            chosen[strike] = alike
        return Choice(chosen, frozenset(against), len(groups) - len(chosen), frozenset(foremost))


def _ailing(world: SimWorld) -> list[str]:
    """Say what is the matter with the cluster, before anything is struck; nothing with most."""
    nodes = world.nodes.values()
    life = world.master()
    cluster = life.daemon.cluster if life is not None else None
    members = list(cluster.nodes.values()) if cluster is not None else []
    found = {
        "off": any(not node.powered for node in nodes),
        "without a node daemon": any(node.powered and node.noded is None and node.uuid for node in nodes),
        "without a master": life is None,
        "cut": not world.ways.all_open(),
        "full": any(node.disk_full for node in nodes),
        "offline": any(node.offline for node in members),
        "drained": any(node.drained for node in members),
    }
    return [what for what, so in found.items() if so]


def _jobs(world: SimWorld) -> Iterator[Job]:
    """Give the jobs that are not over, as the master has them in memory."""
    life = world.master()
    daemon: Any = life.daemon if life is not None else None
    for job in daemon.parts.queue if daemon is not None else ():
        if not job.final:
            yield job


def _position(world: SimWorld, jobs: list[Job]) -> Iterator[str]:
    """Tell how far the jobs have come."""
    yield from sorted(str([f"{_op(bytes(op.input)).name} {op.status}" for op in job.ops]) for job in jobs)
    life = world.master()
    node = next((node for node in world.nodes.values() if life is not None and node.masterd is life), None)
    if node is None or life is None:
        return
    daemon: Any = life.daemon
    snapshot = daemon.parts.locks.snapshot()
    locks = Counter(f"{_LEVEL.sub('', lock.name)} {lock.mode} {len(lock.pending)}" for lock in snapshot)
    yield str(sorted(locks.items()))
    path = str(node.layout.config_db)
    store = Reader(world.readers.of(path), path)
    for _, value in store.rows(Space.UNDO):
        row = decode_row(value)
        yield f"{row.kept} {[[_step(step) for step in segment.steps] for segment in row.segments]}"
    yield f"owed {len(store.rows(Space.DEBT))}"


def _step(step: OpenStep) -> str:
    return f"{step.name} {step.undo is not None} {step.onward}"
