"""Disks as they are and as they should be: what is missing, inactive, degraded or of another size. Section 13."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_steps import holders, laid
from gnt.masterd.operations.node_storage import volumes_of
from gnt.masterd.operations.verify_report import Report
from gnt.masterd.plan import Keep, Note, Plan
from gnt.model.cluster import Cluster
from gnt.model.errors import Unsupported
from gnt.model.names import nice_key
from gnt.model.objects import ConfigObject, Disk, DiskTemplate, Instance, Node
from gnt.model.specs import DiskSpec
from gnt.model.templates import FILE_BASED, LVM_BASED
from gnt.opcodes.cluster import ClusterRepairDiskSizes
from gnt.opcodes.verify import ClusterVerifyDisks, GroupVerifyDisks
from gnt.wire.calls import DiskFacts
from gnt.wire.disk_calls import (
    DiskState,
    DiskStates,
    MirrorFacts,
    MirrorList,
    MirrorOverview,
    VolumeFacts,
    VolumeList,
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What nodes said of their volumes and mirrors; an exception where one did not answer."""

    volumes: Mapping[str, list[VolumeFacts] | Exception]
    mirrors: Mapping[str, MirrorOverview | Exception]


async def look_at_nodes(cluster: Cluster, look: Look, nodes: Sequence[Node]) -> Found:
    """Ask nodes that are not offline for their volumes and mirrors, as far as the cluster has such disks or may.

    What was left behind by the last disk of its kind is found too, and after its template was disabled.
    """
    online = [node.uuid for node in nodes if not node.offline and node.vm_capable]
    kinds = {disk.dev_type for disk in cluster.disks.values()} | set(cluster.settings.enabled_disk_templates)
    volumes: Mapping[str, Any] = {}
    mirrors: Mapping[str, Any] = {}
    if kinds & LVM_BASED or cluster.settings.volume_group_name:
        volumes = await look.ask_all({uuid: VolumeList() for uuid in online})
    if DiskTemplate.DRBD in kinds:
        mirrors = await look.ask_all({uuid: MirrorList() for uuid in online})
    return Found(volumes=volumes, mirrors=mirrors)


def missing_volumes(cluster: Cluster, instance: Instance, found: Found) -> list[tuple[str, str]]:
    """Give the volumes (node UUID, `group/volume`) of an instance that nodes which answered do not have."""
    lacking = []
    for node, volume in _volumes(cluster, instance):
        answer = found.volumes.get(node)
        if isinstance(answer, list) and volume not in {f"{each.group}/{each.name}" for each in answer}:
            lacking.append((node, volume))
    return lacking


def _volumes(cluster: Cluster, instance: Instance) -> list[tuple[str, str]]:
    return [
        (node, volume)
        for disk in cluster.disks_of(instance)
        for node in holders(instance, disk)
        for volume in volumes_of(disk)
    ]


def needs_activation(cluster: Cluster, instance: Instance, found: Found) -> bool:
    """Say whether disks of an active instance are not attached on a node that answered."""
    for node, volume in _volumes(cluster, instance):
        answer = found.volumes.get(node)
        if isinstance(answer, list) and any(
            f"{each.group}/{each.name}" == volume and not each.active for each in answer
        ):
            return True
    for disk in cluster.disks_of(instance):
        for node in holders(instance, disk) if disk.dev_type is DiskTemplate.DRBD else ():
            overview = found.mirrors.get(node)
            if isinstance(overview, MirrorOverview) and _is_parted(overview, _minor(disk, node)):
                return True
    return False


def _minor(disk: Disk, node: str) -> int:
    return int(disk.logical_id[3 if disk.logical_id[0] == node else 4])


def _is_parted(overview: MirrorOverview, minor: int) -> bool:
    facts: MirrorFacts | None = next((each for each in overview.minors if each.minor == minor), None)
    return facts is None or facts.connection == "StandAlone" or facts.disk == "Diskless"


# gnt-cluster verify-disks


