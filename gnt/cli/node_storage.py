"""gnt-node, the commands that change storage units of nodes; those that list them are in `gnt.cli.list_commands`."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode, option
from gnt.cli.jobs import run_command
from gnt.cli.options import CHANGING
from gnt.cli.values import yes_no
from gnt.model.errors import WRONG_INPUT, Refused

MODIFY: Final = "OP_NODE_MODIFY_STORAGE"
REPAIR: Final = "OP_REPAIR_NODE_STORAGE"


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
COMMANDS: Final = (
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
