"""When what the journal has gathered is written: in this turn, or a moment later because nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall

from gnt.daemon.runtime import Clock

PATIENCE: Final = 0.003
"""Seconds that changes for which nobody waits stand ready for others to go with them: who submits one job after the
other submits the next within that time after the answer."""
LONGEST_PATIENCE: Final = 0.02
"""The same while others are on their way to a majority, and an answer is still to come."""


class Departure:
    """Calls `leave` when it is time; who calls it at another time says so with `left`."""

    def __init__(self, clock: Clock, leave: Callable[[], None]) -> None:
        self._clock = clock
        self._leave = leave
        self._due: IDelayedCall | None = None
        self._patience: IDelayedCall | None = None

    def soon(self) -> None:
        """Leave at the end of this turn: what else is asked for in it goes along."""
        if self._due is None:
            self._due = self._clock.callLater(0, self._leave)

    def after(self, seconds: float) -> None:
        """Leave not before so many seconds have passed: the disk did not take it."""
        self._due = self._clock.callLater(seconds, self._leave)

    def with_company(self, *, answer_to_come: bool) -> None:
        """Leave when others come, or when nobody has come for a moment."""
        if self._patience is None and self._due is None:
            self._patience = self._clock.callLater(LONGEST_PATIENCE if answer_to_come else PATIENCE, self._leave)

    def lose_patience(self) -> None:
        """Wait for company no longer than where no answer is to come."""
        patience = self._patience
        if patience is not None and patience.getTime() > self._clock.seconds() + PATIENCE:
            patience.reset(PATIENCE)

    def press(self) -> bool:
        """Leave now if that is to be in this turn anyway; says whether it was."""
        due = self._due
        if due is None or due.getTime() > self._clock.seconds():
            return False
        due.cancel()
        self._due = None
        self._leave()
        return True

    def left(self) -> None:
        """Take note that all that has gathered is on its way, or that nothing ever leaves any more."""
        due, patience, self._due, self._patience = self._due, self._patience, None, None
        for call in (due, patience):
            if call is not None and call.active():
                call.cancel()
