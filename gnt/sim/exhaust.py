"""A story with one fault at each point where one may fall: count the points, then strike them one after the other.

Three things are told once that come to the same: strikes that leave the same world (`gnt.sim.alike`), what is left of a
story from a state at rest that was met before (`gnt.sim.rests`), and what is left of it in another story that begins
with the same steps. `docs/decisions/what-is-told-once.md` says why that leaves nothing out; some strikes are told to
the end whatever they come by, so that it shows if it does.
"""

from __future__ import annotations

import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gnt.sim.alike import Alike
from gnt.sim.faults import Chances, Fault, Kind, Strike, Strikes
from gnt.sim.forking import Forks, place_for_a_world
from gnt.sim.machine import seeded
from gnt.sim.rests import state_of
from gnt.sim.situations import Choice
from gnt.sim.story import Story
from gnt.sim.teller import Teller
from gnt.sim.telling import tell
from gnt.sim.world import SimWorld, simulated_world

PROOF: Final = 24
"""One in so many strikes is told to the end, through states that were met before."""

State = tuple[str, str]
"""What is left of a story at a rest, and a digest of the state that it is left from."""


@dataclass(frozen=True)
class Outcome:
    """How a run went. `problems` empty: all was well. `events` is how many the clock had.

    `rests` are the states at rest that it came by, `told` whether it ended with the story and not at the last of them.
    `alike` are strikes that come to the same, and were not told.
    """

    strike: Strike | None
    problems: tuple[str, ...]
    trace: tuple[str, ...]
    events: int
    rests: tuple[State, ...] = ()
    told: bool = True
    alike: tuple[Strike, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What a search found: how many points of each kind there are, all runs that were made, and how long that took.

    `met`: strikes in steps with which another story began too, after which it went on from the same state. `passed`:
    those that are not alike and were passed over, in situations that were told; `against` that choice so many fell.
    """

    points: dict[Kind, int]
    all: tuple[Outcome, ...]
    seconds: float
    met: int = 0
    passed: int = 0
    against: int = 0

    @property
    def bad(self) -> tuple[Outcome, ...]:
        """Give those that went wrong."""
        return tuple(outcome for outcome in self.all if outcome.problems)

    @property
    def strikes(self) -> int:
        """Give how many strikes it speaks of."""
        return sum(1 + len(one.alike) for one in self.all) + self.met

    def summary(self) -> str:
        """Say it in one line."""
        counted = ", ".join(f"{count} {kind}s" for kind, count in self.points.items())
        whole = sum(one.told for one in self.all)
        over = f", {self.passed} passed over, {self.against} told against that" if self.passed else ""
        return (
            f"{counted}; {self.strikes} strikes{over}, {len(self.all)} runs, {whole} of them to the end,"
            f" in {self.seconds:.0f} s, {len(self.bad)} went wrong"
        )


@dataclass
class Known:
    """What has been found to go well, in one story after the other.

    `well`: states from which the rest of a story was told. `rests`: to which state a strike has led, by the steps of
    the story that had been told by then.
    """

    well: set[State] = field(default_factory=set)
    rests: dict[tuple[str, Strike], str] = field(default_factory=dict)

    def has(self, story: Story, strike: Strike, step: int) -> bool:
        """Say whether this strike, in this step, leads to a state from which the rest of the story goes well."""
        state = self.rests.get((_told(story, step + 1), strike))
        return state is not None and (_left(story, step + 1), state) in self.well

    def learn(self, outcome: Outcome, story: Story, step: int) -> None:
        """Take in what a run has shown."""
        if outcome.problems or outcome.strike is None:
            return
        self.well.update(outcome.rests)
        left = _left(story, step + 1)
        states = [state for rest, state in outcome.rests if rest == left]
        for strike in (outcome.strike, *outcome.alike) if states else ():
            self.rests[_told(story, step + 1), strike] = states[0]


def _told(story: Story, step: int) -> str:
    return "\n".join((f"{len(story.nodes)} {story.pool}", *map(str, story.steps[:step])))


def _left(story: Story, step: int, *, again: bool = False) -> str:
    return "\n".join(("again" if again else "", *map(str, story.steps[step:])))


def count(story: Story, seed: int) -> Strikes:
    """Tell a story without a fault, and count its points. Raises `AssertionError` if it goes wrong by itself."""
    return survey(story, seed)[0]


def survey(story: Story, seed: int) -> tuple[Strikes, Alike]:
    """Do so, and see which strikes would be alike."""
    faults = Strikes()
    with simulated_world(seed, names=story.nodes, faults=faults) as world:
        world.alike = alike = Alike()
        problems = tell(world, story)
    if problems:
        raise AssertionError(f"{story.name} goes wrong without any fault: {problems}")
    return faults, alike


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


def part(strikes: Sequence[Strike], alike: Alike, runs: int) -> list[Strike]:
    """Give those that so many runs tell of, evenly over all that do not come to the same."""
    groups = alike.grouped(strikes)
    return [one for first in sample(list(groups), runs) for one in (first, *groups[first])]


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
    alike: Alike | None = None,
    known: Known | None = None,
    choice: Choice | None = None,
) -> Findings:
    """Strike each of these points in a world of its own.

    With `alike`, of strikes that come to the same one falls; with `known`, what is left of the story is told once from
    each state at rest; a `choice` says which of those that are not alike fall.
    """
    began = time.monotonic()
    groups: Mapping[Strike, list[Strike]] = {one: [] for one in strikes} if alike is None else alike.grouped(strikes)
    steps = {} if alike is None else alike.steps
    whole = frozenset[Strike]()
    if choice is not None:
        groups, whole = choice.groups, choice.against
    search = Search(story, seed, groups, steps, known, whole=whole)
    found: list[Outcome] = []
    for outcome in search.outcomes(processes):
        found.append(outcome)
        tell_progress(len(found), len(groups), sum(1 for one in found if one.problems))
    passed = choice.passed if choice is not None else 0
    return Findings(points, tuple(found), time.monotonic() - began, search.met, passed, len(whole))


class ForkingStrikes:
    """Counts all points; where a strike is planned, the world goes on in another process in which it falls."""

    def __init__(self, search: Search, processes: int) -> None:
        self.forks: Forks[Outcome] = Forks(processes)
        self.world: SimWorld | None = None
        self.fallen: Strike | None = None
        self._search = search
        self._numbers: Counter[Kind] = Counter()
        self._planned: dict[tuple[Kind, int], list[Strike]] = {}
        for one in search.groups:
            self._planned.setdefault((one.kind, one.number), []).append(one)

    def at(self, kind: Kind, text: str) -> Fault:  # noqa: ARG002  (as `Faults`)
        """Come by a point."""
        if self.fallen is not None:
            return Fault.NOTHING
        number = self._numbers[kind]
        self._numbers[kind] += 1
        for one in self._planned.pop((kind, number), ()):
            assert self.world is not None  # noqa: S101  (it has come by a point)
            self._search.learn(self.forks.take())
            if self._search.is_known(one):
                continue
            if self.forks.fork(self.world):
                self.fallen = one
                return one.fault
        return Fault.NOTHING

    def left(self) -> list[Strike]:
        """Give the strikes at whose points nobody came by."""
        return [one for planned in self._planned.values() for one in planned]


class Met(BaseException):
    """The rest of the story has been told already, from the state that it is in."""


class Search:
    """Tells a story once without any fault, and from each of the points on once more with one.

    `groups` are the strikes, each with those that it tells of; `steps` has the step of the story that each point is in;
    those that are to be told `whole` are told to the end in any case. `met` counts strikes that need not fall.
    """

    def __init__(
        self,
        story: Story,
        seed: int,
        groups: Mapping[Strike, list[Strike]],
        steps: Mapping[tuple[Kind, int], int],
        known: Known | None,
        *,
        whole: frozenset[Strike] = frozenset(),
    ) -> None:
        self.groups = groups
        self.met = 0
        self._story = story
        self._seed = seed
        self._steps = steps
        self._known = known
        self._whole = whole
        self._found: list[Outcome] = []
        self._rests: list[State] = []
        self._faults: ForkingStrikes | None = None

    def outcomes(self, processes: int) -> Iterator[Outcome]:
        """Do so; give how each went."""
        self._faults = faults = ForkingStrikes(self, processes)
        with (
            place_for_a_world() as base,
            simulated_world(self._seed, names=self._story.nodes, faults=faults, base=base) as world,
        ):
            faults.world = world
            told = True
            try:
                problems = tell(world, self._story, self._at_rest if self._known is not None else None)
            except Met:
                problems, told = [], False
            except BaseException:
                if not faults.forks.child:
                    raise
                problems = [f"it ended in a way that nobody foresaw: {traceback.format_exc()}"]
            if faults.forks.child:
                self._end(world, problems, told=told)
            if problems:
                raise AssertionError(f"{self._story.name} goes wrong without any fault: {problems}")
        self.learn(faults.forks.wait())
        yield from self._found
        yield from (Outcome(one, (f"{one} did not fall: nobody came by",), (), 0) for one in faults.left())

    def is_known(self, strike: Strike) -> bool:
        """Say whether what comes of a strike was seen in another story, which began with the same steps."""
        step = self._steps.get((strike.kind, strike.number))
        if strike in self._whole:
            return False
        known = self._known is not None and step is not None and self._known.has(self._story, strike, step)
        if known:
            self.met += 1 + len(self.groups[strike])
        return known

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Take in how runs went."""
        for one in outcomes:
            self._found.append(one)
            if self._known is not None and one.strike is not None:
                step = self._steps.get((one.strike.kind, one.strike.number), len(self._story.steps))
                self._known.learn(one, self._story, step)

    def _at_rest(self, teller: Teller, step: int, again: bool) -> None:
        """End the story here if it is known what comes now."""
        faults, known = self._faults, self._known
        if faults is None or known is None or faults.fallen is None:
            return
        world = teller.world
        if world.problems or world.witness.problems:
            return
        state = (_left(self._story, step, again=again), state_of(teller.client, teller.labels))
        self._rests.append(state)
        if state in known.well and faults.fallen not in self._whole and zlib.crc32(str(faults.fallen).encode()) % PROOF:
            raise Met

    def _end(self, world: SimWorld, problems: list[str], *, told: bool) -> None:
        faults = self._faults
        assert faults is not None and faults.fallen is not None  # noqa: S101, PT018  (only then there is an end)
        trace = tuple(world.trace) if problems else ()
        alike = tuple(self.groups[faults.fallen])
        rests = tuple(self._rests)
        faults.forks.finish(Outcome(faults.fallen, tuple(problems), trace, world.clock.steps, rests, told, alike))
