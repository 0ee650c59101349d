"""The engine: what it writes down, what it undoes, what it finishes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, ensureDeferred, succeed

from gnt.masterd.awaiting import WATCHES, Verdict
from gnt.masterd.engine import Engine
from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.jobs.seam import LeftForRecovery
from gnt.masterd.operation import Operation, Stage
from gnt.masterd.plan import (
    Await,
    Forget,
    Forward,
    Keep,
    Note,
    Pause,
    Plan,
    Promote,
    Release,
    Reserve,
    Step,
    Together,
    Uncertain,
    Undoable,
    on,
)
from gnt.masterd.segments import segments_of
from gnt.masterd.settling import SETTLERS, settles
from gnt.masterd.tools import Tools
from gnt.model.cluster import Cluster
from gnt.model.errors import ConfigError, Failed, GntError, InDoubt, NodeFailure, NotReached, Refused
from gnt.model.objects import AdminState, Instance, Node
from gnt.opcodes.test import TestDelay as SleepOpcode
from gnt.store.changes import Put, Space
from gnt.wire.calls import BridgeCheck, Delay, NodeCall, Version
from gnt.wire.contract import CallProgress
from gnt.wire.guest_calls import GuestStop
from gnt.wire.log_calls import LogDiscard
from tests.masterd.fakes import GROUP, NODE1, NODE2, Journal, Nodes, Resolver, Run, cluster_of_three

WEB1 = Instance(uuid="22222222-0000-4000-8000-000000000001", name="web1.example.com", primary_node=NODE1)


class Scripted(Operation[SleepOpcode]):
    """An operation whose stages are given."""

    stages_: tuple[Stage, ...] = ()

    def locks(self, cluster: Cluster) -> Locks:
        """No locks."""
        return Locks()

    def stages(self) -> tuple[Stage, ...]:
        """Give the stages of the test."""
        return self.stages_


def planned(*steps: Step, result: Any = None) -> Stage:
    """Give a stage that sees nothing and plans these steps."""

    async def observe(cluster: Cluster, look: Any) -> None:
        return None

    return Stage(observe, lambda cluster, seen: Plan(tuple(steps), result=result))


def make(seconds: float) -> NodeCall[None]:
    """Give a call that makes something."""
    return Delay(seconds=seconds)


def take_back(number: int) -> NodeCall[None]:
    """Give the call that undoes `make`."""
    return GuestStop(hypervisor="fake", name="x", uuid="x", timeout=number)


class World:
    """An engine with its surroundings."""

    def __init__(self, **answers: Callable[[str, Any], Any]) -> None:
        self.journal = Journal(cluster_of_three())
        self.nodes = Nodes(answers=dict(answers))
        self.slept: list[float] = []
        self.engine = Engine(Tools(self.journal, self.journal, self.nodes, self.nodes, Resolver(), self.sleep))

    def sleep(self, seconds: float) -> Deferred[None]:
        """Note the wait and go on."""
        self.slept.append(seconds)
        return succeed(None)

    def run(self, *stages: Stage, dry_run: bool = False, awaited: bool = True) -> Run:
        """Run to the end."""
        run = Run(SleepOpcode(duration=0, dry_run=dry_run), awaited=awaited)
        operation = Scripted(run.op, None)  # type: ignore[arg-type]
        operation.stages_ = stages
        done(self.engine.run(run, operation))
        return run

    def open_rows(self) -> list[str]:
        """Give what is open in the store."""
        return [key for space, key in self.journal.rows_ if space in {Space.UNDO, Space.DEBT}]


def done(coroutine: Any) -> Any:
    """Give the result of a coroutine that needs no reactor."""
    result: list[Any] = []
    ensureDeferred(coroutine).addBoth(result.append)
    assert result, "it waits for something"
    value = result[0]
    if hasattr(value, "raiseException"):
        value.raiseException()
    return value


def fails(error: Exception, *, at: float) -> Callable[[str, Any], Any]:
    """Give a node that fails the `make` of this number only."""
    return lambda _node, call: error if call.seconds == at else None


def test_a_plan_without_steps_is_one_commit() -> None:
    """A no-op costs one commit: the end of the opcode."""
    world = World()
    run = world.run(planned(Pause(0.5), Note("slept"), result="ok"))
    assert run.end is not None
    assert (run.end.result, run.end.error, run.said, world.slept) == ("ok", None, ["slept"], [0.5])
    assert len(world.journal.commits) == 1


def test_the_undo_is_on_disk_before_the_step() -> None:
    """When a node is called, the row that undoes the call is committed."""
    world = World()
    seen: list[list[str]] = []
    world.nodes.before = lambda _node, _call: seen.append(world.open_rows())
    world.run(planned(Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1)))))
    assert seen == [["7/0/001"]]
    assert world.open_rows() == []


def test_what_a_node_says_of_a_call_under_way_goes_into_the_jobs_log() -> None:
    """Only of a call of this job, from the node that carries it out, and while it does."""
    world = World()

    def say(node: str, _call: Any) -> None:
        for who, call in ((node, "7/0/0/1"), (NODE2, "7/0/0/1"), (node, "8/0/0/1")):
            world.engine.told(who, CallProgress(id=call, text=f"{who == node} {call}: half"))

    world.nodes.before = say
    run = world.run(planned(Undoable(on(NODE1, make(1)), undo=None)))
    say(NODE1, None)
    assert run.said == ["True 7/0/0/1: half"]


def test_a_milestone_the_next_segment_and_its_row_are_one_commit() -> None:
    """Three commits for a creation: reserve, keep, end."""
    world = World()
    world.run(
        planned(
            Reserve((WEB1,)),
            Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1))),
            Keep((WEB1,)),
            Undoable(on(NODE1, make(2)), undo=on(NODE1, take_back(2))),
        )
    )
    assert len(world.journal.commits) == 3
    assert "web1.example.com" in {instance.name for instance in world.journal.head.instances.values()}


def test_a_failed_stage_is_undone_in_reverse_and_what_was_reserved_goes() -> None:
    """Steps two and one are taken back, the third is, too, since it may be half-made; the error says so."""
    world = World(delay=fails(NodeFailure("no_space", "disk full"), at=3))
    run = world.run(
        planned(
            Reserve((WEB1,)),
            *(Undoable(on(NODE1, make(n)), undo=on(NODE1, take_back(n))) for n in (1, 2, 3, 4)),
        )
    )
    assert run.end is not None
    assert run.end.error is not None
    assert "disk full" in str(run.end.error)
    assert "undone" in str(run.end.error)
    stops = [call.timeout for _, call in world.nodes.made if isinstance(call, GuestStop)]
    assert stops == [3, 2, 1]
    assert not world.journal.head.instances
    assert world.open_rows() == []


def test_what_another_made_is_not_undone() -> None:
    """A call that found something foreign in its place made nothing: its undo would remove the foreign thing."""
    world = World(delay=fails(NodeFailure("exists", "a foreign file is there"), at=2))
    world.run(planned(*(Undoable(on(NODE1, make(n)), undo=on(NODE1, take_back(n))) for n in (1, 2))))
    assert [call.timeout for _, call in world.nodes.made if isinstance(call, GuestStop)] == [1]


def test_what_was_kept_is_not_thrown_away() -> None:
    """An installed instance stays although its start fails; only the start is undone."""
    world = World(delay=fails(NodeFailure("failed", "no start"), at=2))
    run = world.run(
        planned(
            Reserve((WEB1,)),
            Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1))),
            Keep((WEB1,)),
            Undoable(on(NODE1, make(2)), undo=on(NODE1, take_back(2))),
        )
    )
    assert run.end is not None
    assert run.end.error is not None
    assert [call.timeout for _, call in world.nodes.made if isinstance(call, GuestStop)] == [2]
    assert world.journal.head.instance("web1").name == "web1.example.com"


def test_an_undo_on_a_node_that_is_away_becomes_its_debt() -> None:
    """The name stays reserved until the node is back and has paid; then it is free again."""
    away = {"guest_stop": lambda _node, _call: NotReached("no connection")}
    world = World(delay=fails(InDoubt("too late"), at=1), **away)
    run = world.run(planned(Reserve((WEB1,)), Undoable(on(NODE2, make(1)), undo=on(NODE2, take_back(1)))))
    assert run.end is not None
    assert run.end.error is not None
    assert world.open_rows() == [f"{NODE2}/7/0/0/1"]
    assert world.journal.head.instance("web1")
    payment = done(world.engine.pay(NODE2))
    assert payment.paid == []
    world.nodes.answers.pop("guest_stop")
    assert len(done(world.engine.pay(NODE2)).paid) == 1
    assert world.open_rows() == []
    assert not world.journal.head.instances


def test_the_call_in_doubt_is_named_once() -> None:
    """Transports name call and node themselves when nobody knows what became of it."""
    named = InDoubt("delay on node2.example.com: the connection was lost; nobody knows whether it was done")
    for error, text in ((named, str(named)), (InDoubt("too late"), "delay on node2.example.com: too late")):
        run = World(delay=fails(error, at=1)).run(planned(Undoable(on(NODE2, make(1)), undo=on(NODE2, take_back(1)))))
        assert run.end is not None
        assert run.end.error is not None
        assert run.end.error.text.startswith(text)


def test_a_tolerant_step_goes_on_and_is_owed() -> None:
    """Cleaning up on a node that is away does not fail the job: the node owes it."""
    world = World(delay=lambda _node, _call: NotReached("no connection"))
    run = world.run(planned(Keep((WEB1,)), Forward(on(NODE2, make(1)), tolerant=True), result="moved"))
    assert run.end is not None
    assert (run.end.result, run.end.error) == ("moved", None)
    assert any("WARNING" in line for line in run.said)
    assert world.open_rows() == [f"{NODE2}/7/0/0/1"]


def test_a_step_until_done_is_owed_although_its_node_plainly_said_no() -> None:
    """What nobody could name any more is tried again whenever the node pays, until it is done."""
    world = World(delay=lambda _node, _call: NodeFailure("busy", "it is held open"))
    run = world.run(planned(Keep((WEB1,)), Forward(on(NODE2, make(1)), tolerant=True, until_done=True)))
    assert run.end is not None
    assert run.end.error is None
    assert world.open_rows() == [f"{NODE2}/7/0/0/1"]
    assert done(world.engine.pay(NODE2)).paid == []
    assert world.open_rows() == [f"{NODE2}/7/0/0/1"]
    del world.nodes.answers["delay"]
    assert len(done(world.engine.pay(NODE2)).paid) == 1
    assert world.open_rows() == []


@pytest.mark.parametrize("dies", [1, 2])
def test_recovery_owes_a_step_until_done(dies: int) -> None:
    """Whether its node said no before the master died, or says so to the one after it."""
    world = World(delay=lambda _node, call: NodeFailure("busy", "held") if call.seconds == 1 else None)
    begun = 0

    def die(_node: str, _call: Any) -> None:
        nonlocal begun
        begun += 1
        if begun == dies:
            raise Dead

    world.nodes.before = die
    steps = [Forward(on(NODE2, make(number)), tolerant=True, until_done=True) for number in (1, 2)]
    with pytest.raises(Dead):
        world.run(planned(Keep((WEB1,)), *steps))
    world.nodes.before = lambda _node, _call: None
    done(world.engine.recover(Run(SleepOpcode(duration=0))))
    assert world.open_rows() == [f"{NODE2}/7/0/0/1"]
    assert done(world.engine.pay(NODE2)).paid == []
    del world.nodes.answers["delay"]
    assert len(done(world.engine.pay(NODE2)).paid) == 1


def test_steps_side_by_side_are_all_waited_for() -> None:
    """When one of two fails, the other is not left behind: both are undone."""
    world = World(delay=fails(NodeFailure("failed", "no"), at=1))
    world.run(planned(Together(tuple(Undoable(on(NODE1, make(n)), undo=on(NODE1, take_back(n))) for n in (1, 2)))))
    assert world.nodes.tags() == ["delay", "delay", "guest_stop", "guest_stop"]


def test_a_dry_run_changes_nothing() -> None:
    """The plan is made, no step is run."""
    world = World()
    run = world.run(planned(Reserve((WEB1,)), Undoable(on(NODE1, make(1)), undo=None)), dry_run=True)
    assert run.end is not None
    assert run.end.error is None
    assert world.nodes.made == []
    assert not world.journal.head.instances


def test_a_refusal_in_a_later_stage_undoes_the_earlier_ones() -> None:
    """What the first stage prepared is taken back when the second refuses."""

    def refuse(cluster: Cluster, seen: Any) -> Plan:
        raise Refused("wrong_state", "not now")

    first = planned(Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1))))
    world = World()
    run = world.run(first, Stage(first.observe, refuse))
    assert run.end is not None
    assert "not now" in str(run.end.error)
    assert world.nodes.tags() == ["delay", "guest_stop"]


def test_an_unexpected_error_is_settled_too() -> None:
    """A bug in a plan ends the opcode in error, with what was begun undone."""

    def broken(cluster: Cluster, seen: Any) -> Plan:
        raise KeyError("bug")

    first = planned(Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1))))
    world = World()
    run = world.run(first, Stage(first.observe, broken))
    assert run.end is not None
    assert "KeyError" in str(run.end.error)
    assert world.nodes.tags() == ["delay", "guest_stop"]


@pytest.mark.parametrize("happened", [True, False])
def test_an_uncertain_step_in_doubt_is_found_out(happened: bool) -> None:
    """The nodes' word decides: either the operation goes on, or what prepared it is undone."""

    @settles("test-doubt")
    async def find_out(calls: Any, arguments: Any) -> bool:
        return happened

    try:
        world = World(delay=fails(InDoubt("lost"), at=2))
        moved = planned(
            Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1))),
            Uncertain(on(NODE1, make(2)), "test-doubt", {}),
            Keep((WEB1,)),
        )
        run = world.run(moved)
    finally:
        del SETTLERS["test-doubt"]
    assert run.end is not None
    assert (run.end.error is None) is happened
    assert bool(world.journal.head.instances) is happened
    assert ("guest_stop" in world.nodes.tags()) is not happened


