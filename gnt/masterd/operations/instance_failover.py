"""Stopping a guest and starting it where the other copy of its disks is.

Never two writers: a primary node that answers closes the disks before they are opened elsewhere; one that does not must
be flagged offline and be known to be off: it was switched off through us (`powered`), or a person has typed that it is.
`ignore_consistency` is about old data, not about that.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_steps import Laid, assemble_disks, laid, release_disks
from gnt.masterd.operations.instance_power import stop_call
from gnt.masterd.operations.instance_steps import (
    bridges_of,
    is_up,
    locks_of,
    move_policy_notes,
    refuse_missing_bridges,
    refuse_unusable,
    refuse_without_memory,
)
from gnt.masterd.operations.mirror_steps import at
from gnt.masterd.operations.move_cleanup import Whereabouts, look_at_both, plan_cleanup
from gnt.masterd.operations.move_target import target_of
from gnt.masterd.plan import Keep, Note, Plan, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, Refused
from gnt.model.objects import AdminState, Instance, Node
from gnt.model.params import fill_be
from gnt.model.specs import instance_spec
from gnt.opcodes.instance_move import InstanceFailover
from gnt.wire.calls import BridgeCheck, NodeFacts, NodeInfo
from gnt.wire.disk_calls import DiskState, DiskStates
from gnt.wire.guest_calls import GuestFacts, GuestFind, GuestStart, HypervisorCheck


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The guest on both nodes, the target's room and bridges, the mirrors as the target sees them."""

    here: GuestFacts | None
    there: GuestFacts | None
    facts: NodeFacts | None = None
    missing_bridges: tuple[str, ...] = ()
    states: tuple[DiskState, ...] = ()


