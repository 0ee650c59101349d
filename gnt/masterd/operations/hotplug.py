"""Devices of a guest that runs: what of a change to an instance it is given or loses at once, as steps."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from gnt.masterd.operation import Look
from gnt.masterd.plan import Forward, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import NodeFailure
from gnt.model.objects import Disk, Instance
from gnt.model.specs import InstanceSpec, NicSpec, instance_spec, shown_device
from gnt.wire.guest_calls import DevicePlug, DevicePlugCheck, DeviceUnplug, DiskResized


async def why_not_plugged(look: Look, cluster: Cluster, instance: Instance, kinds: Iterable[str]) -> NodeFailure | None:
    """Ask whether the running guest takes devices of these kinds (`disk`, `nic`); None if it does."""
    wanted = sorted(kinds)
    if not wanted:
        return None
    try:
        await look.ask(instance.primary_node, DevicePlugCheck(instance=instance_spec(cluster, instance), kinds=wanted))
    except NodeFailure as failure:
        return failure
    return None


def plug_disks(cluster: Cluster, instance: Instance, disks: Iterable[Disk]) -> tuple[Step, ...]:
    """Give assembled disks to the guest, of an instance as it will be in this model; undone by taking them away."""
    spec = instance_spec(cluster, instance)
    return tuple(_plug(instance, spec, "disk", disk.uuid) for disk in disks)


def unplug_disks(cluster: Cluster, instance: Instance, disks: Iterable[Disk]) -> tuple[Step, ...]:
    """Take disks from the guest, of an instance as it is in this model; undone by giving them back."""
    spec = instance_spec(cluster, instance)
    return tuple(_unplug(instance, spec, "disk", disk.uuid) for disk in disks)


def exchange_nics(
    before: Cluster, instance: Instance, after: Cluster, changed: Instance
) -> tuple[tuple[Step, ...], frozenset[str]]:
    """Take the interfaces that go or change, then give those that are new or changed; and the UUIDs of all of them."""
    old, new = instance_spec(before, instance), instance_spec(after, changed)
    was = {nic.uuid: _seen(nic) for nic in old.nics}
    will = {nic.uuid: _seen(nic) for nic in new.nics}
    gone = [uuid for uuid in was if will.get(uuid) != was[uuid]]
    come = [uuid for uuid in will if will[uuid] != was.get(uuid)]
    steps = (
        *(_unplug(instance, old, "nic", uuid) for uuid in gone),
        *(_plug(changed, new, "nic", uuid) for uuid in come),
    )
    return steps, frozenset((*gone, *come))


def resized(instance: Instance, disk: Disk) -> Step:
    """Tell the guest that its disk has grown; where that cannot be, it sees that at its next start."""
    return Undoable(on(instance.primary_node, _resized_call(instance, disk)), undo=None, tolerant=True)


def grown_inside(instance: Instance, disk: Disk) -> Step:
    """Have the guest's emulator enlarge an image that it has open; without a way back, as all growing is."""
    return Forward(on(instance.primary_node, _resized_call(instance, disk, image=True)))


def _resized_call(instance: Instance, disk: Disk, *, image: bool = False) -> DiskResized:
    return DiskResized(
        hypervisor=instance.hypervisor,
        name=instance.name,
        uuid=instance.uuid,
        disk=disk.uuid,
        size=disk.size,
        image=image,
    )


def _plug(instance: Instance, spec: InstanceSpec, kind: str, device: str) -> Undoable:
    node = instance.primary_node
    return Undoable(
        on(node, DevicePlug(instance=spec, kind=kind, device=device)),
        undo=on(node, _unplug_call(instance, spec, kind, device)),
    )


def _unplug(instance: Instance, spec: InstanceSpec, kind: str, device: str) -> Undoable:
    node = instance.primary_node
    return Undoable(
        on(node, _unplug_call(instance, spec, kind, device)),
        undo=on(node, DevicePlug(instance=spec, kind=kind, device=device)),
    )


def _unplug_call(instance: Instance, spec: InstanceSpec, kind: str, device: str) -> DeviceUnplug:
    return DeviceUnplug(
        hypervisor=instance.hypervisor,
        name=instance.name,
        uuid=instance.uuid,
        kind=kind,
        device=device,
        shown=shown_device(spec, device),
    )


def _seen(nic: NicSpec) -> NicSpec:
    """Give what the guest or its network sees of an interface: not its name for people, and not its place."""
    return replace(nic, index=0, name=None)
