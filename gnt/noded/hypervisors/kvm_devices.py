"""Disks, CDs, interfaces and small devices of a kvm guest, as domain XML. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.noded.hypervisors.domain_xml import Remark, Targets, bridge_interface, child, device_id, to_text
from gnt.noded.hypervisors.kvm_support import SOUND, USB_HOST, USB_INPUTS, is_i440fx, words
from gnt.wire.calls import DiskDevice

_EXTERNALLY_MIRRORED: Final = frozenset(
    {DiskTemplate.SHAREDFILE, DiskTemplate.GLUSTER, DiskTemplate.BLOCKDEV, DiskTemplate.EXT}
)
"""Templates whose data another node may read at any time: this node's page cache must not hold back a write. rbd,
which is of this kind too, takes care of that itself."""
_FILES: Final = frozenset({DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.QCOW2, DiskTemplate.GLUSTER})
_BUSES: Final = {"paravirtual": ("virtio", "vd"), "ide": ("ide", "hd"), "sd": ("sd", "sd")}
_SCSI: Final = ("scsi", "sd")
_CONTROLLERS: Final = {"lsi": "lsilogic", "megasas": "lsisas1078", "virtio-scsi-pci": "virtio-scsi"}
_PCI_SLOTS: Final = 32
_FIRST_FREE_SLOT: Final = 3
"""Host bridge, PIIX and graphics card have the first three slots of a `pc`, whatever is reserved."""
_PORTS: Final = {"http": 80, "https": 443, "ftp": 21, "gluster": 24007, "rbd": 6789}


class _Slots:
    """Gives out the PCI slots behind the reserved ones; none on machines where libvirt must choose."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        first = max(_FIRST_FREE_SLOT, int(given["kvm_pci_reservations"]))
        self._next = first if is_i440fx(given["machine_version"]) else _PCI_SLOTS

    def take(self, device: ET.Element) -> None:
        if self._next < _PCI_SLOTS:
            child(device, "address", type="pci", bus=0, slot=self._next)
            self._next += 1


def cache_of(disk: DiskSpec, wanted: str) -> str:
    """Give the cache mode of a disk."""
    if disk.dev_type in _EXTERNALLY_MIRRORED:
        return "none"
    return "writeback" if wanted == "default" else wanted


def add_disks(devices: ET.Element, instance: InstanceSpec, sources: Sequence[DiskDevice]) -> None:
    """Add disks in order, CDs and the floppy; the one that `boot_order` names is marked for booting."""
    given = instance.hvparams
    slots, targets, boot = _Slots(given), Targets(), given["boot_order"] if not given["kernel_path"] else ""
    for disk, source in zip(instance.disks, sources, strict=True):
        element = _disk(devices, disk, source, given, targets)
        if boot == "disk" and disk.index == 0:
            child(element, "boot", order=1)
        if given["disk_type"] == "paravirtual":
            slots.take(element)
    images = [path for path in (given["cdrom_image_path"], given["cdrom2_image_path"]) if path]
    for number, image in enumerate(images):
        element = _cdrom(devices, image, given["cdrom_disk_type"] or given["disk_type"], targets)
        if boot == "cdrom" and number == 0:
            child(element, "boot", order=1)
    if boot == "cdrom" and not images:
        raise NodeFailure(
            "parameter", "Parameter 'boot_order' fails validation: there is no CD (current value: 'cdrom')"
        )
    if given["floppy_image_path"]:
        floppy = child(devices, "disk", type="file", device="floppy")
        child(floppy, "driver", name="qemu", type="raw")
        child(floppy, "source", file=given["floppy_image_path"])
        child(floppy, "target", dev="fda", bus="fdc")
        if boot == "floppy":
            child(floppy, "boot", order=1)


