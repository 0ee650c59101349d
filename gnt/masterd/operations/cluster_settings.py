"""What OP_CLUSTER_SET_PARAMS makes of the cluster's settings: pure, each refusal names its parameter.

`spec/opcodes.md`, section 8, has the refusals; what nodes have to say comes after this (`cluster_modify`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from msgspec.structs import replace

from gnt.model.cluster import Cluster
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.names import check_mac_prefix
from gnt.model.objects import DATA_COLLECTORS, ClusterSettings, DiskTemplate, HypervisorName, Instance, Node
from gnt.model.params import (
    DEFAULT,
    Level,
    check_be,
    check_disk,
    check_hv,
    check_nd,
    check_nic,
    check_os,
    defaults,
    fill_nic,
    nic_problems,
    refuse_bad_be,
    refuse_bad_hv,
)
from gnt.model.params_checks import is_normal_path
from gnt.model.params_tables import BACKEND, DISK, HYPERVISOR, NIC, NODE
from gnt.model.policy import check_ipolicy
from gnt.opcodes.cluster_modify import ClusterSetParams

LVM_TEMPLATES: Final = frozenset({DiskTemplate.PLAIN, DiskTemplate.DRBD})
MAX_UID: Final = 2**32 - 2
SHOWN: Final = 5
IPV6: Final = 10

_NO_HELPER_MACHINE: Final = "no helper machine is started here"
_NO_ALLOCATOR: Final = "no allocator is run yet: name nodes with -n"
_NEVER_USED: Final = "such states were only ever recorded, and used by nothing"
# What this version does not carry out, with the value that changes nothing, which is taken, and what is to be known.
_UNSUPPORTED: Final[Mapping[str, tuple[Any, str]]] = {
    "use_external_mip_script": (False, "the master daemon raises the cluster's address itself"),
    "gluster_storage_dir": ("", "mount the volume and use the template sharedfile: --shared-file-storage-dir"),
    "default_iallocator": ("", _NO_ALLOCATOR),
    "default_iallocator_params": ({}, _NO_ALLOCATOR),
    "maintain_node_health": (False, "gnt-cluster verify names the guests that should not run where they do"),
    "prealloc_wipe_disks": (False, "volumes of the template thin, and all kinds of files, read as zeros when new"),
    "modify_etc_hosts": (False, "/etc/hosts belongs to the administrator"),
    "install_image": ("", _NO_HELPER_MACHINE),
    "zeroing_image": ("", _NO_HELPER_MACHINE),
    "instance_communication_network": ("", "there is no metadata daemon that guests could ask"),
    "hv_state": ({}, _NEVER_USED),
    "disk_state": ({}, _NEVER_USED),
}
# Their values become settings of the same name.
_PLAIN: Final = ("candidate_pool_size", "max_running_jobs", "max_tracked_jobs", "enabled_user_shutdown")
_TOOL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_GROUP: Final = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}", re.ASCII)
_DEVICE: Final = re.compile(r"[^\s/]{1,15}")

Uids = tuple[tuple[int, int], ...]


def changed_settings(cluster: Cluster, op: ClusterSetParams, note: Callable[[str], None]) -> ClusterSettings:
    """Give the settings as they shall be; `note` hears what is taken, but should be known. Raises `Refused`."""
    _refuse_unsupported(op)
    settings = cluster.settings
    given: dict[str, Any] = {name: getattr(op, name) for name in _PLAIN if getattr(op, name) is not None}
    given |= _checked(settings, op)
    given |= _hypervisors(settings, op)
    given |= _parameters(settings, op)
    given |= _guest_systems(settings, op, note)
    given |= _users(settings, op)
    given |= _collectors(settings, op)
    made = replace(settings, **given)
    _refuse_templates(cluster, made, op)
    _refuse_hypervisors(cluster, made, op)
    _refuse_nics(cluster, made, op)
    return made


def _refuse_unsupported(op: ClusterSetParams) -> None:
    for name, (harmless, hint) in _UNSUPPORTED.items():
        if getattr(op, name) not in (None, harmless):
            raise Unsupported(f"OP_CLUSTER_SET_PARAMS: {name} is not supported by this version", hint=hint)


def _wrong(name: str, text: str, hint: str = "") -> Refused:
    return Refused(WRONG_INPUT, f"OP_CLUSTER_SET_PARAMS: {name}: {text}", hint=hint)


def some(names: Iterable[str]) -> str:
    """Give names for one line: the first few, and how many more there are."""
    listed = sorted(names)
    more = len(listed) - SHOWN
    return " ".join(listed[:SHOWN]) + (f" and {more} more" if more > 0 else "")


# Groups of parameters


def _mac_prefix(_name: str, value: str) -> str:
    return check_mac_prefix(value)


def _device(name: str, value: str) -> str:
    if not _DEVICE.fullmatch(value):
        raise _wrong(name, f"{value[:60]!r} is not the name of an interface")
    return value


def _volume_group(name: str, value: str) -> str | None:
    if value and not _GROUP.fullmatch(value):
        raise _wrong(name, f"{value[:60]!r} is not the name of a volume group")
    return value or None


def _path(name: str, value: str) -> str:
    if value and not is_normal_path(value):
        raise _wrong(name, f"{value[:60]!r} is not an absolute path without '..' and final slashes")
    return value


def _maybe_path(name: str, value: str) -> str | None:
    return _path(name, value) or None


def _patterns(name: str, value: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in value:
        try:
            re.compile(pattern)
        except re.error as problem:
            raise _wrong(name, f"{pattern[:60]!r} is no regular expression: {problem}") from None
    return value


def _templates(name: str, value: tuple[str, ...]) -> tuple[DiskTemplate, ...]:
    made = tuple(map(DiskTemplate, dict.fromkeys(value)))
    if not made:
        raise _wrong(name, "a cluster needs at least one")
    if DiskTemplate.MIXED in made:
        raise _wrong(name, "mixed is no template that disks can have")
    return made


def _tools(name: str, value: tuple[str, ...]) -> tuple[str, ...]:
    for tool in value:
        if not _TOOL.fullmatch(tool):
            raise _wrong(name, f"{tool[:60]!r} is not the name of a program, without its directory")
    return tuple(dict.fromkeys(value))


# Parameters with a check of their own, each with the setting that it becomes.
_CHECKED: Final[Mapping[str, tuple[str, Callable[[str, Any], Any]]]] = {
    "mac_prefix": ("mac_prefix", _mac_prefix),
    "master_netdev": ("master_netdev", _device),
    "vg_name": ("volume_group_name", _volume_group),
    "drbd_helper": ("drbd_usermode_helper", _maybe_path),
    "file_storage_dir": ("file_storage_dir", _path),
    "shared_file_storage_dir": ("shared_file_storage_dir", _path),
    "reserved_lvs": ("reserved_lvs", _patterns),
    "enabled_disk_templates": ("enabled_disk_templates", _templates),
    "compression_tools": ("compression_tools", _tools),
}


def _checked(settings: ClusterSettings, op: ClusterSetParams) -> dict[str, Any]:
    given = {
        setting: check(name, getattr(op, name))
        for name, (setting, check) in _CHECKED.items()
        if getattr(op, name) is not None
    }
    if op.master_netmask is not None:
        longest = 128 if ":" in settings.master_ip or settings.primary_ip_family == IPV6 else 32
        if not 0 < op.master_netmask <= longest:
            raise _wrong("master_netmask", f"{op.master_netmask} is not a prefix length from 1 to {longest}")
        given["master_netmask"] = op.master_netmask
    return given


def _hypervisors(settings: ClusterSettings, op: ClusterSetParams) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if op.enabled_hypervisors is not None:
        if not op.enabled_hypervisors:
            raise _wrong("enabled_hypervisors", "a cluster needs at least one")
        given["enabled_hypervisors"] = tuple(map(HypervisorName, dict.fromkeys(op.enabled_hypervisors)))
    if op.hvparams is not None or op.enabled_hypervisors is not None:
        made = dict(settings.hvparams)
        for name, params in (op.hvparams or {}).items():
            checked = check_hv(name, params, made.get(name), level=Level.CLUSTER)
            made[name] = {**defaults(HYPERVISOR[name]), **checked}
        for enabled in op.enabled_hypervisors or ():
            made.setdefault(enabled, defaults(HYPERVISOR[enabled]))
        for name in dict.fromkeys(
            (*given.get("enabled_hypervisors", settings.enabled_hypervisors), *(op.hvparams or ()))
        ):
            refuse_bad_hv(name, {**defaults(HYPERVISOR[name]), **made.get(name, {})})
        given["hvparams"] = made
    return given


def _parameters(settings: ClusterSettings, op: ClusterSetParams) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if op.beparams is not None:
        backend = {**defaults(BACKEND), **check_be(op.beparams, settings.beparams.get(DEFAULT))}
        refuse_bad_be(backend)
        given["beparams"] = {**settings.beparams, DEFAULT: backend}
    if op.nicparams is not None:
        nic = {
            **defaults(NIC),
            **check_nic({str(key): value for key, value in op.nicparams.items()}, settings.nicparams.get(DEFAULT)),
        }
        problems = nic_problems(nic, ip="any")
        if problems:
            raise _wrong("nicparams", problems[0])
        given["nicparams"] = {**settings.nicparams, DEFAULT: nic}
    if op.ndparams is not None:
        given["ndparams"] = {**defaults(NODE), **check_nd(op.ndparams, settings.ndparams, level=Level.CLUSTER)}
    if op.diskparams is not None:
        disks = dict(settings.diskparams)
        for template, params in op.diskparams.items():
            disks[template] = {**defaults(DISK[template]), **check_disk(template, params, disks.get(template))}
        given["diskparams"] = disks
    if op.ipolicy is not None:
        given["ipolicy"] = check_ipolicy(op.ipolicy, settings.ipolicy)
    return given


def _guest_systems(settings: ClusterSettings, op: ClusterSetParams, note: Callable[[str], None]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if op.os_hvp is not None:
        given["os_hvp"] = _os_hvp(settings, op.os_hvp)
    for name in ("osparams", "osparams_private_cluster"):
        changes = getattr(op, name)
        if changes is not None:
            given[name] = _by_os(getattr(settings, name), changes)
    for name in ("hidden_os", "blacklisted_os"):
        edits = getattr(op, name)
        if edits is not None:
            given[name] = _edited(name, getattr(settings, name), edits, note)
    return given


def _os_hvp(settings: ClusterSettings, changes: Mapping[str, Any]) -> dict[str, Any]:
    made = {os: dict(by_hypervisor) for os, by_hypervisor in settings.os_hvp.items()}
    for os, by_hypervisor in changes.items():
        mine = made.setdefault(os, {})
        for hypervisor, params in by_hypervisor.items():
            if params is None:
                mine.pop(hypervisor, None)
                continue
            if not isinstance(params, Mapping):
                raise _wrong("os_hvp", f"{os[:60]}: {hypervisor[:60]} must be an object of parameters")
            mine[hypervisor] = check_hv(hypervisor, params, mine.get(hypervisor))
            base = {**defaults(HYPERVISOR[hypervisor]), **settings.hvparams.get(hypervisor, {})}
            refuse_bad_hv(hypervisor, {**base, **mine[hypervisor]})
        made[os] = {hypervisor: params for hypervisor, params in mine.items() if params}
    return {os: by_hypervisor for os, by_hypervisor in made.items() if by_hypervisor}


def _by_os(current: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    made = {os: dict(params) for os, params in current.items()}
    for os, params in changes.items():
        made[os] = check_os(params, made.get(os))
    return {os: params for os, params in made.items() if params}


def _edited(
    name: str, current: Sequence[str], edits: Sequence[tuple[str, str]], note: Callable[[str], None]
) -> tuple[str, ...]:
    made = list(current)
    for action, os in edits:
        if action == "add":
            if os in made:
                note(f" - WARNING: {os} is in {name} already")
            else:
                made.append(os)
        elif action == "remove":
            if os in made:
                made.remove(os)
            else:
                note(f" - WARNING: {os} is not in {name}")
        else:
            raise _wrong(name, f"{action!r} is none of add, remove")
    return tuple(sorted(made))


def _users(settings: ClusterSettings, op: ClusterSetParams) -> dict[str, Any]:
    if op.uid_pool is None and op.add_uids is None and op.remove_uids is None:
        return {}
    pool = _ranges("uid_pool", op.uid_pool) if op.uid_pool is not None else settings.uid_pool
    added = _ranges("add_uids", op.add_uids or ())
    for low, high in added:
        if any(low <= last and first <= high for first, last in pool):
            raise _wrong("add_uids", f"{low}-{high} overlaps what is in the pool already")
    pool = _joined((*pool, *added))
    for low, high in _ranges("remove_uids", op.remove_uids or ()):
        holder = next(((first, last) for first, last in pool if first <= low and high <= last), None)
        if holder is None:
            raise _wrong("remove_uids", f"{low}-{high} is not all in the pool")
        first, last = holder
        rest = [part for part in ((first, low - 1), (high + 1, last)) if part[0] <= part[1]]
        pool = tuple(sorted([*(one for one in pool if one != holder), *rest]))
    return {"uid_pool": pool}


def _ranges(name: str, ranges: Uids) -> Uids:
    for low, high in ranges:
        if not 0 <= low <= high <= MAX_UID:
            raise _wrong(name, f"{low}-{high} is not a range of user numbers")
    ordered = tuple(sorted(ranges))
    for (_, last), (first, _) in pairwise(ordered):
        if first <= last:
            raise _wrong(name, f"the ranges overlap at {first}")
    return ordered


def _joined(ranges: Uids) -> Uids:
    """Join ranges that follow each other without a gap; they do not overlap."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and joined[-1][1] + 1 == low:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return tuple(joined)