@pytest.mark.parametrize("happened", [True, False])
def test_a_question_that_nobody_can_answer_is_settled_when_it_is_answered(happened: bool) -> None:
    """What prepared the step is undone, or what follows it is done, once the nodes can be asked."""
    answers: list[bool] = []

    @settles("test-doubt")
    async def find_out(calls: Any, arguments: Any) -> bool:
        if not answers:
            raise NotReached("no connection")
        return answers[0]

    try:
        world = World(delay=fails(InDoubt("lost"), at=2))
        world.journal.head = world.journal.head.put(WEB1)
        moved = msgspec.structs.replace(WEB1, primary_node=NODE2)
        run = world.run(
            planned(Undoable(on(NODE2, make(1)), undo=on(NODE2, take_back(1)))),
            planned(
                Uncertain(on(NODE1, make(2)), "test-doubt", {}),
                Keep((moved,)),
                Forward(on(NODE1, make(3)), tolerant=True),
            ),
        )
        assert run.end is not None
        assert run.end.error is not None
        assert world.nodes.tags() == ["delay", "delay"]
        assert done(world.engine.pay(NODE1)).paid == []
        answers.append(happened)
        assert len(done(world.engine.pay(NODE1)).paid) == 1
    finally:
        del SETTLERS["test-doubt"]
    assert world.open_rows() == []
    instance = world.journal.head.instances[WEB1.uuid]
    assert instance.primary_node == (NODE2 if happened else NODE1)
    assert world.nodes.tags()[2:] == (["delay"] if happened else ["guest_stop"])


