"""gnt-network: the networks that instances are in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Program
from gnt.cli.failures import OK
from gnt.cli.filters import any_value
from gnt.cli.list_commands import LISTS
from gnt.cli.lists import query_objects
from gnt.cli.network_changes import CHANGES
from gnt.cli.past import AT, info_at
from gnt.cli.tags import tag_commands
from gnt.cli.terminal import say

MAP_WIDTH: Final = 64

_INFO_FIELDS: Final = (
    "name",
    "uuid",
    "serial_no",
    "network",
    "gateway",
    "network6",
    "gateway6",
    "mac_prefix",
    "free_count",
    "reserved_count",
    "map",
    "external_reservations",
    "group_list",
    "inst_list",
)


def _info(call: Call) -> int:
    if call.option("at") is not None:
        return info_at(call, "network")
    found = query_objects(call, "network", _INFO_FIELDS, call.arguments)
    users = sorted({name for network in found for name in network["inst_list"] or ()})
    addresses = _addresses(call, users)
    if call.json:
        call.print_json(found)
        return OK
    for network in found:
        for line in described(network, addresses):
            say(line)
    return OK


def _addresses(call: Call, instances: Sequence[str]) -> Mapping[str, list[tuple[str | None, str | None]]]:
    """Give network (UUID) and address of each interface of these instances."""
    if not instances or call.json:
        return {}
    fields = ("name", "nic.networks", "nic.ips")
    rows = query_objects(call, "instance", fields, also=any_value("name", instances))
    return {row["name"]: list(zip(row["nic.networks"], row["nic.ips"], strict=True)) for row in rows}


def described(
    network: Mapping[str, Any], addresses: Mapping[str, Sequence[tuple[str | None, str | None]]]
) -> Iterator[str]:
    """Give the lines about a network."""
    yield f"Network name: {network['name']}"
    yield f"UUID: {network['uuid']}"
    yield f"Serial number: {network['serial_no']}"
    for label, field in (
        ("Subnet", "network"),
        ("Gateway", "gateway"),
        ("IPv6 Subnet", "network6"),
        ("IPv6 Gateway", "gateway6"),
        ("Mac Prefix", "mac_prefix"),
    ):
        yield f"  {label}: {network[field] or ''}".rstrip()
    free, used = network["free_count"], network["reserved_count"]
    size = free + used
    yield f"  Size: {size}"
    yield f"  Free: {free} ({100 * free / size if size else 0:.2f}%)"
    yield from _usage(network["map"])
    yield "  externally reserved IPs:"
    yield from (f"    {each}" for each in (network["external_reservations"] or "").split(", ") if each)
    yield from _groups(network["group_list"] or [])
    yield from _users(network, addresses)


def _usage(used: str) -> Iterator[str]:
    yield "  Usage map:"
    for begin in range(0, len(used), MAP_WIDTH):
        part = used[begin : begin + MAP_WIDTH]
        yield f"     {begin} {part} {begin + len(part) - 1}"
    yield "         (X) used    (.) free"


def _groups(groups: Sequence[Sequence[str]]) -> Iterator[str]:
    if not groups:
        yield "  not connected to any node group"
        return
    yield "  connected to node groups:"
    for name, mode, link, vlan in groups:
        yield f"    {name} (mode:{mode} link:{link} vlan:{vlan})"


def _users(
    network: Mapping[str, Any], addresses: Mapping[str, Sequence[tuple[str | None, str | None]]]
) -> Iterator[str]:
    names = network["inst_list"] or []
    if not names:
        yield "  not used by any instances"
        return
    yield f"  used by {len(names)} instances:"
    for name in names:
        own = [
            f"{index}:{address or '-'}"
            for index, (where, address) in enumerate(addresses.get(name, ()))
            if where == network["uuid"]
        ]
        yield f"    {name}: {', '.join(own)}"


PROGRAM = Program(
    name="gnt-network",
    help="make, change, list and remove the networks of instances",
    commands=(
        *LISTS["gnt-network"],
        Command(
            name="info",
            help="show networks with their addresses and who uses them",
            run=_info,
            options=(AT,),
            arguments=(Argument("network", 0, None, kind="network"),),
            text="With --json: a list of objects, one for each network.",
            examples=("gnt-network info net1",),
        ),
        *CHANGES,
        *tag_commands("network", "network"),
    ),
)
