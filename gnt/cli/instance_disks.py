"""gnt-instance, the commands about disks: attach, detach, grow, make again, replace."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode, option, unsupported
from gnt.cli.devices import disk_values
from gnt.cli.jobs import run_command
from gnt.cli.options import CHANGING, PLAN, PRINT_JOBID, PRIORITY, SUBMIT
from gnt.cli.terminal import say
from gnt.cli.values import comma_list, ident_key_values, node_pair, whole
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.units import parse_size

ACTIVATE: Final = "OP_INSTANCE_ACTIVATE_DISKS"
DEACTIVATE: Final = "OP_INSTANCE_DEACTIVATE_DISKS"
GROW: Final = "OP_INSTANCE_GROW_DISK"
RECREATE: Final = "OP_INSTANCE_RECREATE_DISKS"
REPLACE: Final = "OP_INSTANCE_REPLACE_DISKS"

_INSTANCE: Final = Argument("instance", kind="instance")


def indexes(text: str) -> list[int]:
    """Give the indexes of disks: `0,2`. Raises `ValueError`."""
    return [whole(part) for part in comma_list(text)]


def _activate(call: Call) -> int:
    return run_command(call, call.opcode(ACTIVATE, instance_name=call.arguments[0]), _show_devices)


def _show_devices(result: Any) -> None:
    for node, disk, device in result or []:
        say(f"{node}:{disk}:{device}")


def _deactivate(call: Call) -> int:
    return run_command(call, call.opcode(DEACTIVATE, instance_name=call.arguments[0]))


def _grow(call: Call) -> int:
    instance, disk, amount = call.arguments
    try:
        index = whole(disk)
    except ValueError as problem:
        raise Refused(WRONG_INPUT, f"the disk's index {disk[:40]!r}: {problem}") from None
    size = parse_size(amount, "amount")
    return run_command(call, call.opcode(GROW, instance_name=instance, disk=index, amount=size))


def _recreate(call: Call) -> int:
    nodes: tuple[str | None, str | None] = call.option("node", (None, None))
    disks: list[Any] = []
    for ident, values in call.option("disk", []):
        try:
            index = whole(ident)
        except ValueError as problem:
            raise Refused(
                WRONG_INPUT, f"--disk {ident[:40]!r}: {problem}", hint="--disk N or --disk N:K=V,..."
            ) from None
        disks.append((index, disk_values(f"--disk {index}", values)))
    if not any(values for _, values in disks):
        disks = [index for index, _ in disks]
    named = [node for node in nodes if node is not None]
    return run_command(
        call, call.opcode(RECREATE, instance_name=call.arguments[0], disks=disks or None, nodes=named or None)
    )


_MODES: Final = {
    "on_primary": "replace_on_primary",
    "on_secondary": "replace_on_secondary",
    "remote_node": "replace_new_secondary",
    "iallocator": "replace_new_secondary",
    "auto": "replace_auto",
}


def _replace(call: Call) -> int:
    given = [mode for dest, mode in _MODES.items() if call.option(dest) is not None]
    if len(given) != 1:
        raise Refused(WRONG_INPUT, "exactly one of -p, -s, -n, -I and -a says what is replaced")
    opcode = call.opcode(REPLACE, instance_name=call.arguments[0], mode=given[0], disks=call.option("replaced"))
    return run_command(call, opcode)


COMMANDS: Final = (
    Command(
        name="activate-disks",
        help="attach the disks of an instance on its nodes, without starting it",
        run=_activate,
        options=(
            from_opcode(ACTIVATE, "ignore_size", "--ignore-size"),
            from_opcode(ACTIVATE, "wait_for_sync", "--wait-for-sync"),
            SUBMIT,
            PRINT_JOBID,
            PLAN,
            PRIORITY,
        ),
        arguments=(_INSTANCE,),
        aliases=("activate_block_devs",),
        text="Prints a line NODE:DISK:DEVICE for each disk. The job's log tells how far mirrors are.",
        examples=("gnt-instance activate-disks --wait-for-sync web1",),
    ),
    Command(
        name="deactivate-disks",
        help="detach the disks of a stopped instance from its nodes",
        run=_deactivate,
        options=(from_opcode(DEACTIVATE, "force", "-f", "--force"), *CHANGING),
        arguments=(_INSTANCE,),
        examples=("gnt-instance deactivate-disks web1",),
    ),
    Command(
        name="grow-disk",
        help="make a disk of an instance larger",
        run=_grow,
        options=(
            from_opcode(GROW, "wait_for_sync", "--no-wait-for-sync", help="do not wait until mirrors are in step"),
            from_opcode(GROW, "absolute", "--absolute"),
            from_opcode(GROW, "ignore_ipolicy", "--ignore-ipolicy"),
            *CHANGING,
        ),
        arguments=(_INSTANCE, Argument("disk"), Argument("amount")),
        examples=("gnt-instance grow-disk web1 0 10g", "gnt-instance grow-disk --absolute web1 0 50g"),
    ),
    Command(
        name="recreate-disks",
        help="make lost disks of a stopped instance again, empty",
        run=_recreate,
        options=(
            option(
                "--disk",
                metavar="N[:K=V,...]",
                parse=ident_key_values,
                repeat=True,
                help="only this disk, with another size or mode if given",
            ),
            unsupported("--disks", hint="--disk 0 --disk 2"),
            option("-n", "--node", metavar="NODE[:NODE]", parse=node_pair, help="make all disks on other nodes"),
            from_opcode(RECREATE, "iallocator", "-I", "--iallocator", metavar="NAME"),
            *CHANGING,
        ),
        arguments=(_INSTANCE,),
        text="What is still there is not touched: gnt-instance replace-disks renews one side of a mirror.",
        examples=(
            "gnt-instance recreate-disks web1",
            "gnt-instance recreate-disks --disk 0:size=20g -n node2:node3 web1",
        ),
    ),
    Command(
        name="replace-disks",
        help="build one side of an instance's mirrors anew, in place or on another node",
        run=_replace,
        options=(
            option("-p", "--on-primary", help="make new volumes on the primary node"),
            option("-s", "--on-secondary", help="make new volumes on the secondary node"),
            from_opcode(REPLACE, "remote_node", "-n", "--new-secondary", metavar="NODE"),
            from_opcode(REPLACE, "iallocator", "-I", "--iallocator", metavar="NAME"),
            option("-a", "--auto", help="find faulty disks and renew them where they are"),
            option("--disks", metavar="N,...", parse=indexes, dest="replaced", help="only these disks, with -p and -s"),
            from_opcode(REPLACE, "early_release", "--early-release"),
            from_opcode(REPLACE, "ignore_ipolicy", "--ignore-ipolicy"),
            *CHANGING,
        ),
        arguments=(_INSTANCE,),
        aliases=("replace_disks",),
        text="""
            The old volumes stay until the new side is in step, unless --early-release is
            given. If that fails they stay too; the next replace-disks removes them.
        """,
        examples=("gnt-instance replace-disks -s web1", "gnt-instance replace-disks -n node3 web1"),
    ),
)
