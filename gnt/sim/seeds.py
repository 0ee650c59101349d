"""Runs by chance: one seed decides how many machines there are, what clients do, and what befalls them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

import gnt.sim.operations.all  # noqa: F401  (each module enters what it does)
from gnt.model.errors import GntError
from gnt.sim import setup
from gnt.sim.administrator import Administrator
from gnt.sim.clock import Stuck
from gnt.sim.faults import FAULTS, Fault, Kind
from gnt.sim.machine import seeded
from gnt.sim.mishaps import MISHAPS, befall
from gnt.sim.operations import OPERATIONS
from gnt.sim.world import SimWorld, simulated_world

FEWEST_OPERATIONS: Final = 100
FEWEST_FAULTS: Final = 20
FARTHEST: Final = 120
"""A fault at a point falls at one of so many that come next."""
REST_EVERY: Final = 50


@dataclass(frozen=True)
class SeedOutcome:
    """How a run went. `problems` empty: all was well. `happened` counts commits, calls, faults, by kind."""

    seed: int
    machines: int
    problems: tuple[str, ...]
    trace: tuple[str, ...]
    operations: Counter[str]
    ends: Counter[str]
    happened: Counter[str]
    seconds: float

    def summary(self) -> str:
        """Say in one line what it was."""
        done = self.happened
        return (
            f"seed {self.seed}: {self.machines} machines, {sum(self.operations.values())} operations,"
            f" {done['fault']} faults, {done[Kind.COMMIT]} commits, {done[Kind.SEND]} calls,"
            f" {self.seconds / 3600:.1f} h simulated"
        )


@dataclass
class Ambush:
    """Faults that fall at points to come: each counts down the points, and what falls is drawn when it is there."""

    source: random.Random
    waiting: list[int] = field(default_factory=list)

    def lay(self) -> None:
        """Have one more fault fall."""
        self.waiting.append(self.source.randint(1, FARTHEST))

    def at(self, kind: Kind, text: str) -> Fault:  # noqa: ARG002  (as `Faults`)
        """Come by a point."""
        self.waiting = [left - 1 for left in self.waiting]
        if 0 not in self.waiting:
            return Fault.NOTHING
        self.waiting.remove(0)
        return self.source.choice(FAULTS[kind])


class SeedRun:
    """One run by chance, in a world of its own."""

    def __init__(self, world: SimWorld, ambush: Ambush, source: random.Random) -> None:
        self._world = world
        self._ambush = ambush
        self._source = source
        self.operations: Counter[str] = Counter()
        self.admin = Administrator(world, seeded(world.seed, "administrator"))

    def run(self) -> list[str]:
        """Make a cluster, live in it, have it come to rest; give what is wrong."""
        try:
            with self._world.at_peace():
                self._make()
            self._live()
        except (Stuck, GntError, AssertionError) as end:
            self.admin.problems.append(f"{type(end).__name__}: {end}")
        found = [*self.admin.problems, *self._world.problems, *self._world.witness.problems]
        return list(dict.fromkeys(found))

    def _make(self) -> None:
        names = list(self._world.nodes)
        members = names if len(names) < 4 else names[: len(names) - self._source.randint(0, 1)]
        setup.whole_cluster(self.admin.client, members, self._source.choice((3, 10)))

    def _live(self) -> None:
        plan = self._faults()
        while sum(self.operations.values()) < FEWEST_OPERATIONS or self._world.happened["fault"] < FEWEST_FAULTS:
            count = sum(self.operations.values())
            for _ in range(plan[count % FEWEST_OPERATIONS]):
                self._fault()
            self._do_one()
            self.admin.attend()
            self.admin.have_master()
            if self.admin.problems:
                return
            if count % REST_EVERY == REST_EVERY - 1:
                self.admin.rest()
        self.admin.rest()

    def _faults(self) -> list[int]:
        """Say how many faults begin before each operation; some more than are asked for."""
        plan = [0] * FEWEST_OPERATIONS
        for _ in range(FEWEST_FAULTS + self._source.randint(2, 10)):
            plan[self._source.randrange(FEWEST_OPERATIONS)] += 1
        return plan

    def _fault(self) -> None:
        if self._source.random() < 0.5:
            self._ambush.lay()
        else:
            befall(self._world, self._source, self._source.choice(sorted(MISHAPS)))

    def _do_one(self) -> None:
        names = sorted(OPERATIONS)
        weights = [OPERATIONS[name].weight for name in names]
        while True:
            (name,) = self._source.choices(names, weights)
            self._world.say(f"== {name}")
            if OPERATIONS[name].do(self.admin):
                self.operations[name] += 1
                return


def run_seed(seed: int) -> SeedOutcome:
    """Make one run."""
    source = seeded(seed, "run")
    names = [f"node{number}" for number in range(1, source.randint(3, 5) + 1)]
    ambush = Ambush(seeded(seed, "faults"))
    with simulated_world(seed, names=names, faults=ambush) as world:
        began = world.clock.seconds()
        run = SeedRun(world, ambush, source)
        problems = run.run()
        return SeedOutcome(
            seed,
            len(names),
            tuple(problems),
            tuple(world.trace),
            run.operations,
            run.admin.ends,
            world.happened,
            world.clock.seconds() - began,
        )


def run_seeds(seeds: Sequence[int], processes: int = 1) -> Iterator[SeedOutcome]:
    """Make many runs, in so many processes; gives them in their order, those that went well without their traces."""
    if processes == 1:
        yield from map(_in_short, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_in_short, seeds)


def _in_short(seed: int) -> SeedOutcome:
    outcome = run_seed(seed)
    return outcome if outcome.problems else replace(outcome, trace=())
