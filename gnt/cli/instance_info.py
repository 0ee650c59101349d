"""What gnt-instance info says of an instance."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from gnt.cli.tree import Pairs
from gnt.model.units import format_size

Details = Mapping[str, Any]

_LOCAL: Final = {"ok": "ok", "missing": "*MISSING DISK*", "uncertain": "*UNCERTAIN STATE*", "faulty": "*FAILED*"}


def described(details: Details, *, static: bool) -> Pairs:
    """Give the description of one instance for people; `details` are those of `OP_INSTANCE_QUERY_DATA`."""
    nodes = [
        Pairs([("primary", details["pnode"]), ("group", _group(details))]),
        Pairs([("secondaries", ", ".join(details["snodes"]) or "-")]),
    ]
    return Pairs(
        [
            ("Instance name", details["name"]),
            ("UUID", details["uuid"]),
            ("Serial number", details["serial_no"]),
            ("Creation time", _when(details["ctime"])),
            ("Modification time", _when(details["mtime"])),
            ("State", _state(details, static=static)),
            ("Nodes", nodes),
            ("Operating system", details["os"] or "-"),
            ("Operating system parameters", _overridden(details["os_actual"], details["os_instance"])),
            ("Allocated network port", details["network_port"]),
            ("Hypervisor", details["hypervisor"]),
            *_display(details),
            ("Hypervisor parameters", _overridden(details["hv_actual"], details["hv_instance"])),
            ("Back-end parameters", _overridden(details["be_actual"], details["be_instance"])),
            ("NICs", [_nic(index, nic) for index, nic in enumerate(details["nics"])]),
            ("Disk template", details["disk_template"]),
            ("Disks", [_disk(f"disk/{index}", disk) for index, disk in enumerate(details["disks"])]),
        ]
    )


def _group(details: Details) -> str:
    return f"{details.get('pnode_group_name') or '?'} (UUID {details.get('pnode_group_uuid') or '?'})"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _state(details: Details, *, static: bool) -> str:
    configured = f"configured to be {details['config_state']}"
    if static:
        return configured
    return f"{configured}, actual state is {details.get('run_state') or 'unknown: its node does not answer'}"


def _overridden(actual: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Show each parameter's own value, or the default that holds for it."""
    return {key: own.get(key, f"default ({value})") for key, value in actual.items()}


def _display(details: Details) -> list[tuple[str, Any]]:
    """Say where the console of a guest with a VNC display is, if it has one."""
    bind, port = details["hv_actual"].get("vnc_bind_address"), details["network_port"]
    if not bind or port is None:
        return []
    number = f"(display {port - 5900})" if port >= 5900 else ""
    if bind == "0.0.0.0":  # noqa: S104  (a value that is read, not bound to)
        where = f"{details['pnode']}:{port} {number}"
    elif bind.startswith("/"):
        where = f"{details['pnode']}:{bind}"
    else:
        where = f"{bind}:{port} (node {details['pnode']}) {number}"
    return [("console connection", f"vnc to {where}".rstrip())]


def _nic(index: int, nic: Details) -> Pairs:
    keys = (("MAC", "mac"), ("IP", "ip"), ("mode", "mode"), ("link", "link"), ("vlan", "vlan"), ("network", "network"))
    shown: list[tuple[str, Any]] = [(title, _or_none(nic.get(key))) for title, key in keys]
    return Pairs([(f"nic/{index}", ""), *shown, ("UUID", nic["uuid"]), ("name", _or_none(nic["name"]))])


def _or_none(value: Any) -> str:
    return "None" if value is None else str(value)


def _disk(title: str, disk: Details) -> Pairs:
    shown: list[tuple[str, Any]] = [(title, f"{disk['dev_type']}, size {format_size(disk['size'])}")]
    if disk.get("spindles") is not None:
        shown.append(("spindles", disk["spindles"]))
    shown += [("access mode", disk["mode"]), ("logical_id", tuple(disk["logical_id"]))]
    shown += [("on primary", _status(disk["pstatus"]))] if disk.get("pstatus") else []
    shown += [("on secondary", _status(disk["sstatus"]))] if disk.get("sstatus") else []
    shown += [("name", _or_none(disk.get("name"))), ("UUID", disk["uuid"])]
    if disk.get("children"):
        children = [_disk(f"child {index}", child) for index, child in enumerate(disk["children"])]
        shown.append(("child devices", children))
    return Pairs(shown)


def _status(facts: Details) -> str:
    """Say what a node found of a disk."""
    parts = [str(facts.get("path") or "not active")]
    percent = facts.get("sync_percent")
    if percent is not None:
        eta = facts.get("estimated_time")
        parts.append(f"*RECOVERING* {percent:.2f}%, ETA {'unknown' if eta is None else f'{eta}s'}")
    if facts.get("degraded"):
        parts.append("*DEGRADED*")
    local = facts.get("local_status")
    if local is not None:
        parts.append(f"status {_LOCAL.get(str(local), str(local))}")
    return ", ".join(parts)
