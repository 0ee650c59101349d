"""Restarting a guest: by its hypervisor, by pulling the plug, or with its disks detached in between."""

from __future__ import annotations

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_steps import assemble_disks, laid, release_disks
from gnt.masterd.operations.instance_power import stop_call
from gnt.masterd.operations.instance_steps import bridges_of, is_up, refuse_missing_bridges, refuse_offline
from gnt.masterd.plan import Forward, Keep, Note, Plan, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, Refused
from gnt.model.objects import AdminState, AdminStateSource, Instance
from gnt.model.specs import instance_spec
from gnt.opcodes.instance_power import InstanceReboot
from gnt.wire.calls import BridgeCheck
from gnt.wire.guest_calls import GuestFacts, GuestReboot, GuestStart


@executes(InstanceReboot)
class RebootInstance(Operation[InstanceReboot]):
    """Restart a guest that runs; one that does not is started. That it is wanted up is recorded first."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance."""
        return Locks().exclusive(Level.INSTANCE, cluster.instance(self.op.instance_name).name)

    async def observe(self, cluster: Cluster, look: Look) -> tuple[GuestFacts | None, list[str]]:
        """Look whether the guest runs, and which of its bridges the node lacks."""
        instance = cluster.instance(self.op.instance_name)
        if instance.admin_state is AdminState.OFFLINE:
            raise Refused(WRONG_STATE, f"{instance.name} is marked offline", hint="gnt-instance modify --online")
        refuse_offline(cluster.nodes[instance.primary_node])
        bridges = bridges_of(instance_spec(cluster, instance))
        missing = await look.ask(instance.primary_node, BridgeCheck(bridges=bridges)) if bridges else []
        return await look.guest(instance), missing

    def plan(self, cluster: Cluster, seen: tuple[GuestFacts | None, list[str]]) -> Plan:
        """Restart it in the way that is wished."""
        guest, missing = seen
        instance = cluster.instance(self.op.instance_name)
        node = cluster.nodes[instance.primary_node]
        refuse_missing_bridges(node, missing)
        up = replace(instance, admin_state=AdminState.UP, admin_state_source=AdminStateSource.ADMIN, disks_active=True)
        if is_up(guest) and self.op.reboot_type != "full":
            call = GuestReboot(
                instance=instance_spec(cluster, instance),
                hard=self.op.reboot_type == "hard",
                timeout=self.op.shutdown_timeout,
            )
            # Not owed by a node that is away: when it is back the guest may be down, or have worked for hours.
            return Plan((Keep((up,)), Forward(on(node.uuid, call), owed=False)))
        return Plan((Keep((up,)), *self._stop(cluster, up, guest), *self._start(cluster, instance)))

    def _stop(self, cluster: Cluster, instance: Instance, guest: GuestFacts | None) -> tuple[Step, ...]:
        if guest is None:
            return (Note(f"{instance.name} does not run: it is started"),)
        call = stop_call(instance, timeout=self.op.shutdown_timeout)
        return (
            Forward(on(instance.primary_node, call)),
            *release_disks(cluster, laid(cluster, instance)),
            # A milestone: what follows can be undone by itself.
            Keep((instance,)),
        )

    def _start(self, cluster: Cluster, instance: Instance) -> tuple[Step, ...]:
        start = GuestStart(instance=instance_spec(cluster, instance))
        return (
            *assemble_disks(cluster, laid(cluster, instance), ignore_secondaries=self.op.ignore_secondaries),
            Undoable(on(instance.primary_node, start), undo=on(instance.primary_node, stop_call(instance, timeout=0))),
        )
