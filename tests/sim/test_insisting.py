"""An administrator asks again what nobody has answered, and knows from a refusal whether it was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnt.sim.exhaust import count, strike
from gnt.sim.faults import Fault, Kind, Strike
from gnt.sim.story import Story, read_story

SEED = 1
MADE = "5e2fbc0b-a8a8-4a63-9ba7-8b5e1c8f8b11"
NEVER_MADE = "0d1b9f3e-6a52-4c0c-8f57-3f0c4d7e2a90"


def story_of_a_filter(folder: Path, deleted: str) -> Story:
    """Give a story in which a filter is made, and one is deleted."""
    path = folder / "filter.txt"
    path.write_text(
        "cluster nodes=1\n"
        "ready\n"
        f'ask ReplaceFilter ["{MADE}",1,[["opcode",["=","duration",7]]],"PAUSE",[]]\n'
        f'ask DeleteFilter ["{deleted}"]\n'
        "check\n"
    )
    return read_story(path)


def unanswered(folder: Path, deleted: str, method: str, fault: Fault) -> tuple[str, ...]:
    """Have the master die over its answer to this; give what is wrong at the end."""
    points = count(story_of_a_filter(folder, MADE), SEED).points[Kind.REPLY]
    blow = Strike(Kind.REPLY, points.index(f"node1 {method}"), fault)
    return strike(story_of_a_filter(folder, deleted), SEED, blow).problems


@pytest.mark.parametrize("fault", [Fault.MASTER_BEFORE, Fault.MASTER_AFTER])
def test_a_deletion_whose_answer_was_lost_is_done_when_there_is_nothing_to_delete(tmp_path: Path, fault: Fault) -> None:
    """Asked again the master says that there is no such filter: that is what was wanted."""
    assert unanswered(tmp_path, MADE, "DeleteFilter", fault) == ()


def test_a_deletion_that_was_answered_with_a_refusal_is_not_done(tmp_path: Path) -> None:
    """A fault that fell over something else excuses nobody: of a filter that never was nothing has been deleted."""
    (problem,) = unanswered(tmp_path, NEVER_MADE, "ReplaceFilter", Fault.MASTER_BEFORE)
    assert "DeleteFilter" in problem
    assert "not after 12 tries" in problem
