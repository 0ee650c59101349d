"""The call table, epochs, lanes and deadlines of a node."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import ConfigError, InDoubt, NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.call_table import KEEP_SECONDS, CallTable
from gnt.noded.calls import REST_TIME, Calls
from gnt.noded.handler import CallContext, Place
from gnt.wire.calls import Delay, DiskRelease, InstallAuthority, NodeCall, Version
from gnt.wire.contract import Caller, NodeEvent
from gnt.wire.disk_calls import DiskRename
from gnt.wire.envelope import (
    BAD_REQUEST,
    IN_DOUBT,
    INTERNAL_ERROR,
    NOT_BEGUN,
    STALE_EPOCH,
    UNKNOWN_CALL,
    Answer,
    Request,
    encode_answer,
)
from gnt.wire.guest_calls import GuestStop
from gnt.wire.log_calls import (
    AppendAnswer,
    CallAbort,
    CallOutcome,
    Fence,
    LogAppend,
    LogState,
    Outcome,
    Promise,
    PromiseAnswer,
)
from tests.noded.places import InlinePool, place_below

MASTER = Caller(digest="aa", common_name="node1.example.com")
ONE = Epoch(number=1, node="node-a")
TWO = Epoch(number=2, node="node-b")
TAKEN = (GuestStop, Delay, LogAppend, InstallAuthority, Version, DiskRelease, DiskRename)


class Hands:
    """Handlers that end when the test says so, and remember what they were asked."""

    def __init__(self) -> None:
        self.begun: list[tuple[Any, CallContext]] = []
        self.ends: list[Deferred[Any]] = []
        self.entries = 0

    async def take(self, call: NodeCall[Any], context: CallContext) -> Any:
        """Begin; the answer comes with `ends`."""
        self.begun.append((call, context))
        end: Deferred[Any] = Deferred()
        self.ends.append(end)
        return await end

    def handlers(self) -> dict[type[NodeCall[Any]], Callable[[Any, CallContext], Any]]:
        """Give the table."""
        return dict.fromkeys(TAKEN, self.take)


class Log:
    """A copy of the log that stands still."""

    def __init__(self) -> None:
        self.end = START
        self.exists = True

    def state(self) -> LogState:
        """Give what is known of it."""
        return LogState(end=self.end, committed=0, promised=START.epoch)

    async def refresh(self) -> LogState:
        """Say where it ends."""
        return self.state()

    async def promise(self, epoch: Epoch, *, ask_only: bool) -> PromiseAnswer:
        """Promise, unless there is no log here."""
        return PromiseAnswer(granted=self.exists, log=self.state())


class Node:
    """The calls of one node, on a false clock, over a real file."""

    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        self.place: Place = place_below(root, clock=self.clock)
        self.place.layout.data.mkdir(parents=True, exist_ok=True)
        self.events: list[NodeEvent] = []
        self.restart()

    def restart(self) -> None:
        """Begin anew with what is on disk, as after a crash: nothing is told to the old one."""
        self.hands = Hands()
        self.log = Log()
        self.table = CallTable(self.place.layout.calls_db, self.place.runtime)
        self.calls = Calls(self.place, self.hands.handlers(), self.table, replica=self.log, emit=self.events.append)
        now(ensureDeferred(self.calls.start()))

    def send(
        self, call: NodeCall[Any], *, name: str = "1", epoch: Epoch | None = ONE, deadline: float = 60.0
    ) -> Deferred[Answer]:
        """Send a request."""
        request = Request(id=name, epoch=epoch, deadline=deadline, call=call)
        return ensureDeferred(self.calls.perform(request, MASTER))


def now(deferred: Deferred[Any]) -> Any:
    """Give the result that a Deferred has already."""
    results: list[Any] = []

    def keep(result: Any) -> Any:
        results.append(result)
        return None if isinstance(result, Failure) else result

    deferred.addBoth(keep)
    assert results, "not yet"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def value(call: NodeCall[Any], deferred: Deferred[Answer]) -> Any:
    """Give the value of an answer that is there."""
    answer: Answer = now(deferred)
    return answer.result(call)


def code(deferred: Deferred[Answer]) -> str:
    """Give the error code of an answer that is there."""
    answer: Answer = now(deferred)
    assert answer.err is not None
    return answer.err.code


def stop(uuid: str = "u1") -> GuestStop:
    """Give a changing call in the lane of an instance."""
    return GuestStop(hypervisor="fake", name="web1", uuid=uuid, timeout=10)


def disk(uuid: str) -> DiskSpec:
    """Give a disk of the instance u1."""
    return DiskSpec(index=0, uuid=uuid, dev_type=DiskTemplate.FILE, size=1, instance_uuid="u1")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Give a fresh node."""
    return Node(tmp_path)


