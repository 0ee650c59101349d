"""The LUXI client that does not block, against a master that answers when it likes."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gnt.model.errors import GntError, JobLost, Refused
from gnt.opcodes.instance_power import InstanceStartup
from gnt.rapi.luxi import Master
from gnt.wire.luxi import encode_failure
from gnt.wire.luxi_frames import MAX_REQUEST
from tests.rapi.room import HANG_UP, FakeMaster, _Wire


class World:
    """A client with few connections, and its master."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.fake = FakeMaster()
        self.master = Master(self.fake, self.clock, quick=2, waiting=2)

    def ask(self, method: str, *args: Any, **named: Any) -> Deferred[Any]:
        """Begin a call."""
        return Deferred.fromCoroutine(self.master.call(method, *args, **named))

    def result(self, asking: Deferred[Any]) -> Any:
        """Give the result of a call that has ended."""
        found: list[Any] = []
        asking.addBoth(found.append)
        (value,) = found
        if isinstance(value, Failure):
            raise value.value
        return value


@pytest.fixture
def world() -> World:
    """Give a fresh one."""
    return World()


def test_a_connection_is_used_again(world: World) -> None:
    """One after the other needs one connection only."""
    world.fake.answers["QueryTags"] = ["a"]
    assert [world.result(world.ask("QueryTags", "cluster", "")) for _ in range(3)] == [["a"]] * 3
    assert len(world.fake.wires) == 1
    world.master.close()
    assert world.fake.wires[0].aborted


def test_calls_go_side_by_side_and_then_in_turn(world: World) -> None:
    """As many at once as there are connections, the others wait, and none gets another's answer."""
    waiting: list[Deferred[Any]] = [Deferred() for _ in range(4)]
    world.fake.answers["Query"] = lambda number: waiting[number]
    asked = [world.ask("Query", number) for number in range(4)]
    assert len(world.fake.asked) == 2
    waiting[1].callback("one")
    assert [args for _, args in world.fake.asked] == [[0], [1], [2]]
    waiting[0].callback("zero")
    waiting[3].callback("three")
    waiting[2].callback("two")
    assert [world.result(one) for one in asked] == ["zero", "one", "two", "three"]
    assert len(world.fake.wires) == 2


def test_waiting_for_jobs_blocks_nobody(world: World) -> None:
    """All connections for waiting are taken; what is quick is answered all the same."""
    world.fake.answers |= {"WaitForJobChange": lambda *_: Deferred(), "QueryTags": []}
    waits = [world.ask("WaitForJobChange", number, patience=10) for number in range(5)]
    assert world.result(world.ask("QueryTags")) == []
    assert world.fake.methods().count("WaitForJobChange") == 2
    world.clock.advance(71)
    for wait in waits:
        with pytest.raises(GntError, match="in time"):
            world.result(wait)


def test_a_timeout_frees_its_place(world: World) -> None:
    """A master that is silent does not use up the connections for good."""
    world.fake.answers["Query"] = lambda *_: Deferred()
    asked = [world.ask("Query") for _ in range(4)]
    world.clock.advance(61)
    assert all(wire.aborted for wire in world.fake.wires)
    for one in asked:
        with pytest.raises(GntError):
            world.result(one)
    world.fake.answers["Query"] = "back"
    assert world.result(world.ask("Query")) == "back"


def test_a_master_that_came_again(world: World) -> None:
    """Connections that rested and died are replaced; reading is tried again, changing is not."""
    world.fake.answers |= {"QueryTags": [], "SubmitJob": 1}
    world.result(world.ask("QueryTags"))
    world.fake.wires[0].abortConnection()
    assert world.result(world.ask("QueryTags")) == []

    answers = iter([HANG_UP, ["again"]])
    world.fake.answers["QueryTags"] = lambda: next(answers)
    assert world.result(world.ask("QueryTags")) == ["again"]

    world.fake.answers["SubmitJob"] = HANG_UP
    submitting = Deferred.fromCoroutine(world.master.submit([InstanceStartup(instance_name="web1")]))
    with pytest.raises(GntError) as lost:
        world.result(submitting)
    assert lost.value.code == "connection_lost"
    assert world.fake.methods().count("SubmitJob") == 1


def test_a_fresh_connection_that_breaks_is_not_tried_for_ever(world: World) -> None:
    """The master takes connections and drops them."""
    world.fake.answers["QueryTags"] = HANG_UP
    with pytest.raises(GntError) as lost:
        world.result(world.ask("QueryTags"))
    assert lost.value.code == "connection_lost"
    assert len(world.fake.wires) == 1


