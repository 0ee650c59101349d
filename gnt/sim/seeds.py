"""Runs by chance: one seed decides how many machines there are, what clients do, and what befalls them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import gnt.sim.operations.all  # noqa: F401  (each module enters what it does)
from gnt.model.errors import GntError
from gnt.sim import setup
from gnt.sim.administrator import Administrator
from gnt.sim.clock import Stuck
from gnt.sim.faults import FAULTS, Fault, Kind
from gnt.sim.forking import Forks, place_for_a_world
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

    source: random.Random = field(default_factory=lambda: seeded(0, "faults"))
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


@dataclass(frozen=True)
class Shape:
    """What a seed begins with: so many machines, so many of them in the cluster, the size of its candidate pool."""

    machines: int
    members: int
    pool: int

    @property
    def names(self) -> list[str]:
        """Give the machines' names."""
        return [f"node{number}" for number in range(1, self.machines + 1)]


def shape_of(seed: int) -> Shape:
    """Say what a seed begins with. Most clusters are small: what goes wrong goes wrong with three."""
    source = seeded(seed, "shape")
    machines = source.choice((3, 3, 3, 4, 4, 5))
    members = machines if machines == 3 else machines - source.randint(0, 1)
    return Shape(machines, members, source.choice((3, 10)))


class SeedRun:
    """One run by chance, in a world of its own: `make` a cluster, then `run` with a seed."""

    def __init__(self, world: SimWorld, ambush: Ambush, shape: Shape) -> None:
        self._world = world
        self._ambush = ambush
        self._shape = shape
        self._source = world.source("run")
        self.operations: Counter[str] = Counter()
        self.admin = Administrator(world, world.source("administrator"))

    def make(self) -> None:
        """Make the cluster, without any fault; the same for all seeds of one shape."""
        with self._world.at_peace():
            setup.whole_cluster(self.admin.client, self._shape.names[: self._shape.members], self._shape.pool)

    def run(self, seed: int) -> SeedOutcome:
        """Live in it, and have it come to rest."""
        world, admin = self._world, self.admin
        world.go_on_with(seed)
        began = world.clock.seconds()
        try:
            self._live()
        except (Stuck, GntError, AssertionError) as end:
            admin.problems.append(f"{type(end).__name__}: {end}")
        found = [*admin.problems, *world.problems, *world.witness.problems]
        return SeedOutcome(
            seed=seed,
            machines=self._shape.machines,
            problems=tuple(dict.fromkeys(found)),
            trace=tuple(world.trace),
            operations=self.operations,
            ends=admin.ends,
            happened=world.happened,
            seconds=world.clock.seconds() - began,
        )

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


@contextmanager
def _prepared(shape: Shape, base: Path | None = None) -> Iterator[tuple[SimWorld, SeedRun]]:
    """Have a world of a shape, with its cluster made."""
    ambush = Ambush()
    with simulated_world(0, names=shape.names, faults=ambush, base=base) as world:
        ambush.source = world.source("faults")
        run = SeedRun(world, ambush, shape)
        run.make()
        yield world, run


def run_seed(seed: int) -> SeedOutcome:
    """Make one run."""
    with _prepared(shape_of(seed)) as (_, run):
        return run.run(seed)


def run_seeds(seeds: Sequence[int], processes: int = 1) -> Iterator[SeedOutcome]:
    """Make many runs, in so many processes; gives them as they end, those that went well without their traces.

    For each shape one cluster is made, and the world copied for each seed.
    """
    by_shape: dict[Shape, list[int]] = {}
    for seed in seeds:
        by_shape.setdefault(shape_of(seed), []).append(seed)
    forks: Forks[SeedOutcome] = Forks(processes)
    for shape, group in by_shape.items():
        with place_for_a_world() as base, _prepared(shape, base) as (world, run):
            for seed in group:
                if forks.fork(world):
                    forks.finish(_in_short(run.run(seed)))
                yield from forks.take()
            yield from forks.wait()


def _in_short(outcome: SeedOutcome) -> SeedOutcome:
    return outcome if outcome.problems else replace(outcome, trace=())
