"""Devices of kvm guests that run: plugged in, taken out, grown: spec/hypervisors.md, section 3.5.

What a device is, its alias says, made of its UUID. Where it is on the guest's bus, libvirt chooses among what is free;
at the guest's next start all are in their usual order again.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from abc import abstractmethod
from typing import Any, Final

import msgspec
from twisted.logger import Logger

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.noded.hypervisors import kvm_devices
from gnt.noded.hypervisors.domain_xml import MARK, Remark, device_id
from gnt.noded.hypervisors.kvm_migration import MigratingDriver
from gnt.noded.hypervisors.kvm_xml import KvmHost
from gnt.noded.hypervisors.libvirt_connection import one_line
from gnt.wire.calls import DiskDevice

_LOG = Logger(namespace="gnt.noded.hypervisors")
_MIB: Final = 1024 * 1024
_ASKED_ALREADY: Final = "in the process of unplug"
"""What QEMU says of a device that the guest was asked to let go of, and has not yet."""


class PluggingDriver(MigratingDriver):
    """A driver whose guests are given devices while they run."""

    @abstractmethod
    def _host(self, instance: InstanceSpec) -> KvmHost:
        """Give what a domain takes from this node."""

    def check_plug(self, instance: InstanceSpec, kind: str) -> None:
        """Refuse what cannot be plugged in, and a guest that is down."""
        self._running(instance.name, instance.uuid)
        kvm_devices.refuse_unpluggable(instance.hvparams, kind)

    def plug_disk(self, instance: InstanceSpec, disk: DiskSpec, source: DiskDevice) -> None:
        """Attach the disk, unless the domain has it."""
        self.check_plug(instance, "disk")
        domain = self._running(instance.name, instance.uuid)
        whole = self._whole(domain)
        if _found(whole, "disk", disk.uuid) is not None:
            return
        taken = [target.get("dev", "") for target in whole.iterfind("devices/disk/target")]
        self._attach_device(domain, kvm_devices.one_disk(disk, source, instance.hvparams, taken), f"disk/{disk.index}")

    def plug_nic(self, instance: InstanceSpec, nic: NicSpec) -> None:
        """Attach the interface, unless the domain has it; set it up, where that is noded's to do."""
        self.check_plug(instance, "nic")
        domain = self._running(instance.name, instance.uuid)
        if _found(self._whole(domain), "interface", nic.uuid) is not None:
            return
        self._check_links(msgspec.structs.replace(instance, nics=(nic,)))
        host, remarks = self._host(instance), list[Remark]()
        script = host.nic_script
        xml = kvm_devices.one_nic(nic, instance.hvparams, vhost=host.vhost, script=script, remarks=remarks)
        for remark in remarks:
            _LOG.warn("{instance}: {remark}", instance=instance.name, remark=remark.text)
        self._attach_device(domain, xml, f"nic/{nic.index}")
        if script or nic.mode == "routed":
            self._remember_nic(domain, nic, " ".join(instance.tags))
            try:
                self._set_up_interface(domain, nic, " ".join(instance.tags))
            except NodeFailure:
                self.ask_to_unplug(instance.name, instance.uuid, "nic", nic.uuid)
                raise

    def ask_to_unplug(self, name: str, uuid: str, kind: str, device: str) -> bool:
        """Ask the guest, again if need be; libvirt forgets the device once the guest has let go, and waits 5 s for it.

        Not by alias, which does not wait: asked a second time in that way, libvirtd 9.0 dies of a segmentation fault.
        """
        domain = self._domain(uuid)
        if domain is None:
            return False
        library = self._lv
        with self._connection.errors(f"taking a device from {name}"):
            try:
                found = _found(self._whole(domain), "disk" if kind == "disk" else "interface", device)
                if found is None:
                    return False
                domain.detachDeviceFlags(ET.tostring(found, encoding="unicode"), library.VIR_DOMAIN_AFFECT_LIVE)
            except library.libvirtError as error:
                if error.get_error_code() in self._gone | {library.VIR_ERR_DEVICE_MISSING}:
                    return False
                if _ASKED_ALREADY not in one_line(error):
                    raise
        return True

    def resize_disk(self, name: str, uuid: str, disk: str, size: int) -> None:
        """Have QEMU take the new size, and tell the guest."""
        domain = self._domain(uuid)
        found = _found(self._whole(domain), "disk", disk) if domain is not None else None
        target = found.find("target") if found is not None else None
        if target is None:
            return
        with self._connection.errors(f"telling {name} the new size of its disk"):
            domain.blockResize(target.get("dev"), size * _MIB, self._lv.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def _attach_device(self, domain: Any, xml: str, what: str) -> None:
        with self._connection.errors(f"plugging {what} into {domain.name()}"):
            domain.attachDeviceFlags(xml, self._lv.VIR_DOMAIN_AFFECT_LIVE)

    def _whole(self, domain: Any) -> ET.Element:
        with self._connection.errors("reading a definition"):
            return ET.fromstring(domain.XMLDesc(0))  # noqa: S314 - libvirt's own text

    def _remember_nic(self, domain: Any, nic: NicSpec, tags: str) -> None:
        """Write into the domain's mark that noded sets the interface up: at a reboot, and where the guest moves."""
        mark = self._mark(domain)
        assert mark is not None, "the domain is ours"  # noqa: S101
        nics, told = mark.find(f"{{{MARK}}}nics"), mark.find(f"{{{MARK}}}tags")
        if nics is None:
            nics = ET.SubElement(mark, f"{{{MARK}}}nics")
        if told is None:
            ET.SubElement(mark, f"{{{MARK}}}tags").text = tags
        known = msgspec.json.decode(nics.text or "[]", type=list[NicSpec])
        nics.text = msgspec.json.encode([*(one for one in known if one.uuid != nic.uuid), nic]).decode()
        kind, live = self._lv.VIR_DOMAIN_METADATA_ELEMENT, self._lv.VIR_DOMAIN_AFFECT_LIVE
        with self._connection.errors(f"writing the mark of {domain.name()}"):
            # libvirt declares the name space once more, under a prefix that must be new to the element.
            domain.setMetadata(kind, ET.tostring(mark, encoding="unicode"), "mark", MARK, live)


def _found(whole: ET.Element, tag: str, uuid: str) -> ET.Element | None:
    """Give the device of a domain that has this UUID in its alias."""
    alias = f"ua-{device_id('disk' if tag == 'disk' else 'nic', uuid)}"
    for device in whole.iterfind(f"devices/{tag}"):
        named = device.find("alias")
        if named is not None and named.get("name") == alias:
            return device
    return None
