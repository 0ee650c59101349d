"""Checks before disks are made: nodes that may hold them, templates that are enabled, free space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from gnt.masterd.operation import Look
from gnt.masterd.operations.instance_steps import refuse_unusable
from gnt.masterd.operations.new_disks import needs_secondary, space_needed
from gnt.model.cluster import Cluster
from gnt.model.errors import ENVIRONMENT, NO_RESOURCES, UNKNOWN_ENTITY, WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.objects import Disk, DiskTemplate, Node
from gnt.model.params import fill_disk, fill_nd
from gnt.wire.calls import NodeFacts, NodeInfo, StorageCheck, StorageUnit
from gnt.wire.disk_calls import DeviceSizes, ProviderList, VolumeList

MIB = 1024 * 1024

OTHER_DISKS = "give smaller disks, another node, or another group: vg=NAME"
"""What helps whoever makes disks for which there is no room."""

VOLUMES = frozenset({DiskTemplate.PLAIN, DiskTemplate.THIN})
"""Templates whose disks are logical volumes, of whole extents."""

NOT_MADE = frozenset({"gluster", "mixed"})
"""Templates that this version knows by name only."""


def refuse_template(cluster: Cluster, template: DiskTemplate) -> None:
    """Refuse a template that the cluster does not use, or this version."""
    enabled = cluster.settings.enabled_disk_templates
    if template in NOT_MADE:
        hint = (
            "mount the volume on all nodes, and keep shared files there: -t sharedfile" if template == "gluster" else ""
        )
        raise Unsupported(f"Disk template {template} is not supported by this version", hint=hint)
    if template not in enabled:
        raise Refused(WRONG_INPUT, f"Disk template {template} is not enabled", hint=f"enabled are: {' '.join(enabled)}")


def check_secondary(cluster: Cluster, template: str, primary: Node, named: str | None) -> Node | None:
    """Give the secondary node (by name or UUID) that disks of a template need; None where they need none."""
    if not needs_secondary(template):
        return None
    if named is None:
        raise Refused(
            WRONG_INPUT, f"Disk template {template} needs a secondary node", hint=f"-n {primary.name}:SECONDARY"
        )
    node = cluster.node(named)
    if node.uuid == primary.uuid:
        raise Refused(
            WRONG_INPUT,
            f"{node.name} cannot be both primary and secondary node",
            hint="a mirror has its sides on two nodes",
        )
    refuse_unusable(node, as_what="secondary node")
    return node


def refuse_exclusive_storage(cluster: Cluster, nodes: Sequence[str]) -> None:
    """Refuse nodes whose physical volumes hold one volume each."""
    for uuid in nodes:
        node = cluster.nodes[uuid]
        if fill_nd(cluster, node)["exclusive_storage"]:
            raise Unsupported(
                f"{node.name} has exclusive storage, which is not supported by this version",
                hint=f"gnt-node modify --node-parameters exclusive_storage=no {node.name}",
            )


def refuse_without_space(
    cluster: Cluster, seen: Mapping[str, NodeFacts], needed: Mapping[str, int], *, remedy: str = OTHER_DISKS
) -> None:
    """Refuse nodes that lack a volume group, or space (MiB) in it."""
    for uuid, facts in seen.items():
        name = cluster.nodes[uuid].name
        free = {unit.key: unit.free for unit in facts.storage if unit.kind == "lvm-vg"}
        for group, wanted in sorted(needed.items()):
            has = free.get(group)
            if has is None:
                raise Refused(
                    ENVIRONMENT,
                    f"{name} has no volume group {group}",
                    hint=f"gnt-node list-storage -t lvm-vg {name} shows those that it has",
                )
            if has < wanted:
                raise Refused(
                    NO_RESOURCES,
                    f"Not enough disk space on {name}: volume group {group} has {has} MiB free, {wanted} MiB wanted",
                    hint=remedy,
                )


def in_whole_extents(cluster: Cluster, disks: Sequence[Disk], seen: Mapping[str, NodeFacts]) -> tuple[Disk, ...]:
    """Give disks with the sizes that they will really have: a volume consists of whole extents, in whole rows.

    A mirror has exactly the size that it is given, and is left as it is.
    """
    return tuple(_in_whole_extents(cluster, disk, seen) for disk in disks)


def _in_whole_extents(cluster: Cluster, disk: Disk, seen: Mapping[str, NodeFacts]) -> Disk:
    if disk.dev_type not in VOLUMES or not disk.nodes or disk.nodes[0] not in seen:
        return disk
    node, volume_group = disk.nodes[0], str(disk.logical_id[0])
    extent = next((unit.extent for unit in seen[node].storage if unit.key == volume_group), 0)
    parameters = fill_disk(cluster, cluster.group_of(cluster.nodes[node]), disk.dev_type, disk.params)
    # A thin volume has no rows: its pool has.
    grain = extent * max(1, int(parameters.get("stripes", 1)))
    return replace(disk, size=-(-disk.size // grain) * grain) if grain else disk


async def look_for_room(look: Look, nodes: Sequence[str], disks: Sequence[Disk]) -> dict[str, NodeFacts]:
    """Ask the nodes that are to hold disks what their volume groups have free, and how large extents are there."""
    thin = {str(disk.logical_id[0]) for disk in disks if disk.dev_type is DiskTemplate.THIN}
    return await _look_at_groups(look, nodes, thin | set(space_needed(disks)))


async def _look_at_groups(look: Look, nodes: Sequence[str], groups: AbstractSet[str]) -> dict[str, NodeFacts]:
    """Ask nodes about volume groups; nothing is asked where no group is."""
    if not groups:
        return {}
    call = NodeInfo(storage=[StorageUnit(kind="lvm-vg", key=group) for group in sorted(groups)])
    return {node: await look.ask(node, call) for node in dict.fromkeys(nodes)}


async def look_at_storage(
    cluster: Cluster, look: Look, node: str, template: DiskTemplate, disks: Sequence[Disk]
) -> None:
    """Have a node check what disks of a template need there beside space: directories, providers."""
    settings = cluster.settings
    directories = {
        "file": settings.file_storage_dir,
        "qcow2": settings.file_storage_dir,
        "sharedfile": settings.shared_file_storage_dir,
    }
    if template in directories:
        kind = "sharedfile" if template is DiskTemplate.SHAREDFILE else "file"
        await look.ask(node, StorageCheck(kind=kind, directory=directories[template]))
    if template is DiskTemplate.EXT:
        await _look_at_providers(cluster, look, node, {str(disk.logical_id[0]) for disk in disks})


async def _look_at_providers(cluster: Cluster, look: Look, node: str, wanted: set[str]) -> None:
    found = {provider.name: provider for provider in await look.ask(node, ProviderList())}
    name = cluster.nodes[node].name
    for provider in sorted(wanted):
        if provider not in found:
            known = " ".join(sorted(found)) or "none"
            raise Refused(UNKNOWN_ENTITY, f"{name} has no storage provider {provider}", hint=f"it has: {known}")
        if not found[provider].valid:
            raise Refused(
                WRONG_STATE, f"Storage provider {provider} is not usable on {name}: {found[provider].diagnose}"
            )


async def look_at_adopted(look: Look, node: str, template: str, names: Sequence[str]) -> dict[str, int]:
    """Give the sizes (MiB) of what is to be adopted and there; a volume that is open is refused."""
    if template == DiskTemplate.BLOCKDEV:
        sizes = await look.ask(node, DeviceSizes(paths=sorted(names)))
        return {path: size // MIB for path, size in sizes.items()}
    groups = tuple(sorted({name.partition("/")[0] for name in names}))
    volumes = {f"{volume.group}/{volume.name}": volume for volume in await look.ask(node, VolumeList(groups=groups))}
    for name in names:
        if name in volumes and volumes[name].opened:
            raise Refused(WRONG_STATE, f"{name} is in use and cannot be adopted", hint="unmount or close it first")
    return {name: volume.size for name, volume in volumes.items() if name in names}
