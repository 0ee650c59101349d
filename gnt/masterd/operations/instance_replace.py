"""Building one side of an instance's mirrors anew, in place or on another node: `spec/storage.md`, section 11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import msgspec
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, Stage, executes
from gnt.masterd.operations.disk_checks import look_for_room, refuse_without_space
from gnt.masterd.operations.disk_steps import assemble_disks, laid, release_disks, wait_for_other_side
from gnt.masterd.operations.instance_steps import locks_of, refuse_offline, refuse_unusable
from gnt.masterd.operations.new_disks import space_needed
from gnt.masterd.operations.numbers import FreeNumbers
from gnt.masterd.operations.replace_steps import (
    Moved,
    leftover_nodes,
    leftovers,
    move_secondary,
    moved,
    remove_leftovers,
    renew_side,
    renewal,
)
from gnt.masterd.plan import Keep, Note, Plan, Release, Step
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.objects import DiskTemplate, Instance, Node
from gnt.model.specs import disk_spec
from gnt.opcodes.instance_disks import InstanceReplaceDisks
from gnt.wire.calls import DiskAssemble, NodeFacts
from gnt.wire.disk_calls import DiskState, DiskStates


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The mirrors as each node sees them, which of their volumes it has (data and metadata each), its free space."""

    states: Mapping[str, Sequence[DiskState]]
    volumes: Mapping[str, Sequence[bool]]
    space: Mapping[str, NodeFacts]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Whose side is renewed, and of which mirrors (indexes)."""

    node: str
    indexes: tuple[int, ...]


@executes(InstanceReplaceDisks)
class ReplaceDisks(Operation[InstanceReplaceDisks]):
    """Activate, replace, wait for the new side, remove what was replaced."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance, its nodes, the new secondary and who has volumes that were replaced, with their room."""
        instance = cluster.instance(self.op.instance_name)
        target = self._target(cluster, instance)
        named = (target.uuid,) if target is not None else ()
        return locks_of(cluster, instance, *named, *leftover_nodes(cluster, instance))

    def stages(self) -> Sequence[Stage]:
        """Activate what is not active; then look and replace; then clean up."""
        return (
            Stage(self.observe, self.plan_activation),
            Stage(self.look, self.plan_replacement, about="replace one side of the mirrors, as their state allows"),
            Stage(self.look_back, self.plan_end, about="wait for the new side, remove the volumes that were replaced"),
        )

    def plan_activation(self, cluster: Cluster, seen: None) -> Plan:
        """Set the mirrors up where they are not."""
        del seen
        instance = cluster.instance(self.op.instance_name)
        self._refuse_impossible(cluster, instance)
        if instance.disks_active:
            return Plan()
        if self.op.mode == "replace_auto":
            raise Refused(
                WRONG_STATE,
                f"The disks of {instance.name} are not active, so nobody knows which are faulty",
                hint=f"gnt-instance activate-disks {instance.name}",
            )
        return Plan(assemble_disks(cluster, laid(cluster, instance), ignore_secondaries=True))

    async def look(self, cluster: Cluster, look: Look) -> Seen:
        """Look at the mirrors and their volumes on both nodes, and at the room of who gets new volumes."""
        instance = cluster.instance(self.op.instance_name)
        disks = cluster.disks_of(instance)
        target = self._target(cluster, instance)
        nodes = [uuid for uuid in laid(cluster, instance)[0].nodes if not cluster.nodes[uuid].offline]
        mirrors = DiskStates(disks=[disk.spec for disk in laid(cluster, instance)])
        parts = DiskStates(disks=[disk_spec(cluster, instance, part, 0) for disk in disks for part in disk.children])
        states = {node: await look.ask(node, mirrors) for node in nodes}
        volumes = {node: [state.facts is not None for state in await look.ask(node, parts)] for node in nodes}
        space = await look_for_room(look, [target.uuid] if target is not None else nodes, disks)
        return Seen(states=states, volumes=volumes, space=space)

    def plan_replacement(self, cluster: Cluster, seen: Seen) -> Plan:
        """Replace; at its end the mirror has its new side, which is not in step yet."""
        instance = cluster.instance(self.op.instance_name)
        disks = cluster.disks_of(instance)
        target = self._target(cluster, instance)
        active = () if instance.disks_active else (Keep((replace(instance, disks_active=True),)),)
        if target is not None:
            mirrors = self._moved(cluster, instance, target, seen)
            known = cluster
            for each in mirrors:
                known = known.put(each.disk)
            primary, secondary = laid(cluster, instance)[0].nodes
            return Plan(
                (
                    Note(f"Replacing the secondary node of instance '{instance.name}': {target.name}"),
                    *move_secondary(cluster, primary, secondary, target.uuid, mirrors),
                    *active,
                    *self._wait(known, instance, early=self._early(cluster, instance)),
                )
            )
        choice = self._choice(cluster, instance, seen)
        if not choice.indexes:
            return Plan((Note(f"No faulty disk of {instance.name}: nothing is replaced"),))
        self._refuse_last_copy(cluster, instance, choice, seen)
        chosen = [disks[index] for index in choice.indexes]
        refuse_without_space(cluster, {choice.node: seen.space[choice.node]}, space_needed(chosen))
        there = seen.volumes[choice.node]
        renewals = [
            renewal(
                cluster,
                instance,
                disks[index],
                node=choice.node,
                there=there[2 * index : 2 * index + 2],
                fresh=self.fresh,
            )
            for index in choice.indexes
        ]
        name = cluster.nodes[choice.node].name
        shown = ", ".join(f"disk/{index}" for index in choice.indexes)
        return Plan(
            (
                Note(f"Replacing {shown} of instance '{instance.name}' on {name}"),
                *renew_side(choice.node, renewals),
                *active,
                *self._wait(cluster, instance, early=self._early(cluster, instance)),
            )
        )

    async def look_back(self, cluster: Cluster, look: Look) -> bool:
        """Say whether the mirrors were activated by the first stage."""
        primary = cluster.instance(self.op.instance_name).primary_node
        return any(node == primary for node, _ in look.answers(DiskAssemble))

    def plan_end(self, cluster: Cluster, activated: bool) -> Plan:
        """Remove the old volumes, and close again what was closed before."""
        instance = cluster.instance(self.op.instance_name)
        disks = laid(cluster, instance)
        removed = remove_leftovers(cluster, instance, cluster.disks_of(instance))
        waited: tuple[Step, ...] = ()
        if self._early(cluster, instance):
            waited = (Release((Level.NODE, Level.NODE_RES)), *wait_for_other_side(cluster, disks))
        if not activated:
            return Plan((*removed, *waited))
        inactive = replace(instance, disks_active=False)
        return Plan((*removed, *waited, *release_disks(cluster, disks, tolerant=True), Keep((inactive,))))

    # What the opcode says

    def _target(self, cluster: Cluster, instance: Instance) -> Node | None:
        """Give the new secondary node; None in the other modes."""
        op = self.op
        if op.iallocator is not None:
            raise Unsupported(
                "OP_INSTANCE_REPLACE_DISKS: iallocator is not supported by this version", hint="name the node: -n"
            )
        named = op.remote_node_uuid or op.remote_node
        if op.mode != "replace_new_secondary":
            if named is not None:
                raise Refused(WRONG_INPUT, "A new secondary node is named, but it is not to be changed", hint="-n only")
            return None
        if named is None:
            raise Refused(WRONG_INPUT, "No new secondary node is named", hint="-n NODE")
        node = cluster.node(named)
        if node.uuid == instance.primary_node:
            raise Refused(WRONG_INPUT, f"{node.name} is the primary node of {instance.name}", hint="name another node")
        if node.uuid in cluster.secondary_uuids(instance):
            raise Refused(
                WRONG_INPUT,
                f"{node.name} is the secondary node of {instance.name} already",
                hint="-s renews its disks in place",
            )
        refuse_unusable(node, as_what="secondary node")
        return node

    def _refuse_impossible(self, cluster: Cluster, instance: Instance) -> None:
        template = cluster.disk_template(instance)
        if template is not DiskTemplate.DRBD:
            raise Refused(WRONG_INPUT, f"{instance.name} has disks of template {template}: only mirrors are replaced")
        op = self.op
        count = len(instance.disks)
        for index in op.disks:
            if index >= count:
                raise Refused(WRONG_INPUT, f"{instance.name} has no disk {index}", hint=f"it has {count}")
        if op.disks and op.mode == "replace_auto":
            raise Refused(WRONG_INPUT, "Disks are named, but the faulty ones are to be found", hint="leave --disks out")
        if op.disks and op.mode == "replace_new_secondary" and set(op.disks) != set(range(count)):
            raise Refused(WRONG_INPUT, "All disks move to a new secondary node", hint="leave --disks out")
        refuse_offline(cluster.nodes[instance.primary_node])
        if op.mode != "replace_new_secondary":
            for uuid in cluster.secondary_uuids(instance):
                _refuse_offline_secondary(cluster.nodes[uuid])

    def _choice(self, cluster: Cluster, instance: Instance, seen: Seen) -> Choice:
        primary, secondary = laid(cluster, instance)[0].nodes
        every = tuple(range(len(instance.disks)))
        if self.op.mode != "replace_auto":
            node = primary if self.op.mode == "replace_on_primary" else secondary
            return Choice(node=node, indexes=tuple(sorted(set(self.op.disks))) or every)
        faulty = {
            node: tuple(index for index in every if _is_faulty(seen.states[node][index]))
            for node in (primary, secondary)
        }
        if faulty[primary] and faulty[secondary]:
            raise Refused(
                WRONG_STATE,
                f"{instance.name} has faulty disks on both nodes",
                hint="-p and -s with --disks replace one side of one disk",
            )
        node = primary if faulty[primary] else secondary
        return Choice(node=node, indexes=faulty[node])

    def _refuse_last_copy(self, cluster: Cluster, instance: Instance, choice: Choice, seen: Seen) -> None:
        """Refuse to take a side away while the other one is not good."""
        (other,) = (node for node in laid(cluster, instance)[0].nodes if node != choice.node)
        for index in choice.indexes:
            facts = seen.states[other][index].facts
            if facts is None or facts.degraded or facts.local_status != "ok":
                _refuse_bad_copy(cluster, instance, index, other)

    def _moved(self, cluster: Cluster, instance: Instance, target: Node, seen: Seen) -> list[Moved]:
        primary = instance.primary_node
        for index, state in enumerate(seen.states[primary]):
            if state.facts is None or state.facts.local_status != "ok":
                _refuse_bad_copy(cluster, instance, index, primary)
        disks = cluster.disks_of(instance)
        refuse_without_space(cluster, seen.space, space_needed(disks))
        numbers = FreeNumbers(cluster)
        return [moved(cluster, instance, disk, target.uuid, numbers) for disk in disks]

    def _early(self, cluster: Cluster, instance: Instance) -> bool:
        """Say whether the old volumes go before the new side is in step: if asked for, or if their node is away."""
        old = [node for disk in cluster.disks_of(instance) for left in leftovers(cluster, disk) for node in left.nodes]
        nodes = [cluster.nodes[uuid] for uuid in (*cluster.secondary_uuids(instance), *old) if uuid in cluster.nodes]
        return self.op.early_release or any(node.offline for node in nodes)

    def _wait(self, cluster: Cluster, instance: Instance, *, early: bool) -> tuple[Step, ...]:
        """Wait for the new side while others may use the nodes; what was replaced is kept until then."""
        if early:
            return ()
        return (Release((Level.NODE,)), *wait_for_other_side(cluster, laid(cluster, instance)))


def _is_faulty(state: DiskState) -> bool:
    return state.facts is None or state.facts.local_status == "faulty"


def _refuse_bad_copy(cluster: Cluster, instance: Instance, index: int, node: str) -> NoReturn:
    raise Refused(
        WRONG_STATE,
        f"disk/{index} of {instance.name} is not good on {cluster.nodes[node].name}, which would be the only copy",
        hint="wait until it is in step: gnt-instance activate-disks --wait-for-sync",
    )


def _refuse_offline_secondary(node: Node) -> None:
    if node.offline:
        raise Refused(
            WRONG_STATE,
            f"the secondary node {node.name} is marked offline",
            hint="-n NODE moves the mirrors to another one",
        )
