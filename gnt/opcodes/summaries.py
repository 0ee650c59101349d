"""The short form of opcodes as they are stored, without reading all of them: lists have thousands."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, cast

import msgspec

from gnt.opcodes.base import Opcode
from gnt.opcodes.registry import ALL

UNREADABLE: Final = "INVALID_OP"


class _Tag(msgspec.Struct):
    OP_ID: str


_tag: Final = msgspec.json.Decoder(_Tag)


def summary_of(data: bytes) -> str:
    """Give the summary of an opcode's JSON (`Opcode.summary`); `INVALID_OP` where this version does not know it."""
    try:
        opcode = ALL.get(_tag.decode(data).OP_ID)
        return UNREADABLE if opcode is None else cast("Any", opcode.summary)(_glance(opcode).decode(data))
    except (msgspec.DecodeError, UnicodeError, TypeError, ValueError, RecursionError):
        return UNREADABLE


@cache
def _glance(opcode: type[Opcode]) -> msgspec.json.Decoder[Any]:
    """Give what reads of an opcode no more than its summary shows."""
    field = opcode.SUMMARY_FIELD
    defaults = {each.name: each.default for each in msgspec.structs.fields(opcode)}
    default = defaults.get(field)
    wanted: list[Any] = [(field, Any, None if default is msgspec.NODEFAULT else default)] if field else []
    op_id = opcode.op_id()
    shown = msgspec.defstruct(
        f"{opcode.__name__}Glance",
        wanted,
        namespace={"SUMMARY_FIELD": field, "op_id": lambda _self: op_id},
    )
    return msgspec.json.Decoder(shown)
