"""The table of what clients do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gnt.sim.administrator import Administrator

Do = Callable[["Administrator"], bool]


@dataclass(frozen=True)
class ClientOperation:
    """One kind of operation: how often it is drawn, against the others, and what does it."""

    name: str
    weight: int
    do: Do


OPERATIONS: Final[dict[str, ClientOperation]] = {}


def does(name: str, weight: int) -> Callable[[Do], Do]:
    """Enter an operation in the table."""

    def enter(do: Do) -> Do:
        if name in OPERATIONS:
            raise AssertionError(f"{name} is in the table already")
        OPERATIONS[name] = ClientOperation(name, weight, do)
        return do

    return enter
