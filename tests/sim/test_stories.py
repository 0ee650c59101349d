"""Stories with one fault: at every commit of the first one, and at a part of all points of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from gnt.sim.alike import Alike
from gnt.sim.exhaust import Known, choose, exhaust, part, survey
from gnt.sim.faults import Fault, Kind, Strike, Strikes
from gnt.sim.story import Story, read_story

STORIES = Path(__file__).resolve().parents[1] / "scenarios"
SEED = 1
PROCESSES = 2


def story(name: str) -> Story:
    """Give a story by its name."""
    return read_story(STORIES / f"{name}.txt")


@cache
def surveyed(name: str) -> tuple[Strikes, Alike]:
    """Tell a story without a fault, once, and give its points; it must go well by itself."""
    return survey(story(name), SEED)


def counted(name: str) -> Strikes:
    """Give the points of a story."""
    return surveyed(name)[0]


def a_part(name: str, strikes: list[Strike], runs: int) -> list[Strike]:
    """Give the strikes that so many runs tell of."""
    return part(strikes, surveyed(name)[1], runs)


KNOWN = Known()
RUNS = 32
"""Of each story; `make simulate` makes all."""


def all_is_well(name: str, strikes: list[Strike]) -> None:
    """Strike each of these points, in a run of its own."""
    assert strikes
    _, alike = surveyed(name)
    findings = exhaust(story(name), SEED, strikes, points={}, processes=PROCESSES, alike=alike, known=KNOWN)
    assert not [(str(bad.strike), bad.problems) for bad in findings.bad]


def test_the_story_has_points_of_every_kind() -> None:
    """If commits or calls were not seen any more, the tests below would strike nothing."""
    points = counted("first_instance").points
    assert len(points[Kind.COMMIT]) >= 12
    assert len(points[Kind.SEND]) >= 50
    assert len(points[Kind.ARRIVAL]) == len(points[Kind.SEND])
    assert len(points[Kind.WORK]) >= 40
    assert len(points[Kind.RECORD]) >= 80
    assert "node1 SubmitJob" in points[Kind.REPLY]
    assert {"node1 node2 disk_create", "node1 node2 os_create", "node1 node2 guest_start"} <= set(points[Kind.SEND])


def test_the_master_dies_at_every_commit() -> None:
    """Before it is written, and once it is on disk and nobody has heard: each time the cluster is clean afterwards."""
    faults = (Fault.MASTER_BEFORE, Fault.MASTER_AFTER)
    all_is_well("first_instance", choose(counted("first_instance"), kinds=[Kind.COMMIT], only=faults))


def test_the_master_dies_at_every_call() -> None:
    """A part of them: before the call leaves, and when the node has done it; candidates' acknowledgements are calls."""
    points = counted("first_instance")
    before = choose(points, kinds=[Kind.SEND], only=[Fault.MASTER_BEFORE])
    after = choose(points, kinds=[Kind.ARRIVAL], only=[Fault.MASTER_AFTER])
    all_is_well("first_instance", a_part("first_instance", [*before, *after], 24))


NAMES = sorted(path.stem for path in STORIES.glob("*.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_a_story_goes_well_with_any_fault(name: str, record_property: Callable[[str, object], None]) -> None:
    """A part of all faults at all points, evenly over them; `make simulate` lets every one fall."""
    faults, alike = surveyed(name)
    strikes = choose(faults)
    told = a_part(name, strikes, RUNS)
    what = ", ".join(f"{len(texts)} {kind}s" for kind, texts in faults.points.items())
    groups = len(alike.grouped(strikes))
    record_property("simulated", f"{name}: {what}; {len(strikes)} strikes, {groups} not alike, {len(told)} told")
    all_is_well(name, told)
