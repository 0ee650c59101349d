"""Lists for which nodes are asked by a job: their guest OS definitions, volumes and storage units.

They stand apart from the programs, as all lists do, and load no opcodes: the master checks what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.failures import OK
from gnt.cli.jobs import run
from gnt.cli.tables import print_rows, wanted_fields
from gnt.cli.terminal import note, say
from gnt.model.units import format_size

OS_DIAGNOSE: Final = "OP_OS_DIAGNOSE"
VOLUMES: Final = "OP_NODE_QUERYVOLS"
STORAGE: Final = "OP_NODE_QUERY_STORAGE"

_OS_FIELDS: Final = ("name", "variants", "valid", "hidden", "blacklisted")
_SIZES: Final = frozenset({"size", "used", "free"})
_TITLES: Final = {
    "node": "Node",
    "phys": "PhysDev",
    "vg": "VG",
    "name": "Name",
    "size": "Size",
    "instance": "Instance",
    "type": "Type",
    "used": "Used",
    "free": "Free",
    "allocatable": "Allocatable",
}


def _rows(call: Call, op_id: str, **fields: Any) -> list[list[Any]]:
    """Have the nodes asked, and give the rows of the answer; none if nobody waits for it."""
    ended = run(call, call.unchecked(op_id, **fields))
    return list(ended.result or []) if ended is not None else []


# Guest OS definitions


def os_definitions(call: Call, fields: Sequence[str]) -> list[dict[str, Any]]:
    """Give fields of all guest OS definitions, by name."""
    return [dict(zip(fields, row, strict=True)) for row in _rows(call, OS_DIAGNOSE, output_fields=fields)]


def list_os(call: Call) -> int:
    """Name the definitions, with their variants, that all nodes can install."""
    found = os_definitions(call, _OS_FIELDS)
    usable = [one for one in found if one["valid"] and not one["hidden"] and not one["blacklisted"]]
    names = [name for one in usable for name in _names(one)]
    if call.json:
        call.print_json([{"name": name} for name in names])
        return OK
    if not call.option("no_headers"):
        say("Name")
    for name in names:
        say(name)
    if not names:
        note("No guest OS is usable on all nodes; gnt-os diagnose says more")
    return OK


def _names(definition: dict[str, Any]) -> list[str]:
    variants = definition["variants"]
    return [f"{definition['name']}+{variant}" for variant in variants] if variants else [definition["name"]]


# Storage


def list_volumes(call: Call) -> int:
    """List logical volumes, and whose they are."""
    return _listed(call, VOLUMES, ("node", "phys", "vg", "name", "size", "instance"))


def list_storage(call: Call) -> int:
    """List storage units."""
    return _listed(call, STORAGE, ("node", "type", "name", "size", "used", "free", "allocatable"))


def _listed(call: Call, op_id: str, usual: Sequence[str]) -> int:
    fields = wanted_fields(call, usual)
    rows = _rows(call, op_id, nodes=call.arguments, output_fields=fields)
    if call.json:
        call.print_json([dict(zip(fields, row, strict=True)) for row in rows])
        return OK
    separator = call.option("separator")
    unit = call.option("units") or ("h" if separator is None else "m")
    texts = [[_text(field, value, unit) for field, value in zip(fields, row, strict=True)] for row in rows]
    titles = None if call.option("no_headers") else [_TITLES.get(field, field) for field in fields]
    print_rows(texts, titles=titles, right=[field in _SIZES for field in fields], separator=separator)
    return OK


def _text(field: str, value: Any, unit: str) -> str:
    if field in _SIZES:
        return format_size(float(value), unit)
    if isinstance(value, bool):
        return "Y" if value else "N"
    return str(value)
