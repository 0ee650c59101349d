"""Giving a stopped instance another name: `spec/storage.md`, section 10.11."""

from __future__ import annotations

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_steps import assemble_disks, laid, release_disks, side_by_side
from gnt.masterd.operations.instance_steps import refuse_offline, refuse_running
from gnt.masterd.plan import Forward, Keep, Note, Plan, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import ALREADY_EXISTS, NOT_UNIQUE, WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.names import check_name
from gnt.model.objects import Disk, Instance
from gnt.model.specs import instance_spec
from gnt.model.templates import FILE_BASED, NAMED_BY_INSTANCE
from gnt.opcodes.instance import InstanceRename
from gnt.wire.calls import OsRename
from gnt.wire.disk_calls import DiskLabel, DiskRename
from gnt.wire.guest_calls import GuestFacts


@executes(InstanceRename)
class RenameInstance(Operation[InstanceRename]):
    """Move the files that bear the name, record it, then have the guest OS and the labels of volumes follow."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock both names."""
        instance = cluster.instance(self.op.instance_name)
        return Locks().exclusive(Level.INSTANCE, instance.name, check_name(self.op.new_name, "instance"))

    async def observe(self, cluster: Cluster, look: Look) -> GuestFacts | None:
        """Look whether the guest is down."""
        instance = cluster.instance(self.op.instance_name)
        name = self._new_name(cluster, instance)
        if self.op.ip_check and not self.op.name_check:
            raise Refused(WRONG_INPUT, "The address can only be checked of a name that is checked", hint="--name-check")
        if self.op.ip_check:
            raise Unsupported("OP_INSTANCE_RENAME: ip_check is not supported by this version")
        if self.op.name_check:
            await look.resolve(name)
        refuse_offline(cluster.nodes[instance.primary_node])
        guest = await look.guest(instance)
        refuse_running(instance, guest, "it cannot be renamed")
        if instance.disks_active and instance.disks:
            # Their stable links bear the old name.
            raise Refused(
                WRONG_STATE,
                f"The disks of {instance.name} are active",
                hint=f"gnt-instance deactivate-disks {instance.name}",
            )
        return guest

    def plan(self, cluster: Cluster, guest: GuestFacts | None) -> Plan:
        """Give the new name to all that bears the old one."""
        instance = cluster.instance(self.op.instance_name)
        refuse_running(instance, guest, "it cannot be renamed")
        name = self._new_name(cluster, instance)
        renamed = replace(instance, name=name)
        disks = tuple(_renamed(disk, instance.name, name) for disk in cluster.disks_of(instance))
        known = cluster.put(renamed)
        for disk in disks:
            known = known.put(disk)
        files = [
            (old, new)
            for old, new in zip(laid(cluster, instance), laid(known, renamed), strict=True)
            if old.spec.logical_id != new.spec.logical_id
        ]
        moved = side_by_side(
            Undoable(
                on(old.primary, DiskRename(disk=old.spec, target=new.spec)),
                undo=on(old.primary, DiskRename(disk=new.spec, target=old.spec)),
            )
            for old, new in files
        )
        return Plan((*moved, Keep((renamed, *disks)), *self._follow(known, renamed, instance)), result=name)

    def _follow(self, cluster: Cluster, instance: Instance, before: Instance) -> tuple[Step, ...]:
        """Have labels and guest OS follow; the instance stays renamed if they do not."""
        disks = laid(cluster, instance)
        labels = side_by_side(
            Forward(
                on(node, DiskLabel(disk=disk.spec, text=f"originstname+{instance.name}")), tolerant=True, owed=False
            )
            for disk in disks
            if disk.spec.dev_type not in FILE_BASED
            for node in disk.nodes
            if not cluster.nodes[node].offline
        )
        if not instance.os or not disks:
            return labels
        debug = self.op.debug_level or 0
        script = OsRename(instance=instance_spec(cluster, instance), old_name=before.name, debug_level=debug)
        return (
            *assemble_disks(cluster, disks),
            Note("* running the instance OS rename script..."),
            Forward(on(instance.primary_node, script), tolerant=True, owed=False),
            *labels,
            *release_disks(cluster, disks, tolerant=True),
        )

    def _new_name(self, cluster: Cluster, instance: Instance) -> str:
        name = check_name(self.op.new_name, "instance")
        other = cluster.instances.by_name(name)
        if other is not None:
            what = "has that name already" if other.uuid == instance.uuid else "is already in the cluster"
            raise Refused(ALREADY_EXISTS, f"Instance {name} {what}", hint="choose another name")
        if cluster.nodes.by_name(name) is not None or name == cluster.settings.cluster_name:
            raise Refused(NOT_UNIQUE, f"{name} is the name of a node or of the cluster", hint="choose another name")
        return name


def _renamed(disk: Disk, old: str, new: str) -> Disk:
    """Give a file disk with its path below the new name; others keep theirs."""
    if disk.dev_type not in NAMED_BY_INSTANCE:
        return disk
    driver, path = disk.logical_id
    directory, _, name = str(path).rpartition("/")
    base, _, last = directory.rpartition("/")
    if last != old:
        return disk
    return replace(disk, logical_id=(driver, f"{base}/{new}/{name}"))
