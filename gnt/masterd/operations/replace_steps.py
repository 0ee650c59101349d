"""Renewing one side of mirrors, step by step: `spec/storage.md`, section 11.

Until its milestone everything can be undone: old volumes get their names back and are attached again. From the
milestone on the mirror has its new side. The volumes that were replaced stay in the configuration as disks that belong
to no instance, until the new side is in step: they are a last copy, and no orphans.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from gnt.masterd.operation import Fresh
from gnt.masterd.operations.disk_steps import index_of, side_by_side
from gnt.masterd.operations.numbers import FreeNumbers
from gnt.masterd.plan import Forget, Forward, Keep, Note, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, Refused
from gnt.model.objects import Disk, DiskTemplate, Instance
from gnt.model.specs import DiskSpec, disk_spec
from gnt.wire.calls import DiskAssemble, DiskCreate, DiskRelease, DiskRemove
from gnt.wire.disk_calls import DiskRename, MirrorAttach, MirrorConnect, MirrorDetach, MirrorDisconnect


class Renewed(msgspec.Struct, frozen=True, kw_only=True):
    """A volume of a mirror on one node: as it is configured, the new one that takes its name, what it becomes itself.

    `there`: the old one is there and can be renamed.
    """

    child: DiskSpec
    new: DiskSpec
    old: Disk
    there: bool


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """A mirror whose side on one node gets new volumes."""

    disk: Disk
    spec: DiskSpec
    parts: tuple[Renewed, ...]

    @property
    def whole(self) -> bool:
        """Say whether the old volumes could be attached again."""
        return all(part.there for part in self.parts)


def renewal(
    cluster: Cluster, instance: Instance, disk: Disk, *, node: str, there: Sequence[bool], fresh: Fresh
) -> Renewal:
    """Choose names for the new volumes of a mirror on a node; `there`: which of its volumes are there."""
    spec = disk_spec(cluster, instance, disk, index_of(disk, 0))
    prefix, stamp = fresh.uuid(), int(fresh.now())
    parts: list[Renewed] = []
    for child, is_there, kind in zip(disk.children, there, ("data", "meta"), strict=True):
        group, name = child.logical_id
        new = Disk(
            uuid=fresh.uuid(),
            dev_type=DiskTemplate.PLAIN,
            logical_id=(group, f"{prefix}.disk{spec.index}_{kind}"),
            size=child.size,
        )
        old = replace(
            child, uuid=fresh.uuid(), logical_id=(group, f"{name}_replaced-{stamp}"), nodes=(node,), iv_name=""
        )
        as_spec = spec.children[len(parts)]
        named = replace(as_spec, uuid=new.uuid, logical_id=new.logical_id)
        parts.append(Renewed(child=as_spec, new=named, old=old, there=is_there))
    return Renewal(disk=disk, spec=spec, parts=tuple(parts))


def renew_side(node: str, renewals: Sequence[Renewal]) -> tuple[Step, ...]:
    """Give the mirrors new volumes on a node; the last step is the milestone."""
    parts = [part for each in renewals for part in each.parts]
    olds = [(part, replace(part.child, uuid=part.old.uuid, logical_id=part.old.logical_id)) for part in parts]
    return (
        Note("* creating new volumes"),
        *side_by_side(
            Undoable(on(node, DiskCreate(disk=part.new)), undo=on(node, DiskRemove(disk=part.new))) for part in parts
        ),
        Note("* taking the old volumes away from the mirrors, which go on over the network"),
        *side_by_side(
            Undoable(
                on(node, MirrorDetach(disk=each.spec)),
                undo=on(node, MirrorAttach(disk=each.spec)) if each.whole else None,
            )
            for each in renewals
        ),
        Note("* renaming: the new volumes get the names of the old ones"),
        *side_by_side(_rename(node, part.child, old) for part, old in olds if part.there),
        *side_by_side(_rename(node, part.new, part.child) for part in parts),
        Note("* attaching the new volumes"),
        *side_by_side(
            Undoable(on(node, MirrorAttach(disk=each.spec)), undo=on(node, MirrorDetach(disk=each.spec)))
            for each in renewals
        ),
        Keep((*(each.disk for each in renewals), *(part.old for part in parts if part.there))),
    )


def _rename(node: str, disk: DiskSpec, target: DiskSpec) -> Undoable:
    return Undoable(on(node, DiskRename(disk=disk, target=target)), undo=on(node, DiskRename(disk=target, target=disk)))


# Another secondary node


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A mirror whose secondary side moves: as it was and as it will be, for the model and for nodes."""

    before: DiskSpec
    after: DiskSpec
    disk: Disk
    left: tuple[Disk, ...]


def moved(cluster: Cluster, instance: Instance, disk: Disk, target: str, numbers: FreeNumbers) -> Moved:
    """Choose the numbers of a mirror between the primary node and `target`."""
    primary = instance.primary_node
    node_a, node_b, port, minor_a, minor_b, secret = disk.logical_id
    secondary, minor = (str(node_b), minor_a) if node_a == primary else (str(node_a), minor_b)
    children = tuple(replace(child, nodes=(primary, target)) for child in disk.children)
    new = replace(
        disk,
        logical_id=(primary, target, port, minor, numbers.minor(target), secret),
        nodes=(primary, target),
        children=children,
    )
    index = index_of(disk, 0)
    left = {child.uuid: _left_on(cluster, child, secondary, target) for child in disk.children}
    return Moved(
        before=disk_spec(cluster, instance, disk, index),
        after=disk_spec(cluster, instance, new, index),
        disk=new,
        left=tuple(replace(child, nodes=left[child.uuid], iv_name="") for child in disk.children),
    )


