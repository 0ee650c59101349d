"""gnt-instance, the commands that restart, rename and reinstall."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode, option, unsupported
from gnt.cli.failures import Declined
from gnt.cli.jobs import run_command
from gnt.cli.many import run_each
from gnt.cli.options import CHANGING, FORCE, SELECTION
from gnt.cli.parameter_options import secret_os_parameters
from gnt.cli.selection import selected_instances
from gnt.cli.terminal import ask, say
from gnt.cli.values import key_values

REBOOT: Final = "OP_INSTANCE_REBOOT"
RENAME: Final = "OP_INSTANCE_RENAME"
REINSTALL: Final = "OP_INSTANCE_REINSTALL"

_INSTANCES: Final = Argument("instance", 0, None, kind="instance")
_KEY_VALUES: Final[dict[str, Any]] = {"metavar": "K=V,...", "parse": key_values}
_JSON_JOBS: Final = (
    'With --json: {"jobs": [{"name", "job", "status", "result"}, ...]}, with "error" for those that failed.'
)


def _reboot(call: Call) -> int:
    names = selected_instances(call, "reboot")
    kind = call.option("reboot_type", "hard")
    return run_each(call, [(name, call.opcode(REBOOT, instance_name=name, reboot_type=kind)) for name in names])


def _rename(call: Call) -> int:
    old, new = call.arguments
    opcode = call.opcode(RENAME, instance_name=old, new_name=new)
    return run_command(call, opcode, lambda name: say(f"Instance '{old}' renamed to '{name}'"))


def _reinstall(call: Call) -> int:
    names = selected_instances(call, "reinstall")
    single = len(names) == 1 and call.option("select", "instance") == "instance"
    asks = single and not call.option("force") and not call.option("plan")
    if asks and not ask(f"Instance {names[0]} will be installed anew. What is on its disks is lost. Continue?"):
        raise Declined("reinstall", hint="-f asks no question")
    return run_each(call, [(name, call.opcode(REINSTALL, instance_name=name)) for name in names])


COMMANDS: Final = (
    Command(
        name="reboot",
        help="restart instances",
        run=_reboot,
        options=(
            *SELECTION,
            from_opcode(REBOOT, "reboot_type", "-t", "--type", metavar="TYPE"),
            from_opcode(REBOOT, "ignore_secondaries", "--ignore-secondaries"),
            from_opcode(REBOOT, "shutdown_timeout", "--shutdown-timeout", metavar="SECONDS"),
            *CHANGING,
        ),
        arguments=(_INSTANCES,),
        text=f"TYPE is soft, hard (the usual) or full, which detaches the disks in between.\n{_JSON_JOBS}",
        examples=(
            "gnt-instance reboot web1",
            "gnt-instance reboot -t full web1",
        ),
    ),
    Command(
        name="rename",
        help="give a stopped instance another name",
        run=_rename,
        options=(
            from_opcode(RENAME, "ip_check", "--ip-check"),
            from_opcode(RENAME, "name_check", "--name-check"),
            option("--no-ip-check", help="the usual; accepted for old scripts"),
            option("--no-name-check", help="the usual; accepted for old scripts"),
            option("-f", "--force", help="nothing is asked; accepted for old scripts"),
            *CHANGING,
        ),
        arguments=(Argument("instance", kind="instance"), Argument("new-name")),
        examples=("gnt-instance rename web1 www",),
    ),
    Command(
        name="reinstall",
        help="install the guest OS of stopped instances anew",
        run=_reinstall,
        options=(
            *SELECTION,
            FORCE,
            from_opcode(REINSTALL, "os_type", "-o", "--os-type", metavar="OS"),
            unsupported("--select-os", hint="gnt-os list shows what there is; -o names one"),
            from_opcode(REINSTALL, "force_variant", "--force-variant"),
            from_opcode(REINSTALL, "osparams", "-O", "--os-parameters", **_KEY_VALUES),
            *secret_os_parameters(REINSTALL),
            *CHANGING,
        ),
        arguments=(_INSTANCES,),
        text=_JSON_JOBS,
        examples=("gnt-instance reinstall -f -o debootstrap+default web1",),
    ),
)
