"""The master's connections to all nodes, and how calls go over them.

A changing call goes only to a node that has been fenced in this epoch: whatever an older master began there has ended
by then. A node that was away is fenced when it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.daemon.runtime import Runtime
from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch
from gnt.model.errors import GntError, InDoubt, NodeFailure, NotFenced, NotReached, StaleEpoch, StruckOff
from gnt.model.objects import Node
from gnt.wire.calls import NodeCall, Rights, Version
from gnt.wire.contract import Link, NodeEvent, StopListening
from gnt.wire.envelope import NOT_ALLOWED, Request
from gnt.wire.log_calls import AskLog, AskStanding, Fence, LogAppend, LogSnapshot, Outcome, Promise

log: Final = Logger()

R = TypeVar("R")

CONNECT: Final = 5.0
RETRY_FENCE: Final = 5.0
# These carry out the change of masters, or are safe beside anything: an append is refused by its epoch alone.
BEFORE_FENCE: Final = (Fence, Promise, LogAppend, LogSnapshot)
TO_OFFLINE: Final = (Version, Rights)

Connect = Callable[[Node], Link]


@dataclass(eq=False)
class _Line:
    """A link, how many calls are under way on it, and whether it is to be closed when there are none."""

    link: Link
    deaf: StopListening
    under_way: int = 0
    retired: bool = False


@dataclass
class _Peer:
    """One node: its link, and whether it was fenced in this epoch."""

    node: Node
    line: _Line
    fenced: bool = False
    fencing: bool = False
    waiting: list[Deferred[None]] = field(default_factory=list)

    @property
    def link(self) -> Link:
        """Give the link that calls go over now."""
        return self.line.link


class Nodes:
    """Connections to all nodes of the cluster, the master's own among them, kept as the model has them.

    `outcomes` has what fences told of calls of older epochs: node UUID → call id → outcome.
    """

    def __init__(self, runtime: Runtime, connect: Connect) -> None:
        self.epoch: Epoch | None = None
        self.outcomes: dict[str, dict[str, Outcome]] = {}
        self._runtime = runtime
        self._connect = connect
        self._peers: dict[str, _Peer] = {}
        self._retired: list[_Line] = []
        self._count = 0
        self._prefix = ""
        self._open_calls: Callable[[str], Collection[str]] = lambda _node: ()
        self._event_listeners: list[Callable[[str, NodeEvent], None]] = []
        self._change_listeners: list[Callable[[str], None]] = []
        self._met_listeners: list[Callable[[str], None]] = []
        self._deposed_listeners: list[Callable[[StaleEpoch], None]] = []
        self._stopped = False

    # Connections

    def update(self, cluster: Cluster) -> None:
        """Connect to nodes that are new or have moved, let go of those that are gone."""
        for uuid in sorted(set(self._peers) - set(cluster.nodes)):
            self._let_go(self._peers.pop(uuid))
        for uuid, node in cluster.nodes.items():
            peer = self._peers.get(uuid)
            if peer is not None and _same_place(peer.node, node):
                returns, peer.node = peer.node.offline and not node.offline, node
                if returns and not peer.fenced:
                    self._watch(peer)
                continue
            moved, peer = peer, _Peer(node, self._line(node))
            self._peers[uuid] = peer
            # After it has a successor: who waited for the old link may ask for the new one at once.
            if moved is not None:
                self._let_go(moved)
            self._watch(peer)

    async def renew_links(self, seconds: float) -> dict[str, str]:
        """Connect anew to every node that is connected, with the certificate of now; gives who failed (UUID) and why.

        Calls under way end on the connection that they began on; it is closed after them. `seconds` are for each
        node. Where the new connection does not come about the old one stays.
        """
        peers = [peer for peer in self._peers.values() if peer.link.connected]
        ends = await DeferredList([Deferred.fromCoroutine(self._renew_link(peer, seconds)) for peer in peers])
        return {peer.node.uuid: str(why) for peer, (_, why) in zip(peers, ends, strict=True) if why}

    async def _renew_link(self, peer: _Peer, seconds: float) -> str:
        fresh = self._line(peer.node)
        if not await self._within(seconds, fresh.link.when_connected()):
            why = fresh.link.problem or "no answer"
            self._retire(fresh)
            return why
        if self._peers.get(peer.node.uuid) is not peer:
            self._retire(fresh)
            return ""
        old, peer.line = peer.line, fresh
        self._retire(old)
        return ""

    def _line(self, node: Node) -> _Line:
        link = self._connect(node)
        line = _Line(link, link.listen(partial(self._told, node.uuid)))
        link.on_connected(partial(self._met, node.uuid))
        link.start()
        return line

    def _retire(self, line: _Line) -> None:
        """Close a link when the last call on it has ended."""
        if not line.retired:
            line.retired = True
            line.deaf()
            self._retired.append(line)
        if not line.under_way and line in self._retired:
            self._retired.remove(line)
            self._close(line.link)

    def stop(self) -> Deferred[Any]:
        """Close all connections."""
        self._stopped = True
        links = [peer.link for peer in self._peers.values()] + [line.link for line in self._retired]
        closing = [link.stop() for link in links]
        self._peers, self._retired = {}, []
        return DeferredList(closing, consumeErrors=True)

    def when_connected(self, node: str) -> Deferred[None]:
        """Fire when calls can be sent to the node; fails with `NotReached` when it is given up."""
        peer = self._peers.get(node)
        if peer is None:
            return fail(NotReached(f"{node} is not a node of this cluster"))
        return peer.link.when_connected()

    def is_connected(self, node: str) -> bool:
        """Say whether calls can be sent to a node at this moment."""
        peer = self._peers.get(node)
        return peer is not None and peer.link.connected

    def problem(self, node: str) -> str:
        """Say why there is no connection to a node; empty while there is one."""
        peer = self._peers.get(node)
        return "not a node of this cluster" if peer is None else peer.link.problem

    def on_event(self, listener: Callable[[str, NodeEvent], None]) -> None:
        """Hear of events that nodes send: `listener(node uuid, event)`."""
        self._event_listeners.append(listener)

    def on_changed(self, listener: Callable[[str], None]) -> None:
        """Hear of each node (UUID) on which a call that changes something has ended, however it ended."""
        self._change_listeners.append(listener)

    def on_met(self, listener: Callable[[str], None]) -> None:
        """Hear of each node (UUID) to which there is a connection, again or for the first time."""
        self._met_listeners.append(listener)

    def on_deposed(self, listener: Callable[[StaleEpoch], None]) -> None:
        """Hear that a node follows a newer master."""
        self._deposed_listeners.append(listener)

    # Calls

    async def call(
        self,
        node: str,
        call: NodeCall[R],
        *,
        id: str | None = None,  # noqa: A002
        deadline: float | None = None,
    ) -> R:
        """Make a call and give its result. `id`: stable where the call may be sent again; `deadline` in seconds.

        Raises `NotReached` (it never began; `NotFenced` if the node is there), `InDoubt` (nobody knows;
        `CallOutcome` with its id asks the node), `NodeFailure`, or `StaleEpoch`.
        """
        peer = self._peer(node)
        if peer.node.offline and not isinstance(call, TO_OFFLINE):
            raise NotReached("Node is marked offline")
        seconds = call.deadline if deadline is None else deadline
        if not peer.link.connected and not peer.link.problem:
            await self._first_connection(peer, min(CONNECT, seconds))
        if call.CHANGES and not isinstance(call, BEFORE_FENCE):
            await self._fenced_first(peer)
        request = Request(id=id or self._fresh_id(), epoch=self.epoch, deadline=seconds, call=call)
        line = peer.line
        line.under_way += 1
        try:
            answer = await line.link.call(request)
        except StaleEpoch as error:
            self._deposed(error)
            raise
        finally:
            line.under_way -= 1
            if line.retired:
                self._retire(line)
            if call.CHANGES and not isinstance(call, BEFORE_FENCE):
                for listener in self._change_listeners:
                    listener(node)
        return answer.result(call)

    async def ask_all(
        self, calls: Mapping[str, NodeCall[R]], *, deadline: float | None = None
    ) -> dict[str, R | GntError]:
        """Make a call to each node side by side, with one deadline (seconds); errors are values."""
        asked = [Deferred.fromCoroutine(self.call(node, call, deadline=deadline)) for node, call in calls.items()]
        found: dict[str, R | GntError] = {}
        for node, (good, value) in zip(calls, await DeferredList(asked, consumeErrors=True), strict=True):
            if isinstance(value, Failure):
                if not isinstance(value.value, GntError):
                    value.raiseException()
                found[node] = value.value
            elif good:
                found[node] = value
        return found

    # Fences

    async def _fenced_first(self, peer: _Peer) -> None:
        """Wait for the fence before a call: whatever is wrong with it, the call never began. Raises `NotFenced`."""
        try:
            await self._fenced(peer)
        except (NodeFailure, InDoubt) as error:
            raise NotFenced(f"{peer.node.name} is not fenced yet: {error.text}") from error

    def begin_term(self, epoch: Epoch, open_calls: Callable[[str], Collection[str]] | None = None) -> None:
        """Speak for this epoch from now on, and fence every node, those that are away when they come.

        `open_calls` gives the ids of calls of former masters whose outcome is wanted from a node.
        """
        self.epoch = epoch
        self._prefix = f"{epoch.number}/"
        self._open_calls = open_calls or self._open_calls
        for peer in list(self._peers.values()):
            peer.fenced = False
            self._watch(peer)

    def is_fenced(self, node: str) -> bool:
        """Say whether everything older has ended on a node."""
        peer = self._peers.get(node)
        return peer is not None and peer.fenced

    async def fence(self, node: str) -> None:
        """Have a node fenced now. Raises as `call` does."""
        await self._fenced(self._peer(node))

    async def _fenced(self, peer: _Peer) -> None:
        """Wait for the fence of a node; several who wait share one."""
        if peer.fenced:
            return
        if self.epoch is None:
            raise AssertionError("a changing call before this node is master")
        waiting: Deferred[None] = Deferred(lambda this: peer.waiting.remove(this))  # noqa: PLW0108  (another list by then)
        peer.waiting.append(waiting)
        if not peer.fencing:
            peer.fencing = True
            Deferred.fromCoroutine(self._do_fence(peer, self.epoch)).addBoth(self._fence_ended, peer)
        await waiting

    async def _do_fence(self, peer: _Peer, epoch: Epoch) -> None:
        wanted = sorted(self._open_calls(peer.node.uuid))
        outcomes = await self.call(peer.node.uuid, Fence(epoch=epoch, calls=wanted))
        if self.epoch == epoch:
            peer.fenced = True
            self.outcomes.setdefault(peer.node.uuid, {}).update({outcome.id: outcome for outcome in outcomes})

    def _fence_ended(self, result: Failure | None, peer: _Peer) -> None:
        peer.fencing = False
        waiting, peer.waiting = peer.waiting, []
        for one in waiting:
            if isinstance(result, Failure):
                one.errback(result)
            else:
                one.callback(None)

    def _watch(self, peer: _Peer) -> None:
        """Fence a node as soon as it can be reached, without being asked."""
        if self.epoch is not None:
            watching = Deferred.fromCoroutine(self._fence_when_connected(peer, self.epoch))
            watching.addErrback(lambda failure: log.failure("fencing {node}", failure=failure, node=peer.node.name))

    async def _fence_when_connected(self, peer: _Peer, epoch: Epoch) -> None:
        # One that is flagged offline is left alone; `update` begins anew when it is flagged online.
        while self._is_current(peer, epoch) and not peer.fenced and not peer.node.offline:
            try:
                await peer.link.when_connected()
                if self._is_current(peer, epoch) and not peer.node.offline:
                    await self._fenced(peer)
                    return
                continue
            except StaleEpoch:
                return
            except GntError as error:
                if not self._is_current(peer, epoch):
                    return
                log.warn("fencing {node}: {error}", node=peer.node.name, error=error.text)
                if error.code == NOT_ALLOWED:
                    await self._ask_by_whose_word(peer, epoch)
            await self._runtime.sleep(RETRY_FENCE)

    async def _ask_by_whose_word(self, peer: _Peer, epoch: Epoch) -> None:
        """Ask a node that takes no orders from this master who told it so; a master of a higher epoch deposes this one.

        It went on without a majority and has struck this node off, so it never says a word to it.
        """
        try:
            standing = await self.call(peer.node.uuid, AskStanding())
        except GntError as error:
            log.info("{node} does not say why: {error}", node=peer.node.name, error=error.text)
            return
        if not standing.may_order and standing.position.epoch.number > epoch.number:
            self._deposed(StruckOff(f"{peer.node.name} follows another master, in epoch {standing.position.epoch}"))

    def _met(self, uuid: str) -> None:
        """Ask a node that comes back after its fence whether it still follows this master, and tell who listens.

        It may have met a newer one meanwhile; a master that has nothing to say would never hear of that.
        """
        for listener in list(self._met_listeners):
            listener(uuid)
        peer = self._peers.get(uuid)
        if self.epoch is not None and peer is not None and peer.fenced and not peer.node.offline:
            asking = Deferred.fromCoroutine(self._ask_whom_it_follows(peer))
            asking.addErrback(lambda failure: log.failure("asking {node}", failure=failure, node=peer.node.name))

    async def _ask_whom_it_follows(self, peer: _Peer) -> None:
        try:
            await self.call(peer.node.uuid, AskLog())
        except StaleEpoch:
            return  # who listens has been told
        except (NotReached, InDoubt, NodeFailure) as error:
            # That it has no log to tell of is an answer too: only its epoch matters here.
            log.debug("asking {node} whom it follows: {error}", node=peer.node.name, error=error.text)

    def _is_current(self, peer: _Peer, epoch: Epoch) -> bool:
        return not self._stopped and self.epoch == epoch and self._peers.get(peer.node.uuid) is peer

    # Inside

    def _peer(self, node: str) -> _Peer:
        peer = self._peers.get(node)
        if peer is None:
            raise NotReached(f"{node} is not a node of this cluster")
        return peer

    async def _first_connection(self, peer: _Peer, seconds: float) -> None:
        """Give a link that was only just started a moment; what comes of it, the call will see."""
        await self._within(seconds, peer.link.when_connected())

    async def _within(self, seconds: float, connecting: Deferred[None]) -> bool:
        """Wait for a connection so long; says whether it has come about."""
        waiting: Deferred[bool] = Deferred()
        timer = self._runtime.clock.callLater(seconds, waiting.callback, False)

        def connected(result: object) -> None:
            if timer.active():
                timer.cancel()
                waiting.callback(not isinstance(result, Failure))

        connecting.addBoth(connected)
        return await waiting

    def _fresh_id(self) -> str:
        if not self._prefix:
            return self._runtime.uuid()
        self._count += 1
        return f"{self._prefix}-/{self._count}"

    def _told(self, uuid: str, event: NodeEvent) -> None:
        for listener in list(self._event_listeners):
            listener(uuid, event)

    def _deposed(self, error: StaleEpoch) -> None:
        if self.epoch is not None:
            for listener in list(self._deposed_listeners):
                listener(error)

    def _let_go(self, peer: _Peer) -> None:
        self._close(peer.link)

    def _close(self, link: Link) -> None:
        stopping = link.stop()
        stopping.addErrback(lambda failure: log.failure("closing the link to {node}", failure=failure, node=link.name))


def _same_place(one: Node, other: Node) -> bool:
    return (one.name, one.primary_ip) == (other.name, other.primary_ip)
