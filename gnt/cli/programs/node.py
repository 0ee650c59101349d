"""gnt-node: the machines of the cluster."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from gnt.cli.bootstrap import Bootstrap
from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Program, from_opcode, option, unsupported
from gnt.cli.failures import OK
from gnt.cli.filters import any_value
from gnt.cli.jobs import run_command
from gnt.cli.list_commands import LISTS
from gnt.cli.lists import query_objects
from gnt.cli.node_leaving import COMMANDS as LEAVING
from gnt.cli.node_modify import MODIFY
from gnt.cli.node_storage import COMMANDS as STORAGE
from gnt.cli.options import DRY_RUN, NEVER_USED, PLAN, PRIORITY, VERBOSE
from gnt.cli.past import AT, info_at
from gnt.cli.plans import instead
from gnt.cli.tags import tag_commands
from gnt.cli.terminal import note, say
from gnt.cli.tree import Pairs, show
from gnt.cli.values import key_values
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, GntError, Refused

if TYPE_CHECKING:
    from gnt.opcodes.base import Opcode

NODE_ADD: Final = "OP_NODE_ADD"
NODE_REMOVE: Final = "OP_NODE_REMOVE"


def _add(call: Call) -> int:
    node = call.arguments[0]
    if call.option("token") and call.option("no_ssh_key_check"):
        raise Refused(WRONG_INPUT, "--token needs no SSH, so --no-ssh-key-check says nothing")
    if call.option("plan") or call.option("dry_run"):
        _refuse_unlike(call, node)
        return _foretold(call, node, call.opcode(NODE_ADD, node_name=node))
    with Bootstrap(call, "token" if call.option("token") else "add") as program:
        _refuse_unlike(call, node)
        # Made before anything is done on the node: a bad parameter is refused in time.
        opcode = call.opcode(NODE_ADD, node_name=node)
        program.ask(_request(call, node), on_token=lambda token: _show_token(call, node, token))
    return run_command(call, opcode)


def _request(call: Call, node: str) -> dict[str, Any]:
    given = call.fields_of(NODE_ADD)
    return {
        "node": node,
        **{name: given.get(name) for name in ("secondary_ip", "group", "master_capable", "vm_capable", "ndparams")},
        "readd": bool(given.get("readd")),
        "ssh_key_check": not call.option("no_ssh_key_check"),
        "token": bool(call.option("token")),
    }


def _foretold(call: Call, node: str, opcode: Opcode) -> int:
    """Say what would be done, or with --dry-run only whether it could be: nothing is done on the machine."""
    if not call.option("plan"):
        (found,) = call.client.plan_job([opcode])
        if found.refused is not None:
            raise Refused(found.refused.code, found.refused.text, hint=found.refused.hint)
        if call.json:
            call.print_json({"job": None, "status": "success", "result": None})
        return OK
    how = "with the token that is given to gnt-node join there" if call.option("token") else "over SSH, as root"
    if not call.json:
        say(f"first, {how}: {node} gets a certificate and what the cluster is, and gnt-noded is started there")
    instead(call, [("", [opcode])])
    return OK


def _refuse_unlike(call: Call, node: str) -> None:
    """Refuse to add what is there, and to add again what is not, before anything is done on the node."""
    try:
        known = bool(query_objects(call, "node", ["name"], also=any_value("name", [node])))
    except GntError as problem:
        if problem.code != UNKNOWN_ENTITY:
            raise
        known = False
    if known and not call.option("readd"):
        raise Refused("already_exists", f"{node} is a node of this cluster", hint="--readd takes it back in")
    if call.option("readd") and not known:
        raise Refused(UNKNOWN_ENTITY, f"{node} is not a node of this cluster", hint="leave --readd out")


def _show_token(call: Call, node: str, token: str) -> None:
    """Show the token, and what to do with it on the new node. It is never an argument: others could read it there."""
    if call.json:
        say(json.dumps({"token": token, "node": node}))
    else:
        note(f"On {node}, as root, type gnt-node join and give it this token (good for ten minutes, once):")
        say(token)
    sys.stdout.flush()


def _join(call: Call) -> int:
    """Make this machine a node: the token comes on standard input."""
    with Bootstrap(call, "join") as program:
        result = program.ask({"token": _token(), "readd": bool(call.option("readd"))})
    if call.json:
        call.print_json({"result": result})
    return OK


def _token() -> str:
    """Read a token from standard input. Raises `Refused` where there is none."""
    if sys.stdin.isatty():
        import getpass  # noqa: PLC0415  (only for people at a terminal)

        token = getpass.getpass("Token: ")
    else:
        token = sys.stdin.read(4096)
    if not token.strip():
        raise Refused(WRONG_INPUT, "there is no token on standard input", hint="gnt-node add --token NODE makes one")
    return token.strip()


_INFO_FIELDS: Final = (
    "name",
    "pip",
    "sip",
    "master_candidate",
    "drained",
    "offline",
    "master_capable",
    "vm_capable",
    "powered",
    "pinst_list",
    "sinst_list",
    "ndparams",
    "custom_ndparams",
    "group",
    "uuid",
)


def _info(call: Call) -> int:
    if call.option("at") is not None:
        return info_at(call, "node")
    found = query_objects(call, "node", _INFO_FIELDS, call.arguments)
    if call.json:
        call.print_json(found)
    else:
        show([_described(node) for node in found])
    return OK


def _described(node: dict[str, Any]) -> Pairs:
    own = node["custom_ndparams"] or {}
    parameters = {key: own.get(key, f"default ({value})") for key, value in (node["ndparams"] or {}).items()}
    powered = [("powered", node["powered"])] if node["powered"] is not None else []
    return Pairs(
        [
            ("Node name", node["name"]),
            ("primary ip", node["pip"]),
            ("secondary ip", node["sip"]),
            ("master candidate", node["master_candidate"]),
            ("drained", node["drained"]),
            ("offline", node["offline"]),
            *powered,
            ("master_capable", node["master_capable"]),
            ("vm_capable", node["vm_capable"]),
            ("group", node["group"]),
            ("UUID", node["uuid"]),
            ("primary for instances", list(node["pinst_list"] or [])),
            ("secondary for instances", list(node["sinst_list"] or [])),
            ("node parameters", parameters),
        ]
    )


def _remove(call: Call) -> int:
    return run_command(call, call.opcode(NODE_REMOVE, node_name=call.arguments[0]))


_NODES: Final = Argument("node", 0, None, kind="node")
_NO_HELPER: Final = "no out-of-band helper is run here: switch the machine with its own management board"
_LATER: Final = {
    "health": "no out-of-band helper is run here: gnt-cluster verify says how the nodes are",
    "list-drbd": "gnt-instance info shows the minors of an instance, gnt-node list -o name,sinst_list whose they are",
    "power": _NO_HELPER,
    "powercycle": _NO_HELPER,
    "restricted-command": "gnt-cluster command -n NODE runs a command there over your own SSH",
}

PROGRAM = Program(
    name="gnt-node",
    help="add, list and remove the machines of the cluster",
    commands=(
        Command(
            name="add",
            help="take a machine into the cluster",
            run=_add,
            options=(
                option("--token", help="use no SSH: print a one-time token that is given to gnt-node join there"),
                option("--no-ssh-key-check", help="accept whatever SSH host key the new node shows"),
                from_opcode(NODE_ADD, "readd", "--readd"),
                from_opcode(NODE_ADD, "secondary_ip", "-s", "--secondary-ip", metavar="IP"),
                from_opcode(NODE_ADD, "group", "-g", "--node-group", metavar="GROUP"),
                from_opcode(NODE_ADD, "master_capable", "--master-capable"),
                from_opcode(NODE_ADD, "vm_capable", "--vm-capable"),
                from_opcode(NODE_ADD, "ndparams", "--node-parameters", metavar="K=V,...", parse=key_values),
                VERBOSE.but(help="the usual: what is done is always said"),
                DRY_RUN,
                PLAN,
                PRIORITY,
                unsupported("--force-join", hint="a machine that belongs to another cluster must leave it first"),
                unsupported("--no-node-setup", hint="--token needs no SSH"),
                unsupported("--disk-state", hint=NEVER_USED),
                unsupported("--hypervisor-state", hint=NEVER_USED),
            ),
            arguments=(Argument("node"),),
            text="""
                Over SSH as root, from the master; or with --token, which needs no SSH: the
                token is printed here, typed into gnt-node join there, and good for ten
                minutes and one node. With --json, {"token", "node"} comes first, on its own line.
            """,
            examples=("gnt-node add node2", "gnt-node add --token node3"),
        ),
        Command(
            name="join",
            help="make this machine a node; reads a token of gnt-node add --token from standard input",
            run=_join,
            options=(option("--readd", help="take this machine back into the cluster that it was in before"),),
            examples=("gnt-node join < token",),
        ),
        *LISTS["gnt-node"],
        Command(
            name="info",
            help="show nodes with all their details",
            run=_info,
            options=(AT,),
            arguments=(_NODES,),
            aliases=("show",),
            examples=("gnt-node info node2",),
        ),
        MODIFY,
        Command(
            name="remove",
            help="let a node without instances go",
            run=_remove,
            options=(DRY_RUN, PLAN, PRIORITY),
            arguments=(Argument("node", kind="node"),),
            examples=("gnt-node remove node3",),
        ),
        *tag_commands("node", "node"),
        *LEAVING,
        *STORAGE,
    ),
    unsupported=_LATER,
)