def _disk(
    devices: ET.Element, disk: DiskSpec, source: DiskDevice, given: Mapping[str, Any], targets: Targets
) -> ET.Element:
    if disk.mode == "ro":
        raise NodeFailure("unsupported", "Instance has read-only disks which are not supported by KVM")
    cache = cache_of(disk, given["disk_cache"])
    if given["disk_aio"] == "native" and cache != "none":
        raise NodeFailure(
            "parameter",
            "Parameter 'disk_aio' fails validation: native needs disk_cache none (current value: 'native')",
        )
    lun = given["disk_type"] in {"scsi-block", "scsi-generic"}
    element = child(devices, "disk", type="file", device="lun" if lun else "disk")
    discard = given["disk_discard"]
    child(
        element,
        "driver",
        name="qemu",
        type="qcow2" if disk.dev_type is DiskTemplate.QCOW2 else "raw",
        cache=cache,
        io=given["disk_aio"],
        discard=None if discard == "default" else discard,
    )
    _source(element, disk, source)
    bus, prefix = _BUSES.get(given["disk_type"], _SCSI)
    child(element, "target", dev=targets.next(prefix), bus=bus)
    child(element, "alias", name=f"ua-{device_id('disk', disk.uuid)}")
    return element


def _source(element: ET.Element, disk: DiskSpec, device: DiskDevice) -> None:
    if device.uri is not None:
        _network_source(element, device.uri)
        return
    file = disk.dev_type in _FILES
    element.set("type", "file" if file else "block")
    child(element, "source", **{"file" if file else "dev": device.link or device.path})


def _network_source(element: ET.Element, uri: str) -> None:
    """Take a userspace URI: `rbd:pool/image[:option=value…]`, `gluster://host:port/volume/path`, or a CD's URL."""
    element.set("type", "network")
    if uri.startswith("rbd:"):
        name, *options = uri.removeprefix("rbd:").split(":")
        source = child(element, "source", protocol="rbd", name=name)
        settings = dict(option.partition("=")[::2] for option in options)
        if "id" in settings:
            # libvirt hands a user's key on itself; it is kept there, and only named here.
            auth = child(source, "auth", username=settings["id"])
            child(auth, "secret", type="ceph", usage=f"client.{settings['id']} secret")
        if "conf" in settings:
            child(source, "config", file=settings["conf"])
        return
    parts = urlsplit(uri)
    protocol = parts.scheme.split("+")[0]
    query = parts.query or None
    source = child(element, "source", protocol=protocol, name=parts.path.lstrip("/"), query=query)
    child(source, "host", name=parts.hostname, port=parts.port or _PORTS.get(protocol))


def _cdrom(devices: ET.Element, image: str, kind: str, targets: Targets) -> ET.Element:
    bus, prefix = _BUSES.get(kind, _SCSI)
    # A paravirtual drive cannot be ejected: for libvirt it is no CD but a disk that is only read.
    element = child(devices, "disk", type="file", device="disk" if bus in {"virtio", "sd"} else "cdrom")
    child(element, "driver", name="qemu", type="raw")
    if "://" in image:
        _network_source(element, image)
    else:
        child(element, "source", file=image)
    child(element, "target", dev=targets.next(prefix), bus=bus)
    child(element, "readonly")
    return element


def add_nics(devices: ET.Element, instance: InstanceSpec, *, vhost: bool, script: bool, remarks: list[Remark]) -> None:
    """Add the interfaces. Those that are routed, or all with `script`, are tap devices that noded sets up."""
    given = instance.hvparams
    slots = _Slots(given)
    taken = len(instance.disks) if given["disk_type"] == "paravirtual" else 0
    for _ in range(taken):
        slots.take(ET.Element("placeholder"))
    for nic in instance.nics:
        element = _nic(devices, nic, given, vhost=vhost, script=script, remarks=remarks)
        if given["boot_order"] == "network" and not given["kernel_path"] and nic.index == 0:
            child(element, "boot", order=1)
        if given["nic_type"] != "ne2k_isa":
            slots.take(element)


def _nic(
    devices: ET.Element, nic: NicSpec, given: Mapping[str, Any], *, vhost: bool, script: bool, remarks: list[Remark]
) -> ET.Element:
    element = _own_tap(devices, nic) if script or nic.mode == "routed" else bridge_interface(devices, nic)
    virtio = given["nic_type"] == "paravirtual"
    child(element, "model", type="virtio" if virtio else given["nic_type"])
    if virtio:
        _virtio_driver(element, given, vhost=vhost, remarks=remarks)
    child(element, "alias", name=f"ua-{device_id('nic', nic.uuid)}")
    return element


