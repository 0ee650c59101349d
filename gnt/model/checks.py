"""Whether a configuration is consistent: `spec/config.md`, section 6, and what of section 7 needs no node.

`verify_config` looks at everything and does not raise: a damaged configuration is what it is for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from gnt.model.cluster import Cluster
from gnt.model.names import looks_like_uuid
from gnt.model.objects import Disk, DiskTemplate, Instance, Node, NodeGroup, Params
from gnt.model.params import (
    DEFAULT,
    be_problems,
    disk_problems,
    fill_be,
    fill_hv,
    fill_nic,
    nd_problems,
    nic_problems,
)
from gnt.model.params_checks import hv_problems, type_problems
from gnt.model.params_tables import BACKEND, DISK, HYPERVISOR, NIC, NODE, SPEC_KEYS, Table
from gnt.model.policy import fill_ipolicy, stored_ipolicy_problems
from gnt.model.specs import group_of_instance


class Severity(StrEnum):
    """How bad a finding is: errors make verification fail, warnings do not."""

    ERROR = "error"
    WARNING = "warning"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that verification found.

    `code` is one of `spec/config.md`, section 7; `item` is cluster, group, node or instance; `name` is empty for the
    cluster.
    """

    code: str
    item: str
    name: str
    text: str
    severity: Severity = Severity.ERROR


def verify_config(cluster: Cluster) -> list[Finding]:
    """Give everything that is wrong with a configuration: first the cluster's, then by node and instance."""
    looks: tuple[Callable[[Cluster], Iterator[str]], ...] = (
        *(_settings, _cluster_parameters, _keys, _groups, _nodes, _candidates, _instances, _disks),
        *(_macs, _ports, _minors, _addresses, _volumes),
    )
    findings = [
        # A stored value may hold anything, a line break too.
        Finding(code="ECLUSTERCFG", item="cluster", name="", text=" ".join(text.splitlines()))
        for look in looks
        for text in look(cluster)
    ]
    findings.extend(_dangling(cluster))
    findings.extend(_layouts(cluster))
    return findings


# The cluster itself


def _settings(cluster: Cluster) -> Iterator[str]:
    settings = cluster.settings
    if not settings.enabled_hypervisors:
        yield "no hypervisor is enabled"
    for hypervisor in settings.enabled_hypervisors:
        if hypervisor not in settings.hvparams:
            yield f"hypervisor {hypervisor} is enabled but has no parameters"
    if not settings.enabled_disk_templates:
        yield "no disk template is enabled"
    if DiskTemplate.MIXED in settings.enabled_disk_templates:
        yield "mixed is enabled as a disk template, but it is none"
    if settings.master_node not in cluster.nodes:
        yield f"the master node {settings.master_node} does not exist"
    if settings.candidate_pool_size < 1:
        yield f"the candidate pool size is {settings.candidate_pool_size}"


def _cluster_parameters(cluster: Cluster) -> Iterator[str]:
    settings = cluster.settings
    for hypervisor in settings.hvparams:
        if hypervisor not in HYPERVISOR:
            yield f"there are parameters for {hypervisor}, which is not a hypervisor"
    for hypervisor in dict.fromkeys(settings.enabled_hypervisors):
        yield from _within(hypervisor, hv_problems(hypervisor, fill_hv(cluster, hypervisor, "", {})))
    for os, by_hypervisor in sorted(settings.os_hvp.items()):
        for hypervisor, params in sorted(by_hypervisor.items()):
            yield from _within(f"{hypervisor} for {os}", type_problems(HYPERVISOR.get(hypervisor, {}), params))
    backend = settings.beparams.get(DEFAULT, {})
    yield from _typed_then("backend", BACKEND, backend, be_problems)
    nic = settings.nicparams.get(DEFAULT, {})
    yield from _typed_then("nic", NIC, nic, lambda _: nic_problems(_with_nic_defaults(nic), ip="any"))
    yield from _typed_then("node", NODE, settings.ndparams, nd_problems)
    yield from _disk_parameters("cluster", settings.diskparams)
    yield from _within("cluster", _policy_problems(cluster, None))


