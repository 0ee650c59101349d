"""The storage of nodes: logical volumes and storage units, listed, changed, repaired. `spec/storage.md`, section 12."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_steps import laid
from gnt.masterd.operations.instance_steps import refuse_offline
from gnt.masterd.plan import Forward, Note, Plan, on
from gnt.model.cluster import Cluster
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.names import nice_key
from gnt.model.objects import Disk, DiskTemplate, Node
from gnt.model.templates import LVM_BASED
from gnt.opcodes.node_storage import NodeModifyStorage, NodeQueryStorage, NodeQueryvols, RepairNodeStorage
from gnt.wire.disk_calls import (
    DiskState,
    DiskStates,
    StorageList,
    StorageModify,
    StorageRepair,
    StorageRow,
    VolumeFacts,
    VolumeList,
)

VOLUME_FIELDS: Final = ("node", "phys", "vg", "name", "size", "instance")
STORAGE_FIELDS: Final = ("node", "type", "name", "size", "used", "free", "allocatable")
LISTED: Final = frozenset({"lvm-pv", "lvm-vg", "lvm-thin", "file", "sharedfile"})


def chosen_nodes(cluster: Cluster, names: Sequence[str]) -> list[Node]:
    """Give the nodes that are named, or all that are not offline, sorted by name."""
    if not names:
        return [node for node in cluster.sorted_nodes() if not node.offline]
    nodes = {cluster.node(name).uuid: cluster.node(name) for name in names}
    return sorted(nodes.values(), key=lambda node: nice_key(node.name))


def _refuse_unknown(fields: Sequence[str], known: Sequence[str]) -> None:
    for field in fields:
        if field not in known:
            raise Refused(WRONG_INPUT, f"There is no field {field[:60]!r}", hint=f"there are: {', '.join(known)}")


def _answers(cluster: Cluster, found: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """Give what nodes answered; of those that did not, say so."""
    for uuid, answer in found.items():
        if isinstance(answer, Exception):
            look.note(f" - WARNING: {cluster.nodes[uuid].name}: {answer}")
    return {uuid: answer for uuid, answer in found.items() if not isinstance(answer, Exception)}


def volumes_of(disk: Disk) -> Iterator[str]:
    """Give the names, `group/volume`, of the volumes that a disk consists of."""
    for part in disk.children or (disk,):
        if part.dev_type in LVM_BASED:
            yield "/".join(map(str, part.logical_id))


@executes(NodeQueryvols)
class ListVolumes(Operation[NodeQueryvols]):
    """List the logical volumes of nodes, a row for each physical device that a volume lies on."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the nodes against change."""
        return Locks().shared(Level.NODE, *(node.uuid for node in chosen_nodes(cluster, self.op.nodes)))

    async def observe(self, cluster: Cluster, look: Look) -> dict[str, list[VolumeFacts]]:
        """Ask all nodes side by side."""
        _refuse_unknown(self.op.output_fields, VOLUME_FIELDS)
        nodes = chosen_nodes(cluster, self.op.nodes)
        return _answers(cluster, await look.ask_all({node.uuid: VolumeList() for node in nodes}), look)

    def plan(self, cluster: Cluster, seen: dict[str, list[VolumeFacts]]) -> Plan:
        """Give the rows, texts all."""
        owners = _owners(cluster)
        rows = []
        for node in chosen_nodes(cluster, self.op.nodes):
            found = [(device.partition("(")[0], each) for each in seen.get(node.uuid, ()) for device in each.devices]
            for device, volume in sorted(found, key=lambda pair: (nice_key(pair[0]), pair[1].group, pair[1].name)):
                cells = {
                    "node": node.name,
                    "phys": device,
                    "vg": volume.group,
                    "name": volume.name,
                    "size": str(volume.size),
                    "instance": owners.get((node.uuid, f"{volume.group}/{volume.name}"), "-"),
                }
                rows.append([cells[field] for field in self.op.output_fields])
        return Plan(result=rows)


def _owners(cluster: Cluster) -> dict[tuple[str, str], str]:
    """Give the instance that a volume of a node belongs to."""
    return {
        (node, volume): instance.name
        for instance in cluster.instances.values()
        for disk in cluster.disks_of(instance)
        for node in disk.nodes
        for volume in volumes_of(disk)
    }


