"""Steps that make, assemble, release and remove disks on the nodes that hold them: `spec/storage.md`, section 10.

Disks are handled side by side; a mirror is assembled on its secondary node before it is opened on the primary one, and
closed on the primary one first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from gnt.masterd.operations.disk_sync import await_sync
from gnt.masterd.plan import Await, Forward, Note, Step, Together, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.objects import Disk, DiskTemplate, Instance
from gnt.model.specs import DiskSpec, disk_spec
from gnt.model.templates import INTERNALLY_MIRRORED
from gnt.wire.calls import DiskAssemble, DiskCreate, DiskRelease, DiskRemove
from gnt.wire.disk_calls import DiskRename, DiskWipe, MirrorPause

LARGEST_WIPE: Final = 1024
"""MiB that are wiped with one call at least, where the disk has a hundred times as much."""


class Laid(msgspec.Struct, frozen=True, kw_only=True):
    """A disk as nodes see it, and the nodes (UUIDs) that hold it, the one where its guest runs first."""

    spec: DiskSpec
    nodes: tuple[str, ...]

    @property
    def primary(self) -> str:
        """Give the node where the guest runs."""
        return self.nodes[0]

    @property
    def is_mirror(self) -> bool:
        """Say whether the cluster mirrors it."""
        return self.spec.dev_type in INTERNALLY_MIRRORED

    def on_primary(self) -> Laid:
        """Give it as if only the primary node held it."""
        return replace(self, nodes=self.nodes[:1])


def laid(cluster: Cluster, instance: Instance, disks: Iterable[Disk] | None = None) -> tuple[Laid, ...]:
    """Say where the disks of an instance lie: all of them, or these, at the places that their names say."""
    every = cluster.disks_of(instance) if disks is None else tuple(disks)
    return tuple(
        Laid(spec=disk_spec(cluster, instance, disk, index_of(disk, place)), nodes=holders(instance, disk))
        for place, disk in enumerate(every)
    )


def index_of(disk: Disk, otherwise: int) -> int:
    """Give the index in a disk's name, `disk/2`."""
    number = disk.iv_name.rpartition("/")[2]
    return int(number) if number.isdecimal() else otherwise


def holders(instance: Instance, disk: Disk) -> tuple[str, ...]:
    """Give the nodes that hold a disk of an instance, the primary first."""
    if disk.dev_type is not DiskTemplate.DRBD:
        return (instance.primary_node,)
    others = (str(node) for node in disk.logical_id[:2] if node != instance.primary_node)
    return (instance.primary_node, *others)


def side_by_side(steps: Iterable[Undoable | Forward]) -> tuple[Step, ...]:
    """Begin steps together; a single one stays as it is."""
    found = tuple(steps)
    return found if len(found) < 2 else (Together(found),)


# Making and removing


def create_disks(disks: Iterable[Laid]) -> tuple[Step, ...]:
    """Make disks on all their nodes; undone by removing them."""
    return side_by_side(
        Undoable(on(node, DiskCreate(disk=disk.spec)), undo=on(node, DiskRemove(disk=disk.spec)))
        for disk in disks
        for node in disk.nodes
    )


def adopt_disks(disks: Sequence[Laid], names: Sequence[str]) -> tuple[Step, ...]:
    """Take volumes (`group/volume`) that are there as disks: they get our names; undone by giving theirs back."""
    return side_by_side(_adopt(disk, name) for disk, name in zip(disks, names, strict=True))


def _adopt(disk: Laid, name: str) -> Undoable:
    if disk.spec.dev_type is DiskTemplate.BLOCKDEV:
        return Undoable(on(disk.primary, DiskCreate(disk=disk.spec)), undo=on(disk.primary, DiskRemove(disk=disk.spec)))
    foreign = replace(disk.spec, uuid="", logical_id=tuple(name.split("/")))
    take = DiskRename(disk=foreign, target=disk.spec)
    return Undoable(on(disk.primary, take), undo=on(disk.primary, DiskRename(disk=disk.spec, target=foreign)))


def remove_disks(
    cluster: Cluster, disks: Iterable[Laid], *, tolerant: bool = False, until_done: bool = False
) -> tuple[Step, ...]:
    """Remove disks from all their nodes; a secondary node that is flagged offline owes it.

    `until_done`: whatever cannot be removed is owed, since the model does not have it any more.
    """
    borne = tolerant or until_done
    return side_by_side(
        Forward(
            on(node, DiskRemove(disk=disk.spec)),
            tolerant=borne or _is_away(cluster, disk, node),
            until_done=until_done,
        )
        for disk in disks
        for node in disk.nodes
    )


def _is_away(cluster: Cluster, disk: Laid, node: str) -> bool:
    known = cluster.nodes.get(node)
    return node != disk.primary and known is not None and known.offline


# Assembling and releasing


