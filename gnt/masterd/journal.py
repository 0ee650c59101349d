"""Every change goes through here: gathered, written, shipped to the candidates, and only then true.

While one fsync and one round trip are under way the next changes gather into one entry. `head` is the cluster with
everything that was asked for; `cluster` is what a majority of the voters has on disk, and the only thing that queries
and operations may act upon. The master's own disk always counts: what is committed is in its own log, so a master that
starts again has all of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from typing import Final

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.daemon.runtime import Runtime
from gnt.masterd.batches import Batch, Item, entry_of, gathered, in_doubt, size_of
from gnt.masterd.candidates import Candidates
from gnt.masterd.departure import Departure
from gnt.masterd.lateness import Absent, Lateness
from gnt.masterd.local_log import LocalLog
from gnt.masterd.replication import LogSource, Peers
from gnt.masterd.tail import Tail
from gnt.masterd.voting import voters
from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import WRONG_STATE, ConfigError, GntError, NoMajority, Refused, StaleEpoch
from gnt.model.objects import ConfigObject
from gnt.store.changes import Archive, Change, Space, encode_entry
from gnt.store.configuration import object_changes

log: Final = Logger()

_UNTOUCHED: Final = "; nothing was changed"
DEADLINE: Final = 30.0
WRITE_AGAIN: Final = 1.0

CommitListener = Callable[[Position, Sequence[Change]], None]
LateListener = Callable[[Collection[int], str], None]
"""Hears of jobs whose changes wait, and why."""


class Journal:
    """The log as its master writes it: one for each term of mastership. `missing` names absent voters for people."""

    def __init__(
        self,
        runtime: Runtime,
        local: LocalLog,
        peers: Peers,
        *,
        epoch: Epoch,
        cluster: Cluster,
        deadline: float = DEADLINE,
    ) -> None:
        self.epoch = epoch
        self._runtime = runtime
        self._local = local
        self._cluster = self._tip = self._head = cluster
        self._staged: list[Change] = []
        self._voters = self._tip_voters = voters(cluster)
        # The last entry that changes the voters and is not on a majority yet; 0: there is none.
        self._voters_moving = 0
        self._tail = Tail(local.end)
        self._position = local.end
        self._pending: deque[Item] = deque()
        self._unwritten: list[Batch] = []
        self._open: deque[Batch] = deque()
        self._writing = False
        self._departure = Departure(runtime.clock, self._flush)
        # Somebody waits for some of what has gathered.
        self._urgent = False
        self._trouble: GntError | None = None
        self._ended: GntError | None = None
        self._listeners: list[CommitListener] = []
        self._deposed_listeners: list[Callable[[StaleEpoch], None]] = []
        self._late_listeners: list[LateListener] = []
        self._free: list[Deferred[None]] = []
        # Entries of earlier epochs are on a majority once one of ours behind them is: Raft's rule, and the reason why
        # a new master commits something at once.
        self._committed = local.committed
        source = LogSource(local, self._tail, lambda: self._committed, matched=self.matched, deposed=self.deposed)
        self._candidates = Candidates(runtime, peers, source, epoch.node)
        self._candidates.follow(self._voters)
        self._absent = Absent(self, self._candidates)
        self._lateness = Lateness(runtime, deadline, self._items, noticed=self._late, passed=self._deadline_passed)

    # What is known

    @property
    def head(self) -> Cluster:
        """Give the cluster with everything that was asked for, durable or not: what the next change builds on."""
        return self._head

    @property
    def cluster(self) -> Cluster:
        """Give the cluster as a majority of the voters has it on disk."""
        return self._cluster

    @property
    def committed(self) -> int:
        """Give the serial up to which everything is on a majority."""
        return self._committed

    @property
    def position(self) -> Position:
        """Give the position of the last entry of this term that is on a majority; before the first, where it began."""
        return self._position

    @property
    def end(self) -> Position:
        """Give the position of the newest entry, which need not be on any disk yet."""
        return self._tail.end

    @property
    def voters(self) -> frozenset[str]:
        """Give the UUIDs of the voters in the log."""
        return self._voters

    def missing(self) -> list[str]:
        """Name the voters that do not have everything, with the reason."""
        return self._absent.missing()

    def hindrance(self) -> tuple[str, str] | None:
        """Say what keeps changes from being true, and what to type; None while nothing has waited for long."""
        if self._trouble is not None:
            # Who asks has a change under way that may hold yet; that nothing was changed is for those who came after.
            return self._trouble.text.removesuffix(_UNTOUCHED), self._trouble.hint
        if self._ended is None and self._lateness.is_late():
            return self._waits(), self._absent.way_out()
        return None

    def on_late(self, listener: LateListener) -> None:
        """Hear of jobs whose changes have waited for a moment, and for whom: long before they are given up."""
        self._late_listeners.append(listener)

    def on_commit(self, listener: CommitListener) -> None:
        """Hear of every entry that is on a majority, in order, once `cluster` has it and before those who wait do."""
        self._listeners.append(listener)

    def on_deposed(self, listener: Callable[[StaleEpoch], None]) -> None:
        """Hear that a newer master was met: this process is no master any more."""
        self._deposed_listeners.append(listener)

    async def rows(self, space: Space, prefix: str = "") -> Mapping[str, bytes]:
        """Read rows from the local disk."""
        return await self._local.rows(space, prefix)

    # Changing

    def object_changes(self, put: Sequence[ConfigObject] = (), drop: Sequence[ConfigObject] = ()) -> list[Change]:
        """Stamp objects, put them into `head`, and give the changes: enqueue all of them in the same turn."""
        self._head, changes = object_changes(self._head, put, drop, self._runtime.now())
        self._staged.extend(changes)
        return changes

    async def commit(self, changes: Sequence[Change], *, job: int = 0) -> Position:
        """Make changes durable with a majority of the voters; gives where they stand. Raises what `enqueue` says."""
        return await self.enqueue(changes, job)

    def enqueue(
        self, changes: Sequence[Change], job: int = 0, *, patient: bool = False, within: float = 0.0
    ) -> Deferred[Position]:
        """Take changes in, in the order of the calls; fires when a majority of the voters has them on disk.

        Those that are `patient` let others come that go with them, for a moment, unless `hurry` is called. Who asks may
        wait for so many seconds only (`within`; 0: for as long as the journal has patience).

        All of one call are in one entry. Has failed already when it is given back (`NoMajority`, `ConfigError` of the
        disk, `Refused` for a voter that was not caught up): nothing was changed. Fails later with `NoMajority`: the
        change may still come true; with `ConfigError`: it was taken back. `StaleEpoch`: another node is master.
        """
        try:
            self._check(changes)
        except GntError as error:
            self._head, self._staged = self._tip, []
            return fail(error)
        waiting = self._take(changes, job, patient=patient, within=within)
        if patient:
            self._wait_for_company()
        else:
            self._schedule()
        return waiting

    def hurry(self) -> None:
        """Write what has gathered, if anything has: somebody waits for it now."""
        if self._pending:
            self._schedule()

    def press(self) -> bool:
        """Begin now to write what was to be written in this turn anyway; says whether there was anything."""
        return self._departure.press()

    def enqueue_unsafe(self, changes: Sequence[Change]) -> Deferred[Position]:
        """Take in a change that strikes voters off, and counts with those that remain, although too few answer.

        What waited before it counts with those that remain too. It is safe only if the others are switched off, which
        an administrator must have said. Fails as `enqueue` does; `NoMajority`: more voters are missing.
        """
        try:
            self._check(changes, unsafe=True)
        except GntError as error:
            self._head, self._staged = self._tip, []
            return fail(error)
        waiting = self._take(changes, 0)
        while self._pending:
            self._make_batch()
        self._schedule()
        return waiting

    def _take(
        self, changes: Sequence[Change], job: int, *, patient: bool = False, within: float = 0.0
    ) -> Deferred[Position]:
        waiting: Deferred[Position] = Deferred()
        new_voters = voters(self._head) if self._staged else self._tip_voters
        item = Item(
            changes=tuple(changes),
            job=job,
            cluster=self._head,
            voters=new_voters,
            time=self._runtime.now(),
            waiting=waiting,
            size=sum(map(size_of, changes)),
            moves_voters=new_voters != self._tip_voters,
            patient=patient,
            within=within,
        )
        self._tip, self._staged, self._tip_voters = self._head, [], new_voters
        self._pending.append(item)
        self._lateness.taken(within)
        return waiting

    def when_free(self) -> Deferred[None]:
        """Fire when changes are taken: at once, or when a majority is back. Fails once this term has ended."""
        if self._ended is not None:
            return fail(self._ended)
        # The list is another one by the time of a cancel.
        waiting: Deferred[None] = Deferred(lambda this: self._free.remove(this))  # noqa: PLW0108
        self._free.append(waiting)
        if self._trouble is None:
            self._tell_free()
        return waiting

    async def add_voter(self, node: str) -> None:
        """Bring a node's log up to date before the commit that makes it a candidate; waits as long as that takes.

        Where the commit does not come, `drop_voter` leaves the node alone again.
        """
        if node not in self._voters:
            await self._candidates.learn(node, self._voters)

    def is_learning(self, node: str) -> bool:
        """Say whether a node is being brought up to date in order to become a candidate."""
        return self._candidates.is_learning(node)

    def drop_voter(self, node: str) -> None:
        """Leave a node alone that was brought up to date and did not become a candidate."""
        self._candidates.unlearn(node, self._voters)

    async def stop(self) -> None:
        """Take nothing more, wait for what is being written, record what is committed. The database stays open."""
        self._end(NoMajority("The master daemon is stopping", hint="try again when it runs"))
        await self._local.stop(self._committed)

    # Taking in

    def _check(self, changes: Sequence[Change], *, unsafe: bool = False) -> None:
        if self._ended is not None:
            raise self._ended
        if self._trouble is not None and not (unsafe and isinstance(self._trouble, NoMajority)):
            raise self._trouble
        staged = set(map(id, self._staged))
        if not staged <= set(map(id, changes)):
            raise AssertionError("changes of objects were made and not enqueued in the same turn")
        for change in changes:
            if not isinstance(change, Archive) and change.space is Space.OBJECT and id(change) not in staged:
                raise AssertionError(f"{change.key}: objects are changed with object_changes()")
        if self._staged and unsafe:
            if not self.epoch.node in voters(self._head) <= self._tip_voters:
                raise AssertionError("an unsafe change strikes voters off, and nothing else")
        elif self._staged:
            self._check_voters()

    def _check_voters(self) -> None:
        before, after = self._tip_voters, voters(self._head)
        if len(before ^ after) > 1:
            raise AssertionError("one voter changes per commit")
        for node in after - before:
            if not self._candidates.has_learnt(node):
                raise Refused(
                    WRONG_STATE, f"{self._name(node)} was not brought up to date, it cannot be a candidate yet"
                )

    def _schedule(self) -> None:
        self._urgent = True
        if not self._writing and self._ended is None:
            self._departure.soon()

    def _wait_for_company(self) -> None:
        """See that what has gathered is written, though not at once: what comes meanwhile goes with it."""
        if not self._writing and self._ended is None:
            self._departure.with_company(answer_to_come=bool(self._open))

    # Writing

    def _flush(self) -> None:
        """Make entries of what has gathered; begin one fsync and one append to each candidate, side by side."""
        self._departure.left()
        if self._writing or self._ended is not None:
            return
        while self._pending and not self._voters_moving:
            self._make_batch()
        self._urgent = bool(self._pending)
        if self._unwritten:
            self._writing = True
            # First what takes longest: the way to a candidate and back. And a thread does not want the interpreter yet.
            self._candidates.announce(self._voters, self._tail.end.serial)
            Deferred.fromCoroutine(self._write()).addErrback(self._broken)

    def _make_batch(self) -> None:
        """Make one entry of what has gathered."""
        items = gathered(self._pending)
        position = Position(epoch=self.epoch, serial=self._tail.end.serial + 1)
        entry = entry_of(items, position, self._runtime.now())
        encoded = encode_entry(entry)
        self._tail.add(position, encoded)
        batch = Batch(entry, len(encoded), items)
        self._unwritten.append(batch)
        self._open.append(batch)
        if items[0].moves_voters:
            # Whom the log names counts from the moment that it is in the log; the next change of voters, and all that
            # comes after it, waits until this one is on a majority.
            self._voters_moving = position.serial
            self._voters = items[0].voters
            self._candidates.follow(self._voters)

    async def _write(self) -> None:
        batches, self._unwritten = self._unwritten, []
        last = batches[-1].serial
        # Alone, what is on this disk is on a majority: said in the same transaction.
        alone = self._voters == {self.epoch.node}
        entries = [batch.entry for batch in batches]
        try:
            await self._local.write(entries, sum(batch.size for batch in batches), last if alone else self._committed)
        except ConfigError as error:
            self._writing = False
            self._unwritten = batches + self._unwritten
            self._not_written(error)
            return
        self._writing = False
        self._advance()
        if self._urgent or self._unwritten:
            self._flush()
        elif self._pending:
            self._wait_for_company()

    def _not_written(self, error: ConfigError) -> None:
        """Tell everybody, take nothing more, and try again until the disk takes it.

        Entries may be on candidates' disks already, so they cannot be taken back: unless there is no candidate.
        """
        log.error("the log cannot be written: {error}", error=error)
        if self._voters == {self.epoch.node} and not self._voters_moving:
            self._take_back(error)
            return
        self._trouble = ConfigError(f"{error}{_UNTOUCHED}", code=error.code, hint=error.hint)
        told = f"{error}; the change may come true once that is mended"
        self._fail_waiting(NoMajority(told, hint=error.hint, in_doubt=True))
        self._departure.after(WRITE_AGAIN)

    def _take_back(self, error: ConfigError) -> None:
        items = self._items()
        self._open.clear()
        self._pending.clear()
        self._unwritten = []
        self._tail.cut_after(self._local.end)
        self._head = self._tip = self._cluster
        self._staged, self._tip_voters = [], self._voters
        told = ConfigError(f"{error}{_UNTOUCHED}", code=error.code, hint=error.hint)
        for item in items:
            item.fail(told)

    def _broken(self, failure: Failure) -> None:
        """End this term: what went wrong was not foreseen, and going on might write what is wrong."""
        log.failure("writing the log", failure=failure)
        text = "The log cannot be written any more; see the master daemon's log"
        self._fail_waiting(NoMajority(f"{text}; nobody knows whether the change will hold", in_doubt=True))
        self._end(ConfigError(text, code="broken"))

    # Committing

    def _advance(self) -> None:
        """See what a majority has now, and make it true."""
        if self._ended is not None:
            return
        serial = self._candidates.agreed(self._voters, self._local.end.serial)
        before = self._committed
        while self._open and self._open[0].serial <= serial:
            batch = self._open.popleft()
            self._make_true(batch)
        if self._committed > before:
            # Who has had the entry for longer than this disk is told that it is committed, though nothing new comes.
            self._candidates.committed()
            if not self._open:
                self._departure.lose_patience()
        self._tail.shrink(self._local.end.serial, self._candidates.slowest(self._local.end.serial))

    def _make_true(self, batch: Batch) -> None:
        self._committed, self._position = batch.serial, batch.entry.position
        self._cluster = batch.items[-1].cluster
        if batch.serial == self._voters_moving:
            self._voters_moving = 0
            for node in self._voters:
                self._candidates.unlearn(node, self._voters)
            self._schedule()
        if self._trouble is not None:
            self._trouble = None
            log.info("changes are taken again")
            self._tell_free()
        for listener in list(self._listeners):
            listener(batch.entry.position, batch.entry.changes)
        # Those for whom nobody waits come last: others may have been answered by then.
        for item in sorted(batch.items, key=attrgetter("patient")):
            waiting, item.waiting = item.waiting, None
            if waiting is not None:
                waiting.callback(batch.entry.position)

    def _items(self) -> list[Item]:
        """Give the changes that are on their way, in order."""
        return [item for batch in self._open for item in batch.items] + list(self._pending)

    def _waits(self) -> str:
        return f"This waits for a majority of the master candidates; these do not answer: {self._absent.names()}"

    def _late(self, items: Sequence[Item]) -> None:
        """Tell the jobs that wait what for."""
        jobs = sorted({item.job for item in items if item.job})
        text = f"{self._waits()} ({self._absent.way_out()})"
        for listener in list(self._late_listeners):
            listener(jobs, text)

    def _deadline_passed(self, late: Sequence[Item], over: bool) -> None:
        """Tell those who have waited too long, and take nothing more until a majority is back where it is `over`."""
        hint = self._absent.way_out()
        text = f"Too few master candidates answer to make changes durable: {self._absent.names()}"
        if over and self._trouble is None:
            self._trouble = NoMajority(f"{text}{_UNTOUCHED}", hint=hint)
            log.error("{text}", text=text)
        told = f"{text}; the change is written down here and holds if they return"
        for item in late:
            item.fail(NoMajority(told, hint=hint, in_doubt=True))

    def _fail_waiting(self, error: GntError) -> None:
        for item in self._items():
            item.fail(error)

    def _tell_free(self) -> None:
        free, self._free = self._free, []
        for waiting in free:
            waiting.callback(None)

    def _end(self, error: GntError) -> None:
        if self._ended is not None:
            return
        self._ended = error
        self._lateness.stop()
        self._departure.left()
        self._candidates.stop()
        self._fail_waiting(in_doubt(error))
        free, self._free = self._free, []
        for waiting in free:
            waiting.errback(error)

    def _name(self, node: str) -> str:
        found = self._head.nodes.get(node)
        return found.name if found is not None else node

    # What the streams to the candidates tell

    def met(self, node: str) -> None:
        """Hear of a new connection to a node."""
        self._candidates.met(node)

    def matched(self, node: str, serial: int) -> None:
        """Hear that a candidate has everything up to this serial on disk."""
        self._candidates.heard(node, serial, self._tail.end.serial)
        self._advance()

    def deposed(self, error: StaleEpoch) -> None:
        """Hear that a candidate follows a newer master: this term is over."""
        if self._ended is None:
            log.critical("another master has taken over: {error}", error=error.text)
            self._end(error)
            for listener in list(self._deposed_listeners):
                listener(error)
