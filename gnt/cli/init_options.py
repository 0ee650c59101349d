"""The options of gnt-cluster init, and the request that they make for the program that does it."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Option, option, unsupported
from gnt.cli.options import yes_no_option
from gnt.cli.values import (
    bounds_specs,
    choice,
    comma_list,
    group_key_values,
    ident_key_values,
    key_values,
    parser_at_least,
    ratio,
    spec_values,
    split_spec,
    uid_pool,
)
from gnt.model.errors import WRONG_INPUT, Refused

_KEY_VALUES: Final[dict[str, Any]] = {"metavar": "K=V,...", "parse": key_values}
_WORDS: Final[dict[str, Any]] = {"metavar": "NAME,...", "parse": comma_list}
_STATE: Final[dict[str, Any]] = {"metavar": "NAME:K=V,...", "parse": ident_key_values, "repeat": True}
_NUMBER: Final[dict[str, Any]] = {"metavar": "N", "parse": parser_at_least(1)}
_SPLIT: Final = {
    "--specs-mem-size": "memory-size",
    "--specs-cpu-count": "cpu-count",
    "--specs-disk-count": "disk-count",
    "--specs-disk-size": "disk-size",
    "--specs-nic-count": "nic-count",
}

POLICY_OPTIONS: Final[tuple[Option, ...]] = (
    *(
        option(flag, metavar="min=,max=,std=", parse=split_spec(spec), help=f"limits of instances: {spec}")
        for flag, spec in _SPLIT.items()
    ),
    option("--ipolicy-bounds-specs", metavar="SPECS", parse=bounds_specs, help="limits: min:SPEC=V,.../max:SPEC=V,..."),
    option("--ipolicy-std-specs", metavar="SPEC=V,...", parse=spec_values, help="the usual instance"),
    option("--ipolicy-disk-templates", **_WORDS, help="disk templates that instances may have"),
    option("--ipolicy-vcpu-ratio", metavar="N", parse=ratio, help="virtual processors for each real one"),
    option("--ipolicy-spindle-ratio", metavar="N", parse=ratio, help="spindles in use for each real one"),
)

# Options whose value goes into the request under the name of their `dest`.
_PLAIN: Final[tuple[Option, ...]] = (
    option("-B", "--backend-parameters", **_KEY_VALUES, dest="beparams", help="default backend parameters"),
    option("-C", "--candidate-pool-size", **_NUMBER, help="master candidates that are wanted"),
    option("--enabled-hypervisors", **_WORDS, help="hypervisors that may be used; the first is the default"),
    option("--enabled-disk-templates", **_WORDS, help="disk templates that may be used; the first is the default"),
    option("--file-storage-dir", metavar="DIR", help="directory of file disks"),
    option("--shared-file-storage-dir", metavar="DIR", help="directory of shared file disks"),
    option("--gluster-storage-dir", metavar="DIR", help="where gluster volumes are mounted"),
    option("-m", "--mac-prefix", metavar="XX:XX:XX", help="how generated MAC addresses begin"),
    option("--master-netdev", metavar="DEVICE", help="interface or bridge that carries the cluster's address"),
    option("--master-netmask", **_NUMBER, help="length of the network prefix of the cluster's address"),
    option("-N", "--nic-parameters", **_KEY_VALUES, dest="nicparams", help="default interface parameters: link=br0"),
    option("--node-parameters", **_KEY_VALUES, dest="ndparams", help="default node parameters"),
    option("-s", "--secondary-ip", metavar="IP", help="this node's address for traffic between nodes"),
    option("-g", "--vg-name", metavar="GROUP", help="volume group of the disk templates plain and drbd"),
    option("-I", "--default-iallocator", metavar="NAME", help="allocator that picks nodes"),
    option("--default-iallocator-params", **_KEY_VALUES, help="its parameters"),
    option("--uid-pool", metavar="N-M,...", parse=uid_pool, help="user numbers that guests may run as"),
    option("--compression-tools", **_WORDS, help="tools that may compress disk contents"),
    option("--install-image", metavar="IMAGE", help="image of the helper guest that installs"),
    option("--zeroing-image", metavar="IMAGE", help="image of the helper guest that zeroes free space"),
    option("--drbd-usermode-helper", metavar="PATH", dest="drbd_helper", help="program that DRBD calls"),
    option("--primary-ip-version", metavar="4|6", parse=choice("4", "6"), help="family of the nodes' addresses"),
    option("--ssh-key-type", metavar="TYPE", parse=choice("rsa", "dsa", "ecdsa"), help="type of the nodes' SSH keys"),
    option("--ssh-key-bits", **_NUMBER, help="length of the nodes' SSH keys"),
    yes_no_option("--maintain-node-health", help="let the watcher stop what must not run"),
    yes_no_option("--prealloc-wipe-disks", help="wipe new disks before they are used"),
    yes_no_option("--use-external-mip-script", help="raise the cluster's address with the site's own script"),
    yes_no_option("--user-shutdown", dest="enabled_user_shutdown", help="a guest may shut itself down for good"),
    option("--no-etc-hosts", dest="modify_etc_hosts", const=False, help="leave /etc/hosts alone"),
    option("--no-ssh-init", dest="modify_ssh_setup", const=False, help="leave SSH keys alone"),
)

INIT_OPTIONS: Final[tuple[Option, ...]] = (
    *_PLAIN,
    option(
        "-H",
        "--hypervisor-parameters",
        metavar="HV:K=V,...",
        parse=group_key_values,
        repeat=True,
        dest="hvparams",
        help="default parameters of a hypervisor",
    ),
    option(
        "-D",
        "--disk-parameters",
        metavar="TEMPLATE:K=V,...",
        parse=ident_key_values,
        repeat=True,
        dest="diskparams",
        help="default parameters of a disk template",
    ),
    option("--hypervisor-state", **_STATE, dest="hv_state", help="figures that a hypervisor keeps for itself"),
    option("--disk-state", **_STATE, help="figures on the space of a storage"),
    *POLICY_OPTIONS,
    unsupported("-b", "--bridge", hint="--nic-parameters link=BRIDGE"),
    unsupported("-t", "--default-hypervisor", hint="the first of --enabled-hypervisors is the default"),
    unsupported("--no-lvm-storage", hint="leave --vg-name out"),
    unsupported("--no-drbd-storage", hint="leave drbd out of --enabled-disk-templates"),
)


def init_request(call: Call) -> dict[str, Any]:
    """Give the request for the program; None stands for what was not given. Raises `Refused`."""
    request: dict[str, Any] = {"cluster_name": call.arguments[0]}
    for plain in _PLAIN:
        request[plain.dest] = call.option(plain.dest)
    if request["primary_ip_version"] is not None:
        request["primary_ip_version"] = int(request["primary_ip_version"])
    request["hvparams"] = _grouped(call, "hvparams", "-H")
    for name, flag in (("diskparams", "-D"), ("hv_state", "--hypervisor-state"), ("disk_state", "--disk-state")):
        request[name] = _grouped(call, name, flag)
    request["ipolicy"] = policy_of(call)
    return request


def _grouped(call: Call, dest: str, flag: str) -> dict[str, Any] | None:
    """Put the values of a repeated option together by their name."""
    given = call.option(dest)
    if given is None:
        return None
    found: dict[str, Any] = {}
    for ident, values in given:
        if values is None:
            raise Refused(WRONG_INPUT, f"{flag} no_{ident}: there is nothing yet that could be removed")
        if ident in found:
            raise Refused(WRONG_INPUT, f"{flag} {ident} is given twice")
        found[ident] = values
    return found


def policy_of(call: Call) -> dict[str, Any] | None:
    """Give the instance policy that options describe: full or split specifications, and the rest."""
    split = {spec: call.option(flag.lstrip("-").replace("-", "_")) for flag, spec in _SPLIT.items()}
    split = {spec: bounds for spec, bounds in split.items() if bounds is not None}
    bounds, std = call.option("ipolicy_bounds_specs"), call.option("ipolicy_std_specs")
    if split and (bounds is not None or std is not None):
        raise Refused(WRONG_INPUT, "--specs-… and --ipolicy-…-specs exclude each other")
    policy: dict[str, Any] = {
        "minmax": _completed(split) if split else bounds,
        "std": {spec: values["std"] for spec, values in split.items() if "std" in values} or std,
        "disk-templates": call.option("ipolicy_disk_templates"),
        "vcpu-ratio": call.option("ipolicy_vcpu_ratio"),
        "spindle-ratio": call.option("ipolicy_spindle_ratio"),
    }
    given = {key: value for key, value in policy.items() if value is not None}
    return given or None


def _completed(split: dict[str, dict[str, int]]) -> list[dict[str, dict[str, int]]]:
    """Give the one pair of bounds that split specifications stand for: what is left out is as built in."""
    from gnt.model.params_tables import IPOLICY  # noqa: PLC0415  (only this form needs what is built in)

    (built_in,) = IPOLICY["minmax"]
    return [
        {
            bound: {spec: split.get(spec, {}).get(bound, value) for spec, value in built_in[bound].items()}
            for bound in ("min", "max")
        }
    ]
