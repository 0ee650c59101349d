"""One attempt to have a majority of the voters promise a new epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.daemon.runtime import Clock, Runtime
from gnt.masterd.nodes import Nodes
from gnt.masterd.voting import majority, voters
from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch
from gnt.model.errors import ConfigError, Failed, GntError, NoMajority, StaleEpoch
from gnt.store.database import Database
from gnt.wire.envelope import NOT_ALLOWED
from gnt.wire.log_calls import AskStanding, LogState, Promise, PromiseAnswer

log: Final = Logger()

NOT_MASTER: Final = "not_master"
NO_VOTING_WAIT: Final = 5.0
"""Seconds that candidates have to answer when nobody waits for a majority of them."""
TERMS_AHEAD: Final = 1000
"""Terms by which one who goes on without a majority is ahead: so many may be begun by the logs of those it struck off.

These may be a majority among themselves when they come back, and not reach it; whose number is lower gives way.
"""
STANDING_TIME: Final = 5.0
"""Seconds that a candidate which takes no orders from this node has to say by what configuration."""
HEARD_OUT: Final = 0.5
"""Seconds that those have who are there, or may be, and have not said yet whether they know of another master."""


@dataclass(frozen=True)
class Won:
    """A vote that was won. `newest`: the voter (UUID) whose log has what ours lacks; None: ours has everything.

    `missing`: voters that did not promise; only told when they were not needed for a majority.
    """

    epoch: Epoch
    newest: str | None
    missing: frozenset[str]


class Vote:
    """One attempt; `deadline`: seconds that a majority has to be reached and to promise."""

    def __init__(
        self, runtime: Runtime, nodes: Nodes, database: Database, cluster: Cluster, *, me: str, deadline: float
    ) -> None:
        self._runtime = runtime
        self._nodes = nodes
        self._database = database
        self._cluster = cluster
        self._me = me
        self._deadline = deadline
        self._others = sorted(voters(cluster) - {me})
        self._without = ""
        self._left_out: Failed | None = None
        # Those that take no orders from this node, and have not said yet why.
        self._refusing: set[str] = set()
        # Our own promise counts too.
        self._needed = majority(len(self._others) + 1) - 1

    async def win(self, *, take_over: bool = False, no_voting: bool = False) -> Won:
        """Ask without storing anything, then promise here, then have the others promise. Raises as `take_mastership`.

        So that one who cannot win raises nobody's number. Who is there is heard out first, though there be enough:
        where one node goes on without a majority, those that it struck off are one by their own logs, and only it
        knows. Who takes over may lack changes: the voters that have promised take no more of an older master, so the
        newest log among theirs has all that was ever acknowledged.
        `no_voting`: those who answer in a short while are enough.
        """
        self._without = "gnt-cluster master-failover" if take_over else "gnt-masterd"
        if no_voting:
            self._needed, self._deadline = 0, min(self._deadline, NO_VOTING_WAIT)
        own = self._database.promised
        asked = await self._round(
            Epoch(number=own.number + 1, node=self._me), ask_only=True, all_of=self._others if no_voting else ()
        )
        if not take_over:
            self._check_logs(asked)
        highest = max(own.number, *(answer.log.promised.number for answer in asked.values()), 0)
        number = highest + (TERMS_AHEAD if no_voting and len(asked) < len(self._others) else 1)
        epoch = Epoch(number=number, node=self._me)
        if not await self._runtime.pools("store").run(self._database.promise, epoch):
            raise StaleEpoch(f"this node itself has promised {self._database.promised} meanwhile")
        promised = await self._round(epoch, ask_only=False, all_of=sorted(asked) if no_voting else ())
        granted = {uuid: answer.log for uuid, answer in promised.items() if answer.granted}
        if len(granted) < self._needed or (no_voting and len(granted) < len(promised)):
            names = ", ".join(self._name(uuid) for uuid, answer in promised.items() if not answer.granted)
            raise StaleEpoch(f"{names} promised a higher epoch to another node meanwhile")
        if not take_over:
            self._check_logs(promised)
        missing = frozenset(self._others) - set(granted) if no_voting else frozenset[str]()
        return Won(epoch, self._newest(granted) if take_over else None, missing)

    def _newest(self, logs: Mapping[str, LogState]) -> str | None:
        """Name the voter whose log has what ours lacks, if any."""
        ours = self._database.end
        newest = max(sorted(logs), key=lambda uuid: logs[uuid].end, default=None)
        return newest if newest is not None and logs[newest].end > ours else None

    def _check_logs(self, answers: Mapping[str, PromiseAnswer]) -> None:
        for uuid, answer in answers.items():
            self._check_log(uuid, answer.log)

    def _check_log(self, uuid: str, theirs: LogState) -> None:
        """Refuse to become master with a log that lacks what may have been acknowledged.

        What a voter has beyond us from this node's own epochs was never acknowledged, since that needs our own disk.
        """
        ours = self._database.end
        own = theirs.end.epoch.node == self._me
        if theirs.end.epoch.number > ours.epoch.number and not own:
            # Its entries are there: it has won a vote that this node was not asked in.
            newer = self._cluster.nodes.get(theirs.end.epoch.node)
            name = newer.name if newer is not None else "another node"
            raise Failed(
                f"this node is not the master any more: {name} took over in epoch {theirs.end.epoch.number}, as"
                f" {self._name(uuid)} says",
                code=NOT_MASTER,
                hint="start gnt-noded here: what only this node had is kept aside when the log comes",
            )
        if theirs.committed > ours.serial or (theirs.end > ours and not own):
            raise ConfigError(
                f"{self._name(uuid)} has newer changes (entry {theirs.end.serial}) than this node ({ours.serial})",
                code="behind",
                hint=f"start the master on {self._name(uuid)} with gnt-cluster master-failover",
            )

    async def _round(self, epoch: Epoch, *, ask_only: bool, all_of: Sequence[str]) -> Mapping[str, PromiseAnswer]:
        """Ask all others side by side; gives the answers as soon as enough have answered. Raises `NoMajority`.

        `ask_only`: and as soon as those are heard out who are there. `all_of`: wait for all of these, and take what
        there is at the deadline.
        """
        asked = all_of or (self._others if self._needed else ())
        answering = _Round(self, self._runtime.clock, self._others, self._needed)
        await answering.go(Promise(epoch=epoch, ask_only=ask_only), asked, self._deadline, all_of=bool(all_of))
        if self._left_out is not None:
            raise self._left_out
        answers, problems = answering.answers, answering.problems
        if len(answers) < self._needed:
            raise self._too_few({uuid: why for uuid, why in problems.items() if uuid not in answers})
        return answers

    def _too_few(self, problems: Mapping[str, str]) -> NoMajority:
        absent = ", ".join(f"{self._name(uuid)} ({self._nodes.problem(uuid) or why})" for uuid, why in problems.items())
        return NoMajority(
            f"{self._needed + 1} of {len(self._others) + 1} master candidates must agree, and these did not answer:"
            f" {absent}",
            hint="start gnt-noded there; or, once they are switched off for certain, go on without them:"
            f" {self._without} --no-voting",
        )

    async def promise_of(self, uuid: str, call: Promise) -> PromiseAnswer | GntError:
        """Ask one voter; an error is a value."""
        try:
            await self._nodes.when_connected(uuid)
            return await self._nodes.call(uuid, call, deadline=self._deadline)
        except GntError as error:
            if error.code == NOT_ALLOWED:
                self._refusing.add(uuid)
                self._left_out = await self._leaves_us_out(uuid) or self._left_out
                self._refusing.discard(uuid)
            return error

    @property
    def is_left_out(self) -> bool:
        """Say whether a voter has told of a newer configuration, without this node in it."""
        return self._left_out is not None

    def is_refusing(self, uuid: str) -> bool:
        """Say whether a voter takes no orders from this node, and is being asked why."""
        return uuid in self._refusing

    def may_be_there(self, uuid: str) -> bool:
        """Say whether a voter can be asked, as far as is known by now."""
        return not self._nodes.problem(uuid)

    async def _leaves_us_out(self, uuid: str) -> Failed | None:
        """Say whether a voter that takes no orders from this node has a newer configuration, without this node in it.

        Then this log is of the past, as that of an old master which was struck off while it was away: nobody else
        would ever tell it.
        """
        try:
            standing = await self._nodes.call(uuid, AskStanding(), deadline=STANDING_TIME)
        except GntError as error:
            log.info("{node} does not say why: {error}", node=self._name(uuid), error=error.text)
            return None
        epoch = standing.position.epoch
        if standing.may_order or epoch.number <= self._database.end.epoch.number:
            return None
        leader, me = self._cluster.nodes.get(epoch.node), self._name(self._me)
        name = leader.name if leader is not None else "another node"
        was = "master" if self._me == self._cluster.settings.master_node else "master candidate"
        return Failed(
            f"{me} is no {was} any more: {name} leads in epoch {epoch.number}, as {self._name(uuid)} says",
            code=NOT_MASTER,
            hint=f"take it in again, on {name}: gnt-node modify --offline=no {me}",
        )

    def _name(self, uuid: str) -> str:
        return self._cluster.nodes[uuid].name


class _Round:
    """One question to all others, side by side, of which `needed` have to answer. `answers`, `problems`: by UUID."""

    def __init__(self, vote: Vote, clock: Clock, others: Sequence[str], needed: int) -> None:
        self.answers: dict[str, PromiseAnswer] = {}
        self.problems = dict.fromkeys(others, "no connection")
        self._vote = vote
        self._clock = clock
        self._needed = needed
        self._left = set[str]()
        self._done: Deferred[None] = Deferred()
        self._timers: list[IDelayedCall] = []
        self._heard_out = False

    async def go(self, call: Promise, asked: Sequence[str], deadline: float, *, all_of: bool) -> None:
        """Ask these; ends as soon as enough have answered, or all if `all_of`, or after `deadline` seconds."""
        self._left.update(asked)
        self._timers = [self._clock.callLater(deadline, self._end)]
        asking = [Deferred.fromCoroutine(self._ask(uuid, call, all_of=all_of)) for uuid in asked]
        if asked:
            await self._done
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        for one in asking:
            one.addErrback(_unless_cancelled)
            one.cancel()

    async def _ask(self, uuid: str, call: Promise, *, all_of: bool) -> None:
        answer = await self._vote.promise_of(uuid, call)
        if isinstance(answer, GntError):
            self.problems[uuid] = answer.text
        else:
            self.answers[uuid] = answer
        self._left.discard(uuid)
        granted = sum(1 for one in self.answers.values() if one.granted or call.ask_only)
        if not self._left or self._vote.is_left_out or (granted >= self._needed and not (all_of or call.ask_only)):
            self._end()
        elif granted >= self._needed and not all_of:
            self._hear_out()

    def _hear_out(self) -> None:
        """Give those a moment who may be there; one that has refused already, the time that it has to say why."""
        if not any(
            self._vote.is_refusing(uuid) if self._heard_out else self._vote.may_be_there(uuid) for uuid in self._left
        ):
            self._end()
        elif len(self._timers) == 1:
            self._timers.append(self._clock.callLater(HEARD_OUT, self._enough_heard))

    def _enough_heard(self) -> None:
        self._heard_out = True
        self._hear_out()

    def _end(self) -> None:
        if not self._done.called:
            self._done.callback(None)


def _unless_cancelled(failure: Failure) -> None:
    if not isinstance(failure.value, CancelledError):
        log.failure("asking for a promise", failure=failure)
