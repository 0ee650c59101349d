"""gnt-instance modify: parameters, disks and interfaces of an instance, the template of its disks."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, from_opcode, option
from gnt.cli.devices import disk_values, nic_values
from gnt.cli.jobs import run_command
from gnt.cli.options import CHANGING
from gnt.cli.parameter_options import private_os_parameters
from gnt.cli.terminal import say
from gnt.cli.values import ident_key_values, key_values
from gnt.model.errors import WRONG_INPUT, Refused

MODIFY: Final = "OP_INSTANCE_SET_PARAMS"

_KEY_VALUES: Final[dict[str, Any]] = {"metavar": "K=V,...", "parse": key_values}
_CHANGE: Final[dict[str, Any]] = {"metavar": "CHANGE", "parse": ident_key_values, "repeat": True}
_ACTIONS: Final = ("add", "attach", "detach", "modify", "remove")

Changes = list[tuple[str, int | str, dict[str, Any]]]


def changes_of(call: Call, name: str) -> Changes:
    """Give the changes that `--disk` or `--net` asks for: `add:size=1g`, `remove`, `0:mode=ro`, `-1:remove`."""
    found: Changes = []
    for ident, given in call.option(name, []):
        values = dict(given)
        where = f"--{name} {ident}"
        if ident in _ACTIONS and ident != "modify":
            action, target = ident, "-1"
        else:
            words = [word for word in _ACTIONS if values.get(word) is True]
            if len(words) > 1:
                raise Refused(WRONG_INPUT, f"{where}: {' and '.join(words)} exclude each other")
            action, target = (words or ["modify"])[0], ident
            values.pop(action, None)
        number = target.removeprefix("-").isdecimal()
        found.append((action, int(target) if number else target, _checked(name, where, action, values)))
    return found


def _checked(name: str, where: str, action: str, values: dict[str, Any]) -> dict[str, Any]:
    if action == "attach":
        for key in values:
            if key not in {"uuid", "name"}:
                raise Refused(WRONG_INPUT, f"{where}: there is no {key[:40]!r}", hint="uuid or name says which disk")
        return values
    return disk_values(where, values) if name == "disk" else nic_values(where, values)


def _modify(call: Call) -> int:
    offline = call.option("offline")
    if call.option("online"):
        if offline:
            raise Refused(WRONG_INPUT, "--offline and --online exclude each other")
        offline = False
    ways = {"--no-hotplug": call.option("hotplug") is False}
    ways |= {"--hotplug": call.option("hotplug_now"), "--hotplug-if-possible": call.option("hotplug_if_possible")}
    wanted = [way for way, given in ways.items() if given]
    if len(wanted) > 1:
        raise Refused(WRONG_INPUT, f"{' and '.join(wanted)} exclude each other")
    disks, nics = changes_of(call, "disk"), changes_of(call, "net")
    name = call.arguments[0]
    ext = dict(call.option("ext_params", {}))
    opcode = call.opcode(
        MODIFY,
        instance_name=name,
        disks=disks or None,
        nics=nics or None,
        offline=offline,
        ext_params=ext or None,
        remote_node=call.option("node"),
        # The opcode's word for it: what the guest cannot take is no reason to refuse the change.
        force=True if call.option("hotplug_if_possible") else call.option("force"),
    )
    return run_command(call, opcode, lambda result: _show(name, result))


def _show(name: str, result: Any) -> None:
    if not result:
        return
    say(f"Modified instance {name}")
    for parameter, value in result:
        say(f" - {parameter} -> {value}")


COMMAND: Final = Command(
    name="modify",
    help="change the parameters, disks and interfaces of an instance",
    run=_modify,
    options=(
        from_opcode(MODIFY, "beparams", "-B", "--backend-parameters", **_KEY_VALUES),
        from_opcode(MODIFY, "hvparams", "-H", "--hypervisor-parameters", **_KEY_VALUES),
        option(
            "--disk", metavar="CHANGE", parse=ident_key_values, repeat=True, help="add:size=1g, 0:mode=ro or -1:remove"
        ),
        option("--net", metavar="CHANGE", parse=ident_key_values, repeat=True, help="add, 0:link=br1, -1:remove"),
        from_opcode(MODIFY, "force", "-f", "--force"),
        from_opcode(MODIFY, "force_variant", "--force-variant"),
        option("-n", "--node", metavar="NODE", help="secondary node, to convert to mirrors"),
        from_opcode(MODIFY, "iallocator", "-I", "--iallocator", metavar="NAME"),
        from_opcode(MODIFY, "os_name", "-o", "--os-type", metavar="OS"),
        from_opcode(MODIFY, "disk_template", "-t", "--disk-template", metavar="TEMPLATE"),
        from_opcode(MODIFY, "ext_params", "-e", "--ext-params", **_KEY_VALUES),
        from_opcode(MODIFY, "file_driver", "--file-driver"),
        from_opcode(MODIFY, "file_storage_dir", "--file-storage-dir", metavar="DIR"),
        from_opcode(MODIFY, "osparams", "-O", "--os-parameters", **_KEY_VALUES),
        private_os_parameters(MODIFY),
        from_opcode(MODIFY, "wait_for_sync", "--no-wait-for-sync", help="do not wait until mirrors are in step"),
        from_opcode(MODIFY, "ignore_ipolicy", "--ignore-ipolicy"),
        from_opcode(MODIFY, "runtime_mem", "-m", "--runtime-memory", metavar="SIZE"),
        option("--offline", help="mark the stopped instance as offline: it is not started"),
        option("--online", help="take the mark away"),
        from_opcode(MODIFY, "conflicts_check", "--no-conflicts-check", help="accept addresses that are in use"),
        from_opcode(MODIFY, "pnode", "--new-primary", metavar="NODE"),
        from_opcode(MODIFY, "hotplug", "--no-hotplug", help="let a running guest see other devices at its next start"),
        option(
            "--hotplug",
            dest="hotplug_now",
            help="give a running guest its new devices at once, or refuse: what is done anyway",
        ),
        option("--hotplug-if-possible", help="what a running guest cannot take, it sees at its next start"),
        from_opcode(MODIFY, "instance_communication", "-c", "--communication", parse=None, metavar="yes|no"),
        *CHANGING,
    ),
    arguments=(Argument("instance", kind="instance"),),
    text="""
        A CHANGE is ACTION:K=V,... at the end, or N:K=V,... and N:ACTION,K=V,... where N is
        an index, a name or a UUID. ACTION is add, attach, detach, modify or remove. The
        value default takes a parameter back to what the cluster says.
        A running guest is given new disks and interfaces at once, and asked to let go of
        those that go; unmount them there first. Other changes it sees at its next start.
    """,
    examples=(
        "gnt-instance modify --disk add:size=10g web1",
        "gnt-instance modify --disk add:size=10g --net 1:remove --hotplug-if-possible web1",
        "gnt-instance modify -t drbd -n node2 web1",
        "gnt-instance modify -B vcpus=2,memory=2g web1",
    ),
)
