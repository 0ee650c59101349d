"""The cluster's address goes with the role: raised on the master's node when a term begins, taken down when it ends.

That it cannot be raised is said in the log and does not keep the master from its work.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.model.cluster import Cluster
from gnt.model.errors import GntError
from gnt.wire.calls import ActivateMasterIp, DeactivateMasterIp, NodeCall

R = TypeVar("R")

log: Final = Logger()

TRIES: Final = 6
PAUSE: Final = 5.0
"""Seconds between tries: the old master's node may have yet to take the address down."""
STOP_TIME: Final = 5.0


class Calls(Protocol):
    """What calls the nodes."""

    async def call(self, node: str, call: NodeCall[R], *, deadline: float | None = None) -> R:
        """Make a call; raises `GntError`."""


class Model(Protocol):
    """What knows the cluster."""

    @property
    def cluster(self) -> Cluster:
        """Give the cluster."""


def has_own_address(cluster: Cluster) -> bool:
    """Say whether the cluster has an address of its own, and is not reached at a node's."""
    address = cluster.settings.master_ip
    return bool(address) and all(address != node.primary_ip for node in cluster.nodes.values())


def activation(cluster: Cluster) -> ActivateMasterIp:
    """Give the call that raises the address."""
    settings = cluster.settings
    return ActivateMasterIp(ip=settings.master_ip, netmask=settings.master_netmask, netdev=settings.master_netdev)


def deactivation(cluster: Cluster) -> DeactivateMasterIp:
    """Give the call that takes the address down."""
    settings = cluster.settings
    return DeactivateMasterIp(ip=settings.master_ip, netmask=settings.master_netmask, netdev=settings.master_netdev)


class MasterAddress:
    """Has the own node raise the address while this process is the master."""

    def __init__(self, runtime: Runtime, calls: Calls, model: Model) -> None:
        self._runtime = runtime
        self._calls = calls
        self._model = model
        self._raising: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to raise it."""
        if has_own_address(self._model.cluster):
            self._raising = Deferred.fromCoroutine(self._raise())
            self._raising.addErrback(lambda failure: log.failure("raising the cluster's address", failure=failure))

    async def stop(self) -> None:
        """Take it down; a node that does not do so in a moment is not waited for."""
        raising, self._raising = self._raising, None
        if raising is None:
            return
        raising.cancel()
        cluster = self._model.cluster
        try:
            await self._calls.call(cluster.settings.master_node, deactivation(cluster), deadline=STOP_TIME)
        except GntError as error:
            log.warn("the cluster's address stays up: {error}", error=error.text)

    async def _raise(self) -> None:
        cluster = self._model.cluster
        for number in range(TRIES):
            try:
                await self._calls.call(cluster.settings.master_node, activation(cluster))
            except CancelledError:
                return
            except GntError as error:
                problem = error.text
            else:
                return
            if number < TRIES - 1:
                try:
                    await self._runtime.sleep(PAUSE)
                except CancelledError:
                    return
        hint = "gnt-cluster activate-master-ip tries again"
        log.error("the cluster's address is not raised: {problem} ({hint})", problem=problem, hint=hint)
