"""A story with one fault at each point where one may fall: count the points, then strike them one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from gnt.sim.faults import Chances, Fault, Kind, Strike, Strikes
from gnt.sim.machine import seeded
from gnt.sim.story import Story
from gnt.sim.telling import tell
from gnt.sim.world import simulated_world


@dataclass(frozen=True)
class Outcome:
    """How a run went. `problems` empty: all was well. `events` is how many the clock had."""

    strike: Strike | None
    problems: tuple[str, ...]
    trace: tuple[str, ...]
    events: int


@dataclass(frozen=True)
class Findings:
    """What a search found: how many points of each kind there are, how many runs were made, those that went wrong."""

    points: dict[Kind, int]
    runs: int
    bad: tuple[Outcome, ...]
    seconds: float

    def summary(self) -> str:
        """Say it in one line."""
        counted = ", ".join(f"{count} {kind}s" for kind, count in self.points.items())
        return f"{counted}; {self.runs} runs in {self.seconds:.0f} s, {len(self.bad)} went wrong"


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
    """Strike each of these points in a run of its own."""
    began = time.monotonic()
    bad: list[Outcome] = []
    for number, outcome in enumerate(_outcomes(story, seed, strikes, processes), 1):
        if outcome.problems:
            bad.append(outcome)
        tell_progress(number, len(strikes), len(bad))
    return Findings(points, len(strikes), tuple(bad), time.monotonic() - began)


def _outcomes(story: Story, seed: int, strikes: Sequence[Strike], processes: int) -> Iterator[Outcome]:
    if processes == 1:
        yield from (strike(story, seed, one) for one in strikes)
        return
    with ProcessPoolExecutor(processes) as pool:
        many = len(strikes)
        yield from pool.map(strike, [story] * many, [seed] * many, strikes, chunksize=4)
