"""What an opcode's end says after its master's death: an administrator knows at once whether to repeat the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gnt.masterd.awaiting import WATCHES
from gnt.masterd.jobs.lockset import Level
from gnt.masterd.operation import OPERATIONS, Operation, Stage
from gnt.masterd.plan import Await, Forget, Forward, Keep, Pause, Plan, Release, Reserve, Step, Undoable, on
from gnt.model.errors import Failed, NodeFailure, NotReached
from gnt.opcodes.test import TestDelay as SleepOpcode
from gnt.wire.calls import Version
from tests.masterd.fakes import NODE1, NODE2, Run
from tests.masterd.test_engine import WEB1, Dead, World, done, make, planned, take_back

NOTHING = "This was interrupted while it ran: nothing was changed"
UNRECORDED = "This was interrupted while it ran: no change is recorded"
PART = "This was interrupted while it ran: part of what it was to change is recorded"
ALL = "This was interrupted while it ran: all that it was to change is recorded"
AGAIN = "it can be given again as it was"
LOOK = "look at what is there before it is given again"
ENOUGH = "it need not be given again"
OWED = "gnt-cluster verify shows what is owed"

CREATE: tuple[Step, ...] = (
    Reserve((WEB1,)),
    Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1))),
    Undoable(on(NODE2, make(2)), undo=on(NODE2, take_back(2))),
    Keep((WEB1,)),
    Undoable(on(NODE1, make(3)), undo=on(NODE1, take_back(3))),
    Keep((WEB1,)),
)
REMOVE: tuple[Step, ...] = (Forward(on(NODE1, make(1))), Forward(on(NODE2, make(2))), Forget((WEB1,)))
STOP: tuple[Step, ...] = (Keep((WEB1,)), Forward(on(NODE1, make(1))), Forward(on(NODE2, make(2))))


def cut_off(world: World, *stages: Stage, call: int = 0, after: bool = False, commit: int = 0) -> Failed:
    """Have the master die at a call, `after` its effect or before it, or after a commit; gives the opcode's end."""
    calls = commits = 0
    plain = world.nodes.call

    async def mortal(node: str, asked: Any, *, id: str | None = None) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise Dead
        try:
            return await plain(node, asked, id=id)
        finally:
            if calls == call:
                raise Dead

    def committed() -> None:
        nonlocal commits
        commits += 1
        if commits == commit:
            raise Dead

    world.nodes.call = mortal  # type: ignore[method-assign]
    world.journal.on_commit = committed
    with pytest.raises(Dead):
        world.run(*stages)
    world.nodes.call = plain  # type: ignore[method-assign]
    world.journal.on_commit = lambda: None
    return recovered(world)


def recovered(world: World) -> Failed:
    """Have the next master settle it; gives the opcode's end."""
    run = Run(SleepOpcode(duration=0))
    done(world.engine.recover(run))
    assert run.end is not None
    assert isinstance(run.end.error, Failed)
    assert run.end.error.code == "interrupted"
    return run.end.error


def test_nothing_begun_is_nothing_changed() -> None:
    """Although what would have been undone was written down already."""
    error = cut_off(World(), planned(*CREATE), commit=1)
    assert (error.text, error.hint) == (NOTHING, AGAIN)


def test_locks_given_up_are_no_change() -> None:
    """Of an opcode that had only waited, nothing is there."""
    error = cut_off(World(), planned(Release((Level.NODE,)), Pause(1), *STOP), commit=1)
    assert (error.text, error.hint) == (NOTHING, AGAIN)


def test_all_undone_is_nothing_changed() -> None:
    """What was undone is named, also the call whose answer nobody heard."""
    error = cut_off(World(), planned(*CREATE), call=2, after=True)
    text = f"{NOTHING}; undone: delay on node2.example.com; undone: delay on node1.example.com"
    assert (error.text, error.hint) == (text, AGAIN)


def test_what_is_not_undone_yet_is_owed() -> None:
    """Then nothing stands in the model, and yet something is there."""
    world = World(guest_stop=lambda _node, _call: NotReached("no connection"))
    error = cut_off(world, planned(*CREATE), call=1, after=True)
    text = f"{UNRECORDED}; not undone yet: delay on node1.example.com: no connection"
    assert (error.text, error.hint) == (text, f"{OWED}; {LOOK}")


def test_the_step_that_failed_while_nobody_heard_is_named_with_its_reason() -> None:
    """It is why the opcode would have failed, had its master lived."""
    world = World(delay=lambda _node, call: NodeFailure("no_space", "the disk is full") if call.seconds == 2 else None)
    error = cut_off(world, planned(*CREATE), call=2, after=True)
    assert error.text == (
        f"{NOTHING}; failed: delay on node2.example.com: the disk is full; "
        "undone: delay on node2.example.com; undone: delay on node1.example.com"
    )


def test_a_step_that_failed_before_it_made_anything_is_named_too() -> None:
    """There is nothing to undo of it."""
    world = World(delay=lambda _node, _call: NodeFailure("exists", "something else is there"))
    error = cut_off(world, planned(*CREATE), call=1, after=True)
    assert error.text == f"{NOTHING}; failed: delay on node1.example.com: something else is there"


def test_past_a_milestone_part_of_it_is_recorded() -> None:
    """The instance exists; that it did not start is for somebody to look at."""
    error = cut_off(World(), planned(*CREATE), call=3, after=True)
    assert (error.text, error.hint) == (f"{PART}; undone: delay on node1.example.com", LOOK)


