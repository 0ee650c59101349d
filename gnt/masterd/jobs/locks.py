"""Who may work on what: shared and exclusive locks, granted in order of priority and age.

An opcode takes its locks level by level, each level as one set, and holds the lower levels while it waits in a higher
one; nobody waits for a lower level while holding a higher one, so there is no deadlock. Within a level nobody overtakes
a waiter that comes before it (more urgent, or as urgent and older) and wants something incompatible: a waiting writer
holds up later readers. Who waits long becomes more urgent, so nothing starves: `spec/jobs.md`, section 9.

A lock needs no registration: it exists while somebody holds it or waits for it. `EVERY` of a level is incompatible with
each lock of that level that an exclusive holder has (or any holder, if it is wanted exclusively), those included of
objects that are yet to be made.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Collection, Iterator
from operator import attrgetter
from typing import Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from gnt.daemon.runtime import Clock
from gnt.masterd.jobs.lockset import EVERY, LEVEL_NAMES, Level, Locks, Wanted
from gnt.masterd.jobs.states import HIGHEST_PRIORITY

PATIENCE: Final = 1800.0
"""Seconds of waiting after which an opcode becomes more urgent by one: the sum of the attempts of `spec/jobs.md`."""


class WaitCanceled(Exception):
    """The wait for locks was ended from outside; nothing is held."""


class Waits(msgspec.Struct, frozen=True):
    """What a job waits for: the locks that are not free for it, who holds them, how many stand before it.

    `locks` are `level/name`, `holders` the names of the owners, sorted; `ahead` those that stand before it in line and
    want something incompatible, in order; `place` counts from 1.
    """

    locks: tuple[str, ...]
    holders: tuple[str, ...]
    ahead: tuple[str, ...]
    place: int


class LockFacts(msgspec.Struct, frozen=True):
    """A lock as the lock query shows it: mode `exclusive`, `shared` or None; `pending` are (mode, owners) in order."""

    name: str
    mode: str | None
    owners: tuple[str, ...]
    pending: tuple[tuple[str, tuple[str, ...]], ...]


class Claim:
    """One opcode's standing in line: it keeps its age while it asks again.

    `owner` is the name that the lock query shows; `escalated` is told each new priority that waiting has brought.
    """

    __slots__ = ("age", "escalated", "job", "owner", "patient_until", "priority")

    def __init__(self, job: int, owner: str, priority: int, age: int, escalated: Callable[[int], None]) -> None:
        self.job = job
        self.owner = owner
        self.priority = priority
        self.age = age
        self.escalated = escalated
        self.patient_until: float | None = None


class Held:
    """The locks that were granted to one claim; released exactly once, however often `release` is called."""

    __slots__ = ("_manager", "_parts", "claim")

    def __init__(self, manager: LockManager, claim: Claim) -> None:
        self._manager = manager
        self.claim = claim
        self._parts: dict[Level, dict[str, bool]] = {}

    @property
    def locks(self) -> Locks:
        """Give what is held now, the cluster lock included."""
        return Locks(
            frozenset(
                Wanted(level, name, exclusive)
                for level, part in self._parts.items()
                for name, exclusive in part.items()
            )
        )

    def release(self) -> None:
        """Let go of everything; a second call does nothing."""
        parts, self._parts = self._parts, {}
        for level, part in parts.items():
            self._manager.take_back(self, level, part)
        self._manager.serve(parts)

    def drop(self, level: Level, *names: str) -> None:
        """Release some locks of a level early; no names: all of that level. What is not held is left alone."""
        part = self._parts.get(level, {})
        gone = {name: part.pop(name) for name in (names or tuple(part)) if name in part}
        if not part:
            self._parts.pop(level, None)
        self._manager.take_back(self, level, gone)
        self._manager.serve((level,))

    def share(self, level: Level, *names: str) -> None:
        """Hold exclusive locks only shared from now on; no names: all of that level."""
        part = self._parts.get(level, {})
        changed = {name: True for name in (names or tuple(part)) if part.get(name)}
        self._manager.take_back(self, level, changed)
        self.keep(level, dict.fromkeys(changed, False))
        self._manager.serve((level,))

    def keep(self, level: Level, part: dict[str, bool]) -> None:
        """Enter locks that are free as held: names with their mode (exclusive or not). For the manager."""
        if part:
            self._parts.setdefault(level, {}).update(part)
            self._manager.give(self, level, part)


class _Waiter:
    """A claim that waits in a level for a set of locks."""

    __slots__ = ("claim", "granted", "held", "key", "level", "part")

    def __init__(self, claim: Claim, held: Held, level: Level, part: dict[str, bool]) -> None:
        self.claim = claim
        self.held = held
        self.level = level
        self.part = part
        self.key = (claim.priority, claim.age)
        self.granted: Deferred[None] = Deferred()


_KEY: Final = attrgetter("key")


def conflicts(name: str, want_exclusive: bool, exclusive: Collection[str], shared: Collection[str]) -> bool:
    """Say whether a lock is incompatible with others of its level, given by name and mode."""
    if name == EVERY:
        return bool(exclusive) or (want_exclusive and bool(shared))
    if name in exclusive or EVERY in exclusive:
        return True
    return want_exclusive and (name in shared or EVERY in shared)


class _LevelState:
    """Who holds and who waits in one level."""

    __slots__ = ("exclusive", "queue", "shared")

    def __init__(self) -> None:
        self.exclusive: dict[str, Held] = {}
        self.shared: dict[str, dict[Held, None]] = {}
        self.queue: list[_Waiter] = []

    def free(self, part: dict[str, bool]) -> bool:
        """Say whether no holder is in the way."""
        return not any(conflicts(name, mode, self.exclusive, self.shared) for name, mode in part.items())

    def grantable(self) -> list[_Waiter]:
        """Take out of the queue whoever may have its locks now, in order, and enter them as held."""
        exclusive: set[str] = set()
        shared: set[str] = set()
        granted = []
        left = []
        for waiter in self.queue:
            behind = any(conflicts(name, mode, exclusive, shared) for name, mode in waiter.part.items())
            if not behind and self.free(waiter.part):
                waiter.held.keep(waiter.level, waiter.part)
                granted.append(waiter)
            else:
                left.append(waiter)
                for name, mode in waiter.part.items():
                    (exclusive if mode else shared).add(name)
        self.queue = left
        return granted

    def before(self, waiter: _Waiter) -> list[_Waiter]:
        """Give the waiters that stand before this one and want something incompatible."""
        found = []
        for other in self.queue:
            if other.key >= waiter.key:
                break
            exclusive = {name for name, mode in other.part.items() if mode}
            if any(
                conflicts(name, mode, exclusive, other.part.keys() - exclusive) for name, mode in waiter.part.items()
            ):
                found.append(other)
        return found

    def holders(self, name: str, want_exclusive: bool) -> Iterator[Held]:
        """Give whoever holds what is incompatible with a lock."""
        for other, held in self.exclusive.items():
            if name in (other, EVERY) or other == EVERY:
                yield held
        for other, owners in self.shared.items() if want_exclusive else ():
            if name in (other, EVERY) or other == EVERY:
                yield from owners


class LockManager:
    """All locks of the cluster. Times come from `clock`; a timer runs only while somebody waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._levels = {level: _LevelState() for level in Level}
        self._ages = 0
        self._waiting: dict[int, _Waiter] = {}
        self._timer: IDelayedCall | None = None
        self._granted: deque[_Waiter] = deque()
        self._telling = False

    @property
    def awaited(self) -> bool:
        """Say whether anybody waits for a lock."""
        return bool(self._waiting)

    def claim(self, job: int, owner: str, priority: int, escalated: Callable[[int], None] = lambda _: None) -> Claim:
        """Stand in line for an opcode; a job has one claim at a time."""
        self._ages += 1
        return Claim(job, owner, priority, self._ages, escalated)

    async def acquire(self, claim: Claim, locks: Locks) -> Held:
        """Take all these locks, level by level; waits as long as it takes. Raises `WaitCanceled`."""
        held = Held(self, claim)
        for level, part in by_level(locks):
            state = self._levels[level]
            if state.free(part) and not (state.queue and state.before(_Waiter(claim, held, level, part))):
                held.keep(level, part)
                continue
            try:
                await self._wait(claim, held, level, part)
            except WaitCanceled:
                held.release()
                raise
        return held

    def retake(self, claim: Claim, locks: Locks) -> Held:
        """Take the locks again that an interrupted opcode held. Raises `AssertionError` if others have them.

        For recovery, before anybody else asks: what was held together then can be held together now.
        """
        held = Held(self, claim)
        for level, part in by_level(locks):
            if not self._levels[level].free(part):
                held.release()
                raise AssertionError(f"job {claim.job} held locks of level {LEVEL_NAMES[level]} that another one has")
            held.keep(level, part)
        return held

    def cancel(self, job: int) -> bool:
        """End a job's wait: its `acquire` raises `WaitCanceled`. False if it does not wait."""
        waiter = self._waiting.get(job)
        if waiter is None:
            return False
        state = self._levels[waiter.level]
        state.queue.remove(waiter)
        self._no_longer_waits(waiter)
        waiter.granted.errback(WaitCanceled())
        self.serve((waiter.level,))
        return True

    def reprioritize(self, job: int, priority: int) -> None:
        """Change the place in line of a job that waits; others are left alone."""
        waiter = self._waiting.get(job)
        if waiter is not None:
            waiter.claim.priority = priority
            self._move(waiter)

    def explain(self, job: int) -> Waits | None:
        """Say what a job waits for, or None if it waits for no lock."""
        waiter = self._waiting.get(job)
        if waiter is None:
            return None
        state = self._levels[waiter.level]
        before = state.before(waiter)
        names: dict[str, None] = {}
        holders: set[str] = set()
        for name, mode in waiter.part.items():
            owners = [held.claim.owner for held in state.holders(name, mode)]
            if owners or not before:
                names[f"{LEVEL_NAMES[waiter.level]}/{name}"] = None
            holders.update(owners)
        if not names:
            names = dict.fromkeys(f"{LEVEL_NAMES[waiter.level]}/{name}" for name in waiter.part)
        ahead = tuple(other.claim.owner for other in before)
        return Waits(tuple(names), tuple(sorted(holders)), ahead, len(before) + 1)

    def snapshot(self) -> list[LockFacts]:
        """Give every lock that is held or waited for, in level and name order."""
        facts = []
        for level, state in self._levels.items():
            pending: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
            for waiter in state.queue:
                for name, mode in waiter.part.items():
                    pending.setdefault(name, []).append(("exclusive" if mode else "shared", (waiter.claim.owner,)))
            for name in sorted({*state.exclusive, *state.shared, *pending}):
                holder = state.exclusive.get(name)
                owners = (holder,) if holder else tuple(state.shared.get(name, ()))
                facts.append(
                    LockFacts(
                        f"{LEVEL_NAMES[level]}/{name}",
                        "exclusive" if holder else "shared" if owners else None,
                        tuple(held.claim.owner for held in owners),
                        tuple(pending.get(name, ())),
                    )
                )
        return facts

    def waiting_in(self, level: Level) -> list[tuple[Claim, dict[str, bool]]]:
        """Give who waits in a level, in order, and for what: names with their mode (exclusive or not)."""
        return [(waiter.claim, waiter.part) for waiter in self._levels[level].queue]

    # What `Held` calls

    def give(self, held: Held, level: Level, part: dict[str, bool]) -> None:
        """Enter locks of a level as held."""
        state = self._levels[level]
        for name, mode in part.items():
            if mode:
                state.exclusive[name] = held
            else:
                state.shared.setdefault(name, {})[held] = None

    def take_back(self, held: Held, level: Level, part: dict[str, bool]) -> None:
        """Enter locks of a level as free; `serve` afterwards."""
        state = self._levels[level]
        for name, mode in part.items():
            if mode:
                del state.exclusive[name]
            else:
                owners = state.shared[name]
                del owners[held]
                if not owners:
                    del state.shared[name]

    def serve(self, levels: Collection[Level]) -> None:
        """Grant what may be granted in these levels, then tell those who got something."""
        for level in levels:
            state = self._levels[level]
            if state.queue:
                for waiter in state.grantable():
                    self._no_longer_waits(waiter)
                    self._granted.append(waiter)
        if self._telling:
            return
        # Whoever is told goes on at once and may release or ask again: the outermost call tells all, in order.
        self._telling = True
        try:
            while self._granted:
                self._granted.popleft().granted.callback(None)
        finally:
            self._telling = False

    # Waiting and growing impatient

    async def _wait(self, claim: Claim, held: Held, level: Level, part: dict[str, bool]) -> None:
        waiter = _Waiter(claim, held, level, part)
        bisect.insort(self._levels[level].queue, waiter, key=_KEY)
        self._waiting[claim.job] = waiter
        if claim.patient_until is None:
            claim.patient_until = self._clock.seconds() + PATIENCE
        self._wake_at(claim.patient_until)
        await waiter.granted

    def _no_longer_waits(self, waiter: _Waiter) -> None:
        del self._waiting[waiter.claim.job]
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake_at(self, when: float) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(max(0.0, when - self._clock.seconds()), self._out_of_patience)
        elif self._timer.getTime() > when:
            self._timer.cancel()
            self._timer = None
            self._wake_at(when)

    def _out_of_patience(self) -> None:
        self._timer = None
        now = self._clock.seconds() + 0.001  # a timer may come a rounding error early
        for waiter in list(self._waiting.values()):
            claim = waiter.claim
            if claim.patient_until is None or claim.patient_until > now:
                continue
            claim.patient_until += PATIENCE
            if claim.priority > HIGHEST_PRIORITY:
                claim.priority -= 1
                claim.escalated(claim.priority)
            # An earlier one of this round may have been granted, gone on and released what this one waits for.
            if self._waiting.get(claim.job) is waiter:
                self._move(waiter)
        if self._waiting:
            times = (waiter.claim.patient_until for waiter in self._waiting.values())
            self._wake_at(min(when for when in times if when is not None))

    def _move(self, waiter: _Waiter) -> None:
        queue = self._levels[waiter.level].queue
        queue.remove(waiter)
        waiter.key = (waiter.claim.priority, waiter.claim.age)
        bisect.insort(queue, waiter, key=_KEY)
        self.serve((waiter.level,))


def by_level(locks: Locks) -> list[tuple[Level, dict[str, bool]]]:
    """Give the locks as one set for each level, in the order in which they are taken."""
    levels: list[tuple[Level, dict[str, bool]]] = []
    for wanted in locks.in_order():
        if not levels or levels[-1][0] is not wanted.level:
            levels.append((wanted.level, {}))
        levels[-1][1][wanted.name] = wanted.exclusive
    return levels
