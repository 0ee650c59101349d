"""Volumes and mirrors: each is a disk's of the configuration, on a node that holds it, and each disk has its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from gnt.masterd.operations.replace_steps import leftovers
from gnt.model.cluster import Cluster
from gnt.model.objects import Disk, DiskTemplate, Instance
from gnt.noded.storage.lvm import UUID_TAG
from gnt.sim.content import differing_pieces
from gnt.sim.lvm import MIB
from gnt.sim.machine import SimNode
from gnt.sim.world import SimWorld

if TYPE_CHECKING:
    from gnt.sim.client import Client

_VOLUMES: Final = frozenset({DiskTemplate.PLAIN, DiskTemplate.THIN})
_EMPTYING: Final = frozenset({"OP_INSTANCE_RECREATE_DISKS", "OP_INSTANCE_REINSTALL"})
"""Opcodes after which a disk may hold nothing; others that change disks are told by their parameters."""


def check_storage(world: SimWorld, cluster: Cluster) -> list[str]:
    """Find every volume where the configuration has it, and nothing else."""
    problems = [*_check_numbers(cluster)]
    for name, node in world.nodes.items():
        known = cluster.nodes.by_name(name)
        held = [] if known is None else [*_held(cluster, known.uuid)]
        problems += _check_volumes(node, held)
        problems += _check_mirrors(node, cluster, "" if known is None else known.uuid)
        problems += _check_in_step(node)
    return problems


def check_ledger(client: Client) -> list[str]:
    """No disk is empty on which a guest had written, unless somebody asked for that."""
    asked = [op for number in client.asked for op in client.asked[number]]
    emptied = {op.get("instance_name") for op in asked if op["OP_ID"] in _EMPTYING or _exchanges_disks(op)}
    lost = [one for one in client.world.ledger.lost if one.guest not in emptied]
    return [f"disk/{one.index} of {one.guest} is empty, and its guest had written to it" for one in lost]


def _exchanges_disks(op: Mapping[str, Any]) -> bool:
    """Say whether an opcode puts another disk in the place of one."""
    return op["OP_ID"] == "OP_INSTANCE_SET_PARAMS" and bool(op.get("disks"))


def kept_copies(client: Client, cluster: Cluster) -> set[str]:
    """Give the volumes (UUIDs of disks) that were replaced in a mirror and are kept until somebody tries again.

    That is so where the last job that was to replace some was cut off: they may be the last copy.
    """
    open_still: set[str] = set()
    for number in client.log.order:
        for op in client.asked.get(number, ()) if number in client.ends else ():
            if op["OP_ID"] == "OP_INSTANCE_REPLACE_DISKS":
                change = open_still.discard if client.ends[number].good else open_still.add
                change(op["instance_name"])
    return {
        left.uuid
        for name in open_still
        for instance in [cluster.instances.by_name(name)]
        if instance is not None
        for disk in map(cluster.disks.__getitem__, instance.disks)
        for left in leftovers(cluster, disk)
    }


def _held(cluster: Cluster, node: str) -> Iterator[Disk]:
    """Give the volumes that a node (UUID) holds, as disks."""
    for instance in cluster.instances.values():
        for disk in map(cluster.disks.__getitem__, instance.disks):
            if disk.dev_type in _VOLUMES and instance.primary_node == node:
                yield disk
            elif disk.dev_type is DiskTemplate.DRBD and node in disk.logical_id[:2]:
                yield from disk.children
    owned = {uuid for instance in cluster.instances.values() for uuid in instance.disks}
    yield from (disk for uuid, disk in cluster.disks.items() if uuid not in owned and node in disk.nodes)


def _check_volumes(node: SimNode, held: list[Disk]) -> Iterator[str]:
    volumes = {key: one for key, one in node.storage.lvm.volumes.items() if one.kind != "t"}
    wanted = {"/".join(map(str, disk.logical_id)): disk for disk in held}
    for key, disk in sorted(wanted.items()):
        found = volumes.pop(key, None)
        if found is None and key in node.storage.lvm.lost:
            continue
        if found is None or f"{UUID_TAG}{disk.uuid}" not in found.tags:
            yield f"no volume {key} of disk {disk.uuid} on {node.name}"
        elif found.size < disk.size * MIB:
            yield f"volume {key} on {node.name} has {found.size // MIB} MiB, not {disk.size}"
    for key, volume in sorted(volumes.items()):
        yield f"a volume without an owner on {node.name}: {key} {volume.tags}"


def _check_mirrors(node: SimNode, cluster: Cluster, uuid: str) -> Iterator[str]:
    mirrors = {
        int(disk.logical_id[3 + disk.logical_id.index(uuid)]): (instance, disk)
        for instance in cluster.instances.values()
        for disk in map(cluster.disks.__getitem__, instance.disks)
        if disk.dev_type is DiskTemplate.DRBD and uuid in disk.logical_id[:2]
    }
    for minor, side in sorted(node.storage.machine.sides.items()):
        if minor not in mirrors:
            yield f"a mirror without an owner: {side.where} on {side.paths}"
            continue
        instance, disk = mirrors[minor]
        yield from _check_side(node, uuid, instance, disk)


def _check_side(node: SimNode, uuid: str, instance: Instance, disk: Disk) -> Iterator[str]:
    side = node.storage.machine.sides[int(disk.logical_id[3 + disk.logical_id.index(uuid)])]
    data = "/".join(map(str, disk.children[0].logical_id))
    if side.data is not None and side.data.key != data:
        yield f"{side.where} lies on {side.data.key}, not on {data}"
    if side.dual:
        yield f"{side.where} may still be written to on both sides"
    if side.primary and (uuid != instance.primary_node or not instance.disks_active):
        yield f"{side.where} is open for writing, and {instance.name} does not need it there"


def _check_in_step(node: SimNode) -> Iterator[str]:
    """Two sides that say that they are in step are."""
    for side in node.storage.machine.sides.values():
        peer = side.peer
        if peer is None or not side.good or not peer.good or side.machine.name > peer.machine.name:
            continue
        different = differing_pieces(side.path, peer.path, side.size)
        if different:
            yield f"{side.where} and {peer.where} are in step and differ at MiB {sorted(different)}"


def _check_numbers(cluster: Cluster) -> Iterator[str]:
    """Ports and minors have one owner each."""
    mirrors = [disk for disk in cluster.disks.values() if disk.dev_type is DiskTemplate.DRBD]
    ports = Counter(disk.logical_id[2] for disk in mirrors)
    minors = Counter(pair for disk in mirrors for pair in zip(disk.logical_id[:2], disk.logical_id[3:5], strict=True))
    yield from (f"port {port} belongs to {count} disks" for port, count in ports.items() if count > 1)
    yield from (
        f"minor {minor} of {node} belongs to {count} disks" for (node, minor), count in minors.items() if count > 1
    )
    free = set(cluster.settings.tcpudp_port_pool)
    yield from (f"port {port} is used, and stands as free" for port in ports if port in free)