@pytest.mark.parametrize(("plan", "call"), [(REMOVE, 1), (STOP, 1)])
def test_what_was_finished_need_not_be_given_again(plan: Sequence[Step], call: int) -> None:
    """All that the opcode was to change stands in the model: that is what counts, not that it ends in an error."""
    error = cut_off(World(), planned(*plan), call=call, after=True)
    assert (error.text, error.hint) == (
        f"{ALL}; done: delay on node1.example.com; finished: delay on node2.example.com",
        ENOUGH,
    )


def test_a_last_step_that_was_done_is_named() -> None:
    """Nothing was left to finish but to record it."""
    error = cut_off(World(), planned(*REMOVE), call=2, after=True)
    assert error.text == f"{ALL}; done: delay on node2.example.com"


def test_a_way_onward_that_failed_plainly_says_so() -> None:
    """What comes after it is not tried, as it would not have been; what was kept before stays."""
    world = World(delay=lambda _node, _call: NodeFailure("busy", "it is held open"))
    error = cut_off(
        world, planned(Keep((WEB1,)), Forward(on(NODE1, make(1))), Forward(on(NODE2, make(2)))), call=1, after=True
    )
    assert (error.text, error.hint) == (f"{PART}; failed: delay on node1.example.com: it is held open", LOOK)


def test_a_way_onward_that_failed_half_way_records_nothing() -> None:
    """The first step of a removal is done, the second plainly failed: the model has it all still."""
    world = World(delay=lambda _node, call: NodeFailure("busy", "it is held open") if call.seconds == 2 else None)
    error = cut_off(world, planned(*REMOVE), call=2, after=True)
    assert (error.text, error.hint) == (f"{UNRECORDED}; failed: delay on node2.example.com: it is held open", LOOK)


def test_a_step_that_cannot_be_undone_leaves_its_trace() -> None:
    """A guest system that was installed anew is installed anew, though nothing of it stands in the model."""
    error = cut_off(World(), planned(Undoable(on(NODE1, make(1)), undo=None), Keep((WEB1,))), call=1, after=True)
    assert (error.text, error.hint) == (f"{UNRECORDED}; done: delay on node1.example.com", LOOK)


def test_a_step_of_which_nobody_knows_is_told_so() -> None:
    """Its node does not answer."""
    world = World(call_outcome=lambda _node, _call: NotReached("no connection"))
    error = cut_off(world, planned(Undoable(on(NODE1, make(1)), undo=None), Keep((WEB1,))), call=1, after=True)
    text = f"{UNRECORDED}; nobody knows whether it was done: delay on node1.example.com: no connection"
    assert (error.text, error.hint) == (text, LOOK)


def test_a_milestone_after_which_nothing_is_open_is_not_forgotten() -> None:
    """Kept by an earlier stage, and the later one had not begun; or before a wait, and nothing came after it."""
    world = World()
    looked: list[Any] = []

    async def look(_cluster: Any, _look: Any) -> None:
        looked.append(world.open_rows())
        raise Dead

    with pytest.raises(Dead):
        world.run(planned(Keep((WEB1,))), Stage(look, lambda _cluster, _seen: Plan()))
    assert looked == [["7/0/001"]]
    error = recovered(world)
    assert (error.text, error.hint) == (PART, LOOK)
    assert world.open_rows() == []


@pytest.mark.parametrize(("after", "said"), [((), ALL), ((Keep((WEB1,)),), PART)])
def test_a_wait_after_the_last_change_is_no_part_of_it(
    after: tuple[Step, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disks that come into step do so without the opcode; only what would have been recorded after it is missing."""
    monkeypatch.setitem(WATCHES, "patience", lambda _arguments: None)
    world = World()
    error = cut_off(world, planned(Keep((WEB1,)), Await(on(NODE1, Version()), until="patience"), *after), call=1)
    assert error.text == said
    assert world.open_rows() == []


def test_an_opcode_that_lives_writes_no_more_than_it_has_to() -> None:
    """That a milestone was kept has a row only where it is committed by itself, and none when the opcode has ended."""
    world = World()
    world.run(planned(Keep((WEB1,))))
    assert len(world.journal.commits) == 1
    assert len(world.journal.commits[0]) == 2
    world.run(planned(Keep((WEB1,))), planned(Keep((WEB1,))))
    assert world.open_rows() == []


def test_jobs_that_an_end_would_have_submitted_are_not_done() -> None:
    """What was recorded is not all, where the rest would have been jobs of their own."""

    async def observe(_cluster: Any, _look: Any) -> None:
        return None

    jobs = ((SleepOpcode(duration=1),),)
    stage = Stage(observe, lambda _cluster, _seen: Plan((Forward(on(NODE1, make(1))), Forget((WEB1,))), jobs=jobs))
    assert cut_off(World(), stage, call=1, after=True).text == f"{PART}; done: delay on node1.example.com"


def test_what_goes_on_in_a_job_of_its_own_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the end does not begin it a second time."""

    class Resumed(Operation[SleepOpcode]):
        """An operation that has a job make up for what it was kept from."""

        after_cut_off: Callable[..., Any] = staticmethod(lambda _op, _cluster: ((SleepOpcode(duration=2),),))

    monkeypatch.setitem(OPERATIONS, SleepOpcode, Resumed)
    error = cut_off(World(), planned(*CREATE), commit=1)
    assert error.text == f"{NOTHING}; goes on in a job of its own: {SleepOpcode(duration=2).summary()}"
