"""Disks of a guest on its way to another node: open on both for a moment, then on one again. Section 4.5.

A mirror may be written to on both sides only while the guest migrates: it is connected anew for that, and anew in the
usual way behind it. The side that the guest leaves is closed for writing before anything else is done there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from gnt.masterd.operations.disk_steps import Laid, side_by_side, wait_for_sync
from gnt.masterd.operations.disk_sync import await_sync
from gnt.masterd.plan import Forward, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.wire.calls import DiskAssemble, DiskRelease
from gnt.wire.disk_calls import DiskDemote, DiskPromote, MirrorConnect, MirrorDisconnect


def at(disks: Iterable[Laid], node: str) -> tuple[Laid, ...]:
    """Give disks that any node reaches as if they were held by this one; mirrors with this node first."""
    return tuple(
        replace(disk, nodes=(node, *(each for each in disk.nodes if each != node)) if disk.is_mirror else (node,))
        for disk in disks
    )


def open_both(disks: Sequence[Laid], source: str, target: str) -> tuple[Step, ...]:
    """Open disks on both nodes; undone, they are open on the source only, and mirrors connected in the usual way."""
    mirrors = [disk for disk in disks if disk.is_mirror]
    specs = [disk.spec for disk in mirrors]
    waits = tuple(await_sync(node, mirrors[0].spec.instance_name, specs) for node in (source, target) if mirrors)
    return (
        *side_by_side(
            Undoable(
                on(target, DiskAssemble(disk=disk.spec, primary=False)),
                undo=None if disk.is_mirror else on(target, DiskRelease(disk=disk.spec)),
            )
            for disk in disks
        ),
        *side_by_side(
            Undoable(
                on(node, MirrorDisconnect(disk=disk.spec)), undo=on(node, MirrorConnect(disk=disk.spec, dual=False))
            )
            for disk in mirrors
            for node in (source, target)
        ),
        *side_by_side(
            # Undone by parting again: then the steps before it connect them as they were.
            Undoable(
                on(node, MirrorConnect(disk=disk.spec, dual=True)), undo=on(node, MirrorDisconnect(disk=disk.spec))
            )
            for disk in mirrors
            for node in (source, target)
        ),
        *waits,
        *side_by_side(
            Undoable(
                on(source, DiskPromote(disk=disk.spec, shared=True)),
                undo=on(source, DiskPromote(disk=disk.spec, shared=False)),
            )
            for disk in disks
        ),
        *side_by_side(
            Undoable(on(target, DiskPromote(disk=disk.spec, shared=True)), undo=on(target, DiskDemote(disk=disk.spec)))
            for disk in disks
        ),
    )


def close_behind(disks: Sequence[Laid], left: str, here: str) -> tuple[Step, ...]:
    """Close disks on the node that the guest left; they stay open where it is, mirrors connected in the usual way."""
    mirrors = [disk for disk in disks if disk.is_mirror]
    return (
        *side_by_side(Forward(on(left, DiskDemote(disk=disk.spec)), tolerant=True) for disk in disks),
        # What cannot be connected in the usual way yet (the side that was left is still open, and its node away) is
        # owed until it is: as long as it is not, both sides may be written to.
        *side_by_side(
            Forward(on(node, MirrorDisconnect(disk=disk.spec)), tolerant=True, owed=False)
            for disk in mirrors
            for node in (left, here)
        ),
        *side_by_side(
            Forward(on(node, MirrorConnect(disk=disk.spec, dual=False)), tolerant=True, until_done=True)
            for disk in mirrors
            for node in (left, here)
        ),
        *side_by_side(
            Forward(on(here, DiskPromote(disk=disk.spec, shared=False)), tolerant=True, owed=False) for disk in disks
        ),
        *side_by_side(
            Forward(on(left, DiskRelease(disk=disk.spec)), tolerant=True) for disk in disks if not disk.is_mirror
        ),
    )


def wait_behind(cluster: Cluster, disks: Sequence[Laid]) -> tuple[Step, ...]:
    """Look whether mirrors find together again after a move."""
    return wait_for_sync(cluster, disks, once=True)
