"""The cluster's address goes with the role: raised on the master's node when a term begins, taken down when it ends.

That it cannot be raised is said once in the log, and by `gnt-cluster verify`, and does not keep the master from its
work; it is tried again for as long as this node is the master, unless an administrator wants the address down.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.model.cluster import Cluster
from gnt.model.errors import GntError, StaleEpoch
from gnt.wire.calls import ActivateMasterIp, DeactivateMasterIp, NodeCall

R = TypeVar("R")

log: Final = Logger()

TRIES: Final = 6
PAUSE: Final = 5.0
"""Seconds between the first tries: the old master's node may have yet to take the address down."""
SLOWLY: Final = 60.0
"""Seconds between later ones: whoever has the address needs a person, or its node's return."""
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
    """Has the own node raise the address while this process is the master.

    `begins` and `ended` hear of the calls that jobs make: one that takes the address down ends the trying, one that
    raises it in vain begins it. `problem` says why the address is not up; empty while nothing is known against it.
    """

    def __init__(self, runtime: Runtime, calls: Calls, model: Model) -> None:
        self._runtime = runtime
        self._calls = calls
        self._model = model
        self._is_master = False
        self._raising: Deferred[None] | None = None
        self.problem = ""

    def start(self) -> None:
        """Begin to raise it."""
        self._is_master = True
        self._begin(0)

    async def stop(self) -> None:
        """Take it down; a node that does not do so in a moment is not waited for."""
        if not self._is_master:
            return
        self._is_master = False
        self._rest()
        cluster = self._model.cluster
        if not has_own_address(cluster):
            return
        try:
            await self._calls.call(cluster.settings.master_node, deactivation(cluster), deadline=STOP_TIME)
        except GntError as error:
            log.warn("the cluster's address stays up: {error}", error=error.text)

    def begins(self, call: NodeCall[Any]) -> None:
        """Hear that a job makes a call: what it does about the address is not crossed."""
        if isinstance(call, ActivateMasterIp | DeactivateMasterIp):
            self._rest()

    def ended(self, call: NodeCall[Any], error: GntError | None) -> None:
        """Hear how a job's call has ended."""
        if isinstance(call, ActivateMasterIp) and error is not None and self._is_master:
            self._begin(TRIES)
            self.problem = error.text

    def _begin(self, tries: int) -> None:
        """Begin after so many tries that were in vain."""
        self._rest()
        if has_own_address(self._model.cluster):
            self._raising = Deferred.fromCoroutine(self._raise(tries))
            self._raising.addErrback(lambda failure: log.failure("raising the cluster's address", failure=failure))

    def _rest(self) -> None:
        """Try no more."""
        self.problem = ""
        raising, self._raising = self._raising, None
        if raising is not None:
            raising.cancel()

    async def _raise(self, tries: int) -> None:
        """Try until it is up: a few times soon, then slowly, each time with the settings as they are then."""
        try:
            if tries:
                await self._runtime.sleep(SLOWLY)
            while not await self._is_up():
                tries += 1
                if tries == TRIES:
                    log.error(
                        "the cluster's address is not raised: {problem}; it is tried again every {seconds:.0f} s"
                        " (gnt-cluster activate-master-ip tries at once)",
                        problem=self.problem,
                        seconds=SLOWLY,
                    )
                await self._runtime.sleep(PAUSE if tries < TRIES else SLOWLY)
        except (CancelledError, StaleEpoch):
            return
        if tries >= TRIES:
            log.info("the cluster's address is in order now")

    async def _is_up(self) -> bool:
        """Try once, and note why not; where there is none to raise all is well."""
        cluster = self._model.cluster
        if not has_own_address(cluster):
            self.problem = ""
            return True
        try:
            await self._calls.call(cluster.settings.master_node, activation(cluster))
        except StaleEpoch:
            raise
        except GntError as error:
            self.problem = error.text
            return False
        self.problem = ""
        return True
