"""Locks (I4): whoever is granted a lock stood before all who wait for one that excludes it, by priority, then age.

Seen from the manager's own books at the moment of each grant, and judged by rules of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gnt.masterd.jobs.lockset import EVERY, LEVEL_NAMES, Level


def watch_grants(manager: Any, wrong: Callable[[str], None]) -> None:
    """Look at every grant of a lock manager from now on; `wrong` is told who was overtaken."""
    watch = _Watch(manager, wrong)
    manager.give = watch.give
    manager.take_back = watch.take_back


class _Watch:
    """Stands before the books of one lock manager."""

    def __init__(self, manager: Any, wrong: Callable[[str], None]) -> None:
        self._manager = manager
        self._wrong = wrong
        self._give = manager.give
        self._take_back = manager.take_back
        self._returned: tuple[Any, Level, set[str]] | None = None

    def give(self, held: Any, level: Level, part: Mapping[str, bool]) -> None:
        """See locks granted; one that its holder goes on to hold, only shared now, is no grant."""
        before = self._returned
        again = before[2] if before is not None and before[0] is held and before[1] is level else set()
        got = {name: mode for name, mode in part.items() if name not in again}
        key = (held.claim.priority, held.claim.age)
        for claim, wanted in self._manager.waiting_in(level):
            if claim is held.claim or (claim.priority, claim.age) > key:
                continue
            for name in excluded(got, wanted):
                lock = f"{LEVEL_NAMES[level]}/{name}"
                self._wrong(f"{held.claim.owner} is granted {lock} before {claim.owner}, which waited first")
        self._returned = None
        self._give(held, level, part)

    def take_back(self, held: Any, level: Level, part: Mapping[str, bool]) -> None:
        """See locks given up."""
        self._returned = (held, level, set(part))
        self._take_back(held, level, part)


def excluded(got: Mapping[str, bool], wanted: Mapping[str, bool]) -> list[str]:
    """Give the names in `got` that exclude something in `wanted`: both map names to whether exclusively."""
    return sorted(
        name
        for name, mode in got.items()
        if any(
            (mode or other_mode) and (name == other or EVERY in {name, other}) for other, other_mode in wanted.items()
        )
    )
