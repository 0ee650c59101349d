"""Moving a running guest to another node that reaches its disks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, Operation, Stage, executes
from gnt.masterd.operations.disk_steps import laid
from gnt.masterd.operations.instance_failover import FailOver
from gnt.masterd.operations.instance_failover import Seen as Halted
from gnt.masterd.operations.instance_steps import (
    bridges_of,
    locks_of,
    move_policy_notes,
    refuse_missing_bridges,
    refuse_offline,
    refuse_unusable,
    refuse_without_memory,
)
from gnt.masterd.operations.mirror_steps import at, close_behind, open_both, wait_behind
from gnt.masterd.operations.move_cleanup import Whereabouts, look_at_both, plan_cleanup, runs
from gnt.masterd.operations.move_target import target_of
from gnt.masterd.plan import Forward, Keep, Note, Plan, Uncertain, Undoable, on
from gnt.masterd.settling import Calls, settles
from gnt.model.cluster import Cluster
from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.objects import Instance, Node
from gnt.model.params import fill_be
from gnt.model.specs import instance_spec
from gnt.opcodes.instance_move import InstanceFailover, InstanceMigrate
from gnt.wire.calls import BridgeCheck, NodeFacts, NodeInfo
from gnt.wire.guest_calls import (
    GuestFacts,
    GuestFind,
    HypervisorCheck,
    MigrationAccept,
    MigrationCancel,
    MigrationFinish,
    MigrationSend,
    MigrationTicket,
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of the guest on both nodes, and of the target's room."""

    here: GuestFacts | None
    there: GuestFacts | None
    source: NodeFacts | None = None
    target: NodeFacts | None = None
    missing_bridges: tuple[str, ...] = ()


