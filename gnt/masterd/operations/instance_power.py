"""Starting and stopping guests."""

from __future__ import annotations

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_steps import assemble_disks, laid, release_disks
from gnt.masterd.operations.instance_steps import (
    bridges_of,
    refuse_missing_bridges,
    refuse_offline,
    refuse_without_memory,
)
from gnt.masterd.plan import Forward, Keep, Note, Plan, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, Refused
from gnt.model.objects import AdminState, AdminStateSource, Instance
from gnt.model.params import check_be, check_hv, fill_be
from gnt.model.specs import InstanceSpec, instance_spec
from gnt.opcodes.instance_power import InstanceShutdown, InstanceStartup
from gnt.wire.calls import BridgeCheck, NodeFacts, NodeInfo
from gnt.wire.guest_calls import GuestFacts, GuestStart, GuestStop


class Startable:
    """What was seen before a start: the guest if it is there, the node's memory, the bridges it lacks."""

    def __init__(self, guest: GuestFacts | None, facts: NodeFacts | None, missing_bridges: list[str]) -> None:
        self.guest = guest
        self.facts = facts
        self.missing_bridges = missing_bridges


@executes(InstanceStartup)
class StartInstance(Operation[InstanceStartup]):
    """Assemble the disks and start the guest; that it is wanted up stays recorded even if the start fails."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance."""
        return Locks().exclusive(Level.INSTANCE, cluster.instance(self.op.instance_name).name)

    async def observe(self, cluster: Cluster, look: Look) -> Startable:
        """Look whether the guest runs, and whether its node has room and bridges."""
        instance = cluster.instance(self.op.instance_name)
        node = cluster.nodes[instance.primary_node]
        if node.offline:
            return Startable(None, None, [])
        spec = self._spec(cluster, instance)
        guest = await look.guest(instance)
        facts = await look.ask(node.uuid, NodeInfo(hypervisors={spec.hypervisor: dict(spec.hvparams)}))
        bridges = bridges_of(spec)
        missing = await look.ask(node.uuid, BridgeCheck(bridges=bridges)) if bridges else []
        return Startable(guest, facts, missing)

    def plan(self, cluster: Cluster, seen: Startable) -> Plan:
        """Record the wish, then start."""
        instance = cluster.instance(self.op.instance_name)
        node = cluster.nodes[instance.primary_node]
        if instance.admin_state is AdminState.OFFLINE:
            raise Refused(WRONG_STATE, f"{instance.name} is marked offline", hint="gnt-instance modify --online")
        wanted: tuple[Step, ...] = ()
        if not self.op.no_remember:
            up = replace(
                instance, admin_state=AdminState.UP, admin_state_source=AdminStateSource.ADMIN, disks_active=True
            )
            wanted = (Keep((up,)),)
        if node.offline and self.op.ignore_offline_nodes:
            return Plan((*wanted, Note(f"{node.name} is offline: only the wish is recorded")))
        refuse_offline(node, recorded=True)
        if seen.guest is not None and seen.guest.state in {"running", "paused"}:
            return Plan(wanted)
        spec = self._spec(cluster, instance)
        refuse_missing_bridges(node, seen.missing_bridges)
        if seen.facts is not None:
            memory = fill_be(cluster, spec.beparams)["maxmem"]
            refuse_without_memory(node, seen.facts, spec.hypervisor, memory)
        return Plan(
            (
                *wanted,
                *assemble_disks(cluster, laid(cluster, instance), ignore_secondaries=self.op.force),
                Undoable(
                    on(node.uuid, GuestStart(instance=spec, paused=self.op.startup_paused)),
                    undo=on(node.uuid, stop_call(instance, timeout=0)),
                ),
            )
        )

    def _spec(self, cluster: Cluster, instance: Instance) -> InstanceSpec:
        hvparams = check_hv(instance.hypervisor, self.op.hvparams) if self.op.hvparams else {}
        beparams = check_be(self.op.beparams) if self.op.beparams else {}
        return instance_spec(cluster, instance, hvparams=hvparams, beparams=beparams)


@executes(InstanceShutdown)
class ShutdownInstance(Operation[InstanceShutdown]):
    """Stop the guest and release its disks; that it is wanted down stays recorded."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance."""
        return Locks().exclusive(Level.INSTANCE, cluster.instance(self.op.instance_name).name)

    async def observe(self, cluster: Cluster, look: Look) -> GuestFacts | None:
        """Look whether the guest is there."""
        instance = cluster.instance(self.op.instance_name)
        if cluster.nodes[instance.primary_node].offline:
            return None
        return await look.guest(instance)

    def plan(self, cluster: Cluster, guest: GuestFacts | None) -> Plan:
        """Record the wish, stop what runs, and record the disks as out of use once they are."""
        instance = cluster.instance(self.op.instance_name)
        node = cluster.nodes[instance.primary_node]
        if instance.admin_state is AdminState.OFFLINE and not self.op.force:
            raise Refused(WRONG_STATE, f"{instance.name} is marked offline", hint="--force to stop it all the same")
        offline = node.offline and self.op.ignore_offline_nodes
        wanted: tuple[Step, ...] = ()
        over: tuple[Step, ...] = ()
        if not self.op.no_remember and instance.admin_state is not AdminState.OFFLINE:
            down = self._down(instance, guest)
            closed = replace(down, disks_active=False)
            # A stop that is broken off leaves the guest with its disks: they count as in use until they are released,
            # or what is owed for them (closing the way for two writers) would be taken for void.
            wanted = (Keep((closed if offline else down,)),)
            over = (Keep((closed,)),) if closed != down else ()
        if offline:
            return Plan((*wanted, Note(f"{node.name} is offline: only the wish is recorded")))
        refuse_offline(node, recorded=True)
        disks = laid(cluster, instance)
        if guest is None:
            return Plan((*wanted, *release_disks(cluster, disks), *over))
        stop = Forward(on(node.uuid, stop_call(instance, timeout=self.op.timeout)))
        return Plan((*wanted, stop, *release_disks(cluster, disks), *over))

    def _down(self, instance: Instance, guest: GuestFacts | None) -> Instance:
        """Give the instance as it is wanted: down, by whom it was asked for."""
        source = AdminStateSource.ADMIN
        if self.op.admin_state_source == "user":
            if guest is not None and guest.state != "user_down":
                raise Refused(WRONG_STATE, f"{instance.name} was not shut down by its user: it is {guest.state}")
            source = AdminStateSource.USER
        return replace(instance, admin_state=AdminState.DOWN, admin_state_source=source)


def stop_call(instance: Instance, *, timeout: int) -> GuestStop:
    """Give the call that stops the instance's guest; `timeout` in seconds, 0 pulls the plug."""
    return GuestStop(hypervisor=instance.hypervisor, name=instance.name, uuid=instance.uuid, timeout=timeout)
