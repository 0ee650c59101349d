"""Asking node daemons from a program that is no daemon: a reactor that runs while the answers are waited for."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

from gnt.bootstrap.failover import ASK_TIME, ENOUGH_TIME, Asking, Reached
from gnt.daemon.reactor import the_reactor
from gnt.model.errors import GntError, NodeFailure, NotReached
from gnt.model.layout import Layout
from gnt.model.objects import Node
from gnt.wire.calls import NodeCall, Rights, StopMaster
from gnt.wire.envelope import Request
from gnt.wire.log_calls import AskLog
from gnt.wire.pb_client import NodeLink
from gnt.wire.tls import ClientTls, NodeCredentials

R = TypeVar("R")
T = TypeVar("T")

IN_USE = "in_use"


class TlsAsking(Asking):
    """Asks over Perspective Broker with this node's certificate. Uses the process's one reactor, once for all."""

    def __init__(self, layout: Layout, port: int, source: random.Random) -> None:
        self._reactor: Any = the_reactor()
        self._credentials = NodeCredentials(layout.node_pem, layout.authority_certificate)
        self._port = port
        self._source = source
        self._count = 0
        # The link of each node (UUID) that is or was asked last.
        self._links: dict[str, NodeLink] = {}

    def survey(self, nodes: list[Node], enough: int) -> Mapping[str, Reached]:
        """Ask candidates whether they are there, by UUID; `enough` of them are not waited beyond `ENOUGH_TIME`."""
        found: dict[str, Reached] = {}

        async def one(node: Node) -> None:
            try:
                state = await self._ask(node, AskLog(), ASK_TIME)
            except NodeFailure as failure:
                # The store of a living master is its own; that it says so is an answer.
                found[node.uuid] = Reached(problem="" if failure.code == IN_USE else failure.text)
            except GntError as error:
                found[node.uuid] = Reached(problem=error.text)
            else:
                found[node.uuid] = Reached(newest=state.end.serial)

        asking = [Deferred.fromCoroutine(one(node)) for node in nodes]
        begun = self._reactor.seconds()
        while len(found) < len(nodes):
            answered = sum(1 for reached in found.values() if not reached.problem)
            # Where nobody listens there is nobody to wait for.
            refused = all(self._links[node.uuid].problem for node in nodes if node.uuid not in found)
            if answered >= enough and (refused or self._reactor.seconds() - begun > ENOUGH_TIME):
                break
            self._reactor.iterate(0.05)
        for node, task in zip(nodes, asking, strict=True):
            task.addErrback(lambda _cancelled: None)
            task.cancel()
            found.setdefault(node.uuid, Reached(problem=self._links[node.uuid].problem or "no answer"))
        return found

    def rights(self, nodes: list[Node]) -> Mapping[str, str]:
        """Ask nodes whether they would take orders from this one: those that would not, or do not say, and why."""
        found: dict[str, str] = {}

        async def one(node: Node) -> None:
            try:
                if not await self._ask(node, Rights(), ASK_TIME):
                    found[node.uuid] = ""
            except GntError as error:
                found[node.uuid] = error.text

        async def asked() -> None:
            await DeferredList([Deferred.fromCoroutine(one(node)) for node in nodes])

        self._run(asked)
        return {node.uuid: found[node.uuid] for node in nodes if node.uuid in found}

    def hand_over(self, node: Node, seconds: float) -> bool:
        """Have the daemons of a master end on a node. Raises `GntError`."""

        async def asked() -> bool:
            return await self._ask(node, StopMaster(), seconds)

        return self._run(asked)

    async def _ask(self, node: Node, call: NodeCall[R], seconds: float) -> R:
        tls = ClientTls(self._credentials, (node.uuid,))
        link = NodeLink(
            node.name, node.uuid, node.primary_ip, self._port, tls, clock=self._reactor, source=self._source
        )
        self._links[node.uuid] = link
        link.start()
        try:
            await self._connected(link, node, seconds)
            self._count += 1
            request = Request(id=f"ask-{self._source.getrandbits(64):x}", epoch=None, deadline=seconds, call=call)
            answer = await link.call(request)
            return answer.result(call)
        finally:
            await link.stop()

    async def _connected(self, link: NodeLink, node: Node, seconds: float) -> None:
        waiting = link.when_connected()
        timer = self._reactor.callLater(seconds, waiting.cancel)
        try:
            await waiting
        except CancelledError:
            raise NotReached(f"no connection to {node.name}: {link.problem or 'no answer'}") from None
        finally:
            if timer.active():
                timer.cancel()

    def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Let the reactor run until the work is done. A reactor cannot be run again, so it is only iterated."""
        results: list[T | Failure] = []

        async def doing() -> T:
            return await work()

        Deferred.fromCoroutine(doing()).addBoth(results.append)
        while not results:
            self._reactor.iterate(0.05)
        found = results[0]
        if isinstance(found, Failure):
            found.raiseException()
        return found
