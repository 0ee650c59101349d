"""What a debt touches, and whether it is still owed: pure functions of the debt and the model.

Between the moment at which a node begins to owe a call and the moment at which it can make it, the world goes on: the
instance may be back on that node. So a debt is paid under the locks of the instances that it touches, and only if the
model, seen under these locks, does not say otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from gnt.masterd.jobs.lockset import EVERY, Level, Locks
from gnt.masterd.segments import StoredCall
from gnt.masterd.settling import Debt
from gnt.model.cluster import Cluster
from gnt.model.objects import Disk, Instance, disk_nodes
from gnt.model.specs import DiskSpec, InstanceSpec, disk_spec
from gnt.store.changes import Change, Put, Remove, Space
from gnt.wire.calls import DiskAssemble, DiskRelease, DiskRemove, NodeCall
from gnt.wire.disk_calls import DiskDemote, DiskPromote, MirrorConnect
from gnt.wire.guest_calls import GuestStop, MigrationFinish

# What a node says of a mirror that grows only where it is open for writing, and is open on neither of its nodes.
NOT_OPEN = "not_open"


class OpenDebts:
    """The keys of all debts in the store, kept in memory so that who owes nothing costs nothing."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def committed(self, _position: object, changes: Collection[Change]) -> None:
        """Hear of debts that were made and paid; for the journal's `on_commit`."""
        for change in changes:
            if isinstance(change, Put | Remove) and change.space is Space.DEBT:
                if isinstance(change, Put):
                    self.keys.add(change.key)
                else:
                    self.keys.discard(change.key)


def instances_of(debt: Debt, cluster: Cluster) -> frozenset[str]:
    """Give the names of the instances that paying a debt touches: those that its opcode had locked, and of its calls.

    An instance that was renamed meanwhile is there under both names.
    """
    names = set(debt.instances)
    for uuid, name in _touched(debt):
        instance = cluster.instances.get(uuid) or cluster.owner(uuid)
        names.add(instance.name if instance is not None else name)
    return frozenset(names - {""})


def locks_of(debt: Debt, cluster: Cluster) -> Locks:
    """Give the locks under which a debt is paid."""
    return Locks().exclusive(Level.INSTANCE, *sorted(instances_of(debt, cluster)))


def held_instances(locks: Locks) -> tuple[str, ...]:
    """Give the names of the instances that are locked exclusively."""
    held = (lock.name for lock in locks.wanted if lock.level is Level.INSTANCE and lock.exclusive)
    return tuple(sorted(name for name in held if name != EVERY))


def not_owed(debt: Debt, cluster: Cluster) -> str:
    """Say why the call of a debt must not be made any more; empty if it must."""
    call = debt.call.call if debt.call is not None else None
    node = debt.call.node if debt.call is not None else debt.node
    match call:
        case DiskRelease() | DiskDemote():
            owner = cluster.owner(call.disk.uuid)
            # A mirror whose guest has moved on stays set up there, but open for writing it may not stay: `due`.
            if owner is not None and owner.disks_active and owner.primary_node == node:
                return f"the disk is in use there by {owner.name}"
        case DiskPromote():
            owner = cluster.owner(call.disk.uuid)
            if owner is None or not owner.disks_active or owner.primary_node != node:
                return "the disk is not in use there any more"
        case MirrorConnect():
            return _not_in_use_so(call.disk, cluster)
        case DiskRemove():
            return _made_again(debt, cluster.disks.get(call.disk.uuid), node)
        case MigrationFinish():
            instance = cluster.instances.get(call.instance.uuid)
            if instance is not None and (instance.primary_node == node) is not call.arrived:
                return f"{instance.name} {'has moved on' if call.arrived else 'is back there'}"
    return ""


def _not_in_use_so(mirror: DiskSpec, cluster: Cluster) -> str:
    """Say why a mirror needs no connection any more that it should have had; empty if it does."""
    owner, stored = cluster.owner(mirror.uuid), cluster.disks.get(mirror.uuid)
    if owner is None or stored is None or not owner.disks_active:
        return "the mirror is not in use any more"
    return "" if stored.logical_id == mirror.logical_id else f"the mirror of {owner.name} lies elsewhere now"


def _made_again(debt: Debt, stored: Disk | None, node: str) -> str:
    """Say why a disk must not be removed that is to be; empty if it must."""
    if stored is None or ("disk", stored.uuid) in debt.reserved or not _lies_on(stored, node):
        return ""
    # A disk that is recorded as it was when this began to be owed was not made since: what was begun for it and came
    # to nothing (a lost disk that was to be made again) is in the way of the next try.
    return "" if debt.serials.get(stored.uuid) == stored.serial_no else "the disk belongs to the cluster again"


