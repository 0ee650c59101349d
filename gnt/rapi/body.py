"""Bodies of requests: JSON within limits, and how opcodes come out of them (`spec/rapi.md`, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec

from gnt.model.errors import Refused
from gnt.opcodes.base import Opcode
from gnt.opcodes.faults import in_words
from gnt.opcodes.registry import MAX_DEPTH, decode_opcode, too_deep
from gnt.rapi.errors import HttpError, bad_request

T = TypeVar("T", bound=msgspec.Struct)

LIMIT: Final = 1024 * 1024
CONTENT_TYPE: Final = "application/json"
# What a body may not say: the API itself does.
_OURS: Final = frozenset({"OP_ID", "reason"})


def parse(data: bytes, content_type: str) -> Any:
    """Give the value of a body that is not empty. Raises `HttpError` (415, 400); what the body holds is not shown."""
    if content_type.strip().lower() != CONTENT_TYPE:
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {CONTENT_TYPE}")
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise bad_request(f"Unable to parse JSON data: $: nested more than {MAX_DEPTH} levels deep") from None
    except (msgspec.MsgspecError, ValueError) as error:  # also text that is not UTF-8, and numbers without end
        raise bad_request(f"Unable to parse JSON data: {_where(error)}") from None
    if too_deep(value):
        raise bad_request(f"Unable to parse JSON data: $: nested more than {MAX_DEPTH} levels deep")
    return value


def _where(error: Exception) -> str:
    """Say what is wrong without showing the text that it is wrong in."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start} of a text)"
    return str(error) if isinstance(error, msgspec.MsgspecError) else "a number has too many digits"


def as_object(value: Any) -> dict[str, Any]:
    """Give a body that has to be an object; a missing one counts as an empty one. Raises `HttpError` (400)."""
    if value is msgspec.UNSET:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"Body contents: Type is '{_kind(value)}', but 'dict' is expected")
    return value


def as_form(value: Any, form: type[T]) -> T:
    """Give a body as a struct. Raises `HttpError` (400) with the path of the fault."""
    given = as_object(value)
    for name in given:
        if name not in form.__struct_fields__ and form.__struct_config__.forbid_unknown_fields:
            raise bad_request(f"Invalid body parameters: $.{name[:80]}: no such parameter")
    try:
        return msgspec.convert(given, form)
    except msgspec.ValidationError as error:
        path, text = in_words(str(error))
        raise bad_request(f"Invalid body parameters: {path}: {text}") from None


def _kind(value: Any) -> str:
    names = {list: "list", str: "str", bool: "bool", int: "int", float: "float", type(None): "NoneType"}
    return names.get(type(value), "other")


def to_opcode(
    opcode: type[Opcode],
    body: Mapping[str, Any],
    static: Mapping[str, Any],
    renamed: Mapping[str, str],
    reason: list[Any],
) -> Opcode:
    """Make an opcode of a body's parameters and of those that are `static`: from path and query.

    `renamed` maps names in bodies to names of parameters. Raises `HttpError` (400) with the path of the fault.
    """
    values = dict(body)
    for name in sorted(_OURS & values.keys()):
        raise bad_request(f"Invalid body parameters: $.{name}: cannot be set here")
    for old, new in renamed.items():
        if old not in values:
            continue
        if new in values:
            raise bad_request(f"Invalid body parameters: $.{old}: also given as '{new}'")
        values[new] = values.pop(old)
    twice = {name: static[name] for name in sorted(static.keys() & values.keys())}
    if twice:
        raise bad_request(f"Can't overwrite static parameters {twice!r}")
    try:
        return decode_opcode({**values, **static, "reason": reason, "OP_ID": opcode.op_id()})
    except Refused as refusal:
        raise bad_request(f"Invalid body parameters: {_said(refusal, renamed)}") from None


def _said(refusal: Refused, renamed: Mapping[str, str]) -> str:
    """Give the text of a refusal in the body's own names."""
    text = refusal.text
    for old, new in renamed.items():
        for end in (":", ".", "["):
            text = text.replace(f": $.{new}{end}", f": $.{old}{end}", 1)
    return f"{text} ({refusal.hint})" if refusal.hint else text
