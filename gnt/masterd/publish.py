"""Telling the nodes what the configuration is: membership, ssconf files, `config.data` for the candidates.

After a commit that alters the configuration each online node gets the newest state, at most one call at a time to a
node, the latest wins. A node that was away gets it when it is back. The master's own node is one of them. A node
that is no candidate, or none any more, is told to give up the authority's key and its copy of the store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.masterd.hearing import Hearing
from gnt.masterd.journal import Journal
from gnt.masterd.nodes import Nodes
from gnt.masterd.voting import voters
from gnt.model.cluster import Cluster
from gnt.model.config_data import config_data
from gnt.model.epoch import Position
from gnt.model.errors import GntError, StaleEpoch
from gnt.model.ssconf import ssconf_files
from gnt.store.changes import Archive, Change, Space
from gnt.store.heard import NOBODY, Heard
from gnt.wire.calls import Configure, Membership
from gnt.wire.log_calls import LogDiscard

log: Final = Logger()

# `config.data` holds the whole cluster; under load it is written once in so many seconds, not for each change.
PAUSE: Final = 1.0
RETRY_FIRST: Final = 1.0
RETRY_LAST: Final = 30.0
UNDER_WAY: Final = "under way"


class View(msgspec.Struct, frozen=True):
    """What nodes are told of one state of the cluster; `config_data` is for candidates."""

    position: Position
    cluster: Cluster
    files: dict[str, str]
    config_data: str
    candidates: dict[str, str]
    renewed: dict[str, str] = {}


def make_view(cluster: Cluster, position: Position, release: str) -> View:
    """Work out what to tell. Pure, and in proportion to the cluster: call it from a pool."""
    certificates, renewed = cluster.settings.candidate_certs, cluster.settings.renewed_certs
    return View(
        position=position,
        cluster=cluster,
        files=ssconf_files(cluster, release),
        config_data=msgspec.json.encode(config_data(cluster)).decode(),
        candidates=_of_voters(cluster, certificates),
        renewed=_of_voters(cluster, renewed),
    )


def _of_voters(cluster: Cluster, certificates: Mapping[str, str]) -> dict[str, str]:
    return {uuid: certificates[uuid] for uuid in sorted(voters(cluster)) if uuid in certificates}


def configure(view: View, uuid: str) -> Configure:
    """Give the call that tells one node."""
    cluster, node = view.cluster, view.cluster.nodes[uuid]
    membership = Membership(
        cluster_name=cluster.settings.cluster_name,
        cluster_uuid=cluster.settings.uuid,
        node_uuid=uuid,
        node_name=node.name,
        position=view.position,
        candidates=view.candidates,
        renewed=view.renewed,
    )
    data = view.config_data if uuid in voters(cluster) else None
    return Configure(membership=membership, files=view.files, config_data=data)


class _Reader:
    """One node, and what it was told last."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.told: Configure | None = None
        self.serial = -1
        self.task: Deferred[None] | None = None
        self.again: Deferred[None] | None = None
        self.problem = ""
        # Whether it has given up, in this term, what only candidates have.
        self.cleared = False


