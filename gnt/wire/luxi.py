"""LUXI, the local protocol of the master daemon: messages as the daemons read and write them (`spec/luxi.md`).

A message is JSON followed by the byte 0x03. The client that blocks is in `luxi_client`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from gnt.model.errors import GntError
from gnt.wire.errors import BAD_REQUEST, detail_of, from_luxi, to_luxi
from gnt.wire.luxi_frames import END, OWN_CLIENT

T = TypeVar("T")

# Methods whose only argument clients up to 2.5 sent bare, not in a list.
_BARE: Final = frozenset(
    {"CancelJob", "ArchiveJob", "SetDrainFlag", "QueryConfigValues", "SubmitManyJobs", "SubmitJob"}
)
_BARE_LISTS: Final = frozenset({"QueryConfigValues", "SubmitManyJobs", "SubmitJob"})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A method and its arguments, one item for each parameter. The version that clients send is ignored.

    `own`: asked by a client of ours, which knows all that we have.
    """

    method: str
    args: list[Any]
    own: bool = False


class _Request(msgspec.Struct, frozen=True):
    method: str
    args: Any = msgspec.UNSET
    client: Any = None


class _Response(msgspec.Struct, frozen=True):
    success: bool
    result: Any
    detail: Any = None


def _frame(message: Any) -> bytes:
    """Encode a message; JSON escapes 0x03 itself. Text that is no Unicode is made so, a person can still read it."""
    try:
        return msgspec.json.encode(message) + END
    except UnicodeEncodeError:
        return msgspec.json.encode(_readable(msgspec.to_builtins(message))) + END


def _readable(value: Any) -> Any:
    """Replace lone surrogates, which come from file names and the output of programs."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(item) for item in value]
    return value


def encode_request(method: str, args: Sequence[Any]) -> bytes:
    """Encode a request with its end byte."""
    return _frame({"method": method, "args": list(args)})


def decode_request(frame: bytes) -> Request:
    """Decode a request; raises `GntError` (`bad_request`), which is answered as plain text."""
    request = _decode(frame, _Request, "Failed to parse request")
    if request.args is msgspec.UNSET:
        _bad_request("Failed to parse request: it has no args")
    return Request(method=request.method, args=_listed(request.method, request.args), own=request.client == OWN_CLIENT)


def _listed(method: str, args: Any) -> list[Any]:
    """Give the arguments as a list of one item for each parameter, whatever the client's age."""
    if method in _BARE and not isinstance(args, list):
        return [args]
    if args is None:
        return []
    if not isinstance(args, list):
        _bad_request("Failed to parse request: args is no list")
    return [args] if method in _BARE_LISTS and _is_bare(method, args) else args


def _is_bare(method: str, args: list[Any]) -> bool:
    """Say whether a list is itself the only argument, not a list that holds it."""
    if not args:
        return True
    first = args[0]
    if method == "SubmitManyJobs":
        # [[{op}, …], …] is bare, [[[{op}, …], …]] is not.
        return isinstance(first, list) and bool(first) and isinstance(first[0], dict)
    return not isinstance(first, list)


def _bad_request(text: str) -> NoReturn:
    raise GntError(BAD_REQUEST, text)


def unknown_method(method: str) -> GntError:
    """Make the error for a method that there is not."""
    return GntError(BAD_REQUEST, f"Caught exception: Invalid operation '{method[:80]}'")


def encode_response(result: Any) -> bytes:
    """Encode the response of a method that succeeded."""
    return _frame({"success": True, "result": result})


def encode_failure(error: Exception) -> bytes:
    """Encode the response of a method that failed; our own clients find code and hint in `detail`."""
    detail = detail_of(error)
    extra = {} if detail is None else {"detail": detail}
    return _frame({"success": False, "result": to_luxi(error), **extra})


def decode_response(frame: bytes) -> Any:
    """Give the result of a response, or raise the error that it carries.

    Raises `GntError` (`luxi_error`) when it is no response.
    """
    try:
        response = _decode(frame, _Response, "no LUXI response")
    except GntError as problem:
        raise GntError("luxi_error", f"the master answered what is {problem.text}") from None
    if not response.success:
        raise from_luxi(response.result, response.detail)
    return response.result


def _decode(frame: bytes, wanted: type[T], problem: str) -> T:
    """Decode JSON; raises `GntError` (`bad_request`) that begins with `problem`."""
    try:
        return msgspec.json.decode(frame, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _bad_request(f"{problem}: {error}")
    except RecursionError:
        _bad_request(f"{problem}: nested too deeply")
