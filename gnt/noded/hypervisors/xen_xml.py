"""The domain XML of Xen guests for libvirt's libxl driver: spec/hypervisors.md, section 5. Pure: values in, XML out."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.noded.hypervisors.domain_xml import (
    add_processors,
    bridge_interface,
    child,
    letters,
    new_domain,
    start_memory,
    to_text,
)
from gnt.wire.calls import DiskDevice

_FILES: Final = frozenset({DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.GLUSTER})
_BOOT: Final = {"a": "fd", "c": "hd", "d": "cdrom", "n": "network"}
_PCI: Final = re.compile(
    r"(?:(?P<domain>[0-9a-f]{1,4}):)?(?P<bus>[0-9a-f]{1,2}):(?P<slot>[0-9a-f]{1,2})\.(?P<function>[0-7])", re.IGNORECASE
)
_SOUND: Final = {"es1370": "es1370", "ac97": "ac97", "sb16": "sb16", "hda": "ich6"}
_FIRST_VNC_PORT: Final = 5900


def pvm_domain(instance: InstanceSpec, disks: Sequence[DiskDevice], memory_free: int) -> str:
    """Give the XML of a paravirtual guest. `unsupported` names the parameter that libvirt cannot express."""
    given = instance.hvparams
    refuse_unsupported(given, hvm=False)
    domain = new_domain("xen", instance, start_memory(instance, memory_free))
    if given["use_bootloader"]:
        child(domain, "bootloader", given["bootloader_path"])
        if given["bootloader_args"]:
            child(domain, "bootloader_args", given["bootloader_args"])
    system = child(domain, "os")
    child(system, "type", "linux", arch="x86_64", machine="xenpv")
    if not given["use_bootloader"]:
        child(system, "kernel", given["kernel_path"])
        if given["initrd_path"]:
            child(system, "initrd", given["initrd_path"])
        root = f"root={given['root_path']}" if given["root_path"] else ""
        child(system, "cmdline", " ".join(word for word in (root, given["kernel_args"]) if word))
    add_processors(domain, int(instance.beparams["vcpus"]), given["cpu_mask"])
    _events(domain, given)
    devices = child(domain, "devices")
    for disk, source in zip(instance.disks, disks, strict=True):
        _disk(devices, disk, source, f"{given['blockdev_prefix']}{letters(disk.index)}", "xen")
    for nic in instance.nics:
        _interface(devices, nic, given)
    child(child(devices, "console", type="pty"), "target", type="xen", port=0)
    return to_text(domain)


def hvm_domain(
    instance: InstanceSpec, disks: Sequence[DiskDevice], memory_free: int, *, vnc_password: str | None
) -> str:
    """Give the XML of a guest with a whole virtual machine; the password is that of `vnc_password_file`."""
    given = instance.hvparams
    refuse_unsupported(given, hvm=True)
    domain = new_domain("xen", instance, start_memory(instance, memory_free))
    system = child(domain, "os")
    child(system, "type", "hvm", arch="x86_64", machine="xenfv")
    child(system, "loader", given["kernel_path"], type="rom")
    for letter in given["boot_order"]:
        child(system, "boot", dev=_BOOT[letter])
    features = child(domain, "features")
    child(features, "apic")
    for name in ("acpi", "pae", "viridian"):
        if given[name]:
            child(features, name)
    add_processors(domain, int(instance.beparams["vcpus"]), given["cpu_mask"])
    child(domain, "clock", offset="localtime" if given["use_localtime"] else "utc")
    _events(domain, given)
    devices = child(domain, "devices")
    child(devices, "emulator", given["device_model"])
    bus = "xen" if given["disk_type"] == "paravirtual" else "ide"
    for disk, source in zip(instance.disks, disks, strict=True):
        _disk(devices, disk, source, f"{given['blockdev_prefix']}{letters(disk.index)}", bus)
    if given["cdrom_image_path"]:
        cdrom = child(devices, "disk", type="file", device="cdrom")
        child(cdrom, "driver", name="qemu", type="raw")
        child(cdrom, "source", file=given["cdrom_image_path"])
        child(cdrom, "target", dev="hdc", bus="ide")
        child(cdrom, "readonly")
    for nic in instance.nics:
        emulated = given["nic_type"] != "paravirtual" and given["vif_type"] == "ioemu"
        _interface(devices, nic, given, model=given["nic_type"] if emulated else "netfront")
    child(child(devices, "serial", type="pty"), "target", port=0)
    child(child(devices, "console", type="pty"), "target", type="serial", port=0)
    child(devices, "input", type="tablet", bus="usb")
    _vnc(devices, instance, vnc_password)
    for model in given["soundhw"].split(",") if given["soundhw"] else []:
        child(devices, "sound", model=_SOUND[model])
    for address in given["pci_pass"].split(";") if given["pci_pass"] else []:
        _pci(devices, address)
    return to_text(domain)


def refuse_unsupported(given: Mapping[str, Any], *, hvm: bool) -> None:
    """Raise `unsupported` for the first parameter that libvirt cannot express."""
    for name, text, hint in _findings(given, hvm=hvm):
        value = given.get(name)
        raise NodeFailure("unsupported", f"Parameter '{name}': {text} (current value: '{value}')", hint=hint)


def _findings(given: Mapping[str, Any], *, hvm: bool) -> Iterator[tuple[str, str, str]]:
    if given["cpuid"]:
        yield "cpuid", "libvirt's Xen driver cannot set it", "leave it empty"
    for model in given["soundhw"].split(",") if given["soundhw"] else []:
        if not hvm:
            yield "soundhw", "a paravirtual guest has no sound card", "take xen-hvm, or leave it empty"
        elif model not in _SOUND:
            yield "soundhw", f"libvirt has no sound card {model}", f"known: {', '.join(_SOUND)}"
    if not hvm and given["use_bootloader"] and not given["bootloader_path"]:
        yield "bootloader_path", "libvirt needs to know the boot loader", "set it, for example to pygrub's path"
    for address in given.get("pci_pass", "").split(";") if given.get("pci_pass") else []:
        if not _PCI.fullmatch(address):
            yield "pci_pass", f"{address!r} is no PCI address", "write DOMAIN:BUS:SLOT.FUNCTION"


def _events(domain: ET.Element, given: Mapping[str, Any]) -> None:
    # Not `preserve`, as xl's own configuration has it: nothing of a guest stays when it ends, and that its user
    # halted it is remembered elsewhere.
    child(domain, "on_poweroff", "destroy")
    child(domain, "on_reboot", "destroy" if given["reboot_behavior"] == "exit" else "restart")
    child(domain, "on_crash", "restart")


def _disk(devices: ET.Element, disk: DiskSpec, device: DiskDevice, target: str, bus: str) -> None:
    if device.uri is not None:
        raise NodeFailure(
            "unsupported",
            f"disk/{disk.index}: Xen does not open {disk.dev_type} disks by itself",
            hint="set the disk parameter access to kernelspace",
        )
    if disk.dev_type is DiskTemplate.QCOW2:
        # As what it is not, a raw disk, the guest would write over it.
        raise NodeFailure(
            "unsupported", f"disk/{disk.index}: Xen guests have no disks in qcow2 images here", hint="modify -t file"
        )
    file = disk.dev_type in _FILES
    element = child(devices, "disk", type="file" if file else "block", device="disk")
    child(element, "driver", name="qemu" if file else "phy", type="raw")
    child(element, "source", **{"file" if file else "dev": device.link or device.path})
    child(element, "target", dev=target, bus=bus)
    if disk.mode == "ro":
        child(element, "readonly")


def _interface(devices: ET.Element, nic: NicSpec, given: Mapping[str, Any], model: str | None = None) -> None:
    if nic.mode == "routed":
        interface = child(devices, "interface", type="ethernet")
        child(interface, "mac", address=nic.mac)
    else:
        interface = bridge_interface(devices, nic)
    if nic.ip:
        child(interface, "ip", address=nic.ip)
    if given["vif_script"]:
        child(interface, "script", path=given["vif_script"])
    if model:
        child(interface, "model", type=model)


def _vnc(devices: ET.Element, instance: InstanceSpec, password: str | None) -> None:
    port = instance.network_port or 0
    graphics = child(
        devices,
        "graphics",
        type="vnc",
        port=port if port > _FIRST_VNC_PORT else -1,
        autoport="no" if port > _FIRST_VNC_PORT else "yes",
        passwd=password,
    )
    child(graphics, "listen", type="address", address=instance.hvparams["vnc_bind_address"])


def _pci(devices: ET.Element, address: str) -> None:
    match = _PCI.fullmatch(address)
    assert match is not None, "refuse_unsupported lets nothing else through"  # noqa: S101
    hostdev = child(devices, "hostdev", mode="subsystem", type="pci", managed="yes")
    numbers = {name: f"{int(match[name] or '0', 16):#x}" for name in ("domain", "bus", "slot", "function")}
    child(child(hostdev, "source"), "address", **numbers)