def test_an_answer_that_comes_too_late_changes_no_object_that_has_moved_on() -> None:
    """Who was asked long ago must not bring back what was removed or altered since."""
    answers: list[bool] = []

    @settles("test-doubt")
    async def find_out(calls: Any, arguments: Any) -> bool:
        if not answers:
            raise NotReached("no connection")
        return answers[0]

    try:
        world = World(delay=fails(InDoubt("lost"), at=2))
        world.journal.head = world.journal.head.put(WEB1)
        moved = msgspec.structs.replace(WEB1, primary_node=NODE2)
        world.run(planned(Uncertain(on(NODE1, make(2)), "test-doubt", {}), Keep((moved,))))
        world.journal.head = world.journal.head.drop(WEB1)
        answers.append(True)
        assert len(done(world.engine.pay(NODE1)).paid) == 1
    finally:
        del SETTLERS["test-doubt"]
    assert world.open_rows() == []
    assert not world.journal.head.instances


def test_a_debt_is_paid_by_calls_of_their_own() -> None:
    """Under the id of an earlier try a node would only repeat what it said then."""
    world = World(delay=fails(InDoubt("too late"), at=1), guest_stop=lambda _node, _call: NotReached("no connection"))
    world.run(planned(Undoable(on(NODE2, make(1)), undo=on(NODE2, take_back(1)))))
    ids: list[str | None] = []
    plain = world.nodes.call

    async def call(node: str, call: NodeCall[Any], *, id: str | None = None) -> Any:
        ids.append(id)
        return await plain(node, call, id=id)

    world.nodes.call = call  # type: ignore[method-assign]
    done(world.engine.pay(NODE2))
    world.nodes.answers.pop("guest_stop")
    assert len(done(world.engine.pay(NODE2)).paid) == 1
    assert ids == [None, None]