def _collectors(settings: ClusterSettings, op: ClusterSetParams) -> dict[str, Any]:
    if op.enabled_data_collectors is None and op.data_collector_interval is None:
        return {}
    made = dict(settings.data_collectors)
    for name in (*(op.enabled_data_collectors or ()), *(op.data_collector_interval or ())):
        if name not in made:
            known = ", ".join(sorted({*made, *DATA_COLLECTORS}))
            raise Refused(UNKNOWN_ENTITY, f"{name[:60]} is not a data collector", hint=f"there are: {known}")
    for name, active in (op.enabled_data_collectors or {}).items():
        made[name] = replace(made[name], active=active)
    for name, interval in (op.data_collector_interval or {}).items():
        if interval <= 0:
            raise _wrong("data_collector_interval", f"{name}: {interval} microseconds is no interval")
        made[name] = replace(made[name], interval=interval)
    return {"data_collectors": made}


# How they fit together, and what is in use


def _refuse_templates(cluster: Cluster, made: ClusterSettings, op: ClusterSetParams) -> None:
    enabled = set(made.enabled_disk_templates)
    used = _templates_in_use(cluster)
    for template in sorted(set(cluster.settings.enabled_disk_templates) - enabled):
        if template in used:
            raise Refused(
                WRONG_STATE, f"Disk template {template} cannot be disabled: it is used by {some(used[template])}"
            )
    _refuse_lvm(made, op, [name for template in LVM_TEMPLATES for name in used.get(template, ())])
    _refuse_drbd(made, op, used.get(DiskTemplate.DRBD, ()))
    for template, path in (
        (DiskTemplate.FILE, made.file_storage_dir),
        (DiskTemplate.SHAREDFILE, made.shared_file_storage_dir),
    ):
        if template in enabled and not path:
            raise _wrong(_DIRECTORY[template], f"disks of the template {template} need a directory")
    allowed = (op.ipolicy or {}).get("disk-templates")
    missing = set(allowed) - enabled if isinstance(allowed, list | tuple) else set()
    if missing:
        raise _wrong("ipolicy", f"it allows disk templates that are not enabled: {some(missing)}")


