"""A candidate's copy of the log: what the master appends is on this node's disk when it is answered.

On the master's own node the store belongs to the master daemon. Whoever writes holds the vault; this daemon takes it
for each call, so a master daemon that starts here gets it at once, and a call that comes meanwhile is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from twisted.logger import Logger

from gnt.daemon.files import remove_durably
from gnt.daemon.room import Room
from gnt.model.epoch import START, Epoch
from gnt.model.errors import ConfigError, NodeFailure
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.store.aside import keep_aside, uncommitted, would_be_cut
from gnt.store.changes import Entry, decode_entry, encode_entry
from gnt.store.database import Database
from gnt.store.vault import FOLD_AT, IN_USE, ROOM, FileVault, Vault
from gnt.wire.log_calls import (
    AppendAnswer,
    LogAppend,
    LogDiscard,
    LogPiece,
    LogRead,
    LogSnapshot,
    LogState,
    PromiseAnswer,
)

T = TypeVar("T")

log: Final = Logger()

OWNER: Final = "gnt-noded"
LOG_ROOM: Final = 3 * ROOM
ROOM_AFTER: Final = 2.0
"""Seconds after the first change that a newly opened store took until its log gets room: who becomes a candidate is
waited for, and so are the first changes after a start."""
_EMPTY: Final = LogState(end=START, committed=0, promised=START.epoch)


class Replica:
    """This node's copy. `start` reads where it ends; without a store it ends at `START` and takes only a snapshot."""

    def __init__(self, place: Place, vault: Vault | None = None) -> None:
        self._name = place.name
        self._vault = vault or _own_vault(place)
        # What the log of a store that is newly opened gets once its first changes are answered.
        self._room = Room(place.runtime, LOG_ROOM, self._make_room) if vault is None else None
        self._roomless = False
        self._authority_key = place.layout.authority_key
        self._pool = place.runtime.pools("log")
        self._database: Database | None = None
        self._state = _EMPTY

    def handlers(self) -> Handlers:
        """Give the calls that it takes."""
        return {
            LogAppend: self._append,
            LogSnapshot: self._snapshot,
            LogDiscard: self._discard,
            LogRead: self._read,
        }

    def state(self) -> LogState:
        """Say where the log ended when it was last looked at; `refresh` looks again."""
        return self._state

    async def start(self) -> None:
        """Look at the store. A store that cannot be read, or that the master daemon holds, is no error here."""
        try:
            await self.refresh()
        except NodeFailure as error:
            log.info("the copy of the log is not served now: {error}", error=error.text)

    async def refresh(self) -> LogState:
        """Read where the log ends now. Raises `NodeFailure` (`in_use` while the master daemon runs here)."""
        await self._with_database(lambda _database: None)
        return self._state

    async def promise(self, epoch: Epoch, *, ask_only: bool) -> PromiseAnswer:
        """Promise an epoch in the store as well. Raises `NodeFailure`: `in_use` while the master daemon runs here."""

        def work(database: Database | None) -> bool:
            if database is None:
                return False
            if ask_only:
                return epoch.number > database.promised.number or epoch == database.promised
            return database.promise(epoch)

        granted = await self._with_database(work)
        return PromiseAnswer(granted=granted, log=self._state)

    async def stop(self) -> None:
        """Fold the write-ahead log in and close the store."""
        if self._room is not None:
            self._room.stop()
        await self._pool.run(self._close)

    # Calls

    async def _append(self, call: LogAppend, context: CallContext) -> AppendAnswer:
        try:
            entries = [decode_entry(entry) for entry in call.entries]
        except msgspec.DecodeError as error:
            raise NodeFailure("bad_entries", f"a log entry cannot be read: {error}") from error

        def work(database: Database | None) -> AppendAnswer:
            if database is None:
                return AppendAnswer(stored=False, end=START)
            cut = would_be_cut(database, call.previous, entries)
            # What is committed is not cut off but refused.
            if cut and cut[0].position.serial > database.committed:
                self._keep_aside(cut)
            return _append(database, call, entries, context.epoch)

        answer = await self._with_database(work)
        if self._room is not None and self._roomless and answer.stored:
            self._roomless = False
            self._room.begin(ROOM_AFTER)
        return answer

    async def _make_room(self, size: int) -> bool:
        """Let the log have so many bytes of the disk now; says if it has."""
        try:
            return await self._with_database(lambda database: database is not None and database.make_room(size))
        except NodeFailure:
            return False  # the master daemon has taken the store; its log has room

    async def _read(self, call: LogRead, _context: CallContext) -> LogPiece:
        def work(database: Database | None) -> LogPiece:
            return LogPiece(after=None, end=START) if database is None else _piece(database, call)

        return await self._with_database(work)

    async def _snapshot(self, call: LogSnapshot, context: CallContext) -> None:
        def work() -> LogState:
            self._vault.receive(call.transfer, call.offset, call.piece)
            return self._install(call, context.epoch) if call.last else self._state

        await self._run(work)

    async def _discard(self, call: LogDiscard, _context: CallContext) -> None:
        def work() -> LogState:
            database = self._open()
            if database is not None and call.before is not None and database.end >= call.before:
                return _state_of(database)
            self._close()
            # In one piece of work with the look at the log: the key is given to those only whose log is there.
            remove_durably(self._authority_key)
            self._vault.discard()
            return _EMPTY

        await self._run(work)

    # In the pool

    def _install(self, call: LogSnapshot, epoch: Epoch | None) -> LogState:
        """Put the store that was received in place of ours, unless it lacks what is committed here."""
        old = self._open()
        new = self._vault.received(call.transfer, call.digest)
        promised = old.promised if old is not None else START.epoch
        if old is not None:
            if old.cluster_uuid != new.cluster_uuid:
                new.close()
                raise ConfigError(f"{self._name} holds the store of another cluster", code="other_cluster")
            if old.committed > new.end.serial:
                new.close()
                raise ConfigError("the store that was received is older than what is committed here", code="older")
            self._keep_aside(uncommitted(old, new))
            self._close()
        self._database = database = self._vault.install(call.transfer, new)
        self._roomless = True
        for known in (promised, epoch):
            if known is not None and known.number > database.promised.number:
                database.promise(known)
        return _state_of(database)

    def _keep_aside(self, entries: list[Entry]) -> None:
        """Keep what no majority had and the log now loses, and say where: an administrator may look what it was."""
        if entries:
            name = keep_aside(self._vault, entries)
            log.warn(
                "{count} change(s) that only this node had, from entry {first} on, are no part of the log: see {where}",
                count=len(entries),
                first=entries[0].position.serial,
                where=name,
            )

    def _open(self) -> Database | None:
        if self._database is not None and not self._vault.exists():
            self._database.abandon()
            self._database = None
        if self._database is None and self._vault.exists():
            self._database = self._vault.open()
            self._roomless = True
        if self._database is not None:
            self._database.refresh()
        return self._database

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    # Around it

    async def _with_database(self, work: Callable[[Database | None], T]) -> T:
        results: list[T] = []

        def both() -> LogState:
            database = self._open()
            results.append(work(database))
            return _EMPTY if database is None else _state_of(database)

        await self._run(both)
        return results[0]

    async def _run(self, work: Callable[[], LogState]) -> LogState:
        """Work on the store in the pool, holding it; what the store refuses is this call's failure."""

        def held() -> LogState:
            self._vault.hold(OWNER)
            try:
                return work()
            finally:
                self._vault.release()

        try:
            self._state = await self._pool.run(held)
        except ConfigError as error:
            code = error.code
            raise NodeFailure(code, f"{self._name}: {error.text}", hint=error.hint, retry=code == IN_USE) from error
        return self._state


def _own_vault(place: Place) -> Vault:
    # Candidates store the same, commit by commit: each folds its log in at a moment of its own, so that they do not all
    # do it while the master waits for a majority. And seldom: a commit in which it is done takes ten times as long, so
    # that is one in four hundred.
    fold_at = place.runtime.random.randint(FOLD_AT * 9 // 4, FOLD_AT * 15 // 4)
    return FileVault(place.layout.config_db, fold_at=fold_at)


def _append(database: Database, call: LogAppend, entries: list[Entry], epoch: Epoch | None) -> AppendAnswer:
    result = database.append(call.previous, entries, epoch=epoch, committed=call.committed)
    return AppendAnswer(stored=result.stored, end=result.end)


def _piece(database: Database, call: LogRead) -> LogPiece:
    """Give entries behind a position, or the last position before it that is here too."""
    entries = database.entries_after(call.after, call.limit)
    if entries is not None:
        return LogPiece(after=call.after, entries=[encode_entry(entry) for entry in entries], end=database.end)
    here = database.common(call.after)
    return LogPiece(after=here if here.serial <= call.after.serial else None, end=database.end)


def _state_of(database: Database) -> LogState:
    return LogState(end=database.end, committed=database.committed, promised=database.promised)
