"""gnt-cluster, the commands that compare disks with what is on record."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode, unsupported
from gnt.cli.failures import FAILURE, OK
from gnt.cli.jobs import json_of, run, run_command
from gnt.cli.many import jobs_of, submit_each, wait_each
from gnt.cli.options import DRY_RUN, PLAN, PRIORITY
from gnt.cli.terminal import note, say

VERIFY_DISKS: Final = "OP_CLUSTER_VERIFY_DISKS"
REPAIR_SIZES: Final = "OP_CLUSTER_REPAIR_DISK_SIZES"
ACTIVATE: Final = "OP_INSTANCE_ACTIVATE_DISKS"


def _verify_disks(call: Call) -> int:
    ended = run(call, call.opcode(VERIFY_DISKS))
    assert ended is not None  # noqa: S101  (there is no --submit here)
    ends = wait_each(call, jobs_of(ended.result) or [], announce=False)
    status = OK
    inactive: list[str] = []
    for end in ends:
        if end["status"] != "success":
            status = FAILURE
            continue
        failing, to_activate, missing = end["result"]
        status = max(status, _tell(call, failing, missing))
        inactive += [name for name in to_activate if name not in missing]
    if not inactive:
        note("No disks need to be activated.")
    for name in inactive:
        note(f"Activating disks for instance '{name}'")
    activated = submit_each(call, [(name, call.opcode(ACTIVATE, instance_name=name)) for name in inactive])
    if call.json:
        call.print_json({**json_of(ended), "jobs": ends, "activated": activated})
    return FAILURE if any(end["status"] != "success" for end in activated) else status


def _tell(call: Call, failing: dict[str, str], missing: dict[str, Any]) -> int:
    """Say what cannot be set right by activating; give the exit status."""
    for node, text in failing.items():
        note(f"Error on node {node}: {text[-400:]}")
    if failing:
        note("Set these nodes right first, then verify the disks again.")
    # With --json they stand in the jobs' results, and standard output is for that alone.
    tell = note if call.json else say
    for name, volumes in missing.items():
        tell(f"Instance {name} has missing logical volumes:")
        for node, volume in volumes:
            tell(f"\t{node} /dev/{volume}")
    if missing:
        note("gnt-instance replace-disks or recreate-disks makes them again.")
    return FAILURE if failing or missing else OK


def _repair_sizes(call: Call) -> int:
    return run_command(call, call.opcode(REPAIR_SIZES, instances=call.arguments))


COMMANDS: Final = (
    Command(
        name="verify-disks",
        help="look for disks that are missing or not attached, and attach them",
        run=_verify_disks,
        options=(
            from_opcode(VERIFY_DISKS, "group_name", "-g", "--node-group", metavar="GROUP"),
            unsupported("--no-strict", hint="the locks are shared, and held for a moment only"),
            PLAN,
            PRIORITY,
        ),
        text="""
            With --json: the jobs that looked, with nodes that failed, instances to activate
            and missing volumes as their results; and under "activated" the jobs that attached.
        """,
        examples=(
            "gnt-cluster verify-disks",
            "gnt-cluster verify-disks -g rack7",
        ),
    ),
    Command(
        name="repair-disk-sizes",
        help="record the sizes that disks really have",
        run=_repair_sizes,
        options=(DRY_RUN, PLAN, PRIORITY),
        arguments=(Argument("instance", 0, None, kind="instance"),),
        examples=("gnt-cluster repair-disk-sizes web1",),
    ),
)
