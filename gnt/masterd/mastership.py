"""Becoming master: is it us by the log, does a majority promise, then the first commit in our own epoch and the fences.

What starts this is an administrator who starts the daemon; a lease or an election would call `take_mastership` too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.masterd.journal import DEADLINE, Journal
from gnt.masterd.local_log import LocalLog
from gnt.masterd.nodes import Connect, Nodes
from gnt.masterd.voting import majority, voters
from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import ConfigError, Failed, GntError, NoMajority, StaleEpoch
from gnt.store.changes import Change, Put, Remove, Space
from gnt.store.database import Database
from gnt.store.vault import IN_USE, Vault
from gnt.wire.calls import LogState, Promise, PromiseAnswer

log: Final = Logger()

NOT_MASTER: Final = "not_master"
OWNER: Final = "gnt-masterd"
HOLD_TRIES: Final = 20
HOLD_PAUSE: Final = 0.1

OpenCalls = Callable[[Database], Callable[[str], Collection[str]]]
"""Reads from the store which calls a former master left open, and gives their ids for a node."""


@dataclass
class Term:
    """One term of mastership, begun: the epoch, the journal, the connections, the store."""

    epoch: Epoch
    journal: Journal
    nodes: Nodes
    vault: Vault
    database: Database
    runtime: Runtime

    async def end(self) -> None:
        """Step down in order: nothing more is taken, the store is folded in and let go."""
        await self.journal.stop()
        await self.nodes.stop()
        await self.runtime.pools("store").run(self.database.close)
        self.vault.release()


async def take_mastership(
    runtime: Runtime,
    vault: Vault,
    connect: Connect,
    *,
    host: str,
    open_calls: OpenCalls | None = None,
    deadline: float = DEADLINE,
) -> Term:
    """Become master on the node named `host`. A majority has `deadline` seconds to be reached and to promise.

    Raises `Failed` (`not_master`) if the log names another node, `NoMajority` if too few voters promise,
    `StaleEpoch` if they have promised more to another meanwhile, `ConfigError` if the store cannot be used or a voter
    has a newer log.
    """
    await _hold(runtime, vault)
    nodes: Nodes | None = None
    database: Database | None = None
    pool = runtime.pools("store")
    try:
        database = await pool.run(vault.open)
        cluster = await pool.run(database.load_cluster)
        me = _own_uuid(cluster, host)
        nodes = Nodes(runtime, connect)
        nodes.update(cluster)
        epoch = await Vote(runtime, nodes, database, cluster, me=me, deadline=deadline).win()
        wanted = await pool.run(open_calls, database) if open_calls is not None else None
        nodes.begin_term(epoch, wanted)
        local = LocalLog(runtime, vault, database, epoch)
        journal = Journal(runtime, local, nodes, epoch=epoch, cluster=cluster, deadline=deadline)
        nodes.on_deposed(journal.deposed)
        journal.on_commit(_keep_connections(journal, nodes))
        # Everything that an older epoch left in the log is on a majority with this.
        try:
            await journal.enqueue([])
        except GntError:
            await journal.stop()
            raise
    except BaseException:
        if nodes is not None:
            await nodes.stop()
        if database is not None:
            await pool.run(database.close)
        vault.release()
        raise
    log.info("master in epoch {epoch}", epoch=str(epoch))
    return Term(epoch, journal, nodes, vault, database, runtime)


async def _hold(runtime: Runtime, vault: Vault) -> None:
    """Hold the store. The node daemon has it for moments only; who has it longer is named. Raises `ConfigError`."""
    for _ in range(HOLD_TRIES):
        try:
            vault.hold(OWNER)
        except ConfigError as error:
            if error.code != IN_USE:
                raise
            await runtime.sleep(HOLD_PAUSE)
        else:
            return
    vault.hold(OWNER)


def _own_uuid(cluster: Cluster, host: str) -> str:
    master = cluster.nodes.get(cluster.settings.master_node)
    if master is None:
        raise ConfigError("the configuration names a master that is none of its nodes", code="damaged")
    if master.name != host:
        raise Failed(
            f"{host} is not the master, {master.name} is",
            code=NOT_MASTER,
            hint="to change that, run gnt-cluster master-failover on the node that shall be the master",
        )
    return master.uuid


def _keep_connections(journal: Journal, nodes: Nodes) -> Callable[[Position, Collection[Change]], None]:
    def committed(_position: Position, changes: Collection[Change]) -> None:
        if any(_concerns_nodes(change) for change in changes):
            nodes.update(journal.cluster)

    return committed


def _concerns_nodes(change: Change) -> bool:
    return isinstance(change, Put | Remove) and change.space is Space.OBJECT and change.key.startswith("node/")


class Vote:
    """One attempt to have a majority of the voters promise a new epoch."""

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
        # Our own promise counts too.
        self._needed = majority(len(self._others) + 1) - 1

    async def win(self) -> Epoch:
        """Ask without storing anything, then promise here, then have the others promise. Raises as `take_mastership`.

        So that one who cannot win raises nobody's number.
        """
        own = self._database.promised
        asked = await self._round(Epoch(number=own.number + 1, node=self._me), ask_only=True)
        for uuid, answer in asked.items():
            self._check_log(uuid, answer.log)
        number = max(own.number, *(answer.log.promised.number for answer in asked.values()), 0) + 1
        epoch = Epoch(number=number, node=self._me)
        if not await self._runtime.pools("store").run(self._database.promise, epoch):
            raise StaleEpoch(f"this node itself has promised {self._database.promised} meanwhile")
        promised = await self._round(epoch, ask_only=False)
        granted = [answer for answer in promised.values() if answer.granted]
        if len(granted) < self._needed:
            names = ", ".join(self._name(uuid) for uuid, answer in promised.items() if not answer.granted)
            raise StaleEpoch(f"{names} promised a higher epoch to another node meanwhile")
        for uuid, answer in promised.items():
            self._check_log(uuid, answer.log)
        return epoch

    def _check_log(self, uuid: str, theirs: LogState) -> None:
        """Refuse to become master with a log that lacks what may have been acknowledged.

        What a voter has beyond us from this node's own epochs was never acknowledged, since that needs our own disk.
        """
        ours = self._database.end
        own = theirs.end.epoch.node == self._me
        if theirs.committed > ours.serial or (theirs.end > ours and not own):
            raise ConfigError(
                f"{self._name(uuid)} has newer changes (entry {theirs.end.serial}) than this node ({ours.serial})",
                code="behind",
                hint=f"start the master on {self._name(uuid)} with gnt-cluster master-failover",
            )

    async def _round(self, epoch: Epoch, *, ask_only: bool) -> Mapping[str, PromiseAnswer]:
        """Ask all others side by side; gives the answers as soon as enough have answered. Raises `NoMajority`."""
        answers: dict[str, PromiseAnswer] = {}
        problems = dict.fromkeys(self._others, "no connection")
        done: Deferred[None] = Deferred()
        timer = self._runtime.clock.callLater(self._deadline, _fire, done)
        left = set(self._others)

        async def ask(uuid: str) -> None:
            try:
                await self._nodes.when_connected(uuid)
                answer = await self._nodes.call(uuid, Promise(epoch=epoch, ask_only=ask_only), deadline=self._deadline)
            except CancelledError:
                return
            except GntError as error:
                problems[uuid] = error.text
            else:
                answers[uuid] = answer
            left.discard(uuid)
            granted = sum(1 for one in answers.values() if one.granted or ask_only)
            if granted >= self._needed or not left:
                _fire(done)

        asking = [Deferred.fromCoroutine(ask(uuid)) for uuid in self._others] if self._needed else []
        if self._needed:
            await done
        if timer.active():
            timer.cancel()
        for one in asking:
            one.addErrback(lambda failure: log.failure("asking for a promise", failure=failure))
            one.cancel()
        if len(answers) < self._needed:
            absent = ", ".join(
                f"{self._name(uuid)} ({self._nodes.problem(uuid) or problems[uuid]})"
                for uuid in self._others
                if uuid not in answers
            )
            raise NoMajority(
                f"{self._needed + 1} of {len(self._others) + 1} master candidates must agree, and these did not answer:"
                f" {absent}",
                hint="start gnt-noded there",
            )
        return answers

    def _name(self, uuid: str) -> str:
        return self._cluster.nodes[uuid].name


def _fire(done: Deferred[None]) -> None:
    if not done.called:
        done.callback(None)
