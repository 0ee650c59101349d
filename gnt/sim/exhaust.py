"""A story with one fault at each point where one may fall: count the points, then strike them one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gnt.sim.faults import Chances, Fault, Kind, Strike, Strikes
from gnt.sim.forking import Forks, place_for_a_world
from gnt.sim.machine import seeded
from gnt.sim.story import Story
from gnt.sim.telling import tell
from gnt.sim.world import SimWorld, simulated_world


@dataclass(frozen=True)
class Outcome:
    """How a run went. `problems` empty: all was well. `events` is how many the clock had."""

    strike: Strike | None
    problems: tuple[str, ...]
    trace: tuple[str, ...]
    events: int


@dataclass(frozen=True)
class Findings:
    """What a search found: how many points of each kind there are, all runs that were made, and how long that took."""

    points: dict[Kind, int]
    all: tuple[Outcome, ...]
    seconds: float

    @property
    def bad(self) -> tuple[Outcome, ...]:
        """Give those that went wrong."""
        return tuple(outcome for outcome in self.all if outcome.problems)

    def summary(self) -> str:
        """Say it in one line."""
        counted = ", ".join(f"{count} {kind}s" for kind, count in self.points.items())
        return f"{counted}; {len(self.all)} runs in {self.seconds:.0f} s, {len(self.bad)} went wrong"


def count(story: Story, seed: int) -> Strikes:
    """Tell a story without a fault, and count its points. Raises `AssertionError` if it goes wrong by itself."""
    faults = Strikes()
    with simulated_world(seed, names=story.nodes, faults=faults) as world:
        problems = tell(world, story)
    if problems:
        raise AssertionError(f"{story.name} goes wrong without any fault: {problems}")
    return faults


def strike(story: Story, seed: int, fault: Strike | None) -> Outcome:
    """Tell a story with one fault."""
    faults = Strikes((fault,) if fault is not None else ())
    with simulated_world(seed, names=story.nodes, faults=faults) as world:
        problems = tell(world, story)
        trace, events = tuple(world.trace), world.clock.steps
    if fault is not None and not faults.fallen:
        problems.append(f"{fault} did not fall: the run is not the one that was counted")
    return Outcome(fault, tuple(problems), trace, events)


def chance(story: Story, seed: int, rate: float) -> Outcome:
    """Tell a story in which faults fall by chance, at `rate` of all points."""
    faults = Chances(seeded(seed, "faults"), rate)
    with simulated_world(seed, names=story.nodes, faults=faults) as world:
        problems = tell(world, story)
        return Outcome(None, tuple(problems), tuple(world.trace), world.clock.steps)


def sample(strikes: Sequence[Strike], runs: int) -> list[Strike]:
    """Give so many of the strikes, evenly over them; all if there are no more."""
    if runs >= len(strikes):
        return list(strikes)
    return [strikes[index * len(strikes) // runs] for index in range(runs)]


def choose(faults: Strikes, *, kinds: Sequence[Kind] = tuple(Kind), only: Sequence[Fault] = ()) -> list[Strike]:
    """Give the strikes of some kinds, of all or of some faults."""
    return [one for one in faults.all_strikes() if one.kind in kinds and (not only or one.fault in only)]


def exhaust(
    story: Story,
    seed: int,
    strikes: Sequence[Strike],
    *,
    points: dict[Kind, int],
    processes: int = 1,
    tell_progress: Callable[[int, int, int], None] = lambda _done, _all, _bad: None,
) -> Findings:
    """Strike each of these points in a world of its own."""
    began = time.monotonic()
    found: list[Outcome] = []
    for outcome in _outcomes(story, seed, strikes, processes):
        found.append(outcome)
        tell_progress(len(found), len(strikes), sum(1 for one in found if one.problems))
    return Findings(points, tuple(found), time.monotonic() - began)


class ForkingStrikes:
    """Counts all points; where a strike is planned, the world goes on in another process in which it falls."""

    def __init__(self, planned: Sequence[Strike], processes: int) -> None:
        self.forks: Forks[Outcome] = Forks(processes)
        self.world: SimWorld | None = None
        self.fallen: Strike | None = None
        self._counted = Strikes()
        self._planned: dict[tuple[Kind, int], list[Strike]] = {}
        for one in planned:
            self._planned.setdefault((one.kind, one.number), []).append(one)

    def at(self, kind: Kind, text: str) -> Fault:
        """Come by a point."""
        if self.fallen is not None:
            return Fault.NOTHING
        number = len(self._counted.points[kind])
        self._counted.at(kind, text)
        for one in self._planned.pop((kind, number), ()):
            assert self.world is not None  # noqa: S101  (it has come by a point)
            if self.forks.fork(self.world):
                self.fallen = one
                return one.fault
        return Fault.NOTHING

    def left(self) -> list[Strike]:
        """Give the strikes at whose points nobody came by."""
        return [one for planned in self._planned.values() for one in planned]


def _outcomes(story: Story, seed: int, strikes: Sequence[Strike], processes: int) -> Iterator[Outcome]:
    """Tell a story once without any fault, and from each of these points on once more with one."""
    faults = ForkingStrikes(strikes, processes)
    with (
        place_for_a_world() as base,
        simulated_world(seed, names=story.nodes, faults=faults, base=base) as world,
    ):
        faults.world = world
        try:
            problems = tell(world, story)
        finally:
            if faults.forks.child:
                _end(faults, world, locals().get("problems"))
        if problems:
            raise AssertionError(f"{story.name} goes wrong without any fault: {problems}")
    yield from faults.forks.wait()
    yield from (Outcome(one, (f"{one} did not fall: nobody came by",), (), 0) for one in faults.left())


def _end(faults: ForkingStrikes, world: SimWorld, problems: list[str] | None) -> None:
    found = ("it ended in a way that nobody foresaw",) if problems is None else tuple(problems)
    trace = tuple(world.trace) if found else ()
    faults.forks.finish(Outcome(faults.fallen, found, trace, world.clock.steps))
