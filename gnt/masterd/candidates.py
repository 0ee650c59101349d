"""All candidates as the journal sees them: who has what on disk, who is being caught up to become one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from gnt.daemon.runtime import Runtime
from gnt.masterd.replication import Follower, Peers, Source
from gnt.masterd.voting import agreed, majority

HELD_FOR: Final = 0.02
"""Seconds that candidates which no majority needs may be behind."""
SURE_AFTER: Final = 0.003
"""Seconds that even the quickest candidate has for an answer before others are asked."""


@dataclass
class _Learner:
    """A node that is being brought up to date, and who waits for it."""

    goal: int | None = None
    waiting: list[Deferred[None]] = field(default_factory=list)


class Candidates:
    """The streams to all candidates. `matched` says up to which serial each node has the log on disk."""

    def __init__(self, runtime: Runtime, peers: Peers, source: Source, me: str) -> None:
        self.matched: dict[str, int] = {}
        self._me = me
        self._clock = runtime.clock
        self._look_due: IDelayedCall | None = None
        # Who was asked for the newest entries, and what they should have by now; for how long others were not asked.
        self._asked: list[str] = []
        self._announced = self._awaited = 0
        self._held_since = self._held_for = self._used_to = 0.0
        self._make: Callable[[str], Follower] = lambda node: Follower(runtime, peers, source, node, self.is_learning)
        self._followers: dict[str, Follower] = {}
        self._learners: dict[str, _Learner] = {}

    def follow(self, voters: Collection[str]) -> None:
        """Have a stream to each of these voters and to those who learn; end the others."""
        wanted = (set(voters) - {self._me}) | set(self._learners)
        for node in sorted(set(self._followers) - wanted):
            self._followers.pop(node).stop()
            self.matched.pop(node, None)
        for node in sorted(wanted - set(self._followers)):
            follower = self._followers[node] = self._make(node)
            follower.start()

    def stop(self) -> None:
        """End all streams."""
        self._learners = {}
        self.follow(())
        if self._look_due is not None:
            self._look_due.cancel()
            self._look_due = None

    def wake(self) -> None:
        """Tell all streams that there is something new, but for those that get it later."""
        for follower in list(self._followers.values()):
            if not follower.held:
                follower.wake()

    def met(self, node: str) -> None:
        """Hear of a new connection to a node: one that took nothing may take something now."""
        follower = self._followers.get(node)
        if follower is not None:
            follower.retry()

    def committed(self) -> None:
        """Tell all streams that more is committed."""
        for follower in list(self._followers.values()):
            follower.committed()

    def announce(self, voters: Collection[str], end: int) -> None:
        """Tell the streams of new entries, up to `end`: at once those that a majority needs, a moment later the others.

        The quickest are asked first. The others get what comes meanwhile along with it, which is less work for all;
        when one of the first takes longer than it used to, they are asked at once.
        """
        if not self._followers:
            return
        able = [follower for follower in self._followers.values() if follower.node in voters and not follower.problem]
        able.sort(key=lambda follower: (follower.pace, follower.node))
        needed = majority(len(voters)) - 1
        for place, follower in enumerate(able):
            follower.held = place >= needed
        self._asked, self._announced = [follower.node for follower in able[:needed]], end
        if self._look_due is None and len(able) > needed:
            self._held_since, self._held_for, self._awaited = self._clock.seconds(), 0.0, end
            slowest = max((follower.pace for follower in able[:needed]), default=0.0)
            self._used_to = min(max(SURE_AFTER, 3 * slowest), HELD_FOR)
            self._look_due = self._clock.callLater(self._used_to, self._look)
        self.wake()

    def _look(self) -> None:
        """See whether those who were asked have what was new a moment ago; the others are not left behind for long."""
        self._look_due = None
        # Whatever the clock says, which may be put right meanwhile, there are only so many looks.
        self._held_for += self._used_to
        held_for = max(self._held_for, self._clock.seconds() - self._held_since)
        late = any(self.matched.get(node, 0) < self._awaited for node in self._asked)
        if not late and held_for < HELD_FOR:
            self._awaited = self._announced
            self._look_due = self._clock.callLater(self._used_to, self._look)
            return
        for follower in self._followers.values():
            follower.held = False
        self.wake()

    def agreed(self, voters: Collection[str], mine: int) -> int:
        """Give the serial up to which a majority of the voters and this node itself (`mine`) have the log."""
        return min(mine, agreed({**self.matched, self._me: mine}, voters))

    def slowest(self, end: int) -> int:
        """Give the serial up to which everybody who has a stream has the log."""
        return min((self.matched.get(node, 0) for node in self._followers), default=end)

    def problem(self, node: str) -> str:
        """Say why a candidate does not have everything; empty if nothing is known against it."""
        follower = self._followers.get(node)
        return follower.problem if follower is not None else ""

    # Learning

    def learn(self, node: str, voters: Collection[str]) -> Deferred[None]:
        """Bring a node up to date; fires when it has all that there was when it was first reached."""
        learner = self._learners.setdefault(node, _Learner())
        # The list is another one by the time of a cancel.
        waiting: Deferred[None] = Deferred(lambda this: learner.waiting.remove(this))  # noqa: PLW0108
        learner.waiting.append(waiting)
        self.follow(voters)
        return waiting

    def unlearn(self, node: str, voters: Collection[str]) -> None:
        """Leave a node alone that did not become a candidate, or keep it as one that did."""
        self._learners.pop(node, None)
        self.follow(voters)

    def is_learning(self, node: str) -> bool:
        """Say whether a node is being brought up to date."""
        return node in self._learners

    def has_learnt(self, node: str) -> bool:
        """Say whether a node is up to date and may become a candidate."""
        learner = self._learners.get(node)
        return learner is not None and learner.goal is not None and self.matched.get(node, 0) >= learner.goal

    def heard(self, node: str, serial: int, end: int) -> None:
        """Note what a node has; `end` is where the log ends."""
        self.matched[node] = serial
        learner = self._learners.get(node)
        if learner is None:
            return
        if learner.goal is None:
            learner.goal = end
        if self.has_learnt(node):
            waiting, learner.waiting = learner.waiting, []
            for one in waiting:
                one.callback(None)
