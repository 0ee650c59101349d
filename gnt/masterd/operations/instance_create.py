"""Making an instance: check, reserve, make its disks, install, start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_checks import (
    in_whole_extents,
    look_at_adopted,
    look_at_storage,
    look_for_room,
    refuse_without_space,
)
from gnt.masterd.operations.disk_steps import (
    Laid,
    adopt_disks,
    assemble_disks,
    create_disks,
    laid,
    pause_sync,
    release_disks,
    resume_sync,
    wait_for_sync,
    wipe_disks,
)
from gnt.masterd.operations.instance_power import stop_call
from gnt.masterd.operations.instance_steps import (
    bridges_of,
    policy_notes,
    refuse_missing_bridges,
    refuse_without_memory,
)
from gnt.masterd.operations.new_disks import space_needed
from gnt.masterd.operations.new_instance import Made, NewInstance
from gnt.masterd.operations.os_choice import look_at_os
from gnt.masterd.plan import Keep, Note, Plan, Release, Reserve, Step, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.names import check_name
from gnt.model.objects import AdminState, Disk
from gnt.model.params import fill_be
from gnt.model.specs import InstanceSpec, instance_spec
from gnt.opcodes.instance_create import InstanceCreate
from gnt.wire.calls import BridgeCheck, NodeFacts, NodeInfo, OsCreate, OsFacts
from gnt.wire.guest_calls import GuestStart, HypervisorCheck


@dataclass(frozen=True, kw_only=True)
class Room:
    """What was seen: the primary node's guest OS definitions, free memory and missing bridges; space on all nodes.

    `space` by node; `adopted` the sizes (MiB) of the volumes and devices that are to become disks.
    """

    definitions: list[OsFacts] = field(default_factory=list)
    facts: NodeFacts | None = None
    missing_bridges: list[str] = field(default_factory=list)
    space: Mapping[str, NodeFacts] = field(default_factory=dict)
    adopted: Mapping[str, int] = field(default_factory=dict)


@executes(InstanceCreate)
class CreateInstance(Operation[InstanceCreate]):
    """Make an instance. Once its guest OS is installed it stays, even if its first start fails."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the new name and the nodes with their room."""
        name = check_name(self.op.instance_name, "instance")
        nodes = self._new.nodes(cluster)
        uuids = tuple(node.uuid for node in nodes)
        return (
            Locks()
            .exclusive(Level.INSTANCE, name)
            .shared(Level.NODEGROUP, *(node.group for node in nodes))
            .exclusive(Level.NODE, *uuids)
            .exclusive(Level.NODE_RES, *uuids)
        )

    async def observe(self, cluster: Cluster, look: Look) -> Room:
        """Check on the nodes what only they can tell; what is wrong in the opcode is found before."""
        made = self._new.make(cluster, None)
        instance = made.instance
        if self.op.name_check:
            await look.resolve(instance.name)
        spec = instance_spec(made.within(cluster), instance)
        node, template = instance.primary_node, self._new.template(cluster)
        facts = await look.ask(node, NodeInfo(hypervisors={spec.hypervisor: dict(spec.hvparams)}))
        await look.ask(node, HypervisorCheck(hypervisor=spec.hypervisor, parameters=dict(spec.hvparams)))
        await look_at_storage(cluster, look, node, template, made.disks)
        adopted = await look_at_adopted(look, node, template, made.adopted) if made.adopted else {}
        nodes = [each.uuid for each in self._new.nodes(cluster)]
        space = await look_for_room(look, nodes, made.disks) if not made.adopted else {}
        bridges = bridges_of(spec)
        missing = await look.ask(node, BridgeCheck(bridges=bridges)) if bridges else []
        definitions: list[OsFacts] = []
        if not self.op.no_install:
            secret = self.op.osparams_secret or {}
            definitions = await look_at_os(cluster, look, spec, secret, force_variant=self.op.force_variant)
        return Room(definitions=definitions, facts=facts, missing_bridges=missing, space=space, adopted=adopted)

    def plan(self, cluster: Cluster, room: Room) -> Plan:
        """Reserve, make the disks, install; then it exists, and is started if that is wanted."""
        made = self._new.make(cluster, room.adopted)
        made = replace(made, disks=in_whole_extents(cluster, made.disks, room.space))
        instance, disks, nodes = made.instance, made.disks, self._new.nodes(cluster)
        ignored = self.op.snode is not None and len(nodes) == 1
        known = made.within(cluster)
        spec = instance_spec(known, instance, osparams_private=self.op.osparams_secret or {})
        refuse_missing_bridges(nodes[0], room.missing_bridges)
        refuse_without_space(cluster, room.space, space_needed(disks))
        if self._starts and room.facts is not None:
            memory = fill_be(cluster, instance.beparams)["maxmem"]
            refuse_without_memory(nodes[0], room.facts, instance.hypervisor, memory)
        names = [node.name for node in nodes]
        where = laid(known, instance, disks)
        return Plan(
            (
                *((Note(" - WARNING: the template needs no secondary node; it is left out"),) if ignored else ()),
                *policy_notes(known, instance, ignore=self.op.ignore_ipolicy),
                *((Keep((made.settings,)),) if made.settings is not None else ()),
                Reserve((instance, *disks)),
                *self._make(known, made, where),
                *self._fill(known, made, where, spec),
                *self._keep_and_start(known, made, where, spec),
            ),
            result=names,
            dry_result=names,
        )

    @property
    def _new(self) -> NewInstance:
        return NewInstance(self.op, self.fresh)

    @property
    def _starts(self) -> bool:
        return self.op.start and not self.op.no_install

    def _fills(self, cluster: Cluster, made: Made) -> tuple[bool, bool]:
        """Say whether the disks are wiped, and whether a guest OS is installed; what is adopted is left as it is."""
        new = bool(made.disks) and not made.adopted
        return cluster.settings.prealloc_wipe_disks and new, new and not self.op.no_install

    def _assembled(self, cluster: Cluster, made: Made, disks: tuple[Laid, ...]) -> bool:
        """Say whether the disks must be usable before the instance is kept: filled, or a mirror that is to sync."""
        return any(self._fills(cluster, made)) or any(disk.is_mirror for disk in disks)

    def _make(self, cluster: Cluster, made: Made, disks: tuple[Laid, ...]) -> tuple[Step, ...]:
        if not disks:
            return ()
        if made.adopted:
            return (Note("* adopting disks..."), *adopt_disks(disks, made.adopted))
        assembled = assemble_disks(cluster, disks) if self._assembled(cluster, made, disks) else ()
        return (Note("* creating instance disks..."), *create_disks(disks), *assembled)

    def _fill(self, cluster: Cluster, made: Made, disks: tuple[Laid, ...], spec: InstanceSpec) -> tuple[Step, ...]:
        """Wipe the disks where the cluster wants it, and install the guest OS on them."""
        wipes, installs = self._fills(cluster, made)
        wiped = wipe_disks(disks) if wipes else ()
        if not installs:
            return wiped
        debug = self.op.debug_level or 0
        return (
            *wiped,
            Note("* running the instance OS create scripts..."),
            *pause_sync(disks),
            Undoable(on(disks[0].primary, OsCreate(instance=spec, debug_level=debug)), undo=None),
            *resume_sync(disks),
        )

    def _keep_and_start(
        self, cluster: Cluster, made: Made, disks: tuple[Laid, ...], spec: InstanceSpec
    ) -> tuple[Step, ...]:
        """Keep what was made: from here on nothing is thrown away. Mirrors come into step before the guest starts."""
        node = made.instance.primary_node
        real = tuple(_real(disk) for disk in made.disks)
        assembled = self._assembled(cluster, made, disks)
        down = replace(made.instance, forthcoming=False)
        up = replace(down, admin_state=AdminState.UP, disks_active=True)
        waits = wait_for_sync(cluster, disks, once=not self.op.wait_for_sync)
        if not self._starts:
            if not waits:
                return (Keep((down, *real)), *(release_disks(cluster, disks, tolerant=True) if assembled else ()))
            kept = (Keep((replace(down, disks_active=True), *real)), *self._let_others_work, *waits)
            return (*kept, *release_disks(cluster, disks, tolerant=True), Keep((down,)))
        before: tuple[Step, ...] = ()
        if waits:
            before = (Keep((replace(down, disks_active=True), *real)), *self._let_others_work, *waits)
        # The secret parameters were for the scripts only: the running guest's description goes without them.
        guest = replace(spec, osparams_private={})
        return (
            *before,
            Keep((up, *(() if before else real))),
            Note("* starting instance..."),
            *(() if assembled else assemble_disks(cluster, disks)),
            Undoable(on(node, GuestStart(instance=guest)), undo=on(node, stop_call(made.instance, timeout=0))),
        )

    @property
    def _let_others_work(self) -> tuple[Step, ...]:
        """Give the nodes free: the sync may take hours and needs nothing of ours."""
        return (Release((Level.NODE, Level.NODE_RES)),)


def _real(disk: Disk) -> Disk:
    return replace(disk, forthcoming=False, children=tuple(_real(child) for child in disk.children))