@executes(NodeQueryStorage)
class ListStorage(Operation[NodeQueryStorage]):
    """List the storage units of nodes."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the nodes against change."""
        return Locks().shared(Level.NODE, *(node.uuid for node in chosen_nodes(cluster, self.op.nodes)))

    async def observe(self, cluster: Cluster, look: Look) -> dict[str, list[StorageRow]]:
        """Ask all nodes side by side."""
        _refuse_unknown(self.op.output_fields, STORAGE_FIELDS)
        kind = self._kind(cluster)
        directories = {
            "file": cluster.settings.file_storage_dir,
            "sharedfile": cluster.settings.shared_file_storage_dir,
        }
        call = StorageList(kind=kind, directory=directories.get(kind, ""), name=self.op.name or "")
        nodes = chosen_nodes(cluster, self.op.nodes)
        return _answers(cluster, await look.ask_all(dict.fromkeys((node.uuid for node in nodes), call)), look)

    def plan(self, cluster: Cluster, seen: dict[str, list[StorageRow]]) -> Plan:
        """Give the rows; sizes in MiB."""
        rows = []
        for node in chosen_nodes(cluster, self.op.nodes):
            for row in sorted(seen.get(node.uuid, ()), key=lambda each: nice_key(each.name)):
                cells = {
                    "node": node.name,
                    "type": row.kind,
                    **{field: getattr(row, field) for field in ("name", "size", "used", "free", "allocatable")},
                }
                rows.append([cells[field] for field in self.op.output_fields])
        return Plan(result=rows)

    def _kind(self, cluster: Cluster) -> str:
        if self.op.storage_type is None:
            first = cluster.settings.enabled_disk_templates[0]
            kinds = {DiskTemplate.FILE: "file", DiskTemplate.SHAREDFILE: "sharedfile"}
            return kinds.get(first, "lvm-vg")
        if self.op.storage_type not in LISTED:
            raise Refused(
                WRONG_INPUT,
                f"Storage of the kind {self.op.storage_type} has no units that could be listed",
                hint=f"there are: {', '.join(sorted(LISTED))}",
            )
        return self.op.storage_type


@executes(NodeModifyStorage)
class ModifyStorage(Operation[NodeModifyStorage]):
    """Let a physical volume be used for new volumes, or not."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the node."""
        return Locks().exclusive(Level.NODE, cluster.node(self.op.node_name).uuid)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Have the node do it."""
        del seen
        op, node = self.op, cluster.node(self.op.node_name)
        refuse_offline(node, "node")
        if op.storage_type != "lvm-pv":
            raise Refused(
                WRONG_INPUT, f"Units of {op.storage_type} have nothing that can be changed", hint="lvm-pv have"
            )
        if not op.name:
            raise Refused(WRONG_INPUT, "No physical volume is named")
        for field in sorted(op.changes.keys() - {"allocatable"}):
            raise Refused(WRONG_INPUT, f"{field[:60]} of a physical volume cannot be changed", hint="allocatable can")
        allocatable = op.changes.get("allocatable")
        if not isinstance(allocatable, bool):
            raise Refused(WRONG_INPUT, "Nothing is to be changed", hint="--allocatable=yes|no")
        return Plan((Forward(on(node.uuid, StorageModify(name=op.name, allocatable=allocatable))),))


@executes(RepairNodeStorage)
class RepairStorage(Operation[RepairNodeStorage]):
    """Make a volume group consistent again that lost a physical volume; what lay on it is given up."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the node."""
        return Locks().exclusive(Level.NODE, cluster.node(self.op.node_name).uuid)

    async def observe(self, cluster: Cluster, look: Look) -> dict[str, list[DiskState]]:
        """Look at the other side of the mirrors that have one here."""
        node = cluster.node(self.op.node_name)
        refuse_offline(node, "node")
        await self._refuse_unknown_group(node, look)
        found: dict[str, list[DiskState]] = {}
        for instance in (*cluster.instances_on(node.uuid), *cluster.secondary_instances_on(node.uuid)):
            mirrors = [disk for disk in laid(cluster, instance) if disk.is_mirror]
            if not instance.disks_active or not mirrors:
                continue
            (other,) = (uuid for uuid in mirrors[0].nodes if uuid != node.uuid)
            if cluster.nodes[other].offline:
                found[instance.name] = [DiskState(problem=f"{cluster.nodes[other].name} is offline")]
                continue
            found[instance.name] = await look.ask(other, DiskStates(disks=[disk.spec for disk in mirrors]))
        return found

    async def _refuse_unknown_group(self, node: Node, look: Look) -> None:
        name = self.op.name
        if self.op.storage_type != "lvm-vg" or not name:
            return
        groups = sorted(row.name for row in await look.ask(node.uuid, StorageList(kind="lvm-vg", directory="")))
        if name not in groups:
            there = f"there are: {', '.join(groups)}" if groups else "it has none"
            raise Refused(UNKNOWN_ENTITY, f"{node.name} has no volume group {name[:60]}", hint=there)

    def plan(self, cluster: Cluster, seen: dict[str, list[DiskState]]) -> Plan:
        """Refuse to give up a last good copy, unless that is wished."""
        op, node = self.op, cluster.node(self.op.node_name)
        if op.storage_type != "lvm-vg":
            raise Refused(WRONG_INPUT, f"Units of {op.storage_type} are not repaired", hint="lvm-vg are")
        if not op.name:
            raise Refused(WRONG_INPUT, "No volume group is named")
        bad = sorted(
            name
            for name, states in seen.items()
            if any(state.facts is None or state.facts.local_status != "ok" for state in states)
        )
        if bad and not op.ignore_consistency:
            raise Refused(
                WRONG_STATE,
                f"{', '.join(bad)} may have the last good copy on {node.name}: the other side is not good",
                hint="gnt-instance replace-disks first, or --ignore-consistency",
            )
        return Plan(
            (
                *(
                    Note(f" - WARNING: the other side of {name} is not good; that is ignored, as wished")
                    for name in bad
                ),
                Note(f"Repairing volume group {op.name} on {node.name}"),
                Forward(on(node.uuid, StorageRepair(name=op.name))),
            )
        )
