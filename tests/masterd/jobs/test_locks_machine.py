"""The invariants of locks (I4), searched for a counterexample.

The machine keeps no model of its own of who should hold what: after each step it looks at the whole manager with rules
written another way, pair by pair.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gnt.masterd.jobs.locks import PATIENCE, Claim, Held, LockManager, WaitCanceled
from gnt.masterd.jobs.lockset import EVERY, Level, Locks, Wanted

LEVELS = [Level.INSTANCE, Level.NODE, Level.NODE_RES]
wanted = st.builds(Wanted, st.sampled_from(LEVELS), st.sampled_from(["a", "b", EVERY]), st.booleans())
lock_sets = st.one_of(
    st.just(Locks().whole_cluster()),
    st.lists(wanted, max_size=4, unique_by=lambda lock: (lock.level, lock.name)).map(
        lambda locks: Locks(frozenset(locks))
    ),
)


def clash(one: Wanted, other: Wanted) -> bool:
    """Say whether two jobs may not have these at once."""
    overlap = one.level is other.level and (one.name == other.name or EVERY in (one.name, other.name))
    return overlap and (one.exclusive or other.exclusive)


class LockRules(RuleBasedStateMachine):
    """Jobs ask, release, drop, share, give up, and time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.manager = LockManager(self.clock)
        self.jobs = 0
        self.claims: dict[int, Claim] = {}
        self.wanted: dict[int, Locks] = {}
        self.held: dict[int, Held] = {}

    @rule(locks=lock_sets, priority=st.integers(-10, 10))
    def ask(self, locks: Locks, priority: int) -> None:
        """Ask for a new job."""
        self.jobs += 1
        job = self.jobs
        self.claims[job] = claim = self.manager.claim(job, f"Job{job}", priority)
        self.wanted[job] = locks

        def granted(held: Held) -> None:
            self.held[job] = held
            assert held.locks.wanted == frozenset(locks.in_order())

        def ended(failure: Any) -> None:
            failure.trap(WaitCanceled)
            del self.wanted[job]

        Deferred.fromCoroutine(self.manager.acquire(claim, locks)).addCallbacks(granted, ended)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Let a holder go, twice to be sure."""
        job = data.draw(st.sampled_from(sorted(self.held)))
        held = self.held.pop(job)
        del self.wanted[job]
        held.release()
        held.release()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), level=st.sampled_from(LEVELS), names=st.sets(st.sampled_from(["a", "b", EVERY])))
    def drop(self, data: st.DataObject, level: Level, names: set[str]) -> None:
        """Drop some locks early."""
        self.held[data.draw(st.sampled_from(sorted(self.held)))].drop(level, *sorted(names))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), level=st.sampled_from(LEVELS))
    def share(self, data: st.DataObject, level: Level) -> None:
        """Be content with reading."""
        self.held[data.draw(st.sampled_from(sorted(self.held)))].share(level)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a job, waiting or not."""
        job = data.draw(st.sampled_from(sorted(self.claims)))
        assert self.manager.cancel(job) == (job in self.wanted and job not in self.held) or job not in self.wanted

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), priority=st.integers(-20, 19))
    def reprioritize(self, data: st.DataObject, priority: int) -> None:
        """Change a priority."""
        self.manager.reprioritize(data.draw(st.sampled_from(sorted(self.claims))), priority)

    @rule()
    def time_passes(self) -> None:
        """Long enough to lose patience."""
        self.clock.advance(PATIENCE)

    def waiting(self) -> list[int]:
        """Give the jobs that wait, as the test knows."""
        return sorted(set(self.wanted) - set(self.held))

    def owned(self) -> dict[int, set[Wanted]]:
        """Give who holds what, as the lock query shows it: holders, and waiters that hold lower levels."""
        levels = {"cluster": Level.CLUSTER, "instance": Level.INSTANCE, "node": Level.NODE, "node-res": Level.NODE_RES}
        owned: dict[int, set[Wanted]] = {}
        for fact in self.manager.snapshot():
            level, _, name = fact.name.partition("/")
            for owner in fact.owners:
                lock = Wanted(levels[level], name, fact.mode == "exclusive")
                owned.setdefault(int(owner.removeprefix("Job")), set()).add(lock)
        return owned

    @invariant()
    def no_two_incompatible_holders(self) -> None:
        """Pair by pair."""
        owned = self.owned()
        for one, other in combinations(owned, 2):
            assert not any(clash(a, b) for a in owned[one] for b in owned[other])

    @invariant()
    def only_the_living_hold(self) -> None:
        """No lock is held by a job that is over; what a holder says it holds is what the lock query shows."""
        owned = self.owned()
        assert set(owned) <= set(self.wanted)
        for job, held in self.held.items():
            assert held.locks.wanted == owned.get(job, set())

    @invariant()
    def who_waits_has_a_reason(self) -> None:
        """Each waiter is kept by a holder, or by one in its level who comes before it; nobody is forgotten."""
        owned = self.owned()
        front: dict[int, set[Wanted]] = {}
        for job in self.waiting():
            levels = [lock.level for lock in self.wanted[job].in_order()]
            have = {lock.level for lock in owned.get(job, ())}
            level = min(level for level in levels if level not in have)
            assert have == {other for other in levels if other < level}, "levels are taken in order"
            front[job] = {lock for lock in self.wanted[job].in_order() if lock.level is level}
        for job, wants in front.items():
            by_holder = any(
                clash(want, lock) for want in wants for other in owned if other != job for lock in owned[other]
            )
            me = (self.claims[job].priority, self.claims[job].age)
            by_line = any(
                (self.claims[other].priority, self.claims[other].age) < me
                and any(clash(want, lock) for want in wants for lock in front[other])
                for other in front
            )
            assert by_holder or by_line
            assert self.manager.explain(job) is not None

    def teardown(self) -> None:
        """See that waiting is finite: when all holders finish one after the other, everybody has had a turn."""
        while self.held:
            job = min(self.held)
            del self.wanted[job]
            self.held.pop(job).release()
        assert self.waiting() == []
        assert self.manager.snapshot() == []
        assert self.clock.getDelayedCalls() == []


TestLockRules = LockRules.TestCase
TestLockRules.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
