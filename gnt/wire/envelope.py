"""Requests and answers of node calls as bytes: what crosses between master and node, whatever the transport.

A request is a JSON object with the call's id, the master's epoch, the seconds that are left until the master counts
the outcome as in doubt, and the call itself. An answer is data: a value, or an error with code, text, hint and whether
trying again helps. No exception crosses.
"""

from __future__ import annotations

import functools
from typing import Any, Final, TypeVar

import msgspec

from gnt.model.epoch import Epoch
from gnt.model.errors import GntError, InDoubt, NodeFailure, NotReached, StaleEpoch
from gnt.wire.calls import NodeCall, call_types

R = TypeVar("R")

# The version of what this module and `gnt.wire.calls` say; both ends compare it when they connect.
PROTOCOL: Final = 3_010_000

BAD_REQUEST: Final = "bad_request"
UNKNOWN_CALL: Final = "unknown_call"
INTERNAL_ERROR: Final = "internal_error"
IN_DOUBT: Final = "in_doubt"
STALE_EPOCH: Final = "stale_epoch"
# The call was not begun and leaves no trace: it may be sent again under the same id.
NOT_BEGUN: Final = "not_begun"
NOT_ALLOWED: Final = "not_allowed"

MAX_ID: Final = 200


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A call on its way to a node. `deadline` is what remains, in seconds; `epoch` None only for reading calls."""

    id: str
    epoch: Epoch | None
    deadline: float
    call: NodeCall[Any]


class CallError(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it crosses the wire; `retry` says whether the same call may succeed later."""

    code: str
    text: str
    hint: str = ""
    retry: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ended: `ok` holds the value as JSON, unless `err` is there."""

    ok: msgspec.Raw = msgspec.Raw(b"null")
    err: CallError | None = None

    @classmethod
    def value(cls, value: object) -> Answer:
        """Make the answer of a call that did what it should."""
        return cls(ok=msgspec.Raw(_encoder.encode(value)))

    @classmethod
    def error(cls, code: str, text: str, *, hint: str = "", retry: bool = False) -> Answer:
        """Make the answer of a call that did not."""
        return cls(err=CallError(code=code, text=text, hint=hint, retry=retry))

    @classmethod
    def of(cls, error: GntError) -> Answer:
        """Make the answer that carries an error of the family."""
        return cls.error(error.code, error.text, hint=error.hint, retry=getattr(error, "retry", False))

    def result(self, call: NodeCall[R]) -> R:
        """Give the value as the call's result type, or raise what the error says.

        Raises `StaleEpoch`, `InDoubt`, `NotReached` (the node did not begin it) or `NodeFailure`.
        """
        self.check()
        try:
            value: R = _result_decoder(type(call)).decode(self.ok)
        except (msgspec.DecodeError, RecursionError) as problem:
            raise InDoubt(f"the answer to {call.tag()} is not what it should be: {problem}") from None
        return value

    def check(self) -> None:
        """Raise what the error says, if there is one."""
        if self.err is not None:
            raise as_error(self.err)


def as_error(error: CallError) -> GntError:
    """Give the error of the family that a node's answer stands for."""
    if error.code == STALE_EPOCH:
        return StaleEpoch(error.text)
    if error.code == IN_DOUBT:
        return InDoubt(error.text, hint=error.hint)
    if error.code == NOT_BEGUN:
        return NotReached(error.text, hint=error.hint)
    return NodeFailure(error.code, error.text, hint=error.hint, retry=error.retry)


class BadRequest(Exception):
    """A request that cannot be read. `answer` is what its sender gets."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.answer = Answer.error(code, text)


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    epoch: Epoch | None
    deadline: float
    call: msgspec.Raw


class _Tag(msgspec.Struct, frozen=True):
    call: str


_encoder: Final = msgspec.json.Encoder()
_envelope_decoder: Final = msgspec.json.Decoder(_Envelope)
_tag_decoder: Final = msgspec.json.Decoder(_Tag)
_answer_decoder: Final = msgspec.json.Decoder(Answer)


@functools.cache
def _call_decoders() -> dict[str, msgspec.json.Decoder[Any]]:
    """Give a decoder for each call by its tag; made once, when the first request is read."""
    return {tag: msgspec.json.Decoder(kind) for tag, kind in call_types().items()}


@functools.cache
def _result_decoder(kind: type[NodeCall[Any]]) -> msgspec.json.Decoder[Any]:
    """Give the decoder of a call's result."""
    return msgspec.json.Decoder(kind.result_type())


def encode_request(request: Request) -> bytes:
    """Encode a request."""
    return _encoder.encode(request)


def decode_request(data: bytes) -> Request:
    """Decode a request; raises `BadRequest` (`unknown_call`, `bad_request`) with the path of the fault."""
    try:
        envelope = _envelope_decoder.decode(data)
        tag = _tag_decoder.decode(envelope.call).call
        decoder = _call_decoders().get(tag)
        if decoder is None:
            raise BadRequest(UNKNOWN_CALL, f"this node does not know the call {tag[:80]!r}")
        call = decoder.decode(envelope.call)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise BadRequest(BAD_REQUEST, f"request cannot be read: {problem}") from None
    except RecursionError:
        raise BadRequest(BAD_REQUEST, "request cannot be read: nested too deeply") from None
    if not 0 < len(envelope.id) <= MAX_ID:
        raise BadRequest(BAD_REQUEST, f"request cannot be read: $.id must have 1 to {MAX_ID} characters")
    return Request(id=envelope.id, epoch=envelope.epoch, deadline=envelope.deadline, call=call)


def encode_answer(answer: Answer) -> bytes:
    """Encode an answer."""
    return _encoder.encode(answer)


def decode_answer(data: bytes) -> Answer:
    """Decode an answer; raises `InDoubt` when it cannot be read, for then nobody knows how the call ended."""
    try:
        return _answer_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InDoubt(f"the answer of the node cannot be read: {problem}") from None