@executes(ClusterVerifyDisks)
class VerifyDisks(Operation[ClusterVerifyDisks]):
    """Submit a job for each group that looks for missing and inactive disks."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the groups."""
        if self.op.group_name is not None:
            return Locks().shared(Level.NODEGROUP, cluster.group(self.op.group_name).uuid)
        return Locks().every(Level.NODEGROUP)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Hand the jobs over."""
        del seen
        _refuse_loose(strict=self.op.is_strict, tag="OP_CLUSTER_VERIFY_DISKS")
        groups = sorted(cluster.groups.values(), key=lambda group: nice_key(group.name))
        if self.op.group_name is not None:
            groups = [cluster.group(self.op.group_name)]
        return Plan(jobs=tuple((GroupVerifyDisks(group_name=group.name),) for group in groups))


def _refuse_loose(*, strict: bool, tag: str) -> None:
    if not strict:
        raise Unsupported(f"{tag}: is_strict false is not supported by this version", hint="leave --no-strict out")


@executes(GroupVerifyDisks)
class VerifyDisksOfGroup(Operation[GroupVerifyDisks]):
    """Look for nodes that fail, and instances whose disks are inactive or missing."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep the group, its instances and their nodes as they are meanwhile."""
        group = cluster.group(self.op.group_name)
        instances = self._instances(cluster)
        nodes = {node.uuid for node in cluster.members(group)}
        nodes.update(uuid for instance in instances for uuid in cluster.secondary_uuids(instance))
        return (
            Locks()
            .shared(Level.INSTANCE, *(instance.name for instance in instances))
            .shared(Level.NODEGROUP, group.uuid)
            .shared(Level.NODE, *nodes)
        )

    async def observe(self, cluster: Cluster, look: Look) -> Found:
        """Ask all nodes of the instances side by side."""
        _refuse_loose(strict=self.op.is_strict, tag="OP_GROUP_VERIFY_DISKS")
        uuids = {node for each in self._instances(cluster) for node, _ in _volumes(cluster, each)}
        return await look_at_nodes(cluster, look, [cluster.nodes[uuid] for uuid in sorted(uuids)])

    def plan(self, cluster: Cluster, found: Found) -> Plan:
        """Give what fails by node, the instances to activate, and what is missing by instance."""
        failing = {
            cluster.nodes[uuid].name: str(answer)
            for answers in (found.mirrors, found.volumes)
            for uuid, answer in answers.items()
            if isinstance(answer, Exception)
        }
        inactive, missing = [], {}
        for instance in self._instances(cluster):
            lacking = missing_volumes(cluster, instance, found)
            if lacking:
                missing[instance.name] = [[cluster.nodes[node].name, volume] for node, volume in lacking]
            if needs_activation(cluster, instance, found):
                inactive.append(instance.name)
        return Plan(result=(failing, inactive, missing))

    def _instances(self, cluster: Cluster) -> list[Instance]:
        group = cluster.group(self.op.group_name)
        found = [
            instance
            for node in cluster.members(group)
            for instance in cluster.instances_on(node.uuid)
            if instance.disks_active and cluster.disk_template(instance) in LVM_BASED
        ]
        return sorted(found, key=lambda instance: nice_key(instance.name))


# gnt-cluster repair-disk-sizes