def test_a_tolerant_debt_ends_with_the_word_of_its_node() -> None:
    """A guest that is gone cannot be taken in any more: asking again would not help."""
    world = World(delay=lambda _node, _call: NotReached("no connection"))
    world.run(planned(Keep((WEB1,)), Forward(on(NODE2, make(1)), tolerant=True)))
    world.nodes.answers["delay"] = lambda _node, _call: NodeFailure("not_running", "it is not here")
    [paid] = done(world.engine.pay(NODE2)).paid
    assert "it is not here" in paid
    assert world.open_rows() == []


def test_recovery_owes_nothing_for_a_step_that_is_not_owed() -> None:
    """A node that is leaving and cannot be reached any more has left."""
    world = World()

    def die(_node: str, _call: Any) -> None:
        raise Dead

    world.nodes.before = die
    with pytest.raises(Dead):
        world.run(planned(Forward(on(NODE2, make(1)), tolerant=True, owed=False), Forget((WEB1,))))
    world.nodes.before = lambda _node, _call: None
    world.nodes.answers["call_outcome"] = lambda _node, _call: NotReached("gone")
    world.nodes.answers["delay"] = lambda _node, _call: NotReached("gone")
    done(world.engine.recover(Run(SleepOpcode(duration=0))))
    assert world.open_rows() == []


