"""Stories in which something befalls by their own words, with a fault besides."""

from __future__ import annotations

from pathlib import Path

from gnt.sim.exhaust import strike
from gnt.sim.faults import Fault, Kind, Strike
from gnt.sim.story import read_story

STORIES = Path(__file__).resolve().parents[1] / "scenarios"


def test_a_fault_leaves_nothing_of_what_a_story_expects_and_all_comes_right() -> None:
    """An old master that nobody lets in need not start: the one that serves takes its node in again."""
    story = read_story(STORIES / "two_nodes.txt")
    outcome = strike(story, 1, Strike(Kind.COMMIT, 4, Fault.MASTER_BEFORE))
    assert outcome.problems == ()
    assert any(line.endswith("everything is mended") for line in outcome.trace)


def test_without_a_fault_it_must_come_about() -> None:
    """Then nothing is mended but by the story itself."""
    outcome = strike(read_story(STORIES / "two_nodes.txt"), 1, None)
    assert outcome.problems == ()
    assert not any(line.endswith("everything is mended") for line in outcome.trace)
