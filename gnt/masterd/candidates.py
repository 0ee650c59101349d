"""All candidates as the journal sees them: who has what on disk, who is being caught up to become one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from gnt.daemon.runtime import Runtime
from gnt.masterd.replication import Follower, Peers, Source
from gnt.masterd.voting import agreed


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
        self._make: Callable[[str], Follower] = lambda node: Follower(runtime, peers, source, node)
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

    def wake(self) -> None:
        """Tell all streams that there is something new."""
        for follower in list(self._followers.values()):
            follower.wake()

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
