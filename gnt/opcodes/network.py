"""Opcodes about networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

from gnt.opcodes.base import Doc, Opcode
from gnt.opcodes.fields import (
    AddReservedIps,
    ConflictsCheck,
    Gateway,
    Gateway6,
    GroupName,
    MacPrefix,
    Network6,
    NetworkName,
    NewName,
)
from gnt.opcodes.parameter_types import Name, NicMode

NONE: Final = "none"
"""The word that takes a value away from a network that is there."""


class NetworkAdd(Opcode, frozen=True, kw_only=True, tag="OP_NETWORK_ADD"):
    """Make a network from which guests get their addresses."""

    SUMMARY_FIELD: ClassVar[str] = "network_name"
    SINCE: ClassVar[str] = "2.7"

    network_name: Annotated[str, Doc("name of the new network", min_length=1)]
    network: Annotated[str, Doc("the IPv4 subnet, as address/prefix from /16 to /30")]
    gateway: Gateway = None
    network6: Network6 = None
    gateway6: Gateway6 = None
    mac_prefix: MacPrefix = None
    add_reserved_ips: AddReservedIps = None
    conflicts_check: ConflictsCheck = True
    tags: Annotated[tuple[Name, ...], Doc("tags of the new network")] = ()

    def __post_init__(self) -> None:
        """Refuse texts that are no addresses."""
        _check_subnet(self, "network", self.network, ipaddress.IPv4Network)
        _check_subnet(self, "network6", self.network6, ipaddress.IPv6Network)
        _check_routers(self)
        _check_addresses(self, "add_reserved_ips", self.add_reserved_ips)


class NetworkSetParams(Opcode, frozen=True, kw_only=True, tag="OP_NETWORK_SET_PARAMS"):
    """Change a network's parameters; what is left out stays."""

    SUMMARY_FIELD: ClassVar[str] = "network_name"
    SINCE: ClassVar[str] = "2.7"

    network_name: NetworkName
    gateway: Gateway = None
    network6: Network6 = None
    gateway6: Gateway6 = None
    mac_prefix: MacPrefix = None
    add_reserved_ips: AddReservedIps = None
    remove_reserved_ips: Annotated[tuple[str, ...] | None, Doc("IPv4 addresses that guests may get again")] = None

    def __post_init__(self) -> None:
        """Refuse texts that are no addresses; the word `none` takes a value away."""
        if self.network6 != NONE:
            _check_subnet(self, "network6", self.network6, ipaddress.IPv6Network)
        _check_routers(self)
        _check_addresses(self, "add_reserved_ips", self.add_reserved_ips)
        _check_addresses(self, "remove_reserved_ips", self.remove_reserved_ips)


class NetworkRename(Opcode, frozen=True, kw_only=True, tag="OP_NETWORK_RENAME"):
    """Give a network another name."""

    SINCE: ClassVar[str] = "3.1"

    network_name: NetworkName
    new_name: NewName


class NetworkRemove(Opcode, frozen=True, kw_only=True, tag="OP_NETWORK_REMOVE"):
    """Remove a network that no node group is connected to."""

    SUMMARY_FIELD: ClassVar[str] = "network_name"
    SINCE: ClassVar[str] = "2.7"

    network_name: NetworkName
    force: Annotated[bool, Doc("remove the network although a check objects, where the objection is not fatal")] = False


class NetworkConnect(Opcode, frozen=True, kw_only=True, tag="OP_NETWORK_CONNECT"):
    """Say how a node group's nodes reach a network."""

    SUMMARY_FIELD: ClassVar[str] = "network_name"
    SINCE: ClassVar[str] = "2.7"

    group_name: GroupName
    network_name: NetworkName
    network_mode: Annotated[NicMode, Doc("how interfaces of this network are connected on the group's nodes")]
    network_link: Annotated[str, Doc("bridge, switch or routing table on the group's nodes", min_length=1)]
    network_vlan: Annotated[str, Doc("VLAN on the switch; empty for none")] = ""
    conflicts_check: ConflictsCheck = True


class NetworkDisconnect(Opcode, frozen=True, kw_only=True, tag="OP_NETWORK_DISCONNECT"):
    """Take a network away from a node group."""

    SUMMARY_FIELD: ClassVar[str] = "network_name"
    SINCE: ClassVar[str] = "2.7"

    group_name: GroupName
    network_name: NetworkName


def _check_subnet(
    opcode: Opcode, path: str, text: str | None, kind: type[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> None:
    """Refuse what is not `address/prefix` of the kind; bits beyond the prefix may be set."""
    if text is None:
        return
    wanted = f"an {kind.__name__.removesuffix('Network')} subnet as address/prefix"
    if "/" not in text:
        raise opcode.fault(path, f"expected {wanted}, got {text!r}")
    try:
        kind(text, strict=False)
    except ValueError:
        raise opcode.fault(path, f"expected {wanted}, got {text!r}") from None


def _check_routers(opcode: NetworkAdd | NetworkSetParams) -> None:
    """Refuse router addresses that are none."""
    taken_away = isinstance(opcode, NetworkSetParams)
    if not (taken_away and opcode.gateway == NONE):
        _check_addresses(opcode, "gateway", opcode.gateway)
    if opcode.gateway6 is None or (taken_away and opcode.gateway6 == NONE):
        return
    try:
        ipaddress.IPv6Address(opcode.gateway6)
    except ValueError:
        raise opcode.fault("gateway6", f"expected an IPv6 address, got {opcode.gateway6!r}") from None


def _check_addresses(opcode: Opcode, path: str, texts: str | Sequence[str] | None) -> None:
    """Refuse what is not an IPv4 address, or a list with such an item."""
    listed = texts is not None and not isinstance(texts, str)
    for index, text in enumerate([texts] if isinstance(texts, str) else texts or ()):
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            where = f"{path}[{index}]" if listed else path
            raise opcode.fault(where, f"expected an IPv4 address, got {text!r}") from None
