"""Disks of a stopped instance in another template: `spec/storage.md`, section 10.12."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from gnt.masterd.operations.disk_steps import (
    Laid,
    assemble_disks,
    create_disks,
    laid,
    release_disks,
    remove_disks,
    side_by_side,
    wait_for_sync,
)
from gnt.masterd.operations.replace_steps import leftovers, remove_leftovers
from gnt.masterd.plan import Forget, Forward, Keep, Note, Reserve, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.objects import Disk, DiskTemplate, Instance
from gnt.model.specs import disk_spec
from gnt.wire.calls import DiskCreate, DiskRelease, DiskRemove
from gnt.wire.disk_calls import DiskCopy, DiskRename


def _real(disk: Disk) -> Disk:
    return replace(disk, forthcoming=False, children=tuple(replace(c, forthcoming=False) for c in disk.children))


def _with(cluster: Cluster, disks: Sequence[Disk], instance: Instance) -> Cluster:
    for disk in disks:
        cluster = cluster.put(disk)
    return cluster.put(instance)


def to_mirror(cluster: Cluster, instance: Instance, new: Sequence[Disk], *, once: bool) -> tuple[Step, ...]:
    """Make mirrors of volumes: each volume becomes the data of a mirror on the primary node, and nothing is copied."""
    old = cluster.disks_of(instance)
    changed = replace(instance, disks=tuple(disk.uuid for disk in new))
    known = _with(cluster, new, changed)
    before, after = laid(cluster, instance), laid(known, changed)
    primary = instance.primary_node
    return (
        Reserve(tuple(new)),
        Note("* creating additional volumes..."),
        *side_by_side(
            Undoable(on(node, DiskCreate(disk=disk.spec)), undo=on(node, DiskRemove(disk=disk.spec)))
            for disk in after
            for node in disk.nodes[1:]
        ),
        *side_by_side(
            Undoable(on(primary, DiskCreate(disk=metadata)), undo=on(primary, DiskRemove(disk=metadata)))
            for metadata in (disk.spec.children[1] for disk in after)
        ),
        Note("* renaming original volumes..."),
        *side_by_side(
            Undoable(
                on(primary, DiskRename(disk=disk.spec, target=mirror.spec.children[0])),
                undo=on(primary, DiskRename(disk=mirror.spec.children[0], target=disk.spec)),
            )
            for disk, mirror in zip(before, after, strict=True)
        ),
        Note("* initializing mirrors..."),
        *side_by_side(
            # Undone by closing only: its volumes are the data.
            Undoable(on(primary, DiskCreate(disk=disk.spec)), undo=on(primary, DiskRelease(disk=disk.spec)))
            for disk in after
        ),
        *assemble_disks(known, after),
        Keep((replace(changed, disks_active=True), *(_real(disk) for disk in new))),
        Forget(old),
        *wait_for_sync(known, after, once=once),
        *release_disks(known, after, tolerant=True),
        Keep((replace(changed, disks_active=False),)),
    )


def from_mirror(cluster: Cluster, instance: Instance) -> tuple[Step, ...]:
    """Keep the data volume of each mirror on the primary node, under its own name; the rest is removed."""
    old = cluster.disks_of(instance)
    primary = instance.primary_node
    kept = tuple(
        replace(
            disk.children[0],
            nodes=(primary,),
            iv_name=disk.iv_name,
            size=disk.size,
            mode=disk.mode,
            name=disk.name,
            forthcoming=False,
        )
        for disk in old
    )
    changed = replace(instance, disks=tuple(disk.uuid for disk in kept), disks_active=False)
    before = laid(cluster, instance)
    rest = [(node, disk.spec if node != primary else disk.spec.children[1]) for disk in before for node in disk.nodes]
    replaced = tuple(left for disk in old for left in leftovers(cluster, disk))
    rest += [(node, disk_spec(cluster, instance, left, 0)) for left in replaced for node in left.nodes]
    return (
        # A mirror that cannot be closed here has the data: then nothing is changed. Elsewhere its removal closes it.
        *side_by_side(Undoable(on(primary, DiskRelease(disk=disk.spec)), undo=None) for disk in before),
        Keep((changed, *kept)),
        # What an earlier move left of the data has the UUID of what is kept: only its removal stays on record.
        Forget((*old, *(left for left in replaced if left.uuid not in {disk.uuid for disk in kept}))),
        Note("* removing the other side and the metadata..."),
        *side_by_side(Forward(on(node, DiskRemove(disk=spec)), tolerant=True, until_done=True) for node, spec in rest),
    )


def by_copy(cluster: Cluster, instance: Instance, new: Sequence[Disk], *, once: bool) -> tuple[Step, ...]:
    """Copy each disk onto a new one of the other template; the old ones are removed behind it."""
    old = cluster.disks_of(instance)
    changed = replace(instance, disks=tuple(disk.uuid for disk in new))
    known = _with(cluster, new, changed)
    after = laid(known, changed)
    sources = tuple(_source(cluster, instance, disk, index) for index, disk in enumerate(old))
    copies: list[Step] = []
    for source, disk in zip(sources, after, strict=True):
        copies.append(Note(f"* copying data of disk/{disk.spec.index}..."))
        copies.append(Undoable(on(disk.primary, DiskCopy(source=source.spec, disk=disk.spec)), undo=None))
    mirrors = any(disk.is_mirror for disk in after)
    return (
        Reserve(tuple(new)),
        Note("* creating new disks..."),
        *create_disks(after),
        *assemble_disks(known, after),
        *assemble_disks(cluster, sources),
        *copies,
        Keep((replace(changed, disks_active=mirrors), *(_real(disk) for disk in new))),
        *wait_for_sync(known, after, once=once),
        *release_disks(cluster, sources, tolerant=True),
        *release_disks(known, after, tolerant=True),
        Note("* removing old disks..."),
        *remove_disks(cluster, laid(cluster, instance)),
        *remove_leftovers(cluster, instance, old),
        *((Keep((replace(changed, disks_active=False),)),) if mirrors else ()),
        Forget(old),
    )


def _source(cluster: Cluster, instance: Instance, disk: Disk, index: int) -> Laid:
    """Give what is read: of a mirror that is closed, its data volume here."""
    data = disk.children[0] if disk.dev_type is DiskTemplate.DRBD else disk
    return Laid(spec=disk_spec(cluster, instance, data, index), nodes=(instance.primary_node,))
