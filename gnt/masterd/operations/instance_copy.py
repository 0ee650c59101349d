"""Copying an instance's disks to another node and running it there: gnt-instance move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, Operation, Stage, executes
from gnt.masterd.operations.disk_checks import (
    in_whole_extents,
    look_at_storage,
    look_for_room,
    refuse_without_space,
)
from gnt.masterd.operations.disk_steps import (
    assemble_disks,
    create_disks,
    laid,
    release_disks,
    remove_disks,
    wipe_disks,
)
from gnt.masterd.operations.instance_power import stop_call
from gnt.masterd.operations.instance_steps import (
    bridges_of,
    is_up,
    locks_of,
    move_policy_notes,
    refuse_missing_bridges,
    refuse_offline,
    refuse_unusable,
    refuse_without_memory,
)
from gnt.masterd.operations.new_disks import space_needed
from gnt.masterd.plan import Keep, Note, Plan, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, Refused, Unsupported
from gnt.model.objects import AdminState, Disk, Instance, Node
from gnt.model.params import fill_be
from gnt.model.specs import instance_spec
from gnt.model.templates import COPYABLE
from gnt.opcodes.instance_move import InstanceMove
from gnt.wire.calls import BridgeCheck, NodeFacts, NodeInfo
from gnt.wire.disk_calls import DiskOffer, DiskPull
from gnt.wire.guest_calls import GuestFacts, GuestStart, HypervisorCheck


class Tickets(msgspec.Struct, frozen=True, kw_only=True):
    """How each disk is fetched, in order, and the target's room."""

    tickets: Sequence[dict[str, Any]]
    space: Mapping[str, NodeFacts]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The guest where it is, and the target's memory, bridges and space."""

    guest: GuestFacts | None
    facts: NodeFacts
    missing_bridges: tuple[str, ...]
    space: Mapping[str, NodeFacts]


