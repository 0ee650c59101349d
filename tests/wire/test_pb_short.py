"""Messages in short are those of Perspective Broker: an end that has never heard of them reads and writes the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.spread import banana, pb

from gnt.wire import pb_broker, pb_short
from gnt.wire.pb_broker import BoundedBroker

FRAMES = st.binary(max_size=600) | st.sampled_from(
    [b"", b"tuple", b"\x00\x80\x1a\x87", b"x" * 127, b"x" * 128, b"x" * 40_000]
)
NUMBERS = st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2**21, 2**31 - 1]) | st.integers(0, 2**31 - 1)


class Wire:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def writeSequence(self, parts: list[bytes]) -> None:
        """Keep it."""
        self.written += b"".join(parts)

    def abortConnection(self) -> None:
        """Note it."""
        self.aborted = True

    def take(self) -> bytes:
        """Give what was written, and forget it."""
        written, self.written = self.written, b""
        return written


class Door(pb.Referenceable):
    """Answers what it was asked, or when it is told."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answers: list[Deferred[bytes]] = []
        self.at_once = True

    def remote_call(self, frame: bytes) -> Deferred[bytes]:
        """Take a frame."""
        self.asked.append(frame)
        if self.at_once:
            return succeed(b"D" + frame)
        self.answers.append(Deferred())
        return self.answers[-1]


def _stock() -> type[pb.Broker]:
    """Give PB's own broker, told what `BoundedBroker` is told."""

    class Stock(pb.Broker):
        factory: Any = None
        unsafeTracebacks = False

        def __init__(self, *, client: bool, peer: str) -> None:
            del peer
            super().__init__(isClient=client, security=pb_broker.bytes_only())
            self.factory = self
            self.limit = 0

        def clientConnectionMade(self, _broker: Any) -> None:
            pass

        def ask(self, name: str, frame: bytes) -> Deferred[bytes]:
            answer: Deferred[bytes] = self.remoteForName(name).callRemote("call", frame)
            return answer

    return Stock


class Pair:
    """A caller and who is called, each on a wire of its own."""

    def __init__(self, caller: type[Any] = BoundedBroker, called: type[Any] = BoundedBroker) -> None:
        self.caller, self.called = caller(client=True, peer="a"), called(client=False, peer="b")
        self.there, self.back, self.door = Wire(), Wire(), Door()
        self.called.setNameForLocal("root", self.door)
        self.caller.makeConnection(self.there)
        self.called.makeConnection(self.back)
        self.turn()
        self.caller.limit = self.called.limit = pb_broker.EXPRESSION_LIMIT

    def turn(self, piece: int = 1 << 20) -> None:
        """Carry everything, in pieces."""
        while self.there.written or self.back.written:
            for wire, end in ((self.there, self.called), (self.back, self.caller)):
                data = wire.take()
                for begin in range(0, len(data), piece):
                    end.dataReceived(data[begin : begin + piece])


STOCK = _stock()


@pytest.mark.parametrize("caller", [BoundedBroker, STOCK])
@pytest.mark.parametrize("called", [BoundedBroker, STOCK])
@given(frames=st.lists(FRAMES, max_size=5), piece=st.sampled_from([1, 2, 7, 100, 1 << 20]))
@example(frames=[b"P"], piece=3)
def test_calls_and_answers(caller: type[Any], called: type[Any], frames: list[bytes], piece: int) -> None:
    """Whichever end knows them, and however the bytes arrive."""
    pair = Pair(caller, called)
    answers: list[bytes] = []
    for frame in frames:
        pair.caller.ask("root", frame).addCallback(answers.append)
    pair.turn(piece)
    assert pair.door.asked == frames
    assert answers == [b"D" + frame for frame in frames]
    assert not pair.there.aborted
    assert not pair.back.aborted


