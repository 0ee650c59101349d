"""A world that goes on in another process is the world that it would have been."""

from __future__ import annotations

from pathlib import Path

from gnt.sim.exhaust import choose, count, exhaust, sample, strike
from gnt.sim.seeds import run_seed, run_seeds, shape_of
from gnt.sim.story import read_story

STORY = read_story(Path(__file__).resolve().parents[1] / "scenarios/first_instance.txt")


def test_a_strike_in_a_copied_world_is_the_strike_in_a_run_of_its_own() -> None:
    """As many events, to the last; all strikes fall, and leave nothing of the one world in another."""
    strikes = sample(choose(count(STORY, 1)), 6)
    found = exhaust(STORY, 1, strikes, points={}, processes=2)
    assert not found.bad
    events = {str(one.strike): one.events for one in found.all}
    assert events == {str(one): strike(STORY, 1, one).events for one in strikes}


def test_a_seed_in_a_copied_world_is_the_seed_in_a_run_of_its_own() -> None:
    """The same operations, faults and calls; other seeds before it make no difference."""
    seeds = [seed for seed in range(1, 40) if shape_of(seed) == shape_of(1)][:2]
    found = {one.seed: one for one in run_seeds(seeds, processes=2)}
    alone = run_seed(seeds[1])
    assert found[seeds[1]].happened == alone.happened
    assert found[seeds[1]].seconds == alone.seconds
