"""The options of gnt-cluster init, and the request that they make for the program that does it."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Option, option, unsupported
from gnt.cli.options import yes_no_option
from gnt.cli.parameter_options import (
    GROUPED,
    POLICY_OPTIONS,
    STATES,
    disk_parameters,
    grouped,
    hypervisor_parameters,
    policy_of,
)
from gnt.cli.values import choice, comma_list, key_values, parser_at_least, uid_pool

_KEY_VALUES: Final[dict[str, Any]] = {"metavar": "K=V,...", "parse": key_values}
_WORDS: Final[dict[str, Any]] = {"metavar": "NAME,...", "parse": comma_list}
_NUMBER: Final[dict[str, Any]] = {"metavar": "N", "parse": parser_at_least(1)}

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
    hypervisor_parameters("default parameters of a hypervisor"),
    disk_parameters("default parameters of a disk template"),
    *STATES,
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
    for name, flag in GROUPED.items():
        request[name] = grouped(call, name, flag, "there is nothing yet that could be removed")
    request["ipolicy"] = policy_of(call)
    return request