PLANS: dict[str, tuple[Step, ...]] = {
    "create": (
        Reserve((WEB1,)),
        Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1))),
        Undoable(on(NODE2, make(2)), undo=on(NODE2, take_back(2))),
        Keep((WEB1,)),
        Undoable(on(NODE1, make(3)), undo=on(NODE1, take_back(3))),
        Keep((Instance(uuid=WEB1.uuid, name=WEB1.name, primary_node=NODE1, admin_state=AdminState.UP),)),
    ),
    "remove": (
        Forward(on(NODE1, make(1))),
        Forward(on(NODE2, make(2))),
        Forget((WEB1,)),
    ),
    "stop": (
        Keep((WEB1,)),
        Forward(on(NODE1, make(1))),
        Forward(on(NODE1, make(2))),
    ),
}


class Dead(BaseException):
    """The master died here."""


@pytest.mark.parametrize("name", sorted(PLANS))
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moment", range(8))
def test_a_master_that_dies_anywhere_leaves_nothing_half_made(name: str, after: bool, moment: int) -> None:
    """At every commit and every call, before and after it: recovery ends with all of it or nothing of it."""
    world = World()
    if name == "remove":
        world.journal.head = world.journal.head.put(WEB1)
    count = 0
    made: set[float] = set()

    def passing(what: str) -> None:
        nonlocal count
        count += 1
        if count == moment + 1:
            raise Dead(what)

    def act(_node: str, call: Any) -> None:
        if isinstance(call, Delay):
            if not after:
                passing("call")
            made.add(call.seconds)
        else:
            made.discard(float(call.timeout))

    plain = world.nodes.call

    async def call(node: str, call: NodeCall[Any], *, id: str | None = None) -> Any:
        answer = await plain(node, call, id=id)
        if after and isinstance(call, Delay):
            passing("answer")
        return answer

    world.nodes.before = act
    world.nodes.call = call  # type: ignore[method-assign]
    world.journal.on_commit = lambda: passing("commit")
    try:
        world.run(planned(*PLANS[name]))
    except Dead:
        world.journal.on_commit = lambda: None
        count = 1000
        ended = world.journal.rows_.get((Space.JOB, "7")) == b"ended"
        if not ended:
            run = Run(SleepOpcode(duration=0))
            done(world.engine.recover(run))
            assert run.end is not None
            assert run.end.error is not None
    assert world.open_rows() == []
    instance = world.journal.head.instances.get(WEB1.uuid)
    if name == "create":
        kept = instance is not None
        assert (made & {1.0, 2.0} == {1.0, 2.0}) is kept
        assert (made & {1.0, 2.0} == set()) is not kept
        assert (3.0 in made) is (kept and instance.admin_state is AdminState.UP)  # type: ignore[union-attr]
    elif name == "remove":
        assert made == (set() if instance is not None else {1.0, 2.0})
    else:
        assert made == (set() if instance is None else {1.0, 2.0})


