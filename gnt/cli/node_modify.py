"""`gnt-node modify`: a node's roles and parameters, and the way out when too few master candidates answer."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode, option, unsupported
from gnt.cli.failures import OK, Declined
from gnt.cli.jobs import run_command
from gnt.cli.options import CHANGING, NEVER_USED
from gnt.cli.terminal import ask, ask_words, note, say
from gnt.cli.values import key_values, yes_no

MODIFY_OP: Final = "OP_NODE_SET_PARAMS"


def _modify(call: Call) -> int:
    node = call.arguments[0]
    opcode = call.opcode(MODIFY_OP, node_name=node)
    given = call.fields_of(MODIFY_OP)
    quiet = any(call.option(name) for name in ("dry_run", "plan"))
    if given.get("offline") and given.get("force") and not quiet:
        found = call.client.call("ForceOffline", node, "")
        if found["needed"]:
            return _force_offline(call, node, found)
    if given.get("offline") is False and not given.get("force") and not quiet:
        question = f"{node} will be spoken to again. Is it as it was, and not set up anew?"
        if not ask(question):
            raise Declined(
                f"taking {node} back",
                hint=f"-f asks no question; gnt-node add --readd {node} is for one that was set up anew",
            )
    return run_command(call, opcode, lambda changes: _show(node, changes))


def _force_offline(call: Call, node: str, found: dict[str, Any]) -> int:
    """Flag a node offline although too few master candidates answer: a person says that it is off."""
    missing, wanted = " ".join(found["missing"]), found["confirm"]
    typed = call.option("confirm")
    if typed is None:
        note(f"Too few master candidates answer (missing: {missing}), so nothing can be changed.")
        note(f"{node} can be flagged offline by force. Is it switched off, and will it stay so until it is taken back?")
        note("If it runs, it may be made the master of the others: two masters, and what one of them did is lost.")
        typed = ask_words(f"Type {wanted!r} to go on: ")
    if typed != wanted:
        raise Declined(
            f"flagging {node} offline by force", hint=f"it needs the words {wanted!r}, typed or with --confirm"
        )
    done = call.client.call("ForceOffline", node, typed, patience=60.0)
    if call.json:
        call.print_json({"job": None, "status": "forced", "result": done})
        return OK
    say(f"{node} is flagged offline; it stands in the store that this was done without a majority")
    if not done["done"]:
        note(f"Too few candidates answer still (missing: {' '.join(done['missing'])}): do the same with the next one.")
    return OK


def _show(node: str, changes: Any) -> None:
    if changes:
        say(f"Modified node {node}")
    for name, value in changes or ():
        say(f" - {name:<5} -> {value}")


MODIFY: Final = Command(
    name="modify",
    help="change a node's roles and parameters",
    run=_modify,
    options=(
        from_opcode(MODIFY_OP, "master_candidate", "-C", "--master-candidate", metavar="yes|no", parse=yes_no),
        from_opcode(MODIFY_OP, "drained", "-D", "--drained", metavar="yes|no", parse=yes_no),
        from_opcode(MODIFY_OP, "offline", "-O", "--offline", metavar="yes|no", parse=yes_no),
        from_opcode(MODIFY_OP, "force", "-f", "--force"),
        from_opcode(MODIFY_OP, "auto_promote", "--auto-promote"),
        from_opcode(MODIFY_OP, "master_capable", "--master-capable", metavar="yes|no", parse=yes_no),
        from_opcode(MODIFY_OP, "vm_capable", "--vm-capable", metavar="yes|no", parse=yes_no),
        from_opcode(MODIFY_OP, "ndparams", "--node-parameters", metavar="K=V,...", parse=key_values),
        from_opcode(MODIFY_OP, "powered", "--node-powered", metavar="yes|no", parse=yes_no),
        option("--confirm", metavar="WORDS", help="the words that are asked for, when no person is there to type them"),
        *CHANGING,
        unsupported("-s", "--secondary-ip", hint="gnt-node remove, then gnt-node add -s IP"),
        unsupported("--disk-state", hint=NEVER_USED),
        unsupported("--hypervisor-state", hint=NEVER_USED),
    ),
    arguments=(Argument("node", kind="node"),),
    text="""
        A node that is flagged offline before it is switched off stops nothing. When too few
        master candidates answer, changes stop; --offline=yes --force flags one of those that
        are missing offline all the same, once somebody has typed that it is off.
    """,
    examples=("gnt-node modify --drained=yes node2", "gnt-node modify --offline=yes --auto-promote node3"),
)