def _policy_problems(cluster: Cluster, group: NodeGroup | None) -> list[str]:
    """Look at the parts of a policy, and only where they are sound at what they make together."""
    own = group.ipolicy if group is not None else {}
    parts = stored_ipolicy_problems(cluster.settings.ipolicy, complete=False)
    parts += stored_ipolicy_problems(own, complete=False)
    return parts or stored_ipolicy_problems(fill_ipolicy(cluster, group), complete=True)


def _with_nic_defaults(params: Params) -> dict[str, object]:
    return {**{name: parameter.default for name, parameter in NIC.items()}, **params}


def _within(what: str, problems: Iterable[str]) -> Iterator[str]:
    for problem in problems:
        yield f"{what}: {problem}"


def _typed_then(what: str, table: Table, params: Params, check: Callable[[Params], list[str]]) -> Iterator[str]:
    """Report wrong types, and only where there are none what the check says: it relies on them."""
    yield from _within(what, type_problems(table, params) or check(params))


def _disk_parameters(what: str, diskparams: Mapping[str, Params]) -> Iterator[str]:
    for template, params in sorted(diskparams.items()):
        if template not in DISK:
            yield f"{what}: there are parameters for {template}, which is not a disk template"
            continue
        problems = type_problems(DISK[template], params) or disk_problems(template, params)
        yield from _within(f"{what}: {template} disks", problems)


def _keys(cluster: Cluster) -> Iterator[str]:
    for what, table in (
        ("node", cluster.nodes),
        ("group", cluster.groups),
        ("instance", cluster.instances),
        ("network", cluster.networks),
    ):
        by_name: dict[str, list[str]] = defaultdict(list)
        for uuid, obj in table.items():
            by_name[obj.name.lower()].append(uuid)
        for name, uuids in sorted(by_name.items()):
            if len(uuids) > 1:
                yield f"{what} name {name} is used {len(uuids)} times: {', '.join(sorted(uuids))}"


# Groups and nodes


def _groups(cluster: Cluster) -> Iterator[str]:
    for group in _sorted_groups(cluster):
        if looks_like_uuid(group.name):
            yield f"the name of group {group.name} looks like a UUID"
        yield from _typed_then(f"group {group.name}", NODE, group.ndparams, nd_problems)
        yield from _disk_parameters(f"group {group.name}", group.diskparams)
        yield from _within(f"group {group.name}", stored_ipolicy_problems(group.ipolicy, complete=False))
        for network in sorted(group.networks):
            if network not in cluster.networks:
                yield f"group {group.name} is connected to the network {network}, which does not exist"


def _sorted_groups(cluster: Cluster) -> list[NodeGroup]:
    return sorted(cluster.groups.values(), key=lambda group: group.name)


def _nodes(cluster: Cluster) -> Iterator[str]:
    for node in cluster.sorted_nodes():
        flags = [flag for flag in ("master_candidate", "drained", "offline") if getattr(node, flag)]
        if len(flags) > 1:
            yield f"node {node.name} has flags that exclude each other: {', '.join(flags)}"
        yield from _typed_then(f"node {node.name}", NODE, node.ndparams, nd_problems)
        for name in sorted(node.ndparams):
            if name in NODE and NODE[name].cluster_only:
                yield f"node {node.name} overrides {name}, which only cluster or group may set"


def candidate_target(cluster: Cluster) -> int:
    """Give the wanted number of master candidates, the master among them."""
    return min(cluster.settings.candidate_pool_size, sum(map(may_be_candidate, cluster.nodes.values())))


def may_be_candidate(node: Node) -> bool:
    """Say whether a node may be a master candidate: capable, online and not drained."""
    return node.master_capable and not node.offline and not node.drained


def _candidates(cluster: Cluster) -> Iterator[str]:
    master = cluster.nodes.get(cluster.settings.master_node)
    if master is not None and not master.master_candidate:
        yield f"the master {master.name} is not a master candidate"
    have, want = len(cluster.candidates()), candidate_target(cluster)
    if have < want:
        yield f"there are {have} master candidates, but there should be {want}"


# Instances and disks


