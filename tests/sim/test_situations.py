"""Strikes that fall into one situation: what is told apart, what is not, and what is told against the choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gnt.sim import situations
from gnt.sim.alike import Alike
from gnt.sim.exhaust import Known, choose, exhaust, survey
from gnt.sim.faults import Fault, Kind, Strike, Strikes
from gnt.sim.situations import Seen, Situation
from gnt.sim.story import Step, Story, read_story

STORIES = Path(__file__).resolve().parents[1] / "scenarios"
MIRRORED = read_story(STORIES / "mirrored_instance.txt")
SHORT = replace(MIRRORED, steps=MIRRORED.steps[:2])
SEED = 1


def situations_of(alike: Alike, faults: Strikes) -> Mapping[Strike, Situation | None]:
    """Give the situation of each strike of a story."""
    return {one: alike.situations.of(one) for one in choose(faults)}


def renamed(story: Story, names: Mapping[str, str]) -> Story:
    """Tell a story of other machines and instances."""

    def other(word: str) -> str:
        name, equals, value = word.rpartition("=")
        return f"{name}{equals}{names.get(value, value)}"

    return replace(story, steps=tuple(Step(one.verb, tuple(map(other, one.words)), one.where) for one in story.steps))


def test_names_make_no_difference() -> None:
    """The same instance on two other machines, by another name: not one situation more or less, wherever calls go.

    What a machine does at the same time depends on how long everything takes.
    """
    here, there = survey(SHORT, SEED), survey(renamed(SHORT, {"node2": "node3", "node3": "node2", "web1": "db9"}), SEED)
    one, other = (situations_of(alike, faults) for faults, alike in (here, there))
    for kind in (Kind.SEND, Kind.ARRIVAL, Kind.COMMAND, Kind.REPLY):
        found = [{what for strike, what in each.items() if strike.kind is kind} for each in (one, other)]
        assert found[0] == found[1]
        assert found[0]


def test_what_is_told_apart() -> None:
    """The fault, the call, the opcode; and each commit of a job that the master dies over."""
    faults, alike = survey(MIRRORED, SEED)
    found = situations_of(alike, faults)
    assert None not in found.values()
    deaths = [one for one in found if one.kind is Kind.COMMIT and one.fault is Fault.MASTER_AFTER]
    assert len({found[one] for one in deaths}) > 2 * len(deaths) // 3
    texts = faults.points[Kind.SEND]
    calls = {(texts[one.number].split(" ")[2], one.fault): found[one] for one in found if one.kind is Kind.SEND}
    assert len(set(calls.values())) == len(calls)
    by_opcode = {
        found[Strike(Kind.SEND, number, Fault.REQUEST_LOST)]
        for number, text in enumerate(texts)
        if text.endswith(" disk_assemble")
    }
    assert len(by_opcode) > 1
    appended = {
        found[Strike(Kind.SEND, number, Fault.REQUEST_LOST)]
        for number, text in enumerate(texts)
        if text.endswith(" log_append")
    }
    assert len(appended) == 1


def test_each_situation_is_told_once_over_all_stories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a story that another one has told nothing is left, but for those that are told against the choice."""
    faults, alike = survey(SHORT, SEED)
    groups, found, seen = alike.grouped(choose(faults)), situations_of(alike, faults), Seen()
    monkeypatch.setattr(situations, "AGAINST", 1 << 40)
    first = seen.choose(groups, alike.situations, "first")
    assert {found[one] for one in first.groups} == {found[one] for one in groups}
    assert len(first.groups) == len(seen.situations)
    assert first.passed == len(groups) - len(first.groups) > len(groups) // 3
    assert all(first.groups[one] == groups[one] for one in first.groups)
    second = seen.choose(groups, alike.situations, "second")
    assert (len(second.groups), second.passed) == (0, len(groups))
    monkeypatch.setattr(situations, "AGAINST", 10)
    third = seen.choose(groups, alike.situations, "third")
    assert third.against == third.groups.keys()
    few, more = first.part(10), first.part(len(first.foremost) + 10)
    assert few.groups.keys() == first.foremost
    assert len(more.groups) == len(first.foremost) + 10
    for part in (few, more):
        assert part.groups.items() <= first.groups.items()
        assert part.passed == len(groups) - len(part.groups)
    assert second.foremost == frozenset()
    assert third.part(10).groups == third.groups
    assert len(groups) // 20 < len(third.against) < len(groups) // 5


def test_the_foremost_are_as_different_as_can_be() -> None:
    """Each fault once at each call, piece of work and answer that the story has; other situations are later."""
    faults, alike = survey(SHORT, SEED)
    groups = alike.grouped(choose(faults))
    choice = Seen().choose(groups, alike.situations, "first")
    texts = faults.points[Kind.SEND]
    calls = {(texts[one.number].split(" ")[2], one.fault) for one in groups if one.kind is Kind.SEND}
    told = [one for one in choice.foremost if one.kind is Kind.SEND]
    assert {(texts[one.number].split(" ")[2], one.fault) for one in told} == calls
    assert len(told) == len(calls)
    assert choice.foremost < frozenset(choice.groups)


def test_what_is_told_against_the_choice_is_told_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the state that it comes by is known to go well; others end there."""
    monkeypatch.setattr(situations, "AGAINST", 2)
    faults, alike = survey(MIRRORED, SEED)
    strikes = choose(faults, kinds=[Kind.SEND], only=[Fault.REQUEST_LOST])[:40]
    choice = Seen().choose(alike.grouped(strikes), alike.situations, "a story")
    found = exhaust(MIRRORED, SEED, strikes, points={}, processes=2, alike=alike, known=Known(), choice=choice)
    assert not found.bad
    assert found.strikes + found.passed == len(strikes)
    assert 0 < found.against <= sum(one.told for one in found.all) < len(found.all)