@executes(InstanceMigrate)
class MigrateInstance(Operation[InstanceMigrate]):
    """Prepare the target, send the guest, record where it is, clean up behind it."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance, its nodes and the target."""
        instance = cluster.instance(self.op.instance_name)
        return locks_of(cluster, instance, target_of(cluster, instance, self.op).uuid)

    def stages(self) -> tuple[Stage, ...]:
        """Prepare first: where to send the guest is the target's answer."""
        if self.op.cleanup:
            return (Stage(self.look_around, self.plan_cleanup),)
        return (
            Stage(self.look_ahead, self.plan_arrival),
            Stage(self.take_ticket, self.plan_move, about="send the guest, record where it is, clean up behind it"),
        )

    async def look_around(self, cluster: Cluster, look: Look) -> Whereabouts:
        """Look for the guest on both nodes."""
        instance = cluster.instance(self.op.instance_name)
        return await look_at_both(look, instance, target_of(cluster, instance, self.op))

    def plan_cleanup(self, cluster: Cluster, seen: Whereabouts) -> Plan:
        """Record where the guest really runs, after a migration that was cut off."""
        instance = cluster.instance(self.op.instance_name)
        return plan_cleanup(cluster, instance, target_of(cluster, instance, self.op), seen)

    async def look_ahead(self, cluster: Cluster, look: Look) -> Seen | Halted | Whereabouts:
        """Look for the guest on both nodes; at room, parameters and bridges on the target."""
        instance = cluster.instance(self.op.instance_name)
        target = target_of(cluster, instance, self.op)
        refuse_offline(cluster.nodes[instance.primary_node])
        refuse_unusable(target, as_what="target of a migration")
        seen = await look_at_both(look, instance, target)
        if not runs(seen.here) and self.op.allow_failover:
            return await self._failover.observe(cluster, look)
        spec = instance_spec(cluster, instance)
        parameters = dict(spec.hvparams)
        info = NodeInfo(hypervisors={spec.hypervisor: parameters})
        await look.ask(target.uuid, HypervisorCheck(hypervisor=spec.hypervisor, parameters=parameters))
        bridges = bridges_of(spec)
        missing = await look.ask(target.uuid, BridgeCheck(bridges=bridges)) if bridges else []
        source_facts = await look.ask(instance.primary_node, info)
        target_facts = await look.ask(target.uuid, info)
        return Seen(
            here=seen.here,
            there=seen.there,
            source=source_facts,
            target=target_facts,
            missing_bridges=tuple(missing),
        )

    def plan_arrival(self, cluster: Cluster, seen: Seen | Halted | Whereabouts) -> Plan:
        """Open the disks on the target too and make the place ready; all can be undone."""
        if not isinstance(seen, Seen):
            return self._failover.plan(cluster, seen)
        instance = cluster.instance(self.op.instance_name)
        source, target = cluster.nodes[instance.primary_node], target_of(cluster, instance, self.op)
        self._refuse_impossible(cluster, instance, seen)
        refuse_missing_bridges(target, seen.missing_bridges)
        spec = instance_spec(cluster, instance)
        if seen.target is not None:
            memory = fill_be(cluster, instance.beparams)["maxmem"]
            refuse_without_memory(target, seen.target, instance.hypervisor, memory)
        self._refuse_versions(instance, source, target, seen)
        moved = replace(instance, primary_node=target.uuid)
        accept = MigrationAccept(instance=spec, source=source.name, address=target.secondary_ip)
        return Plan(
            (
                *move_policy_notes(cluster, instance, moved, ignore=self.op.ignore_ipolicy),
                Note(f"Migrating instance {instance.name}"),
                Note(f"* preparing {target.name} to accept the instance"),
                *open_both(laid(cluster, instance), source.uuid, target.uuid),
                Undoable(on(target.uuid, accept), undo=on(target.uuid, MigrationCancel(instance=spec))),
            )
        )

    async def take_ticket(self, cluster: Cluster, look: Look) -> MigrationTicket | None:
        """Take what the target said to where the guest is to be sent; None if it has failed over instead."""
        del cluster
        answers = look.answers(MigrationAccept)
        return answers[-1][1] if answers else None

    def plan_move(self, cluster: Cluster, ticket: MigrationTicket | None) -> Plan:
        """Send the guest; from then on it lives on the target, and the source is cleaned up."""
        if ticket is None:
            return Plan()
        instance = cluster.instance(self.op.instance_name)
        source, target = cluster.nodes[instance.primary_node], target_of(cluster, instance, self.op)
        spec = instance_spec(cluster, instance)
        send = MigrationSend(instance=spec, target=target.name, ticket=ticket, live=self._live)
        where = {
            "source": source.uuid,
            "target": target.uuid,
            "hypervisor": instance.hypervisor,
            "name": instance.name,
            "uuid": instance.uuid,
        }
        moved = replace(instance, primary_node=target.uuid)
        known = cluster.put(moved)
        arrived = instance_spec(known, moved)
        disks = at(laid(cluster, instance), target.uuid)
        return Plan(
            (
                Note(f"* migrating instance to {target.name}"),
                Uncertain(on(source.uuid, send), "migration", where),
                Keep((moved,)),
                Note("* cleaning up"),
                Forward(on(target.uuid, MigrationFinish(instance=arrived, arrived=True)), tolerant=True),
                Forward(on(source.uuid, MigrationFinish(instance=spec, arrived=False)), tolerant=True),
                *close_behind(disks, source.uuid, target.uuid),
                *wait_behind(known, disks),
                Note("* done"),
            )
        )

    # Checks

    @property
    def _failover(self) -> FailOver:
        """Give what is done to a guest that does not run, where that is wished."""
        op = self.op
        wish = InstanceFailover(
            instance_name=op.instance_name,
            target_node=op.target_node,
            target_node_uuid=op.target_node_uuid,
            ignore_ipolicy=op.ignore_ipolicy,
            iallocator=op.iallocator,
        )
        return FailOver(wish, self.fresh)

    @property
    def _live(self) -> bool:
        if self.op.mode is not None:
            return self.op.mode == "live"
        return self.op.live is not False

    def _refuse_impossible(self, cluster: Cluster, instance: Instance, seen: Seen) -> None:
        if self.op.mode is not None and self.op.live is not None:
            raise Refused(
                WRONG_INPUT, "OP_INSTANCE_MIGRATE: mode and live are both given; live is the older of the two"
            )
        if not runs(seen.here):
            name = cluster.nodes[instance.primary_node].name
            raise Refused(
                WRONG_STATE, f"{instance.name} does not run on {name}", hint=f"gnt-instance startup {instance.name}"
            )
        if seen.there is not None:
            raise Refused(
                WRONG_STATE,
                f"{instance.name} is on the target too",
                hint="gnt-instance migrate --cleanup finds out where it belongs",
            )

    def _refuse_versions(self, instance: Instance, source: Node, target: Node, seen: Seen) -> None:
        if self.op.ignore_hvversions or seen.source is None or seen.target is None:
            return
        facts = [seen.source.hypervisors.get(instance.hypervisor), seen.target.hypervisors.get(instance.hypervisor)]
        versions = [".".join(map(str, fact.version)) if fact else "" for fact in facts]
        if versions[0] != versions[1]:
            raise Refused(
                ENVIRONMENT,
                f"{instance.hypervisor} is {versions[0]} on {source.name} and {versions[1]} on {target.name}",
                hint="--ignore-hvversions migrates all the same",
            )


@settles("migration")
async def find_migrated(calls: Calls, where: Mapping[str, Any]) -> bool:
    """Ask both nodes where the guest runs; the target's word counts first."""
    find = GuestFind(hypervisor=where["hypervisor"], name=where["name"], uuid=where["uuid"])
    if runs(await calls.call(where["target"], find)):
        return True
    # The source is asked too: while it cannot say whether it still has the guest, nothing is known.
    await calls.call(where["source"], find)
    return False
