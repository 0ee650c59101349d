"""The ways between machines, as they are now: cut in both directions, or in one, or bad.

A way that is cut in the middle says nothing: who sends into it waits, and so does who sends back. A broken cable is
noticed: `gnt.wire.memory` ends the connections over it.
"""

from __future__ import annotations

import random

from gnt.wire.memory import Fate


class Ways:
    """What becomes of calls by where they go; names are those of machines."""

    def __init__(self) -> None:
        self._silent: set[tuple[str, str]] = set()
        self._bad: dict[str, random.Random] = {}
        self.changes = 0
        """Goes up when a way is closed or opened."""

    def silence(self, source: str, target: str) -> None:
        """Let nothing come through from one machine to another, without a word to either."""
        self._silent.add((source, target))
        self.changes += 1

    def restore(self, source: str, target: str) -> None:
        """Undo `silence`."""
        self._silent.discard((source, target))
        self.changes += 1

    def open(self, source: str, target: str) -> bool:
        """Say whether something comes through."""
        return (source, target) not in self._silent

    def all_open(self) -> bool:
        """Say whether everything comes through everywhere, once and in time."""
        return not self._silent and not self._bad

    def closed(self) -> list[str]:
        """Give the ways that nothing comes through."""
        return sorted(f"{source} {target}" for source, target in self._silent)

    def spoil(self, machine: str, source: random.Random) -> None:
        """Have calls to a machine be doubled, late or lost by chance."""
        self._bad[machine] = source

    def mend(self, machine: str) -> None:
        """Undo `spoil`."""
        self._bad.pop(machine, None)

    def all_well(self) -> None:
        """Undo everything."""
        self._silent.clear()
        self.changes += 1
        self._bad.clear()

    def fate(self, source: str, target: str, there: float, back: float) -> Fate:
        """Give what becomes of a call, that would take so long there and back."""
        request: float | None = None if (source, target) in self._silent else there
        answer: float | None = None if (target, source) in self._silent else back
        again: float | None = None
        chance = self._bad.get(target)
        if chance is not None and source != target:
            throw = chance.random()
            if throw < 0.1:
                request = None
            elif throw < 0.2:
                answer = None
            elif throw < 0.4:
                again = there + chance.uniform(0.0, 30.0)
            elif throw < 0.6:
                request = None if request is None else request + chance.uniform(0.0, 20.0)
        return Fate(request=request, answer=answer, again=again)
