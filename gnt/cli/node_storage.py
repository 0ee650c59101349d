"""gnt-node, the commands about storage: volumes and storage units of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode, option
from gnt.cli.failures import OK
from gnt.cli.jobs import run, run_command
from gnt.cli.options import CHANGING, NO_HEADERS, OUTPUT, PRIORITY, SEPARATOR, UNITS
from gnt.cli.tables import print_rows, wanted_fields
from gnt.cli.values import yes_no
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.units import format_size

VOLUMES: Final = "OP_NODE_QUERYVOLS"
LIST: Final = "OP_NODE_QUERY_STORAGE"
MODIFY: Final = "OP_NODE_MODIFY_STORAGE"
REPAIR: Final = "OP_REPAIR_NODE_STORAGE"

_NODES: Final = Argument("node", 0, None, kind="node")
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


def _volumes(call: Call) -> int:
    fields = wanted_fields(call, ("node", "phys", "vg", "name", "size", "instance"))
    return _listed(call, fields, call.opcode(VOLUMES, nodes=call.arguments, output_fields=fields))


def _list(call: Call) -> int:
    fields = wanted_fields(call, ("node", "type", "name", "size", "used", "free", "allocatable"))
    return _listed(call, fields, call.opcode(LIST, nodes=call.arguments, output_fields=fields))


def _listed(call: Call, fields: Sequence[str], opcode: Any) -> int:
    ended = run(call, opcode)
    rows: list[list[Any]] = list(ended.result or []) if ended is not None else []
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


def _unit(call: Call) -> dict[str, Any]:
    node, kind, name = call.arguments
    return {"node_name": node, "storage_type": kind, "name": name}


def _modify(call: Call) -> int:
    if call.option("allocatable") is None:
        raise Refused(WRONG_INPUT, "nothing is to be changed", hint="--allocatable=yes|no")
    changes = {"allocatable": call.option("allocatable")}
    return run_command(call, call.opcode(MODIFY, changes=changes, **_unit(call)))


def _repair(call: Call) -> int:
    return run_command(call, call.opcode(REPAIR, **_unit(call)))


_UNIT_ARGUMENTS: Final = (Argument("node", kind="node"), Argument("type"), Argument("name"))
_LIST_OPTIONS: Final = (NO_HEADERS, SEPARATOR, OUTPUT, UNITS, PRIORITY)

COMMANDS: Final = (
    Command(
        name="volumes",
        help="list the logical volumes of nodes, and whose they are",
        run=_volumes,
        options=_LIST_OPTIONS,
        arguments=(_NODES,),
        text="With --json: a list of objects, one for each volume on a device; sizes in MiB.",
        examples=("gnt-node volumes node1",),
    ),
    Command(
        name="list-storage",
        help="list the storage units of nodes",
        run=_list,
        options=(*_LIST_OPTIONS, from_opcode(LIST, "storage_type", "-t", "--storage-type", metavar="TYPE")),
        arguments=(_NODES,),
        text="TYPE is lvm-vg, lvm-pv, file or sharedfile. With --json: a list of objects; sizes in MiB.",
        examples=("gnt-node list-storage -t lvm-vg -o node,name,free",),
    ),
    Command(
        name="modify-storage",
        help="let a physical volume be used for new volumes, or not",
        run=_modify,
        options=(
            option("--allocatable", metavar="yes|no", parse=yes_no, help="whether new volumes may lie on it"),
            *CHANGING,
        ),
        arguments=_UNIT_ARGUMENTS,
        examples=("gnt-node modify-storage --allocatable=no node1 lvm-pv /dev/sdb",),
    ),
    Command(
        name="repair-storage",
        help="make a volume group consistent again that lost a physical volume",
        run=_repair,
        options=(from_opcode(REPAIR, "ignore_consistency", "--ignore-consistency"), *CHANGING),
        arguments=_UNIT_ARGUMENTS,
        examples=("gnt-node repair-storage node1 lvm-vg xenvg",),
    ),
)