@executes(InstanceMove)
class MoveInstance(Operation[InstanceMove]):
    """Make the disks there, stop the guest, copy, record the new node, remove the disks here, start there."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance, its node and the target, with their room."""
        instance = cluster.instance(self.op.instance_name)
        return locks_of(cluster, instance, self._target(cluster, instance).uuid)

    def stages(self) -> Sequence[Stage]:
        """Offer the disks first: how they are fetched is the answer of their node."""
        return (
            Stage(self.observe, self.plan_offers),
            Stage(self.take_tickets, self.plan_copy, about="copy the disks, record the new node, clean up behind it"),
        )

    async def observe(self, cluster: Cluster, look: Look) -> Seen:
        """Look at the guest, and at the target's room, directories and bridges."""
        instance = cluster.instance(self.op.instance_name)
        target, disks = self._target(cluster, instance), cluster.disks_of(instance)
        refuse_offline(cluster.nodes[instance.primary_node])
        refuse_unusable(target, as_what="target of a move")
        spec = instance_spec(cluster, instance)
        parameters = dict(spec.hvparams)
        await look.ask(target.uuid, HypervisorCheck(hypervisor=spec.hypervisor, parameters=parameters))
        facts = await look.ask(target.uuid, NodeInfo(hypervisors={spec.hypervisor: parameters}))
        await look_at_storage(cluster, look, target.uuid, cluster.disk_template(instance), disks)
        space = await look_for_room(look, [target.uuid], disks)
        bridges = bridges_of(spec)
        missing = await look.ask(target.uuid, BridgeCheck(bridges=bridges)) if bridges else []
        guest = await look.guest(instance)
        return Seen(guest=guest, facts=facts, missing_bridges=tuple(missing), space=space)

    def plan_offers(self, cluster: Cluster, seen: Seen) -> Plan:
        """Make the disks on the target, stop the guest, and offer its disks; all can be undone."""
        instance = cluster.instance(self.op.instance_name)
        source, target = cluster.nodes[instance.primary_node], self._target(cluster, instance)
        if _starts(instance):
            refuse_missing_bridges(target, seen.missing_bridges)
            memory = fill_be(cluster, instance.beparams)["maxmem"]
            refuse_without_memory(target, seen.facts, instance.hypervisor, memory)
        moved = replace(instance, primary_node=target.uuid)
        disks = _moved(cluster, instance, target, seen.space)
        refuse_without_space(cluster, seen.space, space_needed(disks))
        here, there = laid(cluster, instance), laid(cluster, moved, disks)
        offers = tuple(
            Undoable(
                on(source.uuid, DiskOffer(disk=disk.spec, reader=target.uuid, address=source.secondary_ip)), undo=None
            )
            for disk in here
        )
        return Plan(
            (
                *move_policy_notes(cluster, instance, moved, ignore=self.op.ignore_ipolicy),
                Note(f"Moving instance {instance.name} to {target.name}"),
                Note("* creating the disks there"),
                *create_disks(there),
                *self._stop(cluster, instance, seen.guest),
                *(() if instance.disks_active else assemble_disks(cluster, here)),
                *assemble_disks(cluster, there),
                *offers,
            )
        )

    async def take_tickets(self, cluster: Cluster, look: Look) -> Tickets:
        """Take what the source said about fetching each disk, in order; what the volumes are there is asked again."""
        instance = cluster.instance(self.op.instance_name)
        target = self._target(cluster, instance)
        space = await look_for_room(look, [target.uuid], cluster.disks_of(instance))
        return Tickets(tickets=[ticket for _, ticket in look.answers(DiskOffer)], space=space)

    def plan_copy(self, cluster: Cluster, tickets: Tickets) -> Plan:
        """Copy; from then on the instance lives on the target, and its disks here are removed."""
        instance = cluster.instance(self.op.instance_name)
        target = self._target(cluster, instance)
        here = laid(cluster, instance)
        starts = _starts(instance)
        moved = replace(instance, primary_node=target.uuid, disks_active=starts)
        disks = _moved(cluster, instance, target, tickets.space)
        known = cluster.put(moved)
        for disk in disks:
            known = known.put(disk)
        there = laid(known, moved)
        copies: list[Step] = []
        for old, new, ticket in zip(here, there, tickets.tickets, strict=True):
            pull = DiskPull(source=old.spec, disk=new.spec, ticket=ticket)
            copies += [Note(f"* copying disk/{old.spec.index}"), Undoable(on(target.uuid, pull), undo=None)]
            if cluster.settings.prealloc_wipe_disks and new.spec.size > old.spec.size:
                copies += wipe_disks([new], [old.spec.size])
        start = GuestStart(instance=instance_spec(known, moved))
        return Plan(
            (
                *copies,
                Keep((moved, *disks)),
                Note("* removing the disks on the original node"),
                *release_disks(cluster, here, tolerant=True),
                *remove_disks(cluster, here, until_done=True),
                *(() if starts else release_disks(known, there, tolerant=True)),
                # A milestone: what follows can be undone by itself.
                Keep((moved,)),
                *(
                    (
                        Note(f"* starting the instance on {target.name}"),
                        Undoable(on(target.uuid, start), undo=on(target.uuid, stop_call(instance, timeout=0))),
                    )
                    if starts
                    else ()
                ),
            )
        )

    def _stop(self, cluster: Cluster, instance: Instance, guest: GuestFacts | None) -> tuple[Step, ...]:
        if guest is None:
            return ()
        stop = stop_call(instance, timeout=self.op.shutdown_timeout)
        again = GuestStart(instance=instance_spec(cluster, instance)) if is_up(guest) else None
        node = instance.primary_node
        undo = on(node, again) if again is not None else None
        return (Note("* shutting the instance down"), Undoable(on(node, stop), undo, self.op.ignore_consistency))

    def _target(self, cluster: Cluster, instance: Instance) -> Node:
        op = self.op
        if op.compress != "none":
            raise Unsupported(f"OP_INSTANCE_MOVE: compress {op.compress} is not supported by this version")
        template = cluster.disk_template(instance)
        if template not in COPYABLE:
            raise Refused(
                WRONG_STATE,
                f"{instance.name} has disks of template {template}, which are not copied",
                hint="gnt-instance migrate or failover: another node reaches them already",
            )
        target = cluster.node(op.target_node_uuid or op.target_node)
        if target.uuid == instance.primary_node:
            raise Refused(WRONG_STATE, f"{instance.name} is on {target.name} already", hint="name another node: -n")
        return target


def _starts(instance: Instance) -> bool:
    return instance.admin_state is AdminState.UP


def _moved(cluster: Cluster, instance: Instance, target: Node, space: Mapping[str, NodeFacts]) -> tuple[Disk, ...]:
    """Give the disks as they will be on the target, whose volume groups may have larger extents."""
    disks = (replace(disk, nodes=(target.uuid,)) for disk in cluster.disks_of(instance))
    return in_whole_extents(cluster, tuple(disks), space)
