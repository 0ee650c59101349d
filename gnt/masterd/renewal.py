"""What the master itself does while certificates are renewed: `Tell`, `Reconnect` and `Entrust` of a plan."""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.defer import CancelledError, Deferred

from gnt.daemon.runtime import Runtime
from gnt.masterd.plan import ByMaster, Entrust, Reconnect, Tell
from gnt.masterd.publish import UNDER_WAY
from gnt.model.cluster import Cluster
from gnt.model.errors import Failed

RECONNECT_TIME: Final = 20.0
"""Seconds that a node has to take the new connection."""
TELL_TIME: Final = 60.0
"""Seconds within which all online nodes are to be told; one that is away would be waited for without end."""


class Configuration(Protocol):
    """Where nodes have their names; the journal is one."""

    @property
    def cluster(self) -> Cluster:
        """Give the committed configuration."""


class Links(Protocol):
    """The connections to the nodes."""

    async def renew_links(self, seconds: float) -> dict[str, str]:
        """Connect anew; gives the nodes (UUID) where that failed, and why."""


class Told(Protocol):
    """What tells the nodes of the configuration."""

    def forget(self) -> None:
        """Forget what the nodes were told, and tell all of them again."""

    async def flush(self) -> None:
        """Wait until every online node that can be reached has what is true now."""

    def behind(self) -> dict[str, str]:
        """Give the nodes (UUID) that have not been told, and why."""


class Keeper(Protocol):
    """What has the authority's key."""

    async def entrust(self, node: str) -> None:
        """Give a candidate (its UUID) the authority's key."""

    async def entrust_rapi(self, node: str) -> None:
        """Give a candidate (its UUID) key and certificate of the remote API."""


class Renewal:
    """Performs these steps for the engine."""

    def __init__(
        self, runtime: Runtime, configuration: Configuration, links: Links, told: Told, keeper: Keeper
    ) -> None:
        self._runtime = runtime
        self._configuration = configuration
        self._links = links
        self._told = told
        self._keeper = keeper

    async def perform(self, step: ByMaster) -> None:
        """Do one; raises `Failed` with the names of the nodes that did not follow, or what giving the key raises."""
        match step:
            case Tell(anew):
                if anew:
                    self._told.forget()
                await self._tell()
            case Reconnect():
                self._refuse("takes no new connection", await self._links.renew_links(RECONNECT_TIME))
            case Entrust(node, rapi=False):
                await self._keeper.entrust(node)
            case Entrust(node):
                await self._keeper.entrust_rapi(node)

    async def _tell(self) -> None:
        telling = Deferred.fromCoroutine(self._told.flush())
        timer = self._runtime.clock.callLater(TELL_TIME, telling.cancel)
        try:
            await telling
        except CancelledError:
            missing = self._told.behind()
        else:
            # Those on their way again are behind what was committed since.
            missing = {uuid: why for uuid, why in self._told.behind().items() if why != UNDER_WAY}
        finally:
            if timer.active():
                timer.cancel()
        self._refuse("was not told", missing)

    def _refuse(self, what: str, problems: dict[str, str]) -> None:
        if not problems:
            return
        nodes = self._configuration.cluster.nodes
        named = {nodes[uuid].name if uuid in nodes else uuid: why for uuid, why in problems.items()}
        text = "; ".join(f"{name} {what}: {why}" for name, why in sorted(named.items()))
        raise Failed(text, hint="when it is back or flagged offline, the command can be repeated")
