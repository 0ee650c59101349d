"""Taking nodes in, and letting them go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, NotYet, Operation, Stage, executes
from gnt.masterd.operations.pool import Certificates, catch_up, promote, refill, see_certificates, shortage, wants
from gnt.masterd.plan import Forget, Forward, Keep, Note, Plan, Step, on
from gnt.model.cluster import CONFIG_VERSION, Cluster
from gnt.model.errors import (
    ALREADY_EXISTS,
    ENVIRONMENT,
    NOT_UNIQUE,
    WRONG_INPUT,
    WRONG_STATE,
    GntError,
    Refused,
    Unsupported,
)
from gnt.model.names import check_ip, check_name
from gnt.model.objects import Node, NodeGroup
from gnt.model.params import check_nd
from gnt.opcodes.base import Opcode
from gnt.opcodes.node import NodeAdd, NodeRemove
from gnt.wire.calls import LeaveCluster, NodeVerify, Peer, VerifyFacts


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """What was seen of a node that wants to join: its address and what it says of itself."""

    address: str
    facts: VerifyFacts


@executes(NodeAdd)
class AddNode(Operation[NodeAdd]):
    """Record a node that has got its certificate; make it a candidate while there are fewer than wanted."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock everything."""
        del cluster
        return Locks().whole_cluster()

    async def observe(self, cluster: Cluster, look: Look) -> Newcomer:
        """Resolve the name and ask the node for its versions, its certificate, and whether it reaches the master."""
        name = self._name(cluster)
        self._refuse_unsupported()
        address = self.op.primary_ip or await look.resolve(name)
        expected = self._node(cluster, address, uuid="")
        self._refuse_clash(cluster, expected)
        master = cluster.master
        peer = Peer(name=master.name, primary_ip=master.primary_ip, secondary_ip=master.secondary_ip)
        try:
            facts = await look.meet(name, address, NodeVerify(peers=[peer]))
        except GntError as error:
            raise NotYet(
                ENVIRONMENT,
                f"{name} ({address}) does not answer as a node of this cluster: {error}",
                hint="gnt-node add sets it up; is its daemon gnt-noded running?",
                then=_once_set_up(cluster, expected),
            ) from error
        return Newcomer(address=address, facts=facts)

    def plan(self, cluster: Cluster, seen: Newcomer) -> Plan:
        """Record it as a regular node first; as a candidate once it has everything that a candidate needs."""
        node = self._node(cluster, seen.address, uuid=seen.facts.version.uuid)
        self._refuse_clash(cluster, node)
        self._refuse_setup(cluster, node, seen.facts)
        joined: tuple[Step, ...] = (Keep((node,)),)
        if not wants(cluster.put(node), node):
            return Plan((*joined, Note(f"{node.name} has joined as a regular node")))
        return Plan((*joined, *promote(cluster.put(node), node, seen.facts.certificate)))

    @classmethod
    def after_cut_off(cls, op: NodeAdd, cluster: Cluster) -> tuple[tuple[Opcode, ...], ...]:
        """Have the node become the candidate that it was to be; one that was not recorded has to be added anew."""
        if cluster.nodes.by_name(op.node_name) is None:
            return ()
        return catch_up(cluster, f"adding {op.node_name} was cut off")

    def _name(self, cluster: Cluster) -> str:
        name = check_name(self.op.node_name, "node")
        known = cluster.nodes.by_name(name)
        if self.op.readd:
            if known is None:
                raise Refused("unknown_entity", f"{name} is not a node of this cluster", hint="add it without --readd")
            if known.uuid == cluster.settings.master_node:
                raise Refused(WRONG_STATE, f"{name} is the master and cannot be added again")
            if self.op.group is not None:
                raise Refused(WRONG_INPUT, "A node that is added again keeps its group", hint="leave out --node-group")
        elif known is not None:
            raise Refused(ALREADY_EXISTS, f"Node {name} is already in the cluster", hint="--readd takes it in again")
        elif cluster.instances.by_name(name) is not None or name == cluster.settings.cluster_name:
            raise Refused(NOT_UNIQUE, f"{name} is the name of an instance or of the cluster")
        return name

    def _refuse_unsupported(self) -> None:
        for what in ("hv_state", "disk_state"):
            if getattr(self.op, what):
                raise Unsupported(f"OP_NODE_ADD: {what} is not supported by this version")

    def _node(self, cluster: Cluster, address: str, uuid: str) -> Node:
        op, name = self.op, self._name(cluster)
        old = cluster.nodes.by_name(name)
        secondary = check_ip(op.secondary_ip) if op.secondary_ip else address
        if old is not None:
            if (old.primary_ip, old.secondary_ip) != (address, op.secondary_ip or old.secondary_ip):
                raise Refused(WRONG_INPUT, f"{name} had other addresses: {old.primary_ip} and {old.secondary_ip}")
            return replace(old, offline=False, drained=False, master_candidate=False)
        return Node(
            uuid=uuid,
            name=name,
            primary_ip=check_ip(address),
            secondary_ip=secondary,
            group=self._group(cluster).uuid,
            master_capable=op.master_capable is not False,
            vm_capable=op.vm_capable is not False,
            ndparams=check_nd(op.ndparams) if op.ndparams else {},
        )

    def _group(self, cluster: Cluster) -> NodeGroup:
        if self.op.group is not None:
            return cluster.group(self.op.group)
        if len(cluster.groups) == 1:
            return next(iter(cluster.groups.values()))
        raise Refused(WRONG_INPUT, "There are several node groups", hint="--node-group GROUP")

    def _refuse_clash(self, cluster: Cluster, node: Node) -> None:
        for other in cluster.nodes.values():
            if other.name == node.name:
                continue
            if other.uuid == node.uuid:
                raise Refused(NOT_UNIQUE, f"{node.name} presents the certificate of {other.name}")
            for address in {node.primary_ip, node.secondary_ip} & {other.primary_ip, other.secondary_ip}:
                raise Refused(NOT_UNIQUE, f"{address} is already an address of {other.name}")
        master = cluster.master
        if (master.secondary_ip == master.primary_ip) != (node.secondary_ip == node.primary_ip):
            has = "has no" if master.secondary_ip == master.primary_ip else "has a"
            raise Refused(
                WRONG_INPUT, f"The master {has} secondary address of its own, so {node.name} must do likewise"
            )

    def _refuse_setup(self, cluster: Cluster, node: Node, facts: VerifyFacts) -> None:
        if facts.version.protocol != CONFIG_VERSION:
            raise Refused(
                ENVIRONMENT,
                f"{node.name} speaks protocol {facts.version.protocol}, this cluster {CONFIG_VERSION}",
                hint="install the same release on all nodes",
            )
        if facts.version.name != node.name:
            raise Refused(ENVIRONMENT, f"The node at {node.primary_ip} calls itself {facts.version.name}")
        why = facts.unreachable.get(cluster.master.name)
        if why is not None:
            raise Refused(ENVIRONMENT, f"{node.name} does not reach the master {cluster.master.name}: {why}")


