"""The fields of instances about their disks and interfaces, one by one and as lists."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from gnt.masterd.queries.fields import (
    NORMAL,
    UNAVAILABLE,
    Bind,
    Cell,
    Field,
    FieldKind,
    Getter,
    number,
    other,
    plainly,
)
from gnt.masterd.queries.view import View
from gnt.model.objects import Disk, Instance, Nic, NicMode, Params
from gnt.model.params import fill_nic

_INDEXED: Final = re.compile(r"([a-z.]+)/(0|[1-9][0-9]{0,3})", re.ASCII)

OfDisk = Callable[[Disk], Any]
OfNic = Callable[[View, Nic, Params], Any]


def _nics(view: View, instance: Instance) -> list[tuple[Nic, Params]]:
    group = view.group_of(instance.primary_node)
    return [(nic, fill_nic(view.cluster, group, nic)) for nic in instance.nics]


def _network_name(view: View, nic: Nic, _filled: Params) -> str | None:
    network = view.cluster.networks.get(nic.network) if nic.network else None
    return None if network is None else network.name


def _bridge(_view: View, _nic: Nic, filled: Params) -> Any:
    return filled["link"] if filled["mode"] in (NicMode.BRIDGED, NicMode.OPENVSWITCH) else None


def _disk_cells(get: OfDisk) -> Bind:
    """Bind a list with an item for each disk."""
    return lambda view: lambda instance: (NORMAL, [get(disk) for disk in view.disks_of(instance)])


def _nic_cells(get: OfNic, *, filled: bool) -> Bind:
    """Bind a list with an item for each interface; `filled`: the value depends on filled parameters."""
    if not filled:
        return lambda view: lambda instance: (NORMAL, [get(view, nic, {}) for nic in instance.nics])
    return lambda view: lambda instance: (NORMAL, [get(view, nic, own) for nic, own in _nics(view, instance)])


def _one_disk(get: OfDisk, index: int) -> Bind:
    """Bind the value of one disk."""

    def bind(view: View) -> Getter:
        def cell(instance: Instance) -> Cell:
            if index >= len(instance.disks):
                return UNAVAILABLE
            disk = view.disks.get(instance.disks[index])
            value = None if disk is None else get(disk)
            return UNAVAILABLE if value is None else (NORMAL, value)

        return cell

    return bind


def _one_nic(get: OfNic, index: int, *, filled: bool) -> Bind:
    """Bind the value of one interface."""

    def bind(view: View) -> Getter:
        def cell(instance: Instance) -> Cell:
            if index >= len(instance.nics):
                return UNAVAILABLE
            nic = instance.nics[index]
            own = fill_nic(view.cluster, view.group_of(instance.primary_node), nic) if filled else {}
            value = get(view, nic, own)
            return UNAVAILABLE if value is None else (NORMAL, value)

        return cell

    return bind


# Name of the family, title before the number, name and title of the list, what it is, how it is read.
_DISK: Final[list[tuple[str, str, FieldKind, str, str, str, OfDisk]]] = [
    ("disk.size", "Disk", FieldKind.UNIT, "disk.sizes", "Disk_sizes", "Size", lambda disk: disk.size),
    ("disk.name", "DiskName", FieldKind.TEXT, "disk.names", "Disk_names", "Name", lambda disk: disk.name),
    ("disk.uuid", "DiskUUID", FieldKind.TEXT, "disk.uuids", "Disk_UUIDs", "UUID", lambda disk: disk.uuid),
    (
        "disk.spindles",
        "DiskSpindles",
        FieldKind.NUMBER,
        "disk.spindles",
        "Disk_spindles",
        "Spindles",
        lambda disk: disk.spindles,
    ),
]
_NIC: Final[list[tuple[str, str, str, str, str, OfNic, bool]]] = [
    ("nic.ip", "NicIP", "nic.ips", "NIC_IPs", "IP address", lambda _view, nic, _own: nic.ip, False),
    ("nic.mac", "NicMAC", "nic.macs", "NIC_MACs", "MAC address", lambda _view, nic, _own: nic.mac, False),
    ("nic.name", "NicName", "nic.names", "NIC_Names", "Name", lambda _view, nic, _own: nic.name, False),
    ("nic.uuid", "NicUUID", "nic.uuids", "NIC_UUIDs", "UUID", lambda _view, nic, _own: nic.uuid, False),
    ("nic.mode", "NicMode", "nic.modes", "NIC_modes", "Mode", lambda _view, _nic, own: own["mode"], True),
    ("nic.link", "NicLink", "nic.links", "NIC_links", "Link", lambda _view, _nic, own: own["link"], True),
    ("nic.vlan", "NicVLAN", "nic.vlans", "NIC_VLANs", "VLAN", lambda _view, _nic, own: own["vlan"], True),
    (
        "nic.network",
        "NicNetwork",
        "nic.networks",
        "NIC_networks",
        "Network",
        lambda _view, nic, _own: nic.network,
        False,
    ),
    (
        "nic.network.name",
        "NicNetworkName",
        "nic.networks.names",
        "NIC_networks_names",
        "Name of the network",
        _network_name,
        False,
    ),
    ("nic.bridge", "NicBridge", "nic.bridges", "NIC_bridges", "Bridge", _bridge, True),
]
_DISK_FAMILIES: Final = {row[0]: row for row in _DISK}
_NIC_FAMILIES: Final = {row[0]: row for row in _NIC}


def device_field(name: str) -> Field | None:
    """Make the field of one disk or interface, such as `disk.size/0`."""
    match = _INDEXED.fullmatch(name)
    if match is None:
        return None
    family, index = match[1], int(match[2])
    if family in _DISK_FAMILIES:
        _, title, kind, _, _, what, of_disk = _DISK_FAMILIES[family]
        return Field(name, f"{title}/{index}", kind, f"{what} of disk {index}", _one_disk(of_disk, index))
    if family in _NIC_FAMILIES:
        _, title, _, _, what, of_nic, filled = _NIC_FAMILIES[family]
        bind = _one_nic(of_nic, index, filled=filled)
        return Field(name, f"{title}/{index}", FieldKind.TEXT, f"{what} of interface {index}", bind)
    return None


def _alias(name: str, of: str) -> Field:
    """Make a field under the name that it had before there were several disks and interfaces."""
    field = device_field(of)
    if field is None:
        raise AssertionError(of)
    return Field(name, field.title, field.kind, f"{field.doc}, as {of}", field.bind)


DEVICES: Final[list[Field]] = [
    number("disk.count", "Disks", "How many disks it has", plainly(lambda instance: len(instance.disks))),
    number("nic.count", "NICs", "How many interfaces it has", plainly(lambda instance: len(instance.nics))),
    *(other(name, title, f"{what} of each disk", _disk_cells(get)) for _, _, _, name, title, what, get in _DISK),
    *(
        other(name, title, f"{what} of each interface", _nic_cells(get, filled=filled))
        for _, _, name, title, what, get, filled in _NIC
    ),
    _alias("sda_size", "disk.size/0"),
    _alias("sdb_size", "disk.size/1"),
    _alias("ip", "nic.ip/0"),
    _alias("mac", "nic.mac/0"),
    _alias("bridge", "nic.bridge/0"),
    _alias("nic_mode", "nic.mode/0"),
    _alias("nic_link", "nic.link/0"),
    _alias("nic_network", "nic.network/0"),
]