def removed_in(debt: Debt, cluster: Cluster) -> dict[str, int]:
    """Give the version of the disk whose removal is owed; nothing if it is not recorded, or something else is owed."""
    call = debt.call.call if debt.call is not None else None
    stored = cluster.disks.get(call.disk.uuid) if isinstance(call, DiskRemove) else None
    return {} if stored is None else {stored.uuid: stored.serial_no}


def due(owed: StoredCall, cluster: Cluster) -> NodeCall[Any]:
    """Give the call that pays what is owed, as the model is now.

    A mirror that was to be released where its guest has left, and that is in use again from its other side, is closed
    for writing: left open, it would keep the guest from its disk; released, the mirror would have one side.
    """
    call = owed.call
    if isinstance(call, DiskRelease):
        owner = cluster.owner(call.disk.uuid)
        if owner is not None and owner.disks_active and _is_secondary(cluster, owner, call.disk.uuid, owed.node):
            return DiskDemote(disk=call.disk)
    return call


def brought_in_line(owed: StoredCall, cluster: Cluster) -> tuple[StoredCall, ...]:
    """Give the calls that have a mirror be as the model says that it is: set up and open, or closed on all its nodes.

    For a call that cannot be made because the mirror is set up and not open: an opcode that was to open it was cut
    off half-way. Nobody may come to open it, and it would keep its old size, for it was set up with that. A mirror that
    is closed takes the new one when it is set up again. Empty for a disk that is not recorded any more.
    """
    disk = getattr(owed.call, "disk", None)
    stored = cluster.disks.get(disk.uuid) if isinstance(disk, DiskSpec) else None
    owner = cluster.owner(stored.uuid) if stored is not None else None
    if stored is None or owner is None:
        return ()
    spec = disk_spec(cluster, owner, stored, owner.disks.index(stored.uuid))
    nodes = [uuid for uuid in disk_nodes(stored) if not cluster.nodes[uuid].offline]
    if not owner.disks_active:
        return tuple(StoredCall(uuid, DiskRelease(disk=spec)) for uuid in nodes)
    # Its peers first: it is opened when they are in touch.
    peers = [uuid for uuid in nodes if uuid != owner.primary_node]
    set_up = (StoredCall(uuid, DiskAssemble(disk=spec, primary=False)) for uuid in peers)
    return (*set_up, StoredCall(owner.primary_node, DiskAssemble(disk=spec, primary=True)))


def lives_there(debt: Debt, cluster: Cluster, names: Collection[str]) -> bool:
    """Say whether one of these instances, which a debt touches, has its place on the node that owes it."""
    for name in instances_of(debt, cluster) & set(names):
        instance = cluster.instances.by_name(name)
        if instance is not None and debt.node in (instance.primary_node, *cluster.secondary_uuids(instance)):
            return True
    return False


def stops_guest(debt: Debt) -> bool:
    """Say whether paying a debt ends a guest that runs."""
    return debt.call is not None and isinstance(debt.call.call, GuestStop)


def _is_secondary(cluster: Cluster, owner: Instance, disk: str, node: str) -> bool:
    stored = cluster.disks.get(disk)
    return node != owner.primary_node and stored is not None and node in disk_nodes(stored)


def _lies_on(disk: Disk, node: str) -> bool:
    nodes = disk_nodes(disk)
    return not nodes or node in nodes


def _touched(debt: Debt) -> Iterator[tuple[str, str]]:
    """Go through what a debt touches: UUIDs of instances or disks, with the name of the instance as it was then."""
    if debt.call is not None:
        yield from _touched_by(debt.call)
    for row in debt.rows:
        for segment in row.segments:
            for step in segment.steps:
                for call in (step.undo, step.forward):
                    if call is not None:
                        yield from _touched_by(call)
            for stored in (*segment.reserved, *segment.keep, *segment.forget):
                obj = stored.load()
                if isinstance(obj, Instance | Disk):
                    yield obj.uuid, obj.name if isinstance(obj, Instance) else ""


def _touched_by(stored: StoredCall) -> Iterator[tuple[str, str]]:
    call: Any = stored.call
    for name in call.__struct_fields__:
        value = getattr(call, name)
        if isinstance(value, InstanceSpec):
            yield value.uuid, value.name
        elif isinstance(value, DiskSpec):
            yield value.instance_uuid, value.instance_name
            yield value.uuid, ""
    if hasattr(call, "uuid") and hasattr(call, "name"):
        yield call.uuid, call.name
