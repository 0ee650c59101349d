"""Commits of the queue, and those of them of which nobody knows yet whether they are durable.

Without a majority a commit is in doubt: who asked for it hears `NoMajority`, and yet it may come true when candidates
return. What it was to bring about happens then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gnt.masterd.jobs.needs import Commits
from gnt.model.errors import NoMajority
from gnt.store.changes import Change


class Doubtful:
    """Makes changes durable, and remembers what happens should those in doubt become so."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        # By the identity of their first change, which is kept alive beside it.
        self._expected: dict[int, tuple[Change, Callable[[], None]]] = {}

    def __contains__(self, changes: Sequence[Change]) -> bool:
        """Say whether a commit of these changes is in doubt."""
        return id(changes[0]) in self._expected

    async def commit(
        self, changes: Sequence[Change], happened: Callable[[], None], job: int = 0, *, within: float = 0.0
    ) -> None:
        """Make changes durable and call `happened`, even if that is later than the caller wants to know.

        Waits `within` seconds at most, if any are given.
        """
        waiting = self._commits.enqueue(changes, job, within=within)
        refused = waiting.called
        try:
            await waiting
        except NoMajority:
            if not refused:
                self.expect(changes, happened)
            raise
        happened()

    def expect(self, changes: Sequence[Change], happened: Callable[[], None]) -> None:
        """Call `happened` should a commit that is in doubt come true."""
        self._expected[id(changes[0])] = (changes[0], happened)

    def committed(self, _position: object, changes: Sequence[Change]) -> None:
        """Hear of everything that is durable, in order; for the journal's `on_commit`."""
        if self._expected:
            for change in changes:
                _, happened = self._expected.pop(id(change), (None, None))
                if happened is not None:
                    happened()

    def clear(self) -> None:
        """Expect nothing any more: what was in doubt has come true, or never will."""
        self._expected.clear()
