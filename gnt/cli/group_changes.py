"""gnt-group: making, changing, renaming and removing groups, moving nodes into them."""

from __future__ import annotations

import shlex
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.cluster_rename import policy_words
from gnt.cli.command import Argument, Command, Option, from_opcode, option, unsupported
from gnt.cli.failures import OK
from gnt.cli.jobs import run_command
from gnt.cli.lists import query_objects
from gnt.cli.options import CHANGING, NEVER_USED
from gnt.cli.parameter_options import POLICY_OPTIONS, disk_parameters, grouped, policy_of
from gnt.cli.terminal import say
from gnt.cli.values import key_values

ADD: Final = "OP_GROUP_ADD"
MODIFY: Final = "OP_GROUP_SET_PARAMS"
ASSIGN: Final = "OP_GROUP_ASSIGN_NODES"


def _parameters(opcode: str) -> tuple[Option, ...]:
    return (
        from_opcode(opcode, "alloc_policy", "--alloc-policy", metavar="POLICY"),
        from_opcode(opcode, "ndparams", "--node-parameters", metavar="K=V,...", parse=key_values),
        disk_parameters("parameters of a disk template"),
        *(one for one in POLICY_OPTIONS if one.name.startswith("--ipolicy-") and "-std-" not in one.name),
        *(
            unsupported(one.name, hint="--ipolicy-bounds-specs")
            for one in POLICY_OPTIONS
            if one.name.startswith("--specs-")
        ),
        unsupported("--disk-state", hint=NEVER_USED),
        unsupported("--hypervisor-state", hint=NEVER_USED),
        *CHANGING,
    )


def _fields(call: Call) -> dict[str, Any]:
    return {"diskparams": grouped(call, "diskparams", "-D"), "ipolicy": policy_of(call)}


def _add(call: Call) -> int:
    return run_command(call, call.opcode(ADD, group_name=call.arguments[0], **_fields(call)))


def _modify(call: Call) -> int:
    name = call.arguments[0]

    def show(changes: Any) -> None:
        say(f"Modified node group {name}")
        for parameter, value in changes or ():
            say(f" - {parameter:<5} -> {value}")

    return run_command(call, call.opcode(MODIFY, group_name=name, **_fields(call)), show)


def _assign(call: Call) -> int:
    group, *nodes = call.arguments
    return run_command(call, call.opcode(ASSIGN, group_name=group, nodes=nodes))


def _rename(call: Call) -> int:
    old, new = call.arguments
    return run_command(call, call.opcode("OP_GROUP_RENAME", group_name=old, new_name=new))


def _remove(call: Call) -> int:
    return run_command(call, call.opcode("OP_GROUP_REMOVE", group_name=call.arguments[0]))


def _show_policy(call: Call) -> int:
    field = "ipolicy" if call.option("include_defaults") else "custom_ipolicy"
    found = query_objects(call, "group", ("name", field), call.arguments)
    commands = []
    for group in found:
        policy = {key: value for key, value in (group[field] or {}).items() if key != "std"}
        commands.append(["gnt-group", "add", *policy_words(policy), group["name"]])
    if call.json:
        call.print_json([{"command": words} for words in commands])
    for words in [] if call.json else commands:
        say(shlex.join(words))
    return OK


_GROUP: Final = Argument("group", kind="group")
CHANGES: Final = (
    Command(
        name="add",
        help="make a group without nodes",
        run=_add,
        options=_parameters(ADD),
        arguments=(Argument("group"),),
        examples=("gnt-group add --alloc-policy last_resort rack7",),
    ),
    Command(
        name="modify",
        help="change a group's parameters; what is left out stays",
        run=_modify,
        options=_parameters(MODIFY),
        arguments=(_GROUP,),
        examples=("gnt-group modify --node-parameters ssh_port=default rack7",),
    ),
    Command(
        name="assign-nodes",
        help="move nodes into a group",
        run=_assign,
        options=(from_opcode(ASSIGN, "force", "-f", "--force"), *CHANGING),
        arguments=(_GROUP, Argument("node", 1, None, kind="node")),
        examples=("gnt-group assign-nodes rack7 node4 node5",),
    ),
    Command(
        name="rename",
        help="give a group another name",
        run=_rename,
        options=CHANGING,
        arguments=(_GROUP, Argument("new-name")),
        examples=("gnt-group rename rack7 rack8",),
    ),
    Command(
        name="remove",
        help="remove a group without nodes",
        run=_remove,
        options=CHANGING,
        arguments=(_GROUP,),
        examples=("gnt-group remove rack7",),
    ),
    Command(
        name="show-ispecs-cmd",
        help="print the commands that make groups with the policies of these",
        run=_show_policy,
        options=(option("--include-defaults", help="also what a group has from the cluster"),),
        arguments=(Argument("group", 0, None, kind="group"),),
        examples=("gnt-group show-ispecs-cmd --include-defaults rack7",),
    ),
)
