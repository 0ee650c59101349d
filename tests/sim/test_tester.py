"""The tester is tested: with a fault put into the house, the checkers find it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnt.masterd import segments
from gnt.masterd.candidates import Candidates
from gnt.masterd.nodes import Nodes
from gnt.noded.call_table import CallTable
from gnt.noded.calls import Calls
from gnt.sim.exhaust import count, strike
from gnt.sim.faults import Fault, Kind, Strike
from gnt.sim.story import read_story

STORY = read_story(Path(__file__).resolve().parents[1] / "scenarios/first_instance.txt")
SEED = 1


def struck(kind: Kind, text: str, fault: Fault) -> tuple[str, ...]:
    """Let a fault fall at the first point of this text; give what the checkers say."""
    number = count(STORY, SEED).points[kind].index(text)
    return strike(STORY, SEED, Strike(kind, number, fault)).problems


def test_without_a_mistake_they_find_nothing() -> None:
    """The very faults of the tests below, on the house as it is."""
    assert strike(STORY, SEED, None).problems == ()
    assert struck(Kind.SEND, "node1 node2 os_create", Fault.MASTER_BEFORE) == ()
    assert struck(Kind.SEND, "node1 node2 os_create", Fault.DOUBLED) == ()


def test_an_undo_that_was_never_written_down_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the disk is left, and nobody owns it."""
    plain = segments._open_step
    monkeypatch.setattr(segments, "_open_step", lambda doing: msgspec.structs.replace(plain(doing), undo=None))
    problems = struck(Kind.SEND, "node1 node2 os_create", Fault.MASTER_BEFORE)
    assert any("a file without an owner" in problem for problem in problems), problems


def test_a_fence_that_is_not_waited_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes must not begin on a node before it has ended those of older masters."""

    async def at_once(_self: Nodes, _peer: Any) -> None:
        pass

    monkeypatch.setattr(Nodes, "_fenced", at_once)
    problems = strike(STORY, SEED, None).problems
    assert any("was not fenced for it" in problem for problem in problems), problems


def test_an_acknowledgement_before_the_majority_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the master alone has on disk may be lost with it."""
    monkeypatch.setattr(Candidates, "agreed", lambda _self, _voters, mine: mine)
    problems = strike(STORY, SEED, None).problems
    assert any("was acknowledged, and of" in problem for problem in problems), problems


def test_a_call_that_is_done_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that does not look into its table runs the guest OS script of a doubled call again."""

    async def unknown(_self: Calls, _entry: Any) -> None:
        return None

    async def change(self: Calls, request: Any, epoch: Any) -> Any:
        self._by_id.pop(request.id, None)
        return await plain(self, request, epoch)

    def begin(self: CallTable, connection: Any, row: Any) -> None:
        connection.execute("DELETE FROM calls WHERE id = ?", (row.id,))
        begin_row(self, connection, row)

    plain, begin_row = Calls._change, CallTable._begin
    monkeypatch.setattr(Calls, "_change", change)
    monkeypatch.setattr(Calls, "_known", unknown)
    monkeypatch.setattr(CallTable, "_begin", begin)
    problems = struck(Kind.SEND, "node1 node2 os_create", Fault.DOUBLED)
    assert any("ran the script of call" in problem for problem in problems), problems