def _instances(cluster: Cluster) -> Iterator[str]:
    seen: dict[str, list[str]] = {}
    for instance in cluster.sorted_instances():
        what = f"instance {instance.name}"
        yield from (f"{what} has the disk {u}, which does not exist" for u in instance.disks if u not in cluster.disks)
        for uuid in cluster.secondary_uuids(instance):
            if uuid not in cluster.nodes:
                yield f"{what} has the secondary node {uuid}, which does not exist"
        if not instance.forthcoming:
            yield from _within(what, _hypervisor_parameters(cluster, instance, seen))
            yield from _within(what, _instance_parameters(cluster, instance))
        for index, disk in enumerate(cluster.disks_of(instance)):
            if disk.iv_name != f"disk/{index}":
                yield f"{what}: disk {index} is called {disk.iv_name or 'nothing'}, not disk/{index}"


def _hypervisor_parameters(cluster: Cluster, instance: Instance, seen: dict[str, list[str]]) -> Iterator[str]:
    """Check complete parameters; `seen` keeps what was found, since thousands of instances share a few sets."""
    hypervisor = instance.hypervisor
    key = repr((hypervisor, instance.os, sorted(instance.hvparams.items())))
    if key not in seen:
        seen[key] = hv_problems(hypervisor, fill_hv(cluster, hypervisor, instance.os, instance.hvparams))
    yield from seen[key]
    for name in sorted(instance.hvparams):
        if name in HYPERVISOR[hypervisor] and HYPERVISOR[hypervisor][name].cluster_only:
            yield f"{name} is overridden, which only the cluster may set"


def _instance_parameters(cluster: Cluster, instance: Instance) -> Iterator[str]:
    backend = fill_be(cluster, instance.beparams)
    yield from type_problems(BACKEND, backend) or be_problems(backend)
    group = group_of_instance(cluster, instance)
    for index, nic in enumerate(instance.nics):
        if nic.network and nic.network not in cluster.networks:
            yield f"nic {index} is in the network {nic.network}, which does not exist"
        filled = fill_nic(cluster, group, nic)
        problems = type_problems(NIC, filled) or nic_problems(filled, ip=nic.ip, network=nic.network)
        yield from _within(f"nic {index}", problems)


def _disks(cluster: Cluster) -> Iterator[str]:
    owners: dict[str, list[str]] = defaultdict(list)
    for instance in cluster.sorted_instances():
        for uuid in instance.disks:
            owners[uuid].append(instance.name)
    for uuid, disk in cluster.disks.items():
        if disk.mode not in {"rw", "ro"}:
            yield f"disk {uuid} has the mode {disk.mode!r}, which is neither rw nor ro"
        if disk.dev_type is DiskTemplate.MIXED:
            yield f"disk {uuid} is of type mixed, which is none"
        if disk.size <= 0 and not disk.forthcoming:
            yield f"disk {uuid} has a size of {disk.size} MiB"
        access = disk.params.get("access", "kernelspace")
        if access not in {"kernelspace", "userspace"}:
            yield f"disk {uuid} has the access mode {access!r}"
        if len(owners[uuid]) > 1:
            yield f"disk {uuid} belongs to several instances: {', '.join(owners[uuid])}"


# What must be unique


