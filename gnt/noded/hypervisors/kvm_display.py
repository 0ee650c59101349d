"""VNC, SPICE and the graphics card of a kvm guest, as domain XML. Pure.

Passwords get into the XML, which libvirt hands to the emulator over its monitor: never onto a command line.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gnt.model.specs import InstanceSpec
from gnt.noded.hypervisors.domain_xml import Remark, child
from gnt.noded.hypervisors.kvm_support import VIDEO

if TYPE_CHECKING:
    from gnt.noded.hypervisors.kvm_xml import KvmHost

FIRST_PORT: Final = 5900
"""VNC counts its displays from this port."""
_VNC_PASSWORD: Final = 8
"""VNC's own challenge looks at eight characters and no more; libvirt refuses longer passwords."""


def has_vnc(instance: InstanceSpec) -> bool:
    """Say whether the guest gets a VNC display: over a network it needs a port above 5900."""
    bind = instance.hvparams["vnc_bind_address"]
    return bool(bind) and (bind.startswith("/") or (instance.network_port or 0) > FIRST_PORT)


def add_display(devices: ET.Element, instance: InstanceSpec, host: KvmHost, remarks: list[Remark]) -> None:
    """Add the displays and a graphics card, if there is something to show."""
    given = instance.hvparams
    video = VIDEO.get(given["vga"])
    if has_vnc(instance):
        _vnc(devices, instance, host)
        video = video or "vga"
    elif given["vnc_bind_address"]:
        remarks.append(Remark(f"VNC is off: the instance has no port above {FIRST_PORT}"))
    if given["spice_bind"]:
        _spice(devices, instance, host)
        video = video or "qxl"
    if video:
        child(child(devices, "video"), "model", type=video)


def _vnc(devices: ET.Element, instance: InstanceSpec, host: KvmHost) -> None:
    given = instance.hvparams
    over_socket = given["vnc_bind_address"].startswith("/")
    password = host.vnc_password[:_VNC_PASSWORD] if host.vnc_password is not None else None
    graphics = child(
        devices,
        "graphics",
        type="vnc",
        port=None if over_socket else instance.network_port,
        autoport=None if over_socket else "no",
        keymap=given["keymap"] or None,
        passwd=password,
    )
    if over_socket:
        child(graphics, "listen", type="socket", socket=f"{given['vnc_bind_address']}/{instance.name}.vnc")
    else:
        child(graphics, "listen", type="address", address=host.vnc_address or given["vnc_bind_address"])


def _spice(devices: ET.Element, instance: InstanceSpec, host: KvmHost) -> None:
    given = instance.hvparams
    tls = bool(given["spice_use_tls"])
    graphics = child(
        devices,
        "graphics",
        type="spice",
        port=None if tls else instance.network_port,
        tlsPort=instance.network_port if tls else None,
        autoport="no",
        defaultMode="secure" if tls else None,
        keymap=given["keymap"] or None,
        passwd=host.spice_password,
    )
    child(graphics, "listen", type="address", address=host.spice_address or given["spice_bind"])
    _spice_compression(graphics, given)
    if given["spice_use_vdagent"]:
        agent = child(devices, "channel", type="spicevmc")
        child(agent, "target", type="virtio", name="com.redhat.spice.0")


def _spice_compression(graphics: ET.Element, given: Mapping[str, Any]) -> None:
    for tag, parameter in (
        ("image", "spice_image_compression"),
        ("jpeg", "spice_jpeg_wan_compression"),
        ("zlib", "spice_zlib_glz_wan_compression"),
    ):
        if given[parameter]:
            child(graphics, tag, compression=given[parameter])
    child(graphics, "playback", compression="on" if given["spice_playback_compression"] else "off")
    if given["spice_streaming_video"]:
        child(graphics, "streaming", mode=given["spice_streaming_video"])
