"""Who speaks as master: an epoch is a number and the node that took it.

Every commit and every node call carries one. A higher number wins; two nodes cannot hold the same number, because a
majority of the voters promises each number to one node only.
"""

from __future__ import annotations

import msgspec


class Epoch(msgspec.Struct, frozen=True, order=True):
    """A term of mastership. Ordered by number, then by node UUID (so that any two epochs compare)."""

    number: int
    node: str

    def __str__(self) -> str:
        return f"{self.number}@{self.node}"


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in the log: the epoch that wrote the entry and its serial number. `START` stands before the first."""

    epoch: Epoch
    serial: int


START = Position(epoch=Epoch(number=0, node=""), serial=0)