class Publisher:
    """Keeps all online nodes told. `start` tells everybody once; `stop` ends it."""

    def __init__(self, runtime: Runtime, journal: Journal, nodes: Nodes, release: str) -> None:
        self._runtime = runtime
        self._journal = journal
        self._nodes = nodes
        self._release = release
        self._readers: dict[str, _Reader] = {}
        self._hearing = Hearing(runtime, journal)
        # Whoever was no candidate from here on has a log that ends before it; one who learns to be one passes it.
        self._no_voter_since: dict[str, Position] = {}
        self._wanted = 0
        self._view: View | None = None
        self._making: list[Deferred[View]] | None = None
        self._settled: list[tuple[int, Deferred[None]]] = []
        self._stopped = False

    def start(self, heard: Heard = NOBODY) -> None:
        """Begin; `heard`: which nodes have heard of which candidates, as the log says."""
        self._journal.on_commit(self._committed)
        self._wanted = self._journal.position.serial
        self._hearing.begin(heard)
        self._note_voters()
        self._wake()

    def stop(self) -> None:
        """End; calls on their way are not waited for."""
        self._stopped = True
        self._hearing.stop()
        for reader in list(self._readers.values()):
            if reader.task is not None:
                reader.task.cancel()
        self._readers = {}
        self._settle()

    def forget(self) -> None:
        """Forget what the nodes were told: all of them are told again."""
        for reader in self._readers.values():
            reader.told, reader.serial = None, -1
        self._wake()

    def behind(self) -> dict[str, str]:
        """Give the nodes (UUID) that have not been told the newest, with the reason."""
        return {
            uuid: reader.problem or UNDER_WAY for uuid, reader in self._readers.items() if not self._is_told(reader)
        }

    async def flush(self) -> None:
        """Wait until every online node that can be reached has what is true now."""
        done: Deferred[None] = Deferred()
        self._settled.append((self._wanted, done))
        self._settle()
        await done

    def _is_told(self, reader: _Reader) -> bool:
        return reader.serial >= self._wanted and not self._must_clear(reader)

    def _committed(self, position: Position, changes: Collection[Change]) -> None:
        if any(not isinstance(change, Archive) and change.space is Space.OBJECT for change in changes):
            self._wanted = position.serial
            if any(map(_concerns_candidates, changes)):
                self._hearing.revise(self._heard())
            self._note_voters()
            self._wake()

    def _wake(self) -> None:
        """Have a task for each online node; wake those that wait."""
        online = {uuid for uuid, node in self._journal.cluster.nodes.items() if not node.offline}
        for uuid in sorted(set(self._readers) - online):
            task = self._readers.pop(uuid).task
            if task is not None:
                task.cancel()
        for uuid in sorted(online):
            reader = self._readers.get(uuid)
            if reader is None:
                reader = self._readers[uuid] = _Reader(uuid)
                reader.task = Deferred.fromCoroutine(self._serve(uuid, reader))
                reader.task.addErrback(lambda failure: log.failure("configuring a node", failure=failure))
            elif reader.again is not None:
                again, reader.again = reader.again, None
                again.callback(None)
        self._settle()

    async def _serve(self, uuid: str, reader: _Reader) -> None:
        pause = RETRY_FIRST
        try:
            while not self._stopped:
                if self._is_told(reader):
                    reader.again = Deferred()
                    await reader.again
                    continue
                try:
                    await self._nodes.when_connected(uuid)
                    await self._tell(uuid, reader)
                except StaleEpoch:
                    return
                except GntError as error:
                    self._failed(uuid, reader, error)
                    await self._runtime.sleep(pause)
                    pause = min(pause * 2, RETRY_LAST)
                else:
                    pause = RETRY_FIRST
                    await self._runtime.sleep(PAUSE)
        except CancelledError:
            return

    async def _tell(self, uuid: str, reader: _Reader) -> None:
        view = await self._newest()
        if uuid not in view.cluster.nodes:
            return
        call = configure(view, uuid)
        if reader.told is None or _differs(reader.told, call):
            # Until it has answered nobody knows which of the two it has.
            reader.told = None
            await self._nodes.call(uuid, call)
        reader.told, reader.serial, reader.problem = call, view.position.serial, ""
        self._hearing.revise(self._heard())
        if self._must_clear(reader):
            await self._clear(reader)
        self._settle()

    def _heard(self) -> set[str]:
        """Give the nodes that have acknowledged every candidate's digest of now."""
        cluster = self._journal.cluster
        candidates = _of_voters(cluster, cluster.settings.candidate_certs)
        renewed = _of_voters(cluster, cluster.settings.renewed_certs)
        return {
            uuid
            for uuid, reader in self._readers.items()
            if reader.told is not None
            and (reader.told.membership.candidates, reader.told.membership.renewed) == (candidates, renewed)
        }

    async def _newest(self) -> View:
        """Give the view of what is true now; several who ask share the work."""
        if self._view is not None and self._view.position.serial >= self._wanted:
            return self._view
        waiting: Deferred[View] = Deferred()
        if self._making is not None:
            self._making.append(waiting)
            return await waiting
        self._making = [waiting]
        making = self._runtime.pools("publish").run(
            make_view, self._journal.cluster, self._journal.position, self._release
        )
        making.addBoth(self._made)
        return await waiting

    def _made(self, result: object) -> None:
        waiting, self._making = self._making or [], None
        for one in waiting:
            if isinstance(result, View):
                self._view = result
                one.callback(result)
            else:
                one.errback(result)  # type: ignore[arg-type]  # a Failure

    def _failed(self, uuid: str, reader: _Reader, error: GntError) -> None:
        if reader.problem != error.text:
            log.warn("configuring {node}: {error}", node=uuid, error=error.text)
        reader.problem = error.text
        self._settle()

    def _settle(self) -> None:
        still = []
        for wanted, done in self._settled:
            if all(reader.serial >= wanted or reader.problem for reader in self._readers.values()):
                done.callback(None)
            else:
                still.append((wanted, done))
        self._settled = still

    # Giving up what only candidates have

    def _note_voters(self) -> None:
        """Note since when each node is no candidate; one that has ceased to be one is to be told."""
        now, position = voters(self._journal.cluster), self._journal.position
        for uuid in now & set(self._no_voter_since):
            del self._no_voter_since[uuid]
        for uuid in set(self._journal.cluster.nodes) - now - set(self._no_voter_since):
            self._no_voter_since[uuid] = position
            if uuid in self._readers:
                self._readers[uuid].cleared = False

    def forsake(self, uuid: str) -> None:
        """Have a node give up what it got in order to become a candidate, for it has not become one."""
        if uuid in self._no_voter_since:
            # Its log may end with the newest entry; one that learns anew gets at least that of its own job after it.
            end = self._journal.end
            self._no_voter_since[uuid] = msgspec.structs.replace(end, serial=end.serial + 1)
            if uuid in self._readers:
                self._readers[uuid].cleared = False
            self._wake()

    def _must_clear(self, reader: _Reader) -> bool:
        """Say whether a node has yet to give something up; not while it learns to be a candidate."""
        uuid = reader.uuid
        return not reader.cleared and uuid in self._no_voter_since and not self._journal.is_learning(uuid)

    async def _clear(self, reader: _Reader) -> None:
        uuid = reader.uuid
        before = self._no_voter_since[uuid]
        await self._nodes.call(uuid, LogDiscard(before=before))
        reader.cleared = before == self._no_voter_since.get(uuid)


def _concerns_candidates(change: Change) -> bool:
    """Say whether a change may be one of who is a candidate, with which certificate, or of who has to know."""
    of_whom = ("node/", "cluster/")
    return not isinstance(change, Archive) and change.space is Space.OBJECT and change.key.startswith(of_whom)


def _differs(old: Configure, new: Configure) -> bool:
    """Say whether a node must be told; that the log has moved on is no news."""
    same = msgspec.structs.replace(new.membership, position=old.membership.position)
    return (old.files, old.config_data, old.membership) != (new.files, new.config_data, same)
