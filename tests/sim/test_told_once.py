"""What is told once comes to the same: strikes that are alike, and stories that go on from one state."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gnt.masterd import segments
from gnt.sim.exhaust import Known, Search, choose, exhaust, part, sample, survey
from gnt.sim.faults import Fault, Kind, Strike, Strikes
from gnt.sim.rests import state_of
from gnt.sim.story import Story, read_story
from gnt.sim.teller import Teller
from gnt.sim.telling import tell
from gnt.sim.world import simulated_world

STORIES = Path(__file__).resolve().parents[1] / "scenarios"
FIRST = read_story(STORIES / "first_instance.txt")
RESTARTS = read_story(STORIES / "node_restarts.txt")
SEED = 1


class Stop(BaseException):
    """The story need not go on."""


def first_rest(story: Story, strike: Strike, seed: int = SEED) -> tuple[int, bool, str]:
    """Let a fault fall, and give the first rest after it: the next step, whether it is done again, the state."""
    faults, found = Strikes((strike,)), []

    def at_rest(teller: Teller, step: int, again: bool) -> None:
        if faults.fallen:
            found.append((step, again, state_of(teller.client, teller.labels)))
            raise Stop

    with simulated_world(seed, names=story.nodes, faults=faults) as world:
        try:
            problems = tell(world, story, at_rest)
        except Stop:
            problems = []
    assert problems == []
    return found[0]


def groups_of(story: Story) -> list[tuple[Strike, Strike]]:
    """Give pairs of strikes that are said to be alike: the first and the last of a group, where they differ in kind."""
    faults, alike = survey(story, SEED)
    groups = alike.grouped(choose(faults)).items()
    return [(first, rest[-1]) for first, rest in groups if rest and rest[-1].kind is not first.kind]


@pytest.mark.parametrize("story", [FIRST, RESTARTS], ids=lambda story: story.name)
def test_strikes_that_are_alike_lead_to_one_state(story: Story) -> None:
    """A part of them, each told by itself: there the cluster comes to rest at the same step, in the same state."""
    pairs = groups_of(story)
    assert len(pairs) > 50
    for one, other in [pairs[index * len(pairs) // 8] for index in range(8)]:
        assert first_rest(story, one) == first_rest(story, other), (one, other)


def test_strikes_that_are_not_alike_are_told_each() -> None:
    """What becomes of calls, torn writes, and deaths between which something was let out."""
    faults, alike = survey(RESTARTS, SEED)
    strikes = choose(faults)
    groups = alike.grouped(strikes)
    assert sum(1 + len(rest) for rest in groups.values()) == len(strikes)
    lone = {Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.DOUBLED, Fault.LATE_AGAIN, Fault.LATE_EPOCH, Fault.POWER_TORN}
    assert all(one in groups and not groups[one] for one in strikes if one.fault in lone)
    commits = [Strike(Kind.COMMIT, number, Fault.MASTER_BEFORE) for number in range(2)]
    assert len(alike.grouped(commits)) == 2


def test_a_state_is_what_makes_a_difference() -> None:
    """The same in another seed, with other names, moments and digests; another where a guest is, or is not."""
    strike = Strike(Kind.REPLY, 0, Fault.MASTER_AFTER)
    states = {first_rest(RESTARTS, strike, seed)[2] for seed in (1, 2)}
    assert len(states) == 1
    down = Story("down", RESTARTS.nodes, (*RESTARTS.steps[:2], *STOPPED, RESTARTS.steps[-1]))
    assert first_rest(down, strike)[2] not in states


def test_a_loss_that_everybody_has_given_up_makes_no_difference() -> None:
    """An entry whose answer was lost is sent again: once nobody waits for that one any more it might have come."""
    faults, _ = survey(RESTARTS, SEED)
    number = faults.points[Kind.SEND].index("node1 node2 log_append")
    states = {first_rest(RESTARTS, Strike(Kind.SEND, number, fault)) for fault in (Fault.ANSWER_LOST, Fault.DOUBLED)}
    assert len(states) == 1


STOPPED = tuple(
    step
    for step in read_story(STORIES / "guest_life.txt").steps
    if step.verb == "job" and step.words[0] == "OP_INSTANCE_SHUTDOWN"
)


def test_what_is_told_in_part_goes_as_what_is_told_to_the_end() -> None:
    """The same strikes with and without: the same verdicts, and most of the first kind have not reached the end."""
    faults, alike = survey(FIRST, SEED)
    strikes = part(choose(faults, kinds=[Kind.COMMIT, Kind.SEND]), alike, 24)
    shortened = exhaust(FIRST, SEED, strikes, points={}, processes=2, alike=alike, known=Known())
    assert shortened.strikes == len(strikes)
    assert not shortened.bad
    assert sum(not one.told for one in shortened.all) > len(shortened.all) // 3
    whole = exhaust(FIRST, SEED, sample(strikes, 6), points={}, processes=2)
    assert not whole.bad
    assert all(one.told for one in whole.all)


def test_a_story_that_begins_as_another_tells_its_own_part_only() -> None:
    """Of what falls in the steps that they share it is known where that leads, and how it goes on from there."""
    longer = Story("longer", FIRST.nodes, (*FIRST.steps, *STOPPED))
    known = Known()
    faults, alike = survey(longer, SEED)
    in_common = [one for one in choose(faults, kinds=[Kind.COMMIT]) if alike.steps[one.kind, one.number] < 3]
    first = exhaust(longer, SEED, in_common, points={}, processes=2, alike=alike, known=known)
    assert (first.met, len(first.bad)) == (0, 0)
    _, alike = survey(FIRST, SEED)
    second = exhaust(FIRST, SEED, in_common, points={}, processes=2, alike=alike, known=known)
    assert second.strikes == len(in_common)
    assert second.met > len(in_common) // 2
    assert not second.bad


def test_what_goes_wrong_is_not_taken_for_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fault in the house every strike that shows it says so, and not the first only."""
    faults, alike = survey(FIRST, SEED)
    number = faults.points[Kind.SEND].index("node1 node2 os_create")
    strikes = [Strike(Kind.SEND, number, fault) for fault in (Fault.MASTER_BEFORE, Fault.LATE_EPOCH)]
    plain = segments._open_step
    monkeypatch.setattr(segments, "_open_step", lambda doing: msgspec.structs.replace(plain(doing), undo=None))
    found = exhaust(FIRST, SEED, strikes, points={}, processes=2, alike=alike, known=Known())
    assert len(found.bad) == len(strikes)
    assert all("a file without an owner" in str(one.problems) for one in found.bad)


def test_a_search_says_what_did_not_fall() -> None:
    """A point that nobody comes by is no point at which all went well."""
    lost = Strike(Kind.COMMIT, 10_000, Fault.MASTER_BEFORE)
    (outcome,) = Search(RESTARTS, SEED, {lost: []}, {}, Known()).outcomes(1)
    assert outcome.problems == (f"{lost} did not fall: nobody came by",)