def test_a_stopped_engine_begins_nothing_more() -> None:
    """What is under way is left for recovery at the next start."""
    world = World()
    world.nodes.before = lambda _node, _call: world.engine.stop()
    with pytest.raises(LeftForRecovery):
        world.run(planned(*(Undoable(on(NODE1, make(n)), undo=on(NODE1, take_back(n))) for n in (1, 2))))
    assert world.nodes.tags() == ["delay"]
    assert world.open_rows() == ["7/0/001"]


def test_a_plan_that_could_not_be_settled_is_a_bug() -> None:
    """An undoable step past the point of no return, or a reservation after a call, is refused when planned."""
    undoable = Undoable(on(NODE1, make(1)), undo=None)
    with pytest.raises(AssertionError):
        segments_of(Plan((Forward(on(NODE1, make(1))), undoable)), "1/0/0")
    with pytest.raises(AssertionError):
        segments_of(Plan((undoable, Reserve((WEB1,)))), "1/0/0")


def test_an_observation_may_not_change_anything() -> None:
    """A look with a changing call is a bug that is caught; a reading one is answered."""
    world = World(bridge_check=lambda _node, _call: ["br9"])
    seen: list[Any] = []

    async def observe(cluster: Cluster, look: Any) -> None:
        seen.append(await look.ask(NODE1, BridgeCheck(bridges=["br9"])))
        await look.ask(NODE1, LogDiscard())

    run = world.run(Stage(observe, lambda cluster, _seen: Plan()))
    assert seen == [["br9"]]
    assert run.end is not None
    assert run.end.error is not None
    assert world.nodes.made == []


def test_a_node_is_committed_before_it_is_prepared_to_vote() -> None:
    """Nothing can be sent to a node that the committed model does not have."""
    world = World()
    seen: list[bool] = []
    new = Node(uuid="n4", name="node4.example.com", primary_ip="192.0.2.4", group=GROUP)
    plain = world.nodes.prepare

    async def prepare(node: str) -> None:
        written = [change.key for commit in world.journal.commits for change in commit if isinstance(change, Put)]
        seen.append("node/n4" in written)
        await plain(node)

    world.nodes.prepare = prepare  # type: ignore[method-assign]
    run = world.run(planned(Keep((new,)), Promote("n4"), Keep((msgspec.structs.replace(new, master_candidate=True),))))
    assert run.end is not None
    assert run.end.error is None
    assert seen == [True]


def test_a_stop_ends_a_pause() -> None:
    """A daemon that is told to end does not sleep to the end of a delay; the opcode is left for the next start."""
    world = World()
    sleeping: Deferred[None] = Deferred()
    world.engine = Engine(
        Tools(world.journal, world.journal, world.nodes, world.nodes, Resolver(), lambda _seconds: sleeping)
    )
    run = Run(SleepOpcode(duration=99))
    operation = Scripted(run.op, None)  # type: ignore[arg-type]
    operation.stages_ = (planned(Pause(99)),)
    ended: list[Any] = []
    ensureDeferred(world.engine.run(run, operation)).addBoth(ended.append)
    assert ended == []
    world.engine.stop()
    assert ended[0].check(LeftForRecovery)
    assert run.end is None


