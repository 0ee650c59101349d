"""gnt-instance: make, list, start, stop, move and remove instances."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Program, from_opcode, option, unsupported
from gnt.cli.console import console
from gnt.cli.devices import disks_of, nics_of
from gnt.cli.failures import FAILURE, OK
from gnt.cli.instance_disks import COMMANDS as DISKS
from gnt.cli.instance_info import described
from gnt.cli.instance_life import COMMANDS as LIFE
from gnt.cli.instance_modify import COMMAND as MODIFY
from gnt.cli.instance_moves import COMMANDS as MOVES
from gnt.cli.instance_moves import confirm_one
from gnt.cli.jobs import run, run_command
from gnt.cli.list_commands import LISTS
from gnt.cli.many import run_each
from gnt.cli.options import (
    CHANGING,
    FORCE,
    PRIORITY,
    ROMAN,
    SELECTION,
    TAGS,
)
from gnt.cli.parameter_options import secret_os_parameters
from gnt.cli.past import AT, info_at
from gnt.cli.selection import selected_instances
from gnt.cli.tags import tag_commands
from gnt.cli.terminal import note
from gnt.cli.tree import show
from gnt.cli.values import ident_key_values, key_values, node_pair
from gnt.model.errors import WRONG_INPUT, Refused

CREATE: Final = "OP_INSTANCE_CREATE"
QUERY_DATA: Final = "OP_INSTANCE_QUERY_DATA"
REMOVE: Final = "OP_INSTANCE_REMOVE"
STARTUP: Final = "OP_INSTANCE_STARTUP"
SHUTDOWN: Final = "OP_INSTANCE_SHUTDOWN"

_INSTANCE: Final = Argument("instance", kind="instance")
_KEY_VALUES: Final[dict[str, Any]] = {"metavar": "K=V,...", "parse": key_values}
_JSON_JOBS: Final = (
    'With --json: {"jobs": [{"name", "job", "status", "result"}, ...]}, with "error" for those that failed.'
)
_INSTANCES: Final = Argument("instance", 0, None, kind="instance")


# add


def _add(call: Call) -> int:
    for flag in ("--no-ip-check", "--no-name-check"):
        if call.option(flag.lstrip("-").replace("-", "_")):
            note(f"{flag} is the usual now; the option does nothing")
    primary, secondary = call.option("node", (None, None))
    if primary is None and call.option("iallocator") is None:
        raise Refused(WRONG_INPUT, "no node is named for the instance", hint="-n NODE")
    if primary is not None and call.option("iallocator") is not None:
        raise Refused(WRONG_INPUT, "-n and -I exclude each other")
    hypervisor, hvparams = call.option("hypervisor_and_parameters", (None, {}))
    opcode = call.opcode(
        CREATE,
        instance_name=call.arguments[0],
        mode="create",
        disks=disks_of(call),
        nics=nics_of(call),
        pnode=primary,
        snode=secondary,
        hypervisor=hypervisor,
        hvparams=hvparams,
        # Without a guest OS there is nothing to start.
        start=not (call.option("no_start") or call.option("no_install")),
    )
    return run_command(call, opcode)


_ADD_OPTIONS: Final = (
    from_opcode(CREATE, "beparams", "-B", "--backend-parameters", **_KEY_VALUES),
    option("--disk", metavar="N:K=V,...", parse=ident_key_values, repeat=True, help="disk N: 0:size=10g,mode=rw"),
    from_opcode(CREATE, "file_driver", "--file-driver"),
    from_opcode(CREATE, "file_storage_dir", "--file-storage-dir", metavar="DIR"),
    option(
        "-H",
        "--hypervisor-parameters",
        metavar="HV[:K=V,...]",
        parse=ident_key_values,
        dest="hypervisor_and_parameters",
        help="hypervisor, and parameters of it that differ from the cluster's",
    ),
    from_opcode(CREATE, "iallocator", "-I", "--iallocator", metavar="NAME"),
    option("-n", "--node", metavar="NODE[:NODE]", parse=node_pair, help="primary node, and secondary if there is one"),
    option(
        "--net", metavar="N:K=V,...", parse=ident_key_values, repeat=True, help="interface N: 0:link=br0,ip=10.0.0.5"
    ),
    option("--no-nics", help="make no network interface"),
    option("--no-ip-check", help="the usual; accepted for old scripts"),
    option("--no-name-check", help="the usual; accepted for old scripts"),
    from_opcode(CREATE, "ip_check", "--ip-check"),
    from_opcode(CREATE, "name_check", "--name-check"),
    option("--no-start", help="leave the new instance stopped"),
    from_opcode(CREATE, "wait_for_sync", "--no-wait-for-sync", help="do not wait until mirrors are in step"),
    from_opcode(CREATE, "os_type", "-o", "--os-type", metavar="OS"),
    option("-s", "--os-size", metavar="SIZE", help="one disk of this size"),
    from_opcode(CREATE, "disk_template", "-t", "--disk-template", metavar="TEMPLATE"),
    from_opcode(CREATE, "force_variant", "--force-variant"),
    from_opcode(CREATE, "no_install", "--no-install", const=True),
    from_opcode(CREATE, "osparams", "-O", "--os-parameters", **_KEY_VALUES),
    *secret_os_parameters(CREATE),
    TAGS.but(opcode=CREATE, parameter="tags"),
    from_opcode(CREATE, "ignore_ipolicy", "--ignore-ipolicy"),
    from_opcode(CREATE, "conflicts_check", "--no-conflicts-check", help="accept addresses that are in use"),
    from_opcode(CREATE, "instance_communication", "-c", "--communication", parse=None, metavar="yes|no"),
    from_opcode(CREATE, "opportunistic_locking", "--opportunistic-locking"),
    from_opcode(CREATE, "group_name", "-g", "--node-group", metavar="GROUP"),
    from_opcode(CREATE, "commit", "--commit"),
    from_opcode(CREATE, "forthcoming", "--forthcoming"),
    unsupported("--helper-startup-timeout", hint="no helper machine is started"),
    unsupported("--helper-shutdown-timeout", hint="no helper machine is started"),
    *CHANGING,
)


# list, info


def _info(call: Call) -> int:
    if call.option("at") is not None:
        return info_at(call, "instance")
    everything = bool(call.option("all"))
    if everything == bool(call.arguments):
        raise Refused(WRONG_INPUT, "give names of instances, or --all")
    ended = run(call, call.opcode(QUERY_DATA, instances=call.arguments))
    details: list[dict[str, Any]] = list(ended.result.values()) if ended is not None else []
    if not details:
        note("No instances.")
        return FAILURE
    if call.json:
        call.print_json(details)
    else:
        show([described(one, static=bool(call.option("static"))) for one in details])
    return OK


# startup, shutdown


def _startup(call: Call) -> int:
    names = selected_instances(call, "startup")
    return run_each(call, [(name, call.opcode(STARTUP, instance_name=name)) for name in names])


def _shutdown(call: Call) -> int:
    names = selected_instances(call, "shutdown")
    return run_each(call, [(name, call.opcode(SHUTDOWN, instance_name=name)) for name in names])


# remove


def _remove(call: Call) -> int:
    question = "This will remove the instance {} with all its data. All data on its disks is lost. Continue?"
    confirm_one(call, question, "remove")
    return run_command(call, call.opcode(REMOVE, instance_name=call.arguments[0]))


PROGRAM = Program(
    name="gnt-instance",
    help="make, list, start, stop, move and remove instances",
    commands=(
        Command(
            name="add",
            help="make an instance: its disks, its guest OS, and start it",
            run=_add,
            options=_ADD_OPTIONS,
            arguments=(Argument("name"),),
            examples=("gnt-instance add -t sharedfile -n node1 -o busybox --disk 0:size=1g web1",),
        ),
        *LISTS["gnt-instance"],
        Command(
            name="info",
            help="show instances with all their details",
            run=_info,
            options=(
                option("--all", help="every instance"),
                from_opcode(QUERY_DATA, "static", "-s", "--static"),
                AT,
                ROMAN,
                PRIORITY,
            ),
            arguments=(_INSTANCES,),
            aliases=("show",),
            examples=(
                "gnt-instance info web1",
                "gnt-instance info --static --all",
            ),
        ),
        Command(
            name="startup",
            help="start instances",
            run=_startup,
            options=(
                *SELECTION,
                from_opcode(STARTUP, "force", "-f", "--force"),
                from_opcode(STARTUP, "beparams", "-B", "--backend-parameters", **_KEY_VALUES),
                from_opcode(STARTUP, "hvparams", "-H", "--hypervisor-parameters", **_KEY_VALUES),
                from_opcode(STARTUP, "ignore_offline_nodes", "--ignore-offline"),
                from_opcode(STARTUP, "no_remember", "--no-remember"),
                from_opcode(STARTUP, "startup_paused", "--paused"),
                *CHANGING,
            ),
            arguments=(_INSTANCES,),
            aliases=("start",),
            text=_JSON_JOBS,
            examples=(
                "gnt-instance startup web1 web2",
                "gnt-instance startup --primary node1",
            ),
        ),
        Command(
            name="shutdown",
            help="shut instances down",
            run=_shutdown,
            options=(
                *SELECTION,
                from_opcode(SHUTDOWN, "force", "-f", "--force"),
                from_opcode(SHUTDOWN, "timeout", "--timeout", metavar="SECONDS"),
                from_opcode(SHUTDOWN, "ignore_offline_nodes", "--ignore-offline"),
                from_opcode(SHUTDOWN, "no_remember", "--no-remember"),
                *CHANGING,
            ),
            arguments=(_INSTANCES,),
            aliases=("stop",),
            text=_JSON_JOBS,
            examples=(
                "gnt-instance shutdown --timeout 300 web1",
                "gnt-instance shutdown --plan web1",
            ),
        ),
        Command(
            name="console",
            help="connect to the console of a running instance",
            run=console,
            options=(option("--show-cmd", help="print the command instead of running it"), PRIORITY),
            arguments=(_INSTANCE,),
            examples=("gnt-instance console web1",),
        ),
        Command(
            name="remove",
            help="shut an instance down and remove it with all its data",
            run=_remove,
            options=(
                FORCE,
                from_opcode(REMOVE, "ignore_failures", "--ignore-failures"),
                from_opcode(REMOVE, "shutdown_timeout", "--shutdown-timeout", metavar="SECONDS"),
                *CHANGING,
            ),
            arguments=(_INSTANCE,),
            examples=("gnt-instance remove -f web1",),
        ),
        *tag_commands("instance", "instance"),
        *DISKS,
        *LIFE,
        *MOVES,
        MODIFY,
    ),
    unsupported={
        "batch-create": "no allocator is run yet: gnt-debug submit-job takes a file with OP_INSTANCE_CREATE opcodes",
        "change-group": "no allocator is run yet: gnt-instance move -n NODE, or replace-disks -n NODE and migrate",
    },
)
