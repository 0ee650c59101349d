"""The first configuration of a cluster: `spec/config.md`, section 8. A pure builder: UUIDs and times are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.names import check_ip, check_mac_prefix, check_name
from gnt.model.objects import ClusterSettings, DiskTemplate, HypervisorName, Node, NodeGroup, Params
from gnt.model.params import (
    DEFAULT,
    Level,
    check_be,
    check_disk,
    check_hv,
    check_nd,
    check_nic,
    defaults,
    nic_problems,
    refuse_bad_be,
    refuse_bad_hv,
)
from gnt.model.params_tables import BACKEND, DISK, HYPERVISOR, IPOLICY, NIC, NODE
from gnt.model.policy import check_ipolicy

INITIAL_GROUP: Final = "default"
LVM_TEMPLATES: Final = frozenset({DiskTemplate.PLAIN, DiskTemplate.DRBD})
_NOTHING: Final[Mapping[str, Any]] = {}
_IPV6_FAMILY: Final = 10
_FIXED: Final = frozenset({"uuid", "ctime", "mtime", "serial_no", "master_node"})


class Identities(msgspec.Struct, frozen=True, kw_only=True):
    """The UUIDs of a new cluster, fresh and different."""

    cluster: str
    node: str
    group: str


def new_cluster(
    *,
    name: str,
    node_name: str,
    primary_ip: str,
    identities: Identities,
    now: float,
    secondary_ip: str = "",
    enabled_hypervisors: Sequence[str] = (HypervisorName.KVM,),
    enabled_disk_templates: Sequence[str] = (DiskTemplate.SHAREDFILE, DiskTemplate.FILE, DiskTemplate.DISKLESS),
    volume_group_name: str | None = None,
    hvparams: Mapping[str, Params] = _NOTHING,
    beparams: Params = _NOTHING,
    nicparams: Params = _NOTHING,
    ndparams: Params = _NOTHING,
    diskparams: Mapping[str, Params] = _NOTHING,
    ipolicy: Params = _NOTHING,
    node_certificate: str = "",
    settings: Params = _NOTHING,
) -> Cluster:
    """Build the configuration with its one node, the master, in the group `default`.

    Parameters given override what is built in; they may be as people write them (`4G`, `yes`). `volume_group_name`
    None leaves LVM off. `node_certificate` is the digest of the master's certificate. `settings` sets further slots of
    `ClusterSettings`, such as `master_ip` (empty: the master has no address of its own), `mac_prefix` or
    `candidate_pool_size`, as JSON values. Raises `Refused` (`wrong_input`).
    """
    primary = check_ip(primary_ip)
    hypervisors = _known(enabled_hypervisors, HypervisorName, "hypervisor")
    templates = _known(enabled_disk_templates, DiskTemplate, "disk template")
    if volume_group_name is None and LVM_TEMPLATES & set(templates):
        raise Refused(WRONG_INPUT, "disk templates plain and drbd need a volume group", hint="name it with --vg-name")
    node = Node(
        name=check_name(node_name, "node"),
        uuid=identities.node,
        primary_ip=primary,
        secondary_ip=check_ip(secondary_ip) if secondary_ip else primary,
        group=identities.group,
        master_candidate=True,
        ctime=now,
        mtime=now,
    )
    base = ClusterSettings(
        uuid=identities.cluster,
        cluster_name=check_name(name, "cluster"),
        master_node=node.uuid,
        enabled_hypervisors=hypervisors,
        enabled_disk_templates=templates,
        volume_group_name=volume_group_name,
        drbd_usermode_helper="/bin/true" if DiskTemplate.DRBD in templates else None,
        hvparams=_hvparams(hvparams, hypervisors),
        beparams={DEFAULT: _beparams(beparams)},
        nicparams={DEFAULT: _nicparams(nicparams)},
        ndparams={**defaults(NODE), **check_nd(ndparams, level=Level.CLUSTER)},
        diskparams=_diskparams(diskparams, volume_group_name),
        ipolicy=check_ipolicy(ipolicy, IPOLICY),
        primary_ip_family=_IPV6_FAMILY if ":" in primary else 2,
        master_netmask=128 if ":" in primary else 32,
        candidate_certs={node.uuid: node_certificate} if node_certificate else {},
        ctime=now,
        mtime=now,
    )
    group = NodeGroup(name=INITIAL_GROUP, uuid=identities.group, ctime=now, mtime=now)
    return Cluster.of(_with_settings(base, settings), [group, node], ctime=now, mtime=now)


E_ = TypeVar("E_", bound=StrEnum)


def _known(values: Sequence[str], names: type[E_], what: str) -> tuple[E_, ...]:
    """Give the values in their order, each once; refuse none at all, and those that are not known."""
    allowed = [name for name in names if name != DiskTemplate.MIXED]
    for value in values:
        if value not in allowed:
            raise Refused(WRONG_INPUT, f"{value[:60]} is not a {what}", hint=f"there are: {', '.join(allowed)}")
    if not values:
        raise Refused(WRONG_INPUT, f"a cluster needs at least one enabled {what}")
    return tuple(dict.fromkeys(names(value) for value in values))


def _hvparams(given: Mapping[str, Params], enabled: Sequence[str]) -> dict[str, dict[str, Any]]:
    checked = {name: check_hv(name, params, level=Level.CLUSTER) for name, params in given.items()}
    filled = {name: {**defaults(table), **checked.get(name, {})} for name, table in HYPERVISOR.items()}
    for name in dict.fromkeys((*enabled, *given)):
        refuse_bad_hv(name, filled[name])
    return filled


def _beparams(given: Params) -> dict[str, Any]:
    filled = {**defaults(BACKEND), **check_be(given)}
    refuse_bad_be(filled)
    return filled


def _nicparams(given: Params) -> dict[str, Any]:
    filled = {**defaults(NIC), **check_nic(given)}
    # Routed interfaces need an address, which is theirs to have and not the cluster's.
    problems = nic_problems(filled, ip="any")
    if problems:
        raise Refused(WRONG_INPUT, problems[0])
    return filled


def _diskparams(given: Mapping[str, Params], volume_group: str | None) -> dict[str, dict[str, Any]]:
    checked = {template: check_disk(template, params) for template, params in given.items()}
    filled = {template: {**defaults(table), **checked.get(template, {})} for template, table in DISK.items()}
    if volume_group is not None and "metavg" not in checked.get("drbd", {}):
        filled["drbd"]["metavg"] = volume_group
    return filled


def _with_settings(base: ClusterSettings, settings: Params) -> ClusterSettings:
    for name in settings:
        if name not in ClusterSettings.__struct_fields__ or name in _FIXED:
            raise Refused(WRONG_INPUT, f"{name} is not a setting of a new cluster")
    given = dict(settings)
    if "mac_prefix" in given:
        given["mac_prefix"] = check_mac_prefix(given["mac_prefix"])
    if given.get("master_ip"):
        given["master_ip"] = check_ip(given["master_ip"])
    try:
        made = msgspec.convert({**msgspec.to_builtins(base), **msgspec.to_builtins(given)}, ClusterSettings)
    except msgspec.ValidationError as error:
        raise Refused(WRONG_INPUT, f"cluster settings: {error}") from None
    if made.candidate_pool_size < 1:
        raise Refused(WRONG_INPUT, "candidate_pool_size must be at least 1")
    return made