def assemble_disks(cluster: Cluster, disks: Sequence[Laid], *, ignore_secondaries: bool = False) -> tuple[Step, ...]:
    """Make disks usable on their primary node; mirrors are set up on all their nodes first. Undone by releasing them.

    A secondary node that is flagged offline is left out, and told.
    """
    mirrors = [disk for disk in disks if disk.is_mirror]
    away = [(disk, node) for disk in mirrors for node in disk.nodes if _is_away(cluster, disk, node)]
    notes = tuple(
        Note(f" - WARNING: disk/{disk.spec.index}: {cluster.nodes[node].name} is offline; the mirror has one side")
        for disk, node in away
    )
    connected = side_by_side(
        Undoable(
            on(node, DiskAssemble(disk=disk.spec, primary=False)),
            undo=on(node, DiskRelease(disk=disk.spec)),
            tolerant=ignore_secondaries and node != disk.primary,
        )
        for disk in mirrors
        # Undone in reverse, so the primary node stands last: it lets go first.
        for node in reversed(disk.nodes)
        if (disk, node) not in away
    )
    opened = side_by_side(
        Undoable(
            on(disk.primary, DiskAssemble(disk=disk.spec, primary=True)),
            undo=on(disk.primary, DiskRelease(disk=disk.spec)),
        )
        for disk in disks
    )
    return (*notes, *connected, *opened)


def release_disks(
    cluster: Cluster, disks: Sequence[Laid], *, tolerant: bool = False, owed: bool = True
) -> tuple[Step, ...]:
    """Close disks on their primary node, then on the others; one that is flagged offline has closed them already."""
    first = side_by_side(
        Forward(on(disk.primary, DiskRelease(disk=disk.spec)), tolerant=tolerant, owed=owed) for disk in disks
    )
    # A secondary node that cannot be asked has the mirror set up, at worst: that harms nothing and is owed by nobody.
    then = side_by_side(
        Forward(on(node, DiskRelease(disk=disk.spec)), tolerant=True, owed=False)
        for disk in disks
        for node in disk.nodes[1:]
        if not _is_away(cluster, disk, node)
    )
    return (*first, *then)


# Filling and waiting


def wipe_disks(disks: Sequence[Laid], offsets: Sequence[int] = ()) -> tuple[Step, ...]:
    """Overwrite assembled disks with zeros, from these offsets (MiB) on; mirrors do not sync meanwhile."""
    return tuple(_wiping(disks, offsets or [0] * len(disks)))


def _wiping(disks: Sequence[Laid], offsets: Sequence[int]) -> Iterator[Step]:
    yield from pause_sync(disks)
    for disk, begin in zip(disks, offsets, strict=True):
        size = disk.spec.size
        yield Note(f"* Wiping disk {disk.spec.index}")
        # As many calls as a hundred, so that each is short and the way there is seen.
        piece = max(1, min(LARGEST_WIPE, size // 10), -(-size // 100))
        for offset in range(begin, size, piece):
            length = min(piece, size - offset)
            yield Undoable(on(disk.primary, DiskWipe(disk=disk.spec, offset=offset, size=length)), undo=None)
            yield Note(f" - INFO: disk/{disk.spec.index}: {(offset + length) / size:.0%} wiped")
    yield from resume_sync(disks)


def pause_sync(disks: Iterable[Laid]) -> tuple[Step, ...]:
    """Hold the sync of mirrors up while their primary side is filled; undone by letting it go on."""
    return side_by_side(
        Undoable(
            on(disk.primary, MirrorPause(disk=disk.spec, pause=True)),
            undo=on(disk.primary, MirrorPause(disk=disk.spec, pause=False)),
        )
        for disk in disks
        if disk.is_mirror
    )


def resume_sync(disks: Iterable[Laid]) -> tuple[Step, ...]:
    """Let the sync of mirrors go on."""
    return side_by_side(
        Undoable(on(disk.primary, MirrorPause(disk=disk.spec, pause=False)), undo=None)
        for disk in disks
        if disk.is_mirror
    )


def wait_for_sync(cluster: Cluster, disks: Sequence[Laid], *, once: bool = False) -> tuple[Note | Await, ...]:
    """Wait until mirrors are in step; `once`: until each is on its way at least. Others have nothing to wait for."""
    mirrors = [disk for disk in disks if disk.is_mirror]
    if not mirrors:
        return ()
    if any(_is_away(cluster, disk, node) for disk in mirrors for node in disk.nodes):
        return (Note(" - WARNING: a node of the mirrors is offline: they are not in step until it is back"),)
    name = mirrors[0].spec.instance_name
    note = (Note(f"* waiting for the disks of {name} to sync"),) if not once else ()
    return (*note, await_sync(mirrors[0].primary, name, [disk.spec for disk in mirrors], once=once))


def wait_for_other_side(cluster: Cluster, disks: Sequence[Laid]) -> tuple[Note | Await, ...]:
    """Wait until mirrors are in step, and see that the other side says so too: one that has lost its disk does not."""
    waits = wait_for_sync(cluster, disks)
    if not any(isinstance(step, Await) for step in waits):
        return waits
    mirrors = [disk for disk in disks if disk.is_mirror]
    name, specs = mirrors[0].spec.instance_name, [disk.spec for disk in mirrors]
    return (*waits, *(await_sync(node, name, specs, again=True) for node in mirrors[0].nodes[1:]))


def without_undo(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Give steps that leave what they did if a later one fails: for disks that were in use before."""
    return tuple(_kept(step) for step in steps)


def _kept(step: Step) -> Step:
    match step:
        case Undoable():
            return replace(step, undo=None)
        case Together(steps):
            return Together(tuple(replace(each, undo=None) if isinstance(each, Undoable) else each for each in steps))
        case _:
            return step
