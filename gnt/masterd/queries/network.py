"""The fields of networks: `spec/query-fields.json`, resource `network`."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from gnt.masterd.queries.fields import Fields, attribute, fields, number, other, stamps, text, viewed
from gnt.masterd.queries.view import View
from gnt.model.objects import Network


def _used(network: Network) -> str:
    """Give one character for each address: `X` used, by an instance or from outside, `.` free."""
    length = max(len(network.reservations), len(network.ext_reservations))
    if not length:
        return "." * ipaddress.ip_network(network.network, strict=False).num_addresses
    ours, others = network.reservations.ljust(length, "0"), network.ext_reservations.ljust(length, "0")
    return "".join("X" if "1" in pair else "." for pair in zip(ours, others, strict=True))


def _external(_view: View, network: Network) -> str:
    """Give the addresses that were taken from outside, joined by commas."""
    first = ipaddress.ip_network(network.network, strict=False)[0]
    return ", ".join(str(first + index) for index, used in enumerate(network.ext_reservations) if used == "1")


def _groups(view: View, network: Network) -> list[list[Any]]:
    """Give name, mode, link and vlan of each group that the network is connected to."""
    groups = view.tables.groups.in_order(view.cluster.groups)
    connected = [(group.name, group.networks[network.uuid]) for group in groups if network.uuid in group.networks]
    return [[name, how.get("mode", ""), how.get("link", ""), how.get("vlan", "")] for name, how in connected]


def _instances(view: View, network: Network) -> list[str]:
    return view.network_users.get(network.uuid, [])


NETWORK: Final[Fields] = fields(
    "name",
    [
        text("name", "Network", "Name of the network", attribute("name")),
        text("network", "Subnet", "Its IPv4 addresses", attribute("network")),
        other("gateway", "Gateway", "IPv4 router", attribute("gateway")),
        other("network6", "IPv6Subnet", "Its IPv6 addresses", attribute("network6")),
        other("gateway6", "IPv6Gateway", "IPv6 router", attribute("gateway6")),
        other("mac_prefix", "MacPrefix", "How MAC addresses in it begin", attribute("mac_prefix")),
        text(
            "map",
            "Map",
            "One character for each address: X used, . free",
            viewed(lambda _view, network: _used(network)),
        ),
        number("free_count", "FreeCount", "Free addresses", viewed(lambda _view, network: _used(network).count("."))),
        number(
            "reserved_count",
            "ReservedCount",
            "Used addresses",
            viewed(lambda _view, network: _used(network).count("X")),
        ),
        text("external_reservations", "ExternalReservations", "Addresses used outside the cluster", viewed(_external)),
        number(
            "group_cnt",
            "NodeGroups",
            "How many node groups it is connected to",
            viewed(lambda view, network: len(_groups(view, network))),
        ),
        other("group_list", "GroupList", "Node groups, each with mode, link and VLAN", viewed(_groups)),
        number(
            "inst_cnt",
            "Instances",
            "How many instances are in it",
            viewed(lambda view, network: len(_instances(view, network))),
        ),
        other("inst_list", "InstanceList", "Instances that are in it", viewed(_instances)),
    ],
    stamps("network"),
)
