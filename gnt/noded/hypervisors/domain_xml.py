"""What the domain XML of all of libvirt's hypervisors has in common. Pure: values in, XML out.

Our domains carry a mark in libvirt's metadata, so that foreign domains on the same libvirt are told apart.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gnt.model.errors import NodeFailure
from gnt.model.specs import InstanceSpec, NicSpec
from gnt.wire.calls import DiskDevice

MARK: Final = "urn:gnt:guest"
QEMU: Final = "http://libvirt.org/schemas/domain/qemu/1.0"

ET.register_namespace("gnt", MARK)
ET.register_namespace("qemu", QEMU)


@dataclass(frozen=True)
class Remark:
    """Something about a domain that was not done as asked, for the log: harmless, but worth a line."""

    text: str


def child(parent: ET.Element, tag: str, text: str | None = None, **attributes: str | int | None) -> ET.Element:
    """Add an element; attributes that are None are left out, a trailing underscore in their names is not part of it."""
    made = ET.SubElement(parent, tag, {k.rstrip("_"): str(v) for k, v in attributes.items() if v is not None})
    made.text = text
    return made


def to_text(domain: ET.Element) -> str:
    """Give the XML as indented text."""
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def new_domain(
    kind: str, instance: InstanceSpec, start_memory: int, *, configured: Sequence[NicSpec] = ()
) -> ET.Element:
    """Begin a domain: identity, our mark, memory (MiB). `configured` are interfaces that noded itself sets up."""
    domain = ET.Element("domain", {"type": kind})
    child(domain, "name", instance.name)
    child(domain, "uuid", instance.uuid)
    mark = ET.SubElement(child(domain, "metadata"), f"{{{MARK}}}guest", {"hypervisor": instance.hypervisor})
    if instance.hvparams.get("user_shutdown"):
        mark.set("user_shutdown", "yes")
    if configured:
        ET.SubElement(mark, f"{{{MARK}}}nics").text = msgspec.json.encode(list(configured)).decode()
        ET.SubElement(mark, f"{{{MARK}}}tags").text = " ".join(instance.tags)
    child(domain, "memory", str(most_memory(instance)), unit="MiB")
    child(domain, "currentMemory", str(start_memory), unit="MiB")
    return domain


def most_memory(instance: InstanceSpec) -> int:
    """Give `maxmem` (MiB)."""
    return int(instance.beparams["maxmem"])


def start_memory(instance: InstanceSpec, free: int) -> int:
    """Give the memory (MiB) to start with: all of `maxmem` where the node has it free, never below `minmem`."""
    return max(int(instance.beparams["minmem"]), min(most_memory(instance), free))


def add_processors(domain: ET.Element, vcpus: int, mask: str) -> ET.Element | None:
    """Add virtual processors, pinned as `cpu_mask` says; gives the element for more tuning, if there is one.

    One part pins all processors together; several, joined by colons, pin each. `parameter` if their number is wrong.
    """
    parts = mask.split(":")
    child(domain, "vcpu", str(vcpus), cpuset=None if len(parts) > 1 or mask == "all" else mask.replace(" ", ""))
    if len(parts) == 1:
        return None
    if len(parts) != vcpus:
        raise NodeFailure(
            "parameter",
            f"Parameter 'cpu_mask' fails validation: {len(parts)} masks for {vcpus} virtual CPUs"
            f" (current value: '{mask}')",
            hint="give one mask, or one for each virtual CPU",
        )
    tune = child(domain, "cputune")
    for number, part in enumerate(parts):
        if part != "all":
            child(tune, "vcpupin", vcpu=number, cpuset=part.replace(" ", ""))
    return tune


def letters(number: int) -> str:
    """Count as disks are counted: 0 is `a`, 25 `z`, 26 `aa`."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def device_id(kind: str, uuid: str) -> str:
    """Name a device by the first three groups of its UUID: `disk-9c7a30ad-f1a5-4d0f`."""
    return f"{kind}-{uuid.rsplit('-', 2)[0]}"


def with_sources(xml: str, sources: Mapping[str, DiskDevice]) -> str:
    """Give a domain's XML with its disks, named by their aliases, at the devices that they have now."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own text
    for disk in domain.iterfind("devices/disk"):
        alias, source = disk.find("alias"), disk.find("source")
        device = sources.get(alias.get("name", "")) if alias is not None else None
        if device is None or source is None or device.uri is not None:
            continue
        for key in ("file", "dev"):
            if key in source.attrib:
                source.set(key, device.link or device.path)
    return ET.tostring(domain, encoding="unicode")


class Targets:
    """Gives out device names: `vda`, `vdb`, `hda` and so on, but none of `taken`."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._used: dict[str, int] = {}
        self._taken = frozenset(taken)

    def next(self, prefix: str) -> str:
        """Give the next name with that prefix."""
        while True:
            number = self._used.get(prefix, 0)
            self._used[prefix] = number + 1
            name = prefix + letters(number)
            if name not in self._taken:
                return name


def bridge_interface(devices: ET.Element, nic: NicSpec) -> ET.Element:
    """Add an interface on a bridge or an Open vSwitch; libvirt makes its tap device."""
    interface = child(devices, "interface", type="bridge")
    child(interface, "source", bridge=nic.link)
    child(interface, "mac", address=nic.mac)
    if nic.mode == "openvswitch":
        child(interface, "virtualport", type="openvswitch")
        add_vlans(interface, nic)
    elif nic.vlan:
        raise NodeFailure(
            "unsupported",
            f"nic/{nic.index}: a vlan on a plain bridge is not supported by this libvirt",
            hint="take mode openvswitch, or a bridge for each vlan",
        )
    return interface


def add_vlans(interface: ET.Element, nic: NicSpec) -> None:
    """Add vlan tags: `.N` untagged, `:N:M` tagged, `.N:M` both; a bare number is `.N`."""
    if not nic.vlan:
        return
    text = nic.vlan if nic.vlan[0] in ".:" else f".{nic.vlan}"
    access, _, trunk = text.partition(":")
    tagged = [tag for tag in trunk.split(":") if tag]
    native = access.removeprefix(".")
    if not all(tag.isdigit() for tag in [*tagged, *([native] if native else [])]):
        raise NodeFailure("parameter", f"nic/{nic.index}: vlan {nic.vlan!r} is neither .N, :N[:M] nor .N:M")
    vlan = child(interface, "vlan", trunk="yes" if tagged else None)
    if native:
        child(vlan, "tag", id=native, nativeMode="untagged" if tagged else None)
    for tag in tagged:
        child(vlan, "tag", id=tag)
