"""Stories in which something befalls by their own words, with a fault besides."""

from __future__ import annotations

from pathlib import Path

from gnt.sim.exhaust import count, strike
from gnt.sim.faults import Fault, Kind, Strike
from gnt.sim.story import Step, Story, read_story

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


def test_a_job_without_a_majority_is_found_though_one_machine_stays_off() -> None:
    """It is written down, and goes on when the machine is back that can come back; the other one is not waited for."""
    steps = (Step("ready", ()), Step("off", ("node3",)), Step("do", ("OP_TEST_DELAY", "duration=1")))
    story = Story("one stays off", ("node1", "node2", "node3"), steps)
    arrivals = count(story, 1).points[Kind.ARRIVAL]
    fallen = [
        strike(story, 1, Strike(Kind.ARRIVAL, number, Fault.POWER_BEFORE))
        for number, text in enumerate(arrivals)
        if text == "node2 log_append"
    ]
    assert [one.problems for one in fallen if one.problems] == []
    assert any("Too few master candidates answer" in line for one in fallen for line in one.trace)
