"""A job that is killed: its calls are aborted, what it began is undone or finished, and it ends in error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from gnt.masterd.engine import Engine
from gnt.masterd.operation import Stage
from gnt.masterd.plan import Forward, Keep, Pause, Reserve, Together, Undoable, on
from gnt.masterd.tools import Tools
from gnt.model.errors import InDoubt, NodeFailure, NotReached
from gnt.opcodes.test import TestDelay as SleepOpcode
from gnt.wire.log_calls import CallAbort
from tests.masterd.fakes import NODE1, NODE2, Journal, Nodes, Resolver, Run, cluster_of_three
from tests.masterd.test_engine import WEB1, Scripted, make, planned, take_back


class World:
    """An engine whose node calls answer when told: `calls[seconds]` is the call that makes something."""

    def __init__(self) -> None:
        self.journal = Journal(cluster_of_three())
        self.held: dict[float, Deferred[Any]] = {}
        self.aborted: list[str] = []
        self.abort_fails: Exception | None = None
        self.nodes = Nodes(answers={"delay": lambda _n, call: self.held.setdefault(call.seconds, Deferred())})
        self.paused: list[Deferred[None]] = []
        self.engine = Engine(Tools(self.journal, self.journal, self, self.nodes, Resolver(), self.sleep))  # type: ignore[arg-type]
        self.run = Run(SleepOpcode(duration=0))
        self.ended: list[Any] = []

    async def call(self, node: str, call: Any, *, id: str | None = None) -> Any:
        """Make a call; one that is held is waited for."""
        if isinstance(call, CallAbort):
            self.aborted.append(call.id)
            if self.abort_fails is not None:
                raise self.abort_fails
            return None
        answer = await self.nodes.call(node, call, id=id)
        return await answer if isinstance(answer, Deferred) else answer

    def sleep(self, seconds: float) -> Deferred[None]:
        """Wait until told."""
        self.paused.append(Deferred())
        return self.paused[-1]

    def start(self, *stages: Stage) -> None:
        """Begin."""
        operation = Scripted(self.run.op, None)  # type: ignore[arg-type]
        operation.stages_ = stages
        ensureDeferred(self.engine.run(self.run, operation)).addBoth(self.ended.append)

    @property
    def error(self) -> str:
        """Give the error that the opcode ended in."""
        assert self.ended
        assert self.run.end is not None
        assert self.run.end.error is not None
        return str(self.run.end.error)


def undoable(number: float, node: str = NODE1) -> Undoable:
    """Make a step with its undo."""
    return Undoable(on(node, make(number)), undo=on(node, take_back(int(number))))


def undone(world: World) -> list[int]:
    """Give the numbers of the steps that were taken back."""
    return [call.timeout for _, call in world.nodes.made if call.tag() == "guest_stop"]


def test_a_killed_job_aborts_its_call_and_is_undone() -> None:
    """The call under way is aborted on its node; all before it is taken back; nothing more is begun."""
    world = World()
    world.start(planned(Reserve((WEB1,)), undoable(1), undoable(2), undoable(3)))
    world.held[1].callback(None)
    assert world.engine.kill(7)
    assert len(world.aborted) == 1
    assert not world.ended
    world.held[2].errback(NodeFailure("aborted", "it was broken off"))
    assert world.error.startswith("This was killed by request: ")
    assert undone(world) == [2, 1]
    assert 3 not in world.held
    assert not world.journal.head.instances


def test_a_call_that_ends_well_all_the_same_changes_nothing() -> None:
    """The abort came too late for it; the kill holds."""
    world = World()
    world.start(planned(undoable(1), undoable(2)))
    assert world.engine.kill(7)
    world.held[1].callback(None)
    assert world.error.startswith("This was killed by request")
    assert undone(world) == [1]


def test_calls_side_by_side_are_all_aborted() -> None:
    """On every node; the opcode ends when the last of them has."""
    world = World()
    world.start(planned(Together((undoable(1), undoable(2, NODE2)))))
    assert world.engine.kill(7)
    assert len(world.aborted) == 2
    world.held[1].errback(NodeFailure("aborted", "broken off"))
    assert not world.ended
    world.held[2].errback(InDoubt("nobody knows"))
    assert world.error.startswith("This was killed by request")


def test_a_wait_on_the_master_ends_at_once() -> None:
    """A delay that is killed is over."""
    world = World()
    world.start(planned(Pause(3600)))
    assert world.engine.kill(7)
    assert world.error == "This was killed by request"


def test_what_lies_past_the_point_of_no_return_is_finished() -> None:
    """A forward step that was aborted is done once more, and its milestone is kept."""
    world = World()
    world.start(planned(Forward(on(NODE1, make(1))), Keep((WEB1,)), undoable(2)))
    assert world.engine.kill(7)
    first = world.held.pop(1)
    first.errback(InDoubt("the answer is late"))
    world.held[1].callback(None)
    assert "killed by request" in world.error
    assert [obj.name for obj in world.journal.head.instances.values()] == [WEB1.name]
    assert 2 not in world.held


def test_a_node_that_cannot_be_told_is_waited_for() -> None:
    """The log says so; the call ends at its deadline, and then the opcode does."""
    world = World()
    world.abort_fails = NotReached("node1 does not answer")
    world.start(planned(undoable(1)))
    assert world.engine.kill(7)
    assert any("aborting a call on node1" in line for line in world.run.said)
    world.held[1].errback(InDoubt("deadline"))
    assert "killed by request" in world.error


def test_what_does_not_run_cannot_be_killed() -> None:
    """Nor what has ended."""
    world = World()
    assert not world.engine.kill(7)
    world.start(planned(Pause(1)))
    world.paused[0].callback(None)
    assert world.ended
    assert not world.engine.kill(7)


def test_what_is_being_settled_cannot_be_killed_again() -> None:
    """Its undo is under way."""
    world = World()
    asked: list[bool] = []
    answers: dict[str, Callable[[str, Any], Any]] = {
        "guest_stop": lambda _n, _c: asked.append(world.engine.kill(7)),
    }
    world.nodes.answers.update(answers)
    world.start(planned(undoable(1), undoable(2)))
    world.held[1].callback(None)
    world.held[2].errback(NodeFailure("no_space", "disk full"))
    assert asked == [False, False]
    assert "disk full" in world.error
