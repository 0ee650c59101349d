"""Making lost disks again, empty: `spec/storage.md`, section 10.10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_checks import in_whole_extents, look_for_room, refuse_without_space
from gnt.masterd.operations.disk_steps import (
    assemble_disks,
    create_disks,
    laid,
    release_disks,
    remove_disks,
    wipe_disks,
)
from gnt.masterd.operations.instance_steps import locks_of, refuse_offline, refuse_running, refuse_unusable
from gnt.masterd.operations.new_disks import space_needed
from gnt.masterd.operations.numbers import FreeNumbers
from gnt.masterd.plan import Keep, Note, Plan, Step
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.objects import Disk, DiskTemplate, Instance
from gnt.model.specs import disk_spec
from gnt.model.templates import EXTERNALLY_MIRRORED, MUST_ADOPT
from gnt.model.units import check_disk_size
from gnt.opcodes.instance_disks import InstanceRecreateDisks
from gnt.wire.calls import NodeFacts
from gnt.wire.disk_calls import DiskState, DiskStates
from gnt.wire.guest_calls import GuestFacts

_CHANGEABLE = frozenset({"size", "mode"})


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The guest, if it was asked for; what is free on the nodes; which parts of the disks are there, by node."""

    guest: GuestFacts | None
    space: Mapping[str, NodeFacts]
    there: Mapping[str, list[DiskState]]