@executes(InstanceFailover)
class FailOver(Operation[InstanceFailover]):
    """Stop, close, record the new node, open there, start."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance, its nodes and the target."""
        instance = cluster.instance(self.op.instance_name)
        return locks_of(cluster, instance, target_of(cluster, instance, self.op).uuid)

    async def observe(self, cluster: Cluster, look: Look) -> Seen | Whereabouts:
        """Look for the guest on both nodes, and at room and data on the target."""
        instance = cluster.instance(self.op.instance_name)
        source, target = cluster.nodes[instance.primary_node], target_of(cluster, instance, self.op)
        if self.op.cleanup:
            return await look_at_both(look, instance, target)
        self._refuse_unknown_source(source)
        refuse_unusable(target, as_what="target of a failover")
        find = GuestFind(hypervisor=instance.hypervisor, name=instance.name, uuid=instance.uuid)
        here = None if source.offline else await look.ask(source.uuid, find)
        there = await look.ask(target.uuid, find)
        mirrors = [disk.spec for disk in laid(cluster, instance) if disk.is_mirror]
        states = await look.ask(target.uuid, DiskStates(disks=mirrors)) if mirrors and instance.disks_active else []
        seen = Seen(here=here, there=there, states=tuple(states))
        if not self._starts(instance):
            return seen
        spec = instance_spec(cluster, instance)
        parameters = dict(spec.hvparams)
        await look.ask(target.uuid, HypervisorCheck(hypervisor=spec.hypervisor, parameters=parameters))
        bridges = bridges_of(spec)
        missing = await look.ask(target.uuid, BridgeCheck(bridges=bridges)) if bridges else []
        facts = await look.ask(target.uuid, NodeInfo(hypervisors={spec.hypervisor: parameters}))
        return replace(seen, facts=facts, missing_bridges=tuple(missing))

    def plan(self, cluster: Cluster, seen: Seen | Whereabouts) -> Plan:
        """Take the guest from its node, and give it to the other one."""
        instance = cluster.instance(self.op.instance_name)
        target = target_of(cluster, instance, self.op)
        if isinstance(seen, Whereabouts):
            return plan_cleanup(cluster, instance, target, seen)
        source = cluster.nodes[instance.primary_node]
        if is_up(seen.there):
            raise Refused(
                WRONG_STATE,
                f"{instance.name} runs on {target.name} already, as that node says",
                hint="gnt-instance failover --cleanup finds out where it belongs",
            )
        if self._starts(instance):
            refuse_missing_bridges(target, seen.missing_bridges)
            if seen.facts is not None:
                memory = fill_be(cluster, instance.beparams)["maxmem"]
                refuse_without_memory(target, seen.facts, instance.hypervisor, memory)
        notes = self._refuse_old_data(instance, source, target, seen.states)
        starts = self._starts(instance)
        moved = replace(instance, primary_node=target.uuid, disks_active=starts)
        known = cluster.put(moved)
        return Plan(
            (
                Note(f"Failing over instance {instance.name} to {target.name}"),
                *move_policy_notes(cluster, instance, moved, ignore=self.op.ignore_ipolicy),
                *notes,
                *self._leave(cluster, instance, source, seen),
                Keep((moved,)),
                *(self._arrive(known, moved, target) if starts else self._rest(known, moved, source)),
            )
        )

    def _starts(self, instance: Instance) -> bool:
        return instance.admin_state is AdminState.UP

    def _leave(self, cluster: Cluster, instance: Instance, source: Node, seen: Seen) -> tuple[Step, ...]:
        """Stop the guest and close its disks on the node that it leaves."""
        if source.offline:
            return (
                Note(f" - WARNING: {source.name} is offline, and known to be off: nothing is stopped there"),
                *self._note_confirmation(source),
            )
        stop: tuple[Step, ...] = ()
        if seen.here is not None:
            call = stop_call(instance, timeout=self.op.shutdown_timeout)
            again = GuestStart(instance=instance_spec(cluster, instance)) if is_up(seen.here) else None
            stop = (
                Note(f"* shutting down instance on {source.name}"),
                Undoable(on(source.uuid, call), undo=on(source.uuid, again) if again is not None else None),
            )
        closed = tuple(disk.on_primary() for disk in laid(cluster, instance))
        return (*stop, Note(f"* deactivating the instance's disks on {source.name}"), *release_disks(cluster, closed))

    def _arrive(self, cluster: Cluster, instance: Instance, target: Node) -> tuple[Step, ...]:
        start = GuestStart(instance=instance_spec(cluster, instance))
        return (
            Note(f"* activating the instance's disks on {target.name}"),
            *assemble_disks(cluster, laid(cluster, instance), ignore_secondaries=True),
            Note(f"* starting the instance on {target.name}"),
            Undoable(on(target.uuid, start), undo=on(target.uuid, stop_call(instance, timeout=0))),
        )

    def _rest(self, cluster: Cluster, instance: Instance, source: Node) -> tuple[Step, ...]:
        """Close what may be set up still: the instance is not to run."""
        disks: Sequence[Laid] = [disk for disk in laid(cluster, instance) if disk.is_mirror]
        if source.offline:
            disks = at([disk.on_primary() for disk in disks], instance.primary_node)
        return release_disks(cluster, disks, tolerant=True)

    # Checks

    def _refuse_unknown_source(self, source: Node) -> None:
        """Refuse a primary node that is flagged offline, but perhaps runs."""
        if not source.offline or not source.powered:
            return
        wanted = words_of(source)
        if self.op.confirm_off == wanted:
            return
        raise Refused(
            WRONG_STATE,
            f"{source.name} is marked offline, but nobody knows that it is off: if it runs, there are two writers",
            hint=f"switch it off; then say so: --confirm-off={wanted!r}",
        )

    def _note_confirmation(self, source: Node) -> tuple[Note, ...]:
        if not source.powered:
            return (Note(f" - INFO: {source.name} was switched off out of band"),)
        return (Note(f" - WARNING: that {source.name} is off was typed by a person: {self.op.confirm_off!r}"),)

    def _refuse_old_data(
        self, instance: Instance, source: Node, target: Node, states: Sequence[DiskState]
    ) -> tuple[Note, ...]:
        """Refuse a target whose copy is not good, or warn of it."""
        bad = [
            f"disk/{index}"
            for index, state in enumerate(states)
            if state.facts is None or state.facts.local_status != "ok" or (state.facts.degraded and not source.offline)
        ]
        if not bad:
            return ()
        text = f"{', '.join(bad)} of {instance.name} may be out of date on {target.name}"
        if not self.op.ignore_consistency:
            raise Refused(
                WRONG_STATE,
                text,
                hint="wait for the sync, or --ignore-consistency if old data will do",
            )
        return (Note(f" - WARNING: {text}; that is ignored, as wished"),)


def words_of(node: Node) -> str:
    """Give the words with which a person says that a node is off."""
    return f"{node.name} is off"