def rows(node: Node) -> list[tuple[str, str]]:
    """Read what is on disk, past the daemon."""
    connection = sqlite3.connect(node.place.layout.calls_db)
    try:
        return connection.execute("SELECT id, state FROM calls ORDER BY id").fetchall()
    finally:
        connection.close()


def test_started_is_on_disk_before_the_effect(node: Node) -> None:
    """When the handler runs, another process finds the row; when it has ended, the end."""
    answer = node.send(stop())
    assert len(node.hands.begun) == 1
    assert rows(node) == [("1", "started")]
    node.hands.ends[0].callback(None)
    assert value(stop(), answer) is None
    assert rows(node) == [("1", "done")]


def test_repeated_id_gets_the_same_answer_and_no_second_effect(node: Node) -> None:
    """While it runs both wait; afterwards, and after a restart, the table answers."""
    first, second = node.send(stop()), node.send(stop())
    assert len(node.hands.begun) == 1
    node.hands.ends[0].errback(NodeFailure("busy", "it is busy", hint="wait", retry=True))
    third = node.send(stop())
    assert encode_answer(now(first)) == encode_answer(now(second)) == encode_answer(now(third))
    node.restart()
    again: Answer = now(node.send(stop()))
    assert encode_answer(again) == encode_answer(now(first))
    assert again.err is not None
    assert (again.err.code, again.err.hint, again.err.retry) == ("busy", "wait", True)
    assert node.hands.begun == []


def test_repeated_id_with_another_call_is_refused(node: Node) -> None:
    """An id belongs to one call, under way or ended."""
    first = node.send(stop())
    assert code(node.send(Delay(seconds=1))) == BAD_REQUEST
    node.hands.ends[0].callback(None)
    now(first)
    assert code(node.send(Delay(seconds=1))) == BAD_REQUEST


def test_crash_while_under_way_answers_in_doubt(node: Node) -> None:
    """After a restart the call is not begun again: nobody knows how far it came."""
    node.send(stop())
    node.restart()
    assert code(node.send(stop())) == IN_DOUBT
    assert node.hands.begun == []
    outcome = value(CallOutcome(id="1"), node.send(CallOutcome(id="1"), name="2"))
    assert outcome.state == "in_doubt"


