"""The master's own copy of the log: written in the pool `store`, read for candidates that are behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.daemon.runtime import Runtime
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import ConfigError
from gnt.store.changes import Entry, Space, encode_entry
from gnt.store.database import Database
from gnt.store.vault import Snapshot, Vault

log: Final = Logger()

# Folding the write-ahead log in on the way of a commit would make that commit wait: it is done beside the writing. A
# commit writes some six pages, and what it carries about three times: into the log, into rows, and what was around it.
# The disk is shared for that long, so it is done seldom: of fifteen hundred commits, five to ten feel it.
CHECKPOINT_BYTES: Final = 36 * 2**20
COMMIT_BYTES: Final = 6 * 4096
CARRIED: Final = 3


class LocalLog:
    """The local database, off the reactor's thread. `end` is the last position known to be on this disk."""

    def __init__(self, runtime: Runtime, vault: Vault, database: Database, epoch: Epoch) -> None:
        self.end = database.end
        self.committed = database.committed
        self._runtime = runtime
        self._vault = vault
        self._database = database
        self._epoch = epoch
        self._pool = runtime.pools("store")
        self._bytes = 0
        self._folding = False
        self._stopped = False

    async def write(self, entries: Sequence[Entry], size: int, committed: int) -> None:
        """Put entries on the disk, behind what is there; `size` is theirs in bytes. Raises `ConfigError`."""
        await self._pool.run(self._append, self.end, entries, committed)
        self.end = entries[-1].position
        self._bytes += COMMIT_BYTES + CARRIED * size
        if self._bytes >= CHECKPOINT_BYTES and not self._folding:
            self._fold()

    async def stop(self, committed: int) -> None:
        """Record what is on a majority, behind all writing that was begun; nothing is done to the store later.

        Raises `ConfigError`.
        """
        self._stopped = True
        await self._pool.run(self._database.mark_committed, committed)

    async def rows(self, space: Space, prefix: str) -> Mapping[str, bytes]:
        """Read rows as they are on this disk."""
        return dict(await self._pool.run(self._database.rows, space, prefix))

    async def common(self, position: Position) -> Position | None:
        """Give our last position at or before the given one; None if that is not in the log any more."""
        return await self._pool.run(self._common, position)

    async def entries_after(self, position: Position, limit: int) -> list[tuple[Position, bytes]] | None:
        """Give encoded entries; None if the log does not hold the position any more."""
        return await self._pool.run(self._encoded_after, position, limit)

    async def snapshot(self, transfer: str) -> Snapshot:
        """Copy the store while writing goes on. Raises `ConfigError`."""
        return await self._runtime.pools("snapshot").run(self._vault.snapshot, self._database, transfer)

    # In the pool

    def _append(self, previous: Position, entries: Sequence[Entry], committed: int) -> None:
        result = self._database.append(previous, entries, epoch=self._epoch, committed=committed)
        if not result.stored:
            raise AssertionError(f"the local log holds {result.end}, not {previous}")

    def _common(self, position: Position) -> Position | None:
        found = self._database.common(position)
        # Below the base nothing is known; the base itself is in the log still, as what the first entry follows.
        return None if found > position else found

    def _encoded_after(self, position: Position, limit: int) -> list[tuple[Position, bytes]] | None:
        entries = self._database.entries_after(position, limit)
        return None if entries is None else [(entry.position, encode_entry(entry)) for entry in entries]

    # Beside

    def _fold(self) -> None:
        self._folding, self._bytes = True, 0
        folding: Deferred[None] = Deferred.fromCoroutine(self._fold_beside())
        folding.addBoth(self._folded)

    async def _fold_beside(self) -> None:
        """Fold in what there is while writing goes on; then, between two commits, the little that came meanwhile.

        Only a log of which nothing is left begins anew.
        """
        await self._runtime.pools("checkpoint").run(self._vault.checkpoint)
        if not self._stopped:
            await self._pool.run(self._database.fold)

    def _folded(self, result: object) -> None:
        self._folding = False
        if isinstance(result, Failure) and isinstance(result.value, ConfigError):
            # As when the disk is full: whoever writes next is told, and the next time it is tried again.
            log.warn("the write-ahead log is not folded in: {error}", error=result.value)
        elif isinstance(result, Failure):
            log.failure("folding the write-ahead log in", failure=result)
