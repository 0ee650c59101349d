"""Puts the node daemon together. No logic: what it is made of, and the order in which that starts and ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger

from gnt.daemon.control import DaemonControl
from gnt.daemon.runtime import Runtime
from gnt.noded.call_table import CallTable
from gnt.noded.calls import Calls
from gnt.noded.disk_data import DiskData
from gnt.noded.disks import Disks
from gnt.noded.guest_os import GuestOs
from gnt.noded.guests import Guests
from gnt.noded.handler import Handlers, Place
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.noded.hypervisors.registry import drivers
from gnt.noded.keys import Keys
from gnt.noded.machine import IMachine, Machine
from gnt.noded.master_address import MasterAddress
from gnt.noded.mastering import Address, Mastering, NoAddress, end_master, no_master
from gnt.noded.membership import MembershipFile
from gnt.noded.mirrors import Mirrors
from gnt.noded.node import NodeItself
from gnt.noded.offers import Offers
from gnt.noded.perspective import Events, NodeDoor
from gnt.noded.processes import IProcesses, Processes
from gnt.noded.replica import Replica
from gnt.noded.storage.interface import IDiskTemplate
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.registry import real_templates
from gnt.noded.storage.transfer import Transfer
from gnt.noded.storage.units import StorageUnits
from gnt.noded.storage_units import Storage
from gnt.store.vault import Vault

log: Final = Logger()

SPARE_GATES: Final = 8
"""An instance's disks are handled side by side: so many programs begin at once, often."""


@dataclass(frozen=True)
class Providers:
    """What is under the node daemon; the simulator puts its own here. `vault` None: a file in the data directory.

    `master_address` raises the cluster's address, `stop_master` ends the daemons of a master on this node (blocks).
    `call_table` makes the table of calls in a file; `transfer` brings the data of disks from node to node.
    """

    hypervisors: Mapping[str, IHypervisor]
    templates: Mapping[str, IDiskTemplate]
    machine: IMachine
    processes: IProcesses
    vault: Vault | None = None
    master_address: Address = field(default_factory=NoAddress)
    stop_master: Callable[[], bool] = no_master
    call_table: Callable[[Path, Runtime], CallTable] = CallTable
    transfer: Transfer = field(default_factory=Transfer)


def real_providers(place: Place, reactor: Any) -> Providers:
    """Give what is under a real node daemon."""
    machine: Any = Machine(reactor)
    processes: Any = Processes(place, reactor, spares=SPARE_GATES)
    return Providers(
        hypervisors=drivers(place),
        templates=real_templates(place, processes),
        machine=machine,
        processes=processes,
        master_address=MasterAddress(place.layout, machine.reach),
        stop_master=partial(end_master, DaemonControl(place.layout, os.environ)),
    )


class NodeDaemon:
    """One node daemon without its transport: `door` is what a transport calls. `end` ends the daemon."""

    def __init__(self, place: Place, providers: Providers, end: Callable[[], None]) -> None:
        self._place = place
        self._processes = providers.processes
        self.membership = MembershipFile(place.layout)
        self.events = Events()
        self.replica = Replica(place, providers.vault)
        disks = Disks(place, providers.templates)
        guests = Guests(place, providers.hypervisors, disks.devices)
        guest_os = GuestOs(place, providers.processes, disks)
        node = NodeItself(
            place,
            membership=self.membership,
            hypervisors=guests,
            storage=StorageUnits(place, providers.processes),
            machine=providers.machine,
            end=end,
            orphans=self._under_way,
        )
        mastering = Mastering(
            place,
            address=providers.master_address,
            stop_master=providers.stop_master,
            own_uuid=lambda: self.membership.current.node_uuid if self.membership.current else "",
        )
        programs = Programs(providers.processes)
        self._data = DiskData(place, disks, programs, self.membership, providers.transfer)
        beside = (Mirrors(providers.templates), Storage(place, programs), self._data)
        parts = (guests, disks, *beside, guest_os, node, mastering, Keys(place), Offers(place), self.replica)
        self.calls = Calls(
            place,
            _handlers(*(part.handlers() for part in parts)),
            providers.call_table(place.layout.calls_db, place.runtime),
            replica=self.replica,
            emit=self.events.emit,
            on_fence=mastering.fenced,
        )
        self.door = NodeDoor(self.calls, self.membership, self.events)

    async def start(self) -> None:
        """End what an earlier daemon left, then be ready for calls. Raises errors of the family."""
        await self._place.runtime.pools("node").run(self.membership.load)
        for call in await self._processes.end_leftovers():
            log.warn("ended what call {call} had left running", call=call)
        await self.calls.start()
        await self.replica.start()

    async def come_to_rest(self) -> None:
        """End the calls that are under way, with their outcomes on disk; whoever waits for them still hears of it."""
        await self.calls.come_to_rest()

    async def stop(self) -> None:
        """Close the files, in order."""
        self._data.stop()
        await self.replica.stop()
        await self.calls.stop()

    def abandon(self) -> None:
        """Leave the call table as it is, as a crash does; the simulator does the same with the vault's database."""
        self.calls.abandon()

    def _under_way(self) -> list[str]:
        return self.calls.under_way


def _handlers(*tables: Handlers) -> Handlers:
    """Give one table of all; a call that two parts take is a mistake in this program."""
    merged: dict[Any, Any] = {}
    for table in tables:
        twice = merged.keys() & table.keys()
        if twice:
            raise AssertionError(f"two parts take {twice}")
        merged.update(table)
    return merged