@executes(ClusterRepairDiskSizes)
class RepairDiskSizes(Operation[ClusterRepairDiskSizes]):
    """Record the sizes that disks really have, as their primary nodes see them."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instances, and the room of their primary nodes against change."""
        if not self.op.instances:
            return Locks().every(Level.INSTANCE, exclusive=True).every(Level.NODE_RES)
        instances = self._instances(cluster)
        return (
            Locks()
            .exclusive(Level.INSTANCE, *(instance.name for instance in instances))
            .shared(Level.NODE_RES, *{instance.primary_node for instance in instances})
        )

    async def observe(self, cluster: Cluster, look: Look) -> dict[str, list[DiskState]]:
        """Ask each primary node once for the disks of all its instances."""
        held: dict[str, list[tuple[Instance, DiskSpec]]] = {}
        away = {each.primary_node for each in self._instances(cluster) if cluster.nodes[each.primary_node].offline}
        for name in sorted(cluster.nodes[uuid].name for uuid in away):
            look.note(f" - WARNING: {name} is marked offline: the sizes of its instances' disks are not known")
        for instance in self._instances(cluster):
            if instance.primary_node not in away:
                disks = ((instance, disk.spec) for disk in laid(cluster, instance))
                held.setdefault(instance.primary_node, []).extend(disks)
        asked = {node: DiskStates(disks=[disk for _, disk in disks]) for node, disks in held.items() if disks}
        found: dict[str, list[DiskState]] = {}
        for node, answer in (await look.ask_all(asked)).items() if asked else ():
            if isinstance(answer, Exception):
                look.note(f" - WARNING: {cluster.nodes[node].name}: {answer}")
                continue
            for (instance, _), state in zip(held[node], answer, strict=True):
                found.setdefault(instance.uuid, []).append(state)
        return found

    def plan(self, cluster: Cluster, seen: dict[str, list[DiskState]]) -> Plan:
        """Record what differs, and say so."""
        steps: list[Note] = []
        kept: list[ConfigObject] = []
        rows: list[Any] = []
        for instance in self._instances(cluster):
            for index, (disk, state) in enumerate(
                zip(cluster.disks_of(instance), seen.get(instance.uuid, ()), strict=False)
            ):
                where = f"disk/{index} of instance {instance.name}"
                if state.facts is None:
                    steps.append(Note(f" - WARNING: {where} did not tell its size: {state.problem or 'not attached'}"))
                    continue
                resized = _resized(disk, state.facts.size)
                if resized == disk:
                    continue
                steps.append(Note(f" - INFO: {where} has {state.facts.size} MiB, not {disk.size}: recorded"))
                kept.append(resized)
                rows.append((instance.name, index, "size", state.facts.size))
        return Plan((*steps, *((Keep(tuple(kept)),) if kept else ())), result=rows)

    def _instances(self, cluster: Cluster) -> list[Instance]:
        if not self.op.instances:
            return cluster.sorted_instances()
        return [cluster.instance(name) for name in self.op.instances]


def _resized(disk: Disk, size: int) -> Disk:
    """Give a disk with this size; the data volume of a mirror is at least as large."""
    children = disk.children
    if disk.dev_type is DiskTemplate.DRBD and children:
        children = (replace(children[0], size=max(children[0].size, size)), *children[1:])
    return replace(disk, size=size, children=children)


# The disk part of gnt-cluster verify


async def report_disks(cluster: Cluster, look: Look, nodes: Sequence[Node], report: Report) -> None:
    """Report orphan and missing volumes, mirrors and disks that are not as they should be, on these nodes."""
    found = await look_at_nodes(cluster, look, nodes)
    if found.volumes or found.mirrors:
        report.note("* Verifying disks")
    _report_volumes(cluster, nodes, found, report)
    _report_mirrors(cluster, nodes, found, report)
    states = await _look_at_disks(cluster, look, nodes)
    for node in nodes:
        for instance in cluster.instances_on(node.uuid):
            for uuid, volume in missing_volumes(cluster, instance, found):
                text = f"has no volume {volume} on {cluster.nodes[uuid].name}"
                report.add("EINSTANCEMISSINGDISK", "instance", instance.name, text)
            if not node.offline:
                _report_states(cluster, instance, states, report)


def _report_volumes(cluster: Cluster, nodes: Sequence[Node], found: Found, report: Report) -> None:
    """Report volumes of the cluster's group that belong to no disk, and nodes whose LVM does not answer."""
    known = {
        (node, volume)
        for disk in cluster.disks.values()
        for node in _places(cluster, disk)
        for volume in volumes_of(disk)
    }
    reserved = [re.compile(pattern) for pattern in cluster.settings.reserved_lvs]
    for node in nodes:
        answer = found.volumes.get(node.uuid, [])
        if isinstance(answer, Exception):
            report.add("ENODELVM", "node", node.name, f"does not list its volumes: {answer}")
            continue
        for volume in answer:
            name = f"{volume.group}/{volume.name}"
            mine = volume.group == cluster.settings.volume_group_name
            if mine and (node.uuid, name) not in known and not any(each.fullmatch(name) for each in reserved):
                report.add("ENODEORPHANLV", "node", node.name, f"has the volume {name}, which belongs to no disk")


def _places(cluster: Cluster, disk: Disk) -> tuple[str, ...]:
    owner = cluster.owner(disk.uuid)
    return holders(owner, disk) if owner is not None else disk.nodes


