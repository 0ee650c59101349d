"""Changing an instance: its parameters, disks, interfaces, the template of its disks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.convert_steps import by_copy, from_mirror, to_mirror
from gnt.masterd.operations.disk_changes import DiskChanges, disk_changes
from gnt.masterd.operations.disk_checks import (
    check_secondary,
    in_whole_extents,
    look_at_storage,
    look_for_room,
    refuse_template,
    refuse_without_space,
)
from gnt.masterd.operations.disk_steps import (
    assemble_disks,
    create_disks,
    laid,
    release_disks,
    remove_disks,
    wait_for_sync,
    wipe_disks,
    without_undo,
)
from gnt.masterd.operations.hotplug import exchange_nics, plug_disks, unplug_disks, why_not_plugged
from gnt.masterd.operations.instance_settings import Settings
from gnt.masterd.operations.instance_steps import (
    is_up,
    locks_of,
    nodes_of,
    policy_notes,
    refuse_offline,
    refuse_running,
)
from gnt.masterd.operations.new_disks import Lie, NewDisks, needs_secondary, space_needed
from gnt.masterd.operations.numbers import FreeNumbers
from gnt.masterd.operations.replace_steps import leftover_nodes, refuse_unsynced, remove_leftovers
from gnt.masterd.plan import Forget, Keep, Note, Plan, Reserve, Step
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.objects import ClusterSettings, Disk, DiskTemplate, Instance
from gnt.model.templates import NOT_CONVERTED_FROM, NOT_CONVERTED_TO
from gnt.opcodes.devices import as_changes
from gnt.opcodes.instance_modify import InstanceSetParams
from gnt.wire.calls import NodeFacts
from gnt.wire.guest_calls import GuestFacts

NOT_LOOKED: Final[Mapping[str, NodeFacts]] = {}


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The guest, what is free on the nodes that get new disks, and whether the guest's devices change while it runs."""

    guest: GuestFacts | None
    space: Mapping[str, NodeFacts]
    plugs: bool = False


