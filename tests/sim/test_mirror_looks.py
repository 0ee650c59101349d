"""Mirrors are looked at after every event, but for those that change nothing: what that leaves out is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gnt.sim.faults import Chances
from gnt.sim.machine import seeded
from gnt.sim.mirrors import two_writers
from gnt.sim.story import Story, read_story
from gnt.sim.teller import Teller
from gnt.sim.telling import tell
from gnt.sim.world import SimWorld, simulated_world

STORIES = Path(__file__).resolve().parents[1] / "scenarios"
MIRRORED = read_story(STORIES / "mirrored_instance.txt")


def outline(world: SimWorld) -> list[str]:
    """Tell all that there is of mirrors."""
    return [
        f"{side.where} {side.connection} {side.disk} {side.primary} {side.dual} {side.peer is not None} {side.size}"
        f" {side.ends} {side.sync is not None} {side.known.outline() if side.data is not None else ''}"
        for side in world.mirrors.sides()
    ]


@contextmanager
def looking_twice(world: SimWorld) -> Iterator[list[int]]:
    """Look at everything once more after each event; gives how many sides there were each time."""
    seen: list[int] = []
    look = world.clock.after

    def twice() -> None:
        look()
        before = outline(world)
        seen.append(len(before))
        world.mirrors.settle()
        assert outline(world) == before
        assert set(two_writers(world.mirrors)) <= set(world.problems)

    world.clock.after = twice
    yield seen


@pytest.mark.parametrize("name", ["mirrored_instance", "replaced_disks"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_whole_look_after_each_event_finds_nothing_more(name: str, seed: int) -> None:
    """Whatever befalls: nothing is left to come about by itself, and no two writers are overlooked."""
    story = read_story(STORIES / f"{name}.txt")
    faults = Chances(seeded(seed, "faults"), 0.01)
    with simulated_world(seed, names=story.nodes, faults=faults) as world, looking_twice(world) as seen:
        assert tell(world, story) == []
        assert world.happened["fault"] > 0
    assert sum(count > 0 for count in seen) > 100


def test_two_writers_are_found_at_the_next_event() -> None:
    """A second side that is opened for writing, by whatever way, does not stay unseen until something else happens."""
    with simulated_world(1, names=MIRRORED.nodes) as world:
        teller = Teller(world, Story("begun", MIRRORED.nodes, MIRRORED.steps[:2]))
        assert teller.tell() == []
        (other,) = [side for side in world.mirrors.sides() if not side.primary]
        world.clock.step()
        assert world.problems == []
        other.primary = True
        world.clock.callLater(0.0, lambda: None)
        world.clock.step()
        assert ["may not be" in problem for problem in world.problems] == [True]


def test_a_cut_way_is_noticed_at_the_next_event() -> None:
    """Two sides that do not hear each other any more have come apart, though nothing else has happened to them."""
    with simulated_world(1, names=MIRRORED.nodes) as world:
        assert Teller(world, Story("begun", MIRRORED.nodes, MIRRORED.steps[:2])).tell() == []
        one, other = world.mirrors.sides()
        assert one.peer is other
        world.ways.silence(one.machine.name, other.machine.name)
        world.clock.callLater(0.0, lambda: None)
        world.clock.step()
        assert one.peer is other.peer is None
