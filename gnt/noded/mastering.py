"""What a node does for the role of master: the cluster's address, and the end of a master that hands over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from twisted.logger import Logger

from gnt.daemon.control import MASTERD, RAPI, DaemonControl
from gnt.model.epoch import Epoch
from gnt.model.errors import Failed, NodeFailure
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.wire.calls import ActivateMasterIp, DeactivateMasterIp, StopMaster

log: Final = Logger()

POOL: Final = "master"


class Address(Protocol):
    """What raises and takes down the cluster's address: `gnt.noded.master_address.MasterAddress`. Its methods block."""

    def is_here(self, ip: str) -> bool:
        """Say whether an interface of this node has the address."""

    def answers(self, ip: str) -> Awaitable[bool]:
        """Say whether somebody answers at the address. Does not block."""

    def put_up(self, ip: str, netmask: int, netdev: str) -> None:
        """Raise the address. Raises `NodeFailure`."""

    def take_down(self, ip: str, netmask: int, netdev: str) -> None:
        """Take it down, if it is up. Raises `NodeFailure`."""

    def take_down_ours(self) -> None:
        """Take down what this node has raised. Raises `NodeFailure`."""


class NoAddress:
    """A machine on which no address can be raised."""

    def is_here(self, ip: str) -> bool:  # noqa: ARG002
        """Say no."""
        return False

    async def answers(self, ip: str) -> bool:  # noqa: ARG002
        """Say no."""
        return False

    def put_up(self, ip: str, netmask: int, netdev: str) -> None:  # noqa: ARG002
        """Refuse."""
        raise NodeFailure("unsupported", f"the address {ip} cannot be raised on this machine")

    def take_down(self, ip: str, netmask: int, netdev: str) -> None:
        """Do nothing: it is not up."""

    def take_down_ours(self) -> None:
        """Do nothing: nothing was raised."""


def no_master() -> bool:
    """Say that no daemon of a master ran here."""
    return False


def end_master(daemons: DaemonControl) -> bool:
    """End the remote API and the master daemon in order, and say whether any ran. Blocks. Raises `Failed`."""
    running = [name for name in (RAPI, MASTERD) if daemons.pid(name) is not None]
    for name in running:
        log.info("ending {name}: another node takes over", name=name)
        daemons.stop(name)
    return bool(running)


class Mastering:
    """Takes the calls. `stop_master` ends the daemons of a master here (blocks), and says whether any ran."""

    def __init__(
        self,
        place: Place,
        *,
        address: Address,
        stop_master: Callable[[], bool],
        own_uuid: Callable[[], str],
    ) -> None:
        self._pool = place.runtime.pools(POOL)
        self._address = address
        self._stop_master = stop_master
        self._own_uuid = own_uuid

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {StopMaster: self._stop, ActivateMasterIp: self._activate, DeactivateMasterIp: self._deactivate}

    async def fenced(self, epoch: Epoch) -> None:
        """Hear of a fence: for another node's term what makes this node the master ends here.

        The address that it raised is taken down, and a master daemon that nobody told of its successor ends: it could
        change nothing any more, but would go on showing what was, and keep the store from catching up.
        """
        if epoch.node == self._own_uuid():
            return
        try:
            await self._pool.run(self._address.take_down_ours)
        except NodeFailure as failure:
            log.error("the cluster's address stays here: {text}", text=failure.text)  # noqa: TRY400
        try:
            await self._pool.run(self._stop_master)
        except Failed as error:
            log.error("the master daemon stays here: {text}", text=error.text)  # noqa: TRY400

    async def _stop(self, _call: StopMaster, _context: CallContext) -> bool:
        try:
            return await self._pool.run(self._stop_master)
        except Failed as error:
            raise NodeFailure("failed", error.text, hint=error.hint) from error

    async def _activate(self, call: ActivateMasterIp, _context: CallContext) -> None:
        if not await self._pool.run(self._address.is_here, call.ip) and await self._address.answers(call.ip):
            raise NodeFailure(
                "in_use",
                f"The cluster's address {call.ip} answers, and is not here: it is not raised a second time",
                hint="see who has it; then gnt-cluster activate-master-ip",
                retry=True,
            )
        await self._pool.run(self._address.put_up, call.ip, call.netmask, call.netdev)

    async def _deactivate(self, call: DeactivateMasterIp, _context: CallContext) -> None:
        await self._pool.run(self._address.take_down, call.ip, call.netmask, call.netdev)