def _doubles(what: str, uses: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Report each value that is used more than once; `uses` are values and who uses them."""
    users: dict[str, list[str]] = defaultdict(list)
    for value, user in uses:
        users[value].append(user)
    for value, names in users.items():
        if len(names) > 1:
            yield f"{what} {value} is used {len(names)} times: {', '.join(names)}"


def _macs(cluster: Cluster) -> Iterator[str]:
    yield from _doubles(
        "MAC address",
        (
            (nic.mac.lower(), f"instance {instance.name} nic {index}")
            for instance in cluster.sorted_instances()
            for index, nic in enumerate(instance.nics)
            if nic.mac
        ),
    )


def _drbd_disks(cluster: Cluster) -> Iterator[Disk]:
    for disk in cluster.disks.values():
        if disk.dev_type is DiskTemplate.DRBD and len(disk.logical_id) == 6:
            yield disk


def _ports(cluster: Cluster) -> Iterator[str]:
    uses = [(str(port), "the free pool") for port in cluster.settings.tcpudp_port_pool]
    uses.extend((str(disk.logical_id[2]), f"disk {disk.uuid}") for disk in _drbd_disks(cluster))
    uses.extend(
        (str(instance.network_port), f"instance {instance.name}")
        for instance in cluster.sorted_instances()
        if instance.network_port is not None
    )
    yield from _doubles("TCP port", uses)
    highest = max((int(port) for port, _ in uses if port.isdigit()), default=0)
    if highest > cluster.settings.highest_used_port:
        yield f"TCP port {highest} is above the highest used port, {cluster.settings.highest_used_port}"


def _minors(cluster: Cluster) -> Iterator[str]:
    yield from _doubles(
        "drbd minor",
        (
            (f"{minor} on {_node_name(cluster, str(node))}", f"disk {disk.uuid}")
            for disk in _drbd_disks(cluster)
            for node, minor in ((disk.logical_id[0], disk.logical_id[3]), (disk.logical_id[1], disk.logical_id[4]))
        ),
    )


def _node_name(cluster: Cluster, uuid: str) -> str:
    node = cluster.nodes.get(uuid)
    return node.name if node is not None else uuid


def _addresses(cluster: Cluster) -> Iterator[str]:
    uses: list[tuple[str, str]] = []
    master_ip = cluster.settings.master_ip
    master = cluster.nodes.get(cluster.settings.master_node)
    # A cluster without a master address of its own may have its master's there.
    if master_ip and (master is None or master_ip != master.primary_ip):
        uses.append((master_ip, "the cluster"))
    for node in cluster.sorted_nodes():
        uses.append((node.primary_ip, f"node {node.name}"))
        if node.secondary_ip != node.primary_ip:
            uses.append((node.secondary_ip, f"node {node.name} (secondary)"))
    yield from _doubles("IP address", uses)
    yield from _doubles("IP address", _nic_addresses(cluster))


def _nic_addresses(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Go through the addresses of interfaces: equal ones are fine where link or network differ."""
    for instance in cluster.sorted_instances():
        group = group_of_instance(cluster, instance)
        for index, nic in enumerate(instance.nics):
            if nic.ip:
                filled = fill_nic(cluster, group, nic)
                where = f"{filled['mode']}:{filled['link']}" + (f" in network {nic.network}" if nic.network else "")
                yield f"{nic.ip} on {where}", f"instance {instance.name} nic {index}"


def _volumes(cluster: Cluster) -> Iterator[str]:
    def volumes(disk: Disk) -> Iterator[str]:
        if disk.dev_type is DiskTemplate.PLAIN and len(disk.logical_id) == 2:
            yield "/".join(map(str, disk.logical_id))
        for child in disk.children:
            yield from volumes(child)

    uses: list[tuple[str, str]] = []
    for disk in cluster.disks.values():
        owner = cluster.owner(disk.uuid)
        # A disk that belongs to nobody names its nodes; volumes of the same name on other nodes are other volumes.
        nodes = set(disk.nodes) or ({owner.primary_node} if owner is not None else set())
        uses.extend(
            (f"{volume} on {_node_name(cluster, node)}", f"disk {disk.uuid}")
            for node in sorted(nodes)
            for volume in volumes(disk)
        )
    yield from _doubles("logical volume", uses)


# What is said of a node or an instance


def _dangling(cluster: Cluster) -> Iterator[Finding]:
    for node in cluster.sorted_nodes():
        if node.group not in cluster.groups:
            text = f"its group {node.group} does not exist"
            yield Finding(code="ECLUSTERDANGLINGNODES", item="node", name=node.name, text=text)
    for instance in cluster.sorted_instances():
        if instance.primary_node not in cluster.nodes and not instance.forthcoming:
            text = f"its primary node {instance.primary_node or '(none)'} does not exist"
            yield Finding(code="ECLUSTERDANGLINGINST", item="instance", name=instance.name, text=text)


def _layouts(cluster: Cluster) -> Iterator[Finding]:
    policies = {group.uuid: _sound_policy(cluster, group) for group in cluster.groups.values()}
    for instance in cluster.sorted_instances():
        if not instance.forthcoming:
            group = group_of_instance(cluster, instance)
            policy = policies[group.uuid] if group is not None else None
            for code, text in _layout(cluster, instance, policy):
                yield Finding(code=code, item="instance", name=instance.name, text=text, severity=Severity.WARNING)


def _sound_policy(cluster: Cluster, group: NodeGroup) -> Params | None:
    """Give the policy of a group; none if it is damaged, which is reported elsewhere."""
    return None if _policy_problems(cluster, group) else fill_ipolicy(cluster, group)


def _layout(cluster: Cluster, instance: Instance, policy: Params | None) -> Iterator[tuple[str, str]]:
    """Go through what is odd, though not wrong, about an instance: codes and texts."""
    secondaries = cluster.secondaries(instance)
    if len(secondaries) > 1:
        yield "EINSTANCELAYOUT", f"has several secondary nodes: {', '.join(node.name for node in secondaries)}"
    primary = cluster.nodes.get(instance.primary_node)
    if primary is not None:
        elsewhere = [node.name for node in secondaries if node.group != primary.group]
        if elsewhere:
            text = f"primary node {primary.name} and secondary {', '.join(elsewhere)} are in different groups"
            yield "EINSTANCESPLITGROUPS", text
    backend_is_sound = not type_problems(BACKEND, fill_be(cluster, instance.beparams))
    if backend_is_sound and policy is not None:
        for text in policy_violations(policy, needs_of(cluster, instance)):
            yield "EINSTANCEPOLICY", text


# Instance policy


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance needs of what a policy bounds; memory and disk sizes in MiB. None is not asked about."""

    template: DiskTemplate | None = None
    memory: int | None = None
    cpus: int | None = None
    disk_sizes: tuple[int, ...] | None = None
    nics: int | None = None
    spindle_use: int | None = None


def needs_of(cluster: Cluster, instance: Instance) -> Needs:
    """Give what a configured instance needs."""
    backend = fill_be(cluster, instance.beparams)
    return Needs(
        template=cluster.disk_template(instance),
        memory=backend["maxmem"],
        cpus=backend["vcpus"],
        disk_sizes=tuple(disk.size for disk in cluster.disks_of(instance)),
        nics=len(instance.nics),
        spindle_use=backend["spindle_use"],
    )


def policy_violations(policy: Params, needs: Needs) -> list[str]:
    """Say in which ways an instance is outside a complete policy; empty if it fits one of the pairs in all.

    Where it fits none, those of the pair that it is nearest to.
    """
    found = []
    if needs.template is not None and needs.template not in {*policy["disk-templates"], DiskTemplate.MIXED}:
        found.append(f"disk template {needs.template} is not allowed")
    values = _bounded(needs)
    by_pair = [_outside(values, pair) for pair in policy["minmax"]]
    return found + min(by_pair, key=len, default=[])


def _bounded(needs: Needs) -> dict[str, tuple[int, ...]]:
    """Give the values under each key of a policy's bounds; disks of a diskless instance do not apply."""
    has_disks = needs.disk_sizes is not None and needs.template is not DiskTemplate.DISKLESS
    sizes = needs.disk_sizes if has_disks and needs.disk_sizes is not None else None
    single = {
        "memory-size": needs.memory,
        "cpu-count": needs.cpus,
        "disk-count": len(sizes) if sizes is not None else None,
        "nic-count": needs.nics,
        "spindle-use": needs.spindle_use,
    }
    values = {key: (value,) for key, value in single.items() if value is not None}
    return {**values, "disk-size": sizes or ()}


def _outside(values: Mapping[str, tuple[int, ...]], pair: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [
        f"{key} {value} is not in the range {pair['min'][key]} to {pair['max'][key]}"
        for key in SPEC_KEYS
        for value in values.get(key, ())
        if not pair["min"][key] <= value <= pair["max"][key]
    ]


FINDING_CODES: Final = (
    *("ECLUSTERCFG", "ECLUSTERDANGLINGNODES", "ECLUSTERDANGLINGINST"),
    *("EINSTANCELAYOUT", "EINSTANCESPLITGROUPS", "EINSTANCEPOLICY"),
)
"""The codes that `verify_config` may give."""
