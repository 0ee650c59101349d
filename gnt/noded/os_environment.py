"""What a guest OS script is told: spec/os-interface.md, section 4. Pure functions, each giving a whole environment.

Private and secret parameters are in there too, and nowhere else: an environment is never logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gnt.model.errors import NodeFailure
from gnt.model.objects import NicMode
from gnt.model.specs import DiskSpec, InstanceSpec, NetworkSpec, NicSpec
from gnt.noded.os_definitions import split_os, version_of
from gnt.wire.calls import DiskDevice, OsFacts

PATH: Final = "/sbin:/bin:/usr/sbin:/usr/bin"
_FILE_TYPES: Final = frozenset({"file", "sharedfile", "gluster"})


def core_environment(
    facts: OsFacts, os_text: str, parameters: Mapping[str, Any], *, debug_level: int = 0
) -> dict[str, str]:
    """Give what every script gets, and all that `verify` gets. Raises `NodeFailure` (wrong_input)."""
    version = version_of(facts)
    variant = split_os(os_text)[1]
    if not variant and version >= 15 and facts.variants:
        variant = facts.variants[0]
    found = {
        "PATH": PATH,
        "OS_API_VERSION": str(version),
        "OS_NAME": facts.name,
        "OS_VARIANT": variant,
        "DEBUG_LEVEL": str(debug_level),
    }
    for name, value in parameters.items():
        if not name or "=" in name or "\0" in f"{name}{value}":
            raise NodeFailure("wrong_input", f"OS parameter {name!r} cannot be passed to a script")
        found[f"OSP_{name.upper().replace('-', '_')}"] = str(value)
    return found


def instance_environment(
    facts: OsFacts, instance: InstanceSpec, devices: Sequence[DiskDevice], *, debug_level: int = 0
) -> dict[str, str]:
    """Give what every script about an instance gets; `devices` are those of its disks, in their order."""
    parameters = {**instance.osparams, **instance.osparams_private}
    found = core_environment(facts, instance.os, parameters, debug_level=debug_level)
    found |= {
        "INSTANCE_NAME": instance.name,
        "INSTANCE_OS": instance.os,
        "INSTANCE_UUID": instance.uuid,
        "INSTANCE_CTIME": str(instance.ctime),
        "INSTANCE_MTIME": str(instance.mtime),
        "INSTANCE_PRIMARY_NODE": instance.primary_node,
        "INSTANCE_SECONDARY_NODES": " ".join(instance.secondary_nodes),
        "HYPERVISOR": str(instance.hypervisor),
        "DISK_COUNT": str(len(instance.disks)),
        "NIC_COUNT": str(len(instance.nics)),
    }
    for disk, device in zip(instance.disks, devices, strict=True):
        for name, value in _disk(disk, device, instance.hvparams):
            found[f"DISK_{disk.index}_{name}"] = value
    for nic in instance.nics:
        for name, value in _nic(nic, instance.hvparams):
            found[f"NIC_{nic.index}_{name}"] = value
    for prefix, values in (("INSTANCE_BE_", instance.beparams), ("INSTANCE_HV_", instance.hvparams)):
        found |= {f"{prefix}{name}": str(value) for name, value in values.items()}
    return found


def create_environment(
    facts: OsFacts, instance: InstanceSpec, devices: Sequence[DiskDevice], *, reinstall: bool, debug_level: int = 0
) -> dict[str, str]:
    """Give the environment of `create`."""
    found = instance_environment(facts, instance, devices, debug_level=debug_level)
    return found | ({"INSTANCE_REINSTALL": "1"} if reinstall else {})


def rename_environment(
    facts: OsFacts, instance: InstanceSpec, devices: Sequence[DiskDevice], *, old_name: str, debug_level: int = 0
) -> dict[str, str]:
    """Give the environment of `rename`: the instance has its new name already."""
    found = instance_environment(facts, instance, devices, debug_level=debug_level)
    return found | {"OLD_INSTANCE_NAME": old_name}


def export_environment(
    facts: OsFacts,
    instance: InstanceSpec,
    devices: Sequence[DiskDevice],
    *,
    index: int,
    size_fd: int | None = None,
    debug_level: int = 0,
) -> dict[str, str]:
    """Give the environment of `export` for one disk; the script may write the size to the descriptor `size_fd`."""
    found = instance_environment(facts, instance, devices, debug_level=debug_level)
    found |= _transfer("EXPORT", index, devices[index])
    return found | ({"EXP_SIZE_FD": str(size_fd)} if size_fd is not None else {})


def import_environment(
    facts: OsFacts, instance: InstanceSpec, devices: Sequence[DiskDevice], *, index: int, debug_level: int = 0
) -> dict[str, str]:
    """Give the environment of `import` for one disk."""
    found = instance_environment(facts, instance, devices, debug_level=debug_level)
    return found | _transfer("IMPORT", index, devices[index])


def _transfer(prefix: str, index: int, device: DiskDevice) -> dict[str, str]:
    """Say which disk is to be read or written."""
    found = {f"{prefix}_INDEX": str(index)}
    if device.path:
        found |= {f"{prefix}_DEVICE": device.path, f"{prefix}_DISK_PATH": device.path}
    if device.uri:
        found[f"{prefix}_DISK_URI"] = device.uri
    return found


def _disk(disk: DiskSpec, device: DiskDevice, hvparams: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the variables of one disk, without their prefix."""
    if device.path:
        yield "PATH", device.path
    if device.uri:
        yield "URI", device.uri
    yield "ACCESS", disk.mode
    yield "UUID", disk.uuid
    if disk.name:
        yield "NAME", disk.name
    yield "SIZE", str(disk.size)
    if hvparams.get("disk_type"):
        yield "FRONTEND_TYPE", str(hvparams["disk_type"])
    if disk.dev_type in _FILE_TYPES:
        yield "BACKEND_TYPE", f"file:{disk.logical_id[0]}"
    else:
        yield "BACKEND_TYPE", "block"


def _nic(nic: NicSpec, hvparams: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the variables of one network interface, without their prefix."""
    yield "MAC", nic.mac
    if nic.ip:
        yield "IP", nic.ip
    yield "MODE", str(nic.mode)
    if nic.link:
        yield "LINK", nic.link
        if nic.mode is NicMode.BRIDGED:
            yield "BRIDGE", nic.link
    yield "UUID", nic.uuid
    if nic.name:
        yield "NAME", nic.name
    if hvparams.get("nic_type"):
        yield "FRONTEND_TYPE", str(hvparams["nic_type"])
    if nic.network is not None:
        yield from _network(nic.network)


def _network(network: NetworkSpec) -> Iterator[tuple[str, str]]:
    """Give the variables of the network that an interface is in; what is not set is not there."""
    values = {
        "NAME": network.name,
        "UUID": network.uuid,
        "TAGS": " ".join(network.tags),
        "SUBNET": network.network,
        "GATEWAY": network.gateway,
        "SUBNET6": network.network6,
        "GATEWAY6": network.gateway6,
        "MAC_PREFIX": network.mac_prefix,
    }
    for name, value in values.items():
        if value:
            yield f"NETWORK_{name}", value