@executes(InstanceRecreateDisks)
class RecreateDisks(Operation[InstanceRecreateDisks]):
    """Make lost disks again where they were, or all of them on other nodes. What is still there is not touched."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance, its nodes and the new ones, with their room."""
        instance = cluster.instance(self.op.instance_name)
        return locks_of(cluster, instance, *self._nodes(cluster, instance))

    async def observe(self, cluster: Cluster, look: Look) -> Seen:
        """Look whether the guest is down, whether there is room, and whether the disks are really lost."""
        instance = cluster.instance(self.op.instance_name)
        chosen, new = self._planned(cluster, instance)
        primary = cluster.nodes[instance.primary_node]
        moves = new.primary_node != instance.primary_node
        guest = None
        if not (moves and primary.offline):
            refuse_offline(primary)
            guest = await look.guest(instance)
        nodes = self._nodes(cluster, instance) or (instance.primary_node, *cluster.secondary_uuids(instance))
        for uuid in nodes[1:]:
            refuse_offline(cluster.nodes[uuid], "secondary node")
        space = await look_for_room(look, nodes, chosen)
        known = _with(cluster, new, chosen)
        there: dict[str, list[DiskState]] = {}
        for node in nodes if not moves or chosen[0].dev_type not in EXTERNALLY_MIRRORED else ():
            parts = [disk_spec(known, new, part, 0) for disk in chosen for part in disk.children or (disk,)]
            there[node] = await look.ask(node, DiskStates(disks=parts))
        return Seen(guest=guest, space=space, there=there)

    def plan(self, cluster: Cluster, seen: Seen) -> Plan:
        """Make them, fill them with zeros where the cluster wants it, and record where they are."""
        instance = cluster.instance(self.op.instance_name)
        refuse_running(instance, seen.guest, "its disks cannot be made again")
        chosen, new = self._planned(cluster, instance)
        self._refuse_present(cluster, chosen, seen)
        chosen = in_whole_extents(cluster, chosen, seen.space)
        refuse_without_space(cluster, seen.space, space_needed(chosen))
        known = _with(cluster, new, chosen)
        disks = laid(known, new, chosen)
        wiped: tuple[Step, ...] = ()
        if cluster.settings.prealloc_wipe_disks:
            wiped = (*assemble_disks(known, disks), *wipe_disks(disks))
        moved = set(self._nodes(cluster, instance))
        old = tuple(
            replace(disk, nodes=tuple(node for node in disk.nodes if node not in moved))
            for disk in (laid(cluster, instance) if moved else ())
            if disk.spec.dev_type not in EXTERNALLY_MIRRORED
        )
        return Plan(
            (
                Note(f"* making {len(chosen)} disk(s) of {instance.name} again, empty"),
                *create_disks(disks),
                *wiped,
                Keep((new, *chosen)),
                *(release_disks(known, disks, tolerant=True) if wiped else ()),
                # What may be left on nodes that are not the instance's any more goes, as soon as they can be asked.
                *remove_disks(cluster, old, until_done=True),
            )
        )

    # What the opcode says

    def _nodes(self, cluster: Cluster, instance: Instance) -> tuple[str, ...]:
        """Give the new nodes, the primary first; none if the disks stay where they were."""
        if self.op.iallocator is not None:
            raise Unsupported(
                "OP_INSTANCE_RECREATE_DISKS: iallocator is not supported by this version", hint="name the nodes: -n"
            )
        named = self.op.node_uuids or self.op.nodes
        if not named:
            return ()
        nodes = [cluster.node(name) for name in named]
        if len({node.uuid for node in nodes}) != len(nodes):
            raise Refused(WRONG_INPUT, "A node is named twice", hint="the primary node, then the secondary")
        wanted = 1 + len(cluster.secondary_uuids(instance))
        if len(nodes) != wanted:
            raise Refused(WRONG_INPUT, f"{instance.name} has its disks on {wanted} node(s), but {len(nodes)} are named")
        for node, what in zip(nodes, ("primary node", "secondary node"), strict=False):
            refuse_unusable(node, as_what=what)
        return tuple(node.uuid for node in nodes)

    def _planned(self, cluster: Cluster, instance: Instance) -> tuple[tuple[Disk, ...], Instance]:
        """Give the disks to make as they will be, and the instance."""
        disks = cluster.disks_of(instance)
        if not disks:
            raise Refused(WRONG_INPUT, f"{instance.name} has no disks")
        changes = self._changes(instance, disks)
        nodes = self._nodes(cluster, instance)
        if nodes and len(changes) < len(disks):
            raise Refused(WRONG_INPUT, "On other nodes all disks are made again", hint="leave --disk out")
        numbers = FreeNumbers(cluster)
        chosen = tuple(_changed(disks[index], change, index) for index, change in sorted(changes.items()))
        for disk in chosen:
            if disk.dev_type in MUST_ADOPT:
                raise Refused(WRONG_INPUT, f"{disk.iv_name}: disks of template {disk.dev_type} are adopted, not made")
        if nodes:
            chosen = tuple(_moved(disk, nodes, numbers) for disk in chosen)
        return chosen, replace(instance, primary_node=nodes[0]) if nodes else instance

    def _changes(self, instance: Instance, disks: Sequence[Disk]) -> dict[int, Mapping[str, Any]]:
        given = self.op.disks or tuple(range(len(disks)))
        found: dict[int, Mapping[str, Any]] = {}
        for each in given:
            index, change = (each, {}) if isinstance(each, int) else each
            if index >= len(disks):
                raise Refused(WRONG_INPUT, f"{instance.name} has no disk {index}", hint=f"it has {len(disks)}")
            if index in found:
                raise Refused(WRONG_INPUT, f"disk/{index} is named twice")
            found[index] = {key: value for key, value in change.items() if value is not None}
            for key in sorted(found[index].keys() - _CHANGEABLE):
                raise Refused(WRONG_INPUT, f"disk/{index}: {key} cannot be changed here", hint="size and mode can")
        return found

    def _refuse_present(self, cluster: Cluster, chosen: Sequence[Disk], seen: Seen) -> None:
        parts = [(disk, part) for disk in chosen for part in disk.children or (disk,)]
        for node, states in seen.there.items():
            for (disk, part), state in zip(parts, states, strict=True):
                if state.facts is None and not state.problem:
                    continue
                what = state.problem or f"{'/'.join(map(str, part.logical_id))} is there"
                raise Refused(
                    WRONG_STATE,
                    f"{disk.iv_name} is not lost: {what} on {cluster.nodes[node].name}",
                    hint="gnt-instance replace-disks renews one side of a mirror" if disk.children else "",
                )


def _changed(disk: Disk, change: Mapping[str, Any], index: int) -> Disk:
    size = check_disk_size(change["size"], f"disk/{index}: size") if "size" in change else disk.size
    children = disk.children
    if disk.dev_type is DiskTemplate.DRBD:
        children = (replace(children[0], size=size), *children[1:])
    return replace(disk, size=size, mode=change.get("mode", disk.mode), children=children)


def _moved(disk: Disk, nodes: tuple[str, ...], numbers: FreeNumbers) -> Disk:
    """Give a disk as it is on other nodes: a mirror gets new minors, and keeps its port and secret."""
    if disk.dev_type is DiskTemplate.DRBD:
        port, secret = disk.logical_id[2], disk.logical_id[5]
        logical_id = (*nodes, port, *(numbers.minor(node) for node in nodes), secret)
        children = tuple(replace(child, nodes=nodes) for child in disk.children)
        return replace(disk, logical_id=logical_id, nodes=nodes, children=children)
    return replace(disk, nodes=nodes) if disk.nodes else disk


def _with(cluster: Cluster, instance: Instance, disks: Sequence[Disk]) -> Cluster:
    for disk in disks:
        cluster = cluster.put(disk)
    return cluster.put(instance)
