"""gnt-instance, the commands that bring instances to other nodes."""

from __future__ import annotations

from typing import Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode
from gnt.cli.failures import Declined
from gnt.cli.filters import any_value
from gnt.cli.jobs import run_command
from gnt.cli.lists import query_objects
from gnt.cli.options import CHANGING, FORCE
from gnt.cli.terminal import ask, ask_words, note
from gnt.model.errors import WRONG_INPUT, Refused

MIGRATE: Final = "OP_INSTANCE_MIGRATE"
FAILOVER: Final = "OP_INSTANCE_FAILOVER"
MOVE: Final = "OP_INSTANCE_MOVE"

_INSTANCE: Final = Argument("instance", kind="instance")


def confirm_one(call: Call, question: str, verb: str) -> None:
    """Ask about the one instance that is named, after looking whether it is there."""
    if call.option("force") or call.option("plan"):
        return
    query_objects(call, "instance", ["name"], also=any_value("name", call.arguments[:1]))
    if not ask(question.format(call.arguments[0])):
        raise Declined(verb, hint="-f asks no question")


def _refuse_two_targets(call: Call) -> None:
    if call.option("target_node") is not None and call.option("iallocator") is not None:
        raise Refused(WRONG_INPUT, "-n and -I exclude each other")


def _migrate(call: Call) -> int:
    if call.option("mode") is not None and call.option("live") is not None:
        raise Refused(WRONG_INPUT, "--non-live and --migration-mode exclude each other")
    _refuse_two_targets(call)
    if call.option("cleanup"):
        question = "Instance {} will be recovered from a failed migration. Nothing is moved. Continue?"
    else:
        question = "Instance {} will be migrated. Migration may harm the instance if it fails half-way. Continue?"
    confirm_one(call, question, "migrate")
    return run_command(call, call.opcode(MIGRATE, instance_name=call.arguments[0]))


def _failover(call: Call) -> int:
    _refuse_two_targets(call)
    confirm_one(call, "Instance {} will fail over: it is stopped, and started on another node. Continue?", "failover")
    words = call.option("confirm_off")
    if words is None and not call.option("plan"):
        words = _words_of_a_person(call)
    return run_command(call, call.opcode(FAILOVER, instance_name=call.arguments[0], confirm_off=words))


def _words_of_a_person(call: Call) -> str | None:
    """Have a person say that the primary node is off, where it is marked offline; None where nobody needs to."""
    instances = query_objects(call, "instance", ["pnode"], also=any_value("name", call.arguments[:1]))
    names = [row["pnode"] for row in instances]
    rows = query_objects(call, "node", ["name", "offline", "powered"], also=any_value("name", names))
    for row in rows:
        if not row["offline"] or row["powered"] is False:
            continue
        wanted = f"{row['name']} is off"
        note(f"{row['name']} is marked offline. Is it switched off, and will it stay so until it is taken back?")
        note("If it runs, it may write to the disks too: two writers, and what is on them is lost.")
        typed = ask_words(f"Type {wanted!r} to go on: ")
        if typed != wanted:
            raise Declined("failover", hint=f"it needs the words {wanted!r}, typed or with --confirm-off")
        return typed
    return None


def _move(call: Call) -> int:
    target = call.option("target_node")
    if target is None:
        raise Refused(WRONG_INPUT, "no target is named", hint="-n NODE")
    question = f"Instance {{}} will be moved to {target}: it is stopped while its disks are copied. Continue?"
    confirm_one(call, question, "move")
    return run_command(call, call.opcode(MOVE, instance_name=call.arguments[0]))


_ALLOCATOR: Final = {"metavar": "NAME"}

COMMANDS: Final = (
    Command(
        name="migrate",
        help="move a running instance to another node",
        run=_migrate,
        options=(
            FORCE,
            from_opcode(MIGRATE, "cleanup", "--cleanup"),
            from_opcode(MIGRATE, "live", "--non-live", const=False, help="stop the guest for the move"),
            from_opcode(MIGRATE, "mode", "--migration-mode", metavar="MODE"),
            from_opcode(MIGRATE, "allow_failover", "--allow-failover"),
            from_opcode(MIGRATE, "iallocator", "-I", "--iallocator", **_ALLOCATOR),
            from_opcode(MIGRATE, "target_node", "-n", "--target-node", metavar="NODE"),
            from_opcode(MIGRATE, "ignore_ipolicy", "--ignore-ipolicy"),
            from_opcode(MIGRATE, "allow_runtime_changes", "--no-runtime-changes", help="do not balloon the guest"),
            from_opcode(MIGRATE, "ignore_hvversions", "--ignore-hvversions"),
            *CHANGING,
        ),
        arguments=(_INSTANCE,),
        examples=("gnt-instance migrate -f -n node2 web1",),
    ),
    Command(
        name="failover",
        help="stop an instance and start it where the other copy of its disks is",
        run=_failover,
        options=(
            FORCE,
            from_opcode(FAILOVER, "ignore_consistency", "--ignore-consistency"),
            from_opcode(FAILOVER, "confirm_off", "--confirm-off", metavar="WORDS"),
            from_opcode(FAILOVER, "shutdown_timeout", "--shutdown-timeout", metavar="SECONDS"),
            from_opcode(FAILOVER, "iallocator", "-I", "--iallocator", **_ALLOCATOR),
            from_opcode(FAILOVER, "target_node", "-n", "--target-node", metavar="NODE"),
            from_opcode(FAILOVER, "ignore_ipolicy", "--ignore-ipolicy"),
            from_opcode(FAILOVER, "cleanup", "--cleanup"),
            *CHANGING,
        ),
        arguments=(_INSTANCE,),
        text="""
            A primary node that is marked offline must be known to be off, or there could be
            two writers: it was switched off out of band, or a person types that it is. That
            is another question than --ignore-consistency, which is about old data.
        """,
        examples=("gnt-instance failover web1", "gnt-instance failover -f --confirm-off='node1 is off' web1"),
    ),
    Command(
        name="move",
        help="copy the disks of an instance to another node and run it there",
        run=_move,
        options=(
            FORCE,
            from_opcode(MOVE, "target_node", "-n", "--node", metavar="NODE"),
            from_opcode(MOVE, "shutdown_timeout", "--shutdown-timeout", metavar="SECONDS"),
            from_opcode(MOVE, "ignore_consistency", "--ignore-consistency"),
            from_opcode(MOVE, "ignore_ipolicy", "--ignore-ipolicy"),
            from_opcode(MOVE, "compress", "--compress", metavar="TOOL"),
            *CHANGING,
        ),
        arguments=(_INSTANCE,),
        examples=("gnt-instance move -n node2 web1",),
    ),
)
