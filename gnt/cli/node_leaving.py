"""gnt-node, the commands that bring instances away from a node."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode, option
from gnt.cli.failures import FAILURE, OK, Declined
from gnt.cli.filters import any_value
from gnt.cli.jobs import json_of, run
from gnt.cli.lists import query_objects
from gnt.cli.many import jobs_of, run_each, wait_each
from gnt.cli.options import FORCE, PLAN, PRINT_JOBID, PRIORITY, SUBMIT
from gnt.cli.terminal import confirm_many, note, say
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.templates import EXTERNALLY_MIRRORED, MIRRORED

EVACUATE: Final = "OP_NODE_EVACUATE"
MIGRATE: Final = "OP_NODE_MIGRATE"
FAILOVER: Final = "OP_INSTANCE_FAILOVER"

_NODE: Final = Argument("node", kind="node")


def _instances(call: Call, *sides: str) -> list[str]:
    """Give the names of a node's instances on these sides, in order."""
    rows = query_objects(call, "node", list(sides), also=any_value("name", call.arguments))
    return [name for row in rows for side in sides for name in row[side] or []]


def _asked(call: Call, names: list[str], verb: str) -> None:
    if call.option("force") or call.option("plan"):
        return
    if not confirm_many(names, kind="instances", verb=verb):
        raise Declined(verb, hint="-f asks no question")


def _nothing(call: Call, why: str, done: str) -> int:
    """Say that there is nothing to do; programs get an answer of the usual form."""
    note(f"{why}: nothing is to be {done}.")
    if call.json:
        call.print_json({"plans" if call.option("plan") else "jobs": []})
    return OK


def _evacuate(call: Call) -> int:
    primary, secondary = call.option("primary_only"), call.option("secondary_only")
    if primary and (secondary or call.option("remote_node")):
        raise Refused(WRONG_INPUT, "-p excludes -s and -n", hint="primary instances go to their other side")
    mode = "primary-only" if primary else "secondary-only"
    if not primary and not secondary and not call.option("remote_node") and not call.option("iallocator"):
        raise Refused(WRONG_INPUT, "what is to leave, and where to?", hint="-p, or -s -n NODE")
    names = _instances(call, "pinst_list" if primary else "sinst_list")
    if not names:
        return _nothing(call, f"No {mode.removesuffix('-only')} instances on {call.arguments[0]}", "evacuated")
    _asked(call, names, "evacuate")
    opcode = call.opcode(EVACUATE, node_name=call.arguments[0], mode=mode)
    return _follow(call, opcode, "All instances evacuated successfully.", "during the evacuation")


def _migrate(call: Call) -> int:
    names = _instances(call, "pinst_list")
    if not names:
        return _nothing(call, f"No primary instances on {call.arguments[0]}", "migrated")
    _asked(call, names, "migrate")
    opcode = call.opcode(MIGRATE, node_name=call.arguments[0])
    return _follow(call, opcode, f"All {len(names)} instance(s) migrated successfully.", "during the migration")


def _follow(call: Call, opcode: Any, good: str, during: str) -> int:
    """Have the jobs submitted, wait for all of them, and say how it went."""
    ended = run(call, opcode)
    if ended is None:
        return OK
    ends = wait_each(call, jobs_of(ended.result) or [], announce=True)
    bad = sum(end["status"] != "success" for end in ends)
    if call.json:
        call.print_json({**json_of(ended), "jobs": ends})
    elif bad:
        note(f"There were {bad} errors {during}.")
    else:
        say(good)
    return FAILURE if bad else OK


def _refuse_without_other_side(call: Call, names: list[str]) -> None:
    """Refuse at once what the jobs could only fail with, naming all that it concerns."""
    rows = query_objects(call, "instance", ["name", "disk_template"], also=any_value("name", names))
    bound = [row["name"] for row in rows if row["disk_template"] not in MIRRORED]
    free = [row["name"] for row in rows if row["disk_template"] in EXTERNALLY_MIRRORED]
    if bound:
        text = f"{', '.join(bound)}: only {call.arguments[0]} reaches the disks, so there is no failing over"
        raise Refused(WRONG_STATE, text, hint="gnt-instance move -n NODE while the node lives; or restore a backup")
    if free:
        raise Refused(
            WRONG_INPUT,
            f"{', '.join(free)}: there is no secondary node, a target must be named",
            hint="gnt-instance failover -n NODE for each",
        )


def _failover(call: Call) -> int:
    names = _instances(call, "pinst_list")
    if not names:
        return _nothing(call, f"No primary instances on {call.arguments[0]}", "failed over")
    _refuse_without_other_side(call, names)
    _asked(call, names, "fail over")
    words = {"confirm_off": call.option("confirm_off"), "ignore_consistency": call.option("ignore_consistency")}
    return run_each(call, [(name, call.opcode(FAILOVER, instance_name=name, **words)) for name in names])


_WAITING: Final = (SUBMIT, PRINT_JOBID, PLAN, PRIORITY)

COMMANDS: Final = (
    Command(
        name="evacuate",
        help="move the instances of a node away from it",
        run=_evacuate,
        options=(
            FORCE,
            option("-p", "--primary-only", help="have primary instances go to their other side"),
            option("-s", "--secondary-only", help="give secondary instances another secondary node"),
            from_opcode(EVACUATE, "remote_node", "-n", "--new-secondary", metavar="NODE"),
            from_opcode(EVACUATE, "iallocator", "-I", "--iallocator", metavar="NAME"),
            from_opcode(EVACUATE, "early_release", "--early-release"),
            from_opcode(EVACUATE, "ignore_soft_errors", "--ignore-soft-errors"),
            *_WAITING,
        ),
        arguments=(_NODE,),
        examples=("gnt-node evacuate -p node1", "gnt-node evacuate -s -n node3 node1"),
    ),
    Command(
        name="failover",
        help="have all primary instances of a node fail over to their other side",
        run=_failover,
        options=(
            FORCE,
            from_opcode(FAILOVER, "ignore_consistency", "--ignore-consistency"),
            from_opcode(FAILOVER, "confirm_off", "--confirm-off", metavar="WORDS"),
            from_opcode(FAILOVER, "iallocator", "-I", "--iallocator", metavar="NAME"),
            *_WAITING,
        ),
        arguments=(_NODE,),
        text="A node that is marked offline must be known to be off: gnt-instance failover --help says how.",
        examples=("gnt-node failover -f --confirm-off='node1 is off' node1",),
    ),
    Command(
        name="migrate",
        help="migrate all primary instances of a node",
        run=_migrate,
        options=(
            FORCE,
            from_opcode(MIGRATE, "live", "--non-live", const=False, help="stop the guests for the move"),
            from_opcode(MIGRATE, "mode", "--migration-mode", metavar="MODE"),
            from_opcode(MIGRATE, "iallocator", "-I", "--iallocator", metavar="NAME"),
            from_opcode(MIGRATE, "target_node", "-n", "--target-node", metavar="NODE"),
            from_opcode(MIGRATE, "ignore_ipolicy", "--ignore-ipolicy"),
            from_opcode(MIGRATE, "allow_runtime_changes", "--no-runtime-changes", help="do not balloon the guests"),
            *_WAITING,
        ),
        arguments=(_NODE,),
        examples=("gnt-node migrate -f node1",),
    ),
)