# Devices for a guest that runs: where they are on its bus, libvirt chooses among what is free


def refuse_unpluggable(given: Mapping[str, Any], kind: str) -> None:
    """Refuse kinds of devices that a guest with these parameters takes at its start only: `unsupported`."""
    name, fixed = ("nic_type", {"ne2k_isa"}) if kind == "nic" else ("disk_type", _BUSES.keys() - {"paravirtual"})
    if given[name] in fixed:
        what = "interfaces" if kind == "nic" else "disks"
        raise NodeFailure(
            "unsupported",
            f"{what} with {name} {given[name]} come and go only while the guest is down",
            hint="--no-hotplug: seen at the next start",
        )


def one_disk(disk: DiskSpec, source: DiskDevice, given: Mapping[str, Any], taken: Iterable[str]) -> str:
    """Give the XML of one disk, with a target name that is not `taken`."""
    return to_text(_disk(ET.Element("devices"), disk, source, given, Targets(taken)))


def one_nic(nic: NicSpec, given: Mapping[str, Any], *, vhost: bool, script: bool, remarks: list[Remark]) -> str:
    """Give the XML of one interface."""
    return to_text(_nic(ET.Element("devices"), nic, given, vhost=vhost, script=script, remarks=remarks))


def _own_tap(devices: ET.Element, nic: NicSpec) -> ET.Element:
    interface = child(devices, "interface", type="ethernet")
    child(interface, "mac", address=nic.mac)
    return interface


def _virtio_driver(element: ET.Element, given: Mapping[str, Any], *, vhost: bool, remarks: list[Remark]) -> None:
    if given["vhost_net"] and not vhost:
        remarks.append(Remark("this node has no usable /dev/vhost-net: vhost_net is left out"))
    queues = int(given["virtio_net_queues"])
    driver = child(
        element,
        "driver",
        name="vhost" if given["vhost_net"] and vhost else "qemu",
        queues=queues if queues > 1 else None,
    )
    if not given["vnet_hdr"]:
        child(driver, "host", csum="off", gso="off", tso4="off", tso6="off", ecn="off", ufo="off")
        child(driver, "guest", csum="off", tso4="off", tso6="off", ecn="off", ufo="off")


def add_controllers(devices: ET.Element, given: Mapping[str, Any]) -> None:
    """Add USB always, SCSI where a disk or CD is on it."""
    child(devices, "controller", type="usb", index=0)
    kinds = [given["disk_type"]]
    if given["cdrom_image_path"] or given["cdrom2_image_path"]:
        kinds.append(given["cdrom_disk_type"] or given["disk_type"])
    if any(_BUSES.get(kind, _SCSI) == _SCSI for kind in kinds):
        child(devices, "controller", type="scsi", index=0, model=_CONTROLLERS[given["scsi_controller_type"]])


def add_extras(devices: ET.Element, given: Mapping[str, Any]) -> None:
    """Add pointer, USB devices, sound, guest agent, balloon."""
    pointer = given["usb_mouse"] or ("tablet" if given["vnc_bind_address"] else "")
    if pointer:
        child(devices, "input", type=pointer, bus="usb")
    for device in words(given["usb_devices"]):
        if device in USB_INPUTS:
            child(devices, "input", type=device, bus="usb")
        else:
            _usb_host(devices, device)
    for model in words(given["soundhw"]):
        child(devices, "sound", model=SOUND[model])
    if given["use_guest_agent"]:
        agent = child(devices, "channel", type="unix")
        child(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    child(devices, "memballoon", model="virtio")


def _usb_host(devices: ET.Element, device: str) -> None:
    match = USB_HOST.fullmatch(device)
    assert match is not None, "refuse_unsupported lets nothing else through"  # noqa: S101
    hostdev = child(devices, "hostdev", mode="subsystem", type="usb", managed="yes")
    source = child(hostdev, "source")
    if match["vendor"]:
        child(source, "vendor", id=f"0x{match['vendor'].lower()}")
        child(source, "product", id=f"0x{match['product'].lower()}")
    else:
        child(source, "address", bus=int(match["bus"]), device=int(match["address"]))
