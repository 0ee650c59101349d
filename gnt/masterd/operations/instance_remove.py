"""Removing an instance with all its data."""

from __future__ import annotations

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_steps import laid, release_disks, remove_disks
from gnt.masterd.operations.instance_power import stop_call
from gnt.masterd.operations.instance_steps import locks_of
from gnt.masterd.operations.replace_steps import leftover_nodes, remove_leftovers
from gnt.masterd.plan import Forget, Forward, Plan, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, GntError, Refused
from gnt.opcodes.instance import InstanceRemove
from gnt.wire.guest_calls import GuestFacts


@executes(InstanceRemove)
class RemoveInstance(Operation[InstanceRemove]):
    """Stop the guest, remove its disks, forget it. There is no way back once the guest was told to stop."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance and its nodes, also those that have volumes of it which were replaced."""
        instance = cluster.instance(self.op.instance_name)
        return locks_of(cluster, instance, *leftover_nodes(cluster, instance))

    async def observe(self, cluster: Cluster, look: Look) -> GuestFacts | None:
        """Look whether the guest runs; with `ignore_failures` a node that does not answer is no hindrance."""
        instance = cluster.instance(self.op.instance_name)
        node = cluster.nodes[instance.primary_node]
        if node.offline and not self.op.ignore_failures:
            raise Refused(
                WRONG_STATE,
                f"the primary node {node.name} is marked offline",
                hint="--ignore-failures: the node removes the disks once it is back",
            )
        try:
            return await look.guest(instance)
        except GntError as error:
            if not self.op.ignore_failures:
                raise
            look.note(f" - WARNING: {node.name}: {error}")
            return None

    def plan(self, cluster: Cluster, guest: GuestFacts | None) -> Plan:
        """Stop, release, remove, forget."""
        instance = cluster.instance(self.op.instance_name)
        node, tolerant = instance.primary_node, self.op.ignore_failures
        disks = laid(cluster, instance)
        stop = (
            (Forward(on(node, stop_call(instance, timeout=self.op.shutdown_timeout)), tolerant=tolerant),)
            if guest is not None
            else ()
        )
        return Plan(
            (
                *stop,
                *release_disks(cluster, disks, tolerant=tolerant),
                *remove_disks(cluster, disks, until_done=tolerant),
                *remove_leftovers(cluster, instance, cluster.disks_of(instance), tolerant=tolerant),
                Forget((instance, *cluster.disks_of(instance))),
            )
        )
