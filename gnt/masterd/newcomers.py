"""Nodes on their way in: the first call to one that is not in the model yet, and what makes one a voter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from gnt.daemon.runtime import Runtime
from gnt.masterd.nodes import Connect, Nodes
from gnt.model.errors import ENVIRONMENT, GntError, NotReached, Refused
from gnt.model.layout import Layout
from gnt.model.objects import Node
from gnt.wire.calls import InstallAuthority, NodeCall
from gnt.wire.certificate_calls import RapiInstall
from gnt.wire.contract import Link
from gnt.wire.envelope import Request

R = TypeVar("R")

MEET_TIME: Final = 15.0
"""Seconds that a newcomer has to greet."""
REACH_TIME: Final = 30.0
"""Seconds for the link to a node that was away: longer than the longest pause between its tries."""


class Listener(Protocol):
    """Hears of the calls of the engine: `gnt.masterd.master_address.MasterAddress`."""

    def begins(self, call: NodeCall[Any]) -> None:
        """Hear that a call is about to be made."""

    def ended(self, call: NodeCall[Any], error: GntError | None) -> None:
        """Hear how it has ended."""


class NodeCalls:
    """The calls of the engine: to nodes of the model over their links, to newcomers over one of their own."""

    def __init__(self, runtime: Runtime, nodes: Nodes, connect: Connect, listener: Listener | None = None) -> None:
        self._runtime = runtime
        self._nodes = nodes
        self._connect = connect
        self._listener = listener

    async def call(self, node: str, call: NodeCall[R], *, id: str | None = None) -> R:  # noqa: A002
        """Make a call to a node of the model (its UUID); see `Nodes.call`."""
        if self._listener is None or not call.CHANGES:
            return await self._nodes.call(node, call, id=id)
        self._listener.begins(call)
        try:
            answer = await self._nodes.call(node, call, id=id)
        except GntError as error:
            self._listener.ended(call, error)
            raise
        self._listener.ended(call, None)
        return answer

    async def meet(self, name: str, address: str, call: NodeCall[R]) -> R:
        """Make a reading call to a node that is not in the model; its certificate must bear the name.

        Raises `NotReached` if it does not greet in time.
        """
        link = self._connect(Node(uuid="", name=name, primary_ip=address, group=""))
        link.start()
        try:
            await self._greeted(link, name)
            request = Request(id=self._runtime.uuid(), epoch=self._nodes.epoch, deadline=call.deadline, call=call)
            answer = await link.call(request)
            return answer.result(call)
        finally:
            await link.stop()

    async def reach(self, node: str) -> None:
        """Wait for the link to a node of the model (its UUID) that answers: after an absence the next try is due later.

        Raises `NotReached` when that takes too long.
        """
        if not await self._within(REACH_TIME, self._nodes.when_connected(node)):
            raise NotReached(f"no connection to {node}: {self._nodes.problem(node) or 'no answer'}")

    async def _greeted(self, link: Link, name: str) -> None:
        if not await self._within(MEET_TIME, link.when_connected()):
            raise NotReached(f"no connection to {name}: {link.problem or 'no answer'}")

    async def _within(self, seconds: float, waiting: Deferred[None]) -> bool:
        """Wait so long; says whether it has come to pass."""
        timer = self._runtime.clock.callLater(seconds, waiting.cancel)
        try:
            await waiting
        except CancelledError:
            return False
        finally:
            if timer.active():
                timer.cancel()
        return True


class Voters(Protocol):
    """What promotion needs of the journal."""

    async def add_voter(self, node: str) -> None:
        """Bring a node's log up to date."""

    def drop_voter(self, node: str) -> None:
        """Leave a node alone that was brought up to date and is no voter."""


def _nothing(_node: str) -> None:
    """Do nothing."""


class Promotion:
    """Makes a node ready to vote: it gets a copy of the log that it follows, the authority's key, the remote API's.

    In this order: a node whose log has come so far heeds no older call to give up what only candidates have.
    `forsake` takes both back from one (its UUID) that has not become a candidate.
    """

    def __init__(
        self,
        runtime: Runtime,
        layout: Layout,
        calls: NodeCalls,
        voters: Voters,
        forsake: Callable[[str], None] = _nothing,
    ) -> None:
        self._runtime = runtime
        self._layout = layout
        self._calls = calls
        self._voters = voters
        self._forsake = forsake

    async def prepare(self, node: str) -> None:
        """Bring a node (its UUID) so far that it may become a candidate with the next commit."""
        certificate, key = await self._runtime.pools("files").run(self._read_authority)
        # A node that is taken back has just been started again.
        await self._calls.reach(node)
        await self._voters.add_voter(node)
        await self._calls.call(node, InstallAuthority(certificate=certificate, key=key))
        # So that the remote API goes on with the master role, under the certificate that its clients know.
        if await self._runtime.pools("files").run(self._layout.rapi_pem.exists):
            await self.entrust_rapi(node)

    async def entrust(self, node: str) -> None:
        """Give a candidate (its UUID) the authority's key as it is now, after that was replaced."""
        certificate, key = await self._runtime.pools("files").run(self._read_authority)
        await self._calls.call(node, InstallAuthority(certificate=certificate, key=key))

    async def entrust_rapi(self, node: str) -> None:
        """Give a candidate (its UUID) key and certificate of the remote API as this master has them."""
        pem = await self._runtime.pools("files").run(self._read_rapi)
        await self._calls.call(node, RapiInstall(pem=pem))

    def leave(self, node: str) -> None:
        """Leave a node alone that has not become a candidate, and have it give up what it got."""
        self._voters.drop_voter(node)
        self._forsake(node)

    def _read_authority(self) -> tuple[str, str]:
        try:
            return self._layout.authority_certificate.read_text(), self._layout.authority_key.read_text()
        except OSError as error:
            raise Refused(
                ENVIRONMENT,
                f"The authority of the cluster cannot be read: {error.strerror}: {error.filename}",
                hint="it is on every master candidate: copy it from one",
            ) from None

    def _read_rapi(self) -> str:
        try:
            return self._layout.rapi_pem.read_text()
        except OSError as error:
            text = f"The certificate of the remote API cannot be read: {error.strerror}: {error.filename}"
            raise Refused(ENVIRONMENT, text, hint="gnt-cluster renew-crypto --new-rapi-certificate") from None