@given(number=NUMBERS, frame=FRAMES)
def test_they_are_written_as_by_perspective_broker(number: int, frame: bytes) -> None:
    """To the byte."""
    pair = Pair(STOCK, STOCK)
    broker = pair.caller
    broker.sendCall(b"message", number, b"root", b"call", 1, [b"tuple", frame], [b"dictionary"])
    # A frame that is a word of PB's vocabulary is written as its number there; ours begin with another letter.
    vocabulary = frame in banana.Banana.outgoingVocabulary
    assert vocabulary or pair.there.take() == pb_short.call(number, frame)
    pair.there.take()
    broker.sendCall(b"answer", number, frame)
    assert vocabulary or pair.there.take() == pb_short.answer(number, frame)


@given(number=NUMBERS, frame=FRAMES, before=st.binary(max_size=9), after=st.binary(max_size=9), cut=st.integers(1, 40))
def test_they_are_read_where_they_stand(number: int, frame: bytes, before: bytes, after: bytes, cut: int) -> None:
    """What is behind them is left; one that is not whole is none."""
    for is_call, data in ((True, pb_short.call(number, frame)), (False, pb_short.answer(number, frame))):
        found = pb_short.read(before + data + after, len(before))
        assert found == (is_call, number, frame, len(before + data))
        assert pb_short.read(data[:-cut], 0) is None


def test_answers_come_in_any_order() -> None:
    """Each finds its call."""
    pair = Pair()
    pair.door.at_once = False
    answers: list[bytes] = []
    for frame in (b"one", b"two"):
        pair.caller.ask("root", frame).addCallback(answers.append)
    pair.turn()
    for waiting, frame in zip(reversed(pair.door.answers), (b"2", b"1"), strict=True):
        waiting.callback(frame)
    pair.turn()
    assert answers == [b"2", b"1"]


def test_other_messages_go_on_between_them() -> None:
    """A node tells of events by another name, and those are PB's own."""
    pair, events = Pair(), Door()
    pair.caller.setNameForLocal("events", events)
    answers: list[bytes] = []
    for frame in (b"one", b"two"):
        pair.caller.ask("root", frame).addCallback(answers.append)
        pair.called.ask("events", b"event " + frame).addCallback(answers.append)
        pair.turn()
    assert events.asked == [b"event one", b"event two"]
    assert sorted(answers) == [b"Devent one", b"Devent two", b"Done", b"Dtwo"]


@pytest.mark.parametrize(
    "data",
    [
        pb_short.answer(77, b"to nothing"),
        pb_short.answer(1, b"x")[:-1] + b"\xff" * 3,
        pb_short.call(1, b"")[:-1] + b"\x99",
    ],
)
def test_what_makes_no_sense_ends_the_connection(data: bytes) -> None:
    """As it does in PB: an answer to no call, bytes that are no message."""
    pair = Pair()
    pair.caller.dataReceived(data)
    assert pair.there.aborted


def test_after_the_end_nothing_is_read() -> None:
    """Nor what came in the same piece."""
    pair = Pair()
    pair.called.dataReceived(pb_short.call(1, b"one") + pb_short.answer(9, b"") + pb_short.call(2, b"two"))
    assert pair.back.aborted
    assert pair.door.asked == [b"one"]
    pair.called.dataReceived(pb_short.call(3, b"three"))
    assert pair.door.asked == [b"one"]


def test_before_both_ends_speak_pb_nothing_is_in_short() -> None:
    """A peer cannot call before PB's own greeting."""
    broker, wire, door = BoundedBroker(client=False, peer="b"), Wire(), Door()
    broker.setNameForLocal("root", door)
    broker.makeConnection(wire)  # type: ignore[arg-type]
    broker.dataReceived(pb_short.call(1, b"early"))
    assert door.asked == []


def test_a_number_that_is_too_large_is_written_by_pb() -> None:
    """After thousands of millions of calls."""
    pair = Pair()
    pair.caller.currentRequestID = pb_short.LARGEST_NUMBER - 1
    answers: list[bytes] = []
    for frame in (b"one", b"two", b"three"):
        pair.caller.ask("root", frame).addCallback(answers.append)
    pair.turn()
    assert answers == [b"Done", b"Dtwo", b"Dthree"]
