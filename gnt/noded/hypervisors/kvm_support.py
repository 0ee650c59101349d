"""Which kvm parameters libvirt cannot express, and what to do instead. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gnt.model.errors import NodeFailure
from gnt.model.params_tables import HYPERVISOR

VIDEO: Final = {"std": "vga", "cirrus": "cirrus", "vmware": "vmvga", "qxl": "qxl", "virtio": "virtio", "none": "none"}
SOUND: Final = {
    "ac97": "ac97",
    "es1370": "es1370",
    "sb16": "sb16",
    "hda": "ich6",
    "pcspk": "pcspk",
    "usb-audio": "usb",
    "ich9-intel-hda": "ich9",
}
MIGRATION_CAPS: Final = frozenset({"xbzrle", "auto-converge", "multifd", "events"})
USB_INPUTS: Final = frozenset({"tablet", "mouse", "keyboard"})
USB_HOST: Final = re.compile(
    r"host:(?:(?P<vendor>[0-9a-fA-F]{4}):(?P<product>[0-9a-fA-F]{4})|(?P<bus>\d+)\.(?P<address>\d+))"
)
_CD_TYPES: Final = frozenset({"", "ide", "paravirtual", "scsi", "scsi-cd", "scsi-hd", "sd"})
_DISK_TYPES: Final = frozenset({"ide", "paravirtual", "scsi", "sd", "scsi-hd", "scsi-block", "scsi-generic"})


def words(value: str) -> list[str]:
    """Split a list of devices, joined by commas or blanks."""
    return [word for word in re.split(r"[,\s]+", value) if word]


def is_i440fx(machine: str) -> bool:
    """Say whether a machine type has the old PCI bus, whose slots are ours to give out; empty is the default `pc`."""
    return machine in {"", "pc"} or machine.startswith("pc-i440fx")


def unsupported(parameters: Mapping[str, Any]) -> Iterator[NodeFailure]:
    """Give a refusal for each parameter that is set to what libvirt cannot express."""
    for name, text, hint in _findings(parameters):
        value = parameters.get(name)
        yield NodeFailure("unsupported", f"Parameter '{name}': {text} (current value: '{value}')", hint=hint)


def refuse_unsupported(parameters: Mapping[str, Any]) -> None:
    """Raise the first refusal, if there is one."""
    for failure in unsupported(parameters):
        raise failure


def _findings(given: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield from _device_findings(given)
    in_qemu_conf = "set it for the whole node in libvirt's qemu.conf (vnc_tls, vnc_tls_x509_cert_dir)"
    for name in ("vnc_tls", "vnc_x509_path", "vnc_x509_verify"):
        if given.get(name):
            yield name, "VNC under TLS is a setting of the node, not of an instance", in_qemu_conf
    ciphers = HYPERVISOR["kvm"]["spice_tls_ciphers"].default
    if given.get("spice_use_tls") and given.get("spice_tls_ciphers", ciphers) != ciphers:
        yield "spice_tls_ciphers", "libvirt cannot set the ciphers of one guest", "leave it at its default"
    if given.get("use_chroot"):
        yield "use_chroot", "libvirt has no chroot", "libvirt runs each guest in namespaces of its own"
    if given.get("security_model") == "pool":
        yield "security_model", "a pool of user ids is not supported", "take user with security_domain, or none"
    unknown = {cap for cap in given.get("migration_caps", "").split(":") if cap} - MIGRATION_CAPS
    if unknown:
        known = f"known: {', '.join(sorted(MIGRATION_CAPS))}"
        yield "migration_caps", f"libvirt cannot set {', '.join(sorted(unknown))}", known
    reserved = HYPERVISOR["kvm"]["kvm_pci_reservations"].default
    if not is_i440fx(given.get("machine_version", "")) and given.get("kvm_pci_reservations", reserved) != reserved:
        yield "kvm_pci_reservations", "only the machine type pc has slots to reserve", "take machine_version pc"


def _device_findings(given: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if given.get("disk_type", "paravirtual") not in _DISK_TYPES:
        yield "disk_type", "libvirt has no such disk", "take paravirtual"
    if given.get("cdrom_disk_type", "") not in _CD_TYPES:
        yield "cdrom_disk_type", "libvirt has no such CD drive", "take ide or scsi-cd"
    if (given.get("cdrom_image_path") or given.get("cdrom2_image_path")) and not given.get("cdrom_disk_type"):
        disk_type = given.get("disk_type", "paravirtual")
        if disk_type in _DISK_TYPES - _CD_TYPES:
            yield "disk_type", "a CD cannot be of this type", "set cdrom_disk_type to ide or scsi-cd"
    if given.get("vga") and given["vga"] not in VIDEO:
        yield "vga", "libvirt has no such graphics card", f"known: {', '.join(VIDEO)}"
    for model in words(given.get("soundhw", "")):
        if model not in SOUND:
            yield "soundhw", f"libvirt has no sound card {model}", f"known: {', '.join(SOUND)}"
    for device in words(given.get("usb_devices", "")):
        if device not in USB_INPUTS and not USB_HOST.fullmatch(device):
            hint = "known: tablet, mouse, keyboard, host:VENDOR:PRODUCT, host:BUS.ADDRESS"
            yield "usb_devices", f"libvirt cannot attach {device}", hint