def test_a_store_that_takes_nothing_settles_nothing() -> None:
    """While nothing can be written, nothing is undone either: the trouble is the processor's to wait out."""
    world = World()

    def full() -> None:
        raise ConfigError("the disk is full")

    world.journal.on_commit = full
    with pytest.raises(ConfigError):
        world.run(planned(Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1)))))
    assert world.nodes.made == []


class Countdown:
    """A watch that is content when a node answers 0."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._name = arguments["name"]

    def seen(self, answer: int, now: float) -> Verdict:
        """Wait as many seconds as there are left; a negative number is an error."""
        if answer < 0:
            return Verdict(problem=Failed(f"{self._name} went below"))
        return Verdict([f"{self._name}: {answer} at {now:g}"], again=answer or None)

    def missed(self, error: GntError) -> Verdict:
        """Ask again soon."""
        return Verdict([str(error)], again=0.5)


@pytest.fixture
def countdown(monkeypatch: pytest.MonkeyPatch) -> Await:
    """Give a step that waits for node1's version to count down."""
    monkeypatch.setitem(WATCHES, "counted down", Countdown)
    return Await(on(NODE1, Version()), "counted down", {"name": "x"})


def test_a_wait_asks_until_its_watch_is_content(countdown: Await) -> None:
    """What the watch says is told, as soon as it wants to it is asked again; no answer is an answer too."""
    answers: list[Any] = [3, NotReached("gone"), 1, 0]
    world = World(version=lambda _n, _c: answers.pop(0))
    run = world.run(planned(countdown, Undoable(on(NODE1, make(1)), None)))
    assert run.end is not None
    assert run.end.error is None
    assert world.slept == [3, 0.5, 1]
    assert run.said == ["x: 3 at 0", "gone", "x: 1 at 0", "x: 0 at 0"]
    assert world.nodes.tags() == ["delay"]


def test_a_wait_that_ends_badly_undoes_what_was_begun(countdown: Await) -> None:
    """Like any step that fails; what was kept before it stays."""
    world = World(version=lambda _n, _c: -1)
    run = world.run(planned(Undoable(on(NODE1, make(1)), on(NODE1, take_back(1))), countdown))
    assert run.end is not None
    assert run.end.error is not None
    assert "x went below" in run.end.error.text
    assert world.nodes.tags() == ["delay", "guest_stop"]


def test_what_was_kept_is_on_disk_before_a_wait_and_before_locks_are_given_up(countdown: Await) -> None:
    """A wait may take hours: a master that takes over meanwhile must know the instance."""
    world = World(version=lambda _n, _c: seen.append(len(world.journal.commits)) or 0)  # type: ignore[func-returns-value]
    seen: list[int] = []
    run = world.run(planned(Keep((WEB1,)), Release((Level.NODE, Level.NODE_RES)), countdown))
    assert run.end is not None
    assert run.end.error is None
    assert seen == [2]
    assert run.dropped == [Level.NODE, Level.NODE_RES]
    # The locks are given up on disk first, or recovery would take them again.
    (given_up,) = world.journal.commits[1]
    assert isinstance(given_up, Put)
    assert given_up.value.startswith(b"without")


def test_a_stop_and_a_kill_end_a_wait(countdown: Await) -> None:
    """The opcode of a stopped daemon is left for recovery, the killed one is settled."""
    for end, expected in (("stop", "left"), ("kill", "killed")):
        world = World(version=lambda _n, _c: 9)
        sleeping: Deferred[None] = Deferred()
        tools = Tools(world.journal, world.journal, world.nodes, world.nodes, Resolver(), lambda _s: sleeping)  # noqa: B023
        world.engine = Engine(tools)
        run = Run(SleepOpcode(duration=1))
        operation = Scripted(run.op, None)  # type: ignore[arg-type]
        operation.stages_ = (planned(countdown),)
        ended: list[Any] = []
        ensureDeferred(world.engine.run(run, operation)).addBoth(ended.append)
        assert ended == []
        if end == "stop":
            world.engine.stop()
            assert ended[0].check(LeftForRecovery), expected
        else:
            assert world.engine.kill(run.job)
            assert run.end is not None
            assert run.end.error is not None
            assert run.end.error.code == "killed"
