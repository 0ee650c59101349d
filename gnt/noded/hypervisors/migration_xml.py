"""What of a domain changes when it moves to another node: the paths. Pure.

Nodes may keep the same disk under different paths. The target says in its ticket where things are there; the source
writes that into the XML that it sends. What the guest sees stays the same, or libvirt refuses.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any


def places(xml: str) -> dict[str, Any]:
    """Give what belongs to the node in a domain: disks by target name, logs, bridges, addresses of displays.

    Taken from the domain as the target would start it.
    """
    domain = ET.fromstring(xml)  # noqa: S314 - our own text
    disks = {}
    for disk in domain.iterfind("devices/disk"):
        target, source = disk.find("target"), disk.find("source")
        if target is not None and source is not None and disk.get("type") in {"file", "block"}:
            disks[target.get("dev")] = {"type": disk.get("type"), **source.attrib}
    logs = [log.get("file") for log in domain.iterfind("devices/serial/log")]
    bridges = [source.get("bridge") for source in domain.iterfind("devices/interface/source[@bridge]")]
    listens = [listen.get("address") for listen in domain.iterfind("devices/graphics/listen[@address]")]
    return {"disks": disks, "logs": logs, "bridges": bridges, "listens": listens}


def retarget(xml: str, there: Mapping[str, Any]) -> str:
    """Give the domain with the paths of the target."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's own text
    for disk in domain.iterfind("devices/disk"):
        target, source = disk.find("target"), disk.find("source")
        new = there.get("disks", {}).get(target.get("dev")) if target is not None else None
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
    sources = domain.iterfind("devices/interface/source[@bridge]")
    for source, bridge in zip(sources, there.get("bridges", []), strict=False):
        source.set("bridge", bridge)
    for graphics, address in zip(domain.iterfind("devices/graphics[@listen]"), there.get("listens", []), strict=False):
        graphics.set("listen", address)
    listens = domain.iterfind("devices/graphics/listen[@address]")
    for listen, address in zip(listens, there.get("listens", []), strict=False):
        listen.set("address", address)
    return ET.tostring(domain, encoding="unicode")
