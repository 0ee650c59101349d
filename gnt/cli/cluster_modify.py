"""`gnt-cluster modify`: the cluster's parameters; `gnt-os modify`: those that go with a guest OS."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Option, from_opcode, option, unsupported
from gnt.cli.jobs import run_command
from gnt.cli.options import CHANGING
from gnt.cli.parameter_options import (
    GROUPED,
    LINES,
    POLICY_OPTIONS,
    SECRET_KEY_VALUES,
    STATES,
    disk_parameters,
    grouped,
    hypervisor_parameters,
    policy_of,
)
from gnt.cli.values import comma_list, key_values, uid_pool, yes_no
from gnt.model.errors import WRONG_INPUT, Refused

MODIFY_OP: Final = "OP_CLUSTER_SET_PARAMS"

_KEY_VALUES: Final[dict[str, Any]] = {"metavar": "K=V,...", "parse": key_values}
_WORDS: Final[dict[str, Any]] = {"metavar": "NAME,...", "parse": comma_list}
_UIDS: Final[dict[str, Any]] = {"metavar": "N-M,...", "parse": uid_pool}
_YES_NO: Final[dict[str, Any]] = {"metavar": "yes|no", "parse": yes_no}


def collectors_on(text: str) -> dict[str, bool]:
    """Take `NAME=yes|no,...`: which collectors are to run."""
    return {name: value if isinstance(value, bool) else yes_no(str(value)) for name, value in key_values(text).items()}


def collector_intervals(text: str) -> dict[str, int]:
    """Take `NAME=SECONDS,...`; the opcode counts in microseconds."""
    found = {}
    for name, value in key_values(text).items():
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name} needs a number of seconds") from None
        if not 0 < seconds < 1e9:
            raise ValueError(f"{name}: {value} is no interval in seconds")
        found[name] = int(seconds * 1_000_000)
    return found


def _cluster_wide(parameter: str, *flags: str, **more: Any) -> Option:
    return from_opcode(MODIFY_OP, parameter, *flags, **more)


_PLAIN: Final[tuple[Option, ...]] = (
    _cluster_wide("beparams", "-B", "--backend-parameters", **_KEY_VALUES),
    _cluster_wide("candidate_pool_size", "-C", "--candidate-pool-size", metavar="N"),
    _cluster_wide("enabled_hypervisors", "--enabled-hypervisors", **_WORDS),
    _cluster_wide("vg_name", "-g", "--vg-name", metavar="GROUP"),
    _cluster_wide("add_uids", "--add-uids", **_UIDS),
    _cluster_wide("remove_uids", "--remove-uids", **_UIDS),
    _cluster_wide("uid_pool", "--uid-pool", **_UIDS),
    _cluster_wide("maintain_node_health", "--maintain-node-health", **_YES_NO),
    _cluster_wide("nicparams", "-N", "--nic-parameters", **_KEY_VALUES),
    _cluster_wide("drbd_helper", "--drbd-usermode-helper", metavar="PATH"),
    _cluster_wide("default_iallocator", "-I", "--default-iallocator", metavar="NAME"),
    _cluster_wide("default_iallocator_params", "--default-iallocator-params", **_KEY_VALUES),
    _cluster_wide("reserved_lvs", "--reserved-lvs", metavar="PATTERN,...", parse=comma_list),
    _cluster_wide("prealloc_wipe_disks", "--prealloc-wipe-disks", **_YES_NO),
    _cluster_wide("master_netdev", "--master-netdev", metavar="DEVICE"),
    _cluster_wide("master_netmask", "--master-netmask", metavar="N"),
    _cluster_wide("use_external_mip_script", "--use-external-mip-script", **_YES_NO),
    _cluster_wide("ndparams", "--node-parameters", **_KEY_VALUES),
    _cluster_wide("enabled_disk_templates", "--enabled-disk-templates", **_WORDS),
    _cluster_wide("modify_etc_hosts", "--modify-etc-hosts", **_YES_NO),
    _cluster_wide("file_storage_dir", "--file-storage-dir", metavar="DIR"),
    _cluster_wide("shared_file_storage_dir", "--shared-file-storage-dir", metavar="DIR"),
    _cluster_wide("gluster_storage_dir", "--gluster-storage-dir", metavar="DIR"),
    _cluster_wide("max_running_jobs", "--max-running-jobs", metavar="N"),
    _cluster_wide("max_tracked_jobs", "--max-tracked-jobs", metavar="N"),
    _cluster_wide("enabled_user_shutdown", "--user-shutdown", **_YES_NO),
    _cluster_wide("compression_tools", "--compression-tools", **_WORDS),
    _cluster_wide("install_image", "--install-image", metavar="IMAGE"),
    _cluster_wide("zeroing_image", "--zeroing-image", metavar="IMAGE"),
    _cluster_wide("instance_communication_network", "--instance-communication-network", metavar="NETWORK"),
    _cluster_wide("mac_prefix", "-m", "--mac-prefix", metavar="XX:XX:XX"),
    _cluster_wide(
        "enabled_data_collectors", "--enabled-data-collectors", metavar="NAME=yes|no,...", parse=collectors_on
    ),
    _cluster_wide(
        "data_collector_interval",
        "--data-collector-interval",
        metavar="NAME=SECONDS,...",
        parse=collector_intervals,
        help="seconds between two runs of each collector",
    ),
    _cluster_wide("force", "-f", "--force"),
)


def _modify(call: Call) -> int:
    fields = {name: grouped(call, name, flag) for name, flag in GROUPED.items()} | {"ipolicy": policy_of(call)}
    given = {name: value for name, value in fields.items() if value is not None}
    if not given and not call.fields_of(MODIFY_OP).keys() - {"force"}:
        raise Refused(WRONG_INPUT, "Please give at least one parameter to change", hint="gnt-cluster modify --help")
    return run_command(call, call.opcode(MODIFY_OP, **given))


MODIFY: Final = Command(
    name="modify",
    help="change the cluster's parameters",
    run=_modify,
    options=(
        *_PLAIN,
        hypervisor_parameters("changes of a hypervisor's parameters; the value default takes one back"),
        disk_parameters("changes of the parameters of a disk template"),
        *STATES,
        *(one for one in POLICY_OPTIONS if one.name.startswith("--ipolicy-")),
        *(
            unsupported(one.name, hint="--ipolicy-bounds-specs and --ipolicy-std-specs")
            for one in POLICY_OPTIONS
            if one.name.startswith("--specs-")
        ),
        unsupported("--no-lvm-storage", hint="--vg-name=''"),
        unsupported("--no-drbd-storage", hint="--drbd-usermode-helper=''"),
        *CHANGING,
    ),
    text="""
        What is left out stays. The value default takes a parameter back to what is built in.
        Nodes are asked first whether they can do what is wanted; --force goes on although one objects.
    """,
    examples=(
        "gnt-cluster modify --candidate-pool-size 5",
        "gnt-cluster modify -H kvm:kernel_path=/boot/vmlinuz-guest -B maxmem=1g",
        "gnt-cluster modify --reserved-lvs xenvg/keep-.* --max-running-jobs 40",
    ),
)


def _modify_os(call: Call) -> int:
    name = call.arguments[0]
    given = {
        "os_hvp": _one(name, _grouped_or_none(call, "hvparams")),
        "osparams": _one(name, call.option("osparams")),
        "osparams_private_cluster": _one(name, call.option("osparams_private")),
    }
    for flag in ("hidden", "blacklisted"):
        value = call.option(flag)
        given[f"{flag}_os"] = None if value is None else [["add" if value else "remove", name]]
    if all(value is None for value in given.values()):
        raise Refused(WRONG_INPUT, "Please give at least one parameter to change", hint="gnt-os modify --help")
    return run_command(call, call.opcode(MODIFY_OP, force=bool(call.option("force")), **given))


def _one(name: str, value: Any) -> Any:
    return None if value is None else {name: value}


def _grouped_or_none(call: Call, dest: str) -> dict[str, Any] | None:
    """Put parameters together by hypervisor; `no_HV` takes all of a hypervisor away."""
    given = call.option(dest)
    return None if given is None else dict(given)


MODIFY_OS: Final = Command(
    name="modify",
    help="change what goes with a guest OS: parameters, and whether it is shown and may be used",
    run=_modify_os,
    options=(
        hypervisor_parameters("hypervisor parameters for this OS; no_HV takes all of them away"),
        option("-O", "--os-parameters", **_KEY_VALUES, dest="osparams", help="parameters of the OS definition"),
        option(
            "--os-parameters-private",
            **SECRET_KEY_VALUES,
            dest="osparams_private",
            help=f"parameters that logs and answers never show; {LINES}",
        ),
        option("--hidden", **_YES_NO, help="leave it out of lists"),
        option("--blacklisted", **_YES_NO, help="let nobody use it for new instances"),
        option("-f", "--force", help="although no node has it, or it does not know the parameter"),
        *CHANGING,
    ),
    arguments=(Argument("os", kind="os"),),
    examples=("gnt-os modify -H kvm:kernel_path=/boot/vmlinuz debootstrap+default", "gnt-os modify --hidden=yes noop"),
)