_DIRECTORY: Final = {DiskTemplate.FILE: "file_storage_dir", DiskTemplate.SHAREDFILE: "shared_file_storage_dir"}


def _refuse_lvm(made: ClusterSettings, op: ClusterSetParams, holders: Sequence[str]) -> None:
    lvm = sorted(LVM_TEMPLATES & set(made.enabled_disk_templates))
    if op.vg_name == "":
        if lvm:
            raise _wrong("vg_name", f"the disk templates {' and '.join(lvm)} need a volume group")
        if holders:
            raise _wrong("vg_name", f"instances have disks on LVM: {some(holders)}")
    if lvm and made.volume_group_name is None:
        raise _wrong("enabled_disk_templates", f"{lvm[0]} needs a volume group", hint="--vg-name")


def _refuse_drbd(made: ClusterSettings, op: ClusterSetParams, holders: Sequence[str]) -> None:
    enabled = DiskTemplate.DRBD in made.enabled_disk_templates
    if op.drbd_helper == "":
        if enabled:
            raise Refused(WRONG_STATE, "DRBD needs its helper as long as the disk template drbd is enabled")
        if holders:
            raise _wrong("drbd_helper", f"instances have DRBD disks: {some(holders)}")
    if enabled and op.enabled_disk_templates is not None and made.drbd_usermode_helper is None:
        raise _wrong("enabled_disk_templates", "drbd needs a helper", hint="--drbd-usermode-helper /bin/true")


