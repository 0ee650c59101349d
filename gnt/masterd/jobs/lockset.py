"""Which locks an opcode asks for, as a value.

Levels and their order are `spec/opcodes.md`, section 3: locks are only taken in rising level, within a level in
sorted order as one set. Every opcode holds the cluster lock shared, unless it asks for it exclusively.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec


class Level(IntEnum):
    """Lock levels in the only order in which they may be taken."""

    CLUSTER = 0
    INSTANCE = 1
    NODEGROUP = 2
    NODE = 3
    NODE_RES = 4
    NETWORK = 5


LEVEL_NAMES: Final = {
    Level.CLUSTER: "cluster",
    Level.INSTANCE: "instance",
    Level.NODEGROUP: "nodegroup",
    Level.NODE: "node",
    Level.NODE_RES: "node-res",
    Level.NETWORK: "network",
}

BGL: Final = "BGL"
EVERY: Final = "[lockset]"


class Wanted(msgspec.Struct, frozen=True, order=True):
    """One lock: its level, its name (an UUID, for an instance its full name, or `EVERY`), and how it is held."""

    level: Level
    name: str
    exclusive: bool


_NOTHING_ELSE: Final = (Wanted(Level.CLUSTER, BGL, exclusive=False),)


class Locks(msgspec.Struct, frozen=True):
    """What an opcode asks for. `EVERY` in a level stands for all present and future locks of it.

    `Locks().exclusive(Level.INSTANCE, name).shared(Level.NODE, a, b)`; asking twice keeps the stronger mode.
    """

    wanted: frozenset[Wanted] = frozenset()

    def shared(self, level: Level, *names: str) -> Locks:
        """Ask for more, shared; no names: nothing more."""
        return self._with(level, names, exclusive=False)

    def exclusive(self, level: Level, *names: str) -> Locks:
        """Ask for more, exclusively."""
        return self._with(level, names, exclusive=True)

    def every(self, level: Level, *, exclusive: bool = False) -> Locks:
        """Ask for a whole level."""
        return self._with(level, (EVERY,), exclusive=exclusive)

    def whole_cluster(self) -> Locks:
        """Ask for the cluster lock exclusively: nothing else runs meanwhile."""
        return self._with(Level.CLUSTER, (BGL,), exclusive=True)

    def in_order(self) -> tuple[Wanted, ...]:
        """Give all locks in the order in which they are taken, the cluster lock included."""
        if not self.wanted:
            return _NOTHING_ELSE
        if any(lock.level is Level.CLUSTER for lock in self.wanted):
            return tuple(sorted(self.wanted))
        return (Wanted(Level.CLUSTER, BGL, exclusive=False), *sorted(self.wanted))

    def _with(self, level: Level, names: tuple[str, ...], *, exclusive: bool) -> Locks:
        held = {(lock.level, lock.name): lock.exclusive for lock in self.wanted}
        for name in names:
            held[level, name] = held.get((level, name), False) or exclusive
        return Locks(frozenset(Wanted(level, name, exclusive) for (level, name), exclusive in held.items()))
