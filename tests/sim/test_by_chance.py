"""Several faults in one story, by chance; and stories that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnt.sim.exhaust import chance, strike
from gnt.sim.story import read_story

STORIES = Path(__file__).resolve().parents[1] / "scenarios"


@pytest.mark.parametrize("seed", range(1, 7))
def test_several_faults_in_one_story(seed: int) -> None:
    """Up to ten, wherever the dice fall: in the end everything has come about and everything is clean."""
    outcome = chance(read_story(STORIES / "guest_life.txt"), seed, 0.01)
    assert outcome.problems == ()
    assert any("***" in line for line in outcome.trace)


def test_a_story_that_cannot_be_read(tmp_path: Path) -> None:
    """The line is named."""
    path = tmp_path / "bad.txt"
    path.write_text("cluster nodes=2  # two\ninit node1\nfly away\n")
    with pytest.raises(ValueError, match="line 3: fly is no step"):
        read_story(path)


def test_a_story_says_what_it_says() -> None:
    """Machines, steps, and the opcodes of jobs with values that are JSON or texts."""
    story = read_story(STORIES / "first_instance.txt")
    assert story.nodes == ("node1", "node2", "node3")
    assert [step.verb for step in story.steps] == ["init", "join", "job", "join", "job", "job"]
    op = story.steps[-1].opcode()
    assert (op["disks"], op["nics"], op["os_type"]) == ([{"size": 64}], [], "noop")


@pytest.mark.parametrize("name", sorted(path.stem for path in STORIES.glob("*.txt")))
def test_each_story_goes_well_without_a_fault(name: str) -> None:
    """What a story expects comes about, and everything is clean where it says so."""
    outcome = strike(read_story(STORIES / f"{name}.txt"), 1, None)
    assert outcome.problems == ()
