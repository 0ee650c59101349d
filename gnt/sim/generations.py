"""What a mirror keeps on its metadata volume, and how two sides find out whose data is the newer: as DRBD 8.4 does it.

Each set of data bears the identifier of its generation, `current`. Who writes while the other side is away begins a new
one, and keeps the one that both had as `bitmap`: what differs since then stands in `behind`. So a side that meets one
whose `bitmap` is its own `current` is the older; two that both have a `bitmap` from the same past have diverged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

JUST_CREATED: Final = 4
"""The generation of data that nobody has written yet."""
NOTHING: Final = 0

# What comes of a comparison.
SPLIT: Final = 100
UNRELATED: Final = 1000
_OLDER_THAN_KNOWN: Final = 2


@dataclass
class Metadata:
    """What stands on the metadata volume. `behind` has the numbers of the MiB that the other side lacks.

    `active`: those that were written to while this side was open, the activity log. `unclean`: it was not looked at
    since this side was in use.
    `consistent`: the data is that of one moment. `primary`: it was open for writing when this was written last.
    """

    current: int = JUST_CREATED
    bitmap: int = NOTHING
    history: tuple[int, int] = (NOTHING, NOTHING)
    consistent: bool = False
    outdated: bool = False
    primary: bool = False
    crashed: bool = False
    size: int = 0
    behind: set[int] = field(default_factory=set)
    active: set[int] = field(default_factory=set)
    unclean: bool = False

    def begin(self, fresh: Callable[[], int]) -> None:
        """Begin a new generation: from here on the other side does not have everything."""
        if self.bitmap:
            self._remember(self.bitmap)
        self.bitmap, self.current = self.current, fresh()

    def settle(self) -> None:
        """Count what the activity log has as behind: whoever crashed does not know what of it came to the disk."""
        self.behind |= self.active
        self.active, self.unclean = set(), False

    def be_whole(self) -> None:
        """Hear that the other side has everything."""
        if self.bitmap:
            self._remember(self.bitmap)
        self.bitmap = NOTHING
        self.crashed = False
        self.behind.clear()

    def take_over(self, other: Metadata) -> None:
        """Have become the same as the other side, whose data is all here now."""
        self.current, self.bitmap, self.history = other.current, NOTHING, other.history
        self.consistent, self.outdated, self.crashed = True, False, False
        self.behind.clear()

    def generation(self, *, open_here: bool) -> str:
        """Give all identifiers as `get-gi` prints them; the last bit of the current one says whether it is open."""
        numbers = ((self.current & ~1) | int(open_here), self.bitmap, *self.history)
        flags = (self.consistent, not self.outdated, self.primary, False, not self.consistent, False, self.crashed)
        return ":".join([*(f"{number:016X}" for number in numbers), *(str(int(flag)) for flag in flags)])

    def outline(self) -> str:
        """Tell what matters of it, without the numbers that differ from run to run."""
        new = self.current == JUST_CREATED
        flags = (new, bool(self.bitmap), self.consistent, self.outdated, self.primary, self.crashed)
        return f"{flags} {self.size} {len(self.behind)}"

    def _remember(self, number: int) -> None:
        self.history = (number, self.history[0])


@dataclass(frozen=True)
class Verdict:
    """What two sides find when they meet: `direction` above 0: ours goes there, below: theirs comes here, 0: neither.

    `whole`: all of it, not only what is known to differ. `problem` says why they refuse each other, else it is empty.
    """

    direction: int
    whole: bool = False
    problem: str = ""


def compare(ours: Metadata, theirs: Metadata) -> Verdict:
    """Compare two sides by their generations alone."""
    mine, other = ours.current & ~1, theirs.current & ~1
    if mine == other == JUST_CREATED:
        return Verdict(0)
    if mine == JUST_CREATED:
        return Verdict(-1, whole=True)
    if other == JUST_CREATED:
        return Verdict(1, whole=True)
    if mine == other:
        return _of_one_generation(ours, theirs)
    if mine == theirs.bitmap & ~1:
        return Verdict(-1)
    if mine in _known(theirs):
        return Verdict(-1, whole=True)
    if other == ours.bitmap & ~1:
        return Verdict(1)
    if other in _known(ours):
        return Verdict(1, whole=True)
    if set(_known(ours)) & set(_known(theirs)):
        return Verdict(0, problem="Split-Brain detected but unresolved, dropping connection!")
    return Verdict(0, problem="Unrelated data, aborting!")


def _of_one_generation(ours: Metadata, theirs: Metadata) -> Verdict:
    """Both were connected to the end: who crashed while it was open may have written more than was acknowledged."""
    if ours.crashed == theirs.crashed:
        return Verdict(1 if ours.crashed else 0)
    return Verdict(1 if ours.crashed else -1)


def _known(side: Metadata) -> list[int]:
    return [number & ~1 for number in (side.bitmap, *side.history) if number]