@executes(InstanceSetParams)
class ModifyInstance(Operation[InstanceSetParams]):
    """Change what is recorded; disks are made, removed and converted on the nodes."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance and its nodes; if disks change their room too, and where volumes were replaced."""
        instance = cluster.instance(self.op.instance_name)
        more = [self.op.remote_node_uuid or self.op.remote_node] if self._converts else []
        nodes = [cluster.node(name).uuid for name in more if name is not None]
        room = self._converts or bool(self.op.disks)
        if room:
            nodes += leftover_nodes(cluster, instance)
        group = cluster.nodes[instance.primary_node].group
        return locks_of(cluster, instance, *nodes, room=room).shared(Level.NODEGROUP, group)

    async def observe(self, cluster: Cluster, look: Look) -> Seen:
        """Look whether the guest runs, and whether there is room for new disks."""
        instance = cluster.instance(self.op.instance_name)
        self._refuse_impossible(cluster, instance)
        settings = Settings(self.op, self.fresh)
        changed = settings.changed(cluster, instance)
        primary = cluster.nodes[instance.primary_node]
        kinds: set[str] = set()
        if self._converts:
            new, _ = self._converted(cluster, instance)
        else:
            changes = self._changes(cluster, instance)
            new = changes.new
            kinds = self._plugged_kinds(cluster, instance, changed, changes)
        space: Mapping[str, NodeFacts] = {}
        if self._converts or self.op.disks:
            refuse_offline(primary)
        if new:
            for uuid in cluster.secondary_uuids(instance):
                refuse_offline(cluster.nodes[uuid], "secondary node")
            nodes = dict.fromkeys((instance.primary_node, *(node for disk in new for node in disk.nodes)))
            space = await look_for_room(look, list(nodes), new)
            await look_at_storage(cluster, look, primary.uuid, new[0].dev_type, new)
        if not primary.offline:
            guest = await look.guest(instance)
            plugs = is_up(guest) and await self._can_plug(cluster, look, instance, kinds)
            return Seen(guest=guest, space=space, plugs=plugs)
        return Seen(guest=None, space=space)

    def plan(self, cluster: Cluster, seen: Seen) -> Plan:
        """Give the steps, and what was changed as pairs."""
        instance = cluster.instance(self.op.instance_name)
        settings = Settings(self.op, self.fresh)
        changed = settings.changed(cluster, instance)
        settings.refuse_running(instance, seen.guest)
        notes = self._at_next_start(instance, changed, seen)
        known = cluster.put(changed)
        if self._converts:
            steps = self._convert(known, changed, seen)
            said = [*settings.said, ("disk_template", self.op.disk_template)]
            return Plan((*steps, *notes), result=said)
        changes = self._changes(known, changed, seen.space)
        policy: tuple[Note, ...] = ()
        if self.op.disks or self.op.nics or self.op.beparams:
            after = self._after(known, changed, changes)
            policy = policy_notes(after, after.instances[changed.uuid], ignore=self.op.ignore_ipolicy, before=cluster)
        nics = exchange_nics(cluster, instance, known, changed)[0] if seen.plugs else ()
        if self.op.disks:
            # What else changes is recorded with the disks, in one: it is either all so, or nothing is.
            steps = self._disks(known, changed, changes, seen, nics)
        else:
            steps = (*nics, *((Keep((changed,)),) if changed != instance else ()))
        return Plan((*policy, *steps, *notes), result=[*settings.said, *changes.said])

    # Disks

    @property
    def _converts(self) -> bool:
        return self.op.disk_template is not None

    def _changes(
        self, cluster: Cluster, instance: Instance, space: Mapping[str, NodeFacts] = NOT_LOOKED
    ) -> DiskChanges:
        template = cluster.disk_template(instance)
        wanted = next(
            (change.params.get("dev_type") for change in as_changes(self.op.disks) if change.params.get("dev_type")),
            None,
        )
        if wanted is not None and template not in {wanted, DiskTemplate.DISKLESS}:
            raise Unsupported(f"disks: an instance with disks of several templates ({template}, {wanted})")
        if template is DiskTemplate.DISKLESS and self.op.disks:
            template = DiskTemplate(wanted or cluster.settings.enabled_disk_templates[0])
            refuse_template(cluster, template)
            if needs_secondary(template):
                raise Refused(WRONG_INPUT, f"{instance.name} has no disks", hint="add plain ones, then modify -t drbd")
        nodes = nodes_of(cluster, instance)
        lie = self._lie(template, instance, nodes)
        changes = disk_changes(cluster, instance, as_changes(self.op.disks), self.fresh, lie)
        new = {disk.uuid: disk for disk in in_whole_extents(cluster, changes.new, space)}
        disks = tuple(new.get(disk.uuid, disk) for disk in changes.disks)
        return replace(changes, new=tuple(new.values()), disks=disks)

    def _lie(self, template: DiskTemplate, instance: Instance, nodes: tuple[str, ...]) -> Lie:
        driver, directory = self.op.file_driver, self.op.file_storage_dir
        return Lie(template=template, instance_name=instance.name, nodes=nodes, driver=driver, subdirectory=directory)

    def _after(self, cluster: Cluster, instance: Instance, changes: DiskChanges) -> Cluster:
        for disk in changes.disks:
            cluster = cluster.put(disk)
        return cluster.put(replace(instance, disks=tuple(disk.uuid for disk in changes.disks)))

    def _disks(
        self, cluster: Cluster, instance: Instance, changes: DiskChanges, seen: Seen, nics: tuple[Step, ...]
    ) -> tuple[Step, ...]:
        """Give the steps of disks, and among them those that give a running guest its other interfaces."""
        gone = (*changes.removed, *changes.detached)
        if gone and not seen.plugs:
            refuse_running(instance, seen.guest, "its disks are in use")
        refuse_without_space(cluster, seen.space, space_needed(changes.new))
        after = replace(instance, disks=tuple(disk.uuid for disk in changes.disks))
        known = self._after(cluster, instance, changes)
        before = laid(cluster, instance, gone)
        new = laid(known, after, changes.new)
        wipes, active = cluster.settings.prealloc_wipe_disks and bool(new), instance.disks_active
        waits = wait_for_sync(known, new, once=not self.op.wait_for_sync)
        opened = bool(new) and (active or wipes or bool(waits) or seen.plugs)
        added = laid(known, after, changes.attached) if active else ()
        loose = tuple(replace(disk, iv_name="") for disk in gone)
        kept = tuple(_real(disk) for disk in changes.disks)
        return (
            *((Keep((changes.settings,)),) if changes.settings is not None else ()),
            *((Reserve(changes.new),) if new else ()),
            *create_disks(new),
            *(assemble_disks(known, new) if opened else ()),
            *(wipe_disks(new) if wipes else ()),
            *assemble_disks(known, added),
            *nics,
            *(plug_disks(known, after, (*changes.new, *changes.attached)) if seen.plugs else ()),
            *(unplug_disks(cluster, instance, gone) if seen.plugs else ()),
            Keep((after, *kept, *loose)),
            *(waits if opened else ()),
            *(release_disks(known, new, tolerant=True) if opened and not active and not seen.plugs else ()),
            *release_disks(cluster, before, tolerant=bool(changes.detached)),
            *remove_disks(cluster, laid(cluster, instance, changes.removed)),
            *remove_leftovers(cluster, instance, changes.removed),
            *((Forget(changes.removed),) if changes.removed else ()),
            *(self._renumbered(cluster, known, after, changes) if active else ()),
        )

    def _renumbered(
        self, before: Cluster, cluster: Cluster, instance: Instance, changes: DiskChanges
    ) -> tuple[Step, ...]:
        """Disks that have another place in the list are known on their nodes under that."""
        places = {disk.uuid: disk.iv_name for disk in before.disks.values()}
        moved = [disk for disk in changes.disks if places.get(disk.uuid, disk.iv_name) not in {disk.iv_name, ""}]
        return without_undo(assemble_disks(cluster, laid(cluster, instance, moved), ignore_secondaries=True))

    def _at_next_start(self, instance: Instance, changed: Instance, seen: Seen) -> tuple[Note, ...]:
        settings = replace(changed, nics=instance.nics) != instance
        devices = bool(self.op.disks) or changed.nics != instance.nics
        modes = any("mode" in change.params for change in as_changes(self.op.disks) if change.action == "modify")
        if not is_up(seen.guest) or not (settings or modes or (devices and not seen.plugs)):
            return ()
        return (Note(" - INFO: the guest is running: what it sees changes at its next start"),)

    # Devices of the running guest

    def _plugged_kinds(self, cluster: Cluster, instance: Instance, changed: Instance, changes: DiskChanges) -> set[str]:
        """Say which kinds of devices the guest gets or loses: `disk`, `nic`."""
        kinds = set()
        if changes.new or changes.attached or changes.removed or changes.detached:
            kinds.add("disk")
        if exchange_nics(cluster, instance, cluster.put(changed), changed)[0]:
            kinds.add("nic")
        return kinds

    async def _can_plug(self, cluster: Cluster, look: Look, instance: Instance, kinds: set[str]) -> bool:
        if not self.op.hotplug or not kinds:
            return False
        failure = await why_not_plugged(look, cluster, instance, kinds)
        if failure is None:
            return True
        if not self.op.force:
            raise Refused(WRONG_STATE, failure.text, hint=failure.hint or "--no-hotplug: seen at the next start")
        look.note(f" - WARNING: {failure.text}")
        return False

    # Another template

    def _refuse_impossible(self, cluster: Cluster, instance: Instance) -> None:
        op = self.op
        if op.iallocator is not None:
            raise Unsupported("OP_INSTANCE_SET_PARAMS: iallocator is not supported by this version", hint="-n NODE")
        if self._converts and op.disks:
            raise Refused(WRONG_INPUT, "Disks are changed and converted at once", hint="one after the other")
        if not self._converts:
            for what in ("remote_node", "remote_node_uuid"):
                if getattr(op, what) is not None:
                    raise Refused(WRONG_INPUT, "A secondary node is only named to convert to mirrors", hint="-t drbd")
        named = (op.nics, op.disks, op.beparams, op.hvparams, op.osparams, op.osparams_private)
        single = (op.disk_template, op.pnode, op.pnode_uuid, op.os_name, op.offline, op.runtime_mem)
        if not any(named) and all(value is None for value in (*single, op.instance_communication)):
            raise Refused(WRONG_INPUT, f"{instance.name}: nothing is to be changed", hint="gnt-instance modify --help")
        del cluster

    def _converted(self, cluster: Cluster, instance: Instance) -> tuple[tuple[Disk, ...], ClusterSettings | None]:
        """Give the new disks, and the settings that note their numbers; of a mirror's data that is kept, none."""
        old, target = cluster.disk_template(instance), DiskTemplate(str(self.op.disk_template))
        refuse_template(cluster, target)
        if target in NOT_CONVERTED_TO or old in NOT_CONVERTED_FROM or old is DiskTemplate.MIXED:
            raise Refused(WRONG_INPUT, f"Disks of template {old} cannot be converted to {target}")
        if old is target and target is not DiskTemplate.EXT:
            raise Refused(WRONG_INPUT, f"{instance.name} has disks of template {target} already")
        if old is DiskTemplate.DRBD:
            refuse_unsynced(cluster, instance)
        secondary = self._secondary(cluster, instance, target)
        if (old, target) == (DiskTemplate.DRBD, DiskTemplate.PLAIN):
            return (), None
        nodes = (instance.primary_node, secondary) if secondary is not None else (instance.primary_node,)
        lie = self._lie(target, instance, nodes)
        numbers = FreeNumbers(cluster)
        maker = NewDisks(cluster, self.fresh, numbers, lie)
        params = dict(self.op.ext_params) if target is DiskTemplate.EXT else {}
        new = tuple(
            maker.like(disk, index, params, group=_group_of(disk))
            for index, disk in enumerate(cluster.disks_of(instance))
        )
        return new, numbers.settings()

    def _secondary(self, cluster: Cluster, instance: Instance, target: DiskTemplate) -> str | None:
        named = self.op.remote_node_uuid or self.op.remote_node
        primary = cluster.nodes[instance.primary_node]
        if named is not None and not needs_secondary(target):
            raise Refused(WRONG_INPUT, f"Disks of template {target} have no secondary node", hint="leave -n out")
        node = check_secondary(cluster, target, primary, named)
        return node.uuid if node is not None else None

    def _convert(self, cluster: Cluster, instance: Instance, seen: Seen) -> tuple[Step, ...]:
        refuse_running(instance, seen.guest, "its disks cannot be converted")
        if instance.disks_active:
            raise Refused(
                WRONG_STATE,
                f"The disks of {instance.name} are active",
                hint=f"gnt-instance deactivate-disks {instance.name}",
            )
        new, settings = self._converted(cluster, instance)
        new = in_whole_extents(cluster, new, seen.space)
        old, target = cluster.disk_template(instance), self.op.disk_template
        noted = (Keep((settings,)),) if settings is not None else ()
        head = Note(f"Converting disk template from '{old}' to '{target}'")
        if not new:
            return (head, *from_mirror(cluster, instance))
        in_place = (old, target) == (DiskTemplate.PLAIN, DiskTemplate.DRBD)
        self._refuse_without_room(cluster, instance, new, seen, in_place=in_place)
        known = cluster
        for disk in new:
            known = known.put(disk)
        known = known.put(replace(instance, disks=tuple(disk.uuid for disk in new)))
        policy = policy_notes(known, known.instances[instance.uuid], ignore=self.op.ignore_ipolicy, before=cluster)
        convert = to_mirror if in_place else by_copy
        return (head, *policy, *noted, *convert(cluster, instance, new, once=not self.op.wait_for_sync))

    def _refuse_without_room(
        self, cluster: Cluster, instance: Instance, new: tuple[Disk, ...], seen: Seen, *, in_place: bool
    ) -> None:
        needed = space_needed(new)
        here = {node: facts for node, facts in seen.space.items() if node == instance.primary_node}
        there = {node: facts for node, facts in seen.space.items() if node != instance.primary_node}
        refuse_without_space(cluster, there, needed)
        refuse_without_space(cluster, here, space_needed([disk.children[1] for disk in new]) if in_place else needed)


def _group_of(disk: Disk) -> str | None:
    """Give the volume group of a disk's data, if it lies in one."""
    data = disk.children[0] if disk.children else disk
    return str(data.logical_id[0]) if data.dev_type in {"plain", "thin"} else None


def _real(disk: Disk) -> Disk:
    return replace(disk, forthcoming=False, children=tuple(replace(c, forthcoming=False) for c in disk.children))
