"""The hypervisor `kvm`: QEMU through libvirt. What a domain looks like is `kvm_xml`, migration `kvm_migration`."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zope.interface import implementer

from gnt.model.specs import InstanceSpec
from gnt.noded.handler import Place
from gnt.noded.hypervisors import nic_setup
from gnt.noded.hypervisors.domain_xml import Remark
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.noded.hypervisors.kvm_check import check_parameters
from gnt.noded.hypervisors.kvm_display import FIRST_PORT
from gnt.noded.hypervisors.kvm_host import Acceleration, emulator, look_at
from gnt.noded.hypervisors.kvm_hotplug import PluggingDriver
from gnt.noded.hypervisors.kvm_xml import KvmHost, kvm_domain
from gnt.noded.hypervisors.libvirt_connection import LibvirtConnection
from gnt.noded.hypervisors.libvirt_place import is_embedded, libvirt_uri, prepare_embedded
from gnt.wire.calls import DiskDevice
from gnt.wire.guest_calls import Console


@implementer(IHypervisor)
class KvmHypervisor(PluggingDriver):
    """Guests of QEMU, with KVM where it works and by emulation where it does not."""

    name = "kvm"

    def __init__(self, place: Place, *, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__(place, LibvirtConnection(lambda: libvirt_uri(place.layout, environ), prepare_embedded))
        self._acceleration = Acceleration()

    def domain_xml(self, instance: InstanceSpec, disks: Sequence[DiskDevice]) -> tuple[str, list[Remark]]:
        """Give the XML of a guest as it would start here now."""
        return kvm_domain(instance, disks, self._host(instance))

    def _host(self, instance: InstanceSpec) -> KvmHost:
        script = nic_setup.own_script(self._place.layout.etc)
        log = self._place.layout.log / self.name
        return look_at(instance, self._acceleration, log, nic_script=script is not None)

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Check filled parameters on this node."""
        program = emulator(parameters["kvm_path"], os.uname().machine)
        check_parameters(parameters, self._machines(program))

    def verify(self) -> str:
        """Say whether libvirt answers; without KVM that guests run by emulation, as a note."""
        with self._connection.errors("asking for the version"):
            self._connection.get().getVersion()
        problem = self._acceleration.problem(emulator("/usr/bin/kvm", os.uname().machine))
        return f"note: KVM cannot be used ({problem}): guests run by emulation, many times slower" if problem else ""

    def console(self, instance: InstanceSpec, node_name: str) -> Console:
        """Say how to reach the console: serial first, then VNC, then SPICE, as far as the instance has them."""
        given, port = instance.hvparams, instance.network_port or 0
        if given["serial_console"]:
            return self._serial_console(instance, node_name)
        vnc = given["vnc_bind_address"]
        if vnc and not vnc.startswith("/") and port > FIRST_PORT:
            display = port - FIRST_PORT
            return Console(instance=instance.name, kind="vnc", host=vnc, port=port, display=display)
        if given["spice_bind"]:
            return Console(instance=instance.name, kind="spice", host=given["spice_bind"], port=port)
        return Console(instance=instance.name, kind="msg", message=f"No serial shell for instance {instance.name}")

    def _serial_console(self, instance: InstanceSpec, node_name: str) -> Console:
        if not is_embedded(self._connection.uri()):
            return super().console(instance, node_name)
        # Nobody but this process can ask an embedded libvirt, so the terminal itself is named.
        domain = self._running(instance.name, instance.uuid)
        with self._connection.errors(f"looking for the console of {instance.name}"):
            source = ET.fromstring(domain.XMLDesc(0)).find("devices/serial/source")  # noqa: S314 - libvirt's own text
        terminal = source.get("path", "") if source is not None else ""
        return self._attach(instance, node_name, "--terminal", terminal)

    def _machines(self, program: str) -> frozenset[str]:
        """Give the machine types of an emulator."""
        with self._connection.errors(f"asking what {Path(program).name} can do"):
            text = self._connection.get().getDomainCapabilities(program, None, None, None)
            domain = ET.fromstring(text)  # noqa: S314 - libvirt's own text
            whole = self._connection.get().getCapabilities()
        named = re.findall(r"<machine[^>]*>([^<]+)</machine>", whole)
        return frozenset({*named, domain.findtext("machine", "")}) - {""}
