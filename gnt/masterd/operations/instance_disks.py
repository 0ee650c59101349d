"""Attaching an instance's disks on its nodes without starting it, and detaching them: sections 10.3 and 10.4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, Operation, Stage, executes
from gnt.masterd.operations.disk_steps import Laid, assemble_disks, laid, release_disks, wait_for_sync, without_undo
from gnt.masterd.operations.instance_steps import locks_of, refuse_offline, refuse_running
from gnt.masterd.plan import Keep, Plan
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.opcodes.instance_disks import InstanceActivateDisks, InstanceDeactivateDisks
from gnt.wire.guest_calls import GuestFacts


@executes(InstanceActivateDisks)
class ActivateDisks(Operation[InstanceActivateDisks]):
    """Assemble all disks; those of an instance that has them active already stay so whatever happens."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance and its nodes."""
        return locks_of(cluster, cluster.instance(self.op.instance_name), room=False)

    def stages(self) -> Sequence[Stage]:
        """Assemble; then say where the disks are."""
        return (
            Stage(self.observe, self.plan),
            Stage(self.look_at_devices, self.plan_answer, about="say which devices the disks have"),
        )

    def plan(self, cluster: Cluster, seen: None) -> Plan:
        """Assemble on all nodes, record it, wait for mirrors if that is wanted."""
        del seen
        instance = cluster.instance(self.op.instance_name)
        if not instance.disks:
            raise Refused(WRONG_INPUT, f"{instance.name} has no disks to activate")
        refuse_offline(cluster.nodes[instance.primary_node])
        disks = laid(cluster, instance)
        wanted = tuple(_of_any_size(disk) for disk in disks) if self.op.ignore_size else disks
        assembled = assemble_disks(cluster, wanted)
        return Plan(
            (
                *(without_undo(assembled) if instance.disks_active else assembled),
                Keep((replace(instance, disks_active=True),)),
                *(wait_for_sync(cluster, disks) if self.op.wait_for_sync else ()),
            )
        )

    async def look_at_devices(self, cluster: Cluster, look: Look) -> Mapping[str, str]:
        """Take what the primary node said when it opened them: to ask again would cost a scan for each instance."""
        del cluster
        return look.devices()

    def plan_answer(self, cluster: Cluster, devices: Mapping[str, str]) -> Plan:
        """Give node, name and device of each disk."""
        instance = cluster.instance(self.op.instance_name)
        node = cluster.nodes[instance.primary_node].name
        rows: list[Any] = [
            (node, f"disk/{disk.spec.index}", devices.get(disk.spec.uuid)) for disk in laid(cluster, instance)
        ]
        return Plan(result=rows)


@executes(InstanceDeactivateDisks)
class DeactivateDisks(Operation[InstanceDeactivateDisks]):
    """Close all disks on all nodes of an instance that does not run; without disks there is only the wish to record."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance and its nodes."""
        return locks_of(cluster, cluster.instance(self.op.instance_name), room=False)

    async def observe(self, cluster: Cluster, look: Look) -> GuestFacts | None:
        """Look whether the guest runs."""
        instance = cluster.instance(self.op.instance_name)
        refuse_offline(cluster.nodes[instance.primary_node])
        return None if self.op.force else await look.guest(instance)

    def plan(self, cluster: Cluster, guest: GuestFacts | None) -> Plan:
        """Record it first, then close."""
        instance = cluster.instance(self.op.instance_name)
        refuse_running(instance, guest, "its disks are in use")
        return Plan(
            (
                Keep((replace(instance, disks_active=False),)),
                *release_disks(cluster, laid(cluster, instance)),
            )
        )


def _of_any_size(disk: Laid) -> Laid:
    """Give the disk without a size: it is taken as large as it is."""
    return replace(disk, spec=replace(disk.spec, size=0))
