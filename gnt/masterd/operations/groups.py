"""Node groups: made, changed, renamed, removed, and nodes moved into them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Operation, executes
from gnt.masterd.plan import Forget, Keep, Note, Plan, Step
from gnt.model.checks import needs_of, policy_violations
from gnt.model.cluster import Cluster
from gnt.model.errors import ALREADY_EXISTS, WRONG_INPUT, WRONG_STATE, Failed, Refused, Unsupported
from gnt.model.names import check_name
from gnt.model.objects import AllocPolicy, NodeGroup
from gnt.model.params import Level as ParamLevel
from gnt.model.params import check_disk, check_nd, disk_problems, fill_disk
from gnt.model.policy import check_ipolicy, fill_ipolicy
from gnt.opcodes.group import GroupAdd, GroupAssignNodes, GroupRemove, GroupRename, GroupSetParams

_PARAMETERS = ("alloc_policy", "ndparams", "diskparams", "ipolicy", "hv_state", "disk_state")


def _refuse_taken(cluster: Cluster, name: str) -> str:
    """Give the name, unless another group has it."""
    checked = check_name(name, "group")
    if cluster.groups.by_name(checked) is not None:
        raise Refused(ALREADY_EXISTS, f"Node group {checked} is already in the cluster", hint="choose another name")
    return checked


def _changed(cluster: Cluster, group: NodeGroup, op: GroupAdd | GroupSetParams) -> NodeGroup:
    """Give the group with what the opcode says; all values checked."""
    for name in ("hv_state", "disk_state"):
        if getattr(op, name):
            raise Unsupported(f"{op.op_id()}: {name} is not supported by this version")
    if op.alloc_policy is not None:
        group = replace(group, alloc_policy=AllocPolicy(op.alloc_policy))
    if op.ndparams is not None:
        group = replace(group, ndparams=check_nd(op.ndparams, group.ndparams, level=ParamLevel.GROUP))
    if op.diskparams is not None:
        disks = dict(group.diskparams)
        for template, params in op.diskparams.items():
            disks[template] = check_disk(template, params, disks.get(template))
            problems = disk_problems(template, fill_disk(cluster, None, template, disks[template]))
            if problems:
                raise Refused(WRONG_INPUT, problems[0], hint="the cluster's own parameters count too")
        group = replace(group, diskparams={template: params for template, params in disks.items() if params})
    if op.ipolicy is not None:
        policy = check_ipolicy(op.ipolicy, group.ipolicy, level=ParamLevel.GROUP)
        if "std" in policy:
            raise Refused(WRONG_INPUT, f"{op.op_id()}: ipolicy: std is the cluster's, a group has none of its own")
        group = replace(group, ipolicy=policy)
        # What the group overrides has to fit what it does not.
        check_ipolicy(fill_ipolicy(cluster, group))
    return group


@executes(GroupAdd)
class AddGroup(Operation[GroupAdd]):
    """Record a new group without nodes."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep others from making one of the same name meanwhile."""
        _refuse_taken(cluster, self.op.group_name)
        return Locks().every(Level.NODEGROUP, exclusive=True)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record it."""
        del seen
        name = _refuse_taken(cluster, self.op.group_name)
        group = _changed(cluster, NodeGroup(uuid=self.fresh.uuid(), name=name), self.op)
        return Plan((Keep((group,)),))


@executes(GroupSetParams)
class ModifyGroup(Operation[GroupSetParams]):
    """Change a group's parameters; what is left out stays."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the group, and keep the instances in it as they are."""
        group = cluster.group(self.op.group_name)
        instances = [one.name for node in cluster.members(group) for one in cluster.instances_on(node.uuid)]
        return Locks().shared(Level.INSTANCE, *instances).exclusive(Level.NODEGROUP, group.uuid)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record it; instances that a new policy would not allow are told."""
        del seen
        op, group = self.op, cluster.group(self.op.group_name)
        if all(getattr(op, name) is None for name in _PARAMETERS):
            raise Refused(WRONG_INPUT, "Please pass at least one modification")
        made = _changed(cluster, group, op)
        result = [[name, _told(made, name)] for name in _PARAMETERS[:4] if getattr(op, name) is not None]
        if made == group:
            return Plan(result=result, dry_result=result)
        steps: list[Step] = [Keep((made,))]
        if op.ipolicy is not None:
            steps += self._violations(cluster.put(made), made)
        return Plan(tuple(steps), result=result, dry_result=result)

    def _violations(self, cluster: Cluster, group: NodeGroup) -> list[Note]:
        policy = fill_ipolicy(cluster, group)
        return [
            Note(f" - WARNING: {instance.name} violates the new instance policy: {text}")
            for node in cluster.members(group)
            for instance in cluster.instances_on(node.uuid)
            for text in policy_violations(policy, needs_of(cluster, instance))
        ]


def _told(group: NodeGroup, name: str) -> Any:
    value = getattr(group, name)
    return dict(value) if isinstance(value, Mapping) else str(value)


@executes(GroupRename)
class RenameGroup(Operation[GroupRename]):
    """Give a group another name."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock all groups: no other may take the name meanwhile."""
        cluster.group(self.op.group_name)
        return Locks().every(Level.NODEGROUP, exclusive=True)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record it."""
        del seen
        group = cluster.group(self.op.group_name)
        name = _refuse_taken(cluster, self.op.new_name)
        return Plan((Keep((replace(group, name=name),)),), result=name, dry_result=name)


@executes(GroupRemove)
class RemoveGroup(Operation[GroupRemove]):
    """Forget a group that has no nodes; one group is always left."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock all groups: two that remove the last two must not both succeed."""
        cluster.group(self.op.group_name)
        return Locks().every(Level.NODEGROUP, exclusive=True)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Forget it."""
        del seen
        group = cluster.group(self.op.group_name)
        members = cluster.members(group)
        if members:
            raise Refused(
                WRONG_STATE,
                f"Group {group.name} has nodes: {' '.join(node.name for node in members[:5])} ({len(members)} in all)",
                hint="gnt-group assign-nodes OTHER NODE moves them",
            )
        if len(cluster.groups) == 1:
            raise Refused(WRONG_STATE, f"Group {group.name} is the only one, and a cluster has at least one")
        return Plan((Forget((group,)),))


@executes(GroupAssignNodes)
class AssignNodes(Operation[GroupAssignNodes]):
    """Move nodes into a group; mirrored instances are not split between groups unless that is said."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the nodes, and the groups they are in and go to."""
        group = cluster.group(self.op.group_name)
        nodes = [cluster.node(name) for name in self.op.node_uuids or self.op.nodes]
        groups = {group.uuid, *(node.group for node in nodes)}
        return (
            Locks()
            .exclusive(Level.NODEGROUP, *sorted(groups))
            .exclusive(Level.NODE, *sorted(node.uuid for node in nodes))
        )

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record each node in the group."""
        del seen
        group = cluster.group(self.op.group_name)
        found = {cluster.node(name).uuid for name in self.op.node_uuids or self.op.nodes}
        nodes = [node for node in cluster.sorted_nodes() if node.uuid in found]
        moving = tuple(replace(node, group=group.uuid) for node in nodes if node.group != group.uuid)
        if not moving:
            return Plan((Note(f"they are in {group.name} already"),))
        after = cluster
        for node in moving:
            after = after.put(node)
        before, split = _split(cluster), _split(after)
        fresh = sorted(split - before)
        if fresh and not self.op.force:
            raise Failed(
                f"Mirrored instances would be split between groups: {' '.join(fresh[:5])} ({len(fresh)} in all)",
                hint="--force moves the nodes all the same",
            )
        notes = [Note(f" - WARNING: {name} is split between groups now") for name in fresh]
        notes += [Note(f" - WARNING: {name} is split between groups, as before") for name in sorted(split & before)]
        return Plan((*notes, *(Keep((node,)) for node in moving)))


def _split(cluster: Cluster) -> set[str]:
    """Give the instances (by name) whose nodes are in several groups."""
    found = set()
    for instance in cluster.instances.values():
        uuids = (instance.primary_node, *cluster.secondary_uuids(instance))
        if len({cluster.nodes[uuid].group for uuid in uuids if uuid in cluster.nodes}) > 1:
            found.add(instance.name)
    return found
