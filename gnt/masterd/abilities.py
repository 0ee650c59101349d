"""What this version of the master carries out, for faces that would rather say so than submit what cannot be done.

LUXI method of our own: `Abilities()`: `{"opcodes": ["OP_…", …]}`, the opcodes that have an operation, sorted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gnt.masterd.operation import OPERATIONS
from gnt.model.errors import WRONG_INPUT, Refused


def table() -> Mapping[str, Callable[[list[Any]], Awaitable[Any]]]:
    """Give the LUXI methods by name."""
    return {"Abilities": _abilities}


async def _abilities(args: list[Any]) -> dict[str, list[str]]:
    if args:
        raise Refused(WRONG_INPUT, "Abilities: takes no arguments")
    return {"opcodes": sorted(opcode.op_id() for opcode in OPERATIONS)}