def test_an_end_that_the_disk_does_not_take_is_written_with_the_next_call(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a repeated id gets the same answer, and the call does not stand as under way until the next restart."""

    def full(_works: object) -> list[Any]:
        raise sqlite3.OperationalError("database or disk is full")

    answer = node.send(stop())
    monkeypatch.setattr(node.table, "_commit", full)
    node.hands.ends[0].errback(NodeFailure("busy", "it is busy"))
    assert code(answer) == "busy"
    assert rows(node) == [("1", "started")]
    assert code(node.send(stop("u2"), name="2")) == NOT_BEGUN
    monkeypatch.undo()
    assert code(node.send(stop())) == "busy"
    assert rows(node) == [("1", "failed")]
    node.restart()
    assert code(node.send(stop())) == "busy"


def test_same_lane_runs_in_order_of_arrival_other_lanes_at_once(node: Node) -> None:
    """One instance, one thing at a time."""
    node.send(stop("u1"), name="1")
    node.send(stop("u1"), name="2")
    node.send(stop("u2"), name="3")
    assert [context.id for _, context in node.hands.begun] == ["1", "3"]
    assert rows(node) == [("1", "started"), ("3", "started")]
    node.hands.ends[0].callback(None)
    assert [context.id for _, context in node.hands.begun] == ["1", "3", "2"]


def test_disks_side_by_side_but_not_beside_their_guest(node: Node) -> None:
    """Two disks of an instance at once; what is done to the guest waits for both, and what comes after it for it."""
    first, second = disk("d1"), disk("d2")
    node.send(DiskRelease(disk=first), name="1")
    node.send(DiskRelease(disk=second), name="2")
    node.send(DiskRelease(disk=first), name="3")
    node.send(stop("u1"), name="4")
    node.send(DiskRelease(disk=second), name="5")
    assert [context.id for _, context in node.hands.begun] == ["1", "2"]
    node.hands.ends[1].callback(None)
    assert [context.id for _, context in node.hands.begun] == ["1", "2"]
    node.hands.ends[0].callback(None)
    assert [context.id for _, context in node.hands.begun] == ["1", "2", "3"]
    node.hands.ends[2].callback(None)
    assert [context.id for _, context in node.hands.begun] == ["1", "2", "3", "4"]
    node.hands.ends[3].callback(None)
    assert [context.id for _, context in node.hands.begun] == ["1", "2", "3", "4", "5"]


def test_a_disk_and_its_volumes_and_its_new_name_are_one_thing(node: Node) -> None:
    """A call about a mirror's volume waits for the mirror; one about a name that is being given waits as well."""
    mirror = msgspec.structs.replace(disk("d1"), children=(disk("data"), disk("meta")))
    node.send(DiskRelease(disk=mirror), name="1")
    node.send(DiskRelease(disk=disk("meta")), name="2")
    node.send(DiskRename(disk=disk("old"), target=disk("new")), name="3")
    node.send(DiskRelease(disk=disk("new")), name="4")
    assert [context.id for _, context in node.hands.begun] == ["1", "3"]
    for end in node.hands.ends[:2]:
        end.callback(None)
    assert [context.id for _, context in node.hands.begun] == ["1", "3", "2", "4"]


def test_answer_from_the_table_does_not_wait_for_the_lane_and_does_not_block_it(node: Node) -> None:
    """A repeated id is answered while another call holds its lane; the next call still comes to its turn."""
    first = node.send(stop(), name="1")
    node.hands.ends[0].callback(None)
    now(first)
    node.send(stop(), name="2")
    assert value(stop(), node.send(stop(), name="1")) is None
    node.send(stop(), name="3")
    node.hands.ends[1].callback(None)
    assert [context.id for _, context in node.hands.begun] == ["1", "2", "3"]


def test_older_epoch_is_refused_also_after_a_restart(node: Node) -> None:
    """Seeing a higher number is a promise, and durable with the first call that carries it."""
    node.send(stop("u1"), name="1", epoch=TWO)
    assert code(node.send(stop("u2"), name="2", epoch=ONE)) == STALE_EPOCH
    node.restart()
    assert code(node.send(stop("u2"), name="2", epoch=ONE)) == STALE_EPOCH
    assert node.hands.begun == []


def test_same_number_of_another_node_is_served(node: Node) -> None:
    """A voter that promised 2 to one who lost serves the one who was elected with 2."""
    loser = Promise(epoch=Epoch(number=2, node="node-z"))
    assert value(loser, node.send(loser, epoch=None)).granted
    node.send(stop(), name="2", epoch=TWO)
    assert len(node.hands.begun) == 1


def test_changing_call_needs_an_epoch_and_a_reading_one_does_not(node: Node) -> None:
    """Without an epoch nothing changes; a reading call leaves no row."""
    assert code(node.send(stop(), epoch=None)) == BAD_REQUEST
    node.send(Version(), epoch=None)
    assert len(node.hands.begun) == 1
    assert rows(node) == []


def test_promise_is_granted_once_for_a_number_and_survives(node: Node) -> None:
    """A number goes to one node; the same node may ask again; a lower one is refused."""
    promise = Promise(epoch=TWO)
    assert value(promise, node.send(promise, epoch=None)).granted
    node.restart()
    assert value(promise, node.send(promise, epoch=None)).granted
    for other in (Epoch(number=2, node="node-z"), ONE):
        answer: PromiseAnswer = value(promise, node.send(Promise(epoch=other), epoch=None))
        assert not answer.granted
        assert answer.log.promised == TWO


def test_node_without_a_log_grants_nothing(node: Node) -> None:
    """It is no voter; what it was asked for it refuses older masters all the same."""
    node.log.exists = False
    promise = Promise(epoch=TWO)
    assert not value(promise, node.send(promise, epoch=None)).granted


def test_asking_only_promises_nothing(node: Node) -> None:
    """It says what would be granted, and where the log stands."""
    node.log.end = Position(epoch=ONE, serial=7)
    promise = Promise(epoch=TWO, ask_only=True)
    answer: PromiseAnswer = value(promise, node.send(promise, epoch=None))
    assert answer.granted
    assert answer.log.end.serial == 7
    assert node.calls.promised == START.epoch


def test_promise_waits_for_the_append_that_is_under_way(node: Node) -> None:
    """The answer names the log with that append in it; one that came behind it is not stored any more."""
    append = LogAppend(previous=START, entries=[b"x"], committed=0)
    first = node.send(append, name="1")
    behind = node.send(append, name="2")
    promised = node.send(Promise(epoch=TWO), epoch=None, name="3")
    node.log.end = Position(epoch=ONE, serial=1)
    node.hands.ends[0].callback(AppendAnswer(stored=True, end=node.log.end))
    assert value(append, first).stored
    assert code(behind) == NOT_BEGUN
    assert len(node.hands.begun) == 1
    answer: PromiseAnswer = value(Promise(epoch=TWO), promised)
    assert answer.granted
    assert answer.log.end.serial == 1


def test_fence_ends_older_work_and_tells_outcomes(node: Node) -> None:
    """It aborts what can be aborted, waits for its end, drops what had not begun, and looks up what it is asked."""
    done = node.send(stop("u9"), name="0")
    node.hands.ends[0].callback(None)
    now(done)
    running, behind = node.send(stop(), name="1"), node.send(stop(), name="2")
    end = node.hands.ends[1]
    node.hands.begun[1][1].on_abort.append(lambda: end.errback(NodeFailure("aborted", "killed")))
    fence = Fence(epoch=TWO, calls=["0", "7"])
    outcomes = value(fence, node.send(fence, name="3", epoch=TWO))
    assert outcomes == [
        Outcome(id="0", state="done"),
        Outcome(id="1", state="failed", code="aborted", text="killed"),
        Outcome(id="7", state="unknown"),
    ]
    assert code(running) == "aborted"
    assert code(behind) == NOT_BEGUN
    assert code(node.send(stop(), name="2")) == STALE_EPOCH


def test_fence_waits_for_work_that_cannot_be_aborted(node: Node) -> None:
    """Its answer comes when the older work has ended, not before; the fence itself is durable at once."""
    node.send(stop(), name="1")
    fenced = node.send(Fence(epoch=TWO), name="2", epoch=TWO)
    assert not fenced.called
    old = node.hands
    node.restart()
    assert node.calls.promised == TWO
    old.ends[0].callback(None)


def test_a_stop_ends_what_is_under_way_and_records_it(node: Node) -> None:
    """What runs is aborted, what waits in a lane does not begin, what comes now is refused; the next daemon knows."""
    runs, waits = node.send(stop(), name="1"), node.send(stop(), name="2")
    failed = NodeFailure("aborted", "it was aborted")
    node.hands.begun[0][1].on_abort.append(lambda: node.hands.ends[0].errback(failed))
    resting = ensureDeferred(node.calls.come_to_rest())
    assert (code(runs), code(waits)) == ("aborted", NOT_BEGUN)
    now(resting)
    late = now(node.send(Delay(seconds=1), name="3"))
    assert (late.err.code, late.err.retry) == (NOT_BEGUN, True)
    assert node.clock.getDelayedCalls() == []
    now(ensureDeferred(node.calls.stop()))
    node.restart()
    outcome = now(node.send(CallOutcome(id="1"), name="o")).result(CallOutcome(id="1"))
    assert (outcome.state, outcome.code) == ("failed", "aborted")


def test_a_stop_does_not_wait_for_ever(node: Node) -> None:
    """What cannot be aborted is in doubt afterwards."""
    runs = node.send(stop(), name="1", deadline=600.0)
    resting = ensureDeferred(node.calls.come_to_rest())
    node.clock.advance(REST_TIME - 1)
    assert not resting.called
    node.clock.advance(1)
    now(resting)
    assert not runs.called
    now(ensureDeferred(node.calls.stop()))
    node.restart()
    outcome = now(node.send(CallOutcome(id="1"), name="o")).result(CallOutcome(id="1"))
    assert outcome.state == "in_doubt"


def test_fence_of_an_older_epoch_is_stale(node: Node) -> None:
    """A late fence undoes nothing."""
    now(node.send(Fence(epoch=TWO), epoch=TWO))
    assert code(node.send(Fence(epoch=ONE), epoch=None)) == STALE_EPOCH


def test_deadline_answers_in_doubt_and_ends_what_can_be_ended(node: Node) -> None:
    """The master hears in doubt; the work is told to end; how it ended is in the table."""
    answer = node.send(stop(), deadline=5.0)
    end = node.hands.ends[0]
    node.hands.begun[0][1].on_abort.append(lambda: end.errback(NodeFailure("aborted", "killed")))
    node.clock.advance(5.0)
    assert code(answer) == IN_DOUBT
    assert rows(node) == [("1", "failed")]
    assert code(node.send(stop())) == "aborted"


def test_deadline_leaves_work_alone_that_cannot_be_ended(node: Node) -> None:
    """It goes on, keeps its lane, and its end is recorded; asking waits for it."""
    answer = node.send(stop(), deadline=5.0)
    node.clock.advance(5.0)
    assert code(answer) == IN_DOUBT
    outcome = node.send(CallOutcome(id="1"), name="2")
    assert not outcome.called
    node.hands.ends[0].callback(None)
    assert value(CallOutcome(id="1"), outcome) == Outcome(id="1", state="done")


def test_deadline_ends_what_a_reading_call_does(node: Node) -> None:
    """Nobody takes its answer any more: its program is ended, and one that it would run next ends at once."""
    answer = node.send(Version(), epoch=None, deadline=5.0)
    ended: list[str] = []
    (_, context), end = node.hands.begun[0], node.hands.ends[0]
    context.on_abort.append(lambda: ended.append("first"))
    node.clock.advance(4.9)
    assert (answer.called, ended) == (False, [])
    node.clock.advance(0.1)
    assert (code(answer), ended) == (IN_DOUBT, ["first"])
    context.on_abort.append(lambda: ended.append("second"))
    assert ended == ["first", "second"]
    end.errback(NodeFailure("aborted", "killed"))
    assert code(answer) == IN_DOUBT


def test_reading_call_that_ends_in_time_is_not_aborted(node: Node) -> None:
    """Nothing happens at its deadline."""
    answer = node.send(Version(), epoch=None, deadline=5.0)
    ended: list[str] = []
    node.hands.begun[0][1].on_abort.append(lambda: ended.append("first"))
    node.hands.ends[0].callback(None)
    node.clock.advance(6.0)
    assert (now(answer).err, ended) == (None, [])


def test_deadline_before_the_turn_leaves_no_trace(node: Node) -> None:
    """A call that waited too long for its lane is not begun, and may come again under the same id."""
    node.send(stop(), name="1")
    late = node.send(stop(), name="2", deadline=5.0)
    node.clock.advance(5.0)
    assert code(late) == NOT_BEGUN
    again = node.send(stop(), name="2")
    node.hands.ends[0].callback(None)
    node.hands.ends[1].callback(None)
    assert value(stop(), again) is None
    assert len(node.hands.begun) == 2


def test_call_that_arrives_after_its_deadline_is_not_begun(node: Node) -> None:
    """Late is never."""
    assert code(node.send(stop(), deadline=0.0)) == NOT_BEGUN
    assert node.hands.begun == []


def test_abort_ends_a_call_or_says_that_it_cannot(node: Node) -> None:
    """An abort that comes before the work can be ended is heard when it can."""
    node.send(stop(), name="1")
    assert code(node.send(CallAbort(id="1"), name="2")) == "busy"
    end = node.hands.ends[0]
    node.hands.begun[0][1].on_abort.append(lambda: end.errback(NodeFailure("aborted", "killed")))
    assert value(CallAbort(id="1"), node.send(CallAbort(id="1"), name="3")) is None
    assert rows(node) == [("1", "failed")]
    assert value(CallAbort(id="1"), node.send(CallAbort(id="none"), name="4")) is None


def test_unforeseen_failure_tells_no_secret(node: Node) -> None:
    """The text of an exception that nobody foresaw stays on the node."""
    answer = node.send(stop())
    node.hands.ends[0].errback(RuntimeError("password=hunter2"))
    result: Answer = now(answer)
    assert result.err is not None
    assert result.err.code == INTERNAL_ERROR
    assert "hunter2" not in result.err.text


def test_handler_in_doubt_stays_in_doubt(node: Node) -> None:
    """A handler may say that it does not know; that is what the table then says."""
    answer = node.send(stop())
    node.hands.ends[0].errback(InDoubt("libvirtd went away"))
    assert code(answer) == IN_DOUBT
    assert rows(node) == [("1", "in_doubt")]


def test_secrets_are_not_recorded(node: Node) -> None:
    """The authority's key does not reach the table."""
    node.send(InstallAuthority(certificate="CERT", key="VERY-SECRET-KEY"))
    node.hands.ends[0].callback(None)
    data = node.place.layout.data
    assert all(b"VERY-SECRET-KEY" not in path.read_bytes() for path in data.iterdir())
    assert node.place.layout.calls_db.stat().st_mode & 0o777 == 0o600


def test_call_without_a_handler_is_unknown(node: Node) -> None:
    """A part that is not there is named, not waited for."""
    calls = Calls(node.place, {}, node.table)
    request = Request(id="1", epoch=ONE, deadline=5.0, call=stop())
    assert code(ensureDeferred(calls.perform(request, MASTER))) == UNKNOWN_CALL


def test_progress_reaches_the_listener(node: Node) -> None:
    """A line of a handler goes out with the id of its call."""
    node.send(stop(), name="17")
    node.hands.begun[0][1].progress("half-way")
    assert [(event.id, event.text) for event in node.events] == [("17", "half-way")]  # type: ignore[union-attr]


class HeldPool(InlinePool):
    """A pool whose work waits until it is let through."""

    def __init__(self) -> None:
        self.held: list[Deferred[None]] = []
        self.holding = False

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Do it now, or when let through."""
        if not self.holding:
            return super().run(work, *args, **kwargs)
        gate: Deferred[None] = Deferred()
        self.held.append(gate)
        return gate.addCallback(lambda _: work(*args, **kwargs))


def held_node(root: Path) -> tuple[Node, HeldPool]:
    """Give a node whose disk can be made to wait."""
    pool = HeldPool()
    node = Node(root)
    node.place = place_below(root, clock=node.clock, pools=lambda _name: pool)
    node.restart()
    pool.holding = True
    return node, pool


def test_calls_that_arrive_together_share_a_transaction(tmp_path: Path) -> None:
    """While one write is on its way, all that come are written with the next."""
    node, pool = held_node(tmp_path)
    for number in range(20):
        node.send(stop(f"u{number}"), name=str(number))
    assert len(pool.held) == 1
    pool.held[0].callback(None)
    assert len(node.hands.begun) == 1
    assert len(pool.held) == 2
    pool.held[1].callback(None)
    assert len(node.hands.begun) == 20


def test_fence_during_the_write_of_the_start_prevents_the_effect(tmp_path: Path) -> None:
    """The row is taken back, and the fence need not wait for anything else."""
    node, pool = held_node(tmp_path)
    answer = node.send(stop())
    fenced = node.send(Fence(epoch=TWO, calls=["1"]), name="2", epoch=TWO)
    while pool.held:
        pool.held.pop(0).callback(None)
    assert code(answer) == NOT_BEGUN
    assert node.hands.begun == []
    assert value(Fence(epoch=TWO), fenced) == [Outcome(id="1", state="unknown")]


def test_abort_during_the_write_of_the_start_prevents_the_effect(tmp_path: Path) -> None:
    """A call whose work has not begun can always be ended."""
    node, pool = held_node(tmp_path)
    answer = node.send(stop())
    aborted = node.send(CallAbort(id="1"), name="2")
    while pool.held:
        pool.held.pop(0).callback(None)
    assert code(answer) == NOT_BEGUN
    assert value(CallAbort(id="1"), aborted) is None
    assert node.hands.begun == []


def test_a_start_that_a_full_disk_does_not_take_back_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its row says: whoever looks finds nothing done. It is no unforeseen failure."""
    faults: list[object] = []
    monkeypatch.setattr("gnt.noded.calls.log.failure", lambda *_a, **_k: faults.append(1))
    node, pool = held_node(tmp_path)
    answer = node.send(stop())
    node.send(CallAbort(id="1"), name="2")
    pool.held.pop(0).callback(None)
    connection = node.table._connection
    assert connection is not None
    connection.execute("PRAGMA query_only = ON")
    while pool.held:
        pool.held.pop(0).callback(None)
    assert code(answer) == IN_DOUBT
    assert node.hands.begun == []
    assert faults == []


def test_full_disk_ends_the_call_before_its_effect(node: Node) -> None:
    """What cannot be recorded is not begun; the daemon goes on, and the same id works later."""
    connection = node.table._connection
    assert connection is not None
    connection.execute("PRAGMA query_only = ON")
    assert code(node.send(stop())) == NOT_BEGUN
    assert node.hands.begun == []
    connection.execute("PRAGMA query_only = OFF")
    node.send(stop())
    assert len(node.hands.begun) == 1


def test_a_fence_on_a_full_disk_does_what_needs_no_disk(node: Node) -> None:
    """The cluster's address goes at once; the answer, and the end of older work, wait until the promise is durable."""
    fenced: list[Epoch] = []

    async def hear(epoch: Epoch) -> None:
        fenced.append(epoch)

    node.calls._on_fence = hear
    older = node.send(stop(), epoch=ONE)
    connection = node.table._connection
    assert connection is not None
    connection.execute("PRAGMA query_only = ON")
    assert code(node.send(Fence(epoch=TWO), epoch=TWO)) == "call_table"
    assert fenced == [TWO]
    assert not older.called
    assert code(node.send(stop("u2"), name="2", epoch=ONE)) == STALE_EPOCH
    connection.execute("PRAGMA query_only = OFF")
    answer = node.send(Fence(epoch=TWO), epoch=TWO)
    node.hands.ends[0].callback(None)
    assert [outcome.id for outcome in value(Fence(epoch=TWO), answer)] == ["1"]
    assert fenced == [TWO, TWO]


def test_old_ended_rows_are_trimmed(node: Node) -> None:
    """A week later an ended call is forgotten, one that is under way is not."""
    ended = node.send(stop("u1"), name="1")
    node.hands.ends[0].callback(None)
    now(ended)
    node.send(stop("u2"), name="2", deadline=KEEP_SECONDS * 2)
    node.clock.advance(KEEP_SECONDS + 1)
    assert now(ensureDeferred(node.table.trim())) == 1
    assert rows(node) == [("2", "started")]


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at\n" * 100])
def test_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    """One line that names the file."""
    place = place_below(tmp_path)
    place.layout.data.mkdir(parents=True)
    place.layout.calls_db.write_bytes(content)
    table = CallTable(place.layout.calls_db, place.runtime)
    with pytest.raises(ConfigError, match=r"calls\.db"):
        now(ensureDeferred(table.open()))


def test_table_of_another_version_is_refused(tmp_path: Path) -> None:
    """A newer program's table is left as it is."""
    place = place_below(tmp_path)
    place.layout.data.mkdir(parents=True)
    connection = sqlite3.connect(place.layout.calls_db)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    table = CallTable(place.layout.calls_db, place.runtime)
    with pytest.raises(ConfigError, match="version 99"):
        now(ensureDeferred(table.open()))


def test_abandoned_daemon_writes_nothing_any_more(node: Node) -> None:
    """What a simulated crash interrupted stays interrupted, whatever its timers still do."""
    old = node.hands
    node.send(stop())
    node.calls.abandon()
    old.ends[0].callback(None)
    assert rows(node) == [("1", "started")]
    node.restart()
    assert code(node.send(stop())) == IN_DOUBT


def test_orderly_stop_folds_the_log_in(node: Node) -> None:
    """After a stop the one file holds everything."""
    node.send(stop())
    node.hands.ends[0].callback(None)
    now(ensureDeferred(node.calls.stop()))
    assert [path.name for path in node.place.layout.data.iterdir()] == ["calls.db"]
