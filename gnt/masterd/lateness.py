"""Changes that wait for a majority: who waits hears soon by whom it is kept up, and in the end that it is in vain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall

from gnt.daemon.runtime import Runtime
from gnt.masterd.batches import Item
from gnt.masterd.candidates import Candidates
from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch, Position

NOTICE: Final = 1.5
"""Seconds after which somebody who waits for a change is told why: an fsync and a round trip are over by then."""


class Lateness:
    """Minds how long changes wait. `waiting` gives all that are on their way.

    `noticed` hears of those that have waited for `NOTICE` seconds, `passed` of those that have for as long as they may,
    which is `deadline` if they say nothing else, and whether anything has been on its way for as long as that.
    """

    def __init__(
        self,
        runtime: Runtime,
        deadline: float,
        waiting: Callable[[], Iterable[Item]],
        *,
        noticed: Callable[[Sequence[Item]], None],
        passed: Callable[[Sequence[Item], bool], None],
    ) -> None:
        self._runtime = runtime
        self._deadline = deadline
        self._waiting = waiting
        self._noticed = noticed
        self._passed = passed
        self._timer: IDelayedCall | None = None

    def taken(self, within: float = 0.0) -> None:
        """Hear that a change was taken in, for which somebody waits for so many seconds (0: as long as anybody)."""
        soon = min(NOTICE, self._deadline, within or NOTICE)
        if self._timer is None:
            self._timer = self._runtime.clock.callLater(soon, self._look)
        elif self._timer.getTime() > self._runtime.clock.seconds() + soon:
            # Those before it have heard why they wait, and are looked at when they are given up.
            self._timer.reset(soon)

    def stop(self) -> None:
        """Mind nothing any more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def is_late(self) -> bool:
        """Say whether somebody has waited for so long that it is worth a word."""
        now = self._runtime.now()
        return any(now - item.time >= NOTICE for item in self._waiting() if item.waiting is not None)

    def _look(self) -> None:
        self._timer = None
        now = self._runtime.now()
        items = list(self._waiting())
        passed = [item for item in items if now - item.time >= self._limit(item)]
        if passed:
            self._passed(passed, any(now - item.time >= self._deadline for item in passed))
        late = [item for item in items if item.waiting is not None and now - item.time >= NOTICE and not item.noticed]
        for item in late:
            item.noticed = True
        if late:
            self._noticed(late)
        # One that was given up before has nobody who waits; but that it takes so long is still to be known.
        left = [
            item for item in items if item.waiting is not None or (item.within and now - item.time < self._deadline)
        ]
        if left:
            self._timer = self._runtime.clock.callLater(max(0.0, min(map(self._due, left)) - now), self._look)

    def _due(self, item: Item) -> float:
        """Give when a change is to be looked at next."""
        unheard = item.waiting is not None and not item.noticed
        return item.time + (min(NOTICE, self._limit(item)) if unheard else self._limit(item))

    def _limit(self, item: Item) -> float:
        """Give for how many seconds a change may wait before somebody hears of it."""
        return min(item.within, self._deadline) if item.within and item.waiting is not None else self._deadline


class Voting(Protocol):
    """What is asked of the journal to say who is missing."""

    epoch: Epoch

    @property
    def head(self) -> Cluster:
        """Give the cluster with everything that was asked for."""

    @property
    def voters(self) -> frozenset[str]:
        """Give the UUIDs of the voters in the log."""

    @property
    def end(self) -> Position:
        """Give the position of the newest entry."""


class Absent:
    """Who of the voters lacks something, in words, and what can be typed about it."""

    def __init__(self, voting: Voting, candidates: Candidates) -> None:
        self._voting = voting
        self._candidates = candidates

    def missing(self) -> list[str]:
        """Name the voters that do not have everything, with the reason."""
        return [f"{self._name(node)} ({self._candidates.problem(node) or _SILENT})" for node in self._nodes()]

    def names(self) -> str:
        """Name them in one line; where nobody else is missing, this node's own disk is."""
        return ", ".join(self.missing()) or "this node itself"

    def way_out(self) -> str:
        """Say what to type: reads and guests go on, changes wait for a decision that only a person can make."""
        absent = self._nodes()
        if not absent:
            return "reads and guests go on"
        typed = "; ".join(f"gnt-node modify --offline=yes --force {self._name(node)}" for node in absent)
        return f"start gnt-noded there; or, once it is switched off for certain, type here: {typed}"

    def _nodes(self) -> list[str]:
        others = self._voting.voters - {self._voting.epoch.node}
        return [node for node in sorted(others, key=self._name) if self._is_missing(node)]

    def _is_missing(self, node: str) -> bool:
        behind = self._candidates.matched.get(node, 0) < self._voting.end.serial
        return behind or bool(self._candidates.problem(node))

    def _name(self, node: str) -> str:
        found = self._voting.head.nodes.get(node)
        return found.name if found is not None else node


_SILENT: Final = "has not confirmed yet"
