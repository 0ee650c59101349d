"""The first simulation: init, node add, instance add, with one fault at every commit and at every node call."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from gnt.sim.exhaust import choose, count, exhaust, sample
from gnt.sim.faults import Fault, Kind, Strike, Strikes
from gnt.sim.story import Story, read_story

STORIES = Path(__file__).resolve().parents[1] / "scenarios"
SEED = 1
PROCESSES = 2


def story(name: str) -> Story:
    """Give a story by its name."""
    return read_story(STORIES / f"{name}.txt")


@cache
def counted(name: str) -> Strikes:
    """Tell a story without a fault, once, and give its points; it must go well by itself."""
    return count(story(name), SEED)


def all_is_well(name: str, strikes: list[Strike]) -> None:
    """Strike each of these points, in a run of its own."""
    assert strikes
    findings = exhaust(story(name), SEED, strikes, points={}, processes=PROCESSES)
    assert not [(str(bad.strike), bad.problems) for bad in findings.bad]


def test_the_story_has_points_of_every_kind() -> None:
    """If commits or calls were not seen any more, the tests below would strike nothing."""
    points = counted("first_instance").points
    assert len(points[Kind.COMMIT]) >= 12
    assert len(points[Kind.SEND]) >= 50
    assert len(points[Kind.ARRIVAL]) == len(points[Kind.SEND])
    assert len(points[Kind.WORK]) >= 40
    assert len(points[Kind.RECORD]) >= 100
    assert "node1 SubmitJob" in points[Kind.REPLY]
    assert {"node1 node2 disk_create", "node1 node2 os_create", "node1 node2 guest_start"} <= set(points[Kind.SEND])


def test_the_master_dies_at_every_commit() -> None:
    """Before it is written, and once it is on disk and nobody has heard: each time the cluster is clean afterwards."""
    faults = (Fault.MASTER_BEFORE, Fault.MASTER_AFTER)
    all_is_well("first_instance", choose(counted("first_instance"), kinds=[Kind.COMMIT], only=faults))


def test_the_master_dies_at_every_call() -> None:
    """Before the call leaves, and when the node has done it: each candidate's acknowledgement is one of them."""
    points = counted("first_instance")
    before = choose(points, kinds=[Kind.SEND], only=[Fault.MASTER_BEFORE])
    after = choose(points, kinds=[Kind.ARRIVAL], only=[Fault.MASTER_AFTER])
    all_is_well("first_instance", [*before, *after])


@pytest.mark.parametrize(
    "fault", [Fault.NODE_BEFORE, Fault.NODE_AFTER, Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.DOUBLED]
)
def test_nodes_die_and_messages_are_lost_or_doubled(fault: Fault) -> None:
    """A part of all such faults; `make simulate` lets all of them fall."""
    all_is_well("first_instance", sample(choose(counted("first_instance"), only=[fault]), 8))


def test_the_power_of_a_machine_fails() -> None:
    """The master's or another's: guests are gone, the configuration is not."""
    power = [Fault.POWER_BEFORE, Fault.POWER_AFTER]
    all_is_well("first_instance", sample(choose(counted("first_instance"), only=power), 8))


def test_a_guest_lives_through_any_fault() -> None:
    """Stopped, started, moved and removed, with a part of all faults; `make simulate` has the rest."""
    all_is_well("guest_life", sample(choose(counted("guest_life")), 32))