def _templates_in_use(cluster: Cluster) -> dict[DiskTemplate, list[str]]:
    """Give the instances (by name) that have each template; a detached disk counts under its UUID."""
    used: dict[DiskTemplate, list[str]] = {}
    for disk in cluster.disks.values():
        owner = cluster.owner(disk.uuid)
        used.setdefault(disk.dev_type, []).append(owner.name if owner is not None else disk.uuid)
    for instance in cluster.instances.values():
        if not instance.disks:
            used.setdefault(DiskTemplate.DISKLESS, []).append(instance.name)
    return {template: sorted(set(names)) for template, names in used.items()}


def _refuse_hypervisors(cluster: Cluster, made: ClusterSettings, op: ClusterSetParams) -> None:
    if op.enabled_hypervisors is None:
        return
    for hypervisor in sorted(set(cluster.settings.enabled_hypervisors) - set(made.enabled_hypervisors)):
        users = [one.name for one in cluster.instances.values() if one.hypervisor == hypervisor]
        if users:
            raise Refused(WRONG_STATE, f"Hypervisor {hypervisor} cannot be disabled: it is used by {some(users)}")


def _refuse_nics(cluster: Cluster, made: ClusterSettings, op: ClusterSetParams) -> None:
    """Refuse defaults under which interfaces that exist would be invalid."""
    if op.nicparams is None:
        return
    after = cluster.put(made)
    found = [text for instance in cluster.sorted_instances() for text in _bad_nics(after, instance)]
    if found:
        more = f" ({len(found)} in all)" if len(found) > 1 else ""
        raise _wrong("nicparams", f"{found[0]}{more}")


def _bad_nics(cluster: Cluster, instance: Instance) -> list[str]:
    node: Node | None = cluster.nodes.get(instance.primary_node)
    group = cluster.groups.get(node.group) if node is not None else None
    return [
        f"Instance {instance.name}, nic/{index}: {problem}"
        for index, nic in enumerate(instance.nics)
        for problem in nic_problems(fill_nic(cluster, group, nic), ip=nic.ip, network=nic.network)
    ]
