"""The master's record of who has heard of whom: what `gnt.store.heard` says is kept true in the log."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.daemon.runtime import Runtime
from gnt.masterd.journal import Journal
from gnt.model.errors import GntError
from gnt.store.changes import Put, Space
from gnt.store.heard import HEARD, NOBODY, Heard, encode_heard, revised

log: Final = Logger()

AGAIN: Final = 1.0
"""Seconds after which a row that was not taken is written again."""


class Hearing:
    """Writes the row when it has to change: once for a promotion, not at all where nothing is news.

    `begin` with what the log has at the beginning of the term, before anybody is promoted in it.
    """

    def __init__(self, runtime: Runtime, journal: Journal) -> None:
        self._runtime = runtime
        self._journal = journal
        self._heard = NOBODY
        self._told: Collection[str] = ()
        self._refused = False
        self._again: Deferred[None] | None = None

    def begin(self, heard: Heard) -> None:
        """Go on from what the log says."""
        self._heard = heard
        self.revise(())

    def revise(self, told: Collection[str]) -> None:
        """Have the log say what follows from the cluster of now; `told` have acknowledged every digest in it."""
        self._told = told
        heard = revised(self._heard, self._journal.cluster, told)
        if heard == self._heard and not self._refused:
            return
        self._heard, self._refused = heard, False
        writing = self._journal.enqueue([Put(Space.META, HEARD, encode_heard(heard))])
        writing.addErrback(self._not_written)

    def stop(self) -> None:
        """Write nothing more."""
        if self._again is not None:
            self._again.cancel()

    def _not_written(self, failure: Failure) -> None:
        """Write it again when changes are taken again: until then what the log says may be too much."""
        failure.trap(GntError)  # type: ignore[no-untyped-call]
        self._refused = True
        if self._again is None:
            self._again = Deferred.fromCoroutine(self._write_again())

    async def _write_again(self) -> None:
        try:
            await self._runtime.sleep(AGAIN)
            await self._journal.when_free()
        except (CancelledError, GntError) as error:
            log.debug("who has heard of whom is not written any more: {error}", error=error)
            return
        finally:
            self._again = None
        if self._refused:
            self.revise(self._told)
