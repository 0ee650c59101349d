"""Becoming master: is it us by the log, does a majority promise, then the first commit in our own epoch and the fences.

What starts this is an administrator who starts the daemon, or who has a candidate take over (`Takeover`); a lease or an
election would call `take_mastership` too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.daemon.takeover import Takeover
from gnt.masterd.journal import DEADLINE, Journal
from gnt.masterd.local_log import LocalLog
from gnt.masterd.master_address import STOP_TIME, deactivation, has_own_address
from gnt.masterd.nodes import Connect, Nodes
from gnt.masterd.pulling import pull
from gnt.masterd.unsafe import strike_off
from gnt.masterd.vote import NOT_MASTER, Vote
from gnt.masterd.voting import voters
from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch, Position
from gnt.model.errors import WRONG_STATE, ConfigError, Failed, GntError, Refused
from gnt.store.changes import Change, Put, Remove, Space
from gnt.store.database import Database
from gnt.store.heard import HEARD, decode_heard, unheard, why_not
from gnt.store.vault import IN_USE, Vault
from gnt.wire.calls import Rights

log: Final = Logger()

OWNER: Final = "gnt-masterd"
HOLD_TRIES: Final = 20
HOLD_PAUSE: Final = 0.1
RIGHTS_TIME: Final = 5.0
"""Seconds that nodes have to say whether they know this node as a candidate, where the log does not say it."""

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
    takeover: Takeover | None = None,
) -> Term:
    """Become master on the node named `host`. A majority has `deadline` seconds to be reached and to promise.

    Raises `Failed` (`not_master`) if the log names another node or a newer master is met, `Refused` if a node that
    shall take over is no candidate, or none that every node has heard of, `NoMajority` if too few voters promise,
    `StaleEpoch` if they have promised more to another meanwhile, `ConfigError` if the store cannot be used or a voter
    has a log that cannot be had.
    """
    await _hold(runtime, vault)
    order = takeover or Takeover(here=False)
    beginning = _Beginning(runtime, vault, connect, host=host, order=order, deadline=deadline)
    try:
        term = await beginning.begin(open_calls)
    except BaseException as error:
        if isinstance(error, GntError) and error.code == NOT_MASTER:
            await beginning.give_up_address()
        await beginning.undo()
        raise
    log.info("master in epoch {epoch}", epoch=str(term.epoch))
    return term


class _Beginning:
    """The beginning of a term, with what must be let go if it comes to nothing."""

    def __init__(
        self, runtime: Runtime, vault: Vault, connect: Connect, *, host: str, order: Takeover, deadline: float
    ) -> None:
        self._runtime = runtime
        self._pool = runtime.pools("store")
        self._vault = vault
        self._connect = connect
        self._host = host
        self._order = order
        self._deadline = deadline
        self._nodes: Nodes | None = None
        self._database: Database | None = None
        self._cluster: Cluster | None = None

    async def begin(self, open_calls: OpenCalls | None) -> Term:
        """Win the vote, and commit what makes this node the master."""
        runtime = self._runtime
        self._database = database = await self._pool.run(self._vault.open)
        self._cluster = cluster = await self._pool.run(database.load_cluster)
        me = _own_uuid(cluster, self._host, self._order)
        self._nodes = nodes = Nodes(runtime, self._connect)
        nodes.update(cluster)
        epoch, cluster, missing = await self._win(nodes, database, cluster, me)
        if me != cluster.settings.master_node and not self._order.unheard:
            await self._refuse_unheard(nodes, database, cluster, me, missing)
        wanted = await self._pool.run(open_calls, database) if open_calls is not None else None
        nodes.begin_term(epoch, wanted)
        local = LocalLog(runtime, self._vault, database, epoch)
        journal = Journal(runtime, local, nodes, epoch=epoch, cluster=cluster, deadline=self._deadline)
        nodes.on_deposed(journal.deposed)
        nodes.on_met(journal.met)
        journal.on_commit(_keep_connections(journal, nodes))
        # Everything that an older epoch left in the log is on a majority with this.
        try:
            await self._first_commit(journal, me, missing)
        except GntError:
            await journal.stop()
            raise
        return Term(epoch, journal, nodes, self._vault, database, runtime)

    async def give_up_address(self) -> None:
        """Have the own node take the cluster's address down, which it may have from an earlier term: it is another's.

        Where the log names another master its word to this node, the fence, has done so.
        """
        cluster, nodes, database = self._cluster, self._nodes, self._database
        if cluster is None or nodes is None or database is None or not has_own_address(cluster):
            return
        own = cluster.nodes.by_name(self._host)
        nodes.epoch = database.promised
        try:
            await nodes.call(own.uuid if own is not None else "", deactivation(cluster), deadline=STOP_TIME)
        except GntError as error:
            log.warn("the cluster's address may be up here: {error}", error=error.text)

    async def undo(self) -> None:
        """Let everything go."""
        if self._nodes is not None:
            await self._nodes.stop()
        if self._database is not None:
            await self._pool.run(self._database.close)
        self._vault.release()

    async def _win(
        self, nodes: Nodes, database: Database, cluster: Cluster, me: str
    ) -> tuple[Epoch, Cluster, frozenset[str]]:
        """Vote, and when taking over have the newest log; gives the epoch, the cluster, and who did not answer.

        A log that came from another voter may name other voters: then those are asked, with a new number.
        """
        order = self._order
        while True:
            vote = Vote(self._runtime, nodes, database, cluster, me=me, deadline=self._deadline)
            won = await vote.win(take_over=order.here, no_voting=order.no_voting)
            if won.newest is None:
                return won.epoch, cluster, won.missing
            log.info("{node} has newer changes: reading them", node=cluster.nodes[won.newest].name)
            await pull(nodes, self._runtime, self._vault, database, source=cluster.nodes[won.newest])
            asked = voters(cluster)
            cluster = await self._pool.run(database.load_cluster)
            nodes.update(cluster)
            _own_uuid(cluster, self._host, order)
            if voters(cluster) == asked:
                return won.epoch, cluster, won.missing

    async def _refuse_unheard(
        self, nodes: Nodes, database: Database, cluster: Cluster, me: str, missing: frozenset[str]
    ) -> None:
        """Refuse to take over where a node would not obey: by the log, and by the word of those that it does not name.

        Asked of the newest log, so that what any candidate knows counts. Those that are struck off need not have heard.
        """
        heard = decode_heard(await self._pool.run(database.get, Space.META, HEARD))
        left = [uuid for uuid in unheard(heard, cluster, me) if uuid not in missing]
        answers = await nodes.ask_all({uuid: Rights() for uuid in left}, deadline=RIGHTS_TIME)
        deaf = {
            uuid: answer.text if isinstance(answer, GntError) else ""
            for uuid, answer in answers.items()
            if answer is not True
        }
        if deaf:
            raise why_not(cluster, me, deaf)

    async def _first_commit(self, journal: Journal, me: str, missing: frozenset[str]) -> None:
        settings, nodes = journal.head.settings, journal.head.nodes
        moved = replace(settings, master_node=me)
        if settings.master_ip == nodes[settings.master_node].primary_ip:
            # The cluster has no address of its own: it is reached at the master's.
            moved = replace(moved, master_ip=nodes[me].primary_ip)
        # A queue that was closed for the old master's sake is open again under a new one.
        opened = [Put(Space.META, "drained", b"false")] if moved != settings else []
        if missing:
            await strike_off(
                journal,
                missing,
                by="gnt-cluster master-failover --no-voting" if moved != settings else "gnt-masterd --no-voting",
                epoch=str(journal.epoch),
                now=self._runtime.now(),
                settings=moved,
                also=opened,
            )
        elif moved != settings:
            await journal.enqueue([*journal.object_changes(put=[moved]), *opened])
        else:
            await journal.enqueue([])


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


def _own_uuid(cluster: Cluster, host: str, order: Takeover) -> str:
    """Give this node's UUID, if it may be master: by the log, or as a candidate that takes over."""
    master = cluster.nodes.get(cluster.settings.master_node)
    if master is None:
        raise ConfigError("the configuration names a master that is none of its nodes", code="damaged")
    if master.name == host:
        return master.uuid
    if not order.here:
        raise Failed(
            f"{host} is not the master, {master.name} is",
            code=NOT_MASTER,
            hint="to change that, run gnt-cluster master-failover on the node that shall be the master",
        )
    candidates = voters(cluster)
    names = sorted(cluster.nodes[uuid].name for uuid in candidates)
    own = cluster.nodes.by_name(host)
    if own is None or own.uuid not in candidates:
        raise Refused(
            WRONG_STATE,
            f"{host} is no master candidate and has no copy of all changes",
            hint=f"run this on one of {' '.join(name for name in names if name != master.name) or 'them'}",
        )
    return own.uuid


def _keep_connections(journal: Journal, nodes: Nodes) -> Callable[[Position, Collection[Change]], None]:
    def committed(_position: Position, changes: Collection[Change]) -> None:
        if any(_concerns_nodes(change) for change in changes):
            nodes.update(journal.cluster)

    return committed


def _concerns_nodes(change: Change) -> bool:
    return isinstance(change, Put | Remove) and change.space is Space.OBJECT and change.key.startswith("node/")