def test_who_is_cancelled_waits_no_longer(world: World) -> None:
    """In line, or for the answer; the place in line is free again."""
    world.fake.answers["Query"] = lambda *_: Deferred()
    asked = [world.ask("Query") for _ in range(3)]
    asked[2].cancel()
    asked[0].cancel()
    for one in (asked[2], asked[0]):
        with pytest.raises(CancelledError):
            world.result(one)
    assert [wire.aborted for wire in world.fake.wires] == [True, False]
    world.fake.answers["Query"] = 1
    assert world.result(world.ask("Query")) == 1


def test_a_change_goes_on_without_its_caller(world: World) -> None:
    """The caller is cancelled; the request is not, and its end is known."""
    late: Deferred[Any] = Deferred()
    world.fake.answers["CancelJob"] = late
    changing = Deferred.fromCoroutine(world.master.change("CancelJob", 3))
    changing.cancel()
    with pytest.raises(CancelledError):
        world.result(changing)
    assert not world.fake.wires[0].aborted
    late.callback(GntError("failed", "no"))
    world.fake.answers["CancelJob"] = [True, ""]
    assert world.result(Deferred.fromCoroutine(world.master.change("CancelJob", 4))) == [True, ""]
    assert len(world.fake.wires) == 1


@pytest.mark.parametrize(
    "answer",
    [b"x\x03", b"[]\x03", b'{"success": 1}\x03', b'{"success": true, "result": 1}\x03more', b"{}\x03{}\x03"],
)
def test_what_is_no_answer(world: World, answer: bytes) -> None:
    """It is named, and that connection is not trusted with more if it talks out of turn."""
    world.fake.answers["Query"] = answer
    with pytest.raises(GntError) as error:
        world.result(world.ask("Query"))
    assert error.value.code == "luxi_error"
    world.fake.answers["Query"] = 2
    assert world.result(world.ask("Query")) == 2


def test_an_answer_that_nobody_asked_for(world: World) -> None:
    """A connection that talks while it rests is dropped."""
    world.fake.answers["Query"] = 1
    world.result(world.ask("Query"))
    world.fake.wires[0].protocol.dataReceived(b'{"success": true, "result": 2}\x03')
    assert world.fake.wires[0].aborted
    assert world.result(world.ask("Query")) == 1


def test_a_master_with_too_many_clients(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so before anything is asked."""

    def greet(self: FakeMaster, factory: Any) -> Deferred[Any]:
        wire = _Wire(self)
        wire.protocol = factory.buildProtocol(None)
        self.wires.append(wire)
        wire.protocol.makeConnection(wire)
        wire.protocol.dataReceived(encode_failure(GntError("too_many", "too many clients")))
        connected: Deferred[Any] = Deferred()
        connected.callback(wire.protocol)
        return connected

    monkeypatch.setattr(FakeMaster, "connect", greet)
    with pytest.raises(GntError) as error:
        world.result(world.ask("Query"))
    assert error.value.code == "too_many"
    assert world.fake.asked == []


def test_errors_keep_what_they_are(world: World) -> None:
    """Code, text and hint of the master's errors arrive."""
    world.fake.answers["Query"] = Refused("wrong_state", "no", hint="yes")
    with pytest.raises(Refused) as error:
        world.result(world.ask("Query"))
    assert (error.value.code, error.value.text, error.value.hint) == ("wrong_state", "no", "yes")


def test_what_is_too_large_is_not_sent(world: World) -> None:
    """The master would close the connection."""
    with pytest.raises(Refused, match="allowed"):
        world.result(world.ask("Query", "x" * MAX_REQUEST))
    assert world.fake.wires == []


@pytest.mark.parametrize(
    ("number", "code"), [(13, "permission"), (1, "permission"), (2, "no_master"), (111, "no_master")]
)
def test_reasons_for_no_connection(world: World, number: int, code: str) -> None:
    """Permission, or nobody there."""
    world.fake.down = ConnectError(number)
    with pytest.raises(GntError) as error:
        world.result(world.ask("Query"))
    assert error.value.code == code


@pytest.mark.parametrize(("answer", "error"), [(None, JobLost), ([1], GntError), (5, GntError)])
def test_waiting_for_a_job_that_is_odd(world: World, answer: Any, error: type[Exception]) -> None:
    """No such job, or no such answer."""
    world.fake.answers["WaitForJobChange"] = answer
    with pytest.raises(error):
        world.result(Deferred.fromCoroutine(world.master.wait_for_job_change(1, [], None, None, 1.0)))