def _once_set_up(cluster: Cluster, node: Node) -> list[str]:
    """Say what follows once a machine answers as a node."""
    group = cluster.groups[node.group].name
    follows = [f"{node.name} ({node.primary_ip}) is recorded as a regular node of the group {group}"]
    if wants(cluster.put(node), node):
        follows.append(f"{node.name} gets the log of the cluster and becomes a master candidate")
    return follows


@executes(NodeRemove)
class RemoveNode(Operation[NodeRemove]):
    """Let a node go: it forgets the cluster, the cluster forgets it; another becomes candidate in its place."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock everything."""
        cluster.node(self.op.node_name)
        return Locks().whole_cluster()

    async def observe(self, cluster: Cluster, look: Look) -> list[str]:
        """See what it owes: that goes with it."""
        node = cluster.node(self.op.node_name)
        return [text for debtor, text in await look.debts() if debtor == node.uuid]

    def plan(self, cluster: Cluster, seen: list[str]) -> Plan:
        """Take its vote first, then itself."""
        node = cluster.node(self.op.node_name)
        self._refuse(cluster, node)
        certificates = {uuid: digest for uuid, digest in cluster.settings.candidate_certs.items() if uuid != node.uuid}
        demote: tuple[Step, ...] = ()
        if node.master_candidate:
            settings = replace(cluster.settings, candidate_certs=certificates)
            demote = (Keep((replace(node, master_candidate=False), settings)),)
        leave = Forward(on(node.uuid, LeaveCluster()), tolerant=True, owed=False)
        owed = (Note(f" - WARNING: {node.name} owes, and is let off as it leaves: {text}") for text in seen)
        return Plan((*demote, leave, *owed, Forget((node,))))

    def stages(self) -> Sequence[Stage]:
        """Give the removal, then the filling of the pool it may have left short."""
        return (
            Stage(self.observe, self.plan),
            Stage(self._see_others, self.plan_refill, "others become candidates if too few are left"),
        )

    async def _see_others(self, cluster: Cluster, look: Look) -> Certificates:
        return await see_certificates(cluster, look) if shortage(cluster) else {}

    def plan_refill(self, cluster: Cluster, seen: Certificates) -> Plan:
        """Have others become candidates in its place."""
        return Plan(refill(cluster, seen))

    @classmethod
    def after_cut_off(cls, op: NodeRemove, cluster: Cluster) -> tuple[tuple[Opcode, ...], ...]:
        """Fill the pool that the removal left short."""
        return catch_up(cluster, f"removing {op.node_name} was cut off")

    def _refuse(self, cluster: Cluster, node: Node) -> None:
        if node.uuid == cluster.settings.master_node:
            raise Refused(
                WRONG_INPUT,
                "Node is the master node, failover to another node is required",
                hint="gnt-cluster master-failover on another candidate",
            )
        held = {instance.name for instance in cluster.instances_on(node.uuid)}
        held |= {instance.name for instance in cluster.secondary_instances_on(node.uuid)}
        if held:
            raise Refused(
                WRONG_INPUT,
                f"Instance {min(held)} is still on the node ({len(held)} in all)",
                hint="move or remove its instances first",
            )
