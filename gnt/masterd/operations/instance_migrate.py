"""Moving a running guest to another node that reaches its disks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, Stage, executes
from gnt.masterd.operations.disk_steps import Laid, assemble_disks, laid, release_disks
from gnt.masterd.operations.instance_steps import (
    bridges_of,
    refuse_missing_bridges,
    refuse_unusable,
    refuse_without_memory,
)
from gnt.masterd.plan import Forward, Keep, Note, Plan, Step, Uncertain, Undoable, on
from gnt.masterd.settling import Calls, settles
from gnt.model.cluster import Cluster
from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.objects import Instance, Node
from gnt.model.params import fill_be
from gnt.model.specs import instance_spec
from gnt.model.templates import EXTERNALLY_MIRRORED
from gnt.opcodes.instance_move import InstanceMigrate
from gnt.wire.calls import (
    BridgeCheck,
    GuestFacts,
    GuestFind,
    HypervisorCheck,
    MigrationAccept,
    MigrationCancel,
    MigrationFinish,
    MigrationSend,
    MigrationTicket,
    NodeFacts,
    NodeInfo,
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
        """Lock the instance, its node and the target."""
        instance = cluster.instance(self.op.instance_name)
        nodes = (instance.primary_node, self._target(cluster, instance).uuid)
        return (
            Locks()
            .exclusive(Level.INSTANCE, instance.name)
            .exclusive(Level.NODE, *nodes)
            .exclusive(Level.NODE_RES, *nodes)
        )

    def stages(self) -> tuple[Stage, ...]:
        """Prepare first: where to send the guest is the target's answer."""
        if self.op.cleanup:
            return (Stage(self.look_at_both, self.plan_cleanup),)
        return (
            Stage(self.look_at_both, self.plan_arrival),
            Stage(self.take_ticket, self.plan_move, about="send the guest, record where it is, clean up behind it"),
        )

    async def look_at_both(self, cluster: Cluster, look: Look) -> Seen:
        """Look for the guest on both nodes; at room, parameters and bridges on the target."""
        instance = cluster.instance(self.op.instance_name)
        target = self._target(cluster, instance)
        find = GuestFind(hypervisor=instance.hypervisor, name=instance.name, uuid=instance.uuid)
        here = await look.ask(instance.primary_node, find)
        there = await look.ask(target.uuid, find)
        if self.op.cleanup:
            return Seen(here=here, there=there)
        spec = instance_spec(cluster, instance)
        parameters = dict(spec.hvparams)
        info = NodeInfo(hypervisors={spec.hypervisor: parameters})
        await look.ask(target.uuid, HypervisorCheck(hypervisor=spec.hypervisor, parameters=parameters))
        bridges = bridges_of(spec)
        missing = await look.ask(target.uuid, BridgeCheck(bridges=bridges)) if bridges else []
        source_facts = await look.ask(instance.primary_node, info)
        target_facts = await look.ask(target.uuid, info)
        return Seen(
            here=here,
            there=there,
            source=source_facts,
            target=target_facts,
            missing_bridges=tuple(missing),
        )

    def plan_arrival(self, cluster: Cluster, seen: Seen) -> Plan:
        """Make the disks usable on the target and the place ready; both can be undone."""
        instance = cluster.instance(self.op.instance_name)
        source, target = cluster.nodes[instance.primary_node], self._target(cluster, instance)
        self._refuse_impossible(cluster, instance, seen)
        refuse_unusable(target, as_what="target of a migration")
        refuse_missing_bridges(target, seen.missing_bridges)
        spec = instance_spec(cluster, instance)
        if seen.target is not None:
            memory = fill_be(cluster, instance.beparams)["maxmem"]
            refuse_without_memory(target, seen.target, instance.hypervisor, memory)
        self._refuse_versions(instance, source, target, seen)
        accept = MigrationAccept(instance=spec, source=source.name, address=target.secondary_ip)
        return Plan(
            (
                Note(f"Migrating instance {instance.name}"),
                Note(f"* preparing {target.name} to accept the instance"),
                *assemble_disks(cluster, _on(target, cluster, instance)),
                Undoable(on(target.uuid, accept), undo=on(target.uuid, MigrationCancel(instance=spec))),
            )
        )

    async def take_ticket(self, cluster: Cluster, look: Look) -> MigrationTicket:
        """Take what the target said to where the guest is to be sent."""
        del cluster
        return look.answers(MigrationAccept)[-1][1]

    def plan_move(self, cluster: Cluster, ticket: MigrationTicket) -> Plan:
        """Send the guest; from then on it lives on the target, and the source is cleaned up."""
        instance = cluster.instance(self.op.instance_name)
        source, target = cluster.nodes[instance.primary_node], self._target(cluster, instance)
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
        arrived = instance_spec(cluster.put(moved), moved)
        return Plan(
            (
                Note(f"* migrating instance to {target.name}"),
                Uncertain(on(source.uuid, send), "migration", where),
                Keep((moved,)),
                Note("* cleaning up"),
                Forward(on(target.uuid, MigrationFinish(instance=arrived, arrived=True)), tolerant=True),
                Forward(on(source.uuid, MigrationFinish(instance=spec, arrived=False)), tolerant=True),
                *release_disks(cluster, _on(source, cluster, instance), tolerant=True),
                Note("* done"),
            )
        )

    def plan_cleanup(self, cluster: Cluster, seen: Seen) -> Plan:
        """Record where the guest really runs, after a migration that was cut off."""
        instance = cluster.instance(self.op.instance_name)
        source, target = cluster.nodes[instance.primary_node], self._target(cluster, instance)
        if _runs(seen.here) and _runs(seen.there):
            raise Refused(
                WRONG_STATE,
                f"{instance.name} runs on {source.name} and on {target.name}",
                hint="stop the wrong one by hand, then repeat",
            )
        if not _runs(seen.there):
            return Plan((Note(f"{instance.name} stays on {source.name}"), *self._clear(cluster, instance, target)))
        moved = replace(instance, primary_node=target.uuid)
        return Plan(
            (
                Note(f"{instance.name} runs on {target.name}: recorded"),
                Keep((moved,)),
                *self._clear(cluster, instance, source),
            )
        )

    def _clear(self, cluster: Cluster, instance: Instance, node: Node) -> tuple[Step, ...]:
        """Take away what a migration left on the node where the guest is not."""
        spec = instance_spec(cluster, instance)
        gone = Forward(on(node.uuid, MigrationFinish(instance=spec, arrived=False)), tolerant=True)
        return (gone, *release_disks(cluster, _on(node, cluster, instance), tolerant=True))

    # Checks

    @property
    def _live(self) -> bool:
        if self.op.mode is not None:
            return self.op.mode == "live"
        return self.op.live is not False

    def _target(self, cluster: Cluster, instance: Instance) -> Node:
        if self.op.iallocator is not None:
            raise Unsupported(
                "OP_INSTANCE_MIGRATE: iallocator is not supported by this version", hint="name a node: -n"
            )
        template = cluster.disk_template(instance)
        if template not in EXTERNALLY_MIRRORED:
            raise Refused(
                WRONG_STATE,
                f"{instance.name} has disks of template {template}, which only its own node reaches",
                hint="only instances on shared or mirrored storage can be migrated",
            )
        named = self.op.target_node_uuid or self.op.target_node
        if named is None:
            raise Refused(WRONG_INPUT, "OP_INSTANCE_MIGRATE: target_node: no target is given", hint="-n NODE")
        target = cluster.node(named)
        if target.uuid == instance.primary_node:
            raise Refused(WRONG_STATE, f"{instance.name} is on {target.name} already", hint="name another node: -n")
        return target

    def _refuse_impossible(self, cluster: Cluster, instance: Instance, seen: Seen) -> None:
        if self.op.mode is not None and self.op.live is not None:
            raise Refused(
                WRONG_INPUT, "OP_INSTANCE_MIGRATE: mode and live are both given; live is the older of the two"
            )
        if not _runs(seen.here):
            if self.op.allow_failover:
                raise Unsupported("OP_INSTANCE_MIGRATE: allow_failover is not supported by this version")
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


def _on(node: Node, cluster: Cluster, instance: Instance) -> tuple[Laid, ...]:
    return tuple(replace(disk, nodes=(node.uuid,)) for disk in laid(cluster, instance))


def _runs(guest: GuestFacts | None) -> bool:
    return guest is not None and guest.state in {"running", "paused"}


@settles("migration")
async def find_migrated(calls: Calls, where: Mapping[str, Any]) -> bool:
    """Ask both nodes where the guest runs; the target's word counts first."""
    find = GuestFind(hypervisor=where["hypervisor"], name=where["name"], uuid=where["uuid"])
    if _runs(await calls.call(where["target"], find)):
        return True
    # The source is asked too: while it cannot say whether it still has the guest, nothing is known.
    await calls.call(where["source"], find)
    return False