def _left_on(cluster: Cluster, child: Disk, secondary: str, target: str) -> tuple[str, ...]:
    """Give the nodes on which a volume is left when its mirror moves: the old one, and where earlier moves left it."""
    earlier = cluster.disks.get(child.uuid)
    nodes = dict.fromkeys((secondary, *(earlier.nodes if earlier is not None else ())))
    return tuple(node for node in nodes if node != target)


def move_secondary(
    cluster: Cluster, primary: str, secondary: str, target: str, mirrors: Sequence[Moved]
) -> tuple[Step, ...]:
    """Build the secondary side on `target`, and connect the primary one to it."""
    away = cluster.nodes[secondary].offline
    name = cluster.nodes[target].name
    return (
        Note(f"* creating the mirrors' other side on {name}"),
        *side_by_side(
            Undoable(on(target, DiskCreate(disk=each.after)), undo=on(target, DiskRemove(disk=each.after)))
            for each in mirrors
        ),
        Note("* parting from the old secondary node"),
        *side_by_side(
            Undoable(
                on(secondary, DiskRelease(disk=each.before)),
                undo=on(secondary, DiskAssemble(disk=each.before, primary=False)),
                tolerant=True,
            )
            for each in ([] if away else mirrors)
        ),
        *side_by_side(
            Undoable(on(primary, MirrorDisconnect(disk=each.before)), undo=on(primary, MirrorConnect(disk=each.before)))
            for each in mirrors
        ),
        Keep(tuple(obj for each in mirrors for obj in (each.disk, *each.left))),
        Note(f"* connecting to {name}"),
        *side_by_side(
            Forward(on(node, call))
            for each in mirrors
            for node, call in (
                (target, DiskAssemble(disk=each.after, primary=False)),
                (primary, MirrorConnect(disk=each.after)),
            )
        ),
        # Where it could not part before it does now, or owes it: the model has forgotten this side, and its volumes
        # cannot be removed as long as a mirror lies on them.
        *side_by_side(
            Forward(on(secondary, DiskRelease(disk=each.before)), tolerant=True, until_done=True) for each in mirrors
        ),
    )


# What is left


def leftovers(cluster: Cluster, disk: Disk) -> tuple[Disk, ...]:
    """Give the volumes that were replaced in a mirror and are still there."""
    names = _names(disk.children)
    return tuple(
        other
        for other in sorted(cluster.disks.values(), key=lambda each: each.uuid)
        if other.dev_type is DiskTemplate.PLAIN
        and cluster.owner(other.uuid) is None
        and any(_stems_from(str(other.logical_id[1]), name) for name in names.get(other.logical_id[:1], ()))
    )


def leftover_nodes(cluster: Cluster, instance: Instance) -> tuple[str, ...]:
    """Give the nodes (UUIDs) with volumes that were replaced in an instance's mirrors, for who removes them to lock."""
    old = (left for disk in cluster.disks_of(instance) for left in leftovers(cluster, disk))
    return tuple(dict.fromkeys(node for left in old for node in left.nodes if node in cluster.nodes))


def refuse_unsynced(cluster: Cluster, instance: Instance) -> None:
    """Refuse to take the data of the primary side for all there is while volumes that were replaced there are kept.

    That they are means that nobody has seen the new ones in step.
    """
    for disk in cluster.disks_of(instance):
        if any(instance.primary_node in left.nodes for left in leftovers(cluster, disk)):
            node = cluster.nodes[instance.primary_node].name
            raise Refused(
                WRONG_STATE,
                f"{disk.iv_name} of {instance.name} was replaced on {node} and is not known to be in step",
                hint=f"gnt-instance replace-disks -p {instance.name} makes it so",
            )


def _names(children: Iterable[Disk]) -> dict[tuple[str | int, ...], list[str]]:
    found: dict[tuple[str | int, ...], list[str]] = {}
    for child in children:
        found.setdefault(child.logical_id[:1], []).append(str(child.logical_id[1]))
    return found


def _stems_from(name: str, child: str) -> bool:
    return name == child or name.startswith(f"{child}_replaced-")


def remove_leftovers(
    cluster: Cluster, instance: Instance, disks: Iterable[Disk], *, tolerant: bool = False
) -> tuple[Step, ...]:
    """Remove the volumes that were replaced; a node that is away owes it."""
    found = tuple(old for disk in disks for old in leftovers(cluster, disk))
    if not found:
        return ()
    gone = side_by_side(
        Forward(
            on(node, DiskRemove(disk=disk_spec(cluster, instance, old, 0))),
            tolerant=tolerant or node not in cluster.nodes or cluster.nodes[node].offline,
            until_done=tolerant,
        )
        for old in found
        for node in old.nodes
    )
    return (Note("* removing the old volumes"), *gone, Forget(found))
