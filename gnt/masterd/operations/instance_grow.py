"""Making a disk larger: `spec/storage.md`, section 10.9."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_checks import in_whole_extents, look_for_room, refuse_without_space
from gnt.masterd.operations.disk_steps import (
    Laid,
    assemble_disks,
    laid,
    release_disks,
    side_by_side,
    wait_for_sync,
    wipe_disks,
)
from gnt.masterd.operations.hotplug import grown_inside, resized
from gnt.masterd.operations.instance_steps import is_up, locks_of, policy_notes, refuse_offline
from gnt.masterd.plan import Forward, Keep, Note, Plan, Release, Step, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.objects import Disk, DiskTemplate, Instance
from gnt.model.specs import DiskSpec
from gnt.model.templates import NOT_GROWABLE
from gnt.model.units import EIB
from gnt.opcodes.instance_disks import InstanceGrowDisk
from gnt.wire.calls import NodeFacts
from gnt.wire.disk_calls import DiskGrow, DiskGrowCheck, DiskStates
from gnt.wire.guest_calls import GuestFacts

_MAKE_ROOM = "grow it by less, or enlarge the group there: vgextend"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The guest, if it is there, and what is free on the nodes."""

    guest: GuestFacts | None
    space: Mapping[str, NodeFacts]


@executes(InstanceGrowDisk)
class GrowDisk(Operation[InstanceGrowDisk]):
    """Make what lies below larger on all nodes, then the disk itself; nothing is ever made smaller."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance and its nodes with their room."""
        return locks_of(cluster, cluster.instance(self.op.instance_name))

    async def observe(self, cluster: Cluster, look: Look) -> Seen:
        """Look at the guest and the free space, and have every node check that it could."""
        instance, disk = self._disk(cluster)
        self._grown(cluster, disk, {})
        (where,) = laid(cluster, instance, [disk])
        space = await look_for_room(look, where.nodes, [disk])
        grown = self._grown(cluster, disk, space)
        for node in where.nodes:
            if _is_volume(disk):
                missing = grown.size - await _size_there(look, node, where)
                needed = {_group_of(where): max(0, missing)}
                refuse_without_space(cluster, {node: space[node]}, needed, remedy=_MAKE_ROOM)
            await look.ask(node, DiskGrowCheck(disk=where.spec, size=grown.size))
        return Seen(guest=await look.guest(instance), space=space)

    def plan(self, cluster: Cluster, seen: Seen) -> Plan:
        """Grow, record the size, fill the new part with zeros where the cluster wants it, wait for the mirror."""
        instance, disk = self._disk(cluster)
        grown = self._grown(cluster, disk, seen.space)
        known = cluster.put(grown)
        notes = policy_notes(known, instance, ignore=self.op.ignore_ipolicy, before=cluster)
        (before,) = laid(cluster, instance, [disk])
        (after,) = laid(known, instance, [grown])
        active, up = instance.disks_active, is_up(seen.guest)
        # QEMU has the image open, and enlarges it itself; what it adds reads as zeros.
        inside = up and disk.dev_type is DiskTemplate.QCOW2
        wipes = cluster.settings.prealloc_wipe_disks and not inside
        return Plan(
            (
                *notes,
                Note(f"Growing disk {self.op.disk} of instance '{instance.name}' to {grown.size} MiB"),
                *((grown_inside(instance, grown),) if inside else ()),
                *_grow(cluster, before, disk, grown, active=active),
                # What is opened already is opened once more: if a wipe fails, undoing this closes it.
                *(assemble_disks(known, [after]) if wipes and not active else ()),
                *(wipe_disks([after], [disk.size]) if wipes else ()),
                *self._wait(cluster, after),
                *(() if active else release_disks(cluster, [after], tolerant=True)),
                *((resized(instance, grown),) if up and not inside else ()),
            )
        )

    def _wait(self, cluster: Cluster, disk: Laid) -> tuple[Step, ...]:
        if not self.op.wait_for_sync or not disk.is_mirror:
            return ()
        return (Release((Level.NODE, Level.NODE_RES)), *wait_for_sync(cluster, [disk]))

    def _disk(self, cluster: Cluster) -> tuple[Instance, Disk]:
        instance = cluster.instance(self.op.instance_name)
        disks = cluster.disks_of(instance)
        if self.op.disk >= len(disks):
            raise Refused(
                WRONG_INPUT,
                f"{instance.name} has no disk {self.op.disk}",
                hint=f"it has {len(disks)}, counted from 0" if disks else "it has none",
            )
        disk = disks[self.op.disk]
        if disk.dev_type in NOT_GROWABLE:
            raise Refused(WRONG_INPUT, f"disk/{self.op.disk}: disks of template {disk.dev_type} cannot grow")
        refuse_offline(cluster.nodes[instance.primary_node])
        for uuid in cluster.secondary_uuids(instance):
            refuse_offline(cluster.nodes[uuid], "secondary node")
        return instance, disk

    def _grown(self, cluster: Cluster, disk: Disk, space: Mapping[str, NodeFacts]) -> Disk:
        """Give the disk as it will be; for a mirror its data volumes too."""
        where = f"disk/{self.op.disk}"
        size = self.op.amount if self.op.absolute else disk.size + self.op.amount
        if size < disk.size:
            raise Refused(
                WRONG_STATE,
                f"{where} has {disk.size} MiB already, which is more than {size} MiB",
                hint="disks cannot be made smaller",
            )
        if size == disk.size:
            raise Refused(WRONG_STATE, f"{where} has {disk.size} MiB already", hint="give a larger size")
        if size >= EIB:
            raise Refused(WRONG_INPUT, f"{where}: the size is absurd: 1 EiB or more")
        children = disk.children
        if disk.dev_type is DiskTemplate.DRBD:
            children = (replace(children[0], size=max(size, children[0].size)), *children[1:])
        (grown,) = in_whole_extents(cluster, [replace(disk, size=size, children=children)], space)
        return grown


def _is_volume(disk: Disk) -> bool:
    """Say whether growing takes room of a volume group."""
    return (disk.children[0] if disk.children else disk).dev_type is DiskTemplate.PLAIN


def _volume_of(where: Laid) -> DiskSpec:
    return where.spec.children[0] if where.is_mirror else where.spec


def _group_of(where: Laid) -> str:
    return str(_volume_of(where).logical_id[0])


async def _size_there(look: Look, node: str, where: Laid) -> int:
    """Give the MiB that the volume of a disk has on a node: one side of a mirror may have grown already."""
    volume = _volume_of(where)
    (state,) = await look.ask(node, DiskStates(disks=[volume]))
    return state.facts.size if state.facts is not None else volume.size


def _grow(cluster: Cluster, where: Laid, disk: Disk, grown: Disk, *, active: bool) -> tuple[Step, ...]:
    """Grow a disk and record it. What is opened for that stays open, unless it fails."""
    opened = () if active else assemble_disks(cluster, [where])
    below = side_by_side(
        Forward(on(node, DiskGrow(disk=where.spec, size=grown.size, backing=True))) for node in where.nodes
    )
    if not where.is_mirror:
        return (*opened, *below, Keep((grown,)))
    # A mirror is opened once its volumes have grown, and that is recorded: one that cannot grow leaves it closed.
    return (
        *below,
        Keep((replace(disk, children=grown.children),)),
        *opened,
        Forward(on(where.primary, DiskGrow(disk=where.spec, size=grown.size, backing=False))),
        Keep((grown,)),
    )
