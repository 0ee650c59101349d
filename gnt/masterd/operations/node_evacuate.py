"""Moving instances away from a node: a job for each, submitted together."""

from __future__ import annotations

from collections.abc import Sequence

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Operation, executes
from gnt.masterd.operations.instance_steps import refuse_unusable
from gnt.masterd.operations.move_target import target_of
from gnt.masterd.plan import Plan
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.names import nice_key
from gnt.model.objects import Instance, Node
from gnt.model.templates import INTERNALLY_MIRRORED, MIRRORED
from gnt.opcodes.instance_disks import InstanceReplaceDisks
from gnt.opcodes.instance_move import InstanceMigrate
from gnt.opcodes.node import NodeEvacuate, NodeMigrate


def _sorted(instances: Sequence[Instance]) -> list[Instance]:
    return sorted(instances, key=lambda instance: nice_key(instance.name))


@executes(NodeEvacuate)
class EvacuateNode(Operation[NodeEvacuate]):
    """Give secondary instances another secondary node; have primary ones go to their other side."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep the instances and nodes as they are while the jobs are made."""
        node, target = cluster.node(self.op.node_name), self._target(cluster)
        nodes = (node.uuid, *((target.uuid,) if target is not None else ()))
        return (
            Locks()
            .shared(Level.INSTANCE, *(instance.name for instance in self._instances(cluster, node)))
            .shared(Level.NODEGROUP, node.group)
            .shared(Level.NODE, *nodes)
        )

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Hand the jobs over."""
        del seen
        node, target = cluster.node(self.op.node_name), self._target(cluster)
        instances = self._instances(cluster, node)
        if self.op.mode == "primary-only":
            self._refuse_bound(cluster, node, instances)
            return Plan(
                jobs=tuple((InstanceMigrate(instance_name=each.name, allow_failover=True),) for each in instances)
            )
        if target is None:
            raise Refused(WRONG_INPUT, "No new secondary node is named", hint="-n NODE; there is no allocator here")
        refuse_unusable(target, as_what="secondary node")
        for instance in instances:
            if instance.primary_node == target.uuid:
                raise Refused(
                    WRONG_INPUT, f"{target.name} is the primary node of {instance.name}", hint="name another node"
                )
        return Plan(
            jobs=tuple(
                (
                    InstanceReplaceDisks(
                        instance_name=each.name,
                        mode="replace_new_secondary",
                        remote_node=target.name,
                        early_release=self.op.early_release,
                    ),
                )
                for each in instances
            )
        )

    def _target(self, cluster: Cluster) -> Node | None:
        op = self.op
        if op.iallocator is not None:
            raise Unsupported("OP_NODE_EVACUATE: iallocator is not supported by this version", hint="name the node: -n")
        if op.mode == "all":
            raise Refused(
                WRONG_INPUT,
                "Primary and secondary instances cannot leave at once",
                hint="--primary-only first, then --secondary-only -n NODE",
            )
        named = op.remote_node_uuid or op.remote_node
        if named is None:
            return None
        if op.mode != "secondary-only":
            raise Refused(WRONG_INPUT, "A new node is only named for secondary instances", hint="--secondary-only")
        target = cluster.node(named)
        if target.uuid == cluster.node(op.node_name).uuid:
            raise Refused(WRONG_INPUT, f"{target.name} is the node that is to be left", hint="name another node")
        return target

    def _instances(self, cluster: Cluster, node: Node) -> list[Instance]:
        if self.op.mode == "primary-only":
            return _sorted(cluster.instances_on(node.uuid))
        return _sorted(cluster.secondary_instances_on(node.uuid))

    def _refuse_bound(self, cluster: Cluster, node: Node, instances: Sequence[Instance]) -> None:
        bound = [each.name for each in instances if cluster.disk_template(each) not in INTERNALLY_MIRRORED]
        if bound:
            raise Refused(
                WRONG_STATE,
                f"{', '.join(bound)} on {node.name} {_have(bound)} no other side, and there is no allocator here to"
                " choose one",
                hint="gnt-instance migrate -n, failover -n or move -n brings each to a node of your choice",
            )


@executes(NodeMigrate)
class MigrateNode(Operation[NodeMigrate]):
    """Submit a migration of each instance whose primary node this is."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep the node as it is while the jobs are made."""
        return Locks().shared(Level.NODE, cluster.node(self.op.node_name).uuid)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Hand the jobs over."""
        del seen
        op = self.op
        if op.iallocator is not None:
            raise Unsupported("OP_NODE_MIGRATE: iallocator is not supported by this version", hint="name the node: -n")
        if op.mode is not None and op.live is not None:
            raise Refused(WRONG_INPUT, "OP_NODE_MIGRATE: mode and live are both given; live is the older of the two")
        node = cluster.node(op.node_name)
        instances = _sorted(cluster.instances_on(node.uuid))
        self._refuse_lost(cluster, node, instances)
        moves = [
            InstanceMigrate(
                instance_name=each.name,
                mode=op.mode,
                live=op.live,
                target_node=op.target_node,
                target_node_uuid=op.target_node_uuid,
                allow_runtime_changes=op.allow_runtime_changes,
                ignore_ipolicy=op.ignore_ipolicy,
            )
            for each in instances
        ]
        for each, move in zip(instances, moves, strict=True):
            target_of(cluster, each, move)
        return Plan(jobs=tuple((move,) for move in moves))

    def _refuse_lost(self, cluster: Cluster, node: Node, instances: Sequence[Instance]) -> None:
        """Refuse at once what the jobs could only fail with, naming all that it concerns."""
        templates = {each.name: cluster.disk_template(each) for each in instances}
        bound = [name for name, template in templates.items() if template not in MIRRORED]
        if bound:
            raise Refused(
                WRONG_STATE,
                f"{', '.join(bound)} on {node.name} {_have(bound)} disks that only this node reaches",
                hint="gnt-instance move -n NODE brings each to another node, one after the other",
            )
        free = [name for name, template in templates.items() if template not in INTERNALLY_MIRRORED]
        if free and self.op.target_node is None and self.op.target_node_uuid is None:
            raise Refused(
                WRONG_INPUT,
                f"{', '.join(free)} on {node.name} {_have(free)} no secondary node: a target must be named",
                hint="-n NODE; or gnt-instance migrate -n NODE for each",
            )


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
