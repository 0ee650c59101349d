"""Requests and answers as bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.model.epoch import Epoch
from gnt.model.errors import WRONG_STATE, GntError, InDoubt, NodeFailure, NotReached, Refused, StaleEpoch
from gnt.wire.calls import Delay, NodeCall, Version, call_types
from gnt.wire.envelope import (
    BAD_REQUEST,
    NOT_BEGUN,
    UNKNOWN_CALL,
    Answer,
    BadRequest,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from gnt.wire.log_calls import Fence, LogSnapshot, Outcome

EPOCH = Epoch(number=3, node="n")


@pytest.mark.parametrize(
    "call",
    [
        Delay(seconds=1.5),
        Version(),
        Fence(epoch=EPOCH, calls=["a", "b"]),
        LogSnapshot(transfer="t", offset=7, piece=bytes(range(256)), last=True, digest="d"),
    ],
)
@pytest.mark.parametrize("epoch", [EPOCH, None])
def test_request_round_trip(call: NodeCall[Any], epoch: Epoch | None) -> None:
    """What is sent is what arrives."""
    request = Request(id="x/1", epoch=epoch, deadline=12.5, call=call)
    assert decode_request(encode_request(request)) == request


def test_every_call_has_a_decoder() -> None:
    """The table of calls holds each once, by a tag of its own."""
    assert len(call_types()) == len(NodeCall.__subclasses__())


def raw(call: str, **others: Any) -> bytes:
    """Make a request by hand."""
    fields = {"id": "1", "epoch": None, "deadline": 1.0, **others}
    return msgspec.json.encode({**fields, "call": msgspec.Raw(call.encode())})


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b"", BAD_REQUEST, "cannot be read"),
        (b"\xff\xfe", BAD_REQUEST, "cannot be read"),
        (b"[]", BAD_REQUEST, "Expected `object`"),
        (raw('{"call":"make_coffee"}'), UNKNOWN_CALL, "'make_coffee'"),
        (raw('{"call":7}'), BAD_REQUEST, "call"),
        (raw("{}"), BAD_REQUEST, "call"),
        (raw('{"call":"delay"}'), BAD_REQUEST, "seconds"),
        (raw('{"call":"delay","seconds":"long"}'), BAD_REQUEST, "$.seconds"),
        (raw('{"call":"version"}', id=""), BAD_REQUEST, "$.id"),
        (raw('{"call":"version"}', id="x" * 300), BAD_REQUEST, "$.id"),
        (raw('{"call":"version"}', epoch=7), BAD_REQUEST, "$.epoch"),
        (raw('{"call":"configure","membership":' + "[" * 100_000 + "]" * 100_000 + "}"), BAD_REQUEST, "read"),
    ],
)
def test_bad_requests_are_named(data: bytes, code: str, text: str) -> None:
    """One line with the place of the fault; the code says whose it is."""
    with pytest.raises(BadRequest) as refused:
        decode_request(data)
    answer = refused.value.answer
    assert answer.err is not None
    assert answer.err.code == code
    assert text in answer.err.text
    assert "\n" not in answer.err.text


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else(data: bytes) -> None:
    """No bytes raise anything but what is expected."""
    with pytest.raises(BadRequest):
        decode_request(data)


def test_value_comes_back_as_its_type() -> None:
    """The result type of the call decides."""
    call = Fence(epoch=EPOCH)
    outcome = Outcome(id="1", state="done", value={"a": [1, None]})
    assert decode_answer(encode_answer(Answer.value([outcome]))).result(call) == [outcome]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NodeFailure("no_space", "full", hint="more", retry=True), NodeFailure),
        (StaleEpoch("older"), StaleEpoch),
        (InDoubt("perhaps"), InDoubt),
        (Refused(WRONG_STATE, "not now"), NodeFailure),
    ],
)
def test_errors_cross_as_data(error: GntError, kind: type[GntError]) -> None:
    """Code, text and hint arrive; the class is what a master must make of it."""
    answer = decode_answer(encode_answer(Answer.of(error)))
    with pytest.raises(kind) as raised:
        answer.result(Version())
    assert (raised.value.code, raised.value.text, raised.value.hint) == (error.code, error.text, error.hint)
    assert getattr(raised.value, "retry", False) == getattr(error, "retry", False)


def test_call_that_was_not_begun_counts_as_not_reached() -> None:
    """It had no effect: the master may treat it as never sent."""
    with pytest.raises(NotReached):
        Answer.error(NOT_BEGUN, "late").check()


@pytest.mark.parametrize("data", [b"", b"7", b'{"ok":', b"\xff"])
def test_unreadable_answer_is_in_doubt(data: bytes) -> None:
    """Nobody knows how that call ended."""
    with pytest.raises(InDoubt):
        decode_answer(data)


def test_answer_of_another_shape_is_in_doubt() -> None:
    """A value that is not of the call's result type is no answer to it."""
    with pytest.raises(InDoubt, match="version"):
        Answer.value(7).result(Version())
