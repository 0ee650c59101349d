"""What of a domain changes when it moves to another node: the paths. Pure.

Nodes may keep the same disk under different paths. The target says in its ticket where things are there; the source
writes that into the XML that it sends. What the guest sees stays the same, or libvirt refuses.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any


def places(xml: str) -> dict[str, Any]:
    """Give what belongs to the node in a domain: disks and bridges by device, logs, addresses of displays.

    Taken from the domain as the target would start it. Of a guest that was given devices while it ran, their order and
    the names of its disks are others: what a device is, its alias says.
    """
    domain = ET.fromstring(xml)  # noqa: S314 - our own text
    disks = {}
    for disk in domain.iterfind("devices/disk"):
        source = disk.find("source")
        if source is not None and disk.get("type") in {"file", "block"}:
            disks[_named(disk)] = {"type": disk.get("type"), **source.attrib}
    logs = [log.get("file") for log in domain.iterfind("devices/serial/log")]
    bridges = {_named(nic): bridge for nic, _source, bridge in _bridged(domain)}
    listens = [listen.get("address") for listen in domain.iterfind("devices/graphics/listen[@address]")]
    return {"disks": disks, "logs": logs, "bridges": bridges, "listens": listens}


def retarget(xml: str, there: Mapping[str, Any]) -> str:
    """Give the domain with the paths of the target."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own text
    for disk in domain.iterfind("devices/disk"):
        source = disk.find("source")
        new = there.get("disks", {}).get(_named(disk))
        if source is not None and new:
            attributes = dict(new)
            disk.set("type", attributes.pop("type"))
            for name in ("file", "dev"):
                source.attrib.pop(name, None)
            source.attrib.update(attributes)
    for log, path in zip(domain.iterfind("devices/serial/log"), there.get("logs", []), strict=False):
        log.set("file", path)
    for log, path in zip(domain.iterfind("devices/console/log"), there.get("logs", []), strict=False):
        log.set("file", path)
    for nic, source, bridge in _bridged(domain):
        source.set("bridge", there.get("bridges", {}).get(_named(nic), bridge))
    for graphics, address in zip(domain.iterfind("devices/graphics[@listen]"), there.get("listens", []), strict=False):
        graphics.set("listen", address)
    listens = domain.iterfind("devices/graphics/listen[@address]")
    for listen, address in zip(listens, there.get("listens", []), strict=False):
        listen.set("address", address)
    return ET.tostring(domain, encoding="unicode")


def _named(device: ET.Element) -> str:
    """Name a device: by its alias, or by the target where it has none (a CD)."""
    alias, target = device.find("alias"), device.find("target")
    if alias is not None and alias.get("name", "").startswith("ua-"):
        return alias.get("name", "")
    return target.get("dev", "") if target is not None else ""


def _bridged(domain: ET.Element) -> list[tuple[ET.Element, ET.Element, str]]:
    """Give the interfaces on bridges, with their sources and bridges."""
    found = []
    for nic in domain.iterfind("devices/interface"):
        source = nic.find("source[@bridge]")
        if source is not None:
            found.append((nic, source, source.get("bridge", "")))
    return found