def _report_mirrors(cluster: Cluster, nodes: Sequence[Node], found: Found, report: Report) -> None:
    """Report minors that should be in use and are not, or are and should not; helpers and versions that differ."""
    versions = {each.version for each in found.mirrors.values() if isinstance(each, MirrorOverview) and each.version}
    wanted = cluster.settings.drbd_usermode_helper
    for node in nodes:
        overview = found.mirrors.get(node.uuid)
        if isinstance(overview, Exception):
            report.add("ENODEDRBD", "node", node.name, f"does not list its mirrors: {overview}")
        if not isinstance(overview, MirrorOverview):
            continue
        if len(versions) > 1 and overview.version:
            text = f"has drbd {overview.version}; in the cluster there are {', '.join(sorted(versions))}"
            report.add("ENODEDRBDVERSION", "node", node.name, text, warning=True)
        if wanted and overview.helper and overview.helper != wanted:
            report.add("ENODEDRBDHELPER", "node", node.name, f"has the helper {overview.helper}, not {wanted}")
        _report_minors(cluster, node, overview, report)


def _report_minors(cluster: Cluster, node: Node, overview: MirrorOverview, report: Report) -> None:
    used = {each.minor for each in overview.minors}
    given: dict[int, Instance | None] = {
        _minor(disk, node.uuid): cluster.owner(disk.uuid)
        for disk in cluster.disks.values()
        if disk.dev_type is DiskTemplate.DRBD and node.uuid in disk.logical_id[:2]
    }
    for minor, instance in sorted(given.items()):
        if instance is not None and instance.disks_active and minor not in used:
            report.add("ENODEDRBD", "node", node.name, f"drbd minor {minor} of {instance.name} is not active")
    for minor in sorted(used - given.keys()):
        report.add("ENODEDRBD", "node", node.name, f"drbd minor {minor} is in use, but belongs to no disk")


def _is_looked_at(instance: Instance, disk: DiskSpec) -> bool:
    """Say whether to ask for a disk by itself: mirrors and volumes in use, and files always, as no list has those."""
    if disk.dev_type in FILE_BASED:
        return not instance.forthcoming
    return instance.disks_active and disk.dev_type in LVM_BASED


async def _look_at_disks(
    cluster: Cluster, look: Look, nodes: Sequence[Node]
) -> Mapping[tuple[str, str], DiskState | Exception]:
    """Ask each node once for all disks to be looked at of instances whose primary node is one of these.

    Gives the states, or the failure of the node, by the UUIDs of node and disk.
    """
    held: dict[str, list[DiskSpec]] = {}
    for instance in (each for node in nodes if not node.offline for each in cluster.instances_on(node.uuid)):
        for disk in laid(cluster, instance):
            for uuid in disk.nodes:
                if not cluster.nodes[uuid].offline and _is_looked_at(instance, disk.spec):
                    held.setdefault(uuid, []).append(disk.spec)
    if not held:
        return {}
    answers = await look.ask_all({uuid: DiskStates(disks=specs) for uuid, specs in held.items()})
    return {
        (uuid, spec.uuid): answer if isinstance(answer, Exception) else answer[place]
        for uuid, answer in answers.items()
        for place, spec in enumerate(held[uuid])
    }


def _report_states(
    cluster: Cluster, instance: Instance, states: Mapping[tuple[str, str], DiskState | Exception], report: Report
) -> None:
    """Report mirrors that are degraded, and disks that are not attached where they should be."""
    told: set[str] = set()
    for disk in laid(cluster, instance):
        for node in disk.nodes:
            state = states.get((node, disk.spec.uuid))
            name = cluster.nodes[node].name
            where = f"disk/{disk.spec.index} on {name}"
            if isinstance(state, Exception):
                if node not in told:
                    text = f"{name} does not tell its disks: {state}"
                    report.add("EINSTANCEFAULTYDISK", "instance", instance.name, text)
                told.add(node)
            elif state is not None and state.facts is None:
                is_file = disk.spec.dev_type in FILE_BASED
                why = state.problem or (f"no file {disk.spec.logical_id[1]}" if is_file else "not attached")
                code = "EINSTANCEMISSINGDISK" if is_file else "EINSTANCEFAULTYDISK"
                report.add(code, "instance", instance.name, f"{where} is not there: {why}")
            elif state is not None and state.facts is not None and _is_poor(state.facts):
                text = f"{where} is degraded ({state.facts.local_status})"
                syncs = state.facts.sync_percent is not None
                report.add("EINSTANCEFAULTYDISK", "instance", instance.name, text, warning=syncs)


def _is_poor(facts: DiskFacts) -> bool:
    return facts.degraded or facts.local_status != "ok"
