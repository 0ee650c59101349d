"""Installing the guest OS anew over the disks of a stopped instance."""

from __future__ import annotations

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_steps import assemble_disks, laid, release_disks
from gnt.masterd.operations.instance_steps import refuse_offline, refuse_running
from gnt.masterd.operations.os_choice import look_at_os
from gnt.masterd.plan import Keep, Note, Plan, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.objects import AdminState, Instance
from gnt.model.params import check_os
from gnt.model.specs import InstanceSpec, instance_spec
from gnt.opcodes.instance import InstanceReinstall
from gnt.wire.calls import OsCreate
from gnt.wire.guest_calls import GuestFacts


@executes(InstanceReinstall)
class ReinstallInstance(Operation[InstanceReinstall]):
    """Record the guest OS if it changes, then run its create script as for a reinstallation."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance."""
        return Locks().exclusive(Level.INSTANCE, cluster.instance(self.op.instance_name).name)

    async def observe(self, cluster: Cluster, look: Look) -> GuestFacts | None:
        """Look whether the guest is down, and have the node check the OS with its parameters."""
        instance = self._instance(cluster)
        if not instance.disks:
            raise Refused(WRONG_INPUT, f"{instance.name} has no disks to install on")
        if instance.admin_state is AdminState.OFFLINE:
            raise Refused(WRONG_STATE, f"{instance.name} is marked offline", hint="gnt-instance modify --online")
        refuse_offline(cluster.nodes[instance.primary_node])
        if not instance.os:
            raise Refused(WRONG_INPUT, f"{instance.name} has no guest OS on record", hint="-o OS")
        spec, secret = self._spec(cluster, instance), self.op.osparams_secret or {}
        await look_at_os(cluster, look, spec, secret, force_variant=self.op.force_variant)
        return await look.guest(instance)

    def plan(self, cluster: Cluster, guest: GuestFacts | None) -> Plan:
        """Assemble, install, close what was closed before."""
        instance = self._instance(cluster)
        refuse_running(instance, guest, "it cannot be installed anew")
        recorded = cluster.instance(self.op.instance_name)
        disks = laid(cluster, instance)
        closed = not instance.disks_active
        install = OsCreate(instance=self._spec(cluster, instance), reinstall=True, debug_level=self.op.debug_level or 0)
        return Plan(
            (
                *((Keep((instance,)),) if instance != recorded else ()),
                *(assemble_disks(cluster, disks) if closed else ()),
                Note("* running the instance OS create scripts..."),
                Undoable(on(instance.primary_node, install), undo=None),
                *(release_disks(cluster, disks, tolerant=True) if closed else ()),
            )
        )

    def _instance(self, cluster: Cluster) -> Instance:
        """Give the instance with the OS that it gets."""
        instance = cluster.instance(self.op.instance_name)
        return replace(instance, os=self.op.os_type) if self.op.os_type else instance

    def _spec(self, cluster: Cluster, instance: Instance) -> InstanceSpec:
        op = self.op
        return instance_spec(
            cluster,
            instance,
            osparams=check_os(op.osparams or {}),
            osparams_private={**check_os(op.osparams_private or {}), **(op.osparams_secret or {})},
        )
