"""The commit stream to one candidate: find the common point, catch up, then follow, several appends on the way at once.

Whatever goes wrong ends the stream, and it begins again with the question where the candidate's log ends. So an answer
that is lost, late or out of order needs no care of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.masterd.local_log import LocalLog
from gnt.masterd.tail import Tail
from gnt.model.epoch import START, Position
from gnt.model.errors import GntError, StaleEpoch
from gnt.store.vault import Snapshot
from gnt.wire.calls import NodeCall
from gnt.wire.log_calls import AppendAnswer, AskLog, LogAppend, LogDiscard, LogSnapshot

R = TypeVar("R")

log: Final = Logger()

IN_FLIGHT: Final = 8
APPEND_BYTES: Final = 256 * 1024
PIECE_BYTES: Final = 256 * 1024
# A candidate learns that its newest entries are committed with the next append; without one, after this (seconds).
TELL_AFTER: Final = 0.5
# About so many of the last appends say how quick a candidate is.
PACE_OVER: Final = 8
RETRY_FIRST: Final = 0.5
RETRY_LAST: Final = 15.0
# A candidate that answers, but takes nothing (its disk is full), is asked again this often in the end.
RETRY_REFUSED: Final = 5.0
DIVERGED: Final = "diverged"
"""The code with which a node refuses to have replaced what is committed there."""


class Peers(Protocol):
    """What replication needs of the connections to the nodes."""

    async def call(self, node: str, call: NodeCall[R]) -> R:
        """Make a call; raises `NotReached`, `InDoubt`, `NodeFailure` or `StaleEpoch`."""

    def when_connected(self, node: str) -> Deferred[None]:
        """Fire when calls can be sent; fails with `NotReached` when the node is given up."""


class Source(Protocol):
    """What a follower needs of the journal."""

    @property
    def committed(self) -> int:
        """Give the serial up to which a majority has everything."""

    async def common(self, position: Position) -> Position | None:
        """Give our last position at or before the given one; None if that is not in the log any more."""

    async def entries_after(self, position: Position, limit: int) -> Sequence[tuple[Position, bytes]] | None:
        """Give encoded entries; None if the log does not hold the position any more."""

    def newest_after(self, position: Position, limit: int) -> Sequence[tuple[Position, bytes]] | None:
        """Give encoded entries if they are in memory, without waiting."""

    def matched(self, node: str, serial: int) -> None:
        """Hear that a candidate has everything up to this serial on disk."""

    def deposed(self, error: StaleEpoch) -> None:
        """Hear that a candidate follows a newer master."""

    async def snapshot(self, transfer: str) -> Snapshot:
        """Copy the store."""


class LogSource:
    """The log as the streams read it: the newest entries from memory, older ones from the disk.

    `committed` says what a majority has; `matched` and `deposed` hear what candidates answer.
    """

    def __init__(
        self,
        local: LocalLog,
        tail: Tail,
        committed: Callable[[], int],
        *,
        matched: Callable[[str, int], None],
        deposed: Callable[[StaleEpoch], None],
    ) -> None:
        self.matched = matched
        self.deposed = deposed
        self.newest_after = tail.after
        self.entries_after = local.entries_after
        self.common = local.common
        self.snapshot = local.snapshot
        self._committed = committed

    @property
    def committed(self) -> int:
        """Give the serial up to which a majority has everything."""
        return self._committed()


class _Behind(Exception):
    """The candidate needs a copy of the store: what it lacks is not in the log any more."""


class _Flight:
    """What one run of the stream has on its way."""

    def __init__(self, sent: Position) -> None:
        self.sent = sent
        self.stored = 0
        self.told = 0
        self.count = 0
        self.failed = False
        self.problem: GntError | None = None
        self.tell_now = False
        self.tell_later = False
        self.sent_at = 0.0


class Follower:
    """Keeps one candidate's log like ours until it is stopped. `problem` says why it is not; empty when it is.

    `held`: new entries are not sent now, and others may come with them. `pace`: what an append takes, in seconds,
    smoothed. While the candidate takes nothing it is asked more and more seldom, and at once when `retry` is called.
    """

    def __init__(
        self, runtime: Runtime, peers: Peers, source: Source, node: str, is_learning: Callable[[str], bool]
    ) -> None:
        self.node = node
        self.problem = "has not answered yet"
        self.held = False
        self.pace = 0.0
        self._runtime = runtime
        self._peers = peers
        self._source = source
        self._is_learning = is_learning
        self._waiting: Deferred[None] | None = None
        self._flight: _Flight | None = None
        self._stopped = False
        self._transfers = 0
        self._pausing: Deferred[None] | None = None
        self._pause_next = RETRY_FIRST
        self._task: Deferred[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = Deferred.fromCoroutine(self._run())
        self._task.addErrback(lambda failure: log.failure("following {node}", failure=failure, node=self.node))

    def stop(self) -> None:
        """End; calls that are on their way are not waited for."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    def wake(self) -> None:
        """Look for something to send; called when there are new entries."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def retry(self) -> None:
        """Hear that things may have changed there: the node was met anew. Ends a pause, and the next ones are short."""
        self._pause_next = RETRY_FIRST
        if self._pausing is not None:
            self._pausing.callback(None)

    def committed(self) -> None:
        """Hear that more is committed: for one who has nothing else to be told, which is to hear of it later."""
        flight = self._flight
        # One who is sent something hears of it with that, and looks for more once it has answered.
        if flight is None or not (flight.count or flight.tell_later):
            self.wake()

    async def _run(self) -> None:
        while not self._stopped:
            longest = RETRY_LAST
            try:
                await self._peers.when_connected(self.node)
                common = await self._find_common()
                longest = RETRY_REFUSED
                await self._stream(common)
                # An append came out of order, or the candidate's store is not what it was.
                await self._pause(RETRY_FIRST)
            except StaleEpoch as error:
                self._stopped, self._task = True, None
                self._source.deposed(error)
            except _Behind:
                await self._catch_up()
            except CancelledError:
                return
            except GntError as error:
                await self._refused(error, longest)

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warn("replication to {node}: {problem}", node=self.node, problem=problem)
        self.problem = problem

    async def _refused(self, error: GntError, longest: float) -> None:
        """Say why nothing is taken, and wait: for longer each time, until something is."""
        self._say(error.text)
        pause = min(self._pause_next, longest)
        self._pause_next = pause * 2
        await self._pause(pause)
        if error.code == DIVERGED and self._flight is not None and self._is_learning(self.node):
            await self._start_over(self._flight.sent)

    async def _start_over(self, ours: Position) -> None:
        """Have a node set its log aside that refuses to have replaced what another master committed there.

        It was struck off with that master, is no voter, and its log counts for nothing: it gets a copy of ours. With a
        voter two masters have written, and nobody takes away what it has. Heard late, when the copy with `ours` in it
        is there, this does nothing.
        """
        log.warn("the log of {node} is another master's: it is set aside there", node=self.node)
        try:
            await self._peers.call(self.node, LogDiscard(before=ours))
        except CancelledError:
            self._stopped = True
        except GntError as problem:
            self._say(problem.text)

    async def _pause(self, seconds: float) -> None:
        pausing: Deferred[None] = Deferred()
        self._pausing = pausing
        due = self._runtime.clock.callLater(seconds, pausing.callback, None)
        try:
            await pausing
        except CancelledError:
            self._stopped = True
        finally:
            self._pausing = None
            if due.active():
                due.cancel()

    async def _find_common(self) -> Position:
        """Ask back and forth for the last position that both logs have. Raises `_Behind` if ours lacks it."""
        state = await self._peers.call(self.node, AskLog())
        theirs = state.end
        while True:
            if theirs == START:
                raise _Behind
            ours = await self._source.common(theirs)
            if ours is None:
                raise _Behind
            if ours == theirs:
                break
            answer = await self._append(ours, [])
            if answer.stored:
                break
            theirs = answer.end
        self._source.matched(self.node, ours.serial)
        return ours

    async def _stream(self, common: Position) -> None:
        self._flight = flight = _Flight(common)
        while True:
            if flight.failed:
                if flight.problem is not None:
                    raise flight.problem
                return
            entries = () if self.held else self._source.newest_after(flight.sent, APPEND_BYTES)
            if entries is None:
                entries = await self._source.entries_after(flight.sent, APPEND_BYTES)
                if entries is None:
                    raise _Behind
            if flight.count < IN_FLIGHT and (entries or flight.tell_now):
                self._send(flight, entries)
                continue
            if not entries and not flight.count:
                self._say("")
                self._pause_next = RETRY_FIRST
                if flight.told < min(self._source.committed, flight.sent.serial):
                    self._tell_later(flight)
            self._waiting = Deferred()
            await self._waiting

    def _send(self, flight: _Flight, entries: Sequence[tuple[Position, bytes]]) -> None:
        flight.tell_now = False
        flight.sent_at = self._runtime.clock.seconds()
        previous, flight.told = flight.sent, self._source.committed
        if entries:
            flight.sent = entries[-1][0]
        flight.count += 1
        sending = Deferred.fromCoroutine(self._append(previous, [entry for _, entry in entries]))
        sending.addBoth(self._answered, flight, flight.sent_at)

    def _answered(self, answer: Any, flight: _Flight, sent_at: float) -> None:
        flight.count -= 1
        self.pace += (self._runtime.clock.seconds() - sent_at - self.pace) / PACE_OVER
        if flight is not self._flight:
            return  # a late answer to a stream that was given up: the one of now knows better
        if isinstance(answer, AppendAnswer):
            if answer.stored:
                self._pause_next = RETRY_FIRST
                # Answers may overtake each other: what was stored before is stored still.
                flight.stored = max(flight.stored, answer.end.serial)
                self._source.matched(self.node, flight.stored)
            else:
                flight.failed = True
        else:
            flight.failed = True
            if isinstance(answer.value, GntError):
                flight.problem = flight.problem or answer.value
            else:
                log.failure("following {node}", failure=answer, node=self.node)
        self.wake()

    async def _append(self, previous: Position, entries: list[bytes]) -> AppendAnswer:
        return await self._peers.call(
            self.node, LogAppend(previous=previous, entries=entries, committed=self._source.committed)
        )

    def _tell_later(self, flight: _Flight) -> None:
        """Tell what is committed after a while in which nothing is sent: the next entry tells it for no fsync more."""
        if flight.tell_later:
            return
        flight.tell_later = True
        clock = self._runtime.clock

        def tell() -> None:
            flight.tell_later = False
            flight.tell_now = not flight.count and clock.seconds() >= flight.sent_at + TELL_AFTER
            if not flight.failed and not self._stopped:
                self.wake()

        clock.callLater(max(0.0, flight.sent_at + TELL_AFTER - clock.seconds()), tell)

    async def _catch_up(self) -> None:
        """Send a copy of the whole store, in pieces."""
        self._transfers += 1
        transfer = self._runtime.uuid()
        try:
            snapshot = await self._source.snapshot(transfer)
        except CancelledError:
            self._stopped = True
            return
        except GntError as error:
            self._say(error.text)
            await self._pause(RETRY_LAST)
            return
        log.info("sending {node} a copy of the store ({size} bytes)", node=self.node, size=snapshot.size)
        pool = self._runtime.pools("snapshot")
        try:
            offset = 0
            while offset < snapshot.size:
                piece = await pool.run(snapshot.read, offset, PIECE_BYTES)
                last = offset + len(piece) >= snapshot.size
                await self._peers.call(
                    self.node,
                    LogSnapshot(transfer=transfer, offset=offset, piece=piece, last=last, digest=snapshot.digest),
                )
                offset += len(piece)
        except StaleEpoch as error:
            self._stopped, self._task = True, None
            self._source.deposed(error)
        except CancelledError:
            self._stopped = True
        except GntError as error:
            await self._refused(error, RETRY_REFUSED)
        finally:
            snapshot.close()
