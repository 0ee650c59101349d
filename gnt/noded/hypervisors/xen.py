"""The hypervisors `xen-pvm` and `xen-hvm`, through libvirt's libxl driver.

No Xen runs where gnt is developed and tested: the domain XML is checked against libvirt's schema, and what is common
to all of libvirt's hypervisors is tested with QEMU. Nothing else in this module has met a Xen. Migration is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import InstanceSpec
from gnt.noded.handler import Place
from gnt.noded.hypervisors.domain_xml import Remark
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.noded.hypervisors.kvm_host import failure, first_line
from gnt.noded.hypervisors.libvirt_connection import LibvirtConnection
from gnt.noded.hypervisors.libvirt_driver import LibvirtDriver
from gnt.noded.hypervisors.xen_xml import hvm_domain, pvm_domain, refuse_unsupported
from gnt.wire.calls import DiskDevice, HypervisorFacts
from gnt.wire.guest_calls import MigrationProgress, MigrationTicket

URI: Final = "xen:///system"
_KIB_PER_MIB: Final = 1024
_FILES: Final = (
    "kernel_path",
    "initrd_path",
    "bootloader_path",
    "cdrom_image_path",
    "device_model",
    "vif_script",
    "vnc_password_file",
)


class _Xen(LibvirtDriver):
    """What both kinds have in common."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, LibvirtConnection(lambda: URI))

    def start(self, instance: InstanceSpec, disks: Sequence[DiskDevice], paused: bool) -> None:
        """Start a guest and give it its share of the processors."""
        super().start(instance, disks, paused)
        given = instance.hvparams
        with self._connection.errors(f"setting the processor share of {instance.name}"):
            domain = self._connection.get().lookupByUUIDString(instance.uuid)
            domain.setSchedulerParameters({"weight": int(given["cpu_weight"]), "cap": int(given["cpu_cap"])})

    def node_facts(self) -> HypervisorFacts:
        """Give memory and processors of the whole machine: dom0 sees a part of them only."""
        with self._connection.errors("asking for memory and processors"):
            connection = self._connection.get()
            _, memory, cpus, _, nodes, sockets, _, _ = connection.getInfo()
            free = connection.getFreeMemory() // (1024 * 1024)
            _, _, dom0, dom0_cpus, _ = connection.lookupByID(0).info()
            number = connection.getVersion()
        return HypervisorFacts(
            memory_total=memory,
            memory_free=free,
            memory_dom0=dom0 // _KIB_PER_MIB,
            cpu_total=cpus,
            cpu_nodes=nodes,
            cpu_sockets=sockets * nodes,
            cpu_dom0=dom0_cpus,
            version=[number // 1_000_000, number // 1000 % 1000],
        )

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Check filled parameters on this node."""
        refuse_unsupported(parameters, hvm=self.name == "xen-hvm")
        loader = parameters.get("use_bootloader", False)
        for name in _FILES:
            path = parameters.get(name)
            if path and not (loader and name == "kernel_path") and not Path(path).is_file():
                raise failure(name, path, "not found or not a file")

    def verify(self) -> str:
        """Say whether libvirt's Xen driver answers."""
        self._connection.get()
        return ""

    def accept(self, instance: InstanceSpec, disks: Sequence[DiskDevice], source: str, address: str) -> MigrationTicket:
        """Refuse."""
        del disks, source, address
        raise self._no_migration(instance)

    def send(self, instance: InstanceSpec, target: str, ticket: MigrationTicket, live: bool) -> None:
        """Refuse."""
        del target, ticket, live
        raise self._no_migration(instance)

    def _no_migration(self, instance: InstanceSpec) -> NodeFailure:
        hint = "stop it, move it and start it: gnt-instance failover"
        return NodeFailure(
            "unsupported", f"{instance.name}: migration of {self.name} guests is not supported", hint=hint
        )

    def abort_send(self, name: str, uuid: str) -> None:
        """Nothing is ever sent."""

    def progress(self, name: str, uuid: str) -> MigrationProgress:
        """Nothing is ever sent."""
        del name, uuid
        return MigrationProgress(state="none")

    def cancel_accept(self, instance: InstanceSpec) -> None:
        """Nothing is ever accepted."""

    def finish(self, instance: InstanceSpec, arrived: bool) -> None:
        """Refuse, as nothing can have been sent."""
        del arrived
        raise self._no_migration(instance)

    def settle(self) -> None:
        """Nothing is ever under way."""

    def _has_button(self, domain: Any) -> bool:
        """Say yes for a paravirtual guest, which is asked through Xen itself."""
        return self.name == "xen-pvm" or super()._has_button(domain)


@implementer(IHypervisor)
class XenPvm(_Xen):
    """Paravirtual guests."""

    name = "xen-pvm"

    def domain_xml(self, instance: InstanceSpec, disks: Sequence[DiskDevice]) -> tuple[str, list[Remark]]:
        """Give the XML of a guest as it would start here now."""
        return pvm_domain(instance, disks, self.node_facts().memory_free), []


@implementer(IHypervisor)
class XenHvm(_Xen):
    """Guests with a whole virtual machine each."""

    name = "xen-hvm"

    def domain_xml(self, instance: InstanceSpec, disks: Sequence[DiskDevice]) -> tuple[str, list[Remark]]:
        """Give the XML of a guest as it would start here now; reads the VNC password."""
        password = first_line("vnc_password_file", instance.hvparams["vnc_password_file"])
        return hvm_domain(instance, disks, self.node_facts().memory_free, vnc_password=password), []
